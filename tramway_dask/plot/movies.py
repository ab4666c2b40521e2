"""Maps over time segments, as an animation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..errors import SpecificationError
from ..inference.maps import Maps
from .figures import TITLE, add_note, color_bar, dress, figure_size, new_figure, require
from .mapping import auto_title, of_segment
from .mosaic import resolve
from .painting import paint, paint_arrows
from .quantities import color_scale, quantity

__all__ = ["animate"]


def animate(
    maps: Maps | pd.DataFrame,
    feature: str | None = None,
    sampling: Any = None,
    *,
    cells: Any = None,
    figure: Any = None,
    ax: Any = None,
    interval: float = 500.0,
    log: bool = False,
    clim: Sequence[float | None] | None = None,
    clip: float | None = None,
    cmap: Any = None,
    roi: str | Sequence[str] | None = None,
    arrows: bool = True,
    title: str | None = None,
    label: str | None = None,
) -> Any:
    """Animate a mapped variable over the time segments.

    Parameters
    ----------
    maps, feature, sampling, cells, log, clim, clip, cmap, roi, arrows, label
        As for `map`; colours are common to all segments.
    figure : Figure, optional
        Where to draw; default: a new one.
    ax : Axes, optional
        Default: new axes of the figure.
    interval : float
        Between segments, ms.
    title : str, optional
        Goes before the times of the segment.

    Returns
    -------
    matplotlib.animation.FuncAnimation
        Keep it as long as it is to be seen. ``animation.to_jshtml()`` shows it in a notebook,
        ``animation.save("maps.gif", writer="pillow")`` writes it.

    Raises
    ------
    SpecificationError
        If the variable or the cells are not known, or there is nothing to show.
    MissingDependencyError
        If matplotlib is not installed.
    """
    require()
    from matplotlib.animation import FuncAnimation

    mosaic, table = resolve(maps, sampling, cells=cells, roi=roi)
    whole = quantity(table, mosaic, feature)
    segments = mosaic.segments
    if not segments:
        raise SpecificationError("animate: these maps have no cell")
    colors = color_scale(whole, log=log, clim=clim, clip=clip, cmap=cmap)
    longest = None
    if whole.vectors is not None and np.isfinite(whole.values).any():
        longest = float(np.nanquantile(whole.values, 0.9))
    extent = mosaic.extent
    if ax is None:
        figure = new_figure(figure_size(extent)) if figure is None else figure
        ax = figure.add_subplot()
    drawn = paint(ax, mosaic, whole, colors)
    color_bar(ax, drawn, label or whole.label, extend=colors.extend, extent=extent)
    drawn.remove()
    dress(ax, extent)
    add_note(ax, colors.note)
    heading = ax.set_title(" ", fontsize=TITLE)
    artists: list[Any] = []

    def draw(number: int) -> list[Any]:
        for artist in artists:
            artist.remove()
        before = set(ax.get_children())
        part, rows, segment = of_segment(mosaic, table, number)
        shown = quantity(rows, part, whole.name)
        paint(ax, part, shown, colors)
        if arrows:
            paint_arrows(ax, part, shown, longest=longest)
        artists[:] = [a for a in ax.get_children() if a not in before]
        heading.set_text(", ".join(filter(None, [title, auto_title(part, segment)])))
        return [*artists, heading]

    return FuncAnimation(ax.figure, draw, frames=segments, interval=interval, init_func=lambda: [heading])
