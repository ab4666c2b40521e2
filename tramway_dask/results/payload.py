"""What one unit of work hands over: labelled tables in one self-checking block of bytes.

The same bytes are a message between Dask tasks, a part file in the results
folder, and the input of a later stage. The block is a zip archive of a JSON
header and Arrow tables: nothing in it is executed when it is read.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from ..errors import StoreError

__all__ = ["Payload", "Record"]

HEADER = "unit.json"
# what a zip archive with wrong bytes may raise
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    pa.ArrowException,
    ArithmeticError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True)
class Record:
    """Tables of one artefact of one region.

    Parameters
    ----------
    label : str
        Label of the sampling, or of the sampling that maps belong to.
    map_label : str or None
        Label of maps; None for a sampling.
    roi : str
        Region.
    tables : mapping of str to pyarrow.Table
        ``cells`` and ``assignment`` of a sampling, ``maps`` of maps.
    attrs : mapping
        Everything else, as JSON types.
    """

    label: str
    map_label: str | None
    roi: str
    tables: Mapping[str, pa.Table]
    attrs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def output(self) -> tuple[str, str | None, str]:
        """Sampling label, map label and region."""
        return self.label, self.map_label, self.roi


@dataclass(frozen=True)
class Payload:
    """Records of a unit and what is known of its making."""

    unit: Mapping[str, Any]
    records: Sequence[Record]

    def to_bytes(self) -> bytes:
        """Pack."""
        header: dict[str, Any] = {"unit": dict(self.unit), "records": []}
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            for i, record in enumerate(self.records):
                names = {}
                for kind, table in record.tables.items():
                    names[kind] = f"{i}.{kind}.arrow"
                    archive.writestr(names[kind], _to_arrow(table))
                header["records"].append(
                    {
                        "label": record.label,
                        "map_label": record.map_label,
                        "roi": record.roi,
                        "attrs": dict(record.attrs),
                        "tables": names,
                    }
                )
            archive.writestr(HEADER, json.dumps(header))
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes, where: str = "payload") -> Payload:
        """Unpack.

        Raises
        ------
        StoreError
            If the block is truncated or damaged.
        """
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                header = json.loads(archive.read(HEADER))
                records = [
                    Record(
                        label=r["label"],
                        map_label=r["map_label"],
                        roi=r["roi"],
                        attrs=r["attrs"],
                        tables={k: _from_arrow(archive.read(n)) for k, n in r["tables"].items()},
                    )
                    for r in header["records"]
                ]
        except DAMAGE as error:
            raise StoreError(f"{where} is damaged: {error}") from error
        return cls(header["unit"], records)

    def of_region(self, roi: str) -> Payload:
        """Return the records of one region only."""
        return Payload(self.unit, [r for r in self.records if r.roi == roi])


def _to_arrow(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _from_arrow(data: bytes) -> pa.Table:
    return pa.ipc.open_stream(data).read_all()
