"""Filters that have a way of their own through a whole sequence."""

import abc
from typing import NamedTuple

import jax

from ...core import AbstractBelief, AbstractFilter, AbstractSequentialModel, FilterInfo
from ...typing import Action, Observation


class FilterRun(NamedTuple):
    """Beliefs after and before every observation, and what each update measured; arrays have a leading time axis."""

    beliefs: AbstractBelief
    predictions: AbstractBelief
    info: FilterInfo


class AbstractOfflineFilter(AbstractFilter):
    """A filter that runs over a whole sequence faster than one step after another; the results are the same."""

    @abc.abstractmethod
    def filter(self, model: AbstractSequentialModel, observations: Observation, actions: Action = None) -> FilterRun:
        """What the verb `filter` would find step by step.

        Args:
            model: the model it believes in.
            observations: x_1, ..., x_T on a leading time axis.
            actions: a_1, ..., a_{T-1} on a leading time axis, or None.
        """


def length_of(observations: Observation) -> int:
    """T."""
    return jax.tree.leaves(observations)[0].shape[0]
