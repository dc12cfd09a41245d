"""Mean functions of nonlinear models: linear maps, networks, and discretised differential equations."""

import abc
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp

from ...nn import MLP
from ...results import BadInputError
from ...typing import Action, Array, Callable, Float, Key, Scalar
from ._timed_action import TimedAction, duration_and_action
from ._validation import check_noise_tril, check_shape

Drift = Callable[[Array, Action], Array]
"""dz / dt as a function of state and action."""


@final
class AffineMap(eqx.Module):
    """z -> C z + d.

    Attributes:
        matrix: C, [m, d].
        offset: d, [m].
    """

    matrix: Float[Array, "m d"]
    offset: Float[Array, " m"]

    def __init__(self, matrix: Array, offset: Array | None = None):
        """The offset defaults to zero.

        Raises:
            BadInputError: shapes do not agree.
        """
        self.matrix = jnp.asarray(matrix)
        if self.matrix.ndim < 2:
            raise BadInputError(f"Expected a matrix of shape (m, d), got shape {self.matrix.shape}.")
        size, dtype = self.matrix.shape[-2], self.matrix.dtype
        self.offset = jnp.zeros(size, dtype) if offset is None else jnp.asarray(offset)
        check_shape("the offset", self.offset, (size,))

    def __call__(self, state: Float[Array, " d"]) -> Float[Array, " m"]:
        return self.matrix @ state + self.offset


@final
class ResidualMap(eqx.Module):
    """z' = z + f(z, u), with a network f that reads state and action side by side.

    An `TimedAction` action multiplies the change by the duration and is read without it, which makes f a velocity.

    Attributes:
        network: from d + a numbers to d.
    """

    network: Callable[[Array], Array]

    @classmethod
    def mlp(cls, dim: int, action_dim: int = 0, *, width: int = 32, depth: int = 2, key: Key) -> "ResidualMap":
        """A multilayer perceptron with `depth` hidden layers of `width` units."""
        return cls(MLP(dim + action_dim, dim, width=width, depth=depth, key=key))

    def __call__(self, state: Float[Array, " d"], action: Action = None) -> Float[Array, " d"]:
        duration, action = duration_and_action(action, 1.0)
        inputs = state if action is None else jnp.concatenate([state, jnp.asarray(action, state.dtype)])
        return state + duration * self.network(inputs)


@final
class AffinePlusNetwork(eqx.Module):
    """(z, u) -> C (z, u) + d + f(z, u), with a network f beside an affine map of state and action side by side.

    Attributes:
        affine: C and d.
        network: f, from d + a numbers to m.
    """

    affine: AffineMap
    network: Callable[[Array], Array]

    def __call__(self, state: Float[Array, " d"], action: Action = None) -> Float[Array, " m"]:
        inputs = state if action is None else jnp.concatenate([state, jnp.asarray(action, state.dtype)])
        return self.affine(inputs) + self.network(inputs)


class AbstractIntegrator(eqx.Module):
    """z' from dz / dt = f(z, u).

    Attributes:
        drift: f.
        duration: of a step, where the action is no `TimedAction`.
        num_substeps: equal parts that a step is divided into.
    """

    drift: Drift
    duration: float = eqx.field(static=True, default=1.0)
    num_substeps: int = eqx.field(static=True, default=1)

    def __check_init__(self):
        _check_steps(self.duration, self.num_substeps)

    @abc.abstractmethod
    def substep(self, state: Float[Array, " d"], action: Action, h: Scalar | float) -> Float[Array, " d"]:
        """The state after a time h."""

    def __call__(self, state: Float[Array, " d"], action: Action = None) -> Float[Array, " d"]:
        duration, action = duration_and_action(action, self.duration)
        h, count = duration / self.num_substeps, self.num_substeps
        if count == 1:
            return self.substep(state, action, h)
        return jax.lax.fori_loop(0, count, lambda _, z: self.substep(z, action, h), state)


@final
class RungeKutta(AbstractIntegrator):
    """The classical fourth-order rule."""

    def substep(self, state, action, h):
        first = self.drift(state, action)
        second = self.drift(state + 0.5 * h * first, action)
        third = self.drift(state + 0.5 * h * second, action)
        fourth = self.drift(state + h * third, action)
        return state + h / 6.0 * (first + 2.0 * second + 2.0 * third + fourth)


@final
class Euler(AbstractIntegrator):
    """z + h f(z, u), the first-order rule."""

    def substep(self, state, action, h):
        return state + h * self.drift(state, action)


@final
class Diffusion(eqx.Module):
    """Noise of a random walk: the factor sqrt(duration) L of a step.

    Attributes:
        scale_tril: L, the factor after one unit of time, [d, d].
        duration: of a step, where the action is no `TimedAction`.
    """

    scale_tril: Float[Array, "d d"]
    duration: float = eqx.field(static=True, default=1.0)

    def __check_init__(self):
        check_noise_tril("the diffusion L", self.scale_tril, self.scale_tril.shape[-1])
        _check_steps(self.duration, 1)

    def __call__(self, action: Action = None) -> Float[Array, "d d"]:
        if not isinstance(action, TimedAction):
            return self.duration**0.5 * self.scale_tril
        passed = action.duration > 0.0
        return jnp.where(passed, jnp.sqrt(jnp.where(passed, action.duration, 1.0)), 0.0) * self.scale_tril


def _check_steps(duration: float, num_substeps: int) -> None:
    if duration <= 0.0 or num_substeps < 1:
        raise BadInputError(
            f"Expected a positive duration and at least one substep, got {duration} and {num_substeps}."
        )
