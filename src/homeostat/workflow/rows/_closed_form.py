"""Learning without gradients: linear-Gaussian models from the mean and the covariance of rows."""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ...data import AbstractRows
from ...inference import fit_factor_analysis, fit_probabilistic_pca
from ._describe import Observations
from ._options import RowsOptions
from ._system import Kept, System

_MAXIMIZATION_STEPS = 500


class ClosedForm(NamedTuple):
    """What was learned, and how.

    Attributes:
        kept: as training would leave it.
        free_energy_nats: -log p(x) per row, before each step and after the last; empty where there is a formula.
    """

    kept: Kept
    free_energy_nats: np.ndarray


def closed_form_steps(config: RowsOptions) -> int:
    """Steps of expectation maximisation; 1 where there is a formula."""
    return 1 if config.model == "probabilistic-pca" else min(config.steps, _MAXIMIZATION_STEPS)


def fit_closed_form(system: System, rows: AbstractRows) -> ClosedForm:
    """Maximum likelihood of a linear-Gaussian model.

    Args:
        system: of the engine `exact`.
        rows: that teach; they pass through once, so they may be more than memory holds.
    """
    config, observations = system.config, system.observations
    equivalent = jnp.asarray(_equivalent_rows(rows, observations), jnp.result_type(float))
    floor = 1e-3 * float(np.sqrt(np.mean(observations.scale**2)))
    dim = system.dims[0]
    if config.model == "probabilistic-pca":
        model, path = fit_probabilistic_pca(equivalent, dim, minimum_scale=floor), np.zeros(0)
    else:
        found = fit_factor_analysis(equivalent, dim, num_steps=closed_form_steps(config), minimum_scale=floor)
        model, path = found.model, -np.asarray(found.log_evidence_nats)
    return ClosedForm(Kept(eqx.tree_at(lambda learned: learned.model, system.learned, model), None), path)


def _equivalent_rows(rows: AbstractRows, observations: Observations) -> np.ndarray:
    """As many rows as two for each entry, with the mean and the covariance of all.

    With R^T R the covariance times the number of rows (from QR decompositions, chunk by chunk), the rows
    mean +- sqrt(k / n) R_i have both.
    """
    centre = observations.loc.reshape(1, -1)
    root = np.zeros((0, observations.size))
    for chunk in rows.chunks(max(1_024, observations.size)):
        flat = observations.prepare(chunk).reshape(len(chunk), -1).astype(np.float64) - centre
        root = np.linalg.qr(np.concatenate([root, flat]), mode="r")
    spread = np.sqrt(len(root) / len(rows)) * root
    return np.concatenate([centre + spread, centre - spread])
