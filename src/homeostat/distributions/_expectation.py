"""Expectations under a distribution as weighted points: E_q[f] ~ sum_i w_i f(z_i).

`MonteCarlo` works for any distribution that can be sampled; `Cubature` needs a Gaussian and is deterministic.
"""

import abc
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ..results import BadInputError
from ..typing import Array, Distribution, Float, Key
from ._closed_forms import gaussian_moments


class Points(NamedTuple):
    """Weighted points of a distribution; the weights sum to one."""

    values: Float[Array, "n ..."]
    weights: Float[Array, " n"]


class AbstractExpectation(eqx.Module):
    """A rule that turns a distribution into weighted points, differentiable in the distribution where it can be."""

    @abc.abstractmethod
    def points(self, distribution: Distribution, *, key: Key) -> Points:
        """The points and their weights."""


@final
class MonteCarlo(AbstractExpectation):
    """Independent samples with equal weights; pathwise differentiable where the distribution is.

    Attributes:
        num_samples: number of samples.
    """

    num_samples: int = eqx.field(static=True, default=1)

    def __check_init__(self):
        if self.num_samples < 1:
            raise BadInputError(f"Expected at least one sample, got num_samples={self.num_samples}.")

    def points(self, distribution: Distribution, *, key: Key) -> Points:
        weights = jnp.full(self.num_samples, 1.0 / self.num_samples)
        # Mapped, not `sample(key, (n,))`: numpyro would promote ranks silently there.
        return Points(jax.vmap(distribution.sample)(jr.split(key, self.num_samples)), weights)


@final
class Antithetic(AbstractExpectation):
    """Pairs mu +- L eps of a Gaussian: exact for linear functions, and less noisy than independent samples.

    Attributes:
        num_pairs: number of pairs; twice as many points.
    """

    num_pairs: int = eqx.field(static=True, default=1)

    def points(self, distribution: Distribution, *, key: Key) -> Points:
        moments = gaussian_moments(distribution)
        noise = jr.normal(key, (self.num_pairs, moments.loc.shape[0]), moments.loc.dtype)
        offsets = noise @ moments.scale_tril.T
        values = moments.loc[None, :] + jnp.concatenate([offsets, -offsets])
        return Points(values, jnp.full(2 * self.num_pairs, 0.5 / self.num_pairs))


@final
class Cubature(AbstractExpectation):
    """The 2d points mu +- sqrt(d) L e_i of a Gaussian, with equal weights: exact for cubic polynomials.

    References:
        Arasaratnam and Haykin, "Cubature Kalman filters", IEEE Transactions on Automatic Control 54 (2009).
    """

    def points(self, distribution: Distribution, *, key: Key) -> Points:
        moments = gaussian_moments(distribution)
        dim = moments.loc.shape[0]
        offsets = jnp.sqrt(float(dim)) * moments.scale_tril.T
        values = moments.loc[None, :] + jnp.concatenate([offsets, -offsets])
        return Points(values, jnp.full(2 * dim, 0.5 / dim))
