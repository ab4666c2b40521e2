"""Layout of MATLAB files of versions 5 to 7, checked before SciPy reads them.

SciPy trusts the type codes of data elements: a wrong one stops the interpreter.
"""

from __future__ import annotations

import math
import struct
import zlib

from ..errors import DataError

__all__ = ["check_layout"]

_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = frozenset({1, 2, 3, 4, 5, 6, 7, 9, 12, 13})
_TEXT = frozenset({1, 2, 3, 4, 5, 6, 7, 16, 17, 18})
_KNOWN = _NUMBERS | _TEXT | {_MATRIX}
_DEEPEST = 50
# classes of arrays; 6 to 15 are numbers
_CELL, _STRUCT, _OBJECT, _CHAR, _SPARSE, _LAST_NUMERIC = 1, 2, 3, 4, 5, 15
_COMPLEX = 0x800


def check_layout(content: bytes) -> None:
    """Check that data elements tile a file and are of known types.

    Parameters
    ----------
    content : bytes
        The whole file. Version 4 has another layout, and is not looked at.

    Raises
    ------
    DataError
        If the file is truncated or corrupt.
    """
    if 0 in content[:4]:
        return
    if len(content) < 128 or content[126:128] not in (b"IM", b"MI"):
        raise DataError("not a MATLAB file: its header is not that of any version")
    order = "<" if content[126:128] == b"IM" else ">"
    try:
        for kind, start, end in _elements(content, 128, len(content), order):
            if kind != _COMPRESSED:
                _check_variable(kind, content, start, end, order)
                continue
            inner = zlib.decompress(content[start:end])
            for kind_inside, first, last in _elements(inner, 0, len(inner), order):
                _check_variable(kind_inside, inner, first, last, order)
    except (struct.error, zlib.error, MemoryError) as error:
        raise DataError(f"not a complete MATLAB file; it is truncated or corrupt ({error})") from error


def _elements(content: bytes, start: int, end: int, order: str) -> list[tuple[int, int, int]]:
    """Return type, start and end of the data of each element between two places."""
    found = []
    while start < end:
        kind, size = struct.unpack_from(f"{order}II", content, start)
        first = start + 8
        if kind >> 16:  # four bytes of data or less, within the tag
            kind, size, first = kind & 0xFFFF, kind >> 16, start + 4
            if size > 4:
                raise _corrupt(start)
            start += 8
        else:
            start = first + size
            if kind != _COMPRESSED:
                start += -size % 8
        if first + size > end:
            raise _corrupt(first)
        found.append((kind, first, first + size))
    return found


def _check_variable(kind: int, content: bytes, start: int, end: int, order: str) -> None:
    if kind != _MATRIX:
        raise _corrupt(start)
    _check_matrix(content, start, end, order, 0)


def _check_matrix(content: bytes, start: int, end: int, order: str, depth: int) -> None:
    if start == end:
        return
    parts = _elements(content, start, end, order)
    flags, first, last = parts[0]
    if depth > _DEEPEST or flags != 6 or last - first != 8:
        raise _corrupt(start)
    word = struct.unpack_from(f"{order}I", content, first)[0]
    array_class, is_complex = word & 0xFF, bool(word & _COMPLEX)
    allowed = _KNOWN
    if _CHAR <= array_class <= _LAST_NUMERIC:
        allowed = _TEXT if array_class == _CHAR else _NUMBERS
        # flags, size and name, then the values; a sparse array has two parts of indices before them
        if len(parts) != 4 + 2 * (array_class == _SPARSE) + is_complex:
            raise _corrupt(start)
    if any(kind not in (_KNOWN if i < 3 else allowed) for i, (kind, _, _) in enumerate(parts)):
        raise _corrupt(start)
    if array_class <= _LAST_NUMERIC:
        _check_size(content, parts[1:2], order, array_class, end - start)
    for kind, first, last in parts[1:]:
        if kind == _MATRIX:
            _check_matrix(content, first, last, order, depth + 1)


def _check_size(
    content: bytes, part: list[tuple[int, int, int]], order: str, array_class: int, room: int
) -> None:
    if not part:
        raise DataError("not a complete MATLAB file; an array has no size")
    kind, first, last = part[0]
    dimensions = (last - first) // 4
    if kind not in (5, 6) or not 2 <= dimensions <= 32 or (last - first) % 4:
        raise _corrupt(first)
    sizes = struct.unpack_from(f"{order}{dimensions}i", content, first)
    least = 8 if array_class in (_CELL, _STRUCT, _OBJECT) else 1
    if min(sizes) < 0 or (array_class != _SPARSE and math.prod(sizes) * least > room):
        raise _corrupt(first)


def _corrupt(at: int) -> DataError:
    return DataError(f"not a complete MATLAB file; it is truncated, or corrupt near byte {at}")
