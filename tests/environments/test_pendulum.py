"""The pendulum beside Gymnasium's, and worlds of both kinds stepped together."""

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from homeostat.environments import FunctionalWorlds, Pendulum, TimeLimit
from homeostat.environments._pendulum import PendulumState
from homeostat.environments.adapters import gymnasium_worlds, make_gymnasium
from homeostat.environments.adapters._worlds import HostState
from homeostat.results import BadInputError
from tolerances import FLOAT32


def test_the_pendulum_is_that_of_gymnasium(key):
    theirs, ours = gymnasium.make("Pendulum-v1").unwrapped, Pendulum()
    theirs.reset(seed=0)
    state = PendulumState(*map(jnp.asarray, theirs.state))
    step = eqx.filter_jit(lambda s, a: (ours.transition(s, a, key=key), ours.observation(s, key=key)))
    for torque in np.random.default_rng(0).uniform(-2.0, 2.0, 100):
        action = jnp.array([torque])
        after, _ = step(state, action)
        observation, reward, *_ = theirs.step(np.array([torque]))
        np.testing.assert_allclose(ours.reward(state, action, after), reward, atol=FLOAT32)
        np.testing.assert_allclose(step(after, action)[1], observation, atol=FLOAT32)
        state = after


def test_worlds_of_both_kinds_begin_again_in_the_step_after_the_last(key):
    """Reward zero, its action ignored, and nothing over: the last observation of an episode is seen before."""
    kinds = {"ours": FunctionalWorlds(TimeLimit(Pendulum(), 3), 2), "theirs": gymnasium_worlds("Pendulum-v1", 2)}
    kinds["short"] = gymnasium_worlds(lambda: gymnasium.make("Pendulum-v1", max_episode_steps=3), 2)
    for name, worlds in kinds.items():
        assert worlds.action_spec.shape == (1,)
        assert worlds.observation_spec.shape == (3,)

        @eqx.filter_jit
        def run(worlds, key):
            state, observation = worlds.init(key=key)

            def step(state, key):
                state, found = worlds.step(state, jnp.full((2, 1), 0.5, jnp.float32), key=key)
                return state, found

            return observation, jax.lax.scan(step, state, jax.random.split(key, 5))[1]

        observation, steps = run(worlds, key)
        assert observation.shape == (2, 3)
        np.testing.assert_array_equal(steps.terminal, False)
        cut = [False, False, name != "theirs", False, False]
        np.testing.assert_array_equal(steps.truncated, np.repeat(np.array(cut)[:, None], 2, axis=1))
        np.testing.assert_array_equal(steps.reward[3] == 0.0, name != "theirs")
        # Gymnasium's first observations differ between worlds as ours do.
        assert np.all(observation[0] != observation[1])


def test_unknown_worlds_are_named():
    with pytest.raises(BadInputError, match="Near it: .*Pendulum-v1"):
        make_gymnasium("Pendullum-v1")
    with pytest.raises(BadInputError, match="at least one world"):
        FunctionalWorlds(Pendulum(), 0)
    with pytest.raises(BadInputError, match="function that makes environments"):
        gymnasium_worlds(gymnasium.make("Pendulum-v1"), 2)


def test_worlds_on_the_host_go_on_where_a_snapshot_was_taken():
    """Numbers of wrappers, environment and generator: the same observations, rewards, ends and new episodes."""
    for name in ("Pendulum-v1", "CartPole-v1"):
        kept, other = (gymnasium_worlds(name, 2) for _ in range(2))
        assert kept.restorable
        actions = [kept.host.worlds.action_space.sample() for _ in range(300)]
        for worlds in (kept, other):
            worlds.host.reset(0 if worlds is kept else 1)
        for action in actions[:30]:
            kept.host.step(0, action)
        at = HostState(jnp.asarray(30))
        other.restored(at, kept.stored(at))
        for action in actions[30:]:
            for ours, theirs in zip(kept.host.step(0, action), other.host.step(0, action), strict=True):
                np.testing.assert_array_equal(ours, theirs)
