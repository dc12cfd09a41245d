"""Simulation-based calibration: is a posterior as sure as it should be?

Draw z* ~ p(z) and x ~ p(x | z*), infer q(z) from x, draw z_1..z_L ~ q. If q is the posterior, z* and the draws are
exchangeable, so the rank of a quantity f(z*) among f(z_1..L) is uniform on 0..L over simulations, and central
intervals of every level cover z* as often as they say. A hump in the middle of the ranks' histogram means a posterior
that is too wide, a trough one that is too narrow, a slope one that is off to a side.

References:
    Talts et al., "Validating Bayesian inference algorithms with simulation-based calibration", arXiv 1804.06788;
    Yao et al., "Yes, but did it work? Evaluating variational inference", ICML 2018.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ..core import AbstractEngine, AbstractFamily, AbstractModel, AbstractObjective
from ..distributions import AbstractExpectation, Cubature
from ..inference import infer
from ..objectives import Evidence, FreeEnergy
from ..results import RESULTS, BadInputError
from ..typing import Array, Bool, Distribution, Float, Int, Key, Params, PyTree
from ._statistics import pareto_shape

_REPORTS = 20
"""Times that progress is told."""


class Calibration(NamedTuple):
    """Results of the simulations; the leading axis runs over them.

    Attributes:
        ranks: number of draws below the truth, 0..num_draws, for each quantity.
        corrected: the share of the importance weights p(x, z) / q(z) on draws below the truth. It is uniform on [0, 1] where q
            covers the posterior, even if q is not the posterior: ranks that fail where this one passes tell of a posterior
            whose form does not fit, and not of a fault in the simulation.
        pareto_shape: k of the weights' tail; below 0.7 the importance weights can be trusted.
        failed: whether inference ended with a non-finite energy.
        num_draws: L.
    """

    ranks: Int[Array, "simulations quantities"]
    corrected: Float[Array, "simulations quantities"]
    pareto_shape: Float[Array, " simulations"]
    failed: Bool[Array, " simulations"]
    num_draws: int


class Simulation(NamedTuple):
    """One draw of the generative model, from which inference may start."""

    truth: Float[Array, " d"]
    observation: PyTree


def coordinates(state: Float[Array, " d"], observation: PyTree) -> Float[Array, " d"]:
    """The default test quantities: every coordinate of z."""
    return state


def simulation_based_calibration(
    model: AbstractModel,
    engine: AbstractEngine,
    family: AbstractFamily[Params],
    *,
    key: Key,
    num_simulations: int = 1_000,
    num_steps: int = 20,
    num_draws: int = 255,
    prior: Distribution | None = None,
    start: Callable[..., Params] | None = None,
    expectation: AbstractExpectation | None = None,
    objective: AbstractObjective | None = None,
    quantities: Callable[[Array, PyTree], Float[Array, " quantities"]] = coordinates,
    batch_size: int = 16,
    on_progress: Callable[[int], None] | None = None,
) -> Calibration:
    """Calibrate any engine on any model whose latent state is one vector.

    Args:
        model: both simulates and explains.
        engine: under test.
        family: of q.
        key: random key.
        num_simulations: number of simulated data sets.
        num_steps: engine steps on each.
        num_draws: L, draws from each posterior; with 2^n - 1, ranks fall evenly into bins.
        prior: prior of z for both simulation and inference; the model's own by default.
        start: `start(simulation, key=...)` gives the engine's first parameters; `family.init()` by default. It may look at the
            truth, which is fair for an engine that is run to convergence where the posterior has one mode, and must then be
            said.
        expectation: rule for the free energy's expectation; `Cubature()` by default.
        objective: what the engine descends, such as the `Weighted` one it was trained under; that free energy by default.
        quantities: `f(z, observation)`, the quantities whose ranks are taken.
        batch_size: simulations worked on at once.
        on_progress: told the number of simulations done, some twenty times on the way.

    Raises:
        BadInputError: fewer than two draws or one simulation.
    """
    if num_simulations < 1 or num_draws < 2:
        raise BadInputError(
            f"Expected at least one simulation and two draws, got num_simulations={num_simulations} and "
            f"num_draws={num_draws}."
        )
    if objective is None:
        objective = FreeEnergy(model, Cubature() if expectation is None else expectation)
    family = family.given(model.initial() if prior is None else prior)
    arguments = (model, engine, family, objective, prior, start, quantities, num_steps, num_draws)
    keys = jr.split(key, num_simulations)
    batch_size = min(batch_size, num_simulations)
    # In blocks of whole batches only where somebody wants to see them pass; the last one is filled up, not compiled anew.
    block = num_simulations
    if on_progress is not None:
        block = min(num_simulations, batch_size * -(-num_simulations // (batch_size * _REPORTS)))
    parts = []
    for first in range(0, num_simulations, block):
        chosen = jnp.minimum(first + jnp.arange(block), num_simulations - 1)
        found = _simulate(arguments, keys[chosen], batch_size)
        done = min(first + block, num_simulations)
        parts.append(jax.tree.map(lambda leaf, count=done - first: leaf[:count], jax.block_until_ready(found)))
        if on_progress is not None:
            on_progress(done)
    return Calibration(*jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts), num_draws)


@eqx.filter_jit
def _simulate(arguments: tuple, keys: Array, batch_size: int) -> tuple[Array, Array, Array, Array]:
    """Ranks, corrected ranks, Pareto k and failures of simulations."""
    model, engine, family, objective, prior, start, quantities, num_steps, num_draws = arguments
    source, joint = model.initial() if prior is None else prior, FreeEnergy(model)

    def simulate(key: Key):
        truth_key, data_key, start_key, infer_key, draw_key, jitter_key = jr.split(key, 6)
        truth = source.sample(truth_key)
        observation = model.emission(truth).sample(data_key)
        evidence = Evidence(observation, prior)
        params = family.init() if start is None else start(Simulation(truth, observation), key=start_key)
        posterior = infer(
            objective, engine, family, evidence, key=infer_key, params=params, num_steps=num_steps, throw=False
        )
        q = posterior.distribution
        draws = jax.vmap(q.sample)(jr.split(draw_key, num_draws))
        log_weights = jax.vmap(lambda z: -joint.pointwise(z, evidence, key=jitter_key) - q.log_prob(z))(draws)
        below = jax.vmap(lambda z: quantities(z, observation))(draws) < quantities(truth, observation)[None, :]
        corrected = jax.nn.softmax(log_weights) @ below.astype(log_weights.dtype)
        failed = posterior.result != RESULTS.successful
        # A failure counts as the lowest rank, also where its draws are finite.
        return jnp.where(failed, 0, jnp.sum(below, axis=0)), jnp.where(failed, 0.0, corrected), log_weights, failed

    ranks, corrected, log_weights, failed = jax.lax.map(simulate, keys, batch_size=batch_size)
    return ranks, corrected, jax.vmap(pareto_shape)(log_weights), failed


class RankUniformity(NamedTuple):
    """p-values of uniform ranks, one for each quantity.

    Attributes:
        chi_square: Pearson's test on equal bins; sees bumps of any shape.
        kolmogorov: Kolmogorov and Smirnov's test on the ranks with uniform jitter, which makes them continuous; sees shifts.
    """

    chi_square: Float[np.ndarray, " quantities"]
    kolmogorov: Float[np.ndarray, " quantities"]


def rank_counts(
    ranks: Int[Array, "simulations quantities"], num_draws: int, num_bins: int
) -> Int[np.ndarray, "bins quantities"]:
    """Histogram of the ranks.

    Raises:
        BadInputError: the L + 1 possible ranks do not fall evenly into the bins.
    """
    if (num_draws + 1) % num_bins:
        raise BadInputError(
            f"Expected a number of bins that divides {num_draws + 1}, the number of possible ranks, got {num_bins}."
        )
    bins = np.asarray(ranks) * num_bins // (num_draws + 1)
    return np.stack([np.bincount(column, minlength=num_bins) for column in bins.T], axis=1)


def rank_uniformity(
    ranks: Int[Array, "simulations quantities"], num_draws: int, *, key: Key, num_bins: int = 16
) -> RankUniformity:
    """Test whether ranks are uniform on 0..num_draws.

    Args:
        ranks: one row for each simulation.
        num_draws: L.
        key: for the jitter.
        num_bins: of the chi-square test; must divide L + 1.
    """
    from scipy import stats

    counts = rank_counts(ranks, num_draws, num_bins)
    jitter = np.asarray(jr.uniform(key, ranks.shape), np.float64)
    positions = (np.asarray(ranks, np.float64) + jitter) / (num_draws + 1)
    return RankUniformity(np.asarray(stats.chisquare(counts, axis=0).pvalue), uniformity(positions))


def uniformity(
    probabilities: Float[Array, "simulations quantities"] | Float[np.ndarray, "simulations quantities"],
) -> Float[np.ndarray, " quantities"]:
    """Kolmogorov-Smirnov p-values of numbers that should be uniform on [0, 1]."""
    from scipy import stats

    return np.asarray([stats.kstest(column, "uniform").pvalue for column in np.asarray(probabilities, np.float64).T])


def holm(p_values: Float[np.ndarray, " tests"]) -> Float[np.ndarray, " tests"]:
    """p-values adjusted for testing several hypotheses at once (Holm's step-down method)."""
    p_values = np.asarray(p_values, np.float64)
    order = np.argsort(p_values)
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1.0)
    return adjusted[np.argsort(order)]


def coverage_curve(
    ranks: Int[Array, "simulations quantities"], num_draws: int, levels: Float[np.ndarray, " levels"]
) -> Float[np.ndarray, "levels quantities"]:
    """Share of simulations whose truth lies in the central interval of each level.

    The interval of level c between order statistics holds the ranks with |r - L / 2| <= c (L + 1) / 2, which a calibrated
    posterior covers with a probability within 1 / (L + 1) of c.
    """
    distance = np.abs(2.0 * np.asarray(ranks, np.float64) - num_draws) / (num_draws + 1)
    return np.mean(distance[None] <= np.asarray(levels)[:, None, None], axis=1)


class Band(NamedTuple):
    """Lower and upper bounds."""

    low: Float[np.ndarray, " points"]
    high: Float[np.ndarray, " points"]


def count_band(num_simulations: int, num_bins: int, *, level: float = 0.99) -> Band:
    """Where the count of a single bin of a uniform histogram lies with probability `level` (binomial)."""
    from scipy import stats

    low, high = stats.binom.interval(level, num_simulations, 1.0 / num_bins)
    return Band(np.full(num_bins, float(low)), np.full(num_bins, float(high)))


def ecdf_difference_band(
    num_simulations: int,
    points: Float[np.ndarray, " points"],
    *,
    key: Key,
    level: float = 0.95,
    num_replications: int = 2_000,
) -> Band:
    """A band that the whole curve F_n(t) - t of uniform numbers stays in with probability `level`.

    Pointwise binomial intervals of one common tail probability, set by simulation so that all hold at once.

    References:
        Säilynoja, Bürkner and Vehtari, "Graphical test for discrete uniformity and its applications in goodness-of-fit
        evaluation and multiple sample comparison", Statistics and Computing 32 (2022).
    """
    from scipy import stats

    points = np.asarray(points, np.float64)
    uniform = np.asarray(jr.uniform(key, (num_replications, num_simulations)), np.float64)
    counts = np.stack([np.searchsorted(np.sort(row), points, side="right") for row in uniform])
    tails = np.minimum(
        stats.binom.cdf(counts, num_simulations, points), stats.binom.sf(counts - 1, num_simulations, points)
    )
    tail = np.quantile(tails.min(axis=1), 1.0 - level)
    low = stats.binom.ppf(tail, num_simulations, points) / num_simulations - points
    high = stats.binom.isf(tail, num_simulations, points) / num_simulations - points
    return Band(low, high)
