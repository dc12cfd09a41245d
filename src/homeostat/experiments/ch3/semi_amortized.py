"""Semi-amortized inference against iterative amortized inference at equal compute.

The semi-amortized methods refine an encoder's estimate by plain gradient descent on the bound: in the manner of Krishnan et al.
(the encoder learns from its own estimate, the model from the refined one) and of Kim et al. (both learn through the
refinement). Iterative inference learns the update instead; it is trained in both ways, each iteration by itself (the default)
and through the unrolled chain. All generative models have the same size and start from the same weights.

Equal compute is read in two ways: the same number of updates with the same number of passes through the decoder (K + 1 for K
iterations; K - 1 refinements of Krishnan et al., K // 2 of Kim et al., through which second derivatives flow), and the same
wall-clock time of training, from the measured time of an update. Rates are constant, so that training curves may be compared
at any time. The step size of refinement is chosen on training rows, on a model trained with a direct encoder.

Scales: `smoke` takes small pictures of sprites and only what does not differentiate through refinement, untimed; `small`
digits, 32 latents, 128 units, 2,000 updates and 3 seeds; `paper` digits and newsgroups with the authors' sizes (an accelerator).
"""

from dataclasses import dataclass
from functools import partial

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax

from ...distributions import MonteCarlo
from ...inference import ModelWithEngine
from ...inference.engines import Chain, Gradient
from ...metrics import bound_path
from ...runs import AtLeast, Claim, Minutes, RunContext
from ...typing import Array, Float, Key
from ..kit import Result, Training, at, scales
from ._data import DataSet, load_observations
from ._methods import InferenceMethod, compare, update_seconds
from ._networks import Networks, NetworkSizes
from ._semi import MethodScores, refining_methods, report

SOURCE = "Marino, thesis, chapter 3, Sec. 3.3 and Table 3.3, against Krishnan et al. (2018) and Kim et al. (2018)"
MINUTES = Minutes(smoke=0.4, small=7.0, paper=900.0)
_EQUAL = "test bound of iterative inference minus that of semi-amortized inference"
_PASSES = "at equal updates and decoder passes, mean over seeds"
_TIME = (
    "training bound of iterative inference minus that of the better semi-amortized one after equal wall-clock time of "
    "training, mean over seeds"
)
_FINITE = "test bound of iterative inference minus that of the direct encoder at equal updates, mean over seeds"
CLAIMS = (
    Claim("semi_amortized/krishnan", SOURCE, f"{_EQUAL} (Krishnan et al.) {_PASSES}", "nats", AtLeast(0.0)),
    Claim("semi_amortized/kim", SOURCE, f"{_EQUAL} (Kim et al.) {_PASSES}", "nats", AtLeast(0.0)),
    Claim("semi_amortized/equal-time", SOURCE, _TIME, "nats", AtLeast(0.0)),
    Claim("semi_amortized/direct", SOURCE, _FINITE, "nats", AtLeast(0.0)),
    Claim("semi_amortized/direct", SOURCE, _FINITE, "nats", AtLeast(-50.0), scales=("smoke",)),
)


@dataclass(frozen=True)
class Config:
    """Options of this experiment."""

    datasets: tuple[DataSet, ...] = (DataSet.mnist,)
    """What is observed; claims are about the first."""
    sizes: NetworkSizes = NetworkSizes((32,), 0, 128, 2, 128, 2)
    """Networks."""
    training: Training = Training(2_000, 32, 1e-3, 1.0)
    """Training of every method; the rate stays constant."""
    num_iterations: int = 5
    """Iterations of iterative inference (count)."""
    num_samples: int = 1
    """Samples of the posterior that every method sees (count)."""
    num_seeds: int = 3
    """Models trained from different starts with each method (count)."""
    rates: tuple[float, ...] = (0.0003, 0.001, 0.003, 0.01, 0.03)
    """Step sizes of refinement to choose from (latent units squared per nat)."""
    num_tuning: int = 64
    """Training examples on which they are compared (count)."""
    num_test: int = 512
    """Test examples (count)."""
    test_steps: int = 16
    """Longest run in testing, for the figure (count)."""
    through: bool = True
    """Whether methods that differentiate through inference are compared as well."""
    timed: bool = True
    """Whether updates are timed; if not, decoder passes stand for seconds."""
    every: int = 100
    """Updates over which a point of a training curve is averaged (count)."""

    for_scale = scales(
        smoke=at(
            datasets=(DataSet.sprites,), sizes=NetworkSizes((4,), 0, 32, 1, 32, 1), training=Training(60, 32, 2e-3, 1.0),
            num_iterations=2, num_seeds=1, num_tuning=16, num_test=32, test_steps=4, every=30, through=False,
            timed=False,
        ),
        paper=at(
            datasets=(DataSet.mnist, DataSet.newsgroups), sizes=NetworkSizes(), training=Training(100_000, 64, 2e-4, 1.0),
            num_test=10_000, num_tuning=1_000, every=1_000,
        ),
    )  # fmt: skip


def run(config: Config, context: RunContext, *, key: Key) -> None:
    """Run the experiment."""
    for index, dataset in enumerate(config.datasets):
        compare_on(config, context, dataset, key=jr.fold_in(key, index), asserted=index == 0)


def compare_on(config: Config, context: RunContext, dataset: DataSet, *, key: Key, asserted: bool) -> None:
    """All methods on one data set."""
    data, expectation = load_observations(dataset), MonteCarlo(config.num_samples)
    networks = Networks(data, config.sizes)
    time_key, test_key, rate_key = jr.split(key, 3)
    rows = data.prepared(data.test, config.num_test, key=test_key)

    def score(method: InferenceMethod, learned: ModelWithEngine, *, key: Key) -> Float[Array, " moments"]:
        num_steps = 1 if method.num_steps == 1 else config.test_steps
        # Not the stage's key: every model meets the same random numbers.
        return jnp.mean(method.bounds(learned, rows, num_steps=num_steps, key=test_key), axis=0)

    def learn(*methods: InferenceMethod) -> tuple[Result, ...]:
        trainings, num_seeds = [config.training] * len(methods), config.num_seeds
        return compare(
            context, dataset, methods, trainings, score, num_seeds=num_seeds, key=key, every=config.every
        ).results  # fmt: skip

    direct = InferenceMethod("direct", networks, networks.direct, 1, expectation)
    results = learn(direct)
    search = partial(choose_rates, config, direct, results[0].learned)
    rates = context.stage(f"{dataset}-rates", search, key=rate_key)
    refining = refining_methods(networks, expectation, config.num_iterations, rates)
    chosen = (direct, *(one for one in refining if config.through or one.passes <= config.num_iterations + 1))
    results += learn(*chosen[1:])
    clock = partial(update_seconds, chosen, config.training, updates=5, repeats=5)
    seconds = context.stage(f"{dataset}-seconds", clock, key=time_key) if config.timed else [m.passes for m in chosen]
    scores = (MethodScores(*each) for each in zip(chosen, map(float, seconds), results, strict=True))
    report(
        context, dataset, {one.method.name: one for one in scores}, rates, asserted=asserted, timed=config.timed,
        caption=f"{config.training.num_steps} updates, {config.num_seeds} seeds (standard errors over seeds), "
        f"{config.num_test} test examples.", num_iterations=config.num_iterations, test_steps=config.test_steps,
    )  # fmt: skip


def choose_rates(config: Config, direct: InferenceMethod, pilot: ModelWithEngine, *, key: Key) -> tuple[float, float]:
    """Step sizes with the highest bound after refinement on training rows: for Krishnan's steps and for Kim's."""
    data = direct.networks.data
    rows = data.prepared(data.train, config.num_tuning, key=key)

    @eqx.filter_jit
    def refined(pilot: ModelWithEngine, rate: Array) -> Float[Array, " moments"]:
        engine = Chain((pilot.engine, Gradient(optax.sgd(rate))), (1,))
        bounds = bound_path(
            pilot.model, engine, direct.family, rows, num_steps=config.num_iterations, key=key,
            training_expectation=direct.expectation,
        )  # fmt: skip
        return jnp.mean(bounds, axis=0)

    bounds = np.nan_to_num([refined(pilot, jnp.asarray(rate)) for rate in config.rates], nan=-np.inf)
    ends = bounds[:, [config.num_iterations, 1 + config.num_iterations // 2]]
    plain, through = (config.rates[int(index)] for index in np.argmax(ends, axis=0))
    return plain, through
