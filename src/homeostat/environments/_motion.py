"""Motion models: how an action moves one sprite. All work in class units of the lattice (see `_grid`)."""

import abc
from typing import final

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ..core import Bounded
from ..results import BadInputError
from ..typing import Any, Array, Float, Int, Key, Scalar
from ._grid import SpriteGrid

MOVES = ("scale", "orientation", "x", "y")
"""What the four components of a motion act on; shape and colour never change within an episode."""


class AbstractMotion(eqx.Module):
    """Moves the last four latents; the first (shape) stays.

    Attributes:
        memory: number of velocities carried from step to step (0 or 4).
        on_lattice: whether latents are integers.
    """

    memory: eqx.AbstractVar[int]
    on_lattice: eqx.AbstractVar[bool]
    action_spec: eqx.AbstractVar[Bounded]

    @abc.abstractmethod
    def move(
        self, latents: Array, velocity: Float[Array, " memory"], action: Array, grid: SpriteGrid, *, key: Key
    ) -> tuple[Array, Float[Array, " memory"]]:
        """One step.

        Args:
            latents: [shape, scale, orientation, x, y], shape (5,).
            velocity: class units per step of the four moving factors, or empty.
            action: as `action_spec` says; values outside its range are clipped.
            grid: the lattice, which wraps orientation and bounds the rest.
            key: randomness of process noise.
        """

    @abc.abstractmethod
    def steps(self, differences: Array) -> Scalar:
        """Least number of steps that cover `differences` (scale, orientation, x, y), shape (4,), without noise."""

    def cast(self, latents: Array) -> Array:
        """`latents` in this motion's kind of number: int32 on the lattice, else the working precision."""
        return latents.astype(jnp.int32 if self.on_lattice else jnp.result_type(float))


@final
class GridMotion(AbstractMotion):
    """Each factor moves by -1, 0 or +1 class: 81 actions in {-1, 0, 1}^4. Orientation wraps, the others clip."""

    memory: int = eqx.field(static=True, default=0, init=False)
    on_lattice: bool = eqx.field(static=True, default=True, init=False)
    action_spec: Bounded = eqx.field(static=True, default=Bounded((4,), -1, 1, whole=True), init=False)

    def move(self, latents, velocity, action, grid, *, key):
        del key
        step = jnp.clip(action, -1, 1).astype(latents.dtype)
        return grid.contain(latents.at[1:].add(step)), velocity

    def steps(self, differences: Int[Array, "4"]) -> Scalar:
        return jnp.max(differences)


@final
class OneFactorMotion(AbstractMotion):
    """One factor at a time: 0 stays; 1 and 2 shrink and grow; 3, 4 turn by -1, +1; 5, 6 move x; 7, 8 move y."""

    memory: int = eqx.field(static=True, default=0, init=False)
    on_lattice: bool = eqx.field(static=True, default=True, init=False)
    action_spec: Bounded = eqx.field(static=True, default=Bounded((), 0, 8, whole=True), init=False)

    def move(self, latents, velocity, action, grid, *, key):
        del key
        choice = jnp.clip(action, 0, 8) - 1
        sign = jnp.where(choice % 2 == 0, -1, 1)
        step = jnp.where(jnp.arange(4) == choice // 2, sign, 0)
        return grid.contain(latents.at[1:].add(step.astype(latents.dtype))), velocity

    def steps(self, differences: Int[Array, "4"]) -> Scalar:
        return jnp.sum(differences)


@final
class ContinuousMotion(AbstractMotion):
    """Real latents and actions with Gaussian process noise.

        z' = contain(z + B a + L eps),   eps ~ N(0, I),   a in [-1, 1]^4

    Attributes:
        gain: B, class units per unit of action, shape (4, 4); the identity by default.
        noise: L, Cholesky factor of the process noise's covariance in class units, shape (4, 4); 0.1 I by default.
    """

    gain: Float[Array, "4 4"]
    noise: Float[Array, "4 4"]
    memory: int = eqx.field(static=True, default=0, init=False)
    on_lattice: bool = eqx.field(static=True, default=False, init=False)
    action_spec: Bounded = eqx.field(static=True, default=Bounded((4,), -1, 1), init=False)

    def __init__(self, gain: Any = None, noise: Any = None):
        self.gain = _square("gain", np.eye(4) if gain is None else gain)
        self.noise = _square("noise", 0.1 * np.eye(4) if noise is None else noise)

    def move(self, latents, velocity, action, grid, *, key):
        shift = _act(self.gain, action, latents.dtype) + _disturb(self.noise, latents.dtype, key)
        return grid.contain(latents.at[1:].add(shift)), velocity

    def steps(self, differences: Float[Array, "4"]) -> Scalar:
        """Exact for a diagonal gain, else of the gain's diagonal."""
        return jnp.max(jnp.ceil(differences / jnp.abs(jnp.diag(self.gain)).astype(differences.dtype)))


@final
class SecondOrderMotion(AbstractMotion):
    """Sprites with velocity; the action is an acceleration.

        v' = (1 - damping) v + B a + L eps
        z' = contain(z + v')

    A factor stopped by its bound loses its velocity. The order (velocity first) makes the undamped step symplectic.

    Attributes:
        gain: B, class units per step^2 per unit of action, shape (4, 4); 0.25 I by default.
        noise: L, Cholesky factor of the velocity noise's covariance, shape (4, 4); 0.02 I by default.
        damping: share of the velocity lost per step, in [0, 1].
    """

    gain: Float[Array, "4 4"]
    noise: Float[Array, "4 4"]
    damping: float = eqx.field(static=True)
    memory: int = eqx.field(static=True, default=4, init=False)
    on_lattice: bool = eqx.field(static=True, default=False, init=False)
    action_spec: Bounded = eqx.field(static=True, default=Bounded((4,), -1, 1), init=False)

    def __init__(self, gain: Any = None, noise: Any = None, damping: float | int = 0.1):
        self.gain = _square("gain", 0.25 * np.eye(4) if gain is None else gain)
        self.noise = _square("noise", 0.02 * np.eye(4) if noise is None else noise)
        if not 0 <= damping <= 1:
            raise BadInputError(f"Expected a damping between 0 (none) and 1 (stops at once), got {damping!r}.")
        self.damping = float(damping)

    def move(self, latents, velocity, action, grid, *, key):
        push = _act(self.gain, action, velocity.dtype) + _disturb(self.noise, velocity.dtype, key)
        velocity = (1 - self.damping) * velocity + push
        free = latents.at[1:].add(velocity.astype(latents.dtype))
        bounded = grid.contain(free)
        stopped = (bounded != free)[1:] & (jnp.arange(4) != 1)
        return bounded, jnp.where(stopped, 0, velocity)

    def steps(self, differences: Float[Array, "4"]) -> Scalar:
        """Least n with d <= g n (n + 1) / 2: full acceleration from rest, no damping, no need to stop at the goal."""
        gain = jnp.abs(jnp.diag(self.gain)).astype(differences.dtype)
        return jnp.max(jnp.ceil((jnp.sqrt(1 + 8 * differences / gain) - 1) / 2))


def _square(name: str, matrix: Any) -> Float[Array, "4 4"]:
    array = np.asarray(matrix, float)
    if array.shape != (4, 4) or not np.all(np.isfinite(array)):
        raise BadInputError(
            f"Expected '{name}' as a finite 4 x 4 matrix over scale, orientation, x, y; "
            f"got shape {array.shape}: {matrix!r}."
        )
    return jnp.asarray(array)


def _act(gain: Float[Array, "4 4"], action: Array, dtype) -> Float[Array, "4"]:
    return gain.astype(dtype) @ jnp.clip(action.astype(dtype), -1, 1)


def _disturb(noise: Float[Array, "4 4"], dtype, key: Key) -> Float[Array, "4"]:
    return noise.astype(dtype) @ jr.normal(key, (4,), dtype)
