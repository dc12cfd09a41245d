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
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import NamedTuple

import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ...distributions import MonteCarlo
from ...inference import ModelWithEngine
from ...inference.engines import AbstractEncoding, Estimate, LogGradient, PredictionErrors
from ...metrics import count_weights
from ...runs import AtLeast, Claim, Minutes, RunContext
from ...typing import Array, Float, Key
from ...viz import SettingCurve, plot_bound_by_setting
from ..kit import EVERYWHERE, Training, at, mean_and_error, measure, printed, scales
from ._data import DataSet, SplitData, load_observations
from ._methods import InferenceMethod, compare
from ._networks import Networks, NetworkSizes, data_encoding

SOURCE = "Marino (thesis), Fig. 3.9 and Sec. 3.5, 'Additional Inference Iterations & Latent Samples'"
MINUTES = Minutes(smoke=0.3, small=5.0, paper=3000.0)
_BARS = "Bars are two standard errors of the difference from direct inference"
_MOST = "bound of iterative inference with the most samples"
_MORE = "bound with the most iterations minus that with the fewest"
CLAIMS = (
    Claim("iterations/more-gradients", SOURCE, f"{_MORE}, reading gradients", "nats", AtLeast(0.0)),
    Claim("iterations/more-errors", SOURCE, f"{_MORE}, reading errors", "nats", AtLeast(0.0)),
    Claim("iterations/more-gradients-data", SOURCE, f"{_MORE}, reading gradients and data", "nats", AtLeast(0.0)),
    Claim("iterations/more-errors-data", SOURCE, f"{_MORE}, reading errors and data", "nats", AtLeast(0.0), scales=("paper",)),
    Claim("iterations/errors-early", SOURCE, "bound of errors minus that of gradients, at the fewest iterations, no data",
          "nats", AtLeast(0.0)),
    Claim("iterations/against-direct", SOURCE,
          "bound with the most iterations minus that of direct inference, the least of all inputs", "nats", AtLeast(0.0)),
    Claim("iterations/samples", SOURCE, f"{_MOST} minus that with one", "nats", AtLeast(0.0), scales=("small",)),
    Claim("iterations/samples", SOURCE, f"{_MOST} minus that with one", "nats", AtLeast(1.0), scales=("paper",)),
    Claim("iterations/samples-direct-one", SOURCE, f"{_MOST} minus that of direct inference with one", "nats",
          AtLeast(0.0)),
    Claim("iterations/samples-direct-same", SOURCE,
          "bound of iterative inference minus that of direct inference, both with the most samples", "nats", AtLeast(0.0)),
    Claim("iterations/samples-widen", SOURCE,
          "lead of iterative over direct inference with the most samples each minus the lead with one each", "nats",
          AtLeast(0.0)),
    Claim("iterations/inference", SOURCE, "least gain of the bound by the iterations of any model", "nats",
          AtLeast(0.0), scales=EVERYWHERE),
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

    def encodings(self, data: SplitData) -> tuple[AbstractEncoding, ...]:
        """The inputs as encodings."""
        first = LogGradient() if self in (Inputs.gradients, Inputs.gradients_data) else PredictionErrors()
        seen = (data_encoding(data),) if self in (Inputs.gradients_data, Inputs.errors_data) else ()
        return Estimate(), first, *seen


@dataclass(frozen=True)
class Config:
    """Options of this experiment; the defaults are those of `small`."""

    data: DataSet = DataSet.mnist
    """What is observed."""
    sizes: NetworkSizes = NetworkSizes((64,), 0, 128, 2, 128, 2)
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

    for_scale = scales(
        smoke=at(
            DataSet.sprites, NetworkSizes((8,), 0, 32, 1, 32, 1), Training(200, 32, 3e-3), (2,), (1,), (Inputs.gradients_data,),
            2, 64,
        ),
        paper=at(
            DataSet.mnist, NetworkSizes(), Training(400_000, 64, 2e-4), (2, 5, 10, 16), (1, 5, 10, 20), tuple(Inputs),
            5, 10_000,
        ),
    )  # fmt: skip


class Trial(NamedTuple):
    """Bounds of each image before and after inference by one trained model, and learnable numbers of the network that infers."""

    before_nats: Float[np.ndarray, " rows"]
    bound_nats: Float[np.ndarray, " rows"]
    weights: int

    @property
    def cell(self) -> str:
        """Mean and error of the bound, for tables."""
        return printed(self.bound_nats, 2)


def run(config: Config, context: RunContext, *, key: Key) -> None:
    """Run the experiment."""
    data = load_observations(config.data)
    networks = Networks(data, config.sizes)
    # The same pixels and the same noise for every model: differences are then those of the models.
    rows = data.prepared(data.validation, config.num_rows, key=jr.key(1))

    def score(method: InferenceMethod, learned: ModelWithEngine, *, key: Key) -> Float[Array, "2 rows"]:
        return method.bounds(learned, rows, key=jr.key(2), num_samples=1)[:, jnp.asarray([0, -1])].T

    @cache  # both parts share settings, and a model is trained once
    def trial(inputs: Inputs | None, iterations: int, samples: int) -> Trial:
        name = f"direct-{samples}" if inputs is None else f"{inputs.value}-{iterations}-{samples}"
        engine = networks.direct if inputs is None else partial(networks.iterative, inputs.encodings(data))
        method = InferenceMethod(name, networks, engine, iterations, MonteCarlo(samples))
        (found,) = compare(context, "model", [method], [config.training], score, num_seeds=1, key=key).results
        return Trial(*found.scores[0], count_weights(lambda: found.learned.engine))

    def measure_lead(claim: str, better: Trial, worse: Trial) -> None:
        measure(context, f"iterations/{claim}", better.bound_nats - worse.bound_nats)

    direct = trial(None, 1, 1)
    grid = {inputs: [trial(inputs, n, 1) for n in config.iterations] for inputs in config.inputs}
    for inputs, found in grid.items():
        measure_lead(f"more-{inputs.value.replace('_', '-')}", found[-1], found[0])
    if Inputs.errors in grid and Inputs.gradients in grid:
        measure_lead("errors-early", grid[Inputs.errors][0], grid[Inputs.gradients][0])
    least = min((found[-1] for found in grid.values()), key=lambda one: one.bound_nats.mean())
    measure_lead("against-direct", least, direct)
    show_iterations(context, config, grid, direct)
    same = [trial(None, 1, n) for n in config.samples]
    sampled = [trial(Inputs.gradients_data, config.sample_iterations, n) for n in config.samples]
    measure_lead("samples", sampled[-1], sampled[0])
    measure_lead("samples-direct-one", sampled[-1], same[0])
    measure_lead("samples-direct-same", sampled[-1], same[-1])
    first, last = (sampled[k].bound_nats - same[k].bound_nats for k in (0, -1))
    measure(context, "iterations/samples-widen", last - first)
    show_samples(context, config, sampled, same)
    gains = [one.bound_nats - one.before_nats for found in (*grid.values(), sampled) for one in found]
    measure(context, "iterations/inference", min(gains, key=np.mean))


def _curve(name: str, found: Sequence[Trial], reference: Trial) -> SettingCurve:
    """Mean bounds, with standard errors of the difference from the reference: what all images share is of no interest."""
    errors = [mean_and_error(one.bound_nats - reference.bound_nats)[1] for one in found]
    return SettingCurve(name, np.array([one.bound_nats.mean() for one in found]), np.array(errors))


def show_iterations(context: RunContext, config: Config, grid: dict[Inputs, list[Trial]], direct: Trial) -> None:
    """Table and figure of (a)."""
    named = {inputs.value.replace("_", " and "): found for inputs, found in grid.items()}
    rows = [("direct", direct.weights, *[direct.cell] * len(config.iterations))]
    rows += [(name, found[0].weights, *(one.cell for one in found)) for name, found in named.items()]
    columns = ("inputs", "weights of the inference network", *(f"{n} iterations" for n in config.iterations))
    caption = (
        f"Bound on log p(x) of {config.num_rows} validation images with one sample, nats; standard errors over images."
    )
    context.table("iterations", columns, rows, caption=caption)
    figure = plot_bound_by_setting(
        config.iterations, [_curve(name, found, direct) for name, found in named.items()],
        xlabel="iterations of inference in training", reference=_curve("direct", [direct], direct),
    )  # fmt: skip
    context.figure("iterations", figure, caption=f"(a) {caption} {_BARS}.")


def show_samples(context: RunContext, config: Config, sampled: list[Trial], same: list[Trial]) -> None:
    """Table and figure of (b)."""
    named = {f"iterative, {config.sample_iterations} iterations": sampled, "direct, as many": same}
    rows = [(name, *(one.cell for one in found)) for name, found in named.items()]
    caption = (
        f"Bound on log p(x) of {config.num_rows} validation images, nats, for models trained with several samples; "
        + ("standard errors over images.")
    )
    context.table("samples", ("inference", *(f"{n} samples" for n in config.samples)), rows, caption=caption)
    figure = plot_bound_by_setting(
        config.samples, [_curve(name, found, same[0]) for name, found in named.items()],
        xlabel="samples of q in training", reference=_curve("direct, one sample", same[:1], same[0]),
    )  # fmt: skip
    context.figure("samples", figure, caption=f"(b) {caption} {_BARS} with one sample.")
