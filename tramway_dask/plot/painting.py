"""Cells in colours, arrows and points, put into axes that exist."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import SpecificationError, suggest
from .mosaic import Mosaic
from .quantities import Colors, Quantity

__all__ = [
    "blank_cells",
    "checked_style",
    "hatch_cells",
    "paint",
    "paint_arrows",
    "paint_links",
    "paint_points",
]

MANY = 4000  # beyond, hatching is slow and outlines in a PDF are heavy
SEVERAL = 300
MOST_ARROWS = 900


def paint(ax: Any, mosaic: Mosaic, shown: Quantity, colors: Colors, *, alpha: float | None = None) -> Any:
    """Draw one polygon per cell that has a value, and mark those that have none.

    In 3-D, and where outlines are not known, centers are drawn as dots.

    Returns
    -------
    ScalarMappable
    """
    from matplotlib.collections import PolyCollection

    values = shown.values
    usable = np.isfinite(values)
    if not hasattr(colors.norm, "linthresh") and type(colors.norm).__name__ == "LogNorm":
        usable &= np.nan_to_num(values) > 0
    cells = mosaic.outlined
    if not len(cells):
        return _dots(ax, mosaic, np.where(usable, values, np.nan), colors, alpha)
    filled, blank = cells[usable[cells]], cells[~usable[cells]]
    blank_cells(ax, mosaic, blank)
    drawn = PolyCollection(
        mosaic.polygons(filled),
        array=values[filled],
        cmap=colors.cmap,
        norm=colors.norm,
        edgecolors="face",
        linewidths=0.3,
        alpha=alpha,
        rasterized=len(filled) > MANY,
        zorder=1,
    )
    ax.add_collection(drawn, autolim=False)
    return drawn


def _dots(ax: Any, mosaic: Mosaic, values: np.ndarray, colors: Colors, alpha: float | None) -> Any:
    size = float(np.clip(12000 / max(len(mosaic), 1), 3, 80))
    x, y = mosaic.centers[:, 0], mosaic.centers[:, 1]
    known = np.isfinite(values)
    ax.scatter(x[~known], y[~known], s=size * 0.5, facecolors="none", edgecolors="0.75", linewidths=0.5)
    return ax.scatter(
        x[known],
        y[known],
        c=values[known],
        s=size,
        cmap=colors.cmap,
        norm=colors.norm,
        alpha=alpha,
        linewidths=0,
        rasterized=len(values) > MANY,
    )


def blank_cells(ax: Any, mosaic: Mosaic, cells: np.ndarray) -> None:
    """Hatch cells in light grey."""
    style: dict[str, Any] = {"facecolors": "0.97", "edgecolors": "0.85", "linewidths": 0.3, "zorder": 0.5}
    _hatched(ax, mosaic, cells, "////" if len(cells) <= MANY else None, style)


def hatch_cells(ax: Any, mosaic: Mosaic, cells: np.ndarray, *, dark: np.ndarray) -> None:
    """Hatch cells over their colours: their values are not certain.

    Parameters
    ----------
    ax : Axes
    mosaic : Mosaic
    cells : ndarray of int
        Those without an outline get a cross.
    dark : ndarray of bool
        Which of them have a dark colour, on which lines are white.
    """
    for chosen, color in ((cells[dark], (1, 1, 1, 0.75)), (cells[~dark], (0, 0, 0, 0.6))):
        drawn = np.intersect1d(chosen, mosaic.outlined)
        if len(drawn) < len(chosen):
            places = mosaic.centers[np.setdiff1d(chosen, drawn)]
            ax.scatter(places[:, 0], places[:, 1], s=10, marker="x", color=color, linewidths=0.5, zorder=1.5)
        style = {"facecolors": "none", "edgecolors": color, "linewidths": 0.0, "zorder": 1.5}
        _hatched(ax, mosaic, drawn, "\\\\\\\\\\", style)


def _hatched(ax: Any, mosaic: Mosaic, cells: np.ndarray, hatch: str | None, style: dict[str, Any]) -> None:
    from matplotlib.collections import PathCollection, PolyCollection
    from matplotlib.path import Path

    if not len(cells):
        return
    style = {**style, "rasterized": len(cells) > MANY}
    if hatch is not None:
        style |= {"hatch": hatch, "hatch_linewidth": 0.4} if _hatch_width() else {"hatch": hatch}
    outlines = mosaic.polygons(cells)
    blank: Any
    if len(cells) > SEVERAL:
        # one path is hatched once, which is a hundred times faster than one by one
        blank = PathCollection([Path.make_compound_path_from_polys(outlines)], **style)
    else:
        blank = PolyCollection(outlines, **style)
    ax.add_collection(blank, autolim=False)


def _hatch_width() -> bool:
    from matplotlib.collections import Collection

    return hasattr(Collection, "set_hatch_linewidth")


def paint_arrows(
    ax: Any, mosaic: Mosaic, shown: Quantity, *, longest: float | None = None, constant: bool = False
) -> Any:
    """Draw vectors as arrows at the centers of their cells.

    The longest arrow is about as long as cells are wide; where there are very many, one arrow
    stands for the mean over neighbouring cells.

    Parameters
    ----------
    ax : Axes
    mosaic : Mosaic
    shown : Quantity
    longest : float, optional
        Amplitude that gets the full length; default: the 90 % quantile.
    constant : bool
        All arrows have the full length, and show the direction alone.

    Returns
    -------
    Quiver or None
        None if there is no vector.
    """
    if shown.vectors is None:
        return None
    kept = np.isfinite(shown.vectors).all(axis=1)
    # a cell that reaches into the box may have its centre beyond
    places, vectors = np.clip(mosaic.centers[kept, :2], *mosaic.extent), shown.vectors[kept]
    amplitude = np.hypot(*vectors.T)
    if not len(places) or not amplitude.max() > 0:
        return None
    covered = np.ptp(mosaic.extent, axis=0).prod()
    areas = mosaic.areas[kept] if mosaic.dimension == 2 else np.empty(0)
    areas = areas[np.isfinite(areas) & (areas > 0)]
    step = float(np.sqrt(np.median(areas) if len(areas) else covered / len(places)))
    if len(places) > MOST_ARROWS:
        step *= float(np.sqrt(len(places) / MOST_ARROWS))
        places, vectors = _means(places, vectors, step)
        amplitude = np.hypot(*vectors.T)
    full = longest if longest else float(np.quantile(amplitude, 0.9)) or float(amplitude.max())
    scale = 1 / np.maximum(amplitude, 1e-300)
    reduced = vectors * (scale if constant else np.minimum(1 / full, scale))[:, None]
    return ax.quiver(
        *places.T,
        *(reduced * step * 0.95).T,
        angles="xy",
        scale_units="xy",
        scale=1,
        units="xy",
        width=step * 0.07,
        headwidth=4,
        headlength=4,
        headaxislength=3.6,
        minlength=0.5,
        pivot="mid",
        color="white",
        edgecolor="black",
        linewidth=0.35,
        zorder=3,
    )


def _means(places: np.ndarray, vectors: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    box = np.floor((places - places.min(axis=0)) / step).astype(int)
    _, group, size = np.unique(box, axis=0, return_inverse=True, return_counts=True)
    group = group.reshape(-1)

    def mean(columns: np.ndarray) -> np.ndarray:
        return np.column_stack([np.bincount(group, weights=c) for c in columns.T]) / size[:, None]

    return mean(places), mean(vectors)


def paint_points(
    ax: Any,
    points: np.ndarray,
    *,
    color: Any = "black",
    alpha: float | None = None,
    size: float | None = None,
    marker: str = ".",
) -> Any:
    """Draw localizations as small dots, fainter the more there are.

    Parameters
    ----------
    ax : Axes
    points : ndarray (N, d), µm
    color : optional
    alpha : float, optional
    size : float, optional
        Diameter, points.
    marker : str
    """
    count = max(len(points), 1)
    faint = float(np.clip(30 / np.sqrt(count), 0.04, 0.8)) if alpha is None else alpha
    return ax.scatter(
        points[:, 0],
        points[:, 1],
        s=float(np.clip(4000 / count, 0.6, 6)) if size is None else float(size) ** 2,
        marker="o" if marker == "." else marker,
        color=color,
        alpha=faint,
        linewidths=0,
        rasterized=count > MANY,
        zorder=2,
    )


def checked_style(style: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the style of dots, for `paint_points`.

    Raises
    ------
    SpecificationError
        If it holds something else than ``color``, ``alpha``, ``size`` and ``marker``.
    """
    known = ("color", "alpha", "size", "marker")
    for name in style or ():
        if name not in known:
            raise SpecificationError(f"style of the dots: unknown name {name!r}; {suggest(name, known)}")
    return dict(style or {})


def paint_links(ax: Any, mosaic: Mosaic) -> None:
    """Draw a line between the centers of neighbours."""
    from matplotlib.collections import LineCollection

    places = mosaic.centers[:, :2]
    width = float(np.clip(20 / np.sqrt(max(len(mosaic), 1)), 0.3, 1.0))
    ax.add_collection(
        LineCollection(places[mosaic.pairs], colors="#D55E00", linewidths=width, zorder=2.7), autolim=False
    )
