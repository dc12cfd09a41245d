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

from dataclasses import dataclass, replace

import jax
import numpy as np

from ...typing import Float, Key
from ...viz import BoundCurve, SettingCurve, plot_bound_by_setting, plot_bound_progress
from .._claims import AtLeast, Claim
from .._protocol import AbstractRunContext, Minutes
from ._coding import RULES, Costs, Measured, costs, measure, train_candidates
from ._common import DataSet, Sizes, Training, load_observations, printed

SOURCE = "thesis, Sec. 8.3, 'Iterative Amortization', with Eqs. 8.2 to 8.5"
MINUTES = Minutes(smoke=0.6, small=20.0, paper=240.0)
_EIGHT_TWO = (
    "after 8 iterations of predictive coding above that after 2 of iterative inference, over its standard error"
)
_EVERYWHERE = ("smoke", "small", "paper")
CLAIMS = (
    Claim("predictive_coding/settles", SOURCE, "energy that 8 iterations of predictive coding remove", "nats",
          AtLeast(0.0), scales=_EVERYWHERE),
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

ITERATIONS = (1, 2, 4, 8)
"""Where costs are timed and tables are filled."""


@dataclass(frozen=True)
class Config:
    """Options of this experiment."""

    dataset: DataSet = DataSet.mnist
    """What is observed."""
    sizes: Sizes = Sizes()
    """Of the networks."""
    model: Training = Training()
    """Of the generative model, with a direct encoder."""
    engine: Training = Training()
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

    @classmethod
    def for_scale(cls, scale: str) -> "Config":
        """The values used at one scale."""
        if scale == "paper":
            return cls()
        small = cls(
            sizes=Sizes(latents=(32,), encoder_width=256, decoder_width=256),
            model=Training(5_000, 64, 1e-3),
            engine=Training(8_000, 64, 1e-3),
            num_validation=250,
            num_test=500,
            optimum_steps=200,
        )
        if scale == "small":
            return small
        return replace(
            small,
            dataset=DataSet.sprites,
            sizes=Sizes(latents=(4,), encoder_width=16, encoder_depth=1, decoder_width=16, decoder_depth=1),
            model=Training(60, 32, 3e-3),
            engine=Training(30, 32, 3e-3),
            num_seeds=2,
            rates=(0.01, 0.1),
            num_validation=32,
            num_test=64,
            num_timed=32,
            optimum_steps=20,
        )


def run(config: Config, context: AbstractRunContext, *, key: Key) -> None:
    """Run the experiment."""
    data = load_observations(config.dataset)
    validation = data.prepared(data.validation, config.num_validation, key=key)
    test = data.prepared(data.test, config.num_test, key=key)
    timed = test[: config.num_timed]
    found: list[Measured] = []
    spent: tuple = ()
    for seed in range(config.num_seeds):
        candidates = train_candidates(
            context, seed, data, config.sizes, (config.model, config.engine), config.num_training_iterations, key=key
        )
        context.say(f"inference on model {seed}")

        def stage(key: Key, candidates=candidates) -> Measured:
            return measure(
                candidates, validation, test, config.rates, ITERATIONS, optimum_steps=config.optimum_steps, key=key
            )

        result = context.stage(f"measure-{seed}", stage, key=key)
        found.append(Measured(*(np.asarray(part) for part in result)))
        if seed == 0:
            spent = context.stage("costs", lambda key, c=candidates: costs(c, timed, ITERATIONS), key=key)
    all_ = jax.tree.map(lambda *parts: np.stack(parts), *found)
    spent = Costs(*(np.asarray(part) for part in spent))  # pyright: ignore[reportGeneralTypeIssues, reportArgumentType]
    _claims(context, all_, spent)
    _tables(config, context, all_, spent)
    _figures(config, context, all_, spent)


def _claims(context: AbstractRunContext, all_: Measured, spent: Costs) -> None:
    """Differences are paired within seeds; standard errors are over seeds."""

    def apart(above: np.ndarray, below: np.ndarray) -> float:
        value, stderr = _over_seeds(above - below)
        return value / stderr

    coding, forward, gradient, data = (
        part.mean(axis=1) for part in (all_.coding, all_.forward, all_.gradient, all_.data)
    )
    bounds = [part.mean(axis=1) for part in (all_.bound_coding, all_.bound_gaussian)]
    context.measure("predictive_coding/settles", *_over_seeds(coding[:, 0] - coding[:, 8]))
    context.measure("predictive_coding/few-iterations", apart(coding[:, 8], gradient[:, 2]))
    context.measure("predictive_coding/feedforward", apart(forward[:, 8], data[:, 2]))
    context.measure("predictive_coding/bound", apart(bounds[0][:, 3], bounds[1][:, 1]))
    affordable = _affordable(spent)
    context.measure("predictive_coding/equal-compute", apart(coding[:, 8], gradient[:, affordable]))
    timely = _timely(spent)
    context.measure("predictive_coding/equal-time", apart(coding[:, 8], gradient[:, timely]))
    context.measure("predictive_coding/seconds", float(spent.seconds[0, 3] / spent.seconds[2, 1]))
    optimum = all_.optimum.mean(axis=1)
    share = (gradient[:, 0] - gradient[:, 2]) / (gradient[:, 0] - optimum)
    context.measure("predictive_coding/few-suffice", *_over_seeds(share))
    context.note(
        "compute",
        f"One iteration costs {float(spent.coding):,.0f} multiply-adds with predictive coding (one pass down, one up), "
        f"{float(spent.gradient):,.0f} with iterative inference that reads gradients and {float(spent.data):,.0f} with one that "
        f"reads the observation too; the feedforward pass costs {float(spent.encoder):,.0f}. Eight iterations of predictive "
        f"coding pay for {affordable} of iterative inference with gradients in multiply-adds and for {timely} in time. The optimum lies at "
        f"{printed(_over_seeds(optimum), 2)} nats.",
    )


def _tables(config: Config, context: AbstractRunContext, all_: Measured, spent: Costs) -> None:
    names = (
        "predictive coding",
        "feedforward, then predictive coding",
        "iterative (gradients)",
        "iterative (gradients, data)",
    )
    energies = (all_.coding, all_.forward, all_.gradient, all_.data)
    unit = (float(spent.coding), float(spent.coding), float(spent.gradient), float(spent.data))
    extra = (0.0, float(spent.encoder) - float(spent.coding), 0.0, 0.0)
    rows = []
    for index, name in enumerate(names):
        for place, k in enumerate(ITERATIONS):
            updates = (0, 1, k, k)[index]
            passes = 2 * (k - 1 if index == 1 else k)
            rows.append((
                name, k, printed(_over_seeds(energies[index].mean(axis=1)[:, k]), 2), passes, updates,
                round((k * unit[index] + extra[index]) / 1e6, 2), round(1e3 * float(spent.seconds[index, place]), 2),
            ))  # fmt: skip
    context.table(
        "energies",
        ("inference of points", "iterations", "energy (nats)", "decoder passes", "encoder passes", "million multiply-adds",
         f"ms for {config.num_timed} rows"),
        rows, caption="-log p(x, z) on test rows, mean ± standard error over seeds; decoder passes are down (predictions) and up "
        "(errors). Rule and rate of predictive coding are those that validation prefers at each number of iterations.",
    )  # fmt: skip
    context.table(
        "bounds",
        ("iterations", "predictive coding (nats)", "iterative (nats)"),
        [(k, *(printed(_over_seeds(part.mean(axis=1)[:, place]), 2) for part in (all_.bound_coding, all_.bound_gaussian)))
         for place, k in enumerate(ITERATIONS)],
        caption="Free energy of Gaussian q on test rows, mean ± standard error over seeds.",
    )  # fmt: skip
    rates = [
        (rule, *(f"{value:.1f}" for value in all_.validation[:, index, :, 8].mean(axis=0)))
        for index, rule in enumerate(RULES)
    ]
    context.table(
        "rates", ("rule", *(f"{rate:g}" for rate in config.rates)), rows=rates,
        caption="Energy on validation rows after 8 iterations of predictive coding from the common start, by rate; inf has "
        "diverged.",
    )  # fmt: skip


def _figures(config: Config, context: AbstractRunContext, all_: Measured, spent: Costs) -> None:
    names = (
        "predictive coding",
        "feedforward + predictive coding",
        "iterative, gradients",
        "iterative, gradients and data",
    )
    curves, moments = [], np.arange(max(ITERATIONS) + 1)
    for name, energy, seconds in zip(
        names, (all_.coding, all_.forward, all_.gradient, all_.data), spent.seconds, strict=True
    ):
        above = energy.mean(axis=1) - all_.optimum.mean(axis=1)[:, None]
        mean, stderr = np.stack([_over_seeds(column) for column in above.T], axis=1)
        curves.append(BoundCurve(name, -mean, stderr, np.interp(moments, (0, *ITERATIONS), (0.0, *seconds))))
    figure = plot_bound_progress(curves, best_nats=0.0, trained_steps=config.num_training_iterations, floor_nats=0.1)
    by_step, by_time = figure.axes
    by_step.set_xticks((0, *ITERATIONS), labels=[str(k) for k in (0, *ITERATIONS)])
    by_step.set_ylabel("nats below the optimum")
    # A few milliseconds are no decade: name round values instead of powers of ten.
    low, high = (np.asarray([curve.seconds[place] for curve in curves]) for place in (1, -1))
    ticks = [m * 10.0**e for e in range(-6, 3) for m in (1, 2, 5) if low.min() / 1.5 <= m * 10.0**e <= high.max() * 1.2]
    by_time.set_xticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    by_time.set_xticks([], minor=True)
    by_time.set_xlabel(f"seconds for {config.num_timed} rows")
    context.figure(
        "energies", figure,
        caption="Log joint density log p(x, z) of point estimates below that of a long optimisation, over iterations and over "
        "wall-clock time. Bands are two standard errors over seeds.",
    )  # fmt: skip
    settings = []
    for name, part in zip(
        ("predictive coding, curvature", "iterative"), (all_.bound_coding, all_.bound_gaussian), strict=True
    ):
        mean, stderr = np.stack([_over_seeds(column) for column in part.mean(axis=1).T], axis=1)
        settings.append(SettingCurve(name, -mean, stderr))
    context.figure(
        "bounds", plot_bound_by_setting(ITERATIONS, settings, xlabel="iterations"),
        caption="Bound on log p(x): Gaussians about the points of predictive coding, with the scales that their curvature "
        "gives, and iterative inference of Gaussians.",
    )  # fmt: skip


def _affordable(spent: Costs) -> int:
    """Iterations of iterative inference, of those with a measurement, that 8 of predictive coding pay for."""
    return int(min(max(8.0 * float(spent.coding) // float(spent.gradient), 0), 8))


def _timely(spent: Costs) -> int:
    """The same in wall-clock time, straight lines between the iterations that were timed."""
    times = np.interp(np.arange(9), (0, *ITERATIONS), (0.0, *spent.seconds[2]))
    return int(np.flatnonzero(times <= spent.seconds[0, 3]).max())


def _over_seeds(values: Float[np.ndarray, " seeds"]) -> tuple[float, float]:
    """Mean and standard error."""
    values = np.asarray(values, float)
    return float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else float("nan")
