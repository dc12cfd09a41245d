"""Helpers of the template and calibration experiments."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from homeostat.environments import SpriteGrid
from homeostat.experiments.dsprites._scenes import COLOURS, depth_orders, draw_scene, scene_models
from homeostat.experiments.dsprites._sprites import render, similarity_of, sprite_templates
from homeostat.experiments.dsprites._starts import moments, recentred, ring_of_poses, sparse_candidates
from homeostat.experiments.dsprites._template_learning import align, bounded, softened
from homeostat.models.static import SparseTemplate, SpatialTransformer, SpriteCoordinates, model_at
from tolerances import ALGEBRA

LATENTS = jnp.asarray([[2, 4, 7, 5, 20], [0, 1, 3, 25, 9]])


def images():
    return render(LATENTS).astype(float)


def test_recentred_images_have_their_centroid_in_the_middle_and_a_common_size():
    pictures = images()
    average = jnp.mean(jnp.sum(pictures, axis=(1, 2)))
    frames = eqx.filter_jit(jax.vmap(lambda image: recentred(image, average, 32)))(pictures)
    masses = jnp.sum(frames, axis=(1, 2))
    # Mass is area, so that equal sizes mean equal masses, up to the steps of a binary picture.
    np.testing.assert_allclose(masses[0], masses[1], rtol=0.05)
    for frame in frames:
        found = moments(frame, jnp.sum(frame))
        assert abs(found.x - 16.0) < 0.2 and abs(found.y - 16.0) < 0.2


def test_ring_of_poses_goes_around_at_the_blob():
    image = images()[1]
    ring = ring_of_poses(image, jnp.sum(image), SpriteCoordinates(), 8)
    poses = eqx.filter_jit(eqx.filter_vmap(SpriteCoordinates()))(ring)
    truth = similarity_of(LATENTS[1])
    assert np.all(np.abs(poses.x - truth.x) < 1.0) and np.all(np.abs(poses.y - truth.y) < 1.0)
    np.testing.assert_allclose(np.diff(poses.angle), 2 * np.pi / 8, atol=ALGEBRA)


def test_sparse_candidates_fit_one_atom_each():
    image = images()[0]
    frame = recentred(image, jnp.sum(image), 32)
    mean = jnp.zeros((32, 32))
    model = SparseTemplate(mean, jnp.stack([frame, jnp.roll(frame, 5, axis=0)]))
    points = sparse_candidates(model, image, jnp.sum(image), 4)
    assert points.shape == (8, 6)
    assert np.all(np.sum(np.asarray(points[:, 4:]) != 0.0, axis=1) == 1)
    # The ring's third angle is zero, where the frame is its own atom.
    np.testing.assert_allclose(points[4, 4], 1.0, atol=ALGEBRA)


@pytest.mark.slow
def test_alignment_undoes_a_turn(key):
    heart = sprite_templates(64)[2].astype(float)
    turned = jnp.rot90(heart)
    _, correlation = jax.jit(lambda t, key: align(t, heart, key=key))(turned, key)
    before = jnp.corrcoef(turned.ravel(), heart.ravel())[0, 1]
    assert before < 0.9 and correlation > 0.99


def test_bounds_and_softening():
    model = SpatialTransformer(jnp.full((4, 4), 1.5), log_sigma=jnp.log(0.001))
    np.testing.assert_allclose(bounded(model).template, 1.0)
    np.testing.assert_allclose(jnp.exp(bounded(model).log_sigma), 0.01)
    np.testing.assert_allclose(jnp.exp(softened(model).log_sigma), 0.15)


@pytest.mark.slow
def test_scenes_show_the_nearest_object_whole(key):
    scene = jax.jit(lambda key: draw_scene(key=key))(key)
    nearest = int(scene.order[-1])
    mask = render(scene.latents)[nearest] > 0.5
    shown = np.all(np.isclose(scene.image, np.asarray(COLOURS)[nearest]), axis=-1)
    assert np.all(shown[np.asarray(mask)])
    assert np.all(np.asarray(scene.latents) < np.asarray(SpriteGrid().num_classes))
    models = scene_models()
    for index, order in enumerate(depth_orders()):
        np.testing.assert_array_equal(model_at(models, index).order, order)
    model = model_at(models, 0)
    z = eqx.filter_jit(eqx.filter_vmap(model.coordinates.inverse))(
        eqx.filter_jit(jax.vmap(similarity_of))(scene.latents)
    ).ravel()
    picture = model.image(z)
    best = min(float(jnp.mean((model_at(models, k).image(z) - scene.image) ** 2)) for k in range(6))
    assert picture.shape == (64, 64, 3) and best < 0.01
