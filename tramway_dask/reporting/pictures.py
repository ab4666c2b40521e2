"""Small pictures of maps, legends, and distributions over files, as parts of a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..plot.fields import draw_boxes
from ..plot.figures import LABEL, TICK, new_figure
from ..plot.mosaic import Mosaic
from ..plot.painting import paint, paint_arrows
from ..plot.quantities import Colors, Quantity
from ..results.units import unit_of

__all__ = ["Thumbnails", "data_uri", "distribution", "figure_png", "gradient", "limits_of", "named"]

SIDE = 340  # pixels of the longer side of a thumbnail, which is shown at half of it
DPI = 150
MOST_BOXES = 200
# of Okabe and Ito, which the colour-blind can tell apart
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
STOPS = 16


def named(name: str, *, vector: bool = False, dimension: int = 2) -> str:
    """Return a variable with its unit, as plain text."""
    if name == "density":
        return f"translocations (µm⁻{'³' if dimension == 3 else '²'})"
    unit = unit_of(name, dimension)
    return f"{name}{' amplitude' if vector else ''}{f' ({unit})' if unit else ''}"


def data_uri(png: bytes) -> str:
    """Return a picture as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


class Thumbnails:
    """Draws maps without axes, one after the other on the same canvas: new axes would take most of the time."""

    def __init__(self) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self._figure = Figure(dpi=DPI)
        self._canvas = FigureCanvasAgg(self._figure)
        self._ax = self._figure.add_axes((0, 0, 1, 1))
        self._ax.set_axis_off()
        self._ax.set_aspect("equal")

    def draw(
        self, mosaic: Mosaic, shown: Quantity, colors: Colors, boxes: Sequence[tuple[str, np.ndarray]] = ()
    ) -> tuple[bytes, tuple[int, int]]:
        """Draw a map.

        Returns
        -------
        png : bytes
        size : (width, height), pixels
        """
        extent, ax = mosaic.extent, self._ax
        width, height = np.maximum(np.ptp(extent, axis=0), 1e-12)
        # a region like a thread would be a line
        shape = float(np.clip(height / width, 0.25, 4.0))
        pixels = (SIDE, round(SIDE * shape)) if shape <= 1 else (round(SIDE / shape), SIDE)
        self._figure.set_size_inches(pixels[0] / DPI, pixels[1] / DPI)
        for artist in [*ax.collections, *ax.patches]:
            artist.remove()
        margin = 0.01 * max(width, height)
        (left, bottom), (right, top) = extent
        ax.set_xlim(left - margin, right + margin)
        ax.set_ylim(bottom - margin, top + margin)
        paint(ax, mosaic, shown, colors)
        paint_arrows(ax, mosaic, shown, longest=float(colors.norm.vmax) if colors.norm.vmax > 0 else None)
        if 0 < len(boxes) <= MOST_BOXES:
            draw_boxes(ax, list(boxes), labels=False, color="0.25")
        self._canvas.draw()
        return _png(np.asarray(self._canvas.buffer_rgba())), pixels


def _png(rgba: np.ndarray) -> bytes:
    """Return pixels with a palette: a fifth of the bytes, and nothing that the eye would miss."""
    from PIL import Image

    sink = io.BytesIO()
    picture = Image.fromarray(rgba[..., :3].copy()).quantize(128, method=Image.Quantize.FASTOCTREE)
    picture.save(sink, format="png", optimize=True)
    return sink.getvalue()


def figure_png(figure: Any) -> tuple[bytes, tuple[int, int]]:
    """Return a figure, and its width and height in pixels."""
    from PIL import Image

    sink = io.BytesIO()
    figure.savefig(sink, format="png", dpi=DPI, bbox_inches="tight", pad_inches=0.05)
    picture = Image.open(sink)
    return _png(np.asarray(picture.convert("RGB"))), picture.size


def gradient(colors: Colors) -> str:
    """Return the colours of a scale, from the lowest to the highest, as a CSS gradient."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    cmap = colormaps[colors.cmap] if isinstance(colors.cmap, str) else colors.cmap
    stops = ", ".join(to_hex(cmap(x)) for x in np.linspace(0, 1, STOPS))
    return f"linear-gradient(to right, {stops})"


def limits_of(colors: Colors) -> tuple[str, str, str]:
    """Return the lowest value of a scale, that in the middle, and the highest, as text."""
    middle = float(colors.norm.inverse(0.5))
    span = abs(float(colors.norm.vmax) - float(colors.norm.vmin))
    values = [float(v) if abs(v) > 1e-9 * span else 0.0 for v in (colors.norm.vmin, middle, colors.norm.vmax)]
    signs = (
        "≤ " if colors.extend in ("both", "min") else "",
        "",
        "≥ " if colors.extend in ("both", "max") else "",
    )
    low, mid, high = (
        f"{sign}{value:.3g}".replace("-", "−") for sign, value in zip(signs, values, strict=True)
    )
    return low, mid, high


def distribution(files: pd.DataFrame, label: str) -> Any:
    """Draw the distribution of a variable over the cells of each file.

    Parameters
    ----------
    files : DataFrame
        ``source``, ``condition``, and the quantiles ``q5``, ``q25``, ``q50``, ``q75``, ``q95``.
    label : str
        Of the axis, with the unit.

    Returns
    -------
    Figure
    """
    shown = files[files["q50"].notna()].reset_index(drop=True)
    figure = new_figure((7.0, 0.85 + 0.24 * max(len(shown), 1)), shown=False)
    ax = figure.add_subplot()
    conditions = list(dict.fromkeys(shown["condition"].dropna()))
    at = np.arange(len(shown))
    color = [
        COLORS[conditions.index(c) % len(COLORS)] if c in conditions else COLORS[0]
        for c in shown["condition"]
    ]
    ax.hlines(at, shown["q5"], shown["q95"], color=color, linewidth=1.2)
    ax.barh(
        at, shown["q75"] - shown["q25"], left=shown["q25"], height=0.55, color=color, alpha=0.45, linewidth=0
    )
    ax.plot(shown["q50"], at, "|", color="black", markersize=9, markeredgewidth=1.6)
    names = [s if len(s) <= 34 else f"{s[:16]}…{s[-16:]}" for s in shown["source"].astype(str)]
    # a name is no formula
    ax.set_yticks(at, [name.replace("$", r"\$") for name in names], fontsize=TICK)
    ax.set_ylim(len(shown) - 0.4, -0.6)
    ax.set_xlabel(label, fontsize=LABEL)
    ax.tick_params(axis="x", labelsize=TICK)
    ax.spines[["top", "right"]].set_visible(False)
    if len(conditions) > 1:
        handles = [
            ax.plot([], [], "s", color=COLORS[i % len(COLORS)], label=str(c).replace("$", r"\$"))[0]
            for i, c in enumerate(conditions)
        ]
        ax.legend(handles=handles, fontsize=TICK, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
