"""Calibration: an exact posterior passes, a wrong one does not, and the statistics agree with closed forms."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

from homeostat.core import AbstractEngine, AbstractModel, StepInfo
from homeostat.distributions import Cubature, FullGaussian
from homeostat.inference.engines import NaturalGradient
from homeostat.metrics import (
    count_band,
    coverage_curve,
    ecdf_difference_band,
    holm,
    pareto_shape,
    rank_counts,
    rank_uniformity,
    simulation_based_calibration,
    uniformity,
)
from homeostat.objectives import Beta, FreeEnergy, Weighted
from homeostat.results import BadInputError
from tolerances import ALGEBRA, MONTE_CARLO_STANDARD_ERRORS

SIMULATIONS, DRAWS = 600, 63


class Linear(AbstractModel):
    """x = C z + noise, whose posterior one natural-gradient step finds exactly."""

    matrix: jax.Array

    def initial(self):
        return dist.Normal(jnp.zeros(2), jnp.ones(2)).to_event(1)

    def emission(self, state):
        return dist.Normal(self.matrix @ state, 0.5).to_event(1)


class Widened(AbstractEngine):
    """The exact posterior with its standard deviations multiplied: wrong on purpose."""

    factor: float
    shift: float = 0.0

    def init(self, objective, family, params, args):
        return NaturalGradient(rate=1.0).init(objective, family, params, args)

    def step(self, objective, family, params, args, state, *, key):
        exact, state, info = NaturalGradient(rate=1.0).step(objective, family, params, args, state, key=key)
        tril = family.scale_tril(exact)
        loc = exact.loc + self.shift * jnp.sqrt(jnp.diagonal(tril @ tril.T))
        return family.from_scale_tril(loc, self.factor * tril), state, StepInfo(info.energy_nats)


def calibrate(engine, key):
    model = Linear(jnp.asarray([[1.0, 0.5], [0.0, 1.0], [1.0, -1.0]]))
    return simulation_based_calibration(
        model,
        engine,
        FullGaussian(2),
        key=key,
        num_simulations=SIMULATIONS,
        num_steps=1,
        num_draws=DRAWS,
        batch_size=100,
    )


def p_values(calibration, key):
    tests = rank_uniformity(calibration.ranks, calibration.num_draws, key=key)
    return np.concatenate([tests.chi_square, tests.kolmogorov])


def test_an_exact_posterior_is_calibrated(key):
    run_key, jitter_key = jr.split(key)
    calibration = calibrate(NaturalGradient(rate=1.0), run_key)
    assert not jnp.any(calibration.failed)
    assert holm(p_values(calibration, jitter_key)).min() > 0.01
    # Weights of an exact posterior are equal, so correcting by them changes nothing.
    np.testing.assert_allclose(calibration.corrected, calibration.ranks / DRAWS, atol=ALGEBRA)
    levels = np.linspace(0.1, 0.9, 9)
    covered = coverage_curve(calibration.ranks, DRAWS, levels)
    error = np.sqrt(levels * (1.0 - levels) / SIMULATIONS)
    assert np.all(np.abs(covered - levels[:, None]) < MONTE_CARLO_STANDARD_ERRORS * error[:, None] + 1.0 / (DRAWS + 1))


@pytest.mark.parametrize(("engine", "sign"), [(Widened(0.6), -1), (Widened(1.6), 1)])
def test_wrong_widths_are_found_and_corrected_by_weights(key, engine, sign):
    run_key, jitter_key = jr.split(key)
    calibration = calibrate(engine, run_key)
    assert p_values(calibration, jitter_key).min() < 1e-6
    covered = coverage_curve(calibration.ranks, DRAWS, np.asarray([0.5]))
    assert np.all(sign * (covered - 0.5) > 0.05)
    if sign > 0:
        # Draws that are too wide cover the posterior, so their weights repair the ranks; the tail of the weights is short.
        assert holm(uniformity(calibration.corrected)).min() > 0.01
        assert float(jnp.median(calibration.pareto_shape)) < 0.5
    else:
        assert float(jnp.median(calibration.pareto_shape)) > 0.5


def test_a_shifted_posterior_is_found(key):
    run_key, jitter_key = jr.split(key)
    calibration = calibrate(Widened(1.0, 0.5), run_key)
    assert rank_uniformity(calibration.ranks, DRAWS, key=jitter_key).kolmogorov.max() < 1e-6


def test_failures_are_reported(key):
    calibration = calibrate(Widened(float("nan")), key)
    assert jnp.all(calibration.failed)
    assert jnp.all(calibration.ranks == 0)


class Unmeasured(AbstractEngine):
    """Leaves the parameters as they are."""

    def init(self, objective, family, params, args):
        return None

    def step(self, objective, family, params, args, state, *, key):
        return params, state, StepInfo(jnp.asarray(0.0))


def test_a_failure_with_finite_draws_has_the_lowest_rank(key):
    # The prior is so far away that the energy overflows, though q can be drawn from: all its draws are below the truth.
    far = dist.Normal(jnp.full(2, 1e200), 1e-200).to_event(1)
    found = simulation_based_calibration(
        Linear(jnp.eye(2)), Unmeasured(), FullGaussian(2), key=key, num_simulations=20, num_draws=DRAWS, prior=far,
        num_steps=1,
    )  # fmt: skip
    assert jnp.all(found.failed) and jnp.all(found.ranks == 0) and jnp.all(found.corrected == 0.0)


def test_prior_start_and_quantities_are_used(key):
    model = Linear(jnp.eye(2))
    family = FullGaussian(2)
    prior = dist.Normal(jnp.asarray([3.0, -3.0]), jnp.asarray([0.1, 0.1])).to_event(1)

    def start(simulation, *, key):
        assert simulation.observation.shape == (2,)
        return family.from_scale_tril(simulation.truth, 0.1 * jnp.eye(2))

    calibration = simulation_based_calibration(
        model,
        NaturalGradient(rate=1.0),
        family,
        key=key,
        num_simulations=200,
        num_steps=1,
        num_draws=DRAWS,
        prior=prior,
        start=start,
        quantities=lambda z, x: jnp.stack([z[0] + z[1], jnp.sum((x - z) ** 2), z[0]]),
    )
    assert calibration.ranks.shape == (200, 3)
    assert holm(p_values(calibration, jr.key(1))).min() > 0.01


def test_progress_is_told_and_changes_nothing(key):
    """The last block is filled up: 50 simulations by 8 are told in blocks, and leave no trace of them."""
    told = []
    common = (Linear(jnp.eye(2)), NaturalGradient(rate=1.0), FullGaussian(2))
    options = {"key": key, "num_simulations": 50, "num_steps": 1, "num_draws": 31, "batch_size": 8}
    quiet = simulation_based_calibration(*common, **options)
    shown = simulation_based_calibration(*common, **options, on_progress=told.append)
    assert told == [8, 16, 24, 32, 40, 48, 50]
    np.testing.assert_array_equal(shown.ranks, quiet.ranks)
    np.testing.assert_allclose(shown.corrected, quiet.corrected, atol=ALGEBRA)


def test_what_the_engine_descends_may_be_weighted(key):
    """A rate of ten times its weight makes the posterior too narrow, and draws it to the prior."""
    model = Linear(jnp.eye(2))
    found = simulation_based_calibration(
        model,
        NaturalGradient(rate=1.0),
        FullGaussian(2),
        key=key,
        num_simulations=200,
        num_steps=1,
        num_draws=31,
        objective=Weighted(FreeEnergy(model, Cubature()), Beta(10.0)),
    )
    covered = coverage_curve(found.ranks, 31, np.asarray([0.5]))
    assert np.all(covered < 0.4) and not jnp.any(found.failed)


def test_holm_agrees_with_the_step_down_rule():
    np.testing.assert_allclose(holm(np.asarray([0.01, 0.04, 0.03])), [0.03, 0.06, 0.06], atol=ALGEBRA)
    np.testing.assert_allclose(holm(np.asarray([0.9, 0.5])), [1.0, 1.0], atol=ALGEBRA)


def test_rank_counts_count_every_simulation(key):
    ranks = jr.randint(key, (100, 3), 0, DRAWS + 1)
    counts = rank_counts(ranks, DRAWS, 8)
    assert counts.shape == (8, 3) and np.all(counts.sum(axis=0) == 100)
    np.testing.assert_array_equal(counts[0], np.sum(np.asarray(ranks) < 8, axis=0))
    with pytest.raises(BadInputError, match="divides 64"):
        rank_counts(ranks, DRAWS, 7)


def test_coverage_of_all_ranks_is_the_level():
    ranks = jnp.arange(DRAWS + 1)[:, None]
    levels = np.asarray([0.25, 0.5, 0.75, 1.0])
    np.testing.assert_allclose(coverage_curve(ranks, DRAWS, levels)[:, 0], levels, atol=ALGEBRA)


def test_bands_hold_with_their_level(key):
    band_key, sample_key = jr.split(key)
    points = np.linspace(0.05, 0.95, 19)
    band = ecdf_difference_band(200, points, key=band_key, level=0.9)
    samples = np.asarray(jr.uniform(sample_key, (1_000, 200)))
    curves = np.mean(samples[:, :, None] <= points, axis=1) - points
    inside = np.mean(np.all((curves >= band.low - ALGEBRA) & (curves <= band.high + ALGEBRA), axis=1))
    assert abs(inside - 0.9) < MONTE_CARLO_STANDARD_ERRORS * np.sqrt(0.09 / 1_000) + 0.01
    counts = count_band(1_000, 10, level=0.99)
    assert counts.low[0] < 100 < counts.high[0] and counts.high[0] - counts.low[0] < 60


@pytest.mark.parametrize("shape", [-0.2, 0.3, 0.8, 1.2])
def test_pareto_shape_recovers_a_known_tail(shape):
    draws = stats.genpareto(shape).rvs((40, 4_000), random_state=np.random.default_rng(1))
    # Above a high threshold the tail of a generalised Pareto distribution has the same shape.
    estimates = np.asarray(eqx.filter_jit(jax.vmap(pareto_shape))(jnp.log(jnp.asarray(draws))))
    tail = 3 * np.sqrt(4_000)
    expected = (tail * shape + 5.0) / (tail + 10.0)
    error = estimates.std() / np.sqrt(40)
    assert abs(estimates.mean() - expected) < MONTE_CARLO_STANDARD_ERRORS * error + 0.02


def test_equal_weights_have_no_tail():
    assert float(pareto_shape(jnp.zeros(100))) < 0.5
    # Nor have weights that are equal but for rounding, at any height and in any precision.
    for dtype in (jnp.float32, jnp.float64):
        noise = 3.0 * jnp.finfo(dtype).eps * jr.normal(jr.key(1), (50, 1_000), dtype)
        for height in (0.0, -3_000.0):
            shapes = eqx.filter_jit(jax.vmap(pareto_shape))(jnp.asarray(height, dtype) + max(abs(height), 1.0) * noise)
            assert bool(jnp.all(shapes < 0.7))


def test_bad_input_is_refused(key):
    with pytest.raises(BadInputError, match="two draws"):
        simulation_based_calibration(Linear(jnp.eye(2)), NaturalGradient(), FullGaussian(2), key=key, num_draws=1)
    with pytest.raises(BadInputError, match="25 draws"):
        pareto_shape(jnp.zeros(10))
