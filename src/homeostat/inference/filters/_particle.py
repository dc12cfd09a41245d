"""The bootstrap particle filter, with the resampling schemes of cuthbert."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from cuthbertlib.resampling import Resampling, ess_decorator, systematic

from ...core import AbstractFilter, AbstractModel, FilterInfo
from ...results import BadInputError
from ...typing import Action, Key, Observation
from ._beliefs import ParticleBelief


@final
class Particle(AbstractFilter):
    """Weighted samples, moved by the model's transition and weighted by its emission; any model will do.

    exp(-sum_t free_energy_nats) is an unbiased estimate of the evidence p(x_1, ..., x_T).

    Attributes:
        num_particles: n.
        resampling: a scheme of `cuthbertlib.resampling`, called before each prediction; by default systematic resampling
            where fewer than half of the particles are effective.

    References:
        Gordon, Salmond and Smith, "Novel approach to nonlinear/non-Gaussian Bayesian state estimation", 1993.
    """

    num_particles: int = eqx.field(static=True, default=1_000)
    resampling: Resampling = eqx.field(static=True, default=ess_decorator(systematic.resampling, 0.5))

    def __check_init__(self):
        if self.num_particles < 1:
            raise BadInputError(f"Expected at least one particle, got num_particles={self.num_particles}.")

    def init(self, model: AbstractModel, *, key: Key | None = None) -> ParticleBelief:
        """Particles from the prior; they are random, so a key is needed."""
        if key is None:
            raise BadInputError(
                "Expected a key: the first particles are drawn from the prior. Pass key=jax.random.key(...)."
            )
        particles = jax.vmap(model.initial().sample)(jr.split(key, self.num_particles))
        return ParticleBelief(particles, jnp.full(self.num_particles, -jnp.log(float(self.num_particles))))

    def predict(self, model: AbstractModel, belief: ParticleBelief, action: Action, *, key: Key) -> ParticleBelief:
        """Resample where the scheme says so, then draw from the transition."""
        resample_key, move_key = jr.split(key)
        _, log_weights, particles = self.resampling(
            resample_key, belief.log_weights, belief.particles, self.num_particles
        )
        keys = jr.split(move_key, self.num_particles)
        moved = jax.vmap(lambda state, k: model.transition(state, action).sample(k))(particles, keys)
        return ParticleBelief(moved, log_weights - jax.nn.logsumexp(log_weights))

    def update(
        self, model: AbstractModel, belief: ParticleBelief, observation: Observation, *, key: Key | None = None
    ) -> tuple[ParticleBelief, FilterInfo]:
        """Weigh each particle by its likelihood."""
        log_likelihood = jax.vmap(lambda state: model.emission(state).log_prob(observation))(belief.particles)
        log_weights = belief.log_weights + log_likelihood
        log_evidence = jax.nn.logsumexp(log_weights)
        return ParticleBelief(belief.particles, log_weights - log_evidence), FilterInfo(-log_evidence)
