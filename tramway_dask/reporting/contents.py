"""What a results folder tells of its runs: nothing else is needed for a report."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..errors import StoreError
from ..results.files import from_filename
from ..results.store import Store

__all__ = ["STATUSES", "Contents", "LabelledMaps", "read_contents", "records_of", "rows_of"]

# status of a unit: mark, and what it means
STATUSES = {
    "done": ("✓", "done"),
    "skipped": ("=", "done by an earlier run"),
    "flagged": ("!", "done, not converged"),
    "failed": ("✗", "failed"),
    "missing": ("·", "not done"),
}
COLUMNS = ("source", "roi", "stage", "status", "seconds", "host", "cells", "note", "made", "key")


@dataclass(frozen=True)
class LabelledMaps:
    """Maps of one label and one sampling: attributes of the maps by source and region."""

    sampling: str
    label: str
    attrs: Mapping[str, Mapping[str, Mapping[str, Any]]]

    @property
    def sources(self) -> list[str]:
        """The sources that have such maps."""
        return list(self.attrs)

    def of_maps(self, name: str) -> list[Any]:
        """Return an attribute of all maps that have it."""
        found = (a.get("attrs", {}).get(name, a.get(name)) for of in self.attrs.values() for a in of.values())
        return [value for value in found if value is not None]


@dataclass(frozen=True)
class Contents:
    """What a report is made of.

    Attributes
    ----------
    store : Store
    runs : list of dict
        As in ``run.json``, the oldest first.
    sources : dict
        What is recorded of each source.
    units : DataFrame
        One row per stage, source and region: status, seconds, host, cells, note, the labels that it
        made, and the key of its parameters.
    parameters : dict
        Of each stage and what it made: how many units have which parameters.
    failures : DataFrame
        As ``failures.parquet``.
    maps : list of LabelledMaps
    translocations : dict
        By source and region: how many there were.
    discarded : int
        Translocations left out as shorter than the localization precision.
    notes : list of str
        What could not be read.
    """

    store: Store
    runs: list[dict[str, Any]]
    sources: dict[str, dict[str, Any]]
    units: pd.DataFrame
    parameters: dict[tuple[str, str], list[tuple[int, dict[str, Any]]]]
    failures: pd.DataFrame
    maps: list[LabelledMaps]
    translocations: dict[str, dict[str, int]]
    discarded: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def last(self) -> dict[str, Any]:
        """The record of the last run; empty if there is none."""
        return self.runs[-1] if self.runs else {}

    def group(self, source: str, name: str) -> str | None:
        """Return the condition or the replicate of a source."""
        return self.sources.get(source, {}).get(name)

    def counts(self) -> dict[str, int]:
        """Return how many units have each status."""
        found = Counter(self.units["status"])
        return {status: found.get(status, 0) for status in STATUSES}


def read_contents(store: Store) -> Contents:
    """Read what a results folder tells.

    Raises
    ------
    StoreError
        If there is no such folder, it is no results folder, or it was written by a newer version.
    """
    if not store.folder.is_dir():
        raise StoreError(
            f"no results folder {store.folder}; give the folder that `tramway-dask run` has named"
        )
    store.check_format()
    record = store.read_run()
    ledgers = {from_filename(p.stem): p for p in sorted((store.folder / ".units").glob("*.json"))}
    labels = store.labels()
    if not record.get("runs") and not ledgers and not labels:
        raise StoreError(
            f"{store.folder} is no results folder: it has neither run.json nor tables; give the folder that "
            "`tramway-dask run` has named"
        )
    notes: list[str] = []
    if not record.get("runs"):
        notes.append(
            "The folder has no record of runs (run.json): parameters, versions and inputs are told by what else "
            "is there."
        )
    if store.pending():
        notes.append(
            "Some results are not in the tables yet, and not in this report: a run is going on, or was cut off (then "
            "run it again: only what is missing is done)."
        )
    failed = store.read_failures()
    failures = pd.DataFrame(columns=["stage", "source", "roi"]) if failed is None else failed.to_pandas()
    maps, cells, translocations, discarded = _read_tables(store, labels, notes)
    sources = dict(record.get("sources") or {})
    for name in [*ledgers, *failures["source"], *translocations]:
        if name:
            sources.setdefault(name, {})
    held = {name: store.units(name) for name in ledgers}
    began = (record.get("runs") or [{}])[-1].get("start") or ""
    units = pd.DataFrame(
        [*_units(held, failures, sources, maps, cells, began), *_missing(held, failures, sources)],
        columns=list(COLUMNS),
    )
    order = {name: i for i, name in enumerate(sources)}
    places = [(order.get(u.source, -1), _natural(u.roi)) for u in rows_of(units)]
    units = units.iloc[sorted(range(len(units)), key=places.__getitem__)].reset_index(drop=True)
    if len(units) and units.loc[units["status"].isin(["done", "flagged"]), "seconds"].isna().any():
        notes.append(
            "Some results were written by an earlier version of tramway_dask, which did not record how long units "
            "took."
        )
    return Contents(
        store,
        list(record.get("runs") or []),
        sources,
        units,
        _parameters(held),
        failures,
        maps,
        translocations,
        discarded,
        notes,
    )


def _natural(text: str) -> list[tuple[str, int]]:
    """Return what sorts roi10 behind roi9."""
    return [(letters, int(part or 0)) for letters, part in re.findall(r"(\D*)(\d*)", text)]


def rows_of(table: pd.DataFrame) -> list[Any]:
    """Return the rows of a table, by attributes."""
    return list(table.itertuples(index=False))


def records_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table, by name."""
    return [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]


def _read_tables(
    store: Store, labels: Mapping[str, list[str]], notes: list[str]
) -> tuple[list[LabelledMaps], dict[tuple[str, str, str], int], dict[str, dict[str, int]], int]:
    maps: list[LabelledMaps] = []
    cells: dict[tuple[str, str, str], int] = {}
    translocations: dict[str, dict[str, int]] = {}
    discarded = 0
    for sampling, map_labels in labels.items():
        for source in store.sources(sampling, "cells"):
            try:
                attrs = store.regions(sampling, "cells", source)
                for roi, count in _count(store, sampling, "cells", source, "cell").items():
                    cells[sampling, source, roi] = count
                there = translocations.setdefault(source, {})
                for roi, count in _translocations(store, sampling, source).items():
                    there[roi] = max(count, there.get(roi, 0))
            except StoreError as error:
                notes.append(str(error))
                continue
            discarded += sum(int(a.get("param", {}).get("discarded") or 0) for a in attrs.values())
        for label in map_labels:
            found = {}
            for source in store.sources(sampling, label):
                try:
                    found[source] = store.regions(sampling, label, source)
                except StoreError as error:
                    notes.append(str(error))
            maps.append(LabelledMaps(sampling, label, found))
    return maps, cells, translocations, discarded


def _columns(store: Store, sampling: str, name: str, source: str, columns: list[str]) -> Any:
    path = next(p for p in store.files(sampling, name) if from_filename(p.stem) == source)
    try:
        file = pq.ParquetFile(path)
        return file.read(columns=[c for c in columns if c in file.schema_arrow.names])
    except (OSError, ValueError) as error:
        raise StoreError(f"cannot read {path}: {error}") from error


def _count(store: Store, sampling: str, name: str, source: str, column: str) -> dict[str, int]:
    table = _columns(store, sampling, name, source, ["roi", column])
    if column not in table.column_names:
        return {}
    grouped = table.group_by("roi").aggregate([(column, "count")]).to_pydict()
    return dict(zip(grouped["roi"], grouped[f"{column}_count"], strict=True))


def _translocations(store: Store, sampling: str, source: str) -> dict[str, int]:
    """Return the translocations of each region, whether a cell has them or not."""
    if source not in store.sources(sampling, "assignment"):
        return {}
    table = _columns(store, sampling, "assignment", source, ["roi", "translocation", "n", "cell"])
    if "translocation" in table.column_names:  # numbered from 0 in each region
        grouped = table.group_by("roi").aggregate([("translocation", "max")]).to_pydict()
        return {r: n + 1 for r, n in zip(grouped["roi"], grouped["translocation_max"], strict=True)}
    # sums, of a file that was read in blocks
    table = table.filter(pc.greater_equal(table["cell"], 0))
    grouped = table.group_by("roi").aggregate([("n", "sum")]).to_pydict()
    return {r: int(n) for r, n in zip(grouped["roi"], grouped["n_sum"], strict=True)}


def _made(unit: Mapping[str, Any]) -> str:
    outputs = unit.get("outputs") or ()
    mapped = {o[0] for o in outputs if o[1]}
    outputs = [o for o in outputs if o[1] or o[0] not in mapped]
    return ", ".join(dict.fromkeys("/".join(str(p) for p in o[:2] if p) for o in outputs))


def _units(
    held: Mapping[str, Mapping[str, Any]],
    failures: pd.DataFrame,
    sources: Mapping[str, Any],
    maps: list[LabelledMaps],
    cells: Mapping[tuple[str, str, str], int],
    began: str,
) -> Iterator[tuple[Any, ...]]:
    attrs_of = {(m.sampling, m.label): m.attrs for m in maps}
    broken = {(f.source, f.unit) for f in rows_of(failures) if hasattr(f, "unit")}
    for source, units in held.items():
        for unit in units.values():
            if (source, unit.get("id")) in broken:
                continue
            status = "skipped" if began and unit.get("ended", began) < began else "done"
            told, count = [], 0
            for sampling, label, roi, *_ in unit.get("outputs") or ():
                count = max(count, cells.get((sampling, source, roi), 0))
                about = attrs_of.get((sampling, label), {}).get(source, {}).get(roi, {}).get("attrs", {})
                if about.get("converged") is False:
                    status = "flagged"
                    told.append(str(about.get("message") or "not converged"))
            stage, region = unit.get("stage") or "", unit.get("region") or ""
            yield (
                *(source, region, stage, status, unit.get("seconds", np.nan), unit.get("host", "")),
                *(count, "; ".join(dict.fromkeys(told)), _made(unit), unit.get("key", "")),
            )
    for row in records_of(failures):
        why = f"{row.get('error')}: {row.get('message')}"
        yield row["source"], row["roi"], row["stage"], "failed", np.nan, row.get("host"), 0, why, "", ""


def _missing(
    held: Mapping[str, Mapping[str, Any]], failures: pd.DataFrame, sources: Mapping[str, Any]
) -> Iterator[tuple[Any, ...]]:
    """Yield the regions, of those that the last run was to do, of which nothing is known."""
    known = {(s, u.get("region") or "") for s, units in held.items() for u in units.values()}
    known |= set(zip(failures["source"], failures["roi"], strict=True))
    for source, about in sources.items():
        for region in about.get("regions") or ():
            if not known & {(source, region), (source, "")}:
                yield source, region, "", "missing", np.nan, "", 0, "", "", ""


def _parameters(
    held: Mapping[str, Mapping[str, Any]],
) -> dict[tuple[str, str], list[tuple[int, dict[str, Any]]]]:
    """Return the different parameters of each stage and result, the most frequent first."""
    found: dict[tuple[str, str], dict[str, list[Any]]] = {}
    for units in held.values():
        for unit in units.values():
            about = unit.get("parameters") or {}
            kept = {k: v for k, v in about.items() if k not in _OF_A_UNIT}
            place = found.setdefault((unit.get("stage") or "", _made(unit)), {})
            place.setdefault(repr(sorted(kept.items())), [0, kept])[0] += 1
    return {
        name: sorted(((n, kept) for n, kept in variants.values()), key=lambda pair: -pair[0])
        for name, variants in found.items()
    }


_OF_A_UNIT = ("data", "regions", "sampling", "maps", "earlier", "localization_precision")
