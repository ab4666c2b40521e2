"""Nested dissection: the order of elimination that keeps factors of large meshes sparse.

Unknowns have places. A set of them is halved along the axis on which the fewest links cross, the
ends of these links on one side are set apart as separator, and what is left on either side is
treated likewise [1]_. Eliminated from the leaves to the root of that tree, a mesh of N cells in the
plane has a factor of N log N entries, found in N^1.5 operations; a band has N^1.5 and takes N².

References
----------
.. [1] A. George, "Nested dissection of a regular finite element mesh", SIAM Journal on Numerical
   Analysis 10, 345–363, 1973.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["dissect"]

FloatArray = NDArray[Any]
IntArray = NDArray[Any]
BoolArray = NDArray[Any]

# sets as small as this are not worth halving
LEAF = 128


def dissect(
    places: FloatArray, first: IntArray, second: IntArray, *, leaf: int = LEAF
) -> tuple[IntArray, IntArray]:
    """Arrange unknowns in a tree, where those of unrelated nodes are not linked.

    Parameters
    ----------
    places : (N, k) float
        Coordinates, of any unit each.
    first, second : (E,) int
        Links, each once.
    leaf : int
        Sets of at most so many unknowns are not halved.

    Returns
    -------
    node : (N,) int
        Node of each unknown.
    parent : (n,) int
        Parent of each node, a smaller number; -1 for the root, node 0.
    """
    size = len(places)
    axes = _axes(places)
    node = np.zeros(size, dtype=np.intp)
    parents = [np.array([-1])]
    count, here = 1, np.arange(size)
    # label of the set of each unknown within its level, -1 once it has its place
    label = np.zeros(size, dtype=np.intp)
    sets = np.array([0])
    while len(here):
        sizes = np.bincount(label[here], minlength=len(sets))
        side, apart = _halve(axes, label, here, sizes, first, second)
        lost = np.bincount(label[here], weights=apart[here], minlength=len(sets))
        whole = (sizes <= leaf) | (lost > 0.5 * sizes)
        done = whole[label[here]] | apart[here]
        node[here] = sets[label[here]]
        label[here[done]] = -1
        here = here[~done]
        child = 2 * label[here] + side[here]
        used, label[here] = np.unique(child, return_inverse=True)
        parents.append(sets[used // 2])
        sets = count + np.arange(len(used))
        count += len(used)
        same = (label[first] >= 0) & (label[first] == label[second])
        first, second = first[same], second[same]
    return node, np.concatenate(parents)


def _axes(places: FloatArray) -> list[IntArray]:
    """Return the unknowns sorted along each axis, slightly tilted: meshes have rows of equal coordinate."""
    extent = np.ptp(places, axis=0) if len(places) else np.ones(places.shape[1])
    unit = (places - places.mean(axis=0)) / np.where(extent > 0, extent, 1.0)
    tilt = 1e-4 * unit.sum(axis=1) if places.shape[1] > 1 else 0.0
    return [np.argsort(unit[:, k] + tilt, kind="stable") for k in np.flatnonzero(extent > 0)]


def _halve(
    axes: list[IntArray],
    label: IntArray,
    here: IntArray,
    sizes: IntArray,
    first: IntArray,
    second: IntArray,
) -> tuple[IntArray, BoolArray]:
    """Return the half (0 or 1) of each unknown in its set, and whether it separates the halves."""
    starts = np.cumsum(sizes) - sizes
    small = label.astype(np.int16) if len(sizes) < 2**15 else label
    best = np.full(len(sizes), np.inf)
    side = np.zeros(len(label), dtype=np.int8)
    apart = np.zeros(len(label), dtype=bool)
    for axis in axes or [np.arange(len(label))]:
        axis = axis[label[axis] >= 0]
        order = axis[np.argsort(small[axis], kind="stable")]
        sets = label[order]
        half = np.zeros(len(label), dtype=np.int8)
        half[order] = 2 * (np.arange(len(order)) - starts[sets]) >= sizes[sets]
        cross = half[first] != half[second]
        a, b = first[cross], second[cross]
        upper = half[a] == 1
        for ends in (np.where(upper, a, b), np.where(upper, b, a)):
            marked = np.zeros(len(label), dtype=bool)
            marked[ends] = True
            lost = np.bincount(label[here], weights=marked[here], minlength=len(sizes))
            better = lost < best
            best[better] = lost[better]
            taken = here[better[label[here]]]
            side[taken], apart[taken] = half[taken], marked[taken]
    return side, apart
