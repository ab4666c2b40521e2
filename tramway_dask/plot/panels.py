"""Several maps beside each other, in the same colours: regions, time segments, or any maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from ..errors import SpecificationError, suggest
from ..roi.boxes import short_label
from .figures import LABEL, NOTE, TICK, TITLE, dress, new_figure, require
from .mapping import auto_title, by_region, of_segment
from .mosaic import Mosaic, resolve
from .painting import paint, paint_arrows
from .quantities import Colors, Quantity, color_scale, quantity

__all__ = ["common_limits", "panels"]

Piece = tuple[str, Mosaic, pd.DataFrame]


def panels(
    maps: Any,
    variable: str | None = None,
    sampling: Any = None,
    *,
    cells: Any = None,
    by: str | None = None,
    roi: str | Sequence[str] | None = None,
    segment: int | None = None,
    columns: int | None = None,
    max_panels: int = 36,
    log: bool = False,
    clim: Sequence[float | None] | None = None,
    clip: float | None = None,
    cmap: Any = None,
    arrows: bool | str = True,
    title: str | None = None,
) -> Any:
    """Draw one panel per region, time segment or map, all with the same colour limits.

    Parameters
    ----------
    maps : Maps, DataFrame, Stored, Store or path; or a mapping or sequence of them
        Of a mapping, the keys are the titles.
    variable : str, optional
        As for `map`.
    sampling, cells
        As for `map`; not with several maps.
    by : {"roi", "segment"}, optional
        What a panel shows, of a single map. Default: a region, if there are several, else a segment.
    roi : str or sequence of str, optional
        Regions; default: all.
    segment : int, optional
        Time segment of the regions; default: the first.
    columns : int, optional
        Panels per row.
    max_panels : int
        Of more regions or segments, that many are drawn, spread evenly; a note says so.
    log, clim, clip, cmap, arrows
        As for `map`.
    title : str, optional
        Of the figure.

    Returns
    -------
    ndarray of Axes
        In µm, one per panel. The colour bar belongs to all.

    Raises
    ------
    SpecificationError
        If there is nothing to draw, or as for `map`.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> from tramway_dask import plot
    >>> maps = plot.load("results", "dv", "cell1")  # doctest: +SKIP
    >>> axes = plot.panels(maps, "diffusivity", log=True)  # doctest: +SKIP
    >>> axes = plot.panels({"control": one, "drug": other}, "diffusivity")  # doctest: +SKIP
    """
    require()
    if max_panels < 1:
        raise SpecificationError(f"max_panels: expected a number from 1 up, got {max_panels!r}")
    pieces = _pieces(maps, sampling, cells=cells, by=by, roi=roi, segment=segment)
    name, colors = _common(pieces, variable, log=log, clim=clim, clip=clip, cmap=cmap)
    note = colors.note
    if len(pieces) > max_panels:
        kept = np.linspace(0, len(pieces) - 1, max_panels).round().astype(int)
        note = "; ".join(filter(None, [f"{max_panels} of {len(pieces)} panels", note]))
        pieces = [pieces[i] for i in kept]
    figure, axes = _grid([mosaic.extent for _, mosaic, _ in pieces], columns, bool(title))
    longest = _longest(pieces, name)
    for ax, (heading, mosaic, table) in zip(axes, pieces, strict=True):
        shown = quantity(table, mosaic, name)
        drawn = paint(ax, mosaic, shown, colors)
        if arrows:
            paint_arrows(ax, mosaic, shown, longest=longest, constant=arrows == "constant")
        dress(ax, mosaic.extent)
        ax.set_title(heading, fontsize=LABEL)
        ax.locator_params(nbins=4)
    bar = figure.colorbar(drawn, ax=list(axes), extend=colors.extend, shrink=0.9, aspect=30, pad=0.02)
    if colors.ticks is not None:
        bar.set_ticks(list(colors.ticks), labels=list(colors.ticks.values()))
    bar.set_label(shown.label, fontsize=LABEL)
    bar.ax.tick_params(labelsize=TICK, which="both")
    if title:
        figure.suptitle(title, fontsize=TITLE + 1)
    if note:
        figure.supxlabel(note, fontsize=NOTE, color="0.35")
    return axes


def common_limits(
    maps: Any,
    variable: str | None = None,
    *,
    log: bool = False,
    clip: float | None = None,
) -> tuple[float, float]:
    """Return colour limits that hold for several maps, with all their regions and time segments.

    Parameters
    ----------
    maps : mapping or sequence of maps, or a single one
        As for `panels`.
    variable : str, optional
    log : bool
        For a logarithmic scale.
    clip : float, optional
        As for `map`.

    Returns
    -------
    (lower, upper) : float
        For the argument `clim` of `map`.

    Raises
    ------
    SpecificationError
        If there is no such variable.

    Examples
    --------
    >>> limits = plot.common_limits([first, second], "diffusivity")  # doctest: +SKIP
    >>> plot.map(first, "diffusivity", clim=limits)  # doctest: +SKIP
    """
    require()
    pieces = _pieces(maps, None)
    _, colors = _common(pieces, variable, log=log, clip=clip)
    return float(colors.norm.vmin), float(colors.norm.vmax)


def _pieces(
    maps: Any,
    sampling: Any,
    *,
    cells: Any = None,
    by: str | None = None,
    roi: Any = None,
    segment: int | None = None,
) -> list[Piece]:
    if by not in (None, "roi", "segment"):
        raise SpecificationError(f"by: unknown value {by!r}; {suggest(by, ('roi', 'segment'))}")
    several: dict[str, Any] | None = None
    if isinstance(maps, Mapping):
        several = {str(k): v for k, v in maps.items()}
    elif isinstance(maps, Sequence) and not isinstance(maps, str):
        several = {str(k): v for k, v in enumerate(maps)}
    if several is not None:
        if sampling is not None or cells is not None or by is not None:
            raise SpecificationError(
                "panels: sampling=, cells= and by= go with a single map, not with several"
            )
        found = [(key, *resolve(each, roi=roi)) for key, each in several.items()]
        found = [(key, *of_segment(m, t, segment)[:2]) for key, m, t in found]
        if isinstance(maps, Sequence):
            found = [(auto_title(m) or str(int(key) + 1), m, t) for key, m, t in found]
    else:
        found = _split(*resolve(maps, sampling, cells=cells, roi=roi), by, segment)
    found = [piece for piece in found if len(piece[1])]
    if not found:
        raise SpecificationError("panels: these maps have no cell")
    return found


def _split(mosaic: Mosaic, table: pd.DataFrame, by: str | None, segment: int | None) -> list[Piece]:
    if by == "segment" or (by is None and segment is None and len(mosaic.regions) <= 1):
        found = []
        for number in mosaic.segments:
            part, rows, told = of_segment(mosaic, table, number)
            found.append((auto_title(part, told) or "", part, rows))
        return found
    mosaic, table, _ = of_segment(mosaic, table, segment)
    return [(short_label(name, 24), part, rows) for name, part, rows in by_region(mosaic, table)]


def _common(pieces: Sequence[Piece], variable: str | None, **options: Any) -> tuple[str, Colors]:
    parts: list[Quantity] = []
    for _, mosaic, table in pieces:
        parts.append(quantity(table, mosaic, variable or (parts[0].name if parts else None)))
    values = np.concatenate([p.values for p in parts])
    decided = all(p.decided for p in parts)
    whole = replace(parts[0], values=values, signed=any(p.signed for p in parts), decided=decided)
    return parts[0].name, color_scale(
        whole, counts=np.concatenate([m.counts for _, m, _ in pieces]), **options
    )


def _longest(pieces: Sequence[Piece], name: str) -> float | None:
    amplitude = np.concatenate([quantity(table, mosaic, name).values for _, mosaic, table in pieces])
    amplitude = amplitude[np.isfinite(amplitude)]
    return float(np.quantile(amplitude, 0.9)) if len(amplitude) else None


def _grid(extents: Sequence[np.ndarray], columns: int | None, titled: bool) -> tuple[Any, np.ndarray]:
    sizes = np.array([np.maximum(np.ptp(e, axis=0), 1e-12) for e in extents])
    width, height = sizes.max(axis=0)
    count = len(extents)
    if columns is None:
        columns = int(np.clip(round(np.sqrt(count * 1.3 * height / width)), 1, 8))
    elif columns < 1:
        raise SpecificationError(f"columns: expected a number from 1 up, got {columns!r}")
    columns = min(columns, count)
    rows = -(-count // columns)
    side = float(np.clip(9.0 / max(columns, rows), 1.2, 2.8)) / max(width, height)
    across, down = max(width * side, 0.8), max(height * side, 0.8)
    figure = new_figure((columns * (across + 0.65) + 1.0, rows * (down + 0.65) + 0.3 + 0.3 * titled))
    grid = figure.subplots(rows, columns, squeeze=False)
    for ax in grid.flat[count:]:
        ax.remove()
    return figure, grid.flat[:count]
