"""Tests of a difference between two small groups of values, and the size of the difference."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

__all__ = [
    "TESTS",
    "Outcome",
    "adjusted",
    "difference_interval",
    "hedges",
    "interval",
    "permuted",
    "probability_of_superiority",
    "run_test",
]

TESTS = ("permutation", "welch", "mann-whitney")
# rearrangements that are all tried; of more, so many are drawn
EXACT = 50_000
DRAWN = 20_000


@dataclass(frozen=True)
class Outcome:
    """What a test says.

    Attributes
    ----------
    p : float
        Two-sided; NaN if no test is possible.
    note : str
        How it was found, or why no test is possible.
    """

    p: float
    note: str


def run_test(
    name: str, one: np.ndarray, other: np.ndarray, *, paired: bool, confidence: float, seed: int, unit: str
) -> Outcome:
    """Test whether two groups of values differ.

    Parameters
    ----------
    name : {'permutation', 'welch', 'mann-whitney'}
        With pairs: signs are permuted, Student's test on the differences, Wilcoxon's signed ranks.
    one, other : ndarray
        One value per independent unit; with `paired`, of the same length and order.
    paired : bool
    confidence : float
        A test that cannot reach p ≤ 1 − confidence, whatever the values, is not made.
    seed : int
        Of rearrangements, where there are too many to try all.
    unit : str
        What the values are of: ``'files'``.

    Returns
    -------
    Outcome
    """
    counts = f"{len(one)} pairs" if paired else f"{len(one)} and {len(other)} {unit}"
    if min(len(one), len(other)) < 2:
        return Outcome(
            math.nan, f"no test is possible with {counts}: 2 of each are needed to see how they vary"
        )
    if name == "welch":
        return _welch(one, other, paired)
    least = _smallest(len(one), len(other), paired)
    if least > (1 - confidence) * (1 + 1e-9):
        return Outcome(
            math.nan,
            f"no test is possible with {counts}: p cannot be below {least:.2g}, whatever the values",
        )
    if name == "mann-whitney":
        return _ranks(one, other, paired)
    return permuted(one, other, paired=paired, seed=seed)


def _smallest(one: int, other: int, paired: bool) -> float:
    """Return the smallest two-sided p that rearrangements of so many values can have."""
    return 2.0 ** (1 - one) if paired else 2 / math.comb(one + other, one)


def _welch(one: np.ndarray, other: np.ndarray, paired: bool) -> Outcome:
    from scipy import stats

    varies = np.ptp(one - other) > 0 if paired else np.ptp(one) > 0 or np.ptp(other) > 0
    if not varies:
        return Outcome(math.nan, "no test is possible: the values of a condition are all the same")
    if paired:
        return Outcome(float(stats.ttest_rel(one, other).pvalue), "Student's t test on the differences")
    return Outcome(float(stats.ttest_ind(one, other, equal_var=False).pvalue), "Welch's t test")


def _ranks(one: np.ndarray, other: np.ndarray, paired: bool) -> Outcome:
    from scipy import stats

    if paired:
        difference = one - other
        difference = difference[difference != 0]
        if not len(difference):
            return Outcome(1.0, "Wilcoxon's signed-rank test: all differences are 0")
        return Outcome(float(stats.wilcoxon(difference).pvalue), "Wilcoxon's signed-rank test")
    ties = len(np.unique(np.concatenate([one, other]))) < len(one) + len(other)
    method = "asymptotic" if ties or max(len(one), len(other)) > 100 else "exact"
    found = stats.mannwhitneyu(one, other, alternative="two-sided", method=method)
    return Outcome(float(found.pvalue), f"Mann–Whitney test, {method}")


def permuted(one: np.ndarray, other: np.ndarray, *, paired: bool = False, seed: int = 0) -> Outcome:
    """Test by rearrangement: how often is the difference of means as large if the groups are the same.

    Parameters
    ----------
    one, other : ndarray
    paired : bool
        Exchange the values of a pair, instead of all values.
    seed : int

    Returns
    -------
    Outcome
        Exact up to 50,000 rearrangements, else from 20,000 random ones and the one observed
        (Phipson & Smyth 2010, doi:10.2202/1544-6115.1585).
    """
    rng = np.random.default_rng(seed)
    if paired:
        values = one - other
        total = 2 ** len(values)
        if total <= EXACT:
            signs = 1 - 2 * ((np.arange(total)[:, None] >> np.arange(len(values))) & 1)
        else:
            signs = rng.choice([-1, 1], (DRAWN, len(values)))
        found = np.abs(signs @ values) / len(values)
        observed = abs(values.mean())
    else:
        # the mean of all does not matter, and takes digits
        values = np.concatenate([one, other])
        values = values - values.mean()
        size, rest = len(one), len(other)
        total = math.comb(size + rest, size)
        if total <= EXACT:
            chosen = np.array(list(itertools.combinations(range(size + rest), size)))
        else:
            chosen = np.argsort(rng.random((DRAWN, size + rest)), axis=1)[:, :size]
        # with sum zero, the difference of means goes with the sum of one group
        found = np.abs(values[chosen].sum(axis=1)) * (1 / size + 1 / rest)
        observed = abs(values[:size].sum()) * (1 / size + 1 / rest)
    extreme = int((found >= observed - 1e-9 * max(observed, np.abs(values).max())).sum())
    if total <= EXACT:
        return Outcome(extreme / total, f"permutation test, all {total:,} rearrangements")
    return Outcome((extreme + 1) / (DRAWN + 1), f"permutation test, {DRAWN:,} random rearrangements")


def interval(values: np.ndarray, confidence: float) -> tuple[float, float]:
    """Return the limits of the mean of independent values (Student); NaN for a single one."""
    if len(values) < 2:
        return math.nan, math.nan
    from scipy import stats

    half = stats.t.ppf((1 + confidence) / 2, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


def difference_interval(
    one: np.ndarray, other: np.ndarray, *, paired: bool, confidence: float
) -> tuple[float, float]:
    """Return the limits of the difference of two means (one − other), by Welch's method."""
    if paired:
        return interval(one - other, confidence)
    if min(len(one), len(other)) < 2:
        return math.nan, math.nan
    from scipy import stats

    parts = np.array([one.var(ddof=1) / len(one), other.var(ddof=1) / len(other)])
    difference = float(one.mean() - other.mean())
    if not parts.sum() > 0:
        return difference, difference
    degrees = parts.sum() ** 2 / (parts**2 / [len(one) - 1, len(other) - 1]).sum()
    half = float(stats.t.ppf((1 + confidence) / 2, degrees) * math.sqrt(parts.sum()))
    return difference - half, difference + half


def hedges(one: np.ndarray, other: np.ndarray) -> float:
    """Return Hedges' g: the difference of means in pooled standard deviations, without small-sample bias.

    Notes
    -----
    Hedges 1981, doi:10.3102/10769986006002107.
    """
    degrees = len(one) + len(other) - 2
    if min(len(one), len(other)) < 2:
        return math.nan
    squares = ((one - one.mean()) ** 2).sum() + ((other - other.mean()) ** 2).sum()
    if not squares > 0:
        return math.nan
    correction = math.exp(
        math.lgamma(degrees / 2) - math.lgamma((degrees - 1) / 2) - math.log(math.sqrt(degrees / 2))
    )
    return float(correction * (one.mean() - other.mean()) / math.sqrt(squares / degrees))


def probability_of_superiority(one: np.ndarray, other: np.ndarray) -> float:
    """Return how often a value of one group is above one of the other, ties counting half."""
    above = (one[:, None] > other[None, :]).mean()
    return float(above + (one[:, None] == other[None, :]).mean() / 2)


def adjusted(p: np.ndarray) -> np.ndarray:
    """Return p-values of several tests adjusted by Holm's method; NaN stays."""
    out = np.full(len(p), np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    if len(order):
        scaled = p[order] * np.arange(len(order), 0, -1)
        out[order] = np.minimum(np.maximum.accumulate(scaled), 1)
    return out
