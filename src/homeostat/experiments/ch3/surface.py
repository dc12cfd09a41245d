"""The surface of the bound over two latents: direct estimate, gradient ascent and iterative inference (Figs. 3.1, 3.5).

A model with two latent variables is trained on binarised digits with point estimates, once beside a direct encoder and once
beside an iterative inference model of 16 iterations, each on its own as in the thesis. The optimum of each example is found by
a fine grid and Newton's method, so the gaps are exact: a point estimate needs no samples. A diagonal Gaussian posterior is
trained in the same way for comparison; its optimum comes from long optimisation.

Scales: `smoke` takes small pictures of sprites and leaves the Gaussian out; `small` has 128 units and 30,000 updates on batches
of 32 at the authors' rate; `paper` the authors' 512 units and 100,000 updates (an accelerator).
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.random as jr

from ...core import AbstractFamily
from ...distributions import Delta, DiagonalGaussian, MonteCarlo
from ...inference import ModelWithEngine
from ...inference.engines import Estimate, LogGradient
from ...runs import AtLeast, AtMost, Claim, Minutes, RunContext
from ...typing import Key
from ..kit import Training, at, scales
from ._data import DataSet, load_observations
from ._methods import InferenceMethod, compare
from ._networks import Networks, NetworkSizes, data_encoding
from ._surface import Ascent, Grid, PointBounds, gaussian_gaps, point_measures
from ._surface_report import draw_surfaces, report_gaps, report_gaussian_gaps

SOURCE = "Marino, thesis, chapter 3, Figs. 3.1 and 3.5, with the threshold of 0.05 nats set for this library"
MINUTES = Minutes(smoke=0.4, small=12.0, paper=600.0)
_GAP = "bound at the optimum minus bound of the iterative estimate after 16 iterations, mean over validation examples"
_MEDIAN = (
    "the same, median over examples: the figures of the thesis show single ones, and a mean counts every lower maximum"
)
_MORE = "gap of the direct estimate minus gap of the iterative one, each on its own model, mean over the same examples"
_ASCENT = "bound that gradient ascent reaches minus bound of the direct estimate, mean over examples"
_REMAINS = "bound after 16 iterations minus bound after 32, mean over examples"
_AT_SMOKE = ("smoke",)
CLAIMS = (
    Claim("surface/iterative-gap", SOURCE, _GAP, "nats", AtMost(0.05)),
    Claim("surface/iterative-gap", SOURCE, _GAP, "nats", AtMost(20.0), scales=_AT_SMOKE),
    Claim("surface/iterative-gap-median", SOURCE, _MEDIAN, "nats", AtMost(0.05)),
    Claim("surface/direct-gap-larger", SOURCE, _MORE, "nats", AtLeast(0.0)),
    Claim("surface/ascent-above-direct", SOURCE, _ASCENT, "nats", AtLeast(0.0)),
    Claim("surface/remains", SOURCE, _REMAINS, "nats", AtMost(0.05)),
    Claim("surface/remains", SOURCE, _REMAINS, "nats", AtMost(20.0), scales=_AT_SMOKE),
)


@dataclass(frozen=True)
class Config:
    """Options of this experiment."""

    dataset: DataSet = DataSet.mnist
    """What is observed."""
    sizes: NetworkSizes = NetworkSizes((2,), 0, 128, 2, 128, 2)
    """Networks."""
    direct: Training = Training(30_000, 32, 2e-4, 0.02)
    """Training beside the direct encoder."""
    iterative: Training = Training(30_000, 32, 2e-4, 0.02)
    """Training beside iterative inference."""
    gaussian: Training = Training(2_000, 32, 1e-3, 0.02)
    """Training beside either engine with a Gaussian posterior."""
    num_iterations: int = 16
    """Iterations of inference in training and in testing (count)."""
    gaussian_samples: int = 1
    """Samples of the Gaussian posterior that inference and training see (count)."""
    num_examples: int = 256
    """Validation examples on which gaps are measured (count)."""
    num_gaussian: int = 32
    """Of these, examples for the Gaussian posterior; with 0 it is left out (count)."""
    num_drawn: int = 3
    """Examples whose surfaces are drawn (count)."""
    ascent_rates: tuple[float, ...] = (1e-4, 1e-3, 1e-2)
    """Step sizes of gradient ascent (latent units squared per nat)."""
    ascent_steps: int = 500
    """Steps of gradient ascent (count)."""
    grid_cells: int = 161
    """Points along each side of the grid (count)."""
    grid_extent: float = 5.0
    """Half side of the grid (latent units)."""
    newton_steps: int = 20
    """Newton steps from each starting point (count)."""

    for_scale = scales(
        smoke=at(
            dataset=DataSet.sprites, sizes=NetworkSizes((2,), 0, 32, 1, 32, 1), direct=Training(150, 32, 2e-3, 0.1),
            iterative=Training(150, 32, 2e-3, 0.1), gaussian=Training(150, 32, 2e-3, 0.1), num_examples=32, num_gaussian=0,
            num_drawn=1, ascent_steps=100, grid_cells=61, newton_steps=10,
        ),
        paper=at(
            sizes=NetworkSizes((2,)), direct=Training(100_000, 64, 2e-4, 0.02), iterative=Training(100_000, 64, 2e-4, 0.02),
            gaussian=Training(100_000, 64, 2e-4, 0.02), num_examples=1_000, num_gaussian=256, ascent_steps=5_000,
            grid_cells=401,
        ),
    )  # fmt: skip


def run(config: Config, context: RunContext, *, key: Key) -> None:
    """Run the experiment."""
    data = load_observations(config.dataset)
    row_key, train_key, measure_key = jr.split(key, 3)
    rows = data.prepared(data.validation, config.num_examples, key=row_key)
    networks, encodings = Networks(data, config.sizes), (Estimate(), LogGradient(), data_encoding(data))
    engines = {"direct": networks.direct, "iterative": partial(networks.iterative, encodings)}
    steps = {"direct": 1, "iterative": config.num_iterations}
    ascent, grid = Ascent(config.ascent_rates, config.ascent_steps), Grid(config.grid_extent, config.grid_cells)

    def learn(name: str, family: AbstractFamily, num_samples: int, trainings: tuple[Training, Training], score):
        """Train a model beside each engine, and score it."""
        methods = [
            InferenceMethod(engine, networks, build, steps[engine], MonteCarlo(num_samples), family)
            for engine, build in engines.items()
        ]

        def scored(method: InferenceMethod, learned: ModelWithEngine, *, key: Key):
            # Not the stage's key: both models meet the same random numbers.
            return score(method, learned, key=measure_key)

        return compare(context, name, methods, trainings, scored, num_seeds=1, key=train_key).results

    def bounds(method: InferenceMethod, learned: ModelWithEngine, *, key: Key) -> PointBounds:
        # Iterative inference goes on for twice as long as in training.
        num_steps = method.num_steps * (2 if method.name == "iterative" else 1)
        return point_measures(
            learned, rows, num_steps=num_steps, num_trained=method.num_steps, ascent=ascent, grid=grid,
            newton_steps=config.newton_steps, key=key,
        )  # fmt: skip

    points = learn("points", Delta(2), 1, (config.direct, config.iterative), bounds)
    found = {each.name: jax.tree.map(lambda leaf: leaf[0], each.scores) for each in points}
    report_gaps(context, found, num_iterations=config.num_iterations, ascent=ascent)
    models, shown = {each.name: each.learned.model for each in points}, rows[: config.num_drawn]
    draw_surfaces(
        context, models, shown, found, num_iterations=config.num_iterations, ascent=ascent, grid_cells=grid.cells
    )
    if config.num_gaussian:
        gaps = partial(gaussian_gaps, rows[: config.num_gaussian])
        gaussians = learn("gaussian", DiagonalGaussian(2), config.gaussian_samples, (config.gaussian,) * 2, gaps)
        report_gaussian_gaps(context, {each.name: each.scores[0] for each in gaussians})
