"""Filters that have a way of their own through a whole sequence."""

import abc
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ...core import AbstractBelief, AbstractFilter, AbstractSequentialModel, FilterInfo
from ...typing import Action, Observation, Scalar


class Filtered(NamedTuple):
    """What a filter found; every array has a leading time axis.

    Attributes:
        beliefs: beliefs about z_t after x_t.
        predictions: beliefs about z_t before x_t.
        info: what each update measured.
    """

    beliefs: AbstractBelief
    predictions: AbstractBelief
    info: FilterInfo

    @property
    def free_energy_nats(self) -> Scalar:
        """Sum over time: -log p(x_1, ..., x_T) for exact filters, an upper bound for variational ones."""
        return jnp.sum(self.info.free_energy_nats)


class AbstractOfflineFilter(AbstractFilter):
    """A filter that runs over a whole sequence faster than one step after another; the results are the same."""

    @abc.abstractmethod
    def filter(self, model: AbstractSequentialModel, observations: Observation, actions: Action = None) -> Filtered:
        """What the verb `filter` would find step by step.

        Args:
            model: the model it believes in.
            observations: x_1, ..., x_T on a leading time axis.
            actions: a_1, ..., a_{T-1} on a leading time axis, or None.
        """


def length_of(observations: Observation) -> int:
    """T."""
    return jax.tree.leaves(observations)[0].shape[0]
