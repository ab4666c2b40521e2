"""What runs on a worker: read a source, take a region's rows, apply a stage to a unit.

Plain functions of plain values. Nothing raised in a unit leaves it: a failure is
a result like any other, so that one bad region never stops the others.
"""

from __future__ import annotations

import copy
import functools
import os
import socket
import time
import traceback
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from ..errors import PipelineError
from ..inference.threads import one_thread
from ..results import artefacts
from ..results.files import write_json
from ..results.payload import Payload, Record
from ..results.store import Store
from ..spt_data.sources import Source
from ..spt_data.tables import translocations
from .stages import Stage

__all__ = [
    "Failure",
    "UnitResult",
    "UnitTask",
    "not_run",
    "one_thread",
    "read_table",
    "run_task",
    "run_units",
    "take_rows",
]


@dataclass(frozen=True)
class Failure:
    """Why something could not be done."""

    kind: str
    message: str
    traceback: str = ""
    host: str = ""

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Describe an exception."""
        return cls(
            kind=type(error).__name__,
            message=str(error),
            traceback="".join(traceback.format_exception(error)),
            host=_here(),
        )

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


@dataclass(frozen=True)
class UnitTask:
    """One stage applied to one region, one source or the whole dataset.

    Attributes
    ----------
    id : str
        Name in the ledger of the results folder; unique among the units of a source.
    key : str
        Digest of everything that the result depends on.
    source : str
        Name of the source; empty for the whole dataset.
    region : str
        Label of the region; empty if the unit is not a region.
    index : int
        Position of the region in its source.
    outputs : tuple
        (sampling folder, map label, region, key) of each known output.
    parameters : dict
        What `key` is the digest of.
    """

    id: str
    key: str
    stage: int
    name: str
    source: str = ""
    region: str = ""
    index: int = 0
    outputs: tuple[tuple[str, str | None, str, str], ...] = ()
    parameters: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class UnitResult:
    """What became of a unit.

    Attributes
    ----------
    payloads : dict of str to bytes
        What the unit committed, per source.
    returned : object
        What the stage's function returned.
    discarded : int
        Translocations that the static filter dropped.
    remarks : tuple of str
        What to look at in maps: no convergence, a prior at its limit.
    """

    task: UnitTask
    payloads: dict[str, bytes] = field(default_factory=dict, repr=False)
    failure: Failure | None = None
    returned: Any = None
    seconds: float = 0.0
    host: str = ""
    warnings: tuple[str, ...] = ()
    discarded: int = 0
    remarks: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the unit is done."""
        return self.failure is None


def _here() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def read_table(source: Source) -> pd.DataFrame | Failure:
    """Read the table of a source."""
    try:
        return source.dataframe
    except Exception as error:
        return Failure.of(error)


def take_rows(
    table: pd.DataFrame | Failure, source: Source, regions: Sequence[Any]
) -> list[pd.DataFrame | Failure]:
    """Return the translocations of each region.

    Those of the whole field are never made, unless a region needs them: they take twice the memory of
    the trajectories.
    """
    if not isinstance(table, Failure) and any(len(r.boxes) > 1 for r in regions):
        table = translocations(table)
    rows: list[pd.DataFrame | Failure] = []
    for region in regions:
        if isinstance(table, Failure):
            rows.append(table)
            continue
        try:
            rows.append(region.select(table))
        except Exception as error:
            rows.append(Failure.of(error))
    return rows


def run_task(*args: Any, **options: Any) -> list[UnitResult]:
    """Call `run_units` on a worker, and leave a copy of the results where a client can find it later."""
    parts = options.pop("parts", None)
    with one_thread():
        results = run_units(*args, **options)
    if parts is not None:
        aside = Store(parts)
        for result in results:
            for source, payload in result.payloads.items():
                aside.write_part(source, result.task.key, payload)
            if result.failure is not None:
                write_json(aside.folder / ".failures" / f"{result.task.key}.json", _noted(result))
    return results


def _noted(result: UnitResult) -> dict[str, str]:
    task, failure = result.task, result.failure
    assert failure is not None
    about = {"key": task.key, "stage": task.name, "source": task.source, "roi": task.region}
    return {**about, "message": str(failure), "traceback": failure.traceback, "host": failure.host}


def run_units(
    analyzer: Any,
    stage: Stage,
    source: Source | None,
    regions: Sequence[Any],
    tasks: Sequence[UnitTask],
    rows: Sequence[Any] | None = None,
    table: Any = None,
    upstream: Sequence[Sequence[Any]] = (),
    store: Store | None = None,
    paths: Mapping[str, str] | None = None,
) -> list[UnitResult]:
    """Apply a stage to units of one source.

    Parameters
    ----------
    analyzer : RWAnalyzer
        The specification.
    source : Source, optional
        None for a stage over the full dataset.
    regions : sequence of SupportRegion
        Those of each task (all of the source for a stage over sources).
    tasks : sequence of UnitTask
    rows : sequence of DataFrame or Failure, optional
        Rows of each task's region.
    table : DataFrame or Failure, optional
        Table of the source, if the stage may ask for it and cannot read it; for a stage over the
        full dataset, the tables of such sources by name.
    upstream : sequence of sequence of UnitResult
        Results of earlier stages, per task.
    store : Store, optional
        Results folder, if it can be read from here.
    paths : mapping of str to str, optional
        For a stage over the full dataset, where the files of the sources are here.

    Returns
    -------
    list of UnitResult
        One per task.
    """
    if source is None and paths:
        analyzer = _with_files_at(analyzer, paths)
    results = []
    for i, task in enumerate(tasks):
        began = time.perf_counter()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            before = [r for group in upstream for r in group]
            mine = [regions[i]] if rows is not None else list(regions)
            data = (rows[i] if rows is not None else None, table)
            outcome = _run_unit(analyzer, stage, source, mine, task, data, before, store)
        said = dict.fromkeys(
            f"{w.category.__name__}: {w.message}"
            for w in caught
            if not issubclass(w.category, DeprecationWarning | PendingDeprecationWarning | ImportWarning)
        )
        results.append(
            UnitResult(
                task,
                seconds=time.perf_counter() - began,
                host=_here(),
                warnings=tuple(said),
                **outcome,
            )
        )
    return results


def _with_files_at(analyzer: Any, paths: Mapping[str, str]) -> Any:
    """Return the specification with the files of its sources at other places."""
    sources = [copy.copy(s) for s in analyzer.spt_data]
    for source in sources:
        source.path = paths.get(source.name, source.path)
    return analyzer.restricted(sources, None, None)


def _run_unit(
    analyzer: Any,
    stage: Stage,
    source: Source | None,
    regions: Sequence[Any],
    task: UnitTask,
    data: tuple[Any, Any],
    before: Sequence[UnitResult],
    store: Store | None,
) -> dict[str, Any]:
    try:
        broken = next((r for r in before if r.failure is not None and _concerns(r.task, task)), None)
        if broken is not None:
            return {"failure": not_run(task, broken).failure}
        for given in (*data, *(data[1].values() if isinstance(data[1], dict) else ())):
            if isinstance(given, Failure):
                return {"failure": given}
        restricted = restrict(analyzer, source, regions, *data, before, store)
        began = time.perf_counter()
        returned = stage(restricted)
        return _outcome(restricted, task, returned, time.perf_counter() - began)
    except (Exception, SystemExit) as error:  # exit() in a function of the user's is no end of the run
        return {"failure": Failure.of(error)}


def not_run(task: UnitTask, broken: UnitResult) -> UnitResult:
    """Return the result of a unit that an earlier one has made impossible."""
    cause = broken.failure
    assert cause is not None
    text = f"stage {task.name!r} was not run: {broken.task.name!r} failed here with {cause}"
    return UnitResult(task, failure=Failure("EarlierStageFailed", text, cause.traceback, cause.host))


def _concerns(earlier: UnitTask, task: UnitTask) -> bool:
    same = earlier.region == task.region or not earlier.region or not task.region
    return earlier.source in ("", task.source) and same


def restrict(
    analyzer: Any,
    source: Source | None,
    regions: Sequence[Any],
    rows: pd.DataFrame | None,
    table: pd.DataFrame | dict[str, pd.DataFrame] | None,
    before: Sequence[UnitResult],
    store: Store | None,
) -> Any:
    """Return the analyzer that sees nothing but a unit of work."""
    if source is None:
        sources = [copy.copy(s) for s in analyzer.spt_data]
        held = table if isinstance(table, dict) else {}
        for one in sources:
            if one.name in held:
                one.hold(held[one.name])
        return analyzer.restricted(sources, None, _Trees(before, store))
    source = copy.copy(source)
    source.learn(rows)
    if isinstance(table, pd.DataFrame):
        source.hold(table)
    own = [region.of_source(source, rows) for region in regions]
    return analyzer.restricted([source], own, _Trees(before, store))


class _Trees:
    """Fills the analysis tree of a source: from the store, then from earlier stages."""

    def __init__(self, before: Sequence[UnitResult], store: Store | None) -> None:
        self.before = before
        self.store = store

    def fill(self, source: Source, tree: Any, regions: set[str] | None) -> None:
        if self.store is not None:
            fill_from_store(self.store, source.name, tree, regions)
        for result in self.before:
            data = result.payloads.get(source.name)
            for record in () if data is None else Payload.from_bytes(data).records:
                if regions is None or record.roi in regions:
                    artefacts.attach(tree, record)


def fill_from_store(store: Store, source: str, tree: Any, regions: set[str] | None = None) -> None:
    """Hang into a tree whatever the results folder holds for a source."""
    for folder, map_labels in store.labels().items():
        held = store.regions(folder, "cells", source)
        for name in (None, *map_labels):
            rois = held if name is None else store.regions(folder, name, source)
            for roi in rois:
                if roi in held and (regions is None or roi in regions):
                    load = functools.partial(store.record, folder, name, roi, source)
                    artefacts.attach(tree, Record(folder, name, roi, {}), load)


def _outcome(restricted: Any, task: UnitTask, returned: Any, seconds: float) -> dict[str, Any]:
    ended = datetime.now(UTC).isoformat(timespec="seconds")
    known = {tuple(o[:3]): o[3] for o in task.outputs}
    payloads, committed, discarded = {}, set(), 0
    remarks: list[str] = []
    for source in restricted.spt_data:
        if not source.has_analyses:
            continue
        records, removed = artefacts.collect(source.analyses), []
        if not task.outputs:
            removed = artefacts.removed(source.analyses)
        if not records and not removed:
            continue
        unit = {
            "id": task.id,
            "key": task.key,
            "stage": task.name,
            "region": task.region,
            "outputs": [[*r.output, known.get(r.output, task.key)] for r in records],
            "removed": removed,
            "parameters": task.parameters,
            "seconds": round(seconds, 3),
            "ended": ended,
            "host": _here(),
        }
        payloads[source.name] = Payload(unit, records).to_bytes()
        committed |= {r.output for r in records}
        discarded += sum(int(r.attrs.get("param", {}).get("discarded") or 0) for r in records)
        remarks += [remark for r in records if r.map_label is not None for remark in artefacts.remarks(r)]
    missing = [o for o in known if o not in committed]
    if missing:
        raise PipelineError(f"stage {task.name!r} ended without the results {missing}")
    return {
        "payloads": payloads,
        "returned": returned,
        "discarded": discarded,
        "remarks": tuple(dict.fromkeys(remarks)),
    }
