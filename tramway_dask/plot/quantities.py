"""What is shown in colours: which columns, with which unit, colours and limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..errors import SpecificationError, suggest
from ..inference.maps import error_column
from ..results.artefacts import KEYS
from ..spt_data.tables import SPACE
from .mosaic import Mosaic

__all__ = ["Colors", "Quantity", "central_limits", "color_scale", "features_of", "quantity", "with_unit"]

UNITS = {
    "diffusivity": r"µm$^{2}$ s$^{-1}$",
    "potential": r"$k_\mathrm{B}T$",
    "force": r"$k_\mathrm{B}T$ µm$^{-1}$",
    "drift": r"µm s$^{-1}$",
    "ci low": r"µm$^{2}$ s$^{-1}$",
    "ci high": r"µm$^{2}$ s$^{-1}$",
    "V": r"µm$^{2}$",
    "V_prior": r"µm$^{2}$",
    "volume": r"µm$^{3}$",
}
# what short names of variables without unit stand for
LABELS = {
    "lg_B": r"$\log_{10}$ Bayes factor of a force",
    "group_lg_B": r"$\log_{10}$ Bayes factor of the group",
    "group_forces": "force in the group",
    "min_n": "translocations needed for certainty",
    "zeta_total": "signal-to-noise ratio, total force",
    "zeta_spurious": "signal-to-noise ratio, spurious force",
}
# colours do not show values that would stretch their range by more, see `central_limits`
FAR = 1.25
COUNTS = ("n", "density")
SIGNED = ("force", "drift", "lg_B", "group_lg_B", "group_forces", "zeta_total", "zeta_spurious")
MAPS = {"potential": "cividis", "n": "cividis", "density": "cividis"}
DECIDED = {"force": "decision of the cell", "group_forces": "decision of the group"}
# what Bayes factors decide, in colours that differ in lightness too
DECISIONS = {-1.0: "no force", 0.0: "undecided", 1.0: "force"}
DECISION_COLORS = ("#56b4e9", "#e6e6e6", "#a63603")


@dataclass(frozen=True, eq=False)
class Quantity:
    """Values to show, one per cell.

    Attributes
    ----------
    name : str
    values : ndarray (m,)
        NaN where a cell has none; the amplitude of vectors.
    label : str
        With the unit.
    signed : bool
        Whether zero is the middle of the colours.
    vectors : ndarray (m, 2), optional
        Components along x and y.
    decided : bool
        Whether the values are -1, 0 and 1: what a test decided.
    """

    name: str
    values: np.ndarray
    label: str
    signed: bool = False
    vectors: np.ndarray | None = None
    decided: bool = False


@dataclass(frozen=True, eq=False)
class Colors:
    """Colour scale.

    Attributes
    ----------
    norm : Normalize
    cmap : str or Colormap
    extend : str
        Ends of the colour bar beyond which values lie.
    note : str
        What the scale does not show.
    ticks : mapping, optional
        What values stand for, where they are no amounts.
    """

    norm: Any
    cmap: Any
    extend: str = "neither"
    note: str = ""
    ticks: Mapping[float, str] | None = None


def _feature(name: str) -> str:
    head, _, axis = name.rpartition(" ")
    return head if head and axis in SPACE else name


def _variables(table: pd.DataFrame) -> list[str]:
    shown = []
    columns = [str(c) for c in table.columns]
    for name, kind in zip(columns, table.dtypes, strict=True):
        limit = name.endswith((" low", " high")) and name.rpartition(" ")[0] in columns
        derived = limit or name.endswith((" se", " truth")) or name in KEYS
        if not derived and kind.kind in "fiu":
            shown.append(name)
    return shown


def features_of(table: pd.DataFrame) -> list[str]:
    """Return the quantities that a table of maps can show; a vector counts once."""
    return list(dict.fromkeys(_feature(v) if _feature(v) not in table else v for v in _variables(table)))


def with_unit(name: str, dimension: int = 2, prefix: str = "") -> str:
    """Return a label: the name of a variable and its unit."""
    if name == "n":
        return "translocations per cell"
    if name == "density":
        return rf"translocations (µm$^{{-{dimension}}}$)"
    if _feature(name) in LABELS:
        return prefix + name.replace(_feature(name), LABELS[_feature(name)], 1)
    unit = UNITS.get(name, UNITS.get(_feature(name), ""))
    return f"{prefix}{name} ({unit})" if unit else f"{prefix}{name}"


def quantity(
    table: pd.DataFrame, mosaic: Mosaic, name: str | None = None, *, errors: bool = False
) -> Quantity:
    """Return what a variable or feature shows.

    Parameters
    ----------
    table : DataFrame
        Rows as the cells of `mosaic`.
    mosaic : Mosaic
    name : str, optional
        A column, a feature with one column per axis, ``"n"`` or ``"density"``. Default: the first
        feature.
    errors : bool
        Show the standard errors.

    Raises
    ------
    SpecificationError
        If there is no such variable, or it has no errors.
    """
    features = features_of(table)
    if name is None:
        if not features:
            raise SpecificationError("these maps have no variable to show: no column holds numbers")
        name = features[0]
    if name in COUNTS and name not in features:
        return _counts(name, mosaic, errors)
    shown = _variables(table)
    columns = [name] if name in shown else [v for v in shown if _feature(v) == name]
    if not columns:
        known = dict.fromkeys([*features, *shown, *COUNTS])
        raise SpecificationError(f"these maps have no variable {name!r}; {suggest(name, known)}")
    values = table[columns].to_numpy(dtype=float)
    vector = columns != [name]
    if errors:
        return Quantity(name, _errors(table, columns, values), _label(name, mosaic, vector, errors))
    if vector:
        axes = [f"{name} {axis}" for axis in SPACE[:2]]
        vectors = np.column_stack(
            [table[c].to_numpy(dtype=float) if c in columns else np.zeros(len(table)) for c in axes]
        )
        amplitude = np.sqrt((values**2).sum(axis=1))
        return Quantity(name, amplitude, _label(name, mosaic, vector, errors), vectors=vectors)
    values = values[:, 0]
    finite = values[np.isfinite(values)]
    mixed = len(finite) > 0 and finite.min() < 0 < finite.max() and name not in ("diffusivity", "potential")
    signed = mixed or _feature(name) in SIGNED
    if name in ("force", "group_forces") and np.isin(finite, list(DECISIONS)).all():
        # those of Bayes factors: the vector has no column of its own
        return Quantity(name, values, DECIDED[name], True, decided=True)
    return Quantity(name, values, _label(name, mosaic, vector, errors), signed)


def _label(name: str, mosaic: Mosaic, vector: bool, errors: bool) -> str:
    label = with_unit(name, mosaic.dimension, "standard error of " if errors else "")
    if vector and name in LABELS:
        return f"{label}, amplitude"
    return label.replace(name, f"{name} amplitude", 1) if vector else label


def _counts(name: str, mosaic: Mosaic, errors: bool) -> Quantity:
    if errors:
        raise SpecificationError(f"{name!r} has no standard error")
    values = mosaic.counts.astype(float)
    if name == "density":
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.where(mosaic.areas > 0, values / mosaic.areas, np.nan)
    return Quantity(name, values, with_unit(name, mosaic.dimension))


def _errors(table: pd.DataFrame, columns: Sequence[str], values: np.ndarray) -> np.ndarray:
    missing = [c for c in columns if error_column(c) not in table.columns]
    if missing:
        raise SpecificationError(f"these maps have no standard error of {missing[0]!r}")
    errors = table[[error_column(c) for c in columns]].to_numpy(dtype=float)
    if len(columns) == 1:
        return errors[:, 0]
    amplitude = np.sqrt((values**2).sum(axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt(((values * errors) ** 2).sum(axis=1)) / amplitude


def color_scale(
    shown: Quantity,
    *,
    log: bool = False,
    clim: Sequence[float | None] | None = None,
    clip: float | None = None,
    cmap: Any = None,
    counts: np.ndarray | None = None,
) -> Colors:
    """Return the colour scale for a quantity.

    Parameters
    ----------
    shown : Quantity
    log : bool
        Logarithmic; symmetric-logarithmic for signed values. Other values that are not positive
        are left blank, and a note says so.
    clim : (lower, upper), optional
        Either may be None.
    clip : float, optional
        Upper limit, in interquartile distances above the median; below 1, as a quantile.
    cmap : optional
    counts : ndarray (m,), optional
        Translocations of each cell: without `clim` and `clip`, limits are those of `central_limits`.

    Raises
    ------
    SpecificationError
        If the limits are not in order, or a limit of a logarithmic scale is not positive.
    """
    from matplotlib import colors

    if clip is not None and not clip > 0:
        raise SpecificationError(f"clip: expected a number above 0, got {clip!r}")
    if shown.decided:
        norm = colors.Normalize(-1.5, 1.5)  # three colours, a third of it each
        note = "" if np.isfinite(shown.values).any() else "no cell has a value"
        return Colors(norm, cmap or colors.ListedColormap(DECISION_COLORS), note=note, ticks=DECISIONS)
    finite = shown.values[np.isfinite(shown.values)]
    positive_only = log and not shown.signed
    blank = int((finite <= 0).sum()) if positive_only else 0
    if positive_only:
        finite = finite[finite > 0]
    cmap = cmap or ("RdBu_r" if shown.signed else MAPS.get(shown.name, "viridis"))
    note = f"{_cells(blank)} ≤ 0 left blank" if blank else ""
    if not len(finite):
        lower, upper = (1.0, 10.0) if log else (0.0, 1.0)
        note = note or "no cell has a value"
    else:
        central = None if counts is None or clip is not None else central_limits(shown, counts, log)
        lower, upper = central or _limits(finite, shown.signed, clip)
    lower, upper = _given(clim, lower, upper, positive_only)
    extend = _extend(finite, lower, upper)
    if positive_only:
        return Colors(colors.LogNorm(lower, upper), cmap, extend, note)
    if log:
        sizes = np.abs(finite[finite != 0])
        linear = float(np.quantile(sizes, 0.1)) if len(sizes) else upper
        return Colors(colors.SymLogNorm(min(linear, upper), vmin=lower, vmax=upper), cmap, extend, note)
    return Colors(colors.Normalize(lower, upper), cmap, extend, note)


def central_limits(shown: Quantity, counts: np.ndarray, log: bool = False) -> tuple[float, float] | None:
    """Return limits that leave out 0.5 % of the translocations at each end; None where all values are near.

    A cell of one or two translocations can have any value; such cells do not stretch the colours.

    Parameters
    ----------
    shown : Quantity
    counts : ndarray (m,)
        Translocations of each cell; if there are none at all, all cells count the same.
    log : bool
        For a logarithmic scale.
    """
    if shown.decided or shown.name in COUNTS:
        return None
    weights = counts if counts.any() else np.ones(len(counts))
    positive = log and not shown.signed
    kept = np.isfinite(shown.values) & (weights > 0)
    if positive:
        kept &= np.nan_to_num(shown.values) > 0
    values, weights = shown.values[kept], weights[kept]
    if not len(values):
        return None
    values = np.abs(values) if shown.signed else values
    upper = _quantile(values, weights, 0.99 if shown.signed else 0.995)
    lower = -upper if shown.signed else _quantile(values, weights, 0.005)
    if shown.signed:
        near = values.max() < FAR * upper
    elif positive:
        near = np.log(values.max() / values.min()) < FAR * np.log(upper / lower)
    else:
        near = np.ptp(values) < FAR * (upper - lower)
    return None if near or not lower < upper else (lower, upper)


def _quantile(values: np.ndarray, weights: np.ndarray, share: float) -> float:
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(below, share * below[-1])])


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"


def _limits(finite: np.ndarray, signed: bool, clip: float | None) -> tuple[float, float]:
    size = np.abs(finite) if signed else finite
    upper = float(size.max())
    if clip is not None:
        first, median, third = np.quantile(size, [0.25, 0.5, 0.75])
        clipped = np.quantile(size, clip) if clip < 1 else median + clip * (third - first)
        upper = min(upper, float(clipped))
    lower = -upper if signed else float(finite.min())
    if upper <= lower:
        around = abs(lower) * 0.1 or 1.0
        lower, upper = lower - around, lower + around
    return lower, upper


def _given(
    clim: Sequence[float | None] | None, lower: float, upper: float, positive: bool
) -> tuple[float, float]:
    if clim is None:
        return lower, upper
    try:
        low, high = clim
        chosen = (lower if low is None else float(low), upper if high is None else float(high))
    except (TypeError, ValueError):
        raise SpecificationError(f"clim: expected (lower, upper), got {clim!r}") from None
    if not (np.isfinite(chosen).all() and chosen[0] < chosen[1]):
        raise SpecificationError(f"clim: expected lower < upper, got {chosen[0]:g} and {chosen[1]:g}")
    if positive and chosen[0] <= 0:
        raise SpecificationError(f"clim: a logarithmic scale needs positive limits, got {chosen[0]:g}")
    return chosen


def _extend(finite: np.ndarray, lower: float, upper: float) -> str:
    if not len(finite):
        return "neither"
    slack = 1e-9 * (upper - lower)
    below, above = finite.min() < lower - slack, finite.max() > upper + slack
    return {(True, True): "both", (True, False): "min", (False, True): "max"}.get((below, above), "neither")
