"""How a text file is laid out: encoding, separator, header, first line of data."""

from __future__ import annotations

import codecs
import csv
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import DataError, SpecificationError
from .formats import Head, look

__all__ = ["NOT_A_NUMBER", "Layout", "find_layout", "sample_lines", "split_line", "split_lines"]

NOT_A_NUMBER = ["", "nan", "NaN", "NAN", "-nan", "NA", "N/A", "null", "NULL", "None", "none"]


@dataclass
class Layout:
    """What is known of a text file before it is parsed.

    Attributes
    ----------
    path : Path
    encoding : str
    sep : str
        Separator; a space if `blanks`.
    blanks : bool
        Columns are separated by any run of blanks.
    decimal : str
    names, units : list of str or None
        From the header, if there is one; units only if they have a line of their own.
    width : int
        Number of columns.
    first_line : int
        Number of the first line of data, from 1.
    sample : sequence of str
        The first lines of data, that is, those of them that were looked at.
    """

    path: Path
    encoding: str
    sep: str
    blanks: bool
    decimal: str
    names: list[str] | None
    units: list[str] | None
    width: int
    first_line: int
    sample: Sequence[str] = field(default=(), repr=False)

    def lines(self) -> Iterator[tuple[int, str]]:
        """Yield the number (from 1) and text of the lines of data that are not empty."""
        with open(self.path, encoding=self.encoding, errors="replace", newline=None) as file:
            for number, line in enumerate(file, 1):
                if number >= self.first_line and line.strip():
                    yield number, line.rstrip("\n")

    def line_of(self, row: int) -> int:
        """Return the number, from 1, of the line that holds a row of data."""
        for k, (number, _) in enumerate(self.lines()):
            if k == row:
                return number
        return 0

    def preview(self, count: int = 3) -> str:
        """Return the first lines of data, for messages."""
        shown = [line for line in self.sample if line.strip()][:count]
        return "\n".join(f"  {line[:100]}" for line in shown)

    def diagnose(self, columns: Mapping[str, int]) -> None:
        """Raise `DataError` for the first line that is not what it should be.

        Parameters
        ----------
        columns : mapping
            Name to position of the columns that must hold numbers; ``n`` may be undefined.
        """
        for number, line in self.lines():
            fields = split_line(line, self.sep, self.blanks)
            if len(fields) != self.width:
                raise DataError(
                    f"line {number}: {len(fields)} columns where {self.width} are expected: {line[:100]!r}"
                )
            for name, at in columns.items():
                text = fields[at].strip()
                try:
                    value = math.nan if text in NOT_A_NUMBER else float(text.replace(self.decimal, "."))
                except ValueError:
                    hint = "; for decimal commas give decimal=','" if "," in text else ""
                    raise DataError(
                        f"line {number}: {text!r} where a number is expected (column {name!r}){hint}"
                    ) from None
                if not math.isfinite(value) and name != "n":
                    raise DataError(
                        f"line {number}: {name!r} is {text!r}; drop or correct such lines, "
                        "coordinates must be finite numbers"
                    )


def find_layout(file: Path | Head, *, header: bool | None, sep: str | None, decimal: str) -> Layout:
    """Look at the first lines of a text file.

    Raises
    ------
    DataError
        If there is no such readable text file, or nothing in it.
    SpecificationError
        If `sep` or `decimal` is not usable.
    """
    if decimal not in (".", ",") or decimal == sep:
        raise SpecificationError(f"decimal: expected '.' or ',' and not the separator, got {decimal!r}")
    head = file if isinstance(file, Head) else look(file)
    path = head.path
    lines, encoding = sample_lines(head)
    start = next((i for i, line in enumerate(lines) if line.strip()), None)
    if start is None:
        raise DataError(f"{path}: the file is empty")
    start = _skip_comments(lines, start)
    has_header = header is True or _is_header(lines[start])
    below = (i for i in range(start + 1, len(lines)) if lines[i].strip())
    after = list(itertools.islice(below, 3)) if has_header else [start]
    first_data = lines[after[0]] if after else ""
    sep, blanks = _separator(lines[start] if has_header else None, first_data, sep, decimal)
    names: list[str] | None = None
    units = None
    begin = after[0] if after else len(lines)
    if has_header:
        names = [name.strip() for name in split_line(lines[start].lstrip("#"), sep, blanks)]
        if not blanks and len(after) >= 3 and lines[after[2]].startswith(sep * 3):
            units = [u.strip().strip("()").lower() for u in split_line(lines[after[2]], sep, blanks)]
            begin = after[2] + 1
    if not any(line.strip() for line in lines[begin:]) and head.complete:
        what = f"a header ({', '.join(map(repr, names or []))[:200]}) and no rows of data"
        raise DataError(f"{path}: the file has {what}")
    width = len(split_line(lines[begin], sep, blanks)) if begin < len(lines) else len(names or [])
    if names is not None and len(names) != width:
        names = _align(path, names, width)
    if header is False:
        names = units = None
    return Layout(path, encoding, sep, blanks, decimal, names, units, width, begin + 1, lines[begin:])


def split_line(line: str, sep: str, blanks: bool) -> list[str]:
    """Split a line into its fields, minding quotes."""
    if blanks:
        return [field.strip('"') for field in line.split()]
    return next(csv.reader([line.rstrip("\r\n")], delimiter=sep, skipinitialspace=True), [])


def split_lines(lines: Sequence[str], sep: str, blanks: bool) -> list[list[str]]:
    """Split lines into their fields, minding quotes; lines without any are left out."""
    filled = [line for line in lines if line.strip()]
    if blanks:
        return [line.replace('"', "").split() for line in filled]
    if not any('"' in line for line in filled):
        return [line.split(sep) for line in filled]
    return [split_line(line, sep, False) for line in filled]


def _align(path: Path, names: list[str], width: int) -> list[str]:
    if len(names) == width - 1:
        # row names written without a name of their own, as R does
        return ["", *names]
    raise DataError(
        f"{path}: the header has {len(names)} names and the first row of data {width} columns; "
        "if the separator is wrong, give sep="
    )


def sample_lines(head: Head) -> tuple[list[str], str]:
    """Return the complete lines at the beginning of a text file, and its encoding.

    Raises
    ------
    DataError
        If the file is no text, or XML.
    """
    raw = head.data
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    elif raw[:3] == b"\xef\xbb\xbf":
        encoding = "utf-8-sig"
    elif b"\0" in raw:
        raise DataError(
            f"{head.path}: expected a text file, this is binary (.mat, .rwa have their own readers)"
        )
    else:
        encoding = "utf-8" if _is_utf8(raw) else "latin-1"
    text = raw.decode(encoding, errors="ignore")
    if text.lstrip().startswith("<"):
        raise DataError(f"{head.path}: expected a table as text, this looks like XML; export it as csv")
    # as files are read; other breaks may stand in a field
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if not head.complete and len(lines) > 1 or not lines[-1]:
        lines.pop()
    return lines, encoding


def _is_utf8(sample: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        return False
    return True


def _is_header(line: str) -> bool:
    words = re.sub(r"(?i)\b(nan|inf|infinity|none|null|na)\b", "", line)
    return any((c.isalpha() and c not in "eE") or c == "_" for c in words)


def _skip_comments(lines: list[str], start: int) -> int:
    """Return the line where the table starts: the last comment may be its header."""
    while lines[start].startswith("#"):
        following = next((i for i in range(start + 1, len(lines)) if lines[i].strip()), None)
        if following is None:
            return start
        if not lines[following].startswith("#"):
            count = [len(re.split(r"[\s,;]+", lines[i].strip("# \t\r\n"))) for i in (start, following)]
            alike = count[0] == count[1] and not _is_header(lines[following])
            return start if alike else following
        start = following
    return start


def _separator(header: str | None, data: str, sep: str | None, decimal: str) -> tuple[str, bool]:
    if sep is not None:
        if sep in (" ", r"\s+"):
            return " ", True
        if len(sep) != 1:
            raise SpecificationError(f"sep: expected one character, or ' ' for runs of blanks, got {sep!r}")
        return sep, False
    for candidate in (";", ",", "\t"):
        if candidate == decimal:
            continue
        if (header is None or candidate in header) and (candidate in data or not data):
            loose = candidate == "\t" and header is None
            if loose and (data != data.strip() or " " in data or "\t\t" in data):
                return " ", True
            return candidate, False
    return " ", header is not None or "  " in data or data != data.strip() or "\t" in data or " " not in data
