"""Dates and times of a table: how they are written, the calendar on which they lie, and steps that were left out."""

import re
from collections.abc import Callable, Sequence as Listed
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

_STRAY = 0.05
"""Share of a step by which times may stray from an even grid."""

_MICROSECONDS = 1_000_000
_MONTH = re.compile(r"(\d{4})-(\d{1,2})")
_QUARTER = re.compile(r"(\d{4})-?Q([1-4])")
_YEAR_FIRST = re.compile(r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})(.*)")
_DAY_FIRST = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})(.*)")
_SLASHES = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})(.*)")


def parse_dates(cells: Listed[str | None], *, day_first: bool = False) -> np.ndarray:
    """Dates and times as `datetime64[us]` in UTC; NaT is missing or no date.

    Read are ISO 8601 (also `YYYYMMDD`), `YYYY-MM`, `YYYYQ1`, `YYYY/MM/DD`, `DD.MM.YYYY` and `MM/DD/YYYY`, the last three also with
    a time of day.

    Args:
        day_first: whether `DD/MM/YYYY` is read in place of `MM/DD/YYYY`.
    """
    known = {cell: _moment(cell, day_first) for cell in {*cells}}
    return np.array([known[cell] for cell in cells], "datetime64[us]")


def _moment(cell: str | None, day_first: bool) -> np.datetime64:
    text = cell or ""
    if found := _MONTH.fullmatch(text):
        text = f"{found[1]}-{found[2]:0>2}-01"
    elif found := _QUARTER.fullmatch(text):
        text = f"{found[1]}-{3 * int(found[2]) - 2:02}-01"
    elif found := _YEAR_FIRST.fullmatch(text):
        text = f"{found[1]}-{found[2]:0>2}-{found[3]:0>2}{found[4]}"
    elif found := _DAY_FIRST.fullmatch(text):
        text = f"{found[3]}-{found[2]:0>2}-{found[1]:0>2}{found[4]}"
    elif found := _SLASHES.fullmatch(text):
        month, day = (found[2], found[1]) if day_first else (found[1], found[2])
        text = f"{found[3]}-{month:0>2}-{day:0>2}{found[4]}"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return np.datetime64("NaT")
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment, "us")


class Calendar(NamedTuple):
    """The unit in which times count dates; plain, so that a run can keep it.

    Attributes:
        unit: `years`, `quarters`, `months`, `weeks`, `business days`, `days`, or `seconds`.
        first: date of the time 0, ISO 8601.
        month_ends: whether years, quarters and months are dated by their last day.
    """

    unit: str
    first: str
    month_ends: bool = False

    @property
    def first_date(self) -> str:
        """The date of the time 0 as far as the unit tells it."""
        parts = {"years": 4, "quarters": 7, "months": 7}
        return self.first[: parts.get(self.unit, 10)]

    def dates(self, times: np.ndarray) -> np.ndarray:
        """Dates of times, `datetime64[us]`; parts of a month, a quarter or a year are left out."""
        begin, counts = np.datetime64(self.first, "us"), np.asarray(times)
        if self.unit == "seconds":
            return begin + np.round(counts * _MICROSECONDS).astype(np.int64)
        whole = np.floor(counts).astype(np.int64)
        day = begin.astype("M8[D]")
        if self.unit == "business days":
            return np.busday_offset(day, whole).astype("M8[us]") + (begin - day)
        if self.unit in _DAYS:
            return begin + (counts * _DAYS[self.unit] * 86_400 * _MICROSECONDS).astype(np.int64)
        months = day.astype("M8[M]") + whole * _MONTHS[self.unit]
        if self.month_ends:
            return (months + 1).astype("M8[us]") - np.timedelta64(1, "D") + (begin - day)
        return months.astype("M8[us]") + (begin - day.astype("M8[M]"))


_MONTHS = {"years": 12, "quarters": 3, "months": 1}
_DAYS = {"weeks": 7, "days": 1}
_EPOCH = "1970-01-01T00:00:00"


def find_calendar(seconds: np.ndarray, inside: np.ndarray, unit: str = "") -> tuple[Calendar, np.ndarray]:
    """The coarsest calendar on which all dates lie, filling at least half of it, and the dates as counts of its unit.

    Args:
        seconds: since 1970, those of one sequence after those of another.
        inside: for every two neighbours, whether they belong to one sequence.
        unit: the one that is wanted; found if empty.

    Returns:
        The unit seconds and the dates as they are where no other fits.

    Raises:
        ValueError: dates that do not lie on the calendar that is wanted.
    """
    moments = np.round(seconds * _MICROSECONDS).astype(np.int64).astype("M8[us]")
    days = moments.astype("M8[D]")
    # Dates at midnight, or all at one time of the day.
    if unit != "seconds" and np.all(moments - days == moments[0] - days[0]):
        order = np.argsort(days, kind="stable")
        first = str(moments[order[0]])
        for name, count in _UNITS.items():
            counts = count(days) if unit in ("", name) else None
            if counts is None:
                continue
            counts = counts - counts[order[0]]
            steps = np.diff(counts)[inside]
            if name == "business days" and not unit and np.array_equal(steps, np.diff(days.astype(np.int64))[inside]):
                continue  # No weekend lies between.
            if unit or (np.all(steps > 0) and _half_full(steps, seconds.size)):
                ends = name in _MONTHS and _are_month_ends(days)
                return Calendar(name, first, ends), counts.astype(np.float64)
    if unit not in ("", "seconds"):
        raise ValueError(f"dates that are {unit} apart")
    return Calendar("seconds", _EPOCH), seconds


def _half_full(steps: np.ndarray, present: int) -> bool:
    """Whether no more steps were left out than are there."""
    return steps.size > 0 and int(steps.sum() // np.gcd.reduce(steps)) + present - steps.size <= 2 * present


def _are_month_ends(days: np.ndarray) -> bool:
    return bool(np.all((days + 1).astype("M8[M]") > days.astype("M8[M]")))


def _months(days: np.ndarray, every: int) -> np.ndarray | None:
    months = days.astype("M8[M]")
    numbers = days - months.astype("M8[D]")
    counts = months.astype(np.int64)
    same = np.all(numbers == numbers[0]) or _are_month_ends(days)
    return counts // every if same and np.all((counts - counts[0]) % every == 0) else None


def _weeks(days: np.ndarray) -> np.ndarray | None:
    counts = days.astype(np.int64)
    return counts // 7 if np.all((counts - counts[0]) % 7 == 0) else None


def _business_days(days: np.ndarray) -> np.ndarray | None:
    return np.busday_count("1970-01-01", days) if np.all(np.is_busday(days)) else None


_UNITS: dict[str, Callable[[np.ndarray], np.ndarray | None]] = {
    "years": lambda days: _months(days, 12),
    "quarters": lambda days: _months(days, 3),
    "months": lambda days: _months(days, 1),
    "weeks": _weeks,
    "business days": _business_days,
    "days": lambda days: days.astype(np.int64),
}


class EvenGrid(NamedTuple):
    """Sequences on an even grid, with the steps that had been left out.

    Attributes:
        rows: number of the row of each step, -1 for one that had been left out.
        times: of each step.
        lengths: of the sequences.
    """

    rows: np.ndarray
    times: np.ndarray
    lengths: np.ndarray


def fill_gaps(times: np.ndarray, lengths: np.ndarray, counted: bool) -> EvenGrid | None:
    """Put sequences on an even grid; `None` where nothing was left out, they lie on none, or more steps are missing than there.

    Args:
        times: of sequences one after the other.
        lengths: of the sequences.
        counted: whether times count the unit of a calendar, so that the step is their greatest common divisor; otherwise it is
            the usual one among the smallest.
    """
    firsts = np.cumsum(lengths) - lengths
    inside = np.ones(max(times.size - 1, 0), bool)
    inside[firsts[1:] - 1] = False
    gaps = np.diff(times)[inside]
    if not gaps.size or not np.isfinite(gaps).all() or gaps.min() <= 0:
        return None
    step = float(np.gcd.reduce(gaps.astype(np.int64))) if counted else float(np.median(gaps[gaps < 1.5 * gaps.min()]))
    if times.size + gaps.sum() / step - gaps.size > 2 * times.size + 1:
        return None
    jumps = np.zeros(times.size, np.int64)
    jumps[1:][inside] = np.round(gaps / step).astype(np.int64)
    multiples = jumps[1:][inside]
    if multiples.max() == 1 or (not counted and np.bincount(multiples).argmax() != 1):
        return None
    passed = np.cumsum(jumps)
    places = passed - np.repeat(passed[firsts], lengths)
    ends = firsts + lengths - 1
    sizes = places[ends] + 1
    # A clock that ticks evenly from the first to the last step of a sequence, so that rounded times do not add up.
    own = (times[ends] - times[firsts]) / np.maximum(sizes - 1, 1)
    clock = np.repeat(times[firsts], lengths) + places * np.repeat(own, lengths)
    uneven = np.abs(times - clock).max() > _STRAY * step or np.any((np.abs(own - step) > _STRAY * step) & (sizes > 1))
    if uneven or sizes.sum() > 2 * times.size:
        return None
    starts = np.cumsum(sizes) - sizes
    rows = np.full(sizes.sum(), -1, np.int64)
    rows[np.repeat(starts, lengths) + places] = np.arange(times.size)
    ticks = np.arange(rows.size) - np.repeat(starts, sizes)
    even = np.repeat(times[firsts], sizes) + ticks * np.repeat(own, sizes)
    return EvenGrid(rows, np.where(rows < 0, even, times[rows]), sizes)
