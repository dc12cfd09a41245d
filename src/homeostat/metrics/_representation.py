"""Which latents a model uses: variances of posterior means, and rates of single units."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro.distributions as dist
from numpyro.distributions.kl import kl_divergence

from ..core import AbstractFamily, AbstractModel
from ..distributions import Hierarchical, is_factorised, is_gaussian
from ..results import BadInputError
from ..typing import Array, Bool, Distribution, Float, Int, Key, Params, PyTree
from ._evaluate import map_rows


class Codes(NamedTuple):
    """Statistics of the posteriors of each latent, for every row.

    Attributes:
        means: E_q[z].
        mean_noise: variance of the estimate in `means`; zero where the mean is known in closed form.
        rates_nats: E_q KL(q(z_i | .) || p(z_i | levels above)) of each unit; the sum over a level's units is its rate.
    """

    means: Float[Array, "*rows d"]
    mean_noise: Float[Array, "*rows d"]
    rates_nats: Float[Array, "*rows d"]


class LevelStatistics(NamedTuple):
    """Sums over the units of each level, the lowest level first.

    Attributes:
        num_units: how many there are.
        num_active: how many are active.
        rate_nats: mean KL of the level.
        active_rate_nats: the part of it that active units carry.
    """

    num_units: Int[Array, " levels"]
    num_active: Int[Array, " levels"]
    rate_nats: Float[Array, " levels"]
    active_rate_nats: Float[Array, " levels"]


class Representation(NamedTuple):
    """Use of the latents over a set of rows.

    Attributes:
        variance: Cov_x(E_q[z_i]) of each unit.
        rate_nats: mean KL of each unit.
        active: whether the variance is above the threshold.
        levels: statistics of each level.
    """

    variance: Float[Array, " d"]
    rate_nats: Float[Array, " d"]
    active: Bool[Array, " d"]
    levels: LevelStatistics


def representation(codes: Codes, *, dims: tuple[int, ...] | None = None, threshold: float = 0.01) -> Representation:
    """Active units: those whose posterior mean depends on the data, Cov_x(E_q[z_i]) > threshold.

    Args:
        codes: from `encode`, of at least two rows.
        dims: numbers of units of the levels, the lowest first; one level by default.
        threshold: on the variance. The usual 0.01 goes with a prior of unit variance.

    Raises:
        BadInputError: fewer than two rows, or `dims` that do not add up to the number of units.

    References:
        Burda, Grosse and Salakhutdinov, "Importance weighted autoencoders", ICLR 2016, Sec. 5.2.
    """
    if codes.means.ndim != 2 or codes.means.shape[0] < 2:
        raise BadInputError(f"Expected codes of at least two rows, got means of shape {codes.means.shape}.")
    num_units = codes.means.shape[1]
    dims = (num_units,) if dims is None else dims
    if sum(dims) != num_units:
        raise BadInputError(f"Expected levels that add up to {num_units} units, got dims={dims}.")
    # The noise of estimated means is no dependence on the data.
    variance = jnp.var(codes.means, axis=0, ddof=1) - jnp.mean(codes.mean_noise, axis=0)
    rate, active = jnp.mean(codes.rates_nats, axis=0), variance > threshold

    def sums(values: Array) -> Array:
        return jnp.stack([jnp.sum(part) for part in jnp.split(values, np.cumsum(dims)[:-1])])

    levels = LevelStatistics(jnp.asarray(dims), sums(active), sums(rate), sums(jnp.where(active, rate, 0.0)))
    return Representation(variance, rate, active, levels)


@eqx.filter_jit
def encode(
    model: AbstractModel,
    family: AbstractFamily[Params],
    params: Params,
    *,
    key: Key,
    num_samples: int = 64,
    batch_size: int = 64,
) -> Codes:
    """Posterior means and rates of single units, from posteriors that `evaluate` found.

    Args:
        model: gives the prior.
        family: of q: independent normals, or normals in levels (`Ladder`).
        params: of each row's posterior, with a leading axis; `Evaluation.params`.
        key: random key.
        num_samples: for what has no closed form: rates under a hierarchical prior, and means of a hierarchical posterior.
        batch_size: rows worked on at once.

    Raises:
        BadInputError: the prior or q does not fall apart into normals of single units.
    """
    prior = model.initial()
    family = family.given(prior)

    def one(row: tuple[PyTree, Key]) -> Codes:
        q = family(row[0])
        draws = jax.vmap(q.sample)(jr.split(row[1], num_samples))
        if is_factorised(q):
            means = jnp.broadcast_to(q.base_dist.loc, q.event_shape)
            noise = jnp.zeros_like(means)
        else:
            means, noise = jnp.mean(draws, axis=0), jnp.var(draws, axis=0, ddof=1) / num_samples
        if is_factorised(q) and is_factorised(prior):
            rates = unit_divergences(q, prior, means)
        else:
            rates = jnp.mean(jax.vmap(lambda z: unit_divergences(q, prior, z))(draws), axis=0)
        return Codes(means, noise, rates)

    return map_rows(one, params, key, batch_size)


def posterior_mean(q: Distribution, *, key: Key, num_samples: int = 64) -> Float[Array, " d"]:
    """E_q[z]: of a Gaussian in closed form, of levels and of flows from samples."""
    if is_gaussian(q):
        return jnp.broadcast_to(q.mean, q.event_shape)
    return jnp.mean(jax.vmap(q.sample)(jr.split(key, num_samples)), axis=0)


def unit_divergences(q: Distribution, p: Distribution, value: Float[Array, " d"]) -> Float[Array, " d"]:
    """KL(q(z_i | levels above) || p(z_i | levels above)) of every unit, with the levels above at `value`; nats."""
    (q_loc, q_scale), (p_loc, p_scale) = (_unit_normals(one, value) for one in (q, p))
    return jnp.asarray(
        kl_divergence(
            dist.Normal(q_loc, q_scale, validate_args=False), dist.Normal(p_loc, p_scale, validate_args=False)
        )
    )


def _unit_normals(distribution: Distribution, value: Float[Array, " d"]) -> tuple[Array, Array]:
    if isinstance(distribution, Hierarchical):
        parts = distribution.descend(value).conditionals
    elif is_factorised(distribution):
        parts = (distribution,)
    else:
        raise BadInputError(
            f"Expected independent normals, in one level or several, got {type(distribution).__name__}: rates of single "
            f"units are not defined for dependent ones; use the rates of whole levels in `Evaluation.terms`."
        )
    locs = [jnp.broadcast_to(part.base_dist.loc, part.event_shape) for part in parts]
    scales = [jnp.broadcast_to(part.base_dist.scale, part.event_shape) for part in parts]
    return jnp.concatenate(locs), jnp.concatenate(scales)
