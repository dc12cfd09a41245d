"""Direct against iterative inference on CIFAR-10, one level and two: bits per dimension at equal updates and at equal time.

Table 3.2. As `ch3/mnist` with colour photographs: Gaussian output densities whose means pass a sigmoid and whose variances are
conditional, on pixels with uniform noise of one grey level. A density p of x in [0, 1] is told as the bits that a pixel of 256
values costs, (-log p + D log 256) / (D log 2), an upper bound on the code length. This is the authors' measure, taken for the
table; `models.static.ConditionalDiscretizedGaussian` gives the probability of a pixel's bin itself, and other figures.

Where this differs from the authors' code: x = (pixel + u) / 256 without clipping (theirs piles noise up on 0 and 1, where no
density exists); a validation split; half a cosine for the learning rate; a standard Gaussian as the start of inference; one
update network for both levels, and the upper level reaches the data through the lower one alone; no KL warm-up for direct
inference with two levels. Gradients are normalised over the entries of one example, as the thesis says; the code normalises
over the batch. A packed copy of the data may hold the first 10,000 training and 1,000 test images only; the run notes how many
it had. At `small`, networks are narrow (128 units, 64 latents), 400 updates stand for 780,000, and 300 test images with 300
samples for 10,000 with 5,000. At `smoke`, rendered sprites stand for photographs.
"""

from dataclasses import dataclass
from functools import partial
from typing import final

import jax.numpy as jnp
import numpy as np

from ...inference.engines import Estimate, InferenceGradient, Normalized
from ...metrics import bits_per_dimension, independent_gaussian_nats
from ...runs import AtLeast, Claim, Minutes, RunContext
from ...typing import Float, Key
from ..kit import EVERYWHERE, Published, Training, at, scales
from ._comparison import ImageConfig, Table, TableRow, nats, run_images
from ._data import DataSet, load_observations, with_densities
from ._methods import Entry, Judging
from ._networks import NetworkSizes, data_encoding

SOURCE = "Marino (thesis), Table 3.2"
MINUTES = Minutes(smoke=0.2, small=8.0, paper=6000.0)
PUBLISHED = Published(
    SOURCE, "bits per dimension", ("direct", "iterative"), {"one level": (5.823, 5.64), "two levels": (5.565, 5.456)}
)
_LEAD = "-log p(x) of direct inference minus that of iterative inference, test images"
_FIGURE = "-log p(x), test images"
_BITS = "bits per dimension"
# A tenth of a bit on either side: other noise at the ends, another start of inference, other hierarchies.
_near = partial(PUBLISHED.figure_claim, within=0.1)
CLAIMS = (
    Claim("cifar10/one-level-updates", SOURCE, f"{_LEAD}, one level, equal updates", _BITS, AtLeast(0.0)),
    Claim("cifar10/one-level-time", SOURCE, f"{_LEAD}, one level, equal wall-clock", _BITS, AtLeast(0.0)),
    Claim("cifar10/two-levels-updates", SOURCE, f"{_LEAD}, two levels, equal updates", _BITS, AtLeast(0.0)),
    Claim("cifar10/two-levels-time", SOURCE, f"{_LEAD}, two levels, equal wall-clock", _BITS, AtLeast(0.0)),
    Claim("cifar10/no-latents", SOURCE, "least lead of a trained model over independent Gaussian pixels", "nats",
          AtLeast(0.0), scales=EVERYWHERE),
    _near("cifar10/one-level-direct", f"{_FIGURE}, one level, direct", "one level", "direct"),
    _near("cifar10/one-level-iterative", f"{_FIGURE}, one level, iterative", "one level", "iterative"),
    _near("cifar10/two-levels-direct", f"{_FIGURE}, two levels, direct", "two levels", "direct"),
    _near("cifar10/two-levels-iterative", f"{_FIGURE}, two levels, iterative", "two levels", "iterative"),
)  # fmt: skip


@final
@dataclass(frozen=True)
class Config(ImageConfig):
    """Options of this experiment."""

    for_scale = scales(
        smoke=at(
            DataSet.sprites, Entry(NetworkSizes((8,), 0, 32, 1, 32, 1), Training(2_000, 32, 3e-3), 2),
            Entry(NetworkSizes((8, 4), 0, 32, 1, 32, 1), Training(2_000, 32, 3e-3), 2), 1, Judging(1, 32, 32, 20),
        ),
        small=at(
            DataSet.cifar10, Entry(NetworkSizes((64,), 0, 128, 2, 128, 1), Training(400, 64, 5e-4)),
            Entry(NetworkSizes((64, 32), 0, 128, 2, 128, 1), Training(400, 64, 5e-4)), 2, Judging(3, 500, 300, 300),
        ),
        # 2,000 epochs of 50,000 images; 0.999^2000 = 0.135.
        paper=at(
            DataSet.cifar10,
            Entry(NetworkSizes((1_024,), 0, 2_048, 3, 2_048, 1), Training(781_250, 128, 1e-4, 0.135), 5, 10, 10),
            Entry(NetworkSizes((1_024, 512), 0, 2_048, 3, 2_048, 1), Training(781_250, 128, 1e-4, 0.135), 5, 10, 10),
            2, Judging(),
        ),
    )  # fmt: skip


def run(config: Config, context: RunContext, *, key: Key) -> None:
    """Run the experiment."""
    data, reporting = with_densities(load_observations(config.data)), config.reporting
    context.note("data", f"{len(data.train)} training, {len(data.validation)} validation and {len(data.test)} test images; "
                 "CIFAR-10 officially has 50,000 to learn and choose from, and 10,000 to test on.")  # fmt: skip
    # The authors' inputs: the gradients of mu and log sigma are normalised each by itself.
    inputs = (Estimate(), Normalized(InferenceGradient(), 2), data_encoding(data))
    rows = [
        TableRow(name, entry, inputs, highway=True)
        for name, entry in (("one level", config.one_level), ("two levels", config.two_levels))
    ]
    figure, published = partial(bits, size=data.size), PUBLISHED if config.data is DataSet.cifar10 else None

    def told(reference: float) -> str:
        score = float(figure(np.full((1, 1), -reference))[0])
        return f"Independent Gaussian pixels with the training images' moments score {score:.3f} {_BITS}."

    run_images(
        context, Table("cifar10", data, reporting, _BITS, figure, 3, published), rows[: config.num_models],
        independent_gaussian_nats, told,
        caption=f"-log p(x) of {len(data.test[: reporting.num_test])} test images, {reporting.num_importance} importance-weighted samples each; "
        f"mean and standard error over {reporting.num_seeds} seeds. In brackets, the thesis' figures, from longer "
        "training of larger networks on all images.", key=key,
    )  # fmt: skip


def bits(log_likelihood_nats: Float[np.ndarray, "seeds rows"], size: int) -> Float[np.ndarray, " seeds"]:
    """Bits per dimension, mean over rows."""
    mean = jnp.asarray(nats(log_likelihood_nats))
    return np.asarray(bits_per_dimension(mean, size, log_bin_nats=float(np.log(256.0))))
