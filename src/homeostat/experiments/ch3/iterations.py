"""What more iterations and more samples buy iterative inference on MNIST, for each kind of input, against direct inference.

Fig. 3.9. (a) Models are trained with 2, 5, 10 or 16 iterations, whose update networks read gradients or errors, each with or
without the data. (b) Models are trained with 1, 5, 10 or 20 samples of q, iterative inference reading gradients and data in 5
iterations. The bound is taken with one sample on validation images, the same for every model: it compares settings, for which
the test images are not to be used.

In (b) the original gave direct inference one sample whatever iterative inference had; here direct inference is also given
the same number, and both comparisons are reported. Inference at evaluation has as many samples as in training.

Choices where the chapter leaves some: gradients enter as log |g| and sign g, errors without their precisions, as in the authors'
code for MNIST (a Bernoulli that is sure of itself has errors of any size when divided by its variance). At `small`, networks are
narrower (128 units), 500 updates stand for 400,000, iterations go to 10 and samples to 10, and errors are read without data only;
one model is trained for each setting, so that standard errors are those over images and say nothing about other seeds. At
`smoke`, rendered sprites stand for digits.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, final

import jax.random as jr
import numpy as np

from ...distributions import MonteCarlo
from ...inference import ModelWithEngine
from ...inference.engines import AbstractEncoding, Estimate, LogGradient, PredictionErrors
from ...typing import Float, Key
from ...viz import SettingCurve, plot_bound_by_setting
from .._claims import AtLeast, Claim
from .._protocol import AbstractRunContext, Minutes
from ._common import (
    DataSet,
    Observations,
    Sizes,
    Training,
    bound_path,
    data_encoding,
    load_observations,
    mean_and_error,
    num_weights,
    printed,
    train,
    with_direct,
    with_iterative,
)

SOURCE = "Marino (thesis), Fig. 3.9 and Sec. 3.5, 'Additional Inference Iterations & Latent Samples'"
MINUTES = Minutes(smoke=0.3, small=5.0, paper=3000.0)
_MORE = "bound with the most iterations minus that with the fewest"
CLAIMS = (
    Claim("iterations/more-gradients", SOURCE, f"{_MORE}, reading gradients", "nats", AtLeast(0.0)),
    Claim("iterations/more-errors", SOURCE, f"{_MORE}, reading errors", "nats", AtLeast(0.0)),
    Claim("iterations/more-gradients-data", SOURCE, f"{_MORE}, reading gradients and data", "nats", AtLeast(0.0)),
    Claim("iterations/more-errors-data", SOURCE, f"{_MORE}, reading errors and data", "nats", AtLeast(0.0),
          scales=("paper",)),
    Claim("iterations/errors-early", SOURCE, "bound of errors minus that of gradients, at the fewest iterations, no data",
          "nats", AtLeast(0.0)),
    Claim("iterations/against-direct", SOURCE,
          "bound with the most iterations minus that of direct inference, the least of all inputs", "nats", AtLeast(0.0)),
    Claim("iterations/samples", SOURCE, "bound of iterative inference with the most samples minus that with one", "nats",
          AtLeast(0.0), scales=("small",)),
    Claim("iterations/samples", SOURCE, "bound of iterative inference with the most samples minus that with one", "nats",
          AtLeast(1.0), scales=("paper",)),
    Claim("iterations/samples-direct-one", SOURCE,
          "bound of iterative inference with the most samples minus that of direct inference with one", "nats", AtLeast(0.0)),
    Claim("iterations/samples-direct-same", SOURCE,
          "bound of iterative inference minus that of direct inference, both with the most samples", "nats", AtLeast(0.0)),
    Claim("iterations/samples-widen", SOURCE,
          "lead of iterative over direct inference with the most samples each minus the lead with one each", "nats",
          AtLeast(0.0)),
    Claim("iterations/inference", SOURCE, "least gain of the bound by the iterations of any model", "nats",
          AtLeast(0.0), scales=("smoke", "small", "paper")),
)  # fmt: skip


class Inputs(enum.StrEnum):
    """What an update network reads beside the current estimate."""

    gradients = "gradients"
    """log |g| and sign g of the bound's gradient."""
    errors = "errors"
    """E_q[x - mu_x] and E_q[z - mu_p]."""
    gradients_data = "gradients_data"
    """Gradients and the observation."""
    errors_data = "errors_data"
    """Errors and the observation."""

    @property
    def title(self) -> str:
        """For tables and pictures."""
        return self.value.replace("_", " and ")

    def encodings(self, data: Observations) -> tuple[AbstractEncoding, ...]:
        """The inputs as encodings."""
        first = LogGradient() if self in (Inputs.gradients, Inputs.gradients_data) else PredictionErrors()
        seen = (data_encoding(data),) if self in (Inputs.gradients_data, Inputs.errors_data) else ()
        return Estimate(), first, *seen


@dataclass(frozen=True)
class Config:
    """Options of this experiment; the defaults are those of `small`."""

    data: DataSet = DataSet.mnist
    """What is observed."""
    sizes: Sizes = Sizes((64,), 0, 128, 2, 128, 2)
    """Of the networks."""
    training: Training = Training(500, 64, 1e-3)
    """Of every model."""
    iterations: tuple[int, ...] = (2, 5, 10)
    """Iterations of inference, rising (count)."""
    samples: tuple[int, ...] = (1, 5, 10)
    """Samples of q, from one, rising (count)."""
    inputs: tuple[Inputs, ...] = (Inputs.gradients, Inputs.errors, Inputs.gradients_data)
    """Inputs of the update networks in (a); claims about others are not measured."""
    sample_iterations: int = 5
    """Iterations in (b) (count)."""
    num_rows: int = 1_000
    """Validation images (count)."""

    @classmethod
    def for_scale(cls, scale: str) -> "Config":
        """The values used at one scale."""
        if scale == "smoke":
            return cls(
                DataSet.sprites, Sizes((8,), 0, 32, 1, 32, 1), Training(200, 32, 3e-3), (2,), (1,), (Inputs.gradients_data,),
                2, 64,
            )  # fmt: skip
        if scale == "paper":
            return cls(
                DataSet.mnist,
                Sizes(),
                Training(400_000, 64, 2e-4),
                (2, 5, 10, 16),
                (1, 5, 10, 20),
                tuple(Inputs),
                5,
                10_000,
            )
        return cls()


class Found(NamedTuple):
    """What one trained model scores.

    Attributes:
        before_nats: bound of each image before inference.
        bound_nats: and after it.
        weights: learnable numbers of the network that infers.
    """

    before_nats: Float[np.ndarray, " rows"]
    bound_nats: Float[np.ndarray, " rows"]
    weights: int


@final
class Trials:
    """Trains a model for each setting once, and keeps what it scores."""

    def __init__(self, config: Config, context: AbstractRunContext, *, key: Key):
        self._config, self._context, self._key = config, context, key
        self._data = load_observations(config.data)
        # The same pixels and the same noise for every model: differences are then those of the models.
        self._rows = self._data.prepared(self._data.validation, config.num_rows, key=jr.key(1))
        self._found: dict[str, Found] = {}

    def direct(self, samples: int) -> Found:
        """Direct inference with so many samples."""

        def build(key: Key = jr.key(0)) -> ModelWithEngine:
            return with_direct(self._data, self._config.sizes, key=key)

        return self._trial(f"direct-{samples}", build, 1, samples)

    def iterative(self, inputs: Inputs, iterations: int, samples: int = 1) -> Found:
        """Iterative inference with so many iterations and samples."""

        def build(key: Key = jr.key(0)) -> ModelWithEngine:
            return with_iterative(self._data, self._config.sizes, inputs.encodings(self._data), key=key)

        return self._trial(f"{inputs.value}-{iterations}-{samples}", build, iterations, samples)

    def gains(self) -> list[Float[np.ndarray, " rows"]]:
        """By how much inference raised the bound, for every iterative model so far."""
        return [f.bound_nats - f.before_nats for name, f in self._found.items() if not name.startswith("direct")]

    def _trial(self, name: str, build: Callable[..., ModelWithEngine], iterations: int, samples: int) -> Found:
        if name not in self._found:
            expectation = MonteCarlo(samples)
            trained = train(
                self._context, name, self._data, build, self._config.training, key=self._key, num_iterations=iterations,
                expectation=expectation,
            )  # fmt: skip

            def score(key: Key) -> Float[np.ndarray, "2 rows"]:
                bounds = bound_path(
                    trained.learned, self._rows, num_steps=iterations, key=jr.key(2), training_expectation=expectation,
                    expectation=MonteCarlo(1),
                )  # fmt: skip
                return np.asarray(bounds[:, [0, -1]]).T

            before, after = self._context.stage(f"{name}-bound", score, key=self._key)
            self._found[name] = Found(np.asarray(before), np.asarray(after), num_weights(trained.learned.engine))
        return self._found[name]


def run(config: Config, context: AbstractRunContext, *, key: Key) -> None:
    """Run the experiment."""
    trials = Trials(config, context, key=key)
    direct = trials.direct(1)
    grid = {inputs: [trials.iterative(inputs, n) for n in config.iterations] for inputs in config.inputs}
    _measure_iterations(context, grid, direct)
    _show_iterations(config, context, grid, direct)
    same = [trials.direct(n) for n in config.samples]
    sampled = [trials.iterative(Inputs.gradients_data, config.sample_iterations, n) for n in config.samples]
    _measure_samples(context, sampled, same)
    _show_samples(config, context, sampled, same)
    least = min(trials.gains(), key=np.mean)
    _measure(context, "inference", least)


def _measure(context: AbstractRunContext, claim: str, differences: Float[np.ndarray, " rows"]) -> None:
    value, error = mean_and_error(differences)
    context.measure(f"iterations/{claim}", value, stderr=error)


def _measure_iterations(context: AbstractRunContext, grid: dict[Inputs, list[Found]], direct: Found) -> None:
    for inputs, found in grid.items():
        _measure(context, f"more-{inputs.value.replace('_', '-')}", found[-1].bound_nats - found[0].bound_nats)
    if Inputs.errors in grid and Inputs.gradients in grid:
        early = grid[Inputs.errors][0].bound_nats - grid[Inputs.gradients][0].bound_nats
        _measure(context, "errors-early", early)
    leads = [found[-1].bound_nats - direct.bound_nats for found in grid.values()]
    _measure(context, "against-direct", min(leads, key=np.mean))


def _measure_samples(context: AbstractRunContext, sampled: list[Found], same: list[Found]) -> None:
    _measure(context, "samples", sampled[-1].bound_nats - sampled[0].bound_nats)
    _measure(context, "samples-direct-one", sampled[-1].bound_nats - same[0].bound_nats)
    leads = [a.bound_nats - b.bound_nats for a, b in zip(sampled, same, strict=True)]
    _measure(context, "samples-direct-same", leads[-1])
    _measure(context, "samples-widen", leads[-1] - leads[0])


def _curve(name: str, found: list[Found], reference: Found) -> SettingCurve:
    """Mean bounds, with standard errors of the difference from the reference: what all images share is of no interest."""
    errors = [mean_and_error(one.bound_nats - reference.bound_nats)[1] for one in found]
    return SettingCurve(name, np.array([one.bound_nats.mean() for one in found]), np.array(errors))


def _show_iterations(
    config: Config, context: AbstractRunContext, grid: dict[Inputs, list[Found]], direct: Found
) -> None:
    rows = [("direct", direct.weights, *[printed(mean_and_error(direct.bound_nats), 2)] * len(config.iterations))]
    rows += [
        (inputs.title, found[0].weights, *(printed(mean_and_error(one.bound_nats), 2) for one in found))
        for inputs, found in grid.items()
    ]
    columns = ("inputs", "weights of the inference network", *(f"{n} iterations" for n in config.iterations))
    caption = (
        f"Bound on log p(x) of {config.num_rows} validation images with one sample, nats; standard errors over images."
    )
    context.table("iterations", columns, rows, caption=caption)
    context.figure(
        "iterations",
        plot_bound_by_setting(
            config.iterations, [_curve(inputs.title, found, direct) for inputs, found in grid.items()],
            xlabel="iterations of inference in training", reference=_curve("direct", [direct], direct),
        ),
        caption=f"(a) {caption} Bars are two standard errors of the difference from direct inference.",
    )  # fmt: skip


def _show_samples(config: Config, context: AbstractRunContext, sampled: list[Found], same: list[Found]) -> None:
    kinds = {f"iterative, {config.sample_iterations} iterations": sampled, "direct, as many": same}
    rows = [(name, *(printed(mean_and_error(one.bound_nats), 2) for one in found)) for name, found in kinds.items()]
    columns = ("inference", *(f"{n} samples" for n in config.samples))
    caption = (
        f"Bound on log p(x) of {config.num_rows} validation images, nats, for models trained with several samples; "
        "standard errors over images."
    )
    context.table("samples", columns, rows, caption=caption)
    context.figure(
        "samples",
        plot_bound_by_setting(
            config.samples, [_curve(name, found, same[0]) for name, found in kinds.items()],
            xlabel="samples of q in training", reference=_curve("direct, one sample", same[:1], same[0]),
        ),
        caption=f"(b) {caption} Bars are two standard errors of the difference from direct inference with "
        "one sample.",
    )  # fmt: skip
