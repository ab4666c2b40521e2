"""From a `Partition` to the plain arrays that the computing modules take."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import InferenceError, LocalizationPrecisionWarning
from .gradient import restrict
from .maps import Maps
from .statistics import CellStatistics, cell_statistics

__all__ = ["DEFAULT_SIGMA", "Inputs", "known_precision", "localization_precision", "space_columns"]

IntArray = NDArray[Any]
FloatArray = NDArray[Any]

DEFAULT_SIGMA = 0.03


def space_columns(points: pd.DataFrame) -> list[str]:
    """Return the space columns of a table of translocations.

    Raises
    ------
    InferenceError
        If the table holds no displacements.
    """
    columns = [c for c in ("x", "y", "z") if f"d{c}" in points.columns]
    if not columns or "dt" not in points.columns:
        raise InferenceError(
            f"expected translocations with columns dx, dy[, dz] and dt, got {list(points.columns)}; "
            "sample trajectories with `sampler.sample(df)`, which computes them"
        )
    return columns


def localization_precision(sigma: float | None, partition: Any, owner: Any) -> float:
    """Return σ in µm: the argument, else the partition's, else the analyzer's, else 0.03 with a warning."""
    sigma = known_precision(sigma, partition, owner)
    if sigma is None:
        warnings.warn(
            f"the localization precision is unknown: {DEFAULT_SIGMA} µm is assumed; "
            "set `a.spt_data.localization_precision` or pass `sigma`",
            LocalizationPrecisionWarning,
            stacklevel=4,
        )
        return DEFAULT_SIGMA
    return sigma


def known_precision(sigma: float | None, partition: Any, owner: Any) -> float | None:
    """Return σ in µm: the argument, else the partition's, else the analyzer's, else None."""
    if sigma is None:
        sigma = (getattr(partition, "param", None) or {}).get("localization_precision")
    if sigma is None and owner is not None:
        sigma = getattr(getattr(owner, "spt_data", None), "localization_precision", None)
    if sigma is None:
        return None
    sigma = float(sigma)
    if not (np.isfinite(sigma) and sigma >= 0):
        raise InferenceError(f"sigma: expected a localization precision in µm, 0 or above, got {sigma!r}")
    return sigma


@dataclass(frozen=True, eq=False)
class Inputs:
    """The non-empty cells of a partition, renumbered from 0.

    Attributes
    ----------
    cells : (m,) int
        Global numbers.
    statistics : CellStatistics
        Sums of these cells.
    centers : (m, d) float, µm
    areas : (m,) float, µm^d
    partition : Partition
    """

    cells: IntArray
    statistics: CellStatistics
    centers: FloatArray
    areas: FloatArray
    partition: Any

    @classmethod
    def of(cls, partition: Any) -> Inputs:
        """Gather the arrays; of maps, those of their partition.

        Raises
        ------
        InferenceError
            If no cell holds a translocation, or the translocations are not usable.
        """
        if isinstance(partition, Maps):
            if partition.parent is None:
                raise InferenceError(
                    "these maps do not know their partition; set `maps.parent = partition`, "
                    "or take the maps from the analysis tree"
                )
            partition = partition.parent
        # those of a source read in blocks are sums already
        statistics = getattr(partition, "statistics", None)
        if statistics is None:
            points = partition.points
            columns = space_columns(points)
            dr = points[[f"d{c}" for c in columns]].to_numpy(dtype=float)
            dt = points["dt"].to_numpy(dtype=float)
            statistics = cell_statistics(dr, dt, partition.indptr, partition.indices)
        cells = statistics.cells
        if len(cells) == 0:
            label = (((getattr(partition, "param", None) or {}).get("roi")) or {}).get("label")
            where = "" if label is None else f" of region {label!r}"
            raise InferenceError(
                f"no cell{where} holds a translocation, nothing can be inferred; "
                "check the region, the resolution and the sampler's min_location_count"
            )
        return cls(
            cells,
            statistics.select(cells),
            np.asarray(partition.centers, dtype=float)[cells],
            np.asarray(partition.areas, dtype=float)[cells],
            partition,
        )

    @cached_property
    def neighbours(self) -> tuple[IntArray, IntArray]:
        """Neighbours among the non-empty cells, in CSR form."""
        adjacency = self.partition.active_adjacency().tocsr()
        return restrict(adjacency.indptr, adjacency.indices, self.cells)

    def connected(self, *, in_time: bool = False) -> Inputs:
        """Return the cells that have a non-empty neighbour, in space or, if so wished, in time."""
        links = np.diff(self.neighbours[0])
        if in_time:
            links = links + np.diff(self.in_time()[0])
        return self._keep(np.flatnonzero(links))

    def only(self, cells: IntArray) -> Inputs:
        """Return some of the cells, by global number, ascending."""
        keep = np.searchsorted(self.cells, cells)
        found = self.cells[np.minimum(keep, len(self.cells) - 1)] == cells
        if not found.all() or np.any(np.diff(keep) <= 0):
            strange = cells[~found][:3].tolist()
            raise InferenceError(
                f"cells {strange or cells[:3].tolist()} of the maps are empty, or out of order"
            )
        return self._keep(keep)

    def _keep(self, keep: IntArray) -> Inputs:
        if len(keep) == len(self.cells):
            return self
        return Inputs(
            self.cells[keep],
            self.statistics.select(keep),
            self.centers[keep],
            self.areas[keep],
            self.partition,
        )

    def in_time(self) -> tuple[IntArray, IntArray, FloatArray]:
        """Return the links of each cell with itself in the segments around (CSR), and mid-times (s)."""
        segments = self.partition.segments
        if segments is None:
            raise InferenceError(
                "a time prior needs time segments; set `a.time = time.SlidingWindow(duration=...)`"
            )
        adjacency = self.partition.time_adjacency().tocsr()
        times = np.asarray(segments, dtype=float).mean(axis=1)
        indptr, indices = restrict(adjacency.indptr, adjacency.indices, self.cells)
        return indptr, indices, times[np.asarray(self.partition.segment_of_cell)[self.cells]]
