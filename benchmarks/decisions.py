"""Decisions per second: planning by expected free energy, one agent and 256 at a time.

Run `python benchmarks/decisions.py`. The task is that of `dsprites/control`: a Gaussian belief about a sprite's pose, linear
dynamics, a target pose. Compared in one run, on the same beliefs:

- all 81 one-step actions (`Enumerate`), a cross-entropy search and a path-integral search over three steps;
- a plain NumPy loop that computes the same one-step risk for the same 81 actions, one decision at a time, and the same
  vectorised over actions.

Every entry is the median over `repeats`; compilation stands apart. The decisions of the exhaustive planner and of NumPy
must agree, or the script fails. Searches report how often they choose an action that is as good as the best.
"""

import dataclasses
import itertools
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro.distributions as dist
import tyro
from rich.console import Console
from rich.table import Table

from homeostat.control import ActionSequences, Factored, ModelPredictive, TargetState, active_inference
from homeostat.core import PlanningContext
from homeostat.distributions import FullGaussian
from homeostat.inference.engines import MPPI, CrossEntropy, NaturalGradient
from homeostat.inference.filters import GaussianBelief, VariationalFilter
from homeostat.models.sequential import LinearDynamics, StateSpace
from homeostat.models.static import SpatialTransformer

STEP = np.array([0.1 / 0.171, 0.05, 32.0 / 31.0 / 9.24, 32.0 / 31.0 / 9.24])
ACTIONS = np.array(list(itertools.product((-1, 0, 1), repeat=4)))
DEVIATION = 0.5 * STEP
NOISE = 0.05 * STEP


@dataclasses.dataclass(frozen=True)
class Config:
    """What to measure."""

    batch: int = 256
    """agents deciding together, besides one alone"""
    repeats: int = 30
    """repeats to take the median of"""
    population: int = 96
    """plans in a generation of a search"""
    generations: int = 3
    """generations of a search"""
    json: Path | None = None
    """file for the result"""


def agents(config: Config) -> dict[str, ModelPredictive]:
    """The planners, all on the same objective."""
    preference = TargetState(jnp.zeros(4), jnp.asarray(DEVIATION, jnp.float32))
    plan = Factored(jnp.asarray((-1, 0, 1), jnp.int32), 4, 3)
    elites, steps = config.population // 12, config.generations
    return {
        "exhaustive, 81 actions": active_inference(preference, ActionSequences(jnp.asarray(ACTIONS, jnp.int32))),
        f"cross-entropy, 3 steps, {steps} x {config.population}": active_inference(
            preference, plan, engine=CrossEntropy(config.population, elites), num_steps=steps
        ),
        f"path integral, 3 steps, {steps} x {config.population}": active_inference(
            preference, plan, engine=MPPI(config.population, 1.0), num_steps=steps
        ),
    }


def risk(mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """KL from N(mean, covariance) to the preference; leading axes of `mean` are kept."""
    variance = DEVIATION**2
    quadratic = np.sum(mean**2 / variance, axis=-1) + np.sum(np.diag(covariance) / variance)
    return 0.5 * (quadratic - 4.0 + np.sum(np.log(variance)) - np.linalg.slogdet(covariance)[1])


def decide_by_loop(mean: np.ndarray, covariance: np.ndarray) -> int:
    """The best of 81 actions, one after another."""
    energies = [risk(mean + STEP * action, covariance + np.diag(NOISE**2)) for action in ACTIONS]
    return int(np.argmin(energies))


def decide_by_array(mean: np.ndarray, covariance: np.ndarray) -> int:
    """The best of 81 actions at once."""
    return int(np.argmin(risk(mean + STEP * ACTIONS, covariance + np.diag(NOISE**2))))


def median_seconds(function: Any, repeats: int) -> float:
    """Median time of a call that blocks until it is done."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def main(config: Config) -> None:
    """Measure, print, and write."""
    rng = np.random.default_rng(0)
    means = rng.standard_normal((config.batch, 4))
    factors = np.tile(np.diag(0.1 * STEP), (config.batch, 1, 1))
    beliefs = GaussianBelief(jnp.asarray(means, jnp.float32), jnp.asarray(factors, jnp.float32))
    dynamics = LinearDynamics(jnp.eye(4), jnp.diag(jnp.asarray(STEP)), jnp.diag(jnp.asarray(NOISE)))
    sprite = SpatialTransformer(jnp.ones((16, 16)), log_sigma=jnp.log(0.15))
    model = StateSpace(dist.Normal(jnp.zeros(4), jnp.ones(4)).to_event(1), dynamics, sprite)
    filter = VariationalFilter(NaturalGradient(rate=1.0), FullGaussian(4))
    covariance = factors[0] @ factors[0].T

    rows: list[dict[str, Any]] = []
    truth = np.array([decide_by_array(mean, covariance) for mean in means])
    for name, decide in (("NumPy, loop over actions", decide_by_loop), ("NumPy, vectorised", decide_by_array)):
        if not all(decide(mean, covariance) == best for mean, best in zip(means[:32], truth, strict=False)):
            raise AssertionError(f"{name} disagrees with the other NumPy planner.")
        seconds = (
            median_seconds(lambda decide=decide: [decide(mean, covariance) for mean in means[:8]], config.repeats) / 8
        )
        rows.append(
            {"planner": name, "batch": 1, "decisions_per_second": 1.0 / seconds, "compile_seconds": 0.0, "best": 1.0}
        )
    for name, agent in agents(config).items():

        def act(belief: GaussianBelief, key: jax.Array, agent: ModelPredictive = agent) -> jax.Array:
            return agent.act(PlanningContext(model, filter, belief), agent.init(), key=key)[0].action

        for batch in (1, config.batch):
            part = jax.tree.map(lambda leaf, n=batch: leaf[:n], beliefs)
            keys = jr.split(jr.key(0), batch)
            start = time.perf_counter()
            run = jax.jit(jax.vmap(act)).lower(part, keys).compile()
            compiling = time.perf_counter() - start
            chosen = np.asarray(run(part, keys))
            seconds = median_seconds(
                lambda run=run, part=part, keys=keys: jax.block_until_ready(run(part, keys)), config.repeats
            )
            # An action is as good as the best if its one-step risk is, to single precision.
            best = [risk(means[i] + STEP * ACTIONS[truth[i]], covariance) for i in range(batch)]
            got = [risk(means[i] + STEP * chosen[i], covariance) for i in range(batch)]
            share = float(np.mean(np.asarray(got) <= np.asarray(best) + 1e-3 * np.abs(best)))
            if name.startswith("exhaustive") and share < 1.0:
                raise AssertionError(f"The exhaustive planner and NumPy agree on only {share:.1%} of the decisions.")
            rows.append(
                {
                    "planner": name,
                    "batch": batch,
                    "decisions_per_second": batch / seconds,
                    "compile_seconds": compiling,
                    "best": share,
                }
            )
    table = Table(
        "planner", "batch", "decisions/s", "compile (s)", "as good as the best", title="Decisions per second (medians)"
    )
    for row in rows:
        table.add_row(
            row["planner"],
            str(row["batch"]),
            f"{row['decisions_per_second']:,.0f}",
            f"{row['compile_seconds']:.1f}",
            f"{row['best']:.1%}",
        )
    Console().print(table)
    if config.json is not None:
        machine = {
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "jax": jax.__version__,
        }
        config.json.write_text(
            json.dumps({"benchmark": "decisions", "machine": machine, "rows": rows}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main(tyro.cli(Config))
