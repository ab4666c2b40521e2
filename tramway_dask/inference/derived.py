"""Maps derived from maps: the gradient of a feature, and the curl of a vector."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..component import count, one_of, optional, setting
from ..errors import InferenceError, SpecificationError, suggest
from .base import Mapper
from .inputs import Inputs
from .maps import Maps, error_column
from .model import LOST, add_vector
from .spatial import Spatial, finish
from .threads import single_threaded

__all__ = ["Curl", "Gradients", "contour_curl"]

FloatArray = NDArray[Any]
IntArray = NDArray[Any]

# successive cells of a contour are seen from the middle under less than a straight angle
_WIDEST = np.pi - 1e-6


def _given_maps(mapper: Mapper, given: Any) -> Maps:
    if isinstance(given, Maps):
        return given
    raise InferenceError(
        f"{type(mapper).__name__} is computed from maps, got a {type(given).__name__}; call `infer(maps)`, or "
        "name the maps of an earlier stage: stages.infer(..., input_label=...)"
    )


def _listed(name: str, value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = value.split(",") if isinstance(value, str) else list(value)
    if not names or not all(isinstance(n, str) and n.strip() for n in names):
        raise SpecificationError(f"{name}: expected names of features, got {value!r}")
    return tuple(n.strip() for n in names)


@dataclass(eq=False, repr=False)
class Gradients(Spatial):
    """Gradients of features of other maps, with columns ``<feature> x``, ``<feature> y``.

    Standard errors take the errors of the cells as independent. A cell without value counts as
    none; on axes without neighbour the gradient is NaN.

    Parameters
    ----------
    feature : str or sequence of str
        Scalar variables of the maps, such as 'diffusivity'; several may be separated by commas.
    grad, grad_selection_angle, grad_epsilon
        See `gradient.grad1`.
    """

    feature: Any = setting(None, check=_listed)

    takes_maps: ClassVar[bool] = True
    lost: ClassVar[Mapping[str, str]] = {"worker_count": LOST["worker_count"]}

    @property
    def name(self) -> str:
        """TRamWAy's name of the mapper."""
        return "gradient"

    @single_threaded
    def infer(self, partition: Any, *, sigma: float | None = None) -> Maps:
        """Return the gradients of maps.

        Parameters
        ----------
        partition : Maps
        sigma : float, optional
            Not used.

        Raises
        ------
        InferenceError
            If no maps are given, or they lack the feature.
        """
        began = time.perf_counter()
        maps = _given_maps(self, partition)
        if not self.feature:
            raise InferenceError(
                f"Gradients.feature is not set: give the name of a variable; {suggest('', maps.variables)}"
            )
        everything = Inputs.of(maps)
        dimension = everything.centers.shape[1]
        inputs = everything.only(maps.table.index.to_numpy())
        columns: dict[str, FloatArray] = {}
        for name in self.feature:
            if name not in maps.variables:
                known = f"{suggest(name, maps.variables)}"
                raise InferenceError(f"the gradient of {name!r}: these maps have no such variable; {known}")
            values = np.full((len(maps), dimension), np.nan)
            errors = values.copy()
            rows = np.flatnonzero(np.isfinite(maps.table[name].to_numpy(dtype=float)))
            if len(rows):
                values[rows], errors[rows] = self._of(maps, name, inputs, rows)
            add_vector(columns, name, values, errors)
        return finish(
            inputs,
            columns,
            {"converged": True, "settings": self._parameters_set()},
            self.name,
            maps.sigma,
            began,
        )

    def _of(self, maps: Maps, name: str, inputs: Inputs, rows: IntArray) -> tuple[FloatArray, FloatArray]:
        operator = self._gradient(inputs.only(inputs.cells[rows]))
        found = np.where(
            operator.defined, operator.apply(maps.table[name].to_numpy(dtype=float)[rows]), np.nan
        )
        spread = np.full_like(found, np.nan)
        if error_column(name) in maps.table:
            variance = maps.table[error_column(name)].to_numpy(dtype=float)[rows] ** 2
            total = np.add.reduceat(
                operator.data**2 * variance[operator.indices], operator.indptr[:-1], axis=1
            )
            spread = np.where(operator.defined, np.sqrt(total), np.nan)
        return found.T, spread.T


def _ring(indptr: IntArray, indices: IntArray, distance: int) -> tuple[IntArray, IntArray]:
    """Return the pairs (cell, other) at a distance in number of links."""
    import scipy.sparse as sp

    m = len(indptr) - 1
    links = sp.csr_array((np.ones(len(indices)), indices, indptr), shape=(m, m))
    near = within = sp.eye_array(m, format="csr")
    for _ in range(distance):
        near = within
        grown = sp.csr_array(within + within @ links)
        within = sp.csr_array((np.ones(grown.nnz), grown.indices, grown.indptr), shape=(m, m))
    ring = sp.csr_array(within - near)
    ring.eliminate_zeros()
    ring = ring.tocoo()
    return ring.row, ring.col


def contour_curl(
    centers: FloatArray,
    indptr: IntArray,
    indices: IntArray,
    field: FloatArray,
    variance: FloatArray,
    *,
    distance: int = 1,
    areas: FloatArray | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Return the curl of a field around each cell, by a contour integral.

    The contour joins the centers of the cells at `distance` links from a cell, in the order of
    their directions, and the field is linear between two of them: on a linear field the result
    is exact. A cell that its contour does not surround has none: NaN.

    Parameters
    ----------
    centers : (m, 2) float, µm
    indptr, indices : (m + 1,), (E,) int
        Neighbours of each cell in CSR form.
    field, variance : (m, 2) float
        Values and squared standard errors.
    distance : int
    areas : (m,) float, optional, µm²
        Divide by the total area of the cells nearer than the contour, as TRamWAy does, instead
        of the area within the contour.

    Returns
    -------
    curl, error : (m,) float
    """
    m = len(centers)
    row, col = _ring(indptr, indices, distance)
    offset = centers[col] - centers[row]
    angle = np.arctan2(offset[:, 1], offset[:, 0])
    order = np.lexsort((angle, row))
    row, col, angle = row[order], col[order], angle[order]
    size = np.bincount(row, minlength=m)
    start = (np.cumsum(size) - size)[row]
    after = start + (np.arange(len(row)) - start + 1) % size[row]
    before = start + (np.arange(len(row)) - start - 1) % size[row]
    gap = np.mod(angle[after] - angle, 2 * np.pi)
    open_contour = np.bincount(row, weights=(gap > _WIDEST) | (size[row] < 3), minlength=m) > 0
    tangent = (centers[col[after]] - centers[col[before]]) / 2
    place = centers[col] - centers[row]
    if areas is None:
        enclosed = (place[:, 0] * tangent[:, 1] - place[:, 1] * tangent[:, 0]) / 2
        area = np.bincount(row, weights=enclosed, minlength=m)
    else:
        area = np.asarray(areas, dtype=float).copy()
        for nearer in range(1, distance):
            i, j = _ring(indptr, indices, nearer)
            area += np.bincount(i, weights=areas[j], minlength=m)
    total = np.bincount(row, weights=np.einsum("ek,ek->e", field[col], tangent), minlength=m)
    spread = np.bincount(row, weights=np.einsum("ek,ek->e", variance[col], tangent**2), minlength=m)
    closed = ~open_contour & (size > 0) & (area > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(closed, total / area, np.nan), np.where(closed, np.sqrt(spread) / area, np.nan)


def _distance(name: str, value: Any) -> int:
    number = count(name, value)
    if number == 0:
        raise SpecificationError(f"{name}: expected a number of links from 1 up, got {value!r}")
    return number


@dataclass(eq=False, repr=False)
class Curl(Mapper):
    """Curl of a vector of other maps, such as the force, in a plane; see `contour_curl`.

    A force that derives from a potential has none: curl beyond its standard error is a sign of
    a force out of equilibrium. The column is named ``curl<feature>_<distance>``. Cells that
    their contour does not surround have NaN.

    Parameters
    ----------
    feature : str, optional
        A vector of the maps; default: the only one.
    distance : int
        Links between the cell and the contour.
    area : {'contour', 'cells'}
        Divide by the area within the contour, or, as TRamWAy does, by that of the cells nearer
        than the contour: on hexagons and distance 1 this is 3 times the curl.
    """

    feature: str | None = setting(None, check=optional(lambda name, value: str(value)))
    distance: int = setting(1, check=_distance)
    area: str = setting("contour", check=one_of("contour", "cells"))

    takes_maps: ClassVar[bool] = True
    lost: ClassVar[Mapping[str, str]] = {"worker_count": LOST["worker_count"]}

    @property
    def name(self) -> str:
        """TRamWAy's name of the feature."""
        return "curl"

    @single_threaded
    def infer(self, partition: Any, *, sigma: float | None = None) -> Maps:
        """Return the curl of maps.

        Raises
        ------
        InferenceError
            If no maps are given, they have no such vector, or space is not a plane.
        """
        began = time.perf_counter()
        maps = _given_maps(self, partition)
        everything = Inputs.of(maps)
        if everything.centers.shape[1] != 2:
            raise InferenceError("the curl is computed along contours in a plane, these maps are in space")
        feature = self._feature(maps)
        inputs = everything.only(maps.table.index.to_numpy())
        values = np.asarray(maps[feature], dtype=float)
        errors = np.full_like(values, np.nan)
        if all(error_column(f"{feature} {axis}") in maps.table for axis in "xy"):
            errors = np.asarray(maps.errors(feature), dtype=float)
        rows = np.flatnonzero(np.isfinite(values).all(axis=1))
        curl, error = np.full(len(maps), np.nan), np.full(len(maps), np.nan)
        if len(rows):
            some = inputs.only(inputs.cells[rows])
            areas = some.areas if self.area == "cells" else None
            around = (some.centers, *some.neighbours)
            curl[rows], error[rows] = contour_curl(
                *around, values[rows], errors[rows] ** 2, distance=self.distance, areas=areas
            )
        name = f"curl<{feature}>_{self.distance}"
        columns = {name: curl, error_column(name): error}
        return finish(
            inputs,
            columns,
            {"converged": True, "settings": self._parameters_set()},
            self.name,
            maps.sigma,
            began,
        )

    def _feature(self, maps: Maps) -> str:
        vectors = [f for f in maps.features if {f"{f} x", f"{f} y"} <= set(maps.variables)]
        if self.feature is None and len(vectors) == 1:
            return vectors[0]
        if self.feature in vectors:
            return str(self.feature)
        told = "set Curl.feature" if self.feature is None else f"no vector {self.feature!r}"
        raise InferenceError(f"{told}: these maps of mode {maps.mode!r} have the vectors {vectors}")
