"""Cells: their outlines, numbers, neighbours and localizations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..errors import SpecificationError
from ..segmentation.partition import Partition
from ..segmentation.tessellation import coordinates
from .figures import color_bar, dress, new_axes, require
from .mapping import auto_title, of_segment
from .mosaic import Mosaic
from .painting import MANY, checked_style, paint, paint_links, paint_points
from .quantities import color_scale, quantity

__all__ = ["cells", "outline"]


def cells(
    sampling: Any,
    locations: bool | pd.DataFrame = True,
    *,
    ax: Any = None,
    indices: bool = False,
    adjacency: bool = False,
    counts: bool = False,
    log: bool = False,
    segment: int | None = None,
    title: str | None = None,
    cmap: Any = None,
    color: str = "0.35",
    linewidth: float | None = None,
    outlines: bool = True,
    style: Mapping[str, Any] | None = None,
) -> Any:
    """Draw the cells of a segmentation.

    Parameters
    ----------
    sampling : Partition, Tessellation, DataFrame or pyarrow Table
        A table is one of cells, of the results.
    locations : bool or DataFrame
        Draw the localizations of the partition, or those of a table.
    ax : Axes, optional
        Default: those of a new figure.
    indices : bool
        Write the number of each cell in its centre; of one time segment, numbers in space.
    adjacency : bool
        Draw a line between the centres of neighbours.
    counts : bool
        Colour cells by their number of translocations.
    log : bool
        Logarithmic colours for `counts`.
    segment : int, optional
        Time segment; default: the first.
    title : str, optional
    cmap : str or Colormap, optional
    color : str
        Of the outlines.
    linewidth : float, optional
        Of the outlines; default: thinner the more cells there are.
    outlines : bool
        Draw the outlines.
    style : mapping, optional
        Of the dots: ``color``, ``alpha``, ``size``, ``marker``.

    Returns
    -------
    Axes
        In µm.

    Raises
    ------
    SpecificationError
        If `sampling` is none of these, or there is no such segment.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> from tramway_dask import plot, simulate
    >>> from tramway_dask.segmentation import Hexagons, segment
    >>> from tramway_dask.spt_data.tables import translocations
    >>> walks = simulate.random_walk(box=[[0, 0], [1, 1]], seed=1)
    >>> partition = segment(translocations(walks), tesseller=Hexagons(resolution=0.2))
    >>> ax = plot.cells(partition, indices=True, adjacency=True)
    >>> ax = plot.cells(partition, counts=True)
    """
    require()
    mosaic = Mosaic.of(sampling)
    table = pd.DataFrame(index=range(len(mosaic)))
    mosaic, table, segment = of_segment(mosaic, table, segment)
    points = _points(sampling, locations, mosaic, segment)
    extent = mosaic.extent
    if ax is None:
        ax = new_axes(extent, side=4.2, bar=counts)
    if counts:
        shown = quantity(table, mosaic, "n")
        colors = color_scale(shown, log=log, cmap=cmap)
        drawn = paint(ax, mosaic, shown, colors)
        color_bar(ax, drawn, shown.label, extend=colors.extend, extent=extent)
    if points is not None:
        paint_points(ax, points, **{"color": "black" if counts else "#0072B2", **checked_style(style)})
    if outlines:
        outline(ax, mosaic, "white" if counts else color, linewidth)
    if adjacency:
        paint_links(ax, mosaic)
    if indices:
        _numbers(ax, mosaic, extent)
    dress(ax, extent, title=auto_title(mosaic, segment) if title is None else title)
    return ax


def _points(
    sampling: Any, wanted: bool | pd.DataFrame, mosaic: Mosaic, segment: int | None
) -> np.ndarray | None:
    if isinstance(wanted, pd.DataFrame):
        return coordinates(wanted)
    if not wanted or not isinstance(sampling, Partition):
        return None
    points = sampling.points
    if segment is not None and segment in mosaic.times:
        start, stop = mosaic.times[segment]
        points = points[(points["t"] >= start) & (points["t"] < stop)]
    return coordinates(points)


def outline(ax: Any, mosaic: Mosaic, color: str, linewidth: float | None = None) -> None:
    """Draw the outlines of cells, or dots where they are not known."""
    from matplotlib.collections import PolyCollection

    shown = mosaic.outlined
    if not len(shown):
        ax.scatter(mosaic.centers[:, 0], mosaic.centers[:, 1], s=6, color="0.3", linewidths=0, zorder=2.5)
        return
    width = float(np.clip(20 / np.sqrt(len(shown)), 0.2, 0.9)) if linewidth is None else linewidth
    ax.add_collection(
        PolyCollection(
            mosaic.polygons(shown),
            facecolors="none",
            edgecolors=color,
            linewidths=width,
            rasterized=len(shown) > MANY,
            zorder=2.5,
        ),
        autolim=False,
    )


def _numbers(ax: Any, mosaic: Mosaic, extent: np.ndarray) -> None:
    if len(mosaic) > 1000:
        raise SpecificationError(
            f"indices: {len(mosaic)} numbers cannot be read in one picture; draw at most 1000 cells"
        )
    # as large as fits: a cell's width on paper, for the number of digits
    inches = ax.figure.get_size_inches().min() * 0.7
    pitch = 72 * inches * np.sqrt(1 / max(len(mosaic), 1))
    size = float(np.clip(pitch / (0.75 * len(str(len(mosaic))) + 0.6), 3, 9))
    halo = {"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75}
    low, high = extent
    # a cell that reaches into the box may have its centre beyond
    places = np.clip(mosaic.centers[:, :2], low, high)
    for number, (x, y) in enumerate(places):
        ax.text(x, y, str(number), ha="center", va="center", fontsize=size, bbox=halo, zorder=4, clip_on=True)
