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
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

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
    size = len(order)
    splits = np.bincount(earlier, minlength=size)[earlier] > 1
    merges = np.bincount(later, minlength=size)[later] > 1
    on = ~(splits | merges)
    joined = coo_array((np.ones(on.sum(), np.int8), (earlier[on], later[on])), shape=(size, size))
    count, label = connected_components(joined, directed=False)
    # components are found in the order of their lowest locations, which need not be the first in time
    first_time = np.full(count, np.inf)
    np.minimum.at(first_time, label, order)
    lowest = np.full(count, size)
    np.minimum.at(lowest, label, np.arange(size))
    number = np.empty(count, np.int64)
    number[np.lexsort((lowest, first_time))] = np.arange(1, count + 1)
    of = number[label]
    parent, heir = np.zeros(count + 1, np.int64), np.zeros(count + 1, np.int64)
    # backwards, so that the first of several is kept
    parent[of[later[splits]][::-1]] = of[earlier[splits]][::-1]
    heir[of[earlier[merges]][::-1]] = of[later[merges]][::-1]
    return Pieces(of, parent, heir)
