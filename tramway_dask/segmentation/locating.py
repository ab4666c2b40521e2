"""Which cell a point belongs to: the one with the nearest center, or what other cells need."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from ..errors import SegmentationError, suggest

__all__ = ["Locator", "NearestCenter", "NestedCells", "RegularLattice", "locator_from", "nearest"]


def nearest(points: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Return for each point the index of the nearest center; the lowest one if several are.

    Parameters
    ----------
    points : ndarray (N, d)
    centers : ndarray (m, d)

    Returns
    -------
    ndarray (N,) of intp
    """
    from scipy.spatial import cKDTree

    size = len(centers)
    if size == 1 or not len(points):
        return np.zeros(len(points), np.intp)
    tree = cKDTree(centers)
    index = np.empty(len(points), np.intp)
    todo, k = np.arange(len(points)), 2
    while len(todo):
        k = min(k, size)
        distance, found = tree.query(points[todo], k=k)
        tied = distance <= distance[:, :1]
        index[todo] = np.where(tied, found, size).min(axis=1)
        if k == size:
            break
        todo, k = todo[tied[:, -1]], 4 * k
    return index


class Locator:
    """Base class of the dataclasses that find the cell of a point.

    Subclasses hold arrays, or other locators, and nothing else.

    Attributes
    ----------
    kind : str
        Name in files.
    by_center : bool
        Whether the cell is always the one with the nearest center, so that the centers say it all.
    """

    kind: ClassVar[str] = ""
    by_center: ClassVar[bool] = False

    def nearest(self, points: np.ndarray) -> np.ndarray:
        """Return the index of the cell of each point, shape (N, d); the lowest one on a border."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers, fit for JSON; the inverse of `locator_from`."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        return {"kind": self.kind, **{f.name: _listed(getattr(self, f.name)) for f in fields}}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """Rebuild what `to_dict` has described."""
        return cls(**{name: _restored(value) for name, value in state.items() if name != "kind"})


def _listed(value: Any) -> Any:
    if isinstance(value, Locator):
        return value.to_dict()
    if isinstance(value, tuple):
        return {"each": [_listed(v) for v in value]}
    return value.tolist()


def _restored(value: Any) -> Any:
    if isinstance(value, Mapping):
        return tuple(map(_restored, value["each"])) if "each" in value else locator_from(value)
    return np.asarray(value)


def locator_from(state: Mapping[str, Any]) -> Locator:
    """Rebuild a locator from what its `to_dict` has returned.

    Raises
    ------
    SegmentationError
        If its kind is not known.
    """
    kinds = {cls.kind: cls for cls in Locator.__subclasses__()}
    if state.get("kind") not in kinds:
        raise SegmentationError(f"stored cells of unknown kind {state.get('kind')!r}; {suggest('', kinds)}")
    return kinds[state["kind"]].from_dict(state)


@dataclass(frozen=True, eq=False)
class NearestCenter(Locator):
    """Cells around centers.

    Attributes
    ----------
    centers : ndarray (m, d), µm
    """

    kind: ClassVar[str] = "centers"
    by_center: ClassVar[bool] = True

    centers: np.ndarray

    def nearest(self, points: np.ndarray) -> np.ndarray:
        """Return the index of the nearest center; the lowest one if several are as near."""
        return nearest(points, self.centers)


@dataclass(frozen=True, eq=False)
class RegularLattice(Locator):
    """Centers on rectangular lattices, where the nearest one is found by rounding.

    Attributes
    ----------
    origins : ndarray (l, d), µm
        First center of each of l lattices, in the rotated frame.
    steps : ndarray (d,), µm
    counts : ndarray (l, d) of int
        Centers along each axis.
    strides : ndarray (l, d) of int, starts : ndarray (l,) of int
        A center at position ``k`` of lattice ``l`` has the index ``starts[l] + strides[l] @ k``.
    pivot : ndarray (d,), µm
    rotation : ndarray (d, d)
        The frame's coordinates are ``(points - pivot) @ rotation``.
    """

    kind: ClassVar[str] = "regular"
    by_center: ClassVar[bool] = True

    origins: np.ndarray
    steps: np.ndarray
    counts: np.ndarray
    strides: np.ndarray
    starts: np.ndarray
    pivot: np.ndarray
    rotation: np.ndarray

    def nearest(self, points: np.ndarray) -> np.ndarray:
        """Return the index of the nearest center; the lowest one if several are as near."""
        local = points - self.pivot
        if not np.array_equal(self.rotation, np.eye(len(self.pivot))):
            local = local @ self.rotation
        index = np.empty(0, np.intp)
        best = np.empty(0)
        for origin, count, stride, start in zip(
            self.origins, self.counts, self.strides, self.starts, strict=True
        ):
            number = np.full(len(points), start, np.intp)
            squared = np.zeros(len(points))
            for axis, step in enumerate(self.steps):
                place = (local[:, axis] - origin[axis]) / step
                # half-way belongs to the lower center
                rounded = np.clip(np.ceil(place - 0.5), 0, count[axis] - 1)
                squared += ((place - rounded) * step) ** 2
                number += stride[axis] * rounded.astype(np.intp)
            if not len(best):
                index, best = number, squared
                continue
            # as good but for rounding errors is a tie
            apart = squared - best
            near = np.abs(apart) <= 1e-13 * self.steps.max() ** 2
            index = np.where(near, np.minimum(index, number), np.where(apart < 0, number, index))
            best = np.minimum(best, squared)
        return index


@dataclass(frozen=True, eq=False)
class NestedCells(Locator):
    """Cells within cells: those of the first parent, then of the second, and so on.

    Attributes
    ----------
    parent : Locator
    children : tuple of Locator
        Of each parent cell.
    starts : ndarray (parents + 1,) of int
        The cells of parent u are numbered ``starts[u]`` to ``starts[u + 1] - 1``.
    """

    kind: ClassVar[str] = "nested"

    parent: Locator
    children: tuple[Locator, ...]
    starts: np.ndarray

    def nearest(self, points: np.ndarray) -> np.ndarray:
        """Return the cell of each point among those of its parent cell."""
        owner = self.parent.nearest(points)
        order = np.argsort(owner, kind="stable")
        edges = np.searchsorted(owner[order], np.arange(len(self.children) + 1))
        index = np.empty(len(points), np.intp)
        for u in np.flatnonzero(np.diff(edges)):
            rows = order[edges[u] : edges[u + 1]]
            index[rows] = self.starts[u] + self.children[u].nearest(points[rows])
        return index
