"""Baselines of sequences: independent steps, autoregression, repetition of the last step or of the last season.

A step is scored given the steps before it. The density of a step is that of its entries that were seen. Where what it depends on is
missing, or lies before the first step, an entry is scored by its marginal, the one of independent steps. A regression is learned
from the steps whose regressors are all known.
"""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from ...typing import Bool, Float
from ._choice import FEWEST_ROWS, FLOOR, Baseline, Candidate, LogDensities, choose, choose_scaled, most_rows
from ._gaussian import MOST_COLUMNS, Normals, Units, full_gaussian, normal_log_densities
from ._independent import (
    bernoulli_frequencies,
    bernoulli_log_densities,
    count_rates,
    dispersions,
    gaussian_level_frequencies,
    level_frequencies,
    level_log_densities,
    negative_binomial_log_densities,
    poisson_log_densities,
)
from ._steps import StepTable, step_parts

STEPS = "independent steps"
_MOST_STEPS = 10_000
_MOST_NUMBERS = 1 << 17
"""Steps and numbers that a regression is learned from: each of the many orders that are tried is one."""
_FEWEST_WHOLE = 10
"""Steps without a missing entry from which a covariance is learned."""
_MOST_LAGS = 20
_MOST_JOINT = 10
"""Columns up to which all are regressed on the past of all."""
_MOST_REGRESSIONS = 2_000
"""Lags times columns: with more than 100 columns fewer lags are tried."""
_MOST_PERIOD = 400
"""Beyond a year of days and two weeks of hours."""
_BLOCK = 512
_RIDGE = 1e-10
"""Penalty of a squared coefficient, in variances of a column: far below `FLOOR`^2, and of weight only where regressors depend on
one another."""


def real_sequence_baselines(table: StepTable, *, varies: Bool[np.ndarray, " m"] | None = None) -> tuple[Baseline, ...]:
    """Independent steps, autoregression of each column and (up to 10 columns) of all together, a random walk, a season.

    Independent steps have independent columns, or (up to 1,024 of them) a full Gaussian learned from steps that miss nothing.

        x_t ~ N(b + sum_{k=1}^p A_k x_{t-k} + C u_t, S)      u_t the known inputs; p from 1 to 20
        x_t ~ N(x_{t-s}, diag(sigma^2))                      s = 1 a random walk; s from 2 to 400 a season

    p and s are the best on training steps that were held out: the last sequences, or the ends of all where there are fewer than
    five. A is diagonal for the autoregression of each column. All work in standard deviations of the columns.

    Args:
        table: training steps; of many, the first 10,000, and 131,072 numbers.
        varies: columns that have a density; by default those whose values are not all the same.
    """
    table = table.first(max(FEWEST_ROWS, min(_MOST_STEPS, _MOST_NUMBERS // max(1, table.values.shape[1]))))
    units = Units.of(table.values, varies)
    size, longest = len(units.loc), table.longest
    lags = max(1, min(_MOST_LAGS, longest - 2, _MOST_REGRESSIONS // max(1, size)))
    orders = range(1, lags + 1)
    families = [
        [Candidate(STEPS, lambda table: _of_values(Normals.of(table.values)))],
        [Candidate(f"autoregression of each column, order {order}", partial(_own_past, order)) for order in orders],
        [Candidate("a random walk", partial(_repetition, 1))],
    ]
    if 2 <= size <= MOST_COLUMNS:
        families.append([Candidate(f"{STEPS}, a full Gaussian", _full)])
    if 2 <= size <= _MOST_JOINT:
        named = [(f"vector autoregression, order {order}", order) for order in orders]
        families.append([Candidate(name, partial(_joint_past, order)) for name, order in named])
    known = Units.of(table.inputs, None)

    def apply(given: StepTable) -> StepTable:
        return given._replace(values=units.apply(given.values), inputs=known.apply(given.inputs))

    scaled = apply(table)
    periods = range(2, min(_MOST_PERIOD, longest // 3) + 1)
    if periods:
        families.append([*_seasons(scaled, periods)])
    return choose_scaled(families, scaled, step_parts(scaled), apply, lambda table: units.nats(table.values))


def _of_values(density: Callable[[np.ndarray], np.ndarray]) -> LogDensities:
    return lambda table: density(table.values)


def _full(table: StepTable) -> LogDensities | None:
    whole = table.values[~np.isnan(table.values).any(axis=1)]
    return None if len(whole) < _FEWEST_WHOLE else _of_values(full_gaussian(whole))


def _entries(values: np.ndarray, predicted: Normals, marginal: Normals) -> np.ndarray:
    """Nats of each row, an entry by its marginal where no mean was predicted."""
    return np.nansum(np.where(np.isnan(predicted.loc), marginal.entries(values), predicted.entries(values)), axis=1)


def _repetition(period: int, table: StepTable) -> LogDensities | None:
    """Each value is the one a period earlier and a Gaussian step."""
    marginal, change = Normals.of(table.values), table.values - table.lagged(period)
    count = (~np.isnan(change)).sum(axis=0)
    if (count < 2).any():
        return None
    variance = np.maximum(np.nansum(change**2, axis=0) / count, FLOOR**2)
    return lambda given: _entries(given.values, Normals(given.lagged(period), variance), marginal)


def _seasons(table: StepTable, periods: range) -> Iterator[Candidate]:
    """Periods, those first after which the values have changed least."""

    def change(period: int) -> float:
        found = table.values - table.lagged(period)
        variance = np.nansum(found**2, axis=0) / np.maximum((~np.isnan(found)).sum(axis=0), 1)
        return float(np.log(variance + FLOOR**2).sum())

    steps = [change(period) for period in periods]
    for number in np.argsort(steps, kind="stable"):
        yield Candidate(f"a season of {periods[number]} steps", partial(_repetition, periods[number]))


def _regressors(table: StepTable, order: int) -> Float[np.ndarray, "m q steps"]:
    """For each column a constant, the known inputs, and its own past."""
    steps, size = table.values.shape
    shared = np.concatenate([np.ones((1, steps)), table.inputs.T])
    past = [table.lagged(lag).T[:, None, :] for lag in range(1, order + 1)]
    return np.concatenate([np.broadcast_to(shared, (size, *shared.shape)), *past], axis=1)


def _least_squares(
    x: Float[np.ndarray, "k q n"], y: Float[np.ndarray, "k r n"]
) -> tuple[Float[np.ndarray, "k r q"], Float[np.ndarray, "k r r"]] | None:
    """Coefficients and covariances of the residuals of k regressions, from columns that are known.

    None where one has fewer than two rows more than coefficients.
    """
    known = ~np.any(np.isnan(x), axis=1, keepdims=True) & ~np.any(np.isnan(y), axis=1, keepdims=True)
    num, size = known.sum(axis=(1, 2)), x.shape[1]
    if (num < size + 2).any():
        return None
    both = np.where(known, np.concatenate([x, y], axis=1), 0.0)
    # In blocks, because a product of long thin matrices gains nothing from several threads and waits for all of them.
    blocks = (both[:, :, start : start + _BLOCK] for start in range(0, both.shape[2], _BLOCK))
    moments = sum(block @ block.transpose(0, 2, 1) for block in blocks) / num[:, None, None]
    cross = moments[:, size:, :size]
    penalized = moments[:, :size, :size] + _RIDGE * np.eye(size)
    coefficients = np.linalg.solve(penalized, cross.transpose(0, 2, 1)).transpose(0, 2, 1)
    # E[(y - C x) (y - C x)^T] with C (E[x x^T] + r I) = E[y x^T].
    twice = coefficients @ cross.transpose(0, 2, 1)
    rest = moments[:, size:, size:] - twice - _RIDGE * coefficients @ coefficients.transpose(0, 2, 1)
    unbiased = (num / (num - size))[:, None, None]
    return coefficients, unbiased * rest + FLOOR**2 * np.eye(y.shape[1])


def _own_past(order: int, table: StepTable) -> LogDensities | None:
    """Regression of each column on its own past and the known inputs."""
    found = _least_squares(_regressors(table, order), table.values.T[:, None, :])
    if found is None:
        return None
    marginal, coefficients, variance = Normals.of(table.values), found[0], found[1][:, 0, 0]

    def density(given: StepTable) -> np.ndarray:
        predicted = (coefficients @ _regressors(given, order))[:, 0, :].T
        return _entries(given.values, Normals(predicted, variance), marginal)

    return density


def _joint_past(order: int, table: StepTable) -> LogDensities | None:
    """Regression of all columns on the past of all and the known inputs, with one covariance of what is left."""

    def past(given: StepTable) -> np.ndarray:
        lags = [given.lagged(lag).T for lag in range(1, order + 1)]
        return np.concatenate([np.ones((1, len(given.position))), given.inputs.T, *lags])

    found = _least_squares(past(table)[None], table.values.T[None])
    if found is None:
        return None
    marginal, coefficients, covariance = Normals.of(table.values), found[0][0], found[1][0]

    def density(given: StepTable) -> np.ndarray:
        predicted = (coefficients @ past(given)).T
        lost = np.isnan(predicted).any(axis=1)
        errors = np.where(lost[:, None], np.nan, given.values - predicted)
        return np.where(lost, marginal(given.values), normal_log_densities(errors, covariance))

    return density


def binary_sequence_baselines(table: StepTable) -> tuple[Baseline, ...]:
    """Independent zeros and ones, and a Markov chain of each column with the frequencies after a zero and after a one."""

    def independent(table: StepTable) -> LogDensities:
        return _of_values(partial(bernoulli_log_densities, frequencies=bernoulli_frequencies(table.values)))

    def chain(table: StepTable) -> LogDensities:
        last, overall = table.lagged(1), bernoulli_frequencies(table.values)
        after = [bernoulli_frequencies(np.where(last == value, table.values, np.nan)) for value in (0.0, 1.0)]

        def density(given: StepTable) -> np.ndarray:
            last = given.lagged(1)
            frequencies = np.where(np.isnan(last), overall, np.where(last > 0.5, after[1], after[0]))
            return bernoulli_log_densities(given.values, frequencies)

        return density

    return _chosen([Candidate(STEPS, independent), Candidate("a Markov chain of each column", chain)], table)


def rate_sequence_baselines(table: StepTable) -> tuple[Baseline, ...]:
    """Independent counts: Poisson, and negative binomial, which scatters more."""

    def poisson(table: StepTable) -> LogDensities:
        return _of_values(partial(poisson_log_densities, rates=count_rates(table.values)))

    def negative_binomial(table: StepTable) -> LogDensities:
        rates = count_rates(table.values)
        sizes = dispersions(table.values, rates)
        return _of_values(partial(negative_binomial_log_densities, rates=rates, sizes=sizes))

    found = [Candidate(f"{STEPS}, Poisson", poisson), Candidate(f"{STEPS}, negative binomial", negative_binomial)]
    return _chosen(found, table)


def level_sequence_baselines(table: StepTable, num_levels: int) -> tuple[Baseline, ...]:
    """Independent steps of whole numbers below `num_levels`, with a frequency for every number, or with a Gaussian's."""

    def fit(frequencies: Callable[[np.ndarray, int], np.ndarray], table: StepTable) -> LogDensities:
        return _of_values(partial(level_log_densities, frequencies=frequencies(table.values, num_levels)))

    gaussian = Candidate(f"{STEPS}, rounded Gaussians", partial(fit, gaussian_level_frequencies))
    return _chosen([Candidate(f"{STEPS}, frequencies", partial(fit, level_frequencies)), gaussian], table)


def symbol_sequence_baselines(table: StepTable, num_symbols: int) -> tuple[Baseline, ...]:
    """Independent steps of one symbol below `num_symbols`, and a Markov chain with the frequencies after each symbol.

    Pseudo-counts of both weigh as much as one step; after a symbol that was never followed all are equally frequent.
    """

    def independent(table: StepTable) -> LogDensities:
        return _of_values(partial(level_log_densities, frequencies=level_frequencies(table.values, num_symbols)))

    def chain(table: StepTable) -> LogDensities:
        last, overall = table.lagged(1), level_frequencies(table.values, num_symbols)
        after = [
            level_frequencies(np.where(last == symbol, table.values, np.nan), num_symbols)
            for symbol in range(num_symbols)
        ]
        nats = np.log(np.concatenate([*after, overall]))

        def density(given: StepTable) -> np.ndarray:
            now, last = given.values[:, 0], given.lagged(1)[:, 0]
            rows = np.where(np.isnan(last), num_symbols, last).astype(np.int64)
            return np.where(np.isnan(now), 0.0, nats[rows, np.where(np.isnan(now), 0, now).astype(np.int64)])

        return density

    return _chosen([Candidate(STEPS, independent), Candidate("a Markov chain", chain)], table)


def _chosen(candidates: list[Candidate], table: StepTable) -> tuple[Baseline, ...]:
    table = table.first(most_rows(table.values.shape[1]))
    return choose([[candidate] for candidate in candidates], table, step_parts(table))
