"""Baselines, chosen among candidates by training data that were held out."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...typing import Float, Int

MOST_ROWS = 20_000
"""Training rows or steps that a baseline is learned from; of more, so many are taken."""
MOST_NUMBERS = 1 << 22
"""Numbers in them: of rows with more than 209 entries fewer rows are taken."""
HELD_OUT = 0.2
"""Share of these rows or steps that chooses a baseline and its order, before all of them are used to learn it again."""
FEWEST_ROWS = 10
"""With fewer rows or steps nothing is held out, and only the first baseline, the simplest one, is learned."""
FLOOR = 1e-3
"""Least deviation of a Gaussian, in standard deviations of the column: numbers explained without error have no density."""
_PATIENCE = 3
"""Candidates of a family in a row that are no better than the best so far, after which the others are not tried."""

LogDensities = Callable[[Any], np.ndarray]
"""Nats of each row of an array, or of each step of a `StepTable`."""


class Candidate(NamedTuple):
    """A name, and how it is learned; `fit` gives None where the data are too few for it."""

    name: str
    fit: Callable[[Any], LogDensities | None]


class Baseline(NamedTuple):
    """A simple model of the data.

    Attributes:
        name: in words.
        log_densities: nats of each row (of each step of a `StepTable`) in the unit of the data.
        held_out_nats: mean over training rows (steps) that were held out while it was learned from the others; NaN where
            they were too few.
    """

    name: str
    log_densities: LogDensities
    held_out_nats: float


class HeldOutParts(NamedTuple):
    """Training data taken apart; `score` averages the nats of what is held out."""

    learned: Any
    held_out: Any
    score: Callable[[np.ndarray], float]


def choose(
    families: Sequence[Iterable[Candidate]], everything: Any, parts: HeldOutParts | None
) -> tuple[Baseline, ...]:
    """The best candidate of each family by what was held out, learned again from everything; the best family first."""
    if parts is None:
        name, fit = next(iter(families[0]))
        density = fit(everything)
        return () if density is None else (Baseline(name, density, float("nan")),)
    found = []
    for family in families:
        best, highest, since = None, -np.inf, 0
        for candidate in family:
            density = candidate.fit(parts.learned)
            nats = -np.inf if density is None else parts.score(density(parts.held_out))
            best, highest, since = (candidate, nats, 0) if nats > highest else (best, highest, since + 1)
            if since == _PATIENCE:
                break
        density = None if best is None else best.fit(everything)
        if best is not None and density is not None:
            found.append(Baseline(best.name, density, highest))
    return tuple(sorted(found, key=lambda baseline: -baseline.held_out_nats))


def choose_scaled(
    families: Sequence[Iterable[Candidate]],
    scaled: Any,
    parts: HeldOutParts | None,
    scale: Callable[[Any], Any],
    log_unit_nats: Callable[[Any], np.ndarray],
) -> tuple[Baseline, ...]:
    """`choose` from data in another unit, with densities in the unit of the data.

    Args:
        scaled: training data in the other unit.
        scale: from the unit of the data to that of `scaled`.
        log_unit_nats: log |dx / dx'| of each row (step) of what `scale` gave.
    """

    def moved(density: LogDensities) -> LogDensities:
        def nats(given: Any) -> np.ndarray:
            found = scale(given)
            return density(found) - log_unit_nats(found)

        return nats

    offset = 0.0 if parts is None else parts.score(log_unit_nats(parts.held_out))
    return tuple(
        Baseline(name, moved(density), nats - offset) for name, density, nats in choose(families, scaled, parts)
    )


def most_rows(size: int) -> int:
    """How many training rows or steps of `size` numbers baselines are learned from."""
    return max(FEWEST_ROWS, min(MOST_ROWS, MOST_NUMBERS // max(1, size)))


def chosen_rows(num_rows: int, size: int) -> Int[np.ndarray, " chosen"]:
    """Numbers of the rows of `size` numbers that baselines are learned from, rising: all, or `most_rows` that are drawn."""
    most = most_rows(size)
    return np.arange(num_rows) if num_rows <= most else np.sort(_order(num_rows)[:most])


def row_parts(rows: Float[np.ndarray, "n m"]) -> HeldOutParts | None:
    """Rows drawn to be held out, always the same ones of so many; None where there are too few."""
    if len(rows) < FEWEST_ROWS:
        return None
    order, cut = _order(len(rows)), round(HELD_OUT * len(rows))
    return HeldOutParts(rows[order[cut:]], rows[order[:cut]], lambda nats: float(nats.mean()))


def _order(num_rows: int) -> np.ndarray:
    return np.random.default_rng(0).permutation(num_rows)
