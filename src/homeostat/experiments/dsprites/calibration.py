"""Simulation-based calibration of the natural-gradient posterior on the sprite model.

The claims are about the given template of the heart with pixel noise of 0.05. They do not hold at every noise level: a pixel's
value changes only while the edge's ramp (half a pixel wide in the given templates) passes over it, so a posterior that is wide
against the ramp is not Gaussian, and the Gaussian that fits it is too narrow. The experiment shows where that begins, for the
given template and for one with softer edges.
"""

from dataclasses import dataclass

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro.distributions as dist

from ...distributions import FullGaussian, FullGaussianParams
from ...inference.engines import NaturalGradient
from ...metrics import (
    Calibration,
    Simulation,
    coverage_curve,
    holm,
    rank_uniformity,
    simulation_based_calibration,
    uniformity,
)
from ...models.static import SpatialTransformer
from ...runs import AtLeast, AtMost, Claim, Minutes, RunContext
from ...typing import Key
from ._calibration_figures import NUM_BINS, Case, RankTests, draw_calibration
from ._sprites import HEART, SIGMA, TEMPLATE_EXTENT, sprite_templates

SOURCE = "slides, iterative inference; Talts et al., 'Validating Bayesian inference algorithms', arXiv 1804.06788"
MINUTES = Minutes(smoke=0.13, small=1.5, paper=15.0)
_UNIFORM = (
    "least p-value of rank uniformity over the 4 coordinates of z (chi-square, 16 bins; adjusted by Holm's method)"
)
_COVERAGE = "largest |coverage - level| of central intervals at 50, 80 and 95 %, over the 4 coordinates"
_PARETO = "share of simulations whose importance weights have Pareto k < 0.7"
CLAIMS = (
    Claim("calibration/uniform", SOURCE, _UNIFORM, "p-value", AtLeast(0.01)),
    Claim("calibration/uniform", SOURCE, _UNIFORM, "p-value", AtLeast(0.001), scales=("smoke",)),
    Claim("calibration/coverage", SOURCE, _COVERAGE, "fraction", AtMost(0.06)),
    Claim("calibration/coverage", SOURCE, _COVERAGE, "fraction", AtMost(0.25), scales=("smoke",)),
    Claim("calibration/pareto", SOURCE, _PARETO, "fraction", AtLeast(0.95)),
    # At the noise that the other experiments use: kept although it fails, because it was stated first (see the docstring).
    Claim(
        "calibration/uniform-at-0.15",
        SOURCE,
        f"the same at a pixel noise of 0.15: {_UNIFORM}",
        "p-value",
        AtLeast(0.01),
    ),
)
SHARP_SIGMA = 0.05
"""The noise level of most claims; at `SIGMA`, that of the other experiments, the given template's posterior is not calibrated."""

GIVEN_EDGE = 0.5
"""Width of the given templates' edges in canvas pixels at scale 1: one cell."""

LEVELS = np.asarray([0.5, 0.8, 0.95])


@dataclass(frozen=True)
class Config:
    """Options of this experiment."""

    num_simulations: int = 1_000
    """Simulated images for each noise level (count)."""
    sigmas: tuple[float, ...] = (SHARP_SIGMA, SIGMA, 0.5)
    """Standard deviations of a pixel (brightness); the claims are about the first."""
    edges: tuple[float, ...] = (GIVEN_EDGE, 2.0)
    """Widths of the template's edges (canvas pixels at scale 1); the claims are about the first, the given template's."""
    num_steps: int = 8
    """Natural-gradient steps on each image (count)."""
    num_draws: int = 127
    """Draws from each posterior (count); one less than a multiple of 16."""

    @classmethod
    def for_scale(cls, scale: str) -> "Config":
        """The values used at one scale."""
        if scale == "smoke":
            return cls(num_simulations=96, sigmas=(SHARP_SIGMA,), edges=(GIVEN_EDGE,), num_draws=63)
        return cls(num_simulations=10_000, num_draws=255) if scale == "paper" else cls()


def restricted_prior() -> dist.Distribution:
    """The prior of this experiment, for simulation and inference alike: where the posterior has one mode.

    The heart has no symmetry, and a prior of 45 degrees about upright leaves one branch of the angle: z and z + 2 are one
    picture, and under N(0, 1) both would have weight. Sizes stay above a quarter of the largest sprite and positions on the
    canvas, so that there is always a picture to explain.
    """
    scales = jnp.asarray([0.6, 0.25, 0.7, 0.7])
    return dist.Normal(jnp.zeros(4), scales).to_event(1)


def start_near(family: FullGaussian):
    """Start from the truth with errors of perception's size: about 0.1 pixel, half a degree and 0.3 % of size.

    Looking at the truth is fair here because the engine runs to convergence and the posterior has one mode within reach. It
    stands for the coarse stages of perception, which leave errors of this size and are not part of what is calibrated.
    """

    def start(simulation: Simulation, *, key: Key) -> FullGaussianParams:
        offset = jnp.asarray([0.015, 0.003, 0.01, 0.01]) * jr.normal(key, (4,))
        loc = simulation.truth + offset
        return family.from_scale_tril(loc, 0.02 * jnp.eye(4, dtype=loc.dtype))

    return start


def calibrate(case: Case, config: Config, *, key: Key) -> Calibration:
    """Simulate and infer in one case."""
    family = FullGaussian(4)
    template = sprite_templates(edge=case.edge / GIVEN_EDGE)[HEART]
    model = SpatialTransformer(template, log_sigma=jnp.log(case.sigma), extent=TEMPLATE_EXTENT)
    return simulation_based_calibration(
        model, NaturalGradient(rate=0.8), family, key=key, num_simulations=config.num_simulations,
        num_steps=config.num_steps, num_draws=config.num_draws, prior=restricted_prior(), start=start_near(family),
    )  # fmt: skip


def rank_tests(calibration: Calibration, *, key: Key) -> RankTests:
    """Test one case; a simulation whose inference failed counts with rank 0, which the tests then see."""
    ranks = jnp.where(calibration.failed[:, None], 0, calibration.ranks)
    tests = rank_uniformity(ranks, calibration.num_draws, key=key, num_bins=NUM_BINS)
    coverage = coverage_curve(ranks, calibration.num_draws, LEVELS)
    return RankTests(tests.chi_square, tests.kolmogorov, uniformity(calibration.corrected), coverage)


def run(config: Config, context: RunContext, *, key: Key) -> None:
    """Run the experiment."""
    cases = [Case(edge, sigma) for edge in config.edges for sigma in config.sigmas]
    results, summaries = [], []
    with context.progress("calibration", total=len(cases)) as bar:
        for index, case in enumerate(cases):
            found = context.stage(f"case-{index}", lambda key, case=case: calibrate(case, config, key=key), key=key)
            results.append(found)
            summaries.append(rank_tests(found, key=jr.fold_in(key, 1)))
            bar.advance()
    calibration, summary = results[0], summaries[0]

    context.measure("calibration/uniform", holm(summary.chi_square).min())
    worst = np.max(np.abs(summary.coverage - LEVELS[:, None]))
    context.measure("calibration/coverage", worst, stderr=float(np.sqrt(0.25 / config.num_simulations)))
    for case, other in zip(cases, summaries, strict=True):
        if case == Case(GIVEN_EDGE, SIGMA):
            context.measure("calibration/uniform-at-0.15", holm(other.chi_square).min())
    good = np.mean(np.asarray(calibration.pareto_shape) < 0.7)
    context.measure("calibration/pareto", good, stderr=float(np.sqrt(good * (1 - good) / config.num_simulations)))
    draw_calibration(context, cases, results, summaries, key=jr.fold_in(key, 2))
