"""Time profiles: what was mapped in one place, segment by segment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from ..errors import InferenceError
from .maps import Maps

__all__ = ["as_time_profiles", "get_time_profile"]

Segments = int | Iterable[int] | Callable[[int], bool] | None


def _wanted(segments: Segments, number: int) -> np.ndarray:
    every = np.arange(number)
    if segments is None:
        return every
    if callable(segments):
        return every[[bool(segments(int(k))) for k in every]]
    chosen = np.atleast_1d(np.asarray([segments] if np.isscalar(segments) else list(segments), dtype=int))  # type: ignore[arg-type]
    if len(chosen) and not (-number <= chosen.min() and chosen.max() < number):
        raise InferenceError(f"segment_indices: there are {number} time segments, numbered from 0")
    return np.unique(chosen % number)


def as_time_profiles(
    sampling: Any,
    maps: Maps | str | int,
    space_bin_index: int | Iterable[int] | None = None,
    segment_indices: Segments = None,
    return_times: bool = False,
    return_bin_index: bool = False,
) -> Iterator[Any]:
    """Iterate over the time profiles of spatial cells.

    Parameters
    ----------
    sampling : Partition
        With time segments.
    maps : Maps, or their label
        Below `sampling` in the analysis tree, if a label.
    space_bin_index : int or iterable of int, optional
        Spatial cells; default: all that are mapped in some segment.
    segment_indices : int, iterable of int or callable, optional
        Only these segments.
    return_times, return_bin_index : bool
        Whether the bounds (k, 2) of the segments, in s, and the cell's number come along.

    Yields
    ------
    DataFrame or tuple
        ``[cell,] [times,] profile``, the profile indexed by segment; the bare table if that is all
        there is. Segments in which the cell is not mapped are left out.

    Raises
    ------
    InferenceError
        If the sampling has no time segments, or a cell is not mapped at all.
    """
    segments = sampling.segments
    if segments is None:
        raise InferenceError(
            "time profiles need time segments; set `a.time = time.SlidingWindow(duration=...)`"
        )
    found = maps if isinstance(maps, Maps) else sampling.get_child(maps)
    size = (len(sampling.indptr) - 1) // len(segments)
    number = found.table.index.to_numpy()
    table = found.table[np.isin(number // size, _wanted(segment_indices, len(segments)))]
    segment, cell = np.divmod(table.index.to_numpy(), size)
    chosen = np.unique(cell) if space_bin_index is None else np.atleast_1d(np.asarray(space_bin_index))
    for j in chosen.tolist():
        rows = np.flatnonzero(cell == j)
        if not len(rows):
            raise InferenceError(
                f"spatial cell {j} is mapped in none of these segments; mapped: {_few(cell)}"
            )
        order = rows[np.argsort(segment[rows])]
        profile = table.iloc[order].set_axis(pd.Index(segment[order], name="segment"), axis=0)
        item: list[Any] = [j] if return_bin_index else []
        if return_times:
            item.append(np.asarray(segments, dtype=float)[segment[order]])
        item.append(profile)
        yield item[0] if len(item) == 1 else tuple(item)


def _few(cells: np.ndarray) -> str:
    known = np.unique(cells).tolist()
    return ", ".join(map(str, known[:8])) + (", …" if len(known) > 8 else "")


def get_time_profile(
    sampling: Any,
    maps: Maps | str | int,
    space_bin_index: int,
    segment_indices: Segments = None,
    return_times: bool = False,
) -> Any:
    """Return the time profile of one spatial cell; see `as_time_profiles`."""
    [profile] = as_time_profiles(sampling, maps, space_bin_index, segment_indices, return_times)
    return profile
