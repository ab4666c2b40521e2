"""What a run did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from ..cards import badge, card, counts, folded, guarded, items, rows
from ..cards import table as html_table
from ..results.store import with_groups
from .work import UnitResult, UnitTask

__all__ = ["RunReport", "told_units"]

COLUMNS = ("stage", "source", "roi", "status", "seconds", "host", "message")
FIRST = 20  # units that a notebook shows


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

    def go_on(self, done: Iterable[UnitTask], todo: Iterable[UnitTask]) -> None:
        """Count what was done while the cluster was out of reach, and forget the failures of what is tried again."""
        again = {(task.name, task.source, task.region) for task in todo}
        self.rows = [r for r in self.rows if (r["stage"], r["source"], r["roi"]) not in again]
        known = {(r["stage"], r["source"], r["roi"]) for r in self.rows}
        for task in done:
            if (task.name, task.source, task.region) not in known:
                self.add(UnitResult(task))

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
        return with_groups(pd.DataFrame(self.rows, columns=list(COLUMNS)), self.groups)

    def to_html(
        self, path: str | Path | None = None, *, pictures: int | None = None, title: str | None = None
    ) -> Path:
        """Write a page about the results folder: parameters, maps, values, failures, methods.

        The page needs no other file. It tells of everything that the folder holds, earlier runs
        included; ``tramway-dask report`` writes the same from the folder, in any later session.

        Parameters
        ----------
        path : path, optional
            Default: ``report.html`` in the results folder.
        pictures : int, optional
            Maps that are shown at most; the page says how many are left out.
        title : str, optional

        Returns
        -------
        Path

        Raises
        ------
        StoreError
            If the page cannot be written.
        """
        from ..reporting import write_report

        options = {} if pictures is None else {"pictures": pictures}
        return write_report(self.folder, path, title=title, **options).path

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

    @guarded
    def _repr_html_(self) -> str:
        status = Counter(r["status"] for r in self.rows)
        by_stage: dict[str, Counter[str]] = {}
        busy: Counter[str] = Counter()
        for row in self.rows:
            by_stage.setdefault(row["stage"], Counter())[row["status"]] += 1
            busy[row["stage"]] += row["seconds"]
        kinds = ("done", "skipped", "failed")
        stages = [
            (name, *(found[kind] or "" for kind in kinds), float(busy[name]))
            for name, found in by_stage.items()
        ]
        failed = [r for r in self.rows if r["status"] == "failed"]
        columns = ("source", "roi", "stage", "message")
        about: list[tuple[str, Any]] = [
            ("results", self.folder),
            ("time taken", f"{self.seconds:.1f} s, {sum(busy.values()):.1f} s of work"),
            ("retried", self.retried or None),
            (
                "translocations left out",
                f"{self.discarded:,}, shorter than the precision" if self.discarded else None,
            ),
        ]
        first = sorted(self.rows, key=lambda r: r["status"] != "failed")[:FIRST]
        units = [[row[name] for name in COLUMNS] for row in first]
        return card(
            "Run report",
            counts(
                done=("done", status["done"]),
                left=("done before", status["skipped"]),
                failed=("failed", status["failed"]),
            )
            or badge("note", "nothing to do"),
            rows(about),
            html_table(("stage", *kinds, "seconds of work"), stages),
            html_table(columns, [[r[c] for c in columns] for r in failed[:FIRST]], total=len(failed)),
            items([*told_units(self.units_of_data), *self.warnings]),
            folded("units", html_table(COLUMNS, units, total=len(self.rows))),
        )
