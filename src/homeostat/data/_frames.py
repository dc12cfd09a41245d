"""Video files and animated pictures as arrays, converted once."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, final

import numpy as np

from ..results import BadInputError
from ._places import Message, data_cache_folder, kept_conversion, reading, say, write_array, written_whole
from .adapters import read_video

VIDEOS = (".mp4", ".avi", ".mkv", ".webm", ".mov")
ANIMATIONS = (".gif",)


@final
@dataclass(frozen=True)
class Frames:
    """Selection, size and colours of the frames of a video.

    Attributes:
        height: of a frame in pixels, or `None` as in the file.
        width: likewise; both or none. Where the shape differs, the middle of the picture is kept.
    """

    height: int | None = None
    width: int | None = None
    grey: bool = False

    def __post_init__(self):
        if (self.height is None) != (self.width is None) or min(self.height or 1, self.width or 1) < 1:
            raise BadInputError(
                f"Expected a height and a width in pixels, or neither, got height={self.height} and width={self.width}."
            )


class Film(NamedTuple):
    """Decoded frames.

    Attributes:
        frames: uint8 of shape (T, height, width) or (T, height, width, 3), memory-mapped.
        times: seconds from the first frame on, shape (T,); numbers of frames where the file has no times.
    """

    frames: np.ndarray
    times: np.ndarray


Shown = Callable[[np.ndarray], np.ndarray]
"""Conversion of one frame, uint8 of shape (height, width, 3)."""


def open_film(
    file: Path, shown: Shown, mark: str, *, message: Message | None = None, cache: Path | None = None
) -> Film:
    """Frames of a video or an animated picture, which are converted once and kept.

    Args:
        file: .mp4, .avi, .mkv, .webm, .mov (these need PyAV) or .gif.
        mark: what says that `shown` does the same, part of the kept file's name.
        cache: where it is kept; `homeostat/data` in the user's cache folder if left out.

    Raises:
        BadInputError: no such file, a damaged one, or the library that reads it is missing.
    """
    if not file.is_file():
        raise BadInputError(f"Expected a video, found no file at {file}: check the path.")
    kept = kept_conversion(file, mark, data_cache_folder() if cache is None else cache)
    when = kept.with_suffix(".times.npy")
    if not (kept.is_file() and when.is_file()):
        say(message, f"Decoding {file} once; the frames are kept as {kept}.")
        times: list[float] = []
        with written_whole(kept) as part:
            if not write_array(part, _decoded(file, shown, times)):
                raise BadInputError(f"Expected a video, but {file} has no frames: it is damaged or another file.")
        with written_whole(when) as part, open(part, "wb") as stream:
            np.save(stream, _from_zero(np.array(times)))
    with reading(kept, "frames converted earlier"):
        return Film(np.load(kept, mmap_mode="r", allow_pickle=False), np.load(when, allow_pickle=False))


def _decoded(file: Path, shown: Shown, times: list[float]) -> Iterator[np.ndarray]:
    """Frames, each a block of one, while their times are noted down."""
    for picture, seconds in (_read_animation if file.suffix.lower() in ANIMATIONS else read_video)(file):
        times.append(np.nan if seconds is None else seconds)
        yield np.asarray(shown(picture), np.uint8)[None]


def _from_zero(times: np.ndarray) -> np.ndarray:
    """Without times of their own, frames are counted."""
    rising = bool(np.isfinite(times).all() and np.all(np.diff(times) > 0))
    return times - times[0] if rising else np.arange(len(times), dtype=np.float64)


def _read_animation(file: Path) -> Iterator[tuple[np.ndarray, float]]:
    from PIL import Image, ImageSequence

    total = 0.0
    with reading(file, "an animated picture (.gif)"), Image.open(file) as animation:
        pictures = iter(ImageSequence.Iterator(animation))
        while True:
            try:
                picture = next(pictures, None)
                shown = None if picture is None else np.asarray(picture.convert("RGB"))
            except (IndexError, SyntaxError) as error:
                # How the decoder takes a file that breaks off.
                raise ValueError(str(error) or "it breaks off") from error
            if picture is None or shown is None:
                return
            # Pictures that do not say for how long they are shown are a tenth of a second apart, as browsers do it.
            seconds = picture.info.get("duration", 0) * 1e-3 or 0.1
            total += seconds
            yield shown, total - seconds


def show(options: Frames) -> Shown:
    """Conversion of a frame to the asked size and colours."""

    def shown(picture: np.ndarray) -> np.ndarray:
        from PIL import Image

        height, width = options.height, options.width
        image = Image.fromarray(picture)
        if height is not None and width is not None:
            # The largest part about the middle with the asked ratio of sides.
            scale = min(image.width / width, image.height / height)
            left, top = (image.width - scale * width) / 2, (image.height - scale * height) / 2
            box = (left, top, left + scale * width, top + scale * height)
            image = image.resize((width, height), Image.Resampling.BICUBIC, box=box)
        return np.asarray(image.convert("L") if options.grey else image)

    return shown
