"""Tables in fits: data frames, categories and calendars that later data must share, and what is refused."""

import jax
import numpy as np
import pyarrow as pa
import pytest

from homeostat.data import ArrayRows, Sequences
from homeostat.results import BadInputError
from homeostat.train import load_checkpoint, save_checkpoint
from homeostat.workflow import FittedRows, FittedSequences, RowsOptions, RowsTask, SequencesOptions, SequencesTask, fit
from homeostat.workflow._tables import column_names
from homeostat.workflow.rows._describe import describe_rows
from homeostat.workflow.sequences._describe import describe_sequences

RANDOM = np.random.default_rng(0)
COLOURS = pa.table({"colour": ["red", "blue", "green", "red", "blue"], "size": ["s", "m", "s", "m", "s"]})


def fitted_rows(table, **options):
    """A model as a fit leaves it, whose numbers are only shapes."""
    task = RowsTask(RowsOptions(batch_size=2, latents="2", width=4, **options))
    rows = task.open(table)
    system = task.build(task.describe(rows, rows), key=None)
    return FittedRows(task, system, task.start(system))


def fitted_sequences(table, **options):
    task = SequencesTask(SequencesOptions(latents=2, width=4, memory=3, **options))
    sequences = task.open(table)
    system = task.build(task.describe(sequences, sequences), key=None)
    return FittedSequences(task, system, task.start(system))


def test_a_data_frame_is_fitted_and_its_columns_are_found_again():
    values = RANDOM.normal(size=(40, 3)) @ RANDOM.normal(size=(3, 3))
    frame = pa.table({"id": [f"k{n}" for n in range(40)]} | {name: values[:, n] for n, name in enumerate("abc")})
    options = {"model": "probabilistic-pca", "engine": "exact", "latents": "1", "validation_fraction": 0.0}
    with pytest.raises(BadInputError, match="column id .* identifier"):
        RowsTask(RowsOptions(**options)).open(frame)
    found = fit(RowsTask(RowsOptions(**options, label="id")), frame, key=jax.random.key(0))
    assert found.description.columns == ("a", "b", "c")
    plain = fit(RowsTask(RowsOptions(**options)), ArrayRows(values), key=jax.random.key(0))
    other = frame.select(["c", "a", "b"])
    one, two = (model.open(data).read(np.arange(40)) for model, data in ((found, other), (plain, values)))
    np.testing.assert_array_equal(one, two)
    model = found.selected.learned.model
    np.testing.assert_allclose(model.covariance(), plain.selected.learned.model.covariance(), rtol=1e-10)
    with pytest.raises(BadInputError, match="columns a, b, c in .* but it has a, b"):
        found.open(other.drop_columns(["c"]))


def test_categories_are_categorical_and_mean_the_same_later(tmp_path):
    found = fitted_rows(COLOURS)
    assert (found.description.likelihood, found.description.num_classes) == ("categorical", 3)
    save_checkpoint(tmp_path / "description.npz", found.description)
    kept = load_checkpoint(tmp_path / "description.npz")
    assert kept.categories == (("blue", "green", "red"), ("m", "s")) and kept.columns == ("colour", "size")
    fewer = pa.table({"size": ["s", "s"], "colour": ["red", "blue"]})
    assert found.open(fewer).read([0, 1]).tolist() == [[2, 1], [0, 1]]
    with pytest.raises(BadInputError, match="one of blue, green, red, as before, in row 1"):
        found.open(fewer.set_column(1, "colour", [["red", "pink"]]))
    numbers = fitted_rows(pa.table({"a": [1.0, 2.5, 3.0], "b": [2.0, 1.0, -1.0]}))
    with pytest.raises(BadInputError, match="Expected numbers, as the fitted model was made for, got other categories"):
        numbers.open(pa.table({"a": ["x", "x", "y"], "b": ["x", "x", "y"]}))
    for options in ({"likelihood": "gaussian"}, {"model": "factor-analysis", "engine": "exact"}):
        with pytest.raises(
            BadInputError, match="for a gaussian likelihood, got categories in the columns colour, size"
        ):
            fitted_rows(COLOURS, **options)
    assert fitted_rows(COLOURS, columns="size", likelihood="bernoulli").description.columns == ("size",)


def test_known_inputs_and_calendars_mean_the_same_later():
    dates = ["2021-01", "2021-02", "2021-03", "2021-04"]
    table = {"date": dates, "x": [1.5, 2, 3, 4], "drug": ["no", "a", "b", "a"]}
    found = fitted_sequences(pa.table(table), action_columns="drug", sequence_column="")
    description = found.description
    assert (description.calendar_unit, description.action_shape, description.uneven) == ("months", (3,), False)
    later = {"x": [1.0, 2], "drug": ["b", "b"], "date": ["2022-05", "2022-06"], "more": [1, 2]}
    assert found.open(pa.table(later)).read(0).actions.tolist() == [[0, 1, 0]]
    for date, message in (
        (["2022-05-02", "2022-05-03"], "dates that are months apart"),
        ([1, 2], "Expected dates in column date"),
        (["2022-05", "soon"], "Expected times, which the fitted model was made for, got none"),
    ):
        with pytest.raises(BadInputError, match=message):
            found.open(pa.table(later | {"date": date}))
    with pytest.raises(BadInputError, match="Expected times in months, .* got numbers"):
        found.open(Sequences([np.ones((3, 1))], times=[np.arange(3.0)], actions=[np.ones((2, 3))]))


def test_sequences_of_categories_need_a_likelihood_for_them():
    weather = pa.table({"day": [1, 2, 3], "sky": ["sun", "rain", "fog"]}).slice(0)
    longer = pa.concat_tables([weather, pa.table({"day": [4, 5], "sky": ["sun", "rain"]})])
    with pytest.raises(BadInputError, match="gaussian likelihood, got categories in the columns sky"):
        fitted_sequences(longer)
    two = longer.set_column(1, "sky", [["sun", "rain", "sun", "sun", "rain"]])
    assert fitted_sequences(two).description.likelihood == "bernoulli"


def test_a_missing_cell_is_named_by_row_and_column():
    rows = RowsTask(RowsOptions()).open(pa.table({"weight": [1.5, 2.0, None], "age": [1.0, 2, 3]}))
    with pytest.raises(
        BadInputError, match=r"finite numbers; got nan in row 2 \(from 0\), column weight of the pyarrow table"
    ):
        describe_rows(rows, rows, RowsOptions(likelihood="multinomial"))
    none = Sequences([np.ones((3, 1))])
    assert describe_sequences(none, none, SequencesOptions()).columns == ()


def test_names_of_columns_on_the_command_line(tmp_path):
    assert column_names('a, "b, c",d ,') == ("a", "b, c", "d")
    np.save(tmp_path / "rows.npy", np.zeros((4, 3)))
    with pytest.raises(BadInputError, match="a table for --columns, --drop and --label"):
        RowsTask(RowsOptions(drop="a")).open(tmp_path / "rows.npy")
    with pytest.raises(BadInputError, match="every column in one place, got 'a'"):
        RowsTask(RowsOptions(drop="a", label="a")).open(tmp_path / "rows.csv")
