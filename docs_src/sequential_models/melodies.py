"""One model of melodies, two filters: the one it was published with, and amortized variational filtering."""

import jax
import jax.numpy as jnp
import jax.random as jr
import optax

from homeostat.inference import filtering_descent, ModelWithFilter, SequenceBatch, filter
from homeostat.inference.filters import amortized_variational_filter, srnn_filter
from homeostat.models.sequential import SRNNSizes, music_density, srnn
from homeostat.train import InMemoryLoader, fit

# A note steps up or down a ring of eight keys; every melody has another length.
num, time, keys = 128, 10, 8
steps = 2 * jr.bernoulli(jr.key(0), 0.5, (num, time)).astype(int) - 1
rolls = jax.nn.one_hot(jnp.cumsum(steps, axis=1) % keys, keys)
melodies = SequenceBatch(rolls, lengths=jr.randint(jr.key(1), (num,), 5, time + 1))

sizes = SRNNSizes(dim=4, memory_width=24, width=24, depth=1)  # SRNN_MUSIC has those of the chapter.
model = srnn(music_density(keys), sizes, key=jr.key(2))
filters = {
    "its own": srnn_filter(model, sizes, key=jr.key(3)),
    "amortized variational": amortized_variational_filter(model, width=32, depth=1, key=jr.key(3)),
}
for name, method in filters.items():
    learner = filtering_descent(ModelWithFilter(model, method), optax.adam(1e-2))
    result = fit(learner, InMemoryLoader(melodies, 32), num_steps=200, key=jr.key(4))
    first, last = (float(result.history.free_energy_nats[i]) for i in (0, -1))
    print(f"{name} filter: {last:.2f} nats per step")
    assert last < first

# One step at a time, as for a live instrument: predict, hear, correct.
learned = result.state.learned
heard = filter(learned.filter, learned.model, rolls[0], key=jr.key(5))
change = jnp.abs(heard.beliefs.mean - heard.predictions.mean).mean()
print(f"bound {heard.free_energy_nats:.1f} nats; every note moves the expected latents by {change:.2f}")
assert heard.beliefs.mean.shape == (time, sizes.dim) and change > 0
