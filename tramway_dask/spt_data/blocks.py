"""Text files larger than memory, read in blocks of whole trajectories.

A block is a range of bytes of the file. It holds the trajectories whose first line begins in it:
reading starts at the first change of trajectory in the range, and goes on past its end to the next
change. Blocks can thus be read by different processes, without knowing of each other.
"""

from __future__ import annotations

import functools
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd

from ..errors import DataError, SpecificationError
from .ascii import read_ascii, trajectory_column
from .text import open_text
from .textlayout import Layout, split_line

__all__ = ["block_size", "read_block", "runs_of", "shared_trajectory", "text_blocks"]

Parse = Callable[[Path], pd.DataFrame]

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}


def block_size(name: str, value: Any) -> int | None:
    """Accept None, a number of bytes, or a text such as '64 MB'."""
    if value is None:
        return None
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([kMG]?)i?B?\s*", str(value))
    size = float(found[1]) * _UNITS[found[2]] if found and not isinstance(value, bool) else 0
    if size < 1:
        raise SpecificationError(
            f"{name}: expected a number of bytes such as 64_000_000 or '64 MB', got {value!r}"
        )
    return int(size)


def text_blocks(path: str, size: int) -> list[tuple[int, int]]:
    """Return the ranges of bytes, of about `size` each, that a file is read in."""
    try:
        total = os.path.getsize(path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    number = max(1, -(-total // size))
    bounds = np.linspace(0, total, number + 1).astype(int).tolist()
    return list(zip(bounds[:-1], bounds[1:], strict=True))


@dataclass
class _Lines:
    """Lines of a file from an offset, with the text that names their trajectory."""

    file: BinaryIO
    encoding: str
    sep: str
    blanks: bool
    column: int

    def __iter__(self) -> Iterator[tuple[int, bytes, str]]:
        while True:
            at, line = self.file.tell(), self.file.readline()
            if not line:
                return
            if line.strip():
                yield at, line, self._name(line)

    def _name(self, line: bytes) -> str:
        fields = split_line(line.decode(self.encoding, errors="replace"), self.sep, self.blanks)
        text = fields[self.column].strip() if self.column < len(fields) else ""
        try:
            return str(float(text))
        except ValueError:
            return text


def read_block(path: str, block: tuple[int, int], *, reader: str = "ascii", **options: Any) -> pd.DataFrame:
    """Read the trajectories that begin in a range of bytes.

    Parameters
    ----------
    path : str
    block : (int, int)
        See `text_blocks`.
    reader : {'ascii', 'text'}
        Whether the user's word is taken for what the columns are, or the file is recognised.
    **options
        Those of `read_ascii`, or of `read_text`.

    Returns
    -------
    DataFrame
        As of the reader; without rows if no trajectory begins there.

    Raises
    ------
    DataError
        If the encoding does not let lines be found in bytes, or as `read_ascii` does.
    """
    layout, column, parse = _opened(path, reader, options)
    if layout.encoding.startswith("utf-16"):
        raise DataError(f"{path}: a file in UTF-16 cannot be read in blocks; convert it to UTF-8")
    with open(path, "rb") as file:
        head = b"".join(file.readline() for _ in range(layout.first_line - 1))
        lines = _Lines(file, layout.encoding, layout.sep, layout.blanks, column)
        begin = _first_change(file, max(block[0], len(head)), len(head), lines)
        end = _first_change(file, max(block[1], len(head)), len(head), lines)
        file.seek(begin)
        body = file.read(end - begin)
    if not body.strip():
        with open(path, "rb") as file:
            body = b"".join(file.readline() for _ in range(layout.first_line))[len(head) :]
            return _parsed(path, head + body, parse).iloc[:0]
    return _parsed(path, head + body, parse)


def _opened(path: str, reader: str, options: dict[str, Any]) -> tuple[Layout, int, Parse]:
    """Return how a file is laid out, which column names trajectories, and what reads a part of it."""
    if reader == "ascii":
        layout, column = trajectory_column(path, **options)
        return layout, column, functools.partial(read_ascii, **options)
    reading = open_text(path, **options)
    layout = reading.known.sniffed.layout
    if "n" not in reading.known.choice.position:
        raise DataError(
            f"{path}: the file is one trajectory, which cannot be cut in blocks; set blocksize = None"
        )
    # a part is understood as the whole is
    return (
        layout,
        reading.known.choice.position["n"],
        lambda part: reading.table(replace(layout, path=part)),
    )


def _parsed(path: str, text: bytes, parse: Parse) -> pd.DataFrame:
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / Path(path).name
        part.write_bytes(text)
        try:
            return parse(part)
        except DataError as error:
            raise DataError(str(error).replace(str(part), f"{path} (lines counted within a block)")) from None


def _first_change(file: BinaryIO, offset: int, first: int, lines: _Lines) -> int:
    """Return where the first trajectory that begins at an offset or behind it begins."""
    if offset <= first:
        return first
    # the line that holds the byte before the offset tells which trajectory goes on
    back = _start_of_line(file, offset - 1, first)
    file.seek(back)
    known: str | None = None
    for at, _, name in lines:
        if at < offset or known is None:
            known = name
        elif name != known:
            return at
    return file.seek(0, os.SEEK_END)


def _start_of_line(file: BinaryIO, offset: int, first: int, step: int = 4096) -> int:
    """Return the start of the last line with anything in it that begins at an offset or before it."""
    low = offset
    while True:
        low = max(first, low - step)
        file.seek(low)
        chunk = file.read(offset - low + 1)
        starts = [low] if low == first else []
        starts += [low + m.end() for m in re.finditer(rb"\r\n?|\n", chunk) if low + m.end() <= offset]
        filled = [s for s in starts if chunk[s - low :].split(b"\n", 1)[0].strip()]
        if filled:
            return filled[-1]
        if low == first:
            return first
        step *= 2


def runs_of(table: pd.DataFrame) -> np.ndarray:
    """Return the trajectories of a table as runs of successive numbers, ndarray (r, 2): first, last."""
    numbers = np.unique(table["n"].to_numpy())
    breaks = np.flatnonzero(np.diff(numbers) != 1)
    return (
        np.column_stack([numbers[np.r_[0, breaks + 1]], numbers[np.r_[breaks, len(numbers) - 1]]])
        if len(numbers)
        else np.empty((0, 2), dtype=np.int64)
    )


def shared_trajectory(a: np.ndarray, b: np.ndarray) -> int | None:
    """Return a trajectory that is in the runs of two blocks, or None."""
    runs = np.concatenate([a, b])
    runs = runs[np.argsort(runs[:, 0], kind="stable")]
    again = np.flatnonzero(runs[1:, 0] <= np.maximum.accumulate(runs[:, 1])[:-1])
    return int(runs[again[0] + 1, 0]) if len(again) else None
