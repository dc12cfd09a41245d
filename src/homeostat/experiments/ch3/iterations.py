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

from dataclasses import dataclass

import numpy as np

from ...runs import AtLeast, Claim, Minutes, RunContext
from ...typing import Key
from ..kit import Training
from ._data import DataSet, load_observations
from ._iterations_report import measure_difference, measure_iterations, measure_samples, show_iterations, show_samples
from ._networks import NetworkSizes
from ._trials import Inputs, Trials

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

    @classmethod
    def for_scale(cls, scale: str) -> "Config":
        """The values used at one scale."""
        if scale == "smoke":
            return cls(
                DataSet.sprites, NetworkSizes((8,), 0, 32, 1, 32, 1), Training(200, 32, 3e-3), (2,), (1,), (Inputs.gradients_data,),
                2, 64,
            )  # fmt: skip
        if scale == "paper":
            return cls(
                DataSet.mnist,
                NetworkSizes(),
                Training(400_000, 64, 2e-4),
                (2, 5, 10, 16),
                (1, 5, 10, 20),
                tuple(Inputs),
                5,
                10_000,
            )
        return cls()


def run(config: Config, context: RunContext, *, key: Key) -> None:
    """Run the experiment."""
    data = load_observations(config.data)
    trials = Trials(data, config.sizes, config.training, config.num_rows, context, key=key)
    direct = trials.direct(1)
    grid = {inputs: [trials.iterative(inputs, n) for n in config.iterations] for inputs in config.inputs}
    measure_iterations(context, grid, direct)
    show_iterations(config.iterations, config.num_rows, context, grid, direct)
    same = [trials.direct(n) for n in config.samples]
    sampled = [trials.iterative(Inputs.gradients_data, config.sample_iterations, n) for n in config.samples]
    measure_samples(context, sampled, same)
    show_samples(config.samples, config.sample_iterations, config.num_rows, context, sampled, same)
    least = min(trials.gains(), key=np.mean)
    measure_difference(context, "inference", least)
