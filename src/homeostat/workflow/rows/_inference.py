"""Inference with a fitted model on rows, block by block."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ...data import AbstractRows
from ...distributions import Masked, MonteCarlo, closed_form_divergence
from ...metrics import (
    bits_per_dimension,
    evaluate,
    expected,
    log_likelihood,
    mean_with_error,
    perplexity,
    posterior_mean,
)
from ...objectives import FreeEnergy, evidence_of
from ...results import RESULTS
from ...typing import Key
from .._fitted import OnProgress, ignore
from ._describe import RowsDescription
from ._requirements import count_missing
from ._system import InferenceSetup, binarize

VALIDATION_SAMPLES = 8
"""Samples of a posterior for each bound, where many rows are inferred in passing."""

ROWS_AT_ONCE = 256


class PosteriorSummary(NamedTuple):
    """Posterior and free energy of each row; a leading axis over rows everywhere.

    Attributes:
        mean: E_q[z].
        distortion_nats: E_q[-log p(x | z)].
        rate_nats: KL(q || p), all levels together.
        failed: whether inference ended non-finite.
    """

    params: Any
    mean: jax.Array
    distortion_nats: jax.Array
    rate_nats: jax.Array
    failed: jax.Array


def blocks(
    rows: AbstractRows, description: RowsDescription, size: int
) -> Iterator[tuple[int, int, jax.Array | Masked]]:
    """First row, number of rows, and the rows as the model sees them, padded to `size`, so that one program serves all.

    Blocks without a missing number, and with one, are of two kinds.
    """
    start = 0
    for chunk in rows.chunks(size):
        count = len(chunk)
        filled = chunk if count == size else np.concatenate([chunk, np.repeat(chunk[:1], size - count, axis=0)])
        prepared = for_device(description.prepare(filled))
        known, block = description.known(filled), jnp.asarray(prepared)
        yield start, count, block if known.all() else Masked(block, jnp.asarray(known))
        start += count


def for_training(description: RowsDescription, stored: np.ndarray) -> np.ndarray | Masked:
    """Stored rows as a learner reads them: with a mask if the data have missing numbers anywhere."""
    prepared = for_device(description.prepare(stored))
    return Masked(prepared, description.known(stored)) if description.num_missing else prepared


def for_device(block: np.ndarray) -> np.ndarray:
    """Real numbers in the default type of the device."""
    return block.astype(jnp.result_type(float), copy=False) if block.dtype.kind == "f" else block


@eqx.filter_jit
def infer_rows(
    setup: InferenceSetup, block: jax.Array | Masked, numbers: jax.Array, binarized: bool, num_samples: int, *, key: Key
) -> PosteriorSummary:
    """Infer every row of a block; what a row gets depends on its number and not on the block."""

    def one(x: jax.Array | Masked, number: jax.Array) -> PosteriorSummary:
        draw_key, infer_key, terms_key, mean_key = jax.random.split(jax.random.fold_in(key, number), 4)
        x = binarize(x, key=draw_key) if binarized else x
        evidence = evidence_of(x)
        found = setup.infer(evidence, key=infer_key)
        q, failed = found.distribution, found.result != RESULTS.successful
        if setup.exact is not None:
            # No draws: the bound is the likelihood itself.
            rate = closed_form_divergence(q, setup.model.initial())
            assert rate is not None, "both are Gaussian"
            nats = setup.exact.log_evidence(evidence.observation, evidence.observed)
            return PosteriorSummary(found.params, q.mean, -nats - rate, rate, failed)
        terms = FreeEnergy(setup.model, MonteCarlo(num_samples)).terms(q, evidence, key=terms_key)
        mean = posterior_mean(q, key=mean_key)
        return PosteriorSummary(found.params, mean, terms.distortion_nats, jnp.sum(terms.rates_nats), failed)

    return jax.vmap(one)(block, numbers)


def inferred(
    setup: InferenceSetup, description: RowsDescription, rows: AbstractRows, num_samples: int, *, key: Key
) -> Iterator[tuple[int, PosteriorSummary]]:
    """Number of the first row and posteriors in the unit of the data, of one block after the other."""
    size = min(ROWS_AT_ONCE, len(rows))
    for start, count, block in blocks(rows, description, size):
        found = infer_rows(setup, block, start + jnp.arange(size), description.binarized, num_samples, key=key)
        kept = jax.tree.map(lambda leaf, n=count: np.asarray(leaf)[:n], found)
        yield start, kept._replace(distortion_nats=kept.distortion_nats + log_unit_nats(description, block)[:count])


def log_unit_nats(description: RowsDescription, block: jax.Array | Masked) -> np.ndarray:
    """log |dx / dx'| of the known entries of each row."""
    if isinstance(block, Masked):
        return description.log_units_nats(np.asarray(block.observed))
    # In the type of the numbers that it is added to.
    return np.full(len(block), description.log_unit_nats, jnp.result_type(float))


def mean_free_energy(setup: InferenceSetup, description: RowsDescription, rows: AbstractRows, *, key: Key) -> float:
    """Of the rows, in nats of the data, under the true bound whatever the weighting."""
    total = 0.0
    for _, found in inferred(setup, description, rows, VALIDATION_SAMPLES, key=key):
        total += float(np.asarray(found.distortion_nats + found.rate_nats, np.float64).sum())
    return total / len(rows)


def score_rows(
    setup: InferenceSetup,
    description: RowsDescription,
    rows: AbstractRows,
    *,
    num_samples: int,
    key: Key,
    on_progress: OnProgress = ignore,
) -> dict[str, np.ndarray]:
    """Bound and likelihood of every row, importance-weighted where it is not known exactly, in nats of the data, by name."""
    if setup.exact is not None:
        return _exact_scores(setup, description, rows, key, on_progress)
    model, engine, family, steps, objective = setup
    parts: list[dict[str, np.ndarray]] = []
    how: dict[str, Any] = {"num_steps": steps, "num_samples": num_samples, "objective": objective}
    for start, count, block in blocks(rows, description, min(32, rows.num_rows)):
        draw_key, block_key = jax.random.split(jax.random.fold_in(key, start))
        block = binarize(block, key=draw_key) if description.binarized else block
        unit = log_unit_nats(description, block)
        found = evaluate(model, engine, family, block, key=block_key, **how)
        arrays = {
            "elbo_nats": np.asarray(found.elbo_nats) - unit,
            "distortion_nats": np.asarray(found.terms.distortion_nats) + unit,
            "rate_nats": jnp.sum(found.terms.rates_nats, axis=-1),
            "log_likelihood_nats": np.asarray(found.likelihood.log_likelihood_nats) - unit,
            "monte_carlo_stderr_nats": found.likelihood.stderr_nats,
            "pareto_k": found.likelihood.pareto_k,
            "failed": found.failed,
        }
        parts.append({name: np.asarray(array)[:count] for name, array in arrays.items()})
        on_progress(start + count, f"log-likelihood {parts[-1]['log_likelihood_nats'].mean():.4g} nats")
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _exact_scores(
    setup: InferenceSetup, description: RowsDescription, rows: AbstractRows, key: Key, on_progress: OnProgress
) -> dict[str, np.ndarray]:
    parts = []
    for start, found in inferred(setup, description, rows, 1, key=key):
        _, mean, distortion, rate, failed = found
        likelihood = -(distortion + rate)
        names = {"elbo_nats": likelihood, "distortion_nats": distortion, "rate_nats": rate, "failed": failed}
        parts.append({**names, "log_likelihood_nats": likelihood})
        on_progress(start + len(mean), f"log-likelihood {likelihood.mean():.4g} nats")
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@eqx.filter_jit
def weigh_rows(setup: InferenceSetup, rows: jax.Array | Masked, num_samples: int, *, key: Key) -> jax.Array:
    """log p(x) of every row in the unit of the model, exact or importance-weighted, all from one key."""

    def one(x: jax.Array | Masked) -> jax.Array:
        evidence = evidence_of(x)
        if setup.exact is not None:
            return setup.exact.log_evidence(evidence.observation, evidence.observed)
        infer_key, weigh_key = jax.random.split(key)
        q, chunk = setup.infer(evidence, key=infer_key).distribution, min(250, num_samples)
        found = log_likelihood(setup.model, q, x, key=weigh_key, num_samples=num_samples, chunk=chunk)
        return found.log_likelihood_nats

    return jax.vmap(one)(rows)


def summarize_rows(scores: dict[str, np.ndarray], description: RowsDescription, rows: AbstractRows) -> dict[str, Any]:
    """Averages over rows, with standard errors over rows, in the units that make sense for the likelihood."""
    likelihood, count = jnp.asarray(scores["log_likelihood_nats"]), len(scores["elbo_nats"])
    missing = count_missing(rows)
    value, stderr = mean_with_error(likelihood)
    elbo, elbo_stderr = mean_with_error(jnp.asarray(scores["elbo_nats"]))
    found = {
        "rows": count,
        "elbo_nats": float(elbo),
        "elbo_stderr_nats": float(elbo_stderr),
        "log_likelihood_nats": float(value),
        "stderr_nats": float(stderr),
        "exact": "pareto_k" not in scores,
        "distortion_nats": float(scores["distortion_nats"].mean()),
        "rate_nats": float(scores["rate_nats"].mean()),
        "failed_rows": int(scores["failed"].sum()),
        **({"missing_numbers": missing} if missing else {}),
    }
    if not found["exact"]:
        found["monte_carlo_stderr_nats"] = float(np.sqrt(np.sum(scores["monte_carlo_stderr_nats"] ** 2)) / count)
        found["share_pareto_k_above_0.7"] = float(np.mean(~(scores["pareto_k"] <= 0.7)))
    if description.likelihood == "multinomial":
        totals = np.concatenate([chunk.reshape(len(chunk), -1).sum(axis=1) for chunk in rows.chunks(4096)])
        found["perplexity"] = float(perplexity(likelihood, jnp.asarray(totals)).value)
    elif description.discrete:
        size = description.size - found.get("missing_numbers", 0) / count
        found["bits_per_dimension"] = float(bits_per_dimension(-value, size))
    return found


def expected_rows(model: Any, latents: jax.Array) -> np.ndarray:
    """E[x | z] of every latent vector, in the unit of the model."""
    return np.asarray(_expected(model, latents))


@eqx.filter_jit
def _expected(model: Any, latents: jax.Array) -> jax.Array:
    return jax.vmap(lambda z: expected(model.emission(z)))(latents)


def draw_rows(model: Any, num: int, *, key: Key) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Latents from the prior, the mean of each one's observation, and a draw of it, in the unit of the model."""

    @jax.jit
    def draw(keys: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        def one(key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            latent_key, data_key = jax.random.split(key)
            z = model.initial().sample(latent_key)
            emission = model.emission(z)
            return z, expected(emission), emission.sample(data_key).astype(z.dtype)

        return jax.vmap(one)(keys)

    # In blocks, so that many samples need no more memory than few.
    size = min(num, 256)
    parts = []
    for start in range(0, num, size):
        keys = jax.vmap(lambda n: jax.random.fold_in(key, n))(start + jnp.arange(size))
        parts.append([np.asarray(array)[: num - start] for array in draw(keys)])
    latents, means, draws = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return latents, means, draws
