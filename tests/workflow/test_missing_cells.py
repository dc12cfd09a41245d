"""Rows with missing cells from the fit to what is reported, against the dense Gaussian of the fitted model."""

from typing import final

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.stats

from homeostat.core import AbstractModel
from homeostat.data import ArrayRows
from homeostat.distributions import Cubature, DiagonalGaussian, DiagonalGaussianParams, Masked
from homeostat.inference.engines import NaturalGradient
from homeostat.models.static import FactorAnalysis
from homeostat.objectives import Evidence, FreeEnergy, evidence_of
from homeostat.results import BadInputError
from homeostat.workflow import RowsOptions, RowsTask, fit
from homeostat.workflow.rows._baselines import compare_rows
from homeostat.workflow.rows._describe import describe_rows
from homeostat.workflow.rows._impute import impute
from homeostat.workflow.rows._inference import blocks, for_training, infer_rows, score_rows
from homeostat.workflow.rows._networks import make_reader
from homeostat.workflow.rows._system import InferenceSetup
from tolerances import ALGEBRA, FLOAT32, MONTE_CARLO_STANDARD_ERRORS

RANDOM = np.random.default_rng(5)
SIZE = 4
COMPLETE = RANDOM.normal(size=(60, 1)) @ RANDOM.normal(size=(1, SIZE)) + 0.3 * RANDOM.normal(size=(60, SIZE))
COMPLETE = COMPLETE * np.array([10.0, 1.0, 0.1, 1.0]) + np.array([1e3, 0.0, 0.0, 3.0])
ROWS = np.where(RANDOM.random(COMPLETE.shape) < 0.2, np.nan, COMPLETE)
ROWS[7] = np.nan
OPTIONS = {
    name: RowsOptions(model=name, engine="exact", latents="1") for name in ("factor-analysis", "probabilistic-pca")
}


@pytest.mark.parametrize("name", OPTIONS)
def test_what_is_reported_is_that_of_the_marginals(name, key):
    fitted = fit(RowsTask(OPTIONS[name]), ROWS, key=key)
    model, scaling = fitted.selected.learned.model, fitted.description.scaling
    mean = np.asarray(scaling.restore(np.asarray(model.offset)[None])[0])
    covariance = np.asarray(model.covariance()) * np.outer(scaling.scale, scaling.scale)
    imputed, nats = ROWS.copy(), np.zeros(len(ROWS))
    for row, filled in enumerate(imputed):
        seen = ~np.isnan(filled)
        within = covariance[np.ix_(seen, seen)]
        gain = np.linalg.solve(within, covariance[np.ix_(seen, ~seen)]).T
        if seen.any():
            nats[row] = scipy.stats.multivariate_normal(mean[seen], within).logpdf(filled[seen])
        filled[~seen] = mean[~seen] + gain @ (filled[seen] - mean[seen])
    found = fitted.infer(ROWS, key=key).arrays["imputed"]
    np.testing.assert_array_equal(found[~np.isnan(ROWS)], ROWS[~np.isnan(ROWS)])
    deviation = COMPLETE.std(axis=0)
    np.testing.assert_allclose(found / deviation, imputed / deviation, atol=FLOAT32, rtol=FLOAT32)
    scores = fitted.evaluate(ROWS, key=key).arrays
    np.testing.assert_allclose(scores["log_likelihood_nats"], nats, atol=FLOAT32, rtol=FLOAT32)
    assert "imputed" not in fitted.infer(COMPLETE, key=key).arrays


def test_missing_numbers_are_counted_and_leave_units_as_they_are():
    rows, task = ArrayRows(ROWS), RowsTask(OPTIONS["factor-analysis"])
    found = task.describe(rows, rows)
    missing = int(np.isnan(ROWS).sum())
    assert found.num_missing == missing
    assert f"missing: {missing} of {ROWS.size} numbers" in task.announce(found, rows, rows)[1]
    np.testing.assert_allclose(found.scaling.loc, np.nanmean(ROWS, axis=0), rtol=ALGEBRA)
    np.testing.assert_allclose(found.scaling.scale, np.nanstd(ROWS, axis=0), rtol=ALGEBRA)


def test_baselines_of_incomplete_rows_are_those_of_their_known_numbers():
    pair = ROWS[:, :2]
    rows = ArrayRows(pair)
    found = compare_rows(describe_rows(rows, rows, RowsOptions()), rows, rows, np.zeros(len(pair)), estimate="bound")
    density = scipy.stats.norm(np.nanmean(pair, axis=0), np.nanstd(pair, axis=0)).logpdf(pair)
    nats = {baseline["name"]: baseline["nats"] for baseline in found["baselines"]}
    assert nats["independent columns"] == pytest.approx(np.nansum(density) / len(pair), abs=ALGEBRA)
    # One factor made both columns.
    assert nats["a full Gaussian"] > nats["independent columns"] + 0.1 and set(nats) == {*list(nats)[:2]}


def test_the_energy_of_a_masked_row_is_that_of_its_known_entries():
    model = FactorAnalysis(jnp.asarray(RANDOM.normal(size=(3, 1))), jnp.full(3, 0.1), jnp.zeros(3))
    seen, point = np.array([True, False, True]), jnp.array([0.7])
    row = Masked(jnp.array([1.0, 99.0, -2.0]), jnp.asarray(seen))
    found = FreeEnergy(model).pointwise(point, evidence_of(row), key=jax.random.key(0))
    means = np.asarray(model.loadings)[:, 0] * 0.7 + 0.1
    expected = scipy.stats.norm(means, 1.0).logpdf([1.0, 99.0, -2.0])[seen].sum() + scipy.stats.norm.logpdf(0.7)
    assert float(found) == pytest.approx(-expected, abs=ALGEBRA)


@pytest.fixture(scope="module")
def scored():
    """A linear decoder under an engine that knows nothing of it, whose posterior has no correlations."""
    key, task, rows = jax.random.key(0), RowsTask(RowsOptions(latents="2")), ArrayRows(ROWS)
    description = task.describe(rows, rows)
    loadings = jnp.asarray(np.random.default_rng(0).normal(size=(SIZE, 2)))
    model = FactorAnalysis(loadings, jnp.full(SIZE, 0.1), jnp.full(SIZE, -0.5))
    family, objective = DiagonalGaussian(2), FreeEnergy(model, Cubature())
    setup = InferenceSetup(model, NaturalGradient(0.5, expectation=Cubature()), family, 40, objective)
    # From the prior, without a step, because weights of importance are bounded there.
    scores = score_rows(setup._replace(num_steps=0), description, rows, num_samples=2_000, key=key)
    ((_, _, block),) = blocks(rows, description, len(ROWS))
    exact = jax.jit(jax.vmap(lambda row: model.log_evidence(evidence_of(row).observation, evidence_of(row).observed)))
    nats = np.asarray(exact(block)) - description.log_units_nats(~np.isnan(ROWS))
    return setup, description, scores, nats, infer_rows(setup, block, jnp.arange(len(ROWS)), False, 64, key=key)


def test_bounds_lie_below_the_evidence_of_the_seen_numbers_and_importance_sampling_meets_it(scored):
    _, description, scores, nats, found = scored
    gap, error = nats - scores["log_likelihood_nats"], scores["monte_carlo_stderr_nats"]
    # The logarithm of an average is low by about half its squared error.
    assert (np.abs(gap - 0.5 * error**2) < MONTE_CARLO_STANDARD_ERRORS * error + FLOAT32).all()
    units = description.log_units_nats(~np.isnan(ROWS))
    bounds = -np.asarray(found.distortion_nats + found.rate_nats) - units
    assert (bounds < nats + 0.5).all() and 0.05 < np.mean(nats - bounds) < 0.5


def test_a_row_of_which_nothing_is_known_has_the_prior_as_posterior_and_likelihood_one(scored):
    _, _, scores, nats, found = scored
    assert nats[7] == scores["distortion_nats"][7] == 0.0
    np.testing.assert_allclose([scores["elbo_nats"][7], scores["log_likelihood_nats"][7]], 0.0, atol=FLOAT32)
    np.testing.assert_allclose(found.mean[7], 0.0, atol=FLOAT32)


def test_imputed_numbers_are_means_under_the_posterior_in_the_unit_of_the_data(scored, key):
    setup, description, _, _, found = scored
    told = impute(setup, description, ROWS, found.params, found.mean, first=0, num_samples=4_000, key=key)
    np.testing.assert_array_equal(told[~np.isnan(ROWS)], ROWS[~np.isnan(ROWS)])
    means = np.asarray(found.mean) @ np.asarray(setup.model.loadings).T + 0.1
    difference = (told - description.restore(means)) / description.scaling.scale
    # A mean of 4,000 draws; latents have deviations below 1, loadings add up to less than 4 in each column.
    assert np.abs(difference[np.isnan(ROWS)]).max() < MONTE_CARLO_STANDARD_ERRORS * 4.0 / np.sqrt(4_000)


@final
class Thirds(AbstractModel):
    """One entry of three categories, and probabilities that depend on the sign of z."""

    def initial(self):
        return dist.Normal(jnp.zeros(1), 1.0).to_event(1)

    def emission(self, state):
        chances = jnp.where(state[0] > 0.0, jnp.asarray([0.0, 0.4, 0.6]), jnp.asarray([0.6, 0.4, 0.0]))
        return dist.CategoricalLogits(jnp.log(chances + 1e-12)[None], validate_args=False).to_event(1)


def test_of_categories_the_most_probable_on_average_is_imputed(key):
    """Each z has 0 or 2 as its most probable category; on average over both signs it is 1."""
    rows = ArrayRows(np.array([[np.nan], [2.0], [0.0]]))
    description = describe_rows(rows, rows, RowsOptions(likelihood="categorical", latents="1"))
    setup = InferenceSetup(Thirds(), NaturalGradient(), DiagonalGaussian(1), 1, FreeEnergy(Thirds()))
    params = DiagonalGaussianParams(jnp.zeros((3, 1)), jnp.zeros((3, 1)))
    told = impute(setup, description, rows.read([0, 1, 2]), params, None, first=0, num_samples=500, key=key)
    np.testing.assert_array_equal(told, [[1.0], [2.0], [0.0]])


@pytest.mark.parametrize("likelihood", ["gaussian", "categorical", "poisson"])
def test_networks_read_zero_and_which_numbers_are_missing(likelihood):
    """Only of a model whose fit had missing cells; others read what they always did."""
    whole = np.array([[0.0, 2.0], [1.0, 1.0], [2.0, 0.0], [1.0, 1.0]])
    holes = np.where(np.arange(2) == 1, np.nan, whole)
    options = RowsOptions(likelihood=likelihood, standardize=False)
    seen, value = jnp.array([True, False]), jnp.asarray([2, 0] if likelihood == "categorical" else [2.0, 0.0])
    told = {"gaussian": [2**0.5, 0.0], "categorical": [0.0, 0.0, 1.0, 0.0, 0.0, 0.0], "poisson": [np.log(3.0), 0.0]}
    for rows in (whole, np.concatenate([whole, holes[:1]])):
        data = ArrayRows(rows)
        description = describe_rows(data, ArrayRows(whole), options)
        read = make_reader(description)(Evidence(value, observed=seen))
        mask = [1.0, 0.0] if description.num_missing else []
        np.testing.assert_allclose(read, told[likelihood] + mask, rtol=FLOAT32)
        batch = for_training(description, rows)
        assert description.num_missing or np.array_equal(np.asarray(batch), description.prepare(rows))


def test_steps_of_expectation_maximisation_are_counted():
    task = RowsTask(OPTIONS["probabilistic-pca"])
    for rows, steps in ((COMPLETE, 1), (ROWS, 500)):
        data = ArrayRows(rows)
        assert task.num_updates(task.build(task.describe(data, data), key=None)) == steps


@pytest.mark.parametrize(
    ("rows", "options", "said"),
    [
        (
            abs(ROWS),
            RowsOptions(likelihood="multinomial"),
            "got nan in row 0.* or use a likelihood of independent entries",
        ),
        (
            ROWS,
            RowsOptions(mapping="convolutional", engine="direct"),
            "finite numbers; got nan .* or use --mapping mlp",
        ),
        (np.where(ROWS > 1e3, np.inf, ROWS), RowsOptions(), "or none where they are missing; got inf"),
        (abs(ROWS), RowsOptions(likelihood="poisson"), "counts .*, or none where they are missing; got"),
        (np.where(np.arange(SIZE) == 2, np.nan, ROWS), OPTIONS["factor-analysis"], "got none in column 2"),
    ],
)
def test_what_cannot_be_integrated_out_is_refused(rows, options, said):
    with pytest.raises(BadInputError, match=said):
        describe_rows(ArrayRows(rows), ArrayRows(rows), options)
