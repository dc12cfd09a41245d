"""An agent in an environment of Gymnasium's: a policy that is inferred for every observation."""

import gymnasium
import jax

from homeostat.agents import PolicyAgent, median_action, rollout_gymnasium
from homeostat.core import AbstractObjective
from homeostat.distributions import Categorical, Enumeration
from homeostat.environments.adapters import spec_of
from homeostat.inference.engines import Enumerate

environment = gymnasium.make("CartPole-v1")
print(spec_of(environment.observation_space), spec_of(environment.action_space))


class Falling(AbstractObjective):
    """U(a, x): push the cart (a = 0 to the left, 1 to the right) to where the pole falls."""

    def pointwise(self, value, args, *, key):
        direction = 2.0 * value - 1.0
        return -10.0 * direction * (args[2] + args[3])

    def __call__(self, distribution, args, *, key):
        points = Enumeration().points(distribution, key=key)
        energies = jax.vmap(lambda a: self.pointwise(a, args, key=key) + distribution.log_prob(a))(points.values)
        return points.weights @ energies


agent = PolicyAgent(Falling(), Enumerate(), Categorical(2), choose=median_action)
episode = rollout_gymnasium(environment, agent, key=jax.random.key(0), num_steps=100, seed=0)
print(
    "steps before the pole fell:",
    100 if not episode.trajectory.terminal.any() else episode.trajectory.terminal.argmax(),
)
assert not episode.trajectory.terminal.any()
