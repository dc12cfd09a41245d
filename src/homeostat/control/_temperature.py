"""Temperatures: how many units of reward a nat of divergence from the prior over actions is worth."""

import abc
import math
from typing import Generic, TypeVar, final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import optax

from ..distributions import innermost
from ..objectives import AbstractMultiplier, DualAscent
from ..results import BadInputError
from ..typing import Coefficient, Distribution, PyTree, Scalar

TemperatureState = TypeVar("TemperatureState")


class AbstractTemperature(eqx.Module, Generic[TemperatureState]):
    """alpha, and how it changes."""

    @abc.abstractmethod
    def init(self) -> TemperatureState:
        """State before the first update."""

    @abc.abstractmethod
    def value(self, state: TemperatureState) -> Scalar:
        """alpha, in the unit of the reward per nat."""

    @abc.abstractmethod
    def update(self, divergence_nats: Scalar, state: TemperatureState) -> TemperatureState:
        """The next state, from the present mean of KL(pi || p)."""


@final
class FixedTemperature(AbstractTemperature[tuple[()]]):
    """One number.

    Attributes:
        alpha: in the unit of the reward per nat.
    """

    alpha: float

    def __check_init__(self):
        if not self.alpha > 0.0:
            raise BadInputError(f"Expected a temperature above zero, got {self.alpha}.")

    def init(self) -> tuple[()]:
        return ()

    def value(self, state: tuple[()]) -> Scalar:
        return jnp.asarray(self.alpha, float)

    def update(self, divergence_nats: Scalar, state: tuple[()]) -> tuple[()]:
        return state


@final
class DivergenceTarget(AbstractTemperature[PyTree]):
    """alpha rises while policies are further from the prior than asked, and falls while they are nearer.

    Attributes:
        target_nats: KL(pi || p) that policies should have on average.
        multiplier: how alpha follows; it is the multiplier of the constraint KL <= target.

    References:
        Haarnoja et al., "Soft actor-critic algorithms and applications", 2018, Sec. 5, with a constraint on the entropy; under a
        uniform prior both are one, see `entropy_target`.
    """

    target_nats: Coefficient
    multiplier: AbstractMultiplier = DualAscent(optax.adam(3e-4))

    def init(self) -> PyTree:
        return self.multiplier.init()

    def value(self, state: PyTree) -> Scalar:
        return self.multiplier.value(state)

    def update(self, divergence_nats: Scalar, state: PyTree) -> PyTree:
        return self.multiplier.update(divergence_nats - self.target_nats, state)


def entropy_target(entropy_nats: float, prior: Distribution) -> float:
    """The divergence from a uniform prior at which policies have an entropy: H(p) - H(pi).

    Args:
        entropy_nats: of policies, differential where actions are continuous.
        prior: uniform over actions.

    Raises:
        BadInputError: the prior is not uniform, so that the one does not determine the other.
    """
    base = innermost(prior)
    classes = isinstance(base, dist.CategoricalLogits | dist.CategoricalProbs)
    if not isinstance(base, dist.Uniform) and not (classes and np.ptp(np.asarray(base.logits)) == 0.0):
        raise BadInputError(
            f"Expected a uniform prior over actions for a target of entropy, got {type(base).__name__}: give a target of "
            f"divergence instead."
        )
    return float(prior.entropy()) - entropy_nats


def default_target(action_size: int, *, discrete: bool = False) -> float:
    """Divergence from a uniform prior that is asked of policies where nothing else is said, in nats.

    |A| (1 + log 2) for boxes, which is the entropy -|A| of soft actor-critic in the unit box, whatever the box; a tenth of
    log(alternatives) for choices.

    Args:
        action_size: numbers in an action, or alternatives.
        discrete: whether an action is one of `action_size` alternatives.

    References:
        Haarnoja et al., "Soft actor-critic algorithms and applications", 2018, Appendix D; the code of Marino et al. (2020) for
        the divergence; Christodoulou, "Soft actor-critic for discrete action settings", 2019, asks for 0.98 of the largest
        entropy, which leaves little of what was learned, and later codes for 0.89.
    """
    return 0.1 * math.log(action_size) if discrete else action_size * (1.0 + math.log(2.0))
