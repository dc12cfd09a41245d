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
from functools import partial
from typing import final

from ...inference.engines import Estimate, LogGradient, PredictionErrors
from ...metrics import independent_bernoulli_nats
from ...runs import AtLeast, Claim, Minutes, RunContext
from ...typing import Key
from ..kit import EVERYWHERE, Published, Training, at, scales
from ._comparison import ImageConfig, Table, TableRow, run_images
from ._data import DataSet, load_observations
from ._methods import Entry, Judging
from ._networks import NetworkSizes, data_encoding

SOURCE = "Marino (thesis), Table 3.1"
MINUTES = Minutes(smoke=0.2, small=8.0, paper=4000.0)
PUBLISHED = Published(
    SOURCE, "nats", ("direct", "iterative"), {"one level": (84.14, 83.84), "two levels": (82.63, 82.457)}
)
_LEAD = "-log p(x) of direct inference minus that of iterative inference, test images"
_FIGURE = "-log p(x), test images"
# Half a nat on either side: other training images, another start of inference, another schedule.
_near = partial(PUBLISHED.figure_claim, within=0.5)
CLAIMS = (
    Claim("mnist/one-level-updates", SOURCE, f"{_LEAD}, one level, equal updates", "nats", AtLeast(0.0)),
    Claim("mnist/one-level-time", SOURCE, f"{_LEAD}, one level, equal wall-clock", "nats", AtLeast(0.0)),
    Claim("mnist/two-levels-updates", SOURCE, f"{_LEAD}, two levels, equal updates", "nats", AtLeast(0.0)),
    Claim("mnist/two-levels-time", SOURCE, f"{_LEAD}, two levels, equal wall-clock", "nats", AtLeast(0.0)),
    Claim("mnist/no-latents", SOURCE, "least lead of a trained model over independent pixels", "nats",
          AtLeast(0.0), scales=EVERYWHERE),
    _near("mnist/one-level-direct", f"{_FIGURE}, one level, direct", "one level", "direct"),
    _near("mnist/one-level-iterative", f"{_FIGURE}, one level, iterative", "one level", "iterative"),
    _near("mnist/two-levels-direct", f"{_FIGURE}, two levels, direct", "two levels", "direct"),
    _near("mnist/two-levels-iterative", f"{_FIGURE}, two levels, iterative", "two levels", "iterative"),
)  # fmt: skip


@final
@dataclass(frozen=True)
class Config(ImageConfig):
    """Options of this experiment."""

    for_scale = scales(
        smoke=at(
            DataSet.sprites, Entry(NetworkSizes((8,), 0, 32, 1, 32, 1), Training(1_000, 32, 3e-3), 2),
            Entry(NetworkSizes((8, 4), 8, 32, 1, 32, 1), Training(1_000, 32, 3e-3), 2), 1, Judging(1, 32, 32, 20),
        ),
        small=at(
            DataSet.mnist, Entry(NetworkSizes((64,), 0, 256, 2, 256, 2), Training(1_000, 64, 1e-3)),
            Entry(NetworkSizes((64, 32), 64, 256, 2, 256, 2), Training(1_000, 64, 1e-3)), 2, Judging(3, 1_000, 500, 500),
        ),
        # 2,000 epochs of 50,000 images; 0.999^2000 = 0.135.
        paper=at(
            DataSet.mnist, Entry(NetworkSizes(), Training(1_562_500, 64, 2e-4, 0.135), 5, 10, 1),
            Entry(NetworkSizes((64, 32), 64), Training(390_625, 256, 2e-4, 0.135)), 2, Judging(),
        ),
    )  # fmt: skip


def run(config: Config, context: RunContext, *, key: Key) -> None:
    """Run the experiment."""
    data, reporting = load_observations(config.data), config.reporting
    published = PUBLISHED if config.data is DataSet.mnist else None
    # The authors' inputs: gradients with one level, errors of data and latents with two.
    gradients, errors = ((Estimate(), read, data_encoding(data)) for read in (LogGradient(), PredictionErrors()))
    rows = (
        TableRow("one level", config.one_level, gradients),
        TableRow("two levels", config.two_levels, errors, highway=True),
    )
    run_images(
        context, Table("mnist", data, reporting, published=published), rows[: config.num_models], independent_bernoulli_nats,
        "Independent pixels with the training images' frequencies score {:.2f} nats.".format,
        caption=f"-log p(x) of {reporting.num_test} test images, {reporting.num_importance} importance-weighted "
        f"samples each; mean and standard error over {reporting.num_seeds} seeds. In brackets, the thesis' figures, "
        "from longer training of larger networks.", key=key,
    )  # fmt: skip
