"""Video files and animated pictures as arrays, converted once."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, final

import numpy as np

from ..results import BadInputError
from ._places import Message, data_cache_folder, kept_conversion, reading, say, write_array_header, written_whole
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
        grey: whether colours are turned into grey values.
    """

    height: int | None = None
    width: int | None = None
    grey: bool = False

    def __post_init__(self):
        """Check that both sizes are given, or none."""
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
        shown: what is made of each frame.
        mark: what says that `shown` does the same, part of the kept file's name.
        message: told about the conversion.
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
        pictures, times = decoded(file)
        with written_whole(kept) as part:
            count = write_frames(part, (shown(picture) for picture in pictures), file)
        with written_whole(when) as part, open(part, "wb") as stream:
            np.save(stream, times(count))
    with reading(kept, "frames converted earlier"):
        return Film(np.load(kept, mmap_mode="r", allow_pickle=False), np.load(when, allow_pickle=False))


def decoded(file: Path) -> tuple[Iterator[np.ndarray], Callable[[int], np.ndarray]]:
    """The frames, and their times once it is known how many there are."""
    if file.suffix.lower() in ANIMATIONS:
        durations: list[float] = []

        def summed(count: int) -> np.ndarray:
            seconds = np.array(durations[:count])
            # Pictures that do not say for how long they are shown are a tenth of a second apart, as browsers do it.
            seconds = np.where(seconds > 0, seconds, 0.1)
            return np.cumsum(seconds) - seconds

        return _pictures(file, durations), summed
    moments: list[float] = []

    def pictures() -> Iterator[np.ndarray]:
        for picture, seconds in read_video(file):
            moments.append(np.nan if seconds is None else seconds)
            yield picture

    def shown_at(count: int) -> np.ndarray:
        times = np.array(moments[:count])
        rising = bool(np.isfinite(times).all() and np.all(np.diff(times) > 0))
        # Without times of their own, frames are counted.
        return times - times[0] if rising else np.arange(count, dtype=np.float64)

    return pictures(), shown_at


def _pictures(file: Path, durations: list[float]) -> Iterator[np.ndarray]:
    from PIL import Image, ImageSequence

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
            durations.append(picture.info.get("duration", 0) * 1e-3)
            yield shown


def write_frames(target: Path, frames: Iterator[np.ndarray], file: Path) -> int:
    """Write frames one by one as an array (.npy); how many there were."""
    count = 0
    with open(target, "wb") as stream:
        begins, shape = 0, ()
        for frame in frames:
            if count == 0:
                shape = frame.shape
                begins = write_array_header(stream, "|u1", (0, *shape))
            stream.write(np.ascontiguousarray(frame, np.uint8).tobytes())
            count += 1
        if count == 0:
            raise BadInputError(f"Expected a video, but {file} has no frames: it is damaged or another file.")
        if write_array_header(stream, "|u1", (count, *shape)) != begins:
            raise ValueError("the number of frames does not fit into the header of the converted file.")
    return count


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
