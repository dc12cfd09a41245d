"""TIMIT, for those who hold a licence."""

import os
from pathlib import Path

import numpy as np

from ..results import BadInputError
from ._order import permutation
from ._places import needed_folder
from ._scaled import Standardization
from ._sequence_splits import SequenceSplits, select_splits, standardized
from ._sound import SoundSequences, read_sound
from ._splits import Source, SplitIndices

NUM_TRAIN, NUM_TEST = 4_620, 1_680
RATE_HZ = 16_000
_SPLIT_SEED = 1234
_SUFFIXES = (".wav", ".sph")
_REFERENCE = "Garofolo et al. (1993), TIMIT acoustic-phonetic continuous speech corpus, LDC93S1"
_NOTE = "5 % of the official training files for validation, drawn here: the sizes of the published experiments, not their rows"


def load_timit(folder: str | os.PathLike[str] | None = None, *, window: int = 200) -> SequenceSplits:
    """TIMIT: sentences at 16 kHz as sequences of windows of `window` samples, standardised by the training samples.

    The official training and test sentences (4,620 and 1,680); 5 % of the training files are for validation (drawn once, with
    seed 1234), and the test files are left alone. TIMIT is licensed by the Linguistic Data Consortium and is not downloaded.

    A step of the stored 16-bit numbers is `1 / (32768 standardization.scale)` wide in the values.

    Args:
        folder: the folder that holds a folder `timit` with the folders TRAIN and TEST of the CD-ROM somewhere below it, files
            as they are (NIST SPHERE, whatever they are called) or converted to RIFF (.wav); HOMEOSTAT_DATA if left out.
        window: samples in a step; what does not fill a last window is left out.

    Raises:
        BadInputError: no such folder, no sentences in it, or files that are not TIMIT's.

    References:
        Garofolo et al. (1993), TIMIT acoustic-phonetic continuous speech corpus, LDC93S1.
    """
    advice = (
        "TIMIT (LDC93S1) needs a licence of the Linguistic Data Consortium and cannot be downloaded here: put its folders TRAIN and "
        "TEST into a folder timit and name the folder above it. Without a licence, load_spoken_digits is speech that is free."
    )
    place = needed_folder("timit", folder, "", advice)
    train, test = _files(place, "train"), _files(place, "test")
    if len(train) < 2 or not test:
        raise BadInputError(
            f"Expected sentences (.wav or .sph) below folders TRAIN and TEST in {place}, found {len(train)} and {len(test)}: "
            f"put the folders of the CD-ROM there."
        )
    labels = (*train, *test)
    sounds = tuple(read_sound(file) for file in (*train.values(), *test.values()))
    if sounds[0].rate_hz != RATE_HZ:
        raise BadInputError(
            f"Expected {RATE_HZ} Hz, as TIMIT is, got {sounds[0].rate_hz} Hz in {labels[0]} of {place}."
        )
    order, count = permutation(len(train), _SPLIT_SEED), max(1, round(0.05 * len(train)))
    indices = SplitIndices(np.sort(order[count:]), np.sort(order[:count]), len(train) + np.arange(len(test)))
    complete = (len(train), len(test)) == (NUM_TRAIN, NUM_TEST)
    note = _NOTE
    if not complete:
        note = f"incomplete: {len(train)} of {NUM_TRAIN} training and {len(test)} of {NUM_TEST} test files; {_NOTE}"
    source = Source(str(place), complete, "Linguistic Data Consortium, user agreement", _REFERENCE, note)
    splits = select_splits("timit", SoundSequences(sounds, labels, window, "timit"), indices, source)
    return standardized(splits, Standardization.overall(splits.train))


def _files(place: Path, part: str) -> dict[str, Path]:
    """Sentences below a folder of that name, by region/speaker/sentence in small letters; one file a sentence."""
    found: dict[str, Path] = {}
    for file in sorted(place.rglob("*")):
        parents = [parent.lower() for parent in file.relative_to(place).parts[:-1]]
        if file.suffix.lower() in _SUFFIXES and part in parents and file.is_file():
            # SA1.WAV as on the CD-ROM and SA1.WAV.wav, its conversion, are one sentence.
            stem = file.name.lower()
            while Path(stem).suffix in _SUFFIXES:
                stem = Path(stem).stem
            found["/".join([*parents[parents.index(part) :], stem])] = file
    return found
