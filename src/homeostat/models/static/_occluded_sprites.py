"""Several sprites in one image, nearer ones covering farther ones.

    z = (z^1, ..., z^K),   z^k ~ N(0, 1)^4,   m^k = STN(gamma(z^k), I^k)
    O <- background;   for k from far to near:  O <- (1 - m^k) O + m^k c^k
    x ~ N(O, sigma^2)

c^k is the colour of object k: one number for grey images, several for colour.
"""

import itertools
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from ...core import AbstractModel
from ...results import BadInputError
from ...typing import Array, Distribution, Float, Int
from ._coordinates import Similarity, SpriteCoordinates
from ._sampling import sample_template


@final
class OccludedSprites(AbstractModel):
    """x ~ N(O(z), sigma^2) with K sprites composed by their masks; z holds the K poses one after another, 4 K numbers.

    Attributes:
        templates: I^k, masks with values in [0, 1].
        colours: c^k; shape (K,) for grey images, (K, 3) for colour.
        order: objects from the farthest to the nearest; an array, so that orders can be compared as hypotheses.
        background: colour of the canvas.
        log_sigma: logarithm of the standard deviation of a pixel.
        coordinates: gamma, the same for all objects.
        size: side of the canvas, pixels.
        extent: half side of the templates, canvas pixels.
    """

    templates: Float[Array, "objects n n"]
    colours: Float[Array, "objects *channels"]
    order: Int[Array, " objects"]
    background: Float[Array, "*channels"]
    log_sigma: Float[Array, ""] = eqx.field(converter=jnp.asarray, default=-2.0)
    coordinates: SpriteCoordinates = eqx.field(default_factory=SpriteCoordinates)
    size: int = eqx.field(static=True, default=64)
    extent: float = eqx.field(static=True, default=16.0)

    @property
    def num_objects(self) -> int:
        """K."""
        return self.templates.shape[-3]

    @property
    def dim(self) -> int:
        """Number of latent variables, 4 K."""
        return 4 * self.num_objects

    def initial(self) -> Distribution:
        return dist.Normal(jnp.zeros(self.dim), jnp.ones(self.dim)).to_event(1)

    def emission(self, state: Float[Array, " d"]) -> Distribution:
        image = self.image(state)
        return dist.Normal(image, jnp.exp(self.log_sigma)).to_event(image.ndim)

    def masks(self, state: Float[Array, " d"]) -> Float[Array, "objects size size"]:
        """m^k, how much of each pixel each object would cover on its own."""
        poses = state.reshape(self.num_objects, 4)
        return jax.vmap(lambda template, pose: self._mask(template, self.coordinates(pose)))(self.templates, poses)

    def image(self, state: Float[Array, " d"]) -> Float[Array, "size size *channels"]:
        """O, the noise-free image."""
        masks = self.masks(state)[self.order].reshape(
            self.num_objects, self.size, self.size, *[1] * self.background.ndim
        )
        canvas = jnp.broadcast_to(self.background, (self.size, self.size, *self.background.shape))
        for mask, colour in zip(masks, self.colours[self.order], strict=True):
            canvas = canvas + mask * (jnp.broadcast_to(colour, canvas.shape) - canvas)
        return canvas

    def _mask(self, template: Float[Array, "n n"], pose: Similarity) -> Float[Array, "size size"]:
        return sample_template(template, pose, size=self.size, extent=self.extent)


@final
class ExplainingAway(eqx.Module):
    """Feedforward starts for several objects: each is placed where it best explains what the ones before it left.

    Object by object, the fall of the squared error is computed for every scale, angle and pixel of the canvas at once (two
    correlations, by fast Fourier transforms), over the pixels that no object placed so far covers:

        sum_visible (x - b)^2 - (x - O)^2 = sum_visible 2 m (c - b)(x - b) - m^2 (c - b)^2

    Which object comes first matters; there is one start for every order of placing (K! of them), for `infer_modes` to
    compare.

    Attributes:
        num_angles: angles to try, over the full circle.
    """

    scales: tuple[float, ...] = eqx.field(static=True, default=(0.5, 0.6, 0.7, 0.8, 0.9, 1.0))
    num_angles: int = eqx.field(static=True, default=16)

    def __call__(self, model: OccludedSprites, image: Float[Array, "size size *channels"]) -> Float[Array, "starts d"]:
        """Starting points z, one row for every order of placing.

        Raises:
            BadInputError: the image does not have the shape of the model's canvas.
        """
        expected = (model.size, model.size, *model.background.shape)
        if image.shape != expected:
            raise BadInputError(f"Expected an image of shape {expected}, got {image.shape}.")
        banks, poses = self._banks(model)
        orders = jnp.asarray(list(itertools.permutations(range(model.num_objects))))
        # One order after another: each needs the correlations of a whole bank.
        return jax.lax.map(lambda order: self._place(model, image, banks, poses, order), orders)

    def _banks(self, model: OccludedSprites):
        """Masks of every object in the middle of the canvas at every scale and angle, and those poses."""
        angles = jnp.arange(self.num_angles) * (2.0 * jnp.pi / self.num_angles)
        scale, angle = (grid.ravel() for grid in jnp.meshgrid(jnp.asarray(self.scales), angles, indexing="ij"))
        middle = jnp.full_like(scale, 0.5 * model.size)
        poses = Similarity(scale, angle, middle, middle)
        draw = jax.vmap(model._mask, in_axes=(None, 0))
        return jax.vmap(draw, in_axes=(0, None))(model.templates, poses), poses

    def _place(self, model, image, banks, poses, order) -> Float[Array, " d"]:
        difference = image - jnp.broadcast_to(model.background, image.shape)
        contrast = model.colours - model.background[None]

        def place(visible, k):
            colour = contrast[k]
            product = jnp.tensordot(difference, colour, axes=colour.ndim)
            gain = _correlate(2.0 * visible * product, banks[k]) - _correlate(
                visible * jnp.sum(colour**2), banks[k] ** 2
            )
            best = jnp.argmax(gain)
            which, row, column = jnp.unravel_index(best, gain.shape)
            pose = Similarity(
                poses.scale[which], poses.angle[which], column.astype(image.dtype), row.astype(image.dtype)
            )
            visible = visible * (1.0 - model._mask(model.templates[k], pose))
            return visible, _nearest_branch(model.coordinates, pose)

        _, states = jax.lax.scan(place, jnp.ones((model.size, model.size), image.dtype), order)
        return jnp.zeros((model.num_objects, 4), states.dtype).at[order].set(states).ravel()


def _nearest_branch(coordinates: SpriteCoordinates, pose: Similarity) -> Float[Array, "4"]:
    """The z of a pose, its angle on the branch nearest zero."""
    angle = jnp.mod(pose.angle + jnp.pi, 2.0 * jnp.pi) - jnp.pi
    return coordinates.inverse(pose._replace(angle=angle))


def _correlate(image: Float[Array, "n n"], masks: Float[Array, "m n n"]) -> Float[Array, "m n n"]:
    """sum_p image(p) mask(p - t + n / 2) for every shift t: each mask's middle put on pixel corner t."""
    num = image.shape[0]
    padded = (2 * num, 2 * num)
    spectrum = jnp.fft.rfft2(image, padded)[None] * jnp.conj(jnp.fft.rfft2(masks, padded))
    # Shift t puts the mask's corner at t; its middle is then at t + n / 2, for t from -n/2 to n/2 - 1.
    full = jnp.roll(jnp.fft.irfft2(spectrum, padded), num // 2, axis=(1, 2))
    return full[:, :num, :num]
