"""The sections of a report that are made of text and tables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from .contents import STATUSES, Contents, records_of, rows_of
from .markup import Markup, details, element, joined, table
from .methods import methods
from .parameters import parameter_tables

__all__ = [
    "duration",
    "facts",
    "failures_section",
    "files_section",
    "methods_section",
    "parameters_section",
    "runs_section",
    "units_section",
    "wall_time",
]

# rows of units, failures and messages that a page shows at most
MOST_UNITS = 4000
MOST_SQUARES = 400
MOST_FAILURES = 100
MOST_PLACES = 60
SLOWEST = 10


def duration(seconds: float | None) -> str:
    """Return a duration as text."""
    if seconds is None or not np.isfinite(seconds):
        return "–"
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def size(number: float | None) -> str:
    """Return a number of bytes as text."""
    if number is None:
        return "–"
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000 or unit == "GB":
            break
        number /= 1000
    return f"{number:.3g} {unit}"


def wall_time(run: Mapping[str, Any]) -> float | None:
    """Return how long a run took, s; None if it has not ended or does not tell."""
    try:
        return (datetime.fromisoformat(run["end"]) - datetime.fromisoformat(run["start"])).total_seconds()
    except (KeyError, TypeError, ValueError):
        return None


def facts(contents: Contents) -> Markup:
    """Return the numbers that one wants to see first."""
    counts = contents.counts()
    told = {
        "files": f"{len(contents.sources):,}",
        "regions": f"{contents.units[['source', 'roi']].drop_duplicates().shape[0]:,}",
        "translocations": f"{sum(n for of in contents.translocations.values() for n in of.values()):,}",
        "units done": f"{counts['done'] + counts['skipped'] + counts['flagged']:,}",
        "not converged": f"{counts['flagged']:,}",
        "failed": f"{counts['failed']:,}",
        "not done": f"{counts['missing']:,}",
        "last run": duration(wall_time(contents.last)) if contents.last.get("end") else "no end",
    }
    return element(
        "dl", *(element("div", element("dt", k), element("dd", v)) for k, v in told.items()), class_="facts"
    )


def _mark(status: str) -> Markup:
    mark, meaning = STATUSES[status]
    return element("span", mark, class_=f"s {status}", title=meaning, aria_hidden="true")


def _key() -> Markup:
    items = (element("li", _mark(s), f" {meaning}") for s, (_, meaning) in STATUSES.items())
    return element("ul", *items, class_="key")


def files_section(contents: Contents) -> Markup:
    """Return the table of inputs, and of what became of their regions."""
    if not contents.sources:
        return element("p", "No file is recorded.")
    by_source = dict(list(contents.units.groupby("source", sort=False)))
    grouped = any(contents.group(s, "condition") for s in contents.sources)
    header = ["File", *(["Condition", "Replicate"] if grouped else []), "Read as", "Size", "Translocations"]
    header += ["Regions", "Status of the regions", "Work"]
    rows = []
    for name, about in contents.sources.items():
        units = by_source.get(name, contents.units.iloc[:0])
        path = about.get("path")
        first = (
            joined([element("b", name), element("br"), element("span", path, class_="aside")])
            if path
            else name
        )
        of = contents.translocations.get(name, {})
        regions = units["roi"].nunique()
        read = about.get("read_as") or ("table in memory" if path is None else about.get("reader") or "–")
        rows.append(
            [
                first,
                *(
                    [contents.group(name, "condition") or "–", contents.group(name, "replicate") or "–"]
                    * grouped
                ),
                read,
                size(about.get("bytes")),
                f"{sum(of.values()):,}" if of else "–",
                f"{regions:,}",
                _grid(units),
                duration(units["seconds"].sum(min_count=1)),
            ]
        )
    shift = 2 * grouped
    made = table(
        "Files and their regions", header, rows, numbers=[2 + shift, 3 + shift, 4 + shift, 6 + shift]
    )
    return joined([_key(), made])


def _grid(units: pd.DataFrame) -> Markup:
    """Return one square per unit, and in words how many have which status.

    Where there are too many, those that are done have none.
    """
    counts = units["status"].value_counts()
    words = ", ".join(f"{counts[s]} {STATUSES[s][1]}" for s in STATUSES if s in counts) or "nothing to do"
    some = units if len(units) <= MOST_SQUARES else units[~units["status"].isin(["done", "skipped"])]
    shown = some.head(MOST_SQUARES)
    squares = [
        element(
            "span",
            STATUSES[u.status][0],
            class_=f"s {u.status}",
            title=f"{u.roi or 'whole file'}: {u.status}",
        )
        for u in rows_of(shown)
    ]
    grid = element("span", *squares, class_="grid", aria_hidden="true") if squares else None
    return joined([grid, element("span", words, class_="aside")])


def units_section(contents: Contents) -> Markup:
    """Return one table per file: region, stage, status, time."""
    parts = []
    left = MOST_UNITS
    header = ["Region", "Stage", "Status", "Time", "Cells", "Translocations", "Process", "Note"]
    for name, units in [(str(n), of) for n, of in contents.units.groupby("source", sort=False)]:
        if left <= 0:
            break
        of = contents.translocations.get(name, {})
        rows = [
            [
                u.roi or "whole file",
                f"{u.stage} ({u.made})" if u.made else u.stage or "–",
                joined([_mark(u.status), f" {STATUSES[u.status][1]}"]),
                duration(u.seconds),
                f"{u.cells:,}" if u.cells else "–",
                f"{of[u.roi]:,}" if u.roi in of else "–",
                u.host or "–",
                u.note if len(u.note) < 300 else f"{u.note[:299]}…",
            ]
            for u in rows_of(units.head(left))
        ]
        left -= len(rows)
        shown = table(f"Regions of {name or 'the whole dataset'}", header, rows, numbers=[3, 4, 5])
        parts.append(
            details(
                joined([f"{name or 'whole dataset'} ", element("span", _many(len(units)), class_="aside")]),
                shown,
            )
        )
    omitted = len(contents.units) - (MOST_UNITS - left)
    if omitted > 0:
        told = f"{omitted:,} more units are not listed here; the tables of the results folder have them all."
        parts.append(element("p", told, class_="note"))
    return joined(parts) if parts else element("p", "No unit of work is recorded.")


def _many(units: int) -> str:
    return f"{units:,} unit{'' if units == 1 else 's'}"


def failures_section(contents: Contents) -> Markup:
    """Return the failures, those with the same cause together, with their tracebacks."""
    if contents.failures.empty:
        return element("p", "Nothing failed.")
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in records_of(contents.failures):
        groups.setdefault(_cause(row), []).append(row)
    parts = [_failure(i, rows) for i, rows in enumerate(list(groups.values())[:MOST_FAILURES])]
    omitted = len(groups) - MOST_FAILURES
    if omitted > 0:
        told = f"{omitted:,} more causes are not shown; see failures.parquet in the results folder."
        parts.append(element("p", told, class_="note"))
    return joined(parts)


def _cause(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what failures have in common that happened at the same place of the program."""
    lines = re.findall(r'File "(.*?)", line (\d+)', str(row.get("traceback") or ""))
    message = "" if lines else str(row.get("message"))
    return str(row.get("stage")), str(row.get("error")), message, repr(lines)


def _failure(number: int, rows: list[dict[str, Any]]) -> Markup:
    first = rows[0]
    many = len(rows) > 1
    place = _many(len(rows)) if many else _place(first)
    summary = joined(
        [
            element("b", place),
            f" ({first.get('stage')}): ",
            element("b", str(first.get("error"))),
            f": {'for example ' * many}{_first_line(first.get('message'))}",
        ]
    )
    listed = None
    if many:
        shown = [element("li", f"{_place(r)}: {_first_line(r.get('message'))}") for r in rows[:MOST_PLACES]]
        if len(rows) > MOST_PLACES:
            shown.append(element("li", f"… and {len(rows) - MOST_PLACES} more"))
        listed = element("ul", *shown)
    where = " ".join(
        filter(None, [f"on {first['host']}" if first.get("host") else "", _when(first.get("time"))])
    )
    head = element("p", f"Traceback of {_place(first)} {where}".strip(), class_="note")
    traceback = element("pre", str(first.get("traceback") or first.get("message") or ""), tabindex="0")
    return details(summary, listed, head, traceback, id=f"failure-{number + 1}")


def _place(row: Mapping[str, Any]) -> str:
    return (
        " · ".join(filter(None, [str(row.get("source") or ""), str(row.get("roi") or "")]))
        or "the whole dataset"
    )


def _first_line(message: Any) -> str:
    line = str(message or "").strip().partition("\n")[0]
    return line if len(line) <= 300 else f"{line[:299]}…"


def _when(value: Any) -> str:
    return f"at {value:%Y-%m-%d %H:%M:%S} UTC" if isinstance(value, datetime) and pd.notna(value) else ""


def parameters_section(contents: Contents) -> Markup:
    """Return the parameters of each stage, as tables."""
    if not contents.parameters:
        return element("p", "No unit is done yet: no parameters are recorded.")
    parts = []
    for (stage, made), variants in contents.parameters.items():
        parts.append(
            element("h3", stage or "stage", element("span", f" {made}", class_="aside") if made else None)
        )
        for i, (count, parameters) in enumerate(variants):
            if len(variants) > 1:
                parts.append(
                    element("p", f"{'Parameters' if not i else 'Other parameters'} of {_many(count)}:")
                )
            inner = [
                table(title, ["Parameter", "Value"], rows) for title, rows in parameter_tables(parameters)
            ]
            parts.append(element("div", *inner, class_="parts"))
    return joined(parts)


def methods_section(contents: Contents) -> Markup:
    """Return the paragraph for a paper, and what it cites."""
    text, works = methods(contents)
    items = []
    for work, doi in works:
        link = element("a", f"doi:{doi}", href=f"https://doi.org/{doi}") if doi else None
        items.append(element("li", work, " " if link else None, link))
    return joined(
        [
            element("p", "Made from the parameters that were used. Check it, and shorten it."),
            element("blockquote", text, id="methods-text"),
            element("h3", "References"),
            element("ol", *items),
        ]
    )


def runs_section(contents: Contents) -> Markup:
    """Return when and where runs were made, with which versions, and where time went."""
    return joined([*_runs(contents), *_work(contents), *_versions(contents)])


def _runs(contents: Contents) -> Iterator[Markup]:
    rows = []
    for run in contents.runs:
        units = run.get("units") or {}
        env = (run.get("specification") or {}).get("env")
        rows.append(
            [
                run.get("start") or "–",
                duration(wall_time(run)),
                *(str(units.get(k, "–")) for k in ("done", "skipped", "failed")),
                run.get("host") or "–",
                "this process" if env in (None, "None") else env,
                run.get("stopped_by") or ("" if run.get("end") else "no end is recorded"),
            ]
        )
    if rows:
        header = [
            "Start (UTC)",
            "Duration",
            "Done",
            "Done before",
            "Failed",
            "Host",
            "Environment",
            "Stopped by",
        ]
        yield table("Runs", header, rows[-50:], numbers=[1, 2, 3, 4])


def _work(contents: Contents) -> Iterator[Markup]:
    timed = contents.units[contents.units["seconds"].notna()]
    if timed.empty:
        return
    rows = []
    for stage, units in timed.groupby("stage", sort=False):
        seconds = units["seconds"]
        rows.append([stage, len(units), *map(duration, (seconds.sum(), seconds.median(), seconds.max()))])
    yield table("Work by stage", ["Stage", "Units", "Sum", "Median", "Longest"], rows, numbers=[1, 2, 3, 4])
    slow = timed.nlargest(SLOWEST, "seconds")
    rows = [
        [f"{u.source} · {u.roi or 'whole file'}", u.stage, duration(u.seconds), u.host] for u in rows_of(slow)
    ]
    yield table("Longest units", ["Unit", "Stage", "Time", "Process"], rows, numbers=[2])


def _versions(contents: Contents) -> Iterator[Markup]:
    known: dict[str, list[str]] = {}
    for run in contents.runs:
        for name, version in {"Python": run.get("python"), **(run.get("versions") or {})}.items():
            if version and version not in known.setdefault(name, []):
                known[name].append(str(version))
    if known:
        rows = [[name, ", then ".join(versions)] for name, versions in known.items()]
        yield table("Versions", ["Package", "Version"], rows)
