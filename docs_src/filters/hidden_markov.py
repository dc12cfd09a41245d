"""Learn a hidden Markov model from padded sequences, then decode one of them."""

import jax
import jax.numpy as jnp

from homeostat import smooth
from homeostat.inference import ForwardBackward, baum_welch, viterbi
from homeostat.models.sequential import GaussianEmissions, HiddenMarkov

# A machine that is idle or busy, seen through its noisy power draw in kilowatts.
chain = jnp.array([[0.95, 0.05], [0.10, 0.90]])
levels, noise = jnp.array([[1.0], [3.0]]), jnp.full((2, 1, 1), 0.8)
machine = HiddenMarkov.from_probabilities(jnp.array([0.5, 0.5]), chain, GaussianEmissions(levels, noise))


def record(key):
    """One day of 100 readings."""

    def step(state, k):
        state_key, reading_key = jax.random.split(k)
        after = machine.transition(state).sample(state_key)
        return after, (state, machine.emission(state).sample(reading_key))

    first_key, rest = jax.random.split(key)
    return jax.lax.scan(step, machine.initial().sample(first_key), jax.random.split(rest, 100))[1]


states, readings = jax.vmap(record)(jax.random.split(jax.random.key(0), 8))
lengths = jnp.array([100, 100, 80, 60, 100, 90, 100, 40])  # Some days ended early; what follows is ignored.

guess = GaussianEmissions(jnp.array([[0.0], [4.0]]), jnp.full((2, 1, 1), 1.5))
start = HiddenMarkov.from_probabilities(jnp.array([0.5, 0.5]), jnp.array([[0.7, 0.3], [0.3, 0.7]]), guess)
learned = baum_welch(start, readings, lengths=lengths, num_steps=15)
print("log evidence, nats:", learned.log_evidence_nats[0], "->", learned.log_evidence_nats[-1])
print("levels, kW:", learned.model.observation.loc[:, 0])
assert learned.log_evidence_nats[-1] > learned.log_evidence_nats[0] + 50.0
assert jnp.abs(learned.model.observation.loc - levels).max() < 0.3

smoothed = smooth(ForwardBackward(), learned.model, readings[0])
path = viterbi(learned.model, readings[0])
right = jnp.mean(path.states == states[0])
print(f"hours decoded rightly: {right:.0%}; busy for {smoothed.beliefs.probabilities[:, 1].sum():.1f} of 100 readings")
assert right > 0.85
