"""Emissions of discrete states: one distribution for each state, with the M-step that fits it.

maximise: argmax sum_t sum_k w_tk log p(x_t | k) + log prior,   missing entries of x_t integrated out
"""

import abc
from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from ...distributions import known_entries
from ...results import BadInputError
from ...typing import Array, Bool, Distribution, Float, Int, Observation
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
        self, observations: Observation, weights: Float[Array, "n k"], prior_count: float
    ) -> "AbstractEmissions":
        """The most likely emissions for observations that belong to each state with a weight.

        Args:
            observations: [n, ...], with NaN where missing; a `Masked` for whole numbers.
            weights: [n, K].
            prior_count: pseudo-observations of what the emissions are now (for the covariance and the probabilities), which
                keep a state that explains nothing where it is.
        """


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
        self, observations: Observation, weights: Float[Array, "n k"], prior_count: float
    ) -> "GaussianEmissions":
        """Weighted means and covariances; missing entries enter with their conditional moments given the seen ones."""

        def one(loc, factor, weight):
            covariance, eye = factor @ factor.T, jnp.eye(factor.shape[0], dtype=factor.dtype)

            def complete(x, seen):
                both = seen[:, None] & seen[None, :]
                gain = jnp.linalg.solve(jnp.where(both, covariance, eye), jnp.where(seen[:, None], covariance, 0.0)).T
                residual = jnp.where(seen, x - loc, 0.0)
                rest = eye - gain
                return loc + gain @ residual, rest @ covariance @ rest.T

            values, spreads = jax.vmap(complete)(*_known(observations))
            total = jnp.sum(weight) + prior_count
            safe = jnp.where(total > 0.0, total, 1.0)
            mean = (weight @ values + prior_count * loc) / safe
            centred = values - mean[None, :]
            second = centred.T @ (weight[:, None] * centred) + jnp.einsum("n,nij->ij", weight, spreads)
            shift = loc - mean
            second = second + prior_count * (covariance + shift[:, None] * shift[None, :])
            kept = total > 0.0
            return jnp.where(kept, mean, loc), jnp.where(kept, jnp.linalg.cholesky(second / safe), factor)

        return GaussianEmissions(*jax.vmap(one, in_axes=(0, 0, 1))(self.loc, self.scale_tril, weights))


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
        self, observations: Observation, weights: Float[Array, "n k"], prior_count: float
    ) -> "CategoricalEmissions":
        symbols, observed = _known(observations)
        symbols, seen = symbols.astype(int), weights * observed[:, None]
        counts = jax.ops.segment_sum(seen, symbols, self.logits.shape[-1]).T
        counts = counts + prior_count * jax.nn.softmax(self.logits, axis=-1)
        total = jnp.sum(counts, axis=-1, keepdims=True)
        logs = jnp.where(counts > 0.0, jnp.log(jnp.where(counts > 0.0, counts, 1.0)), -jnp.inf)
        return CategoricalEmissions(jnp.where(total > 0.0, logs, self.logits))


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
        self, observations: Observation, weights: Float[Array, "n k"], prior_count: float
    ) -> "BernoulliEmissions":
        if prior_count <= 0.0:
            raise BadInputError(
                f"Expected a positive prior_count for Bernoulli emissions, got {prior_count}: an entry that a state never "
                f"emits would have an infinite logit."
            )
        share = _weighted_mean(observations, weights, jax.nn.sigmoid(self.logits), prior_count)
        return BernoulliEmissions(jnp.log(share) - jnp.log1p(-share))


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
        self, observations: Observation, weights: Float[Array, "n k"], prior_count: float
    ) -> "PoissonEmissions":
        if prior_count <= 0.0:
            raise BadInputError(
                f"Expected a positive prior_count for Poisson emissions, got {prior_count}: a count that is always zero in "
                f"a state would have a log rate of minus infinity."
            )
        rates = _weighted_mean(observations, weights, jnp.exp(self.log_rates), prior_count)
        return PoissonEmissions(jnp.log(rates))


def _known(observations: Observation) -> tuple[Array, Bool[Array, "..."]]:
    """Values with zeros for what is missing, and what is not."""
    value, observed = known_entries(observations)
    observed = jnp.ones(value.shape, bool) if observed is None else observed
    return jnp.where(observed, value, jnp.zeros_like(value)), observed


def _weighted_mean(
    observations: Observation, weights: Float[Array, "n k"], now: Float[Array, "k m"], prior_count: float
) -> Float[Array, "k m"]:
    """Mean of the seen entries for each state, with `prior_count` observations of the present mean."""
    value, observed = _known(observations)
    sums = weights.T @ value.astype(weights.dtype)
    counts = weights.T @ observed.astype(weights.dtype)
    return (sums + prior_count * now) / (counts + prior_count)
