"""Trajectories, and the field of view with its regions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..errors import DataError, SpecificationError
from ..roi import Regions
from ..roi.boxes import short_label
from ..spt_data.tables import is_translocations, space_columns
from ..spt_data.tables import trajectories as as_trajectories
from .figures import add_note, color_bar, dress, new_axes, require
from .painting import MANY, paint_points

__all__ = ["draw_boxes", "overview", "trajectories"]

MOST_STEPS = 15000
# Okabe and Ito's colours, which the colour-blind can tell apart
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")


def trajectories(
    table: Any,
    *,
    ax: Any = None,
    color: str = "n",
    max_trajectories: int | None = 2000,
    linewidth: float = 0.6,
    colorbar: bool = True,
    title: str | None = None,
) -> Any:
    """Draw trajectories as lines.

    Parameters
    ----------
    table : DataFrame
        Trajectories or translocations; or a source or collection of one (``a.spt_data``).
    ax : Axes, optional
        Default: those of a new figure.
    color : str
        ``"n"``: one of seven colours per trajectory; ``"t"``: by time; or any colour.
    max_trajectories : int, optional
        Draw that many at most, spread evenly over all; a note says so. None: all.
    linewidth : float
    colorbar : bool
        With ``color="t"``.
    title : str, optional

    Returns
    -------
    Axes
        In µm.

    Raises
    ------
    DataError
        If the table is empty or columns are missing.
    MissingDependencyError
        If matplotlib is not installed.
    """
    require()
    from matplotlib.collections import LineCollection

    table = _table(table)
    if is_translocations(table):
        table = as_trajectories(table)
    table = table.sort_values(["n", "t"], kind="stable")
    names = table["n"].unique()
    note = ""
    if max_trajectories is not None and len(names) > max_trajectories:
        kept = names[np.linspace(0, len(names) - 1, max_trajectories).round().astype(int)]
        note = f"{max_trajectories} of {len(names)} trajectories"
        table = table[table["n"].isin(kept)]
    places = table[space_columns(table)[:2]].to_numpy(dtype=float)
    number = table["n"].to_numpy()
    times = table["t"].to_numpy(dtype=float)
    by_time = color == "t"
    lines, first = _polylines(places, number, MOST_STEPS if by_time else None)
    extent = np.array([places.min(axis=0), places.max(axis=0)])
    if ax is None:
        ax = new_axes(extent, side=4.2, bar=by_time and colorbar)
    style: dict[str, Any] = {"linewidths": linewidth, "capstyle": "round", "joinstyle": "round"}
    style["rasterized"] = len(places) > 5 * MANY
    if by_time:
        drawn = LineCollection(lines, array=times[first], cmap="viridis", **style)
    elif color == "n":
        turn = pd.factorize(number)[0][first] % len(PALETTE)
        drawn = LineCollection(lines, colors=np.array(PALETTE)[turn], **style)
    else:
        drawn = LineCollection(lines, colors=color, **style)
    ax.add_collection(drawn, autolim=False)
    dress(ax, extent, title=title)
    if by_time and colorbar and len(lines):
        color_bar(ax, drawn, "t (s)", extent=extent)
    add_note(ax, note)
    return ax


def _polylines(
    places: np.ndarray, number: np.ndarray, pieces: int | None = None
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return one line per trajectory, or about that many pieces in all, and the first row of each."""
    starts = np.r_[0, np.flatnonzero(number[1:] != number[:-1]) + 1]
    stops = np.r_[starts[1:], len(number)]
    if pieces is not None:
        stride = max(1, len(number) // pieces)
        rank = np.arange(len(number)) - np.repeat(starts, stops - starts)
        last = np.repeat(stops, stops - starts)
        first = np.flatnonzero(rank % stride == 0)
        stops = np.minimum(first + stride + 1, last[first])
        starts = first
    long = stops - starts > 1
    starts, stops = starts[long], stops[long]
    return [places[i:j] for i, j in zip(starts, stops, strict=True)], starts


def overview(
    table: Any, roi: Any = None, *, ax: Any = None, labels: bool = True, title: str | None = None
) -> Any:
    """Draw the field of view: all localizations, and the regions of interest as boxes.

    Parameters
    ----------
    table : DataFrame
        Localizations; or a source or collection of one, whose regions are drawn by default.
    roi : optional
        Regions (``a.roi``, ``source.roi``), or boxes as a sequence of (lower, upper) corners, µm.
    ax : Axes, optional
        Default: those of a new figure.
    labels : bool
        Write the label of each region.
    title : str, optional

    Returns
    -------
    Axes
        In µm.

    Raises
    ------
    DataError
        If the table is empty or columns are missing.
    MissingDependencyError
        If matplotlib is not installed.
    """
    require()
    if roi is None:
        roi = getattr(_single(table), "roi", None) if not isinstance(table, pd.DataFrame) else None
    points = _table(table)
    places = points[space_columns(points)[:2]].to_numpy(dtype=float)
    boxes = _boxes(roi)
    corners = [np.asarray(b)[:, :2] for _, b in boxes]
    everything = np.concatenate([places, *corners])
    extent = np.array([everything.min(axis=0), everything.max(axis=0)])
    if ax is None:
        ax = new_axes(extent, side=4.6, bar=False)
    paint_points(ax, places, color="0.25")
    draw_boxes(ax, boxes, labels=labels)
    dress(ax, extent, title=title)
    return ax


def draw_boxes(ax: Any, boxes: list[tuple[str, Any]], *, labels: bool = True, color: str = "#D55E00") -> None:
    """Draw labelled rectangles.

    Parameters
    ----------
    ax : Axes
    boxes : list of (str, array (2, d)), µm
    """
    from matplotlib.patches import Rectangle

    size = float(np.clip(9 - len(boxes) / 12, 5, 8))
    for label, box in boxes:
        low, high = np.asarray(box, dtype=float)[:, :2]
        ax.add_patch(Rectangle(low, *(high - low), fill=False, edgecolor=color, linewidth=1.0, zorder=4))
        if labels:
            ax.annotate(
                short_label(label),
                (low[0], high[1]),
                xytext=(1.5, 1.5),
                textcoords="offset points",
                fontsize=size,
                color=color,
                zorder=5,
                bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.7},
            )


def _single(table: Any) -> Any:
    if isinstance(table, pd.DataFrame):
        return table
    if not hasattr(type(table), "__iter__"):
        if not hasattr(type(table), "dataframe"):
            raise SpecificationError(f"expected a table of localizations, got {type(table).__name__}")
        return table
    sources = list(table)
    if len(sources) != 1:
        raise SpecificationError(
            f"expected one source, got {len(sources)}: draw each, as in `for f in a.spt_data`"
        )
    return sources[0]


def _table(table: Any) -> pd.DataFrame:
    found = _single(table)
    found = found if isinstance(found, pd.DataFrame) else found.dataframe
    missing = [c for c in ("n", "x", "y", "t") if c not in found.columns]
    if missing:
        raise DataError(f"table of localizations: column {missing[0]!r} is missing")
    if not len(found):
        raise DataError("table of localizations: it is empty")
    return found


def _boxes(roi: Any) -> list[tuple[str, Any]]:
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
