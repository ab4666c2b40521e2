"""Arguments of TRamWAy's plots, in the words of this package."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..errors import SpecificationError, suggest
from ..spt_data.analyses import Analyses, Node

__all__ = [
    "FIGURE",
    "LOST",
    "OF_ANIMATION",
    "adjust",
    "artefact_of",
    "axes_of",
    "draw_contour",
    "finish",
    "frame_of",
    "is_asked",
    "known_options",
    "options_of_maps",
    "real_time",
    "rest_of",
    "style_of_dots",
    "style_of_lines",
]

# of `matplotlib.animation.FuncAnimation`: how a movie is made is no longer asked
OF_ANIMATION = ("blit", "cache_frame_data", "save_count", "fargs", "composable", "repeat_delay")
LOOKS = "colours, widths and sizes fit the picture; change the artists of the axes that are returned"
LOST = {
    "verbose": "plots are silent",
    "mode": "titles do not tell the mode",
    "use_bokeh": "pictures are matplotlib's",
    "zlim": "3-D maps are projected on (x, y)",
    "try_fix_corners": "cells end at the borders of their region",
    "num": "give axes=, or figsize= for a new figure",
    "input_label": "give the maps or the sampling itself",
    "overlay": "the amplitude is drawn under the arrows; arrows=False leaves these out",
    "angular_width": LOOKS,
    "cell_arrow_ratio": LOOKS,
    "arrow_quantile_size": LOOKS,
    "markercolor": LOOKS,
    "markeredgecolor": LOOKS,
    "markeralpha": LOOKS,
    "markerlinewidth": LOOKS,
    "linewidth": LOOKS,
    "colors": LOOKS,
    "time_label_fmt": "the title tells the time",
    "time_label_loc": "the title tells the time",
    "bounding_box": "it is that of the cells",
    "location_count_hist": "see a.results, or numpy.histogram of sampling.location_count",
    "cell_dist_hist": "see sampling.adjacency and sampling.centers",
    "location_dist_hist": "see sampling.points",
    "n": "all trajectories are drawn",
}
FIGURE = ("axes", "figure", "figsize", "output_file", "fig_format", "dpi", "show", "aspect", "xlim", "ylim")


def artefact_of(thing: Any) -> Any:
    """Return what an analysis holds."""
    return thing.data if isinstance(thing, Analyses | Node) else thing


def is_asked(value: Any) -> bool:
    """Return whether options are asked for: an empty dict is yes, None and False are no."""
    return isinstance(value, Mapping) or bool(value)


def frame_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what concerns axes, figure and file."""
    return {name: options.get(name) for name in FIGURE}


def rest_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the other options, with the words of this package for titles and animations."""
    taken = {k: v for k, v in options.items() if k not in FIGURE and k not in OF_ANIMATION}
    if isinstance(taken.get("title"), bool):
        taken["title"] = None if taken["title"] else ""
    return taken


def options_of_maps(options: Mapping[str, Any], feature: Any, logscale: Any) -> dict[str, Any]:
    """Return the options of maps by the names of this package."""
    taken = rest_of(options)
    transform = taken.pop("transform", None)
    if callable(transform):
        raise SpecificationError(
            "transform: expected 'log' or 'log10'; for others, plot a table with the values"
        )
    taken["log"] = bool(logscale or transform or taken.get("log"))
    unit = taken.pop("unit", None)
    unit = unit.get(feature) if isinstance(unit, Mapping) else unit
    label = taken.pop("clabel", None) or (None if unit in ("std", None) else unit)
    if label is not None:
        taken["label"] = label
    if "colormap" in taken:
        taken["cmap"] = taken.pop("colormap")
    if "colorbar" in taken:
        taken["colorbar"] = is_asked(taken["colorbar"])
    if "delaunay" in taken:
        taken["adjacency"] = is_asked(taken.pop("delaunay"))
    if "variable" in taken and feature is not None:
        del taken["variable"]
    if taken.pop("inferencemap", False) or taken.pop("arrow_size", None) == "constant":
        taken["arrows"] = "constant"
    if taken.get("alpha") is False:
        del taken["alpha"]
    if "point_style" in taken:
        taken["overlay_locations"] = style_of_dots(taken.pop("point_style"))
    return taken


def style_of_dots(style: Any) -> Any:
    """Return the style of dots by this package's names."""
    if style is None or isinstance(style, bool) or not isinstance(style, Mapping):
        return False if style is None else style
    names = {"markersize": "size", "s": "size", "c": "color", "style": "marker"}
    ignored = ("linestyle", "axes", "min_count")
    return {names.get(k, k): v for k, v in style.items() if k not in ignored}


def style_of_lines(options: Any) -> dict[str, Any]:
    """Return how outlines are drawn; TRamWAy gives a colour for each kind of neighbours."""
    if options is None or options is True:
        return {}
    if options is False:
        return {"outlines": False}
    color = options.get("color")
    if isinstance(color, str) and len(color) > 1 and set(color) <= set("rgbcmykw"):
        color = color[0]
    found = {"color": color, "linewidth": options.get("linewidth")}
    return {k: v for k, v in found.items() if v is not None}


def known_options(taken: dict[str, Any], function: Callable[..., Any], called: str) -> dict[str, Any]:
    """Return the options that a function takes; warn of those that mean nothing here, and refuse others."""
    parameters = inspect.signature(function).parameters
    known = [n for n, p in parameters.items() if p.kind is not p.VAR_KEYWORD]
    extra = ("repeat",) if len(known) < len(parameters) else ()
    kept = {}
    for name, value in taken.items():
        if name in known or name in extra:
            kept[name] = value
        elif name in LOST:
            warnings.warn(
                f"{called}: {name} does nothing here: {LOST[name]}", DeprecationWarning, stacklevel=3
            )
        elif value is not None and value is not False:
            raise SpecificationError(
                f"{called} takes no argument {name!r}; {suggest(name, [*known, *FIGURE])}"
            )
    return kept


def axes_of(frame: dict[str, Any], taken: dict[str, Any], movie: Any = None) -> Any:
    """Return the axes to draw in, and remember them; None for those of a new figure."""
    ax = taken.pop("ax", None)
    ax = frame["axes"] if ax is None else ax
    if ax is None and movie is None:
        size = frame["figsize"]
        if frame["figure"] is not None:
            ax = frame["figure"].gca()
        elif size is not None and not isinstance(size, bool):
            from ..plot.figures import new_figure

            ax = new_figure(tuple(size)).add_subplot()
    frame["axes"] = ax
    return ax


def adjust(ax: Any, frame: Mapping[str, Any]) -> None:
    """Set aspect and limits."""
    if frame["aspect"] not in ("equal", None):
        ax.set_aspect(frame["aspect"])
    if frame["xlim"] is not None:
        ax.set_xlim(frame["xlim"])
    if frame["ylim"] is not None:
        ax.set_ylim(frame["ylim"])


def finish(ax: Any, frame: Mapping[str, Any]) -> Any:
    """Set limits, save and show as asked, and return the axes."""
    first = np.ravel(ax)[0]
    for each in np.ravel(ax):
        adjust(each, frame)
    if frame["output_file"]:
        from ..plot import save

        path = str(frame["output_file"])
        kind = str(frame["fig_format"] or "").lstrip(".")
        save(first.figure, f"{path}.{kind}" if kind else path, dpi=frame["dpi"] or 200)
    if frame["show"] and getattr(first.figure.canvas, "manager", None) is not None:
        import matplotlib.pyplot as plt

        plt.show() if frame["show"] != "draw" else plt.draw()
    return ax


def real_time(word: str, sampling: Any) -> float:
    """Return the time between segments, ms."""
    from ..plot.mosaic import resolve

    if word not in ("rt", "realtime", "real-time"):
        raise SpecificationError(f"interval: expected milliseconds or 'rt', got {word!r}")
    times = resolve(sampling)[0].times if hasattr(sampling, "table") else _times(sampling)
    starts = np.array(sorted(start for start, _ in times.values()))
    if len(starts) < 2:
        raise SpecificationError("interval: 'rt' needs time segments")
    return float(np.median(np.diff(starts)) * 1e3)


def _times(sampling: Any) -> dict[int, tuple[float, float]]:
    from ..plot.mosaic import Mosaic

    return Mosaic.of(sampling).times


def draw_contour(ax: Any, cells: Any, style: dict[str, Any]) -> None:
    """Draw a line inside of the border of the cells."""
    import shapely

    from ..plot.mosaic import Mosaic, resolve

    mosaic = resolve(cells)[0] if hasattr(cells, "table") else Mosaic.of(cells)
    margin = float(style.pop("margin", style.pop("relative_margin", 0.01)))
    outlines = shapely.polygons(mosaic.polygons(mosaic.outlined))
    whole = shapely.union_all(shapely.make_valid(outlines))
    inside = shapely.buffer(whole, -margin * float(np.ptp(mosaic.extent, axis=0).max()), join_style="mitre")
    for part in shapely.get_parts(inside):
        if not part.is_empty:
            line = np.asarray(part.exterior.coords)
            ax.plot(line[:, 0], line[:, 1], **{"linestyle": "-", "color": "#D55E00", **style})
