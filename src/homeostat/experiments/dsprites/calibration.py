"""Simulation-based calibration of the natural-gradient posterior on the sprite model."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.figure
import numpy as np
import numpyro.distributions as dist

from ...distributions import FullGaussian, FullGaussianParams
from ...inference.engines import NaturalGradient
from ...metrics import (
    Calibration,
    count_band,
    coverage_curve,
    ecdf_difference_band,
    holm,
    rank_counts,
    rank_uniformity,
    Simulation,
    simulation_based_calibration,
    uniformity,
)
from ...models.static import SpatialTransformer
from ...typing import Float, Key
from .._claims import AtLeast, AtMost, Claim
from .._protocol import AbstractRunContext, Minutes
from ._sprites import SIGMA, sprite_templates

SOURCE = "Talts et al., 'Validating Bayesian inference algorithms with simulation-based calibration', 2018; slides, iterative inference"
MINUTES = Minutes(smoke=0.13, small=1.5, paper=15.0)
_UNIFORM = "least p-value of rank uniformity over the 4 coordinates of z (chi-square, 16 bins; adjusted by Holm's method)"
_COVERAGE = "largest |coverage - level| of central intervals at 50, 80 and 95 %, over the 4 coordinates"
CLAIMS = (
    Claim("calibration/uniform", SOURCE, _UNIFORM, "p-value", AtLeast(0.01)),
    Claim("calibration/uniform", SOURCE, _UNIFORM, "p-value", AtLeast(0.001), scales=("smoke",)),
    Claim("calibration/coverage", SOURCE, _COVERAGE, "fraction", AtMost(0.06)),
    Claim("calibration/coverage", SOURCE, _COVERAGE, "fraction", AtMost(0.25), scales=("smoke",)),
    Claim(
        "calibration/pareto", SOURCE, "share of simulations whose importance weights have Pareto k < 0.7", "fraction",
        AtLeast(0.95), scales=("smoke", "small", "paper"),
    ),
)
NAMES = ("scale", "angle", "x", "y")
HEART = 2
LEVELS = np.asarray([0.5, 0.8, 0.95])
NUM_BINS = 16


@dataclass(frozen=True)
class Config:
    """Options of this experiment."""

    num_simulations: int = 1_000
    """Simulated images for each noise level (count)."""
    sigmas: tuple[float, ...] = (0.03, SIGMA, 0.5, 1.0)
    """Standard deviations of a pixel (brightness); the claims are about the one that the other experiments use, 0.15."""
    num_steps: int = 12
    """Natural-gradient steps on each image (count)."""
    num_draws: int = 127
    """Draws from each posterior (count); one less than a multiple of 16."""

    @classmethod
    def for_scale(cls, scale: str) -> "Config":
        """The values used at one scale."""
        if scale == "smoke":
            return cls(num_simulations=128, sigmas=(SIGMA,), num_steps=8, num_draws=63)
        return cls(num_simulations=10_000, num_draws=255) if scale == "paper" else cls()


class Summary(NamedTuple):
    """The tests at one noise level; one entry for each coordinate.

    Attributes:
        chi_square: p-values of uniform ranks, in bins.
        kolmogorov: p-values of uniform ranks, by the largest deviation of their distribution function.
        corrected: p-values after importance weighting.
        coverage: of the central intervals at `LEVELS`.
    """

    chi_square: Float[np.ndarray, "4"]
    kolmogorov: Float[np.ndarray, "4"]
    corrected: Float[np.ndarray, "4"]
    coverage: Float[np.ndarray, "levels 4"]


def restricted_prior() -> dist.Distribution:
    """The prior of this experiment, for simulation and inference alike: where the posterior has one mode.

    The heart has no symmetry, and a prior of 45 degrees about upright leaves one branch of the angle: z and z + 2 are one
    picture, and under N(0, 1) both would have weight. Sizes stay above a quarter of the largest sprite and positions on the
    canvas, so that there is always a picture to explain.
    """
    scales = jnp.asarray([0.6, 0.25, 0.7, 0.7])
    return dist.Normal(jnp.zeros(4), scales).to_event(1)


def start_near(family: FullGaussian):
    """Start a pixel, 5 degrees and 3 % of size away from the truth, as a rule.

    Looking at the truth is fair here because the engine runs to convergence and the posterior has one mode; it stands for the
    feedforward start of perception, whose coarse stage is not part of what is calibrated.
    """

    def start(simulation: Simulation, *, key: Key) -> FullGaussianParams:
        offset = jnp.asarray([0.15, 0.03, 0.1, 0.1]) * jr.normal(key, (4,))
        loc = simulation.truth + offset
        return family.from_scale_tril(loc, 0.02 * jnp.eye(4, dtype=loc.dtype))

    return start


def calibrate(sigma: float, config: Config, *, key: Key) -> Calibration:
    """Simulate and infer at one noise level."""
    family = FullGaussian(4)
    model = SpatialTransformer(sprite_templates()[HEART], log_sigma=jnp.log(sigma))
    return simulation_based_calibration(
        model, NaturalGradient(rate=0.8), family, key=key, num_simulations=config.num_simulations,
        num_steps=config.num_steps, num_draws=config.num_draws, prior=restricted_prior(), start=start_near(family),
    )


def summarise(calibration: Calibration, *, key: Key) -> Summary:
    """Test one noise level; a simulation whose inference failed counts with rank 0, which the tests then see."""
    ranks = jnp.where(calibration.failed[:, None], 0, calibration.ranks)
    tests = rank_uniformity(ranks, calibration.num_draws, key=key, num_bins=NUM_BINS)
    coverage = coverage_curve(ranks, calibration.num_draws, LEVELS)
    return Summary(tests.chi_square, tests.kolmogorov, uniformity(calibration.corrected), coverage)


def run(config: Config, context: AbstractRunContext, *, key: Key) -> None:
    """Run the experiment."""
    results, summaries = [], []
    with context.progress("calibration", total=len(config.sigmas)) as bar:
        for index, sigma in enumerate(config.sigmas):
            found = context.stage(f"noise-{index}", lambda key, sigma=sigma: calibrate(sigma, config, key=key), key=key)
            results.append(found)
            summaries.append(summarise(found, key=jr.fold_in(key, 1)))
            bar.advance()
    chosen = int(np.argmin(np.abs(np.asarray(config.sigmas) - SIGMA)))
    calibration, summary = results[chosen], summaries[chosen]

    context.measure("calibration/uniform", holm(summary.chi_square).min())
    worst = np.max(np.abs(summary.coverage - LEVELS[:, None]))
    context.measure("calibration/coverage", worst, stderr=float(np.sqrt(0.25 / config.num_simulations)))
    good = np.mean(np.asarray(calibration.pareto_shape) < 0.7)
    context.measure("calibration/pareto", good, stderr=float(np.sqrt(good * (1 - good) / config.num_simulations)))

    context.figure(
        "ranks", _plot_ranks(calibration),
        caption=f"Ranks of the truth among {calibration.num_draws} posterior draws, {config.num_simulations:,} simulations, "
        f"sigma = {config.sigmas[chosen]:g}; grey: where 99 % of single counts lie if the posterior is calibrated.",
    )
    context.figure(
        "coverage", _plot_coverage(calibration, key=jr.fold_in(key, 2)),
        caption="Left: coverage of central intervals against their level. Right: distribution function of the normalised "
        "ranks, less the uniform one; grey: where the whole curve stays with probability 95 %.",
    )
    context.figure(
        "sigma", _plot_sigmas(config, results, summaries),
        caption="The same at other noise levels: adjusted p-values (left; the dotted line is 0.01), coverage of 80 % intervals "
        "(middle; bars of two standard errors), and Pareto k of the importance weights (right; median and 5 to 95 %).",
    )
    rows = [
        (f"{sigma:g}", *(float(f"{p:.2g}") for p in (holm(s.chi_square).min(), holm(s.kolmogorov).min(),
                                                      holm(s.corrected).min())),
         float(np.round(s.coverage[1].min(), 3)), float(np.round(s.coverage[1].max(), 3)),
         float(np.round(np.median(r.pareto_shape), 2)), int(np.sum(r.failed)))
        for sigma, r, s in zip(config.sigmas, results, summaries, strict=True)
    ]
    columns = (
        "sigma", "p (chi-square)", "p (Kolmogorov)", "p after weighting", "80 % interval, least", "80 % interval, most",
        "median Pareto k", "failed",
    )
    context.table("sigmas", columns, rows, caption="Calibration against the noise of a pixel; p-values are Holm-adjusted minima.")


# ------------------------------------------------------------------------------------------------------------- figures


def _plot_ranks(calibration: Calibration) -> matplotlib.figure.Figure:
    figure = matplotlib.figure.Figure(figsize=(9, 2.4), layout="constrained")
    counts = rank_counts(calibration.ranks, calibration.num_draws, NUM_BINS)
    band = count_band(len(calibration.ranks), NUM_BINS)
    for axes, name, column in zip(figure.subplots(1, 4, sharey=True), NAMES, counts.T, strict=True):
        axes.axhspan(band.low[0], band.high[0], color="0.88")
        axes.axhline(len(calibration.ranks) / NUM_BINS, color="0.5", linewidth=0.8)
        axes.bar((np.arange(NUM_BINS) + 0.5) / NUM_BINS, column, width=0.9 / NUM_BINS, color="tab:blue")
        axes.set(title=name, xlabel="rank / draws", xlim=(0, 1))
    figure.axes[0].set_ylabel("simulations")
    return figure


def _plot_coverage(calibration: Calibration, *, key: Key) -> matplotlib.figure.Figure:
    figure = matplotlib.figure.Figure(figsize=(8, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    levels = np.linspace(0.02, 0.98, 49)
    covered = coverage_curve(calibration.ranks, calibration.num_draws, levels)
    left.plot([0, 1], [0, 1], color="0.6", linewidth=0.8)
    positions = np.linspace(0.02, 0.98, 49)
    band = ecdf_difference_band(len(calibration.ranks), positions, key=key)
    right.fill_between(positions, band.low, band.high, color="0.88", step="mid")
    normalised = (np.asarray(calibration.ranks) + 0.5) / (calibration.num_draws + 1)
    for name, column, ranks in zip(NAMES, covered.T, normalised.T, strict=True):
        left.plot(levels, column, label=name)
        right.plot(positions, np.mean(ranks[:, None] <= positions, axis=0) - positions, label=name)
    left.set(xlabel="level of the interval", ylabel="share that holds the truth", xlim=(0, 1), ylim=(0, 1))
    right.set(xlabel="rank / draws", ylabel="deviation from uniform", xlim=(0, 1))
    left.legend(frameon=False)
    return figure


def _plot_sigmas(config: Config, results: list[Calibration], summaries: list[Summary]) -> matplotlib.figure.Figure:
    figure = matplotlib.figure.Figure(figsize=(9, 3), layout="constrained")
    p_values, coverage, pareto = figure.subplots(1, 3)
    sigmas = np.asarray(config.sigmas)
    for label, field in (("ranks, chi-square", "chi_square"), ("ranks, Kolmogorov", "kolmogorov"), ("weighted", "corrected")):
        p_values.plot(sigmas, [max(holm(getattr(s, field)).min(), 1e-12) for s in summaries], "o-", label=label)
    p_values.axhline(0.01, color="0.5", linestyle=":")
    p_values.set(yscale="log", ylabel="adjusted p-value")
    p_values.legend(frameon=False, fontsize="small")
    error = 2.0 * np.sqrt(0.16 / config.num_simulations)
    for k, name in enumerate(NAMES):
        coverage.errorbar(sigmas * 1.03 ** (k - 1.5), [s.coverage[1, k] for s in summaries], error, fmt="o-", label=name)
    coverage.axhline(0.8, color="0.5", linewidth=0.8)
    coverage.set(ylabel="coverage of 80 % intervals")
    coverage.legend(frameon=False, fontsize="small")
    quantiles = np.asarray([np.quantile(r.pareto_shape, [0.05, 0.5, 0.95]) for r in results]).T
    pareto.errorbar(sigmas, quantiles[1], [quantiles[1] - quantiles[0], quantiles[2] - quantiles[1]], fmt="o")
    pareto.axhline(0.7, color="0.5", linestyle=":")
    pareto.set(ylabel="Pareto k")
    for axes in (p_values, coverage, pareto):
        axes.set(xscale="log", xlabel="sigma")
    return figure
