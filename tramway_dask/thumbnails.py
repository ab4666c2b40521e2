"""Small pictures of cells for notebooks: a value per cell in colours, drawn in a few milliseconds.

They are no plots: these are in `tramway_dask.plot`. Their size does not grow with the data.
"""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

import numpy as np

from .cards import Html, element

__all__ = ["thumbnail"]

SIDE = 240  # pixels
# beyond, outlines are smaller than what can be seen, and a picture of pixels is lighter
MOST_OUTLINES = 1500
LEVELS = 32
# told apart by the colour-blind: viridis, and blue to red through white for signed values
SEQUENTIAL = "440154 472d7b 3b528b 2c728e 21918c 28ae80 5ec962 addc30 fde725"
DIVERGING = "053061 2166ac 4393c3 92c5de d1e5f0 f7f7f7 fddbc7 f4a582 d6604d b2182b 67001f"
BLANK = (128, 128, 128, 70)
UNSET = -2


def thumbnail(
    centers: np.ndarray,
    values: np.ndarray,
    *,
    label: str,
    unit: str = "",
    signed: bool = False,
    vertices: np.ndarray | None = None,
    offsets: np.ndarray | None = None,
) -> Html:
    """Return a picture with its scale, and its content in words; nothing if there are no cells.

    Parameters
    ----------
    centers : ndarray (m, d), µm
    values : ndarray (m,)
        NaN where a cell has none.
    label, unit : str
    signed : bool
        Whether zero is the middle of the colours.
    vertices : ndarray (k, 2), offsets : ndarray (m + 1,), optional
        Outline of cell i: ``vertices[offsets[i]:offsets[i + 1]]``. Without, and in 3-D, cells are dots.
    """
    values = np.asarray(values, dtype=float)
    centers = np.asarray(centers, dtype=float)
    if not len(centers):
        return Html("")
    places = centers[:, :2]
    outlined = vertices is not None and offsets is not None and len(vertices) > 0 and centers.shape[1] == 2
    corners = np.asarray(vertices, dtype=float) if outlined else places
    corners = corners[np.isfinite(corners).all(axis=1)]
    if not len(corners):
        return Html("")
    low, high = corners.min(axis=0), corners.max(axis=0)
    extent = high - low
    scale = SIDE / max(float(extent.max()), 1e-12)
    size = tuple(int(s) for s in np.clip(np.ceil(extent * scale), 12, SIDE))
    level, lower, upper = _levels(values, signed)
    told = _words(values, lower, upper, label, unit, signed)
    alt = f"Map of {label}, {len(values)} cells, {extent[0]:.3g} × {extent[1]:.3g} µm. {told}"
    palette = _palette(signed)
    drawn: Html
    if outlined and len(centers) <= MOST_OUTLINES:
        at = np.column_stack(
            [(np.asarray(vertices)[:, 0] - low[0]) * scale, (high[1] - np.asarray(vertices)[:, 1]) * scale]
        )
        drawn = _outlines(at, np.asarray(offsets), level, palette, size, alt)
    elif outlined:
        drawn = _pixels(places, level, palette, low, high, size, alt)
    else:
        at = np.column_stack([(places[:, 0] - low[0]) * scale, (high[1] - places[:, 1]) * scale])
        drawn = _dots(at, level, palette, size, alt)
    return element(
        "figure", drawn, _bar(palette) if np.isfinite(values).any() else "", element("figcaption", told)
    )


def _words(values: np.ndarray, lower: float, upper: float, label: str, unit: str, signed: bool) -> str:
    known = int(np.isfinite(values).sum())
    if not known:
        return f"{label}: no cell has a value"
    blank = f"; {len(values) - known} cells without a value in grey" if known < len(values) else ""
    middle = ", zero in white" if signed else ""
    return f"{label}: {lower:.3g} to {upper:.3g}{' ' + unit if unit else ''}{middle}{blank}"


def _levels(values: np.ndarray, signed: bool) -> tuple[np.ndarray, float, float]:
    """Return the colour number of each cell, -1 where it has no value, and the limits of the colours."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return np.full(len(values), -1), 0.0, 1.0
    lower, upper = float(finite.min()), float(finite.max())
    if signed:
        upper = max(abs(lower), abs(upper))
        lower = -upper
    span = upper - lower
    with np.errstate(invalid="ignore"):
        relative = (values - lower) / span if span > 0 and np.isfinite(span) else values * 0 + 0.5
    return (
        np.where(np.isfinite(values), np.nan_to_num(relative) * (LEVELS - 1e-9), -1).astype(int),
        lower,
        upper,
    )


def _palette(signed: bool) -> np.ndarray:
    """Return the colours, ndarray (levels, 3) of uint8."""
    anchors = np.array([list(bytes.fromhex(c)) for c in (DIVERGING if signed else SEQUENTIAL).split()])
    at = np.linspace(0, len(anchors) - 1, LEVELS)
    channels = [np.interp(at, np.arange(len(anchors)), anchors[:, k]) for k in range(3)]
    return np.column_stack(channels).round().astype(np.uint8)


def _color(palette: np.ndarray, level: int) -> dict[str, Any]:
    if level < 0:
        return {"fill": "#808080", "fill_opacity": f"{BLANK[3] / 255:.2f}"}
    return {"fill": "#" + bytes(palette[level]).hex()}


def _svg(size: tuple[int, ...], alt: str, *content: Html) -> Html:
    about = {"role": "img", "aria_label": alt, "width": size[0], "height": size[1]}
    # viewBox is written with a capital
    opened = element("svg", element("title", alt), *content, **about)
    return Html(opened.replace("<svg ", f'<svg viewBox="0 0 {size[0]} {size[1]}" ', 1))


def _outlines(
    at: np.ndarray,
    offsets: np.ndarray,
    level: np.ndarray,
    palette: np.ndarray,
    size: tuple[int, ...],
    alt: str,
) -> Html:
    number = np.char.mod("%.1f", at)
    joined = [f"{x},{y}" for x, y in number]
    paths = []
    for k in np.unique(level):
        cells = np.flatnonzero(level == k)
        drawn = [
            f"M{' '.join(joined[offsets[i] : offsets[i + 1]])}z" for i in cells if offsets[i + 1] > offsets[i]
        ]
        if drawn:
            style = {"stroke": "currentColor", "stroke_opacity": ".35", "stroke_width": ".4"}
            paths.append(element("path", d="".join(drawn), **_color(palette, int(k)), **style))
    return _svg(size, alt, *paths)


def _dots(at: np.ndarray, level: np.ndarray, palette: np.ndarray, size: tuple[int, ...], alt: str) -> Html:
    kept = np.arange(0, len(at), -(-len(at) // MOST_OUTLINES))
    radius = float(np.clip(90 / np.sqrt(len(at)), 1.2, 6))
    dots = [
        element(
            "circle",
            cx=f"{at[i, 0]:.1f}",
            cy=f"{at[i, 1]:.1f}",
            r=f"{radius:.1f}",
            **_color(palette, int(level[i])),
        )
        for i in kept
        if np.isfinite(at[i]).all()
    ]
    return _svg(size, alt, *dots)


def _pixels(
    places: np.ndarray,
    level: np.ndarray,
    palette: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    size: tuple[int, ...],
    alt: str,
) -> Html:
    """Give each pixel the colour of a cell whose center is nearest, or nearly so."""
    width, height = size
    known = np.isfinite(places).all(axis=1)
    relative = (places[known] - low) / np.maximum(high - low, 1e-12)
    column = np.clip((relative[:, 0] * width).astype(int), 0, width - 1)
    line = np.clip(((1 - relative[:, 1]) * height).astype(int), 0, height - 1)
    field = np.full((height + 2, width + 2), UNSET)
    field[line + 1, column + 1] = level[known]
    # centers grow until they meet
    inner = field[1:-1, 1:-1]
    while (inner == UNSET).any():
        before = field.copy()
        for shifted in (before[:-2, 1:-1], before[2:, 1:-1], before[1:-1, :-2], before[1:-1, 2:]):
            np.copyto(inner, shifted, where=inner == UNSET)
    colors = np.vstack([np.column_stack([palette, np.full(LEVELS, 255)]), BLANK]).astype(np.uint8)
    image = colors[inner]
    source = "data:image/png;base64," + base64.b64encode(_png(image)).decode()
    drawn = element("img", src=source, alt=alt, width=width, height=height)
    return Html(drawn.removesuffix("</img>"))


def _png(image: np.ndarray) -> bytes:
    """Return (h, w, 4) bytes as PNG."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    height, width, _ = image.shape
    lines = np.concatenate([np.zeros((height, 1), np.uint8), image.reshape(height, -1)], axis=1)
    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    data = zlib.compress(lines.tobytes(), 6)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def _bar(palette: np.ndarray) -> Html:
    chosen = palette[np.linspace(0, LEVELS - 1, 9).astype(int)]
    stops = ",".join("#" + bytes(c).hex() for c in chosen)
    style = f"width:{SIDE}px;height:8px;background:linear-gradient(to right,{stops})"
    return element("div", style=style, aria_hidden="true")
