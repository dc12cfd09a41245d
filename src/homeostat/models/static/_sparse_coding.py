"""Sparse coding: observations as sums of few atoms of a learned dictionary.

    z_k ~ Laplace(0, b),   x ~ N(W z, sigma^2 I)

so that -log p(x, z) = |x - W z|^2 / (2 sigma^2) + |z|_1 / b + const, whose minimiser is the lasso with penalty sigma^2 / b
(`homeostat.inference.map_estimate`). The posterior is log-concave, but no Gaussian; a good test of approximate inference.
"""

from typing import final

import equinox as eqx
import jax.numpy as jnp
import numpyro.distributions as dist

from ...core import AbstractModel
from ...results import BadInputError
from ...typing import Array, Distribution, Float, Scalar


@final
class SparseCoding(AbstractModel):
    """x ~ N(W z, sigma^2) with z ~ Laplace(0, b): the linear member with a sparse prior.

    Attributes:
        dictionary: W, one column for every atom; there may be more atoms than entries of x.
        log_sigma: logarithm of the noise's standard deviation, in the unit of x.
        log_width: log b, logarithm of the scale of the prior.

    References:
        Olshausen and Field, "Emergence of simple-cell receptive field properties by learning a sparse code for natural
        images", Nature 381 (1996); Marino (thesis), Sec. 2.1, on latent variable models.
    """

    dictionary: Float[Array, "m atoms"]
    log_sigma: Float[Array, ""] = eqx.field(converter=jnp.asarray, default=-1.0)
    log_width: Float[Array, ""] = eqx.field(converter=jnp.asarray, default=0.0)

    def __check_init__(self):
        if self.dictionary.ndim != 2 or 0 in self.dictionary.shape:
            raise BadInputError(
                f"Expected a dictionary [m, atoms] with at least one of each, got shape {self.dictionary.shape}."
            )

    @property
    def dim(self) -> int:
        """Number of atoms."""
        return self.dictionary.shape[1]

    @property
    def penalty(self) -> Scalar:
        """sigma^2 / b, the weight of |z|_1 beside |x - W z|^2 / 2."""
        return jnp.exp(2.0 * self.log_sigma - self.log_width)

    def initial(self) -> Distribution:
        zeros = jnp.zeros(self.dim, self.dictionary.dtype)
        width = jnp.broadcast_to(jnp.exp(self.log_width), zeros.shape)
        return dist.Laplace(zeros, width, validate_args=False).to_event(1)

    def emission(self, state: Float[Array, " atoms"]) -> Distribution:
        return dist.Normal(self.dictionary @ state, jnp.exp(self.log_sigma), validate_args=False).to_event(1)

    def normalised(self) -> "SparseCoding":
        """The same model with every atom scaled to length one."""
        return eqx.tree_at(lambda model: model.dictionary, self, unit_columns(self.dictionary))


def unit_columns(matrix: Float[Array, "m n"]) -> Float[Array, "m n"]:
    """Every column scaled to length one; a column of zeros has no direction and stays as it is."""
    length = jnp.sqrt(jnp.sum(matrix**2, axis=0, keepdims=True))
    return matrix / jnp.where(length > 0.0, length, 1.0)
