"""What a tesseller needs to know of data that are not in memory, gathered block by block."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..errors import SegmentationError
from .calibration import Tesseller
from .lattice import TimeLattice
from .partition import Partition
from .segmenting import cells_for
from .tessellation import SPACE, Tessellation
from .tesseller import from_callable
from .tessellers import Hexagons, Squares
from .time import Segments, SlidingWindow

__all__ = ["SAMPLE", "ReducedPartition", "Survey", "lattice_of", "survey"]

# translocations of which tessellers other than grids grow their cells
SAMPLE = 100_000


@dataclass(frozen=True, eq=False)
class Survey:
    """Counts, extremes and a sample of translocations; two of them add up.

    Attributes
    ----------
    count : int
        Translocations.
    length : float, µm
        Sum of their lengths.
    extremes : DataFrame
        Translocations with the smallest and largest coordinates and times.
    sample : DataFrame
        At most `SAMPLE` of them, chosen by a digest of (n, t) and thus whatever the blocks.
    keys : ndarray of uint64
        The digests.
    """

    count: int
    length: float
    extremes: pd.DataFrame
    sample: pd.DataFrame
    keys: np.ndarray

    def __add__(self, other: Survey) -> Survey:
        if not self.count or not other.count:
            return self if self.count else other
        if list(self.sample.columns) != list(other.sample.columns):
            raise SegmentationError(
                f"blocks of the file differ in their columns: {list(self.sample.columns)} and "
                f"{list(other.sample.columns)}; name the columns of the file, columns=[...]"
            )
        sample, keys = pd.concat([self.sample, other.sample]), np.concatenate([self.keys, other.keys])
        return Survey(
            self.count + other.count,
            self.length + other.length,
            _extremes(pd.concat([self.extremes, other.extremes])),
            *_smallest(sample, keys),
        )

    def table(self) -> pd.DataFrame:
        """Return extremes and sample, each translocation once, in order."""
        both = pd.concat([self.extremes, self.sample]).drop_duplicates(["n", "t"])
        return both.sort_values(["n", "t"]).reset_index(drop=True)


def survey(table: pd.DataFrame) -> Survey:
    """Return the survey of a table of translocations."""
    deltas = table[[f"d{c}" for c in SPACE if f"d{c}" in table]].to_numpy(dtype=float)
    keys = pd.util.hash_pandas_object(table[["n", "t"]], index=False).to_numpy()
    length = float(np.sqrt((deltas**2).sum(axis=1)).sum())
    return Survey(len(table), length, _extremes(table), *_smallest(table, keys))


def _extremes(table: pd.DataFrame) -> pd.DataFrame:
    if table.empty:
        return table
    rows = [f(table[c].to_numpy()) for c in (*SPACE, "t") if c in table for f in (np.argmin, np.argmax)]
    return table.iloc[sorted(set(map(int, rows)))].reset_index(drop=True)


def _smallest(table: pd.DataFrame, keys: np.ndarray) -> tuple[pd.DataFrame, np.ndarray]:
    if len(keys) > SAMPLE:
        chosen = np.sort(np.argpartition(keys, SAMPLE)[:SAMPLE])
        table, keys = table.iloc[chosen], keys[chosen]
    return table.reset_index(drop=True), keys


def lattice_of(
    found: Survey, *, tesseller: Any, time: Any = None, attrs: dict[str, Any] | None = None
) -> Tessellation | TimeLattice:
    """Divide space, and time, for translocations of which only a survey is known.

    Grids and hexagons are those that all translocations would give; other tessellers see a sample.

    Raises
    ------
    SegmentationError
        If the tesseller or the time windows need all translocations.
    """
    table = found.table()
    table.attrs.update(attrs or {})
    whole = found.count <= SAMPLE
    if isinstance(tesseller, type) or callable(tesseller):
        tesseller = from_callable(tesseller)
    if isinstance(time, SlidingWindow | Segments) and time.frames and not whole:
        raise SegmentationError(
            "time windows in frames need all times of the data, which are read in blocks: give them in seconds"
        )
    if isinstance(tesseller, Tesseller):
        if tesseller.post_processing is not None and not whole:
            raise SegmentationError(
                "cells are merged by counting all translocations, which are read in blocks: "
                "leave post_processing out, or set a larger resolution"
            )
        if isinstance(tesseller, Hexagons) and tesseller.tilt and not whole:
            raise SegmentationError(
                "tilted hexagons turn around the mean of all points, which are read in blocks: leave tilt out"
            )
        tesseller = copy.copy(tesseller)
        calibration = tesseller.calibrated(found.length / found.count or None, found.count)
        tesseller.calibrate = "first"
        tesseller._calibration = calibration
        if isinstance(tesseller, Squares | Hexagons) and not whole:
            table = found.extremes.copy()
            table.attrs.update(attrs or {})
    return cells_for(table, tesseller, time)


class ReducedPartition(Partition):
    """A partition whose translocations were reduced to sums, block by block.

    Attributes
    ----------
    statistics : CellStatistics
        All that the models of diffusivity, drift, force and potential need.
    """

    def __init__(
        self, lattice: Tessellation | TimeLattice, counts: np.ndarray, statistics: Any, param: dict[str, Any]
    ) -> None:
        indptr = np.concatenate([[0], np.cumsum(counts)])
        super().__init__(pd.DataFrame(), lattice, indptr, np.empty(0, np.int64), param)
        self.statistics = statistics

    @property
    def points(self) -> pd.DataFrame:
        """Not in memory.

        Raises
        ------
        SegmentationError
            Always.
        """
        raise SegmentationError(
            "the translocations of this sampling are not in memory: the source was read in blocks and reduced to "
            "sums per cell, which D, DD, DF, DV and Density need only; for anything else define regions of "
            "interest, or set blocksize = None"
        )

    @points.setter
    def points(self, table: pd.DataFrame) -> None:
        pass

    def __len__(self) -> int:
        return int(self.indptr[-1])

    def _summary(self) -> dict[str, str]:
        return {
            "region": self.region_label,
            "assignments": f"{len(self)}",
            "cells": f"{self.number_of_cells}",
        }

    @property
    def _size(self) -> int:
        return int(self.location_count.sum())

    def __repr__(self) -> str:
        return f"ReducedPartition({len(self)} translocations in {self.number_of_cells} cells)"
