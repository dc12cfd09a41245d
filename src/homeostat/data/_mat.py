"""Reading numbers from a MATLAB file of version 5, without executing or unpickling anything."""

import zlib
from pathlib import Path

import numpy as np

from ._places import reading

_COMPRESSED, _MATRIX, _CELL = 15, 14, 1
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}


def read_mat(file: Path) -> dict[str, np.ndarray]:
    """The real numeric arrays of a file, by name; whatever else it holds is passed over.

    References:
        The MathWorks, MAT-File Format, chapter Level 5 MAT-Files: header of 128 bytes, then elements of a type, a number
        of bytes, and data on 8-byte boundaries.
    """
    with reading(file, "a MATLAB file of version 5"):
        order, bodies = _matrices(file)
        found = (_matrix(body, order) for body in bodies)
        return dict(named for named in found if named is not None)


def read_mat_cells(file: Path) -> dict[str, list[np.ndarray]]:
    """The cell arrays of a file, by name, as lists of the numeric arrays in their cells; the rest is passed over."""
    with reading(file, "a MATLAB file of version 5"):
        order, bodies = _matrices(file)
        found = (_cells(body, order) for body in bodies)
        return dict(named for named in found if named is not None)


def _matrices(file: Path) -> tuple[str, list[memoryview]]:
    """Byte order, and the contents of all arrays, decompressed."""
    content = memoryview(file.read_bytes())
    if len(content) < 128 or content[124:128].tobytes() not in (b"\x00\x01IM", b"\x01\x00MI"):
        raise ValueError("it does not begin as one.")
    order = "<" if content[126:128].tobytes() == b"IM" else ">"
    bodies, position = [], 128
    while position < len(content):
        kind, start, end, _ = _element(content, position, order)
        body = content[start:end]
        # A compressed element is not padded.
        position = end if kind == _COMPRESSED else end + -end % 8
        if kind == _COMPRESSED:
            inner = memoryview(zlib.decompress(body))
            kind, start, end, _ = _element(inner, 0, order)
            body = inner[start:end]
        if kind == _MATRIX:
            bodies.append(body)
    return order, bodies


def _cells(body: memoryview, order: str) -> tuple[str, list[np.ndarray]] | None:
    position, parts = 0, []
    for _ in range(3):  # Flags, dimensions, name.
        _, start, end, position = _element(body, position, order)
        parts.append(body[start:end])
    if int(np.frombuffer(parts[0], f"{order}u4")[0]) & 0xFF != _CELL:
        return None
    cells = []
    for _ in range(int(np.prod(np.frombuffer(parts[1], f"{order}i4")))):
        kind, start, end, position = _element(body, position, order)
        found = _matrix(body[start:end], order) if kind == _MATRIX else None
        if found is None:
            raise ValueError("a cell does not hold an array of real numbers.")
        cells.append(found[1])
    return parts[2].tobytes().decode("ascii"), cells


def _element(content: memoryview, position: int, order: str) -> tuple[int, int, int, int]:
    """Type, begin and end of an element's data, and where the next one begins."""
    tag = np.frombuffer(content[position : position + 8], f"{order}u4")
    kind, size = int(tag[0]), int(tag[1])
    if kind >> 16:  # Up to four bytes stand in the tag itself.
        kind, size = kind & 0xFFFF, kind >> 16
        return kind, position + 4, position + 4 + size, position + 8
    start, end = position + 8, position + 8 + size
    if end > len(content):
        raise EOFError("it ends inside an array.")
    return kind, start, end, end + -end % 8


def _matrix(body: memoryview, order: str) -> tuple[str, np.ndarray] | None:
    position, flags, parts = 0, 0, []
    for _ in range(4):  # Flags, dimensions, name, real part.
        kind, start, end, position = _element(body, position, order)
        parts.append((kind, body[start:end]))
        if len(parts) == 1:
            flags = int(np.frombuffer(parts[0][1], f"{order}u4")[0])
            if (flags & 0xFF) not in _CLASSES or flags & 0x0800:  # Text, cells, structures; complex numbers.
                return None
    shape = np.frombuffer(parts[1][1], f"{order}i4")
    name = parts[2][1].tobytes().decode("ascii")
    # Numbers may be stored in a narrower type than the array's own.
    stored = np.frombuffer(parts[3][1], f"{order}{_NUMBERS[parts[3][0]]}")
    return name, stored.astype(_CLASSES[flags & 0xFF], copy=False).reshape(shape, order="F")
