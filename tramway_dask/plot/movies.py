"""What moves: maps and cells over time segments, trajectories over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..errors import SpecificationError
from ..segmentation.partition import Partition
from ..segmentation.tessellation import coordinates
from ..spt_data.tables import is_translocations, space_columns
from ..spt_data.tables import trajectories as as_trajectories
from .figures import TITLE, add_note, color_bar, dress, figure_size, new_figure, require
from .mapping import auto_title, locations_of, of_segment
from .mosaic import Mosaic, resolve
from .outlines import outline
from .painting import checked_style, paint, paint_arrows, paint_points
from .points import rows_of
from .quantities import color_scale, quantity
from .tracks import PALETTE

if TYPE_CHECKING:
    from .movie import Movie

__all__ = ["animate", "animate_cells", "animate_trajectories"]


def animate(
    maps: Any,
    feature: str | None = None,
    sampling: Any = None,
    *,
    cells: Any = None,
    figure: Any = None,
    ax: Any = None,
    interval: float = 500.0,
    segments: Sequence[int] | None = None,
    log: bool = False,
    clim: Sequence[float | None] | None = None,
    clip: float | None = None,
    cmap: Any = None,
    roi: str | Sequence[str] | None = None,
    overlay_locations: Any = False,
    arrows: bool | str = True,
    title: str | None = None,
    label: str | None = None,
    **options: Any,
) -> Movie:
    """Animate a mapped variable over the time segments.

    Parameters
    ----------
    maps, feature, sampling, cells, log, clim, clip, cmap, roi, overlay_locations, arrows, label
        As for `map`; colours are common to all segments.
    figure : Figure or Movie, optional
        Where to draw; default: a new one. Of a movie: its figure, whose other axes move together with
        these.
    ax : Axes, optional
        Default: new axes of the figure.
    interval : float
        Between segments, ms.
    segments : sequence of int, optional
        Time segments; default: all.
    title : str, optional
        Goes before the times of the segment.
    options : optional
        Of `matplotlib.animation.FuncAnimation`, as ``repeat``.

    Returns
    -------
    Movie
        A `matplotlib.animation.FuncAnimation`: keep it as long as it is to be seen. A notebook shows it
        with controls; `save` writes ``.html``, ``.gif`` or, with ffmpeg, ``.mp4``.

    Raises
    ------
    SpecificationError
        If the variable, the cells or a segment are not known, or there is nothing to show.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> movie = plot.animate(maps, "diffusivity", log=True)  # doctest: +SKIP
    >>> movie.save("diffusivity.html")  # doctest: +SKIP
    >>> figure, (left, right) = plt.subplots(1, 2)  # doctest: +SKIP
    >>> movie = plot.animate(maps, "diffusivity", figure=figure, ax=left)  # doctest: +SKIP
    >>> movie = plot.animate(maps, "force", figure=movie, ax=right)  # doctest: +SKIP
    """
    require()
    mosaic, table = resolve(maps, sampling, cells=cells, roi=roi)
    whole = quantity(table, mosaic, feature)
    numbers = _segments(mosaic, segments)
    colors = color_scale(whole, log=log, clim=clim, clip=clip, cmap=cmap, counts=mosaic.counts)
    longest = None
    if whole.vectors is not None and np.isfinite(whole.values).any():
        longest = float(np.nanquantile(whole.values, 0.9))
    extent = mosaic.extent
    figure, ax, movie = _place(figure, ax, extent)
    drawn = paint(ax, mosaic, whole, colors)
    if np.isfinite(whole.values).any():
        text = label or whole.label
        color_bar(ax, drawn, text, extend=colors.extend, extent=extent, ticks=colors.ticks)
    drawn.remove()
    dress(ax, extent)
    add_note(ax, colors.note)

    def show(number: int) -> str:
        part, rows, segment = of_segment(mosaic, table, numbers[number])
        shown = quantity(rows, part, whole.name)
        paint(ax, part, shown, colors)
        if overlay_locations is not False:
            points, style = locations_of(overlay_locations, maps, sampling, part, segment)
            paint_points(ax, points, **style)
        if arrows:
            paint_arrows(ax, part, shown, longest=longest, constant=arrows == "constant")
        return auto_title(part, segment)

    return _movie(figure, ax, movie, show, len(numbers), interval, title, whole.name, options)


def animate_cells(
    sampling: Any,
    *,
    figure: Any = None,
    ax: Any = None,
    interval: float = 500.0,
    segments: Sequence[int] | None = None,
    color: str = "0.35",
    title: str | None = None,
    style: dict[str, Any] | None = None,
    **options: Any,
) -> Movie:
    """Animate the localizations of a partition over its time segments, with the cells' outlines.

    Parameters
    ----------
    sampling : Partition
    figure, ax, interval, segments, title, options
        As for `animate`.
    color : str
        Of the outlines.
    style : dict, optional
        Of the dots: ``color``, ``alpha``, ``size``, ``marker``.

    Returns
    -------
    Movie
        As `animate` returns it.

    Raises
    ------
    SpecificationError
        If this is no partition, or there is nothing to show.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> movie = plot.animate_cells(partition)  # doctest: +SKIP
    """
    require()
    if not isinstance(sampling, Partition):
        raise SpecificationError(f"expected a partition, got {type(sampling).__name__}")
    mosaic = Mosaic.of(sampling)
    numbers = _segments(mosaic, segments)
    figure, ax, movie = _place(figure, ax, mosaic.extent, bar=False)
    first, _, _ = of_segment(mosaic, pd.DataFrame(index=range(len(mosaic))), numbers[0])
    outline(ax, first, color)
    dress(ax, mosaic.extent)
    look = {"color": "#0072B2", **checked_style(style)}

    def show(number: int) -> str:
        points = sampling.points
        if numbers[number] in mosaic.times:
            start, stop = mosaic.times[numbers[number]]
            points = points[(points["t"] >= start) & (points["t"] < stop)]
        paint_points(ax, coordinates(points), **look)
        part = mosaic.take(np.flatnonzero(mosaic.segment == numbers[number]))
        return auto_title(part, numbers[number] if mosaic.times else None)

    return _movie(figure, ax, movie, show, len(numbers), interval, title, "cells", options)


def animate_trajectories(
    table: Any,
    *,
    figure: Any = None,
    ax: Any = None,
    interval: float = 60.0,
    speed: float | None = None,
    time_step: float | None = None,
    tail: float | None = None,
    max_frames: int = 300,
    xlim: Sequence[float] | None = None,
    ylim: Sequence[float] | None = None,
    linewidth: float = 1.2,
    title: str | None = None,
    **options: Any,
) -> Movie:
    """Animate trajectories: each is there from its first to its last localization, and grows.

    Parameters
    ----------
    table : DataFrame
        Trajectories or translocations; or a source or collection of one (``a.spt_data``).
    figure, ax, title, options
        As for `animate`.
    interval : float
        Between pictures, ms.
    speed : float, optional
        How much faster than in reality; in place of `interval`.
    time_step : float, optional
        Between pictures, s; default: that of the data, or as much longer as `max_frames` needs.
    tail : float, optional
        Forget what is longer ago, s.
    max_frames : int
        Number of pictures at most, where `time_step` is not given.
    xlim, ylim : (lower, upper), optional
        Limits, µm; default: all localizations.
    linewidth : float

    Returns
    -------
    Movie
        As `animate` returns it.

    Raises
    ------
    DataError
        If the table is empty or columns are missing.
    SpecificationError
        If a time is not above zero.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> movie = plot.animate_trajectories(a.spt_data, tail=0.5)  # doctest: +SKIP
    """
    require()
    from matplotlib.collections import LineCollection

    for name, value in (
        ("speed", speed),
        ("time_step", time_step),
        ("tail", tail),
        ("max_frames", max_frames),
    ):
        if value is not None and not value > 0:
            raise SpecificationError(f"{name}: expected a number above 0, got {value!r}")
    rows = rows_of(table, ("n", "x", "y", "t"))
    rows = as_trajectories(rows) if is_translocations(rows) else rows
    rows = rows.sort_values(["n", "t"], kind="stable")
    places = rows[space_columns(rows)[:2]].to_numpy(dtype=float)
    times, number = rows["t"].to_numpy(dtype=float), pd.factorize(rows["n"])[0]
    clock, step = _clock(times, number, time_step, int(max_frames))
    interval = interval if speed is None else 1000 * step / speed
    follows = np.flatnonzero(number[1:] == number[:-1])
    ends = times[np.r_[np.flatnonzero(number[1:] != number[:-1]), len(number) - 1]]
    pieces, reached = np.stack([places[follows], places[follows + 1]], axis=1), times[follows + 1]
    last = ends[number[follows]]
    colors = np.array(PALETTE)[number % len(PALETTE)]
    box = np.array([places.min(axis=0), places.max(axis=0)])
    for axis, limits in enumerate((xlim, ylim)):
        if limits is not None:
            box[:, axis] = limits
    figure, ax, movie = _place(figure, ax, box, bar=False)
    dress(ax)
    ax.set_xlim(*box[:, 0])
    ax.set_ylim(*box[:, 1])
    add_note(ax, "" if time_step is None and len(clock) < max_frames else f"a picture every {step:g} s")

    def show(k: int) -> str:
        now, slack = clock[k], 1e-6 * step
        # a trajectory that ends between two pictures is in the first of them that follows
        alive = (reached <= now + slack) & (last > now - step + slack)
        alive &= reached > now - tail - slack if tail is not None else True
        chosen = colors[follows[alive]]
        ax.add_collection(LineCollection(pieces[alive], colors=chosen, linewidths=linewidth), autolim=False)
        here = (times <= now + slack) & (times > now - step + slack)
        ax.scatter(*places[here].T, s=9, color=colors[here], linewidths=0, zorder=3)
        return f"t = {now:.6g} s"

    return _movie(figure, ax, movie, show, len(clock), interval, title, "trajectories", options)


def _clock(times: np.ndarray, number: np.ndarray, step: float | None, most: int) -> tuple[np.ndarray, float]:
    """Return the times of the pictures, and the step between them, s."""
    start, stop = float(times.min()), float(times.max())
    if step is None:
        steps = np.diff(times)[number[1:] == number[:-1]]
        steps = steps[steps > 0]
        step = float(np.median(steps)) if len(steps) else max(stop - start, 1.0)
        step *= max(1, int(np.ceil(((stop - start) / step + 1) / most - 1e-9)))
    count = int(np.floor((stop - start) / step + 1e-6)) + 1
    return start + step * np.arange(count), float(step)


def _segments(mosaic: Mosaic, wanted: Sequence[int] | None) -> list[int]:
    known = mosaic.segments
    if not known:
        raise SpecificationError("animate: these maps have no cell")
    if wanted is None:
        return known
    unknown = [k for k in wanted if k not in known]
    if unknown or not len(wanted):
        raise SpecificationError(
            f"segments: expected some of {known[0]} to {known[-1]}, got {unknown[:1] or 'none'}"
        )
    return [int(k) for k in wanted]


def _place(figure: Any, ax: Any, extent: np.ndarray, *, bar: bool = True) -> tuple[Any, Any, Movie | None]:
    """Return where to draw, and the movie that is there already."""
    from .movie import Movie

    movie = figure if isinstance(figure, Movie) else None
    if movie is not None:
        figure = movie.figure
        if ax is None:
            raise SpecificationError("animate: several movies in one figure need axes each: give ax=")
    if ax is None:
        figure = new_figure(figure_size(extent, bar=bar)) if figure is None else figure
        ax = figure.gca()
    return ax.figure, ax, movie


def _movie(
    figure: Any,
    ax: Any,
    movie: Movie | None,
    show: Callable[[int], str],
    count: int,
    interval: float,
    title: str | None,
    about: str,
    options: dict[str, Any],
) -> Movie:
    from .movie import Movie

    if not interval > 0:
        raise SpecificationError(f"interval: expected milliseconds above 0, got {interval!r}")
    heading = ax.set_title(" ", fontsize=TITLE)
    artists: list[Any] = []

    def draw(number: int) -> list[Any]:
        for artist in artists:
            artist.remove()
        before = set(ax.get_children())
        told = show(number)
        artists[:] = [a for a in ax.get_children() if a not in before]
        heading.set_text(", ".join(filter(None, [title, told])))
        return [*artists, heading]

    draw(0)  # the layout is that of pictures with all their parts
    if movie is not None:
        return movie.add(draw, count)
    return Movie(
        figure,
        draw,
        count,
        interval=interval,
        telling=lambda _: ", ".join(filter(None, [about, heading.get_text()])),
        **options,
    )
