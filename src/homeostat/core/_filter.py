"""A filter keeps a belief about the latent state: predict with a model, then correct with an observation.

belief --predict(action)--> belief --update(observation)--> belief, info
"""

import abc
from typing import ClassVar, NamedTuple

import equinox as eqx

from ..results import RESULTS
from ..typing import Action, Key, Observation, Scalar
from ._belief import AbstractBelief
from ._check import check_fields
from ._model import AbstractSequentialModel


class FilterInfo(NamedTuple):
    """What one update measured.

    Attributes:
        free_energy_nats: an upper bound on -log p(x_t | x_{1:t-1}) (for exact filters, equal to it).
        result: outcome, `RESULTS.successful` unless the filter knows what went wrong.
    """

    free_energy_nats: Scalar
    result: RESULTS = RESULTS.successful


class AbstractFilter(eqx.Module):
    """Recursive inference, one observation at a time and at constant memory.

    Attributes:
        stochastic: whether it may draw samples, so that what it finds depends on the key.
    """

    stochastic: ClassVar[bool] = True

    def __check_init__(self):
        check_fields(self)

    @abc.abstractmethod
    def init(self, model: AbstractSequentialModel, *, key: Key | None = None) -> AbstractBelief:
        """The belief before any observation; filters that start from samples need the key, exact ones do not."""

    @abc.abstractmethod
    def predict(
        self, model: AbstractSequentialModel, belief: AbstractBelief, action: Action, *, key: Key
    ) -> AbstractBelief:
        """The belief after `action` and before the next observation."""

    @abc.abstractmethod
    def update(
        self, model: AbstractSequentialModel, belief: AbstractBelief, observation: Observation, *, key: Key
    ) -> tuple[AbstractBelief, FilterInfo]:
        """The belief after `observation`.

        NaN entries are missing: they are integrated out. Where nothing at all was observed the belief stays what it was and
        the free energy is zero.
        """
