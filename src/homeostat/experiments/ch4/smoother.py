"""Structured variational smoothing against the Kalman smoother, and on counts against the Laplace and a particle smoother.

Gaussian posteriors with block-tridiagonal precision in two ways: found for each sequence by natural-gradient steps, and
read off a sequence at once by a recognition network of product form, which is learned on sequences of the same system. On a
linear-Gaussian system both are compared with the exact smoother; on linear dynamics seen through Poisson counts with many
paths drawn by a particle smoother.

Scales: `smoke` has short sequences; `small` and `paper` those below, `paper` with longer training.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.random as jr
import numpy as np

from ... import viz
from ...inference import EnergyDescent, ModelWithEngine, sample_sequence, smoothing_descent
from ...inference.engines import Direct, PathNaturalGradient, PathNewton
from ...inference.smoothers import ProductForm, Structured
from ...objectives import Neighbours, PathEvidence
from ...runs import AtMost, Between, Claim, Minutes, RunContext
from ...typing import Key
from ..kit import EVERYWHERE, Method, Training, mean_and_error, measure, only, printed, train
from ._smoothing import against_kalman, against_particles, by_particles, counting_system, drawn, linear_system

SOURCE = "abstract on a structured variational smoother for nonlinear state-space models, with thresholds set for this library"
MINUTES = Minutes(smoke=0.3, small=4.0, paper=40.0)
_MEAN = "difference of smoothed means from the Kalman smoother's, root mean square over that of the state"
_COVARIANCE = (
    "difference of smoothed covariances from the Kalman smoother's, relative in Frobenius norm, mean over steps"
)
_BOUND = "free energy per step less the exact -log p(x) per step"
_COUNTS = "Poisson counts: difference of smoothed means from the particle smoother's"
_LAPLACE = "Poisson counts: free energy per step of the Laplace smoother less that of the structured one"
_AT_SMOKE = ("smoke",)
CLAIMS = (
    Claim("smoother/mean", SOURCE, f"natural gradient: {_MEAN}", "ratio", AtMost(0.01), scales=EVERYWHERE),
    Claim("smoother/covariance", SOURCE, f"natural gradient: {_COVARIANCE}", "ratio", AtMost(0.01), scales=EVERYWHERE),
    Claim("smoother/bound", SOURCE, f"natural gradient: {_BOUND}", "nats", Between(-0.01, 0.01), scales=EVERYWHERE),
    Claim("smoother/amortized-mean", SOURCE, f"recognition network, unseen sequences: {_MEAN}", "ratio", AtMost(0.01)),
    Claim("smoother/amortized-covariance", SOURCE, f"recognition network: {_COVARIANCE}", "ratio", AtMost(0.01)),
    Claim("smoother/amortized-bound", SOURCE, f"recognition network: {_BOUND}", "nats", AtMost(0.01)),
    Claim("smoother/counts-mean", SOURCE, _COUNTS, "posterior standard deviations, root mean square", AtMost(0.1)),
    Claim("smoother/counts-laplace", SOURCE, _LAPLACE, "nats", Between(-1e-3, 0.1)),
    Claim("smoother/amortized-mean", SOURCE, f"recognition network: {_MEAN}", "ratio", AtMost(1.0), scales=_AT_SMOKE),
)


@dataclass(frozen=True)
class Config:
    """Options of this experiment."""

    length: int = 50
    """Observations in a sequence (count)."""
    num_train: int = 2_000
    """Sequences that the recognition network learns from (count)."""
    num_test: int = 16
    """Unseen sequences (count)."""
    training: Training = Training(2_000, 16, 1e-2, 1e-3)
    """Training of the recognition network."""
    depth: int = 0
    """Its hidden layers; with none it is linear, as the exact answer is (count)."""
    width: int = 32
    """Units in a hidden layer (count)."""
    counted: int = 4
    """Counters of the Poisson observations (count)."""
    num_iterations: int = 15
    """Steps of natural gradient and of Newton's method (count)."""
    num_particles: int = 2_000
    """Particles and paths of the particle smoother (count)."""

    @classmethod
    def for_scale(cls, scale: str) -> "Config":
        """The values used at one scale."""
        if scale == "smoke":
            return cls(
                length=10, num_train=32, num_test=2, training=Training(50, 8, 2e-2, 0.1), num_iterations=5,
                num_particles=100,
            )  # fmt: skip
        if scale == "paper":
            return cls(
                length=200, num_train=20_000, num_test=64, num_particles=10_000,
                training=Training(20_000, 32, 3e-3, 1e-3),
            )  # fmt: skip
        return cls()


def run(config: Config, context: RunContext, *, key: Key) -> None:
    """Run the experiment."""
    linear_key, counts_key = jr.split(key)
    linear(config, context, key=linear_key)
    counts(config, context, key=counts_key)


def linear(config: Config, context: RunContext, *, key: Key) -> None:
    """The linear-Gaussian half."""
    data_key, test_key, train_key, score_key = jr.split(key, 4)
    model = linear_system()
    unseen = drawn(model, config.num_test, config.length, key=test_key)
    seen = drawn(model, config.num_train, config.length, key=data_key)

    def build(key: Key) -> ModelWithEngine:
        depth, width = config.depth, config.width
        return ModelWithEngine(
            model, Direct(ProductForm.networks(model.observation_dim, model.dim, width=width, depth=depth, key=key))
        )

    def learner(learned: ModelWithEngine) -> EnergyDescent:
        # The model stays as it is. Exact for it, so that nothing but the choice of sequences is random.
        optimizer = only(lambda both: both.engine, config.training.optimizer())
        return smoothing_descent(learned, optimizer, expectation=Neighbours())

    evidence = jax.vmap(lambda values: PathEvidence.of(values, None))(seen)
    method = Method("recognition", build, learner, config.training)
    network = train(context, "recognition", method, evidence, key=train_key).learned.engine
    methods = {
        "natural gradient": Structured(PathNaturalGradient(), config.num_iterations),
        "recognition network": Structured(network, 1),
    }
    rows = []
    for (label, smoother), claim in zip(methods.items(), ("", "amortized-"), strict=True):
        stage = f"linear-{label.replace(' ', '-')}"
        found = context.stage(stage, partial(against_kalman, smoother, model, unseen), key=score_key)
        for name, value in zip(("mean", "covariance", "bound"), found, strict=True):
            measure(context, f"smoother/{claim}{name}", mean_and_error(value))
        rows.append((label, *(printed(mean_and_error(value), 5) for value in found)))
    context.table(
        "linear",
        ("smoother", "mean (ratio)", "covariance (ratio)", "free energy less exact (nats per step)"),
        rows,
        caption=f"{config.num_test} unseen sequences of {config.length} steps of a linear-Gaussian system, against the Kalman smoother. "
        f"The recognition network was trained on {config.num_train} other sequences.",
    )


def counts(config: Config, context: RunContext, *, key: Key) -> None:
    """The half with Poisson observations."""
    test_key, reference_key, score_key = jr.split(key, 3)
    model = counting_system(config.counted)
    sequences = jax.vmap(lambda k: sample_sequence(model, config.length, key=k))(jr.split(test_key, config.num_test))
    values = sequences.observations
    paths = context.stage(
        "counts-particle", partial(by_particles, config.num_particles, model, values), key=reference_key
    )
    engines = {"structured": PathNaturalGradient(), "Laplace": PathNewton()}
    found = {}
    for label, engine in engines.items():
        compared = partial(against_particles, Structured(engine, config.num_iterations), model, values, paths)
        found[label] = context.stage(f"counts-{label.lower()}", compared, key=score_key)
    structured, laplace = found["structured"], found["Laplace"]
    measure(context, "smoother/counts-mean", mean_and_error(structured.mean_deviations))
    measure(context, "smoother/counts-laplace", mean_and_error(laplace.energy_nats - structured.energy_nats))
    columns = ("mean_deviations", "variance_ratios", "energy_nats")
    rows = [
        (label, *(printed(mean_and_error(getattr(of, name)), 4) for name in columns)) for label, of in found.items()
    ]
    rows.append(("particle", "0", "0", printed(mean_and_error(paths.energy_nats), 4)))
    context.table(
        "counts",
        ("smoother", "mean (posterior sd)", "variance (ratio)", "free energy (nats per step)"),
        rows,
        caption=f"{config.num_test} sequences of {config.length} steps of {config.counted} Poisson counters. Differences are those from a "
        f"particle smoother with {config.num_particles:,} particles and paths, which have an error of their own; its last entry is "
        "an estimate of -log p(x) per step.",
    )
    bands = [viz.BeliefBand(label, np.asarray(of.mean), np.asarray(of.deviation)) for label, of in found.items()]
    bands.append(viz.BeliefBand("particle", np.asarray(paths.mean[0]), np.sqrt(np.asarray(paths.variance[0]))))
    context.figure(
        "counts",
        viz.plot_posterior_bands(bands, np.asarray(sequences.states[0]), names=("first state", "second state")),
        caption="States behind the counts of one sequence: smoothed means with bands of two standard deviations.",
    )
