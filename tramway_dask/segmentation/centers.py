"""Where the tessellers put the centers of their cells.

The formulas are those of TRamWAy's `grid` and `hexagon` plugins, so that
the same data give the same cells.
"""

from __future__ import annotations

import math

import numpy as np

from .tessellation import RegularLattice

__all__ = [
    "grid_centers",
    "grid_edges",
    "grid_lattice",
    "hexagon_centers",
    "hexagon_corners",
    "hexagon_lattice",
    "hexagon_pairs",
    "hexagon_radius",
    "hexagon_rows",
]

COS30 = math.cos(math.pi / 6)


def grid_edges(lower: np.ndarray, upper: np.ndarray, increment: float) -> list[np.ndarray]:
    """Return the edges of a grid that tiles a box.

    Parameters
    ----------
    lower, upper : ndarray (d,), µm
    increment : float, µm
        Wanted edge; each extent is divided into ``round(extent / increment)`` parts,
        half to even, and at least one.

    Returns
    -------
    list of d ndarray
    """
    counts = np.maximum(np.round((upper - lower) / increment), 1).astype(int)
    return [np.linspace(a, b, n + 1) for a, b, n in zip(lower, upper, counts, strict=True)]


def grid_centers(edges: list[np.ndarray]) -> np.ndarray:
    """Return the mid-points of a grid's cells, last axis fastest, ndarray (m, d)."""
    middles = np.meshgrid(*((e[:-1] + e[1:]) / 2 for e in edges), indexing="ij")
    return np.column_stack([m.ravel() for m in middles])


def grid_lattice(edges: list[np.ndarray]) -> RegularLattice:
    """Return the lattice on which the centers of a grid lie."""
    counts = np.array([[len(e) - 1 for e in edges]])
    dimension = len(edges)
    steps = np.array([(e[-1] - e[0]) / (len(e) - 1) for e in edges])
    return RegularLattice(
        origins=np.array([[(e[0] + e[1]) / 2 for e in edges]]),
        steps=np.where(steps > 0, steps, 1.0),
        counts=counts,
        strides=np.append(np.cumprod(counts[:, :0:-1], axis=1)[:, ::-1], [[1]], axis=1),
        starts=np.array([0]),
        pivot=np.zeros(dimension),
        rotation=np.eye(dimension),
    )


def hexagon_lattice(
    lower: np.ndarray, upper: np.ndarray, radius: float, *, tilt: float, pivot: np.ndarray
) -> RegularLattice:
    """Return the two rectangular lattices, of even and of odd rows, of `hexagon_centers`."""
    across, rows = hexagon_rows(upper - lower, radius)
    middle = (lower + upper) / 2 - pivot
    step = 1.5 * radius / COS30
    corner = middle - np.array([across * radius, (rows - 1) / 2 * step])
    kinds = range(min(2, rows))
    angle = tilt * math.pi / 6
    cos, sin = math.cos(angle), math.sin(angle)
    return RegularLattice(
        origins=np.array([corner + odd * np.array([radius, step]) for odd in kinds]),
        steps=np.array([2 * radius, 2 * step]),
        counts=np.array([[across + 1 - odd, (rows + 1 - odd) // 2] for odd in kinds]),
        strides=np.array([[1, 2 * across + 1] for _ in kinds]),
        starts=np.array([odd * (across + 1) for odd in kinds]),
        pivot=pivot,
        rotation=np.array([[cos, -sin], [sin, cos]]),
    )


def hexagon_rows(extent: np.ndarray, radius: float) -> tuple[int, int]:
    """Return the number m of hexagons across (even rows hold m + 1) and the number of rows.

    Parameters
    ----------
    extent : ndarray (2,), µm
        Width and height to be covered.
    radius : float, µm
        Radius of the inscribed circle: half the distance between centers.
    """
    side = radius / COS30
    across = max(1, math.ceil(extent[0] / (2 * radius)))
    rows = math.ceil((extent[1] + 2 * (side / 2 - radius)) / (1.5 * side)) + 1
    return across, max(1, rows)


def hexagon_centers(
    lower: np.ndarray, upper: np.ndarray, radius: float, *, tilt: float, pivot: np.ndarray
) -> np.ndarray:
    """Return the centers of a hexagonal lattice that covers a box, row by row.

    Parameters
    ----------
    lower, upper : ndarray (2,), µm
    radius : float, µm
        Radius of the inscribed circle.
    tilt : float
        Rotation about `pivot`, in units of 30°.
    pivot : ndarray (2,), µm

    Returns
    -------
    ndarray (m, 2), µm
    """
    across, rows = hexagon_rows(upper - lower, radius)
    middle = (lower + upper) / 2 - pivot
    step = 1.5 * radius / COS30
    odd = np.arange(rows) % 2
    row = np.repeat(np.arange(rows), across + 1 - odd)
    column = np.concatenate([np.arange(across + 1 - o) for o in odd])
    x = middle[0] - across * radius + radius * (row % 2) + 2 * radius * column
    y = middle[1] - (rows - 1) / 2 * step + step * row
    angle = tilt * math.pi / 6
    cos, sin = math.cos(angle), math.sin(angle)
    return np.column_stack([cos * x - sin * y, sin * x + cos * y]) + pivot


def hexagon_corners(radius: float, *, tilt: float) -> np.ndarray:
    """Return the corners of a hexagon around its center, counter-clockwise, ndarray (6, 2)."""
    angles = (np.arange(6) + 0.5) * math.pi / 3 + tilt * math.pi / 6
    return radius / COS30 * np.column_stack([np.cos(angles), np.sin(angles)])


def hexagon_pairs(across: int, rows: int) -> np.ndarray:
    """Return the pairs of touching hexagons, ndarray (p, 2) of int, i < j.

    Parameters
    ----------
    across, rows : int
        As returned by `hexagon_rows`.
    """
    number = np.full((rows, across + 1), -1)
    odd = np.arange(rows) % 2
    present = np.arange(across + 1)[None, :] < (across + 1 - odd)[:, None]
    number[present] = np.arange(present.sum())
    pairs = [np.column_stack([number[:, :-1].ravel(), number[:, 1:].ravel()])]
    # an odd row stands half a step to the right of the even ones
    for low, high in ((number[:-1:2], number[1::2]), (number[2::2], number[1::2])):
        count = min(len(low), len(high))
        low, high = low[:count], high[:count]
        pairs.append(np.column_stack([low.ravel(), high.ravel()]))
        pairs.append(np.column_stack([low[:, 1:].ravel(), high[:, :-1].ravel()]))
    both = np.concatenate(pairs)
    return np.sort(both[(both >= 0).all(axis=1)], axis=1)


def hexagon_radius(extent: np.ndarray, cells: float) -> float:
    """Return the inscribed radius that gives about a number of hexagons.

    Minimises ``(number - cells)² + radius²`` by Brent's method from the interval (0, 1),
    as TRamWAy does. As that depends on the unit of length and may end far away, a
    result off by more than 10 % is replaced by the best of a scan around
    ``sqrt(area / (2 sqrt(3) cells))``.

    Parameters
    ----------
    extent : ndarray (2,), µm
    cells : float
        Wanted number of cells.
    """
    from scipy.optimize import minimize_scalar

    def number(radius: float) -> float:
        width, height = math.ceil(extent[0] / (2 * radius)), math.ceil(extent[1] * COS30 / (1.5 * radius)) + 1
        return width * height + math.ceil(height / 2)

    def cost(radius: float) -> float:
        if radius == 0:
            return cells * cells
        return (number(radius) - cells) ** 2 + radius * radius

    found = float(minimize_scalar(cost).x)
    if found > 0 and abs(number(found) - cells) <= 0.1 * cells:
        return found
    guess = math.sqrt(max(extent[0] * extent[1], 1e-12 * float(max(extent)) ** 2) / (4 * COS30 * cells))
    scan = guess * np.geomspace(0.3, 5, 600)
    return float(min(scan, key=cost))
