"""The bootstrap particle filter; the resampling schemes of cuthbert fit."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpyro.distributions as dist
from cuthbertlib.resampling import Resampling, ess_decorator
from numpyro.distributions.batch_util import promote_batch_shape

from ...core import AbstractFilter, AbstractMarkovModel, AbstractSequentialModel, FilterInfo, require_key
from ...distributions import known_entries, partial_log_prob
from ...models.sequential import with_own_noise
from ...results import BadInputError
from ...typing import Action, Array, Distribution, Key, Observation
from ._beliefs import ParticleBelief
from ._history import History, first_past, next_carries, remember
from ._resampling import systematic, weigh, weight_info


@final
class Particle(AbstractFilter):
    """Weighted samples, moved by the model's prediction and weighted by its likelihood; any sequential model will do.

    A particle of a model that is not Markov carries a past of its own. Missing entries are integrated out of the weights, and what
    such a model must remember of them is drawn for each particle.

    exp(-sum_t free_energy_nats) is an unbiased estimate of the evidence p(x_1, ..., x_T). Where no particle can explain an
    observation the free energy is infinite and the weights become equal; a particle whose likelihood is NaN has no weight.

    Attributes:
        num_particles: n.
        resampling: a scheme of `cuthbertlib.resampling` or `systematic`, called before each prediction; by default the latter
            where fewer than half of the particles are effective.

    References:
        Gordon, Salmond and Smith, "Novel approach to nonlinear/non-Gaussian Bayesian state estimation", 1993.
    """

    num_particles: int = eqx.field(static=True, default=1_000)
    resampling: Resampling = eqx.field(static=True, default=ess_decorator(systematic, 0.5))

    def __check_init__(self):
        if self.num_particles < 1:
            raise BadInputError(f"Expected at least one particle, got num_particles={self.num_particles}.")

    def init(self, model: AbstractSequentialModel, *, key: Key | None = None) -> ParticleBelief:
        """Particles from the prior; they are random, so a key is needed."""
        key = require_key(key, "the first particles are drawn from the prior")
        particles = jax.vmap(model.prior(model.init_carry()).sample)(jr.split(key, self.num_particles))
        past = None if isinstance(model, AbstractMarkovModel) else first_past(model, self.num_particles)
        equal = jnp.full(self.num_particles, -jnp.log(float(self.num_particles)))
        return ParticleBelief(particles, equal, past, jnp.arange(self.num_particles))

    def predict(
        self, model: AbstractSequentialModel, belief: ParticleBelief, action: Action, *, key: Key
    ) -> ParticleBelief:
        """Resample where the scheme says so, then draw from the prediction of each particle."""
        resample_key, move_key = jr.split(key)
        ancestors, log_weights, (particles, past) = self.resampling(
            resample_key, belief.log_weights, (belief.particles, belief.past), self.num_particles
        )
        log_weights = weigh(log_weights).log_weights
        if belief.ancestors is None:
            # A belief that somebody made without ancestors keeps its structure.
            ancestors = None
        if isinstance(model, AbstractMarkovModel):
            predictions = jax.vmap(lambda state: model.transition(state, action))(particles)
            return ParticleBelief(_draw(predictions, move_key, self.num_particles), log_weights, None, ancestors)
        past = next_carries(model, past, particles, action)
        predictions = jax.vmap(model.prior)(past.carry)
        return ParticleBelief(_draw(predictions, move_key, self.num_particles), log_weights, past, ancestors)

    def update(
        self,
        model: AbstractSequentialModel,
        belief: ParticleBelief,
        observation: Observation,
        *,
        key: Key | None = None,
    ) -> tuple[ParticleBelief, FilterInfo]:
        """Weigh each particle by its likelihood; the key fills in what is missing for a model that is not Markov."""
        model, observation = with_own_noise(model, observation)
        value, observed = known_entries(observation)

        def log_likelihood(past: History | None, state: Array) -> Array:
            if isinstance(model, AbstractMarkovModel):
                return partial_log_prob(model.emission(state), value, observed)
            emission_given = model.emission_given(None if past is None else past.carry, state)
            return partial_log_prob(emission_given, value, observed)

        log_weights, log_evidence = weigh(belief.log_weights + jax.vmap(log_likelihood)(belief.past, belief.particles))
        past = belief.past
        if past is not None:
            if key is None:
                raise BadInputError(
                    f"Expected a key: {type(model).__name__} must remember what is drawn where x is missing."
                )
            past = remember(model, past, belief.particles, value, observed, key=key)
        return ParticleBelief(belief.particles, log_weights, past, belief.ancestors), weight_info(-log_evidence)


def _draw(predictions: Distribution, key: Key, num: int) -> Array:
    """One draw from each of `num` distributions, which came out of `jax.vmap`."""
    if type(predictions) is dist.MultivariateNormal:
        # All from one key: a key for each would be half of the random numbers, and those half of the time of a filter.
        return promote_batch_shape(predictions).sample(key)
    return jax.vmap(lambda one, one_key: one.sample(one_key))(predictions, jr.split(key, num))
