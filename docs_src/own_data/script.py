"""Rows from a file, a model and an engine by name, training, and the likelihood of other rows: `homeostat fit` as a script."""

import jax
import numpy as np

from homeostat.data import open_rows
from homeostat.metrics import evaluate
from homeostat.workflow import RowsOptions, build_rows_system, describe
from homeostat.train import InMemoryLoader, fit

# Data of your own: here two noisy on-off patterns of 12 sensors.
generator = np.random.default_rng(0)
patterns = generator.choice([0.1, 0.9], size=(2, 12))[generator.integers(0, 2, 1500)]
sensors = (generator.random((1500, 12)) < patterns).astype(np.float32)
np.savez("sensors.npz", train=sensors[:1200], test=sensors[1200:])

# --8<-- [start:script]
key = jax.random.key(0)
train, test = (open_rows(f"sensors.npz:{name}") for name in ("train", "test"))
config = RowsOptions(model="latent-gaussian", engine="iterative", latents="2", width=32, depth=1, iterations=3)
system = build_rows_system(config, describe(train, train, config), key=key)
data, new = (system.observations.prepare(rows.read(range(len(rows)))) for rows in (train, test))
state = fit(system.learner(), InMemoryLoader(data, 64), num_steps=600, key=key).state
perception = system.perception(system.keep(state))
model, engine, family, num_steps, objective = perception
result = evaluate(model, engine, family, new, key=key, num_steps=num_steps, num_samples=200, objective=objective)
print(result.means())
# --8<-- [end:script]

# Twelve sensors that do not know of each other would need this many nats per row.
share = sensors[:1200].mean(axis=0)
apart = -(sensors[1200:] * np.log(share) + (1 - sensors[1200:]) * np.log(1 - share)).sum(axis=1).mean()
assert -result.means().log_likelihood_nats.value < apart - 1.0
