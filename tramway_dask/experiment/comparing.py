"""Comparison of conditions, with files (or replicates) as the statistical unit."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..cards import card, guarded, items
from ..cards import table as html_table
from ..errors import SpecificationError, suggest
from ..results.units import unit_of
from .significance import (
    TESTS,
    adjusted,
    difference_interval,
    hedges,
    interval,
    probability_of_superiority,
    run_test,
)
from .summaries import per_file, per_replicate

__all__ = ["Comparison", "compare"]

UNITS = ("file", "replicate")


@dataclass(frozen=True, eq=False)
class Comparison:
    """What the files of each condition say of a variable.

    Attributes
    ----------
    variable : str
    quantity_unit : str
        Physical unit of the variable.
    statistic : str
        Of the cells of a file.
    unit : {'file', 'replicate'}
        What counts as an independent observation.
    confidence : float
    files : DataFrame
        One row per file; see `per_file`.
    replicates : DataFrame or None
        One row per replicate and condition, if they are the unit; see `per_replicate`.
    conditions : DataFrame
        One row per condition: ``condition, files, [replicates,] n, mean, low, high, sd``: mean over units
        (over the replicates' means), limits of its confidence interval, standard deviation of units.
    tests : DataFrame
        One row per pair: ``condition, reference, test, difference`` (condition − reference), its limits
        ``low, high``, ``hedges g``, ``superiority`` (probability that a unit of the condition is above one
        of the reference), ``p``, ``p adjusted`` (Holm, over the pairs), how many units, ``note``.
    notes : tuple of str
        What was left out, and what to know.
    """

    variable: str
    quantity_unit: str
    statistic: str
    unit: str
    confidence: float
    files: pd.DataFrame
    replicates: pd.DataFrame | None
    conditions: pd.DataFrame
    tests: pd.DataFrame
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The variable with its unit."""
        return f"{self.variable} ({self.quantity_unit})" if self.quantity_unit else self.variable

    def plot(self, ax: Any = None) -> Any:
        """Draw one dot per file over its condition; see `tramway_dask.plot.conditions`."""
        from ..plot.conditions import conditions

        return conditions(self, ax=ax)

    def summary(self) -> str:
        """Return the comparison as text."""
        percent = f"{self.confidence:.0%}"
        lines = [f"{self.label}, weighted {self.statistic} of the cells of each file; unit: {self.unit}"]
        for row in _rows(self.conditions):
            known = self.conditions.columns
            count = f"{row.files} files" + (
                f" in {row.replicates} replicates" if "replicates" in known else ""
            )
            if math.isfinite(row.low):
                told = f"{row.mean:.4g}, {percent} interval {row.low:.4g} to {row.high:.4g}"
            else:
                told = f"{row.mean:.4g}, no interval from a single {self.unit}"
            lines.append(f"{row.condition}: {told} ({count})")
        for row in _rows(self.tests):
            head = f"{row.condition} − {row.reference}: {row.difference:+.4g}"
            if math.isfinite(row.low):
                head += f" ({row.low:+.4g} to {row.high:+.4g})"
            if math.isfinite(row.p):
                several = f", {row.p_adjusted:.3g} adjusted" if len(self.tests) > 1 else ""
                size = "" if not math.isfinite(row.hedges_g) else f"Hedges' g = {row.hedges_g:.2f}, "
                lines.append(f"{head}, {size}p = {row.p:.3g}{several} ({row.note})")
            else:
                lines.append(f"{head}; {row.note}")
        return "\n".join([*lines, *self.notes])

    __repr__ = __str__ = summary

    @guarded
    def _repr_html_(self) -> str:
        head, *told = self.summary().splitlines()
        tables = [
            html_table([str(c) for c in t.columns], t.astype(object).where(t.notna(), "").to_numpy().tolist())
            for t in (self.conditions, self.tests)
        ]
        return card("Comparison", items(told), *tables, about=head)


def compare(
    maps: pd.DataFrame,
    variable: str = "diffusivity",
    *,
    statistic: str = "mean",
    test: str = "permutation",
    unit: str | None = None,
    paired: bool = False,
    reference: str | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Compare the conditions of an experiment.

    Each file gives one value, whatever the number of its cells and translocations. With replicates (the
    same day, dish, animal…) for all files, the files of a replicate give one value again.

    Parameters
    ----------
    maps : DataFrame
        As `RWAnalyzer.maps` returns it, with a column ``condition``.
    variable : str
        Mapped variable, or a vector (its amplitude).
    statistic : {'mean', 'median'}
        Of the cells of a file, weighted by translocations.
    test : {'permutation', 'welch', 'mann-whitney'}
    unit : {'file', 'replicate'}, optional
        What is independent. Default: the replicate if every file has one, else the file.
    paired : bool
        A replicate's name means the same in all conditions (the same day…): compare within it. Replicates
        that a condition lacks are left out.
    reference : str, optional
        Condition with which the others are compared; default: all pairs.
    confidence : float
        Of intervals. A test that cannot reach p = 1 − confidence with so few units is not made.
    seed : int
        Of random rearrangements, which are used if there are more than 50,000.

    Returns
    -------
    Comparison

    Raises
    ------
    SpecificationError
        If a name or value is not known, or no file has a condition.
    """
    test = test.lower().replace("_", "-").replace("mannwhitney", "mann-whitney")
    for name, value, known in (("test", test, TESTS), ("unit", unit, (*UNITS, None))):
        if value not in known:
            names = [k for k in known if k is not None]
            raise SpecificationError(f"{name}: unknown value {value!r}; {suggest(value, names)}")
    if not 0 < confidence < 1:
        raise SpecificationError(f"confidence: expected a number between 0 and 1, got {confidence!r}")
    files = per_file(maps, variable, statistic=statistic)
    used, notes = _usable(files)
    unit = _unit(used, unit, paired)
    if unit == "replicate":
        units = per_replicate(used)
        notes += _crowded(units, unit)
    else:
        units = used
        if used["replicate"].notna().any():
            notes.append(
                "files of a replicate are taken as independent; if they are alike, intervals and p are too small"
            )
    groups = {str(name): group for name, group in units.groupby("condition", sort=True)}
    if reference is not None and reference not in groups:
        raise SpecificationError(f"reference: no condition {reference!r}; {suggest(reference, groups)}")
    if len(groups) == 1:
        notes.append("there is but one condition: nothing to compare it with")
    table = _conditions(used, groups, unit, confidence)
    pairs = [
        (a, b) if reference is None else (reference, b if a == reference else a)
        for a, b in itertools.combinations(groups, 2)
        if reference is None or reference in (a, b)
    ]
    rows = [_pair(groups[b], groups[a], b, a, test, unit, paired, confidence, seed) for a, b in pairs]
    tests = pd.DataFrame(rows, columns=_TESTED)
    tests.insert(_TESTED.index("p") + 1, "p_adjusted", adjusted(tests["p"].to_numpy(dtype=float)))
    return Comparison(
        variable,
        unit_of(variable) or unit_of(f"{variable} x"),
        statistic,
        unit,
        confidence,
        files,
        units if unit == "replicate" else None,
        table,
        tests,
        tuple(notes),
    )


_TESTED = [
    *("condition", "reference", "test", "difference", "low", "high", "hedges_g", "superiority", "p"),
    *("units", "reference_units", "note"),
]


def _rows(table: pd.DataFrame) -> list[Any]:
    return list(table.itertuples(index=False))


def _usable(files: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    notes = []
    without = files["condition"].isna()
    if without.all():
        raise SpecificationError(
            "compare: no file has a condition; give them by a manifest (spt_data.from_manifest), by "
            "`f.condition = ...` for f in a.spt_data, or in [spt_data.conditions]"
        )
    empty = files["value"].isna() & ~without
    for mask, why in ((without, "have no condition"), (empty, "have no cell with a value")):
        if mask.any():
            names = ", ".join(files.loc[mask, "source"].head(3)) + (", …" if mask.sum() > 3 else "")
            notes.append(f"{mask.sum()} files {why} and are left out: {names}")
    used = files[~without & ~empty]
    if used.empty:
        raise SpecificationError("compare: no file with a condition has any cell with a value")
    return used, notes


def _unit(files: pd.DataFrame, unit: str | None, paired: bool) -> str:
    lacking = files.loc[files["replicate"].isna(), "source"]
    if unit is None:
        unit = "file" if len(lacking) else "replicate"
    if unit == "replicate" and len(lacking):
        raise SpecificationError(
            f"unit: 'replicate', but {len(lacking)} files have no replicate, such as {lacking.iloc[0]!r}"
        )
    if paired and unit == "file":
        raise SpecificationError(
            "paired: needs replicates, whose names say which files of the conditions belong together"
        )
    return unit


def _crowded(units: pd.DataFrame, unit: str) -> list[str]:
    if (units["files"] > 1).any():
        return [f"the unit is the {unit}; unit='file' takes the files of a replicate as independent"]
    return []


def _conditions(
    files: pd.DataFrame, groups: dict[str, pd.DataFrame], unit: str, confidence: float
) -> pd.DataFrame:
    rows = []
    counted = files.groupby("condition")["n"].agg(["size", "sum"])
    for name, group in groups.items():
        values = group["value"].to_numpy()
        low, high = interval(values, confidence)
        row: dict[str, Any] = {"condition": name, "files": int(counted["size"][name])}
        if unit == "replicate":
            row["replicates"] = len(group)
        row |= {"n": int(counted["sum"][name]), "mean": values.mean(), "low": low, "high": high}
        rows.append(row | {"sd": values.std(ddof=1) if len(values) > 1 else math.nan})
    return pd.DataFrame(rows)


def _pair(
    group: pd.DataFrame,
    reference: pd.DataFrame,
    name: str,
    reference_name: str,
    test: str,
    unit: str,
    paired: bool,
    confidence: float,
    seed: int,
) -> dict[str, Any]:
    if paired:
        both = sorted(set(group["replicate"]) & set(reference["replicate"]))
        group, reference = (g.set_index("replicate").loc[both] for g in (group, reference))
    one, other = (g["value"].to_numpy(dtype=float) for g in (group, reference))
    row: dict[str, Any] = {"condition": name, "reference": reference_name, "test": test}
    if not len(one):
        lost = {"note": "no test is possible: the conditions have no replicate in common"}
        return dict.fromkeys(_TESTED, math.nan) | row | {"units": 0, "reference_units": 0} | lost
    found = run_test(test, one, other, paired=paired, confidence=confidence, seed=seed, unit=f"{unit}s")
    low, high = difference_interval(one, other, paired=paired, confidence=confidence)
    return row | {
        "difference": float(np.mean(one) - np.mean(other)),
        "low": low,
        "high": high,
        "hedges_g": hedges(one, other),
        "superiority": probability_of_superiority(one, other),
        "p": found.p,
        "units": len(one),
        "reference_units": len(other),
        "note": found.note,
    }
