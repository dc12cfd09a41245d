"""Baselines of rows: independent columns, a full Gaussian, factor analysis; frequencies where rows hold whole numbers."""

from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ...inference import fit_factor_analysis, fit_incomplete_factor_analysis
from ...typing import Array, Bool, Float
from ._choice import (
    FEWEST_ROWS,
    FLOOR,
    Baseline,
    Candidate,
    LogDensities,
    choose,
    choose_scaled,
    chosen_rows,
    row_parts,
)
from ._gaussian import (
    MOST_COLUMNS,
    MOST_INCOMPLETE_COLUMNS,
    Normals,
    Units,
    full_gaussian,
    incomplete_gaussian,
    normal_log_densities,
)
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
    word_frequencies,
)

COLUMNS = "independent columns"
_MOST_FACTORED = 128
"""Columns up to which there is factor analysis, whose expectation maximisation takes many steps."""
_MOST_FACTORS = 16
_MOST_MOMENTS = 1 << 24
"""Rows times columns times squared number of factors, for which a step of expectation maximisation takes a tenth of a second."""
_STEPS = 50


def real_row_baselines(
    rows: Float[np.ndarray, "n m"], *, varies: Bool[np.ndarray, " m"] | None = None
) -> tuple[Baseline, ...]:
    """Independent Gaussian columns, a full Gaussian with a shrunk covariance (up to 1,024 columns), factor analysis (up to 128).

    Where entries are missing, they are integrated out, and expectation maximisation gives the full Gaussian (up to 32 columns)
    and the factors from as many rows as take seconds. All work in standard deviations of the columns, so another unit of a
    column changes no difference between two densities. The number of factors, 1, 2, 4, 8 or 16, is chosen by training rows that
    were held out.

    Args:
        rows: training rows in 64 bits, NaN where missing; of many a part is drawn (`chosen_rows`).
        varies: columns that have a density; the others are left out. By default those whose values are not all the same.

    Returns:
        The best on held-out training rows first. Densities are in the unit of the data.
    """
    rows = rows[chosen_rows(len(rows), rows.shape[1])]
    units = Units.of(rows, varies)
    scaled, size = units.apply(rows), len(units.loc)
    families = [[Candidate(COLUMNS, Normals.of)]]
    complete = not np.isnan(scaled).any()
    if 1 < size <= (MOST_COLUMNS if complete else MOST_INCOMPLETE_COLUMNS):
        shrunk = (
            [full_gaussian] if complete else [partial(incomplete_gaussian, weight) for weight in (1.0, float(size))]
        )
        families.append([Candidate("a full Gaussian", fit) for fit in shrunk])
    if 2 < size <= _MOST_FACTORED:
        dim = _num_factors(scaled)
        words = f"factor analysis with {dim} factor{'s' if dim > 1 else ''}"
        fit = partial(_factor_analysis, dim) if complete else partial(_incomplete_factors, dim, len(scaled))
        families.append([Candidate(words, fit)])

    def scale(values: np.ndarray) -> np.ndarray:
        return units.apply(np.asarray(values, np.float64))

    return choose_scaled(families, scaled, row_parts(scaled), scale, units.nats)


def _num_factors(rows: Float[np.ndarray, "n m"]) -> int:
    """1, 2, 4, ..., whichever explains held-out rows best as the number of principal components beside equal noises.

    These have a closed form (`fit_probabilistic_pca`), so that one number is left for expectation maximisation. It is that of rows
    with means in place of what is missing.
    """
    parts, size = row_parts(rows), rows.shape[1]
    if parts is None:
        return 1
    learned = np.nan_to_num(parts.learned)
    mean = learned.mean(axis=0)
    values, directions = np.linalg.eigh(np.cov(learned.T, bias=True))

    def score(dim: int) -> float:
        noise = max(float(values[:-dim].mean()), FLOOR**2)
        loadings = directions[:, -dim:] * np.sqrt(np.maximum(values[-dim:] - noise, 0.0))
        covariance = loadings @ loadings.T + noise * np.eye(size)
        return parts.score(normal_log_densities(parts.held_out - mean, covariance))

    dims = [1 << power for power in range(_MOST_FACTORS.bit_length()) if 1 << power <= (size - 1) / 2]
    return max(dims, key=score)


@eqx.filter_jit
def _covariance(rows: Float[Array, "n m"], dim: int) -> Float[Array, "m m"]:
    return fit_factor_analysis(rows, dim, num_steps=_STEPS, minimum_scale=FLOOR, throw=False).model.covariance()


def _factor_analysis(dim: int, rows: Float[np.ndarray, "n m"]) -> LogDensities | None:
    """A Gaussian with a covariance of so many factors, from the moments alone, so that one program serves any number of rows."""
    mean = rows.mean(axis=0)
    values, directions = np.linalg.eigh(np.cov(rows.T, bias=True))
    root = np.sqrt(np.maximum(values, 0.0) * len(mean))[:, None] * directions.T
    equivalent = jnp.asarray(np.concatenate([root, -root]), jnp.result_type(float))
    return _normal(mean, _covariance(equivalent, dim))


def _incomplete_factors(dim: int, num_rows: int, rows: Float[np.ndarray, "n m"]) -> LogDensities | None:
    """The same from rows with missing entries, of at most `num_rows`, to which they are padded for the sake of one program."""
    size = rows.shape[1]
    most = max(FEWEST_ROWS, min(num_rows, _MOST_MOMENTS // (size * (dim + 1) ** 2)))
    some = rows[:most]
    # A row of which nothing is known says nothing.
    padded = jnp.asarray(np.pad(some, ((0, most - len(some)), (0, 0)), constant_values=np.nan), jnp.result_type(float))
    how: dict[str, Any] = {"num_steps": _STEPS, "minimum_scale": FLOOR, "throw": False}
    found = fit_incomplete_factor_analysis(padded, ~jnp.isnan(padded), dim, **how).model
    return _normal(np.asarray(found.offset, np.float64), found.covariance())


def _normal(mean: Float[np.ndarray, " m"], covariance: Array) -> LogDensities | None:
    """None where expectation maximisation ended in something that is not finite."""
    found = np.asarray(covariance, np.float64)
    return (lambda values: normal_log_densities(values - mean, found)) if np.isfinite(found).all() else None


def binary_row_baselines(rows: Float[np.ndarray, "n m"]) -> tuple[Baseline, ...]:
    """Independent columns of zeros and ones; a fraction counts as the expectation over draws of them."""

    def fit(rows: np.ndarray) -> LogDensities:
        return partial(bernoulli_log_densities, frequencies=bernoulli_frequencies(rows))

    return _chosen([Candidate(COLUMNS, fit)], rows)


def level_row_baselines(rows: np.ndarray, num_levels: int) -> tuple[Baseline, ...]:
    """Independent columns of whole numbers below `num_levels`, each with a frequency for every number, or with a Gaussian's.

    The second suits grey values, most of which few rows never show.
    """

    def fit(frequencies: Callable[[np.ndarray, int], np.ndarray], rows: np.ndarray) -> LogDensities:
        return partial(level_log_densities, frequencies=frequencies(rows, num_levels))

    gaussian = Candidate(f"{COLUMNS}, rounded Gaussians", partial(fit, gaussian_level_frequencies))
    return _chosen([Candidate(f"{COLUMNS}, frequencies", partial(fit, level_frequencies)), gaussian], rows)


def rate_row_baselines(rows: np.ndarray) -> tuple[Baseline, ...]:
    """Independent counts: Poisson, and negative binomial, which scatters more."""

    def poisson(rows: np.ndarray) -> LogDensities:
        return partial(poisson_log_densities, rates=count_rates(rows))

    def negative_binomial(rows: np.ndarray) -> LogDensities:
        rates = count_rates(rows)
        return partial(negative_binomial_log_densities, rates=rates, sizes=dispersions(rows, rates))

    found = [Candidate(f"{COLUMNS}, Poisson", poisson), Candidate(f"{COLUMNS}, negative binomial", negative_binomial)]
    return _chosen(found, rows.astype(np.float64))


def count_row_baselines(rows: np.ndarray) -> tuple[Baseline, ...]:
    """The same frequencies of words in every row; as for the models, the number of orders of the words is left out."""

    def fit(rows: np.ndarray) -> LogDensities:
        logits = np.log(word_frequencies(rows))
        return lambda values: values @ logits

    return _chosen([Candidate("the same frequencies in every row", fit)], rows)


def _chosen(candidates: list[Candidate], rows: np.ndarray) -> tuple[Baseline, ...]:
    rows = rows[chosen_rows(len(rows), rows.shape[1])]
    return choose([[candidate] for candidate in candidates], rows, row_parts(rows))
