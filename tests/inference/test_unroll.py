"""Iterates of an engine: the same as those of `infer`, with energies that can be differentiated in them."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import catalogue
from homeostat.distributions import Cubature, DiagonalGaussian
from homeostat.inference import infer, unroll
from homeostat.inference.engines import Direct, Estimate, Gradient, InferenceGradient, Iterative, LearnedSGD
from homeostat.objectives import FreeEnergy
from homeostat.results import BadInputError
from tolerances import ALGEBRA

FAMILY, STEPS = DiagonalGaussian(2), 3


@pytest.fixture
def objective():
    return FreeEnergy(catalogue.linear_model(), Cubature())


def update_engine(matrix, detach=jax.lax.stop_gradient):
    return Iterative(lambda inputs: matrix @ inputs, (Estimate(), InferenceGradient()), LearnedSGD(), detach)


MATRIX = 0.1 * jr.normal(jr.key(1), (8, 8))


def test_infer_is_the_end_of_unroll(objective, key):
    engine = Gradient(optax.adam(0.1))

    @eqx.filter_jit
    def both(key):
        inferred = infer(objective, engine, FAMILY, catalogue.evidence(), key=key, num_steps=STEPS, record=True)
        return inferred, unroll(objective, engine, FAMILY, catalogue.evidence(), key=key, num_steps=STEPS)

    inferred, unrolled = both(key)
    assert unrolled.path.loc.shape == (STEPS + 1, 2) and unrolled.energies_nats.shape == (STEPS,)
    np.testing.assert_allclose(unrolled.iterate(-1).loc, inferred.params.loc, rtol=ALGEBRA)
    np.testing.assert_allclose(unrolled.path.loc[:-1], inferred.path.loc, rtol=ALGEBRA)
    np.testing.assert_allclose(unrolled.energies_nats, inferred.path_nats, rtol=ALGEBRA)


def test_goes_on_from_a_state(objective, key):
    engine, args = Gradient(optax.adam(0.1)), catalogue.evidence()

    @eqx.filter_jit
    def both(key):
        whole = unroll(objective, engine, FAMILY, args, key=key, num_steps=5)
        first = unroll(objective, engine, FAMILY, args, key=key, num_steps=2)
        second = unroll(
            objective, engine, FAMILY, args, key=key, params=first.iterate(-1), state=first.state, num_steps=3
        )
        return whole, second

    whole, second = both(key)
    np.testing.assert_allclose(second.path.loc, whole.path.loc[2:], rtol=ALGEBRA)


@pytest.mark.parametrize("detach", [jax.lax.stop_gradient, lambda x: x], ids=["each iteration alone", "through all"])
def test_one_gradient_serves_twice_without_changing_any(objective, key, detach):
    """The energies' derivatives in the network are those of energies computed anew, and the model gets none."""
    args, fixed = catalogue.evidence(), objective

    def reused(matrix, model):
        of_model = FreeEnergy(model, Cubature())
        found = unroll(of_model, update_engine(matrix, detach), FAMILY, args, key=key, num_steps=STEPS)
        return jnp.sum(found.energies_nats[1:])

    def anew(matrix, model):
        engine = update_engine(matrix, detach)
        found = unroll(FreeEnergy(model, Cubature()), engine, FAMILY, args, key=key, num_steps=STEPS)
        return jnp.sum(jax.vmap(lambda p: fixed(FAMILY(p), args, key=key))(jax.tree.map(lambda p: p[1:-1], found.path)))

    gradients = [eqx.filter_jit(jax.value_and_grad(f, (0, 1)))(MATRIX, objective.model) for f in (reused, anew)]
    for a, b in zip(*map(jax.tree.leaves, gradients), strict=True):
        np.testing.assert_allclose(a, b, rtol=ALGEBRA, atol=ALGEBRA)
    assert jnp.any(gradients[0][1][0] != 0.0)


def test_energies_of_an_engine_without_a_gradient_are_differentiable_too(objective, key):
    args = catalogue.evidence()

    def energy(flat):
        found = unroll(objective, Direct(lambda args: flat), FAMILY, args, key=key, num_steps=2)
        return found.energies_nats[1]

    flat = jnp.array([0.3, -0.2, 0.1, -0.5])
    unravel = jax.flatten_util.ravel_pytree(FAMILY.init())[1]
    expected = eqx.filter_jit(jax.grad(lambda flat: objective(FAMILY(unravel(flat)), args, key=key)))(flat)
    np.testing.assert_allclose(eqx.filter_jit(jax.grad(energy))(flat), expected, rtol=ALGEBRA)


def test_a_negative_number_of_steps_is_refused(objective, key):
    with pytest.raises(BadInputError, match="num_steps >= 0"):
        unroll(objective, Gradient(optax.sgd(0.1)), FAMILY, catalogue.evidence(), key=key, num_steps=-1)
