"""Several sprites: composition, occlusion, and starts that explain the image away."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from homeostat.distributions import Cubature, FullGaussian
from homeostat.inference import infer_modes
from homeostat.inference.engines import NaturalGradient
from homeostat.models.static import ExplainingAway, OccludedSprites, Similarity, SpriteCoordinates, sample_template
from homeostat.objectives import Evidence, FreeEnergy
from tolerances import ALGEBRA


@pytest.fixture
def templates():
    grid = jnp.linspace(-1.0, 1.0, 32)
    x, y = grid[None, :], grid[:, None]
    wedge = jax.nn.sigmoid(12.0 * (0.6 - jnp.abs(x) - 0.5 * y)) * jax.nn.sigmoid(12.0 * (0.6 - jnp.abs(y)))
    bar = jax.nn.sigmoid(12.0 * (0.8 - jnp.abs(x))) * jax.nn.sigmoid(12.0 * (0.3 + 0.2 * x - jnp.abs(y)))
    return jnp.stack([wedge, bar])


def scene(templates, colours, order=(0, 1), background=None, sigma=0.1):
    colours = jnp.asarray(colours)
    background = jnp.zeros(colours.shape[1:]) if background is None else jnp.asarray(background)
    return OccludedSprites(templates, colours, jnp.asarray(order), background, jnp.log(sigma), extent=14.0)


POSES = ((0.8, 0.4, 26.0, 30.0), (0.9, -0.5, 36.0, 33.0))


def state_of(model, poses=POSES):
    return jnp.concatenate([model.coordinates.inverse(Similarity(*map(jnp.asarray, pose))) for pose in poses])


@pytest.mark.parametrize("colours", [[0.9, 0.5], [[0.9, 0.1, 0.2], [0.1, 0.8, 0.3]]])
def test_composition_by_hand(templates, colours):
    background = [0.1, 0.2, 0.3] if isinstance(colours[0], list) else 0.1
    model = scene(templates, colours, order=(1, 0), background=background)
    state = state_of(model)
    poses = [SpriteCoordinates()(z) for z in state.reshape(2, 4)]
    masks = [sample_template(t, pose, size=64, extent=14.0) for t, pose in zip(templates, poses, strict=True)]
    colour = np.asarray(colours)
    extra = (1,) * (colour.ndim - 1)
    far, near = np.asarray(masks[1]).reshape(64, 64, *extra), np.asarray(masks[0]).reshape(64, 64, *extra)
    expected = (1 - near) * ((1 - far) * np.asarray(background) + far * colour[1]) + near * colour[0]
    np.testing.assert_allclose(model.image(state), expected, atol=ALGEBRA)
    assert model.emission(state).event_shape == expected.shape and model.dim == 8


def test_order_matters_only_where_objects_overlap(templates):
    colours = [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    first, second = scene(templates, colours, (0, 1)), scene(templates, colours, (1, 0))
    state = state_of(first)
    difference = jnp.max(jnp.abs(first.image(state) - second.image(state)), axis=-1)
    overlap = jnp.prod(first.masks(state), axis=0)
    assert jnp.max(difference) > 0.5
    assert jnp.all(difference[overlap == 0.0] == 0.0)


@pytest.mark.slow
def test_explaining_away_finds_the_objects(templates, key):
    model = scene(templates, [[1.0, 0.2, 0.1], [0.1, 0.3, 1.0]])
    state = state_of(model)
    image = model.emission(state).sample(key)
    starts = ExplainingAway()(model, image)
    assert starts.shape == (2, 8)
    family = FullGaussian(8)
    # Few steps: the starts are good.
    narrow = eqx.filter_jit(jax.vmap(lambda z: family.from_scale_tril(z, 0.02 * jnp.eye(8))))(starts)
    found = infer_modes(
        FreeEnergy(model, Cubature()), NaturalGradient(rate=0.7), family, Evidence(image), narrow, key=key, num_steps=6
    )
    decoded = eqx.filter_jit(eqx.filter_vmap(model.coordinates))(found.best_params.loc.reshape(2, 4))
    for k, pose in enumerate(POSES):
        assert abs(decoded.scale[k] - pose[0]) < 0.03
        assert abs(np.angle(np.exp(1j * (float(decoded.angle[k]) - pose[1])))) < 0.1
        assert np.hypot(decoded.x[k] - pose[2], decoded.y[k] - pose[3]) < 0.5


def test_the_better_order_of_depth_has_the_lower_energy(templates, key):
    colours = [[1.0, 0.2, 0.1], [0.1, 0.3, 1.0]]
    true, false = scene(templates, colours, (0, 1)), scene(templates, colours, (1, 0))
    state = state_of(true)
    image = true.emission(state).sample(key)
    evidence = Evidence(image)
    assert (
        FreeEnergy(true).pointwise(state, evidence, key=key)
        < FreeEnergy(false).pointwise(state, evidence, key=key) - 10.0
    )


def test_one_grey_object_on_its_own_is_found_to_a_pixel(templates):
    model = scene(templates[:1], [0.8], order=(0,))
    state = state_of(model, POSES[:1])
    start = ExplainingAway(num_angles=32)(model, model.image(state))[0]
    pose = model.coordinates(start)
    assert abs(pose.x - 26.0) <= 1.0 and abs(pose.y - 30.0) <= 1.0 and abs(pose.scale - 0.8) < 0.11
    assert abs(np.angle(np.exp(1j * (float(pose.angle) - 0.4)))) < 0.25
