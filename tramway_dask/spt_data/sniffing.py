"""Where the table of a text file starts, and how its fields are separated: found, not given.

`textlayout` takes the first line for what the user says it is; here, lines before the table are
skipped, the separator is the one by which lines agree, and decimal commas are seen.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import DataError, SpecificationError
from .columns import role_of
from .formats import Head
from .textlayout import NOT_A_NUMBER, Layout, sample_lines, split_line, split_lines

__all__ = ["Sniffed", "sniff_layout"]

_SEPARATORS = ("\t", ";", ",", " ")
_POINT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")
_UNDEFINED = frozenset(NOT_A_NUMBER) | {"inf", "-inf", "Inf", "-Inf"}
# lines that may stand before the table
_PREAMBLE = 50
_FEWEST = 3


@dataclass
class Sniffed:
    """The layout of a text file, with its first rows.

    Attributes
    ----------
    layout : Layout
    rows : list of list of str
        Fields of the rows of data in the sample.
    empty : bool
        There is a header and no row.
    skipped : int
        Number of lines before the table that hold something.
    """

    layout: Layout
    rows: list[list[str]]
    empty: bool = False
    skipped: int = 0

    def column(self, at: int) -> np.ndarray:
        """Return the numbers of a column of the sample, (k,); NaN where there are none."""
        decimal = self.layout.decimal
        with contextlib.suppress(ValueError, IndexError):  # so it is mostly, and the fastest
            return np.array([row[at] for row in self.rows], dtype=float)
        out = np.full(len(self.rows), np.nan)
        for i, row in enumerate(self.rows):
            text = row[at].strip() if at < len(row) else ""
            if decimal == "," and _COMMA.fullmatch(text):
                text = text.replace(",", ".")
            if _POINT.fullmatch(text):
                out[i] = float(text)
        return out


@dataclass
class _Table:
    """A candidate: lines from `begin` on are rows of `width` fields."""

    sep: str
    names: list[str] | None
    begin: int
    width: int
    units: list[str] | None = None


def sniff_layout(
    head: Head,
    *,
    header: bool | None = None,
    sep: str | None = None,
    decimal: str | None = None,
    most: int | None = None,
) -> Sniffed | None:
    """Look for a table of numbers in the first lines of a text file.

    Parameters
    ----------
    head : Head
    header, sep, decimal : optional
        As given by the user; default: found.
    most : int, optional
        How many rows are looked at; default: all in the sample.

    Returns
    -------
    Sniffed or None
        None if this is no such file.
    """
    if sep is not None and len(sep) != 1 and sep != r"\s+":
        raise SpecificationError(f"sep: expected one character, or ' ' for runs of blanks, got {sep!r}")
    if decimal not in (None, ".", ",") or (decimal is not None and decimal == sep):
        raise SpecificationError(f"decimal: expected '.' or ',' and not the separator, got {decimal!r}")
    try:
        lines, encoding = sample_lines(head)
    except DataError:
        return None
    if most is not None:
        lines = lines[: most + _PREAMBLE]
    filled = [i for i, line in enumerate(lines) if line.strip()]
    separators = [sep if sep != r"\s+" else " "] if sep is not None else list(_SEPARATORS)
    found = None if header is False else _named(lines, filled, separators, head.complete)
    found = found or _numeric(lines, filled, separators, header)
    if found is None and header is not False:
        found = _unnamed(lines, filled, separators)
    if found is None:
        return None
    blanks = found.sep == " "
    body = lines[found.begin :]
    rows = split_lines(body, found.sep, blanks)
    layout = Layout(
        head.path,
        encoding,
        found.sep,
        blanks,
        decimal or _decimal(found, rows),
        found.names,
        found.units,
        found.width,
        found.begin + 1,
        body,
    )
    before = found.begin - (0 if found.names is None else 4 if found.units else 1)
    return Sniffed(layout, rows, not rows and head.complete, sum(i < before for i in filled))


def _named(lines: list[str], filled: list[int], separators: Sequence[str], complete: bool) -> _Table | None:
    """Find a line that names x and y, with rows of as many fields below it."""
    for k, i in enumerate(filled[:_PREAMBLE]):
        line = lines[i].lstrip("# ") if lines[i].startswith("#") else lines[i]
        for sep in separators:
            if sep != " " and sep not in line:
                continue
            names = [name.strip() for name in split_line(line, sep, sep == " ")]
            if not {"x", "y"} <= {role_of(name) for name in names}:
                continue
            below = filled[k + 1 :]
            if not below:
                return _Table(sep, names, len(lines), len(names)) if complete else None
            if len(below) >= 3 and sep != " " and lines[below[2]].startswith(sep * 3):
                fields = split_line(lines[below[2]], sep, False)
                if len(fields) == len(names):
                    units = [u.strip().strip("()").lower() for u in fields]
                    return _Table(sep, names, below[2] + 1, len(names), units)
            width = len(split_line(lines[below[0]], sep, sep == " "))
            if width == len(names) + 1:
                # row names written without a name of their own, as R does
                return _Table(sep, ["", *names], below[0], width)
            if width == len(names) and _has_numbers(split_line(lines[below[0]], sep, sep == " ")):
                return _Table(sep, names, below[0], width)
    return None


def _numeric(
    lines: list[str], filled: list[int], separators: Sequence[str], header: bool | None
) -> _Table | None:
    """Find the first line of numbers alone, with lines alike below it."""
    for k, i in enumerate(filled[:_PREAMBLE]):
        for sep in separators:
            if sep != " " and sep not in lines[i]:
                continue
            width = _numbers(lines[i], sep)
            if width < _FEWEST or any(_numbers(lines[j], sep) != width for j in filled[k + 1 : k + 6]):
                continue
            above = split_line(lines[filled[k - 1]].lstrip("#"), sep, sep == " ") if k else []
            names = None
            if len(above) == width and any(map(_is_number, above)) and header is None:
                return None  # rows before this one hold text as well
            if header is True:
                above, i = split_line(lines[i], sep, sep == " "), filled[k + 1] if k + 1 < len(filled) else i
            if (header is True or len(above) == width) and header is not False:
                names = [name.strip() for name in above]
            return _Table(sep, names, i, width)
    return None


def _unnamed(lines: list[str], filled: list[int], separators: Sequence[str]) -> _Table | None:
    """Find a header of unknown names over rows that hold text as well as numbers."""
    for k, i in enumerate(filled[:_PREAMBLE]):
        below = filled[k + 1 : k + 6]
        for sep in separators:
            names = split_line(lines[i], sep, sep == " ")
            rows = [split_line(lines[j], sep, sep == " ") for j in below]
            if (
                sep != " "
                and len(names) >= _FEWEST
                and rows
                and not any(_is_number(name) for name in names)
                and all(len(row) == len(names) and _has_numbers(row) for row in rows)
            ):
                return _Table(sep, [name.strip() for name in names], below[0], len(names))
    return None


def _is_number(text: str) -> bool:
    text = text.strip()
    return bool(_POINT.fullmatch(text) or _COMMA.fullmatch(text))


def _has_numbers(fields: Sequence[str]) -> bool:
    return sum(map(_is_number, fields)) >= 2


def _numbers(line: str, sep: str) -> int:
    """Return the number of fields of a line if all are numbers, else 0."""
    fields = [field.strip() for field in split_line(line, sep, sep == " ")]
    if sep == "\t" and (line != line.strip() or " " in line or "\t\t" in line):
        return 0  # any run of blanks separates
    if sep == "," and any(_COMMA.fullmatch(field) for field in fields):
        return 0
    good = all(_is_number(field) or field in _UNDEFINED for field in fields)
    return len(fields) if good and sum(map(_is_number, fields)) >= 2 else 0


def _decimal(found: _Table, rows: list[list[str]]) -> str:
    if found.sep == ",":
        return "."
    names = found.names
    places = [i for i, name in enumerate(names) if role_of(name) in ("x", "y", "z")] if names else None
    fields = [row[i] for row in rows[:200] for i in (places or range(len(row))) if i < len(row)]
    with_comma = any(_COMMA.fullmatch(field.strip()) for field in fields)
    return "," if with_comma and not any("." in field for field in fields) else "."
