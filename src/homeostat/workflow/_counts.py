"""Likelihoods of counts, which start at the mean counts of the training data."""

import jax.numpy as jnp

from ..models.static import AbstractLikelihood, NegativeBinomialCounts, PoissonCounts
from ._numbers import Scaling

_SMALLEST_RATE = 1e-3
"""Added to the mean of counts of which none was seen, whose log rate would start at minus infinity."""


def count_likelihood(name: str, scaling: Scaling, shape: tuple[int, ...]) -> AbstractLikelihood:
    """`poisson` or `negative-binomial`.

    Args:
        scaling: its `loc` has the mean of each entry.
    """
    level = jnp.log(jnp.asarray(scaling.loc, jnp.result_type(float)).reshape(shape) + _SMALLEST_RATE)
    return PoissonCounts(shape, level) if name == "poisson" else NegativeBinomialCounts(shape, level, jnp.ones(shape))
