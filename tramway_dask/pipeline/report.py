"""What a run did."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from ..results.store import with_groups
from .work import UnitResult

__all__ = ["RunReport", "told_units"]


def told_units(words: Mapping[str, str]) -> list[str]:
    """Return one line for each different text about sources, with how many they are."""
    counts = Counter(words.values())
    return [f"{n} source{'s' if n > 1 else ''}: {text}" for text, n in counts.items()]


@dataclass(eq=False)
class RunReport:
    """Units done, skipped, failed and retried by a run, and where time went.

    Attributes
    ----------
    folder : Path
        Results folder.
    rows : list of dict
        One per unit: stage, source, roi, status, seconds, host, message.
    seconds : float
        Wall time.
    warnings : list of str
        What the units had to say, each text once.
    units_of_data : dict
        Format and units of each source's file, in words.
    returned : dict
        What the functions of user-written stages returned, by (stage, source, roi).
    groups : dict
        Condition and replicate of the sources that have any, by source.
    """

    folder: Path
    rows: list[dict[str, Any]] = field(default_factory=list, repr=False)
    seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)
    units_of_data: dict[str, str] = field(default_factory=dict)
    returned: dict[tuple[str, str, str], Any] = field(default_factory=dict, repr=False)
    groups: dict[str, dict[str, str]] = field(default_factory=dict, repr=False)
    retried: int = 0
    discarded: int = 0

    def add(self, result: UnitResult) -> None:
        """Count a finished unit."""
        task = result.task
        self.rows.append(
            {
                "stage": task.name,
                "source": task.source,
                "roi": task.region,
                "status": "done" if result.ok else "failed",
                "seconds": result.seconds,
                "host": result.host,
                "message": "" if result.ok else str(result.failure),
            }
        )
        self.discarded += result.discarded
        for text in result.warnings:
            if text not in self.warnings:
                self.warnings.append(text)
        if result.returned is not None:
            self.returned[task.name, task.source, task.region] = result.returned

    def skip(self, stage: str, source: str, region: str) -> None:
        """Count a unit that was done before."""
        row = {"stage": stage, "source": source, "roi": region, "status": "skipped"}
        self.rows.append({**row, "seconds": 0.0, "host": "", "message": ""})

    def _count(self, status: str) -> int:
        return sum(r["status"] == status for r in self.rows)

    @property
    def done(self) -> int:
        """Number of units that this run has done."""
        return self._count("done")

    @property
    def skipped(self) -> int:
        """Number of units that were done before."""
        return self._count("skipped")

    @property
    def failed(self) -> int:
        """Number of units that failed."""
        return self._count("failed")

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.failed

    @property
    def failures(self) -> pd.DataFrame:
        """The failed units: stage, source, roi, message."""
        table = self.to_frame()
        return table[table["status"] == "failed"].reset_index(drop=True)

    def to_frame(self) -> pd.DataFrame:
        """Return one row per unit; with its condition and replicate, if sources have any."""
        columns = ["stage", "source", "roi", "status", "seconds", "host", "message"]
        return with_groups(pd.DataFrame(self.rows, columns=columns), self.groups)

    def summary(self) -> str:
        """Return the report as text."""
        busy = sum(r["seconds"] for r in self.rows)
        lines = [
            f"{self.done} done, {self.skipped} skipped (done before), {self.failed} failed"
            + (f", {self.retried} retried" if self.retried else "")
            + f" in {self.seconds:.1f} s ({busy:.1f} s of work); results in {self.folder}"
        ]
        if self.discarded:
            lines.append(
                f"{self.discarded} translocations shorter than the localization precision were left out"
            )
        lines += told_units(self.units_of_data)
        lines += self.warnings
        for row in [r for r in self.rows if r["status"] == "failed"][:5]:
            lines.append(f"failed: {row['source']} {row['roi']} ({row['stage']}): {row['message']}")
        if self.failed > 5:
            lines.append(f"… and {self.failed - 5} more; see failures.parquet in the results folder")
        return "\n".join(lines)

    __str__ = summary

    def _repr_html_(self) -> str:
        table = self.to_frame()
        told = html.escape(self.summary()).replace("\n", "<br>")
        return f"<p>{told}</p>{table.to_html(index=False, max_rows=20)}"
