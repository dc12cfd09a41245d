"""What an iteration of predictive coding and of iterative inference costs, in multiply-adds and in time."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

from ...core import AbstractEngine
from ...distributions import Delta, DeltaParams
from ...inference import infer
from ...inference.engines import PredictiveCoding
from ...objectives import Evidence, FreeEnergy
from ...typing import Array, Float, PyTree
from ._coding import encode_rows
from ._coding_training import Candidates


class CodingCosts(NamedTuple):
    """What inference costs.

    Attributes:
        coding: multiply-adds in weight matrices of one step of predictive coding on one observation: one pass of predictions
            down, one of errors up.
        gradient: of one iteration of iterative inference that reads gradients: the same two passes and the update network.
        data: the same where it reads the observation.
        encoder: of the feedforward pass.
        seconds: least wall-clock time of predictive coding, of it after a feedforward pass, and of iterative inference with gradients and
            with data, for the rows at once, [4, iterations].
    """

    coding: float
    gradient: float
    data: float
    encoder: float
    seconds: Float[np.ndarray, "4 iterations"]


def costs(candidates: Candidates, rows: Float[Array, "n size"], iterations: Sequence[int]) -> CodingCosts:
    """Count and time."""
    model, dim = candidates.model, candidates.model.initial().event_shape[0]
    decoder = _matrix_entries(model)

    @eqx.filter_jit
    def run(engine: AbstractEngine, rows: Array, starts: Array, num_steps: int) -> Array:
        def one(row: Array, start: Array) -> Array:
            return infer(
                FreeEnergy(model), engine, Delta(dim), Evidence(row), key=jr.key(0), params=DeltaParams(start),
                num_steps=num_steps, throw=False,
            ).params.loc  # fmt: skip

        return jax.vmap(one)(rows, starts)

    coding = PredictiveCoding(optax.sgd(0.01))
    starts = jnp.zeros((len(rows), dim), rows.dtype)
    tasks = {
        "coding": lambda k: run(coding, rows, starts, k),
        "forward": lambda k: run(coding, rows, encode_rows(candidates.encoder, rows), k - 1),
        "gradient": lambda k: run(candidates.gradient, rows, starts, k),
        "data": lambda k: run(candidates.data, rows, starts, k),
    }
    seconds = [[_least_seconds(partial(task, k)) for k in iterations] for task in tasks.values()]
    return CodingCosts(
        2.0 * decoder,
        2.0 * decoder + _matrix_entries(candidates.gradient),
        2.0 * decoder + _matrix_entries(candidates.data),
        float(_matrix_entries(candidates.encoder)),
        np.asarray(seconds),
    )


def _least_seconds(function: Callable[[], PyTree], *, repeats: int = 15) -> float:
    """Least wall-clock seconds of a compiled function: what else the machine does can only add to it."""
    jax.block_until_ready(function())
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        jax.block_until_ready(function())
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def _matrix_entries(tree: PyTree) -> int:
    """Multiply-adds of one pass through dense layers."""
    return sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array)) if leaf.ndim == 2)
