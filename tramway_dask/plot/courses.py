"""A variable over the time segments: of chosen cells, or of whole regions."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd

from ..errors import SpecificationError
from ..inference.maps import error_column
from ..roi.boxes import short_label
from ..spt_data.tables import SPACE
from .figures import LABEL, NOTE, TICK, TITLE, add_note, new_figure, require
from .mosaic import Mosaic, resolve
from .quantities import Quantity, quantity

__all__ = ["time_course"]

# Okabe and Ito's colours, which the colour-blind can tell apart, with markers for those who see none
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def time_course(
    maps: Any,
    variable: str | None = None,
    sampling: Any = None,
    *,
    cells: Any = None,
    at: Sequence[Any] | int | None = None,
    roi: str | Sequence[str] | None = None,
    confidence: float = 0.95,
    log: bool = False,
    ax: Any = None,
    title: str | None = None,
    label: str | None = None,
) -> Any:
    """Draw a variable against time.

    Parameters
    ----------
    maps, variable, sampling, cells, roi
        As for `map`; maps over time segments.
    at : sequence of int, or of (x, y) in µm; optional
        Cells: by their numbers in space, as ``plot.cells(..., indices=True)`` shows them, or the cells
        whose centres are nearest to points. Default: whole regions.
    confidence : float
        Of the intervals of cells, where the maps hold standard errors and no intervals.
    log : bool
        Logarithmic axis.
    ax : Axes, optional
        Default: those of a new figure.
    title : str, optional
    label : str, optional
        Of the ordinate; default: the variable and its unit.

    Returns
    -------
    Axes
        Time (middle of each segment) in s. Cells have their values and confidence intervals. A region has
        the mean over its cells, weighted by their translocations, and a band between the weighted quartiles
        of the cells; many regions are thin lines, with their median.

    Raises
    ------
    SpecificationError
        If the maps have no time segments, or no such cell, or cells of several regions are asked for.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> plot.time_course(maps, "diffusivity")  # doctest: +SKIP
    >>> plot.time_course(maps, "diffusivity", at=[12, 13])  # doctest: +SKIP
    >>> plot.time_course(maps, "diffusivity", at=[(0.5, 0.5)])  # doctest: +SKIP
    """
    require()
    if not 0 < confidence < 1:
        raise SpecificationError(f"confidence: expected a number between 0 and 1, got {confidence!r}")
    mosaic, table = resolve(maps, sampling, cells=cells, roi=roi)
    shown = quantity(table, mosaic, variable)
    if len(mosaic.segments) < 2:
        raise SpecificationError(
            "time_course: these maps have no time segments; set a.time, as in a.time.from_sliding_window(duration=10)"
        )
    if ax is None:
        ax = new_figure((4.6, 3.1)).add_subplot()
    if at is not None:
        note = _draw_cells(ax, mosaic, table, shown, at, confidence)
    else:
        note = _draw_regions(ax, mosaic, shown)
    if shown.name == "potential":
        note += "; the zero of a potential may differ between segments"
    ax.set_xlabel("t (s)" if mosaic.times else "time segment", fontsize=LABEL)
    ax.set_ylabel(label or shown.label, fontsize=LABEL)
    ax.tick_params(labelsize=TICK, which="both")
    ax.spines[["top", "right"]].set_visible(False)
    if log:
        ax.set_yscale("symlog" if shown.signed else "log")
    if title:
        ax.set_title(title, fontsize=TITLE)
    if len(ax.get_legend_handles_labels()[0]) > 1 or at is not None:
        ax.legend(fontsize=NOTE + 1, frameon=False)
    add_note(ax, note)
    return ax


def _clock(mosaic: Mosaic) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the segments, and their places on the axis of time."""
    numbers = np.array(mosaic.segments)
    if not mosaic.times:
        return numbers, numbers.astype(float)
    return numbers, np.array([np.mean(mosaic.times[k]) for k in numbers])


def _draw_cells(
    ax: Any, mosaic: Mosaic, table: pd.DataFrame, shown: Quantity, at: Any, confidence: float
) -> str:
    if len(mosaic.regions) > 1:
        raise SpecificationError(
            f"at: these maps have {len(mosaic.regions)} regions; choose one, as in roi={mosaic.regions[0]!r}"
        )
    chosen = _chosen(mosaic, at)
    numbers, clock = _clock(mosaic)
    low, high, note = _interval(table, mosaic, shown, confidence)
    for turn, place in enumerate(chosen):
        rows = np.flatnonzero(mosaic.place == place)
        where = np.searchsorted(numbers, mosaic.segment[rows])
        lines = np.full((3, len(numbers)), np.nan)
        lines[:, where] = [shown.values[rows], low[rows], high[rows]]
        _draw_line(ax, clock, lines, turn, f"cell {place}")
    return note


def _chosen(mosaic: Mosaic, at: Any) -> list[int]:
    wanted = [at] if np.isscalar(at) else list(at)
    if len(wanted) == 2 and all(isinstance(v, float | np.floating) for v in wanted):
        wanted = [wanted]  # one point
    if not 0 < len(wanted) <= len(COLORS):
        raise SpecificationError(f"at: expected 1 to {len(COLORS)} cells, got {len(wanted)}")
    known = np.unique(mosaic.place)
    found = []
    for item in wanted:
        if isinstance(item, int | np.integer) and not isinstance(item, bool):
            if item not in known:
                raise SpecificationError(f"at: no cell {item}; cells have numbers {known[0]} to {known[-1]}")
            found.append(int(item))
            continue
        try:
            point = np.asarray(item, dtype=float)
        except (TypeError, ValueError):
            point = np.empty(0)
        if point.shape != (2,) or not np.isfinite(point).all():
            raise SpecificationError(f"at: expected numbers of cells, or points (x, y) in µm, got {item!r}")
        low, high = mosaic.extent
        if (point < low).any() or (point > high).any():
            raise SpecificationError(f"at: the point {tuple(point.tolist())} lies outside of these maps")
        nearest = np.argmin(((mosaic.centers[:, :2] - point) ** 2).sum(axis=1))
        found.append(int(mosaic.place[nearest]))
    return found


def _interval(
    table: pd.DataFrame, mosaic: Mosaic, shown: Quantity, confidence: float
) -> tuple[np.ndarray, np.ndarray, str]:
    """Return limits of the values, (m,), and what they are."""
    limits = [f"{shown.name} {end}" for end in ("low", "high")]
    if set(limits) <= set(table.columns):
        low, high = table[limits].to_numpy(dtype=float).T
        return low, high, "band: confidence interval of the maps"
    parts = [shown.name, *(f"{shown.name} {axis}" for axis in SPACE)]
    if not any(error_column(c) in table.columns for c in parts):
        nothing = np.full(len(table), np.nan)
        return nothing, nothing, "these maps have no errors"
    error = quantity(table, mosaic, shown.name, errors=True).values * NormalDist().inv_cdf(
        (1 + confidence) / 2
    )
    low = shown.values - error
    if shown.vectors is not None or shown.name == "diffusivity":
        low = np.maximum(low, 0)
    return low, shown.values + error, f"band: {confidence:.0%} interval, from the standard errors"


def _draw_regions(ax: Any, mosaic: Mosaic, shown: Quantity) -> str:
    numbers, clock = _clock(mosaic)
    where = np.searchsorted(numbers, mosaic.segment)
    code, regions = pd.factorize(mosaic.region)
    # maps without counts: all cells alike
    weights = np.where(np.isfinite(shown.values), mosaic.counts if mosaic.counts.any() else 1, 0).astype(
        float
    )
    group = code * len(numbers) + where
    size = len(regions) * len(numbers)
    total = np.bincount(group, weights, size)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.bincount(group, weights * np.nan_to_num(shown.values), size) / total
    if len(regions) <= len(COLORS):
        limits = [weighted_quantile(shown.values, weights, group, size, q) for q in (0.25, 0.75)]
        lines = np.array([mean, *limits]).reshape(3, len(regions), -1)
        for turn, region in enumerate(regions):
            _draw_line(ax, clock, lines[:, turn], turn, short_label(str(region), 24))
        return "line: mean, weighted by translocations; band: middle half of the cells"
    ax.plot(
        clock,
        mean.reshape(len(regions), -1).T,
        color="0.6",
        lw=0.4,
        alpha=0.6,
        rasterized=len(regions) > 500,
    )
    every = np.tile(np.arange(len(numbers)), len(regions))
    known = np.isfinite(mean).astype(float)
    lines = np.array([weighted_quantile(mean, known, every, len(numbers), q) for q in (0.5, 0.25, 0.75)])
    _draw_line(ax, clock, lines, 0, f"median of {len(regions)} regions")
    return "grey: each region; band: middle half of the regions"


def _draw_line(ax: Any, clock: np.ndarray, lines: np.ndarray, turn: int, name: str) -> None:
    """Draw values with their lower and upper limits, the rows of `lines`."""
    values, low, high = lines
    color, marker = COLORS[turn % len(COLORS)], MARKERS[turn % len(MARKERS)]
    ax.fill_between(clock, low, high, color=color, alpha=0.2, linewidth=0)
    # a segment between two without value has no line, but its interval is seen
    ax.vlines(clock, low, high, color=color, linewidth=0.6, alpha=0.5)
    ax.plot(clock, values, color=color, marker=marker, ms=3.5, lw=1.2, label=name)


def weighted_quantile(
    values: np.ndarray, weights: np.ndarray, group: np.ndarray, size: int, share: float
) -> np.ndarray:
    """Return, for each group, the first value at which a share of the weight is reached; NaN for none."""
    found = np.full(size, np.nan)
    used = np.isfinite(values) & (weights > 0)
    values, weights, group = values[used], weights[used], group[used]
    order = np.lexsort((values, group))
    values, weights, group = values[order], weights[order], group[order]
    total = np.bincount(group, weights, size)
    below = np.cumsum(weights) - (np.cumsum(total) - total)[group]
    reached = np.flatnonzero(below >= share * total[group] * (1 - 1e-12))
    first, at = np.unique(group[reached], return_index=True)
    found[first] = values[reached[at]]
    return found
