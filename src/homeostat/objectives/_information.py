"""How much an observation is expected to say about the state, and how sure the model is of what will be seen.

With a belief q(s) and the model's p(x | s), the predicted observation is q(x) = E_q(s)[p(x | s)] and

    ambiguity  = E_q(s)[H[p(x | s)]]
    epistemic  = I(s; x) = H[q(x)] - ambiguity        (expected information gain, never negative)

Estimators differ in what they assume of the belief and of the emission:

    Linearized        Gaussian belief, emission linearised at its mean: exact for linear-Gaussian emissions
    MomentMatched     Gaussian belief, mean and covariance of the emission's mean at cubature points
    NestedMonteCarlo  any belief that can be sampled or is a set of weighted points, any emission
    FiniteOutcomes    any such belief, emissions over finitely many outcomes: exact

`AutomaticEstimator` takes the one that fits.
"""

import abc
from typing import NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpyro.distributions as dist

from ..core import AbstractBelief, AbstractGaussianBelief, AbstractModel, AbstractVectorBelief, Points
from ..distributions import AbstractExpectation, Cubature
from ..results import BadInputError
from ..typing import Array, Distribution, Float, Key, Scalar
from ._emission_table import emission_entropies, log_likelihood_table
from ._gaussian_prediction import GaussianPrediction, has_gaussian_density, linear_prediction, matched_prediction


class Information(NamedTuple):
    """What an observation is worth, in nats.

    Attributes:
        ambiguity_nats: E_q(s)[H[p(x | s)]].
        epistemic_nats: I(s; x).
    """

    ambiguity_nats: Scalar
    epistemic_nats: Scalar


class AbstractEstimator(eqx.Module):
    """Expectations over a predicted belief and over the observations that it predicts."""

    @abc.abstractmethod
    def points(self, belief: AbstractBelief, *, key: Key) -> Points:
        """Weighted states that stand for the belief."""

    @abc.abstractmethod
    def state_entropy(self, belief: AbstractBelief, *, key: Key) -> Scalar:
        """H[q(s)] in nats (relative to the counting measure where the belief is a set of points)."""

    @abc.abstractmethod
    def information(self, model: AbstractModel, belief: AbstractBelief, *, key: Key) -> Information:
        """Ambiguity and epistemic value of the next observation."""

    @abc.abstractmethod
    def expected_log_density(
        self, model: AbstractModel, belief: AbstractBelief, density: Distribution, *, key: Key
    ) -> Scalar:
        """E_q(x)[log density(x)], in nats."""

    @abc.abstractmethod
    def outcome_divergence(
        self, model: AbstractModel, belief: AbstractBelief, density: Distribution, *, key: Key
    ) -> Scalar:
        """KL(q(x) || density), in nats."""


class AbstractGaussianEstimator(AbstractEstimator):
    """Treats the belief by its mean and covariance, and the predicted observation as Gaussian.

    The predicted covariance is W W^T + R with one column of W a state dimension (or cubature point), so that by the matrix
    determinant lemma I(s; x) = 1/2 log |1 + W^T R^-1 W| costs a determinant in the state's dimension, not the image's.
    """

    expectation: eqx.AbstractVar[AbstractExpectation]
    num_outcomes: eqx.AbstractVar[int]

    @abc.abstractmethod
    def prediction(self, model: AbstractModel, belief: AbstractBelief, *, key: Key) -> GaussianPrediction:
        """q(x) as a Gaussian."""

    def points(self, belief: AbstractBelief, *, key: Key) -> Points:
        return self.expectation.points(_gaussian(belief), key=key)

    def state_entropy(self, belief: AbstractBelief, *, key: Key) -> Scalar:
        return _gaussian(belief).entropy()

    def information(self, model: AbstractModel, belief: AbstractBelief, *, key: Key) -> Information:
        prediction = self.prediction(model, belief, key=key)
        return Information(prediction.ambiguity, prediction.information)

    def expected_log_density(self, model, belief, density, *, key):
        closed = self.prediction(model, belief, key=key).expected_log_density(density)
        if closed is not None:
            return closed
        outcomes = _sample_outcomes(model, _gaussian(belief), self.num_outcomes, key=key)
        return jnp.mean(jax.vmap(density.log_prob)(outcomes))

    def outcome_divergence(self, model, belief, density, *, key):
        prediction = self.prediction(model, belief, key=key)
        closed = prediction.divergence(density)
        if closed is not None:
            return closed
        return -prediction.entropy() - self.expected_log_density(model, belief, density, key=key)


@final
class Linearized(AbstractGaussianEstimator):
    """x ~ h(m) + J (s - m) + noise, the first-order expansion at the belief's mean m.

    Attributes:
        expectation: points for expectations over the state; the default is exact for cubic functions.
        num_outcomes: sampled observations for preferences that are not Gaussian.
    """

    expectation: AbstractExpectation = Cubature()
    num_outcomes: int = eqx.field(static=True, default=64)

    def prediction(self, model: AbstractModel, belief: AbstractBelief, *, key: Key) -> GaussianPrediction:
        moments = _gaussian(belief)
        return linear_prediction(model.emission, moments.loc, moments.scale_tril)


@final
class MomentMatched(AbstractGaussianEstimator):
    """Mean and covariance of x from the emission at weighted states, with noise that may depend on the state.

    Attributes:
        expectation: the states; 2 d cubature points by default.
        num_outcomes: sampled observations for preferences that are not Gaussian.
    """

    expectation: AbstractExpectation = Cubature()
    num_outcomes: int = eqx.field(static=True, default=64)

    def prediction(self, model: AbstractModel, belief: AbstractBelief, *, key: Key) -> GaussianPrediction:
        return matched_prediction(model.emission, self.points(belief, key=key))


class AbstractSupport(eqx.Module):
    """Which weighted states stand for a belief."""

    @abc.abstractmethod
    def points(self, belief: AbstractBelief, *, key: Key) -> Points:
        """The states and their weights."""

    @abc.abstractmethod
    def entropy(self, belief: AbstractBelief, *, key: Key) -> Scalar:
        """H[q(s)] in nats."""


@final
class SampledPoints(AbstractSupport):
    """States sampled from the belief, equally weighted.

    The entropy of a belief about a vector is that of the Gaussian with its covariance, an upper bound where it is not Gaussian.

    Attributes:
        num_states: how many.
    """

    num_states: int = eqx.field(static=True, default=64)

    def points(self, belief: AbstractBelief, *, key: Key) -> Points:
        values = jax.vmap(lambda k: belief.sample(key=k))(jr.split(key, self.num_states))
        return Points(values, jnp.full(self.num_states, 1.0 / self.num_states, values.dtype))

    def entropy(self, belief: AbstractBelief, *, key: Key) -> Scalar:
        return _gaussian(belief).entropy() if isinstance(belief, AbstractVectorBelief) else belief.entropy()


@final
class WeightedPoints(AbstractSupport):
    """All states of a finite belief with their probabilities: exact.

    The entropy is -sum w log w, so a preference over states is then a probability (not a density) of each state. Particles
    that occur twice count as two.
    """

    def points(self, belief: AbstractBelief, *, key: Key) -> Points:
        if not belief.finite:
            raise BadInputError(
                f"Expected a belief over finitely many states (a `CategoricalBelief` or `ParticleBelief`), got "
                f"{type(belief).__name__}: use `SampledPoints` to sample states from it."
            )
        return belief.points(key=key)

    def entropy(self, belief: AbstractBelief, *, key: Key) -> Scalar:
        return belief.entropy()


class AbstractPointEstimator(AbstractEstimator):
    """Estimators on weighted states."""

    support: eqx.AbstractVar[AbstractSupport]

    def points(self, belief: AbstractBelief, *, key: Key) -> Points:
        return self.support.points(belief, key=key)

    def state_entropy(self, belief: AbstractBelief, *, key: Key) -> Scalar:
        return self.support.entropy(belief, key=key)


@final
class NestedMonteCarlo(AbstractPointEstimator):
    """I(s; x) ~ mean_k [log p(x_k | s_k) - log sum_j w_j p(x_k | s_j)],  s_k ~ q(s),  x_k ~ p(x | s_k).

    The inner sum runs over all points of the support, with s_k among them. On a support that is the whole belief
    (`WeightedPoints`) the estimate is unbiased; with N drawn states its expectation is a lower bound, below log N.

    Attributes:
        num_outcomes: sampled observations x_k; their states are drawn systematically, one for each share of the weights.
        support: the states s_j.

    References:
        Rainforth et al., "On nesting Monte Carlo estimators", ICML 2018; the lower bound is that of Foster et al., "A
        unified stochastic gradient approach to designing Bayesian-optimal experiments", AISTATS 2020.
    """

    num_outcomes: int = eqx.field(static=True, default=32)
    support: AbstractSupport = WeightedPoints()

    def __check_init__(self):
        if self.num_outcomes < 1:
            raise BadInputError(f"Expected at least one sampled observation, got num_outcomes={self.num_outcomes}.")

    def information(self, model: AbstractModel, belief: AbstractBelief, *, key: Key) -> Information:
        points, chosen, _, table = self._outcomes(model, belief, key=key)
        own = table[jnp.arange(self.num_outcomes), chosen]
        log_evidence = jax.nn.logsumexp(table, axis=1, b=points.weights[None, :])
        entropies = emission_entropies(model, points.values)
        return Information(points.weights @ entropies, jnp.mean(own - log_evidence))

    def expected_log_density(self, model, belief, density, *, key):
        return jnp.mean(jax.vmap(density.log_prob)(self._outcomes(model, belief, key=key)[2]))

    def outcome_divergence(self, model, belief, density, *, key):
        points, _, outcomes, table = self._outcomes(model, belief, key=key)
        log_evidence = jax.nn.logsumexp(table, axis=1, b=points.weights[None, :])
        return jnp.mean(log_evidence - jax.vmap(density.log_prob)(outcomes))

    def _outcomes(self, model: AbstractModel, belief: AbstractBelief, *, key: Key):
        """The points, which of them speak, what they say, and log p(x_k | s_j) [outcomes, points]."""
        point_key, shift_key, outcome_key = jr.split(key, 3)
        points = self.points(belief, key=point_key)
        levels = (jnp.arange(self.num_outcomes) + jr.uniform(shift_key)) / self.num_outcomes
        cumulative = jnp.cumsum(points.weights)
        chosen = jnp.searchsorted(cumulative, levels * cumulative[-1])
        chosen = jnp.minimum(chosen, points.weights.shape[0] - 1)
        outcomes = jax.vmap(lambda i, k: model.emission(points.values[i]).sample(k))(
            chosen, jr.split(outcome_key, self.num_outcomes)
        )
        return points, chosen, outcomes, log_likelihood_table(model, points.values, outcomes)


@final
class FiniteOutcomes(AbstractPointEstimator):
    """Exact sums over the outcomes of an emission with finitely many (a `Categorical` or `Bernoulli`, say).

    Attributes:
        support: the states.
    """

    support: AbstractSupport = WeightedPoints()

    def information(self, model: AbstractModel, belief: AbstractBelief, *, key: Key) -> Information:
        points, _, conditional, marginal = self._outcomes(model, belief, key=key)
        entropies = -jnp.sum(jax.scipy.special.xlogy(conditional, conditional), axis=1)
        ambiguity = points.weights @ entropies
        return Information(ambiguity, -jnp.sum(jax.scipy.special.xlogy(marginal, marginal)) - ambiguity)

    def expected_log_density(self, model, belief, density, *, key):
        _, outcomes, _, marginal = self._outcomes(model, belief, key=key)
        return _expect(marginal, jax.vmap(density.log_prob)(outcomes))

    def outcome_divergence(self, model, belief, density, *, key):
        _, outcomes, _, marginal = self._outcomes(model, belief, key=key)
        log_marginal = jnp.log(jnp.where(marginal > 0.0, marginal, 1.0))
        return _expect(marginal, log_marginal - jax.vmap(density.log_prob)(outcomes))

    def _outcomes(self, model: AbstractModel, belief: AbstractBelief, *, key: Key):
        """The points, all outcomes, p(x | s) [points, outcomes] and q(x) [outcomes]."""
        points = self.points(belief, key=key)
        example = model.emission(points.values[0])
        if not example.has_enumerate_support:
            raise BadInputError(
                f"Expected an emission over finitely many outcomes, got {type(example).__name__}: use `NestedMonteCarlo`."
            )
        outcomes = example.enumerate_support(expand=False)
        conditional = jnp.exp(jax.vmap(lambda state: jax.vmap(model.emission(state).log_prob)(outcomes))(points.values))
        return points, outcomes, conditional, points.weights @ conditional


@final
class AutomaticEstimator(AbstractEstimator):
    """The estimator that fits belief and emission.

    Sums over outcomes where there are finitely many, the linearised emission for a belief with moments and a Gaussian emission
    (exact if both are linear and Gaussian), sampled observations otherwise. States are summed over where the belief is finite.

    Attributes:
        gaussian: for Gaussian emissions and beliefs about vectors, and for expectations under these.
        num_states: sampled states, where the belief is not finite.
        num_outcomes: sampled observations, where they are neither finitely many nor Gaussian.
    """

    gaussian: AbstractGaussianEstimator = Linearized()
    num_states: int = eqx.field(static=True, default=64)
    num_outcomes: int = eqx.field(static=True, default=64)

    def points(self, belief: AbstractBelief, *, key: Key) -> Points:
        return self.gaussian.points(belief, key=key) if _has_moments(belief) else belief.points(key=key)

    def state_entropy(self, belief: AbstractBelief, *, key: Key) -> Scalar:
        return self.gaussian.state_entropy(belief, key=key) if _has_moments(belief) else belief.entropy()

    def information(self, model: AbstractModel, belief: AbstractBelief, *, key: Key) -> Information:
        return self.choose(model, belief).information(model, belief, key=key)

    def expected_log_density(self, model, belief, density, *, key):
        return self.choose(model, belief).expected_log_density(model, belief, density, key=key)

    def outcome_divergence(self, model, belief, density, *, key):
        return self.choose(model, belief).outcome_divergence(model, belief, density, key=key)

    def choose(self, model: AbstractModel, belief: AbstractBelief) -> AbstractEstimator:
        """The estimator for this model and belief, which depends on their kinds alone."""
        # Any state will do: only the kind of its emission is read.
        emission = model.emission(belief.sample(key=jr.key(0)))
        support = WeightedPoints() if belief.finite else SampledPoints(self.num_states)
        if emission.has_enumerate_support and emission.shape() == ():
            return FiniteOutcomes(support)
        if _has_moments(belief) and has_gaussian_density(emission):
            return self.gaussian
        return NestedMonteCarlo(self.num_outcomes, support)


def _has_moments(belief: AbstractBelief) -> bool:
    """Whether the state is a vector of real numbers."""
    return isinstance(belief, AbstractVectorBelief) and belief.mean.ndim == 1


def _expect(weights: Float[Array, " n"], values: Float[Array, " n"]) -> Scalar:
    """sum w f, where impossible outcomes count nothing even if f is infinite there."""
    return jnp.sum(jnp.where(weights > 0.0, weights * values, 0.0))


def _gaussian(belief: AbstractBelief) -> Distribution:
    """The Gaussian with the mean and covariance of a belief."""
    if isinstance(belief, AbstractGaussianBelief):
        return dist.MultivariateNormal(belief.loc, scale_tril=belief.scale_tril)
    if isinstance(belief, AbstractVectorBelief):
        return dist.MultivariateNormal(belief.mean, scale_tril=jnp.linalg.cholesky(belief.covariance))
    raise BadInputError(
        f"Expected a belief about a vector, which has a mean and a covariance, got {type(belief).__name__}: use "
        f"`FiniteOutcomes` or `NestedMonteCarlo`."
    )


def _sample_outcomes(model: AbstractModel, states: Distribution, number: int, *, key: Key) -> Array:
    def one(k):
        state_key, outcome_key = jr.split(k)
        return model.emission(states.sample(state_key)).sample(outcome_key)

    return jax.vmap(one)(jr.split(key, number))
