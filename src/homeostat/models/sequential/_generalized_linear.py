"""Linear dynamics behind observations that are not Gaussian."""

from typing import final

import equinox as eqx
import jax.numpy as jnp
import numpyro.distributions as dist

from ...core import AbstractMarkovModel
from ...results import BadInputError
from ...typing import Action, Array, Distribution, Float
from ..static import AbstractLikelihood
from ._linear_dynamics import AbstractLinearDynamics
from ._validation import check_scale_tril, check_shape


@final
class GeneralizedLinear(AbstractMarkovModel):
    """z_1 ~ N(m, P),  z' = A z + B u + c + L eps,  x ~ likelihood(C z).

    With `PoissonCounts` or `NegativeBinomialCounts`, whose means are exp(C z + b), it is the model of spike counts that share a few
    smooth latents.

    Attributes:
        initial_mean: m, [d].
        initial_scale_tril: lower Cholesky factor of P, [d, d].
        dynamics: A, B, c and L.
        emission_matrix: C, [features, d].
        likelihood: p(x | C z), such as `PoissonCounts((m,), b)`.

    References:
        Macke et al., "Empirical models of spiking in neural populations", NIPS 2011, Eqs. 1-3.
    """

    initial_mean: Float[Array, " d"] = eqx.field(converter=jnp.asarray)
    initial_scale_tril: Float[Array, "d d"] = eqx.field(converter=jnp.asarray)
    dynamics: AbstractLinearDynamics
    emission_matrix: Float[Array, "f d"] = eqx.field(converter=jnp.asarray)
    likelihood: AbstractLikelihood

    def __check_init__(self):
        if self.emission_matrix.ndim < 2:
            raise BadInputError(
                f"Expected an emission matrix C of shape (features, d), got shape {self.emission_matrix.shape}."
            )
        dim = self.dynamics.dim
        check_shape("the initial mean", self.initial_mean, (dim,))
        check_scale_tril("the initial scale_tril", self.initial_scale_tril, dim)
        check_shape("the emission matrix C", self.emission_matrix, (self.likelihood.num_features, dim))

    @property
    def dim(self) -> int:
        """Number of state coordinates, d."""
        return self.dynamics.dim

    def initial(self) -> Distribution:
        return dist.MultivariateNormal(self.initial_mean, scale_tril=self.initial_scale_tril)

    def transition(self, state: Float[Array, " d"], action: Action = None) -> Distribution:
        return self.dynamics(state, action)

    def emission(self, state: Float[Array, " d"]) -> Distribution:
        return self.likelihood(self.emission_matrix @ state)
