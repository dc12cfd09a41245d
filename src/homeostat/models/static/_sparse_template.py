"""A sprite whose template is a sparse combination of learned parts: Bayesian sparse coding inside a spatial transformer.

    z ~ N(0, 1)^4,   w_a ~ Laplace(0, b),   a = 1..A
    I(w) = f(I_0 + sum_a w_a D_a)
    x ~ N(STN(gamma(z), I(w)), sigma^2)

Pose z and weights w are inferred jointly, as one vector (z, w); the dictionary D is learned. Scaling an atom up and its
weight down changes nothing but the prior term, so learning would shrink w towards zero; the atoms are therefore held at root
mean square one (`normalised`).
"""

from collections.abc import Callable
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpyro.distributions as dist
from numpyro.distributions import constraints

from ...core import AbstractModel
from ...results import BadInputError
from ...typing import Array, Distribution, Float, Key, Nonlinearity
from ._coordinates import SpriteCoordinates
from ._sampling import sample_template


def identity(value: Array) -> Array:
    """f(v) = v."""
    return value


@final
class SparseTemplate(AbstractModel):
    """x ~ N(STN(gamma(z), f(I_0 + w . D)), sigma^2): pose and sparse weights, in one latent vector of 4 + A numbers.

    Attributes:
        mean: I_0, the template of zero weights; its grid covers [-extent, extent]^2 canvas pixels at scale 1.
        dictionary: D, the atoms.
        log_sigma: logarithm of the standard deviation of a pixel.
        log_width: log b, logarithm of the scale of a weight's prior.
        coordinates: gamma.
        sparsity: family of the weights' prior, called with location and scale: `dist.Laplace`, `dist.Logistic` (its smooth
            relative), or `functools.partial(dist.StudentT, 3.0)`.
        output: f.
        size: side of the canvas, pixels.
        extent: half side of the template, canvas pixels.

    References:
        The slides, "Integration with Bayesian sparse-coding"; Olshausen and Field, "Sparse coding with an overcomplete basis
        set", Vision Research 37 (1997).
    """

    mean: Float[Array, "n n"]
    dictionary: Float[Array, "atoms rows columns"]
    log_sigma: Float[Array, ""] = eqx.field(converter=jnp.asarray, default=-2.0)
    log_width: Float[Array, ""] = eqx.field(converter=jnp.asarray, default=-1.0)
    coordinates: SpriteCoordinates = eqx.field(default_factory=SpriteCoordinates)
    sparsity: Callable[..., Distribution] = eqx.field(static=True, default=dist.Laplace)
    output: Nonlinearity = eqx.field(static=True, default=identity)
    size: int = eqx.field(static=True, default=64)
    extent: float = eqx.field(static=True, default=16.0)

    def __check_init__(self):
        if self.dictionary.shape[1:] != self.mean.shape:
            raise BadInputError(
                f"Expected atoms of the template's shape {self.mean.shape} along a leading axis, got a dictionary of shape "
                f"{self.dictionary.shape}."
            )

    @property
    def num_atoms(self) -> int:
        """A."""
        return self.dictionary.shape[0]

    @property
    def dim(self) -> int:
        """Number of latent variables, 4 + A."""
        return 4 + self.num_atoms

    def initial(self) -> Distribution:
        width = jnp.exp(self.log_width)
        zeros = jnp.zeros(self.num_atoms, width.dtype)
        pose = dist.Normal(jnp.zeros(4, width.dtype), jnp.ones(4, width.dtype)).to_event(1)
        return Blocks((pose, self.sparsity(zeros, jnp.broadcast_to(width, zeros.shape)).to_event(1)))

    def emission(self, state: Float[Array, " d"]) -> Distribution:
        return dist.Normal(self.image(state), jnp.exp(self.log_sigma)).to_event(2)

    def template(self, weights: Float[Array, " atoms"]) -> Float[Array, "n n"]:
        """I(w)."""
        return self.output(self.mean + jnp.tensordot(weights, self.dictionary, axes=1))

    def image(self, state: Float[Array, " d"]) -> Float[Array, "size size"]:
        """O, the noise-free image."""
        template, pose = self.template(state[4:]), self.coordinates(state[:4])
        return sample_template(template, pose, size=self.size, extent=self.extent)

    def normalised(self) -> "SparseTemplate":
        """The same model with every atom scaled to root mean square one."""
        level = jnp.sqrt(jnp.mean(self.dictionary**2, axis=(1, 2), keepdims=True))
        # An atom of zeros has no direction: it stays as it is.
        dictionary = self.dictionary / jnp.where(level > 0.0, level, 1.0)
        return eqx.tree_at(lambda model: model.dictionary, self, dictionary)


@final
class Blocks(dist.Distribution):
    """p(v) = prod_b p_b(v_b) for a vector v cut into consecutive blocks, each with a distribution of its own.

    Args:
        parts: distributions over vectors, in the order of the blocks.
    """

    pytree_data_fields = ("parts",)

    def __init__(self, parts: tuple[Distribution, ...], *, validate_args=None):
        for part in parts:
            if part.batch_shape != () or len(part.event_shape) != 1:
                raise BadInputError(
                    f"Expected distributions over single vectors, got batch shape {part.batch_shape} and event shape "
                    f"{part.event_shape}: use `.to_event(1)`."
                )
        self.parts = parts
        length = sum(part.event_shape[0] for part in parts)
        super().__init__(batch_shape=(), event_shape=(length,), validate_args=validate_args)

    def sample(self, key: Key, sample_shape: tuple[int, ...] = ()) -> Float[Array, "*sample d"]:
        if sample_shape:
            keys = jr.split(key, sample_shape)
            sample = self.sample
            for _ in sample_shape:
                sample = jax.vmap(sample)
            return sample(keys)
        keys = jr.split(key, len(self.parts))
        return jnp.concatenate([part.sample(k) for part, k in zip(self.parts, keys, strict=True)])

    def log_prob(self, value: Float[Array, " d"]) -> Float[Array, ""]:
        total, start = jnp.zeros((), value.dtype), 0
        for part in self.parts:
            stop = start + part.event_shape[0]
            total, start = total + part.log_prob(value[start:stop]), stop
        return total

    @property
    def support(self):
        return constraints.real_vector

    @property
    def mean(self) -> Float[Array, " d"]:
        return jnp.concatenate([part.mean for part in self.parts])

    @property
    def variance(self) -> Float[Array, " d"]:
        return jnp.concatenate([part.variance for part in self.parts])
