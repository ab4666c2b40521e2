"""What is divided into cells: the translocations of a region, and the box around them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..errors import SegmentationError
from .tessellation import coordinates

__all__ = ["MAX_CELLS", "as_translocations", "check_cell_count", "support_box"]

MAX_CELLS = 1_000_000


def as_translocations(points: Any) -> Any:
    """Return the translocations of a table of trajectories; other tables as they are.

    Parameters
    ----------
    points : DataFrame or array_like (N, d)
        Trajectories (with columns ``n`` and ``t``), translocations, or mere locations.
    """
    if isinstance(points, pd.DataFrame) and {"n", "t"} <= set(points.columns):
        deltas = [f"d{c}" for c in (*"xyz", "t") if c in points.columns]
        if set(deltas) <= set(points.columns) and not any(
            np.isnan(points[c].to_numpy(dtype=float)).any() for c in deltas
        ):
            return points
        from ..spt_data.tables import translocations

        return translocations(points)
    return points


def support_box(points: Any, box: Any = None) -> np.ndarray:
    """Return the box in which cells are clipped.

    Parameters
    ----------
    points : DataFrame or ndarray (N, d), µm
    box : array_like (2, d), optional
        Lower and upper corner, µm. Default: the hull of the region's boxes if the table
        knows its region (``points.attrs["roi"]["bounding_box"]``), else the bounding box
        of the points.

    Returns
    -------
    ndarray (2, d)
        Enlarged where points lie outside.

    Raises
    ------
    SegmentationError
        If the box has no extent along one axis.
    """
    xy = coordinates(points)
    dimension = xy.shape[1]
    if box is None and isinstance(points, pd.DataFrame):
        box = (points.attrs.get("roi") or {}).get("bounding_box")
    data = np.stack([xy.min(axis=0), xy.max(axis=0)])
    if box is None or not len(box):
        hull = data
    else:
        corners = np.asarray(box, dtype=float)
        corners = corners.reshape(-1, 2, corners.shape[-1])[..., :dimension]
        if corners.shape[-1] < dimension:
            raise SegmentationError(
                f"box: expected corners with {dimension} coordinates as the data have, "
                f"got {corners.shape[-1]}"
            )
        hull = np.stack(
            [np.minimum(corners[:, 0].min(axis=0), data[0]), np.maximum(corners[:, 1].max(axis=0), data[1])]
        )
    flat = np.flatnonzero(~(hull[1] > hull[0]))
    if len(flat) == dimension:
        raise SegmentationError("all points are at the same place: there is nothing to divide into cells")
    if len(flat):
        axes = ", ".join("xyz"[i] for i in flat)
        raise SegmentationError(
            f"all points have the same {axes}: the region has no area; give it a box (`roi`) that has one"
        )
    return hull


def check_cell_count(extent: np.ndarray, distance: float, *, cell: float = 1.0) -> None:
    """Refuse a distance between centers that gives over a million cells.

    Parameters
    ----------
    extent : ndarray (d,), µm
    distance : float, µm
    cell : float
        Area of a cell relative to ``distance ** d``.

    Raises
    ------
    SegmentationError
    """

    def number(step: float) -> float:
        return float(np.prod(np.maximum(extent / step, 1))) / cell

    if number(distance) <= MAX_CELLS:
        return
    low, high = distance, float(extent.max())
    for _ in range(60):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if number(middle) > MAX_CELLS else (low, middle)
    raise SegmentationError(
        f"resolution {distance:.3g} µm would make {number(distance):.3g} cells, more than a million; "
        f"a resolution of {high:.3g} µm would make a million"
    )
