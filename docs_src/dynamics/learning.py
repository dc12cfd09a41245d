"""Learn A, B and L from uncertain latents by exact EM, then keep a posterior over them."""

import jax
import jax.numpy as jnp
import jax.random as jr

from homeostat import smooth
from homeostat.inference import RauchTungStriebel, expectation_maximization, transition_moments
from homeostat.models.sequential import BayesianLinearDynamics, LinearDynamics, LinearGaussian, Measurement

true = LinearDynamics(jnp.array([[0.9, 0.2], [-0.2, 0.9]]), jnp.array([[0.0], [0.5]]), 0.1 * jnp.eye(2))
action_key, state_key, noise_key = jr.split(jr.key(0), 3)
actions = jr.normal(action_key, (20, 49, 1))
states = jax.vmap(lambda u, k: true.rollout(jnp.zeros(2), u, key=k))(actions, jr.split(state_key, 20))

# Perception gives means, and for each its own covariance: here one of four images is much worse than the others.
scale = jnp.where(jnp.arange(50) % 4 == 0, 0.5, 0.05)[None, :, None, None] * jnp.eye(2)[None, None]
scale = jnp.broadcast_to(scale, (20, 50, 2, 2))
latents = Measurement(states + (scale @ jr.normal(noise_key, (20, 50, 2, 1)))[..., 0], scale)

guess = LinearGaussian(jnp.zeros(2), jnp.eye(2), LinearDynamics(jnp.eye(2), jnp.zeros((2, 1))), jnp.eye(2), jnp.eye(2))
learned = expectation_maximization(guess, latents, actions, num_steps=30)
print("A =", learned.model.dynamics.matrix.round(3).tolist())
assert jnp.abs(learned.model.dynamics.matrix - true.matrix).max() < 0.05
assert jnp.all(jnp.diff(learned.log_evidence_nats) > -0.1)  # It never falls, up to single precision.

# The same smoothed latents as data of a conjugate regression, which also says how sure it is.
smoothed = jax.vmap(lambda x, u: smooth(RauchTungStriebel(), learned.model, x, u))(latents, actions)
moments = jax.vmap(transition_moments)(smoothed, actions).pool()
belief = BayesianLinearDynamics.prior(2, 1).update_moments(moments.without_constant(2), moments.count)
strong, weak = (belief.information_gain(jnp.zeros(2), jnp.array([push])) for push in (10.0, 0.1))
print(f"one more transition would teach {strong:.3f} nats after a strong push, {weak:.4f} after a weak one")
assert strong > 10.0 * weak > 0.0
