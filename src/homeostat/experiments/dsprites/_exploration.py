"""Exploration of sprite worlds that stays off their bounds."""

import abc
from typing import final

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr

from ...typing import Array, Float, Key
from ._sprites import LAST_CLASS


class AbstractExploration(eqx.Module):
    """Random actions that keep the sprite away from the ends of scale and position, where moves are clipped.

    A clipped move is no linear dynamics, so it is kept out of the data; which way an action moves a factor is taken as known.
    """

    @abc.abstractmethod
    def __call__(self, place: Float[Array, "4"], speed: Float[Array, "4"], *, key: Key) -> Array:
        """The action at an estimated place (class units) and speed (class units a step)."""


@final
class Reversal(AbstractExploration):
    """Draw every component at random, and turn it inwards where the estimate is within its margin of an end.

    Attributes:
        margins: of scale, orientation, x and y, in class units; larger than the largest move and its noise.
        whole: whether actions are -1, 0, 1 instead of real numbers in [-1, 1].
    """

    margins: tuple[float, float, float, float] = eqx.field(static=True)
    whole: bool = eqx.field(static=True, default=False)

    def __call__(self, place, speed, *, key):
        if self.whole:
            action = jr.randint(key, (4,), -1, 2)
        else:
            action = jr.uniform(key, (4,), place.dtype, -1.0, 1.0)
        last = jnp.asarray(LAST_CLASS, place.dtype)
        margins = jnp.asarray(self.margins, place.dtype)
        low = jnp.isfinite(last) & (place < margins)
        return jnp.where(low, jnp.abs(action), jnp.where(place > last - margins, -jnp.abs(action), action))


@final
class Spring(AbstractExploration):
    """Random accelerations with a spring towards the middle and some braking, for sprites that have velocity.

    Attributes:
        stiffness: action for a displacement of half the range.
        braking: action for a speed of one class a step.
    """

    stiffness: float = 2.0
    braking: float = 0.5

    def __call__(self, place, speed, *, key):
        last = jnp.asarray(LAST_CLASS, place.dtype)
        middle = jnp.where(jnp.isfinite(last), 0.5 * last, place)
        pull = self.stiffness * (middle - place) / jnp.where(jnp.isfinite(last), 0.5 * last, 1.0)
        action = jr.uniform(key, (4,), place.dtype, -1.0, 1.0) + pull - self.braking * speed
        return jnp.clip(action, -1.0, 1.0)
