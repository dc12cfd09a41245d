"""What likelihoods demand: accepted where it holds, and the first violation named with its place."""

import numpy as np
import pytest

from homeostat.data import (
    ArrayRows,
    Categories,
    Counts,
    Finite,
    GreyValues,
    Interval,
    Nonempty,
    SparseRows,
    UnitInterval,
    check_rows,
    require_shape,
)
from homeostat.results import BadInputError

GOOD = np.zeros((20, 3, 2))
GOOD[:, 1] = 1

CASES = [
    (Finite(), np.nan, "finite numbers; got nan in row 17, column 2, 1"),
    (Finite(), -np.inf, "finite numbers; got -inf in row 17"),
    (UnitInterval(), 1.5, "from 0 to 1; got 1.5 in row 17.*divide by 255"),
    (UnitInterval(), np.nan, "from 0 to 1; got nan"),
    (Interval(-1.0, 2.0), 2.5, "from -1 to 2; got 2.5"),
    (Counts(), -1.0, "counts .* got -1"),
    (Counts(), 0.5, "counts .* got 0.5"),
    (Counts(), np.inf, "counts .* got inf"),
    (GreyValues(), 0.6, "pixels .whole numbers from 0 to 255.; got 0.6 in"),
    (Categories(2), 2.0, "from 0 to 1.; got 2 in"),
]


@pytest.mark.parametrize(("requirement", "value", "message"), CASES, ids=lambda case: str(case))
@pytest.mark.parametrize("chunk_bytes", [1, 400, 1 << 25])
def test_the_first_violation_is_named(requirement, value, message, chunk_bytes, monkeypatch):
    monkeypatch.setattr("homeostat.data._checks._CHUNK_BYTES", chunk_bytes)
    check_rows(ArrayRows(GOOD, "table.npy"), requirement)
    bad = GOOD.copy()
    bad[17, 2, 1] = bad[18, 0, 0] = value
    with pytest.raises(BadInputError, match=f"{message}.*") as caught:
        check_rows(ArrayRows(bad, "table.npy"), requirement)
    assert "row 17, column 2, 1 (both from 0) of table.npy" in str(caught.value)


def test_empty_rows_are_named():
    counts = np.ones((5, 4), int)
    check_rows(ArrayRows(counts), Counts(), Nonempty())
    counts[2] = 0
    with pytest.raises(BadInputError, match="row 2 .from 0. of words has none"):
        check_rows(ArrayRows(counts, "words"), Counts(), Nonempty())
    with pytest.raises(BadInputError, match="row 1 .from 0. of words has none"):
        check_rows(SparseRows(np.array([0, 1, 1]), np.array([0]), np.array([2]), 3, "words"), Nonempty())


def test_whole_numbers_and_booleans_are_checked_too():
    check_rows(ArrayRows(np.array([[True, False]])), Finite(), UnitInterval(), Counts())
    check_rows(ArrayRows(np.array([[0, 255]], np.uint8)), Finite(), Counts(), Interval(0.0, 255.0))
    with pytest.raises(BadInputError, match="got 255 in row 0, column 1"):
        check_rows(ArrayRows(np.array([[0, 255]], np.uint8)), UnitInterval())


def test_other_features_are_refused():
    rows = ArrayRows(np.zeros((2, 5)), "new.npy")
    require_shape(rows, (5,), of="the run")
    with pytest.raises(BadInputError, match=r"shape \(4,\), as the run was made for, got rows of shape \(5,\) in new"):
        require_shape(rows, (4,), of="the run")
