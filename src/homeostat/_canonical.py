"""One form for every distribution of a kind, so that loops can carry them."""

import copy

import jax.numpy as jnp
import numpyro.distributions as dist

from .typing import Distribution


def canonical(distribution: Distribution) -> Distribution:
    """The same distribution with every elementwise parameter broadcast to the batch, and of a strong type.

    `Normal(mean, 0.2)` and `Normal(zeros, ones)` are one kind of prediction; without this, a loop could not carry both.
    """
    if isinstance(distribution, dist.Independent):
        base = canonical(distribution.base_dist)
        return dist.Independent(base, distribution.reinterpreted_batch_ndims, validate_args=False)
    elementwise = [
        name
        for name, constraint in getattr(distribution, "arg_constraints", {}).items()
        if constraint.event_dim == 0 and vars(distribution).get(name) is not None
    ]
    copied = copy.copy(distribution)
    for name in elementwise:
        value = jnp.asarray(getattr(distribution, name))
        setattr(copied, name, jnp.broadcast_to(jnp.asarray(value, value.dtype), distribution.batch_shape))
    return copied
