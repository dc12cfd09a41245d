"""Frames of a video file, by ffmpeg as it comes with PyAV."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...results import BadInputError
from .._places import lacks


def read_video(file: Path) -> Iterator[tuple[np.ndarray, float | None]]:
    """Every frame that the file stores, in the order they are shown, decoded as they are asked for.

    A frame is a picture, uint8 of shape (height, width, 3), and the seconds when it is shown, or `None` where the file does not say.

    Raises:
        BadInputError: PyAV is not installed, or the file is no video.
    """
    try:
        import av
    except ImportError as error:
        raise lacks("av", "video", file) from error
    try:
        with av.open(str(file)) as container:
            if not container.streams.video:
                raise BadInputError(f"Expected a video, but {file} has no pictures.")
            for frame in container.decode(video=0):
                yield frame.to_ndarray(format="rgb24"), frame.time
    except (av.FFmpegError, OSError, EOFError) as error:
        raise BadInputError(
            f"Expected a video, but {file} cannot be read ({error}). It is damaged or another file."
        ) from error
