"""A policy learned from reward: critics say what actions are worth, and an engine of your choice infers the policy from them."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from homeostat.agents import ActingLoader, ActorCritic, SoftActorCritic, direct_policy, flat_size, iterative_policy
from homeostat.control import FixedTemperature, NStep, dense_critics, policy_family, UniformPrior
from homeostat.environments import FunctionalWorlds, aim_probe
from homeostat.train import fit

# Four copies of a world in which half of what is seen is the best action; for Gymnasium's, `gymnasium_worlds("Pendulum-v1", 4)`.
worlds = FunctionalWorlds(aim_probe(), num_worlds=4)
family = policy_family(worlds.action_spec)
size = flat_size(worlds.observation_spec)
policy_key, critic_key = jax.random.split(jax.random.key(0))

# One of these is soft actor-critic, the other iterative amortized policy optimisation; the rest is the same.
engines = {
    "direct": (direct_policy(family, size, key=policy_key, width=32), 1),
    "iterative": (iterative_policy(family, size, key=policy_key, width=32), 2),
}
engine, num_steps = engines["iterative"]
learned = ActorCritic(
    engine, family, UniformPrior(worlds.action_spec), dense_critics(size, 1, key=critic_key, width=32)
)
adam = optax.adam(5e-3)
learner = SoftActorCritic(learned, FixedTemperature(0.01), adam, adam, returns=NStep(1), num_steps=num_steps)
loader = ActingLoader(worlds, learner, batch_size=64, capacity=4_000, warmup=400, updates_per_step=0.25)
result = fit(learner, loader, num_steps=400, key=jax.random.key(1), every=200)
print({name: float(values[-1]) for name, values in result.history._asdict().items()})

agent = learner.agent(result.state, explore=False)
act = eqx.filter_jit(agent.act)
for seen in (-1.0, 1.0):
    decision, _ = act(agent.init(key=policy_key), jnp.array([seen]), key=critic_key)
    print(seen, decision.action, decision.info.energies_nats)
    assert abs(float(decision.action[0]) - 0.5 * seen) < 0.1
