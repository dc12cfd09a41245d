"""Linear-Gaussian models of rows at the maximum of their likelihood."""

import jax
import numpy as np

from ...data import AbstractRows
from ...inference import (
    fit_factor_analysis,
    fit_incomplete_factor_analysis,
    fit_incomplete_probabilistic_pca,
    fit_probabilistic_pca,
)
from ...models.static import AbstractLinearFactors
from ._describe import RowsDescription


def most_likely(
    name: str, description: RowsDescription, train: AbstractRows, dim: int, num_steps: int
) -> tuple[AbstractLinearFactors, np.ndarray]:
    """Fit a model by its name in 64 bits: from the mean and covariance of the rows, or from all rows where numbers are missing.

    Returns:
        The model, in the unit of the description, and -log p of a row before each step of expectation maximisation and after the
        last, in nats of the data; none where there is a formula.
    """
    principal, unit_nats = name == "probabilistic-pca", description.log_unit_nats
    with jax.enable_x64(True):
        if description.num_missing:
            rows = np.concatenate([description.exactly(chunk) for chunk in train.chunks(4096)])
            known = ~np.isnan(rows)
            unit_nats = float(known.mean(axis=0) @ np.log(description.scaling.unit))
            fit = fit_incomplete_probabilistic_pca if principal else fit_incomplete_factor_analysis
            found = fit(rows, known, dim, num_steps=num_steps)
        elif principal:
            return fit_probabilistic_pca(_equivalent_rows(train, description), dim), np.zeros(0)
        else:
            found = fit_factor_analysis(_equivalent_rows(train, description), dim, num_steps=num_steps)
        return found.model, unit_nats - np.asarray(found.log_evidence_nats)


def _equivalent_rows(rows: AbstractRows, description: RowsDescription) -> np.ndarray:
    """As many standardised rows as two for each entry, with the mean and the covariance of all.

    With R^T R the covariance times the number of rows (from QR decompositions, chunk by chunk), the rows +-sqrt(k / n) R_i have
    both. Rows pass through once, so they may be more than memory holds.
    """
    root = np.zeros((0, description.size))
    for chunk in rows.chunks(max(1_024, description.size)):
        root = np.linalg.qr(np.concatenate([root, description.exactly(chunk)]), mode="r")
    spread = np.sqrt(len(root) / len(rows)) * root
    return np.concatenate([spread, -spread])
