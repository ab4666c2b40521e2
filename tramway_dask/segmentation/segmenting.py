"""From translocations to a partition: the functions that put the pieces together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..component import Component
from ..errors import SegmentationError, SpecificationError
from .assignment import assign
from .calibration import as_translocations, support_box
from .lattice import TimeLattice
from .locating import NestedCells
from .partition import Partition
from .tessellation import SPACE, Tessellation, coordinates
from .tesseller import from_callable

__all__ = ["cells_for", "described_cells", "described_data", "sample", "segment"]


def _described(component: Any) -> Any:
    if component is None or isinstance(component, Component):
        return None if component is None else component.to_dict()
    return repr(component)


def _table(points: Any) -> pd.DataFrame:
    if not isinstance(points, pd.DataFrame):
        array = np.asarray(points, dtype=float)
        if array.ndim != 2 or array.shape[1] not in (2, 3):
            raise SegmentationError(
                f"expected a table of translocations or an array (N, 2 or 3), got shape {array.shape}"
            )
        points = pd.DataFrame(array, columns=list(SPACE[: array.shape[1]]))
    attrs = dict(points.attrs)
    table = as_translocations(points)
    table = table.reset_index(drop=True) if table is points else table
    table.attrs = {**attrs, **table.attrs}
    if not len(table):
        label = (attrs.get("roi") or {}).get("label")
        where = f"region {label!r}" if label else "the data"
        raise SegmentationError(f"no translocation in {where}: nothing can be segmented")
    return table


def sample(
    points: Any,
    lattice: Tessellation | TimeLattice,
    *,
    sampler: Any = None,
    param: dict[str, Any] | None = None,
) -> Partition:
    """Assign translocations to given cells.

    Parameters
    ----------
    points : DataFrame
        Trajectories or translocations.
    lattice : Tessellation or TimeLattice
    sampler : sampler component, optional
        Default: each translocation in the cell of the nearest center.
    param : dict, optional
        Added to the partition's `param`.

    Returns
    -------
    Partition
    """
    return _sampled(_table(points), lattice, sampler, param or {})


def _sampled(
    points: pd.DataFrame, lattice: Tessellation | TimeLattice, sampler: Any, param: dict[str, Any]
) -> Partition:
    space = [c for c in SPACE if c in points.columns]
    if len(space) != lattice.dimension:
        raise SegmentationError(
            f"the translocations have {len(space)} space coordinates, the cells have {lattice.dimension}"
        )
    if isinstance(lattice, TimeLattice) and isinstance(lattice.spatial_mesh.lattice, NestedCells):
        raise SegmentationError(
            "nested cells cannot be combined with time windows: use a single tesseller, or no window"
        )
    if isinstance(lattice, TimeLattice) and "t" not in points.columns:
        raise SegmentationError("time segments need translocations with a column 't' (s)")
    if sampler is None:
        times = points["t"].to_numpy() if "t" in points.columns else None
        indptr, indices = assign(coordinates(points), times, lattice)
    else:
        indptr, indices = sampler.assign(points, lattice)
    attrs = points.attrs
    return Partition(points, lattice, indptr, indices, {**described_data(attrs, sampler), **param})


def described_data(attrs: Any, sampler: Any) -> dict[str, Any]:
    """Return what a partition remembers of its data and sampler."""
    return {
        "method": None,
        "tesseller": None,
        "sampler": _described(sampler),
        "time": None,
        "roi": dict(attrs.get("roi") or {"label": None, "bounding_box": None}),
        "localization_precision": attrs.get("localization_precision"),
    }


def segment(
    points: Any, *, tesseller: Any, sampler: Any = None, time: Any = None, box: Any = None
) -> Partition:
    """Divide the translocations of a region into cells, and time segments.

    Parameters
    ----------
    points : DataFrame
        Trajectories or translocations of a region.
    tesseller : Tesseller, class, function or Tessellation, or None
        How space is divided, or the cells themselves. None, with `time`, for a single
        cell.
    sampler : VoronoiSampler or Knn, optional
        How translocations are assigned. Default: to the cell of the nearest center.
    time : SlidingWindow, optional
        How time is divided.
    box : array_like (2, d), optional
        Lower and upper corner of the region, µm. Default: the region's box, if the table
        knows it, else the bounding box of the data.

    Returns
    -------
    Partition

    Raises
    ------
    SegmentationError
        If there are too few translocations, or the resolution does not suit the region.
    SpecificationError
        If `tesseller` and `time` are both None.

    Examples
    --------
    >>> import numpy as np
    >>> from tramway_dask.segmentation import Hexagons
    >>> points = np.random.default_rng(0).random((1000, 2))
    >>> segment(points, tesseller=Hexagons(resolution=0.5), box=[[0, 0], [1, 1]])
    Partition(1000 translocations, 8 cells, 1000 assignments)
    """
    sampler = sampler() if isinstance(sampler, type) else sampler
    time = time() if isinstance(time, type) else time
    table = _table(points)
    tesseller = (
        tesseller if isinstance(tesseller, Tessellation) or tesseller is None else from_callable(tesseller)
    )
    lattice = cells_for(table, tesseller, time, box=box)
    return _sampled(table, lattice, sampler, described_cells(tesseller, time))


def cells_for(table: Any, tesseller: Any, time: Any, *, box: Any = None) -> Tessellation | TimeLattice:
    """Return the cells of a table of translocations; parameters as for `segment`."""
    if isinstance(tesseller, Tessellation):
        mesh = tesseller
    elif tesseller is None:
        if time is None:
            raise SpecificationError("no tesseller: choose one, as in `a.tesseller = tessellers.Hexagons`")
        support = support_box(table, box)
        mesh = Tessellation.from_centers(support.mean(axis=0, keepdims=True), support)
    else:
        mesh = tesseller.tessellate(table, box=box)
    return mesh if time is None else time.segment(table, mesh)


def described_cells(tesseller: Any, time: Any) -> dict[str, Any]:
    """Return what a partition remembers of how its cells were made."""
    return {
        "method": type(tesseller).__name__,
        "tesseller": _described(tesseller),
        "time": _described(time),
    }
