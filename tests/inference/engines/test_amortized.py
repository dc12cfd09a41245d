"""Amortized engines: exact encoders, learned updates, and the shapes of networks."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

import catalogue
import references
from homeostat.distributions import Cubature, DiagonalGaussian, FullGaussian
from homeostat.inference import infer
from homeostat.inference.engines import (
    Data,
    Direct,
    Estimate,
    Feedback,
    Gated,
    InferenceGradient,
    Iterative,
    LearnedSGD,
    LogGradient,
    Normalized,
    Residual,
)
from homeostat.objectives import Evidence, FreeEnergy
from homeostat.results import BadInputError
from tolerances import ALGEBRA


@pytest.fixture
def model():
    return catalogue.linear_model()


def exact_encoder(model, family):
    """The exact posterior of a linear model is linear in the observation, so an encoder can be exact."""

    def encode(args):
        precision = jnp.linalg.inv(model.prior_factor @ model.prior_factor.T)
        shift = precision @ model.prior_mean + model.weights.T @ (args.observation / model.noise**2)
        precision = precision + model.weights.T @ (model.weights / model.noise[:, None] ** 2)
        covariance = jnp.linalg.inv(precision)
        return family.from_scale_tril(covariance @ shift, jnp.linalg.cholesky(covariance))

    return encode


def test_direct_with_an_exact_encoder_reaches_the_evidence(model, key):
    family, evidence = FullGaussian(2), catalogue.evidence()
    encode = exact_encoder(model, family)
    expected = -references.conjugate(model, evidence.observation).log_evidence
    for encoder in (encode, lambda args: ravel_pytree(encode(args))[0]):  # Parameters, or a flat vector of them.
        posterior = infer(FreeEnergy(model, Cubature()), Direct(encoder), family, evidence, key=key)
        np.testing.assert_allclose(posterior.energy_nats, expected, rtol=ALGEBRA)


def test_direct_ignores_the_current_estimate(model, key):
    family, evidence = FullGaussian(2), catalogue.evidence()
    engine = Direct(exact_encoder(model, family))
    start = jax.tree.map(lambda leaf: leaf + 1.0, family.init())
    near = infer(FreeEnergy(model), engine, family, evidence, key=key)
    far = infer(FreeEnergy(model), engine, family, evidence, key=key, params=start)
    np.testing.assert_allclose(near.params.loc, far.params.loc, rtol=ALGEBRA)


def test_direct_refuses_an_encoder_of_the_wrong_size(model, key):
    with pytest.raises(BadInputError, match=r"encoder with 4 outputs for DiagonalGaussian, got shape \(3,\)"):
        infer(FreeEnergy(model), Direct(lambda _: jnp.zeros(3)), DiagonalGaussian(2), catalogue.evidence(), key=key)


def test_iterative_refuses_a_network_of_the_wrong_size(model, key):
    engine = Iterative(lambda _: jnp.zeros(4))
    with pytest.raises(BadInputError, match=r"network with 8 outputs for Gated on 4 parameters, got shape \(4,\)"):
        infer(FreeEnergy(model), engine, DiagonalGaussian(2), catalogue.evidence(), key=key)


def feedback(estimate, gradient):
    return Feedback(jnp.asarray(estimate), jnp.asarray(gradient), None)


def test_encodings():
    given = feedback([1.0, 2.0, 3.0], [1.0, -jnp.exp(-5.0), 1e-6])
    np.testing.assert_allclose(Estimate()(given), [1.0, 2.0, 3.0], rtol=ALGEBRA)
    # 1e-6 lies below exp(-10): it counts as zero in magnitude, and its sign entry is linear in it.
    np.testing.assert_allclose(
        LogGradient(10.0)(given), [0.0, -0.5, -1.0, 1.0, -1.0, np.exp(10.0) * 1e-6], rtol=ALGEBRA, atol=ALGEBRA
    )
    normalized = Normalized(InferenceGradient(), epsilon=0.0)(given)
    np.testing.assert_allclose([jnp.mean(normalized), jnp.std(normalized)], [0.0, 1.0], atol=ALGEBRA)
    assert Data(lambda args: jnp.ones(2))(given).shape == (2,)


def test_log_gradient_is_finite_at_zero():
    encode = LogGradient()
    assert bool(jnp.all(jnp.isfinite(eqx.filter_jit(jax.jacobian(lambda g: encode(feedback([0.0], g))))(jnp.zeros(1)))))


def test_update_rules():
    given = feedback([1.0, 2.0], [0.5, -0.5])
    output = jnp.array([3.0, 4.0, 0.0, 100.0])
    assert [rule.outputs(2) for rule in (Gated(), Residual(), LearnedSGD())] == [4, 2, 4]
    np.testing.assert_allclose(Gated()(given, output), [2.0, 2.0], rtol=ALGEBRA)
    np.testing.assert_allclose(Gated(100.0)(given, output), [1.0, 2.0], rtol=ALGEBRA)
    np.testing.assert_allclose(Residual(0.5)(given, output[:2]), [2.5, 4.0], rtol=ALGEBRA)
    np.testing.assert_allclose(LearnedSGD()(given, output), [1.0 - 0.25 + 3.0, 2.0 + 0.5 + 4.0], rtol=ALGEBRA)


def test_no_gradient_flows_between_iterations_unless_asked(model, key):
    family, evidence = DiagonalGaussian(2), catalogue.evidence()

    def second_energy(scale, detach):
        engine = Iterative(lambda x: jnp.ones(4), (Estimate(),), Residual(scale), detach)
        posterior = infer(FreeEnergy(model, Cubature()), engine, family, evidence, key=key, num_steps=2, throw=False)
        return posterior.path_nats[1]

    # The second energy depends on the scale only through the first update.
    assert float(jax.grad(second_energy)(0.1, jax.lax.stop_gradient)) == 0.0
    assert float(jax.grad(second_energy)(0.1, lambda x: x)) != 0.0


@pytest.mark.slow
def test_a_trained_network_comes_near_the_optimum(model, key):
    """Iterative inference learns to infer: four updates close nearly all of the gap on observations it never saw."""
    family, objective = DiagonalGaussian(2), FreeEnergy(model, Cubature())
    network_key, data_key, test_key, train_key = jr.split(key, 4)
    network = eqx.nn.MLP(12, 8, 32, 1, jax.nn.elu, key=network_key)
    engine = Iterative(network, (Estimate(), LogGradient()), Gated(1.0))
    draw = jax.vmap(lambda k: model.emission(model.initial().sample(k)).sample(jr.fold_in(k, 1)))

    def solve(engine, observation, k):
        # `path_nats` holds energies before steps: the energies after steps are its tail and the last energy.
        posterior = infer(objective, engine, family, Evidence(observation), key=k, num_steps=4, throw=False)
        return posterior.path_nats, posterior.energy_nats

    optimizer = optax.adam(3e-3)

    @eqx.filter_jit
    def train(engine):
        arrays, static = eqx.partition(engine, eqx.is_inexact_array)
        data = draw(jr.split(data_key, 128))

        def loss(arrays, keys):
            path, last = jax.vmap(lambda x, k: solve(eqx.combine(arrays, static), x, k))(data, keys)
            return jnp.mean(jnp.sum(path, axis=1) + last)

        def body(carry, k):
            arrays, state = carry
            updates, state = optimizer.update(jax.grad(loss)(arrays, jr.split(k, 128)), state)
            return (optax.apply_updates(arrays, updates), state), None

        (arrays, _), _ = jax.lax.scan(body, (arrays, optimizer.init(arrays)), jr.split(train_key, 300))
        return eqx.combine(arrays, static)

    trained = train(engine)
    observations = draw(jr.split(test_key, 64))
    keys = jr.split(test_key, 64)
    start, reached = eqx.filter_jit(jax.vmap(lambda x, k: solve(trained, x, k)))(observations, keys)
    exact = [references.conjugate(model, x) for x in observations]
    # The best independent Gaussian leaves this much to the exact posterior, whatever the observation.
    floor = 0.5 * (np.sum(np.log(np.diag(exact[0].precision))) - np.linalg.slogdet(exact[0].precision)[1])
    optimum = floor - np.array([item.log_evidence for item in exact])
    closed = 1.0 - np.mean(reached - optimum) / np.mean(start[:, 0] - optimum)
    assert np.all(np.asarray(reached) >= optimum - ALGEBRA)
    assert closed > 0.95, f"only {closed:.3f} of the gap was closed"
