"""Direct against iterative inference on MNIST, one level and two: likelihoods at equal updates and at equal time.

Table 3.1. The generative model is the same on both sides, and so are the networks that infer but for the length of their
inputs. -log p(x) is estimated by importance-weighted samples on test images, which are read for nothing else.

Two budgets are reported (see `_comparison`): equal numbers of updates, as in the thesis, and equal wall-clock, where direct
inference makes as many more updates as its updates are faster in this run.

Where this differs from the authors' code: 10,000 of the training images are set apart for validation (they chose on test);
the learning rate falls along half a cosine instead of by 0.1 % an epoch, to the same share; inference starts at a standard
Gaussian in every level (they start at a draw of the prior); with two levels, one update network serves both, and there is no
batch normalisation. At `paper`, iterative inference has 10 samples and direct 1 with one level, as in the authors'
configurations; at equal time both have 10. At `small`, networks are narrower (256 units), 1,000 updates stand for 1.5 million, and
500 test images with 500 samples for 10,000 with 5,000. At `smoke`, rendered sprites stand for digits.
"""

from dataclasses import dataclass

from ...inference.engines import Estimate, LogGradient, PredictionErrors
from ...metrics import independent_bernoulli_nats
from ...runs import AtLeast, Claim, Minutes, RunContext
from ...typing import Key
from ..kit import Published, Training
from . import _comparison as comparison
from ._comparison import Entry, TableRow
from ._data import DataSet, load_observations
from ._networks import NetworkSizes, data_encoding
from ._scores import Judging

SOURCE = "Marino (thesis), Table 3.1"
MINUTES = Minutes(smoke=0.2, small=8.0, paper=4000.0)
PUBLISHED = Published(
    SOURCE, "nats", ("direct", "iterative"), {"one level": (84.14, 83.84), "two levels": (82.63, 82.457)}
)
_LEAD = "-log p(x) of direct inference minus that of iterative inference, test images"
_FIGURE = "-log p(x), test images"
CLAIMS = (
    Claim("mnist/one-level-updates", SOURCE, f"{_LEAD}, one level, equal updates", "nats", AtLeast(0.0)),
    Claim("mnist/one-level-time", SOURCE, f"{_LEAD}, one level, equal wall-clock", "nats", AtLeast(0.0)),
    Claim("mnist/two-levels-updates", SOURCE, f"{_LEAD}, two levels, equal updates", "nats", AtLeast(0.0)),
    Claim("mnist/two-levels-time", SOURCE, f"{_LEAD}, two levels, equal wall-clock", "nats", AtLeast(0.0)),
    Claim("mnist/no-latents", SOURCE, "least lead of a trained model over independent pixels", "nats",
          AtLeast(0.0), scales=("smoke", "small", "paper")),
    # Half a nat on either side: other training images, another start of inference, another schedule.
    PUBLISHED.figure_claim("mnist/one-level-direct", f"{_FIGURE}, one level, direct", "one level", "direct", within=0.5),
    PUBLISHED.figure_claim("mnist/one-level-iterative", f"{_FIGURE}, one level, iterative", "one level", "iterative", within=0.5),
    PUBLISHED.figure_claim("mnist/two-levels-direct", f"{_FIGURE}, two levels, direct", "two levels", "direct", within=0.5),
    PUBLISHED.figure_claim("mnist/two-levels-iterative", f"{_FIGURE}, two levels, iterative", "two levels", "iterative", within=0.5),
)  # fmt: skip


@dataclass(frozen=True)
class Config:
    """Options of this experiment; the defaults are those of `small`."""

    data: DataSet = DataSet.mnist
    """What is observed: binary pictures."""
    one_level: Entry = Entry(NetworkSizes((64,), 0, 256, 2, 256, 2), Training(1_000, 64, 1e-3))
    """The model of one level."""
    two_levels: Entry = Entry(NetworkSizes((64, 32), 64, 256, 2, 256, 2), Training(1_000, 64, 1e-3))
    """The model of two levels."""
    num_models: int = 2
    """1 leaves the model of two levels out (count)."""
    reporting: Judging = Judging(3, 1_000, 500, 500)
    """How models are judged."""

    @classmethod
    def for_scale(cls, scale: str) -> "Config":
        """The values used at one scale."""
        if scale == "smoke":
            training = Training(1_000, 32, 3e-3)
            return cls(
                DataSet.sprites, Entry(NetworkSizes((8,), 0, 32, 1, 32, 1), training, 2),
                Entry(NetworkSizes((8, 4), 8, 32, 1, 32, 1), training, 2), 1, Judging(1, 32, 32, 20),
            )  # fmt: skip
        if scale == "paper":
            # 2,000 epochs of 50,000 images; 0.999^2000 = 0.135.
            single, double = Training(1_562_500, 64, 2e-4, 0.135), Training(390_625, 256, 2e-4, 0.135)
            return cls(
                DataSet.mnist,
                Entry(NetworkSizes(), single, 5, 10, 1),
                Entry(NetworkSizes((64, 32), 64), double),
                2,
                Judging(),
            )
        return cls()


def run(config: Config, context: RunContext, *, key: Key) -> None:
    """Run the experiment."""
    data, reporting = load_observations(config.data), config.reporting
    # The authors' inputs: gradients with one level, errors of data and latents with two.
    gradients, errors = (
        (Estimate(), LogGradient(), data_encoding(data)),
        (Estimate(), PredictionErrors(), data_encoding(data)),
    )
    cases = (
        TableRow("one level", data, config.one_level, gradients),
        TableRow("two levels", data, config.two_levels, errors, highway=True),
    )
    outcomes, reference = comparison.compare_images(
        context, "mnist", cases[: config.num_models], reporting, comparison.nats, independent_bernoulli_nats, key=key
    )
    context.note("no-latents", f"Independent pixels with the training images' frequencies score {reference:.2f} nats.")
    comparison.tabulate(
        context, outcomes, comparison.nats, unit="nats", published=PUBLISHED if config.data is DataSet.mnist else None,
        caption=f"-log p(x) of {reporting.num_test} test images, {reporting.num_importance} importance-weighted "
        f"samples each; mean and standard error over {reporting.num_seeds} seeds. In brackets, the thesis' figures, "
        "from longer training of larger networks.",
    )  # fmt: skip
