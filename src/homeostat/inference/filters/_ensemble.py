"""The ensemble Kalman filter, with the updates of cuthbert."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from cuthbertlib import ensemble_kalman

from ...core import AbstractFilter, AbstractSequentialModel, FilterInfo, require_key
from ...results import BadInputError
from ...typing import Action, Array, Float, Key, Observation
from ._beliefs import ParticleBelief
from ._joint import flatten, markov, moments_of


@final
class Taper(eqx.Module):
    """Weights that shrink covariances between what lies far apart, which a small ensemble overestimates.

    Attributes:
        state_observation: multiplies Cov(z, x), [d, m].
        observation_tril: a factor of the weights [m, m] that multiply Cov(x), whose diagonal is one.
    """

    state_observation: Float[Array, "d m"]
    observation_tril: Float[Array, "m m"]


@final
class Ensemble(AbstractFilter):
    """A Kalman filter whose moments are those of n samples, each moved by the model and corrected with a perturbed observation.

    Its cost is linear in the number of state coordinates, which may exceed n. Exact for `LinearGaussian` as n grows;
    `free_energy_nats` is minus the log density of x under the Gaussian of the ensemble's moments, an estimate with no known sign
    of its error. Noise that depends on the state is taken at the ensemble's mean.

    Attributes:
        num_members: n, at least 2.
        inflation: by how much deviations from the mean are stretched after each prediction, 0.02 for 2 percent: a remedy for the
            variance that small ensembles lose.
        taper: localisation, or None.

    References:
        Evensen, "The ensemble Kalman filter: theoretical formulation and practical implementation", 2003;
        Burgers, van Leeuwen and Evensen, "Analysis scheme in the ensemble Kalman filter", 1998 (perturbed observations).
    """

    num_members: int = eqx.field(static=True, default=100)
    inflation: float = eqx.field(static=True, default=0.0)
    taper: Taper | None = None

    def __check_init__(self):
        if self.num_members < 2 or self.inflation < 0.0:
            raise BadInputError(
                f"Expected at least two members and an inflation that is not negative, got num_members={self.num_members} and "
                f"inflation={self.inflation}."
            )

    def init(self, model: AbstractSequentialModel, *, key: Key | None = None) -> ParticleBelief:
        """Members from the prior; they are random, so a key is needed."""
        key = require_key(key, "the first members are drawn from the prior")
        return self._belief(jax.vmap(markov(model).initial().sample)(jr.split(key, self.num_members)))

    def predict(
        self, model: AbstractSequentialModel, belief: ParticleBelief, action: Action = None, *, key: Key
    ) -> ParticleBelief:
        """Draw the next state of every member."""
        with jax.numpy_rank_promotion("allow"):
            moved = ensemble_kalman.predict(
                key,
                belief.particles,
                lambda state, k: markov(model).transition(state, action).sample(k),
                self.inflation,
            )
        return self._belief(moved)

    def update(
        self, model: AbstractSequentialModel, belief: ParticleBelief, observation: Observation, *, key: Key
    ) -> tuple[ParticleBelief, FilterInfo]:
        """Correct every member with a perturbed copy of an array, a `Masked` or a `Measurement`; NaN entries are missing."""
        seen = flatten(observation)
        members = belief.particles
        noise = (
            moments_of(markov(model).emission(jnp.mean(members, axis=0))).noise if seen.noise is None else seen.noise
        )
        size = noise.shape[0]
        if seen.value.shape != (size,):
            raise BadInputError(f"Expected one observation with {size} entries, got {seen.value.shape[0]}.")
        factor = jnp.diag(noise) if noise.ndim == 1 else noise
        value = jnp.where(seen.observed, seen.value.astype(members.dtype), jnp.nan)
        mean = lambda state: moments_of(markov(model).emission(state)).loc  # noqa: E731
        with jax.numpy_rank_promotion("allow"):
            if self.taper is not None:
                weights, tril = self.taper.state_observation, self.taper.observation_tril
                moved, log_evidence = ensemble_kalman.filter_update(
                    key,
                    members,
                    mean,
                    factor,
                    value,
                    cross_covariance_modifier=lambda cross: cross * weights,
                    construct_chol_innovation_covariance=lambda deviations, chol: (
                        ensemble_kalman.construct_tapered_chol_innovation_covariance(deviations, tril, chol)
                    ),
                )
            else:
                # Both routes give the same numbers; with fewer members than entries the ensemble's own space is the smaller.
                moved, log_evidence = ensemble_kalman.filter_update(
                    key, members, mean, factor, value, ensemble_subspace=self.num_members < size
                )
        return self._belief(moved), FilterInfo(-log_evidence)

    def _belief(self, members: Float[Array, "n d"]) -> ParticleBelief:
        weights = jnp.full(self.num_members, -jnp.log(float(self.num_members)), members.dtype)
        return ParticleBelief(members, weights)
