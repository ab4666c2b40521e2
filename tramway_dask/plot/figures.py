"""Figures and axes: made, dressed and saved the same way by every plot."""

from __future__ import annotations

import io
import re
import sys
import textwrap
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MissingDependencyError, SpecificationError
from ..results.files import write_atomically

__all__ = ["add_note", "color_bar", "dress", "figure_size", "new_axes", "new_figure", "require", "save"]

LABEL, TICK, TITLE, NOTE = 9, 8, 10, 7


def require() -> None:
    """Complain if matplotlib is missing.

    Raises
    ------
    MissingDependencyError
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "pictures need matplotlib, which is not installed: pip install matplotlib, "
            "or pip install 'tramway_dask[plot]'"
        ) from error


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None


def new_figure(size: tuple[float, float], *, shown: bool = True) -> Any:
    """Return an empty figure with constrained layout.

    Parameters
    ----------
    size : (width, height), inches
    shown : bool
        Let pyplot know of the figure if pyplot is in use (imported by the user, or in a notebook),
        so that ``plt.show()`` and notebooks display it. Without pyplot, in other threads and without
        a display, figures are free of any global state, and are forgotten when they are no longer used.
    """
    require()
    from matplotlib.figure import Figure

    in_use = "matplotlib.pyplot" in sys.modules or _in_notebook()
    if shown and in_use and threading.current_thread() is threading.main_thread():
        import matplotlib.pyplot as plt

        try:
            return plt.figure(figsize=size, layout="constrained")
        except (ImportError, RuntimeError):
            pass  # a backend that needs a display, where there is none
    return Figure(figsize=size, layout="constrained")


def figure_size(extent: np.ndarray, *, side: float = 3.6, bar: bool = True) -> tuple[float, float]:
    """Return a figure's width and height, inches, for one axes of a given extent.

    Parameters
    ----------
    extent : ndarray (2, 2), µm
        Lower and upper corner.
    side : float
        Longer side of the axes, inches.
    bar : bool
        Leave room for a colour bar.
    """
    width, height = np.maximum(np.ptp(np.asarray(extent), axis=0), 1e-12)
    scale = side / max(width, height)
    axes = np.maximum(np.array([width, height]) * scale, 0.7)
    return float(axes[0] + (1.6 if bar else 0.75)), float(axes[1] + 0.85)


def new_axes(extent: np.ndarray, *, side: float = 3.6, bar: bool = True) -> Any:
    """Return the axes of a new figure that fits an extent."""
    return new_figure(figure_size(extent, side=side, bar=bar)).add_subplot()


def dress(ax: Any, extent: np.ndarray | None = None, *, title: str | None = None) -> None:
    """Set equal aspect, labels with units and, if given, limits and a title.

    Parameters
    ----------
    ax : Axes
    extent : ndarray (2, 2), µm, optional
        Lower and upper corner of what was drawn; what the axes hold already stays in view.
    title : str, optional
    """
    ax.set_aspect("equal", adjustable="box")
    ax.set_xlabel("x (µm)", fontsize=LABEL)
    ax.set_ylabel("y (µm)", fontsize=LABEL)
    ax.tick_params(labelsize=TICK)
    if extent is not None:
        ax.update_datalim(np.asarray(extent))
        ax.margins(0.01)
        ax.autoscale_view()
        width, height = np.ptp(np.asarray(extent), axis=0)
        if width < 0.45 * height:
            ax.locator_params(axis="x", nbins=3)
        if height < 0.45 * width:
            ax.locator_params(axis="y", nbins=3)
    if title:
        ax.set_title(title, fontsize=TITLE)


def color_bar(
    ax: Any,
    drawn: Any,
    label: str,
    *,
    extend: str = "neither",
    extent: np.ndarray,
    ticks: Mapping[float, str] | None = None,
) -> Any:
    """Add a colour bar as high as the axes.

    Parameters
    ----------
    ax : Axes
    drawn : ScalarMappable
    label : str
    extend : {"neither", "min", "max", "both"}
        Where values lie beyond the colour limits.
    extent : ndarray (2, 2), µm
        Extent of the axes, for a bar whose width does not depend on their shape.
    ticks : mapping, optional
        What values stand for.
    """
    width, height = np.maximum(np.ptp(np.asarray(extent), axis=0), 1e-12)
    shape = float(np.clip(max(width, height) / width, 1.0, 6.0))
    inside = ax.inset_axes((1 + 0.03 * shape, 0.0, 0.045 * shape, 1.0))
    bar = ax.figure.colorbar(drawn, cax=inside, extend=extend, extendfrac=0.03)
    # a label longer than the bar goes on two lines
    short = height < 0.6 * width and len(re.sub(r"\$.*?\$", "xx", label)) > 12
    bar.set_label(label.replace(" (", "\n(") if short else label, fontsize=LABEL)
    if height < 0.3 * width and type(drawn.norm).__name__ == "Normalize":
        bar.ax.locator_params(axis="y", nbins=4)
    if ticks is not None:
        bar.set_ticks(list(ticks), labels=list(ticks.values()))
        bar.ax.minorticks_off()
    elif hasattr(drawn.norm, "linthresh"):
        bar.set_ticks(_symmetric_ticks(drawn.norm))
        bar.ax.minorticks_off()
    bar.ax.tick_params(labelsize=TICK, which="both")
    bar.outline.set_linewidth(0.6)
    return bar


def _symmetric_ticks(norm: Any) -> list[float]:
    """Return zero and a few powers of ten on its sides, none in the linear part around zero."""
    upper = max(abs(norm.vmin), abs(norm.vmax))
    decades = np.arange(np.ceil(np.log10(norm.linthresh) + 0.3), np.floor(np.log10(upper)) + 1)
    if not len(decades):
        return [norm.vmin, 0.0, norm.vmax]
    sizes = 10.0 ** decades[:: -max(1, -(-len(decades) // 3))][::-1]
    return [t for t in (*-sizes[::-1], 0.0, *sizes) if norm.vmin <= t <= norm.vmax]


def add_note(ax: Any, text: str) -> None:
    """Write a remark below the axes, in small print, on lines about as long as the axes are wide."""
    if text:
        inches = ax.get_position().width * ax.figure.get_size_inches()[0]
        letters = max(28, int(1.3 * inches * 72 / (0.5 * NOTE)))
        text = "\n".join(textwrap.fill(line, letters) for line in text.splitlines())
        ax.annotate(
            text,
            xy=(0.5, 0),
            xytext=(0, -32),
            xycoords="axes fraction",
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=NOTE,
            color="0.35",
        )


def save(figure: Any, path: str | Path, *, dpi: float = 200) -> Path:
    """Write a figure or movie whole or not at all, in the format that the file name ends with.

    Parameters
    ----------
    figure : Figure, Axes or Movie
    path : str or Path
        Ends with ``.png``, ``.pdf``, ``.svg``…; of a movie, with ``.html``, ``.gif``, ``.mp4``…
    dpi : float
        Resolution, for pixel formats.

    Returns
    -------
    Path

    Raises
    ------
    SpecificationError
        If the suffix is no known format.
    StoreError
        If the file cannot be written.
    """
    path = Path(path).expanduser()
    if isinstance(figure, np.ndarray):
        figure = figure.flat[0]
    if hasattr(figure, "to_jshtml"):
        figure.save(path, dpi=dpi)
        return path
    figure = getattr(figure, "figure", None) or figure
    if not hasattr(figure, "savefig"):
        raise SpecificationError(f"save: expected a figure or axes, got {type(figure).__name__}")
    kind = path.suffix.lstrip(".").lower()
    known = figure.canvas.get_supported_filetypes()
    if kind not in known:
        raise SpecificationError(
            f"save: {str(path)!r} ends with no known picture format; known: {', '.join(sorted(known))}"
        )
    # without dates, the same picture is the same file
    undated = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(kind)
    sink = io.BytesIO()
    # labels of any length: the page fits what is drawn
    figure.savefig(sink, format=kind, dpi=dpi, metadata=undated, bbox_inches="tight", pad_inches=0.05)
    write_atomically(path, sink.getvalue())
    return path
