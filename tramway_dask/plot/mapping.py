"""Maps: a value per cell in colours, vectors as arrows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..errors import SpecificationError
from ..inference.maps import Maps
from ..roi.boxes import short_label
from ..segmentation.partition import Partition
from ..segmentation.tessellation import coordinates
from ..spt_data.analyses import FULL_REGION
from .figures import add_note, color_bar, dress, new_axes, require
from .mosaic import Mosaic, resolve
from .painting import paint, paint_arrows, paint_points
from .quantities import color_scale, quantity

__all__ = ["auto_title", "map", "of_segment"]


def map(
    maps: Maps | pd.DataFrame,
    variable: str | None = None,
    sampling: Any = None,
    *,
    feature: str | None = None,
    cells: Any = None,
    ax: Any = None,
    log: bool = False,
    clim: Sequence[float | None] | None = None,
    clip: float | None = None,
    cmap: Any = None,
    colorbar: bool = True,
    segment: int | None = None,
    roi: str | Sequence[str] | None = None,
    errors: bool = False,
    overlay_locations: bool | pd.DataFrame = False,
    arrows: bool = True,
    title: str | None = None,
    label: str | None = None,
    alpha: float | None = None,
) -> Any:
    """Draw a mapped variable.

    Parameters
    ----------
    maps : Maps or DataFrame
        Maps, or the rows of one source of the table that ``a.maps(label)`` gives.
    variable : str, optional
        Column (``"diffusivity"``, ``"force x"``), vector (``"force"``: amplitude and arrows), ``"n"``
        (translocations per cell) or ``"density"``. Default: the first that was mapped.
    sampling : Partition or Tessellation, optional
        Cells; default: those that the maps were inferred from.
    feature : str, optional
        Other name of `variable`.
    cells : DataFrame or pyarrow Table, optional
        With a table of maps: the table of cells of the results, ``a.results.table(sampling, "cells")``.
        Without it, cells are shown as dots.
    ax : Axes, optional
        Default: those of a new figure.
    log : bool
        Logarithmic colours; values that are not positive are left blank. Symmetric around zero for
        signed variables (components of force and drift).
    clim : (lower, upper), optional
        Colour limits; one of them may be None.
    clip : float, optional
        Upper colour limit, in interquartile distances above the median.
    cmap : str or Colormap, optional
    colorbar : bool
    segment : int, optional
        Time segment; default: the first.
    roi : str or sequence of str, optional
        Regions, if the table has several; default: all.
    errors : bool
        Show the standard errors instead of the values.
    overlay_locations : bool or DataFrame
        Draw the localizations that the cells were made of, or those of a table.
    arrows : bool
        Draw vectors as arrows.
    title : str, optional
        Default: region, time segment and projection, as far as they are needed; ``""`` for none.
    label : str, optional
        Label of the colour bar; default: the variable and its unit.
    alpha : float, optional
        Opacity of the colours.

    Returns
    -------
    Axes
        In µm. The drawn cells are the last collection of the axes with an array; cells without a
        value are hatched in grey.

    Raises
    ------
    SpecificationError
        If the variable, region, segment or cells are not known, or the colour limits are wrong.
    MissingDependencyError
        If matplotlib is not installed.
    """
    require()
    if feature is not None and variable is not None and feature != variable:
        raise SpecificationError(f"variable={variable!r} and feature={feature!r} mean the same: give one")
    mosaic, table = resolve(maps, sampling, cells=cells, roi=roi)
    # limits and arrows are common to all segments, so that their pictures can be compared
    shown = quantity(table, mosaic, variable or feature, errors=errors)
    colors = color_scale(shown, log=log, clim=clim, clip=clip, cmap=cmap)
    mosaic, table, segment = of_segment(mosaic, table, segment)
    shown = quantity(table, mosaic, shown.name, errors=errors)
    extent = mosaic.extent
    if ax is None:
        ax = new_axes(extent, bar=colorbar)
    drawn = paint(ax, mosaic, shown, colors, alpha=alpha)
    if overlay_locations is not False:
        paint_points(ax, _locations(overlay_locations, maps, sampling, mosaic, segment))
    if arrows and not errors:
        paint_arrows(ax, mosaic, shown)
    dress(ax, extent, title=auto_title(mosaic, segment) if title is None else title)
    if colorbar and np.isfinite(shown.values).any():
        color_bar(ax, drawn, label or shown.label, extend=colors.extend, extent=extent)
    note = colors.note
    if isinstance(maps, Maps) and maps.attrs.get("converged") is False:
        note = "; ".join(filter(None, [note, "the inference has not converged"]))
    add_note(ax, note)
    return ax


def of_segment(
    mosaic: Mosaic, table: pd.DataFrame, segment: int | None
) -> tuple[Mosaic, pd.DataFrame, int | None]:
    """Return the cells of one time segment (by default the first), and its number if there are several.

    Raises
    ------
    SpecificationError
        If there is no such segment.
    """
    known = mosaic.segments
    if segment is not None and segment not in known:
        raise SpecificationError(f"no time segment {segment}: these maps have segments {_span(known)}")
    if len(known) <= 1:
        return mosaic, table, known[0] if mosaic.times and known else None
    chosen = known[0] if segment is None else int(segment)
    rows = np.flatnonzero(mosaic.segment == chosen)
    return mosaic.take(rows), table.iloc[rows], chosen


def _span(numbers: list[int]) -> str:
    return f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else str(numbers[0]) if numbers else "none"


def auto_title(mosaic: Mosaic, segment: int | None = None) -> str:
    """Return what a reader must know of the cells: region, time, projection."""
    parts = []
    if len(mosaic.regions) == 1 and mosaic.regions[0] != FULL_REGION:
        parts.append(short_label(str(mosaic.regions[0]), 60))
    if segment is not None and segment in mosaic.times:
        start, stop = mosaic.times[segment]
        parts.append(f"{start:g}–{stop:g} s")
    elif segment is not None:
        parts.append(f"segment {segment}")
    if mosaic.dimension == 3:
        parts.append("3-D, centres projected on (x, y)")
    return ", ".join(parts)


def _locations(wanted: Any, maps: Any, sampling: Any, mosaic: Mosaic, segment: int | None) -> np.ndarray:
    if isinstance(wanted, pd.DataFrame):
        return coordinates(wanted)
    partition = sampling if sampling is not None else getattr(maps, "parent", None)
    if not isinstance(partition, Partition):
        raise SpecificationError(
            "overlay_locations: the localizations are not known here; give them as a table, "
            "or the partition as `sampling=`"
        )
    points = partition.points
    if segment is not None and segment in mosaic.times:
        start, stop = mosaic.times[segment]
        points = points[(points["t"] >= start) & (points["t"] < stop)]
    return coordinates(points)
