"""What the dSprites experiments share: configurations, the sprite models, errors up to symmetry, and `perceive`."""

from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.core import Tracer

from ...distributions import (
    AbstractExpectation,
    Cubature,
    FullGaussian,
    FullGaussianParams,
    Points,
    gaussian_moments,
)
from ...environments import SYMMETRY_ORDER, Antialiased, PixelExact, SpriteGrid
from ...inference import KeepAll, ModePosterior, infer_modes
from ...inference.engines import NaturalGradient
from ...models.static import Similarity, SpatialTransformer, SpriteCoordinates
from ...objectives import Evidence, FreeEnergy
from ...results import BadInputError
from ...typing import Array, Bool, Distribution, Float, Int, Key, Scalar

SIGMA = 0.15
"""Standard deviation of a pixel under the sprite models. It stands for the difference between the binary pictures and the
model's grey edges, which is not noise: smaller values make the posterior sharper than that difference allows."""

TEMPLATE_CELLS = 64
TEMPLATE_EXTENT = 16.0
"""Half side of a template in canvas pixels at scale 1; the sprites reach 13.6."""


# ------------------------------------------------------------------------------------------------------ configurations


class Split(NamedTuple):
    """Configurations for training and for testing, as flat indices into the lattice.

    Attributes:
        train: configurations whose picture is not among the held-out ones.
        held_out: configurations for testing only.
    """

    train: Int[Array, " train"]
    held_out: Int[Array, " held_out"]


def split_configurations(num_held_out: int, *, key: Key, grid: SpriteGrid = SpriteGrid()) -> Split:
    """Hold out random configurations over all factors, together with every other name of the same picture.

    A square looks the same after a quarter turn: held-out pictures are excluded from training under all their names.
    """
    total = int(np.prod(grid.num_classes))
    if not 0 < num_held_out < total:
        raise BadInputError(f"Expected between 1 and {total - 1} held-out configurations, got {num_held_out}.")
    held_out = np.asarray(jr.choice(key, total, (num_held_out,), replace=False))
    classes = np.stack(np.unravel_index(np.arange(total), grid.num_classes), axis=1)
    periods = np.asarray([int(grid.orientation_period(jnp.asarray(shape))) for shape in range(grid.num_classes[0])])
    classes[:, 2] %= periods[classes[:, 0]]
    picture = np.ravel_multi_index(classes.T, grid.num_classes)
    seen = np.zeros(total, bool)
    seen[np.take(picture, held_out)] = True
    return Split(np.flatnonzero(~np.take(seen, picture)).astype(np.int32), held_out.astype(np.int32))


def latents_at(index: Int[Array, "*n"], grid: SpriteGrid = SpriteGrid()) -> Int[Array, "*n 5"]:
    """Classes [shape, scale, orientation, x, y] of flat indices."""
    return jnp.stack(jnp.unravel_index(index, grid.num_classes), axis=-1).astype(jnp.int32)


def render(latents: Int[Array, "n 5"], grid: SpriteGrid = SpriteGrid()) -> Float[Array, "n 64 64"]:
    """Pixel-exact pictures of configurations."""
    return jax.vmap(lambda one: PixelExact().render(one, grid))(latents)


def similarity_of(latents: Array, grid: SpriteGrid = SpriteGrid()) -> Similarity:
    """Scale, angle and centre of a configuration in class units, shape (5,)."""
    x, y = jnp.unstack(grid.centre(latents), axis=-1)
    return Similarity(grid.scale(latents), grid.angle(latents), x, y)


# -------------------------------------------------------------------------------------------------------------- models


def sprite_templates(cells: int = TEMPLATE_CELLS) -> Float[Array, "3 cells cells"]:
    """The three given templates, rendered with antialiased edges; they span `TEMPLATE_EXTENT` to each side at scale 1."""
    zoom = 32.0 / TEMPLATE_EXTENT
    renderer = Antialiased(size=cells, max_scale=zoom)
    return jnp.stack([renderer.image(jnp.asarray(k), zoom, 0.0, 32.0, 32.0) for k in range(len(SYMMETRY_ORDER))])


def sprite_models(sigma: float = SIGMA) -> SpatialTransformer:
    """Given-template models of square, ellipse and heart, stacked: every array has a leading axis of three."""
    templates = sprite_templates()
    return eqx.filter_vmap(
        lambda template: SpatialTransformer(
            template, log_sigma=jnp.log(jnp.asarray(sigma, template.dtype)), extent=TEMPLATE_EXTENT
        )
    )(templates)


def sprite_model(models: SpatialTransformer, shape: int | Int[Array, ""]) -> SpatialTransformer:
    """One of stacked models."""
    return jax.tree.map(lambda leaf: leaf[shape] if eqx.is_array(leaf) else leaf, models)


def angle_period(shape: Int[Array, "*n"]) -> Float[Array, "*n"]:
    """Radians after which the picture of a shape repeats."""
    return 2.0 * jnp.pi / jnp.asarray(SYMMETRY_ORDER, float)[shape]


# -------------------------------------------------------------------------------------------------------------- errors


class DecodingErrors(NamedTuple):
    """Absolute errors of a decoded pose.

    Attributes:
        scale: in units of the scale factor (which spans 0.5 to 1).
        angle_degrees: up to the true shape's symmetry.
        x: in units of the canvas factor, which spans [0, 1] (32 pixels).
        y: likewise.
    """

    scale: Scalar
    angle_degrees: Scalar
    x: Scalar
    y: Scalar


def decoding_errors(decoded: Similarity, latents: Int[Array, "5"], grid: SpriteGrid = SpriteGrid()) -> DecodingErrors:
    """Errors against a configuration in class units."""
    truth = similarity_of(latents, grid)
    period = angle_period(latents[0].astype(int)).astype(decoded.angle.dtype)
    turn = jnp.mod(decoded.angle - truth.angle, period)
    angle = jnp.degrees(jnp.minimum(turn, period - turn))
    return DecodingErrors(
        jnp.abs(decoded.scale - truth.scale),
        angle,
        jnp.abs(decoded.x - truth.x) / 32.0,
        jnp.abs(decoded.y - truth.y) / 32.0,
    )


def within_tolerance(errors: DecodingErrors) -> Bool[Array, "*n"]:
    """Position within 1/32, scale within 0.05 and rotation within 9 degrees."""
    position = (errors.x <= 1.0 / 32.0) & (errors.y <= 1.0 / 32.0)
    return position & (errors.scale <= 0.05) & (errors.angle_degrees <= 9.0)


# ---------------------------------------------------------------------------------------------------------- perception


@final
class Centre(AbstractExpectation):
    """E_q[f] ~ f(mean): one evaluation a step; natural gradient with it finds the Laplace approximation."""

    def points(self, distribution: Distribution, *, key: Key) -> Points:
        loc = gaussian_moments(distribution).loc
        return Points(loc[None, :], jnp.ones(1, loc.dtype))


@final
class SpritePerception(eqx.Module):
    """From an image to a posterior over shape and pose, coarse to fine.

    1. Feedforward, at half resolution: for each shape and each of a ring of angles, scale and position follow in closed
       form from the image's mass and centroid; the energies of these poses are compared.
    2. Each shape's best angles (local minima on its ring) are refined by Gauss-Newton steps at half resolution.
    3. The best of each shape is refined at full resolution, by Gauss-Newton steps and then by natural gradients with
       cubature and a full covariance; `infer_modes` weighs the shapes.

    Shapes stay in fixed places throughout, because choosing templates image by image would cost more than it saves.

    Attributes:
        models: stacked sprite models.
        num_angles: points on each shape's ring of angles (which spans the angles up to its symmetry).
        num_candidates: angles of each shape that enter stage 2.
        coarse_steps: Gauss-Newton steps at half resolution.
        laplace_steps: Gauss-Newton steps at full resolution.
        num_steps: natural-gradient steps with cubature after them.
    """

    models: SpatialTransformer = eqx.field(default_factory=sprite_models)
    num_angles: tuple[int, ...] = eqx.field(static=True, default=(6, 8, 12))
    num_candidates: int = eqx.field(static=True, default=2)
    coarse_steps: int = eqx.field(static=True, default=4)
    laplace_steps: int = eqx.field(static=True, default=2)
    num_steps: int = eqx.field(static=True, default=1)

    def __call__(self, image: Array | np.ndarray, *, key: Key) -> ModePosterior[FullGaussianParams]:
        """Perceive one image (map with `jax.vmap` for many); mode k of the result is shape k.

        Args:
            image: shape (64, 64), values in [0, 1].
            key: random key (the default rules of expectation are deterministic and do not use it).

        Raises:
            BadInputError: the image has another shape or type, or (outside `jit`) other values.
        """
        image = checked_image(image, self.models.size).astype(self.models.template.dtype)
        family = FullGaussian(4)
        coarse_key, laplace_key, fine_key = jr.split(key, 3)
        num_shapes = len(self.num_angles)
        shapes = jnp.arange(num_shapes)
        gauss_newton = NaturalGradient(rate=1.0, expectation=Centre())

        coarse_models, pooled = coarsened(self.models), _pooled(image)
        poses = [self._candidates(shape, image, pooled) for shape in range(num_shapes)]
        found = infer_modes(
            FreeEnergy(coarse_models, Centre()),
            gauss_newton,
            family,
            Evidence(pooled),
            _narrow(family, jnp.concatenate(poses)),
            key=coarse_key,
            num_steps=self.coarse_steps,
            hypothesis=jnp.repeat(shapes, self.num_candidates),
            merging=KeepAll(),
            throw=False,
        )
        best = jnp.argmin(found.energy_nats.reshape(num_shapes, self.num_candidates), axis=1)
        starts = jax.tree.map(lambda leaf: leaf[shapes * self.num_candidates + best], found.params)
        starts = infer_modes(
            FreeEnergy(self.models, Centre()),
            gauss_newton,
            family,
            Evidence(image),
            starts,
            key=laplace_key,
            num_steps=self.laplace_steps,
            hypothesis=shapes,
            merging=KeepAll(),
            throw=False,
        ).params
        return infer_modes(
            FreeEnergy(self.models, Cubature()),
            NaturalGradient(rate=1.0),
            family,
            Evidence(image),
            starts,
            key=fine_key,
            num_steps=self.num_steps,
            hypothesis=shapes,
            merging=KeepAll(),
            throw=False,
        )

    def start(self, image: Float[Array, "64 64"], shape: int) -> Float[Array, "4"]:
        """The feedforward estimate of z for one given shape: stage 1 alone."""
        return self._candidates(shape, image, _pooled(image))[0]

    def _candidates(self, shape, image, pooled) -> Float[Array, "candidates 4"]:
        """The best poses on the ring of one shape, the best first; local minima come before all others."""
        model = sprite_model(self.models, shape)
        num = self.num_angles[shape]
        mass, centre = mass_and_centre(image)
        own_mass, own_centre = mass_and_centre(model.template)
        per_cell = 2.0 * model.extent / model.template.shape[0]
        scale = jnp.clip(jnp.sqrt(mass / (own_mass * per_cell**2)), 0.35, 1.2)
        offset = own_centre * per_cell - model.extent
        angles = jnp.arange(num) * (2.0 * jnp.pi / SYMMETRY_ORDER[shape] / num)
        ring = jax.vmap(lambda angle: _pose(model.coordinates, scale, angle, centre, offset))(angles)
        objective = FreeEnergy(sprite_model(coarsened(self.models), shape), Centre())
        energy = jax.vmap(lambda z: objective.pointwise(z, Evidence(pooled), key=jr.key(0)))(ring)
        minimum = (energy <= jnp.roll(energy, 1)) & (energy <= jnp.roll(energy, -1))
        span = jnp.max(energy) - jnp.min(energy) + 1.0
        _, best = jax.lax.top_k(-jnp.where(minimum, energy, energy + span), self.num_candidates)
        return ring[best]


def perceive(image: Array | np.ndarray, *, key: Key) -> ModePosterior[FullGaussianParams]:
    """`SpritePerception` with its default settings; `hypothesis` of the result is the shape."""
    return SpritePerception()(image, key=key)


def coarsened(models: SpatialTransformer) -> SpatialTransformer:
    """The same (stacked) models for images averaged over 2 x 2 pixels, in the same coordinates z.

    Independent pixel noise would have half its standard deviation there.
    """
    half = jnp.asarray([1.0, 1.0, 0.5, 0.5], models.coordinates.gain.dtype)
    cells = models.template.shape[-1] // 2
    templates = models.template.reshape(-1, cells, 2, cells, 2).mean((2, 4))

    def build(template, log_sigma, offset, gain):
        coordinates = SpriteCoordinates(offset * half, gain * half)
        return SpatialTransformer(
            template,
            log_sigma=log_sigma - jnp.log(2.0),
            coordinates=coordinates,
            size=models.size // 2,
            extent=models.extent / 2.0,
        )

    return eqx.filter_vmap(build)(templates, models.log_sigma, models.coordinates.offset, models.coordinates.gain)


def checked_image(image: Array | np.ndarray, size: int = 64) -> Array:
    """Return `image`, or say what is wrong with it; values are looked at only when they are known."""
    shape = jnp.shape(image)
    if shape != (size, size):
        raise BadInputError(
            f"Expected one grey image of shape ({size}, {size}), got shape {shape}: for a batch, map with `jax.vmap`."
        )
    if not isinstance(image, Tracer):
        values = np.asarray(image)
        if values.dtype.kind not in "fbiu":
            raise BadInputError(f"Expected an image of real numbers, got type {values.dtype}.")
        if not np.all(np.isfinite(values)):
            raise BadInputError("Expected an image of finite values, got NaN or infinity: check how it was loaded.")
        if values.min() < 0 or values.max() > 1:
            raise BadInputError(
                f"Expected pixel values in [0, 1], got values from {values.min()} to {values.max()}: divide bytes by 255."
            )
    return jnp.asarray(image)


def _pooled(image: Float[Array, "n n"]) -> Float[Array, "half half"]:
    half = image.shape[0] // 2
    return image.reshape(half, 2, half, 2).mean((1, 3))


def mass_and_centre(image: Float[Array, "n n"]) -> tuple[Scalar, Float[Array, "2"]]:
    """Sum of the values, and their centroid (x, y) in cells from the top left edge."""
    num = image.shape[0]
    mass = jnp.sum(image)
    ticks = jnp.arange(num, dtype=image.dtype) + 0.5
    safe = jnp.maximum(mass, 1e-3)
    moments = jnp.stack([jnp.sum(image, axis=0) @ ticks, jnp.sum(image, axis=1) @ ticks])
    return mass, jnp.where(mass > 1e-3, moments / safe, 0.5 * num)


def _pose(
    coordinates: SpriteCoordinates, scale: Scalar, angle: Scalar, centre: Float[Array, "2"], offset: Float[Array, "2"]
) -> Float[Array, "4"]:
    """The z that puts a template whose own centroid lies at `offset` onto `centre`, angle on the branch nearest zero."""
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    x = centre[0] - scale * (cos * offset[0] + sin * offset[1])
    y = centre[1] - scale * (-sin * offset[0] + cos * offset[1])
    angle = jnp.mod(angle + jnp.pi, 2.0 * jnp.pi) - jnp.pi
    return coordinates.inverse(Similarity(scale, angle, x, y))


def _narrow(family: FullGaussian, locs: Float[Array, "n 4"]) -> FullGaussianParams:
    """Gaussians of standard deviation 0.05 (half a pixel) about each row."""
    tril = 0.05 * jnp.eye(4, dtype=locs.dtype)
    return jax.vmap(lambda loc: family.from_scale_tril(loc, tril))(locs)
