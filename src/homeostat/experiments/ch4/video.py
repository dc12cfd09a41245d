"""Video: SVG with its own filter against amortized variational filtering, on moving digits and moving sprites.

Table 4.2. SVG has a Gaussian output density that is integrated over the steps of grey values, and the rate has its full
weight; bounds are in nats per pixel of whole test sequences, the first frame given. The thesis uses the human actions
of KTH, which are not redistributed: with them, `--videos kth` reads one's own copy. Moving MNIST and dSprites that fly,
turn and grow under random pushes (`moving_sprites`) replace them, so that figures compare in kind, not in value. Frames
are smooth or flat where KTH's are noisy: probabilities of a flat region are limited by the smallest variance alone.

Where this differs from the authors' code: the learning rate falls along half a cosine, of each training the numbers
count that do best on validation clips, layers have a group norm in place of batch normalisation, and for digits and
sprites the networks are DCGAN's. At `small`, frames are averaged to 32 x 32, networks are narrower, and 400 updates
replace 100 epochs. At `smoke`, squares of 16 x 16 pixels that bounce replace video.
"""

import enum
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax.random as jr
import numpy as np

from ...data import (
    SequenceSplits,
    averaged_frames,
    bouncing_squares,
    consecutive_splits,
    load_kth,
    load_moving_mnist,
    sequence_arrays,
)
from ...environments import moving_sprites
from ...inference.filters import svg_filter
from ...metrics import independent_discretized_nats
from ...models.sequential import SVGSizes, svg, video_density
from ...nn import DCGANDecoder, DCGANEncoder
from ...runs import AtLeast, Claim, Minutes, RunContext
from ...typing import Array, Float, Key
from ...viz import plot_frames
from .. import kit
from ..kit import OWN, Reporting, SequenceTraining, UpdateNetwork, at, avf, scales


class Video(enum.StrEnum):
    """Which sequences."""

    digits = "digits"
    """Moving MNIST."""
    sprites = "sprites"
    """Moving dSprites."""
    kth = "kth"
    """Human actions, for those who have downloaded them."""
    squares = "squares"
    """Squares that bounce, made on the spot; nothing is read."""


SOURCE = "Marino (thesis), Table 4.2"
MINUTES = Minutes(smoke=0.25, small=40.0, paper=6000.0)
PUBLISHED = kit.Published(SOURCE, "nats", (OWN, avf(1)), {"kth": (3.69, 2.86)})
_LEAD = "bound of SVG's own filter minus that of AVF with 1 iteration, per pixel of test frames"
_LEADS = partial(PUBLISHED.lead_claim, row="kth", worse=OWN, better=avf(1))
CLAIMS = (
    _LEADS("video/digits-lead", f"{_LEAD}, moving MNIST", told="KTH: "),
    _LEADS("video/sprites-lead", f"{_LEAD}, moving dSprites", told="KTH: "),
    # Measured where somebody has the videos.
    _LEADS("video/kth-lead", f"{_LEAD}, KTH", scales=()),
    Claim("video/independent-pixels", SOURCE, "least lead of a trained model over independent pixels, per pixel", "nats",
          AtLeast(0.0), scales=kit.EVERYWHERE),
)  # fmt: skip


@dataclass(frozen=True)
class Config:
    """Options of this experiment; the defaults are those of `small`."""

    videos: tuple[Video, ...] = (Video.digits, Video.sprites)
    """Sets of sequences."""
    sizes: SVGSizes = SVGSizes(16, 32, 64, 1)
    """Of SVG."""
    channels: tuple[int, ...] = (8, 16, 32)
    """Channels after each halving of a frame in DCGAN's networks, one for each factor 2 from 4 to its side; none, and for KTH, the
    VGG networks."""
    amortized: UpdateNetwork = UpdateNetwork(64, 1)
    """The update network."""
    averaging: int = 2
    """Side of the squares of pixels that are averaged into one (count)."""
    clip: int = 10
    """Frames in a training clip (count)."""
    num_frames: int = 12
    """Frames of a generated sequence (count)."""
    num_train: int = 400
    """Training sequences; 0 for all of KTH (count)."""
    num_validation: int = 40
    """Validation sequences; 0 for all of KTH (count)."""
    num_test: int = 60
    """Test sequences; 0 for all of KTH (count)."""
    training: SequenceTraining = SequenceTraining(400, 8, 1e-3)
    """Of every model."""
    reporting: Reporting = Reporting(1, 50, 0.0)
    """How models are chosen and judged."""

    for_scale = scales(
        smoke=at(
            (Video.squares,), SVGSizes(4, 8, 12, 1), (4, 8), UpdateNetwork(12, 1), 1, 6, 8, 24, 8, 8,
            SequenceTraining(80, 4, 1e-2), Reporting(1, 40, 0.0),
        ),
        # 100 epochs of about 10,000 clips.
        paper=at(
            (Video.digits, Video.sprites), SVGSizes(), (64, 128, 256, 512), UpdateNetwork(1024, 1), 1, 21, 40, 10_000,
            500, 1_000, SequenceTraining(50_000, 20, 1e-4), Reporting(1, 500, 0.0),
        ),
    )  # fmt: skip


def load(config: Config, video: Video) -> SequenceSplits:
    """One set of sequences of grey frames, bytes."""
    numbers = (config.num_train, config.num_validation, config.num_test)
    if video is Video.kth:
        splits = load_kth()
    elif video is Video.digits:
        splits = load_moving_mnist(
            num_frames=config.num_frames, num_train=numbers[0], num_validation=numbers[1], num_test=numbers[2]
        )
    elif video is Video.sprites:
        frames = moving_sprites(sum(numbers), config.num_frames, key=jr.key(0))
        splits = consecutive_splits("moving sprites", frames, numbers)
    else:
        splits = consecutive_splits("squares", bouncing_squares(sum(numbers), config.num_frames), numbers)
    return splits if config.averaging == 1 else averaged_frames(splits, config.averaging)


def _as_grey(values: Array) -> Float[Array, "..."]:
    """k / 256, for bytes k."""
    return values.astype(float) / 256.0


def prepare(config: Config, video: Video) -> tuple[kit.SequenceTask, tuple[kit.Method, ...]]:
    """SVG on one set of sequences, and its filters."""
    splits, sizes = load(config, video), config.sizes
    if config.channels and video is not Video.kth:
        networks = (partial(network, channels=config.channels) for network in (DCGANEncoder, DCGANDecoder))
        sizes = replace(sizes, **dict(zip(("encoder", "decoder"), networks, strict=True)))
    density = video_density(splits.train.shape[0], splits.train.shape[0])
    numbers = {"num_train": config.num_train, "num_validation": config.num_validation, "num_test": config.num_test}
    data = sequence_arrays(splits, config.clip, **numbers)
    of = kit.SequenceTask(video.value, data, partial(svg, density, sizes), density, _as_grey)
    return of, kit.filtering_methods(
        of, partial(svg_filter, sizes=sizes), config.amortized, (1,), config.training, config.reporting
    )


def run(config: Config, context: RunContext, *, key: Key) -> None:
    """Run the experiment."""
    tasks, found = [], []
    for video in config.videos:
        of, methods = prepare(config, video)
        tasks.append(of)
        found.append(kit.compare_filters(context, of, methods, config.reporting, key=key))
        what = f"A test sequence ({of.data.name}): frames, their means"
        of.show(context, f"prediction-update-{of.name}", found[-1].results[1], _strips, what, num_steps=10)
    pixels = tasks[0].density.size

    def nats_per_pixel(result: kit.Result):
        return kit.nats_per_step(result) / pixels

    for comparison in found:
        if comparison.name != Video.squares:
            claim = f"video/{comparison.name}-lead"
            kit.measure_lead(context, claim, comparison.of(OWN), comparison.of(avf(1)), nats_per_pixel)
    references = [independent_discretized_nats(of.density, *of.steps()) / pixels for of in tasks]
    context.measure("video/independent-pixels", kit.least_lead(found, nats_per_pixel, references))
    kit.report_filters(
        context, found, unit="nats per pixel", per=pixels, digits=3, published=PUBLISHED,
        caption=f"Negative bound per pixel of whole test sequences of frames of {pixels} pixels, the first frame given; mean and standard "
        f"error over {config.reporting.num_seeds} trainings.",
    )  # fmt: skip


def _strips(seen: np.ndarray, predicted: np.ndarray, updated: np.ndarray) -> Any:
    """Fig. 4.3 for video."""
    return plot_frames({"data": seen, "prediction": predicted, "update": updated}, times=range(2, len(seen) + 2))
