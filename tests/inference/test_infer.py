"""The loop of inference: where it starts, what it records, and how it fails."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

import catalogue
import references
from homeostat.distributions import Cubature, DiagonalGaussian, FullGaussian, Ladder, MonteCarlo
from homeostat.inference import infer
from homeostat.inference.engines import Gradient, NaturalGradient
from homeostat.models.static import Gaussian, latent_gaussian
from homeostat.objectives import Evidence, FreeEnergy
from homeostat.results import RESULTS, BadInputError
from problems import mapping, two_levels
from tolerances import ALGEBRA, FLOAT32


@pytest.fixture
def objective():
    return FreeEnergy(catalogue.linear_model(), Cubature())


FAMILY = FullGaussian(2)


def test_no_steps_evaluate_the_start(objective, key):
    start = jax.tree.map(lambda leaf: leaf + 0.3, FAMILY.init())
    posterior = infer(objective, NaturalGradient(), FAMILY, catalogue.evidence(), key=key, params=start, num_steps=0)
    assert posterior.path_nats.shape == (0,)
    np.testing.assert_allclose(posterior.params.loc, start.loc, rtol=ALGEBRA)
    expected = objective(FAMILY(start), catalogue.evidence(), key=key)
    np.testing.assert_allclose(posterior.energy_nats, expected, rtol=ALGEBRA)


def test_path_holds_the_parameters_before_each_step(objective, key):
    posterior = infer(objective, NaturalGradient(0.3), FAMILY, catalogue.evidence(), key=key, num_steps=4, record=True)
    assert posterior.path.loc.shape == (4, 2)
    energies = eqx.filter_jit(jax.vmap(lambda p: objective(FAMILY(p), catalogue.evidence(), key=key)))(posterior.path)
    np.testing.assert_allclose(energies, posterior.path_nats, rtol=ALGEBRA)
    assert bool(jnp.all(jnp.diff(posterior.path_nats) < 0.0))


def test_path_is_not_kept_unless_asked(objective, key):
    assert infer(objective, NaturalGradient(), FAMILY, catalogue.evidence(), key=key).path is None


def test_continues_from_a_posterior(objective, key):
    engine = NaturalGradient(0.2, 0.7)
    whole = infer(objective, engine, FAMILY, catalogue.evidence(), key=key, num_steps=6)
    half = infer(objective, engine, FAMILY, catalogue.evidence(), key=key, num_steps=3)
    rest = infer(
        objective, engine, FAMILY, catalogue.evidence(), key=key, params=half.params, state=half.state, num_steps=3
    )
    np.testing.assert_allclose(rest.params.loc, whole.params.loc, rtol=ALGEBRA)
    np.testing.assert_allclose(rest.energy_nats, whole.energy_nats, rtol=ALGEBRA)
    assert int(rest.state.count) == 6


def test_maps_over_problems(objective, key):
    observations = jr.normal(key, (5, 3))

    def solve(observation, k):
        return infer(
            objective, NaturalGradient(1.0, keep=1e-6), FAMILY, Evidence(observation), key=k, throw=False
        ).energy_nats

    energies = eqx.filter_jit(eqx.filter_vmap(solve))(observations, jr.split(key, 5))
    expected = [-references.conjugate(catalogue.linear_model(), x).log_evidence for x in observations]
    np.testing.assert_allclose(energies, expected, rtol=ALGEBRA)


def test_is_differentiable_in_the_model(key):
    # The gradient of the reached free energy is that of the negative log evidence, by the envelope theorem.
    evidence = catalogue.evidence()

    def reached(model):
        objective = FreeEnergy(model, Cubature())
        engine = NaturalGradient(1.0, keep=1e-6)
        return infer(objective, engine, FAMILY, evidence, key=key, num_steps=2, throw=False).energy_nats

    def exact(model):
        covariance = model.weights @ model.prior_factor @ model.prior_factor.T @ model.weights.T
        covariance = covariance + jnp.diag(model.noise**2)
        residual = evidence.observation - model.weights @ model.prior_mean
        return 0.5 * (residual @ jnp.linalg.solve(covariance, residual) + jnp.linalg.slogdet(covariance)[1])

    model = catalogue.linear_model()
    got, expected = eqx.filter_jit(jax.grad(reached))(model), eqx.filter_jit(jax.grad(exact))(model)
    for name in ("weights", "prior_mean", "noise"):
        np.testing.assert_allclose(getattr(got, name), getattr(expected, name), rtol=FLOAT32, atol=ALGEBRA)


def test_nonfinite_energy_raises(objective, key):
    engine = Gradient(optax.sgd(1e6))
    with pytest.raises(eqx.EquinoxRuntimeError, match="energy became NaN or infinite"):
        infer(objective, engine, DiagonalGaussian(2), catalogue.evidence(), key=key, num_steps=5)


def test_nonfinite_data_raises(objective, key):
    bad = Evidence(jnp.array([0.0, jnp.nan, 0.0]))
    with pytest.raises(eqx.EquinoxRuntimeError, match="energy became NaN or infinite"):
        eqx.filter_jit(infer)(objective, NaturalGradient(), FAMILY, bad, key=key)


def test_nonfinite_energy_is_a_value_on_request(objective, key):
    def run(rate):
        engine = Gradient(optax.sgd(rate))
        return infer(objective, engine, DiagonalGaussian(2), catalogue.evidence(), key=key, num_steps=5, throw=False)

    failed, fine = run(1e6), run(1e-3)
    assert failed.result == RESULTS.nonfinite_energy
    assert fine.result == RESULTS.successful
    assert "lower the step size" in RESULTS[failed.result]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (DiagonalGaussian(2).init(), "parameters like those of FullGaussian"),
        (FullGaussian(3).init(), r"shapes \[\(2,\), \(3,\)\] for FullGaussian, got \[\(3,\), \(6,\)\]"),
        (jax.tree.map(lambda leaf: leaf[None], FAMILY.init()), "for a batch of problems"),
    ],
)
def test_bad_starts(objective, params, message, key):
    with pytest.raises(BadInputError, match=message):
        infer(objective, NaturalGradient(), FAMILY, catalogue.evidence(), key=key, params=params)


def test_bad_number_of_steps(objective, key):
    with pytest.raises(BadInputError, match="Expected num_steps >= 0, got -1"):
        infer(objective, NaturalGradient(), FAMILY, catalogue.evidence(), key=key, num_steps=-1)


def test_single_precision_agrees_with_double(key):
    model, evidence = catalogue.linear_model(), catalogue.evidence()

    def solve(model, evidence):
        return infer(FreeEnergy(model, Cubature()), NaturalGradient(0.7), FAMILY, evidence, key=key, num_steps=20)

    double = solve(model, evidence)
    numbers = jax.tree.map(np.asarray, (model, evidence))
    with jax.enable_x64(False):
        single = solve(*jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), numbers))
    assert {leaf.dtype for leaf in jax.tree.leaves(single.params)} == {np.dtype(np.float32)}
    np.testing.assert_allclose(single.params.loc, double.params.loc, rtol=FLOAT32)
    np.testing.assert_allclose(single.energy_nats, double.energy_nats, rtol=FLOAT32)


def test_the_number_of_steps_is_compiled_once(objective, key):
    traces = 0

    @eqx.filter_jit
    def solve(observation, k):
        nonlocal traces
        traces += 1
        return infer(objective, NaturalGradient(), FAMILY, Evidence(observation), key=k, num_steps=10).energy_nats

    for index in range(3):
        solve(jnp.full(3, float(index)), jr.fold_in(key, index))
    assert traces == 1


def test_the_family_stands_beside_the_prior_of_the_evidence(key):
    """A ladder made from one prior, with evidence that brings another: the members are built from the latter."""
    own, other = two_levels(), latent_gaussian(Gaussian((3,)), (1, 1), key=jr.key(5), mapping=mapping)
    evidence = Evidence(catalogue.evidence().observation, other.initial())
    posterior = infer(FreeEnergy(own, MonteCarlo(4)), Gradient(optax.sgd(0.01)), Ladder(own.levels), evidence, key=key)
    value = jnp.array([0.3, -0.4])
    expected = Ladder(other.levels)(posterior.params).log_prob(value)
    np.testing.assert_allclose(posterior.distribution.log_prob(value), expected, rtol=ALGEBRA)
    assert abs(float(Ladder(own.levels)(posterior.params).log_prob(value) - expected)) > FLOAT32


def test_acting_needs_no_energy(objective, key):
    evaluated = infer(objective, NaturalGradient(), FAMILY, catalogue.evidence(), key=key)
    acted = infer(objective, NaturalGradient(), FAMILY, catalogue.evidence(), key=key, evaluate=False)
    assert bool(jnp.isnan(acted.energy_nats))
    np.testing.assert_array_equal(acted.params.loc, evaluated.params.loc)
    assert bool(acted.result == RESULTS.successful)
