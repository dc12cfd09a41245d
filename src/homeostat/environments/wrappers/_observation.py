"""Wrappers that act on the observed image alone: fixed occluders and pixel noise."""

import abc
from typing import NamedTuple, final

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr

from ...core import Bounded
from ...results import BadInputError
from ...typing import Any, Array, Float, Key
from .._grid import CANVAS
from .._world import AbstractSpriteWorld
from .._wrapper import AbstractSpriteWrapper

_LARGEST_NORMAL = 6.0
"""No single-precision normal variate is farther from zero: the smallest uniform it is made from is 2^-24."""


class AbstractObservationWrapper(AbstractSpriteWrapper):
    """Changes the observed image and nothing else; the state is the inner world's."""

    @abc.abstractmethod
    def observe(self, image: Float[Array, "..."], *, key: Key) -> Float[Array, "..."]:
        """What is seen of `image`, (size, size) or (size, size, 3)."""

    def observation(self, state, *, key):
        inner_key, own_key = jr.split(key)
        return self.observe(self.environment.observation(state, key=inner_key), key=own_key)


class Patch(NamedTuple):
    """A rectangle in pixels of the 64 x 64 canvas."""

    x: float
    y: float
    width: float
    height: float


@final
class Occluders(AbstractObservationWrapper):
    """Fixed grey patches in front of everything.

    Attributes:
        patches: rectangles; a pixel is hidden if its centre lies in one of them.
        grey: brightness of the patches, in [0, 1].
    """

    environment: AbstractSpriteWorld
    patches: tuple[Patch, ...] = eqx.field(static=True)
    grey: float = eqx.field(static=True)

    def __init__(self, environment: AbstractSpriteWorld, patches: Any, grey: float | int = 0.5):
        _require_image(environment, "occluders")
        try:
            self.patches = tuple(Patch(*(float(side) for side in patch)) for patch in patches)
        except (TypeError, ValueError) as error:
            raise BadInputError(
                f"Expected patches as tuples (x, y, width, height) in pixels, got {patches!r}."
            ) from error
        if not all(patch.width > 0 and patch.height > 0 for patch in self.patches):
            raise BadInputError(f"Expected patches (x, y, width, height) of positive size, got {patches!r}.")
        if not 0 <= grey <= 1:
            raise BadInputError(f"Expected the brightness of occluders between 0 and 1, got {grey!r}.")
        self.environment = environment
        self.grey = float(grey)

    def observe(self, image, *, key):
        del key
        hidden = self.mask().reshape(image.shape[:2] + (1,) * (image.ndim - 2))
        return jnp.where(hidden, jnp.asarray(self.grey, image.dtype), image)

    def mask(self) -> Array:
        """Which pixels are hidden: boolean, (size, size)."""
        size = self.environment.observation_spec.shape[0]
        centres = (jnp.arange(size) + 0.5) * (CANVAS / size)
        hidden = jnp.zeros((size, size), bool)
        for patch in self.patches:
            rows = (centres >= patch.y) & (centres < patch.y + patch.height)
            columns = (centres >= patch.x) & (centres < patch.x + patch.width)
            hidden |= rows[:, None] & columns[None, :]
        return hidden


@final
class PixelNoise(AbstractObservationWrapper):
    """Independent Gaussian noise on every pixel: x = image + scale eps, eps ~ N(0, 1); not clipped to [0, 1].

    Attributes:
        scale: standard deviation of the noise, in units of brightness.
    """

    environment: AbstractSpriteWorld
    scale: float = eqx.field(static=True, converter=float, default=0.1)

    def __check_init__(self):
        _require_image(self.environment, "pixel noise")
        if not 0 <= self.scale < float("inf"):
            raise BadInputError(f"Expected the scale of pixel noise as a non-negative number, got {self.scale!r}.")

    @property
    def observation_spec(self):
        inner = self.environment.observation_spec
        reach = _LARGEST_NORMAL * self.scale
        return Bounded(inner.shape, inner.low - reach, inner.high + reach)

    def observe(self, image, *, key):
        return image + self.scale * jr.normal(key, image.shape, jnp.float32).astype(image.dtype)


def _require_image(environment: AbstractSpriteWorld, what: str) -> None:
    if not isinstance(environment.observation_spec, Bounded):
        raise BadInputError(
            f"Expected a world whose observation is one image for {what}, got {type(environment).__name__}: "
            "wrap the world first and put the fovea outermost."
        )
