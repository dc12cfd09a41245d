"""Three kinds of goals: a target, a preference over latents, a preference over images."""

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from homeostat.environments import (
    DSprites,
    FactorisedConfigurations,
    FixedConfiguration,
    ImagePreference,
    LatentPreference,
    Target,
)

key = jax.random.key(0)
state = DSprites().initial_at([0, 5, 12, 10, 16], key=key)  # a large square

# Reach a place. A square looks the same after a quarter of a turn, so orientation 2 is as good as 12.
reach = DSprites(goal=Target(FixedConfiguration([0, 5, 2, 13, 16])))
aimed = reach.initial_at(state.latents, key=key)
assert int(reach.steps_to_goal(aimed)) == 3

# Prefer the right side, whatever the rest: log-probabilities in nats.
right = [jnp.zeros(3), jnp.zeros(6), jnp.zeros(40), jnp.linspace(-3.0, 3.0, 32), jnp.zeros(32)]
drift = DSprites(goal=LatentPreference(FactorisedConfigurations(right)))
step = drift.transition(drift.initial_at(state.latents, key=key), jnp.array([0, 0, 1, 0]), key=key)

# Make it look like this.
picture = reach.render(jnp.array([0, 5, 2, 13, 16]))
look = DSprites(goal=ImagePreference(dist.Normal(picture, 0.5).to_event(2)))
for name, world in (("reach", reach), ("drift", drift), ("look", look)):
    before = world.initial_at(state.latents, key=key)
    after = world.transition(before, jnp.array([0, 0, 1, 0]), key=key)
    gain = world.goal.reward(world, after) - world.goal.reward(world, before)
    print(f"{name}: one step to the right changes the reward by {gain:+.2f}")
    assert gain > 0
