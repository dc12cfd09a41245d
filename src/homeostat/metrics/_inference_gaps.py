"""Where the distance between a bound and log p(x) comes from: the engine, or the family it moves in.

    log p(x) - L(q)  =  [log p(x) - L(q*)]  +  [L(q*) - L(q)]
    inference gap    =  approximation gap   +  amortization gap

q is what the engine found, q* the best member of the same family. A richer family, whose best member is r*, splits the
approximation gap once more: what the richer family wins, L(r*) - L(q*), and what it leaves, log p(x) - L(r*).

References:
    Cremer, Li and Duvenaud, "Inference suboptimality in variational autoencoders", ICML 2018, Eqs. 5 to 7.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jax.flatten_util import ravel_pytree

from ..core import AbstractEngine, AbstractFamily, AbstractModel, AbstractObjective
from ..distributions import FullGaussian
from ..inference import infer
from ..objectives import Evidence, FreeEnergy
from ..typing import Array, Distribution, Float, Key, Observation, Params
from ._evaluate import map_rows
from ._likelihood import mean_with_error
from ._reference_optimum import Optimum, ReferenceOptimum
from ._statistics import Estimated, pareto_shape


class InferenceGapMeans(NamedTuple):
    """Averages over rows with their standard errors, which hold the noise of the samples too; nats."""

    inference_nats: Estimated
    amortization_nats: Estimated
    approximation_nats: Estimated
    richer_family_nats: Estimated
    remaining_nats: Estimated


class InferenceGaps(NamedTuple):
    """Bounds of every row, all from the same random numbers, and what follows from them.

    The optimum never takes the engine's own posterior for a candidate: where long optimisation ends behind the engine, the
    gap is negative, and the optimisation is to blame.

    Attributes:
        elbo_nats: L(q) of the engine.
        optimum_nats: L(q*), of the best end of many optimisations in the same family.
        reference_nats: L(r*), the same in the richer family.
        log_likelihood_nats: importance-weighted estimate of log p(x) with samples of r*; low on average.
        amortization_stderr_nats: standard error of L(q*) - L(q) from the samples.
        approximation_stderr_nats: standard error of log p(x) - L(q*) from the samples.
        pareto_k: of the weights of r*; from 0.7 on, log p(x) and the approximation gap are underestimated.
        optimum: how the optimisation in the same family went.
        reference: how the optimisation in the richer family went.
    """

    elbo_nats: Float[Array, " rows"]
    optimum_nats: Float[Array, " rows"]
    reference_nats: Float[Array, " rows"]
    log_likelihood_nats: Float[Array, " rows"]
    amortization_stderr_nats: Float[Array, " rows"]
    approximation_stderr_nats: Float[Array, " rows"]
    pareto_k: Float[Array, " rows"]
    optimum: Optimum
    reference: Optimum

    @property
    def inference_nats(self) -> Float[Array, " rows"]:
        """log p(x) - L(q), the whole gap."""
        return self.log_likelihood_nats - self.elbo_nats

    @property
    def amortization_nats(self) -> Float[Array, " rows"]:
        """L(q*) - L(q): what the engine leaves to be gained within the family."""
        return self.optimum_nats - self.elbo_nats

    @property
    def approximation_nats(self) -> Float[Array, " rows"]:
        """log p(x) - L(q*): what the family cannot express."""
        return self.log_likelihood_nats - self.optimum_nats

    @property
    def richer_family_nats(self) -> Float[Array, " rows"]:
        """L(r*) - L(q*): the part of the approximation gap that the richer family closes."""
        return self.reference_nats - self.optimum_nats

    @property
    def remaining_nats(self) -> Float[Array, " rows"]:
        """log p(x) - L(r*): the part that it leaves."""
        return self.log_likelihood_nats - self.reference_nats

    def means(self) -> InferenceGapMeans:
        """Averages over rows."""
        return InferenceGapMeans(*(mean_with_error(getattr(self, name)) for name in InferenceGapMeans._fields))


@eqx.filter_jit
def inference_gaps(
    model: AbstractModel,
    engine: AbstractEngine,
    family: AbstractFamily[Params],
    observations: Observation,
    *,
    key: Key,
    num_steps: int = 1,
    num_samples: int = 5_000,
    reference: AbstractFamily | None = None,
    long_run: ReferenceOptimum = ReferenceOptimum(),
    objective: AbstractObjective | None = None,
    start: Params | None = None,
    batch_size: int = 16,
    chunk: int = 250,
) -> InferenceGaps:
    """Run the engine, optimise at length in its family and in a richer one, and compare, for every row.

    Args:
        model: gives p(x, z).
        engine: under test.
        family: of q.
        observations: a tree of arrays with one leading axis of rows.
        key: random key; rows get keys split from it.
        num_steps: engine steps on each row.
        num_samples: samples of z for each bound; the same random numbers for all, so their differences are less noisy.
        reference: the richer family; `FullGaussian` over the same vector by default.
        long_run: how the optima are sought; `ReferenceOptimum()` by default.
        objective: what the engine descends; `FreeEnergy(model)` by default.
        start: the engine's first parameters; `family.init()` by default.
        batch_size: rows worked on at once.
        chunk: samples of a row worked on at once.

    Raises:
        BadInputError: no rows, or arrays with different numbers of rows.
    """
    family = family.given(model.initial())
    if reference is None:
        reference = FullGaussian(jax.eval_shape(lambda: family(family.init()).sample(jr.key(0))).shape[0])
    start = family.init() if start is None else start
    objective = FreeEnergy(model) if objective is None else objective
    reference = reference.given(model.initial())

    def gaps_of_row(row: tuple[Observation, Key]) -> InferenceGaps:
        observation, row_key = row
        infer_key, same_key, richer_key, draw_key, measure_key = jr.split(row_key, 5)
        evidence = Evidence(observation)
        posterior = infer(
            objective, engine, family, evidence, key=infer_key, params=start, num_steps=num_steps, throw=False
        )
        optimum = long_run(model, family, evidence, first=posterior.params, key=same_key)
        best = _unravel(family, optimum.flat)
        # The richer family starts where the poorer one ended.
        draws = jax.vmap(family(best).sample)(jr.split(draw_key, 1_000))
        fitted = reference.fit(draws, jnp.full(1_000, 1.0 / 1_000))
        richer = long_run(model, reference, evidence, first=fitted, key=richer_key)
        measured = (posterior.distribution, family(best), reference(_unravel(reference, richer.flat)))
        log_weights = _common_log_weights(model, measured, evidence, measure_key, num_samples, chunk)
        return _compare(log_weights, optimum, richer)

    return map_rows(gaps_of_row, observations, key, batch_size)


def _unravel(family: AbstractFamily, flat: Float[Array, " p"]):
    return ravel_pytree(family.init())[1](flat)


def _common_log_weights(
    model: AbstractModel,
    distributions: tuple[Distribution, ...],
    evidence: Evidence,
    key: Key,
    num_samples: int,
    chunk: int,
) -> Float[Array, "samples distributions"]:
    """log p(x, z) - log q(z) under every q, with the same keys for all."""
    objective = FreeEnergy(model)

    def log_weights(sample_key: Key) -> Float[Array, " distributions"]:
        draws = [q.sample(sample_key) for q in distributions]
        energies = [objective.pointwise(z, evidence, key=sample_key) for z in draws]
        return jnp.stack([-u - q.log_prob(z) for u, q, z in zip(energies, distributions, draws, strict=True)])

    return jax.lax.map(log_weights, jr.split(key, num_samples), batch_size=min(chunk, num_samples))


def _compare(log_weights: Float[Array, "samples 3"], optimum: Optimum, reference: Optimum) -> InferenceGaps:
    num_samples = log_weights.shape[0]
    elbo, best, richer = jnp.mean(log_weights, axis=0)
    weights = jnp.exp(log_weights[:, 2] - jnp.max(log_weights[:, 2]))
    log_likelihood = jnp.max(log_weights[:, 2]) + jnp.log(jnp.mean(weights))

    def stderr(influence: Float[Array, " samples"]) -> Float[Array, ""]:
        return jnp.std(influence, ddof=1) / jnp.sqrt(float(num_samples))

    return InferenceGaps(
        elbo,
        best,
        richer,
        log_likelihood,
        stderr(log_weights[:, 1] - log_weights[:, 0]),
        # Influence of one sample on the logarithm of the mean weight, to first order, less that on the bound.
        stderr(weights / jnp.mean(weights) - log_weights[:, 1]),
        pareto_shape(log_weights[:, 2]),
        optimum,
        reference,
    )
