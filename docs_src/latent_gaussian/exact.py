"""Linear members have exact answers, which hold every engine to account."""

import jax.numpy as jnp
import jax.random as jr

from homeostat import infer
from homeostat.distributions import Cubature, FullGaussian
from homeostat.inference import fit_factor_analysis
from homeostat.inference.engines import NaturalGradient
from homeostat.objectives import Evidence, FreeEnergy

rows = jr.normal(jr.key(0), (200, 2)) @ jr.normal(jr.key(1), (2, 6)) + 0.3 * jr.normal(jr.key(2), (200, 6))
model = fit_factor_analysis(rows, 2).model

posterior = infer(
    FreeEnergy(model, Cubature()), NaturalGradient(rate=1.0), FullGaussian(2), Evidence(rows[0]), key=jr.key(3)
)
print("free energy", posterior.energy_nats, "exact -log p(x)", -model.log_evidence(rows[0]))
assert jnp.allclose(posterior.energy_nats, -model.log_evidence(rows[0]), atol=1e-3)
