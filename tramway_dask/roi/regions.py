"""Definitions of regions of interest: boxes in space and time, grouped where they overlap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..cards import guarded
from ..errors import RegionError, suggest
from .boxes import Box, boxes_from, boxes_from_squares, read_boxes, roi_file, roi_files
from .card import regions_card
from .density import density_based_roi
from .support import FullRegion, IndividualRegion, SupportRegion

__all__ = ["Regions", "chosen", "overlapping"]

DENSITY_OPTIONS = ("min_kernel_density", "target_pattern_size", "step_size_factor", "dr")


@dataclass(frozen=True)
class _Collection:
    """Boxes under one label, given as such or in files beside the data."""

    label: str
    grouped: bool
    boxes: tuple[Box, ...] | None = None
    path: str | None = None
    suffix: str | None = None
    extension: str = ".txt"
    size: float | None = None
    skip_missing: bool = False
    density: tuple[tuple[str, Any], ...] | None = None


class Regions:
    """Regions of interest of an analyzer (`a.roi`) or of a source (`f.roi`).

    A source without definitions of its own uses those of its analyzer, and without
    any the whole field of view.
    """

    def __init__(self, parent: Any = None) -> None:
        self._parent = parent
        self._collections: list[_Collection] = []
        self._digits: int | None = None
        self._fixed: list[SupportRegion] | None = None
        self._found: dict[_Collection, tuple[Box, ...]] = {}

    def from_bounding_boxes(
        self, boxes: Any, label: str = "", group_overlapping_roi: bool = False
    ) -> Regions:
        """Define regions by their bounds.

        Parameters
        ----------
        boxes : DataFrame or sequence of (lower, upper)
            Table with columns ``x min, x max, y min, y max[, z min, z max][, t min, t max]``, or
            pairs of vectors: space, then time if the region is bounded in time. µm, s.
        label : str
            Name of the collection.
        group_overlapping_roi : bool
            Whether boxes that overlap or touch are processed as one support region.
        """
        return self._define(_Collection(label, group_overlapping_roi, boxes_from(boxes)))

    def from_squares(
        self,
        centers: Any,
        side: float,
        label: str = "",
        group_overlapping_roi: bool = False,
    ) -> Regions:
        """Define square (cubic) regions by their centres, shape (k, d), and side (µm)."""
        return self._define(_Collection(label, group_overlapping_roi, boxes_from_squares(centers, side)))

    def from_ascii_file(
        self,
        path: Any,
        size: float | None = None,
        label: str = "",
        group_overlapping_roi: bool = False,
        place: Any = None,
    ) -> Regions:
        """Read regions from one tab-separated file with bounds, or with centres if `size` is given."""
        boxes = read_boxes(str(path), size, place=place)
        return self._define(_Collection(label, group_overlapping_roi, boxes, path=str(path)))

    def from_ascii_files(
        self,
        suffix: str = "roi",
        extension: str = ".txt",
        size: float | None = None,
        label: str = "",
        group_overlapping_roi: bool = False,
        skip_missing: bool = False,
    ) -> Regions:
        """Read regions from a file beside each source: ``<stem>-<suffix><extension>``.

        Between stem and suffix stands nothing, ``-`` or ``_``: the first for which a file exists
        for the first source. A source that is itself such a file is dropped.

        Raises
        ------
        RegionError
            If a file is missing, unless `skip_missing`.
        """
        defined = self._define(
            _Collection(
                label,
                group_overlapping_roi,
                suffix=suffix,
                extension=extension if extension.startswith(".") else f".{extension}",
                size=size,
                skip_missing=skip_missing,
            )
        )
        self._drop_files()
        return defined

    def from_density(
        self, side: float, label: str = "", group_overlapping_roi: bool = False, **options: float
    ) -> Regions:
        """Define squares of a given side (µm) around the places where localizations are dense.

        The places are found in each source, which is read for it; `options` are those of
        `tramway_dask.roi.utils.density_based_roi`.
        """
        for name in options:
            if name not in DENSITY_OPTIONS:
                raise RegionError(
                    f"from_density: unknown argument {name!r}; {suggest(name, DENSITY_OPTIONS)}"
                )
        boxes_from_squares([[0, 0]], side, "from_density")
        return self._define(
            _Collection(label, group_overlapping_roi, size=side, density=tuple(sorted(options.items())))
        )

    def _define(self, collection: _Collection) -> Regions:
        if any(c.label == collection.label for c in self._collections):
            # the same collection defined again, as when a notebook cell is run twice
            self._collections = [c for c in self._collections if c.label != collection.label]
        self._collections.append(collection)
        return self

    def take(self, other: Regions) -> None:
        """Take over the definitions of another object."""
        if not isinstance(other, Regions):
            raise RegionError(f"roi: expected regions such as roi.from_squares(...), got {other!r}")
        self._collections = list(other._collections)
        self._digits = other._digits
        self._drop_files()

    def _drop_files(self) -> None:
        owner = getattr(self._parent, "_owner", None) if self._is_source else self._parent
        if owner is not None:
            self.drop_files_from(owner.spt_data)

    def drop_files_from(self, data: Any) -> None:
        """Drop the sources of a collection that are files of these regions."""
        for collection in self._collections:
            if collection.suffix is not None:
                data.drop_roi_files(collection.suffix, collection.extension)

    def fix(self, regions: Sequence[SupportRegion]) -> None:
        """Restrict to given regions, for a unit of work."""
        self._fixed = list(regions)

    def fixed_labels(self) -> set[str] | None:
        """Return the labels of the regions of a unit of work; None if not restricted."""
        return None if self._fixed is None else {r.key for r in self._fixed}

    def reset(self) -> None:
        """Forget all definitions."""
        self._collections = []

    def set_num_digits(self, digits: int) -> None:
        """Set the number of digits of an index in a label (default 3)."""
        self._digits = int(digits)

    @property
    def initialized(self) -> bool:
        """Whether any region is defined here."""
        return bool(self._collections)

    @property
    def _is_source(self) -> bool:
        # asked of the class: an answer of the source itself would be to read its file
        return hasattr(type(self._parent), "translocations")

    @property
    def filepath(self) -> str | None:
        """File that the regions of this source are read from."""
        for collection in self._effective()._collections:
            path = self._file_of(collection)
            if path is not None:
                return path
        return None

    def _effective(self) -> Regions:
        """Return the object whose definitions hold for this source."""
        owner = getattr(self._parent, "_owner", None)
        if self._is_source and not self._collections and owner is not None:
            return owner.roi
        return self

    def _file_of(self, collection: _Collection) -> str | None:
        if collection.suffix is None or not self._is_source:
            return collection.path
        if self._parent.path is None:
            return None
        rules = self._effective()
        source, place = self._parent, self._parent.place
        paths = [source.path]
        owner = getattr(source, "_owner", None)
        if rules is not self and owner is not None:
            # those of files that are elsewhere lie beside them
            paths = [s.path for s in owner.spt_data if s.path and s.elsewhere == source.elsewhere] or paths
        suffixed = (collection.suffix, collection.extension)
        if place is None:
            return roi_file(source.path, *suffixed, first=paths[0])
        if not all(map(place.knows, roi_files(source.path, *suffixed))):
            place.load([name for path in paths for name in roi_files(path, *suffixed)])
        return roi_file(source.path, *suffixed, first=paths[0], exists=place.is_file)

    def _resolve(self) -> list[tuple[_Collection, Box, int]]:
        """Return every box of this source with its collection and index in it."""
        found = []
        for collection in self._effective()._collections:
            boxes = collection.boxes
            if collection.density is not None:
                boxes = self._dense_boxes(collection)
            elif boxes is None:
                path = self._file_of(collection)
                place = self._parent.place
                asked = (collection.size, collection.skip_missing)
                boxes = () if path is None else read_boxes(path, *asked, place=place)
            found += [(collection, box, i) for i, box in enumerate(boxes)]
        return found

    def _dense_boxes(self, collection: _Collection) -> tuple[Box, ...]:
        if collection not in self._found:
            assert collection.density is not None
            assert collection.size is not None
            centers = density_based_roi(self._parent.dataframe, **dict(collection.density))
            self._found[collection] = boxes_from_squares(centers, collection.size)
        return self._found[collection]

    def _label(self, collection: str, indices: Sequence[int]) -> str:
        digits = self._digits or self._effective()._digits or 3
        numbers = "-".join(str(i).zfill(digits) for i in indices)
        return f"{collection} {numbers}" if collection else f"roi{numbers}"

    def support_regions(self) -> list[SupportRegion]:
        """Return the support regions of this source, in order."""
        if self._fixed is not None:
            return self._fixed
        source, owner = self._parent, getattr(self._parent, "_owner", None)
        seed = getattr(owner, "seed", 0)
        boxes = self._resolve()
        if not boxes:
            if self._effective()._collections and not any(
                c.skip_missing for c in self._effective()._collections
            ):
                raise RegionError(f"{source.name}: regions of interest are defined, but none has a box")
            return [FullRegion(source, 0, (), None, seed)]
        regions = []
        for index, members in enumerate(_groups(boxes)):
            parts: dict[str, list[int]] = {}
            for m in members:
                parts.setdefault(boxes[m][0].label, []).append(boxes[m][2])
            label = " - ".join(self._label(name, indices) for name, indices in parts.items())
            regions.append(SupportRegion(source, index, [boxes[m][1] for m in members], label, seed))
        return regions

    def as_support_regions(
        self, index: Any = None, source: Any = None, return_index: bool = False
    ) -> Iterator[Any]:
        """Iterate over support regions: those of this source, or of all sources.

        Parameters
        ----------
        index : int, collection of int, or function of the index, optional
            Which ones, counted within each source.
        source : str or function of the path, optional
            Of which sources.
        return_index : bool
            Yield (index, region) pairs.
        """
        for item in self._sources(source):
            for region in item.roi.support_regions():
                if chosen(index, region.index):
                    yield (region.index, region) if return_index else region

    def as_individual_roi(
        self,
        index: Any = None,
        collection: str | None = None,
        source: Any = None,
        return_index: bool = False,
    ) -> Iterator[Any]:
        """Iterate over the boxes as they were defined (or full regions if there is none)."""
        for item in self._sources(source):
            boxes = item.roi._resolve()
            if not boxes:
                for region in item.roi.support_regions():
                    yield (region.index, region) if return_index else region
            for definition, box, i in boxes:
                if collection in (None, definition.label) and chosen(index, i):
                    label = item.roi._label(definition.label, [i])
                    if definition.label and definition.grouped:
                        label = label.replace(definition.label, f"{definition.label} roi", 1)
                    region = IndividualRegion(item, box, definition.label, i, label)
                    yield (i, region) if return_index else region

    def get_support_region(self, index: int, collection: str | None = None) -> SupportRegion:
        """Return the support region of the box of a given index (and collection)."""
        if not self._is_source:
            if len(self._parent.spt_data) != 1:
                raise RegionError("several sources: use `f.roi.get_support_region(i)` on one of them")
            return self._parent.spt_data[0].roi.get_support_region(index, collection)
        boxes = self._resolve()
        if not boxes:
            return self.support_regions()[index]
        for region, members in zip(self.support_regions(), _groups(boxes), strict=True):
            for m in members:
                if boxes[m][2] == index and collection in (None, boxes[m][0].label):
                    return region
        raise RegionError(
            f"{self._parent.name}: no region of interest of index {index}; there are {len(boxes)}"
        )

    def _sources(self, source: Any) -> Iterator[Any]:
        if self._is_source:
            yield self._parent
        elif self._parent is not None:
            yield from self._parent.spt_data.filter_by_source(source)

    def __repr__(self) -> str:
        if not self._collections:
            return "Regions(whole field of view)"
        parts = [
            f"{c.label or 'roi'}: "
            + (f"{len(c.boxes)} boxes" if c.boxes is not None else f"*{c.suffix}{c.extension}")
            for c in self._collections
        ]
        return f"Regions({'; '.join(parts)})"

    @guarded
    def _repr_html_(self) -> str:
        rules = self._effective()
        return regions_card(rules._collections, own=rules is self)


def chosen(wanted: Any, index: int) -> bool:
    """Tell whether an index is among those wanted: None for all, numbers, or a function of the index."""
    if wanted is None:
        return True
    if callable(wanted):
        return bool(wanted(index))
    return index in np.atleast_1d(wanted)


def _groups(boxes: Sequence[tuple[_Collection, Box, int]]) -> list[list[int]]:
    """Group boxes that overlap or touch, transitively, where their collections ask for it."""
    return overlapping([box for _, box, _ in boxes], [c.grouped for c, _, _ in boxes])


def overlapping(boxes: Sequence[Box], grouped: Sequence[bool] | None = None) -> list[list[int]]:
    """Return groups of boxes that overlap or touch, transitively, as lists of their numbers.

    Parameters
    ----------
    boxes : sequence of Box
    grouped : sequence of bool, optional
        Which of them may be grouped; default: all.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    k = len(boxes)
    may = np.ones(k, dtype=bool) if grouped is None else np.array(grouped, dtype=bool)
    if not may.any() or len({len(box.lower) for box in boxes}) != 1:
        return [[i] for i in range(k)]
    lower = np.array([b.lower for b in boxes])
    upper = np.array([b.upper for b in boxes])
    touch = np.ones((k, k), dtype=bool)
    for axis in range(lower.shape[1]):
        touch &= lower[:, None, axis] <= upper[None, :, axis]
        touch &= lower[None, :, axis] <= upper[:, None, axis]
    touch &= may[:, None] & may[None, :]
    np.fill_diagonal(touch, True)
    _, label = connected_components(coo_array(touch), directed=False)
    groups: dict[int, list[int]] = {}
    for i, g in enumerate(label):
        groups.setdefault(int(g), []).append(i)
    return list(groups.values())
