"""Speech: VRNN and SRNN with their own filters against amortized variational filtering with 1 and 2 iterations.

Table 4.1. Waveforms are standardised by the training samples and divided into steps of 200 samples; bounds are on log
probabilities of the stored 16-bit numbers, in nats per step of whole test recordings, the first step given. The thesis
uses TIMIT, which needs a licence: with it, `--data timit` reads one's own copy. Without, the free spoken digits
replace it, at 8 kHz: figures compare in kind, not in value. Their speakers are in every split.

Where this differs from the authors' code: the learning rate falls along half a cosine, of each training the numbers
count that do best on validation clips, and both models' rates rise during the first sixteenth of training (the authors:
of the SRNN alone). At `small`, networks are narrower and 600 updates at a higher rate replace 700 to 1,000 epochs. At
`smoke`, generated tones replace speech.
"""

import enum
from dataclasses import dataclass
from functools import partial

import numpy as np

from ...data import SequenceSplits, load_spoken_digits, load_timit, sequence_arrays, synthetic_tones
from ...inference.filters import srnn_filter, vrnn_filter
from ...metrics import independent_discretized_nats
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
from ...runs import AtLeast, Claim, Minutes, RunContext
from ...typing import Key
from ...viz import plot_prediction_update_waves
from .. import kit
from ..kit import OWN, Reporting, SequenceTraining, Update, UpdateNetwork, at, avf, scales


class Speech(enum.StrEnum):
    """Which recordings."""

    digits = "digits"
    """Free spoken digits."""
    timit = "timit"
    """TIMIT, for those who hold a licence."""
    generated = "generated"
    """Tones whose pitch glides, made on the spot; nothing is read."""


SOURCE = "Marino (thesis), Table 4.1"
MINUTES = Minutes(smoke=4.0, small=40.0, paper=20000.0)
PUBLISHED = kit.Published(
    SOURCE, "nats", (OWN, avf(1), avf(2)), {"VRNN": (1082.0, 1105.0, 1071.0), "SRNN": (1026.0, 1024.0)}, digits=0
)
"""On TIMIT."""
_lead = partial(PUBLISHED.lead_claim, told="TIMIT: ")
_LEAD = "bound of the model's own filter minus that of AVF per step of test recordings"
_MORE = "bound with 1 iteration minus that with 2 per step, VRNN"
CLAIMS = (
    _lead("speech/vrnn-two", f"{_LEAD}, VRNN, 2 iterations", "VRNN", OWN, avf(2)),
    _lead("speech/vrnn-more", _MORE, "VRNN", avf(1), avf(2)),
    _lead("speech/srnn-one", f"{_LEAD}, SRNN, 1 iteration", "SRNN", OWN, avf(1)),
    # Not in the thesis' table, and no claim of it.
    Claim("speech/srnn-two", SOURCE, f"{_LEAD}, SRNN, 2 iterations (not reported)", "nats", AtLeast(0.0), scales=()),
    _lead("speech/vrnn-one", f"{_LEAD}, VRNN, 1 iteration", "VRNN", OWN, avf(1), scales=()),
    Claim("speech/independent-samples", SOURCE, "least lead of a trained model over independent samples, per step", "nats",
          AtLeast(0.0), scales=kit.EVERYWHERE),
)  # fmt: skip


def even(dim: int, width: int, depth: int) -> VRNNSizes:
    """A VRNN all of whose networks have one width."""
    return VRNNSizes(dim, width, width, width, width, width, width, depth)


@dataclass(frozen=True)
class Config:
    """Options of this experiment; the defaults are those of `small`."""

    data: Speech = Speech.digits
    """Which recordings."""
    vrnn: VRNNSizes = even(32, 128, 1)
    """Of the VRNN."""
    srnn: SRNNSizes = SRNNSizes(32, 128, 128, 1, 1)
    """Of the SRNN."""
    vrnn_amortized: UpdateNetwork = UpdateNetwork(128, 2)
    """The VRNN's update network."""
    srnn_amortized: UpdateNetwork = UpdateNetwork(128, 2)
    """The SRNN's update network."""
    iterations: tuple[int, ...] = (1, 2)
    """Iterations of inference with which AVF is trained (count)."""
    clip: int = 12
    """Steps of 200 samples in a training clip (count)."""
    num_test: int = 0
    """Test recordings; 0 for all (count)."""
    num_validation: int = 100
    """Validation recordings; 0 for all (count)."""
    training: SequenceTraining = SequenceTraining(600, 32, 1e-3, 0.1, 1000.0)
    """Of every model."""
    reporting: Reporting = Reporting(1, 50)
    """How models are chosen and judged."""

    for_scale = scales(
        smoke=at(
            Speech.generated, even(4, 16, 1), SRNNSizes(4, 16, 16, 1, 1), UpdateNetwork(16, 1), UpdateNetwork(16, 1),
            (1,), 8, 0, 0, SequenceTraining(300, 8, 3e-3, 0.1, 1000.0), Reporting(1, 50),
        ),
        # 4,400 training sentences in batches of 64 for 1,000 epochs; gradients of a batch's mean, clipped at 1,000.
        paper=at(
            Speech.digits, VRNNSizes(), SRNNSizes(), UpdateNetwork(update=Update.learned_sgd),
            UpdateNetwork(reads_observation=True), (1, 2), 40, 0, 0, SequenceTraining(69_000, 64, 1e-4, 0.37, 1000.0),
            Reporting(3, 200),
        ),
    )  # fmt: skip


def load(data: Speech) -> SequenceSplits:
    """One set of recordings in windows, standardised."""
    if data is Speech.timit:
        return load_timit()
    return load_spoken_digits() if data is Speech.digits else synthetic_tones()


def prepare(config: Config, name: str, splits: SequenceSplits) -> tuple[kit.SequenceTask, tuple[kit.Method, ...]]:
    """The VRNN or the SRNN on standardised recordings, with the density of the bins of their 16-bit numbers; its filters."""
    if splits.standardization is None:
        raise BadInputError(
            f"Expected standardised recordings, got {splits.name} as stored: pass it through `standardized`."
        )
    model, own, sizes, network, log_variance_bounds = {
        "VRNN": (vrnn, vrnn_filter, config.vrnn, config.vrnn_amortized, VRNN_LOG_VARIANCE),
        "SRNN": (srnn, srnn_filter, config.srnn, config.srnn_amortized, OUTPUT_LOG_VARIANCE),
    }[name]
    width = 1.0 / (32768.0 * float(splits.standardization.scale))
    density = speech_density(int(np.prod(splits.train.shape)), width, log_variance_bounds)
    data = sequence_arrays(splits, config.clip, num_validation=config.num_validation, num_test=config.num_test)
    of = kit.SequenceTask(name, data, partial(model, density, sizes), density)
    return of, kit.filtering_methods(
        of, partial(own, sizes=sizes), network, config.iterations, config.training, config.reporting
    )


def run(config: Config, context: RunContext, *, key: Key) -> None:
    """Run the experiment."""
    splits = load(config.data)
    both = [prepare(config, name, splits) for name in ("VRNN", "SRNN")]
    found = [kit.compare_filters(context, *each, config.reporting, key=key) for each in both]
    references = [independent_discretized_nats(of.density, *of.steps()) for of, _ in both]
    context.measure("speech/independent-samples", kit.least_lead(found, kit.nats_per_step, references))
    for of, claim, worse, better in (
        (found[0], "vrnn-one", OWN, avf(1)), (found[0], "vrnn-two", OWN, avf(2)), (found[0], "vrnn-more", avf(1), avf(2)),
        (found[1], "srnn-one", OWN, avf(1)), (found[1], "srnn-two", OWN, avf(2)),
    ):  # fmt: skip
        kit.measure_lead(context, f"speech/{claim}", of.of(worse), of.of(better), kit.nats_per_step)
    kit.report_filters(
        context, found, unit="nats per step", digits=1, published=PUBLISHED if config.data is Speech.timit else None,
        caption=f"Negative bound per step of 200 samples of whole test recordings ({config.data.value}), the first step given; mean and "
        f"standard error over {config.reporting.num_seeds} seeds.",
    )  # fmt: skip
    of = both[1][0]
    what = f"A test recording ({of.data.name}), SRNN: samples, their means"
    of.show(context, "prediction-update", found[1].results[1], plot_prediction_update_waves, what)
