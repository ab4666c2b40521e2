"""Tracks that split and merge, cut into trajectories that do not."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..errors import DataError

__all__ = ["Pieces", "unbranched"]


class Pieces(NamedTuple):
    """Trajectories of a graph of locations.

    Attributes
    ----------
    of : (N,) int array
        Trajectory of each location, numbered from 1 in the order of their first locations.
    parent, heir : (K + 1,) int arrays
        The trajectory that each one split from, and the one it merged into; 0 for none (and for
        trajectory 0, which is none).
    """

    of: np.ndarray
    parent: np.ndarray
    heir: np.ndarray


def unbranched(order: np.ndarray, links: np.ndarray) -> Pieces:
    """Cut a graph where it branches: before every split and every merge.

    A link goes on with a trajectory if it is the only one that leaves its earlier end, and the
    only one that arrives at its later end.

    Parameters
    ----------
    order : (N,) array
        Time of each location.
    links : (M, 2) int array
        Pairs of locations, in either direction, none twice.

    Raises
    ------
    DataError
        If a link joins locations of the same time.
    """
    size = len(order)
    forth = order[links[:, 0]] < order[links[:, 1]]
    earlier = np.where(forth, links[:, 0], links[:, 1])
    later = np.where(forth, links[:, 1], links[:, 0])
    together = order[earlier] == order[later]
    if together.any():
        first = int(np.argmax(together))
        raise DataError(
            f"{together.sum()} links join locations of the same time, the first at {order[earlier[first]]:g}; "
            "a trajectory can be at one place at a time"
        )
    splits = np.bincount(earlier, minlength=size)[earlier] > 1
    merges = np.bincount(later, minlength=size)[later] > 1
    on = ~(splits | merges)
    head = np.arange(size, dtype=np.int32)
    head[later[on]] = earlier[on]
    # each location points to the one before; jumps double until all point to the first
    while True:
        further = head[head]
        if np.array_equal(further, head):
            break
        head = further
    starts = np.flatnonzero(head == np.arange(size))
    starts = starts[np.argsort(order[starts], kind="stable")]
    number = np.zeros(size, np.int32)
    number[starts] = np.arange(1, len(starts) + 1)
    of = number[head]
    parent, heir = np.zeros(len(starts) + 1, np.int32), np.zeros(len(starts) + 1, np.int32)
    # backwards, so that the first of several is kept
    parent[of[later[splits]][::-1]] = of[earlier[splits]][::-1]
    heir[of[earlier[merges]][::-1]] = of[later[merges]][::-1]
    return Pieces(of, parent, heir)
