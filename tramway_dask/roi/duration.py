"""When regions hold enough data: bounds in time from counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..errors import RegionError
from ..spt_data.tables import translocations
from .boxes import Box, boxes_from
from .regions import overlapping

__all__ = ["set_contiguous_time_support_by_count"]

Bounds = tuple[np.ndarray, np.ndarray]


def set_contiguous_time_support_by_count(
    points: pd.DataFrame,
    space_bounds: Any,
    time_window: Any,
    min_points: int,
    min_segments: int = 1,
    group_overlapping_roi: bool = False,
    start_stop_min_points: int | None = None,
) -> list[Bounds] | dict[str, list[Bounds]]:
    """Bound regions in time to when a sliding window holds enough data.

    The support begins a window's duration before the first time, and ends at the last
    time, at which the past window holds `start_stop_min_points`. What an integer number of
    windows leaves over is split between both ends. A region with too few points, or whose
    support is too short for `min_segments` windows, is left out.

    Parameters
    ----------
    points : DataFrame
        Trajectories or translocations, in any order.
    space_bounds : sequence of (lower, upper), DataFrame, or dict of these by label
        Boxes in space, µm.
    time_window : float or (float, float), s
        Duration, or duration and shift, of the sliding window.
    min_points : int
        Least number of translocations per window (times the number of boxes of a group).
        Where `start_stop_min_points` is larger, the longest run of windows that hold as many is
        taken.
    min_segments : int
        Least number of windows.
    group_overlapping_roi : bool
        Whether boxes that overlap or touch are counted together, and get the same support.
    start_stop_min_points : int, optional
        Default: `min_points`.

    Returns
    -------
    list of (lower, upper), or dict of these
        The boxes, time appended: what `Regions.from_bounding_boxes` takes.

    Raises
    ------
    RegionError
        If a window or count is not above 0.
    """
    duration, shift = np.broadcast_to(np.asarray(time_window, dtype=float), (2,))
    trigger = min_points if start_stop_min_points is None else start_stop_min_points
    for name, value in (("time_window", duration), ("time_window", shift), ("min_points", trigger)):
        if not (np.isfinite(value) and value > 0):
            raise RegionError(f"{name}: expected a number above 0, got {value:g}")
    if trigger < min_points:
        raise RegionError(f"start_stop_min_points {trigger} is below min_points {min_points}")
    labelled = space_bounds if isinstance(space_bounds, Mapping) else {"": space_bounds}
    boxes = [(label, box) for label, given in labelled.items() for box in boxes_from(given)]
    table = translocations(points)
    groups: Iterable[Sequence[int]] = [[i] for i in range(len(boxes))]
    if group_overlapping_roi:
        groups = overlapping([box for _, box in boxes])
    found: dict[str, list[tuple[int, Bounds]]] = {label: [] for label in labelled}
    for members in groups:
        times = _times(table, [boxes[m][1] for m in members])
        weight = len(members)
        support = _support(times, duration, shift, min_points * weight, trigger * weight, min_segments)
        for m in members if support is not None else ():
            label, box = boxes[m]
            assert support is not None
            bounds = np.append(box.lower, support[0]), np.append(box.upper, support[1])
            found[label].append((m, bounds))
    ordered = {label: [b for _, b in sorted(held, key=lambda x: x[0])] for label, held in found.items()}
    return ordered if isinstance(space_bounds, Mapping) else ordered[""]


def _times(table: pd.DataFrame, boxes: Sequence[Box]) -> np.ndarray:
    inside = np.logical_or.reduce([box.contains(table, f"{box.lower}, {box.upper}") for box in boxes])
    return np.sort(table["t"].to_numpy(dtype=float)[inside])


def _support(
    times: np.ndarray, duration: float, shift: float, least: int, trigger: int, min_segments: int
) -> tuple[float, float] | None:
    if len(times) < max(least * min_segments, trigger, 1):
        return None
    enough = np.flatnonzero(_full(times, duration, trigger))
    if not len(enough):
        return None
    first, last = int(enough[0]), int(enough[-1])
    if least < trigger:
        first, last = _longest_run(times, _full(times, duration, least), first, last)
    if times[last] - times[first] + duration < duration + (min_segments - 1) * shift:
        return None
    begin = times[first] - duration
    # in the last window, the data may end before the window does
    end = times[-(least or trigger)] + duration if last + 1 == len(times) else times[last]
    number = np.floor((end - begin - duration) / shift) + 1
    if number < min_segments:
        return None
    margin = 0.5 * (end - begin - duration - (number - 1) * shift)
    return float(min(begin + margin, max(times[0], begin))), float(end)


def _full(times: np.ndarray, duration: float, number: int) -> np.ndarray:
    """Tell at which times the past `duration` holds at least `number` times, itself included."""
    full = np.zeros(len(times), bool)
    if 0 < number <= len(times):
        full[number - 1 :] = times[number - 1 :] - duration <= times[: len(times) - number + 1]
    return full


def _longest_run(times: np.ndarray, full: np.ndarray, first: int, last: int) -> tuple[int, int]:
    steps = np.diff(np.concatenate([[0], full[first : last + 1].astype(np.int8), [0]]))
    starts, stops = first + np.flatnonzero(steps > 0), first + np.flatnonzero(steps < 0) - 1
    longest = int(np.argmax(times[stops] - times[starts]))
    return int(starts[longest]), int(stops[longest])
