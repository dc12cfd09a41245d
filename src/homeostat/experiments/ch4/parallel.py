"""Kalman filters and smoothers in sequence and in parallel in time: wall-clock against the length of the sequence.

Both orders give the same beliefs. The sequential one takes T steps of little arithmetic each; the parallel one log T steps of
more, which pays where many cores or an accelerator can work on all times at once. What is measured is one compiled call, compile
time apart, the median of several. The recursion that `Kalman()` takes by default should be the one that wins on the machine at hand:
on processors with few cores that is the sequential one.

Scales: `smoke` up to 1,000 steps; `small` and `paper` up to 100,000, `paper` with more repeats (and an accelerator, where there is
one: the table names the device).
"""

from dataclasses import dataclass
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ... import viz
from ...distributions import AbstractRecursion, Parallel, Sequential
from ...inference import RauchTungStriebel, filter
from ...inference.filters import GaussianBelief, Kalman
from ...metrics import median_seconds
from ...runs import AtMost, Claim, Minutes, RunContext
from ...typing import Array, Float, Key
from ..kit import EVERYWHERE, at, scales
from ._linear_systems import random_system

SOURCE = "section 'Parallel-in-time' of the plan for chapter 4; Sarkka and Garcia-Fernandez 2021"
MINUTES = Minutes(smoke=0.2, small=3.0, paper=10.0)
_AGREE = "largest difference of smoothed means, in parallel and in sequence, over the largest absolute mean"
_DEFAULT = (
    "seconds of the default recursion over those of the faster one, the largest over lengths, filter and smoother"
)
CLAIMS = (
    Claim("parallel/agree", SOURCE, _AGREE, "ratio", AtMost(1e-2), scales=EVERYWHERE),
    # A tenth is what repeated timings on a shared machine differ by.
    Claim("parallel/default", SOURCE, _DEFAULT, "ratio", AtMost(1.1)),
)
_RECURSIONS: dict[str, AbstractRecursion] = {"sequential": Sequential(), "parallel": Parallel()}


@dataclass(frozen=True)
class Config:
    """Options of this experiment."""

    lengths: tuple[int, ...] = (100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)
    """Lengths of sequences (count)."""
    dim: int = 4
    """State coordinates (count)."""
    observed: int = 2
    """Observed coordinates (count)."""
    smoother: bool = True
    """Whether the smoother is timed as well."""
    repeats: int = 5
    """Runs of which the median is taken, after one that does not count (count)."""

    for_scale = scales(smoke=at(lengths=(100, 1_000), smoother=False, repeats=3), paper=at(repeats=15))


def run(config: Config, context: RunContext, *, key: Key) -> None:
    """Run the experiment."""
    found = [context.stage(f"length-{length}", partial(timed, config, length), key=key) for length in config.lengths]
    seconds = np.stack([np.asarray(each) for each, _ in found])
    context.measure("parallel/agree", max(float(difference) for _, difference in found))
    default = list(_RECURSIONS.values()).index(Kalman().recursion)
    context.measure("parallel/default", float((seconds[:, :, default] / seconds.min(axis=2)).max()))
    problems = ("filter", "filter and smoother")[: seconds.shape[1]]
    device = jax.devices()[0]
    rows = []
    for column, problem in enumerate(problems):
        for length, each in zip(config.lengths, seconds[:, column], strict=True):
            told, faster = (f"{1e3 * value:.3g}" for value in each), list(_RECURSIONS)[int(np.argmin(each))]
            rows.append((problem, f"{length:,}", *told, f"{each[0] / each[1]:.2f}", faster))
    context.table(
        "seconds",
        ("problem", "length", "sequential (ms)", "parallel (ms)", "sequential over parallel", "faster"),
        rows,
        caption=f"Median of {config.repeats} runs on {device.device_kind} ({device.platform}), {config.dim} state and "
        f"{config.observed} observed coordinates, without compilation.",
    )
    curves = [
        viz.CostCurve(f"{problem}, {name}", np.asarray(config.lengths, float), seconds[:, column, index])
        for column, problem in enumerate(problems)
        for index, name in enumerate(_RECURSIONS)
    ]
    context.figure(
        "cost",
        viz.plot_cost(curves, label="length of the sequence (steps)"),
        caption=f"Wall-clock of Kalman filtering and smoothing on {device.device_kind}, median of {config.repeats} runs.",
    )


def timed(config: Config, length: int, *, key: Key) -> tuple[Float[Array, "problems recursions"], Float[Array, ""]]:
    """Seconds of all recursions on one sequence, for filter and smoother, and the largest relative difference of their means."""
    build = eqx.filter_jit(partial(random_system, config.dim, config.observed, 1, length))
    sequence = build(key=key)

    @eqx.filter_jit
    def means(recursion: AbstractRecursion, smoothed: bool, model, observations, actions) -> tuple[Array, Array]:
        method = Kalman(recursion=recursion)
        found = filter(method, model, observations, actions, key=key, throw=False)
        assert isinstance(found.beliefs, GaussianBelief)
        if not smoothed:
            return found.beliefs.loc, found.free_energy_nats
        path = RauchTungStriebel(method, recursion)(model, found, actions)
        return path.beliefs.loc, path.log_evidence_nats

    inputs = (sequence.model, sequence.observations, sequence.actions)
    seconds, differences = [], []
    for smoothed in (False, True)[: 1 + config.smoother]:
        calls = [partial(means, recursion, smoothed, *inputs) for recursion in _RECURSIONS.values()]
        seconds.append([median_seconds(call, repeats=config.repeats) for call in calls])
        first, second = (np.asarray(call()[0]) for call in calls)
        differences.append(np.abs(first - second).max() / np.abs(first).max())
    return jnp.asarray(seconds, float), jnp.asarray(max(differences), float)
