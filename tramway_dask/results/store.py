"""The results folder: parquet tables that together are the analysis tree.

``<sampling label>/cells/<source>.parquet``, ``<sampling label>/assignment/…`` and
``<sampling label>/<map label>/…`` hold the rows of all regions of a source, with
what is not tabular in the file's metadata. While a run goes on, each finished
unit is one file in ``.parts``; a source's parts are merged into its tables when
the last one is there. ``.units`` keeps, per source, which units are done and
under which key; it is written last, so what it lists is in the tables.
"""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..cards import badge, card, guarded
from ..cards import table as html_table
from ..errors import StoreError, suggest
from .files import from_filename, read_json, to_filename, write_atomically, write_json
from .payload import Payload, Record

__all__ = ["FORMAT", "UNLABELLED", "Store", "concatenate", "with_groups"]

FORMAT = 1
METADATA = b"tramway_dask"
# folder of samplings that are labelled after their region
UNLABELLED = "segmentation"
RESERVED = ("cells", "assignment")
MERGE_AT = 256


class Store:
    """Tables of a results folder.

    Parameters
    ----------
    folder : path
        Made at the first writing.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._guard = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["folder"])  # type: ignore[misc]

    def __repr__(self) -> str:
        return f"Store({str(self.folder)!r})"

    @guarded
    def _repr_html_(self) -> str:
        lines = [(sampling, ", ".join(maps)) for sampling, maps in self.labels().items()]
        told = html_table(("sampling", "maps"), lines)
        return card("Results", told or badge("left", "nothing yet"), about=self.folder)

    def check_format(self) -> None:
        """Refuse a folder that a newer version has written.

        Raises
        ------
        StoreError
            If the folder's format is not known.
        """
        run = read_json(self.folder / "run.json") or {}
        if run.get("format", FORMAT) > FORMAT:
            raise StoreError(
                f"{self.folder} was written by a newer version (format {run['format']}, known here: {FORMAT}); "
                "update tramway_dask"
            )

    def _target(self, label: str, kind: str, source: str) -> Path:
        return self.folder / to_filename(label) / to_filename(kind) / f"{to_filename(source)}.parquet"

    def _part_folder(self, source: str) -> Path:
        return self.folder / ".parts" / to_filename(source)

    def _ledger(self, source: str) -> Path:
        return self.folder / ".units" / f"{to_filename(source)}.json"

    def write_part(self, source: str, key: str, payload: bytes) -> None:
        """Keep the payload of a finished unit.

        A damaged part is recognised by its checksums and made again, so that the disk need not be
        waited for.
        """
        write_atomically(self._part_folder(source) / f"{key}.zip", payload, durable=False)

    def parts(self, source: str) -> Iterator[tuple[Path, Payload]]:
        """Iterate over the parts of a source that are not merged yet; damaged ones are dropped."""
        folder = self._part_folder(source)
        if not folder.is_dir():
            return
        for path in sorted(folder.glob("*.zip")):
            try:
                yield path, Payload.from_bytes(path.read_bytes(), str(path))
            except StoreError:
                path.unlink(missing_ok=True)

    def part(self, source: str, key: str) -> Payload | None:
        """Return a finished unit that is not merged yet; None if it is, or is damaged."""
        path = self._part_folder(source) / f"{key}.zip"
        try:
            return Payload.from_bytes(path.read_bytes(), str(path))
        except (FileNotFoundError, StoreError):
            return None

    def pending(self) -> list[str]:
        """Return the sources that have parts."""
        folder = self.folder / ".parts"
        return sorted(from_filename(p.name) for p in folder.iterdir()) if folder.is_dir() else []

    def merge(self, source: str) -> None:
        """Merge the parts of a source into its tables, then note its units as done."""
        with self._guard:
            parts = list(self.parts(source))
            if not parts:
                return
            self.add(source, [payload for _, payload in parts])
            for path, _ in parts:
                path.unlink(missing_ok=True)
            try:
                self._part_folder(source).rmdir()
                (self.folder / ".parts").rmdir()
            except OSError:
                pass  # other parts have arrived

    def add(self, source: str, payloads: Iterable[Payload]) -> None:
        """Put payloads into the tables of a source; what they replace goes."""
        with self._guard:
            payloads = list(payloads)
            new: dict[tuple[str, str], dict[str, Record]] = {}
            for payload in payloads:
                for record in payload.records:
                    for kind in record.tables:
                        name = kind if record.map_label is None else record.map_label
                        if record.map_label in RESERVED:
                            raise StoreError(
                                f"maps cannot be labelled {record.map_label!r}: the name is taken"
                            )
                        new.setdefault((record.label, name), {})[record.roi] = record
            ledger = self.units(source)
            for output in self._outdated(source, ledger, payloads):
                self._drop(source, *output)
            for (label, name), records in new.items():
                self._merge_table(label, name, source, records)
            for payload in payloads:
                unit = dict(payload.unit)
                ledger[unit["id"]] = unit
            write_json(self._ledger(source), ledger)

    def _outdated(
        self, source: str, ledger: Mapping[str, Any], payloads: list[Payload]
    ) -> Iterator[tuple[str, str | None, str]]:
        """Yield what new payloads take away: what they deleted, and maps of a sampling that changes."""
        known = {tuple(o[:3]): o[3] for unit in ledger.values() for o in unit.get("outputs", ())}
        for payload in payloads:
            for output in payload.unit.get("removed", ()):
                yield tuple(output)
            for label, map_label, roi, key in payload.unit.get("outputs", ()):
                if map_label is None and known.get((label, None, roi), key) != key:
                    for other in self.labels().get(label, ()):
                        yield label, other, roi

    def _drop(self, source: str, label: str, map_label: str | None, roi: str) -> None:
        for name in RESERVED if map_label is None else (map_label,):
            path = self._target(label, name, source)
            if roi not in self.regions(label, name, source):
                continue
            old = self._read(path)
            attrs = {r: a for r, a in _attrs_of(old).items() if r != roi}
            if attrs:
                self._write(path, source, old.filter(pc.not_equal(old["roi"], roi)), attrs)
            else:
                path.unlink()

    def _merge_table(self, label: str, name: str, source: str, records: Mapping[str, Record]) -> None:
        path = self._target(label, name, source)
        tables, attrs = {}, {}
        if path.exists():
            old = self._read(path)
            attrs = _attrs_of(old)
            for roi in attrs:
                if roi not in records:
                    tables[roi] = old.filter(pc.equal(old["roi"], roi))
        for roi, record in records.items():
            table = record.tables["maps" if record.map_label is not None else name]
            tables[roi] = _with_keys(table, source, roi)
            attrs[roi] = dict(record.attrs)
        merged = concatenate([tables[roi] for roi in sorted(tables)])
        self._write(path, source, merged, attrs)

    def _write(self, path: Path, source: str, merged: pa.Table, attrs: Mapping[str, Any]) -> None:
        meta = {"format": FORMAT, "source": source, "regions": {roi: attrs[roi] for roi in sorted(attrs)}}
        merged = merged.replace_schema_metadata({METADATA: json.dumps(meta).encode()})
        sink = io.BytesIO()
        pq.write_table(merged, sink, compression="zstd")
        write_atomically(path, sink.getvalue())

    def _read(self, path: Path) -> pa.Table:
        try:
            # the file alone, not as one of a data set: folder names are labels, not columns
            return pq.ParquetFile(path).read()
        except (OSError, pa.ArrowInvalid) as error:
            raise StoreError(f"cannot read {path}: {error}") from error

    def units(self, source: str) -> dict[str, dict[str, Any]]:
        """Return what is known of the finished units of a source, by unit id."""
        return read_json(self._ledger(source)) or {}

    def regions(self, label: str, name: str, source: str) -> dict[str, dict[str, Any]]:
        """Return the attributes of every region that a table holds, from its metadata alone."""
        path = self._target(label, name, source)
        if not path.exists():
            return {}
        try:
            return _attrs_of(pq.read_schema(path))
        except (OSError, pa.ArrowInvalid) as error:
            raise StoreError(f"cannot read {path}: {error}") from error

    def has(self, label: str, map_label: str | None, roi: str, source: str) -> bool:
        """Tell whether a sampling or maps of a region are in the tables."""
        names = RESERVED if map_label is None else (map_label,)
        return all(roi in self.regions(label, name, source) for name in names)

    def record(self, label: str, map_label: str | None, roi: str, source: str) -> Record:
        """Read one artefact of one region."""
        tables: dict[str, pa.Table] = {}
        attrs: dict[str, Any] = {}
        for name in RESERVED if map_label is None else (map_label,):
            path = self._target(label, name, source)
            if not path.exists():
                raise StoreError(f"{self.folder} has no {label!r}/{name!r} of source {source!r}")
            table = pq.read_table(path, filters=[("roi", "=", roi)], partitioning=None)
            attrs = self.regions(label, name, source).get(roi) or {}
            tables[name if map_label is None else "maps"] = table
        return Record(label, map_label, roi, tables, attrs)

    def rows(
        self, label: str, name: str, source: str, regions: Collection[str] | None = None
    ) -> pa.Table | None:
        """Read the rows of some regions of a source, or of all; None if there is no table."""
        path = self._target(label, name, source)
        if not path.exists():
            return None
        table = self._read(path)
        if regions is None:
            return table
        return table.filter(pc.is_in(table["roi"], pa.array(sorted(regions), pa.string())))

    def labels(self) -> dict[str, list[str]]:
        """Return the map labels under each sampling label."""
        found: dict[str, list[str]] = {}
        if not self.folder.is_dir():
            return found
        for sampling in sorted(self.folder.iterdir()):
            if sampling.is_dir() and not sampling.name.startswith("."):
                names = sorted(p.name for p in sampling.iterdir() if any(p.glob("*.parquet")))
                if "cells" in names:
                    found[from_filename(sampling.name)] = [
                        from_filename(n) for n in names if n not in RESERVED
                    ]
        return found

    def sources(self, label: str, name: str) -> list[str]:
        """Return the sources that have a table."""
        folder = self.folder / to_filename(label) / to_filename(name)
        return sorted(from_filename(p.stem) for p in folder.glob("*.parquet")) if folder.is_dir() else []

    def files(self, label: str, name: str) -> list[Path]:
        """Return the table files of all sources."""
        folder = self.folder / to_filename(label) / to_filename(name)
        return sorted(p for p in folder.glob("*.parquet")) if folder.is_dir() else []

    def samplings_of(self, map_label: str) -> list[str]:
        """Return the sampling labels under which maps of a given label are.

        Raises
        ------
        StoreError
            If there are none; the message lists the labels that exist.
        """
        labels = self.labels()
        found = [sampling for sampling, maps in labels.items() if map_label in maps]
        if not found:
            known = {m for maps in labels.values() for m in maps}
            raise StoreError(f"{self.folder} has no maps labelled {map_label!r}; {suggest(map_label, known)}")
        return found

    def table(self, label: str, name: str, source: str | None = None) -> pa.Table:
        """Read one table of all sources, or of one."""
        paths = self.files(label, name) if source is None else [self._target(label, name, source)]
        return concatenate([self._read(path).replace_schema_metadata(None) for path in paths])

    def read_run(self) -> dict[str, Any]:
        """Return the record of runs."""
        return read_json(self.folder / "run.json") or {"format": FORMAT, "runs": [], "sources": {}}

    def write_run(self, record: Mapping[str, Any]) -> None:
        """Write the record of runs."""
        write_json(self.folder / "run.json", record)

    def read_failures(self) -> pa.Table | None:
        """Return the table of failed units; None if nothing failed."""
        path = self.folder / "failures.parquet"
        return self._read(path) if path.exists() else None

    def write_failures(self, rows: list[dict[str, Any]]) -> None:
        """Replace the table of failed units; without rows there is no file."""
        path = self.folder / "failures.parquet"
        if not rows:
            path.unlink(missing_ok=True)
            return
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), sink)
        write_atomically(path, sink.getvalue())


def concatenate(tables: Sequence[pa.Table]) -> pa.Table:
    """Stack tables; a column of types that do not go together becomes one of numbers, else of text."""
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        pass
    kinds: dict[str, set[pa.DataType]] = {}
    for field in (f for table in tables for f in table.schema):
        kinds.setdefault(field.name, set()).add(field.type)
    common = {}
    for name, types in kinds.items():
        types.discard(pa.null())
        if len(types) > 1 and not all(map(pa.types.is_nested, types)):
            common[name] = pa.float64() if all(map(_is_number, types)) else pa.string()
    changed = []
    for table in tables:
        fields = [f.with_type(common.get(f.name, f.type)) for f in table.schema]
        changed.append(table.cast(pa.schema(fields)))
    return pa.concat_tables(changed, promote_options="permissive")


def with_groups(table: pd.DataFrame, groups: Mapping[str, Mapping[str, str | None]]) -> pd.DataFrame:
    """Return a table with the condition and replicate of each source behind it, where any has one.

    Parameters
    ----------
    table : DataFrame
        With a column ``source``.
    groups : mapping of source to mapping
        Of ``condition`` and ``replicate``.
    """
    at = list(table.columns).index("source") + 1
    for name in ("replicate", "condition"):
        values = {source: known.get(name) for source, known in groups.items()}
        found = table["source"].map(values)
        if found.notna().any():
            table.insert(at, name, found.astype(object).where(found.notna(), None))
    return table


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _with_keys(table: pa.Table, source: str, roi: str) -> pa.Table:
    for i, (name, value) in enumerate((("source", source), ("roi", roi))):
        column = pa.repeat(pa.scalar(value), len(table))
        if name in table.column_names:
            table = table.drop_columns([name])
        table = table.add_column(i, name, column)
    return table.replace_schema_metadata(None)


def _attrs_of(holder: pa.Table | pa.Schema) -> dict[str, dict[str, Any]]:
    metadata = (holder.schema if isinstance(holder, pa.Table) else holder).metadata or {}
    try:
        return json.loads(metadata[METADATA])["regions"]
    except (KeyError, ValueError):
        raise StoreError(
            "a table of the results folder lacks its metadata: it was not written by tramway_dask"
        ) from None
