"""Voronoi cells clipped to a box: their areas, outlines and shared faces.

Plain arrays in, plain arrays out; nothing here knows of tessellers or data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SegmentationError

if TYPE_CHECKING:
    import scipy.sparse as sp

__all__ = ["Cells", "box_edges", "clipped_hexagons", "clipped_voronoi", "cuboids", "pairs_to_adjacency"]

# faces smaller than this fraction of the box are contacts at a corner or an edge
CONTACT = 1e-9


@dataclass(frozen=True)
class Cells:
    """Geometry of m clipped cells.

    Attributes
    ----------
    areas : ndarray (m,)
        Area or volume within the box, µm^d.
    pairs : ndarray (p, 2) of intp
        Pairs i < j of cells that share a face within the box.
    vertices : ndarray (k, 2), µm
        Outlines, counter-clockwise, one after the other; empty in 3-D.
    polygon_offsets : ndarray (m + 1,) of intp
        Cell i has ``vertices[polygon_offsets[i]:polygon_offsets[i + 1]]``.
    """

    areas: np.ndarray
    pairs: np.ndarray
    vertices: np.ndarray
    polygon_offsets: np.ndarray


def pairs_to_adjacency(pairs: np.ndarray, size: int) -> sp.csr_array:
    """Return the symmetric boolean matrix of a list of pairs of cells.

    Parameters
    ----------
    pairs : ndarray (p, 2) of int
    size : int
        Number of cells.
    """
    import scipy.sparse as sp

    pairs = np.asarray(pairs, dtype=np.int32).reshape(-1, 2)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    both = np.concatenate([pairs, pairs[:, ::-1]])
    adjacency = sp.coo_array((np.ones(len(both), bool), (both[:, 0], both[:, 1])), shape=(size, size)).tocsr()
    adjacency.sum_duplicates()
    adjacency.data[:] = True
    return adjacency


def clipped_voronoi(centers: np.ndarray, box: np.ndarray) -> Cells:
    """Compute the Voronoi cells of `centers` clipped to `box`.

    Parameters
    ----------
    centers : ndarray (m, d), µm
        d is 2 or 3; in 3-D the centers must lie in the box.
    box : ndarray (2, d), µm
        Lower and upper corner.

    Returns
    -------
    Cells
        Of several centers at the same place only the first has an area.

    Raises
    ------
    SegmentationError
        In 3-D, if a center lies outside the box.
    """
    size, dimension = centers.shape
    order = np.lexsort(centers.T)
    repeated = (centers[order[1:]] == centers[order[:-1]]).all(axis=1)
    kept = np.sort(order[np.append(True, ~repeated)])
    # Qhull merges points that are close relative to the largest coordinate
    origin, scale = box.mean(axis=0), float((box[1] - box[0]).max())
    unique = (centers[kept] - origin) / scale
    unit_box = (box - origin) / scale
    if dimension == 2:
        pairs, corners, owner = _planar(unique, unit_box)
        areas, vertices, offsets = _outlines(corners, owner, len(kept))
        vertices = np.clip(vertices * scale + origin, box[0], box[1])
    else:
        areas, pairs = _mirrored(unique, unit_box)
        vertices, offsets = np.empty((0, 2)), np.zeros(len(kept) + 1, np.intp)
    lengths = np.zeros(size, np.intp)
    lengths[kept] = np.diff(offsets)
    all_areas = np.zeros(size)
    all_areas[kept] = areas * scale**dimension
    return Cells(all_areas, kept[pairs], vertices, np.concatenate([[0], np.cumsum(lengths)]))


def clipped_hexagons(centers: np.ndarray, corners: np.ndarray, box: np.ndarray) -> Cells:
    """Compute the cells of touching hexagons clipped to `box`.

    Parameters
    ----------
    centers : ndarray (m, 2), µm
    corners : ndarray (6, 2), µm
        Relative to the centers.
    box : ndarray (2, 2), µm

    Returns
    -------
    Cells
        The Voronoi cells; those at the border reach farther than their hexagon where the
        hexagons do not cover the box. Pairs are only computed in that case.
    """
    origin, scale = box.mean(axis=0), float((box[1] - box[0]).max())
    unit_box, middles = (box - origin) / scale, (centers - origin) / scale
    outlines = (middles[:, None] + corners / scale).reshape(-1, 2)
    points, owner = _clip(outlines, np.repeat(np.arange(len(centers)), 6), middles, unit_box)
    areas, vertices, offsets = _outlines(points, owner, len(centers))
    whole = float(np.prod(unit_box[1] - unit_box[0]))
    if abs(areas.sum() - whole) > 1e-11 * whole:
        return clipped_voronoi(centers, box)
    vertices = np.clip(vertices * scale + origin, box[0], box[1])
    return Cells(areas * scale**2, np.empty((0, 2), np.intp), vertices, offsets)


def _planar(centers: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return adjacent pairs, and the clipped cells' corners with the cell each belongs to."""
    from scipy.spatial import Voronoi

    reach = 20 * max(float(np.abs(centers).max()), float(np.abs(box).max()))
    # far points close every cell and make any number of centers enough for Qhull
    angles = 0.3 + 2 * np.pi * np.arange(5) / 5
    far = reach * np.column_stack([np.cos(angles), np.sin(angles)])
    diagram = Voronoi(np.concatenate([centers, far]))
    ends = np.asarray(diagram.ridge_vertices, dtype=np.intp).reshape(-1, 2)
    between = diagram.ridge_points
    closed = (ends >= 0).all(axis=1)
    ends, between = ends[closed], between[closed]
    real = (between < len(centers)).all(axis=1)
    inside = _length_in_box(diagram.vertices[ends[:, 0]], diagram.vertices[ends[:, 1]], box) > CONTACT
    pairs = np.sort(between[real & inside], axis=1)
    # SciPy's 32 bits do not hold the product of cells and corners below
    owner = np.repeat(between.ravel(), 2).astype(np.int64)
    corner = np.tile(ends, (1, 2)).ravel()
    mine = owner < len(centers)
    count = len(diagram.vertices)
    owner, corner = np.divmod(np.unique(owner[mine] * count + corner[mine]), count)
    points, owner = _clip(diagram.vertices[corner], owner, centers, box)
    return pairs, points, owner


def _length_in_box(start: np.ndarray, stop: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return the length of segments within a box (Liang and Barsky, 1984)."""
    delta = stop - start
    with np.errstate(divide="ignore", invalid="ignore"):
        first, second = (box[0] - start) / delta, (box[1] - start) / delta
    enter = np.where(delta == 0, -np.inf, np.minimum(first, second))
    leave = np.where(delta == 0, np.inf, np.maximum(first, second))
    outside = ((delta == 0) & ((start < box[0]) | (start > box[1]))).any(axis=1)
    part = np.minimum(leave.min(axis=1), 1) - np.maximum(enter.max(axis=1), 0)
    return np.where(outside, 0, np.maximum(part, 0)) * np.sqrt((delta**2).sum(axis=1))


def _clip(
    points: np.ndarray, owner: np.ndarray, centers: np.ndarray, box: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Clip the convex polygons given by their corners; polygons within the box stay as they are."""
    import shapely

    points, owner = _around(points, owner, centers)
    outside = ((points < box[0]) | (points > box[1])).any(axis=1)
    cut = np.zeros(len(centers), bool)
    cut[owner[outside]] = True
    ring, cells = points[cut[owner]], owner[cut[owner]]
    if not len(cells):
        return points, owner
    cells, sizes = np.unique(cells, return_counts=True)
    enough = sizes > 2
    ring, cells, sizes = ring[np.repeat(enough, sizes)], cells[enough], sizes[enough]
    rings = shapely.linearrings(ring, indices=np.repeat(np.arange(len(cells)), sizes))
    parts = shapely.clip_by_rect(shapely.polygons(rings), *box[0], *box[1])
    parts = np.where(shapely.get_type_id(parts) == shapely.GeometryType.POLYGON, parts, None)
    clipped, index = shapely.get_coordinates(parts, return_index=True)
    if len(index):
        # the closing corner repeats the first
        last = np.append(index[1:] != index[:-1], True)
        clipped, index = clipped[~last], index[~last]
    whole = ~cut[owner]
    return np.concatenate([points[whole], clipped]), np.concatenate([owner[whole], cells[index]])


def _around(points: np.ndarray, owner: np.ndarray, middle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sort corners by cell, then counter-clockwise around a point of the cell."""
    arm = points - middle[owner]
    order = np.lexsort((np.arctan2(arm[:, 1], arm[:, 0]), owner))
    return points[order], owner[order]


def _outlines(points: np.ndarray, owner: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return areas, sorted corners and offsets of convex polygons."""
    count = np.bincount(owner, minlength=size)
    sums = np.column_stack([np.bincount(owner, weights=w, minlength=size) for w in points.T])
    middle = sums / np.maximum(count, 1)[:, None]
    points, owner = _around(points, owner, middle)
    offsets = np.concatenate([[0], np.cumsum(count)]).astype(np.intp)
    arm = points - middle[owner]
    following = np.arange(1, len(points) + 1)
    full = count > 0
    following[offsets[1:][full] - 1] = offsets[:-1][full]
    cross = arm[:, 0] * arm[following, 1] - arm[:, 1] * arm[following, 0]
    areas = np.bincount(owner, weights=cross, minlength=size) / 2
    return np.maximum(areas, 0), points, offsets


def _mirrored(centers: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return volumes and adjacent pairs; reflections across the faces close the cells at the box."""
    from scipy.spatial import Voronoi

    size, dimension = centers.shape
    if ((centers < box[0] - CONTACT) | (centers > box[1] + CONTACT)).any():
        raise SegmentationError("in 3-D the centers of all cells must lie within the box")
    # a center on a face would meet its own reflection
    margin = 1e-5 * (box[1] - box[0])
    centers = np.clip(centers, box[0] + margin, box[1] - margin)
    images = [centers]
    for axis in range(dimension):
        for face in box[:, axis]:
            image = centers.copy()
            image[:, axis] = 2 * face - image[:, axis]
            images.append(image)
    points = np.concatenate(images)
    diagram = Voronoi(points)
    between = diagram.ridge_points
    keep = np.flatnonzero((between < size).any(axis=1))
    faces = [diagram.ridge_vertices[i] for i in keep]
    between = between[keep]
    sizes = np.fromiter(map(len, faces), np.intp, len(faces))
    corners = diagram.vertices[np.concatenate(faces)]
    surface = _face_areas(corners, sizes)
    apart = np.sqrt(((points[between[:, 0]] - points[between[:, 1]]) ** 2).sum(axis=1))
    pyramid = surface * apart / (2 * dimension)
    volumes = np.zeros(size)
    for side in between.T:
        mine = side < size
        volumes += np.bincount(side[mine], weights=pyramid[mine], minlength=size)
    real = (between < size).all(axis=1) & (surface > CONTACT)
    return volumes, np.sort(between[real], axis=1)


def _face_areas(corners: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the areas of flat polygons in space, given one after the other."""
    stops = np.cumsum(sizes)
    starts = stops - sizes
    arm = corners - np.repeat(corners[starts], sizes, axis=0)
    following = np.arange(1, len(corners) + 1)
    following[stops - 1] = starts
    cross = np.cross(arm, arm[following])
    return np.sqrt((np.add.reduceat(cross, starts, axis=0) ** 2).sum(axis=1)) / 2


def box_edges(edges: list[np.ndarray], box: np.ndarray) -> list[np.ndarray]:
    """Return the edges of a grid, with the outer ones moved to the box.

    Parameters
    ----------
    edges : list of d ndarray
        Increasing edges along each axis, µm.
    box : ndarray (2, d), µm
    """
    moved = []
    for axis, edge in enumerate(edges):
        inner = np.clip(edge[1:-1], box[0, axis], box[1, axis])
        moved.append(np.concatenate([[box[0, axis]], inner, [box[1, axis]]]))
    return moved


def cuboids(edges: list[np.ndarray], *, diagonal: bool = False) -> Cells:
    """Compute the cells of a grid, last axis fastest.

    Parameters
    ----------
    edges : list of d ndarray
        Increasing edges along each axis, µm.
    diagonal : bool
        Whether cells that share only a corner or edge are neighbours.
    """
    shape = tuple(len(e) - 1 for e in edges)
    number = np.arange(int(np.prod(shape))).reshape(shape)
    widths = np.meshgrid(*(np.diff(e) for e in edges), indexing="ij")
    areas = np.prod(np.stack(widths), axis=0).ravel()
    pairs = []
    for step in np.ndindex(*(3,) * len(shape)):
        shift = np.array(step) - 1
        if tuple(shift) <= (0,) * len(shape) or (not diagonal and np.abs(shift).sum() != 1):
            continue
        here = tuple(slice(max(0, -s), n - max(0, s)) for s, n in zip(shift, shape, strict=True))
        there = tuple(slice(max(0, s), n - max(0, -s)) for s, n in zip(shift, shape, strict=True))
        pairs.append(np.column_stack([number[here].ravel(), number[there].ravel()]))
    if len(shape) != 2:
        return Cells(areas, np.concatenate(pairs), np.empty((0, 2)), np.zeros(len(areas) + 1, np.intp))
    left, low = np.meshgrid(edges[0][:-1], edges[1][:-1], indexing="ij")
    right, high = np.meshgrid(edges[0][1:], edges[1][1:], indexing="ij")
    corners = [(left, low), (right, low), (right, high), (left, high)]
    vertices = np.stack([np.column_stack([x.ravel(), y.ravel()]) for x, y in corners], axis=1)
    return Cells(areas, np.concatenate(pairs), vertices.reshape(-1, 2), 4 * np.arange(len(areas) + 1))
