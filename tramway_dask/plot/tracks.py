"""Trajectories, as lines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..errors import SpecificationError
from ..spt_data.tables import is_translocations, space_columns
from ..spt_data.tables import trajectories as as_trajectories
from .figures import add_note, color_bar, dress, new_axes, require
from .painting import MANY
from .points import rows_of

__all__ = ["PALETTE", "polylines", "trajectories"]

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
    SpecificationError
        If `color` is no colour.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> from tramway_dask import plot, simulate
    >>> walks = simulate.random_walk(trajectory_count=20, box=[[0, 0], [1, 1]])
    >>> ax = plot.trajectories(walks, color="t")
    """
    require()
    from matplotlib.collections import LineCollection
    from matplotlib.colors import is_color_like

    if color not in ("n", "t") and not is_color_like(color):
        raise SpecificationError(f"color: expected 'n', 't' or a colour, got {color!r}")
    if max_trajectories is not None and max_trajectories < 1:
        raise SpecificationError(f"max_trajectories: expected a number from 1 up, got {max_trajectories!r}")

    table = rows_of(table, ("n", "x", "y", "t"))
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
    lines, first = polylines(places, number, MOST_STEPS if by_time else None)
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


def polylines(
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
