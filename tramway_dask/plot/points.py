"""Localizations: as dots, or how many there are per area."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..errors import DataError, SpecificationError, suggest
from ..spt_data.tables import space_columns
from .figures import add_note, color_bar, dress, new_axes, require
from .painting import paint_points
from .quantities import Quantity, color_scale, with_unit

__all__ = ["density", "histogram", "localizations", "rows_of"]

MOST_PIXELS = 4_000_000


def localizations(
    table: Any,
    *,
    ax: Any = None,
    color: str = "0.25",
    size: float | None = None,
    alpha: float | None = None,
    max_points: int | None = 200_000,
    colorbar: bool = True,
    title: str | None = None,
) -> Any:
    """Draw localizations as dots.

    Parameters
    ----------
    table : DataFrame
        Localizations, trajectories or translocations; or a source or collection of one (``a.spt_data``).
    ax : Axes, optional
        Default: those of a new figure.
    color : str
        A colour, or a column of numbers: ``"t"`` colours by time.
    size : float, optional
        Diameter of the dots, points; default: smaller the more there are.
    alpha : float, optional
        Opacity; default: fainter the more there are.
    max_points : int, optional
        Draw that many at most, spread evenly over all; a note says so. None: all.
    colorbar : bool
        With colours by a column.
    title : str, optional

    Returns
    -------
    Axes
        In µm.

    Raises
    ------
    DataError
        If the table is empty or columns are missing.
    SpecificationError
        If `color` is neither a colour nor a column of numbers.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> from tramway_dask import plot, simulate
    >>> walks = simulate.random_walk(trajectory_count=20, box=[[0, 0], [1, 1]])
    >>> ax = plot.localizations(walks, color="t")
    """
    require()
    table = rows_of(table)
    extent = _extent(table)
    note = ""
    if max_points is not None and len(table) > max_points:
        kept = np.linspace(0, len(table) - 1, max_points).round().astype(int)
        note = f"{max_points} of {len(table)} localizations"
        table = table.iloc[kept]
    places = table[space_columns(table)[:2]].to_numpy(dtype=float)
    by = _column(table, color)
    if ax is None:
        ax = new_axes(extent, side=4.2, bar=by is not None and colorbar)
    if by is None:
        paint_points(ax, places, color=color, alpha=alpha, size=size)
    else:
        drawn = paint_points(ax, places, color=None, alpha=1.0 if alpha is None else alpha, size=size)
        drawn.set_array(by)
        drawn.set_cmap("viridis")
        if colorbar:
            label = {"t": "t (s)", "n": "trajectory"}.get(color, f"{color} (µm)" if color == "z" else color)
            color_bar(ax, drawn, label, extent=extent)
    dress(ax, extent, title=title)
    add_note(ax, note)
    return ax


def density(
    table: Any,
    *,
    ax: Any = None,
    bin: float | None = None,
    log: bool = False,
    clim: Sequence[float | None] | None = None,
    cmap: Any = None,
    colorbar: bool = True,
    title: str | None = None,
) -> Any:
    """Draw the number of localizations per area, on square pixels.

    Parameters
    ----------
    table : DataFrame
        As for `localizations`.
    ax : Axes, optional
        Default: those of a new figure.
    bin : float, optional
        Side of a pixel, µm; default: so that pixels that are not empty hold about ten localizations.
    log : bool
        Logarithmic colours; empty pixels are left blank.
    clim : (lower, upper), optional
        Colour limits, µm^-2; one of them may be None.
    cmap : str or Colormap, optional
    colorbar : bool
    title : str, optional

    Returns
    -------
    Axes
        In µm.

    Raises
    ------
    DataError
        If the table is empty or columns are missing.
    SpecificationError
        If the pixels are too many or the limits are wrong.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> from tramway_dask import plot, simulate
    >>> walks = simulate.random_walk(trajectory_count=20, box=[[0, 0], [1, 1]])
    >>> ax = plot.density(walks, bin=0.05, log=True)
    """
    require()
    table = rows_of(table)
    places = table[space_columns(table)[:2]].to_numpy(dtype=float)
    extent = _extent(table)
    side, counts, edges = histogram(places, bin)
    values = counts / side**2
    if log:
        values = np.where(values > 0, values, np.nan)
    label = with_unit("density", 2).replace("translocations", "localizations")
    shown = Quantity("density", values.ravel(), label)
    colors = color_scale(shown, log=log, clim=clim, cmap=cmap)
    if ax is None:
        ax = new_axes(extent, side=4.2, bar=colorbar)
    low, high = edges
    drawn = ax.imshow(
        values.T,
        origin="lower",
        extent=(low[0], high[0], low[1], high[1]),
        cmap=colors.cmap,
        norm=colors.norm,
        interpolation="nearest",
        zorder=1,
    )
    dress(ax, np.array(edges), title=title)
    if colorbar:
        color_bar(ax, drawn, label, extend=colors.extend, extent=extent)
    add_note(ax, f"pixels of {side * 1000:.3g} nm")
    return ax


def histogram(
    places: np.ndarray, side: float | None = None
) -> tuple[float, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Return the side of square pixels, counts (i along x, j along y), and lower and upper corner.

    Raises
    ------
    SpecificationError
        If the side is not above zero, or so small that pixels cannot be held in memory.
    """
    low, high = places.min(axis=0), places.max(axis=0)
    width = high - low
    if side is None and not width.max() > 0:
        side = 0.1
    elif side is None:
        width = np.maximum(width, 1e-6 * width.max())
        coarse = np.histogram2d(places[:, 0], places[:, 1], bins=64)[0]
        covered = float(np.mean(coarse > 0) * width.prod())
        side = float(np.clip(np.sqrt(10 * covered / len(places)), width.max() / 600, width.max() / 12))
    elif not isinstance(side, int | float | np.number) or not np.isfinite(side) or side <= 0:
        raise SpecificationError(f"bin: expected a length above 0 in µm, got {side!r}")
    shape = np.floor(width / side).astype(float) + 1
    if shape.prod() > MOST_PIXELS:
        raise SpecificationError(
            f"bin: pixels of {side:g} µm would be {shape[0]:.0f} × {shape[1]:.0f}; "
            f"at most {MOST_PIXELS} are drawn: make them larger"
        )
    number = shape.astype(int)
    low = low - (number * side - width) / 2
    index = np.minimum(((places - low) / side).astype(int), number - 1)
    counts = np.bincount(index[:, 0] * number[1] + index[:, 1], minlength=number.prod()).reshape(number)
    return side, counts, (low, low + number * side)


def _extent(table: pd.DataFrame) -> np.ndarray:
    places = table[space_columns(table)[:2]].to_numpy(dtype=float)
    return np.array([places.min(axis=0), places.max(axis=0)])


def _column(table: pd.DataFrame, color: str) -> np.ndarray | None:
    from matplotlib.colors import is_color_like

    if color in table.columns:
        if table[color].dtype.kind not in "iuf":
            raise SpecificationError(f"color: column {color!r} does not hold numbers")
        return table[color].to_numpy(dtype=float)
    if not is_color_like(color):
        numbers = [str(c) for c in table.columns if table[c].dtype.kind in "iuf"]
        raise SpecificationError(
            f"color: {color!r} is neither a colour nor a column of numbers; columns: {suggest(color, numbers)}"
        )
    return None


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


def rows_of(table: Any, needed: Sequence[str] = ("x", "y", "t")) -> pd.DataFrame:
    """Return the localizations of a table, a source, or a collection of one.

    Raises
    ------
    DataError
        If the table is empty or columns are missing.
    SpecificationError
        If it is no table, or there are several sources.
    """
    found = _single(table)
    found = found if isinstance(found, pd.DataFrame) else found.dataframe
    missing = [c for c in needed if c not in found.columns]
    if missing:
        raise DataError(f"table of localizations: column {missing[0]!r} is missing")
    if not len(found):
        raise DataError("table of localizations: it is empty")
    finite = np.isfinite(found[space_columns(found)].to_numpy(dtype=float)).all(axis=1)
    if not finite.all():
        raise DataError(
            f"table of localizations: {int((~finite).sum())} rows have a coordinate that is no finite number, "
            f"the first is row {int(np.argmin(finite))}; drop them with table.dropna()"
        )
    return found
