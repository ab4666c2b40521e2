"""Regions that are the same place: in one file, or in two."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import RegionError
from .boxes import boxes_from

__all__ = ["distance_to_roi_center", "group_roi"]


def group_roi(
    a: Any, *b: Any, overlap: float = 0.75, return_matches_only: bool = False
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Put regions together that overlap: within one list, or those of a second list into the first.

    Each box of `a` is replaced by the hull of itself and its matches: the boxes (of `b` if given)
    with which the common part makes at least `overlap` of the smaller box. Within one list, a box
    that an earlier one has matched is not looked at again. One pass in the given order: matches of
    matches do not count.

    Parameters
    ----------
    a : sequence of (lower, upper), or DataFrame of bounds
        Boxes in space, or in space and time. Time counts like one more dimension: choose its unit
        so that it does.
    *b : same, optional
        Boxes of another file.
    overlap : float
        Least share of the smaller box, above 0 and at most 1.
    return_matches_only : bool
        Leave out the boxes without a match.

    Returns
    -------
    list of (lower, upper)

    Raises
    ------
    RegionError
        If the boxes have different dimensions, or `overlap` is not a share.
    """
    if len(b) > 1:
        raise RegionError("group_roi takes one or two lists of regions; `overlap` is given by its name")
    if not 0 < overlap <= 1:
        raise RegionError(f"overlap: expected a number above 0 and at most 1, got {overlap!r}")
    own = _corners(a)
    others = _corners(b[0]) if b and b[0] is not a else own
    within = others is own
    if own.shape[2] != others.shape[2]:
        raise RegionError(f"regions of {own.shape[2]} and of {others.shape[2]} coordinates cannot be matched")
    absorbed = np.zeros(len(others), bool)
    sizes = np.prod(others[:, 1] - others[:, 0], axis=1)
    grouped = []
    for i, (lower, upper) in enumerate(own):
        if within and absorbed[i]:
            continue
        common = np.minimum(upper, others[:, 1]) - np.maximum(lower, others[:, 0])
        share = np.prod(np.maximum(common, 0), axis=1) / np.minimum(np.prod(upper - lower), sizes)
        matched = (common > 0).all(axis=1) & (share >= overlap)
        if within:
            matched[i] = False
            absorbed |= matched
        if matched.any():
            lower = np.minimum(lower, others[matched, 0].min(axis=0))
            upper = np.maximum(upper, others[matched, 1].max(axis=0))
        elif return_matches_only:
            continue
        grouped.append((lower, upper))
    return grouped


def _corners(boxes: Any) -> np.ndarray:
    """Return lower and upper corners, ndarray (k, 2, d)."""
    found = [(box.lower, box.upper) for box in boxes_from(boxes)]
    if len({len(lower) for lower, _ in found}) > 1:
        raise RegionError("all regions must have the same number of coordinates")
    return np.array(found)


def distance_to_roi_center(roi: Any, sampling: Any) -> np.ndarray:
    """Return the distance of each spatial cell's center to the center of a region's box.

    Parameters
    ----------
    roi : IndividualRegion or SupportRegion
        Or anything else with a `bounding_box`, (lower, upper): time, if there, is left out.
    sampling : Partition, Node or Tessellation

    Returns
    -------
    ndarray (M,), µm

    Raises
    ------
    RegionError
        If the region is the whole field of view, or has fewer dimensions than the cells.
    """
    sampling = getattr(sampling, "data", sampling)
    cells = getattr(sampling, "tessellation", sampling).spatial_mesh.centers
    if roi.bounding_box is None:
        raise RegionError("the whole field of view has no box: choose an individual region")
    middle = (np.asarray(roi.bounding_box[0]) + np.asarray(roi.bounding_box[1])) / 2
    dimension = cells.shape[1]
    if len(middle) not in (dimension, dimension + 1):
        raise RegionError(f"the region has {len(middle)} coordinates, the cells have {dimension}")
    return np.sqrt(((cells - middle[:dimension]) ** 2).sum(axis=1))
