"""Tables of text with delimiters."""

import codecs
import csv
import io
import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import final

from ..results import BadInputError
from ..typing import Any
from ._places import reading
from ._tables import AbstractTable, compute

_BLOCK_BYTES = 1 << 22
_BLOCK_CELL_BYTES = 1 << 10
_HEAD_BYTES = 1 << 18
_HEAD_LINES = 50
# In the order of preference: a comma may also be a decimal comma, and a blank may stand in any cell.
_DELIMITERS = {"\t": "tabs", ";": "semicolons", ",": "commas", "|": "bars", " ": "blanks"}


_UTF_8 = "utf-8-sig"
_ENCODINGS = {
    "utf-16": "text is in UTF-16",
    "cp1252": "text is not in UTF-8 and is read as Latin-1: if letters look wrong, save it again as UTF-8",
}
_PRINTED = frozenset({*b"\t\n\r\f", *range(0x20, 0x7F), *range(0x80, 0x100)})
"""Bytes of text in Latin-1; others are those of files that are no text."""


@final
class TextTable(AbstractTable):
    """Lines of cells with a delimiter; the delimiter, and whether there is a line of names, are found from the first lines.

    A first line without any number is a line of names. Empty lines are passed over. Text is UTF-8; UTF-16 if it begins with its
    mark; and Latin-1, as Windows writes it (code page 1252), if it is none of both.
    """

    def __init__(self, file: Path):
        self.file, self.name = file, str(file)
        with reading(file, "a table of text"):
            self.encoding = _encoding(file)
        self.delimiter = _delimiter(file, self.encoding)
        head = self._lines()
        try:
            first, second = next(head, None), next(head, None)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise _no_text(file, error) from error
        if first is None:
            raise BadInputError(f"Expected lines of cells in {file}, found none: it is empty.")
        self.width = len(first[1])
        self.named = not any(map(_is_number, first[1]))
        # As pandas calls them.
        cells = [cell.strip() or f"Unnamed: {number}" for number, cell in enumerate(first[1])]
        if self.named and second is None:
            raise BadInputError(f"Expected rows in {file}, found only a line of names.")
        self.columns = tuple(cells) if self.named else tuple(str(number + 1) for number in range(self.width))
        twice = sorted(name for name, count in Counter(self.columns).items() if count > 1)
        if twice:
            raise BadInputError(
                f"Expected a different name for every column in the first line of {file}, got {', '.join(twice)} more than "
                f"once: rename one."
            )
        self.decimal_commas = self.delimiter != ","
        if self.encoding != _UTF_8:
            self.about = (_ENCODINGS[self.encoding],)
        if self.delimiter != "," and self.width > 1:
            self.about += (f"cells are parted by {_DELIMITERS[self.delimiter]}",)
        if not self.named:
            self.about += ("the first line holds numbers, so columns have no names and are counted from 1",)

    def batches(self, names: tuple[str, ...]) -> Iterator[list[Any]]:
        import pyarrow as pa
        from pyarrow import csv as reader

        pc = compute()
        own = [str(number) for number in range(self.width)]
        number = {name: place for place, name in enumerate(self.columns)}
        places = [number[name] for name in names]
        # A block must hold a line, and lines of many columns are read faster together.
        size = max(_BLOCK_BYTES, _BLOCK_CELL_BYTES * self.width)
        # Arrow passes over the mark of UTF-8 by itself.
        encoding = "utf8" if self.encoding == _UTF_8 else self.encoding
        options = {
            "read_options": reader.ReadOptions(use_threads=False, column_names=own, block_size=size, encoding=encoding),
            "parse_options": reader.ParseOptions(delimiter=self.delimiter, newlines_in_values=True),
            "convert_options": reader.ConvertOptions(column_types=dict.fromkeys(own, pa.string())),
        }
        skip = int(self.named)
        try:
            for batch in reader.open_csv(self.file, **options):
                filled = _filled(batch.columns)
                batch = batch if filled is None else batch.filter(filled)
                yield [pc.utf8_trim_whitespace(batch.column(place).slice(skip)) for place in places]
                skip = 0
        except (pa.ArrowException, OSError) as error:
            self._check_widths()
            raise _no_text(self.file, error) from error

    def place(self, row: int, column: str) -> str:
        line, _ = next(itertools.islice(self._lines(), row + int(self.named), None))
        return f"line {line}, column {column} of {self.name}"

    def _lines(self) -> Iterator[tuple[int, list[str]]]:
        """Lines that are not empty, with their numbers from 1."""
        with open(self.file, newline="", encoding=self.encoding) as text:
            last, lines = 0, csv.reader(text, delimiter=self.delimiter)
            for cells in lines:
                if any(map(str.strip, cells)):
                    yield last + 1, cells
                last = lines.line_num

    def _check_widths(self) -> None:
        with reading(self.file, "a table of text"):
            for line, cells in self._lines():
                if len(cells) != self.width:
                    raise BadInputError(
                        f"Expected {self.width} columns in every line of {self.file}, as in its first line, got {len(cells)} in "
                        f"line {line}: correct the line, or quote cells that hold the delimiter {self.delimiter!r}."
                    )


def _filled(columns: list[Any]) -> Any:
    """Which lines have any cell that is not empty; `None` where all have."""
    pc, empty = compute(), None
    for cells in columns:
        here = pc.equal(pc.utf8_trim_whitespace(cells), "")
        empty = here if empty is None else pc.and_(empty, here)
        if not pc.any(empty).as_py():
            return None
    return pc.invert(empty)


def _no_text(file: Path, error: Exception) -> BadInputError:
    return BadInputError(
        f"Expected a table of text in UTF-8, but {file} cannot be read ({error}): save it again as UTF-8 (`CSV UTF-8` in a "
        f"spreadsheet)."
    )


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True


def _encoding(file: Path) -> str:
    """How the bytes of a file are text; UTF-8 also where they are none, so that reading them says what is wrong."""
    check, plain = codecs.getincrementaldecoder("utf-8")(), True
    with open(file, "rb") as stream:
        if stream.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return "utf-16"
        stream.seek(0)
        try:
            while block := stream.read(_BLOCK_BYTES):
                check.decode(block)
            check.decode(b"", final=True)
            return _UTF_8
        except UnicodeDecodeError:
            stream.seek(0)
        try:
            while block := stream.read(_BLOCK_BYTES):
                plain = plain and _PRINTED.issuperset(block) and bool(block.decode("cp1252"))
        except UnicodeDecodeError:
            return _UTF_8
    return "cp1252" if plain else _UTF_8


def _delimiter(file: Path, encoding: str) -> str:
    """The delimiter that divides most of the first lines into as many cells as the first."""
    with reading(file, "a table of text"), open(file, "rb") as stream:
        head = stream.read(_HEAD_BYTES)
    lines = head.decode(encoding, "ignore").splitlines(keepends=True)
    # The last line may be cut in the middle.
    whole = len(lines) - (len(head) == _HEAD_BYTES)
    text = "".join(lines[: max(1, min(_HEAD_LINES, whole))])
    best, most = ",", 0.0
    for delimiter in _DELIMITERS:
        with reading(file, "a table of text"):
            rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if any(map(str.strip, row))]
        width = len(rows[0]) if rows else 1
        share = sum(len(row) == width for row in rows) / len(rows) if width > 1 else 0.0
        if share > most and (delimiter != " " or share == 1.0):
            best, most = delimiter, share
    return best
