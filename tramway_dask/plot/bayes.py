"""Whether a force acts: Bayes factors and what they decide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import SpecificationError
from .figures import add_note, color_bar, dress, figure_size, new_figure, require
from .mapping import auto_title, of_segment
from .mosaic import resolve
from .painting import paint
from .quantities import color_scale, quantity

__all__ = ["bayes_factor"]


def bayes_factor(
    maps: Any,
    sampling: Any = None,
    *,
    cells: Any = None,
    roi: str | Sequence[str] | None = None,
    segment: int | None = None,
    groups: bool = False,
    clim: Sequence[float | None] | None = None,
    clip: float | None = None,
    colorbar: bool = True,
    ax: Any = None,
    title: str | None = None,
) -> Any:
    """Draw the Bayes factors of a force, and beside them what they decide.

    Parameters
    ----------
    maps : Maps, DataFrame, Stored, Store or path
        Made by `models.BayesFactor`; as for `map`.
    sampling, cells, roi, segment
        As for `map`.
    groups : bool
        Show the groups of neighbouring cells that agree, instead of single cells.
    clim : (lower, upper), optional
        Colour limits of the logarithms; default: symmetric around 0, where nothing is known.
    clip : float, optional
        As for `map`.
    colorbar : bool
    ax : sequence of two Axes, optional
        Default: those of a new figure.
    title : str, optional
        Of the left axes.

    Returns
    -------
    ndarray of two Axes
        In µm: log10 of the Bayes factor; then cells with a force, without, and undecided.

    Raises
    ------
    SpecificationError
        If these are no maps of Bayes factors, or as for `map`.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> factors = models.BayesFactor().infer(partition, sigma=0.02)  # doctest: +SKIP
    >>> left, right = plot.bayes_factor(factors)  # doctest: +SKIP
    """
    require()
    mosaic, table = resolve(maps, sampling, cells=cells, roi=roi)
    names = ("group_lg_B", "group_forces") if groups else ("lg_B", "force")
    missing = [n for n in names if n not in table.columns]
    if missing:
        raise SpecificationError(
            f"bayes_factor: these maps have no {missing[0]!r}: infer them with models.BayesFactor"
        )
    scales = [
        color_scale(quantity(table, mosaic, names[0]), clim=clim, clip=clip, counts=mosaic.counts),
        color_scale(quantity(table, mosaic, names[1])),
    ]
    mosaic, table, segment = of_segment(mosaic, table, segment)
    extent = mosaic.extent
    if ax is None:
        width, height = figure_size(extent, bar=colorbar)
        ax = new_figure((2 * width + 0.3, height)).subplots(1, 2, squeeze=False)[0]
    axes = np.ravel(ax)
    if len(axes) != 2:
        raise SpecificationError("bayes_factor: ax needs a pair of axes, as in `plt.subplots(1, 2)[1]`")
    heading = auto_title(mosaic, segment) if title is None else title
    for each, name, colors in zip(axes, names, scales, strict=True):
        shown = quantity(table, mosaic, name)
        drawn = paint(each, mosaic, shown, colors)
        dress(each, extent, title=heading)
        if colorbar and np.isfinite(shown.values).any():
            color_bar(each, drawn, shown.label, extend=colors.extend, extent=extent, ticks=colors.ticks)
        add_note(each, colors.note)
        heading = heading and " "
    decided = table[names[1]].to_numpy(dtype=float)
    counts = [int((decided == v).sum()) for v in (1, -1, 0)]
    if sum(counts):
        add_note(axes[1], f"force in {counts[0]} cells, none in {counts[1]}, undecided in {counts[2]}")
    return axes
