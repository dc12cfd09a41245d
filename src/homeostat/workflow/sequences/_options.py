"""The options of a fit to sequences, as they stand on the command line. This module imports nothing heavy."""

from dataclasses import dataclass
from typing import Literal, final

from .._options import AbstractOptions

ENGINES: dict[str, tuple[str, ...]] = {
    "linear-gaussian": ("exact",),
    "structural": ("exact",),
    "continuous": ("exact",),
    "hidden-markov": ("exact",),
    "switching": ("interacting",),
    "nonlinear": ("unscented", "extended", "structured"),
    "poisson": ("structured",),
    "deep-markov": ("amortized", "published"),
    "vrnn": ("amortized", "published"),
    "srnn": ("amortized", "published"),
    "svg": ("amortized", "published"),
}
"""The engines of each model, the default first."""

STARTED_AT_LINEAR = ("switching", "nonlinear", "poisson")
"""Models that go on from a linear one, with fewer latents and larger steps than networks from scratch."""

_FEW_LATENTS = (*STARTED_AT_LINEAR, "continuous")


@final
@dataclass(frozen=True)
class SequencesOptions(AbstractOptions):
    """Model, filter and training of a fit to sequences."""

    model: Literal[
        "linear-gaussian",
        "structural",
        "continuous",
        "hidden-markov",
        "switching",
        "nonlinear",
        "poisson",
        "deep-markov",
        "vrnn",
        "srnn",
        "svg",
    ] = "srnn"
    """Sequential model: one linear system, a trend with seasons, one linear system in continuous time, discrete states, regimes of linear
    systems, networks with additive noise, linear dynamics behind counts, or a deep model; svg for frames of 64 x 64."""
    engine: Literal["", "exact", "interacting", "unscented", "extended", "structured", "amortized", "published"] = ""
    """Inference: exact; interacting models for switching; an unscented or extended filter, or a Gaussian over the whole path, for
    nonlinear; amortized variational filtering, or the filter that a deep model was published with; by default the first that the
    model has."""
    likelihood: Literal[
        "auto", "gaussian", "bernoulli", "discretized-gaussian", "categorical", "poisson", "negative-binomial"
    ] = "auto"
    """Output density; `auto` is bernoulli for zeros and ones, discretized-gaussian for 8 bits, else gaussian; for hidden-markov
    it is categorical for a column of categories, and gaussian for 8 bits."""

    states: int | str = 3
    """Discrete states of hidden-markov or regimes of switching, or a range as 2:6, of which validation chooses (count)."""
    latents: int | str = ""
    """Latent variables of a step, or a range as 1:8, of which validation chooses (count); by default 32, and 3 for continuous,
    switching, nonlinear and poisson."""
    trend: Literal["", "level", "slope", "smooth", "damped"] = ""
    """Trend of structural: a level that wanders, one with a slope that wanders too, a level that moves by such a slope only, or one with
    a slope that fades; by default slope."""
    season: str = ""
    """Periods of the seasons of structural, joined by commas: 12 for a year of months, 52.18 for one of weeks, 7,365.25 for weeks and
    years of days; none if empty (steps)."""
    harmonics: int = 0
    """Waves of each season of structural; 0 is all that fit into a period of up to 12 steps, and 3 of a longer one (count)."""
    autoregression: int = 0
    """Past values in the short memory of structural (count)."""
    learning_rate: float = 0.0
    """Step size of Adam; 0 for the default, 0.001, and 0.01 for switching, nonlinear with a filter, and poisson."""
    width: int = 128
    """Units of each hidden layer, in model and filter (count)."""
    memory: int = 128
    """Units of the recurrent layer (count)."""
    depth: int = 1
    """Hidden layers, in model and filter (count)."""
    iterations: int = 1
    """Iterations of amortized inference on each step (count)."""
    pasts: int = 1
    """Samples of past latents that a filter carries along (count)."""
    encode_data: bool = False
    """Let the amortized filter read the observation besides gradients and estimates."""

    sequence_column: str | None = None
    """Column of a table that says which sequence a row belongs to; by default `sequence`, and without it all rows are one
    sequence."""
    time_column: str | None = None
    """Column of a table that says when, numbers or dates; by default one called time, date or the like; empty where steps are
    equally far apart."""
    action_columns: str = ""
    """Columns of a table that are known inputs between a step and the next, joined by commas; text becomes zeros and ones."""
    window: int = 200
    """Samples of a sound in one step (count)."""
    steps_per_beat: int = 4
    """Steps of a piano roll in a quarter note (count)."""
    frame_size: str = ""
    """Height and width of a frame: 64,64; as in the file if empty (pixels)."""
    grey: bool = False
    """Turn the colours of a video into grey values."""

    piece: int = 50
    """Steps of a sequence in one training update (count)."""
    truncation: int = 0
    """Steps that gradients go back through; 0 for a whole piece (count)."""
    steps: int = 2_000
    """Training updates at most; steps of expectation maximisation, or of a search, for exact (count)."""
    batch_size: int = 16
    """Pieces in an update (count)."""
    validate_every: int = 200
    """Updates between two validations; with exact it is 10 (count)."""
    report_every: int = 20
    """Updates in a compiled segment, after which progress is shown (count)."""
    bounds: int = 2
    """Lengths that whole sequences are padded to, each of which is compiled (count)."""

    def __post_init__(self):
        if not self.engine and self.model in ENGINES:
            object.__setattr__(self, "engine", ENGINES[self.model][0])
        linear = self.model in STARTED_AT_LINEAR
        if self.latents == "":
            object.__setattr__(self, "latents", 3 if self.model in _FEW_LATENTS else 32)
        if self.model == "structural" and not self.trend:
            object.__setattr__(self, "trend", "slope")
        if self.learning_rate == 0.0:
            # Paths of networks lose what they have found by larger steps.
            careful = (self.model, self.engine) == ("nonlinear", "structured")
            object.__setattr__(self, "learning_rate", 0.01 if linear and not careful else 0.001)
