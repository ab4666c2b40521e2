"""Conditions of an experiment side by side: one dot per file."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..errors import SpecificationError
from .figures import LABEL, NOTE, TICK, new_figure, require
from .quantities import with_unit

if TYPE_CHECKING:
    from ..experiment.comparing import Comparison

__all__ = ["conditions"]

# of Okabe and Ito, which the colour-blind can tell apart; black is that of the means
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
WIDTH = 0.22


def conditions(comparison: Comparison, *, ax: Any = None) -> Any:
    """Draw the files of each condition, their mean with its confidence interval, and what a test says.

    Parameters
    ----------
    comparison : Comparison
        As `RWAnalyzer.compare` returns it.
    ax : Axes, optional
        Where to draw; default: a new figure.

    Returns
    -------
    Axes
        One column of dots per condition; a marker per replicate where there are some.

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed.
    """
    require()
    table = comparison.conditions
    if not len(table):
        raise SpecificationError("conditions: there is none to draw")
    if ax is None:
        told = len(_test_lines(comparison)) if len(table) > 1 else 0
        ax = new_figure((max(2.6, 1.0 + 1.05 * len(table)), 3.4 + 0.14 * told)).add_subplot()
    files = comparison.files[comparison.files["value"].notna()]
    replicates = sorted(files["replicate"].dropna().unique(), key=str)
    marker_of = {name: MARKERS[i % len(MARKERS)] for i, name in enumerate(replicates)}
    ticks = []
    for at, row in enumerate(_rows(table)):
        mine = files[files["condition"].astype(str) == row.condition]
        _dots(ax, at, mine, COLORS[at % len(COLORS)], marker_of)
        error = None if not math.isfinite(row.low) else [[row.mean - row.low], [row.high - row.mean]]
        ax.errorbar([at], [row.mean], yerr=error, fmt="_", ms=22, mew=1.6, lw=1.4, capsize=4, color="black")
        count = f"{row.files} file{'s' * (row.files > 1)}"
        if "replicates" in table.columns:
            count += f"\n{row.replicates} replicate{'s' * (row.replicates > 1)}"
        ticks.append(f"{row.condition}\n{count}")
    ax.set_xticks(range(len(table)), ticks, fontsize=TICK)
    ax.set_xlim(-0.6, len(table) - 0.4)
    ax.tick_params(axis="y", labelsize=TICK)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_ylabel(with_unit(comparison.variable), fontsize=LABEL)
    if len(marker_of) > 1:
        handles = [
            ax.plot([], [], marker, color="0.4", ms=4, label=str(name), linestyle="none")[0]
            for name, marker in marker_of.items()
        ]
        ax.legend(handles=handles, title="replicate", title_fontsize=NOTE, fontsize=NOTE, frameon=False)
    percent = f"{comparison.confidence:.0%}"
    lines = [f"bar: mean over {comparison.unit}s and its {percent} interval", *_test_lines(comparison)]
    ax.set_xlabel("\n".join(lines), fontsize=NOTE, color="0.3", loc="left")
    return ax


def _rows(table: pd.DataFrame) -> list[Any]:
    return list(table.itertuples(index=False))


def _dots(ax: Any, at: int, files: pd.DataFrame, color: str, marker_of: dict[Any, str]) -> None:
    """Draw the files of a condition, side by side where they have similar values."""
    values = files["value"].to_numpy(dtype=float)
    order = np.argsort(values, kind="stable")
    # neighbours in height go to different places: the golden ratio spreads any number of them
    place = np.empty(len(values))
    place[order] = (np.arange(len(values)) * 0.6180339887 + 0.5) % 1
    x = at + (place - 0.5) * 2 * WIDTH if len(values) > 1 else np.full(len(values), float(at))
    replicates = files["replicate"].to_numpy(dtype=object)
    for marker in dict.fromkeys(marker_of.get(r, "o") for r in replicates):
        mine = np.array([marker_of.get(r, "o") == marker for r in replicates])
        ax.scatter(
            x[mine],
            values[mine],
            s=22,
            marker=marker,
            color=color,
            alpha=0.8,
            linewidths=0.4,
            edgecolors="white",
        )


def _test_lines(comparison: Comparison) -> list[str]:
    lines = []
    for row in _rows(comparison.tests):
        several = len(comparison.tests) > 1
        if math.isfinite(row.p):
            p = row.p_adjusted if several else row.p
            lines.append(f"{row.condition} − {row.reference}: p = {p:.2g}{' (Holm)' if several else ''}")
        else:
            lines.append(f"{row.condition} − {row.reference}: no test is possible")
    return lines
