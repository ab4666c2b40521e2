"""Regions where locations are dense: local maxima of a kernel density."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..errors import RegionError, SpecificationError

__all__ = ["density_based_roi", "epanechnikov_density"]

_MOST_NODES = 50_000_000
_CHUNK = 1_000_000


def epanechnikov_density(
    points: np.ndarray, grid_x: np.ndarray, grid_y: np.ndarray, bandwidth: float
) -> np.ndarray:
    """Evaluate exactly an Epanechnikov kernel density on the nodes of a regular grid.

    Parameters
    ----------
    points : (N, 2) array
        Locations in µm.
    grid_x, grid_y : (G,) and (H,) arrays
        Regularly spaced coordinates of the nodes, in µm.
    bandwidth : float
        Radius h of the kernel, in µm.

    Returns
    -------
    (G, H) array
        ``2/(π h² N) Σ max(0, 1 - r²/h²)``, in µm⁻²; its integral over the plane is 1.
    """
    density = np.zeros((len(grid_x), len(grid_y)))
    step = [g[1] - g[0] if len(g) > 1 else 1.0 for g in (grid_x, grid_y)]
    reach = [int(np.ceil(bandwidth / s)) + 1 for s in step]
    for start in range(0, len(points), _CHUNK):
        some = points[start : start + _CHUNK]
        base_x = np.rint((some[:, 0] - grid_x[0]) / step[0]).astype(np.intp)
        base_y = np.rint((some[:, 1] - grid_y[0]) / step[1]).astype(np.intp)
        for a in range(-reach[0], reach[0] + 1):
            column = _near(base_x + a, grid_x, some[:, 0], bandwidth)
            for b in range(-reach[1], reach[1] + 1):
                row = _near(base_y + b, grid_y, some[:, 1], bandwidth)
                weight = 1 - column[1] - row[1]
                ok = weight > 0
                np.add.at(density, (column[0][ok], row[0][ok]), weight[ok])
    return density * (2 / (np.pi * bandwidth**2 * len(points)))


def _near(
    node: np.ndarray, grid: np.ndarray, values: np.ndarray, bandwidth: float
) -> tuple[np.ndarray, np.ndarray]:
    exists = (node >= 0) & (node < len(grid))
    node = np.where(exists, node, 0)
    return node, np.where(exists, ((grid[node] - values) / bandwidth) ** 2, np.inf)


def density_based_roi(
    locations: pd.DataFrame,
    min_kernel_density: float = 0.1,
    target_pattern_size: float = 0.3,
    step_size_factor: float = 0.1,
    dr: int = 4,
) -> list[np.ndarray]:
    """Find the centres of dense patterns, to draw regions around.

    The density of all locations (kernel of radius `target_pattern_size` / 2) is evaluated on a
    grid; the local maxima above a threshold are the centres. The density integrates to 1
    over the plane, whatever the amount of data. Only x and y are used.

    Parameters
    ----------
    locations : DataFrame
        Table with columns ``x`` and ``y`` in µm.
    min_kernel_density : float
        Smallest density of a centre, in µm⁻².
    target_pattern_size : float
        Diameter of the patterns, in µm.
    step_size_factor : float
        Step of the grid, in units of `target_pattern_size`.
    dr : int
        Reach of the comparison with neighbouring nodes, in grid steps; nodes nearer than this to
        the edges of the grid are not candidates.

    Returns
    -------
    list of (2,) arrays
        Centres in µm, ordered by x, then y.

    Raises
    ------
    RegionError
        If no centre is found, or the grid would have too many nodes.
    SpecificationError
        If a parameter is not above 0.
    """
    for name, value in (
        ("min_kernel_density", min_kernel_density),
        ("target_pattern_size", target_pattern_size),
        ("step_size_factor", step_size_factor),
        ("dr", dr),
    ):
        if not value > 0:
            raise SpecificationError(f"{name}: expected a number above 0, got {value!r}")
    xy = locations[["x", "y"]].to_numpy(dtype=float)
    if not len(xy):
        raise RegionError("density_based_roi: there are no locations")
    step = step_size_factor * target_pattern_size
    low, high = xy.min(axis=0), xy.max(axis=0)
    if np.prod((high - low) / step + 1) > _MOST_NODES:
        raise RegionError(
            f"density_based_roi: the data span {high[0] - low[0]:.4g} by {high[1] - low[1]:.4g} µm, too much "
            f"for a grid step of {step:.4g} µm; are coordinates in µm? Else raise target_pattern_size"
        )
    grid_x, grid_y = np.arange(low[0], high[0], step), np.arange(low[1], high[1], step)
    if min(len(grid_x), len(grid_y)) <= 2 * dr:
        raise RegionError(
            f"density_based_roi: the data span {len(grid_x)} by {len(grid_y)} grid steps, and more than "
            f"{2 * dr} are needed in each direction; lower target_pattern_size, step_size_factor or dr"
        )
    density = epanechnikov_density(xy, grid_x, grid_y, target_pattern_size / 2)
    maxima = _local_maxima(density, dr)
    inner = density[dr:-dr, dr:-dr]
    i, j = np.nonzero(maxima & (inner >= min_kernel_density))
    if not len(i):
        raise RegionError(
            f"density_based_roi: no centre found; the largest density is {density.max():.4g} µm⁻² and "
            f"min_kernel_density = {min_kernel_density:g} µm⁻² (patterns near the edges are not seen)"
        )
    return list(np.column_stack([grid_x[dr + i], grid_y[dr + j]]))


def _local_maxima(density: np.ndarray, dr: int) -> np.ndarray:
    size_x, size_y = density.shape
    inner = density[dr:-dr, dr:-dr]
    mask = np.ones(inner.shape, dtype=bool)
    for a in range(-dr, dr):
        for b in range(-dr, dr):
            if (a or b) and a + b <= dr:
                mask &= density[dr + a : size_x - dr + a, dr + b : size_y - dr + b] < inner
    return mask
