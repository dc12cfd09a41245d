"""Exploration from images: what is tracked is as accurate as it says, and nothing is clipped."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from homeostat.environments import Antialiased, ContinuousMotion, DSprites
from homeostat.environments.wrappers import PixelNoise
from homeostat.experiments.dsprites._interaction import Reversal, Spring, explore, true_first_order, true_second_order
from homeostat.experiments.dsprites._sprites import CLASS_STEP, class_errors, in_classes
from homeostat.experiments.dsprites._tracking import tracking_models
from homeostat.models.sequential import LinearGaussian, in_displacement_coordinates
from homeostat.models.static import SpriteCoordinates
from tolerances import ALGEBRA, MONTE_CARLO_STANDARD_ERRORS

SEQUENCES, LENGTH = 9, 6


@pytest.mark.slow
def test_tracking_errors_are_what_the_factors_say(key):
    gain, noise = np.diag([0.6, 1.5, 1.0, 1.0]), 0.1 * np.eye(4)
    world = PixelNoise(DSprites(motion=ContinuousMotion(gain, noise), renderer=Antialiased()), 0.15)
    data = explore(
        world, Reversal((1.0, 0.0, 2.0, 2.0)), tracking_models(0.15), num_sequences=SEQUENCES, length=LENGTH, key=key
    )
    assert data.actions.shape == (SEQUENCES, LENGTH - 1, 4)
    classes = eqx.filter_jit(jax.vmap(jax.vmap(lambda z: in_classes(SpriteCoordinates(), z))))(data.values)
    error = eqx.filter_jit(jax.vmap(class_errors))(classes, data.latents)
    assert jnp.abs(error).max() < 0.5
    whitened = jnp.linalg.solve(data.scale_trils, (error * jnp.asarray(CLASS_STEP)[None, None, :])[..., None])
    count = SEQUENCES * LENGTH * 4
    # A chi-squared of `count` degrees has the variance 2 count; twice that leaves room for the templates' own errors.
    assert jnp.abs(jnp.sum(whitened**2) - count) < MONTE_CARLO_STANDARD_ERRORS * (4.0 * count) ** 0.5
    # No move was clipped: each is the action's, up to five standard deviations of process noise.
    move = jnp.diff(data.latents[..., 1:], axis=1)
    move = move.at[..., 1].set(jnp.mod(move[..., 1] + 20.0, 40.0) - 20.0)
    assert jnp.abs(move - data.actions @ gain.T).max() < MONTE_CARLO_STANDARD_ERRORS * 0.1


def test_explorations_turn_inwards(key):
    low, high, still = jnp.array([0.2, 3.0, 1.0, 1.0]), jnp.array([4.9, 3.0, 30.0, 30.5]), jnp.zeros(4)
    inwards = jnp.array([0, 2, 3])
    for exploration in (Reversal((1.0, 0.0, 2.0, 2.0)), Reversal((1.0, 0.0, 2.0, 2.0), whole=True)):
        for k in jr.split(key, 20):
            assert jnp.all(exploration(low, still, key=k)[inwards] >= 0)
            assert jnp.all(exploration(high, still, key=k)[inwards] <= 0)
    draws = eqx.filter_jit(jax.vmap(lambda k: Spring()(low, still, key=k)))(jr.split(key, 2_000))
    assert jnp.all(jnp.mean(draws, axis=0)[inwards] > 0.5)
    assert jnp.abs(jnp.mean(draws, axis=0)[1]) < MONTE_CARLO_STANDARD_ERRORS * 3.0**-0.5 / 2_000**0.5
    assert jnp.abs(draws).max() <= 1.0


def test_the_true_models_are_the_environments(key):
    """One noise-free step of the environment in class units is one mean step of the model in z."""
    gain = jr.normal(key, (4, 4))
    step, action, place = jnp.asarray(CLASS_STEP), jnp.array([0.3, -0.2, 0.5, 1.0]), jnp.array([2.0, 7.0, 11.0, 13.0])
    first = true_first_order(gain, jnp.eye(4))
    assert jnp.abs(first.mean(place * step, action) - (place + gain @ action) * step).max() < ALGEBRA
    speed, damping = jnp.array([0.1, 0.2, -0.3, 0.4]), 0.1
    second = true_second_order(gain, 0.5 * jnp.eye(4), damping)
    fast = (1.0 - damping) * speed + gain @ action
    found = second.mean(jnp.concatenate([place * step, speed * step]), action)
    assert jnp.abs(found - jnp.concatenate([(place + fast) * step, fast * step])).max() < ALGEBRA
    # Its hidden half is already a velocity; the expected displacement is what damping leaves of it.
    model = LinearGaussian(jnp.zeros(8), jnp.eye(8), second, jnp.eye(4, 8), jnp.eye(4))
    seen = in_displacement_coordinates(model).dynamics
    assert jnp.abs(seen.matrix[4:, 4:] - (1.0 - damping) * jnp.eye(4)).max() < ALGEBRA
