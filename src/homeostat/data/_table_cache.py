"""Conversions of tables to arrays: kept for files, in memory for data frames."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ._open_table import ArrowStream, open_any_table
from ._places import Message, kept_conversion, reading, say, written_whole
from ._tables import AbstractTable

About = dict[str, Any]
"""What is known of a converted table, as JSON has it; `lines` are sentences for the user."""


def converted(
    source: Path | ArrowStream,
    mark: str,
    place: Path,
    message: Message | None,
    convert: Callable[[AbstractTable, Path], About],
) -> tuple[np.ndarray, About]:
    """The array (.npy) into which a table is converted, memory-mapped if it is that of a file, and what is known of it.

    Args:
        mark: what the conversion depends on beside the file.
        place: where it is kept.
        convert: writes the array for a table.
    """
    if not isinstance(source, Path):
        with tempfile.TemporaryDirectory() as folder:
            part = Path(folder) / "table.npy"
            about = convert(open_any_table(source), part)
            array = np.load(part, allow_pickle=False)
    else:
        kept = kept_conversion(source, mark, place, ".table.npy")
        index = kept.with_suffix(".json")
        if not (kept.is_file() and index.is_file()):
            table = open_any_table(source)
            say(message, f"Converting {source} once; the result is kept as {kept}.")
            with written_whole(kept) as part:
                about = convert(table, part)
            with written_whole(index) as part:
                part.write_text(json.dumps(about), encoding="utf-8")
        with reading(kept, "a table converted earlier"):
            about = json.loads(index.read_text(encoding="utf-8"))
            array = np.load(kept, mmap_mode="r", allow_pickle=False)
    for line in about["lines"]:
        say(message, line)
    return array, about
