"""Rows of one's own, a model and an engine by name, training, and the likelihood of other rows: `homeostat fit` as a script."""

# [start:script]
import jax
import numpy as np

from homeostat.workflow import RowsOptions, RowsTask, fit, load

# Data of your own in place of these: an array, a data frame, or the path of a file.
generator = np.random.default_rng(0)
patterns = generator.choice([0.1, 0.9], size=(2, 12))[generator.integers(0, 2, 1500)]
sensors = (generator.random((1500, 12)) < patterns).astype(np.float32)

key = jax.random.key(0)
options = RowsOptions(engine="iterative", latents="2", width=32, depth=1, iterations=3, steps=600, batch_size=64)
fitted = fit(RowsTask(options), sensors[:1200], key=key)
numbers = fitted.evaluate(sensors[1200:], key=key, samples=200).numbers
print(numbers["log_likelihood_nats"], numbers["stderr_nats"])
fitted.save("sensors")
means = load("sensors").infer(sensors[1200:], key=key).arrays["mean"]
# [end:script]

# Twelve sensors that do not know of each other would need this many nats per row.
share = sensors[:1200].mean(axis=0)
apart = -(sensors[1200:] * np.log(share) + (1 - sensors[1200:]) * np.log(1 - share)).sum(axis=1).mean()
assert -numbers["log_likelihood_nats"] < apart - 1.0 and means.shape == (300, 2)
