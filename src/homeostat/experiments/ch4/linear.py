"""Linear-Gaussian systems: every filter and smoother against the dense joint Gaussian, and a learned filter against Kalman's.

Exact methods are compared in 64 bits with matrix algebra on one Gaussian over all states and observations, in which nothing is
recursive; where dynamax is installed it is compared too. Sampling methods are held to their statistical error, variational ones
to the exact evidence. Amortized variational filtering is then trained on random systems, a new one for every sequence, and
tested on systems that it has not seen: it reads its estimate and the gradient alone, not the system.

Scales: `smoke` compares a few methods and trains briefly on scalar systems; `small` compares all, and trains on systems with one
and with two state coordinates; `paper` trains longer.
"""

from dataclasses import dataclass
from functools import partial

import equinox as eqx
import jax
import jax.random as jr
import numpy as np

from ...distributions import FullGaussian
from ...inference import EnergyDescent, ModelWithFilter, SequenceBatch, filtering_descent
from ...inference.filters import VariationalFilter
from ...runs import AtMost, Claim, Minutes, RunContext
from ...typing import Key
from ..kit import EVERYWHERE, Method, SequenceTraining, at, scales, train
from ._linear_methods import against_kalman, differences, draw
from ._linear_systems import random_systems
from ._prediction_units import update_engine

SOURCE = "Marino, thesis, chapter 4, with thresholds set for this library"
MINUTES = Minutes(smoke=0.3, small=4.0, paper=60.0)
_EXACT = "largest absolute difference from the dense joint Gaussian, of means, covariances and log evidence, in 64 bits"
_SAMPLED = "root mean square difference of means from the dense joint Gaussian, the worst sampling method"
_BOUND = "difference of the free energy of a step from the exact one, mean of absolute values over the mean exact one"
_MEAN = (
    "root mean square difference of posterior means from the Kalman filter's on unseen systems, after two iterations"
)
_VARIANCE = "relative difference of posterior variances from the Kalman filter's, mean of absolute values"
_DEVIATIONS, _RATIO = "posterior standard deviations", "ratio"
_AT_SMOKE = ("smoke",)
CLAIMS = (
    Claim("linear/exact-filters", SOURCE, f"filters: {_EXACT}", "units or nats", AtMost(1e-10), scales=EVERYWHERE),
    Claim("linear/exact-smoothers", SOURCE, f"smoothers: {_EXACT}", "units or nats", AtMost(1e-10), scales=EVERYWHERE),
    Claim("linear/sampled", SOURCE, _SAMPLED, _DEVIATIONS, AtMost(0.1)),
    Claim("linear/variational", SOURCE, f"variational filters, the worst: {_BOUND}", _RATIO, AtMost(0.01)),
    Claim("linear/avf-bound", SOURCE, f"learned filter: {_BOUND}", _RATIO, AtMost(0.01)),
    Claim("linear/avf-mean", SOURCE, _MEAN, _DEVIATIONS, AtMost(0.05)),
    Claim("linear/avf-variance", SOURCE, _VARIANCE, _RATIO, AtMost(0.1)),
    Claim("linear/avf-bound", SOURCE, f"learned filter: {_BOUND}", _RATIO, AtMost(0.2), scales=_AT_SMOKE),
    Claim("linear/avf-mean", SOURCE, _MEAN, _DEVIATIONS, AtMost(0.5), scales=_AT_SMOKE),
    Claim("linear/avf-variance", SOURCE, _VARIANCE, _RATIO, AtMost(0.5), scales=_AT_SMOKE),
)


@dataclass(frozen=True)
class Config:
    """Options of this experiment."""

    dim: int = 3
    """State coordinates of the system on which methods are compared (count)."""
    observed: int = 2
    """Its observed coordinates (count)."""
    length: int = 20
    """Its observations (count)."""
    every_method: bool = True
    """Whether all methods are compared, or those alone without which nothing else works."""
    num_particles: int = 10_000
    """Particles of sampling methods (count)."""
    dims: tuple[int, ...] = (1, 2)
    """State coordinates of the systems on which a filter is learned; each has as many observed ones (count)."""
    num_train: int = 6_000
    """Systems to learn from, each with one sequence (count)."""
    num_test: int = 200
    """Unseen systems (count)."""
    learned_length: int = 16
    """Observations of each (count)."""
    num_iterations: int = 2
    """Iterations of the learned filter for each observation (count)."""
    width: int = 64
    """Units in each hidden layer of the update network (count)."""
    depth: int = 2
    """Its hidden layers (count)."""
    training: SequenceTraining = SequenceTraining(4_000, 64, 2e-3, 0.01, 1.0)
    """Training of the learned filter."""

    for_scale = scales(
        smoke=at(
            length=8, every_method=False, dims=(1,), num_train=256, num_test=32, learned_length=6, width=24,
            training=SequenceTraining(200, 32, 5e-3, 0.1, 1.0),
        ),
        paper=at(
            num_train=60_000, num_test=1_000, width=128, training=SequenceTraining(40_000, 128, 1e-3, 0.01, 1.0)
        ),
    )  # fmt: skip


def run(config: Config, context: RunContext, *, key: Key) -> None:
    """Run the experiment."""
    compare(config, context, key=key)
    learn(config, context, key=key)


def compare(config: Config, context: RunContext, *, key: Key) -> None:
    """The table of differences."""
    build = partial(differences, config.dim, config.observed, config.length, config.num_particles, config.every_method)
    found = context.stage("methods", build, key=key)
    context.table(
        "methods",
        ("kind", "method", "mean", "covariance", "free energy (nats)", "mean (posterior sd)", "free energy (ratio)"),
        [(kind, name, *(f"{part:.2g}" for part in of)) for kind, each in found.items() for name, of in each.items()],
        caption=f"Differences from the dense joint Gaussian in 64 bits: {config.dim} state and {config.observed} observed "
        f"coordinates, {config.length} steps, a fifth of the entries missing, known inputs. The first three columns are the largest "
        "absolute ones, the fourth is a root mean square, the last a mean of absolute values over steps (for smoothers of whole "
        "sequences). A filter by samples of the past bounds the evidence given the past's latents, which is a looser bound; "
        "dynamax is compared on the sequence without missing entries.",
    )
    for claim, kind in (("exact-filters", "exact filter"), ("exact-smoothers", "exact smoother")):
        context.measure(f"linear/{claim}", max(one.largest for one in found[kind].values()))
    context.measure("linear/variational", max(one.relative_energy for one in found["variational filter"].values()))
    if found["sampling"]:
        context.measure("linear/sampled", max(one.mean_deviations for one in found["sampling"].values()))


def learn(config: Config, context: RunContext, *, key: Key) -> None:
    """Train for each number of coordinates, and measure on systems that were not seen."""
    rows, ends = [], []
    for dim in config.dims:
        data_key, test_key, train_key = jr.split(jr.fold_in(key, dim), 3)
        make = eqx.filter_jit(partial(random_systems, dim, dim, config.learned_length))
        seen, unseen = make(config.num_train, key=data_key), make(config.num_test, key=test_key)
        example = jax.tree.map(lambda leaf: leaf[0], seen.model)

        def build(key: Key, dim: int = dim, example=example) -> ModelWithFilter:
            engine = update_engine(dim, config.width, config.depth, key=key)
            return ModelWithFilter(example, VariationalFilter(engine, FullGaussian(dim), config.num_iterations))

        def learner(learned: ModelWithFilter) -> EnergyDescent:
            return filtering_descent(learned, config.training.optimizer(), config.training.truncation or None)

        method = Method(f"avf-{dim}", build, learner, config.training)
        batches = SequenceBatch(seen.observations, seen.actions, models=seen.model)
        learned = train(context, method.name, method, batches, key=train_key).learned.filter
        compared = partial(against_kalman, config.num_iterations, learned, unseen)
        found = np.asarray(context.stage(f"unseen-{dim}", compared, key=test_key))
        for iteration, (mean, variance, bound) in enumerate(found):
            rows.append((dim, iteration, f"{mean:.4f}", f"{variance:.4f}", f"{bound:.5f}"))
        ends.append(found[-1])
        if dim == config.dims[0]:
            draw(context, learned, unseen, key=test_key)
    for name, value in zip(("mean", "variance", "bound"), np.max(ends, axis=0), strict=True):
        context.measure(f"linear/avf-{name}", float(value))
    context.table(
        "learned",
        ("state coordinates", "iterations", "mean (posterior sd)", "variance (ratio)", "free energy (ratio)"),
        rows,
        caption=f"Amortized variational filtering on {config.num_test} systems that it was not trained on, against the Kalman filter "
        "of each: root mean square difference of means, mean absolute relative difference of variances and of free energies per "
        "step. With 0 iterations the prediction stands, and nothing is learned from the observation.",
    )
