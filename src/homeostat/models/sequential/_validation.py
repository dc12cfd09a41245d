"""Checks of matrices that the caller passes: they raise where values are known and cost nothing under a trace."""

import jax
import numpy as np
import numpyro.distributions as dist
from jax.core import Tracer

from ...results import BadInputError
from ...typing import Array, Distribution


def check_shape(name: str, array: Array, expected: tuple[int, ...]) -> None:
    """Raise unless `array` has the expected shape.

    Only under-ranked or wrongly sized arrays are refused: extra leading axes are the batch that `jax.vmap` makes.
    """
    shape = np.shape(array)
    if shape[len(shape) - len(expected) :] != expected or len(shape) < len(expected):
        raise BadInputError(f"Expected {name} of shape {expected}, got {shape}: check the sizes of the matrices.")


def check_scale_tril(name: str, array: Array, dim: int) -> None:
    """Raise unless `array` is a lower-triangular factor with a positive diagonal."""
    check_noise_tril(name, array, dim)
    if isinstance(array, Tracer) or not isinstance(array, jax.Array | np.ndarray):
        return
    diagonal = np.diagonal(np.asarray(array), axis1=-2, axis2=-1)
    if np.any(diagonal <= 0.0):
        raise BadInputError(
            f"Expected {name} to be the Cholesky factor of a positive definite covariance (finite, positive diagonal), got "
            f"the diagonal {np.round(diagonal, 6).tolist()}: add a positive variance to every coordinate."
        )


def check_noise_tril(name: str, array: Array, dim: int) -> None:
    """Raise unless `array` is a lower-triangular factor without a negative diagonal entry; zeros make it singular."""
    check_shape(name, array, (dim, dim))
    if isinstance(array, Tracer) or not isinstance(array, jax.Array | np.ndarray):
        return
    values = np.asarray(array)
    diagonal = np.diagonal(values, axis1=-2, axis2=-1)
    if not np.all(np.isfinite(values)) or np.any(diagonal < 0.0):
        raise BadInputError(
            f"Expected {name} to be the Cholesky factor of a positive definite covariance, or of a singular one (finite, no "
            f"negative diagonal), got the diagonal {np.round(diagonal, 6).tolist()}: flip the sign of such columns."
        )
    if np.any(np.triu(values, 1) != 0.0):
        raise BadInputError(
            f"Expected {name} to be lower triangular, got entries above the diagonal: pass the Cholesky factor of the "
            f"covariance (`scale_tril_of`), not the covariance."
        )


def normal_unchecked(loc: Array, scale_tril: Array) -> Distribution:
    """N(loc, L L^T) where L was checked before, and may be singular, which numpyro's own check refuses."""
    distribution = dist.MultivariateNormal(loc, scale_tril=scale_tril, validate_args=False)
    # Whether it was checked belongs to the structure of a distribution, which loops need to be that of the first state.
    del distribution._validate_args
    return distribution


def scale_tril_of(covariance: Array) -> Array:
    """Lower Cholesky factor L of a covariance L L^T.

    Args:
        covariance: symmetric positive definite, [d, d].

    Raises:
        BadInputError: the matrix is not square, not symmetric or not positive definite (where its values are known).
    """
    shape = np.shape(covariance)
    if len(shape) != 2 or shape[0] != shape[1]:
        raise BadInputError(f"Expected a square covariance matrix, got shape {shape}.")
    if not isinstance(covariance, Tracer):
        values = np.asarray(covariance, dtype=np.float64)
        if not np.allclose(values, values.T, rtol=1e-5, atol=1e-8 * max(1.0, float(np.abs(values).max()))):
            raise BadInputError("Expected a symmetric covariance matrix, got one that differs from its transpose.")
        smallest = float(np.linalg.eigvalsh(values)[0]) if np.all(np.isfinite(values)) else float("nan")
        if not smallest > 0.0:
            raise BadInputError(
                f"Expected a positive definite covariance, got smallest eigenvalue {smallest:.3g}: add a positive amount "
                f"to the diagonal."
            )
    return jax.numpy.linalg.cholesky(jax.numpy.asarray(covariance))
