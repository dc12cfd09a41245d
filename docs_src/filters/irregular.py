"""A pendulum watched at irregular times, with gaps, by three filters and their smoothers."""

import jax
import jax.numpy as jnp

from homeostat import smooth
from homeostat.distributions import Cubature
from homeostat.inference import RauchTungStriebel
from homeostat.inference.filters import Extended, Unscented
from homeostat.models.sequential import TimedAction, pendulum

swing = pendulum(process_scale=0.2)
times = jnp.cumsum(jax.random.uniform(jax.random.key(0), (80,), minval=0.02, maxval=0.2))
steps = TimedAction.between(times)  # Refuses times that are unsorted or occur twice.


# One path of the pendulum itself, and what a noisy camera saw of it.
def move(state, inputs):
    elapsed, key = inputs
    after = swing.transition(state, elapsed).sample(key)
    return after, after


first = swing.initial().sample(jax.random.key(1))
rest = jax.lax.scan(move, first, (steps, jax.random.split(jax.random.key(2), 79)))[1]
states = jnp.concatenate([first[None], rest])
seen = jax.vmap(lambda z, k: swing.emission(z).sample(k))(states, jax.random.split(jax.random.key(3), 80))
seen = seen.at[30:40].set(jnp.nan)  # Somebody stood in front of the camera.

for method in (Extended(), Unscented(), Unscented(Cubature())):
    found = smooth(RauchTungStriebel(method), swing, seen, steps)
    errors = [jnp.sqrt(jnp.mean((b.loc[:, 0] - states[:, 0]) ** 2)) for b in (found.filtered.beliefs, found.beliefs)]
    print(f"{type(method).__name__}: angle to {errors[0]:.3f} rad while filtering, {errors[1]:.3f} rad looking back")
    assert errors[1] < errors[0] < 0.3
    assert jnp.all(found.filtered.info.free_energy_nats[30:40] == 0.0)  # Nothing was seen, so nothing surprised.
