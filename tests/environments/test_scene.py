"""Scenes of several sprites: laws, occlusion, colours, and goals of all sprites together."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from homeostat.environments import (
    RAINBOW,
    DSprites,
    FactorisedConfigurations,
    LatentPreference,
    SecondOrderMotion,
    SpriteScene,
)
from homeostat.results import BadInputError
from homeostat.testing import Tolerances, check_environment
from tolerances import ALGEBRA, AUTODIFF, MONTE_CARLO_STANDARD_ERRORS

STRICT = Tolerances(ALGEBRA, AUTODIFF, MONTE_CARLO_STANDARD_ERRORS, eager=None)


@pytest.mark.parametrize(
    "scene",
    [SpriteScene(3), pytest.param(SpriteScene(2, motion=SecondOrderMotion()), marks=pytest.mark.slow)],
    ids=["grid", "second order"],
)
def test_laws(scene, key):
    check_environment(scene, key=key, tolerances=STRICT)


def test_the_nearest_sprite_hides_the_others(key):
    """Every pixel shows the colour of the nearest sprite on it, or black."""
    scene = SpriteScene(4)
    state = scene.initial_at([[0, 5, 3, 10, 10], [1, 5, 9, 12, 11], [2, 5, 0, 14, 12], [0, 3, 7, 16, 9]], key=key)
    masks = np.stack([np.asarray(DSprites().render(latents)) for latents in state.latents])
    expected = np.zeros((64, 64, 3))
    for row, column in np.ndindex(64, 64):
        for sprite in np.asarray(state.order)[::-1]:
            if masks[sprite, row, column]:
                expected[row, column] = state.colours[sprite]
                break
    overlap = (masks.sum(axis=0) > 1).sum()
    assert overlap > 100, "the example should overlap"
    np.testing.assert_array_equal(np.asarray(scene.observation(state, key=key)), expected.astype(np.float32))


def test_depths_and_colours_are_drawn_and_stay(key):
    scene = SpriteScene(3)
    states = eqx.filter_jit(jax.vmap(lambda k: scene.initial(key=k)))(jr.split(key, 400))
    orders = {tuple(order) for order in np.asarray(states.order)}
    assert len(orders) == 6
    known = np.asarray(RAINBOW, np.float32)
    for colours in np.asarray(states.colours)[:50]:
        assert len(np.unique(colours, axis=0)) == 3, "no colour twice while there are enough"
        assert all((colour == known).all(axis=1).any() for colour in colours)
    state = scene.initial(key=key)
    after = scene.transition(state, jnp.ones((3, 4), int), key=key)
    np.testing.assert_array_equal(after.colours, state.colours)
    np.testing.assert_array_equal(after.order, state.order)
    np.testing.assert_array_equal(after.latents[:, 0], state.latents[:, 0])


def test_colours_repeat_only_when_they_run_out(key):
    scene = SpriteScene(5, palette=[(1, 0, 0), (0, 1, 0)])
    red = np.asarray(scene.initial(key=key).colours)[:, 0]
    assert red[:2].sum() == red[2:4].sum() == 1


def test_sprites_move_on_their_own_and_all_must_arrive(key):
    scene = SpriteScene(2)
    start = [[0, 2, 5, 10, 10], [2, 2, 5, 20, 20]]
    state = scene.initial_at(start, [[0, 2, 5, 11, 10], [2, 2, 5, 20, 18]], key=key)
    assert int(scene.steps_to_goal(state)) == 2
    action = jnp.asarray([[0, 0, 1, 0], [0, 0, 0, -1]])
    once = scene.transition(state, action, key=key)
    np.testing.assert_array_equal(once.latents, [[0, 2, 5, 11, 10], [2, 2, 5, 20, 19]])
    assert not bool(scene.terminal(once))
    assert float(scene.reward(state, action, once)) == -1.0
    twice = scene.transition(once, action.at[0].set(0), key=key)
    assert bool(scene.terminal(twice))


def test_preferences_add_up_over_sprites(key):
    preference = FactorisedConfigurations([np.zeros(3), np.arange(6.0), np.zeros(40), np.zeros(32), np.zeros(32)])
    scene = SpriteScene(2, goal=LatentPreference(preference))
    state = scene.initial_at([[0, 2, 5, 10, 10], [2, 4, 5, 20, 20]], key=key)
    single = [float(preference.log_prob(latents)) for latents in state.latents]
    np.testing.assert_allclose(scene.reward(state, jnp.zeros((2, 4), int), state), sum(single), rtol=AUTODIFF)
    np.testing.assert_allclose(single[1] - single[0], 2.0, atol=ALGEBRA)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SpriteScene(0), "number of objects"),
        (lambda: SpriteScene(2, palette=[(1, 0)]), "palette"),
        (lambda: SpriteScene(2, palette=[(255, 0, 0)]), "palette"),
        (lambda: SpriteScene(2).initial_at([0, 0, 0, 0, 0], key=jr.key(0)), "2 sprites"),
    ],
)
def test_bad_arguments(make, words):
    with pytest.raises(BadInputError, match=words):
        make()
