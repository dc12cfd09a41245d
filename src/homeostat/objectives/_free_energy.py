"""Variational free energy of a generative model, and its importance-weighted tightening."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp

from ..core import AbstractModel, AbstractObjective
from ..distributions import AbstractExpectation, MonteCarlo, closed_form_divergence, fisher_information
from ..results import BadInputError
from ..typing import Array, Distribution, Energy, Float, Key, Observation


@final
class Evidence(eqx.Module):
    """What a perceptual inference depends on.

    Attributes:
        observation: x.
        prior: distribution over z before x came; None stands for the model's own `initial()`. A filter puts its
            prediction here.
    """

    observation: Observation
    prior: Distribution | None = None


@final
class FreeEnergy(AbstractObjective):
    """F(q) = E_q[-log p(x | z)] + KL(q || p(z)), an upper bound on -log p(x), in nats.

    The divergence is exact where a closed form is known and shares the points of the likelihood term otherwise.

    Attributes:
        model: gives p(x | z) and, where the evidence carries no prior, p(z).
        expectation: rule for E_q.

    References:
        The slides' F_n; Marino, "Learned feedback & feedforward perception & control" (thesis), Eqs. 2.21 and 2.22, where
        the bound L = -F is ascended.
    """

    model: AbstractModel
    expectation: AbstractExpectation = MonteCarlo(1)

    def pointwise(self, value: Array, args: Evidence, *, key: Key) -> Energy:
        """-log p(x | z) - log p(z)."""
        return self._negative_log_likelihood(value, args) - self._prior(args).log_prob(value)

    def __call__(self, distribution: Distribution, args: Evidence, *, key: Key) -> Energy:
        points = self.expectation.points(distribution, key=key)
        error = points.weights @ jax.vmap(lambda z: self._negative_log_likelihood(z, args))(points.values)
        prior = self._prior(args)
        divergence = closed_form_divergence(distribution, prior)
        if divergence is None:
            log_ratio = jax.vmap(lambda z: distribution.log_prob(z) - prior.log_prob(z))(points.values)
            divergence = points.weights @ log_ratio
        return error + divergence

    def curvature(self, value: Float[Array, " d"], args: Evidence, *, key: Key) -> Float[Array, "d d"]:
        """Fisher information of the likelihood plus the curvature of -log p(z); the Hessian where Fisher is unknown."""
        fisher = fisher_information(self.model.emission, value)
        if fisher is None:
            return super().curvature(value, args, key=key)
        return fisher - jax.hessian(self._prior(args).log_prob)(value)

    def _negative_log_likelihood(self, value: Array, args: Evidence) -> Energy:
        likelihood = self.model.emission(value)
        # Broadcasting would quietly turn a wrong shape into a wrong number.
        if eqx.is_array_like(args.observation):
            expected, got = likelihood.shape(), jnp.shape(args.observation)
            if expected != got:
                raise BadInputError(
                    f"Expected an observation of shape {expected}, as the emission of {type(self.model).__name__} has it, "
                    f"got shape {got}: for a batch of observations, map with `jax.vmap` or `equinox.filter_vmap`."
                )
        return -likelihood.log_prob(args.observation)

    def _prior(self, args: Evidence) -> Distribution:
        return self.model.initial() if args.prior is None else args.prior


@final
class ImportanceWeighted(AbstractObjective):
    """-log (1/K) sum_k p(x, z_k) / q(z_k), z_k ~ q: an upper bound on -log p(x) that tightens with K, in nats.

    Attributes:
        model: gives p(x | z) and p(z).
        num_samples: K.

    References:
        Burda, Grosse and Salakhutdinov, "Importance weighted autoencoders", ICLR 2016, Eq. 8.
    """

    model: AbstractModel
    num_samples: int = eqx.field(static=True, default=64)

    def __check_init__(self):
        if self.num_samples < 1:
            raise BadInputError(f"Expected at least one sample, got num_samples={self.num_samples}.")

    def pointwise(self, value: Array, args: Evidence, *, key: Key) -> Energy:
        """-log p(x, z)."""
        return FreeEnergy(self.model).pointwise(value, args, key=key)

    def log_weights(self, distribution: Distribution, args: Evidence, *, key: Key) -> Float[Array, " K"]:
        """log p(x, z_k) - log q(z_k) of K samples, in nats."""
        samples = MonteCarlo(self.num_samples).points(distribution, key=key).values
        return jax.vmap(lambda z: -self.pointwise(z, args, key=key) - distribution.log_prob(z))(samples)

    def __call__(self, distribution: Distribution, args: Evidence, *, key: Key) -> Energy:
        log_weights = self.log_weights(distribution, args, key=key)
        return jnp.log(float(self.num_samples)) - jax.nn.logsumexp(log_weights)
