"""XML files, read as a stream of elements, with care.

No tree is built, and no document type is accepted: so no entity can be defined, expanded or
fetched from elsewhere.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.parsers import expat

from ..errors import DataError

__all__ = ["Element", "first_element", "stream_elements"]

# name, and attributes
Element = tuple[str, dict[str, str]]

_CHUNK = 1 << 18


class _Enough(Exception):  # noqa: N818
    """Ends parsing."""


def _refuse(*_: Any) -> Any:
    raise DataError("it declares a document type or an entity, which trajectory files have no use for")


def _parser(start: Callable[[str, dict[str, str]], None], end: Callable[[str], None] | None) -> Any:
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    parser.ExternalEntityRefHandler = _refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    return parser


def stream_elements(
    path: Path,
    start: Callable[[str, dict[str, str]], None],
    end: Callable[[str], None] | None = None,
) -> None:
    """Call a function for every element of a file, in order.

    Parameters
    ----------
    path : Path
    start : callable
        Called with the name and the attributes of an element; an attribute that it misses
        (KeyError) and a value that it cannot convert (ValueError) are reported with their line.
    end : callable, optional
        Called with the name at the end of an element.

    Raises
    ------
    DataError
        If the file cannot be read, is not well-formed, or declares a document type.
    """
    parser = _parser(start, end)
    try:
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK):
                parser.Parse(chunk, False)
            parser.Parse(b"", True)
    except OSError as error:
        raise DataError(f"cannot read the file: {error.strerror or error}") from error
    except expat.ExpatError as error:
        raise DataError(f"not a complete XML file; it is truncated or corrupt ({error})") from error
    except KeyError as error:
        raise DataError(f"line {parser.CurrentLineNumber}: an element has no {error}") from error
    except (ValueError, OverflowError, LookupError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"line {parser.CurrentLineNumber}: {error}") from error


def first_element(data: bytes, *names: str) -> Element | None:
    """Return the first element of some names in the beginning of a file, if it is there.

    Parameters
    ----------
    data : bytes
        The beginning of a file, of whatever kind.
    names : str
        Names to look for; none: the first element.
    """
    found: list[Element] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        if not names or name in names:
            found.append((name, attributes))
            raise _Enough

    with contextlib.suppress(_Enough, DataError, expat.ExpatError, ValueError, LookupError):
        _parser(start, None).Parse(data, False)
    return found[0] if found else None
