"""Engines in sequence equal engines one after another."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import catalogue
from homeostat.distributions import Cubature, FullGaussian
from homeostat.inference import infer
from homeostat.inference.engines import Chain, Direct, Gradient, NaturalGradient
from homeostat.objectives import FreeEnergy
from homeostat.results import BadInputError
from tolerances import ALGEBRA


def test_two_engines_are_two_inferences(key):
    family, evidence = FullGaussian(2), catalogue.evidence()
    objective = FreeEnergy(catalogue.linear_model(), Cubature())
    first, second = Gradient(optax.adam(0.1)), NaturalGradient(0.3, 0.2)
    both = infer(objective, Chain((first, second), (3,)), family, evidence, key=key, num_steps=7)
    # Neither engine reads its key on a deterministic objective, so the parts may take any.
    start = infer(objective, first, family, evidence, key=key, num_steps=3)
    end = infer(objective, second, family, evidence, key=key, params=start.params, num_steps=4)
    np.testing.assert_allclose(both.params.loc, end.params.loc, rtol=ALGEBRA)
    np.testing.assert_allclose(both.params.scale_vector, end.params.scale_vector, rtol=ALGEBRA, atol=ALGEBRA)
    np.testing.assert_allclose(both.path_nats, jnp.concatenate([start.path_nats, end.path_nats]), rtol=ALGEBRA)


def test_three_engines_change_over_at_their_steps(key):
    family, evidence = FullGaussian(2), catalogue.evidence()
    objective = FreeEnergy(catalogue.linear_model(), Cubature())
    constant = [Direct(lambda _, value=value: jnp.full(5, value)) for value in (0.1, 0.2, 0.3)]
    posterior = infer(objective, Chain(tuple(constant), (2, 1)), family, evidence, key=key, num_steps=5, record=True)
    np.testing.assert_allclose(posterior.path.loc[1:, 0], [0.1, 0.1, 0.2, 0.3], rtol=ALGEBRA)


def test_going_on_from_a_state_is_one_long_run(key):
    family, evidence = FullGaussian(2), catalogue.evidence()
    objective = FreeEnergy(catalogue.linear_model(), Cubature())
    engine = Chain((Gradient(optax.sgd(0.01, momentum=0.9)), NaturalGradient(0.3, 0.5)), (2,))
    whole = infer(objective, engine, family, evidence, key=key, num_steps=6)
    half = infer(objective, engine, family, evidence, key=jr.fold_in(key, 0), num_steps=3)
    rest = infer(
        objective, engine, family, evidence, key=jr.fold_in(key, 1), params=half.params, state=half.state, num_steps=3
    )
    np.testing.assert_allclose(rest.params.loc, whole.params.loc, rtol=ALGEBRA)


def test_bad_number_of_steps():
    with pytest.raises(BadInputError, match=r"every engine but the last, 1 numbers, got \(1, 2\)"):
        Chain((Gradient(optax.sgd(0.1)), Gradient(optax.sgd(0.1))), (1, 2))
