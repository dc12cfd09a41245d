"""A folder of images as rows."""

from pathlib import Path
from typing import final

import numpy as np

from ..results import BadInputError
from ..typing import Any
from ._rows import AbstractRows, checked_indices


@final
class ImageRows(AbstractRows):
    """Image files of one size, decoded when they are read: uint8 of shape (height, width) or (height, width, 3).

    Attributes:
        files: in the order of the rows.
    """

    def __init__(self, files: tuple[Path, ...], name: str = "the images"):
        """Look at every file's header: one size, and all grey or all RGB."""
        if not files:
            raise BadInputError(f"Expected image files (.png, .jpg, .jpeg) in {name}, found none.")
        self.files, self._name = files, name
        size, mode = _header(files[0])
        for file in files[1:]:
            if (found := _header(file)) != (size, mode):
                raise BadInputError(
                    f"Expected images of one size and kind in {name}; {files[0].name} has {size[0]} x {size[1]} pixels "
                    f"({mode}), but {file} has {found[0][0]} x {found[0][1]} ({found[1]}). Resize or convert them."
                )
        self._shape = (size[1], size[0]) if mode == "grey" else (size[1], size[0], 3)

    @property
    def name(self) -> str:
        return self._name

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.uint8)

    @property
    def num_rows(self) -> int:
        return len(self.files)

    def read(self, indices: Any) -> np.ndarray:
        from PIL import Image

        wanted = checked_indices(indices, self.num_rows)
        rows = np.empty((wanted.size, *self._shape), np.uint8)
        for row, index in zip(rows, wanted, strict=True):
            try:
                with Image.open(self.files[index]) as image:
                    row[...] = np.asarray(image.convert("L" if len(self._shape) == 2 else "RGB"))
            except (OSError, ValueError, SyntaxError) as error:
                raise BadInputError(f"Expected an image, but {self.files[index]} cannot be read: {error}.") from error
        return rows


def _header(file: Path) -> tuple[tuple[int, int], str]:
    """Width and height, and grey or RGB, from the beginning of an image file."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            size, mode = image.size, image.mode
    except (OSError, ValueError, SyntaxError) as error:
        raise BadInputError(f"Expected an image, but {file} cannot be read: {error}.") from error
    kinds = {"1": "grey", "L": "grey", "RGB": "RGB"}
    if mode not in kinds:
        raise BadInputError(
            f"Expected a grey or RGB image of eight bits, but {file} has the mode {mode}: convert it to grey or RGB."
        )
    return size, kinds[mode]
