"""Sources that are larger than a worker's memory: read in blocks, of which little is kept.

Of a region of interest the rows are kept. The whole field of view is passed over twice: a survey
gives its cells, then each block is reduced to sums per cell and time step, which add up.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..errors import DataError, PipelineError, SpecificationError
from ..inference.inputs import space_columns
from ..inference.statistics import CellStatistics, cell_statistics, merge
from ..roi.support import FullRegion
from ..segmentation.assignment import assign
from ..segmentation.sampler import VoronoiSampler
from ..segmentation.segmenting import described_cells, described_data
from ..segmentation.survey import ReducedPartition, Survey, lattice_of, survey
from ..segmentation.tessellation import coordinates
from ..segmentation.time import Time
from ..spt_data.blocks import read_block, runs_of, shared_trajectory, text_blocks
from ..spt_data.sources import Source
from ..spt_data.tables import translocations
from .stages import Stage
from .work import Failure, take_rows

if TYPE_CHECKING:
    from dask.delayed import Delayed

__all__ = [
    "Piece",
    "add_pieces",
    "cells_of_field",
    "delayed_rows",
    "is_blockwise",
    "kind_of_rows",
    "partition_of_field",
    "pick",
    "read_piece",
    "rows_in_blocks",
]

Block = tuple[int, int]

# pieces that are added by one task
FAN_IN = 8


@dataclass(frozen=True, eq=False)
class Piece:
    """What is kept of one block, or of several together.

    Attributes
    ----------
    runs : ndarray (r, 2)
        Trajectories, see `blocks.runs_of`.
    rows : list of DataFrame or Failure
        Translocations of each region of interest.
    survey : Survey or None
        Of the whole field of view.
    sums : CellStatistics or None
    counts : ndarray (C,) or None
        Translocations of each cell.
    discarded : int
        Static translocations of the whole field that were dropped.
    """

    runs: np.ndarray
    rows: list[pd.DataFrame | Failure]
    survey: Survey | None = None
    sums: CellStatistics | None = None
    counts: np.ndarray | None = None
    discarded: int = 0


def is_blockwise(source: Any, stage: Stage, regions: Sequence[Any]) -> bool:
    """Tell whether the rows of regions are to be read in blocks.

    Functions of the user's see the whole field of view in memory.
    """
    if stage.needs is not None or source is None or source.blocksize is None or source.path is None:
        return False
    if not stage.is_preset and any(isinstance(r, FullRegion) for r in regions):
        return False
    if source.place is not None:
        raise SpecificationError(
            f"{source.source}: blocksize needs the file on this computer too, its size tells the blocks; "
            "set blocksize = None"
        )
    what = _wanting(source)
    if what:
        raise SpecificationError(
            f"{source.name}: a source can be read in blocks if {what}; else set blocksize = None"
        )
    try:
        return os.path.getsize(source.path) > source.blocksize
    except OSError:
        return False


def _wanting(source: Source) -> str:
    """Return what a source must be to be read in blocks, and is not."""
    if source.format not in ("ascii", "text"):
        return f"it is a text file of trajectories (it is recognised as {source.recognition.title})"
    if source.resets_origin:
        return "the origin is not reset"
    sigma = source.recognition.columns.get("sigma") if source.format == "text" else None
    if sigma is not None and source.given_precision is None:
        return (
            f"its localization precision is given: of {sigma!r}, only a block is seen at a time, and no median: set "
            "a.spt_data.localization_precision"
        )
    return ""


def blocks_of(source: Source) -> list[Block]:
    """Return the blocks of a source."""
    return text_blocks(source.path or "", source.blocksize or 1)


def read_piece(
    source: Source,
    block: Block,
    regions: Sequence[Any],
    *,
    field: bool,
    discard_static: bool,
    cells: Any = None,
) -> Piece | Failure:
    """Read a block, and keep of it the rows of regions, and what the whole field of view needs.

    Parameters
    ----------
    source : Source
    block : (int, int)
    regions : sequence of SupportRegion
        Regions of interest.
    field : bool
        Survey the whole field of view; with `cells`, reduce it to sums.
    discard_static : bool
        Drop static translocations of the whole field.
    cells : Tessellation or TimeLattice, optional
    """
    if isinstance(cells, Failure):
        return cells
    try:
        table = read_block(source.path, block, reader=source.format, **source.reading_options())  # type: ignore[arg-type]
        runs = runs_of(table)
        rows = take_rows(table, source, regions) if regions else []
        if not field:
            return Piece(runs, rows)
        moves = translocations(table)
        total = len(moves)
        if discard_static:
            moves = source.discard_static_trajectories(moves)
        if cells is None:
            return Piece(runs, rows, survey(moves))
        times = moves["t"].to_numpy()
        indptr, indices = assign(coordinates(moves), times, cells)
        dr = moves[[f"d{c}" for c in space_columns(moves)]].to_numpy(dtype=float)
        sums = cell_statistics(dr, moves["dt"].to_numpy(dtype=float), indptr, indices)
        return Piece(runs, rows, None, sums, np.diff(indptr), total - len(moves))
    except Exception as error:
        return Failure.of(error)


def add_pieces(pieces: Sequence[Piece | Failure], name: str) -> Piece | Failure:
    """Put the pieces of successive blocks together; a failure of one is that of all."""
    failed = next((p for p in pieces if isinstance(p, Failure)), None)
    if failed is not None:
        return failed
    try:
        return functools.reduce(functools.partial(_add, name=name), pieces)
    except Exception as error:
        return Failure.of(error)


def _add(a: Piece, b: Piece, name: str) -> Piece:
    shared = shared_trajectory(a.runs, b.runs)
    if shared is not None:
        raise DataError(
            f"{name}: trajectory n = {shared} is found in several blocks of the file: to be read in blocks, the rows "
            "of a trajectory must follow each other; sort the file by trajectory, or set blocksize = None"
        )
    sums, counts = a.sums, a.counts
    if b.sums is not None and b.counts is not None:
        sums = b.sums if sums is None else merge(sums, b.sums)
        counts = b.counts if counts is None else counts + b.counts
    found = b.survey if a.survey is None else a.survey if b.survey is None else a.survey + b.survey
    runs = np.concatenate([a.runs, b.runs])
    rows = [_stacked(p, q) for p, q in zip(a.rows, b.rows, strict=True)]
    return Piece(runs[np.argsort(runs[:, 0])], rows, found, sums, counts, a.discarded + b.discarded)


def _stacked(a: Any, b: Any) -> Any:
    if isinstance(a, Failure) or isinstance(b, Failure):
        return a if isinstance(a, Failure) else b
    if not len(a) or not len(b):
        return a if len(a) else b
    # each block numbers the pieces of trajectories from its first on: so do all together
    n = a["n"].to_numpy()[-1] + 1 - b["n"].to_numpy()[0]
    stacked = pd.concat([a, b.assign(n=b["n"] + n)], ignore_index=True)
    stacked.attrs = dict(a.attrs)
    return stacked


def _by_key(piece: Piece | Failure, regions: Sequence[Any]) -> dict[str, Any]:
    if isinstance(piece, Failure):
        return {r.key: piece for r in regions}
    return {r.key: rows for r, rows in zip(regions, piece.rows, strict=True)}


def pick(rows: dict[str, Any], keys: Sequence[str]) -> list[Any]:
    """Return what was kept for some regions."""
    return [rows[key] for key in keys]


def _components(analyzer: Any) -> tuple[Any, Any, Any]:
    sampler, time = analyzer.component("sampler"), analyzer.component("time")
    return analyzer.component("tesseller"), sampler, time if type(time) is not Time else None


def cells_of_field(analyzer: Any, source: Source, regions: Sequence[Any], piece: Piece | Failure) -> Any:
    """Return the cells of the whole field of view, the only region, from its survey."""
    (region,) = regions
    if isinstance(piece, Failure):
        return piece
    try:
        tesseller, sampler, time = _components(analyzer)
        if sampler is not None and type(sampler) is not VoronoiSampler:
            raise PipelineError(
                f"{source.name}: {type(sampler).__name__} looks for neighbours among all translocations, and the "
                "source is read in blocks: use VoronoiSampler, define regions of interest, or set blocksize = None"
            )
        found = piece.survey
        if found is None or not found.count:
            raise DataError(f"source {source.name!r}, region {region.key!r}: no translocation is left")
        return lattice_of(found, tesseller=tesseller, time=time, attrs=region.of_source(source).context())
    except Exception as error:
        return Failure.of(error)


def partition_of_field(
    analyzer: Any, source: Source, regions: Sequence[Any], lattice: Any, piece: Piece | Failure
) -> dict[str, Any]:
    """Return the partition of the whole field of view, by its key, from the sums of its blocks."""
    (region,) = regions
    if isinstance(piece, Failure):
        return {region.key: piece}
    tesseller, sampler, time = _components(analyzer)
    sums: Any = piece.sums
    counts: Any = piece.counts
    least = getattr(sampler, "min_location_count", 0)
    if least:
        enough = counts >= least
        keep, counts = enough[sums.cell], np.where(enough, counts, 0)
        sums = CellStatistics(
            sums.cell[keep], sums.dt[keep], sums.n[keep], sums.s1[keep], sums.s2[keep], sums.number_of_cells
        )
    attrs = region.of_source(source).context()
    param = {**described_data(attrs, sampler), **described_cells(tesseller, time)}
    param["discarded"] = piece.discarded
    return {region.key: ReducedPartition(lattice, counts, sums, param)}


def rows_in_blocks(analyzer: Any, source: Source, regions: Sequence[Any], stage: Stage) -> dict[str, Any]:
    """Return the rows, or the reduced partition, of all regions, block after block in this process."""

    def pass_over(own: Sequence[Any], *, field: bool, cells: Any = None) -> Piece | Failure:
        total: list[Piece | Failure] = []
        for block in blocks_of(source):
            options: dict[str, Any] = {"field": field, "discard_static": _discards(stage), "cells": cells}
            total = [add_pieces([*total, read_piece(source, block, own, **options)], source.name)]
            if isinstance(total[0], Failure):
                break
        return total[0]

    if not any(isinstance(r, FullRegion) for r in regions):
        return _by_key(pass_over(regions, field=False), regions)
    cells = cells_of_field(analyzer, source, regions, pass_over([], field=True))
    whole = cells if isinstance(cells, Failure) else pass_over([], field=True, cells=cells)
    return partition_of_field(analyzer, source, regions, cells, whole)


def delayed_rows(analyzer: Delayed, source: Source, light: Delayed, stage: Stage, name: str) -> Delayed:
    """Return the rows, or the reduced partition, of all regions: one task per block, added as a tree.

    Parameters
    ----------
    analyzer : Delayed
        The specification.
    source : Source
    light : Delayed
        The source, as it travels.
    stage : Stage
    name : str
        What names of tasks end with.
    """
    from dask.delayed import delayed

    regions = source.roi.support_regions()
    held = delayed(list(regions), name=f"regions-{name}", traverse=False)

    def pass_over(what: str, own: Any, **options: Any) -> Delayed:
        pieces = [
            delayed(read_piece)(
                light,
                block,
                own,
                discard_static=_discards(stage),
                dask_key_name=f"{what}-{i}-{name}",
                **options,
            )
            for i, block in enumerate(blocks_of(source))
        ]
        for level in itertools.count():
            groups = [pieces[i : i + FAN_IN] for i in range(0, len(pieces), FAN_IN)]
            pieces = [
                delayed(add_pieces)(group, source.name, dask_key_name=f"add-{what}-{level}-{i}-{name}")
                for i, group in enumerate(groups)
            ]
            if len(pieces) == 1:
                break
        return pieces[0]

    if not any(isinstance(r, FullRegion) for r in regions):
        piece = pass_over("block", held, field=False)
        return delayed(_by_key)(piece, held, dask_key_name=f"rows-{name}")
    first = pass_over("survey", [], field=True)
    cells = delayed(cells_of_field)(analyzer, light, held, first, dask_key_name=f"cells-{name}")
    whole = pass_over("sums", [], field=True, cells=cells)
    return delayed(partition_of_field)(analyzer, light, held, cells, whole, dask_key_name=f"partition-{name}")


def kind_of_rows(stage: Stage) -> str:
    """Return what the rows kept of blocks depend on besides the source."""
    return "moving" if _discards(stage) else "all"


def _discards(stage: Stage) -> bool:
    return bool(getattr(stage.function, "discard_static", False))
