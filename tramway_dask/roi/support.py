"""Pieces of a source: one box as defined, or the data of boxes that are processed together."""

from __future__ import annotations

import contextlib
import copy
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..errors import DataError, UnknownAttributeError
from ..spt_data import filters
from ..spt_data.analyses import FULL_REGION, Analyses, Artefact, Label
from ..spt_data.tables import translocations
from .boxes import Box

if TYPE_CHECKING:
    from ..spt_data.sources import Source

__all__ = ["FullRegion", "IndividualRegion", "SupportRegion"]


def plots_of(region: Any) -> Any:
    """Return the plots of a region, which its analyzer makes."""
    owner = region.source._owner
    if owner is None:
        raise UnknownAttributeError("this region belongs to no analyzer: use tramway_dask.plot")
    return owner.plots_of(region)


@dataclass(frozen=True)
class IndividualRegion:
    """One box, as defined."""

    source: Source = field(repr=False)
    box: Box
    collection: str
    index: int
    label: str

    @property
    def bounding_box(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper bounds: space, then time if the region is bounded in time."""
        return np.array(self.box.lower), np.array(self.box.upper)

    @property
    def mpl(self) -> Any:
        """Plots of its trajectories, by TRamWAy's names."""
        return plots_of(self)

    def crop(self, table: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return the translocations whose origin is in the box."""
        table = self.source.translocations if table is None else table
        return self.box.crop(table, self.label)

    def get_support_region(self) -> SupportRegion:
        """Return the support region that this box is part of."""
        return self.source.roi.get_support_region(self.index, self.collection)


class SupportRegion:
    """The data of a region of interest, or of several that overlap, in one source.

    Attributes
    ----------
    source : Source
        Where the data come from.
    index : int
        Position among the support regions of the source.
    boxes : tuple of Box
        The member boxes.
    label : str or None
        As in results; None for the whole field of view.
    """

    def __init__(
        self, source: Source, index: int, boxes: Sequence[Box], label: str | None, seed: int = 0
    ) -> None:
        self.source = source
        self.index = index
        self.boxes = tuple(boxes)
        self.label = label
        self.seed = seed
        self._rows: Any = None

    @property
    def key(self) -> str:
        """Label in results; that of the whole field if there is no region."""
        return FULL_REGION if self.label is None else self.label

    @property
    def spt_data(self) -> Source:
        """The source."""
        return self.source

    _spt_data = spt_data

    @property
    def logger(self) -> Any:
        """Logger of the analyzer."""
        return self.source.logger

    @property
    def mpl(self) -> Any:
        """Plots of its trajectories, by TRamWAy's names."""
        return plots_of(self)

    @property
    def bounding_box(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Lower and upper bounds of the hull of the boxes: space, then time if bounded in time."""
        if not self.boxes:
            return None
        return (
            np.min([b.lower for b in self.boxes], axis=0),
            np.max([b.upper for b in self.boxes], axis=0),
        )

    @property
    def rng(self) -> np.random.Generator:
        """Random numbers that depend on the analyzer's seed, the source and the region only."""
        words = hashlib.sha256(f"{self.source.name}\0{self.key}".encode()).digest()
        return np.random.default_rng([self.seed, *np.frombuffer(words, dtype=np.uint32)])

    def crop(self, table: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return the translocations whose origin is in the region.

        Parameters
        ----------
        table : DataFrame, optional
            Default: all translocations of the source.

        Returns
        -------
        DataFrame
            Columns ``n, x, y[, z], t, dx, dy[, dz], dt``; ``attrs`` tell the region and the
            localization precision.
        """
        if table is None and self._rows is not None:
            if not isinstance(self._rows, pd.DataFrame):
                raise DataError(
                    f"source {self.source.name!r} is read in blocks: the translocations of its whole field of view are "
                    "not in memory; define regions of interest, or set blocksize = None"
                )
            rows = self._rows
        else:
            rows = self.select(self.source.translocations if table is None else table)
        rows = rows.copy()
        rows.attrs.update(self.context())
        return rows

    @property
    def reduced(self) -> Any:
        """The partition of a source read in blocks, if it was made block by block; else None."""
        return None if isinstance(self._rows, pd.DataFrame) else self._rows

    def select(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of a table of translocations that belong to the region."""
        if len(self.boxes) == 1:
            return self.boxes[0].crop(table, self.key)
        inside = np.logical_or.reduce([box.contains(table, self.key) for box in self.boxes])
        return filters.select_origins(table, inside)

    def context(self) -> dict[str, Any]:
        """Return what travels with the rows of this region."""
        return {
            "roi": {"label": self.label, "bounding_box": [(b.lower, b.upper) for b in self.boxes] or None},
            "localization_precision": self.source.localization_precision,
            "source": self.source.name,
        }

    def discard_static_trajectories(
        self, table: pd.DataFrame, min_msd: float | None = None, **options: Any
    ) -> pd.DataFrame:
        """Drop translocations shorter than the localization precision.

        With neither `min_msd` nor a known precision, nothing is dropped.
        """
        return self.source.discard_static_trajectories(table, min_msd, **options)

    def get_sampling(self, label: Label | Callable[[Label], Label] | None = None) -> Any:
        """Return the partition of this region from the analysis tree."""
        if callable(label):
            label = label(self.key)
        label = self.key if label is None else label
        return self.source.analyses.of_region(label, self.key).data

    def add_sampling(
        self, sampling: Artefact, label: Label | None = None, comment: str | None = None
    ) -> None:
        """Store a partition of this region in the analysis tree."""
        param = getattr(sampling, "param", None)
        if param is not None and (param.get("roi") or {}).get("label") is None:
            param["roi"] = self.context()["roi"]
        self.source.analyses.add(sampling, self.key if label is None else label, comment)

    @contextlib.contextmanager
    def autosaving(self) -> Iterator[Analyses]:
        """Yield the analysis tree and store at the end what was set in it."""
        with self.source.autosaving() as tree:
            yield tree

    def of_source(self, source: Source, rows: Any = None) -> SupportRegion:
        """Return this region as one of another source object, with its rows if they are known."""
        region = copy.copy(self)
        region.source = source
        region._rows = rows
        return region

    def __getstate__(self) -> dict[str, Any]:
        # regions travel to workers without their source
        return dict(self.__dict__, source=None, _rows=None)

    def __repr__(self) -> str:
        name = self.source.name if self.source is not None else "?"
        return f"{type(self).__name__}({name!r}, {self.key!r})"


class FullRegion(SupportRegion):
    """The whole field of view of a source without regions of interest."""

    def select(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the translocations of a table."""
        return translocations(table)
