"""Estimates beside the truth, with common colours, and their distance in standard errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from ..errors import SpecificationError, suggest
from ..inference.maps import Maps, error_column
from .figures import LABEL, add_note, color_bar, dress, new_figure, require
from .mapping import of_segment
from .mosaic import Mosaic, resolve
from .painting import paint, paint_arrows
from .quantities import Colors, Quantity, color_scale, features_of, quantity

__all__ = ["against_truth", "compare"]


def compare(
    maps: Maps | pd.DataFrame,
    truth: pd.DataFrame | None = None,
    variables: str | Sequence[str] | None = None,
    *,
    sampling: Any = None,
    cells: Any = None,
    log: bool = False,
    segment: int | None = None,
    title: str | None = None,
) -> Any:
    """Draw estimates beside the truth, and (estimate − truth) / standard error.

    A potential is known up to a constant in each connected part: both are shown with mean 0 over
    the mapped cells of each part.

    Parameters
    ----------
    maps : Maps or DataFrame
        As for `map`.
    truth : DataFrame, optional
        Rows as those of the maps, by index; columns named as the variables. Default: the columns
        ``<variable> truth`` of the table of maps.
    variables : str or sequence of str, optional
        One row of pictures for each; default: all features of which the truth is known.
    sampling, cells, segment
        As for `map`.
    log : bool
        Logarithmic colours, except for signed variables and potentials.
    title : str, optional

    Returns
    -------
    Figure
        Three axes (estimate, truth, z) per variable, then the colour bars'.

    Raises
    ------
    SpecificationError
        If the truth of a variable is not given, or does not fit the maps.
    MissingDependencyError
        If matplotlib is not installed.
    """
    require()
    table = maps.table if isinstance(maps, Maps) else maps
    known = _with_truth(table, truth)
    joined = replace(maps, table=known) if isinstance(maps, Maps) else known
    if isinstance(maps, Maps) and isinstance(joined, Maps):
        joined.parent = maps.parent
    mosaic, aligned = resolve(joined, sampling, cells=cells)
    mosaic, aligned, _ = of_segment(mosaic, aligned, segment)
    if isinstance(variables, str):
        variables = [variables]
    names = list(variables) if variables is not None else _comparable(aligned)
    if not names:
        raise SpecificationError(
            "compare: the truth of no variable is given; expected columns '<variable> truth'"
        )
    return _draw(mosaic, aligned, names, log=log, title=title)


def against_truth(
    store: Any, label: str, source: str, table: pd.DataFrame, variables: Sequence[str] | None = None
) -> Any:
    """Draw the maps of a results folder's source beside the truth.

    Parameters
    ----------
    store : Store
    label : str
        Of the maps.
    source : str
    table : DataFrame
        Rows of the maps of that source, with columns ``<variable> truth``.
    variables : sequence of str, optional

    Returns
    -------
    Figure
    """
    sampling = store.samplings_of(label)[0]
    cells = store.table(sampling, "cells", source)
    return compare(table, None, variables, cells=cells, title=source)


def _with_truth(table: pd.DataFrame, truth: pd.DataFrame | None) -> pd.DataFrame:
    if truth is None:
        return table
    if not isinstance(truth, pd.DataFrame):
        raise SpecificationError(f"truth: expected a table, got {type(truth).__name__}")
    lost = table.index.difference(truth.index)
    if len(lost):
        raise SpecificationError(f"truth: no row for cell {lost[0]} of the maps; rows go by index")
    columns = {c: f"{c} truth" for c in truth.columns if c in table.columns}
    return table.join(truth[list(columns)].rename(columns=columns))


def _comparable(table: pd.DataFrame) -> list[str]:
    found = []
    for name in features_of(table):
        columns = [c for c in table.columns if c == name or c in (f"{name} x", f"{name} y", f"{name} z")]
        if columns and all(f"{c} truth" in table.columns for c in columns if not str(c).endswith(" z")):
            found.append(name)
    return [n for n in found if not n.endswith(" z")]


def _truth_of(table: pd.DataFrame, mosaic: Mosaic, name: str, shown: Quantity) -> Quantity:
    suffix = " truth"
    only = table[[c for c in table.columns if str(c).endswith(suffix)]]
    only = only.rename(columns=lambda c: str(c).removesuffix(suffix))
    if not any(c == name or str(c).startswith(f"{name} ") for c in only.columns):
        raise SpecificationError(
            f"compare: the truth of {name!r} is not given; {suggest(name, only.columns)}"
        )
    truth = quantity(only, mosaic, name)
    return replace(
        truth, signed=shown.signed, values=np.where(np.isfinite(shown.values), truth.values, np.nan)
    )


def _centred(mosaic: Mosaic, shown: Quantity, truth: Quantity) -> tuple[Quantity, Quantity]:
    both = np.isfinite(shown.values) & np.isfinite(truth.values)
    if not both.any():
        return shown, truth
    part = mosaic.components(both)
    size = np.maximum(np.bincount(part, weights=both), 1)

    def centre(values: np.ndarray) -> np.ndarray:
        mean = np.bincount(part, weights=np.where(both, values, 0.0)) / size
        return values - mean[part]

    return (
        replace(shown, values=centre(shown.values), signed=True),
        replace(truth, values=centre(truth.values), signed=True),
    )


def _scores(table: pd.DataFrame, shown: Quantity, truth: Quantity) -> np.ndarray:
    """Return z-scores; of vectors, the root mean square of those along each axis."""
    if shown.vectors is None:
        error = _column(table, error_column(shown.name))
        with np.errstate(divide="ignore", invalid="ignore"):
            z = (shown.values - truth.values) / error
        return np.where(np.isfinite(z), z, np.nan)
    squared = []
    for axis in ("x", "y", "z"):
        name = f"{shown.name} {axis}"
        if name in table.columns and f"{name} truth" in table.columns:
            with np.errstate(divide="ignore", invalid="ignore"):
                off = (_column(table, name) - _column(table, f"{name} truth")) / _column(
                    table, error_column(name)
                )
            squared.append(off**2)
    z = np.sqrt(np.mean(squared, axis=0))
    return np.where(np.isfinite(z), z, np.nan)


def _column(table: pd.DataFrame, name: str) -> np.ndarray:
    if name not in table.columns:
        return np.full(len(table), np.nan)
    return table[name].to_numpy(dtype=float)


def _draw(mosaic: Mosaic, table: pd.DataFrame, names: Sequence[str], *, log: bool, title: str | None) -> Any:
    extent = mosaic.extent
    width, height = np.maximum(np.ptp(extent, axis=0), 1e-12)
    side = 2.6 / max(width, height)
    columns, rows = max(width * side, 0.9), max(height * side, 0.9)
    size = (float(3 * columns + 3.4), float(len(names) * (rows + 0.75) + (0.35 if title else 0.05)))
    figure = new_figure(size)
    axes = figure.subplots(len(names), 3, sharex=True, sharey=True, squeeze=False)
    for row, name in enumerate(names):
        shown = quantity(table, mosaic, name)
        truth = _truth_of(table, mosaic, name, shown)
        if name == "potential":
            shown, truth = _centred(mosaic, shown, truth)
        together = replace(shown, values=np.concatenate([shown.values, truth.values]))
        logarithmic = log and not shown.signed
        cmap = "cividis" if name == "potential" else None
        if name == "potential":
            together = replace(together, signed=False)
        colors = color_scale(together, log=logarithmic, cmap=cmap)
        _estimate_and_truth(axes[row], mosaic, shown, truth, colors, extent)
        _z_panel(axes[row, 2], mosaic, _scores(table, shown, truth), shown, extent)
    for ax in axes[:-1].flat:
        ax.set_xlabel("")
    for ax in axes[:, 1:].flat:
        ax.set_ylabel("")
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def _estimate_and_truth(
    axes: Any, mosaic: Mosaic, shown: Quantity, truth: Quantity, colors: Colors, extent: np.ndarray
) -> None:
    longest = None
    if shown.vectors is not None:
        amplitude = np.hypot(*shown.vectors.T)
        longest = float(np.quantile(amplitude[np.isfinite(amplitude)], 0.9)) if len(amplitude) else None
    for ax, item, kind in zip(axes, (shown, truth), ("estimate", "truth"), strict=False):
        drawn = paint(ax, mosaic, item, colors)
        paint_arrows(ax, mosaic, item, longest=longest)
        dress(ax, extent)
        ax.set_title(f"{shown.name}, {kind}", fontsize=LABEL)
    color_bar(axes[1], drawn, shown.label, extend=colors.extend, extent=extent)
    add_note(axes[0], colors.note)


def _z_panel(ax: Any, mosaic: Mosaic, z: np.ndarray, shown: Quantity, extent: np.ndarray) -> None:
    vector = shown.vectors is not None
    label = "r.m.s. z over axes" if vector else "(estimate − truth) / s.e."
    scores = Quantity("z", z, label, signed=not vector)
    colors = color_scale(scores, clim=(0, 4) if vector else (-4, 4))
    drawn = paint(ax, mosaic, scores, colors)
    dress(ax, extent)
    finite = z[np.isfinite(z)]
    if len(finite):
        color_bar(ax, drawn, label, extend=colors.extend, extent=extent)
        within = np.mean(np.abs(finite) < 2)
        ax.set_title(f"{within:.0%} of {len(finite)} cells within 2 s.e.", fontsize=LABEL)
    else:
        ax.set_title("no standard errors", fontsize=LABEL)
