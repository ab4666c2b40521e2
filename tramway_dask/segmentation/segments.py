"""What is done segment by segment: labels, iteration, and maps put together."""

from __future__ import annotations

import copy
import dataclasses
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from ..errors import SegmentationError, SpecificationError
from .lattice import segment_label as _segment_label
from .partition import Partition

__all__ = ["as_time_segments", "combine_segments", "n_time_segments", "partition_of", "segment_label"]

Index = int | Iterable[int] | Callable[[int], bool] | None


def partition_of(sampling: Any) -> Partition:
    """Return the partition that is given, or that a node of the analysis tree holds."""
    found = sampling if isinstance(sampling, Partition) else getattr(sampling, "data", sampling)
    if not isinstance(found, Partition):
        raise SpecificationError(f"expected a sampling (a Partition), got a {type(sampling).__name__}")
    return found


def n_time_segments(sampling: Any) -> int:
    """Return the number of time segments of a sampling; 1 if it has no time segmentation.

    Parameters
    ----------
    sampling : Partition or Node
    """
    segments = partition_of(sampling).segments
    return 1 if segments is None else len(segments)


def segment_label(map_label: Any, times: Any, sampling: Any = None) -> str:
    """Return the label of the maps of one segment: ``<map label> -- t=<start>-<stop>s``.

    Parameters
    ----------
    map_label : str or None
    times : pair of float, or int
        Bounds of the segment, s; or its index in `sampling`.
    sampling : Partition or Node, optional
    """
    if isinstance(times, int | np.integer):
        segments = partition_of(sampling).segments
        if segments is None:
            raise SegmentationError("the sampling has no time segments: give the bounds instead of an index")
        times = segments[times]
    return _segment_label(map_label, times)


def _chosen(number: int, index: Index) -> Iterator[int]:
    if index is None:
        yield from range(number)
    elif callable(index):
        yield from filter(index, range(number))
    else:
        listed = [index] if isinstance(index, int | np.integer) else list(index)
        for k in listed:
            if not -number <= k < number:
                raise SegmentationError(f"no time segment {k}: there are {number}, numbered from 0")
            yield int(k) % number


def _with_table(maps: Any, table: pd.DataFrame, **changes: Any) -> Any:
    if isinstance(maps, pd.DataFrame):
        return table
    if dataclasses.is_dataclass(maps) and not isinstance(maps, type):
        known = {f.name for f in dataclasses.fields(maps) if f.init}
        kept = {k: v for k, v in changes.items() if k in known}
        return dataclasses.replace(maps, table=table, **kept)
    changed = copy.copy(maps)
    for name, value in {"table": table, **changes}.items():
        if hasattr(changed, name):
            setattr(changed, name, value)
    return changed


def as_time_segments(
    sampling: Any,
    maps: Any = None,
    index: Index = None,
    return_index: bool = False,
    return_times: bool = True,
) -> Iterator[Any]:
    """Iterate over the time segments of a sampling.

    Parameters
    ----------
    sampling : Partition or Node
    maps : Maps, DataFrame or Node, optional
        Maps of the whole sampling, to be split as well.
    index : int, iterable of int or callable, optional
        Only these segments.
    return_index, return_times : bool
        Whether the segment's index, and its bounds, come along.

    Yields
    ------
    tuple or Partition
        ``[index,] [(start, stop),] partition[, maps]``; the bare partition if that is all
        there is. Partition and maps are those of the segment alone, cells numbered as in
        the spatial tessellation.
    """
    partition = partition_of(sampling)
    segments = partition.segments
    if segments is None:
        times = partition.points["t"] if "t" in partition.points else np.array([np.nan])
        segments = np.array([[times.min(), times.max()]])
    size = partition.tessellation.spatial_mesh.number_of_cells
    if maps is not None and not isinstance(maps, pd.DataFrame) and not hasattr(maps, "table"):
        maps = getattr(maps, "data", maps)
    for k in _chosen(len(segments), index):
        item: list[Any] = [k] if return_index else []
        if return_times:
            item.append((float(segments[k, 0]), float(segments[k, 1])))
        item.append(partition.restrict_to_segment(k))
        if maps is not None:
            table = maps if isinstance(maps, pd.DataFrame) else maps.table
            part = table[(table.index >= k * size) & (table.index < (k + 1) * size)].copy()
            part.index = part.index - k * size
            item.append(_with_table(maps, part))
        yield item[0] if len(item) == 1 else tuple(item)


def _merged(attrs: list[dict[str, Any]]) -> dict[str, Any]:
    """Keep what all segments agree on; list the rest segment by segment."""
    names = dict.fromkeys(name for a in attrs for name in a)
    listed = {name: [a.get(name) for a in attrs] for name in names}
    merged = {n: v[0] if len(set(map(repr, v))) == 1 else v for n, v in listed.items()}
    return merged | ({"converged": all(listed["converged"])} if "converged" in listed else {})


def combine_segments(label: str, sampling: Any, commit: bool = True, permissive: bool = False) -> Any:
    """Concatenate maps that were inferred and stored segment by segment.

    Parameters
    ----------
    label : str
        Map label, without the segments' suffix.
    sampling : Partition or Node
        Sampling of all segments, in an analysis tree; the maps of segment k are stored
        below it under ``segment_label(label, k, sampling)``.
    commit : bool
        Whether to store the result under `label`, in place of the segments' maps.
    permissive : bool
        Whether to return None, instead of raising, if maps are missing.

    Returns
    -------
    Maps or None
        Indexed by global cell: k times the number of spatial cells is added to the
        index of segment k.

    Raises
    ------
    SegmentationError
        If the maps of some segments are missing.
    """
    partition = partition_of(sampling)
    tree = partition.subtree
    segments = partition.segments
    if segments is None:
        raise SegmentationError(f"{label!r}: the sampling has no time segments to combine")
    labels = [_segment_label(label, times) for times in segments]
    missing = [name for name in labels if name not in tree]
    if missing:
        message = (
            f"cannot combine {label!r}: {len(missing)} of {len(labels)} segments have no maps, "
            f"the first is {missing[0]!r}; found: {list(tree.labels)}"
        )
        if not permissive:
            raise SegmentationError(message)
        if len(missing) < len(labels):
            warnings.warn(message, UserWarning, stacklevel=2)
        return None
    single = [tree[name].data for name in labels]
    kinds = {type(m) for m in single}
    if len(kinds) > 1 or not all(hasattr(m, "table") for m in single):
        names = ", ".join(sorted(k.__name__ for k in kinds))
        raise SegmentationError(f"cannot combine {label!r}: expected maps in every segment, found {names}")
    size = partition.tessellation.spatial_mesh.number_of_cells
    tables = [m.table.set_axis(m.table.index + k * size, axis=0) for k, m in enumerate(single)]
    runtimes = [getattr(m, "runtime", None) for m in single]
    total = sum(runtimes) if all(r is not None for r in runtimes) else None  # type: ignore[arg-type]
    changes = {"runtime": total, "attrs": _merged([getattr(m, "attrs", None) or {} for m in single])}
    combined = _with_table(single[0], pd.concat(tables), **changes)
    combined.parent = partition
    if commit:
        for name in labels:
            del tree[name]
        tree[label] = combined
    return combined
