"""From the plain keywords of `gymnasium.make` to a world made of objects."""

from typing import Any

import numpy as np
import numpyro.distributions as dist

from ...results import BadInputError
from .._antialiased import Antialiased
from .._configurations import FactorisedConfigurations, FixedConfiguration, UniformConfigurations
from .._dsprites import DSprites
from .._goals import AbstractGoal, ImagePreference, LatentPreference, Target
from .._grid import CANVAS, ORIGINAL_ORIENTATIONS, SpriteGrid
from .._motion import AbstractMotion, ContinuousMotion, GridMotion, OneFactorMotion, SecondOrderMotion
from .._renderers import AbstractRenderer, PixelExact
from .._scene import RAINBOW, SpriteScene
from .._world import AbstractSpriteWorld
from ..wrappers import Fovea, Occluders, PixelNoise


def build_world(
    *,
    original_grid: bool = False,
    shapes: tuple[int, ...] = (0, 1, 2),
    one_factor: bool = False,
    continuous: bool = False,
    second_order: bool = False,
    process_noise: float | None = None,
    damping: float | None = None,
    antialiased: bool = False,
    size: int = CANVAS,
    objects: int | None = None,
    palette: Any = None,
    goal: Any = None,
    preferred_latents: Any = None,
    preferred_image: Any = None,
    image_scale: float = 1.0,
    occluders: Any = (),
    pixel_noise: float = 0.0,
    fovea: int | None = None,
    fovea_stride: float = 4,
) -> AbstractSpriteWorld:
    """A world from plain values.

    Args:
        original_grid: the data set's ring of 39 angles instead of 40.
        shapes: shapes to draw from (0 square, 1 ellipse, 2 heart).
        one_factor: nine actions that move one factor at a time, instead of 81.
        continuous: real latents and actions (`ContinuousMotion`).
        second_order: actions accelerate the sprite (`SecondOrderMotion`).
        process_noise: standard deviation of the noise of real motions, in class units.
        damping: share of the velocity lost per step, for `second_order`.
        antialiased: smooth edges; needed for any size but 64.
        size: side of the image in pixels.
        objects: number of sprites; any number makes the world a coloured scene.
        palette: rows (red, green, blue) in [0, 1]; makes the world a coloured scene.
        goal: the target's latents in every episode; drawn at random by default.
        preferred_latents: five vectors of logits, a preference in place of a target.
        preferred_image: mean of a preferred Gaussian over images in place of a target.
        image_scale: its standard deviation.
        occluders: rectangles (x, y, width, height) that hide part of the image.
        pixel_noise: standard deviation of Gaussian noise on the pixels.
        fovea: side of the window that is seen; two more actions move it.
        fovea_stride: pixels that the window moves per unit of action.

    Raises:
        BadInputError: values that do not fit together.
    """
    scene = objects is not None or palette is not None
    parts = {
        "grid": SpriteGrid(ORIGINAL_ORIENTATIONS - 1) if original_grid else SpriteGrid(),
        "motion": _motion(one_factor, continuous, second_order, process_noise, damping),
        "renderer": _renderer(antialiased, size),
        "start": UniformConfigurations(tuple(shapes)),
        "goal": _goal(goal, preferred_latents, preferred_image, image_scale),
    }
    pictures = (size, size, 3) if scene else (size, size)
    if preferred_image is not None and np.shape(preferred_image) != pictures:
        raise BadInputError(f"Expected a preferred image of shape {pictures}, got {np.shape(preferred_image)}.")
    if scene:
        world = SpriteScene(1 if objects is None else objects, RAINBOW if palette is None else palette, **parts)
    else:
        world = DSprites(**parts)
    if len(occluders):
        world = Occluders(world, occluders)
    if pixel_noise:
        world = PixelNoise(world, pixel_noise)
    return world if fovea is None else Fovea(world, fovea, fovea_stride)


def _motion(
    one_factor: bool, continuous: bool, second_order: bool, process_noise: float | None, damping: float | None
) -> AbstractMotion:
    if one_factor + continuous + second_order > 1:
        raise BadInputError("Expected at most one of one_factor, continuous and second_order, got several.")
    if damping is not None and not second_order:
        raise BadInputError("Expected damping only together with second_order=True: other motions have no velocity.")
    if process_noise is not None and not (continuous or second_order):
        raise BadInputError("Expected process_noise only together with continuous=True or second_order=True.")
    noise = None if process_noise is None else process_noise * np.eye(4)
    if continuous:
        return ContinuousMotion(noise=noise)
    if second_order:
        return SecondOrderMotion(noise=noise) if damping is None else SecondOrderMotion(noise=noise, damping=damping)
    return OneFactorMotion() if one_factor else GridMotion()


def _renderer(antialiased: bool, size: int) -> AbstractRenderer:
    if antialiased:
        return Antialiased(size=size)
    if size != CANVAS:
        raise BadInputError(
            f"Expected size={CANVAS} for pixel-exact images, got {size!r}: pass antialiased=True as well."
        )
    return PixelExact()


def _goal(goal: Any, preferred_latents: Any, preferred_image: Any, image_scale: float) -> AbstractGoal:
    if sum(option is not None for option in (goal, preferred_latents, preferred_image)) > 1:
        raise BadInputError("Expected at most one of goal, preferred_latents and preferred_image, got several.")
    if preferred_latents is not None:
        return LatentPreference(FactorisedConfigurations(preferred_latents))
    if preferred_image is not None:
        mean = np.asarray(preferred_image, np.float32)
        if not image_scale > 0:
            raise BadInputError(f"Expected a positive image_scale, got {image_scale!r}.")
        return ImagePreference(dist.Normal(mean, np.float32(image_scale)).to_event(mean.ndim))
    return Target() if goal is None else Target(FixedConfiguration(goal))
