"""Small meshes and simulated displacements shared by the tests of inference."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.spatial import cKDTree


@dataclass
class Mesh:
    """Plain arrays of a mesh: centres (µm), neighbours in CSR form, areas."""

    centers: np.ndarray
    indptr: np.ndarray
    indices: np.ndarray
    areas: np.ndarray

    @property
    def size(self) -> int:
        return len(self.centers)

    @property
    def adjacency(self) -> sp.csr_array:
        ones = np.ones(len(self.indices), dtype=bool)
        return sp.csr_array((ones, self.indices, self.indptr), shape=(self.size, self.size))


def mesh_of(centers: np.ndarray, reach: float, area: float) -> Mesh:
    pairs = cKDTree(centers).query_pairs(reach, output_type="ndarray")
    rows, cols = np.concatenate([pairs, pairs[:, ::-1]]).T
    order = np.lexsort((cols, rows))
    counts = np.bincount(rows, minlength=len(centers))
    return Mesh(centers, np.r_[0, np.cumsum(counts)], cols[order], np.full(len(centers), area))


def hexagons(nx: int, ny: int, side: float = 0.2) -> Mesh:
    i, j = (a.ravel() for a in np.meshgrid(np.arange(nx), np.arange(ny), indexing="ij"))
    centers = np.stack([(i + 0.5 * (j % 2)) * side, j * side * np.sqrt(3) / 2], axis=1)
    return mesh_of(centers, 1.01 * side, side**2 * np.sqrt(3) / 2)


def cubes(nx: int, ny: int, nz: int, side: float = 0.2) -> Mesh:
    grid = np.stack(np.meshgrid(np.arange(nx), np.arange(ny), np.arange(nz), indexing="ij"), axis=-1)
    return mesh_of(grid.reshape(-1, 3) * side, 1.01 * side, side**3)


@dataclass
class FakePartition:
    """What models read of a partition."""

    points: pd.DataFrame
    mesh: Mesh
    indptr: np.ndarray
    indices: np.ndarray
    segments: np.ndarray | None = None
    param: dict[str, Any] = field(default_factory=dict)
    region_label: str | None = None

    @property
    def centers(self) -> np.ndarray:
        return self.mesh.centers

    @property
    def areas(self) -> np.ndarray:
        return self.mesh.areas

    def active_adjacency(self) -> sp.csr_array:
        active = sp.diags_array((np.diff(self.indptr) > 0).astype(float)).tocsr()
        return sp.csr_array(active @ self.mesh.adjacency.astype(float) @ active)


def displacements(
    cell: np.ndarray,
    rng: np.random.Generator,
    diffusivity: np.ndarray,
    *,
    drift: np.ndarray | None = None,
    force: np.ndarray | None = None,
    sigma: float = 0.02,
    steps: tuple[float, ...] = (0.04,),
    dimension: int = 2,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw independent Gaussian displacements (N, d) and time steps (N,) from the model."""
    dt = rng.choice(steps, len(cell))
    u = diffusivity[cell] * dt
    dr = rng.normal(size=(len(cell), dimension)) * np.sqrt(2 * (u + sigma**2))[:, None]
    if drift is not None:
        dr += drift[cell] * dt[:, None]
    if force is not None:
        dr += force[cell] * u[:, None]
    return dr, dt


def csr(cell: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Assignment in CSR form of rows with one cell each."""
    return np.searchsorted(np.sort(cell), np.arange(size + 1)), np.argsort(cell, kind="stable")


def partition_of(mesh: Mesh, cell: np.ndarray, dr: np.ndarray, dt: np.ndarray, **param: Any) -> FakePartition:
    axes = ["x", "y", "z"][: dr.shape[1]]
    points = pd.DataFrame({"n": np.arange(len(cell))})
    for k, axis in enumerate(axes):
        points[axis] = mesh.centers[cell, k]
    points["t"] = np.arange(len(cell)) * 0.04
    for k, axis in enumerate(axes):
        points[f"d{axis}"] = dr[:, k]
    points["dt"] = dt
    return FakePartition(points, mesh, *csr(cell, mesh.size), param=param)
