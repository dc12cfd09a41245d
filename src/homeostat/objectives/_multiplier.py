"""Multipliers: dual variables that rise while a constraint is violated and fall while there is room."""

import abc
from typing import Generic, NamedTuple, TypeVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from ..typing import Coefficient, Scalar

MultiplierState = TypeVar("MultiplierState")


class AbstractMultiplier(eqx.Module, Generic[MultiplierState]):
    """A dual variable lambda >= 0 of a constraint g <= 0, for a Lagrangian U + lambda g."""

    @abc.abstractmethod
    def init(self) -> MultiplierState:
        """State before the first update."""

    @abc.abstractmethod
    def value(self, state: MultiplierState) -> Scalar:
        """lambda."""

    @abc.abstractmethod
    def update(self, violation: Scalar, state: MultiplierState) -> MultiplierState:
        """The next state, from the constraint's present g, in the constraint's unit; no gradient flows through it."""


class DualState(NamedTuple):
    """State of a `DualVariable`.

    Attributes:
        violation: running mean of g.
        log_value: log lambda.
    """

    violation: Scalar
    log_value: Scalar


@final
class DualVariable(AbstractMultiplier[DualState]):
    """log lambda <- log lambda + speed min(max(mean g, -1), 1), with a running mean of g.

    Attributes:
        speed: change of log lambda per update, for a violation of one unit (bounded to +-1 unit).
        decay: of the running mean.
        limit: bound of |log lambda|, so that a target out of reach does not end in an infinite weight.

    References:
        Rezende and Viola, "Taming VAEs", arXiv 1810.00597, Algorithm 1.
    """

    speed: Coefficient = 0.01
    decay: Coefficient = 0.99
    limit: Coefficient = 10.0

    def init(self) -> DualState:
        return DualState(jnp.zeros(()), jnp.zeros(()))

    def value(self, state: DualState) -> Scalar:
        return jnp.exp(state.log_value)

    def update(self, violation: Scalar, state: DualState) -> DualState:
        violation = jax.lax.stop_gradient(violation).astype(state.violation.dtype)
        mean = self.decay * state.violation + (1.0 - self.decay) * violation
        change = self.speed * jnp.clip(mean, -1.0, 1.0)
        return DualState(mean, jnp.clip(state.log_value + change, -self.limit, self.limit))


class DualAscentState(NamedTuple):
    """State of an `DualAscent`.

    Attributes:
        log_value: log lambda.
        optimizer: the optimiser's state.
    """

    log_value: Scalar
    optimizer: optax.OptState


@final
class DualAscent(AbstractMultiplier[DualAscentState]):
    """log lambda <- log lambda + optimizer(g): stochastic dual ascent.

    Attributes:
        optimizer: any `optax` transformation.
        initial: lambda before the first update.
    """

    optimizer: optax.GradientTransformation = eqx.field(static=True)
    initial: Coefficient = 1.0

    def init(self) -> DualAscentState:
        log_value = jnp.log(jnp.asarray(self.initial, float))
        return DualAscentState(log_value, self.optimizer.init(log_value))

    def value(self, state: DualAscentState) -> Scalar:
        return jnp.exp(state.log_value)

    def update(self, violation: Scalar, state: DualAscentState) -> DualAscentState:
        gradient = -jax.lax.stop_gradient(violation).astype(state.log_value.dtype)
        change, optimizer = self.optimizer.update(gradient, state.optimizer, state.log_value)
        return DualAscentState(optax.apply_updates(state.log_value, change), optimizer)  # pyright: ignore[reportArgumentType]
