"""A model of rows beside its baselines."""

from typing import Any

import numpy as np

from ...data import GREY_LEVELS, AbstractRows
from ...metrics import (
    Baseline,
    binary_row_baselines,
    chosen_rows,
    count_row_baselines,
    level_row_baselines,
    rate_row_baselines,
    ratio_with_error,
    real_row_baselines,
)
from .._baselines import baseline_numbers, finite
from ._describe import RowsDescription


def compare_rows(
    description: RowsDescription, train: AbstractRows, rows: AbstractRows, model_nats: np.ndarray, *, estimate: str
) -> dict[str, Any]:
    """The gain of the model over the best baseline, with its error over rows, and all baselines.

    Args:
        model_nats: log density of each of the rows under the model, in the unit of the data.
        estimate: what it is, in words.
    """
    baselines = _learned(description, _values(description, train.read(chosen_rows(len(train), description.size))))
    values = _values(description, rows.read(np.arange(len(rows))))
    nats = [baseline.log_densities(values) for baseline in baselines]
    gain = ratio_with_error(finite(model_nats) - nats[0], np.ones(len(rows)))
    return baseline_numbers(baselines, [float(each.mean()) for each in nats], gain, per="row", estimate=estimate)


def _values(description: RowsDescription, stored: np.ndarray) -> np.ndarray:
    """Rows of which a model gives the likelihood, in the unit of the data; fractions as fractions."""
    flat = stored.reshape(len(stored), -1)
    if description.likelihood == "gaussian":
        return description.scaling.keep(flat)
    return flat / description.scaling.divisor if description.likelihood == "bernoulli" else flat


def _learned(description: RowsDescription, train: np.ndarray) -> tuple[Baseline, ...]:
    match description.likelihood:
        case "gaussian":
            return real_row_baselines(train.astype(np.float64))
        case "bernoulli":
            return binary_row_baselines(train)
        case "multinomial":
            return count_row_baselines(train)
        case "poisson" | "negative-binomial":
            return rate_row_baselines(train)
        case _:
            return level_row_baselines(train, description.num_classes or GREY_LEVELS)
