"""Gymnasium's view: its own checker without a warning, seeds, options, spaces, batches and the functional interface."""

import subprocess
import sys

import gymnasium
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

from homeostat.environments import DSprites, SpriteGrid
from homeostat.environments.adapters import ENV_ID, register, sprites_func_env
from homeostat.results import BadInputError

OPTIONS = {
    "default": {},
    "original grid": {"original_grid": True},
    "one factor": {"one_factor": True},
    "continuous, antialiased": {"continuous": True, "antialiased": True, "size": 32},
    "second order": {"second_order": True, "damping": 0.2, "process_noise": 0.05},
    "scene through a fovea": {"objects": 2, "fovea": 16},
    "occluders and noise": {"occluders": [(20, 0, 5, 64)], "pixel_noise": 0.1},
    "latent preference": {"preferred_latents": [np.zeros(n) for n in (3, 6, 40, 32, 32)]},
    "image preference": {"preferred_image": np.ones((64, 64)), "image_scale": 0.5},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_gymnasium_finds_no_fault(name):
    """Warnings are errors here, so none is left."""
    check_env(gymnasium.make(ENV_ID, **OPTIONS[name]).unwrapped)


def test_registered_by_import_and_by_module_name():
    program = (
        "import gymnasium; env = gymnasium.make('homeostat.environments:homeostat/DSprites-v0'); "
        "obs, info = env.reset(seed=0); print(obs.shape, env.action_space)"
    )
    ran = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert ran.stdout == "(64, 64) MultiDiscrete([3 3 3 3])\n", ran.stderr
    register()
    assert gymnasium.spec(ENV_ID).max_episode_steps == 200


def test_actions_count_from_zero():
    env = gymnasium.make(ENV_ID, goal=[0, 0, 0, 0, 0])
    env.reset(options={"latents": [2, 3, 39, 10, 31]})
    _, _, _, _, info = env.step(np.array([2, 2, 0, 2]))
    np.testing.assert_array_equal(info["latents"], [2, 4, 0, 9, 31])


@pytest.mark.parametrize("original", [False, True])
def test_reset_sets_the_latents_and_shows_them(original):
    env = gymnasium.make(ENV_ID, original_grid=original)
    world = DSprites(grid=SpriteGrid(39 if original else 40))
    for latents in ([0, 0, 0, 0, 0], [1, 5, 38, 31, 31], [2, 3, 17, 4, 22]):
        seen, info = env.reset(options={"latents": latents, "goal": [0, 1, 2, 3, 4]})
        np.testing.assert_array_equal(info["latents"], latents)
        np.testing.assert_array_equal(info["goal"], [latents[0], 1, 2, 3, 4])
        assert np.issubdtype(info["latents"].dtype, np.integer)
        np.testing.assert_array_equal(seen, world.render(jnp.asarray(latents)))


def test_seeds_reproduce_whole_episodes():
    def episode(seed):
        env = gymnasium.make(ENV_ID, continuous=True, pixel_noise=0.1)
        env.action_space.seed(5)
        trace = [env.reset(seed=seed)[0]]
        trace += [env.step(env.action_space.sample())[0] for _ in range(5)]
        trace.append(env.reset()[0])
        return np.stack(trace)

    np.testing.assert_array_equal(episode(3), episode(3))
    assert np.abs(episode(3) - episode(4)).max() > 0


def test_end_of_the_task_and_end_of_time_are_apart():
    env = gymnasium.make(ENV_ID, max_episode_steps=3)
    env.reset(seed=0, options={"latents": [0, 1, 2, 3, 4], "goal": [0, 1, 2, 4, 4]})
    _, reward, terminated, truncated, info = env.step(np.array([1, 1, 2, 1]))
    assert (reward, terminated, truncated, int(info["steps_to_goal"])) == (0.0, True, False, 0)
    env.reset(seed=0, options={"latents": [0, 1, 2, 3, 4], "goal": [0, 1, 2, 30, 4]})
    ends = [env.step(np.array([1, 1, 1, 1]))[1:4] for _ in range(3)]
    assert ends == [(-27.0, False, False)] * 2 + [(-27.0, False, True)]


def test_render_is_an_rgb_array_of_the_whole_scene():
    env = gymnasium.make(ENV_ID, render_mode="rgb_array", fovea=8, pixel_noise=0.5)
    env.reset(options={"latents": [1, 5, 0, 16, 16]})
    frame = env.render()
    assert (frame.shape, frame.dtype) == ((64, 64, 3), np.uint8)
    expected = 255 * np.asarray(DSprites().render(jnp.asarray([1, 5, 0, 16, 16])))
    for channel in range(3):
        np.testing.assert_array_equal(frame[:, :, channel], expected)
    assert gymnasium.make(ENV_ID).unwrapped.render() is None


def test_batches_step_together_and_begin_again():
    batch = gymnasium.make_vec(ENV_ID, num_envs=3, max_episode_steps=4)
    assert batch.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    start = [[0, 1, 2, 3, 4], [1, 1, 2, 3, 4], [2, 1, 2, 3, 4]]
    goal = [[0, 1, 2, 4, 4], [1, 1, 2, 30, 4], [2, 1, 2, 5, 4]]
    seen, info = batch.reset(seed=0, options={"latents": start, "goal": goal})
    assert seen in batch.observation_space
    np.testing.assert_array_equal(info["latents"], start)
    assert info["_latents"].all()
    right, stay = [1, 1, 2, 1], [1, 1, 1, 1]
    _, reward, terminated, truncated, _ = batch.step(np.array([right, stay, right]))
    np.testing.assert_array_equal(reward, [0, -27, -1])
    np.testing.assert_array_equal(terminated, [True, False, False])
    np.testing.assert_array_equal(truncated, [False, False, False])
    _, reward, terminated, _, info = batch.step(np.array([right, stay, right]))
    assert reward[0] == 0, "the action at the beginning of an episode is ignored"
    np.testing.assert_array_equal(terminated, [False, False, True])
    np.testing.assert_array_equal(info["latents"][1], [1, 1, 2, 3, 4])
    batch.step(np.array([stay, stay, stay]))
    _, _, _, truncated, info = batch.step(np.array([stay, stay, stay]))
    np.testing.assert_array_equal(truncated, [False, True, False])
    _, _, terminated, truncated, info = batch.step(np.array([stay, stay, stay]))
    assert not terminated[1]
    assert not truncated[1]
    assert not np.array_equal(info["goal"][1], goal[1]), "a new episode has a new goal"


def test_a_batch_is_many_single_worlds():
    """The same latents and actions give the same images, rewards and ends as one environment."""
    generator = np.random.default_rng(0)
    start = np.stack([generator.integers(0, n, 6) for n in (3, 6, 40, 32, 32)], axis=1)
    actions = generator.integers(0, 3, (4, 6, 4))
    batch = gymnasium.make_vec(ENV_ID, num_envs=6, goal=[0, 3, 3, 3, 3])
    first = batch.reset(options={"latents": start})[0]
    outcomes = [batch.step(action) for action in actions]
    env = gymnasium.make(ENV_ID, goal=[0, 3, 3, 3, 3])
    for index in range(6):
        np.testing.assert_array_equal(env.reset(options={"latents": start[index]})[0], first[index])
        for action, (seen, reward, terminated, _, info) in zip(actions, outcomes, strict=True):
            alone = env.step(action[index])
            np.testing.assert_array_equal(alone[0], seen[index])
            assert alone[1:3] == (reward[index], terminated[index])
            np.testing.assert_array_equal(alone[4]["latents"], info["latents"][index])


def test_batches_reproduce_and_differ_among_themselves():
    batch = gymnasium.make_vec(ENV_ID, num_envs=5, objects=2, render_mode="rgb_array")
    first = batch.reset(seed=7)[0]
    np.testing.assert_array_equal(first, batch.reset(seed=7)[0])
    assert len(np.unique(first.reshape(5, -1), axis=0)) == 5
    frames = batch.render()
    assert len(frames) == 5
    assert frames[0].shape == (64, 64, 3)


def test_functional_interface():
    env = sprites_func_env(fovea=16)
    state = env.initial(jr.key(0))
    assert {k: np.asarray(v) for k, v in env.observation(state, jr.key(1)).items()} in env.observation_space
    action = jnp.asarray([2, 1, 1, 1, 1, 0])
    after = env.transition(state, action, jr.key(2))
    assert int(after.world.latents[1]) == min(int(state.world.latents[1]) + 1, 5)
    assert float(env.reward(state, action, after, jr.key(3))) == -float(env.state_info(after)["steps_to_goal"])
    assert env.render_image(after, env.render_init())[1].shape == (64, 64, 3)
    batch = sprites_func_env()
    batch.transform(jax.vmap)
    states = batch.initial(jr.split(jr.key(0), 4))
    assert batch.observation(states, jr.split(jr.key(1), 4)).shape == (4, 64, 64)


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda: gymnasium.make(ENV_ID, colour="red"), "colour"),
        (lambda: gymnasium.make(ENV_ID, continuous=True, one_factor=True), "at most one"),
        (lambda: gymnasium.make(ENV_ID, damping=0.5), "second_order"),
        (lambda: gymnasium.make(ENV_ID, process_noise=0.5), "continuous"),
        (lambda: gymnasium.make(ENV_ID, size=32), "antialiased"),
        (lambda: gymnasium.make(ENV_ID, goal=[0] * 5, preferred_image=np.zeros((64, 64))), "at most one"),
        (lambda: gymnasium.make(ENV_ID, preferred_image=np.zeros((32, 32))), "preferred image"),
        (lambda: gymnasium.make(ENV_ID, world=DSprites(), fovea=8), "either a world or options"),
        (lambda: gymnasium.make_vec(ENV_ID, num_envs=2, max_episode_steps=0), "max_episode_steps"),
        (lambda: gymnasium.make(ENV_ID).reset(options={"latent": [0] * 5}), "latents"),
        (lambda: gymnasium.make(ENV_ID).reset(options={"latents": [0, 0, 0, 0, 32]}), "'y' between 0 and 31"),
        (lambda: gymnasium.make(ENV_ID).reset(options={"latents": [0, 0, 0]}), "five numbers"),
        (lambda: gymnasium.make(ENV_ID).unwrapped.step([1, 1, 1, 1]), "reset"),
        (lambda: gymnasium.make_vec(ENV_ID, num_envs=2).reset(options={"latents": [[0] * 5] * 3}), r"\(2, 5\)"),
    ],
)
def test_wrong_use_is_explained(act, words):
    with pytest.raises(BadInputError, match=words):
        act()


@pytest.mark.parametrize("action", [[1, 1, 1, 3], [1, 1, 1], [1.0, 1.0, 1.0, 1.0], "up", None, [-1, 0, 0, 0]])
def test_actions_out_of_space_are_explained(action):
    env = gymnasium.make(ENV_ID).unwrapped
    env.reset(seed=0)
    with pytest.raises(BadInputError, match=r"MultiDiscrete\(\[3 3 3 3\]\)"):
        env.step(action)
