"""The choice of a template: sums over it, and its closed-form posterior."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro.distributions as dist
import pytest

from homeostat.distributions import Cubature, FullGaussian
from homeostat.inference import KeepAll, infer, infer_modes
from homeostat.inference.engines import NaturalGradient
from homeostat.models.static import (
    SpatialTransformer,
    TemplateChoice,
    choice_free_energy,
    choice_probabilities,
    stack_models,
)
from homeostat.objectives import Evidence, FreeEnergy
from tolerances import ALGEBRA, AUTODIFF


@pytest.fixture
def choice():
    grid = jnp.linspace(-1.0, 1.0, 12)
    disc = jax.nn.sigmoid(8.0 * (0.5 - jnp.hypot(grid[:, None], 1.4 * grid[None, :])))
    bar = jax.nn.sigmoid(8.0 * (0.7 - jnp.abs(grid[:, None]))) * jax.nn.sigmoid(8.0 * (0.3 - jnp.abs(grid[None, :])))
    models = tuple(
        SpatialTransformer(t, log_sigma=jnp.log(s), size=64, extent=10.0) for t, s in ((disc, 0.3), (bar, 0.2))
    )
    return TemplateChoice(stack_models(models), jnp.asarray([0.3, -0.4]))


def test_likelihood_sums_over_the_templates(choice, key):
    z, image = jr.normal(key, (4,)) * 0.3, jr.uniform(key, (64, 64))
    terms = [choice.log_prior[k] + choice.chosen(k).emission(z).log_prob(image) for k in range(2)]
    np.testing.assert_allclose(choice.emission(z).log_prob(image), np.logaddexp(*map(float, terms)), rtol=ALGEBRA)
    np.testing.assert_allclose(jnp.sum(jnp.exp(choice.log_prior)), 1.0, atol=ALGEBRA)


def test_closed_form_is_the_least_free_energy_over_q_of_the_choice(key):
    energies, log_prior = jnp.asarray([3.0, 1.0, 2.5]), jax.nn.log_softmax(jnp.asarray([0.0, 0.5, -1.0]))

    def free_energy(q):
        return jnp.sum(q * (energies - log_prior + jnp.log(q)))

    best = choice_free_energy(energies, log_prior)
    np.testing.assert_allclose(free_energy(choice_probabilities(energies, log_prior)), best, atol=ALGEBRA)
    for other in dist.Dirichlet(jnp.ones(3)).sample(key, (50,)):
        assert free_energy(other) > best


@pytest.mark.slow
def test_infer_modes_closes_over_the_choice(choice, key):
    truth = jnp.asarray([0.2, 0.1, -0.3, 0.4])
    image = choice.chosen(1).emission(truth).sample(key)
    family, engine = FullGaussian(4), NaturalGradient(rate=1.0)
    start = family.from_scale_tril(truth, 0.05 * jnp.eye(4))
    starts = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), start)
    found = infer_modes(
        FreeEnergy(choice.models, Cubature()),
        engine,
        family,
        Evidence(image),
        starts,
        key=key,
        num_steps=8,
        hypothesis=jnp.arange(2),
        log_prior=choice.log_prior,
        merging=KeepAll(),
    )
    alone = jnp.stack(
        [
            infer(
                FreeEnergy(choice.chosen(k), Cubature()),
                engine,
                family,
                Evidence(image),
                key=key,
                params=start,
                num_steps=8,
            ).energy_nats
            for k in range(2)
        ]
    )
    np.testing.assert_allclose(found.free_energy_nats, choice_free_energy(alone, choice.log_prior), rtol=AUTODIFF)
    np.testing.assert_allclose(
        found.hypothesis_probabilities(2), choice_probabilities(alone, choice.log_prior), atol=AUTODIFF
    )
    assert found.best_hypothesis == 1


@pytest.mark.slow
def test_any_engine_runs_on_the_mixture(choice, key):
    truth = jnp.asarray([0.2, 0.1, -0.3, 0.4])
    image = choice.chosen(0).emission(truth).sample(key)
    family = FullGaussian(4)
    start = family.from_scale_tril(truth + 0.05, 0.05 * jnp.eye(4))
    posterior = infer(
        FreeEnergy(choice, Cubature()),
        NaturalGradient(rate=0.5),
        family,
        Evidence(image),
        key=key,
        params=start,
        num_steps=15,
    )
    assert posterior.energy_nats < posterior.path_nats[0] - 1.0
    np.testing.assert_array_less(np.abs(posterior.params.loc - truth), 0.2)
