"""Sparse-coded templates: the joint latent vector, its prior, and joint inference."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro.distributions as dist
import pytest

from homeostat.distributions import Cubature, FullGaussian
from homeostat.inference import infer
from homeostat.inference.engines import NaturalGradient
from homeostat.models.static import SparseTemplate, sample_template
from homeostat.models.static._sparse_template import Blocks
from homeostat.objectives import Evidence, FreeEnergy
from homeostat.results import BadInputError
from tolerances import ALGEBRA, AUTODIFF, MONTE_CARLO_STANDARD_ERRORS


def smooth(key, *shape):
    """Random smooth pictures: noise averaged over neighbours, on a border of zeros."""
    noise = jr.normal(key, shape)
    for axis in (-1, -2):
        noise = sum(jnp.roll(noise, k, axis) for k in range(-2, 3)) / 5.0
    window = jnp.pad(jnp.ones((shape[-2] - 4, shape[-1] - 4)), 2)
    return noise * jnp.broadcast_to(window, shape)


@pytest.fixture
def model(key):
    mean_key, atom_key = jr.split(key)
    return SparseTemplate(
        0.5 + smooth(mean_key, 16, 16),
        smooth(atom_key, 3, 16, 16),
        log_sigma=jnp.log(0.1),
        log_width=jnp.log(0.4),
        extent=12.0,
    ).normalised()


def test_blocks_is_the_product_of_its_parts(key):
    parts = (dist.Normal(jnp.ones(2), 2.0).to_event(1), dist.Laplace(jnp.zeros(3), 0.5).to_event(1))
    blocks = Blocks(parts)
    value = jr.normal(key, (5,))
    np.testing.assert_allclose(
        blocks.log_prob(value), parts[0].log_prob(value[:2]) + parts[1].log_prob(value[2:]), atol=ALGEBRA
    )
    samples = jax.jit(lambda key: blocks.sample(key, (4_000,)))(key)
    assert samples.shape == (4_000, 5) and blocks.event_shape == (5,)
    error = np.sqrt(np.asarray(blocks.variance) / 4_000)
    assert np.all(np.abs(samples.mean(0) - blocks.mean) < MONTE_CARLO_STANDARD_ERRORS * error)
    variances = samples.var(0) / blocks.variance
    # The relative error of a Laplace distribution's sample variance is sqrt(5 / n), a Gaussian's sqrt(2 / n).
    assert np.all(np.abs(variances - 1.0) < MONTE_CARLO_STANDARD_ERRORS * np.sqrt(5.0 / 4_000))
    with pytest.raises(BadInputError, match="to_event"):
        Blocks((dist.Normal(jnp.zeros(2), 1.0),))


def test_image_is_the_moved_combination(model):
    state = jnp.asarray([0.1, 0.2, -0.3, 0.2, 0.5, 0.0, -0.7])
    template = model.mean + 0.5 * model.dictionary[0] - 0.7 * model.dictionary[2]
    expected = sample_template(template, model.coordinates(state[:4]), size=64, extent=12.0)
    np.testing.assert_allclose(model.image(state), expected, atol=ALGEBRA)
    assert model.dim == 7 and model.num_atoms == 3


@pytest.mark.parametrize("sparsity", [dist.Laplace, dist.Logistic, functools.partial(dist.StudentT, 3.0)])
def test_prior_is_standard_in_the_pose_and_sparse_in_the_weights(model, sparsity):
    model = SparseTemplate(model.mean, model.dictionary, log_width=jnp.log(0.3), sparsity=sparsity, extent=12.0)
    state = jnp.asarray([0.1, 0.2, -0.3, 0.2, 0.5, 0.0, -0.7])
    expected = jnp.sum(dist.Normal(0.0, 1.0).log_prob(state[:4])) + jnp.sum(sparsity(0.0, 0.3).log_prob(state[4:]))
    np.testing.assert_allclose(model.initial().log_prob(state), expected, atol=ALGEBRA)


def test_normalised_atoms_have_unit_level_and_keep_zeros(model):
    level = jnp.sqrt(jnp.mean(model.dictionary**2, axis=(1, 2)))
    np.testing.assert_allclose(level, 1.0, atol=ALGEBRA)
    dead = SparseTemplate(model.mean, model.dictionary.at[1].set(0.0), extent=12.0).normalised()
    assert jnp.all(dead.dictionary[1] == 0.0) and jnp.all(jnp.isfinite(dead.dictionary))


@pytest.mark.slow
def test_pose_and_weights_are_inferred_jointly(model, key):
    truth = jnp.asarray([0.1, 0.05, -0.2, 0.3, 0.6, 0.0, -0.4])
    image = model.emission(truth).sample(key)
    family = FullGaussian(7)
    start = family.from_scale_tril(truth.at[4:].set(0.0) + 0.03, 0.02 * jnp.eye(7))
    posterior = infer(
        FreeEnergy(model, Cubature()),
        NaturalGradient(rate=0.7),
        family,
        Evidence(image),
        key=key,
        params=start,
        num_steps=10,
    )
    error = np.abs(posterior.params.loc - truth)
    sd = np.sqrt(np.diag(posterior.distribution.covariance_matrix))
    assert np.all(error < MONTE_CARLO_STANDARD_ERRORS * sd)
    assert posterior.energy_nats < posterior.path_nats[0]


def test_energy_is_differentiable_in_the_dictionary(model, key):
    state, image = jnp.full(7, 0.2), jr.uniform(key, (64, 64))

    def energy(dictionary):
        changed = SparseTemplate(model.mean, dictionary, model.log_sigma, extent=12.0)
        return -changed.emission(state).log_prob(image)

    direction = jr.normal(key, model.dictionary.shape)
    gradient = eqx.filter_jit(jax.grad(energy))(model.dictionary)
    step = 1e-5
    up, down = energy(model.dictionary + step * direction), energy(model.dictionary - step * direction)
    # The energy is quadratic in the dictionary, so central differences are exact up to rounding.
    np.testing.assert_allclose(jnp.sum(gradient * direction), (up - down) / (2 * step), rtol=AUTODIFF)
