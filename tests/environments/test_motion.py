"""Motions and the lattice: every action at every border, distances by breadth-first search, noise by its moments."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from homeostat.core import Bounded
from homeostat.environments import (
    ContinuousMotion,
    DSprites,
    GridMotion,
    OneFactorMotion,
    SecondOrderMotion,
    SpriteGrid,
)
from homeostat.results import BadInputError
from tolerances import ALGEBRA, MONTE_CARLO_STANDARD_ERRORS

MOVES = jnp.asarray(list(itertools.product((-1, 0, 1), repeat=4)))
NOTHING = jnp.zeros(0)


def moved(motion, latents, action, grid, key, velocity=NOTHING):
    return motion.move(jnp.asarray(latents), velocity, jnp.asarray(action), grid, key=key)


@pytest.mark.parametrize("orientations", [39, 40])
def test_all_81_moves_at_corners_and_inside(orientations, key):
    grid = SpriteGrid(orientations)
    for start in ([0, 0, 0, 0, 0], [1, 5, orientations - 1, 31, 31], [2, 3, 17, 9, 30]):
        step = jax.vmap(lambda action, start=start: moved(GridMotion(), start, action, grid, key)[0])
        for action, after in zip(np.asarray(MOVES), np.asarray(step(MOVES)), strict=True):
            expected = np.array(start)
            expected[1:] += action
            expected[[1, 3, 4]] = np.clip(expected[[1, 3, 4]], 0, [5, 31, 31])
            expected[2] %= orientations
            np.testing.assert_array_equal(after, expected)


def test_a_full_turn_visits_every_angle_once(key):
    """The true ring has 40 pictures of a heart; the original's has 39."""
    for orientations in (39, 40):
        grid = SpriteGrid(orientations)
        world = DSprites(grid=grid)

        def turn(latents, _, grid=grid, world=world):
            after, _ = moved(GridMotion(), latents, jnp.asarray([0, 1, 0, 0]), grid, jr.key(0))
            return after, world.render(after)

        start = jnp.asarray([2, 5, 3, 16, 16])
        end, images = jax.lax.scan(turn, start, length=orientations)
        np.testing.assert_array_equal(end, start)
        assert len(np.unique(np.asarray(images).reshape(orientations, -1), axis=0)) == orientations


def test_one_factor_moves_are_the_nine_axis_moves(key):
    start = np.array([1, 2, 20, 10, 10])
    after = [np.asarray(moved(OneFactorMotion(), start, action, SpriteGrid(), key)[0]) - start for action in range(9)]
    np.testing.assert_array_equal(after[0], 0)
    steps = {tuple(step[1:]) for step in after}
    assert steps == {(0, 0, 0, 0)} | {tuple(s * np.eye(4, dtype=int)[f]) for f in range(4) for s in (-1, 1)}
    np.testing.assert_array_equal(after[1], [0, -1, 0, 0, 0])
    np.testing.assert_array_equal(after[8], [0, 0, 0, 0, 1])


@pytest.mark.parametrize("shape", [0, 1, 2])
@pytest.mark.parametrize("orientations", [39, 40])
def test_orientation_distance_is_the_shortest_way_round(shape, orientations):
    """Against breadth-first search on the ring, where angles that look alike are all goals."""
    grid = SpriteGrid(orientations)
    order = (4, 2, 1)[shape]
    for goal in (0, 7, orientations - 1):
        alike = [k for k in range(orientations) if (k - goal) * order % orientations == 0]
        reached = dict.fromkeys(alike, 0)
        ring = list(alike)
        for k in ring:
            for neighbour in ((k + 1) % orientations, (k - 1) % orientations):
                if neighbour not in reached:
                    reached[neighbour] = reached[k] + 1
                    ring.append(neighbour)
        latents = jnp.asarray([[shape, 0, k, 0, 0] for k in range(orientations)])
        target = jnp.asarray([shape, 0, goal, 0, 0])
        differences = eqx.filter_jit(jax.vmap(lambda a, target=target: grid.differences(a, target)))(latents)
        np.testing.assert_array_equal(differences[:, 1], [reached[k] for k in range(orientations)])


@pytest.mark.parametrize("motion", [GridMotion(), OneFactorMotion()])
def test_steps_are_the_shortest_path(motion, key):
    """A greedy walk needs exactly as many steps as promised, and no action does better than one step a time."""
    world = DSprites(motion=motion)
    actions = MOVES if motion.action_spec.shape else jnp.arange(9)

    @jax.jit
    def distances(state):
        return jax.vmap(lambda action: world.steps_to_goal(world.transition(state, action, key=key)))(actions)

    for seed in range(3):
        state = world.initial(key=jr.key(seed))
        left = int(world.steps_to_goal(state))
        while left:
            ahead = np.asarray(distances(state))
            assert ahead.min() == left - 1
            state = world.transition(state, actions[int(ahead.argmin())], key=key)
            left -= 1
        assert bool(world.terminal(state))


def test_continuous_motion_is_linear_with_the_given_noise(key):
    """In the middle of the lattice: mean z + B a, covariance L L^T, by 20,000 draws."""
    generator = np.random.default_rng(0)
    gain = generator.normal(size=(4, 4))
    noise = 0.1 * np.tril(generator.normal(size=(4, 4)))
    motion = ContinuousMotion(gain, noise)
    start, action = jnp.asarray([1, 2.5, 20.0, 15.0, 15.0]), jnp.asarray([0.3, -0.2, 0.5, -1.0])
    keys = jr.split(key, 20_000)
    after = eqx.filter_jit(jax.vmap(lambda k: moved(motion, start, action, SpriteGrid(), k)[0]))(keys)
    assert jnp.all(after[:, 0] == 1)
    errors = np.asarray(after)[:, 1:] - np.asarray(start)[1:] - gain @ np.asarray(action)
    covariance = noise @ noise.T
    standard_errors = np.sqrt(np.diag(covariance) / len(keys))
    assert np.all(np.abs(errors.mean(axis=0)) < MONTE_CARLO_STANDARD_ERRORS * standard_errors)
    spread = np.sqrt((covariance**2 + np.outer(np.diag(covariance), np.diag(covariance))) / len(keys))
    assert np.all(np.abs(errors.T @ errors / len(keys) - covariance) < MONTE_CARLO_STANDARD_ERRORS * spread)


def test_second_order_motion_follows_its_equations(key):
    """Without noise: positions and velocities against a loop in NumPy, a stop at the border, and a wrapping angle."""
    motion = SecondOrderMotion(noise=np.zeros((4, 4)), damping=0.2)
    grid = SpriteGrid()
    actions = np.random.default_rng(1).uniform(-1, 1, (60, 4))
    actions[:, 2] = 1.0
    latents, velocity = jnp.asarray([2, 2.0, 38.0, 12.0, 20.0]), jnp.zeros(4)
    expected, speed = np.array([2.0, 38.0, 12.0, 20.0]), np.zeros(4)
    stopped = False
    for action in actions:
        latents, velocity = moved(motion, latents, action, grid, key, velocity)
        speed = 0.8 * speed + 0.25 * action
        free = expected + speed
        expected = np.array([np.clip(free[0], 0, 5), free[1] % 40, *np.clip(free[2:], 0, 31)])
        out = (free != expected) & (np.arange(4) != 1)
        stopped |= bool(out[2])
        speed[out] = 0.0
        np.testing.assert_allclose(latents[1:], expected, atol=ALGEBRA)
        np.testing.assert_allclose(velocity, speed, atol=ALGEBRA)
    assert stopped, "the push to the right should have met the border"


def test_second_order_steps_are_enough_and_no_fewer_would_do(key):
    motion = SecondOrderMotion(noise=np.zeros((4, 4)), damping=0.0)
    for distance in (0.2, 0.25, 0.3, 3.0, 11.0):
        promised = int(motion.steps(jnp.asarray([0.0, 0.0, distance, 0.0])))
        latents, velocity = jnp.asarray([0, 0.0, 0.0, 0.0, 0.0]), jnp.zeros(4)
        travelled = []
        for _ in range(promised):
            latents, velocity = moved(motion, latents, jnp.asarray([0.0, 0, 1, 0]), SpriteGrid(), key, velocity)
            travelled.append(float(latents[3]))
        assert travelled[-1] >= distance - ALGEBRA
        assert len(travelled) < 2 or travelled[-2] < distance


def test_specification_speaks():
    spec = Bounded((4,), -1, 1, whole=True)
    np.testing.assert_array_equal(spec.checked([0, 1, -1, 0], "an action"), [0, 1, -1, 0])
    for wrong in ([0, 1, 2, 0], [0, 1, 0], [0.5, 0, 0, 0], "up", [True, False, True, True]):
        with pytest.raises(BadInputError, match=r"Expected an action as an array of shape \(4,\) of whole numbers"):
            spec.checked(wrong, "an action")
    with pytest.raises(BadInputError, match="nan"):
        Bounded((), -1, 1).checked(float("nan"), "an action")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ContinuousMotion(gain=np.eye(3)), "4 x 4"),
        (lambda: ContinuousMotion(noise=np.full((4, 4), np.nan)), "finite"),
        (lambda: SecondOrderMotion(damping=1.5), "damping"),
        (lambda: SpriteGrid(0), "positive"),
    ],
)
def test_bad_arguments(make, words):
    with pytest.raises(BadInputError, match=words):
        make()
