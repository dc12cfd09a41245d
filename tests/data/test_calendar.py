"""Dates on a calendar against the calendar itself, and steps that were left out."""

import calendar
from datetime import date, timedelta

import numpy as np
import pytest

from homeostat.data._calendar import Calendar, fill_gaps, find_calendar, parse_dates


def seconds(days):
    return np.array([(day - date(1970, 1, 1)).days * 86_400.0 for day in days])


def months(count, day=None, every=1, start=1959):
    for month in range(0, every * count, every):
        year, number = start + month // 12, month % 12 + 1
        yield date(year, number, day or calendar.monthrange(year, number)[1])


def found(days, unit="", clock=0.0):
    moments = seconds(days) + clock
    return find_calendar(moments, np.ones(len(moments) - 1, bool), unit)


MONDAY = date(2021, 1, 4)
WORKDAYS = [day for day in (MONDAY + timedelta(n) for n in range(28)) if day.weekday() < 5]
DATES = {
    "years": list(months(5, 15, every=12)),
    "quarters": list(months(6, every=3)),
    "months": list(months(30, 1)),
    "weeks": [MONDAY + timedelta(7 * n) for n in range(9)],
    "business days": WORKDAYS,
    "days": [MONDAY + timedelta(n) for n in range(12)],
}


@pytest.mark.parametrize("unit", DATES)
@pytest.mark.parametrize("clock", [0.0, 5_400.0])
def test_the_frequency_of_dates(unit, clock):
    days = DATES[unit]
    calendar_found, counts = found(days, clock=clock)
    assert calendar_found.unit == unit and calendar_found.first.startswith(days[0].isoformat())
    np.testing.assert_array_equal(counts, np.arange(len(days)))
    # A holiday leaves a gap and no other unit.
    again, fewer = found([*days[:2], *days[3:]], clock=clock)
    assert again.unit == unit and fewer.tolist() == [0, 1, *range(3, len(days))]
    expected = seconds(days) + clock
    np.testing.assert_array_equal(calendar_found.dates(counts).astype(np.int64) / 1e6, expected)


def test_ends_of_months_are_months_and_what_has_no_frequency_counts_seconds():
    days = list(months(14, start=2020))
    calendar_found, counts = found(days)
    assert calendar_found == Calendar("months", "2020-01-31T00:00:00.000000", True)
    np.testing.assert_array_equal(counts, np.arange(14))
    assert calendar_found.dates(np.array([1, 13])).astype("M8[D]").astype(str).tolist() == ["2020-02-29", "2021-02-28"]
    assert calendar_found.first_date == "2020-01"
    visits = [MONDAY + timedelta(n) for n in (0, 1, 40, 123)]
    none, same = found(visits)
    assert none.unit == "seconds"
    np.testing.assert_array_equal(same, seconds(visits))
    np.testing.assert_array_equal(none.dates(same).astype("M8[D]").astype(object), visits)
    # Every second month is even in months.
    assert found(list(months(9, 1, every=2)))[1].tolist() == list(range(0, 18, 2))


def test_a_calendar_that_is_wanted():
    assert found([MONDAY, MONDAY + timedelta(31)], "days")[1].tolist() == [0, 31]
    assert found(WORKDAYS[:3], "business days")[0].unit == "business days"
    assert found(DATES["months"], "seconds")[0].unit == "seconds"
    with pytest.raises(ValueError, match="dates that are months apart"):
        found(DATES["weeks"], "months")


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("2021-03-31", "2021-03-31"),
        ("2021-03", "2021-03-01"),
        ("2021/3/1", "2021-03-01"),
        ("31.03.2021", "2021-03-31"),
        ("1.3.2021 09:30", "2021-03-01T09:30"),
        ("2021Q3", "2021-07-01"),
        ("2021-03-31T12:00:00.25+02:00", "2021-03-31T10:00:00.25"),
        ("2021-03-31 12:00", "2021-03-31T12:00"),
        ("2021-03-31T12:00:00Z", "2021-03-31T12:00"),
        ("31.02.2021", "NaT"),
        ("2021-13", "NaT"),
        ("03/31/2021", "2021-03-31"),
        ("3/4/2021 09:30", "2021-03-04T09:30"),
        ("31/03/2021", "NaT"),
        ("20210331", "2021-03-31"),
        ("20211331", "NaT"),
        ("soon", "NaT"),
        (None, "NaT"),
    ],
)
def test_how_dates_are_written(text, iso):
    np.testing.assert_array_equal(parse_dates([text, text]), np.array([iso, iso], "datetime64[us]"))


def test_the_day_may_stand_first():
    found = parse_dates(["31/03/2021", "3/4/2021", "03/31/2021", "2021/03/04"], day_first=True)
    np.testing.assert_array_equal(found, np.array(["2021-03-31", "2021-04-03", "NaT", "2021-03-04"], "datetime64[us]"))


def test_steps_that_were_left_out():
    times = np.array([0.0, 0.1, 0.3, 0.4, 5.0, 5.1, 5.2, 5.4])
    grid = fill_gaps(times, np.array([4, 4]), False)
    assert grid is not None and grid.lengths.tolist() == [5, 5]
    assert grid.rows.tolist() == [0, 1, -1, 2, 3, 4, 5, 6, -1, 7]
    np.testing.assert_allclose(grid.times, [0, 0.1, 0.2, 0.3, 0.4, 5.0, 5.1, 5.2, 5.3, 5.4], atol=1e-12)
    # Milliseconds of a clock of 30 Hz are rounded, and their errors do not add up.
    clock = np.round(1000 * np.arange(900) / 30)
    seen = np.delete(clock, [100, 101, 500])
    grid = fill_gaps(seen, np.array([897]), False)
    assert grid is not None and np.flatnonzero(grid.rows < 0).tolist() == [100, 101, 500]
    assert np.abs(grid.times - clock).max() < 1.0
    # Counted times lie on the grid of their greatest common divisor.
    grid = fill_gaps(np.array([0.0, 2.0, 6.0, 8.0]), np.array([4]), True)
    assert grid is not None and grid.times.tolist() == [0, 2, 4, 6, 8]


@pytest.mark.parametrize(
    ("times", "lengths"),
    [
        ([0.0, 1, 2, 3], [4]),  # Nothing is missing.
        ([0.0, 1, 5, 9, 10], [5]),  # More is missing than there.
        ([0.0, 1, 2.5, 3.5, 4.5], [5]),  # No grid.
        ([0.0, 0.5, 1.5, 2.5, 3.5], [5]),  # The smallest step is not the usual one.
        ([0.0, 1, 0, 1], [2, 2]),
        ([0.0, 1, 1, 3], [4]),
        ([0.0], [1]),
        ([0.0, 1e18], [2]),
    ],
)
def test_uneven_times_stay(times, lengths):
    assert fill_gaps(np.array(times), np.array(lengths), False) is None
