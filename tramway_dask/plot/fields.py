"""The field of view: its localizations, its regions, and thumbnails of their maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..errors import SpecificationError
from ..roi import Regions
from ..roi.boxes import short_label
from ..spt_data.analyses import FULL_REGION
from ..spt_data.tables import space_columns
from .figures import LABEL, NOTE, TICK, add_note, dress, new_axes, new_figure, require
from .mapping import by_region, of_segment
from .mosaic import Mosaic, resolve
from .painting import paint, paint_arrows, paint_points
from .points import histogram, rows_of
from .quantities import color_scale, quantity

__all__ = ["draw_boxes", "overview", "scale_bar"]

# more localizations are shown by their density, more regions without labels
MANY_POINTS = 300_000
MOST_LABELS = 60
BOX = "#D55E00"


def overview(
    table: Any,
    roi: Any = None,
    *,
    maps: Any = None,
    variable: str | None = None,
    cells: Any = None,
    segment: int | None = None,
    log: bool = False,
    clim: Sequence[float | None] | None = None,
    clip: float | None = None,
    cmap: Any = None,
    max_thumbnails: int = 24,
    ax: Any = None,
    labels: bool = True,
    title: str | None = None,
) -> Any:
    """Draw the field of view: all localizations, the regions of interest as boxes, thumbnails of maps.

    Time and memory are bounded: many localizations are shown by their density, many regions without
    labels, many maps by some of them.

    Parameters
    ----------
    table : DataFrame
        Localizations; or a source or collection of one, whose regions are drawn by default.
    roi : optional
        Regions (``a.roi``, ``source.roi``), or boxes as a sequence of (lower, upper) corners, µm.
    maps : Maps, DataFrame, Stored, Store or path, optional
        Maps of the regions, as for `map`: each gets a thumbnail beside, in common colours.
    variable : str, optional
        What the thumbnails show; default: the first that was mapped.
    cells, segment, log, clim, clip, cmap
        As for `map`.
    max_thumbnails : int
        Of more regions, that many have thumbnails, spread evenly; a note says so.
    ax : Axes, optional
        Default: those of a new figure. Not with `maps`, which have axes of their own.
    labels : bool
        Write the label of each region, if there are not too many.
    title : str, optional

    Returns
    -------
    Axes
        In µm, of the field of view. Those of the thumbnails follow in ``ax.figure.axes``.

    Raises
    ------
    DataError
        If the table is empty or columns are missing.
    SpecificationError
        If regions or maps are none.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> from tramway_dask import plot, simulate
    >>> walks = simulate.random_walk(trajectory_count=50, box=[[0, 0], [1, 1]])
    >>> ax = plot.overview(walks, [((0.1, 0.1), (0.4, 0.4)), ((0.6, 0.5), (0.9, 0.8))])
    >>> plot.overview(a.spt_data, maps=plot.load(a.results, "dv"), variable="potential")  # doctest: +SKIP
    """
    require()
    if maps is not None and ax is not None:
        raise SpecificationError("overview: thumbnails need a figure of their own: leave out ax=, or maps=")
    if max_thumbnails < 1:
        raise SpecificationError(f"max_thumbnails: expected a number from 1 up, got {max_thumbnails!r}")
    points = rows_of(table)
    if roi is None and not isinstance(table, pd.DataFrame):
        roi = getattr(table if hasattr(type(table), "dataframe") else None, "roi", None) or _roi_of(table)
    places = points[space_columns(points)[:2]].to_numpy(dtype=float)
    boxes = boxes_of(roi)
    pieces: list[tuple[str, Mosaic, pd.DataFrame]] = []
    if maps is not None:
        mosaic, rows = resolve(maps, cells=cells)
        mosaic, rows, _ = of_segment(mosaic, rows, segment)
        pieces = by_region(mosaic, rows)
        if not pieces:
            raise SpecificationError("overview: these maps have no cell")
        if not boxes:
            boxes = [(label, part.extent) for label, part, _ in pieces if label != FULL_REGION]
    corners = [np.asarray(b)[:, :2] for _, b in boxes]
    everything = np.concatenate([places, *corners])
    extent = np.array([everything.min(axis=0), everything.max(axis=0)])
    note = ""
    thumbnails: Any = []
    if pieces:
        shown_pieces = pieces
        if len(pieces) > max_thumbnails:
            kept = np.linspace(0, len(pieces) - 1, max_thumbnails).round().astype(int)
            shown_pieces = [pieces[i] for i in kept]
            note = f"thumbnails of {max_thumbnails} of {len(pieces)} regions"
        ax, thumbnails = _layout(extent, len(shown_pieces))
    elif ax is None:
        ax = new_axes(extent, side=4.6, bar=False)
    _draw_points(ax, places)
    if len(boxes) > MOST_LABELS and labels:
        labels = False
        note = "; ".join(filter(None, [f"{len(boxes)} regions", note]))
    draw_boxes(ax, boxes, labels=labels)
    dress(ax, extent, title=title)
    if pieces:
        whole = quantity(rows, mosaic, variable)
        colors = color_scale(whole, log=log, clim=clim, clip=clip, cmap=cmap, counts=mosaic.counts)
        _draw_thumbnails(ax, thumbnails, shown_pieces, whole, colors)
        note = "; ".join(filter(None, [note, colors.note]))
    add_note(ax, note)
    return ax


def _roi_of(table: Any) -> Any:
    sources = list(table)
    return getattr(sources[0], "roi", None) if sources else None


def _draw_points(ax: Any, places: np.ndarray) -> None:
    if len(places) <= MANY_POINTS:
        paint_points(ax, places, color="0.25")
        return
    _, counts, (low, high) = histogram(places, float(np.ptp(places, axis=0).max()) / 500)
    ax.imshow(
        np.sqrt(counts.T),
        origin="lower",
        extent=(low[0], high[0], low[1], high[1]),
        cmap="Greys",
        interpolation="nearest",
        zorder=1,
    )


def _layout(extent: np.ndarray, count: int) -> tuple[Any, Any]:
    """Return axes of the field of view, and those of thumbnails to its right, or below a wide one."""
    width, height = np.maximum(np.ptp(extent, axis=0), 1e-12)
    side = 4.4 / max(width, height)
    across, down = max(width * side, 1.2), max(height * side, 1.2)
    beside = across <= 2 * down
    each = 1.25
    if beside:
        rows = int(np.clip(round(down / each), 1, count)) if count > 1 else 1
        columns = -(-count // rows)
        figure = new_figure((across + 0.9 + columns * each + 0.9, max(down, rows * each) + 0.8))
        outer = figure.add_gridspec(1, 2, width_ratios=[across + 0.6, columns * each + 0.8])
    else:
        columns = int(np.clip(round(across / each), 1, count))
        rows = -(-count // columns)
        figure = new_figure((across + 1.6, down + 0.9 + rows * each))
        outer = figure.add_gridspec(2, 1, height_ratios=[down + 0.8, rows * each])
    ax = figure.add_subplot(outer[0])
    inner = outer[1].subgridspec(rows, columns)
    return ax, [figure.add_subplot(inner[k // columns, k % columns]) for k in range(count)]


def _draw_thumbnails(ax: Any, axes: Any, pieces: Any, whole: Any, colors: Any) -> None:
    size = whole.values[np.isfinite(whole.values)]
    longest = float(np.quantile(size, 0.9)) if whole.vectors is not None and len(size) else None
    drawn = None
    for small, (label, mosaic, table) in zip(axes, pieces, strict=True):
        drawn = paint(small, mosaic, quantity(table, mosaic, whole.name), colors)
        paint_arrows(small, mosaic, quantity(table, mosaic, whole.name), longest=longest)
        extent = mosaic.extent
        small.set_aspect("equal", adjustable="box")
        small.set_xlim(*extent[:, 0])
        small.set_ylim(*extent[:, 1])
        small.set_title(short_label(label, 16), fontsize=NOTE, pad=2, color=BOX)
        scale_bar(small, float(np.ptp(extent[:, 0])), NOTE)
    bar = ax.figure.colorbar(drawn, ax=axes, extend=colors.extend, aspect=35, pad=0.03, shrink=0.9)
    if colors.ticks is not None:
        bar.set_ticks(list(colors.ticks), labels=list(colors.ticks.values()))
    bar.set_label(whole.label, fontsize=LABEL)
    bar.ax.tick_params(labelsize=TICK, which="both")


def scale_bar(ax: Any, width: float, size: float = TICK, *, margin: float = 1.0) -> None:
    """Replace coordinates by a bar of a round length below the axes.

    Parameters
    ----------
    ax : Axes
    width : float, µm
        Of what the axes show.
    size : float
        Of the text.
    margin : float
        Width of the axes, in widths of what they show.
    """
    length = 0.3 * width
    digit = 10 ** np.floor(np.log10(length))
    length = float(max(k * digit for k in (1, 2, 5) if k * digit <= length * (1 + 1e-9)))
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    from matplotlib.transforms import offset_copy

    share = length / (width * margin)
    below = offset_copy(ax.transAxes, ax.figure, y=-0.75 * size, units="points")
    ax.plot([0.01, 0.01 + share], [0, 0], color="black", lw=1.6, transform=below, clip_on=False)
    told = f"{length * 1000:g} nm" if length < 0.1 else f"{length:g} µm"
    ax.annotate(
        told,
        xy=(0.01 + share, 0),
        xycoords=below,
        xytext=(3, 0),
        textcoords="offset points",
        va="center",
        fontsize=size,
    )


def draw_boxes(ax: Any, boxes: list[tuple[str, Any]], *, labels: bool = True, color: str = BOX) -> None:
    """Draw labelled rectangles.

    Parameters
    ----------
    ax : Axes
    boxes : list of (str, array (2, d)), µm
    """
    from matplotlib.collections import PolyCollection

    if not boxes:
        return
    low, high = np.array([np.asarray(b, dtype=float)[:, :2] for _, b in boxes]).swapaxes(0, 1)
    corners = np.stack(
        [low, np.column_stack([high[:, 0], low[:, 1]]), high, np.column_stack([low[:, 0], high[:, 1]])]
    )
    width = float(np.clip(12 / np.sqrt(len(boxes)), 0.3, 1.0))
    ax.add_collection(
        PolyCollection(
            list(corners.swapaxes(0, 1)), facecolors="none", edgecolors=color, linewidths=width, zorder=4
        ),
        autolim=False,
    )
    size = float(np.clip(9 - len(boxes) / 12, 5, 8))
    for label, x, y in zip([name for name, _ in boxes], low[:, 0], high[:, 1], strict=True) if labels else ():
        ax.annotate(
            short_label(label),
            (x, y),
            xytext=(1.5, 1.5),
            textcoords="offset points",
            fontsize=size,
            color=color,
            zorder=5,
            bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.7},
        )


def boxes_of(roi: Any) -> list[tuple[str, Any]]:
    """Return labels and boxes of regions, or of a sequence of (lower, upper) corners."""
    if roi is None:
        return []
    if isinstance(roi, Regions):
        # regions that several sources share are drawn once
        boxes = [(str(r.label), r.bounding_box) for r in roi.as_individual_roi() if r.label is not None]
        return list({(label, np.asarray(box).tobytes()): (label, box) for label, box in boxes}.values())
    try:
        boxes = [(f"roi{i:03d}", np.asarray(box, dtype=float)) for i, box in enumerate(roi)]
    except (TypeError, ValueError) as error:
        raise SpecificationError(f"roi: expected regions or boxes (lower, upper), got {roi!r}") from error
    wrong = [b for _, b in boxes if b.ndim != 2 or b.shape[0] != 2 or b.shape[1] < 2]
    if wrong:
        raise SpecificationError(f"roi: expected boxes (lower, upper), got {wrong[0].tolist()}")
    return boxes
