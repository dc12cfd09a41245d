"""Particle filters: a bootstrap filter of 1,000 particles over 1,000 steps, against two peers in one run.

Run `python benchmarks/particle_filters.py`. The model is a linear-Gaussian one of two states, so the exact evidence is known. Compared on
the same observations, all with systematic resampling where fewer than half of the particles are effective:

- `Particle` with the library's own `systematic`, and with cuthbert's scheme of that name;
- cuthbert's own particle filter;
- the `particles` package, where it is installed.

Every entry is the median over `repeats`; compilation stands apart. Quality stands next to the seconds: the mean and the standard
deviation of the estimated log evidence less the exact one, over as many runs. Expect both to be alike for all of them.
"""

import dataclasses
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import tyro
from cuthbert import filter as cuthbert_filter
from cuthbert.smc import particle_filter
from cuthbertlib import resampling
from rich.console import Console
from rich.table import Table

from homeostat import filter
from homeostat.inference.filters import Kalman, Particle
from homeostat.models.sequential import LinearDynamics, LinearGaussian


@dataclasses.dataclass(frozen=True)
class Config:
    """What to measure."""

    particles: int = 1_000
    """particles"""
    time: int = 1_000
    """observations"""
    repeats: int = 20
    """repeats to take the median of"""
    json: Path | None = None
    """file for the result"""


def linear_model() -> LinearGaussian:
    """A damped rotation, of which one coordinate is seen."""
    dynamics = LinearDynamics(jnp.array([[0.9, 0.2], [-0.2, 0.9]]), None, 0.3 * jnp.eye(2))
    return LinearGaussian(jnp.zeros(2), jnp.eye(2), dynamics, jnp.array([[1.0, 0.0]]), 0.5 * jnp.eye(1))


def ours(config: Config, scheme: Any) -> Callable[[Any, Any], Any]:
    """Log evidence by `Particle`; with None its own scheme."""
    method = Particle(config.particles) if scheme is None else Particle(config.particles, scheme)

    def run(observations: jax.Array, key: jax.Array) -> jax.Array:
        return -filter(method, linear_model(), observations, key=key, throw=False).free_energy_nats

    return jax.jit(run)


def peer(config: Config, scheme: Any) -> Callable[[Any, Any], Any]:
    """Log evidence by cuthbert's filter; its state before the first observation does not move."""
    model = linear_model()

    def propagate(key: jax.Array, state: jax.Array, inputs: Any) -> jax.Array:
        return jnp.where(inputs[1], state, model.transition(state).sample(key))

    def potential(previous: jax.Array, state: jax.Array, inputs: Any) -> jax.Array:
        return model.emission(state).log_prob(inputs[0])

    built = particle_filter.build_filter(model.initial().sample, propagate, potential, config.particles, scheme)

    def run(observations: jax.Array, key: jax.Array) -> jax.Array:
        start_key, key = jr.split(key)
        inputs = (observations, jnp.arange(config.time) == 0)
        states = cuthbert_filter(built, inputs, built.init_prepare(key=start_key), key=key)
        return states.log_normalizing_constant[-1]

    return jax.jit(run)


def package(config: Config) -> Callable[[Any, Any], Any] | None:
    """Log evidence by the `particles` package, or None where it cannot be imported."""
    try:
        import particles  # pyright: ignore[reportMissingImports]
        from particles import distributions, state_space_models  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    model = linear_model()
    matrix, noise = np.asarray(model.dynamics.step().matrix), np.asarray(model.dynamics.step().scale_tril)

    class Chain(state_space_models.StateSpaceModel):
        """The same model."""

        def PX0(self):
            return distributions.MvNormal(cov=np.eye(2))

        def PX(self, t, xp):
            return distributions.MvNormal(loc=xp @ matrix.T, cov=noise @ noise.T)

        def PY(self, t, xp, x):
            return distributions.Normal(loc=x[:, 0], scale=0.5)

    def run(observations: jax.Array, key: jax.Array) -> float:
        data = np.asarray(observations)[:, 0]
        bootstrap = state_space_models.Bootstrap(ssm=Chain(), data=data)
        method = particles.SMC(fk=bootstrap, N=config.particles, resampling="systematic", ESSrmin=0.5)
        method.run()
        return float(method.logLt)

    return run


def main(config: Config) -> None:
    """Measure, and print a table."""
    model = linear_model()
    observations = model.sample(jnp.zeros((config.time - 1, 0)), key=jr.key(0)).observations
    exact = float(-filter(Kalman(), model, observations, key=jr.key(0)).free_energy_nats)
    cuthbert_scheme = resampling.ess_decorator(resampling.systematic.resampling, 0.5)
    candidates = {
        "Particle": ours(config, None),
        "Particle, cuthbert's systematic": ours(config, cuthbert_scheme),
        "cuthbert": peer(config, cuthbert_scheme),
        "particles": package(config),
    }
    results = []
    for name, run in candidates.items():
        if run is None:
            continue
        start = time.perf_counter()
        jax.block_until_ready(run(observations, jr.key(0)))
        first, seconds, estimates = time.perf_counter() - start, [], []
        for index in range(config.repeats):
            start = time.perf_counter()
            value = jax.block_until_ready(run(observations, jr.key(index + 1)))
            seconds.append(time.perf_counter() - start)
            estimates.append(float(value) - exact)
        median = float(np.median(seconds))
        results.append(
            {
                "filter": name,
                "milliseconds": round(1e3 * median, 2),
                "first_call_seconds": round(first - median, 2),
                "error_nats": round(float(np.mean(estimates)), 3),
                "deviation_nats": round(float(np.std(estimates)), 3),
            }
        )
    report(config, results)


def report(config: Config, results: list[dict[str, Any]]) -> None:
    """The table, with the time of each peer in units of ours."""
    base = results[0]["milliseconds"]
    table = Table(title=f"Bootstrap filter, {config.particles:,} particles, {config.time:,} steps")
    for heading in ("filter", "ms", "time / Particle's", "compilation, s", "error of log evidence, nats"):
        table.add_column(heading, justify="left" if heading == "filter" else "right")
    for row in results:
        row["ratio"] = round(row["milliseconds"] / base, 2)
        error = f"{row['error_nats']:.2f} +- {row['deviation_nats']:.2f}"
        table.add_row(
            row["filter"],
            f"{row['milliseconds']:.1f}",
            f"{row['ratio']:.2f}",
            f"{row['first_call_seconds']:.1f}",
            error,
        )
    if len(results) < 4:
        table.caption = "The particles package is not installed."
    Console(width=120).print(table)
    if config.json is not None:
        machine = {"processor": platform.machine(), "cores": os.cpu_count(), "jax": jax.__version__}
        record = {"config": {**dataclasses.asdict(config), "json": None}, "machine": machine, "results": results}
        config.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(tyro.cli(Config))
