"""Values that differ from file to file: one number, a mapping by name, or a function of the path."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath

from ..component import non_negative, positive
from ..errors import SpecificationError, suggest

__all__ = ["PerFile", "resolve_per_file"]

PerFile = float | Mapping[str, float] | Callable[[str], float | None] | None


def resolve_per_file(
    name: str, value: PerFile, paths: Sequence[str], complete: bool = True
) -> dict[str, float]:
    """Return the value for each path that has one.

    Parameters
    ----------
    name : str
        Of the parameter, for messages.
    value : float, mapping or callable
        A mapping is by file name, stem, path, or pattern of file names; an exact name goes before a
        pattern. A function may return None.
    paths : sequence of str
    complete : bool
        Whether these are all files, so that each name must be that of one.

    Raises
    ------
    SpecificationError
        If a value is no number above 0, a name in the mapping is that of no file, or two patterns with
        different values match one file.
    """
    if value is None:
        return {}
    check = non_negative if name == "localization_precision" else positive
    if isinstance(value, Mapping):
        chosen = _by_name(name, value, paths, complete)
    elif callable(value):
        chosen = {path: found for path in paths if (found := value(path)) is not None}
    else:
        chosen = dict.fromkeys(paths, value)
    return {path: check(name, found) for path, found in chosen.items()}


def _by_name(name: str, value: Mapping[str, float], paths: Sequence[str], complete: bool) -> dict[str, float]:
    exact: dict[str, float] = {}
    alike: dict[str, float] = {}
    for key, number in value.items():
        key = str(key)
        found = [p for p in paths if key in (p, PurePath(p).name, PurePath(p).stem)]
        matched = [] if found else [p for p in paths if fnmatch.fnmatchcase(PurePath(p).name, key)]
        if complete and not found and not matched:
            raise SpecificationError(
                f"{name}: {key!r} is the name of no file; {suggest(key, (PurePath(p).name for p in paths[:20]))}"
            )
        exact.update(dict.fromkeys(found, number))
        for path in matched:
            if alike.setdefault(path, number) != number:
                raise SpecificationError(
                    f"{name}: {PurePath(path).name} matches several patterns, for {alike[path]:g} and {number:g}"
                )
    return {**alike, **exact}
