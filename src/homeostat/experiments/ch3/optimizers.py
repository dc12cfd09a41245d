"""Iterative amortized inference against gradient-based optimizers on one model of digits (Figs. 3.6, 3.7, 3.8).

A model of binarised digits is trained beside an iterative inference model of 16 iterations that reads the gradient and the
estimate only, as in the figure: it knows less than the optimizers, which remember. Both inputs are layer-normalised, as the
chapter says; `--inputs log_gradient` takes the form of the authors' code instead (log |g|, sign g, and the raw estimate). Then Adam, RMSprop, gradient descent with
and without momentum, and natural gradient infer on the same model from the same start with the same samples; each has the step
size with the highest final bound on training examples. Curves are over validation examples.

Scales: `smoke` takes small pictures of sprites and leaves natural gradient out; `small` has 32 latents, 128 units and 30,000
updates; `paper` the authors' 64 latents and 512 units (an accelerator).
"""

import enum
from dataclasses import dataclass
from functools import partial

import jax
import jax.random as jr

from ...distributions import MonteCarlo
from ...inference.engines import AbstractEncoding, Estimate, InferenceGradient, LogGradient, Normalized
from ...runs import AtLeast, AtMost, Claim, Minutes, RunContext
from ...typing import Key
from ..kit import Training, at, scales, stage_name
from ._data import DataSet, load_observations
from ._methods import InferenceMethod
from ._networks import Networks, NetworkSizes
from ._optimizers_report import draw_reconstructions, report, report_norms
from ._racing import Race, TunedOptimizer, along, mean_gradient_norm, optimizers, path_of, race, train_watched

SOURCE = "Marino, thesis, chapter 3, Figs. 3.6 to 3.8; the factor of 10 and the tolerance of 1 nat are this library's"
MINUTES = Minutes(smoke=0.5, small=15.0, paper=900.0)
_FINAL = "final bound of iterative inference minus that of the best optimizer, mean over validation examples"
_FEWER = "iterations of the best optimizer to its own final bound over those of iterative inference to the same bound"
_STABLE = "bound after the 16 iterations of training minus bound after the longest run, mean over validation examples"
_NORMS = "iterations after the first at which the mean norm of the gradient of the posterior's mean falls"
CLAIMS = (
    Claim("optimizers/final", SOURCE, _FINAL, "nats", AtLeast(0.0)),
    Claim("optimizers/final", SOURCE, _FINAL, "nats", AtLeast(-20.0), scales=("smoke",)),
    Claim("optimizers/fewer-iterations", SOURCE, _FEWER, "ratio", AtLeast(10.0)),
    Claim("optimizers/stable", SOURCE, _STABLE, "nats", AtMost(1.0)),
    Claim("optimizers/stable", SOURCE, _STABLE, "nats", AtMost(20.0), scales=("smoke",)),
    Claim("optimizers/gradient-falls", SOURCE, _NORMS, "fraction", AtLeast(1.0)),
)


class OptimizerInputs(enum.StrEnum):
    """What the update network reads."""

    layer_norm = "layer_norm"
    """Gradient and estimate, each layer-normalised, means and log scales apart: the chapter's text."""
    log_gradient = "log_gradient"
    """Log magnitude and sign of the gradient, and the estimate as it is: the authors' code for MNIST."""


_ENCODINGS: dict[OptimizerInputs, tuple[AbstractEncoding, ...]] = {
    OptimizerInputs.layer_norm: (Normalized(Estimate(), 2), Normalized(InferenceGradient(), 2)),
    OptimizerInputs.log_gradient: (Estimate(), LogGradient()),
}


@dataclass(frozen=True)
class Config:
    """Options of this experiment."""

    dataset: DataSet = DataSet.mnist
    """What is observed."""
    sizes: NetworkSizes = NetworkSizes((32,), 0, 128, 2, 128, 2)
    """Networks."""
    training: Training = Training(30_000, 32, 1e-3, 0.05)
    """Training of the model beside iterative inference."""
    inputs: OptimizerInputs = OptimizerInputs.layer_norm
    """What the update network reads."""
    num_iterations: int = 16
    """Iterations of inference in training (count)."""
    num_samples: int = 4
    """Samples of the posterior that every method sees (count)."""
    num_snapshots: int = 10
    """Times in training at which gradient norms are measured (count)."""
    num_examples: int = 128
    """Validation examples of the curves, and as many training examples for step sizes (count)."""
    num_steps: int = 300
    """Longest run of iterative inference and of the gradient-based optimizers (count)."""
    natural_steps: int = 40
    """Longest run of natural gradient; with 0 it is left out (count)."""
    reported_samples: int = 8
    """Samples of every reported bound (count)."""
    norm_samples: int = 32
    """Samples of every reported gradient (count)."""
    num_drawn: int = 8
    """Examples whose reconstructions are drawn (count)."""

    for_scale = scales(
        smoke=at(
            dataset=DataSet.sprites, sizes=NetworkSizes((4,), 0, 32, 1, 32, 1), training=Training(150, 32, 2e-3, 0.1),
            num_snapshots=2, num_examples=16, num_steps=60, natural_steps=0, num_drawn=4,
        ),
        paper=at(
            sizes=NetworkSizes(), training=Training(100_000, 64, 2e-4, 0.05), num_samples=10, num_snapshots=50,
            num_examples=1_000, num_steps=2_000, natural_steps=300,
        ),
    )  # fmt: skip


def run(config: Config, context: RunContext, *, key: Key) -> None:
    """Run the experiment."""
    data = load_observations(config.dataset)
    row_key, tuning_key, train_key, race_key = jr.split(key, 4)
    rows = data.prepared(data.validation, config.num_examples, key=row_key)
    tuning = data.prepared(data.train, config.num_examples, key=tuning_key)
    networks, expectation = Networks(data, config.sizes), MonteCarlo(config.num_samples)
    engine = partial(networks.iterative, _ENCODINGS[config.inputs])
    method = InferenceMethod("iterative", networks, engine, config.num_iterations, expectation)
    watched = train_watched(
        context, method, config.training, rows, num_looks=config.num_snapshots, num_samples=config.norm_samples,
        key=train_key,
    )  # fmt: skip
    model, engine = watched.learned.model, watched.learned.engine
    races = {}
    for contender in (TunedOptimizer("iterative", engine), *optimizers(expectation)):
        num_steps = config.natural_steps if contender.name == "natural gradient" else config.num_steps

        def raced(contender: TunedOptimizer = contender, num_steps: int = num_steps, *, key: Key) -> Race:
            # Not the stage's key: all methods meet the same random numbers.
            return race(
                model, contender, tuning, rows, key=race_key, num_steps=num_steps, expectation=expectation,
                num_samples=config.reported_samples,
            )  # fmt: skip

        if num_steps:
            races[contender.name] = context.stage(stage_name(contender.name).lower(), raced, key=race_key)
    report(context, races, num_iterations=config.num_iterations, num_samples=config.num_samples)
    path = path_of(model, expectation, engine, rows, race_key, config.num_iterations)
    drawn = jax.tree.map(lambda leaf: leaf[: config.num_drawn], path)
    draw_reconstructions(context, data, model, drawn, rows)
    norms = along(mean_gradient_norm, model, path, rows, race_key, config.norm_samples)
    report_norms(context, watched, norms, config.norm_samples)
