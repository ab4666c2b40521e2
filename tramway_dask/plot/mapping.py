"""Maps: a value per cell in colours, vectors as arrows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..errors import SpecificationError, suggest
from ..inference.maps import Maps
from ..roi.boxes import short_label
from ..segmentation.partition import Partition
from ..segmentation.tessellation import coordinates
from ..spt_data.analyses import FULL_REGION
from .figures import add_note, color_bar, dress, figure_size, new_axes, new_figure, require
from .mosaic import Mosaic, resolve
from .painting import checked_style, hatch_cells, paint, paint_arrows, paint_links, paint_points
from .quantities import Colors, Quantity, color_scale, quantity

__all__ = ["auto_title", "by_region", "locations_of", "map", "of_segment"]

ERRORS = (False, True, "hatch", "panel")


def map(
    maps: Any,
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
    errors: bool | str = False,
    uncertain: float = 0.5,
    overlay_locations: bool | pd.DataFrame | Mapping[str, Any] = False,
    arrows: bool | str = True,
    adjacency: bool = False,
    title: str | None = None,
    label: str | None = None,
    alpha: float | None = None,
) -> Any:
    """Draw a mapped variable.

    Parameters
    ----------
    maps : Maps, DataFrame, Stored, Store or path
        Maps, or the rows of one source of the table that ``a.maps(label)`` gives, or maps of a results
        folder (`load`).
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
        Default: those of a new figure. With ``errors="panel"``, a pair of axes.
    log : bool
        Logarithmic colours; values that are not positive are left blank. Symmetric around zero for
        signed variables (components of force and drift).
    clim : (lower, upper), optional
        Colour limits; one of them may be None. Default: those of the chosen regions and all time
        segments, so that their pictures can be compared; `common_limits` gives those of several maps. Cells
        that hold together less than 0.5 % of the translocations, at either end, do not stretch them.
    clip : float, optional
        Upper colour limit, in interquartile distances above the median; below 1, as a quantile.
    cmap : str or Colormap, optional
    colorbar : bool
    segment : int, optional
        Time segment; default: the first.
    roi : str or sequence of str, optional
        Regions, if the table has several; default: all.
    errors : {False, True, "hatch", "panel"}
        True: the standard errors instead of the values. ``"hatch"``: the values, with hatching over
        cells that are `uncertain`. ``"panel"``: values and standard errors side by side.
    uncertain : float
        Hatch cells whose standard error is larger than this share of the value (of the
        interquartile range, for a potential, whose zero means nothing), or is not known.
    overlay_locations : bool, DataFrame or dict
        Draw the localizations that the cells were made of, or those of a table. A dict is the style of the
        dots: ``color``, ``alpha``, ``size``, ``marker``.
    arrows : bool or "constant"
        Draw vectors as arrows; ``"constant"``: of equal length, for the direction alone.
    adjacency : bool
        Draw a line between the centres of neighbours.
    title : str, optional
        Default: region, time segment and projection, as far as they are needed; ``""`` for none.
    label : str, optional
        Label of the colour bar; default: the variable and its unit.
    alpha : float, optional
        Opacity of the colours.

    Returns
    -------
    Axes, or ndarray of two Axes with ``errors="panel"``
        In µm. The drawn cells are the last collection of the axes with an array, before arrows and dots;
        cells without a value are hatched in grey.

    Raises
    ------
    SpecificationError
        If the variable, region, segment or cells are not known, or the colour limits are wrong.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> from tramway_dask import models, plot, simulate
    >>> from tramway_dask.segmentation import Hexagons, segment
    >>> from tramway_dask.spt_data.tables import translocations
    >>> walks = simulate.random_walk(force=(3.0, 0.0), box=[[0, 0], [1, 1]], seed=1)
    >>> partition = segment(translocations(walks), tesseller=Hexagons(resolution=0.2))
    >>> maps = models.DF(diffusivity_prior=1.0).infer(partition, sigma=0.02)
    >>> maps.parent = partition
    >>> ax = plot.map(maps, "force")
    >>> ax.get_xlabel()
    'x (µm)'
    >>> value, error = plot.map(maps, "diffusivity", errors="panel")
    """
    require()
    if feature is not None and variable is not None and feature != variable:
        raise SpecificationError(f"variable={variable!r} and feature={feature!r} mean the same: give one")
    if errors not in ERRORS:
        raise SpecificationError(f"errors: unknown value {errors!r}; {suggest(errors, ERRORS)}")
    mosaic, table = resolve(maps, sampling, cells=cells, roi=roi)
    # limits and arrows are common to all segments, so that their pictures can be compared
    whole = quantity(table, mosaic, variable or feature, errors=errors is True)
    colors = color_scale(whole, log=log, clim=clim, clip=clip, cmap=cmap, counts=mosaic.counts)
    whole_mosaic, whole_table = mosaic, table
    mosaic, table, segment = of_segment(mosaic, table, segment)
    shown = quantity(table, mosaic, whole.name, errors=errors is True)
    extent = mosaic.extent
    twin = None
    if errors == "panel":
        error = quantity(whole_table, whole_mosaic, whole.name, errors=True)
        if ax is None:
            width, height = figure_size(extent, bar=colorbar)
            ax = new_figure((2 * width, height)).subplots(1, 2, squeeze=False)[0]
        ax, twin = _pair(ax)
    elif ax is None:
        ax = new_axes(extent, bar=colorbar)
    doubted = _uncertain(table, mosaic, shown, uncertain) if errors == "hatch" else None
    drawn = paint(ax, mosaic, shown, colors, alpha=alpha)
    note = colors.note
    if doubted is not None:
        hatch_cells(ax, mosaic, doubted, dark=_dark(drawn, shown.values[doubted]))
        note = "; ".join(filter(None, [note, _told(shown, doubted, uncertain)]))
    if overlay_locations is not False:
        points, style = locations_of(overlay_locations, maps, sampling, mosaic, segment)
        paint_points(ax, points, **style)
    if adjacency:
        paint_links(ax, mosaic)
    if arrows and errors is not True:
        paint_arrows(ax, mosaic, shown, constant=arrows == "constant")
    heading = auto_title(mosaic, segment) if title is None else title
    _finish(ax, drawn, shown, colors, extent, heading, label or shown.label, colorbar)
    if isinstance(maps, Maps) and maps.attrs.get("converged") is False:
        note = "; ".join(filter(None, [note, "the inference has not converged"]))
    add_note(ax, note)
    if twin is None:
        return ax
    scale = color_scale(error, log=log, cmap="magma", counts=whole_mosaic.counts)
    part = quantity(table, mosaic, shown.name, errors=True)
    beside = paint(twin, mosaic, part, scale, alpha=alpha)
    _finish(twin, beside, part, scale, extent, heading and " ", part.label, colorbar)
    add_note(twin, scale.note)
    return np.array([ax, twin], dtype=object)


def _finish(
    ax: Any,
    drawn: Any,
    shown: Quantity,
    colors: Colors,
    extent: np.ndarray,
    title: str,
    label: str,
    colorbar: bool,
) -> None:
    dress(ax, extent, title=title)
    if colorbar and np.isfinite(shown.values).any():
        color_bar(ax, drawn, label, extend=colors.extend, extent=extent, ticks=colors.ticks)


def _pair(ax: Any) -> Any:
    try:
        value, error = np.ravel(ax)
    except ValueError:
        raise SpecificationError(
            'errors="panel" needs a pair of axes, as in `plt.subplots(1, 2)[1]`'
        ) from None
    return value, error


def _uncertain(table: pd.DataFrame, mosaic: Mosaic, shown: Quantity, share: float) -> np.ndarray:
    """Return the cells with a value that is not certain, ndarray of int."""
    if not share > 0:
        raise SpecificationError(f"uncertain: expected a number above 0, got {share!r}")
    error = quantity(table, mosaic, shown.name, errors=True).values
    size = np.abs(shown.values)
    if shown.name == "potential":
        finite = shown.values[np.isfinite(shown.values)]
        size = np.full(len(size), np.subtract(*np.quantile(finite, [0.75, 0.25])) if len(finite) else 0.0)
    with np.errstate(invalid="ignore"):
        certain = error <= share * size
    return np.flatnonzero(np.isfinite(shown.values) & ~certain)


def _dark(drawn: Any, values: np.ndarray) -> np.ndarray:
    """Return which colours are dark, ndarray of bool."""
    return drawn.to_rgba(values)[:, :3] @ np.array([0.299, 0.587, 0.114]) < 0.5


def _told(shown: Quantity, doubted: np.ndarray, share: float) -> str:
    of = "interquartile range" if shown.name == "potential" else "value"
    count = int(np.isfinite(shown.values).sum())
    return f"hatched: s.e. above {share:.0%} of the {of} ({len(doubted)} of {count} cells)"


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


def by_region(mosaic: Mosaic, table: pd.DataFrame) -> list[tuple[str, Mosaic, pd.DataFrame]]:
    """Return the cells of each region: its label, cells, and rows of the table."""
    code, regions = pd.factorize(mosaic.region)
    members = np.split(np.argsort(code, kind="stable"), np.cumsum(np.bincount(code))[:-1])
    return [(str(r), mosaic.take(m), table.iloc[m]) for r, m in zip(regions, members, strict=False)]


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


def locations_of(
    wanted: Any, maps: Any, sampling: Any, mosaic: Mosaic, segment: int | None
) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the localizations to draw over maps, ndarray (N, d), and their style."""
    style = checked_style(wanted if isinstance(wanted, Mapping) else None)
    if isinstance(wanted, pd.DataFrame):
        return coordinates(wanted), style
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
    return coordinates(points), style
