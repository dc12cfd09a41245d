"""Predictive coding against iterative amortized inference on one model, over iterations and at equal compute.

Chapter 8 argues that learned, non-linear updates adjust their own step sizes and so need "exceedingly few" iterations where
the gradient-based schemes of predictive coding need many. Here a latent Gaussian model of binarised MNIST is trained with a
direct encoder and then fixed; all that is compared infers on this one model:

- predictive coding (Eq. 8.5) on point estimates, with a plain rate, momentum or Adam; rule and rate are chosen on validation
  rows, for every number of iterations by itself;
- the same after a feedforward pass, which counts as its first iteration;
- iterative inference of points, trained with 5 iterations, reading gradients alone (the same information as predictive coding)
  or the observation as well (the counterpart of the feedforward pass);
- iterative inference of Gaussians. For a bound on log p(x), each point of predictive coding gets the factorised Gaussian that
  fits the curvature there best, at no charge.

The thesis gives no figures for this comparison. At scale `smoke` rendered sprites stand in for MNIST, so that no files are
needed. Test rows are read by the final measurements and by nothing else.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np

from ...runs import AtLeast, Claim, Minutes, RunContext
from ...typing import Key
from ..kit import EVERYWHERE, Training, at, scales
from ._coding import CodingMeasures, measure, train_candidates
from ._coding_report import CodingCosts, costs, draw_coding, measure_claims, tabulate_coding
from ._data import DataSet, load_observations
from ._networks import Networks, NetworkSizes

SOURCE = "thesis, Sec. 8.3, 'Iterative Amortization', with Eqs. 8.2 to 8.5"
MINUTES = Minutes(smoke=0.6, small=20.0, paper=240.0)
_EIGHT_TWO = (
    "after 8 iterations of predictive coding above that after 2 of iterative inference, over its standard error"
)
CLAIMS = (
    Claim("predictive_coding/settles", SOURCE, "energy that 8 iterations of predictive coding remove", "nats",
          AtLeast(0.0), scales=EVERYWHERE),
    Claim("predictive_coding/few-iterations", SOURCE, f"energy -log p(x, z) {_EIGHT_TWO}; same start, same information",
          "standard errors", AtLeast(2.0)),
    Claim("predictive_coding/feedforward", SOURCE, f"the same, where both read the observation: energy {_EIGHT_TWO}",
          "standard errors", AtLeast(2.0)),
    Claim("predictive_coding/bound", SOURCE, f"free energy of a Gaussian q {_EIGHT_TWO}", "standard errors",
          AtLeast(2.0)),
    Claim("predictive_coding/equal-compute", SOURCE, "energy of predictive coding above that of iterative inference with as "
          "many iterations as its 8 cost in multiply-adds, over its standard error", "standard errors", AtLeast(2.0)),
    Claim("predictive_coding/equal-time", SOURCE, "the same for as many iterations as its 8 take in wall-clock time",
          "standard errors", AtLeast(2.0)),
    Claim("predictive_coding/seconds", SOURCE, "wall-clock time of 8 iterations of predictive coding over that of 2 of "
          "iterative inference", "ratio", AtLeast(1.0)),
    Claim("predictive_coding/few-suffice", SOURCE, "share of the way from the start to the optimum after 2 iterations of "
          "iterative inference", "fraction", AtLeast(0.9)),
)  # fmt: skip


@dataclass(frozen=True)
class Config:
    """Options of this experiment."""

    dataset: DataSet = DataSet.mnist
    """What is observed."""
    sizes: NetworkSizes = NetworkSizes()
    """Of the networks."""
    model: Training = Training(100_000, 64, 2e-4)
    """Of the generative model, with a direct encoder."""
    engine: Training = Training(100_000, 64, 2e-4)
    """Of every encoder and update network, on the fixed model."""
    num_training_iterations: int = 5
    """Iterations that iterative inference is trained with (count)."""
    num_seeds: int = 3
    """Independent models, each with its engines (count)."""
    rates: tuple[float, ...] = (0.003, 0.006, 0.013, 0.027, 0.057, 0.12, 0.25, 0.5, 1.0)
    """Rates of predictive coding that are tried with every rule (per unit of the slope)."""
    num_validation: int = 1_000
    """Rows that rules and rates are chosen on (count)."""
    num_test: int = 10_000
    """Rows that are reported (count)."""
    num_timed: int = 256
    """Rows that are timed at once (count)."""
    optimum_steps: int = 500
    """Steps of the optimisation that stands for the optimum (count)."""

    for_scale = scales(
        smoke=at(
            DataSet.sprites, NetworkSizes((4,), 0, 16, 1, 16, 1), Training(60, 32, 3e-3), Training(30, 32, 3e-3),
            num_seeds=2, rates=(0.01, 0.1), num_validation=32, num_test=64, num_timed=32, optimum_steps=20,
        ),
        small=at(
            sizes=NetworkSizes((32,), encoder_width=256, decoder_width=256), model=Training(5_000, 64, 1e-3),
            engine=Training(8_000, 64, 1e-3), num_validation=250, num_test=500, optimum_steps=200,
        ),
    )  # fmt: skip


def run(config: Config, context: RunContext, *, key: Key) -> None:
    """Run the experiment."""
    data = load_observations(config.dataset)
    validation = data.prepared(data.validation, config.num_validation, key=key)
    test = data.prepared(data.test, config.num_test, key=key)
    timed = test[: config.num_timed]
    networks, trainings = Networks(data, config.sizes), (config.model, config.engine)
    found: list[CodingMeasures] = []
    spent: tuple = ()
    for seed in range(config.num_seeds):
        candidates = train_candidates(context, seed, networks, trainings, config.num_training_iterations, key=key)
        context.say(f"inference on model {seed}")
        stage = partial(measure, candidates, validation, test, config.rates, optimum_steps=config.optimum_steps)
        found.append(context.stage(f"measure-{seed}", stage, key=key))
        if seed == 0:
            spent = context.stage("costs", partial(costs, candidates, timed), key=key)
    all_ = CodingMeasures(*(np.stack(parts) for parts in zip(*found, strict=True)))
    spent = CodingCosts(*map(np.asarray, spent))
    measure_claims(context, all_, spent)
    tabulate_coding(context, all_, spent, config.rates, num_timed=len(timed))
    draw_coding(context, all_, spent, num_trained=config.num_training_iterations, num_timed=len(timed))
