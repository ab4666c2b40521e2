"""What the columns of a table without a header are: found from the numbers, or asked for.

The rule: the trajectory index is a column of whole numbers whose equal values stand together, not
all different; time is a column that increases inside each trajectory. If a single pair of columns
is like that, and the order is one that programs write, it is read so; else the user is asked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Order", "holds", "orders", "question"]

# places of x and y, by number of columns and places of n and t, where more than two columns are left
_WRITTEN = {
    (3, 2): ("x", "y"),  # MTT, evalSPT: x, y, frame, n, intensity, …
    (0, 1): ("-", "-", "x", "y"),  # PALMTracer, SPTAnalyser: n, frame, x, y, …
}
# columns of such files
_FEWEST_WRITTEN = 6
# steps along an axis are that much shorter than the field of view, and that much longer than along another axis
_SHORT = 0.3
_ISOTROPIC = 5
# steps within trajectories: to consider a reading, and to rely upon it
_FEWEST_STEPS = 3
_ENOUGH_STEPS = 10
# steps in the right order are that much shorter than in the wrong one
_SHORTER = 0.5
# jumps from one trajectory to the next are that much longer than steps
_LONGER = 3


@dataclass(frozen=True)
class Order:
    """A reading of the columns.

    Attributes
    ----------
    columns : tuple of str
        ``n``, ``x``, ``y``, ``t``, ``frame`` or ``'-'`` for each column of the file.
    """

    columns: tuple[str, ...]

    def __str__(self) -> str:
        if "frame" not in self.columns:
            return f"columns='{''.join(self.columns)}'"
        return f"columns={list(self.columns)}"


def orders(values: np.ndarray, *, single: bool = False) -> tuple[list[Order], bool]:
    """Return the possible readings of a table, and whether the only one can be relied upon.

    Parameters
    ----------
    values : (k, w) array
        The first rows, in the order of the file.
    single : bool
        The file is one trajectory, and no column says so.
    """
    values = values[np.isfinite(values).all(axis=1)]
    if len(values) < 2:
        return [], False
    whole = [bool((values[:, c] == np.floor(values[:, c])).all()) for c in range(values.shape[1])]
    counters = {c for c in range(len(whole)) if whole[c] and (np.diff(values[:, c]) == 1).all()}
    if single:
        return _single(values, whole, counters)
    found: list[tuple[int, int]] = []
    owners = [c for c, w in enumerate(whole) if w and _in_blocks(values[:, c])]
    varied = [c for c in owners if np.ptp(values[:, c]) > 0]
    for n in varied or owners:
        same = values[1:, n] == values[:-1, n]
        if same.sum() < _FEWEST_STEPS:
            continue
        times = [c for c in range(len(whole)) if c != n and (np.diff(values[:, c])[same] > 0).all()]
        # a number of the row is no time, unless there is but one trajectory
        timed = [c for c in times if c not in counters]
        if timed or n not in varied:
            found += [(n, t) for t in timed or times]
    readings = [order for n, t in found for order in _orders(values, n, t, whole, counters)]
    if len(readings) != 1 or len(found) != 1:
        return readings, False
    [(n, t)] = found
    x, y = (readings[0].columns.index(c) for c in "xy")
    if whole[t] and not _shorter(values, (n, t), (x, y)):
        swapped = list(readings[0].columns)
        swapped[n], swapped[t] = "frame", "n"
        return [*readings, Order(tuple(swapped))], False
    enough = np.count_nonzero(np.diff(values[:, n]) == 0) >= _ENOUGH_STEPS
    moves = all(np.ptp(values[:, c]) > 0 for c in (x, y))
    return readings, bool(enough and moves and not _continues(values, n, t, (x, y)))


def holds(n: np.ndarray, t: np.ndarray) -> bool:
    """Tell whether the rule holds for all of two columns, as it did for their beginning."""
    same = n[1:] == n[:-1]
    if not ((t[1:] > t[:-1]) | ~same).all():
        return False
    # what is in order need not be sorted
    return bool((n[1:] >= n[:-1]).all() or len(np.unique(n)) == 1 + np.sum(~same))


def question(readings: list[Order], preview: str) -> str:
    """Return what to ask the user for, with the readings considered."""
    if not readings:
        told = (
            "no column of whole numbers has equal values that stand together, with another column that always "
            "increases meanwhile: are the rows shuffled, or is there no trajectory index or no time? Say what "
            "the columns are, '-' for those to ignore: columns='nxyt', "
            "columns=['n', 'x', 'y', 'frame'] for frame numbers; one_trajectory=True if no column is the index"
        )
    else:
        told = f"the columns may be read as {' or '.join(map(str, readings))}; say which"
        if len(readings) == 1:
            told = f"the columns look like {readings[0]}, which is not certain; if it is so, give that"
    return f"{told}. First rows:\n{preview}"


def _in_blocks(values: np.ndarray) -> bool:
    """Tell whether equal values stand together, and some are equal."""
    changes = int(np.count_nonzero(np.diff(values)))
    return changes + 1 < len(values) and len(np.unique(values)) == changes + 1


def _orders(values: np.ndarray, n: int, t: int, whole: list[bool], counters: set[int]) -> list[Order]:
    width = values.shape[1]
    columns = ["-"] * width
    columns[n], columns[t] = "n", "frame" if whole[t] else "t"
    left = [c for c in range(width) if c not in (n, t)]
    if len(left) > 2:  # the number of the row, and columns in which nothing happens, say nothing
        left = [c for c in left if c not in counters and np.ptp(values[:, c]) > 0]
    if width >= _FEWEST_WRITTEN and (n, t) in _WRITTEN and whole[t]:
        places = [c for c, role in enumerate(_WRITTEN[n, t]) if role != "-"]
        if set(places) <= set(left) and _are_coordinates(values, n, places):
            left = places
    if len(left) == 3:  # three dimensions, or two and something else
        return [_with(columns, left, "xyz"), _with(columns, left, "xy-")]
    return [_with(columns, left, "xy")] if len(left) == 2 else []


def _are_coordinates(values: np.ndarray, n: int, places: list[int]) -> bool:
    """Tell whether columns change like coordinates: little along a trajectory, and all about as much."""
    same = values[1:, n] == values[:-1, n]
    steps = np.array([np.median(np.abs(np.diff(values[:, c])[same])) for c in places])
    spread = np.array([np.std(values[:, c]) for c in places])
    return bool(
        (steps > 0).all() and (steps < _SHORT * spread).all() and np.ptp(np.log(steps)) < np.log(_ISOTROPIC)
    )


def _with(columns: list[str], places: list[int], roles: str) -> Order:
    filled = list(columns)
    for c, role in zip(places, roles, strict=True):
        filled[c] = role
    return Order(tuple(filled))


def _single(values: np.ndarray, whole: list[bool], counters: set[int]) -> tuple[list[Order], bool]:
    times = [c for c in range(len(whole)) if (np.diff(values[:, c]) > 0).all()]
    readings = []
    for t in times:
        left = [c for c in range(len(whole)) if c != t]
        if len(left) == 2:
            columns = ["frame" if whole[t] else "t"] * 3
            columns[left[0]], columns[left[1]] = "x", "y"
            readings.append(Order(tuple(columns)))
    return readings, len(readings) == 1 and len(values) > _ENOUGH_STEPS


def _continues(values: np.ndarray, n: int, t: int, space: tuple[int, int]) -> bool:
    """Tell whether trajectories go on where and when the one before has ended, as one that was cut would."""
    same = values[1:, n] == values[:-1, n]
    if same.all() or not (np.diff(values[:, t]) > 0).all():
        return False
    steps = np.hypot(*np.diff(values[:, list(space)], axis=0).T)
    return bool(np.median(steps[~same]) < _LONGER * np.median(steps[same]))


def _shorter(values: np.ndarray, reading: tuple[int, int], space: tuple[int, int]) -> bool:
    """Tell whether steps are clearly shorter than if index and frame changed their roles.

    A table of frames, and in each of them the molecules, is like one of molecules, and for each of
    them its frames; but molecules stay near to where they were.
    """
    lengths = []
    for n, t in (reading, reading[::-1]):
        ordered = values[np.lexsort((values[:, t], values[:, n]))]
        same = ordered[1:, n] == ordered[:-1, n]
        if not same.any():  # all different: that column is no index
            return True
        steps = np.diff(ordered[:, list(space)], axis=0)[same]
        lengths.append(float(np.median(np.hypot(*steps.T))))
    return lengths[0] < _SHORTER * lengths[1]
