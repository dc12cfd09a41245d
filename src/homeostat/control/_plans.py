"""Plan families: distributions over what a plan is made of, and how that becomes actions.

    params --family--> q(value),   value --decode--> actions [horizon, ...]

The warm start of a receding horizon belongs here as well: once an action is taken, `shift` turns the distribution over the
old plan into one over the next.
"""

import abc
from typing import Generic, final

import equinox as eqx
import jax
import jax.numpy as jnp

from ..core import AbstractFamily
from ..distributions import (
    Categorical,
    CategoricalParams,
    DiagonalGaussian,
    DiagonalGaussianParams,
    Squash,
    SquashedGaussian,
    bound,
    check_bounds,
)
from ..results import BadInputError
from ..typing import Array, Float, Int, Params


class AbstractPlan(eqx.Module, Generic[Params]):
    """A family of distributions over plans."""

    @property
    @abc.abstractmethod
    def family(self) -> AbstractFamily[Params]:
        """The family over plan values, which engines move."""

    @abc.abstractmethod
    def init(self) -> Params:
        """Parameters at the start of an episode."""

    @abc.abstractmethod
    def decode(self, value: Array) -> Array:
        """The actions that a value stands for, [horizon, ...]."""

    @abc.abstractmethod
    def mode(self, params: Params) -> Array:
        """The most likely value (for Gaussians, the mean)."""

    @abc.abstractmethod
    def shift(self, params: Params) -> Params:
        """Where to start the next plan, when the first action of this one has been taken."""


class _AbstractChoices(AbstractPlan[CategoricalParams]):
    """Choices at every step; the next plan keeps a share of their log probabilities."""

    horizon: eqx.AbstractVar[int]
    memory: eqx.AbstractVar[float]

    def __check_init__(self):
        _check_horizon(self.horizon)
        if not 0.0 <= self.memory <= 1.0:
            raise BadInputError(f"Expected the share that a warm start keeps in [0, 1], got memory={self.memory}.")

    def init(self) -> CategoricalParams:
        return self.family.init()

    def mode(self, params: CategoricalParams) -> Int[Array, "horizon ..."]:
        return jnp.argmax(params.logits, axis=-1)

    def shift(self, params: CategoricalParams) -> CategoricalParams:
        logits = jax.nn.log_softmax(params.logits)
        last = jnp.zeros_like(logits[:1])
        return CategoricalParams(self.memory * jnp.concatenate([logits[1:], last]))


@final
class ActionSequences(_AbstractChoices):
    """A choice among `alternatives` at every step, each step on its own: n^H plans.

    Attributes:
        alternatives: the actions to choose from, [n, ...].
        horizon: H, steps.
        memory: share of the log probabilities kept by the warm start; 0 forgets, 1 keeps all.
    """

    alternatives: Array
    horizon: int = eqx.field(static=True, default=1)
    memory: float = eqx.field(static=True, default=0.5)

    @property
    def family(self) -> Categorical:
        return Categorical(self.alternatives.shape[0], (self.horizon,))

    def decode(self, value: Int[Array, " horizon"]) -> Array:
        return self.alternatives[value]


@final
class Factored(_AbstractChoices):
    """Every component of every action chosen by itself among `levels`: k^(H a) plans from H a k numbers.

    Attributes:
        levels: values of a component, [k].
        action_dim: a, components.
        horizon: H, steps.
        memory: share of the log probabilities kept by the warm start.
    """

    levels: Array
    action_dim: int = eqx.field(static=True)
    horizon: int = eqx.field(static=True, default=1)
    memory: float = eqx.field(static=True, default=0.5)

    @property
    def family(self) -> Categorical:
        return Categorical(self.levels.shape[0], (self.horizon, self.action_dim))

    def decode(self, value: Int[Array, "horizon a"]) -> Array:
        return self.levels[value]


@final
class ConstantAction(AbstractPlan[CategoricalParams]):
    """One choice among `alternatives`, held for the whole horizon: n plans, however far they look.

    Attributes:
        alternatives: the actions to choose from, [n, ...].
        horizon: steps for which the action is held (it is chosen anew at every step all the same).
    """

    alternatives: Array
    horizon: int = eqx.field(static=True, default=1)

    def __check_init__(self):
        _check_horizon(self.horizon)

    @property
    def family(self) -> Categorical:
        return Categorical(self.alternatives.shape[0])

    def init(self) -> CategoricalParams:
        return self.family.init()

    def decode(self, value: Int[Array, ""]) -> Array:
        action = self.alternatives[value]
        return jnp.broadcast_to(action[None], (self.horizon, *action.shape))

    def mode(self, params: CategoricalParams) -> Int[Array, ""]:
        return jnp.argmax(params.logits)

    def shift(self, params: CategoricalParams) -> CategoricalParams:
        return self.init()


class _AbstractContinuous(AbstractPlan[DiagonalGaussianParams]):
    """Gaussian components side by side, squashed or not."""

    action_dim: eqx.AbstractVar[int]
    horizon: eqx.AbstractVar[int]
    scale: eqx.AbstractVar[float]

    def __check_init__(self):
        _check_horizon(self.horizon)

    def init(self) -> DiagonalGaussianParams:
        size = self.horizon * self.action_dim
        return DiagonalGaussianParams(jnp.zeros(size), jnp.full(size, jnp.log(self.scale)))

    def decode(self, value: Float[Array, " n"]) -> Float[Array, "horizon a"]:
        return value.reshape(self.horizon, self.action_dim)

    def shift(self, params: DiagonalGaussianParams) -> DiagonalGaussianParams:
        """Means move up by one action; the deviations start afresh, or the search would never widen again."""
        step, fresh = self.action_dim, self.init()
        loc = jnp.concatenate([params.loc[step:], jnp.asarray(fresh.loc[:step], params.loc.dtype)])
        return DiagonalGaussianParams(loc, jnp.asarray(fresh.log_scale, params.log_scale.dtype))


@final
class GaussianPlan(_AbstractContinuous):
    """Independent Gaussian components.

    Attributes:
        action_dim: a.
        horizon: H, steps.
        scale: standard deviation of a fresh plan, in the action's unit.
    """

    action_dim: int = eqx.field(static=True)
    horizon: int = eqx.field(static=True, default=1)
    scale: float = eqx.field(static=True, default=1.0)

    @property
    def family(self) -> DiagonalGaussian:
        return DiagonalGaussian(self.horizon * self.action_dim)

    def mode(self, params: DiagonalGaussianParams) -> Float[Array, " n"]:
        return params.loc


@final
class SquashedPlan(_AbstractContinuous):
    """Squashed Gaussian components in [low, high].

    Attributes:
        action_dim: a.
        horizon: H, steps.
        low: lower bound, in the action's unit; one for all components of an action, or one for each.
        high: upper bound, likewise.
        scale: standard deviation of a fresh plan before squashing.
    """

    action_dim: int = eqx.field(static=True)
    horizon: int = eqx.field(static=True, default=1)
    low: float | tuple[float, ...] = eqx.field(static=True, default=-1.0, converter=bound)
    high: float | tuple[float, ...] = eqx.field(static=True, default=1.0, converter=bound)
    scale: float = eqx.field(static=True, default=0.5)

    def __check_init__(self):
        check_bounds(self.low, self.high, self.action_dim)

    @property
    def family(self) -> SquashedGaussian:
        low, high = (one if isinstance(one, float) else one * self.horizon for one in (self.low, self.high))
        return SquashedGaussian(self.horizon * self.action_dim, low, high)

    def mode(self, params: DiagonalGaussianParams) -> Float[Array, " n"]:
        return Squash(self.family.low, self.family.high)(params.loc)


def _check_horizon(horizon: int) -> None:
    if horizon < 1:
        raise BadInputError(f"Expected a horizon of at least one step, got {horizon}.")
