"""Where inference on a fresh observation starts."""

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from ..core import AbstractFamily, AbstractModel
from ..distributions import Hierarchical, is_factorised
from ..results import BadInputError
from ..typing import Key, Params


def standard_start(model: AbstractModel, family: AbstractFamily[Params], *, key: Key) -> Params:
    """`family.init()`, whatever the model."""
    return family.init()


def start_at_prior(model: AbstractModel, family: AbstractFamily[Params], *, key: Key) -> Params:
    """The prior: mean and scale of every variable, with the levels above drawn from it. For families over a diagonal Gaussian.

    References:
        The code of Marino, Yue and Mandt (2018) starts each inference at a draw of the prior in this way.
    """
    prior = model.initial()
    if isinstance(prior, Hierarchical):
        parts = [part.base_dist for part in prior.descend(prior.sample(key)).conditionals]
    elif is_factorised(prior):
        parts = [prior.base_dist]
    else:
        raise BadInputError(f"Expected a prior of independent Gaussians to start from, got {type(prior).__name__}.")
    flat = jnp.concatenate([*(part.loc for part in parts), *(jnp.log(part.scale) for part in parts)])
    start, unravel = ravel_pytree(family.init())
    if flat.shape != start.shape:
        raise BadInputError(
            f"Expected a family with a mean and a log scale for each variable, {flat.size} parameters, got "
            f"{type(family).__name__} with {start.size}: use `standard_start`."
        )
    return jax.lax.stop_gradient(unravel(flat.astype(start.dtype)))
