"""Options of a fit to rows, as they stand on the command line. This module imports nothing heavy, so that help comes at once."""

from dataclasses import dataclass
from typing import Literal, final

from .._options import AbstractOptions

_Learned = Literal["direct", "iterative", "levelwise", "ladder", "semi-amortized"]
_Fixed = Literal["gradient", "natural-gradient", "predictive-coding", "exact"]
_Density = Literal["auto", "gaussian"]
_Probability = Literal[
    "bernoulli", "discretized-gaussian", "categorical", "poisson", "negative-binomial", "multinomial"
]


@final
@dataclass(frozen=True)
class RowsOptions(AbstractOptions):
    """Model, engine and training of a fit to rows."""

    model: Literal["latent-gaussian", "factor-analysis", "probabilistic-pca", "sparse-coding"] = "latent-gaussian"
    """Generative model."""
    engine: Literal["", _Learned, _Fixed] = ""
    """Inference engine; by default `exact` for factor-analysis and probabilistic-pca, which alone have it, else `iterative`."""
    posterior: Literal["diagonal", "full", "flow"] = "diagonal"
    """Gaussian of independent latents, Gaussian with full covariance, or normalizing flow; ladder, levelwise, predictive-coding
    and exact bring their own."""
    likelihood: Literal[_Density, _Probability] = "auto"
    """Output density; `auto` is bernoulli for zeros and ones, discretized-gaussian for images of 8 bits, else gaussian."""

    latents: str = "16"
    """Latent variables of each level, the level nearest the data first: 64 or 64,32; or of one level a range as 1:8, of which
    validation chooses (count)."""
    mapping: Literal["mlp", "highway", "convolutional"] = "mlp"
    """Networks of the model; convolutional for square grey images."""
    width: int = 256
    """Units of each hidden layer, in model and engine (count)."""
    depth: int = 2
    """Hidden layers, in model and engine (count)."""
    prior: Literal["standard", "learned"] = "standard"
    """Prior at the top: N(0, 1), or with learned mean and scale."""
    scale: Literal["constant", "conditional"] = "constant"
    """Scales of a gaussian or discretized-gaussian likelihood: learned constants, or outputs of the decoder."""
    level_scale: Literal["constant", "conditional"] = "conditional"
    """Scales of the lower levels' priors: learned constants, or depending on the level above."""
    units: int = 0
    """Deterministic units of each level but the top (count)."""
    wiring: Literal["chain", "skip"] = "chain"
    """Whether a level sees the level above it only, or all levels above."""

    iterations: int = 5
    """Iterations of inference on each row; `direct`, `ladder` and `exact` take one (count)."""
    samples: int = 1
    """Samples of the posterior for each expectation in training (count)."""
    encoding: str = "gradients+data"
    """What an iterative engine reads beside its estimate, joined by +: gradients, log-gradients, errors, plain-errors, data."""
    update: Literal["gated", "residual", "learned-sgd"] = "gated"
    """How an iterative engine changes its estimate."""
    inference_rate: float = 0.1
    """Step size of gradient, natural-gradient, predictive-coding and the second half of semi-amortized inference."""

    beta: float | None = None
    """Weight of the rate."""
    free_bits: float | None = None
    """Rate that each level may spend for nothing (nats)."""
    rate_constraint: float | None = None
    """Rate to hold by a multiplier (nats)."""
    distortion_constraint: float | None = None
    """Distortion to hold by a multiplier (nats)."""

    divide_by: float = 1.0
    """Numbers of the data are divided by this before anything else: 255 makes grey values of 8 bits fractions."""
    binarize: bool = False
    """Draw black and white anew from fractions each time a row is used (dynamic binarisation; bernoulli only)."""
    classes: int | None = None
    """Alternatives of a categorical likelihood; by default the largest number in the data, plus one (count)."""
    image_shape: str = ""
    """Height and width of an image if rows are flat: 28,28 (pixels)."""

    hold_mib: float = 1_024.0
    """Data up to this size are held on the device; larger data stream from the disk (MiB of 32-bit numbers)."""
    evaluation_rows: int = 500
    """Validation rows of the report (count)."""
    evaluation_samples: int = 500
    """Importance samples for each of them (count)."""

    def __post_init__(self):
        if not self.engine:
            object.__setattr__(self, "engine", "exact" if self.model in LINEAR else "iterative")

    @property
    def reads_data(self) -> bool:
        """Whether a network of the engine reads the rows, by itself or as part of its encoding."""
        encoded = self.engine in ("iterative", "levelwise") and "data" in self.encoding.replace(" ", "").split("+")
        return encoded or self.engine in ENCODERS


WEIGHTINGS = ("beta", "anneal", "free_bits", "rate_constraint", "distortion_constraint")
"""Options of which at most one may be given."""

LINEAR = ("factor-analysis", "probabilistic-pca")
"""Models with an exact posterior."""

OWN_POSTERIOR = ("ladder", "levelwise", "predictive-coding", "exact")
"""Engines made for one family of posteriors."""

ENCODERS = ("direct", "ladder", "semi-amortized")
"""Engines with a network from the data to the posterior."""

ONE_STEP = ("direct", "ladder", "exact")
"""Engines that take one iteration."""
