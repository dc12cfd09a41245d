"""Run an engine over a set of observations and say how good the model and the inference are: row by row, on average, step by step."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ..core import AbstractEngine, AbstractFamily, AbstractModel, AbstractObjective
from ..distributions import AbstractExpectation, MonteCarlo
from ..inference import infer
from ..objectives import Evidence, FreeEnergy, FreeEnergyTerms, evidence_of
from ..results import RESULTS, BadInputError
from ..typing import Array, Bool, Float, Key, Observation, Params, PyTree, Scalar
from ._likelihood import LikelihoodEstimate, log_likelihood, mean_with_error
from ._statistics import Estimated


class EvaluationMeans(NamedTuple):
    """Averages over rows.

    The standard errors are those over rows, std / sqrt(n): they say how far another set of rows would give another mean. The
    rows are *estimates*, so their spread already holds the Monte Carlo noise, and nothing is to be added. How far the same
    rows with other samples would give another mean is the smaller `monte_carlo_stderr_nats`.

    Attributes:
        elbo_nats: bound on log p(x), under `expectation`.
        distortion_nats: E_q[-log p(x | z)].
        rate_nats: KL(q || p), all levels together.
        log_likelihood_nats: importance-weighted estimate; low on average (see `log_likelihood`).
        monte_carlo_stderr_nats: standard error of the mean log-likelihood from the samples alone, sqrt(sum_i se_i^2) / n.
        reliable: share of the rows with Pareto k below 0.7.
        failed: share of the rows whose inference ended non-finite.
    """

    elbo_nats: Estimated
    distortion_nats: Estimated
    rate_nats: Estimated
    log_likelihood_nats: Estimated
    monte_carlo_stderr_nats: Scalar
    reliable: Scalar
    failed: Scalar


class Evaluation(NamedTuple):
    """Measurements of `evaluate`; a leading axis over rows everywhere, so that evaluations of blocks can be concatenated.

    Attributes:
        params: of the posterior that the engine ended on.
        terms: parts of the free energy, which add up to the negative bound.
        likelihood: importance-weighted estimates with their errors and diagnostics.
        failed: whether inference ended non-finite.
    """

    params: PyTree
    terms: FreeEnergyTerms
    likelihood: LikelihoodEstimate
    failed: Bool[Array, " rows"]

    @property
    def elbo_nats(self) -> Float[Array, " rows"]:
        """Bound on log p(x) of each row."""
        return -(self.terms.distortion_nats + jnp.sum(self.terms.rates_nats, axis=-1))

    def means(self) -> EvaluationMeans:
        """Averages over rows with their standard errors; NaN as soon as one row failed."""
        errors = self.likelihood.stderr_nats
        return EvaluationMeans(
            mean_with_error(self.elbo_nats),
            mean_with_error(self.terms.distortion_nats),
            mean_with_error(jnp.sum(self.terms.rates_nats, axis=-1)),
            mean_with_error(self.likelihood.log_likelihood_nats),
            jnp.sqrt(jnp.sum(errors**2)) / errors.shape[0],
            jnp.mean(self.likelihood.pareto_k < 0.7),
            jnp.mean(self.failed),
        )


@eqx.filter_jit
def evaluate(
    model: AbstractModel,
    engine: AbstractEngine,
    family: AbstractFamily[Params],
    observations: Observation,
    *,
    key: Key,
    num_steps: int = 1,
    num_samples: int = 5_000,
    objective: AbstractObjective | None = None,
    expectation: AbstractExpectation = MonteCarlo(64),
    start: Params | None = None,
    batch_size: int = 16,
    chunk: int = 250,
) -> Evaluation:
    """Infer, then measure the free energy and an importance-weighted log-likelihood, for every row.

    Compiled once for each number of rows (and kind of arguments): evaluate large data in blocks of one size. At most
    `batch_size` times `chunk` samples are in memory at once.

    Args:
        model: whose likelihood is estimated.
        engine: finds q.
        family: of q; must have a density, so not `Delta`.
        observations: a tree of arrays with one leading axis of rows; `Masked` where entries are missing, which are integrated out.
        key: random key; rows get keys split from it.
        num_steps: engine steps on each row.
        num_samples: S of the log-likelihood.
        objective: what the engine descends, for instance the weighted energy it was trained with; by default
            `FreeEnergy(model)`. What is reported is the true bound in either case.
        expectation: rule for the reported terms. The thesis takes one sample, which has the same mean and more noise.
        start: first parameters, the same for every row; `family.init()` by default.
        batch_size: rows worked on at once.
        chunk: samples of a row worked on at once.

    Raises:
        BadInputError: no rows, or arrays with different numbers of rows.

    References:
        Marino (thesis), Sec. 3.5: bounds, and log-likelihoods from 5,000 importance-weighted samples.
    """
    family = family.given(model.initial())
    start = family.init() if start is None else start
    objective = FreeEnergy(model) if objective is None else objective

    def evaluate_row(row: tuple[Observation, Key]) -> Evaluation:
        observation, row_key = row
        infer_key, terms_key, weights_key = jr.split(row_key, 3)
        evidence = evidence_of(observation)
        posterior = infer(
            objective, engine, family, evidence, key=infer_key, params=start, num_steps=num_steps, throw=False
        )
        q = posterior.distribution
        terms = FreeEnergy(model, expectation).terms(q, evidence, key=terms_key)
        likelihood = log_likelihood(model, q, observation, key=weights_key, num_samples=num_samples, chunk=chunk)
        return Evaluation(posterior.params, terms, likelihood, posterior.result != RESULTS.successful)

    return map_rows(evaluate_row, observations, key, batch_size)


def map_rows(function, observations: PyTree, key: Key, batch_size: int) -> PyTree:
    """`function((observation, key))` for every row, `batch_size` at a time, compiled once whatever the number of rows.

    The last batch is filled with copies of the first row, whose results are dropped: a shorter batch would be compiled anew.
    """
    counts = {jnp.shape(leaf)[0] if jnp.ndim(leaf) else 0 for leaf in jax.tree.leaves(observations)}
    if len(counts) != 1 or 0 in counts:
        raise BadInputError(
            f"Expected observations with one common, positive number of rows, got {sorted(counts)}: for a single "
            f"observation, add a leading axis."
        )
    (num_rows,) = counts
    batch_size = min(batch_size, num_rows)
    padded = -(-num_rows // batch_size) * batch_size
    chosen = jnp.where(jnp.arange(padded) < num_rows, jnp.arange(padded), 0)
    filled = jax.tree.map(lambda leaf: jnp.asarray(leaf)[chosen], observations)
    keys = jr.split(key, num_rows)[chosen]
    found = jax.lax.map(function, (filled, keys), batch_size=batch_size)
    return jax.tree.map(lambda leaf: leaf[:num_rows], found)


@eqx.filter_jit
def bound_path(
    model: AbstractModel,
    engine: AbstractEngine,
    family: AbstractFamily,
    rows: Float[Array, "rows size"],
    *,
    num_steps: int,
    key: Key,
    training_expectation: AbstractExpectation = MonteCarlo(1),
    expectation: AbstractExpectation = MonteCarlo(8),
    start: PyTree = None,
    batch_size: int = 64,
) -> Float[Array, "rows moments"]:
    """The bound before the first engine step and after each, for every row, in nats.

    Inference sees `training_expectation`; what is reported is measured with samples of its own (`expectation`), the same
    standard-normal numbers at every moment.

    Args:
        model: p(x, z).
        engine: finds q.
        family: of q.
        rows: observations.
        num_steps: engine steps.
        key: random key.
        training_expectation: what the engine sees.
        expectation: what is reported.
        start: first parameters; `family.init()` by default.
        batch_size: rows worked on at once.
    """
    family = family.given(model.initial())
    measured, seen = FreeEnergy(model, expectation), training_expectation

    def one(row: tuple[Array, Key]) -> Float[Array, " moments"]:
        observation, row_key = row
        evidence, infer_key, measure_key = Evidence(observation), *jr.split(row_key)
        path = estimates(
            model, engine, family, evidence, num_steps=num_steps, key=infer_key, expectation=seen, start=start
        )
        return -jax.lax.map(lambda params: measured(family(params), evidence, key=measure_key), path)

    return map_rows(one, rows, key, batch_size)


def estimates(
    model: AbstractModel,
    engine: AbstractEngine,
    family: AbstractFamily,
    evidence: Evidence,
    *,
    num_steps: int,
    key: Key,
    expectation: AbstractExpectation = MonteCarlo(1),
    start: PyTree = None,
) -> PyTree:
    """Parameters before the first step and after each, with a leading axis of num_steps + 1; unbatched."""
    posterior = infer(
        FreeEnergy(model, expectation), engine, family, evidence, key=key, params=start, num_steps=num_steps,
        record=True, throw=False,
    )  # fmt: skip
    return jax.tree.map(lambda path, end: jnp.concatenate([path, end[None]]), posterior.path, posterior.params)
