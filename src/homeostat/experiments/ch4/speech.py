"""Speech: VRNN and SRNN with their own filters against amortized variational filtering with 1 and 2 iterations.

Table 4.1. Waveforms are standardised by the training samples and divided into steps of 200 samples; bounds are on log
probabilities of the stored 16-bit numbers, in nats per step of whole test recordings, the first step given. The thesis
uses TIMIT, which needs a licence: with it, `--data timit` reads one's own copy. Without, the free spoken digits stand
in, at 8 kHz: figures compare in kind, not in value. Their speakers are in every split.

Where this differs from the authors' code: the learning rate falls along half a cosine, of each training the numbers
count that do best on validation clips, and both models' rates rise during the first sixteenth of training (the authors:
of the SRNN alone). At `small`, networks are narrower and 600 updates at a higher rate stand for 700 to 1,000 epochs. At
`smoke`, generated tones stand for speech.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass

import jax.random as jr
import numpy as np

from ...core import AbstractSequentialModel
from ...data import (
    Sequences,
    SequenceSplits,
    SplitIndices,
    Standardization,
    load_spoken_digits,
    load_timit,
    standardized,
)
from ...inference.filters import VariationalFilter, srnn_filter, vrnn_filter
from ...models.sequential import (
    OUTPUT_LOG_VARIANCE,
    VRNN_LOG_VARIANCE,
    SRNNSizes,
    VRNNSizes,
    speech_density,
    srnn,
    vrnn,
)
from ...results import BadInputError
from ...typing import Key
from ...viz import plot_prediction_update_waves
from .._claims import AtLeast, Claim
from .._protocol import AbstractRunContext, Minutes
from ._clips import Portion, Recordings, as_real, independent_values_nats, recordings
from ._common import Training
from ._contest import Amortized, Contest, Reporting, Update, compete, contenders
from ._contest_report import Result, measure_lead, measure_reference, tabulate
from ._pictures import predictions_and_updates


class Speech(enum.StrEnum):
    """Which recordings."""

    digits = "digits"
    """Free spoken digits."""
    timit = "timit"
    """TIMIT, for those who hold a licence."""
    generated = "generated"
    """Tones whose pitch glides, made on the spot; nothing is read."""


SOURCE = "Marino (thesis), Table 4.1"
MINUTES = Minutes(smoke=0.25, small=40.0, paper=20000.0)
_LEAD = "bound of the model's own filter minus that of AVF per step of test recordings"
CLAIMS = (
    Claim("speech/vrnn-two", SOURCE, f"{_LEAD}, VRNN, 2 iterations (TIMIT: 11)", "nats", AtLeast(0.0)),
    Claim("speech/vrnn-more", SOURCE, "bound with 1 iteration minus that with 2 per step, VRNN (TIMIT: 34)", "nats",
          AtLeast(0.0)),
    Claim("speech/srnn-one", SOURCE, f"{_LEAD}, SRNN, 1 iteration (TIMIT: 2)", "nats", AtLeast(0.0)),
    # Not in the thesis' table, and no claim of it.
    Claim("speech/srnn-two", SOURCE, f"{_LEAD}, SRNN, 2 iterations (not reported)", "nats", AtLeast(0.0), scales=()),
    Claim("speech/vrnn-one", SOURCE, f"{_LEAD}, VRNN, 1 iteration (TIMIT: -23)", "nats", AtLeast(0.0), scales=()),
    Claim("speech/independent-samples", SOURCE, "least lead of a trained model over independent samples, per step", "nats",
          AtLeast(0.0), scales=("smoke", "small", "paper")),
)  # fmt: skip
PUBLISHED = ((1082.0, 1105.0, 1071.0), (1026.0, 1024.0))
"""VRNN and SRNN on TIMIT: the published filter, AVF with 1 iteration, and with 2."""


@dataclass(frozen=True)
class RecurrentSizes:
    """Of a VRNN; the defaults are the thesis'."""

    dim: int = 200
    """Latent variables (count)."""
    memory_width: int = 2000
    """Units of the LSTM (count)."""
    observation_width: int = 600
    """Units in each layer of the features of x (count)."""
    latent_width: int = 500
    """Units in each layer of the features of z (count)."""
    prior_width: int = 500
    """Units in each hidden layer of the prior (count)."""
    decoder_width: int = 600
    """Units in each hidden layer of the decoder (count)."""
    encoder_width: int = 500
    """Units in each hidden layer of the encoder (count)."""
    depth: int = 4
    """Layers of each of these networks (count)."""

    def sizes(self) -> VRNNSizes:
        """For `vrnn`."""
        return VRNNSizes(
            self.dim, self.memory_width, self.observation_width, self.latent_width, self.prior_width,
            self.decoder_width, self.encoder_width, self.depth,
        )  # fmt: skip

    @classmethod
    def even(cls, dim: int, width: int, depth: int) -> "RecurrentSizes":
        """All networks of one width."""
        return cls(dim, width, width, width, width, width, width, depth)


@dataclass(frozen=True)
class StochasticSizes:
    """Of an SRNN; the defaults are the thesis'."""

    dim: int = 256
    """Latent variables (count)."""
    memory_width: int = 1024
    """Units of the LSTM (count)."""
    width: int = 512
    """Units in each hidden layer of prior, decoder and encoder (count)."""
    depth: int = 2
    """Hidden layers of prior and encoder (count)."""
    decoder_depth: int = 2
    """Hidden layers of the decoder (count)."""

    def sizes(self) -> SRNNSizes:
        """For `srnn`."""
        return SRNNSizes(self.dim, self.memory_width, self.width, self.depth, self.decoder_depth)


@dataclass(frozen=True)
class Config:
    """Options of this experiment; the defaults are those of `small`."""

    data: Speech = Speech.digits
    """Which recordings."""
    vrnn: RecurrentSizes = RecurrentSizes.even(32, 128, 1)
    """Of the VRNN."""
    srnn: StochasticSizes = StochasticSizes(32, 128, 128, 1, 1)
    """Of the SRNN."""
    vrnn_amortized: Amortized = Amortized(128, 2)
    """The VRNN's update network."""
    srnn_amortized: Amortized = Amortized(128, 2)
    """The SRNN's update network."""
    iterations: tuple[int, ...] = (1, 2)
    """Iterations of inference with which AVF is trained (count)."""
    clip: int = 12
    """Steps of 200 samples in a training clip (count)."""
    num_test: int = 0
    """Test recordings; 0 for all (count)."""
    num_validation: int = 100
    """Validation recordings; 0 for all (count)."""
    training: Training = Training(600, 32, 1e-3, 0.1, 0, 1000.0)
    """Of every model."""
    reporting: Reporting = Reporting(1, 50)
    """How models are chosen and judged."""

    @classmethod
    def for_scale(cls, scale: str) -> "Config":
        """The values used at one scale."""
        if scale == "smoke":
            return cls(
                Speech.generated, RecurrentSizes.even(4, 16, 1), StochasticSizes(4, 16, 16, 1, 1), Amortized(16, 1),
                Amortized(16, 1), (1,), 8, 0, 0, Training(100, 8, 3e-3, 0.1, 0, 1000.0), Reporting(1, 50),
            )  # fmt: skip
        if scale == "paper":
            # 4,400 training sentences in batches of 64 for 1,000 epochs; gradients of a batch's mean, clipped at 1,000.
            return cls(
                Speech.digits, RecurrentSizes(), StochasticSizes(), Amortized(update=Update.learned_sgd),
                Amortized(reads_observation=True), (1, 2), 40, 0, 0, Training(69_000, 64, 1e-4, 0.37, 0, 1000.0),
                Reporting(3, 200),
            )  # fmt: skip
        return cls()


def run(config: Config, context: AbstractRunContext, *, key: Key) -> None:
    """Run the experiment."""
    results, references = [], []
    for contest, published in zip(contests(config), PUBLISHED, strict=True):
        standings = compete(context, contest, config.reporting, key=key)
        results.append(Result(contest, standings, published if config.data is Speech.timit else ()))
        references.append(independent_values_nats(contest.data))
    measure_reference(context, "speech/independent-samples", results, references)
    recurrent, stochastic = results
    measure_lead(context, "speech/vrnn-one", recurrent.of(0), recurrent.of(1))
    measure_lead(context, "speech/vrnn-two", recurrent.of(0), recurrent.of(2))
    measure_lead(context, "speech/vrnn-more", recurrent.of(1), recurrent.of(2))
    measure_lead(context, "speech/srnn-one", stochastic.of(0), stochastic.of(1))
    measure_lead(context, "speech/srnn-two", stochastic.of(0), stochastic.of(2))
    tabulate(
        context, results, unit="nats per step",
        caption=f"Negative bound per step of 200 samples of whole test recordings ({config.data.value}), the first step given; mean and "
        f"standard error over {config.reporting.num_seeds} seeds.",
        digits=1,
    )  # fmt: skip
    shown, data = stochastic.standings[1], stochastic.contest.data
    context.figure(
        "prediction-update", plot_prediction_update_waves(*predictions_and_updates(shown.first, data, key=jr.key(0))),
        caption=f"A test recording ({data.name}), SRNN: samples, their means predicted from the past, and after the update by "
        f"{shown.contender.name}.",
    )  # fmt: skip


def contests(config: Config) -> tuple[Contest, Contest]:
    """VRNN and SRNN on the recordings."""
    splits = load(config.data)
    portion = Portion(config.clip, 0, config.num_validation, config.num_test)
    recurrent, stochastic = config.vrnn.sizes(), config.srnn.sizes()

    def contest(
        name: str,
        build: Callable[..., AbstractSequentialModel],
        sizes: VRNNSizes | SRNNSizes,
        published: Callable[..., VariationalFilter],
        amortized: Amortized,
        bounds: tuple[float, float],
    ) -> Contest:
        data = digitised(splits, portion, bounds)
        return Contest(
            name, data,
            lambda *, key: build(data.density, sizes, key=key),
            contenders(
                lambda model, *, key: published(model, sizes, key=key), amortized, config.iterations,
                config.training.batch_size,
            ),
            config.training,
        )  # fmt: skip

    return (
        contest("VRNN", vrnn, recurrent, vrnn_filter, config.vrnn_amortized, VRNN_LOG_VARIANCE),
        contest("SRNN", srnn, stochastic, srnn_filter, config.srnn_amortized, OUTPUT_LOG_VARIANCE),
    )


def load(data: Speech) -> SequenceSplits:
    """One set of recordings in windows, standardised."""
    if data is Speech.timit:
        return load_timit()
    return load_spoken_digits() if data is Speech.digits else generated_speech()


def digitised(splits: SequenceSplits, portion: Portion, log_variance_bounds: tuple[float, float]) -> Recordings:
    """Standardised recordings, with the density of the bins of their 16-bit numbers."""
    if splits.standardization is None:
        raise BadInputError(
            f"Expected standardised recordings, got {splits.name} as stored: pass it through `standardized`."
        )
    width = 1.0 / (32768.0 * float(splits.standardization.scale))
    density = speech_density(int(np.prod(splits.train.shape)), width, log_variance_bounds)
    return recordings(splits, portion, as_real, density)


def generated_speech(num_recordings: int = 48, window: int = 50, seed: int = 0) -> SequenceSplits:
    """Recordings of 6 to 16 steps: two tones whose pitch glides, in 16-bit numbers."""
    generator = np.random.default_rng(seed)
    parts = []
    for steps in generator.integers(6, 17, num_recordings):
        size = int(steps) * window
        pitch = generator.uniform(0.05, 0.15) * (1.0 + 0.3 * np.linspace(0.0, generator.uniform(-1.0, 1.0), size))
        phase = np.cumsum(pitch) + generator.uniform(0.0, 2.0 * np.pi)
        sound = 0.1 * np.sin(phase) + 0.03 * np.sin(2.0 * phase) + 0.002 * generator.standard_normal(size)
        stored = np.round(32768.0 * np.clip(sound, -0.99, 0.99)) / 32768.0
        parts.append(stored.reshape(-1, window).astype(np.float32))
    bounds = (0, num_recordings // 2, 3 * num_recordings // 4, num_recordings)
    split = [Sequences(parts[bounds[i] : bounds[i + 1]], name=f"generated speech {i}") for i in range(3)]
    indices = SplitIndices(*(np.arange(*bounds[i : i + 2]) for i in range(3)))
    splits = SequenceSplits("generated", *split, indices)
    return standardized(splits, Standardization.overall(splits.train))
