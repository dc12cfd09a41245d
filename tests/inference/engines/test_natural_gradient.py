"""Natural-gradient inference against conjugate closed forms and the slides' recursion."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro.distributions as dist
import pytest

import catalogue
import references
from homeostat.core import AbstractObjective
from homeostat.distributions import (
    Cubature,
    Delta,
    DiagonalGaussian,
    DiagonalGaussianParams,
    FullGaussian,
    MonteCarlo,
    gaussian_moments,
)
from homeostat.inference import infer
from homeostat.inference.engines import Fisher, Hessian, NaturalGradient, Stein
from homeostat.objectives import FreeEnergy
from homeostat.results import BadInputError
from homeostat.testing import assert_zero_mean
from tolerances import ALGEBRA, AUTODIFF, MONTE_CARLO_STANDARD_ERRORS

DIM = 3


@pytest.fixture
def model():
    return catalogue.linear_model(DIM, 4)


def run(model, engine, family, steps, key, **options):
    return infer(
        FreeEnergy(model, Cubature()), engine, family, catalogue.evidence(4), key=key, num_steps=steps, **options
    )


@pytest.mark.parametrize("curvature", [Fisher(), Hessian()])
def test_one_step_lands_on_the_exact_posterior(model, curvature, key):
    exact = references.conjugate(model, catalogue.evidence(4).observation)
    posterior = run(model, NaturalGradient(1.0, curvature=curvature, keep=1e-6), FullGaussian(DIM), 1, key)
    moments = gaussian_moments(posterior.distribution)
    np.testing.assert_allclose(moments.loc, exact.mean, rtol=ALGEBRA, atol=ALGEBRA)
    np.testing.assert_allclose(moments.scale_tril @ moments.scale_tril.T, exact.covariance, rtol=ALGEBRA, atol=ALGEBRA)
    np.testing.assert_allclose(posterior.energy_nats, -exact.log_evidence, rtol=ALGEBRA)


def test_diagonal_converges_to_the_mean_field_fixed_point(model, key):
    # Of all independent Gaussians the nearest in KL(q || p) has the mean and the diagonal precision of the posterior.
    exact = references.conjugate(model, catalogue.evidence(4).observation)
    posterior = run(model, NaturalGradient(0.5), DiagonalGaussian(DIM), 200, key)
    np.testing.assert_allclose(posterior.params.loc, exact.mean, rtol=ALGEBRA, atol=ALGEBRA)
    np.testing.assert_allclose(jnp.exp(-2.0 * posterior.params.log_scale), np.diag(exact.precision), rtol=ALGEBRA)
    log_ratio = 0.5 * (np.sum(np.log(np.diag(exact.precision))) - np.linalg.slogdet(exact.precision)[1])
    np.testing.assert_allclose(posterior.energy_nats, log_ratio - exact.log_evidence, rtol=ALGEBRA)


@pytest.mark.parametrize("alpha", [0.1, 0.4])
@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_momentum_is_the_recursion_of_the_slides(model, alpha, beta, key):
    evidence = catalogue.evidence(4)
    start = DiagonalGaussianParams(jnp.array([0.3, -0.2, 0.1]), jnp.array([0.1, -0.1, 0.2]))
    posterior = run(model, NaturalGradient(alpha, beta), DiagonalGaussian(DIM), 6, key, params=start)
    variance = np.exp(2.0 * np.asarray(start.log_scale))
    mean, variance = references.natural_momentum(
        model, evidence.observation, np.asarray(start.loc), variance, alpha, beta, 6
    )
    np.testing.assert_allclose(posterior.params.loc, mean, rtol=AUTODIFF, atol=AUTODIFF)
    np.testing.assert_allclose(jnp.exp(2.0 * posterior.params.log_scale), variance, rtol=AUTODIFF)


def test_schedules_are_read_at_the_number_of_the_step(model, key):
    family = DiagonalGaussian(DIM)
    scheduled = run(model, NaturalGradient(lambda k: 0.5 / (k + 1.0), lambda k: 0.1 * k), family, 3, key)
    params, state = family.init(), None
    for count in range(3):
        engine = NaturalGradient(0.5 / (count + 1.0), 0.1 * count)
        step = run(model, engine, family, 1, key, params=params, state=state)
        params, state = step.params, step.state
    np.testing.assert_allclose(scheduled.params.loc, params.loc, rtol=ALGEBRA)
    np.testing.assert_allclose(scheduled.params.log_scale, params.log_scale, rtol=ALGEBRA, atol=ALGEBRA)


class Saddle(AbstractObjective):
    """U(z) = z_0^2 - 2 z_1^2 + z_1^4 / 4: its curvature is negative near the start."""

    def pointwise(self, value, args, *, key):
        return value[0] ** 2 - 2.0 * value[1] ** 2 + 0.25 * value[1] ** 4

    def __call__(self, distribution, args, *, key):
        points = Cubature().points(distribution, key=key)
        energies = jax.vmap(lambda z: self.pointwise(z, args, key=key))(points.values)
        return points.weights @ energies - distribution.entropy()


@pytest.mark.parametrize("family", [DiagonalGaussian(2), FullGaussian(2)])
@pytest.mark.parametrize("keep", [0.1, 0.5])
def test_precision_stays_positive_on_an_indefinite_energy(family, keep, key):
    engine = NaturalGradient(1.0, 0.5, curvature=Hessian(), keep=keep)
    start = family.from_moments(jnp.array([1.0, 0.1]), 0.01 * jnp.eye(2))
    posterior = infer(Saddle(), engine, family, None, key=key, params=start, num_steps=30, record=True, throw=False)
    precisions = eqx.filter_jit(jax.vmap(lambda p: family.natural(p).precision))(posterior.path)
    full = eqx.filter_jit(jax.vmap(jnp.diag))(precisions) if precisions.ndim == 2 else precisions
    smallest = jnp.linalg.eigvalsh(full)[:, 0]
    assert bool(jnp.all(smallest > 0.0))
    # The guard was needed: on its first step the whole proposal would have left the domain.
    proposal = eqx.filter_jit(jax.hessian(lambda z: Saddle().pointwise(z, None, key=key)))(start.loc)
    assert float(jnp.linalg.eigvalsh(proposal)[0]) < 0.0
    # No step removes more than the promised share, in any direction.
    ratios = eqx.filter_jit(jax.vmap(lambda old, new: jnp.linalg.eigvals(jnp.linalg.solve(old, new)).real.min()))(
        full[:-1], full[1:]
    )
    assert float(jnp.min(ratios)) >= keep * (1.0 - AUTODIFF)


def test_stein_estimates_the_mean_hessian(key):
    family = FullGaussian(2)
    q = family(family.from_moments(jnp.array([0.5, -0.3]), jnp.array([[0.5, 0.2], [0.2, 0.4]])))

    def energy(z):
        return jnp.sum(z**3) + z[0] * z[1] ** 2 + jnp.sin(z[0])

    def estimate(sample_key):
        value = q.sample(sample_key)
        return Stein()(Saddle(), q, value, jax.grad(energy)(value), None, key=sample_key) - jax.hessian(energy)(value)

    differences = jax.jit(jax.vmap(estimate))(jr.split(key, 20_000))
    assert_zero_mean(differences, MONTE_CARLO_STANDARD_ERRORS, "Stein's estimate and the mean Hessian agree")


def test_monte_carlo_points_reach_the_posterior_on_average(model, key):
    exact = references.conjugate(model, catalogue.evidence(4).observation)

    def once(run_key):
        engine = NaturalGradient(1.0, expectation=MonteCarlo(4), keep=1e-6)
        return run(model, engine, FullGaussian(DIM), 1, run_key, throw=False).params.loc

    # Gradients at few points are noisy; for a quadratic energy the noise in the mean has mean zero.
    means = eqx.filter_jit(jax.vmap(once))(jr.split(key, 4000))
    assert_zero_mean(means - exact.mean[None, :], MONTE_CARLO_STANDARD_ERRORS, "one step is unbiased")


def test_step_reports_the_energy_before_it(model, key):
    family = FullGaussian(DIM)
    posterior = run(model, NaturalGradient(0.5), family, 2, key)
    objective, evidence = FreeEnergy(model, Cubature()), catalogue.evidence(4)
    np.testing.assert_allclose(
        posterior.path_nats[0], objective(family(family.init()), evidence, key=key), rtol=ALGEBRA
    )


def test_refuses_what_has_no_natural_parameters(model, key):
    with pytest.raises(BadInputError, match="Expected a Gaussian family .* got Delta"):
        run(model, NaturalGradient(), Delta(DIM), 1, key)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 0.0}, r"rate in \(0, 1\], got 0.0"),
        ({"rate": 1.5}, r"rate in \(0, 1\], got 1.5"),
        ({"momentum": 1.0}, r"momentum in \[0, 1\), got 1.0"),
        ({"keep": 0.0}, r"keep in \(0, 1\), got 0.0"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(BadInputError, match=message):
        NaturalGradient(**options)


def test_fisher_takes_the_curvature_of_the_objective(model, key):
    value = jnp.array([0.1, 0.2, 0.3])
    objective, evidence = FreeEnergy(model), catalogue.evidence(4)
    curvature = Fisher()(objective, dist.Normal(), value, value, evidence, key=key)
    exact = references.conjugate(model, evidence.observation)
    np.testing.assert_allclose(curvature, exact.precision, rtol=ALGEBRA, atol=ALGEBRA)
