"""Variational free energy of a generative model, and its importance-weighted tightening."""

import abc
from typing import NamedTuple, TypeVar, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ..core import AbstractModel, AbstractObjective, Points
from ..distributions import (
    AbstractExpectation,
    Hierarchical,
    Masked,
    MonteCarlo,
    at_points,
    closed_form_divergence,
    fisher_information,
    level_divergences,
    partial_log_prob,
    require_emission,
)
from ..results import BadInputError
from ..typing import Array, Distribution, Energy, Float, Key, Observation, PyTree

Args = TypeVar("Args")


class Errors(NamedTuple):
    """Prediction errors of a distribution, at the data and at the latents; flat vectors.

    Attributes:
        observation: E_q[x - mu_x].
        latent: E_q[z - mu_p].
        weighted_observation: eps_x = E_q[(x - mu_x) / sigma_x^2].
        weighted_latent: eps_z = E_q[(z - mu_p) / sigma_p^2].
    """

    observation: Float[Array, " m"]
    latent: Float[Array, " d"]
    weighted_observation: Float[Array, " m"]
    weighted_latent: Float[Array, " d"]


class AbstractPredictive(AbstractObjective[Args]):
    """An energy of predictions, for engines that read their errors or their curvature."""

    @abc.abstractmethod
    def errors(self, distribution: Distribution, args: Args, *, key: Key) -> Errors:
        """Prediction errors under q, of the data and of the latents."""

    @abc.abstractmethod
    def curvature(self, value: Float[Array, " d"], args: Args, *, key: Key) -> Float[Array, "d d"]:
        """A symmetric curvature of U at `value`, positive definite where the predictions allow it, else the Hessian."""


@final
class Evidence(eqx.Module):
    """What a perceptual inference depends on.

    Attributes:
        observation: x.
        prior: distribution over z before x came; None stands for the model's own `initial()`. A filter puts its
            prediction here.
        context: whatever else an encoder may read, such as the features of a recurrent model's carry; no energy depends on it.
        observed: mask of the entries of x that are known; the others are integrated out. None if all are. NaN is for filters to
            turn into this mask: an energy takes it for a mistake.
    """

    observation: Observation
    prior: Distribution | None = None
    context: PyTree = None
    observed: PyTree | None = None


def evidence_of(observation: Observation, prior: Distribution | None = None) -> Evidence:
    """Evidence of an observation, and of the known entries alone where it is `Masked`."""
    if isinstance(observation, Masked):
        return Evidence(observation.value, prior, observed=observation.observed)
    return Evidence(observation, prior)


class FreeEnergyTerms(NamedTuple):
    """The parts of a free energy.

    Attributes:
        distortion_nats: E_q[-log p(x | z)].
        rates_nats: KL(q || p) of every level, the lowest first; one number where the prior has no levels, or where q cannot be
            taken apart along them.
    """

    distortion_nats: Energy
    rates_nats: Float[Array, " levels"]

    @property
    def free_energy_nats(self) -> Energy:
        """Distortion plus rates: an upper bound on -log p(x)."""
        return self.distortion_nats + jnp.sum(self.rates_nats, axis=-1)


MINIMUM_VARIANCE = 1e-4
"""Floor of a variance that an error is divided by: a Bernoulli that is sure of itself has none."""


@final
class FreeEnergy(AbstractPredictive[Evidence]):
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

    @property
    def pathwise(self) -> bool:
        return self.expectation.pathwise

    def check(self, args: Evidence) -> None:
        require_possible(self.model, args)

    def pointwise(self, value: Array, args: Evidence, *, key: Key) -> Energy:
        """-log p(x | z) - log p(z)."""
        return self._negative_log_likelihood(value, args) - self._prior(args).log_prob(value)

    def __call__(self, distribution: Distribution, args: Evidence, *, key: Key) -> Energy:
        return self.terms(distribution, args, key=key).free_energy_nats

    def terms(self, distribution: Distribution, args: Evidence, *, key: Key) -> FreeEnergyTerms:
        """Distortion and rates, from the same points of q."""
        points = self.expectation.points(distribution, key=key)
        energies = at_points(lambda z: self._negative_log_likelihood(z, args), points.values)
        return FreeEnergyTerms(
            self.expectation.average(points, energies), self._rates(distribution, self._prior(args), points)
        )

    def _rates(self, q: Distribution, prior: Distribution, points: Points) -> Float[Array, " levels"]:
        def average(values: Float[Array, " n"]) -> Energy:
            return self.expectation.average(points, values)

        if isinstance(prior, Hierarchical):
            known = jax.eval_shape(lambda z: level_divergences(q, prior, z), points.values[0]) is not None
            if known:
                divergences = at_points(lambda z: level_divergences(q, prior, z), points.values)
                return jax.vmap(average, in_axes=1)(divergences)
        else:
            divergence = closed_form_divergence(q, prior)
            if divergence is not None:
                return divergence[None]
        log_ratio = at_points(lambda z: q.log_prob(z) - prior.log_prob(z), points.values)
        return average(log_ratio)[None]

    def errors(self, distribution: Distribution, args: Evidence, *, key: Key) -> Errors:
        """Prediction errors under q, of the data and of the latents.

        References:
            Marino (thesis), Eqs. 3.5 and 3.6.
        """
        points = self.expectation.points(distribution, key=key)
        prior = self._prior(args)

        def at(z: Array) -> Errors:
            likelihood = self.model.emission(z)
            error = jnp.ravel(_known(jnp.asarray(args.observation, z.dtype) - likelihood.mean, args.observed))
            variance = jnp.maximum(
                jnp.ravel(jnp.broadcast_to(likelihood.variance, likelihood.event_shape)), MINIMUM_VARIANCE
            )
            parts = prior.descend(z).conditionals if isinstance(prior, Hierarchical) else (prior,)
            latent = z - jnp.concatenate([jnp.ravel(part.mean) for part in parts])
            latent_variance = jnp.concatenate([jnp.ravel(part.variance) for part in parts])
            return Errors(error, latent, error / variance, latent / latent_variance)

        return jax.tree.map(lambda leaf: points.weights @ leaf, at_points(at, points.values))

    def curvature(self, value: Float[Array, " d"], args: Evidence, *, key: Key) -> Float[Array, "d d"]:
        """Fisher information of the likelihood plus the curvature of -log p(z); the Hessian where Fisher is unknown."""
        fisher = fisher_information(self.model.emission, value, args.observed)
        if fisher is None:
            return jax.hessian(lambda z: self.pointwise(z, args, key=key))(value)
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
        return -partial_log_prob(likelihood, args.observation, args.observed)

    def _prior(self, args: Evidence) -> Distribution:
        return self.model.initial() if args.prior is None else args.prior


def require_possible(model: AbstractModel, args: Evidence) -> None:
    """Raise `BadInputError` if the model cannot emit the observation, as far as it is known and not missing."""
    require_emission(_emission, model, args.observation, args.observed)


def _emission(model: AbstractModel) -> Distribution:
    return model.emission(model.initial().sample(jr.key(0)))


def _known(error: Array, observed: Array | None) -> Array:
    """No error where nothing was observed."""
    return error if observed is None else jnp.where(observed, error, 0.0)


@final
class ImportanceWeighted(AbstractObjective[Evidence]):
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

    def check(self, args: Evidence) -> None:
        require_possible(self.model, args)

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
