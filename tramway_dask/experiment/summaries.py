"""One value per file, from the maps of its cells; one per replicate, from those of its files.

Cells of a file share the molecule, the dish, the focus and neighbours' data: they are no
independent observations of a condition. What is compared is therefore one value per file.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..errors import SpecificationError, suggest
from ..inference.maps import AT_BOUND
from ..results.artefacts import KEYS
from ..spt_data.tables import SPACE

__all__ = ["STATISTICS", "per_file", "per_replicate", "values_of"]

STATISTICS = ("mean", "median")


def values_of(maps: pd.DataFrame, variable: str) -> np.ndarray:
    """Return a mapped variable, (m,); of a vector, its amplitude.

    Raises
    ------
    SpecificationError
        If there is no such variable.
    """
    if variable in maps.columns and variable not in KEYS:
        values = maps[variable]
        if values.dtype.kind not in "iufb":
            raise SpecificationError(f"compare: {variable!r} does not hold numbers")
        return values.to_numpy(dtype=float)
    axes = [f"{variable} {axis}" for axis in SPACE if f"{variable} {axis}" in maps.columns]
    if not axes:
        ends = (" se", " low", " high", " truth")
        known = [
            str(c)
            for c in maps.columns
            if c not in (*KEYS, AT_BOUND) and not str(c).endswith(ends) and maps[c].dtype.kind in "iuf"
        ]
        raise SpecificationError(f"these maps have no variable {variable!r}; {suggest(variable, known)}")
    return np.sqrt((maps[axes].to_numpy(dtype=float) ** 2).sum(axis=1))


def per_file(maps: pd.DataFrame, variable: str, *, statistic: str = "mean") -> pd.DataFrame:
    """Summarise the cells of each file, weighted by their numbers of translocations.

    Parameters
    ----------
    maps : DataFrame
        As `RWAnalyzer.maps` returns it: ``source``, ``n``, the variable, and ``condition`` and
        ``replicate`` where there are any.
    variable : str
        Mapped variable, or a vector (its amplitude, which noise makes larger).
    statistic : {'mean', 'median'}
        Of the cells, weighted.

    Returns
    -------
    DataFrame
        One row per source: ``source``, ``condition``, ``replicate``, ``cells`` (those with a value),
        ``n`` (their translocations), ``value``, ``spread`` (weighted standard deviation between
        cells). ``value`` is NaN for a file without any cell that has a value.

    Raises
    ------
    SpecificationError
        If the variable or the statistic is not known, or the table holds several samplings.
    """
    if statistic not in STATISTICS:
        raise SpecificationError(f"statistic: unknown value {statistic!r}; {suggest(statistic, STATISTICS)}")
    if "sampling" in maps.columns and maps["sampling"].nunique() > 1:
        known = ", ".join(map(repr, maps["sampling"].unique()))
        raise SpecificationError(
            f"compare: these maps belong to several samplings ({known}), whose cells overlap; choose one: "
            "sampling="
        )
    values = values_of(maps, variable)
    weights = maps["n"].to_numpy(dtype=float)
    used = np.isfinite(values) & (weights > 0)
    code, names = pd.factorize(maps["source"], sort=True)
    files = pd.DataFrame({"source": pd.Index(names).astype(str)})
    first = maps.drop_duplicates("source").set_index("source")
    for column in ("condition", "replicate"):
        held = first[column].reindex(names).to_numpy(dtype=object) if column in first.columns else None
        files[column] = None if held is None else held
    code, values, weights = code[used], values[used], weights[used]
    count = len(names)
    total = np.bincount(code, weights, count)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.bincount(code, weights * values, count) / total
        spread = np.sqrt(np.bincount(code, weights * (values - mean[code]) ** 2, count) / total)
    files["cells"] = np.bincount(code, minlength=count)
    files["n"] = total.astype(np.int64)
    files["value"] = mean if statistic == "mean" else _medians(code, values, weights, count)
    files["spread"] = spread
    return files


def _medians(code: np.ndarray, values: np.ndarray, weights: np.ndarray, count: int) -> np.ndarray:
    """Return the weighted median of each group: where half of the weight is reached.

    Where exactly half is reached at a value, it is the middle between that and the next.
    """
    found = np.full(count, np.nan)
    if not len(code):
        return found
    order = np.lexsort((values, code))
    code, values, weights = code[order], values[order], weights[order]
    total = np.bincount(code, weights, count)
    before = np.cumsum(total) - total
    share = np.cumsum(weights) - before[code]
    half = total[code] / 2
    exact = 1e-12 * np.cumsum(weights)[-1]
    lower = np.flatnonzero(share >= half - exact)
    upper = np.flatnonzero(share > half + exact)
    group, at = np.unique(code[lower], return_index=True)
    found[group] = values[lower[at]]
    group, at = np.unique(code[upper], return_index=True)
    found[group] = (found[group] + values[upper[at]]) / 2
    return found


def per_replicate(files: pd.DataFrame) -> pd.DataFrame:
    """Average the files of each replicate of a condition, each with the same weight.

    Parameters
    ----------
    files : DataFrame
        As `per_file` returns it; files without value are left out.

    Returns
    -------
    DataFrame
        ``condition``, ``replicate``, ``files``, ``cells``, ``n``, ``value``, ``spread`` (standard
        deviation between files; NaN for a single one).
    """
    known = files[files["value"].notna()]
    groups = known.groupby(["condition", "replicate"], sort=True)
    return groups.agg(
        files=("source", "size"),
        cells=("cells", "sum"),
        n=("n", "sum"),
        value=("value", "mean"),
        spread=("value", "std"),
    ).reset_index()
