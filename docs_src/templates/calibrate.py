"""Is a posterior as sure as it should be? Simulation-based calibration of one engine on one model."""

import jax.numpy as jnp
import jax.random as jr
import numpyro.distributions as dist

from homeostat.distributions import FullGaussian
from homeostat.environments import Antialiased
from homeostat.inference.engines import NaturalGradient
from homeostat.metrics import holm, rank_uniformity, simulation_based_calibration
from homeostat.models.static import SpatialTransformer

heart = Antialiased(size=32, max_scale=2.0).image(jnp.asarray(2), 2.0, 0.0, 32.0, 32.0)
model = SpatialTransformer(heart, log_sigma=jnp.log(0.05))
family = FullGaussian(4)


def start(simulation, *, key):
    """Near the truth, which is fair where the posterior has one mode and the engine converges."""
    return family.from_scale_tril(simulation.truth + 0.005 * jr.normal(key, (4,)), 0.01 * jnp.eye(4))


calibration = simulation_based_calibration(
    model, NaturalGradient(rate=0.8), family, key=jr.key(0), num_simulations=64, num_steps=5, num_draws=31, start=start,
    prior=dist.Normal(jnp.zeros(4), jnp.asarray([0.5, 0.2, 0.5, 0.5])).to_event(1),
)  # fmt: skip
tests = rank_uniformity(calibration.ranks, calibration.num_draws, key=jr.key(1), num_bins=8)
print("p-values of uniform ranks (scale, angle, x, y):", tests.kolmogorov.round(3))
assert not calibration.failed.any() and holm(tests.kolmogorov).min() > 0.001
