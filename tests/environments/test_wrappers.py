"""Partial observation: what is hidden is hidden, what is seen is unchanged."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from homeostat.environments import (
    Antialiased,
    DSprites,
    Fovea,
    Occluders,
    OneFactorMotion,
    PixelNoise,
    SecondOrderMotion,
    SpriteScene,
)
from homeostat.results import BadInputError
from homeostat.testing import Tolerances, check_environment
from tolerances import ALGEBRA, AUTODIFF, FLOAT32, MONTE_CARLO_STANDARD_ERRORS

STRICT = Tolerances(ALGEBRA, AUTODIFF, MONTE_CARLO_STANDARD_ERRORS, eager=None)
SINGLE = Tolerances(FLOAT32, FLOAT32, MONTE_CARLO_STANDARD_ERRORS, eager=None)

WORLDS = {
    "fovea": Fovea(DSprites(), window=12),
    "fovea on a scene of moving sprites": Fovea(SpriteScene(2, motion=SecondOrderMotion()), window=20, stride=3),
    "noise behind occluders behind a fovea": Fovea(Occluders(PixelNoise(DSprites()), [(0, 0, 20, 64)])),
    "noise on a scene": PixelNoise(SpriteScene(2), 0.3),
}


@pytest.mark.parametrize("name", ["fovea", *(pytest.param(n, marks=pytest.mark.slow) for n in list(WORLDS)[1:])])
def test_laws(name, key):
    world = WORLDS[name]
    # Noise is drawn in single precision, where compiled and plain arithmetic differ in the last bits.
    check_environment(world, key=key, tolerances=SINGLE if "noise" in name else STRICT)


def test_a_fovea_shows_its_window_and_nothing_else(key):
    world = Fovea(SpriteScene(2), window=16, stride=5)
    state = world.initial(key=key)

    def walk(state, look):
        state = world.transition(state, jnp.concatenate([jnp.zeros(8, int), look]), key=key)
        seen, centre = world.observation(state, key=key)
        return state, (seen, centre, world.picture(state), world.mask(state))

    looks = jr.randint(key, (60, 2), -1, 2)
    visited = set()
    for seen, centre, picture, mask in zip(*map(np.asarray, jax.lax.scan(walk, state, looks)[1]), strict=True):
        column, row = (int(c) - 8 for c in centre)
        visited.add((column, row))
        assert 0 <= column <= 48
        assert 0 <= row <= 48
        np.testing.assert_array_equal(seen, picture[row : row + 16, column : column + 16])
        assert mask.sum() == 256
        assert mask[row : row + 16, column : column + 16].all()
    assert len(visited) > 20


def test_a_fovea_moves_by_its_stride_and_stops_at_the_border(key):
    world = Fovea(DSprites(), window=16, stride=4)
    state = world.initial(key=key)
    np.testing.assert_array_equal(state.corner, [24, 24])
    right_up = jnp.asarray([0, 0, 0, 0, 1, -1])
    np.testing.assert_array_equal(world.transition(state, right_up, key=key).corner, [28, 20])
    for _ in range(9):
        state = world.transition(state, right_up, key=key)
    np.testing.assert_array_equal(state.corner, [48, 0])


def test_a_fovea_leaves_the_world_alone(key):
    inner = DSprites()
    world = Fovea(inner)
    state, inside = world.initial(key=key), inner.initial(key=key)
    action = jnp.asarray([1, -1, 0, 1])
    after = world.transition(state, jnp.concatenate([action, jnp.ones(2, int)]), key=key)
    expected = inner.transition(inside, action, key=key)
    np.testing.assert_array_equal(after.world.latents, expected.latents)
    np.testing.assert_array_equal(world.goal_of(after), expected.goal)
    assert int(world.steps_to_goal(after)) == int(inner.steps_to_goal(expected))
    both = jnp.concatenate([action, jnp.ones(2, int)])
    assert float(world.reward(state, both, after)) == float(inner.reward(inside, action, expected))
    assert bool(world.terminal(after)) == bool(inner.terminal(expected))


def test_the_centre_of_a_fovea_is_in_canvas_pixels_at_any_resolution(key):
    """A small window around a sprite shows it, and says where it is."""
    world = Fovea(DSprites(renderer=Antialiased(size=128)), window=32, stride=16)
    state = world.initial_at([0, 5, 0, 16, 16], key=key)
    seen, centre = world.observation(state, key=key)
    np.testing.assert_array_equal(centre, [32, 32])
    assert float(seen.mean()) > 0.9


def test_occluders_hide_their_pixels_only(key):
    inner = SpriteScene(2)
    world = Occluders(inner, [(10, 0, 4, 64), (30, 40, 20, 6)], grey=0.25)
    state = inner.initial(key=key)
    hidden = np.zeros((64, 64), bool)
    hidden[:, 10:14] = True
    hidden[40:46, 30:50] = True
    np.testing.assert_array_equal(world.mask(), hidden)
    seen = np.asarray(world.observation(state, key=key))
    np.testing.assert_array_equal(seen[~hidden], np.asarray(inner.picture(state))[~hidden])
    assert np.all(seen[hidden] == np.float32(0.25))
    np.testing.assert_array_equal(world.picture(state), inner.picture(state))


def test_occluders_scale_with_the_image():
    mask = np.asarray(Occluders(DSprites(renderer=Antialiased(size=32)), [(10, 0, 4, 64)]).mask())
    assert mask.shape == (32, 32)
    np.testing.assert_array_equal(np.nonzero(mask.all(axis=0))[0], [5, 6])


def test_pixel_noise_has_its_moments_and_bounds(key):
    inner = DSprites()
    world = PixelNoise(inner, 0.2)
    state = inner.initial(key=key)
    seen = eqx.filter_jit(jax.vmap(lambda k: world.observation(state, key=k)))(jr.split(key, 200))
    noise = np.asarray(seen - inner.picture(state)[None]).ravel()
    count = noise.size
    assert abs(noise.mean()) < MONTE_CARLO_STANDARD_ERRORS * 0.2 / np.sqrt(count)
    assert abs(noise.var() - 0.04) < MONTE_CARLO_STANDARD_ERRORS * 0.04 * np.sqrt(2 / count)
    assert world.observation_spec.low <= float(seen.min())
    assert float(seen.max()) <= world.observation_spec.high


def test_normal_variates_stay_within_the_promised_bounds():
    """The largest normal variate in single precision, by the route by which it is made from uniform bits."""
    largest_uniform = np.nextafter(np.float32(1), np.float32(0))
    largest = np.sqrt(2) * jax.scipy.special.erfinv(jnp.asarray(largest_uniform, jnp.float32))
    assert float(largest) < 6.0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Fovea(DSprites(), window=65), "window"),
        (lambda: Fovea(DSprites(), stride=0), "stride"),
        (lambda: Fovea(DSprites(motion=OneFactorMotion())), "OneFactorMotion"),
        (lambda: Fovea(Fovea(DSprites())), "shows one image"),
        (lambda: PixelNoise(Fovea(DSprites())), "outermost"),
        (lambda: PixelNoise(DSprites(), -1.0), "non-negative"),
        (lambda: Occluders(DSprites(), [(0, 0, 3)]), "patches"),
        (lambda: Occluders(DSprites(), [(0, 0, 0, 3)]), "positive size"),
        (lambda: Occluders(DSprites(), [(0, 0, 3, 3)], grey=2.0), "brightness"),
        (
            lambda: Fovea(DSprites()).transition(
                Fovea(DSprites()).initial(key=jr.key(0)), jnp.zeros(4, int), key=jr.key(0)
            ),
            "shape",
        ),
    ],
)
def test_bad_arguments(make, words):
    with pytest.raises(BadInputError, match=words):
        make()
