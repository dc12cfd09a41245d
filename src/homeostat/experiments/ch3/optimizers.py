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
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ... import viz
from ...core import AbstractLearner
from ...distributions import MonteCarlo
from ...inference import FreeEnergyDescent, FreeEnergyDescentState, ModelWithEngine
from ...inference.engines import AbstractEncoding, Estimate, InferenceGradient, LogGradient, Normalized
from ...train import InMemoryLoader
from ...typing import Array, Float, Key, PyTree
from .._claims import AtLeast, AtMost, Claim
from .._protocol import AbstractRunContext, Minutes
from ._common import (
    DataSet,
    Observations,
    Sizes,
    Training,
    default_family,
    load_observations,
    mean_and_error,
    printed,
    with_iterative,
)
from ._racing import (
    Contender,
    Race,
    final_level,
    first_order,
    first_passage,
    iterations_ratio,
    mean_gradient_norms,
    natural,
    path_of,
    race,
    run_alone,
)

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


class Inputs(enum.StrEnum):
    """What the update network reads."""

    layer_norm = "layer_norm"
    """Gradient and estimate, each layer-normalised, means and log scales apart: the chapter's text."""
    log_gradient = "log_gradient"
    """Log magnitude and sign of the gradient, and the estimate as it is: the authors' code for MNIST."""


_ENCODINGS: dict[Inputs, tuple[AbstractEncoding, ...]] = {
    Inputs.layer_norm: (Normalized(Estimate(), 2), Normalized(InferenceGradient(), 2)),
    Inputs.log_gradient: (Estimate(), LogGradient()),
}


@dataclass(frozen=True)
class Config:
    """Options of this experiment."""

    dataset: DataSet = DataSet.mnist
    """Observations."""
    sizes: Sizes = field(default_factory=lambda: Sizes((32,), 0, 128, 2, 128, 2))
    """Networks."""
    training: Training = field(default_factory=lambda: Training(30_000, 32, 1e-3, 0.05))
    """Training of the model beside iterative inference."""
    inputs: Inputs = Inputs.layer_norm
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

    @classmethod
    def for_scale(cls, scale: str) -> "Config":
        """The values used at one scale."""
        if scale == "smoke":
            return cls(
                dataset=DataSet.sprites,
                sizes=Sizes((4,), 0, 32, 1, 32, 1),
                training=Training(150, 32, 2e-3, 0.1),
                num_snapshots=2,
                num_examples=16,
                num_steps=60,
                natural_steps=0,
                num_drawn=4,
            )
        if scale == "paper":
            return cls(
                sizes=Sizes(),
                training=Training(100_000, 64, 2e-4, 0.05),
                num_samples=10,
                num_snapshots=50,
                num_examples=1_000,
                num_steps=2_000,
                natural_steps=300,
            )
        return cls()


# ------------------------------------------------------------------------------------------------------------- training


@final
class Continued(AbstractLearner[FreeEnergyDescentState, Any]):
    """A learner that goes on from a given state, so that a long training can be looked at in between.

    Attributes:
        learner: does the updates.
        state: where it goes on.
    """

    learner: FreeEnergyDescent
    state: FreeEnergyDescentState

    def init(self, *, key: Key) -> FreeEnergyDescentState:
        return self.state

    def update(self, state: FreeEnergyDescentState, batch: PyTree, *, key: Key) -> tuple[FreeEnergyDescentState, Any]:
        return self.learner.update(state, batch, key=key)


class Watched(NamedTuple):
    """A trained model with its engine, and gradient norms on the way.

    Attributes:
        learned: the model and the engine.
        steps: updates done at each look.
        norms: mean norm of the gradient before each iteration and after the last, on validation rows.
        free_energy_nats: of training batches, mean since the look before.
    """

    learned: ModelWithEngine
    steps: Float[Array, " looks"]
    norms: Float[Array, "looks moments"]
    free_energy_nats: Float[Array, " looks"]


def train(
    config: Config, context: AbstractRunContext, data: Observations, rows: Float[Array, "n size"], *, key: Key
) -> Watched:
    """Train, and look at the gradient norms every now and then."""
    build = partial(with_iterative, data, config.sizes, _ENCODINGS[config.inputs])
    looks, num_steps = config.num_snapshots, config.training.num_steps // config.num_snapshots
    expectation = MonteCarlo(config.num_samples)

    def norms(learned: ModelWithEngine, key: Key) -> Float[Array, " moments"]:
        path = path_of((learned.model, expectation), learned.engine, rows, key, config.num_iterations)
        return jnp.mean(mean_gradient_norms(learned.model, path, rows, key, config.norm_samples), axis=0)

    def fit(key: Key) -> Watched:
        build_key, fit_key, look_key = jr.split(key, 3)
        learned = eqx.filter_jit(build)(key=build_key)
        learner = FreeEnergyDescent(
            learned,
            default_family(learned.model),
            config.training.optimizer(),
            expectation,
            config.num_iterations,
            prepare=data.prepare,
        )
        state = eqx.filter_jit(learner.init)(key=fit_key)
        curve, energies = [], []
        for look in range(looks):
            result = context.fit(
                f"part-{look}",
                Continued(learner, state),
                InMemoryLoader(data.train, config.training.batch_size),
                num_steps=num_steps,
                key=jr.fold_in(fit_key, look),
                every=min(100, num_steps),
            )
            state = result.state
            curve.append(norms(state.learned, look_key))
            energies.append(np.mean(result.history.free_energy_nats))
        steps = num_steps * (1.0 + np.arange(looks))
        return Watched(state.learned, jnp.asarray(steps), jnp.stack(curve), jnp.asarray(np.asarray(energies)))

    def empty() -> Watched:
        return Watched(
            build(key=jr.key(0)),
            jnp.zeros(looks),
            jnp.zeros((looks, config.num_iterations + 1)),
            jnp.zeros(looks),
        )

    return context.stage("train", fit, key=key, like=empty)


# --------------------------------------------------------------------------------------------------------------- racing


def run(config: Config, context: AbstractRunContext, *, key: Key) -> None:
    """Run the experiment."""
    data = load_observations(config.dataset)
    row_key, tuning_key, train_key, race_key = jr.split(key, 4)
    rows = data.prepared(data.validation, config.num_examples, key=row_key)
    tuning = data.prepared(data.train, config.num_examples, key=tuning_key)
    watched = train(config, context, data, rows, key=train_key)
    learned, expectation = watched.learned, MonteCarlo(config.num_samples)
    common: dict[str, Any] = {"expectation": expectation, "num_samples": config.reported_samples}

    contenders: list[tuple[Contender, int]] = [(one, config.num_steps) for one in first_order()]
    if config.natural_steps:
        contenders.append((natural(expectation), config.natural_steps))

    # Every stage uses `race_key` itself, not its own: all methods meet the same random numbers.
    def alone(key: Key) -> Race:
        return run_alone(learned.model, learned.engine, rows, key=race_key, num_steps=config.num_steps, **common)

    def against(contender: Contender, num_steps: int, *, key: Key) -> Race:
        return race(learned.model, contender, tuning, rows, key=race_key, num_steps=num_steps, **common)

    races: dict[str, Race] = {"iterative": context.stage("iterative", alone, key=race_key)}
    for contender, num_steps in contenders:
        name = contender.name.replace(", ", "-").replace(" ", "-").lower()
        races[contender.name] = context.stage(name, partial(against, contender, num_steps), key=race_key)
    report(config, context, races)
    draw(config, context, data, learned, rows, races, watched, key=race_key)


def report(config: Config, context: AbstractRunContext, races: dict[str, Race]) -> None:
    """Measure the claims about bounds and tabulate."""
    ours = np.asarray(races["iterative"].bounds)
    rivals = {name: found for name, found in races.items() if name != "iterative"}
    # The best optimizer is chosen where step sizes are, on training rows.
    best = max(rivals, key=lambda name: float(rivals[name].tuned_nats))
    theirs = np.asarray(rivals[best].bounds)
    context.measure("optimizers/final", *mean_and_error(ours[:, -1] - theirs[:, -1]))
    context.measure("optimizers/fewer-iterations", *iterations_ratio(ours, theirs, seed=0))
    context.measure("optimizers/stable", *mean_and_error(ours[:, config.num_iterations] - ours[:, -1]))
    rows = []
    for name, found in races.items():
        bounds = np.asarray(found.bounds)
        level = final_level(bounds)
        passage = first_passage(bounds.mean(axis=0), level)
        rows.append(
            (
                name,
                "none" if name == "iterative" else f"{float(found.setting):g}",
                bounds.shape[1] - 1,
                printed(mean_and_error(bounds[:, -1]), 2),
                _or_never(passage),
                _or_never(first_passage(ours.mean(axis=0), level)),
                1e3 * float(found.seconds),
                passage * float(found.seconds),
            )
        )
    context.table(
        "race",
        (
            "method",
            "step size",
            "iterations",
            "final bound (nats)",
            "its iterations to its final bound",
            "iterative's iterations to that bound",
            "milliseconds an iteration",
            "its seconds to its final bound",
        ),
        rows,
        caption=f"Inference on {config.num_examples} validation examples at once, {config.num_samples} samples; the best "
        f"optimizer on training examples is {best}. A final bound is the mean over the last tenth of the iterations. "
        "Natural gradient uses the Fisher information of the likelihood, diagonal family.",
    )


def draw(
    config: Config,
    context: AbstractRunContext,
    data: Observations,
    learned: ModelWithEngine,
    rows: Float[Array, "n size"],
    races: dict[str, Race],
    watched: Watched,
    *,
    key: Key,
) -> None:
    """Figs. 3.6, 3.7 and 3.8, and the claim about gradient norms."""
    best = max(races, key=lambda name: np.asarray(races[name].bounds).mean(axis=0).max())
    reference = np.asarray(races[best].bounds)
    reference = reference[:, int(np.argmax(reference.mean(axis=0)))]
    curves = []
    for name, found in races.items():
        bounds = np.asarray(found.bounds)
        # Errors of differences: how hard an example is concerns all methods alike.
        below = reference[:, None] - bounds
        seconds = float(found.seconds) * np.arange(bounds.shape[1])
        error = below.std(axis=0, ddof=1) / len(bounds) ** 0.5
        curves.append(viz.BoundCurve(name, bounds.mean(axis=0), error, seconds))
    context.figure(
        "progress",
        viz.plot_bound_progress(curves, best_nats=float(reference.mean()), trained_steps=config.num_iterations),
        caption=f"Mean bound on {config.num_examples} validation examples below the best mean that any method reached "
        f"({reference.mean():.2f} nats, {best}), against iterations and wall-clock time. Bands: two standard errors of the "
        "paired difference.",
    )

    path = path_of((learned.model, MonteCarlo(config.num_samples)), learned.engine, rows, key, config.num_iterations)
    moments = [k for k in (0, 1, 2, 3, 4, 6, 8, 12, 16) if k <= config.num_iterations]
    dim = path.shape[2] // 2

    @jax.jit
    def reconstruct(loc: Float[Array, "n moments d"]) -> Float[Array, "n moments size"]:
        return jax.vmap(jax.vmap(lambda z: learned.model.emission(z).mean))(loc)

    shown = np.asarray(reconstruct(path[: config.num_drawn, jnp.asarray(moments), :dim]))
    context.figure(
        "reconstructions",
        viz.plot_reconstructions_over_iterations(
            np.asarray(rows[: config.num_drawn]).reshape(-1, *data.shape),
            shown.reshape(len(shown), len(moments), *data.shape),
            iterations=moments,
        ),
        caption="Means of the data under the model at the posterior's mean, by iteration; right: the binarised example.",
    )

    norms = np.asarray(watched.norms)
    context.figure(
        "gradient-norms",
        viz.plot_gradient_norms(
            np.asarray(watched.steps), norms, ylabel="norm of the gradient of the mean, nats per unit"
        ),
        caption=f"Gradient of the bound with respect to the posterior's means during training, by iteration of inference; "
        f"mean over {config.num_examples} validation examples, {config.norm_samples} samples.",
    )
    norm_path = np.asarray(mean_gradient_norms(learned.model, path, rows, key, config.norm_samples))
    falls = np.diff(norm_path.mean(axis=0)[1:]) < 0.0
    share = float(falls.mean())
    context.measure("optimizers/gradient-falls", share, (share * (1.0 - share) / len(falls)) ** 0.5)
    context.table(
        "norms",
        ("iterations done", "mean norm (nats per unit)"),
        [(moment, printed(mean_and_error(norm_path[:, moment]))) for moment in range(norm_path.shape[1])],
        caption="Gradient of the bound with respect to the posterior's means after training, on validation examples.",
    )


def _or_never(iterations: float) -> int | str:
    return int(iterations) if np.isfinite(iterations) else "never"
