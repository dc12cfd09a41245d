"""Tables as people have them: one content in many forms, and cells that are no numbers."""

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as parquet
import pytest

from homeostat.data import SequenceFormat, TableColumns, open_rows, open_sequences
from homeostat.results import BadInputError

VALUES = np.array([[1.5, -2.0], [0.25, 1e3], [np.nan, 4.0], [7.0, np.nan]])
STEPS = pa.table(
    {
        "sequence": ["one", "one", "two", "two"],
        "time": [0, 1, 0, 1],
        "a": pa.array([1.5, 0.25, None, 7.0]),
        "b": pa.array([-2.0, 1e3, 4.0, None]),
    }
)


class Frame:
    """A data frame of another library, as far as the protocol shows it."""

    def __init__(self, table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


def lines(delimiter, end="\n", header="sequence time a b"):
    comma = delimiter != ","
    cells = ["one 0 1.5 -2", "one 1 .25 1e3", "two 0 NA 4.0", "two 1 7 "]
    rows = [row.replace(".", ",") if comma else row for row in cells]
    return "".join(row.replace(" ", delimiter) + end for row in [header, *rows])


def write(folder, form):
    """The table in a form; what is opened."""
    file = folder / form
    match form:
        case "plain.csv":
            file.write_text(lines(","))
        case "german.csv":
            file.write_text(lines(";"))
        case "tabs.tsv" | "tabs.txt":
            file.write_text(lines("\t"))
        case "spreadsheet.csv":
            header = '"sequence" "time" "a" "b"'
            text = lines(",", "\r\n", header).replace("one", '"one"').replace("\r\ntwo", "\r\n\r\n,,,\r\n two ")
            file.write_text("\ufeff" + text, encoding="utf-8", newline="")
        case "typed.parquet":
            parquet.write_table(STEPS, file)
        case "typed.feather":
            feather.write_feather(STEPS, str(file), compression="zstd")
        case "typed.arrow":
            with pa.ipc.new_file(file, STEPS.schema) as sink:
                sink.write_table(STEPS, max_chunksize=3)
        case "stream.arrow":
            with pa.ipc.new_stream(file, STEPS.schema) as sink:
                sink.write_table(STEPS)
        case "memory":
            return STEPS
        case "frame":
            views = STEPS.set_column(0, "sequence", STEPS["sequence"].cast(pa.string_view()))
            return Frame(views.set_column(1, "time", STEPS["time"].cast(pa.string()).dictionary_encode()))
    return file


FORMS = [
    "plain.csv",
    "german.csv",
    "tabs.tsv",
    "tabs.txt",
    "spreadsheet.csv",
    "typed.parquet",
    "typed.feather",
    "typed.arrow",
    "stream.arrow",
    "memory",
    "frame",
]


@pytest.mark.parametrize("form", FORMS)
def test_one_table_in_every_form(tmp_path, monkeypatch, form):
    monkeypatch.setattr("homeostat.data._open_table._BLOCK_ROWS", 3)
    told = []
    source = write(tmp_path, form)
    rows = open_rows(source, TableColumns(drop=("sequence", "time")), message=told.append, cache=tmp_path)
    assert rows.columns == rows.select([1]).columns == ("a", "b") and rows.dtype == np.float64
    np.testing.assert_array_equal(rows.read(np.arange(4)), VALUES)
    assert ("parted by" in str(told)) == (form in ("german.csv", "tabs.tsv", "tabs.txt"))
    assert "4 rows; columns: a, b" in str(told) and "left out: sequence (--drop), time (--drop)" in str(told)
    found = open_sequences(source, cache=tmp_path)
    assert found.columns == ("a", "b") and found.labels == ("one", "two") and found.calendar is None
    for number in range(2):
        part, true = found.read(number), VALUES[2 * number : 2 * number + 2]
        seen = np.ones((2, 2), bool) if part.observed is None else part.observed
        np.testing.assert_array_equal(np.where(seen, part.values, np.nan), true)
        assert part.times.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("encoding", "said"),
    [("utf-16", "text is in UTF-16"), ("cp1252", "is read as Latin-1"), ("utf-8", "table: 3 rows")],
)
def test_text_in_other_encodings_than_utf_8(tmp_path, encoding, said):
    file, told = tmp_path / "data.csv", []
    file.write_bytes("größe;preis €\n1,5;2\n3;4\n5;7\n".encode(encoding))
    rows = open_rows(file, message=told.append, cache=tmp_path)
    assert rows.columns == ("größe", "preis €") and said in str(told)
    np.testing.assert_array_equal(rows.read(np.arange(3)), [[1.5, 2.0], [3.0, 4.0], [5.0, 7.0]])


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "data.csv").write_bytes(b"PK\x03\x04\xe9,1\n2,3\n")
    with pytest.raises(BadInputError, match="Expected a table of text in UTF-8"):
        open_rows(tmp_path / "data.csv", cache=tmp_path)


def test_a_large_table_is_read_in_blocks_and_small_ones_need_no_names(tmp_path, monkeypatch):
    monkeypatch.setattr("homeostat.data._text_table._BLOCK_BYTES", 400)
    monkeypatch.setattr("homeostat.data._text_table._BLOCK_CELL_BYTES", 1)
    table = np.random.default_rng(0).normal(size=(200, 2))
    np.savetxt(tmp_path / "blanks.txt", table, fmt="%.17g")
    rows = open_rows(tmp_path / "blanks.txt", cache=tmp_path)
    assert rows.columns == ()
    np.testing.assert_array_equal(rows.read(np.arange(200)), table)
    one = open_rows(tmp_path / "blanks.txt", TableColumns(drop=("1",)), cache=tmp_path)
    assert one.columns == ("2",)
    np.testing.assert_array_equal(one.read([5]), table[[5], 1:])
    (tmp_path / "bars.csv").write_text("a|b\n1|2,5\n")
    assert open_rows(tmp_path / "bars.csv", cache=tmp_path).read([0]).tolist() == [[1.0, 2.5]]


@pytest.mark.parametrize(
    "text", [",x\n0,5\n1,7\n2,6\n", "Unnamed: 0,x,\n0,5,\n1,7,\n2,6,\n", '"",x\n"1",5\n"2",7\n"3",6\n']
)
def test_a_column_that_numbers_the_rows_is_left_out(tmp_path, text):
    told = []
    (tmp_path / "data.csv").write_text(text)
    rows = open_rows(tmp_path / "data.csv", message=told.append, cache=tmp_path)
    assert rows.columns == ("x",) and rows.read([0, 1, 2]).tolist() == [[5], [7], [6]]
    assert "(it numbers the rows)" in told[-1] and told[-1].startswith("left out: ")
    frame = pa.table({"__index_level_0__": [0, 1, 2], "x": [5, 7, 6]})
    assert open_rows(frame).columns == ("x",)
    (tmp_path / "other.csv").write_text(text.replace("2,6", "4,6").replace('"3"', '"5"'))
    assert len(open_rows(tmp_path / "other.csv", cache=tmp_path).columns) == 2
    # One that the user names stays.
    asked = TableColumns(values=("Unnamed: 0",))
    assert "Unnamed" not in text or open_rows(tmp_path / "data.csv", asked, cache=tmp_path).read([2]).tolist() == [[2]]


def test_truth_values_and_categories(tmp_path):
    frame = pa.table({"on": [True, None, False], "x": ["TRUE", "false", "?"]})
    np.testing.assert_array_equal(open_rows(frame).read([0, 1, 2]), [[1, 1], [np.nan, 0], [0, np.nan]])
    texts = {"colour": ["red", "blue", "red", "-"], "wet": [True, False, None, True]}
    rows = open_rows(pa.table(texts))
    assert rows.categories == rows.select([0]).categories == (("blue", "red"), ("false", "true"))
    np.testing.assert_array_equal(rows.read([0, 1, 2, 3]), [[1, 1], [0, 0], [1, np.nan], [np.nan, 1]])
    known = (("colour", ("blue", "green", "red")),)
    again = open_rows(pa.table({"colour": ["red", "blue", "red"]}), TableColumns(categories=known))
    assert again.categories == (("blue", "green", "red"),) and again.read([0, 1]).tolist() == [[2], [0]]
    with pytest.raises(
        BadInputError, match=r"one of blue, green, red, .* row 1 \(from 0\), column colour .* got 'pink'"
    ):
        open_rows(pa.table({"colour": ["red", "pink", "red"]}), TableColumns(categories=known))
    # Digits are names where names are known.
    coded = TableColumns(categories=(("grade", ("1", "2", "none")),))
    assert open_rows(pa.table({"grade": [2, 1]}), coded).read([0, 1]).tolist() == [[1], [0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "id,x\nk1,1\nk2,2\nk3,3\n",
            r"line 2, column id .* got 'k1': with 3 values in 3 rows .* identifier; .*--label, --drop",
        ),
        ("id,x\n" + "".join(f"k{n % 101},{n}\n" for n in range(250)), "more than 100 values in 250 rows"),
        ("c,x\nu,1\nv,2\nu,3\n", r"all numbers or all categories .* got text in c beside .*--action-columns"),
        ("x\n1\n2\n\n?\n4 kg\n", r"line 6, column x of .* got '4 kg'"),
        ('x,y\n1,"2,5"\n', r"line 2, column y .* got '2,5': write decimal points"),
        ("x;y\n1,5;2\n2;2.5\n", "commas in column x and points in column y"),
        ("when,x\n2021-01-01,1\n2021-01-03,2\n", r"got dates in when: .*--task sequences"),
        ("a,b,a\n1,2,3\n", "got a more than once"),
        ('x,y\n1,2\n"3\n4",5\n1,2,3\n', r"2 columns in every line .* got 3 in line 5"),
    ],
)
def test_what_a_model_cannot_read_is_named_with_its_place(tmp_path, text, message):
    (tmp_path / "data.csv").write_text(text)
    with pytest.raises(BadInputError, match=message):
        open_rows(tmp_path / "data.csv", cache=tmp_path)


def test_columns_that_do_not_exist_and_objects_that_are_no_tables(tmp_path):
    with pytest.raises(
        BadInputError, match=r"columns wieght in the pyarrow table, but it has weight, age\. Did you mean weight"
    ):
        open_rows(pa.table({"weight": [1.0], "age": [2.0]}), TableColumns(drop=("wieght",)))
    with pytest.raises(BadInputError, match="none beside those that are left out"):
        open_rows(pa.table({"weight": [1.0]}), TableColumns(drop=("weight",)))
    with pytest.raises(BadInputError, match="no columns of sequences"):
        open_rows(pa.table({"weight": [1.0]}), TableColumns("weight"))
    with pytest.raises(BadInputError, match=r"pandas from 2\.2 on, polars, pyarrow\), got list"):
        open_rows([1.0])
    with pytest.raises(BadInputError, match=r"numbers, text, truth values or dates in .* got 'list<.*--label"):
        open_rows(pa.table({"weight": [[1.0]]}))
    (tmp_path / "bad.feather").write_bytes(b"nothing of the kind")
    with pytest.raises(BadInputError, match=r"bad\.feather cannot be read"):
        open_rows(tmp_path / "bad.feather", cache=tmp_path)


def test_types_of_arrow_are_numbers():
    import datetime
    from decimal import Decimal

    frame = pa.table(
        {
            "half": pa.array([1.5, None], pa.float16()),
            "money": [Decimal("2.25"), Decimal("-1")],
            "none": pa.nulls(2),
            "after": [datetime.timedelta(minutes=1), datetime.timedelta(milliseconds=5)],
            "count": pa.array([7, 8], pa.uint64()),
        }
    )
    expected = [[1.5, 2.25, np.nan, 60, 7], [np.nan, -1, np.nan, 0.005, 8]]
    np.testing.assert_array_equal(open_rows(frame).read([0, 1]), expected)


def test_parquet_tables(tmp_path, monkeypatch):
    monkeypatch.setattr("homeostat.data._open_table._BLOCK_ROWS", 3)
    moments = np.array(["2020-01-01", "2020-01-02", "2020-01-03T12"] * 2, "datetime64[us]")
    columns = {
        "animal": ["rat 2", "rat 2", "rat 2", "rat 1", "rat 1", "rat 1"],
        "when": moments,
        "x": pa.array([1, None, 3, 4, 5, 6], pa.int32()),
        "y": [0.5, 1.5, np.nan, 3.5, 4.5, 5.5],
        "lick": [True, False, True, False, True, None],
        "note": list("abcdef"),
    }
    parquet.write_table(pa.table(columns), tmp_path / "data.parquet")
    how = SequenceFormat(TableColumns("animal", "when", ("x", "y"), ("lick",)))
    found = open_sequences(tmp_path / "data.parquet", how, cache=tmp_path / "cache")
    assert found.labels == ("rat 2", "rat 1") and found.lengths.tolist() == [3, 3]
    part = found.read(0)
    assert part.values.tolist() == [[1, 0.5], [0, 1.5], [3, 0]]
    assert part.observed.tolist() == [[True, True], [False, True], [True, False]]
    assert np.diff(part.times).tolist() == [86400, 1.5 * 86400] and part.actions.tolist() == [[1], [0]]
    notes = SequenceFormat(TableColumns("animal", "when", ("note",)))
    with pytest.raises(BadInputError, match=r"row 0 .*, column note of .* got 'a': with 6 values in 6 rows"):
        open_sequences(tmp_path / "data.parquet", notes, cache=tmp_path / "cache")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "data.parquet").read_bytes()[:-9])
    with pytest.raises(BadInputError, match=r"cut\.parquet cannot be read"):
        open_sequences(tmp_path / "cut.parquet", how, cache=tmp_path / "cache")


def test_parquet_times_and_damaged_pages(tmp_path):
    when = pa.array(1_700_000_000_000_000_001 + np.arange(4) * 1_000_000_007, pa.timestamp("ns"))
    columns = {"sequence": ["a"] * 4, "time": when, "x": np.arange(4.0)}
    parquet.write_table(pa.table(columns), tmp_path / "fine.parquet")
    found = open_sequences(tmp_path / "fine.parquet", cache=tmp_path / "cache")
    np.testing.assert_allclose(np.diff(found.times(0)), 1.0, atol=1e-6)
    columns |= {"time": pa.array(np.arange(4) * 500_000, pa.time64("us"))}
    parquet.write_table(pa.table(columns), tmp_path / "day.parquet")
    found = open_sequences(tmp_path / "day.parquet", cache=tmp_path / "cache")
    np.testing.assert_allclose(found.times(0), [0.0, 0.5, 1.0, 1.5])
    columns |= {"time": np.arange(4000.0), "x": np.random.default_rng(0).normal(size=4000), "sequence": ["a"] * 4000}
    parquet.write_table(pa.table(columns), tmp_path / "page.parquet", compression="snappy")
    content = bytearray((tmp_path / "page.parquet").read_bytes())
    content[100:3000] = np.random.default_rng(0).bytes(2900)
    (tmp_path / "page.parquet").write_bytes(bytes(content))
    with pytest.raises(BadInputError, match=r"page\.parquet cannot be read"):
        open_sequences(tmp_path / "page.parquet", cache=tmp_path / "cache")
