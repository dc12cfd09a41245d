"""From an image to a posterior over shape and pose."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.core import Tracer

from ...distributions import Cubature, FullGaussian, FullGaussianParams, MeanPoint
from ...environments import SYMMETRY_ORDER
from ...inference import KeepAll, ModePosterior, infer_modes
from ...inference.engines import NaturalGradient
from ...models.static import Similarity, SpatialTransformer, SpriteCoordinates, model_at
from ...objectives import Evidence, FreeEnergy
from ...results import BadInputError
from ...typing import Array, Float, Key, Scalar
from ._sprites import NUM_SHAPES, mass_and_centre, sprite_models


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
        family, shapes = FullGaussian(4), jnp.arange(NUM_SHAPES)
        keys = jr.split(key, 3)

        def refine(models, image, starts, hypothesis, expectation, num_steps, key):
            return infer_modes(
                FreeEnergy(models, expectation), NaturalGradient(rate=1.0, expectation=expectation), family,
                Evidence(image), starts, key=key, num_steps=num_steps, hypothesis=hypothesis, merging=KeepAll(),
                throw=False,
            )  # fmt: skip

        pooled = _pooled(image)
        poses = jnp.concatenate([self._candidates(shape, image, pooled) for shape in range(NUM_SHAPES)])
        coarse, rows = coarsened(self.models), jnp.repeat(shapes, self.num_candidates)
        # Standard deviations of 0.05, half a pixel.
        narrow = jax.vmap(lambda loc: family.from_scale_tril(loc, 0.05 * jnp.eye(4, dtype=loc.dtype)))(poses)
        found = refine(coarse, pooled, narrow, rows, MeanPoint(), self.coarse_steps, keys[0])
        best = jnp.argmin(found.energy_nats.reshape(NUM_SHAPES, self.num_candidates), axis=1)
        starts = jax.tree.map(lambda leaf: leaf[shapes * self.num_candidates + best], found.params)
        starts = refine(self.models, image, starts, shapes, MeanPoint(), self.laplace_steps, keys[1]).params
        return refine(self.models, image, starts, shapes, Cubature(), self.num_steps, keys[2])

    def start(self, image: Float[Array, "64 64"], shape: int) -> Float[Array, "4"]:
        """The feedforward estimate of z for one given shape: stage 1 alone."""
        return self._candidates(shape, image, _pooled(image))[0]

    def _candidates(self, shape, image, pooled) -> Float[Array, "candidates 4"]:
        """The best poses on the ring of one shape, the best first; local minima come before all others."""
        model = model_at(self.models, shape)
        num = self.num_angles[shape]
        mass, centre = mass_and_centre(image)
        own_mass, own_centre = mass_and_centre(model.template)
        per_cell = 2.0 * model.extent / model.template.shape[0]
        scale = jnp.clip(jnp.sqrt(mass / (own_mass * per_cell**2)), 0.35, 1.2)
        offset = own_centre * per_cell - model.extent
        angles = jnp.arange(num) * (2.0 * jnp.pi / SYMMETRY_ORDER[shape] / num)
        ring = jax.vmap(lambda angle: pose_at(model.coordinates, scale, angle, centre, offset))(angles)
        objective = FreeEnergy(model_at(coarsened(self.models), shape), MeanPoint())
        energy = jax.vmap(lambda z: objective.pointwise(z, Evidence(pooled), key=jr.key(0)))(ring)
        minimum = (energy <= jnp.roll(energy, 1)) & (energy <= jnp.roll(energy, -1))
        span = jnp.max(energy) - jnp.min(energy) + 1.0
        _, best = jax.lax.top_k(-jnp.where(minimum, energy, energy + span), self.num_candidates)
        return ring[best]


def coarsened(models: SpatialTransformer) -> SpatialTransformer:
    """The same (stacked) models for images averaged over 2 x 2 pixels, in the same coordinates z.

    Independent pixel noise would have half its standard deviation there.
    """
    half = jnp.asarray([1.0, 1.0, 0.5, 0.5], models.coordinates.gain.dtype)
    size, extent = models.size // 2, models.extent / 2.0

    def build(template, log_sigma, offset, gain):
        coordinates = SpriteCoordinates(offset * half, gain * half)
        log_sigma = log_sigma - jnp.log(2.0)
        return SpatialTransformer(_pooled(template), log_sigma, coordinates, size=size, extent=extent)

    coordinates = models.coordinates
    return eqx.filter_vmap(build)(models.template, models.log_sigma, coordinates.offset, coordinates.gain)


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


def pose_at(
    coordinates: SpriteCoordinates, scale: Scalar, angle: Scalar, centre: Float[Array, "2"], offset: Float[Array, "2"]
) -> Float[Array, "4"]:
    """The z that puts a template whose own centroid lies at `offset` onto `centre`, angle on the branch nearest zero."""
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    x = centre[0] - scale * (cos * offset[0] + sin * offset[1])
    y = centre[1] - scale * (-sin * offset[0] + cos * offset[1])
    return coordinates.inverse(Similarity(scale, jnp.mod(angle + jnp.pi, 2.0 * jnp.pi) - jnp.pi, x, y))


def _pooled(image: Float[Array, "n n"]) -> Float[Array, "half half"]:
    half = image.shape[0] // 2
    return image.reshape(half, 2, half, 2).mean((1, 3))
