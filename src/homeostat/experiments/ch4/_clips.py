"""Music, speech and video of chapter 4 as arrays: training clips of random places, whole sequences for the test."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from ...data import AbstractSequences, FullLength, SequenceSplits
from ...inference import SequenceBatch
from ...models.static import AbstractLikelihood, ConditionalDiscretizedGaussian
from ...results import BadInputError
from ...typing import Array, Float, Int, Key
from ._primed import primed


class Clips(NamedTuple):
    """Sequences side by side, filled up with zeros.

    Attributes:
        values: as stored, [sequences, time, ...].
        lengths: of each.
    """

    values: np.ndarray | Array
    lengths: Int[np.ndarray, " sequences"] | Int[Array, " sequences"]


class Recordings(NamedTuple):
    """A set of sequences.

    Attributes:
        name: of the set.
        train: whole training sequences, from which clips are cut.
        validation: clips that follow each other, of the length of training clips.
        test: whole test sequences, in a few groups of similar length; read by the final figures alone.
        decode: from stored numbers to what the model sees.
        density: of a step given features.
        clip: steps of a training clip.
    """

    name: str
    train: Clips
    validation: Clips
    test: tuple[Clips, ...]
    decode: Callable[[Array], Array]
    density: AbstractLikelihood
    clip: int

    def prepare(self, batch: Clips, *, key: Key) -> SequenceBatch:
        """A clip from a random place of each sequence, whole where it is shorter."""
        lengths = jnp.asarray(batch.lengths)
        used = jnp.minimum(lengths, self.clip)
        places = jr.uniform(key, lengths.shape) * (lengths - used + 1)
        starts = jnp.minimum(places.astype(lengths.dtype), lengths - used)
        cut = jax.vmap(lambda values, start: jax.lax.dynamic_slice_in_dim(values, start, self.clip))
        return self.sequences(Clips(cut(batch.values, starts), used))

    def sequences(self, clips: Clips) -> SequenceBatch:
        """Decoded, with the first step given and not scored."""
        return primed(self.decode(jnp.asarray(clips.values)), jnp.asarray(clips.lengths))


class Portion(NamedTuple):
    """How much of a set is used.

    Attributes:
        clip: steps of a training clip.
        num_train: training sequences; 0 for all.
        num_validation: validation sequences; 0 for all.
        num_test: test sequences; 0 for all.
        num_groups: groups of test sequences that are filled up to one length.
    """

    clip: int
    num_train: int = 0
    num_validation: int = 0
    num_test: int = 0
    num_groups: int = 4


def recordings(
    splits: SequenceSplits, portion: Portion, decode: Callable[[Array], Array], density: AbstractLikelihood
) -> Recordings:
    """The splits as arrays. Training and validation sequences shorter than a clip are left out where enough are longer."""

    def first(sequences: AbstractSequences, count: int) -> AbstractSequences:
        return sequences.select(np.arange(min(count, len(sequences)))) if count else sequences

    train = first(_long_enough(splits.train, portion.clip), portion.num_train)
    validation = first(_long_enough(splits.validation, portion.clip), portion.num_validation)
    test = first(splits.test, portion.num_test)
    return Recordings(
        splits.name, _padded(train, portion.clip), _windows(validation, portion.clip),
        _groups(test, portion.num_groups), decode, density, portion.clip,
    )  # fmt: skip


def _long_enough(sequences: AbstractSequences, length: int) -> AbstractSequences:
    # As the authors leave out short songs; of spoken digits most are shorter than half a second and stay.
    return sequences.at_least(length) if np.mean(sequences.lengths >= length) > 0.5 else sequences


def _padded(sequences: AbstractSequences, least: int, length: int = 0) -> Clips:
    lengths = sequences.lengths.astype(np.int32)
    time = length or max(int(lengths.max()), least)
    values = np.zeros((len(sequences), time, *sequences.shape), _kept_type(sequences))
    for row in range(len(sequences)):
        values[row, : lengths[row]] = sequences.read(row).values
    return Clips(values, lengths)


def _windows(sequences: AbstractSequences, clip: int) -> Clips:
    """Pieces one after the other from the first step on; what does not fill a last one is left out."""
    parts, lengths = [], []
    for row, length in enumerate(sequences.lengths.tolist()):
        for start in range(0, max(length - clip, 0) + 1, clip):
            piece = sequences.read(row, start, min(start + clip, length)).values
            parts.append(np.pad(piece, [(0, clip - len(piece)), *[(0, 0)] * (piece.ndim - 1)]))
            lengths.append(len(piece))
    return Clips(np.stack(parts).astype(_kept_type(sequences)), np.array(lengths, np.int32))


def _kept_type(sequences: AbstractSequences) -> np.dtype:
    """Half the memory for real numbers, which networks read in single precision anyway."""
    return np.dtype(np.float32) if sequences.dtype.kind == "f" else sequences.dtype


def _groups(sequences: AbstractSequences, num_groups: int) -> tuple[Clips, ...]:
    padded = FullLength.fitted(sequences.lengths, num_groups).pieces(sequences.lengths, seed=0, epoch=0).padded
    return tuple(
        _padded(sequences.select(np.flatnonzero(padded == length)), 0, int(length)) for length in np.unique(padded)
    )


# ------------------------------------------------------------------------------------------------- from stored numbers


def as_real(values: Array) -> Float[Array, "..."]:
    """The numbers as they are."""
    return values.astype(jnp.result_type(float))


def as_grey(values: Array) -> Float[Array, "..."]:
    """k / 256, for bytes k."""
    return values.astype(jnp.result_type(float)) / 256.0


# ---------------------------------------------------------------------------------------------------- without any model


def independent_notes_nats(data: Recordings) -> float:
    """-log p of a scored test step when every note is a coin of its own, with frequencies of the training steps."""
    train, test = _steps(data.train, 0), np.concatenate([_steps(group, 1) for group in data.test])
    frequency = (train.sum(axis=0) + 1.0) / (len(train) + 2.0)
    return -float(np.mean(test @ np.log(frequency) + (1.0 - test) @ np.log1p(-frequency)))


def independent_values_nats(data: Recordings) -> float:
    """-log p of a scored test step when every entry is a draw of its own.

    The density is that of the models, with constant features: the mean of each entry over the training steps, and one
    variance, that around these means, because of its own an entry that hardly changes would have one too small for any surprise.

    Raises:
        BadInputError: the models have another density than a discretised Gaussian.
    """
    if not isinstance(data.density, ConditionalDiscretizedGaussian):
        raise BadInputError(f"Expected a ConditionalDiscretizedGaussian density, got {type(data.density).__name__}.")
    train, test = _steps(data.train, 0), np.concatenate([_steps(group, 1) for group in data.test])
    train, test = (np.asarray(data.decode(jnp.asarray(part)), np.float64) for part in (train, test))
    mean = train.mean(axis=0).ravel()
    variance = np.full_like(mean, train.var(axis=0).mean())
    # A sigmoid of a mean of exactly zero would need features without bound.
    fraction = np.clip(mean, 1e-4, 1.0 - 1e-4)
    loc = mean if data.density.link is not jax.nn.sigmoid else np.log(fraction) - np.log1p(-fraction)
    fixed = data.density(jnp.asarray(np.concatenate([loc, np.log(variance)]), jnp.result_type(float)))
    return -float(jnp.mean(jax.lax.map(fixed.log_prob, jnp.asarray(test, jnp.result_type(float)))))


def _steps(clips: Clips, first: int) -> np.ndarray:
    """All steps of all sequences from the step `first` on, one under another."""
    values, lengths = np.asarray(clips.values), np.asarray(clips.lengths)
    time = np.arange(values.shape[1])
    return values[(time[None, :] >= first) & (time[None, :] < lengths[:, None])]
