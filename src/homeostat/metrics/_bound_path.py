"""The bound on log p(x) along inference: before the first step of an engine and after each."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr

from ..core import AbstractEngine, AbstractFamily, AbstractModel
from ..distributions import AbstractExpectation, MonteCarlo
from ..inference import infer
from ..objectives import Evidence, FreeEnergy
from ..typing import Array, Float, Key, PyTree


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
    arguments = (model, engine, family, training_expectation, expectation)
    return _bound_path(arguments, rows, key, num_steps, start, batch_size)


@eqx.filter_jit
def _bound_path(
    arguments: tuple, rows: Array, key: Key, num_steps: int, start: PyTree, batch_size: int
) -> Float[Array, "rows moments"]:
    model, engine, family, seen, reported = arguments
    family = family.given(model.initial())
    measured = FreeEnergy(model, reported)

    def one(row: tuple[Array, Key]) -> Float[Array, " moments"]:
        observation, row_key = row
        evidence, infer_key, measure_key = Evidence(observation), *jr.split(row_key)
        path = estimates(
            model, engine, family, evidence, num_steps=num_steps, key=infer_key, expectation=seen, start=start
        )
        return -jax.lax.map(lambda params: measured(family(params), evidence, key=measure_key), path)

    return jax.lax.map(one, (rows, jr.split(key, rows.shape[0])), batch_size=min(batch_size, rows.shape[0]))


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
