"""What all worlds of sprites have in common, so that goals, wrappers and adapters can be written once."""

import abc
from typing import TypeVar

import equinox as eqx

from ..core import AbstractEnvironment
from ..typing import Any, Array, Float, Key, PyTree, Scalar
from ._configurations import AbstractConfigurations
from ._grid import SpriteGrid

WorldState = TypeVar("WorldState")


class AbstractSpriteWorld(AbstractEnvironment[WorldState]):
    """An environment of one or several sprites. Several sprites add a leading axis to latents, goals and actions."""

    grid: eqx.AbstractVar[SpriteGrid]

    @abc.abstractmethod
    def initial_at(self, latents: Any, goal: Any = None, *, key: Key) -> WorldState:
        """First state of an episode with a given start; everything else is drawn as usual.

        Args:
            latents: where the sprites start, class indices [shape, scale, orientation, x, y].
            goal: the target's latents; drawn if `None`. Its shape is ignored, since shape cannot change.
            key: randomness of what is drawn.

        Raises:
            BadInputError: they are not configurations of this world's lattice, or a target is given to a world without one.
        """

    @abc.abstractmethod
    def latents(self, state: WorldState) -> Array:
        """[shape, scale, orientation, x, y] in class units, of every sprite."""

    @abc.abstractmethod
    def goal_of(self, state: WorldState) -> PyTree:
        """The goal's part of the state: the target's latents, or an empty tuple."""

    @abc.abstractmethod
    def draw(self, configurations: AbstractConfigurations, *, key: Key) -> Array:
        """Configurations of all sprites, drawn independently."""

    @abc.abstractmethod
    def picture(self, state: WorldState) -> Float[Array, "..."]:
        """The whole scene without noise, float32 in [0, 1]: (size, size), or (size, size, 3) in colour."""

    @abc.abstractmethod
    def differences(self, state: WorldState) -> Array:
        """Distance in class units of each factor (scale, orientation, x, y) to the target, shape (..., 4)."""

    @abc.abstractmethod
    def steps_to_goal(self, state: WorldState) -> Scalar:
        """Length of the shortest path from `state` to its target, without noise."""
