"""Results that travel: the tables of some sources in one archive, and results folders merged."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..errors import LabelConflictError, StoreError
from .files import from_filename, locked, to_filename
from .payload import Payload, Record
from .store import RESERVED, Store

__all__ = ["has_unit", "merge", "pack", "unpack"]


def pack(store: Store, sources: Sequence[str], path: Path) -> bool:
    """Write the tables and the ledgers of some sources to an archive.

    Returns
    -------
    bool
        False if there is nothing to write.
    """
    folder = store.folder
    names = [to_filename(source) for source in sources]
    files = [folder / ".units" / f"{name}.json" for name in names]
    files += [
        table.parent / f"{name}.parquet"
        for table in sorted({p.parent / "x" for p in folder.glob("*/*/*.parquet")})
        for name in names
    ]
    files = [file for file in files if file.is_file()]
    if not files:
        return False
    with tarfile.open(path, "w") as archive:
        for file in files:
            archive.add(file, arcname=file.relative_to(folder).as_posix(), recursive=False)
    return True


def unpack(path: Path, folder: Path) -> None:
    """Unpack an archive of results; what is no plain file or folder, or would lie elsewhere, is refused.

    Raises
    ------
    StoreError
        If it is damaged.
    """
    try:
        with tarfile.open(path) as archive:
            archive.extractall(folder, filter="data")
    except (tarfile.TarError, OSError) as error:
        raise StoreError(f"{path} cannot be unpacked: {error}") from error


def merge(store: Store, other: Store, *, overwrite: bool = False) -> int:
    """Put what another results folder holds into a results folder, failures as well.

    Parameters
    ----------
    store : Store
        Destination.
    other : Store
        The other one; what an interrupted run has left in it is put into its tables first.
    overwrite : bool
        Replace results that were made with other parameters under the same labels.

    Returns
    -------
    int
        Number of units that were new here.

    Raises
    ------
    LabelConflictError
        If a label holds results made with other parameters, unless `overwrite`; nothing is changed.
    StoreError
        If a results folder cannot be read or written.
    """
    other.check_format()
    for source in other.pending():
        other.merge(source)
    with locked(store.folder):
        store.check_format()
        for source in store.pending():
            store.merge(source)
        new = {source: _new_units(store, other, source) for source in _sources(other)}
        if not overwrite:
            _check_conflicts(store, new)
        for source, units in new.items():
            if units:
                store.add(source, _payloads(other, source, units))
        _merge_failures(store, other, new)
        _merge_runs(store, other)
    return sum(map(len, new.values()))


def _sources(store: Store) -> list[str]:
    folder = store.folder / ".units"
    return sorted(from_filename(p.stem) for p in folder.glob("*.json")) if folder.is_dir() else []


def _new_units(store: Store, other: Store, source: str) -> list[dict[str, Any]]:
    known = store.units(source)
    new = []
    for name, unit in other.units(source).items():
        same = known.get(name)
        if same is None or same.get("key") != unit.get("key") or not has_unit(store, source, unit):
            new.append(unit)
    return new


def has_unit(store: Store, source: str, unit: dict[str, Any]) -> bool:
    """Tell whether the tables hold what a finished unit has made."""
    return all(store.has(label, maps, roi, source) for label, maps, roi, _ in unit.get("outputs", ()))


def _check_conflicts(store: Store, new: dict[str, list[dict[str, Any]]]) -> None:
    conflicts = []
    for source, units in new.items():
        held = {tuple(o[:3]): o[3] for u in store.units(source).values() for o in u.get("outputs", ())}
        for unit in units:
            for output in unit.get("outputs", ()):
                if held.get(tuple(output[:3]), output[3]) != output[3]:
                    conflicts.append(
                        f"{'/'.join(str(p) for p in output[:2] if p)} of {source!r}, region {output[2]!r}"
                    )
    if conflicts:
        raise LabelConflictError(
            f"{len(conflicts)} results in {store.folder} were made with other parameters meanwhile, such as "
            f"{conflicts[0]}; fetch into another results folder, or with overwrite=True to replace them"
        )


def _payloads(other: Store, source: str, units: Sequence[dict[str, Any]]) -> Iterator[Payload]:
    tables: dict[tuple[str, str], dict[str, pa.Table]] = {}

    def table_of(label: str, name: str, roi: str) -> pa.Table:
        if (label, name) not in tables:
            tables[label, name] = _by_region(other.table(label, name, source))
        whole = tables[label, name]
        return whole[roi] if roi in whole else whole[""]

    for unit in units:
        records = []
        for label, maps, roi, _ in unit.get("outputs", ()):
            names = RESERVED if maps is None else (maps,)
            attrs = other.regions(label, names[0], source)
            if any(roi not in other.regions(label, name, source) for name in names):
                continue  # a later unit has taken it away
            found = {n if maps is None else "maps": table_of(label, n, roi) for n in names}
            records.append(Record(label, maps, roi, found, attrs[roi]))
        yield Payload(unit, records)


def _by_region(table: pa.Table) -> dict[str, pa.Table]:
    """Return the rows of each region; those of a region without rows under an empty name."""
    indices = table["roi"].to_pandas().groupby(table["roi"].to_pandas()).indices
    found = {str(roi): table.take(rows) for roi, rows in indices.items()}
    found.setdefault("", table.slice(0, 0))
    return found


def _merge_failures(store: Store, other: Store, new: dict[str, list[dict[str, Any]]]) -> None:
    def rows(of: Store) -> dict[tuple[str, str], dict[str, Any]]:
        table = of.read_failures()
        return {} if table is None else {(r["source"], r["unit"]): r for r in table.to_pylist()}

    here, there = rows(store), rows(other)
    merged = {**here, **there}
    for source, units in new.items():
        for unit in units:
            if (source, unit["id"]) not in there:
                merged.pop((source, unit["id"]), None)
    for source in {source for source, _ in merged}:
        done = store.units(source)
        for key in [k for k in merged if k[0] == source and k not in there]:
            if key[1] in done:
                del merged[key]
    if merged != here:
        store.write_failures(list(merged.values()))


def _merge_runs(store: Store, other: Store) -> None:
    """Add the records of the other folder's runs."""
    record, added = store.read_run(), other.read_run()
    known = [(r.get("start"), r.get("host")) for r in record.get("runs", [])]
    fresh = []
    for run in added.get("runs", []):
        key = (run.get("start"), run.get("host"))
        if key in known:
            record["runs"][known.index(key)] = run
        else:
            fresh.append(run)
    record.setdefault("runs", []).extend(fresh)
    sources = record.setdefault("sources", {})
    for name, about in added.get("sources", {}).items():
        sources.setdefault(name, about)
    record.setdefault("format", added.get("format"))
    store.write_run(record)
