"""The KTH action videos, for those who have downloaded them."""

import os
import re

import numpy as np

from ..results import BadInputError
from ._frames import VIDEOS, open_film
from ._places import Message, needed_folder
from ._sequence_splits import SequenceSplits, select_splits
from ._sequences import Sequences
from ._splits import Source, SplitIndices

TRAIN_PERSONS = (11, 12, 13, 14, 15, 16, 17, 18)
VALIDATION_PERSONS = (19, 20, 21, 23, 24, 25, 1, 4)
TEST_PERSONS = (22, 2, 3, 5, 6, 7, 8, 9, 10)
"""Persons of the splits of the published experiments of amortized variational filtering, which are those of the data set."""

ACTIONS = ("boxing", "handclapping", "handwaving", "jogging", "running", "walking")
NUM_VIDEOS, SIDE = 599, 64
_NAME = re.compile(r"person(\d\d)_([a-z]+)_d(\d)(?:_uncomp)?")
_REFERENCE = "Schuldt, Laptev and Caputo (2004), Recognizing human actions: a local SVM approach"


def load_kth(folder: str | os.PathLike[str] | None = None, *, message: Message | None = None) -> SequenceSplits:
    """KTH actions: uint8 grey frames of shape (64, 64), one sequence a video, 25 frames a second.

    Persons are divided, so no person is in two splits: 11 to 18 for training; 1, 4, 19, 20, 21, 23, 24 and 25 for validation;
    2, 3, 5 to 10 and 22 for the test. Frames of 160 x 120 pixels are resized by linear interpolation, whole, as in the
    published experiments. Each video is decoded once and kept (about 1.2 GB for all 599); nothing is downloaded.

    Args:
        folder: the folder that holds a folder `kth` with the videos (`person01_walking_d1_uncomp.avi`; subfolders may have
            any names); HOMEOSTAT_DATA if left out.

    Raises:
        BadInputError: no such folder, no videos in it, none of a split, or PyAV is missing.

    References:
        Schuldt, Laptev and Caputo (2004), Recognizing human actions: a local SVM approach; the division is that of Marino,
        Cvitkovic and Yue (2018), A general method for amortizing variational filtering.
    """
    advice = (
        "Download the six archives of the KTH action data set from its page (https://www.csc.kth.se/cvap/actions/), unpack them "
        "into that folder, and name the folder above it."
    )
    place = needed_folder("kth", folder, " with the videos", advice)
    files, person = {}, {}
    for file in sorted(place.rglob("*")):
        found = _NAME.fullmatch(file.stem)
        if found and found[2] in ACTIONS and file.suffix.lower() in VIDEOS and file.is_file():
            label = file.stem.removesuffix("_uncomp")
            files[label], person[label] = file, int(found[1])
    labels = tuple(sorted(files))
    persons = np.array([person[label] for label in labels], np.int64)
    chosen = [np.flatnonzero(np.isin(persons, who)) for who in (TRAIN_PERSONS, VALIDATION_PERSONS, TEST_PERSONS)]
    if any(which.size == 0 for which in chosen):
        raise BadInputError(
            f"Expected videos of persons of all three splits in {place}, named as person01_walking_d1_uncomp.avi, got "
            f"{chosen[0].size} to train on, {chosen[1].size} to validate on and {chosen[2].size} to test on: unpack all "
            f"archives."
        )
    films = [open_film(files[label], _shown, "grey 64 x 64 linear", message=message) for label in labels]
    sequences = Sequences(
        [film.frames for film in films], times=[film.times for film in films], labels=labels, name="kth"
    )
    complete = len(labels) == NUM_VIDEOS
    note = "division by persons" if complete else f"incomplete: {len(labels)} of {NUM_VIDEOS} videos"
    source = Source(str(place), complete, "research use, cite the paper", _REFERENCE, note)
    return select_splits("kth", sequences, SplitIndices(*chosen), source)


def _shown(picture: np.ndarray) -> np.ndarray:
    from PIL import Image

    image = Image.fromarray(picture).convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.asarray(image)
