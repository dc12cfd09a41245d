"""Outcomes with named axes: as tables in files, as data frames of pandas, and as `InferenceData` of ArviZ."""

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from homeostat.data import ArrayRows, SequenceFormat, TableColumns, open_sequences
from homeostat.results import BadInputError
from homeostat.workflow import Outcome, RowsOptions, SequencesOptions, SequencesTask
from homeostat.workflow.rows._axes import row_axes
from homeostat.workflow.rows._describe import describe_rows
from homeostat.workflow.sequences._named_axes import belief_axes, draw_axes, forecast_axes, observed_steps

DATES = {"a": ["2021-01-30", "2021-01-31", "2021-02-01"], "b": ["2021-02-01", "2021-02-02"]}


@pytest.fixture(scope="module")
def rows():
    """What `infer` says of three rows of two columns, with two latents."""
    data = ArrayRows(np.array([[1.0, 2.0], [3.0, np.nan], [5.0, 7.0]]), columns=("height", "weight"))
    arrays = {
        "posterior_loc": np.arange(6.0).reshape(3, 2),
        "mean": np.arange(6.0).reshape(3, 2),
        "elbo_nats": np.array([-1.0, -2.0, -3.0]),
        "imputed": np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 7.0]]),
        "failed": np.zeros(3, bool),
        "dims": np.array([2]),
    }
    description = describe_rows(data, data, RowsOptions())
    return Outcome(
        {}, arrays, axes=row_axes(description, 2, arrays), observed=lambda: {"observed": data.read([0, 1, 2])}
    )


@pytest.fixture(scope="module")
def sequences():
    table = {
        "sequence": [label for label, dates in DATES.items() for _ in dates],
        "date": [date for dates in DATES.values() for date in dates],
        "x": [1.0, 2, 3, 4, 5],
        "y": [1.0, 0, 3, 2, 6],
    }
    return open_sequences(pa.table(table), SequenceFormat(TableColumns()))


@pytest.fixture(scope="module")
def beliefs(sequences):
    """What `infer` says of two sequences of three and two steps."""
    description = SequencesTask(SequencesOptions()).describe(sequences, sequences)
    arrays = {
        "mean": np.arange(12.0).reshape(2, 3, 2),
        "free_energy_nats": np.array([[1.0, 2.0, 3.0], [4.0, 5.0, np.nan]]),
        "lengths": np.array([3, 2]),
        "labels": np.array(["a", "b"]),
    }
    axes = belief_axes(sequences, description, arrays)
    return description, Outcome({}, arrays, axes=axes, observed=lambda: observed_steps(sequences))


def test_rows_are_one_table(rows, tmp_path):
    rows.save(tmp_path / "rows.csv", None)
    rows.save(tmp_path / "rows.parquet", None)
    found = csv.read_csv(tmp_path / "rows.csv")
    names = ["row", *(f"{name} latent {i}" for name in ("posterior_loc", "mean") for i in range(2)), "elbo_nats"]
    assert found.column_names == [*names, "imputed height", "imputed weight", "failed"]
    assert found["imputed weight"].to_pylist() == [2.0, 4.0, 7.0] and found["mean latent 1"].to_pylist() == [
        1.0,
        3.0,
        5.0,
    ]
    assert parquet.read_table(tmp_path / "rows.parquet").to_pydict() == found.to_pydict()


def test_steps_are_rows_with_dates_and_those_beyond_an_end_are_left_out(beliefs, tmp_path):
    _, outcome = beliefs
    outcome.save(tmp_path / "steps.csv", None)
    found = csv.read_csv(tmp_path / "steps.csv").to_pydict()
    assert found["sequence"] == ["a", "a", "a", "b", "b"]
    assert [str(date) for date in found["date"]] == [*DATES["a"], *DATES["b"]]
    assert found["mean latent 1"] == [1.0, 3.0, 5.0, 7.0, 9.0] and found["free_energy_nats"] == [
        1.0,
        2.0,
        3.0,
        4.0,
        5.0,
    ]


def test_quantiles_of_a_forecast_are_columns(sequences, beliefs, tmp_path):
    arrays = {
        "mean": np.arange(8.0).reshape(2, 2, 2),
        "quantiles": np.arange(16.0).reshape(2, 2, 2, 2),
        "probabilities": np.array([0.1, 0.9]),
    }
    axes = forecast_axes(sequences, beliefs[0], 2, (0.1, 0.9))
    Outcome({}, arrays, axes=axes).save(tmp_path / "ahead.parquet", None)
    found = parquet.read_table(tmp_path / "ahead.parquet").to_pydict()
    # The day after the last of each sequence, and the next.
    assert [str(date) for date in found["date"]] == ["2021-02-02", "2021-02-03", "2021-02-03", "2021-02-04"]
    assert found["mean x"] == [0.0, 2.0, 4.0, 6.0]
    assert found["quantiles 0.9 y"] == [arrays["quantiles"][s, 1, k, 1] for s in range(2) for k in range(2)]


def test_pictures_are_flattened_and_draws_numbered(beliefs, tmp_path):
    data = ArrayRows(np.arange(8.0).reshape(2, 2, 2))
    arrays = {"samples": np.arange(12.0).reshape(3, 2, 2), "latents": np.arange(3.0)[:, None]}
    description = describe_rows(data, data, RowsOptions(likelihood="gaussian"))
    Outcome({}, arrays, axes=row_axes(description, 1, arrays, along="draw")).save(tmp_path / "drawn.csv", None)
    found = csv.read_csv(tmp_path / "drawn.csv").to_pydict()
    assert found["draw"] == [0, 1, 2] and found["samples entry 3"] == [3.0, 7.0, 11.0]
    states = {"samples": np.zeros((2, 3, 2)), "states": np.zeros((2, 3), int)}
    Outcome({}, states, axes=draw_axes(beliefs[0], states)).save(tmp_path / "states.csv", None)
    assert csv.read_csv(tmp_path / "states.csv").column_names == ["draw", "step", "samples x", "samples y", "states"]


def test_frames_of_pandas(rows, beliefs):
    pandas = pytest.importorskip("pandas")
    found = rows.to_pandas()
    assert set(found) == {*rows.arrays} - {"dims"}
    expected = pandas.DataFrame(
        rows.arrays["imputed"], index=pandas.RangeIndex(3, name="row"), columns=["height", "weight"]
    )
    pandas.testing.assert_frame_equal(found["imputed"], expected, check_index_type=False, check_column_type=False)
    assert found["elbo_nats"].columns.tolist() == ["elbo_nats"]
    steps = beliefs[1].to_pandas()["mean"]
    assert steps.index.names == ["sequence", "date"] and len(steps) == 5
    assert steps.loc[("b", pandas.Timestamp("2021-02-02")), "latent 0"] == 8.0


def test_inference_data_of_arviz(rows, beliefs, sequences):
    arviz = pytest.importorskip("arviz")
    found = rows.to_inference_data()
    assert isinstance(found, arviz.InferenceData)
    assert {*found.groups()} == {"posterior", "posterior_predictive", "sample_stats", "observed_data"}
    assert float(found.posterior_predictive["imputed"].sel(row=1, column="weight")) == 4.0
    assert found.posterior["mean"].dims == ("row", "latent")
    steps = beliefs[1].to_inference_data()
    assert steps.posterior["mean"].coords["date"].dims == ("sequence", "step")
    np.testing.assert_array_equal(steps.observed_data["observed"].sel(sequence="b", column="x"), [4.0, 5.0, np.nan])
    arrays = {"samples": np.ones((4, 2)), "means": np.ones((4, 2)), "latents": np.ones((4, 2))}
    drawn = Outcome(
        {}, arrays, axes=rows.axes._replace(dims=dict.fromkeys(arrays, ("draw", "column")))
    ).to_inference_data()
    assert drawn.prior_predictive["samples"].dims == ("chain", "draw", "column")


def test_what_has_no_tables_is_refused(rows, monkeypatch):
    with pytest.raises(BadInputError, match="arrays in memory whose axes have names"):
        rows._replace(arrays={}).to_pandas()
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(BadInputError, match="with its extra frames"):
        rows.to_pandas()
