"""Kalman filters and hidden Markov smoothers beside dynamax, and Kalman filters in sequence and in parallel.

Run `python benchmarks/filtering.py`. Compared in one run, on the same numbers, at the same precision (32-bit unless
`JAX_ENABLE_X64=1`), each as one compiled program:

- log evidence of a linear-Gaussian model: `filter(Kalman(), ...)` step by step, `Kalman().filter`, dynamax's `lgssm_filter`;
- marginals and pairwise marginals of a hidden Markov model: `smooth(ForwardBackward(), ...)` and dynamax's `hmm_smoother`, from
  the observations on, and distrax's `forward_backward` where distrax can be imported;
- all filtered beliefs with `Sequential()` and `Parallel()` over lengths from 100 to 1,000 (`homeostat run ch4/parallel` goes on to 100,000);
- log evidence over sizes of the state and over sequences at once, beside dynamax's.

With `--figure FILE` the last two are drawn as well: the figure of the page on filters.

Rows of one comparison are timed in turn, so that a busy machine slows all of them; the tables show medians. Beside the seconds
stands the largest difference of the result from the peer's.
"""

import os

# As the command line does (see docs/filters.md); for both sides of every comparison.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_enable_concurrency_optimized_scheduler=false")

import contextlib
import dataclasses
import importlib
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import tyro
from dynamax.hidden_markov_model import hmm_smoother
from dynamax.linear_gaussian_ssm import inference as peer
from rich.console import Console
from rich.table import Table

from homeostat.distributions import Parallel, Sequential
from homeostat.inference import ForwardBackward, filter, smooth
from homeostat.inference.filters import Forward, GaussianBelief, Kalman
from homeostat.models.sequential import GaussianEmissions, HiddenMarkov, LinearDynamics, LinearGaussian

matplotlib.use("Agg")

distrax: Any = None
with contextlib.suppress(ImportError):
    distrax = importlib.import_module("distrax")


@dataclasses.dataclass(frozen=True)
class Config:
    """What to measure."""

    time: int = 1_000
    """length of the sequences in the first two comparisons"""
    dim: int = 4
    """coordinates of the state and of the observation"""
    states: int = 10
    """states of the hidden Markov model"""
    lengths: tuple[int, ...] = (100, 300, 1_000)
    """lengths at which sequential and parallel filters are compared"""
    dims: tuple[int, ...] = (2, 4, 8, 16)
    """sizes of the state at which log evidences are compared, at `time` steps"""
    batches: tuple[int, ...] = (1, 4, 16, 64)
    """numbers of sequences at once, of `time` steps"""
    repeats: int = 11
    """runs to take the median of"""
    figure: Path | None = None
    """file for a figure of the scaling with length, size and number"""
    json: Path | None = None
    """file for the result"""


def linear_gaussian(dim: int) -> LinearGaussian:
    """A stable system, all of whose coordinates are seen in noise."""
    keys = jr.split(jr.key(0), 2)
    rotation = jnp.linalg.qr(jr.normal(keys[0], (dim, dim)))[0]
    dynamics = LinearDynamics(0.95 * rotation, None, 0.3 * jnp.eye(dim))
    return LinearGaussian(jnp.zeros(dim), jnp.eye(dim), dynamics, jr.normal(keys[1], (dim, dim)), 0.5 * jnp.eye(dim))


def timed(entries: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]], repeats: int) -> dict[str, Any]:
    """For each entry its result, the seconds of the first call, and the median of the later ones, taken in turn."""
    results, seconds = {}, {name: [] for name in entries}
    for _ in range(repeats + 1):
        for name, (function, arguments) in entries.items():
            start = time.perf_counter()
            results[name] = jax.block_until_ready(function(*arguments))
            seconds[name].append(time.perf_counter() - start)
    return {
        name: {"result": results[name], "first": taken[0], "median": float(np.median(taken[1:]))}
        for name, taken in seconds.items()
    }


def peer_params(model: LinearGaussian) -> Any:
    """The same model as dynamax has it."""
    dim = model.initial_mean.shape[0]
    square = lambda factor: factor @ factor.T  # noqa: E731
    return peer.ParamsLGSSM(
        initial=peer.ParamsLGSSMInitial(mean=model.initial_mean, cov=square(model.initial_scale_tril)),
        dynamics=peer.ParamsLGSSMDynamics(
            weights=model.dynamics.step().matrix,
            bias=jnp.zeros(dim),
            input_weights=jnp.zeros((dim, 0)),
            cov=square(model.dynamics.step().scale_tril),
        ),
        emissions=peer.ParamsLGSSMEmissions(
            weights=model.emission_matrix,
            bias=jnp.zeros(dim),
            input_weights=jnp.zeros((dim, 0)),
            cov=square(model.emission_scale_tril),
        ),
    )


def their_evidence(params: Any, observations: jax.Array) -> Any:
    """log p(x) by dynamax."""
    return peer.lgssm_filter(params, observations).marginal_loglik


def our_evidence(model: LinearGaussian, observations: jax.Array) -> jax.Array:
    """log p(x) by the verb."""
    return -filter(Kalman(), model, observations, key=jr.key(2), throw=False).free_energy_nats


def kalman(config: Config) -> list[dict[str, Any]]:
    """Log evidence."""
    model = linear_gaussian(config.dim)
    observations = model.sample(jnp.zeros((config.time - 1, 0)), key=jr.key(1)).observations
    entries = {
        "dynamax lgssm_filter": (jax.jit(their_evidence), (peer_params(model), observations)),
        "filter(Kalman())": (jax.jit(our_evidence), (model, observations)),
        "Kalman().filter": (
            jax.jit(lambda m, x: -jnp.sum(Kalman().filter(m, x).info.free_energy_nats)),
            (model, observations),
        ),
    }
    return rows(f"log evidence, T = {config.time}, n = {config.dim}", timed(entries, config.repeats))


def sizes(config: Config) -> list[dict[str, Any]]:
    """Log evidence against the size of the state."""
    found = []
    for dim in config.dims:
        model = linear_gaussian(dim)
        observations = model.sample(jnp.zeros((config.time - 1, 0)), key=jr.key(1)).observations
        entries = {
            "dynamax": (jax.jit(their_evidence), (peer_params(model), observations)),
            "filter(Kalman())": (jax.jit(our_evidence), (model, observations)),
        }
        found += rows(f"log evidence, T = {config.time}, n = {dim}", timed(entries, config.repeats))
    return found


def batches(config: Config) -> list[dict[str, Any]]:
    """Log evidence of many sequences at once."""
    model, found = linear_gaussian(config.dim), []
    sample = jax.vmap(lambda key: model.sample(jnp.zeros((config.time - 1, 0)), key=key).observations)
    for number in config.batches:
        observations = sample(jr.split(jr.key(1), number))
        entries = {
            "dynamax": (jax.jit(jax.vmap(their_evidence, (None, 0))), (peer_params(model), observations)),
            "filter(Kalman())": (jax.jit(jax.vmap(our_evidence, (None, 0))), (model, observations)),
        }
        task = f"log evidence, {number} sequences, T = {config.time}, n = {config.dim}"
        found += rows(task, timed(entries, config.repeats))
    return found


def hidden_markov(config: Config) -> list[dict[str, Any]]:
    """Marginals and pairwise marginals."""
    count = config.states
    keys = jr.split(jr.key(3), 3)
    locs, chain = 3.0 * jr.normal(keys[0], (count, 2)), jax.nn.softmax(jr.normal(keys[1], (count, count)), axis=-1)
    emissions = GaussianEmissions(locs, jnp.broadcast_to(jnp.eye(2), (count, 2, 2)))
    model = HiddenMarkov.from_probabilities(jnp.full(count, 1.0 / count), chain, emissions)
    observations = 3.0 * jr.normal(keys[2], (config.time, 2))

    def theirs(m: HiddenMarkov, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        found = hmm_smoother(jnp.full(count, 1.0 / count), chain, jax.vmap(m.log_likelihoods)(x))
        return found.smoothed_probs, found.trans_probs

    def ours(m: HiddenMarkov, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        found = smooth(ForwardBackward(Forward()), m, x, throw=False)
        return found.beliefs.probabilities, jnp.sum(found.pairwise, axis=0)

    entries = {"dynamax hmm_smoother": (jax.jit(theirs), (model, observations))}
    entries["smooth(ForwardBackward())"] = (jax.jit(ours), (model, observations))
    if distrax is not None:
        chained = distrax.HMM(
            distrax.Categorical(probs=jnp.full(count, 1.0 / count)),
            distrax.Categorical(probs=chain),
            distrax.MultivariateNormalDiag(locs, jnp.ones((count, 2))),
        )
        entries["distrax forward_backward (marginals only)"] = (
            jax.jit(lambda x: (chained.forward_backward(x)[2],)),
            (observations,),
        )
    return rows(f"hidden Markov smoothing, T = {config.time}, K = {count}", timed(entries, config.repeats))


def lengths(config: Config) -> list[dict[str, Any]]:
    """Sequential and parallel filters."""
    model, found = linear_gaussian(config.dim), []
    for length in config.lengths:
        observations = model.sample(jnp.zeros((length - 1, 0)), key=jr.key(4)).observations

        def run(recursion: Any) -> Callable[..., Any]:
            return jax.jit(lambda m, x: cast(GaussianBelief, Kalman(recursion=recursion).filter(m, x).beliefs).mean)

        entries = {
            "Sequential()": (run(Sequential()), (model, observations)),
            "Parallel()": (run(Parallel()), (model, observations)),
        }
        found += rows(f"all Kalman beliefs, T = {length}, n = {config.dim}", timed(entries, config.repeats))
    return found


def rows(task: str, measured: dict[str, Any]) -> list[dict[str, Any]]:
    """One record for each entry; the first is the one the others are compared with."""
    reference = next(iter(measured.values()))
    expected = jax.tree.leaves(reference["result"])
    return [
        {
            "task": task,
            "entry": name,
            "median_seconds": entry["median"],
            "first_call_seconds": entry["first"],
            "times_as_fast": reference["median"] / entry["median"],
            "largest_difference": max(
                float(jnp.max(jnp.abs(a - b))) for a, b in zip(jax.tree.leaves(entry["result"]), expected, strict=False)
            ),
        }
        for name, entry in measured.items()
    ]


def draw(config: Config, panels: list[tuple[str, tuple[int, ...], list[dict[str, Any]]]]) -> None:
    """One panel for each quantity, seconds against it, both on logarithmic axes."""
    figure, axes = plt.subplots(1, len(panels), figsize=(3.2 * len(panels), 2.8), layout="constrained")
    for axis, (label, values, found) in zip(axes, panels, strict=True):
        for name in dict.fromkeys(row["entry"] for row in found):
            seconds = [row["median_seconds"] for row in found if row["entry"] == name]
            axis.loglog(values, 1e3 * np.array(seconds), marker="o", markersize=4, label=name)
        axis.set_xlabel(label)
        axis.set_xticks(values, [f"{value:,}" for value in values])
        axis.set_xticks([], minor=True)
        axis.legend(frameon=False, fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("median, ms")
    figure.savefig(config.figure, dpi=120)


def main(config: Config) -> None:
    """Measure and print."""
    by_length, by_size, by_number = lengths(config), sizes(config), batches(config)
    found = kalman(config) + hidden_markov(config) + by_length + by_size + by_number
    if config.figure is not None:
        draw(
            config,
            [
                (f"length (n = {config.dim})", config.lengths, by_length),
                (f"state coordinates (T = {config.time:,})", config.dims, by_size),
                (f"sequences (T = {config.time:,}, n = {config.dim})", config.batches, by_number),
            ],
        )
    table = Table(title=f"{jax.default_backend()}, {os.cpu_count()} cores, {jnp.zeros(()).dtype}")
    for column in ("task", "entry", "median, ms", "first call, s", "times as fast", "largest difference"):
        table.add_column(column, justify="left" if column in ("task", "entry") else "right")
    for row in found:
        table.add_row(
            row["task"],
            row["entry"],
            f"{1e3 * row['median_seconds']:.2f}",
            f"{row['first_call_seconds']:.2f}",
            f"{row['times_as_fast']:.2f}",
            f"{row['largest_difference']:.1e}",
        )
    console = Console(width=150)
    console.print(table)
    if distrax is None:
        console.print("distrax could not be imported: hidden Markov smoothing is compared with dynamax alone.")
    if config.json is not None:
        machine = {"processor": platform.machine(), "cores": os.cpu_count(), "jax": jax.__version__}
        record = {"backend": jax.default_backend(), "machine": machine, "repeats": config.repeats, "results": found}
        config.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(tyro.cli(Config))
