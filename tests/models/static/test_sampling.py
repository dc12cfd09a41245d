"""Moving a template: against a plain loop, against finite differences, and to second order."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from homeostat.models.static import Similarity, SpatialTransformer, SpriteCoordinates, sample_template
from tolerances import ALGEBRA, AUTODIFF, FINITE_DIFFERENCES, FLOAT32


def reference(template, scale, angle, x, y, size, extent):
    """The same image by four nested loops over pixels and corners."""
    num = template.shape[0]
    image = np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            dx, dy = (j + 0.5 - x) / scale, (i + 0.5 - y) / scale
            u = np.cos(angle) * dx - np.sin(angle) * dy
            v = np.sin(angle) * dx + np.cos(angle) * dy
            column, row = (u + extent) * num / (2 * extent) - 0.5, (v + extent) * num / (2 * extent) - 0.5
            for r in (int(np.floor(row)), int(np.floor(row)) + 1):
                for c in (int(np.floor(column)), int(np.floor(column)) + 1):
                    if 0 <= r < num and 0 <= c < num:
                        image[i, j] += template[r, c] * (1 - abs(row - r)) * (1 - abs(column - c))
    return image


@pytest.mark.parametrize(
    "pose", [(1.0, 0.0, 8.0, 8.0), (0.7, 2.1, 5.3, 9.9), (2.5, -0.4, 8.2, 7.7), (0.5, 1.0, 40.0, -20.0)]
)
def test_agrees_with_loops(key, pose):
    template = jr.uniform(key, (7, 7))
    image = sample_template(template, Similarity(*map(jnp.asarray, pose)), size=16, extent=5.0)
    np.testing.assert_allclose(image, reference(np.asarray(template), *pose, 16, 5.0), atol=ALGEBRA)


def test_identity_returns_the_template(key):
    template = jr.uniform(key, (16, 16))
    pose = Similarity(*map(jnp.asarray, (1.0, 0.0, 8.0, 8.0)))
    np.testing.assert_allclose(sample_template(template, pose, size=16, extent=8.0), template, atol=ALGEBRA)


def test_quarter_turn_is_counter_clockwise_as_displayed(key):
    template = jr.uniform(key, (16, 16))
    pose = Similarity(*map(jnp.asarray, (1.0, jnp.pi / 2, 8.0, 8.0)))
    image = sample_template(template, pose, size=16, extent=8.0)
    np.testing.assert_allclose(image, np.rot90(np.asarray(template)), atol=ALGEBRA)


@pytest.fixture
def model(key):
    # A smooth template that ends at the border of its grid, so that the padding takes part.
    grid = jnp.linspace(-1.0, 1.0, 12)
    template = 0.5 + 0.5 * jnp.sin(3.0 * grid[:, None] + 1.0) * jnp.cos(2.0 * grid[None, :])
    return SpatialTransformer(template, coordinates=SpriteCoordinates((0.8, 0.3, 12.0, 12.0)), size=24, extent=7.0)


def energy(model, z, image):
    return -model.emission(z).log_prob(image)


def differences(function, z, step=1e-6):
    eye = np.eye(z.shape[0]) * step
    return np.stack([(np.asarray(function(z + e)) - np.asarray(function(z - e))) / (2 * step) for e in eye], axis=-1)


def test_jacobian_agrees_with_differences(model, key):
    z = jr.normal(key, (4,)) * 0.3
    expected = differences(jax.jit(lambda z: model.image(z)), z)
    np.testing.assert_allclose(jax.jacfwd(model.image)(z), expected, atol=FINITE_DIFFERENCES * np.abs(expected).max())
    np.testing.assert_allclose(jax.jacrev(model.image)(z), jax.jacfwd(model.image)(z), atol=AUTODIFF)


@pytest.mark.slow
def test_hessian_agrees_with_differences_of_the_gradient(model, key):
    z_key, x_key = jr.split(key)
    z, image = jr.normal(z_key, (4,)) * 0.3, jr.uniform(x_key, (24, 24))
    expected = differences(jax.jit(jax.grad(lambda z: energy(model, z, image))), z, 1e-7)
    scale = np.abs(expected).max()
    for second in (jax.hessian, lambda f: jax.jacrev(jax.grad(f))):
        np.testing.assert_allclose(
            second(lambda z: energy(model, z, image))(z), expected, atol=FINITE_DIFFERENCES * scale
        )


def test_linear_in_the_template(model, key):
    z, direction = jnp.asarray([0.2, -0.1, 0.3, 0.1]), jr.normal(key, model.template.shape)

    def image(template):
        return sample_template(template, model.coordinates(z), size=24, extent=7.0)

    value, tangent = jax.jvp(image, (model.template,), (direction,))
    np.testing.assert_allclose(tangent, image(direction), atol=ALGEBRA)
    cotangent = jr.normal(jr.key(1), value.shape)
    _, pull = jax.vjp(image, model.template)
    np.testing.assert_allclose(jnp.sum(pull(cotangent)[0] * direction), jnp.sum(cotangent * tangent), rtol=ALGEBRA)


def test_mixed_derivative_in_template_and_pose(model):
    z = jnp.asarray([0.2, -0.1, 0.3, 0.1])
    direction = jnp.sin(jnp.arange(144.0)).reshape(12, 12)

    def total(template, z):
        return jnp.sum(sample_template(template, model.coordinates(z), size=24, extent=7.0) ** 2)

    by_pose = jax.grad(total, argnums=1)
    mixed = jax.jvp(lambda t: by_pose(t, z), (model.template,), (direction,))[1]
    step = 1e-6
    expected = (by_pose(model.template + step * direction, z) - by_pose(model.template - step * direction, z)) / (
        2 * step
    )
    np.testing.assert_allclose(mixed, expected, atol=FINITE_DIFFERENCES * float(jnp.abs(expected).max()))


def test_jit_and_vmap_agree_with_a_loop(model, key):
    zs = jr.normal(key, (3, 4))
    batched = jax.jit(jax.vmap(jax.jacfwd(model.image)))(zs)
    np.testing.assert_allclose(batched, jnp.stack([jax.jacfwd(model.image)(z) for z in zs]), atol=ALGEBRA)


def test_single_precision_is_close(model, key):
    z = jr.normal(key, (4,)) * 0.3
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), model)
    image = single.image(z.astype(jnp.float32))
    assert image.dtype == jnp.float32
    np.testing.assert_allclose(image, model.image(z), atol=FLOAT32)


def test_far_away_or_non_finite_poses_do_not_crash(model):
    far = jnp.asarray([0.0, 0.0, 1e6, -1e6])
    assert jnp.all(model.image(far) == 0.0) and jnp.all(jax.jacfwd(model.image)(far) == 0.0)
    assert jnp.all(jnp.isnan(model.image(jnp.asarray([0.0, jnp.nan, 0.0, 0.0]))))


def test_tiny_and_negative_scales_give_the_smallest_one(model):
    zero = model.coordinates.inverse(Similarity(*map(jnp.asarray, (-1.0, 0.3, 12.0, 12.0))))
    small = model.coordinates.inverse(Similarity(*map(jnp.asarray, (0.05, 0.3, 12.0, 12.0))))
    np.testing.assert_allclose(model.image(zero), model.image(small), atol=ALGEBRA)
