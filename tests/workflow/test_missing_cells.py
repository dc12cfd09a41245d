"""Rows with missing cells from the fit to what is reported, against the dense Gaussian of the fitted model."""

import numpy as np
import pytest
import scipy.stats

from homeostat.data import ArrayRows
from homeostat.results import BadInputError
from homeostat.workflow import RowsOptions, RowsTask, fit
from homeostat.workflow.rows._baselines import compare_rows
from homeostat.workflow.rows._describe import describe_rows
from tolerances import ALGEBRA, FLOAT32

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


def test_the_baseline_of_incomplete_rows_is_that_of_independent_columns():
    rows = ArrayRows(ROWS)
    description = describe_rows(rows, rows, OPTIONS["factor-analysis"])
    found = compare_rows(description, rows, rows, np.zeros(len(ROWS)), estimate="exact")
    density = scipy.stats.norm(np.nanmean(ROWS, axis=0), np.nanstd(ROWS, axis=0)).logpdf(ROWS)
    (baseline,) = found["baselines"]
    assert baseline["name"] == "independent columns"
    assert baseline["nats"] == pytest.approx(np.nansum(density) / len(ROWS), abs=ALGEBRA)


@pytest.mark.parametrize(
    ("rows", "options", "said"),
    [
        (ROWS, RowsOptions(), r"or use factor-analysis or probabilistic-pca with --engine exact"),
        (ROWS, RowsOptions(model="factor-analysis", engine="direct", latents="1"), "finite numbers; got nan"),
        (np.where(ROWS > 1e3, np.inf, ROWS), OPTIONS["factor-analysis"], "or none where they are missing; got inf"),
        (np.where(np.arange(SIZE) == 2, np.nan, ROWS), OPTIONS["factor-analysis"], "got none in column 2"),
    ],
)
def test_what_cannot_be_integrated_out_is_refused(rows, options, said):
    with pytest.raises(BadInputError, match=said):
        describe_rows(ArrayRows(rows), ArrayRows(rows), options)
