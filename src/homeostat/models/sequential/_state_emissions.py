"""Emissions of discrete states: one distribution for each state, with the M-step that fits it.

maximise: argmax sum_t sum_k w_tk log p(x_t | k) - n sum_k KL(centre_k || p(x | k)),   missing entries of x_t integrated out

Priors that take their centre from the data have it at the pooled moments. Where these may lie on the edge of what is possible (a
symbol that never occurs), half an observation is added to each outcome, as Jeffreys' prior does.

References:
    Jeffreys, "An invariant form for the prior probability in estimation problems", 1946.
"""

import abc
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from ...distributions import closed_form_divergence, known_entries
from ...typing import Array, Coefficient, Distribution, Float, Int, Observation, Scalar
from ._conjugate_prior import ConjugatePrior, discrete_divergence, log_of, pseudo_observations
from ._pooled_moments import known_values, pooled_moments, require_moments
from ._validation import check_scale_tril, check_shape


class AbstractEmissions(eqx.Module):
    """p(x | k) for k = 0, ..., K - 1; called with a state it gives the distribution."""

    @property
    def num_states(self) -> int:
        """K, the length of the first axis of every parameter."""
        return jax.tree.leaves(self)[0].shape[-2]

    @abc.abstractmethod
    def __call__(self, state: Int[Array, ""]) -> Distribution:
        """p(x | k)."""

    @abc.abstractmethod
    def maximise(
        self, observations: Observation, weights: Float[Array, "n k"], prior: "ConjugatePrior[AbstractEmissions] | None"
    ) -> "AbstractEmissions":
        """The most probable emissions for observations that belong to each state with a weight.

        Args:
            observations: [n, ...], with NaN where missing; a `Masked` for whole numbers.
            weights: [n, K].
            prior: of each state; None for maximum likelihood, which leaves a state that explains nothing where it is.
        """

    @abc.abstractmethod
    def centre(self, observations: Observation) -> "AbstractEmissions":
        """All states alike, with the moments of all observations [n, ...] together: the centre of a weak prior.

        Raises:
            BadInputError: the moments of an entry are known and say nothing, because it was never seen or never changed.
        """

    @abc.abstractmethod
    def divergence(self, centre: "AbstractEmissions") -> Scalar:
        """Sum over states of KL(p(x | k, centre) || p(x | k)) in nats."""


@final
class GaussianEmissions(AbstractEmissions):
    """x ~ N(mu_k, R_k).

    Attributes:
        loc: mu, [K, m].
        scale_tril: lower Cholesky factors of R, [K, m, m].
    """

    loc: Float[Array, "k m"]
    scale_tril: Float[Array, "k m m"]

    def __check_init__(self):
        count, size = self.loc.shape[-2:]
        check_shape("the emission factors", self.scale_tril, (count, size, size))
        check_scale_tril("an emission factor", self.scale_tril, size)

    def __call__(self, state: Int[Array, ""]) -> Distribution:
        return dist.MultivariateNormal(self.loc[state], scale_tril=self.scale_tril[state])

    def maximise(
        self, observations: Observation, weights: Float[Array, "n k"], prior: "ConjugatePrior[GaussianEmissions] | None"
    ) -> "GaussianEmissions":
        """Weighted means and covariances; missing entries enter with their conditional moments given the seen ones."""
        count, centre = pseudo_observations(prior, self)

        def one(loc, factor, centre_loc, centre_factor, weight):
            covariance, eye = factor @ factor.T, jnp.eye(factor.shape[0], dtype=factor.dtype)

            def complete(x, seen):
                both = seen[:, None] & seen[None, :]
                gain = jnp.linalg.solve(jnp.where(both, covariance, eye), jnp.where(seen[:, None], covariance, 0.0)).T
                residual = jnp.where(seen, x - loc, 0.0)
                rest = eye - gain
                return loc + gain @ residual, rest @ covariance @ rest.T

            values, spreads = jax.vmap(complete)(*known_values(observations))
            total = jnp.sum(weight) + count
            safe = jnp.where(total > 0.0, total, 1.0)
            mean = centre_loc + weight @ (values - centre_loc[None, :]) / safe
            centred, shift = values - mean[None, :], centre_loc - mean
            second = centred.T @ (weight[:, None] * centred) + jnp.einsum("n,nij->ij", weight, spreads)
            second = second + count * (centre_factor @ centre_factor.T + shift[:, None] * shift[None, :])
            kept = total > 0.0
            return jnp.where(kept, mean, loc), jnp.where(kept, jnp.linalg.cholesky(second / safe), factor)

        return GaussianEmissions(
            *jax.vmap(one, in_axes=(0, 0, 0, 0, 1))(self.loc, self.scale_tril, centre.loc, centre.scale_tril, weights)
        )

    def centre(self, observations: Observation) -> "GaussianEmissions":
        """Means and variances of the columns, without correlations: columns that go together leave it regular."""
        moments = pooled_moments(observations)
        require_moments(moments, moments.variance > 0.0, "vary")
        loc, scale = (leaf.astype(self.loc.dtype) for leaf in (moments.mean, jnp.sqrt(moments.variance)))
        return GaussianEmissions(
            jnp.broadcast_to(loc, self.loc.shape), jnp.broadcast_to(jnp.diag(scale), self.scale_tril.shape)
        )

    def divergence(self, centre: "GaussianEmissions") -> Scalar:
        states = jnp.arange(self.num_states)
        return jnp.sum(jax.vmap(lambda state: closed_form_divergence(centre(state), self(state)))(states))


@final
class CategoricalEmissions(AbstractEmissions):
    """x ~ Categorical(pi_k), one of V symbols, a whole number; a `Masked` where some are missing.

    Attributes:
        logits: [K, V].
    """

    logits: Float[Array, "k v"]

    def __call__(self, state: Int[Array, ""]) -> Distribution:
        return dist.CategoricalLogits(self.logits[state])

    def maximise(
        self,
        observations: Observation,
        weights: Float[Array, "n k"],
        prior: "ConjugatePrior[CategoricalEmissions] | None",
    ) -> "CategoricalEmissions":
        count, centre = pseudo_observations(prior, self)
        counts = self._counts(observations, weights) + count * jax.nn.softmax(centre.logits, axis=-1)
        known = jnp.sum(counts, axis=-1, keepdims=True) > 0.0
        return CategoricalEmissions(jnp.where(known, log_of(counts), self.logits))

    def centre(self, observations: Observation) -> "CategoricalEmissions":
        """Shares of the symbols, of those that a state can emit."""
        one = jnp.ones((jnp.shape(known_entries(observations).value)[0], 1), self.logits.dtype)
        counts = jnp.broadcast_to(self._counts(observations, one) + 0.5, self.logits.shape)
        return CategoricalEmissions(log_of(jnp.where(self.logits > -jnp.inf, counts, 0.0)))

    def divergence(self, centre: "CategoricalEmissions") -> Scalar:
        return discrete_divergence(centre.logits, self.logits)

    def _counts(self, observations: Observation, weights: Float[Array, "n j"]) -> Float[Array, "j v"]:
        symbols, observed = known_values(observations)
        return jax.ops.segment_sum(weights * observed[:, None], symbols.astype(int), self.logits.shape[-1]).T


@final
class BernoulliEmissions(AbstractEmissions):
    """Independent binary entries, x_i ~ Bernoulli(sigmoid(f_ki)).

    Attributes:
        logits: [K, m].
    """

    logits: Float[Array, "k m"]

    def __call__(self, state: Int[Array, ""]) -> Distribution:
        return dist.BernoulliLogits(self.logits[state]).to_event(1)

    def maximise(
        self,
        observations: Observation,
        weights: Float[Array, "n k"],
        prior: "ConjugatePrior[BernoulliEmissions] | None",
    ) -> "BernoulliEmissions":
        count, centre = pseudo_observations(prior, self)
        share = _weighted_mean(observations, weights, count, jax.nn.sigmoid(centre.logits))
        return BernoulliEmissions(jnp.log(share) - jnp.log1p(-share))

    def centre(self, observations: Observation) -> "BernoulliEmissions":
        counts, mean, _ = pooled_moments(observations)
        ones = jnp.where(counts > 0, counts * mean, 0.0)
        logits = jnp.log(ones + 0.5) - jnp.log(counts - ones + 0.5)
        return BernoulliEmissions(jnp.broadcast_to(logits.astype(self.logits.dtype), self.logits.shape))

    def divergence(self, centre: "BernoulliEmissions") -> Scalar:
        share = jax.nn.sigmoid(centre.logits)
        normaliser = jax.nn.softplus(self.logits) - jax.nn.softplus(centre.logits)
        return jnp.sum(share * (centre.logits - self.logits) + normaliser)


@final
class PoissonEmissions(AbstractEmissions):
    """Independent counts, x_i ~ Poisson(exp(f_ki)).

    Attributes:
        log_rates: [K, m].
    """

    log_rates: Float[Array, "k m"]

    def __call__(self, state: Int[Array, ""]) -> Distribution:
        return dist.Poisson(jnp.exp(self.log_rates[state])).to_event(1)

    def maximise(
        self, observations: Observation, weights: Float[Array, "n k"], prior: "ConjugatePrior[PoissonEmissions] | None"
    ) -> "PoissonEmissions":
        count, centre = pseudo_observations(prior, self)
        return PoissonEmissions(jnp.log(_weighted_mean(observations, weights, count, jnp.exp(centre.log_rates))))

    def centre(self, observations: Observation) -> "PoissonEmissions":
        moments = pooled_moments(observations)
        require_moments(moments, moments.count > 0, "be seen")
        log_rates = jnp.log(moments.mean + 0.5 / moments.count).astype(self.log_rates.dtype)
        return PoissonEmissions(jnp.broadcast_to(log_rates, self.log_rates.shape))

    def divergence(self, centre: "PoissonEmissions") -> Scalar:
        rates = jnp.exp(centre.log_rates)
        return jnp.sum(rates * (centre.log_rates - self.log_rates) + jnp.exp(self.log_rates) - rates)


def _weighted_mean(
    observations: Observation, weights: Float[Array, "n k"], count: Coefficient, centre: Float[Array, "k m"]
) -> Float[Array, "k m"]:
    """Mean of the seen entries for each state and of `count` more like the centre; the centre where there is neither."""
    value, observed = known_values(observations)
    sums = weights.T @ value.astype(weights.dtype)
    total = weights.T @ observed.astype(weights.dtype) + count
    return jnp.where(total > 0.0, (sums + count * centre) / jnp.where(total > 0.0, total, 1.0), centre)
