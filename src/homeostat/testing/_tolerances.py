"""How close is close enough, for every law suite."""

from typing import NamedTuple


class Tolerances(NamedTuple):
    """Tolerances of the laws; the defaults suit single precision, in which most people run.

    Attributes:
        algebra: two routes to the same number, relative to max(1, |number|).
        optimality: a gradient that should vanish, relative to the scale of its terms.
        standard_errors: how many standard errors a Monte Carlo mean may lie from the truth.
        eager: a compiled and an eager evaluation of one function. None leaves out the eager one, which compiles each primitive for
            itself and takes most of the time; that values do not depend on tracing is checked all the same.
    """

    algebra: float = 1e-4
    optimality: float = 1e-3
    standard_errors: float = 5.0
    eager: float | None = 1e-4
