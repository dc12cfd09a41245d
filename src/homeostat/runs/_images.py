"""Pictures as bytes."""

import io
import sys
from typing import Any

import numpy as np

from ..results import BadInputError


def encode_png(figure: Any) -> bytes:
    """Encode a matplotlib figure and drop it from pyplot's list, if it is there."""
    stream = io.BytesIO()
    # Without the writer's version the same picture is the same file.
    figure.savefig(stream, format="png", dpi=150, bbox_inches="tight", metadata={"Software": None})
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close(figure)
    return stream.getvalue()


def encode_gif(frames: np.ndarray, frames_per_second: float | int) -> bytes:
    """Encode frames as an endless GIF.

    Args:
        frames: uint8, or floats in [0, 1]; (time, height, width) or (time, height, width, 3).
    """
    from PIL import Image

    if frames.ndim not in (3, 4) or len(frames) == 0 or (frames.ndim == 4 and frames.shape[-1] != 3):
        raise BadInputError(
            "Expected frames of shape (time, height, width) or (time, height, width, 3), "
            f"got {frames.shape}. Reshape them."
        )
    if frames.dtype != np.uint8:
        frames = np.rint(np.clip(frames, 0.0, 1.0) * 255).astype(np.uint8)
    images = [Image.fromarray(frame) for frame in frames]
    stream = io.BytesIO()
    images[0].save(
        stream, format="GIF", save_all=True, append_images=images[1:], duration=1000 / frames_per_second, loop=0
    )
    return stream.getvalue()
