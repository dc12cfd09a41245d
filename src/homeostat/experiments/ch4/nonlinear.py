"""Known nonlinear systems: amortized variational filtering and a direct filter beside extended, unscented and particle filters.

The growth model, stochastic volatility, Lorenz-63 and a pendulum seen in pictures. Every filter knows the system; the two
learned ones are trained on sequences of it and tested on others. Both keep a Gaussian belief and predict by matching moments, and
differ only in how a step is inferred: by an update network that reads the gradient, for a few iterations, or by one pass of an
encoder that reads the observation and the prediction.

Free energies per step stand beside the particle filter's estimate of -log p(x_t | x_{<t}). That of a variational filter is an
upper bound for the prediction that it made; as a Gaussian stands in for the true prediction, its sum need not bound the evidence of
the sequence. Of the extended and the unscented filter it is the log density under a Gaussian approximation, and no bound.

Scales: `smoke` has short sequences of stochastic volatility alone; `small` all four; `paper` is longer.
"""

from dataclasses import dataclass
from functools import partial

import jax.random as jr
import numpy as np

from ... import viz
from ...distributions import FullGaussian, SigmaPoints
from ...inference import EnergyDescent, ModelWithFilter, SequenceBatch, filtering_descent
from ...inference.engines import Direct
from ...inference.filters import Extended, MomentMatching, Particle, Unscented, VariationalFilter
from ...runs import AtLeast, AtMost, Claim, Minutes, RunContext
from ...typing import Key
from ..kit import Method, SequenceTraining, at, mean_and_error, measure, only, printed, scales, train
from ._prediction_units import InPredictionUnits, direct_engine, update_engine
from ._systems import Scores, SimulatedPaths, System, build_system, score, simulate

SOURCE = "Marino, thesis, chapter 4, on textbook systems, with thresholds set for this library"
MINUTES = Minutes(smoke=0.4, small=10.0, paper=120.0)
NAMES = ("growth", "volatility", "lorenz", "pendulum")
_LEAD = "free energy per step of the direct filter less that of amortized variational filtering, unseen sequences"
_TRACKING = "error of the mean of amortized variational filtering over that of the particle filter, root mean squares"
_AT_SMOKE = ("smoke",)
CLAIMS = (
    *(Claim(f"nonlinear/{name}-above-direct", SOURCE, f"{name}: {_LEAD}", "nats", AtLeast(0.0)) for name in NAMES),
    *(
        Claim(f"nonlinear/{name}-tracking", SOURCE, f"{name}: {_TRACKING}", "ratio", AtMost(limit))
        # One Gaussian cannot hold the two signs of the growth model's state.
        for name, limit in zip(NAMES, (2.0, 1.1, 1.1, 1.1), strict=True)
    ),
    Claim("nonlinear/volatility-tracking", SOURCE, f"volatility: {_TRACKING}", "ratio", AtMost(5.0), scales=_AT_SMOKE),
)


@dataclass(frozen=True)
class Config:
    """Options of this experiment."""

    systems: tuple[str, ...] = NAMES
    """Which systems."""
    length: int = 40
    """Observations in a sequence (count)."""
    num_train: int = 1_024
    """Sequences to learn from (count)."""
    num_test: int = 64
    """Unseen sequences (count)."""
    image_size: int = 10
    """Pixels along an edge of the pendulum's pictures (count)."""
    num_iterations: int = 3
    """Iterations of amortized variational filtering for each observation (count)."""
    width: int = 64
    """Units in each hidden layer of both networks (count)."""
    depth: int = 2
    """Hidden layers of both networks (count)."""
    largest: float = 5.0
    """By how much either network may move the prediction's mean: a state that is far away explodes (standard deviations)."""
    first_log_rate: float = -4.0
    """Logarithm of the root of the first rate along gradients, which are steep where noise is small (dimensionless)."""
    num_particles: int = 10_000
    """Particles of the reference (count)."""
    training: SequenceTraining = SequenceTraining(1_500, 16, 2e-3, 0.02, 5.0)
    """Training of either learned filter."""

    for_scale = scales(
        smoke=at(
            systems=("volatility",), length=12, num_train=32, num_test=8, num_iterations=1, width=16, depth=1,
            num_particles=500, training=SequenceTraining(40, 16, 5e-3, 0.1, 5.0),
        ),
        paper=at(
            length=200, num_train=20_000, num_test=256, image_size=16, width=256,
            training=SequenceTraining(20_000, 64, 1e-3, 0.02, 5.0),
        ),
    )  # fmt: skip


def run(config: Config, context: RunContext, *, key: Key) -> None:
    """Run the experiment."""
    rows = []
    for index, name in enumerate(config.systems):
        data_key, test_key, train_key, score_key = jr.split(jr.fold_in(key, index), 4)
        system = build_system(name, config.length, config.image_size)
        seen = simulate(system, config.num_train, config.length, key=data_key)
        unseen = simulate(system, config.num_test, config.length, key=test_key)
        methods = {label: learned(config, context, system, seen, label, key=train_key) for label in ("avf", "direct")}
        methods |= {
            "extended": Extended(),
            "unscented": Unscented(SigmaPoints()),
            "particle": Particle(config.num_particles),
        }
        # The same noise for all: filters that draw none are not moved by it.
        scores = {
            label: context.stage(f"{name}-{label}-scores", partial(score, method, system, unseen), key=score_key)
            for label, method in methods.items()
        }
        rows += report(context, system, unseen, scores)
    context.table(
        "filters",
        ("system", "filter", "free energy (nats per step)", "tracking error", "over the particle filter's"),
        rows,
        caption=f"{config.num_test} unseen sequences of {config.length} steps. Tracking error: root mean square of posterior mean less "
        f"state, over all coordinates; the reference has {config.num_particles:,} particles. Free energies of the extended and the "
        "unscented filter bound nothing.",
    )


def learned(
    config: Config, context: RunContext, system: System, seen: SimulatedPaths, label: str, *, key: Key
) -> VariationalFilter:
    """Amortized variational filtering ("avf") or the direct filter, each trained on the same sequences in the same order."""
    dim, sizes, largest = system.dim, (config.width, config.depth), config.largest
    of_the_filter = only(lambda both: both.filter, config.training.optimizer())
    if label == "avf":
        engine = partial(update_engine, dim, *sizes, largest=largest, first_log_rate=config.first_log_rate)
    else:
        engine = partial(direct_engine, system.observed, dim, *sizes, scale=system.scale, largest=largest)

    def build(key: Key) -> ModelWithFilter:
        steps = config.num_iterations if label == "avf" else 1
        return ModelWithFilter(system.model, variational(system, engine(key=key), steps))

    def learner(both: ModelWithFilter) -> EnergyDescent:
        return filtering_descent(both, of_the_filter, config.training.truncation or None)

    method, batches = Method(label, build, learner, config.training), SequenceBatch(seen.observations, seen.actions)
    return train(context, f"{system.name}-{label}", method, batches, key=key).learned.filter


def variational(system: System, engine: InPredictionUnits | Direct, steps: int) -> VariationalFilter:
    """The filter around either engine."""
    rule = system.expectation
    return VariationalFilter(engine, FullGaussian(system.dim), steps, rule, MomentMatching(rule))


def report(
    context: RunContext, system: System, unseen: SimulatedPaths, scores: dict[str, Scores]
) -> list[tuple[str, str, str, str, str]]:
    """Measure the claims of one system, and draw beliefs along its first unseen sequence; the rows of its filters."""
    scores = {label: Scores(*map(np.asarray, found)) for label, found in scores.items()}
    errors = {label: found.squared_error.mean() ** 0.5 for label, found in scores.items()}
    measure(context, f"nonlinear/{system.name}-above-direct", scores["direct"].energy_nats - scores["avf"].energy_nats)
    context.measure(f"nonlinear/{system.name}-tracking", errors["avf"] / errors["particle"])
    shown = {"avf": "amortized variational filtering", "particle": "particle filter", "extended": "extended"}
    bands = [viz.BeliefBand(name, scores[label].mean, scores[label].deviation) for label, name in shown.items()]
    context.figure(
        f"bands-{system.name}",
        viz.plot_posterior_bands(bands, np.asarray(unseen.states[0]), names=system.states),
        caption=f"{system.name.capitalize()}: posterior means with bands of two standard deviations, and the true state (dots).",
    )
    rows = []
    for label, found in scores.items():
        root, (_, error) = errors[label], mean_and_error(found.squared_error)
        # The error of the root by linearisation.
        told = printed(found.energy_nats), printed((root, 0.5 * error / root))
        rows.append((system.name, label, *told, f"{root / errors['particle']:.3f}"))
    return rows
