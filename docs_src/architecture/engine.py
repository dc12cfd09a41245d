"""A new engine: natural evolution strategies, which reads energies of samples and no gradient of the model."""

from typing import final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from homeostat import infer
from homeostat.core import AbstractEngine, StepInfo
from homeostat.distributions import DiagonalGaussian
from homeostat.models.static import FactorAnalysis
from homeostat.objectives import Evidence, FreeEnergy
from homeostat.testing import check_engine


@final
class EvolutionStrategy(AbstractEngine):
    """lambda' = lambda - rate * mean_i (F_i - mean F) grad log q(z_i; lambda), with F_i = U(z_i) + log q(z_i).

    Attributes:
        rate: step size, without unit.
        population: samples of each step.

    References:
        Wierstra et al., "Natural evolution strategies", JMLR 2014 (here with the plain gradient).
    """

    rate: float = 0.05
    population: int = eqx.field(static=True, default=512)

    def init(self, objective, family, params, args):
        return None

    def step(self, objective, family, params, args, state, *, key):
        draw_key, energy_key = jax.random.split(key)
        keys = jax.random.split(energy_key, self.population)
        z = jax.vmap(family(params).sample)(jax.random.split(draw_key, self.population))

        def log_density(params):
            return jax.vmap(family(params).log_prob)(z)

        energies = jax.vmap(lambda point, k: objective.pointwise(point, args, key=k))(z, keys) + log_density(params)
        advantages = (energies - jnp.mean(energies)) / self.population
        gradient = jax.grad(lambda p: advantages @ log_density(p))(params)
        params = jax.tree.map(lambda value, slope: value - self.rate * slope, params, gradient)
        return params, None, StepInfo(jnp.mean(energies))


key = jax.random.key(0)
loadings, noise_variance = jnp.asarray([[1.0], [0.5], [-0.5]]), 0.25
model = FactorAnalysis(loadings, jnp.zeros(3), jnp.full(3, 0.5 * jnp.log(noise_variance)))
objective, family, evidence = FreeEnergy(model), DiagonalGaussian(1), Evidence(jnp.asarray([1.2, 0.4, -0.3]))

check_engine(EvolutionStrategy(), objective, family, evidence, key=key)
found = infer(objective, EvolutionStrategy(), family, evidence, key=key, num_steps=400).params
# The exact posterior: precision 1 + C^T C / s^2, mean C^T x / s^2 over it.
precision = 1.0 + jnp.sum(loadings**2) / noise_variance
mean = loadings[:, 0] @ evidence.observation / noise_variance / precision
np.testing.assert_allclose(found.loc, mean[None], atol=0.05)
np.testing.assert_allclose(jnp.exp(found.log_scale), precision[None] ** -0.5, rtol=0.1)
