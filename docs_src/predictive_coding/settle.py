"""A hierarchy of three levels settles on an observation; a gain makes it attend to half of the pixels."""

from functools import partial

import jax
import jax.numpy as jnp
import optax

from homeostat import infer
from homeostat.distributions import Delta
from homeostat.inference.engines import ConstantGain, PredictiveCoding
from homeostat.models.static import Gaussian, latent_gaussian
from homeostat.nn import MLP
from homeostat.objectives import Evidence, FreeEnergy

key = jax.random.key(0)
network = partial(MLP, width=16, depth=1, activation=jax.nn.tanh)
model = latent_gaussian(Gaussian((8,), log_scale=-1.0), dims=(4, 2, 2), key=key, mapping=network)
objective, family, evidence = FreeEnergy(model), Delta(model.dim), Evidence(jnp.linspace(-1.0, 1.0, 8))

engine = PredictiveCoding(optax.sgd(0.02))
settled = infer(objective, engine, family, evidence, key=key, num_steps=1000)
before, after = (engine.errors(objective, family, p, evidence) for p in (family.init(), settled.params))
print(f"energy {settled.path_nats[0]:.2f} -> {settled.energy_nats:.2f} nats")
print(f"largest error of a pixel, over its variance: {jnp.abs(before.observation).max():.2f} -> "
      f"{jnp.abs(after.observation).max():.2f}")  # fmt: skip
for level, error in enumerate(after.latent, start=1):
    print(f"level {level}: xi = {error.round(3)}")

attentive = PredictiveCoding(optax.sgd(0.02), ConstantGain(jnp.repeat(jnp.array([2.0, 0.0]), 4), (1.0, 1.0, 1.0)))
attended = infer(objective, attentive, family, evidence, key=key, num_steps=1000)
residual = [jnp.abs(evidence.observation - model.emission(p.params.loc).mean) for p in (settled, attended)]
print("mean residual of the first four pixels:", *(f"{r[:4].mean():.3f}" for r in residual))
assert settled.energy_nats < settled.path_nats[0]
assert residual[1][:4].mean() < residual[0][:4].mean()
