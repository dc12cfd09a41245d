"""The gradient engine is optax by hand."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import catalogue
import references
from homeostat.distributions import Cubature, Delta, DiagonalGaussian, MonteCarlo
from homeostat.inference import infer
from homeostat.inference.engines import Gradient
from homeostat.objectives import FreeEnergy
from tolerances import ALGEBRA, AUTODIFF

OPTIMIZERS = {
    "sgd": lambda: optax.sgd(0.02),
    "momentum": lambda: optax.sgd(0.01, momentum=0.9),
    "adam": lambda: optax.adam(0.1),
    "clipped adam": lambda: optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.1)),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_equals_optax_by_hand(name, key):
    objective, family = FreeEnergy(catalogue.linear_model(), MonteCarlo(2)), DiagonalGaussian(2)
    evidence, optimizer = catalogue.evidence(), OPTIMIZERS[name]()
    posterior = infer(objective, Gradient(optimizer), family, evidence, key=key, num_steps=5, record=True)

    params = family.init()
    state = optimizer.init(params)
    final_key, *step_keys = jr.split(key, 6)
    for index, step_key in enumerate(step_keys):
        for recorded, expected in zip(posterior.path, params, strict=True):
            np.testing.assert_allclose(recorded[index], expected, rtol=ALGEBRA, atol=ALGEBRA)
        energy, gradient = eqx.filter_jit(
            jax.value_and_grad(lambda p, k=step_key: objective(family(p), evidence, key=k))
        )(params)
        np.testing.assert_allclose(posterior.path_nats[index], energy, rtol=ALGEBRA)
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(posterior.params.loc, params.loc, rtol=ALGEBRA, atol=ALGEBRA)
    np.testing.assert_allclose(posterior.params.log_scale, params.log_scale, rtol=ALGEBRA, atol=ALGEBRA)
    np.testing.assert_allclose(posterior.energy_nats, objective(family(params), evidence, key=final_key), rtol=ALGEBRA)


def test_a_point_mass_finds_the_mode(key):
    # The mode of a Gaussian posterior is its mean.
    model, evidence = catalogue.linear_model(), catalogue.evidence()
    posterior = infer(FreeEnergy(model), Gradient(optax.sgd(0.05)), Delta(2), evidence, key=key, num_steps=800)
    np.testing.assert_allclose(
        posterior.params.loc, references.conjugate(model, evidence.observation).mean, rtol=AUTODIFF
    )


def test_gradients_are_those_of_the_exact_energy(key):
    objective, family = FreeEnergy(catalogue.linear_model(), Cubature()), DiagonalGaussian(2)
    start = family.init()._replace(loc=jnp.array([0.4, -0.7]))
    step = infer(objective, Gradient(optax.sgd(1.0)), family, catalogue.evidence(), key=key, params=start, num_steps=1)
    model = catalogue.linear_model()
    exact = references.conjugate(model, catalogue.evidence().observation)
    # F = (mu - m)^T Lambda (mu - m) / 2 + sum_i (Lambda_ii s_i^2 / 2 - log s_i) + constant, by hand.
    by_loc = exact.precision @ (np.asarray(start.loc) - exact.mean)
    by_log_scale = np.diag(exact.precision) * np.exp(2.0 * np.asarray(start.log_scale)) - 1.0
    np.testing.assert_allclose(start.loc - step.params.loc, by_loc, rtol=ALGEBRA)
    np.testing.assert_allclose(start.log_scale - step.params.log_scale, by_log_scale, rtol=ALGEBRA)
