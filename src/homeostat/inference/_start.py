"""Where inference on a fresh observation starts."""

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.flatten_util import ravel_pytree

from ..core import AbstractFamily, AbstractModel
from ..distributions import (
    AbstractGaussianFamily,
    FullGaussian,
    Hierarchical,
    gaussian_moments,
    is_factorised,
    is_gaussian,
)
from ..results import BadInputError
from ..typing import Key, Params, PyTree


def standard_start(model: AbstractModel, family: AbstractFamily[Params], *, key: Key) -> Params:
    """`family.init()`, whatever the model."""
    return family.init()


def start_at_prior(model: AbstractModel, family: AbstractFamily[Params], *, key: Key) -> Params:
    """The prior, as a constant: no gradient flows through where inference starts. Otherwise as `start_at_prediction`.

    References:
        The code of Marino, Yue and Mandt (2018) starts each inference at a draw of the prior in this way.
    """
    return jax.lax.stop_gradient(start_at_prediction(model, family, key=key))


def start_at_prediction(model: AbstractModel, family: AbstractFamily, *, key: Key) -> PyTree:
    """The prior: mean and scale of every variable, with the levels above drawn from it.

    For Gaussian families and others that have a mean and a log scale, or a mean alone, for each variable.

    Raises:
        BadInputError: the prior is not Gaussian, or the family has other parameters.
    """
    prior = model.initial()
    if isinstance(family, FullGaussian) and is_gaussian(prior):
        return family.from_scale_tril(*gaussian_moments(prior))
    if isinstance(prior, Hierarchical):
        parts = [part.base_dist for part in prior.descend(prior.sample(key)).conditionals]
    elif is_factorised(prior):
        base = prior.base_dist
        parts = [dist.Normal(*(jnp.broadcast_to(leaf, prior.event_shape) for leaf in (base.loc, base.scale)))]
    elif isinstance(family, AbstractGaussianFamily) and is_gaussian(prior):
        moments = gaussian_moments(prior)
        return family.from_moments(moments.loc, moments.scale_tril @ moments.scale_tril.T)
    else:
        raise BadInputError(
            f"Expected a Gaussian prior to start from (for {type(family).__name__}, one of independent Gaussians), got "
            f"{type(prior).__name__}: use `standard_start`."
        )
    locs, scales = [part.loc for part in parts], [jnp.log(part.scale) for part in parts]
    start, unravel = ravel_pytree(family.init())
    points = sum(part.size for part in locs) == start.size
    flat = jnp.concatenate(locs if points else [*locs, *scales])
    if flat.shape != start.shape:
        raise BadInputError(
            f"Expected a family with a mean and a log scale for each variable, {flat.size} parameters, got "
            f"{type(family).__name__} with {start.size}: use `standard_start`."
        )
    return unravel(flat.astype(start.dtype))
