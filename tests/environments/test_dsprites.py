"""The world of one sprite: laws, starts, goals and what is said about wrong input."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro.distributions as dist
import pytest

from homeostat.environments import (
    Antialiased,
    ContinuousMotion,
    DSprites,
    FactorisedConfigurations,
    FixedConfiguration,
    ImagePreference,
    LatentPreference,
    OneFactorMotion,
    SecondOrderMotion,
    SpriteGrid,
    Target,
    UniformConfigurations,
)
from homeostat.results import BadInputError
from homeostat.testing import Tolerances, check_environment
from tolerances import ALGEBRA, AUTODIFF, FLOAT32, MONTE_CARLO_STANDARD_ERRORS

STRICT = Tolerances(ALGEBRA, AUTODIFF, MONTE_CARLO_STANDARD_ERRORS, eager=None)
SINGLE = Tolerances(FLOAT32, FLOAT32, MONTE_CARLO_STANDARD_ERRORS, eager=None)
LOGITS = [np.zeros(3), np.arange(6.0), np.sin(np.arange(40)), np.zeros(32), -np.arange(32.0)]

WORLDS = {
    "grid": DSprites(),
    "original grid, antialiased": DSprites(grid=SpriteGrid(39), renderer=Antialiased()),
    "one factor": DSprites(motion=OneFactorMotion()),
    "continuous": DSprites(motion=ContinuousMotion(), renderer=Antialiased(size=32)),
    "second order": DSprites(motion=SecondOrderMotion()),
    "latent preference": DSprites(goal=LatentPreference(FactorisedConfigurations(LOGITS))),
    "image preference": DSprites(goal=ImagePreference(dist.Normal(np.zeros((64, 64)), 1.0).to_event(2))),
}


@pytest.mark.parametrize("name", WORLDS)
def test_laws(name, key):
    # Lattice images are drawn in single precision, where compiled and plain arithmetic differ in the last bits.
    tolerances = SINGLE if name == "original grid, antialiased" else STRICT
    check_environment(WORLDS[name], key=key, tolerances=tolerances)


def test_shape_never_changes_and_latents_stay_on_the_lattice(key):
    world = DSprites()
    states = eqx.filter_jit(jax.vmap(lambda k: world.initial(key=k)))(jr.split(key, 300))
    walk = jax.jit(lambda state, action: jax.vmap(lambda s, a: world.transition(s, a, key=key))(state, action))
    for step in range(20):
        actions = jr.randint(jr.fold_in(key, step), (300, 4), -1, 2)
        after = walk(states, actions)
        np.testing.assert_array_equal(after.latents[:, 0], states.latents[:, 0])
        np.testing.assert_array_equal(after.goal, states.goal)
        assert jnp.all((after.latents >= 0) & (after.latents < jnp.asarray([[3, 6, 40, 32, 32]])))
        states = after
    assert states.latents.dtype == jnp.int32


def test_uniform_starts_cover_every_class_evenly(key):
    count = 12_000
    world = DSprites()
    starts = np.asarray(eqx.filter_jit(jax.vmap(lambda k: world.initial(key=k).latents))(jr.split(key, count)))
    for factor, classes in enumerate(world.grid.num_classes):
        share = np.bincount(starts[:, factor], minlength=classes) / count
        assert len(share) == classes
        error = np.sqrt((1 - 1 / classes) / classes / count)
        assert np.all(np.abs(share - 1 / classes) < MONTE_CARLO_STANDARD_ERRORS * error)


def test_start_and_goal_can_be_set(key):
    world = DSprites(start=UniformConfigurations(shapes=(1,)), goal=Target(FixedConfiguration([0, 5, 3, 30, 2])))
    state = world.initial(key=key)
    assert int(state.latents[0]) == 1
    np.testing.assert_array_equal(state.goal, [1, 5, 3, 30, 2])
    state = world.initial_at([2, 0, 0, 0, 0], [0, 1, 2, 3, 4], key=key)
    np.testing.assert_array_equal(state.latents, [2, 0, 0, 0, 0])
    np.testing.assert_array_equal(state.goal, [2, 1, 2, 3, 4])
    assert int(world.steps_to_goal(state)) == 4


def test_target_rewards_and_ends(key):
    world = DSprites()
    state = world.initial_at([0, 2, 10, 5, 5], [0, 2, 0, 6, 5], key=key)
    assert int(world.steps_to_goal(state)) == 1, "a square turned by a quarter is the same"
    assert not bool(world.terminal(state))
    action = jnp.asarray([0, 0, 1, 0])
    after = world.transition(state, action, key=key)
    assert bool(world.terminal(after))
    assert float(world.reward(state, action, after)) == 0.0
    back = world.transition(after, -action, key=key)
    assert float(world.reward(after, -action, back)) == -1.0
    heart = world.initial_at([2, 2, 10, 5, 5], [2, 2, 0, 6, 5], key=key)
    assert int(world.steps_to_goal(heart)) == 10


def test_latent_preference_is_a_log_probability(key):
    preference = FactorisedConfigurations(LOGITS)
    world = DSprites(goal=LatentPreference(preference))
    state = world.initial_at([1, 4, 7, 3, 2], key=key)
    assert state.goal == ()
    expected = sum(
        np.log(np.exp(logits[c]) / np.exp(logits).sum()) for logits, c in zip(LOGITS, [1, 4, 7, 3, 2], strict=True)
    )
    np.testing.assert_allclose(world.reward(state, jnp.zeros(4, int), state), expected, rtol=FLOAT32)
    assert not bool(world.terminal(state))
    draws = eqx.filter_jit(jax.vmap(lambda k: preference.draw(world.grid, on_lattice=True, key=k)))(jr.split(key, 4000))
    share = np.mean(np.asarray(draws)[:, 1] == 5)
    wanted = np.exp(5) / np.exp(np.arange(6.0)).sum()
    assert abs(share - wanted) < MONTE_CARLO_STANDARD_ERRORS * np.sqrt(wanted * (1 - wanted) / 4000)


def test_image_preference_prefers_the_image(key):
    world = DSprites()
    wanted = world.render(jnp.asarray([2, 3, 4, 10, 12]))
    world = DSprites(goal=ImagePreference(dist.Normal(wanted, 0.5).to_event(2)))
    at, off = (world.initial_at([2, 3, 4, x, 12], key=key) for x in (10, 14))
    best = 64 * 64 * -np.log(0.5 * np.sqrt(2 * np.pi))
    reward = world.reward(off, jnp.zeros(4, int), at)
    np.testing.assert_allclose(reward, best, rtol=FLOAT32)
    pixels = float(jnp.sum(jnp.abs(world.picture(off) - wanted)))
    np.testing.assert_allclose(world.reward(at, jnp.zeros(4, int), off), best - pixels / (2 * 0.25), rtol=FLOAT32)


def test_continuous_world_reaches_within_its_tolerance(key):
    motion = ContinuousMotion(noise=np.zeros((4, 4)))
    world = DSprites(motion=motion, goal=Target(tolerance=0.3))
    state = world.initial_at([2, 1.0, 39.9, 4.0, 8.0], [2, 1.2, 0.1, 4.0, 8.29], key=key)
    assert bool(world.terminal(state)), "the ring closes between 39.9 and 0.1"
    further = world.transition(state, jnp.asarray([0.0, 0.0, -0.05, -0.05]), key=key)
    assert not bool(world.terminal(further))


@pytest.mark.parametrize(
    ("latents", "words"),
    [
        ([3, 0, 0, 0, 0], "'shape' between 0 and 2, got 3"),
        ([0, 6, 0, 0, 0], "'scale' between 0 and 5, got 6"),
        ([0, 0, 40, 0, 0], "'orientation' between 0 and 39, got 40"),
        ([0, 0, 0, -1, 0], "'x' between 0 and 31, got -1"),
        ([0, 0, 0, 0, 32], "'y' between 0 and 31, got 32"),
        ([0, 0, 0, 0], "five numbers"),
        (["left"] * 5, "five numbers"),
        ([[0, 0, 0, 0, 0]], "one sprite"),
        ([0.5, 0, 0, 0, 0], "'shape'"),
        ([0, float("nan"), 0, 0, 0], "'scale'"),
    ],
)
def test_wrong_latents(latents, words, key):
    with pytest.raises(BadInputError, match=words):
        DSprites().initial_at(latents, key=key)


def test_the_last_orientation_of_the_original_is_its_first(key):
    world = DSprites(grid=SpriteGrid(39))
    np.testing.assert_array_equal(world.initial_at([2, 1, 39, 4, 5], key=key).latents, [2, 1, 0, 4, 5])


def test_wrong_actions(key):
    world = DSprites()
    state = world.initial(key=key)
    for action in (jnp.asarray([0, 0, 2, 0]), jnp.zeros(3, int), jnp.zeros(4)):
        with pytest.raises(BadInputError, match="Expected an action"):
            world.transition(state, action, key=key)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: UniformConfigurations(shapes=(0, 3)), "shapes"),
        (lambda: UniformConfigurations(shapes=()), "shapes"),
        (lambda: FixedConfiguration([1, 2, 3]), "five numbers"),
        (lambda: FactorisedConfigurations([np.zeros(3)]), "five vectors"),
        (lambda: DSprites(start=FixedConfiguration([0, 0, 0, 0, 99])).initial(key=jr.key(0)), "'y'"),
        (lambda: DSprites(start=FixedConfiguration([0, 0.5, 0, 0, 0])).initial(key=jr.key(0)), "whole"),
        (lambda: DSprites(start=FactorisedConfigurations([np.zeros(2)] * 5)).initial(key=jr.key(0)), "lengths"),
        (lambda: DSprites(goal=WORLDS["latent preference"].goal).initial_at([0] * 5, [0] * 5, key=jr.key(0)), "Target"),
    ],
)
def test_bad_parts(make, words):
    with pytest.raises(BadInputError, match=words):
        make()
