"""Maps as the live page draws them: one time segment, outlines on a grid of 16 bits, values in single precision."""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import SpecificationError, StoreError
from ..plot.mosaic import Mosaic
from ..plot.quantities import features_of, quantity
from ..results.payload import Record
from ..results.store import Store
from .plan import PlannedUnit

__all__ = ["maps_of_units"]

MOST_CELLS = 20_000
MOST_ENTRIES = 12
GRID = 65_535
SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
CELLS = ("roi", "segment", "cell", "x", "y", "z", "n", "area", "polygon", "t min", "t max")


def maps_of_units(store: Store, units: Mapping[int, PlannedUnit], segment: int) -> dict[int, str]:
    """Return the maps of units that are done.

    Parameters
    ----------
    store : Store
    units : mapping of int to PlannedUnit
    segment : int
        Position of the time segment.

    Returns
    -------
    dict of int to str
        JSON; a list with one object for each map, or for a sampling that has no maps.
    """
    reader = _Reader(store, units)
    made = {}
    for i, unit in units.items():
        try:
            entries = list(_entries(reader, unit, segment))
        except (StoreError, SpecificationError, ValueError, KeyError) as error:
            entries = [{"name": "", "note": f"cannot be shown: {error}"}]
        made[i] = json.dumps(entries, separators=(",", ":"))
    return made


class _Reader:
    """Tables of units: from their parts, or from the tables of their source once they are merged."""

    def __init__(self, store: Store, units: Mapping[int, PlannedUnit]) -> None:
        self.store = store
        self._outputs: dict[tuple[str, str], list[tuple[str, str | None, str]]] = {}
        self._tables: dict[tuple[str, str, str], pa.Table | None] = {}
        self._rois: dict[str, set[str]] = {}
        self._held: dict[tuple[Any, ...], Record] = {}
        for unit in units.values():
            # parts first: what is merged meanwhile is in the tables, which are read later
            for one in (*unit.upstream, unit):
                self._look(unit.task.source, one.task.key)
            self._rois.setdefault(unit.task.source, set()).add(unit.task.region)

    def _look(self, source: str, key: str) -> None:
        if (source, key) in self._outputs:
            return
        payload = self.store.part(source, key)
        if payload is not None:
            self._outputs[source, key] = [record.output for record in payload.records]
            self._held |= {(source, *record.output): record for record in payload.records}

    def outputs(self, unit: PlannedUnit) -> list[tuple[str, str | None, str]]:
        """Return what a unit has made: sampling label, map label and region."""
        task = unit.task
        if (task.source, task.key) in self._outputs:
            return self._outputs[task.source, task.key]
        if task.outputs:
            return [output[:3] for output in task.outputs]
        known = self.store.units(task.source).get(task.id) or {}
        return [(label, map_label, roi) for label, map_label, roi, _ in known.get("outputs", ())]

    def table(self, source: str, label: str, map_label: str | None, roi: str) -> pa.Table | None:
        """Return the cells or maps of a region; None if there are none."""
        held = self._held.get((source, label, map_label, roi))
        if held is not None:
            return held.tables["cells" if map_label is None else "maps"]
        name = "cells" if map_label is None else map_label
        if (source, label, name) not in self._tables:
            rois = None if "" in self._rois[source] else self._rois[source]
            self._tables[source, label, name] = self.store.rows(label, name, source, rois)
        table = self._tables[source, label, name]
        return None if table is None else table.filter(pc.equal(table["roi"], roi))


def _entries(reader: _Reader, unit: PlannedUnit, segment: int) -> Iterator[dict[str, Any]]:
    source, outputs = unit.task.source, reader.outputs(unit)
    mapped = {(label, roi) for label, map_label, roi in outputs if map_label is not None}
    shown = [o for o in outputs if o[1] is not None or (o[0], o[2]) not in mapped]
    for label, map_label, roi in shown[:MOST_ENTRIES]:
        cells = reader.table(source, label, None, roi)
        maps = None if map_label is None else reader.table(source, label, map_label, roi)
        if cells is None or not len(cells):
            continue
        name = map_label or "cells"
        if len({o[2] for o in shown}) > 1:
            name = f"{roi}: {name}"
        yield {"name": name, **_entry(cells, maps, segment)}


def _entry(cells: pa.Table, maps: pa.Table | None, segment: int) -> dict[str, Any]:
    """Return one map of one time segment; a sampling shows its counts."""
    cells = cells.select([c for c in CELLS if c in cells.column_names])
    times = None
    if "t min" in cells.column_names:
        numbers = pc.unique(cells["segment"]).to_numpy()
        chosen = int(np.sort(numbers)[min(segment, len(numbers) - 1)])
        cells = cells.filter(pc.equal(cells["segment"], chosen))
        bounds = [cells[c][0].as_py() for c in ("t min", "t max")]
        times = {"segments": len(numbers), "segment": min(segment, len(numbers) - 1), "bounds": bounds}
    if len(cells) > MOST_CELLS:
        return {"note": f"{len(cells):,} cells are too many for this page"}
    number = cells["cell"].to_numpy()
    mosaic = Mosaic.of(cells)
    table = pd.DataFrame(index=range(len(number)))
    if maps is not None:
        # whole numbers of cells that are not mapped would become NaN: values are shown, not counted
        table = maps.to_pandas().set_index("cell").reindex(number).reset_index(drop=True)
    return {
        "cells": len(number),
        "dimension": mosaic.dimension,
        "times": times,
        **_outlines(mosaic),
        "variables": [_variable(table, mosaic, name) for name in [*features_of(table), "n"]],
    }


def _outlines(mosaic: Mosaic) -> dict[str, Any]:
    """Return outlines, or the centers of cells that have none, as whole numbers between 0 and `GRID`."""
    low, high = mosaic.extent
    span = float(max(*(high - low), 1e-9))
    outlined = len(mosaic.outlined) > 0
    if outlined:
        owner = np.repeat(np.arange(len(mosaic)), mosaic.sizes)
        nth = np.arange(len(owner)) - np.repeat(np.cumsum(mosaic.sizes) - mosaic.sizes, mosaic.sizes)
        points = mosaic.vertices[mosaic.starts[owner] + nth]
    else:
        points = mosaic.centers[:, :2]
    grid = np.nan_to_num((points - low) / span * GRID).round().clip(0, GRID)
    return {
        "low": low.tolist(),
        "size": (high - low).tolist(),
        "step": span / GRID,
        "sizes": _packed(mosaic.sizes if outlined else np.zeros(0), "<u2"),
        "points": _packed(grid, "<u2"),
    }


def _variable(table: pd.DataFrame, mosaic: Mosaic, name: str) -> dict[str, Any]:
    shown = quantity(table, mosaic, name)
    told: dict[str, Any] = {
        "name": name,
        "label": _plain(shown.label),
        "signed": bool(shown.signed),
        "values": _packed(shown.values, "<f4"),
    }
    if shown.vectors is not None:
        told["vectors"] = _packed(shown.vectors, "<f4")
    with contextlib.suppress(SpecificationError):  # it has none
        told["errors"] = _packed(quantity(table, mosaic, name, errors=True).values, "<f4")
    return told


def _packed(values: np.ndarray, kind: str) -> str:
    with np.errstate(over="ignore"):  # beyond single precision: infinite, and drawn as no value
        return base64.b64encode(np.ascontiguousarray(values).astype(kind).tobytes()).decode()


def _plain(label: str) -> str:
    """Return a label of a picture as plain text.

    Examples
    --------
    >>> _plain(r"diffusivity (µm$^{2}$ s$^{-1}$)")
    'diffusivity (µm² s⁻¹)'
    """
    label = re.sub(r"\^\{([-\d]+)\}", lambda found: found.group(1).translate(SUPERSCRIPT), label)
    label = re.sub(r"\\log_\{(\d+)\}", r"log\1", label)
    return re.sub(r"\\mathrm\{(\w)\}", r"\1", label).replace("k_BT", "kT").replace("$", "")
