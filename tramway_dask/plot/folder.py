"""Pictures of a results folder: one per source, all its regions and time segments together."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import SpecificationError, suggest
from ..results.files import to_filename
from ..results.store import Store
from .fields import draw_boxes, scale_bar
from .figures import NOTE, TITLE, add_note, color_bar, dress, new_figure, require, save
from .mapping import auto_title, of_segment
from .mosaic import Mosaic, resolve
from .painting import paint, paint_arrows
from .quantities import Colors, Quantity, central_limits, color_scale, features_of, quantity

__all__ = ["common_scales", "results"]

MOST_SEGMENTS = 6
# regions whose boxes cover less of the field of view are drawn side by side
SPARSE = 0.08


def results(
    store: Store | str | Path,
    label: str | int,
    *,
    sources: Sequence[str] | None = None,
    variables: Sequence[str] | None = None,
    out_dir: str | Path,
    log: bool = False,
    clim: dict[str, Sequence[float | None]] | None = None,
    suffix: str = ".png",
    dpi: float = 150,
) -> list[Path]:
    """Draw the maps of a results folder.

    One picture per source, with axes for each variable and time segment. They show all regions
    in the field of view, or side by side if they are small and far apart. Colour limits are
    common to all sources, and leave out cells at either end of the values that hold together less than
    0.5 % of the translocations.

    Parameters
    ----------
    store : Store or path
    label : str or int
        Of the maps.
    sources : sequence of str, optional
        Default: all that have such maps.
    variables : sequence of str, optional
        Default: all features.
    out_dir : path
        Gets ``<source>-<label>.png``.
    log : bool
        Logarithmic colours, where all values are positive.
    clim : dict, optional
        Limits (lower, upper) by variable.
    suffix : str
        Format: ``.png``, ``.pdf``, ``.svg``.
    dpi : float

    Returns
    -------
    list of Path
        The pictures, in the order of the sources.

    Raises
    ------
    StoreError
        If there are no maps of that label.
    SpecificationError
        If a source or variable is not known.
    MissingDependencyError
        If matplotlib is not installed.
    """
    require()
    store = store if isinstance(store, Store) else Store(store)
    label = str(label)
    samplings = store.samplings_of(label)
    written = []
    read_as = {name: about.get("read_as", "") for name, about in store.read_run().get("sources", {}).items()}
    known = sorted({s for sampling in samplings for s in store.sources(sampling, label)})
    for source in sources or ():
        if source not in known:
            raise SpecificationError(f"no maps {label!r} of source {source!r}; {suggest(source, known)}")
    for sampling in samplings:
        chosen = [s for s in store.sources(sampling, label) if sources is None or s in sources]
        scales = common_scales(store, sampling, label, chosen, variables, log, clim or {})
        for source, mosaic, table in _read(store, sampling, label, chosen):
            if not len(mosaic):
                continue
            figure = _picture(mosaic, table, scales, source, read_as.get(source, ""))
            name = "-".join([source, label] if len(samplings) == 1 else [source, sampling, label])
            written.append(save(figure, Path(out_dir) / (to_filename(name) + suffix), dpi=dpi))
    return written


def _read(
    store: Store, sampling: str, label: str, sources: Sequence[str]
) -> Iterator[tuple[str, Mosaic, pd.DataFrame]]:
    for source in sources:
        maps = store.table(sampling, label, source).to_pandas()
        cells = store.table(sampling, "cells", source)
        yield source, *resolve(maps, cells=cells.drop_columns(["neighbours"]))


def common_scales(
    store: Store,
    sampling: str,
    label: str,
    sources: Sequence[str],
    variables: Sequence[str] | None,
    log: bool,
    clim: dict[str, Sequence[float | None]],
) -> dict[str, Colors]:
    """Return the colour scale of each variable that suits all sources; see `results`."""
    pieces: dict[str, list[Quantity]] = {}
    weights: dict[str, list[np.ndarray]] = {}
    names: list[str] = list(variables or ())
    for source in sources:
        table = store.table(sampling, label, source).to_pandas()
        mosaic = Mosaic.of(table[[c for c in ("cell", "x", "y", "z", "n") if c in table.columns]])
        for name in names or features_of(table):
            pieces.setdefault(name, []).append(quantity(table, mosaic, name))
            weights.setdefault(name, []).append(mosaic.counts)
    scales = {}
    for name, parts in pieces.items():
        values = np.concatenate([p.values for p in parts])
        counts = np.concatenate(weights[name])
        whole = replace(parts[0], values=values, signed=any(p.signed for p in parts))
        limits = clim.get(name) or central_limits(whole, counts, log)
        logarithmic = log and not whole.signed and bool(np.nanmax(values, initial=-1) > 0)
        scales[name] = replace(color_scale(whole, log=logarithmic, clim=limits), note="")
    return scales


def _picture(
    mosaic: Mosaic, table: pd.DataFrame, scales: dict[str, Colors], source: str, read_as: str = ""
) -> Any:
    segments = mosaic.segments
    note = textwrap.fill(read_as, 44)
    if len(segments) > MOST_SEGMENTS:
        kept = np.linspace(0, len(segments) - 1, MOST_SEGMENTS).round().astype(int)
        note = f"{MOST_SEGMENTS} of {len(segments)} time segments\n{note}".rstrip()
        segments = [segments[i] for i in kept]
    boxes = _regions(mosaic)
    packed = _packed(mosaic, boxes)
    if packed is not None:
        mosaic, boxes = packed
    extent = np.array([np.min([b[0] for _, b in boxes], axis=0), np.max([b[1] for _, b in boxes], axis=0)])
    if len(boxes) > 1:
        extent[1, 1] += 0.05 * np.ptp(extent, axis=0).max()  # room for labels
    figure, axes = _grid(extent, len(segments), len(scales))
    alone = source if axes.size == 1 else ""  # a title of the whole figure would stand far above
    for row, segment in enumerate(segments):
        part, rows, number = of_segment(mosaic, table, segment)
        for ax, (name, colors) in zip(axes[row], scales.items(), strict=True):
            shown = quantity(rows, part, name)
            drawn = paint(ax, part, shown, colors)
            paint_arrows(ax, part, shown, longest=_longest(colors))
            many = len(boxes) > 1
            if many:
                draw_boxes(ax, boxes, labels=len(boxes) <= 60, color="0.25")
            dress(ax, extent, title=", ".join(t for t in (alone, auto_title(part, number)) if t) or None)
            color_bar(ax, drawn, shown.label, extend=colors.extend, extent=extent, ticks=colors.ticks)
            if packed is not None:
                _scale_bar(ax, extent)
        if axes[row, 0].get_subplotspec().get_gridspec().ncols > 1:
            for ax in axes[row, 1:]:
                ax.set_ylabel("")
    add_note(axes[-1, 0], note)
    if not alone:
        figure.suptitle(source, fontsize=TITLE + 1)
    return figure


def _longest(colors: Colors) -> float | None:
    return float(colors.norm.vmax) if colors.norm.vmax > 0 else None


def _grid(extent: np.ndarray, segments: int, variables: int) -> tuple[Any, Any]:
    width, height = np.maximum(np.ptp(extent, axis=0), 1e-12)
    wrapped = segments == 1 and variables > 1 and width > 2.2 * height
    side = (6.0 if wrapped else 3.6 if variables * segments <= 4 else 2.9) / max(width, height)
    column, row = max(width * side, 1.0), max(height * side, 1.0)
    size = (variables * (column + 1.5), segments * (row + 0.75) + 0.35)
    if wrapped:
        # wide fields of view go one above the other
        size = (column + 1.6, variables * (row + 0.75) + 0.35)
        figure = new_figure(size, shown=False)
        return figure, figure.subplots(variables, 1, squeeze=False).T
    figure = new_figure(size, shown=False)
    return figure, figure.subplots(segments, variables, squeeze=False)


def _regions(mosaic: Mosaic) -> list[tuple[str, np.ndarray]]:
    return [
        (str(region), mosaic.take(np.flatnonzero(mosaic.region == region)).extent)
        for region in mosaic.regions
    ]


def _packed(
    mosaic: Mosaic, boxes: list[tuple[str, np.ndarray]]
) -> tuple[Mosaic, list[tuple[str, np.ndarray]]] | None:
    """Move small regions that lie far apart into rows; None if they can be shown where they are."""
    corners = np.array([b for _, b in boxes])
    sizes = np.maximum(corners[:, 1] - corners[:, 0], 1e-12)
    field = corners[:, 1].max(axis=0) - corners[:, 0].min(axis=0)
    if len(boxes) < 2 or sizes.prod(axis=1).sum() >= SPARSE * field.prod():
        return None
    pitch = sizes.max(axis=0) * 1.12 + np.array([0, 0.08 * sizes[:, 1].max()])
    columns = int(np.ceil(np.sqrt(len(boxes) * pitch[1] / pitch[0])))
    number = np.arange(len(boxes))
    corner = np.column_stack([number % columns, -(number // columns)]) * pitch
    shift = corner - corners[:, 0]
    moved = [(label, box + s) for (label, box), s in zip(boxes, shift, strict=True)]
    of_cell = pd.Index([label for label, _ in boxes]).get_indexer(pd.Index(mosaic.region))
    centers = mosaic.centers.copy()
    centers[:, :2] += shift[of_cell]
    cell = np.repeat(np.arange(len(mosaic)), mosaic.sizes)
    step = np.arange(len(cell)) - np.repeat(np.cumsum(mosaic.sizes) - mosaic.sizes, mosaic.sizes)
    vertices = mosaic.vertices[mosaic.starts[cell] + step] + shift[of_cell[cell]]
    starts = np.cumsum(mosaic.sizes) - mosaic.sizes
    return replace(mosaic, centers=centers, vertices=vertices, starts=starts), moved


def _scale_bar(ax: Any, extent: np.ndarray) -> None:
    """Replace the coordinates, which mean nothing for moved regions, by a bar of known length."""
    scale_bar(ax, float(np.ptp(extent[:, 0])), margin=1.02)
    ax.set_ylabel("")
    ax.set_xlabel("regions side by side, not where they are", fontsize=NOTE, color="0.35", labelpad=14)
