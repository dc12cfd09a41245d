"""The shared helpers of the dSprites experiments, and the parts of the perception experiment."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import tolerances
from homeostat.environments import SYMMETRY_ORDER, SpriteGrid
from homeostat.experiments.dsprites import (
    _amortized as amortized,
    _engines as engines,
    _perceive as perceive,
    _sprites as sprites,
    _training as training,
)
from homeostat.inference import loss_descent
from homeostat.inference.engines import Feedback
from homeostat.models.static import Similarity, SpriteCoordinates, model_at
from homeostat.results import BadInputError


@pytest.fixture(scope="module")
def models():
    return sprites.sprite_models()


def test_held_out_pictures_are_not_in_training_under_any_name(key):
    grid = SpriteGrid()
    train, held_out = sprites.split_configurations(300, key=key)
    classes = np.asarray(sprites.latents_at(jnp.asarray(train)))
    held = np.asarray(sprites.latents_at(jnp.asarray(held_out)))
    assert len(np.unique(held_out)) == 300
    periods = np.asarray([int(grid.orientation_period(jnp.asarray(k))) for k in range(3)])

    def picture(rows):
        rows = rows.copy()
        rows[:, 2] %= periods[rows[:, 0]]
        return set(map(tuple, rows))

    assert not picture(classes) & picture(held)
    total = int(np.prod(grid.num_classes))
    assert total - 300 * 4 <= len(train) < total - 300
    # A quarter turn of a square is the same image, so this exclusion is needed.
    square = jnp.asarray([[0, 3, 2, 10, 20], [0, 3, 12, 10, 20]])
    first, second = sprites.render(square)
    np.testing.assert_array_equal(first, second)
    with pytest.raises(BadInputError, match="held-out"):
        sprites.split_configurations(0, key=key)


@pytest.mark.parametrize("latents", [[0, 5, 7, 0, 31], [1, 0, 33, 16, 8], [2, 2, 21, 30, 3]])
def test_models_draw_what_the_environment_draws(models, latents):
    latents = jnp.asarray(latents)
    model = model_at(models, int(latents[0]))
    z = model.coordinates.inverse(sprites.similarity_of(latents))
    image, seen = model.image(z), sprites.render(latents[None])[0]
    # Grey edges against binary ones: rounded, they differ in few pixels of the outline.
    assert float(jnp.sum(jnp.round(image) != seen)) < 0.05 * float(jnp.sum(seen))
    assert float(jnp.mean((image - seen) ** 2)) < 0.1 * float(jnp.mean(seen))
    assert abs(float(jnp.sum(image) / jnp.sum(seen)) - 1.0) < 0.05


def decoding_errors(pose, latents):
    """Of one pose, by way of z."""
    coordinates = SpriteCoordinates()
    classes = sprites.in_classes(coordinates, coordinates.inverse(pose))
    return sprites.decoding_errors(classes[None], latents[None])


def test_errors_are_up_to_symmetry():
    for shape, order in enumerate(SYMMETRY_ORDER):
        latents = jnp.asarray([shape, 3, 5, 10, 20])
        truth = sprites.similarity_of(latents)
        turned = truth._replace(angle=truth.angle + 2 * jnp.pi / order * 3 + jnp.radians(4.0), x=truth.x + 0.32)
        errors = decoding_errors(turned, latents)
        np.testing.assert_allclose(errors, [[0.0, 4.0, 0.01, 0.0]], atol=tolerances.ALGEBRA)
        assert sprites.within_tolerance(errors).all()
        assert not sprites.within_tolerance(errors.at[:, 1].set(9.1)).any()
    latents = jnp.asarray([2, 3, 5, 10, 20])
    truth = sprites.similarity_of(latents)
    half = decoding_errors(truth._replace(angle=truth.angle + jnp.pi), latents)
    np.testing.assert_allclose(half[0, 1], 180.0, atol=tolerances.ALGEBRA)


def test_coarse_models_see_the_averaged_image(models):
    z = jnp.asarray([0.3, 0.2, 0.4, -0.6])
    for shape in range(3):
        fine = model_at(models, shape).image(z)
        coarse = model_at(perceive.coarsened(models), shape).image(z)
        pooled = fine.reshape(32, 2, 32, 2).mean((1, 3))
        assert float(jnp.mean(jnp.abs(coarse - pooled))) < 0.05 * float(jnp.mean(pooled)) + 0.002


def test_feedforward_pose_matches_mass_and_centroid(models):
    model = model_at(models, 2)
    truth = Similarity(jnp.asarray(0.9), jnp.asarray(2.0), jnp.asarray(40.0), jnp.asarray(25.0))
    image = model.image(model.coordinates.inverse(truth))
    mass, centre = sprites.mass_and_centre(image)
    own_mass, own_centre = sprites.mass_and_centre(model.template)
    scale = jnp.sqrt(mass / (own_mass * 0.25))
    pose = model.coordinates(perceive.pose_at(model.coordinates, scale, truth.angle, centre, own_centre * 0.5 - 16.0))
    np.testing.assert_allclose(pose.scale, truth.scale, rtol=0.01)
    np.testing.assert_allclose([pose.x, pose.y], [truth.x, truth.y], atol=0.05)
    turn = (float(pose.angle - truth.angle) + np.pi) % (2 * np.pi) - np.pi
    assert abs(turn) < tolerances.AUTODIFF


@pytest.mark.slow
def test_perception_decodes_shape_and_pose(key):
    latents = jnp.asarray([[0, 1, 3, 2, 29], [1, 4, 14, 20, 9], [2, 5, 27, 15, 15], [2, 0, 8, 31, 0]])
    perception = perceive.SpritePerception()
    found = eqx.filter_jit(
        lambda images: jax.vmap(lambda image, k: perception(image, key=k))(images, jr.split(key, len(images)))
    )(sprites.render(latents))
    shapes = eqx.filter_jit(jax.vmap(lambda posterior: posterior.best_hypothesis))(found)
    np.testing.assert_array_equal(shapes, latents[:, 0])
    coordinates = SpriteCoordinates()
    locs = jax.vmap(lambda posterior: posterior.best_params.loc)(found)
    errors = sprites.decoding_errors(jax.vmap(partial(sprites.in_classes, coordinates))(locs), latents)
    assert bool(jnp.all(sprites.within_tolerance(errors)))
    np.testing.assert_allclose(jnp.sum(jnp.exp(found.log_weights), axis=1), 1.0, atol=tolerances.ALGEBRA)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((32, 64)), "shape"),
        (np.full((64, 64), np.nan), "finite"),
        (np.full((64, 64), 255, np.uint8), "divide bytes by 255"),
        (np.full((64, 64), "a"), "real numbers"),
    ],
)
def test_bad_images_are_refused(image, message):
    with pytest.raises(BadInputError, match=message):
        perceive.checked_image(image)


def test_standardised_step_undoes_standardised_gradient():
    # Output = - encoding is one natural-gradient step of the mean with q's own covariance.
    estimate = jnp.asarray([0.3, -0.2, 0.1, 0.5, -2.0, -3.0, -1.0, -2.5])
    gradient = jnp.asarray([3.0, -8.0, 0.5, 0.0, 0.1, -0.2, 0.3, 0.0])
    feedback = Feedback(estimate, gradient, None)
    output = -amortized.StandardisedGradient()(feedback)
    moved = amortized.StandardisedStep(longest=1e6)(feedback, output)
    expected = estimate[:4] - jnp.exp(2 * estimate[4:]) * gradient[:4]
    np.testing.assert_allclose(moved[:4], expected, atol=tolerances.AUTODIFF)


def test_encoder_reads_positions_relative_to_its_window_and_angles_on_their_branch(key):
    encoder = amortized.SpriteEncoder(SpriteCoordinates(), width=16, key=key)
    image = sprites.render(jnp.asarray([[2, 3, 5, 10, 20]]))[0]
    params = encoder(image)
    moved = encoder(jnp.roll(image, (3, -4), axis=(0, 1)))
    gain = encoder.coordinates.gain
    shift = (moved.loc - params.loc) * gain[None, :]
    # Moving the picture by whole pixels moves the estimate by as many, and changes nothing else.
    np.testing.assert_allclose(shift, np.tile([0.0, 0.0, -4.0, 3.0], (3, 1)), atol=tolerances.AUTODIFF)
    np.testing.assert_allclose(moved.log_scale, params.log_scale, atol=tolerances.AUTODIFF)
    angles = np.asarray(params.loc[:, 1] * gain[1])
    assert np.all(np.abs(angles) <= np.pi / np.asarray(SYMMETRY_ORDER))
    one = encoder.given(1, image)
    np.testing.assert_array_equal(one.loc, params.loc[1])


def test_training_steps_lower_their_losses(key, models):
    encoder = amortized.SpriteEncoder(SpriteCoordinates(), width=16, key=key)
    learner = loss_descent(partial(training.sleep_loss, batch=4), encoder, optax.adam(3e-3))
    state, update, losses = learner.init(key=key), eqx.filter_jit(learner.update), []
    for step in range(12):
        state, metrics = update(state, models, key=jr.fold_in(key, step % 2))
        losses.append(float(metrics.free_energy_nats))
    assert np.isfinite(losses).all() and np.mean(losses[-2:]) < np.mean(losses[:2])


@pytest.mark.slow
def test_iterative_training_and_comparison_run_on_all_shapes(key, models):
    encoder = amortized.SpriteEncoder(SpriteCoordinates(), width=16, key=key)
    train = sprites.by_shape(jnp.asarray(sprites.split_configurations(10, key=key)[0][::997]))
    perception = perceive.SpritePerception(models)
    pictures = training.Pictures(perception, train, encoder)
    learner = loss_descent(training.iterative_loss(2, 2), amortized.iterative_engine(16, key=key), optax.adam(1e-3))
    step, state = eqx.filter_jit(learner.update), learner.init(key=key)
    new, metrics = step(state, pictures, key=key)
    assert np.isfinite(float(metrics.free_energy_nats))
    changes = [
        float(jnp.max(jnp.abs(a - b)))
        for a, b in zip(
            *(jax.tree.leaves(eqx.filter(s, eqx.is_array)) for s in (new.learned, state.learned)), strict=True
        )
    ]
    assert max(changes) > 0 and np.isfinite(changes).all()

    images = eqx.filter_jit(jax.vmap(lambda row: sprites.render(sprites.latents_at(row))))(train[:, :2])
    starts = training.feedforward_starts(perception, images)
    settings = {"num_steps": 8, "chunk": 1, "key": key}
    runs = engines.run_engine(models, images, starts, engines.tuned(engines.natural, 0.7, 0.1), **settings)
    before, after = (engines.measured_energy(models, images, p, chunk=1, key=key) for p in (starts, runs.params))
    assert before.shape == (3, 2) and bool(jnp.all(after < before))
    # How many pictures are worked on at once changes nothing but the speed.
    whole = engines.run_engine(
        models, images, starts, engines.tuned(engines.natural, 0.7, 0.1), **(settings | {"chunk": 2})
    )
    np.testing.assert_allclose(runs.params.loc, whole.params.loc, atol=tolerances.AUTODIFF)
