"""Files that are never seen half-written: whole files are replaced in one step, lines are appended in one write."""

import contextlib
import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, final


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends without an exception.

    The content is flushed to the disk before the name changes, so that a crash at any moment leaves either the old file
    or the new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        # mkstemp makes files private; a record is as readable as the user's other files.
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file in one step."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write a text file in one step."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file in one step, indented for reading."""
    write_text(path, json.dumps(plain(content), indent=2, ensure_ascii=False) + "\n")


def plain(value: Any) -> Any:
    """`value` with arrays and NumPy numbers turned into Python's, tuples into lists, paths and enums into text, functions into names.

    Numbers that are not finite become None, because JSON has no way to write them.
    """
    if isinstance(value, bool | None):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    # The text of a function holds its address, which differs in every process.
    return str(getattr(value, "__name__", value))


def sync_folder(folder: Path) -> None:
    """Flush a folder's names to the disk, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@final
class JsonLines:
    """An append-only file of JSON lines that a killed process can continue.

    A line that was cut off is removed when the file is opened. A line whose identity is in the file already is ignored:
    after a resume, deterministic code writes some lines a second time, with the same content.

    Args:
        path: the file; made at the first line.
        identity: the fields that tell lines apart.
    """

    def __init__(self, path: Path, identity: tuple[str, ...]):
        self._path = path
        self._identity = identity
        self._seen: set[tuple[Any, ...]] = set()
        if path.exists():
            content = path.read_bytes()
            whole = content[: content.rfind(b"\n") + 1]
            if whole != content:
                write_bytes(path, whole)
            for line in whole.splitlines():
                self._seen.add(self._identify(json.loads(line)))

    def append(self, line: Mapping[str, Any]) -> None:
        """Append one line unless one of the same identity is there."""
        clean = plain(line)
        identity = self._identify(clean)
        if identity in self._seen:
            return
        encoded = (json.dumps(clean, ensure_ascii=False) + "\n").encode()
        # One write on an O_APPEND descriptor: what a kill or a full disk cuts off, opening repairs.
        handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            written = os.write(handle, encoded)
            if written != len(encoded):
                raise OSError(28, "No space left on device", str(self._path))
        finally:
            os.close(handle)
        self._seen.add(identity)

    def _identify(self, line: Mapping[str, Any]) -> tuple[Any, ...]:
        rest = tuple(sorted(name for name in line if name not in self._identity))
        return (*(line.get(name) for name in self._identity), rest)


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a JSON lines file; a last line that was cut off is left out."""
    if not path.exists():
        return []
    content = path.read_bytes()
    return [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
