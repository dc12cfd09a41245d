"""A fitted run read back, and inference with it on new rows."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..data import AbstractRows, check_rows, open_rows, require_shape
from ..distributions import MonteCarlo
from ..inference import infer
from ..metrics import bits_per_dimension, evaluate, mean_with_error, perplexity, posterior_mean
from ..objectives import Evidence, FreeEnergy
from ..results import RESULTS, BadInputError
from ..train import has_checkpoint, load_checkpoint
from ..workflow import InferenceSetup, Kept, Observations, RowsOptions, System, outline_rows_system, requirements
from ._folder import Request, read_request
from ._terminal import Terminal

FIT = "fit"
"""What stands in the place of an experiment's id."""

LOOK_SAMPLES = 8
"""Samples of a posterior for each bound, where many rows are looked at in passing."""

_ROWS_AT_ONCE = 256


class Fitted(NamedTuple):
    """A run of `homeostat fit`.

    Attributes:
        path: its folder.
        request: what was asked.
        system: model and engine as they were built.
        kept: what training left.
    """

    path: Path
    request: Request
    system: System
    kept: Kept

    @property
    def observations(self) -> Observations:
        """What its rows are."""
        return self.system.observations


class Explained(NamedTuple):
    """What inference says of each row; a leading axis over rows everywhere.

    Attributes:
        params: of the posterior.
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


def split_config(content: dict[str, Any]) -> tuple[str, RowsOptions]:
    """The data's path and the options, from the configuration of a run."""
    options = dict(content)
    return options.pop("data"), RowsOptions(**options)


def load_fitted(path: Path) -> Fitted:
    """Read a run fitted to rows.

    Raises:
        BadInputError: it is no such run, or not trained yet.
        CheckpointError: it is damaged, or from another version of the code.
    """
    stored = read_stored(path, FIT, "", lambda content, rows: outline_rows_system(split_config(content)[1], rows))
    return Fitted(path, *stored)


class Stored(NamedTuple):
    """What a fitted run left.

    Attributes:
        request: what was asked.
        system: model and engine as they were built.
        kept: what training left.
    """

    request: Request
    system: Any
    kept: Any


def read_stored(path: Path, experiment: str, kind: str, outline: Callable[[dict[str, Any], Any], Any]) -> Stored:
    """Read a fitted run of one kind.

    Args:
        path: its folder.
        experiment: what stands in the place of an experiment's id.
        kind: what follows "a run of `homeostat fit`" in a message.
        outline: builds the system from the configuration and what the data were described as.

    Raises:
        BadInputError: it is no such run, or not trained yet.
        CheckpointError: it is damaged, or from another version of the code.
    """
    request = read_request(path)
    if request.experiment != experiment:
        raise BadInputError(
            f"Expected a run of `homeostat fit`{kind}, got one of {request.experiment} in {path}. Name the folder of a fit{kind}."
        )
    precision = jnp.finfo(jnp.result_type(float)).bits
    if precision != request.precision:
        raise BadInputError(
            f"Expected {request.precision}-bit numbers, with which {path} was fitted, got {precision}-bit. "
            f"Set JAX_ENABLE_X64={int(request.precision == 64)} and try again."
        )
    checkpoints = path / "checkpoints"
    if not has_checkpoint(checkpoints / "model.kept.npz"):
        raise BadInputError(
            f"Expected a fitted model in {path}, got a run that is not finished: homeostat resume {path}"
        )
    described = load_checkpoint(checkpoints / "describe.stage.npz", identity=f"{request.identity}: /describe").tree
    system = outline(request.config, described)
    kept = load_checkpoint(
        checkpoints / "model.kept.npz", like=system.start(), identity=f"{request.identity}: /model"
    ).tree
    return Stored(request, system, kept)


def open_new_rows(fitted: Fitted, data: str, terminal: Terminal) -> AbstractRows:
    """New rows for a fitted run, checked.

    Raises:
        BadInputError: other features than it was fitted to, or numbers that its likelihood cannot explain.
    """
    rows = open_rows(data, message=terminal.say)
    require_shape(rows, fitted.observations.shape, of=f"the run in {fitted.path}")
    check_rows(rows, *requirements(fitted.observations))
    return rows


def blocks(rows: AbstractRows, observations: Observations, size: int) -> Iterator[tuple[int, int, np.ndarray]]:
    """First row, number of rows, and the rows as the model sees them, filled up to `size`, so that one program serves all."""
    start = 0
    for chunk in rows.chunks(size):
        count = len(chunk)
        filled = chunk if count == size else np.concatenate([chunk, np.repeat(chunk[:1], size - count, axis=0)])
        yield start, count, observations.prepare(filled)
        start += count


def block_size(num_rows: int) -> int:
    """Rows worked on at once."""
    return min(_ROWS_AT_ONCE, num_rows)


@eqx.filter_jit
def explain(
    perception: InferenceSetup, block: jax.Array, numbers: jax.Array, key: jax.Array, binarized: bool, num_samples: int
) -> Explained:
    """Infer every row of a block; what a row gets depends on its number and not on the block.

    Args:
        perception: model and engine.
        block: rows as the model sees them.
        numbers: of the rows.
        key: of all rows.
        binarized: whether fractions are drawn as black and white.
        num_samples: for the terms of the free energy.
    """
    model, engine, family, num_steps, objective = perception

    def one(x: jax.Array, number: jax.Array) -> Explained:
        draw_key, infer_key, terms_key, mean_key = jax.random.split(jax.random.fold_in(key, number), 4)
        x = jax.random.bernoulli(draw_key, x).astype(x.dtype) if binarized else x
        evidence = Evidence(x)
        found = infer(objective, engine, family, evidence, key=infer_key, num_steps=num_steps, throw=False)
        q = found.distribution
        terms = FreeEnergy(model, MonteCarlo(num_samples)).terms(q, evidence, key=terms_key)
        mean = posterior_mean(q, key=mean_key)
        failed = found.result != RESULTS.successful
        return Explained(found.params, mean, terms.distortion_nats, jnp.sum(terms.rates_nats), failed)

    return jax.vmap(one)(block, numbers)


def host_rows(block: np.ndarray) -> np.ndarray:
    """A block with real numbers in the default type."""
    return block.astype(jnp.result_type(float)) if block.dtype.kind == "f" else block


def device_rows(block: np.ndarray) -> jax.Array:
    """A block on the device, real numbers in the default type."""
    return jnp.asarray(host_rows(block))


class Measured(NamedTuple):
    """One array over rows each; what `homeostat evaluate` averages.

    Attributes:
        elbo_nats: bound on log p(x).
        distortion_nats: E_q[-log p(x | z)].
        rate_nats: KL(q || p).
        log_likelihood_nats: importance-weighted estimate of log p(x).
        monte_carlo_stderr_nats: its standard error from the samples.
        pareto_k: shape of the weights' tail.
        failed: whether inference ended non-finite.
    """

    elbo_nats: np.ndarray
    distortion_nats: np.ndarray
    rate_nats: np.ndarray
    log_likelihood_nats: np.ndarray
    monte_carlo_stderr_nats: np.ndarray
    pareto_k: np.ndarray
    failed: np.ndarray


def measure(
    perception: InferenceSetup,
    observations: Observations,
    rows: AbstractRows,
    *,
    num_samples: int,
    key: jax.Array,
    terminal: Terminal,
) -> Measured:
    """Bound and importance-weighted likelihood of every row, in the unit of the data."""
    size = min(32, rows.num_rows)
    parts = []
    with terminal.progress("evaluating rows", rows.num_rows) as bar:
        for start, count, prepared in blocks(rows, observations, size):
            draw_key, block_key = jax.random.split(jax.random.fold_in(key, start))
            block = device_rows(prepared)
            block = jax.random.bernoulli(draw_key, block).astype(block.dtype) if observations.binarized else block
            found = evaluate(
                perception.model,
                perception.engine,
                perception.family,
                block,
                key=block_key,
                num_steps=perception.num_steps,
                num_samples=num_samples,
                objective=perception.objective,
                batch_size=16,
            )
            arrays = Measured(
                found.elbo_nats,
                found.terms.distortion_nats,
                jnp.sum(found.terms.rates_nats, axis=-1),
                found.likelihood.log_likelihood_nats,
                found.likelihood.stderr_nats,
                found.likelihood.pareto_k,
                found.failed,
            )
            parts.append(Measured(*(np.asarray(array)[:count] for array in arrays)))
            bar.move_to(start + count, f"log-likelihood {parts[-1].log_likelihood_nats.mean():.4g} nats")
    joined = Measured(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
    unit = observations.log_unit_nats
    return joined._replace(
        elbo_nats=joined.elbo_nats - unit,
        distortion_nats=joined.distortion_nats + unit,
        log_likelihood_nats=joined.log_likelihood_nats - unit,
    )


def summarize(measured: Measured, observations: Observations, rows: AbstractRows) -> dict[str, Any]:
    """Averages over rows, with standard errors over rows, in the units that make sense for the likelihood."""
    value, stderr = mean_with_error(jnp.asarray(measured.log_likelihood_nats))
    elbo, elbo_stderr = mean_with_error(jnp.asarray(measured.elbo_nats))
    count = len(measured.elbo_nats)
    found = {
        "rows": count,
        "elbo_nats": float(elbo),
        "elbo_stderr_nats": float(elbo_stderr),
        "log_likelihood_nats": float(value),
        "stderr_nats": float(stderr),
        "monte_carlo_stderr_nats": float(np.sqrt(np.sum(measured.monte_carlo_stderr_nats**2)) / count),
        "distortion_nats": float(measured.distortion_nats.mean()),
        "rate_nats": float(measured.rate_nats.mean()),
        "share_pareto_k_above_0.7": float(np.mean(~(measured.pareto_k <= 0.7))),
        "failed_rows": int(measured.failed.sum()),
    }
    if observations.discrete and observations.likelihood != "multinomial":
        found["bits_per_dimension"] = float(bits_per_dimension(-value, observations.size))
    if observations.likelihood == "multinomial":
        totals = np.concatenate([chunk.reshape(len(chunk), -1).sum(axis=1) for chunk in rows.chunks(4096)])
        found["perplexity"] = float(perplexity(jnp.asarray(measured.log_likelihood_nats), jnp.asarray(totals)).value)
    return found


@contextlib.contextmanager
def timed(result: dict[str, Any]) -> Iterator[None]:
    """Put the seconds of the block into a result."""
    start = time.monotonic()
    yield
    result["seconds"] = round(time.monotonic() - start, 3)
