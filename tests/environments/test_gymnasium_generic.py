"""Any environment behind Gymnasium's interfaces, and agents in Gymnasium's own environments."""

from typing import NamedTuple, final

import gymnasium
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from homeostat.agents import PolicyAgent, median_action, rollout_gymnasium
from homeostat.core import AbstractEnvironment, AbstractObjective, Bounded
from homeostat.distributions import Categorical, DiagonalGaussian
from homeostat.environments import Simulated, TimeLimit
from homeostat.environments.adapters import GymnasiumEnv, GymnasiumVectorEnv, space_of, spec_of
from homeostat.inference.engines import Direct
from homeostat.models.sequential import CategoricalEmissions, ControlledTransitions, HiddenMarkov
from homeostat.results import BadInputError
from tolerances import FLOAT32
from worlds import GOAL, Plane


class Sight(NamedTuple):
    """A tree of all kinds of numbers."""

    place: jax.Array
    parity: jax.Array
    flags: dict[str, jax.Array]


@final
class Walk(AbstractEnvironment[jax.Array]):
    """Steps of -2, ..., 2 along a line and a real push, seen as a tree."""

    @property
    def action_spec(self):
        return {"step": Bounded((), -2, 2, True), "push": Bounded((1,), -0.5, 0.5)}

    @property
    def observation_spec(self):
        return Sight(Bounded((1,)), Bounded((), 3, 4, True), {"end": Bounded((), 0, 1, True)})

    def initial(self, *, key):
        return jr.uniform(key, (1,))

    def transition(self, state, action, *, key):
        return state + action["step"] + action["push"]

    def observation(self, state, *, key):
        end = self.terminal(state)
        return Sight(state, 3 + jnp.asarray(jnp.floor(state[0]), int) % 2, {"end": end})

    def reward(self, state, action, next_state):
        return -jnp.abs(next_state[0])

    def terminal(self, state):
        return jnp.abs(state[0]) > 5.0


class Indifferent(AbstractObjective):
    """No energy: whatever the policy network says is as good."""

    def pointwise(self, value, args, *, key):
        return jnp.zeros(())

    def __call__(self, distribution, args, *, key):
        return jnp.zeros(())


def _chain():
    moves = jnp.log(jnp.stack([jnp.eye(3), jnp.roll(jnp.eye(3), 1, 1)]))
    model = HiddenMarkov(
        jnp.zeros(3), ControlledTransitions(moves), CategoricalEmissions(jnp.log(0.8 * jnp.eye(3) + 0.1))
    )
    return Simulated(model, lambda s, a, after: jnp.asarray(after == 2, float), Bounded((), 0, 1, True))


WORLDS = {"plane": lambda: Plane(GOAL), "tree": Walk, "hidden Markov": _chain, "limited": lambda: TimeLimit(Walk(), 3)}


@pytest.mark.filterwarnings("ignore:.*infinity")
@pytest.mark.parametrize("name", WORLDS)
def test_gymnasium_finds_no_fault(name):
    check_env(GymnasiumEnv(WORLDS[name]()), skip_render_check=True)


def test_spaces_and_specs_are_two_ways_to_say_the_same():
    for spec in (
        Walk().observation_spec,
        Walk().action_spec,
        Bounded((2,), (0, 1), (3, 5), True),
        Bounded((), 0, np.inf, True),
    ):
        space = space_of(spec)
        assert space_of(spec_of(space)) == space
    box = gymnasium.spaces.Box(np.array([-1.0, -2.0], np.float32), np.array([1.0, np.inf], np.float32))
    assert spec_of(box) == Bounded((2,), (-1.0, -2.0), (1.0, np.inf))
    assert spec_of(gymnasium.spaces.Discrete(3, start=-1)) == Bounded((), -1, 1, True)
    with pytest.raises(BadInputError, match="fixed shape"):
        spec_of(gymnasium.spaces.Text(3))


def test_batches_are_many_single_worlds_and_begin_again():
    """Walk moves without noise: rewards and ends are those of the sum, and the step after an end is a new start."""
    batch = GymnasiumVectorEnv(Walk(), 2, max_episode_steps=3)
    first, _ = batch.reset(seed=0)
    action = {"step": np.array([4, 2]), "push": np.zeros((2, 1), np.float32)}
    place = np.array(first["place"])[:, 0]
    for t in range(3):
        seen, reward, terminated, truncated, _ = batch.step(action)
        place = place + np.array([2.0, 0.0])
        np.testing.assert_allclose(seen["place"][:, 0], place, atol=FLOAT32)
        np.testing.assert_allclose(reward, -np.abs(place), atol=FLOAT32)
        np.testing.assert_array_equal(terminated, np.abs(place) > 5.0)
        np.testing.assert_array_equal(truncated, [t == 2, t == 2])
        assert seen in batch.observation_space
    seen, reward, terminated, truncated, _ = batch.step(action)
    np.testing.assert_array_equal(reward, 0.0)
    assert not terminated.any() and not truncated.any()
    assert np.all((seen["place"] >= 0.0) & (seen["place"] <= 1.0))


def test_actions_out_of_the_space_are_explained():
    env = GymnasiumEnv(Walk())
    env.reset(seed=0)
    for wrong in ({"step": 5, "push": np.zeros(1)}, {"step": 0}, 3):
        with pytest.raises(BadInputError, match="Expected an action in"):
            env.step(wrong)
    with pytest.raises(BadInputError, match="no reset options"):
        env.reset(options={"goal": 1})


def _balance(observation):
    """Push the cart to the side to which the pole falls: keeps CartPole up for some 200 steps."""
    falls = observation[2] + observation[3] > 0.0
    return jnp.where(falls, jnp.array([-50.0, 50.0]), jnp.array([50.0, -50.0]))


def test_an_agent_balances_a_pole(key):
    """Rewards of `CartPole-v1` by the same rule in NumPy."""
    agent = PolicyAgent(Indifferent(), Direct(_balance), Categorical(2), choose=median_action)
    env = gymnasium.make("CartPole-v1")
    episode = rollout_gymnasium(env, agent, key=key, num_steps=60, seed=3)
    seen, _ = env.reset(seed=3)
    for t in range(60):
        np.testing.assert_allclose(episode.trajectory.observation[t], seen, atol=FLOAT32)
        seen, reward, terminated, truncated, _ = env.step(int(seen[2] + seen[3] > 0.0))
        assert float(episode.trajectory.reward[t]) == reward
        assert (bool(episode.trajectory.terminal[t]), bool(episode.trajectory.truncated[t])) == (terminated, truncated)
    assert not episode.trajectory.terminal.any()


def test_episodes_follow_one_another_in_continuous_actions(key):
    torque = Direct(lambda seen: jnp.array([2.0 * jnp.tanh(seen[2]), -9.0]))
    agent = PolicyAgent(Indifferent(), torque, DiagonalGaussian(1), choose=median_action)
    env = gymnasium.make("Pendulum-v1", max_episode_steps=4)
    steps = rollout_gymnasium(env, agent, key=key, num_steps=9, seed=0).trajectory
    np.testing.assert_array_equal(np.flatnonzero(steps.truncated), [3, 7])
    # The reward is minus angle^2 + 0.1 velocity^2 + 0.001 torque^2 before the step.
    angle, velocity = np.arctan2(steps.observation[:, 1], steps.observation[:, 0]), np.array(steps.observation[:, 2])
    torque = np.array(steps.decision.action)[:, 0]
    np.testing.assert_allclose(steps.reward, -(angle**2 + 0.1 * velocity**2 + 0.001 * torque**2), rtol=FLOAT32)
    with pytest.raises(BadInputError, match="at least one step"):
        rollout_gymnasium(env, agent, key=key, num_steps=0)
