"""Boxes in space and time, and the files and tables that list them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..errors import RegionError
from ..spt_data import filters
from ..spt_data.tables import SPACE, space_columns
from ..spt_data.textnumbers import EXACT

if TYPE_CHECKING:
    from ..spt_data.files import Place

__all__ = ["Box", "boxes_from", "boxes_from_squares", "read_boxes", "roi_file", "roi_files", "short_label"]

JOINERS = ("", "-", "_")


@dataclass(frozen=True)
class Box:
    """A closed box: space, then time if it is bounded in time.

    Parameters
    ----------
    lower, upper : tuple of float
        Bounds (µm, s).
    timed : bool or None
        Whether the last coordinate is time; None if only the data can tell.
    """

    lower: tuple[float, ...]
    upper: tuple[float, ...]
    timed: bool | None = None

    def __post_init__(self) -> None:
        if len(self.lower) != len(self.upper) or len(self.lower) < 2:
            raise RegionError(
                f"a region needs as many lower as upper bounds, at least x and y; got {self.lower}, {self.upper}"
            )
        if not np.all(np.isfinite([*self.lower, *self.upper])):
            raise RegionError(f"a region has a bound that is not a finite number: {self.lower}, {self.upper}")
        if any(low >= up for low, up in zip(self.lower, self.upper, strict=True)):
            raise RegionError(
                f"a region has a lower bound that is not below its upper one: {self.lower}, {self.upper}"
            )

    def split(self, dimension: int, where: str) -> tuple[np.ndarray, np.ndarray, float | None, float | None]:
        """Return lower and upper bounds in space, and first and last time (None if unbounded)."""
        size = len(self.lower)
        timed = size == dimension + 1 if self.timed is None else self.timed
        if size - timed != dimension:
            raise RegionError(
                f"region {where}: {size - timed} space coordinates, but the data have {dimension} dimensions"
            )
        lower, upper = np.array(self.lower[:dimension]), np.array(self.upper[:dimension])
        return (lower, upper, self.lower[-1], self.upper[-1]) if timed else (lower, upper, None, None)

    def crop(self, table: pd.DataFrame, where: str) -> pd.DataFrame:
        """Return the translocations that start in the box (and end before it ends in time)."""
        lower, upper, start, stop = self.split(len(space_columns(table)), where)
        return filters.crop(table, lower, upper, start, stop)

    def contains(self, table: pd.DataFrame, where: str) -> np.ndarray:
        """Tell which translocations start in the box (and end before it ends in time)."""
        return filters.inside(table, *self.split(len(space_columns(table)), where))


def boxes_from(boxes: Any) -> tuple[Box, ...]:
    """Return boxes given as a table of bounds or as pairs of vectors."""
    if isinstance(boxes, pd.DataFrame):
        return _boxes_from_table(boxes, "the table of bounding boxes")
    try:
        pairs = [
            (tuple(map(float, np.ravel(lower))), tuple(map(float, np.ravel(upper)))) for lower, upper in boxes
        ]
    except (TypeError, ValueError):
        raise RegionError(
            "bounding boxes: expected pairs of vectors, such as [([0, 0], [1, 1]), ...], or a table with "
            "columns 'x min', 'x max', 'y min', 'y max'"
        ) from None
    if not pairs:
        raise RegionError("bounding boxes: the list is empty")
    return tuple(Box(lower, upper) for lower, upper in pairs)


def boxes_from_squares(centers: Any, side: float, where: str = "from_squares") -> tuple[Box, ...]:
    """Return boxes of a given side around centres, shape (k, d)."""
    if isinstance(centers, pd.DataFrame):
        centers = centers[[c for c in SPACE if c in centers]].to_numpy()
    points = np.atleast_2d(np.asarray(centers, dtype=float))
    if points.ndim != 2 or points.shape[1] not in (2, 3) or not len(points):
        raise RegionError(
            f"{where}: expected centres as an array of shape (k, 2) or (k, 3), got {points.shape}"
        )
    if not isinstance(side, int | float | np.number) or not np.isfinite(side) or side <= 0:
        raise RegionError(f"{where}: the side of a region must be a number above 0 (µm), got {side!r}")
    half = float(side) / 2
    return tuple(Box(tuple(p - half), tuple(p + half), False) for p in points.tolist() for p in [np.array(p)])


def _boxes_from_table(table: pd.DataFrame, where: str, size: float | None = None) -> tuple[Box, ...]:
    columns = [str(c).strip() for c in table.columns]
    table = table.set_axis(columns, axis=1)
    axes = [a for a in (*SPACE, "t") if f"{a} min" in columns and f"{a} max" in columns]
    centered = [a for a in SPACE if a in columns]
    if not {"x", "y"} <= set(axes) and not {"x", "y"} <= set(centered):
        raise RegionError(
            f"{where}: found columns {columns}; expected bounds 'x min', 'x max', 'y min', 'y max' "
            "[, 'z min', 'z max'][, 't min', 't max'] or centres 'x', 'y'[, 'z'], separated by tabs"
        )
    if {"x", "y"} <= set(axes):
        lower = _numbers(table[[f"{a} min" for a in axes]], where)
        upper = _numbers(table[[f"{a} max" for a in axes]], where)
    else:
        if size is None:
            raise RegionError(f"{where}: holds centres; say how large a region is with `size=` (µm)")
        center = _numbers(table[centered], where)
        lower, upper = center - size / 2, center + size / 2
        if "t" in axes:
            lower = np.hstack([lower, _numbers(table[["t min"]], where)])
            upper = np.hstack([upper, _numbers(table[["t max"]], where)])
    try:
        return tuple(
            Box(tuple(low), tuple(up), "t" in axes)
            for low, up in zip(lower.tolist(), upper.tolist(), strict=True)
        )
    except RegionError as error:
        raise RegionError(f"{where}: {error}") from None


def _numbers(table: pd.DataFrame, where: str) -> np.ndarray:
    try:
        values = table.to_numpy(dtype=float)
    except ValueError as error:
        raise RegionError(f"{where}: expected numbers: {error}") from None
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise RegionError(f"{where}: line {row + 2} has an empty or infinite bound")
    return values


def read_boxes(
    path: str, size: float | None = None, skip_missing: bool = False, place: Place | None = None
) -> tuple[Box, ...]:
    """Read a tab-separated file of regions.

    Parameters
    ----------
    path : str
        File with a header: bounds, or centres if `size` (µm) is given.
    skip_missing : bool
        Return no box if there is no file.
    place : Place, optional
        Where the file is, if not on this computer.

    Raises
    ------
    RegionError
        If the file is missing or malformed.
    """
    if place is None:
        path = os.path.expandvars(os.path.expanduser(path))
    if skip_missing and not (os.path.exists(path) if place is None else place.is_file(path)):
        return ()
    try:
        given: Any = path if place is None else place.open(path)
        table = pd.read_csv(given, sep="\t", skipinitialspace=True, **EXACT)
        if len(table.columns) == 1:
            given = path if place is None else place.open(path)
            table = pd.read_csv(given, sep=",", skipinitialspace=True, **EXACT)
    except FileNotFoundError:
        there = path if place is None else f"{path} on {place.name}"
        raise RegionError(
            f"no file of regions of interest {there}; write it, or pass skip_missing=True to take the "
            "whole field of view of sources without one"
        ) from None
    except (OSError, ValueError) as error:
        raise RegionError(f"cannot read the regions of interest in {path}: {error}") from error
    if table.empty:
        raise RegionError(f"{path}: no region of interest below the header")
    return _boxes_from_table(table, path, size)


def roi_files(path: str, suffix: str, extension: str) -> list[str]:
    """Return the names that the file of regions beside a source may have."""
    return [f"{os.path.splitext(path)[0]}{joiner}{suffix}{extension}" for joiner in JOINERS]


def roi_file(
    path: str, suffix: str, extension: str, first: str, exists: Callable[[str], bool] = os.path.isfile
) -> str:
    """Return the name of the file of regions beside a source.

    Parameters
    ----------
    path : str
        The source.
    suffix, extension : str
        ``<stem><joiner><suffix><extension>``.
    first : str
        The source that decides on the joiner: nothing, ``-`` or ``_``.
    exists : callable
        Tells whether there is a file.
    """
    there = [exists(name) for name in roi_files(first, suffix, extension)]
    return roi_files(path, suffix, extension)[there.index(True) if any(there) else JOINERS.index("-")]


def short_label(label: str, most: int = 22) -> str:
    """Return the label of a region for a narrow place: that of many overlapping boxes without its middle.

    Examples
    --------
    >>> short_label("roi000-001-002-003-004-005-006")
    'roi000-001-…-006'
    """
    if len(label) <= most:
        return label
    head, tail = label[: most - 8], label[-6:]
    head, tail = head.rpartition("-")[0] or head, tail.partition("-")[2] or tail
    return f"{head.rstrip()}-…-{tail.lstrip()}"
