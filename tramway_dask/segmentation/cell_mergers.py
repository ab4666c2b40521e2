"""Cell mergers: cells that hold too few translocations are given to their neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..component import Component, count, setting
from ..errors import SegmentationError, SpecificationError
from .tessellation import Tessellation, coordinates, nearest

__all__ = ["ByTranslocationCount"]


# Lloyd's iterations end by themselves, after a few dozen in practice
MAX_ITERATIONS = 1000


def _iterations(name: str, value: Any) -> int | bool:
    return bool(value) if isinstance(value, bool | np.bool_) else count(name, 0 if value is None else value)


@dataclass(eq=False, repr=False)
class ByTranslocationCount(Component):
    """Deletes cells with few translocations, so that their neighbours take these over.

    Cells below the threshold are looked at in decreasing order of their counts; one that is deleted
    saves its neighbours for the next round. Rounds follow until no cell is below the threshold.

    Parameters
    ----------
    count_threshold : int
        Least number of translocations nearest to the center of a cell.
    update_centroids : bool or int
        Whether centers are moved to the mean of their translocations after a round, again and again
        until no translocation changes cell (True), or this many times at most.

    Examples
    --------
    >>> from tramway_dask.segmentation.tessellers import Squares
    >>> points = np.random.default_rng(0).random((1000, 2)) ** 2
    >>> merged = Squares(resolution=0.2, post_processing=ByTranslocationCount(20)).tessellate(points)
    >>> bool(np.bincount(merged.cell_index(points)).min() >= 20)
    True
    """

    count_threshold: int | None = setting(None, check=lambda name, n: None if n is None else count(name, n))
    update_centroids: int | bool = setting(False, check=_iterations)

    def post_process(self, tessellation: Tessellation, points: Any) -> Tessellation:
        """Return the tessellation without the cells below the threshold.

        Parameters
        ----------
        tessellation : Tessellation
        points : DataFrame or array_like (N, d), µm

        Raises
        ------
        SpecificationError
            If there is no threshold.
        SegmentationError
            If fewer than d + 2 cells would be left.
        """
        if self.count_threshold is None:
            raise SpecificationError("ByTranslocationCount.count_threshold is not set: give a whole number")
        xy = coordinates(points)
        while True:
            index = tessellation.cell_index(xy)
            counts = np.bincount(index, minlength=tessellation.number_of_cells)
            deleted = _deleted(tessellation, counts, self.count_threshold)
            if not deleted.any():
                return tessellation
            left = int((~deleted).sum())
            if left < tessellation.dimension + 2:
                raise SegmentationError(
                    f"merging cells with fewer than {self.count_threshold} translocations would leave {left} cells: "
                    f"there are {len(xy)} translocations; lower the threshold or enlarge the region"
                )
            tessellation = Tessellation.from_centers(tessellation.centers[~deleted], tessellation.box)
            if self.update_centroids:
                limit = MAX_ITERATIONS if self.update_centroids is True else self.update_centroids
                tessellation = _centred(tessellation, xy, limit)


def _deleted(tessellation: Tessellation, counts: np.ndarray, threshold: int) -> np.ndarray:
    """Choose cells below the threshold, no two of them neighbours, the fullest first."""
    low = counts < threshold
    # those of higher priority first; equal counts in the order of cells
    priority = np.empty(len(counts), np.int64)
    priority[np.lexsort((np.arange(len(counts)), -counts))] = np.arange(len(counts), 0, -1)
    chosen, open_ = np.zeros_like(low), low.copy()
    links = tessellation.adjacency.tocoo()
    while open_.any():
        rival = np.zeros(len(counts), np.int64)
        both = open_[links.row] & open_[links.col]
        np.maximum.at(rival, links.row[both], priority[links.col[both]])
        winners = open_ & (priority > rival)
        chosen |= winners
        open_ &= ~winners
        open_[links.col[winners[links.row]]] = False
    return chosen


def _centred(tessellation: Tessellation, xy: np.ndarray, limit: int) -> Tessellation:
    """Move each center to the mean of its points, until these stay or `limit` times."""
    centers, size = tessellation.centers.copy(), tessellation.number_of_cells
    index = tessellation.cell_index(xy)
    for _ in range(limit):
        counts = np.bincount(index, minlength=size)
        full = counts > 0
        for axis, values in enumerate(xy.T):
            centers[full, axis] = np.bincount(index, weights=values, minlength=size)[full] / counts[full]
        before, index = index, nearest(xy, centers)
        if np.array_equal(index, before):
            break
    return Tessellation.from_centers(centers, tessellation.box)
