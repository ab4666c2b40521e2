"""What user-defined mappers see: a dictionary of cells, made lazily from a `Partition`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import InferenceError
from .gradient import Gradient, grad1, restrict
from .inputs import space_columns
from .maps import Maps

if TYPE_CHECKING:
    import scipy.sparse as sp

__all__ = ["Cell", "Cells"]

IntArray = NDArray[Any]
FloatArray = NDArray[Any]


class Cell:
    """One cell with its translocations; ``len(cell)`` is their number.

    Any other attribute may be set on it, and `cache` is free for use.

    Attributes
    ----------
    index : int
        Global cell number.
    cache : dict
    """

    def __init__(self, index: int, rows: IntArray, group: Cells) -> None:
        self.index = index
        self.cache: Any = {}
        self._rows = rows
        self._group = group

    def __len__(self) -> int:
        return len(self._rows)

    def __bool__(self) -> bool:
        return len(self._rows) > 0

    def __repr__(self) -> str:
        return f"Cell({self.index}: {len(self)} translocations)"

    @property
    def dim(self) -> int:
        """Number of space columns."""
        return self._group.dim

    @property
    def space_cols(self) -> list[str]:
        """Names of the space columns."""
        return self._group.space_cols

    @cached_property
    def translocations(self) -> pd.DataFrame:
        """Rows of the table of translocations."""
        return self._group.partition.points.iloc[self._rows]

    @cached_property
    def _oriented(self) -> tuple[FloatArray, FloatArray]:
        dt = self._group._column("dt")[self._rows]
        dr = np.stack([self._group._column(f"d{c}")[self._rows] for c in self.space_cols], axis=1)
        sign = np.where(dt < 0, -1.0, 1.0)
        return dr * sign[:, None], dt * sign

    @property
    def dr(self) -> FloatArray:
        """Displacements (n, d), µm; reversed where the time step was negative."""
        return self._oriented[0]

    @property
    def dt(self) -> FloatArray:
        """Time steps (n,), s."""
        return self._oriented[1]

    @cached_property
    def r(self) -> FloatArray:
        """Origins (n, d), µm."""
        return np.stack([self._group._column(c)[self._rows] for c in self.space_cols], axis=1)

    @property
    def t(self) -> FloatArray:
        """Times of the origins (n,), s."""
        return self._group._column("t")[self._rows]

    @property
    def n(self) -> IntArray:
        """Trajectory numbers (n,)."""
        return self._group._column("n")[self._rows]

    @property
    def origins(self) -> pd.DataFrame:
        """First locations, with columns n, x, y[, z], t."""
        return self.translocations[[c for c in ("n", *self.space_cols, "t") if c in self.translocations]]

    @property
    def destinations(self) -> pd.DataFrame:
        """Second locations, with columns n, x, y[, z], t."""
        table = self.origins.copy()
        for column in (*self.space_cols, "t"):
            table[column] = table[column] + self.translocations[f"d{column}"]
        return table

    @property
    def center(self) -> FloatArray:
        """Centre (d,), µm."""
        return self._group._centers[self.index]

    @property
    def volume(self) -> float:
        """Area or volume, µm^d."""
        return float(self._group._areas[self.index])

    @property
    def span(self) -> FloatArray:
        """Vectors (k, d) to the centres of the non-empty neighbours, µm."""
        return self._group._centers[self._group.neighbours(self.index)] - self.center


class Cells(Mapping[int, Cell]):
    """The non-empty cells of a partition, by global number.

    Parameters
    ----------
    partition : Partition
    keys : sequence of int, optional
        Restrict to these cells; neighbours are then sought among them only.
    grad_options : mapping, optional
        ``selection_angle`` and ``epsilon`` of `gradient.grad1`.
    maps : Maps, optional
        Their features become attributes of the cells: numbers, or arrays (d,) of vectors. Names
        that cells have anyway are left alone.
    """

    def __init__(
        self,
        partition: Any,
        keys: Sequence[int] | IntArray | None = None,
        *,
        grad_options: Mapping[str, Any] | None = None,
        maps: Maps | None = None,
    ) -> None:
        self.partition = partition
        self._maps = maps
        self._indptr = np.asarray(partition.indptr)
        self._indices = np.asarray(partition.indices)
        self._centers = np.asarray(partition.centers, dtype=float)
        self._areas = np.asarray(partition.areas, dtype=float)
        self._grad_options = dict(grad_options or {})
        present = np.flatnonzero(np.diff(self._indptr))
        self.indices: IntArray = present if keys is None else np.asarray(keys, dtype=np.intp)
        self._position = np.full(len(self._indptr) - 1, -1, dtype=np.intp)
        self._position[self.indices] = np.arange(len(self.indices))
        self._columns: dict[str, Any] = {}
        self._made: dict[int, Cell] = {}
        self._gradients: dict[bytes, tuple[IntArray, Gradient, IntArray, IntArray]] = {}

    def _column(self, name: str) -> Any:
        if name not in self._columns:
            self._columns[name] = self.partition.points[name].to_numpy()
        return self._columns[name]

    def __getitem__(self, index: int) -> Cell:
        if not (0 <= index < len(self._position)) or self._position[index] < 0:
            raise KeyError(index)
        index = int(index)
        if index not in self._made:
            rows = self._indices[self._indptr[index] : self._indptr[index + 1]]
            self._made[index] = Cell(index, rows, self)
            for name, values in self._features.items():
                if index in values.index:
                    found = values.loc[index].to_numpy() if values.ndim == 2 else values.loc[index]
                    setattr(self._made[index], name, found)
        return self._made[index]

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices.tolist())

    def __len__(self) -> int:
        return len(self.indices)

    def __repr__(self) -> str:
        return f"Cells({len(self)} of {len(self._position)} cells)"

    @cached_property
    def _features(self) -> dict[str, pd.Series | pd.DataFrame]:
        if self._maps is None:
            return {}
        names = [n for n in self._maps.features if n.isidentifier() and not hasattr(Cell, n)]
        return {n: self._maps[n] for n in names if n not in ("index", "cache")}

    def restricted(self, keys: Sequence[int] | IntArray) -> Cells:
        """Return some of the cells, with neighbours among them only."""
        return Cells(self.partition, keys, grad_options=self._grad_options, maps=self._maps)

    def dilated(self, keys: IntArray, layers: int) -> IntArray:
        """Return the numbers of some cells and of their neighbours, up to so many links away."""
        indptr, indices = self._neighbours
        rows = np.repeat(np.arange(len(self.indices)), np.diff(indptr))
        inside = np.zeros(len(self.indices), dtype=bool)
        inside[self._position[keys]] = True
        for _ in range(layers):
            inside[indices[inside[rows]]] = True
        return self.indices[inside]

    def blocks(self, largest: int) -> list[IntArray]:
        """Return the numbers of the cells of compact groups, of `largest` cells each at most.

        Cells are halved at the median of their longer side, until groups are small enough.
        """
        found, left = [], [self.indices]
        while left:
            keys = left.pop()
            if len(keys) <= largest:
                found.append(keys)
                continue
            centers = self._centers[keys]
            order = np.argsort(centers[:, np.argmax(np.ptp(centers, axis=0))], kind="stable")
            left += [np.sort(half) for half in np.array_split(keys[order], 2)]
        return sorted(found, key=lambda keys: int(keys[0]))

    @cached_property
    def space_cols(self) -> list[str]:
        """Names of the space columns."""
        return space_columns(self.partition.points)

    @property
    def dim(self) -> int:
        """Number of space columns."""
        return len(self.space_cols)

    @cached_property
    def _neighbours(self) -> tuple[IntArray, IntArray]:
        adjacency = self.partition.active_adjacency().tocsr()
        return restrict(adjacency.indptr, adjacency.indices, self.indices)

    @cached_property
    def adjacency(self) -> sp.csr_array:
        """Neighbourhood (C, C) bool of these cells, by global numbers."""
        import scipy.sparse as sp

        indptr, indices = self._neighbours
        total = len(self._position)
        full = np.zeros(total + 1, dtype=np.intp)
        full[1 + self.indices] = np.diff(indptr)
        columns = self.indices[indices]
        return sp.csr_array((np.ones(len(columns), bool), columns, np.cumsum(full)), shape=(total, total))

    def neighbours(self, i: int) -> IntArray:
        """Return the numbers of the non-empty neighbours of cell i."""
        indptr, indices = self._neighbours
        k = self._position[self[i].index]
        return self.indices[indices[indptr[k] : indptr[k + 1]]]

    def connected(self) -> list[IntArray]:
        """Return the numbers of the cells of each connected component."""
        from .coupled import components

        number, label = components(*self._neighbours)
        return [self.indices[label == k] for k in range(number)]

    def _operator(self, index_map: IntArray | None, options: Mapping[str, Any]) -> Any:
        options = {**self._grad_options, **options}
        epsilon = options.get("eps", options.get("epsilon"))
        angle = options.get("selection_angle", 0.9)
        keep = self.indices
        if index_map is not None:
            keep = keep[np.asarray(index_map)[keep] >= 0]
        key = keep.tobytes() + repr((angle, epsilon)).encode()
        if key not in self._gradients:
            position = self._position[keep]
            indptr, indices = restrict(*self._neighbours, position)
            operator = grad1(self._centers[keep], indptr, indices, selection_angle=angle, epsilon=epsilon)
            self._gradients[key] = keep, operator, indptr, indices
        return self._gradients[key]

    def _values(self, x: Any, keep: IntArray, index_map: IntArray | None) -> FloatArray:
        if isinstance(x, pd.Series):
            return x.reindex(keep).to_numpy(dtype=float)
        x = np.asarray(x, dtype=float)
        if index_map is not None:
            return x[np.asarray(index_map)[keep]]
        if len(x) == len(self.indices):
            return x[self._position[keep]]
        if len(x) == len(self._position):
            return x[keep]
        raise InferenceError(
            f"expected one value per cell: {len(self.indices)} in the order of the keys, or "
            f"{len(self._position)} in all, got {len(x)}; pass `index_map` or a Series indexed by cell"
        )

    def grad(self, i: int, x: Any, index_map: IntArray | None = None, **options: Any) -> FloatArray | None:
        """Return the gradient (d,) of x at cell i; NaN on axes without neighbour, None without any.

        Parameters
        ----------
        i : int
            Global cell number.
        x : array or Series
            One value per cell: in the order of the keys, or by global number, or by `index_map`.
        index_map : (C,) int, optional
            Position in x of each global cell number, -1 where there is none.
        options
            ``selection_angle``, or ``eps`` in µm.
        """
        keep, operator, indptr, _ = self._operator(index_map, options)
        k = int(np.searchsorted(keep, i))
        if k >= len(keep) or keep[k] != i or indptr[k] == indptr[k + 1]:
            return None
        row = slice(operator.indptr[k], operator.indptr[k + 1])
        values = self._values(x, keep, index_map)[operator.indices[row]]
        return np.where(operator.defined[:, k], operator.data[:, row] @ values, np.nan)

    def local_variation(
        self, i: int, x: Any, index_map: IntArray | None = None, **options: Any
    ) -> FloatArray | None:
        """Return the slopes (k,) from cell i to its k neighbours, over √k; None without neighbour."""
        keep, _, indptr, indices = self._operator(index_map, options)
        k = int(np.searchsorted(keep, i))
        if k >= len(keep) or keep[k] != i or indptr[k] == indptr[k + 1]:
            return None
        near = indices[indptr[k] : indptr[k + 1]]
        values = self._values(x, keep, index_map)
        gap = self._centers[keep[near]] - self._centers[i]
        return (values[near] - values[k]) / np.sqrt(np.einsum("jk,jk->j", gap, gap) * len(near))

    def grad_sum(self, i: int, squared: Any, index_map: IntArray | None = None) -> float:
        """Return the sum of local penalties of cell i, such as squared slopes, times its area."""
        area = self._areas[i]
        return float((area if np.isfinite(area) and area > 0 else 1.0) * np.sum(squared))
