"""Clocks, and the rows of the table."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any


def median_time(function: Callable[[], Any], repeats: int, *, at_most: float = 20.0) -> tuple[float, int]:
    """Return the median duration in s, and the number of calls: fewer than asked for if they are slow."""
    taken: list[float] = []
    while len(taken) < repeats and (not taken or sum(taken) + taken[-1] < at_most):
        began = time.perf_counter()
        function()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken), len(taken)


@dataclass
class Row:
    """One line of the table; times in s, sizes in MB."""

    name: str
    case: str
    value: float
    unit: str
    target: str
    met: bool | None
    ours: float | None = None
    theirs: float | None = None
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def cells(self) -> list[str]:
        """Return the texts of the columns."""
        met = "" if self.met is None else ("yes" if self.met else "NO")
        return [self.name, self.case, _time(self.ours), _time(self.theirs), self.shown(), self.target, met]

    def shown(self) -> str:
        """Return the value with its unit."""
        if self.unit == "×":
            return f"{self.value:,.0f} ×" if self.value >= 10 else f"{self.value:.2f} ×"
        return f"{self.value:.3g} {self.unit}".strip()


COLUMNS = ("row", "case", "ours", "TRamWAy", "result", "target", "met")


def ratio(
    name: str,
    case: Any,
    ours: Callable[[], Any],
    theirs: Callable[[], Any],
    least: float,
    *,
    repeats: int,
    their_repeats: int,
    note: str = "",
) -> Row:
    """Time two functions and return the row of their ratio."""
    ours()
    here, _ = median_time(ours, repeats)
    there, calls = median_time(theirs, their_repeats)
    note = "; ".join(n for n in (note, f"TRamWAy: median of {calls}") if n)
    value = there / here
    return Row(name, str(case), value, "×", f"≥ {least:,.0f} ×", value >= least, here, there, note)


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def table(rows: list[Row]) -> str:
    """Return the rows as a Markdown table, columns aligned."""
    lines = [list(COLUMNS), *(row.cells() for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(COLUMNS))]
    text = ["| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in lines]
    text.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(text)
