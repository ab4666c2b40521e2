"""Plots of trajectories by TRamWAy's names and arguments: ``a.spt_data.mpl``, ``f.mpl``, ``r.mpl``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..errors import SpecificationError, suggest
from ..spt_data.collection import SPTData
from ..spt_data.sources import Source
from ..spt_data.tables import is_translocations
from ..spt_data.tables import trajectories as as_trajectories
from .plotoptions import OF_ANIMATION

__all__ = ["RegionPlots", "SourcePlots"]

LOOKS: dict[str, dict[str, Any]] = {
    "loc": {"linestyle": "none", "marker": ".", "markersize": 2, "alpha": 0.3, "color": "#0072B2"},
    "trj": {"linestyle": "-", "marker": None, "linewidth": 0.6, "color": "#0072B2"},
    "sup": {"linestyle": "-", "marker": None, "linewidth": 1, "color": "#CC79A7"},
    "roi": {"linestyle": "-", "marker": None, "linewidth": 1.2, "color": "#D55E00"},
}
# what is not drawn if one of these is None, 0 or ''
OURS = {"ax", "color", "max_trajectories", "linewidth", "colorbar", "title"}
NEEDED = {"loc": ("color", "marker", "markersize"), "trj": ("color", "linestyle", "linewidth")}


def single_of(holder: Any) -> Any:
    """Return a source, or the only one of a collection."""
    if not isinstance(holder, SPTData):
        return holder
    if len(holder) != 1:
        raise SpecificationError(
            f"spt_data.mpl: there are {len(holder)} sources: use that of each, as in "
            "`for f in a.spt_data: f.mpl.plot()`"
        )
    return holder[0]


class SourcePlots:
    """Plots of the trajectories of a source, with the arguments of TRamWAy's ``f.mpl``."""

    def __init__(self, holder: Any) -> None:
        self._holder = holder

    @property
    def _source(self) -> Any:
        return single_of(self._holder)

    def plot(self, data: Any = None, axes: Any = None, aspect: Any = "equal", **options: Any) -> Any:
        """Plot localizations, trajectories and regions.

        Parameters
        ----------
        data : DataFrame, optional
            Default: those of the source.
        axes : Axes, optional
            Default: the current ones of pyplot if it is in use, else those of a new figure.
        aspect : optional
        options : optional
            Of the lines of matplotlib, with a prefix: ``loc_`` for localizations, ``trj_`` for
            trajectories, ``roi_`` for regions, ``sup_`` for their support regions. By default,
            localizations and regions are drawn; with arguments for trajectories alone, these instead of
            localizations. ``roi_collection`` chooses regions.

        Returns
        -------
        dict
            ``loc``, ``trj``, ``roi``, ``sup``: the line that was drawn, or None. With arguments of
            `tramway_dask.plot.trajectories`, the axes that this function returns.

        Raises
        ------
        SpecificationError
            If an argument has none of these prefixes.
        """
        from .. import plot
        from ..plot.figures import dress, require

        require()
        if isinstance(data, SPTData | Source):
            data = single_of(data).dataframe
        if options and options.keys() <= OURS:
            table = self._source.dataframe if data is None else data
            return plot.trajectories(table, **{"ax": axes, **options})
        styles: dict[str, dict[str, Any]] = {kind: {} for kind in LOOKS}
        for name, value in options.items():
            kind, _, word = name.partition("_")
            if kind not in LOOKS or not word:
                raise SpecificationError(
                    f"spt_data.mpl.plot takes no argument {name!r}: expected a prefix, as in loc_color; "
                    f"{suggest(kind, LOOKS)}"
                )
            if kind == "loc" and word.startswith("line"):
                raise SpecificationError(f"{name}: localizations have no lines; set trj_{word}")
            styles[kind][word] = value
        collection = styles["roi"].pop("collection", None)
        wanted = {kind: _is_drawn(kind, style) for kind, style in styles.items()}
        wanted["sup"] &= bool(styles["sup"])
        if wanted["loc"] and not styles["trj"]:
            wanted["trj"] = False
        elif wanted["trj"] and not styles["loc"]:
            wanted["loc"] = False
        ax = _current_axes() if axes is None else axes
        drawn: dict[str, Any] = dict.fromkeys(("loc", "trj", "roi", "sup"))
        if wanted["loc"] or wanted["trj"]:
            table = self._source.dataframe if data is None else data
            if isinstance(table, pd.DataFrame) and len(table):
                for kind, line in (("loc", _dots), ("trj", _broken)):
                    if wanted[kind]:
                        (drawn[kind],) = ax.plot(*line(table), **{**LOOKS[kind], **styles[kind]})
        for kind in ("sup", "roi"):
            corners = self._boxes(kind, collection) if wanted[kind] else []
            if corners:
                (drawn[kind],) = ax.plot(*_rectangles(corners), **{**LOOKS[kind], **styles[kind]})
        dress(ax)
        ax.set_aspect("auto" if aspect is None else aspect)
        return drawn

    def _boxes(self, kind: str, collection: str | None) -> list[Any]:
        if isinstance(self._holder, SPTData) and len(self._holder) != 1:
            return []  # data were given, nobody knows of which source
        regions = getattr(self._source, "roi", None)
        if regions is None:
            return []
        if kind == "sup":
            found = regions.as_support_regions()
        else:
            found = regions.as_individual_roi(collection=collection)
        return [r.bounding_box for r in found if r.label is not None and r.bounding_box is not None]

    def animate(
        self,
        fig: Any,
        trajs: Any = None,
        axes: Any = None,
        xlim: Any = "auto",
        ylim: Any = None,
        aspect: Any = "equal",
        **options: Any,
    ) -> Any:
        """Animate trajectories; see `tramway_dask.plot.animate_trajectories`, whose arguments are taken too.

        Parameters
        ----------
        fig : Figure or Movie
        trajs : DataFrame, optional
            Default: those of the source.
        axes : Axes, optional
        xlim, ylim : optional
            Limits, µm; ``'auto'`` for those of the source, None for those of the axes.
        aspect : optional
        options : optional
            ``interval``: ms, or ``'2x'`` for two times the time step of the data, or a function of it;
            default: real time. ``linewidth``, ``repeat``, ``max_frames``, ``tail``.

        Returns
        -------
        Movie
        """
        from .. import plot

        taken = {k: v for k, v in options.items() if k not in OF_ANIMATION}
        if "lw" in taken:
            taken["linewidth"] = taken.pop("lw")
        interval = taken.pop("interval", None)
        if isinstance(interval, str):
            taken["speed"] = 1 / _times(interval)
        elif callable(interval):
            taken["interval"] = interval(1e3 * float(self._source.frame_interval))
        elif interval is not None:
            taken["interval"] = interval
        elif "speed" not in taken:
            taken["speed"] = 1.0
        table = self._source.dataframe if trajs is None else trajs
        if isinstance(xlim, str):
            bounds = self._source.bounds if trajs is None else table
            xlim, ylim = ((bounds[c].min(), bounds[c].max()) for c in ("x", "y"))
        elif xlim is None and axes is not None:
            xlim, ylim = axes.get_xlim(), axes.get_ylim()
        known = ("linewidth", "repeat", "interval", "speed", "max_frames", "tail", "time_step", "title")
        unknown = [k for k in taken if k not in known]
        if unknown:
            raise SpecificationError(
                f"spt_data.mpl.animate takes no argument {unknown[0]!r}; {suggest(unknown[0], known)}"
            )
        movie = plot.animate_trajectories(table, figure=fig, ax=axes, xlim=xlim, ylim=ylim, **taken)
        if aspect != "equal":
            (axes or movie.figure.axes[0]).set_aspect("auto" if aspect is None else aspect)
        return movie


class RegionPlots(SourcePlots):
    """Plots of the trajectories of a region, with the arguments of TRamWAy's ``r.mpl``."""

    def __init__(self, region: Any) -> None:
        super().__init__(region.source)
        self._region = region

    def _rows(self) -> pd.DataFrame:
        table = self._region.crop()
        return as_trajectories(table) if is_translocations(table) else table

    def plot(self, data: Any = None, axes: Any = None, aspect: Any = "equal", **options: Any) -> Any:
        """Plot the localizations and trajectories of the region; arguments as those of a source."""
        return super().plot(self._rows() if data is None else data, axes, aspect, **options)

    def animate(
        self,
        fig: Any,
        trajs: Any = None,
        axes: Any = None,
        xlim: Any = "auto",
        ylim: Any = None,
        aspect: Any = "equal",
        **options: Any,
    ) -> Any:
        """Animate the trajectories of the region, in its box; arguments as those of a source."""
        box = self._region.bounding_box
        if isinstance(xlim, str) and ylim is None and box is not None:
            xlim, ylim = ((box[0][k], box[1][k]) for k in (0, 1))
        return super().animate(
            fig, self._rows() if trajs is None else trajs, axes, xlim, ylim, aspect, **options
        )


def _is_drawn(kind: str, style: Mapping[str, Any]) -> bool:
    return all(style.get(name, True) for name in NEEDED.get(kind, NEEDED["trj"]))


def _current_axes() -> Any:
    import sys

    from ..plot.figures import new_figure

    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None and pyplot.get_fignums():
        return pyplot.gca()
    return new_figure((5.0, 4.2)).add_subplot()


def _dots(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    return table["x"].to_numpy(dtype=float), table["y"].to_numpy(dtype=float)


def _broken(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return one line through all trajectories, broken by NaN between them."""
    table = as_trajectories(table) if is_translocations(table) else table
    table = table.sort_values(["n", "t"], kind="stable")
    number = table["n"].to_numpy()
    breaks = np.flatnonzero(number[1:] != number[:-1]) + 1
    x, y = (np.insert(table[c].to_numpy(dtype=float), breaks, np.nan) for c in ("x", "y"))
    return x, y


def _rectangles(boxes: list[Any]) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.array([[b[0][:2], b[1][:2]] for b in boxes], dtype=float).swapaxes(0, 1)
    nothing = np.full(len(boxes), np.nan)
    x = np.column_stack([low[:, 0], low[:, 0], high[:, 0], high[:, 0], low[:, 0], nothing])
    y = np.column_stack([low[:, 1], high[:, 1], high[:, 1], low[:, 1], low[:, 1], nothing])
    return x.ravel(), y.ravel()


def _times(interval: str) -> float:
    try:
        factor = float(interval.removesuffix("x"))
    except ValueError:
        factor = 0.0
    if not interval.endswith("x") or not factor > 0:
        raise SpecificationError(f"interval: expected milliseconds or, for instance, '2x', got {interval!r}")
    return factor
