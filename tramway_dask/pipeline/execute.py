"""Run a plan, in this process or on a Dask cluster, and store results as they come."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..errors import LostClusterError, StoreError, UnitFailedError
from ..results.store import MERGE_AT, Store
from .blockwise import is_blockwise, kind_of_rows, pick, rows_in_blocks
from .graph import Batch, Reach, build_graph, make_batches
from .live import LiveRun
from .plan import Plan, PlannedUnit
from .progress import Progress
from .report import RunReport
from .waiting import Watch
from .work import Failure, UnitResult, not_run, one_thread, read_table, run_units, take_rows

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["Recorder", "run_in_process", "run_on_cluster"]


class Recorder:
    """Writes the results of units as they arrive, and keeps the report.

    Parameters
    ----------
    plan : Plan
    store : Store
    report : RunReport
    progress : Progress, optional
    on_error : {'record', 'raise'}
    goes_on : bool
        Whether this is the same run, which has lost its cluster and found it again: what is done now and is not
        in the report was done meanwhile.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        report: RunReport,
        progress: Progress | None = None,
        on_error: str = "record",
        goes_on: bool = False,
    ) -> None:
        self.store = store
        self.report = report
        self.progress = progress
        # told of results as well, once they are stored
        self.live: LiveRun | None = None
        self.on_error = on_error
        self._guard = threading.RLock()
        self._left = Counter(u.task.source for u in plan.todo)
        self._parts: Counter[str] = Counter()
        self._merged: Counter[str] = Counter()
        self._taken: set[tuple[str, str]] = set()
        self._failures = _read_failures(store)
        self._changed = False
        report.units_of_data.update(plan.units_of_data)
        if goes_on:
            report.go_on(
                (u.task for u in plan.units if u.status == "done"),
                (u.task for u in plan.units if u.status != "done"),
            )
        for unit in plan.units:
            if unit.status == "done":
                self._forget(unit)
                if not goes_on:
                    report.skip(unit.task.name, unit.task.source, unit.task.region)
            elif unit.failure is not None:
                self._record_failure(UnitResult(unit.task, failure=unit.failure))
                report.add(UnitResult(unit.task, failure=unit.failure))

    def take(self, result: UnitResult) -> None:
        """Store one result.

        Raises
        ------
        StoreError
            If the results folder cannot be written to.
        UnitFailedError
            If the unit failed and the first failure is to stop the run.
        """
        with self._guard:
            if (result.task.source, result.task.id) in self._taken:
                return  # an interrupted run has got as far as that
            for source, payload in result.payloads.items():
                self.store.write_part(source, result.task.key, payload)
                self._parts[source] += 1
                if not result.task.source or self._parts[source] >= max(MERGE_AT, self._merged[source]):
                    self._merge(source)
            if result.ok:
                self._forget(result)
            else:
                self._record_failure(result)
            self.report.add(result)
            self._taken.add((result.task.source, result.task.id))
            self._left[result.task.source] -= 1
            if not self._left[result.task.source] and self._parts[result.task.source]:
                self._merge(result.task.source)
            if self.progress is not None:
                self.progress.advance(result)
            if self.live is not None:
                self.live.advance(result)
        if result.failure is not None and self.on_error == "raise":
            task = result.task
            raise UnitFailedError(
                f"source {task.source!r}, region {task.region!r}, stage {task.name!r}: {result.failure}\n"
                f"{result.failure.traceback}"
            )

    def _merge(self, source: str) -> None:
        self.store.merge(source)
        self._merged[source] += self._parts.pop(source, 0)

    def _forget(self, unit: UnitResult | PlannedUnit) -> None:
        task = unit.task
        gone = [(task.source, task.id)]
        if task.region:  # the source could not be read before
            gone += [k for k, r in self._failures.items() if k[0] == task.source and _whole(r, task.name)]
        for key in gone:
            self._changed |= self._failures.pop(key, None) is not None

    def _record_failure(self, result: UnitResult) -> None:
        task, failure = result.task, result.failure
        assert failure is not None
        self._failures[task.source, task.id] = {
            "unit": task.id,
            "stage": task.name,
            "source": task.source,
            "roi": task.region,
            "error": failure.kind,
            "message": failure.message,
            "traceback": failure.traceback,
            "host": failure.host,
            "time": datetime.now(UTC),
        }
        self._changed = True
        if len(self._failures) <= MERGE_AT:
            self.write_failures()

    def write_failures(self) -> None:
        """Write the table of failures if it has changed."""
        if self._changed:
            self.store.write_failures(list(self._failures.values()))
            self._changed = False

    def close(self) -> None:
        """Merge what is left, also when the run was interrupted."""
        with self._guard:
            for source in [s for s, count in self._parts.items() if count]:
                self._merge(source)
            self.write_failures()
        if self.progress is not None:
            self.progress.close()
        if self.live is not None:
            self.live.close()


def _read_failures(store: Store) -> dict[tuple[str, str], dict[str, Any]]:
    table = store.read_failures()
    rows = [] if table is None else table.to_pylist()
    return {(r["source"], r["unit"]): r for r in rows}


def _whole(row: dict[str, Any], stage: str) -> bool:
    return row["stage"] == stage and not row["roi"]


def run_in_process(plan: Plan, analyzer: Any, store: Store, recorder: Recorder) -> None:
    """Run units one after the other; a debugger works."""
    with one_thread():
        _run_in_order(plan, analyzer, store, recorder)


def _run_in_order(plan: Plan, analyzer: Any, store: Store, recorder: Recorder) -> None:
    results: dict[int, UnitResult] = {}
    users = Counter(id(u) for unit in plan.todo for u in unit.upstream)
    named: str | None = None
    source: Any = None
    table: pd.DataFrame | Failure | None = None
    pieces: dict[str, Any] = {}
    for unit in _by_source(plan.todo):
        if unit.task.source != named:
            named, table, pieces = unit.task.source, None, {}
            # a file's table is dropped with this copy when its units are done
            source = unit.source.without_table() if unit.source and unit.source.path else unit.source
        given: dict[str, Any] = {}
        if unit.tables:
            given["table"] = {s.name: read_table(s) for s in unit.tables}
        if source is not None and unit.stage.needs is None:
            in_blocks = bool(unit.task.region) and is_blockwise(source, unit.stage, unit.regions)
            if in_blocks and pieces.get("") != kind_of_rows(unit.stage):
                pieces = rows_in_blocks(analyzer, source, unit.source.roi.support_regions(), unit.stage)
                pieces[""] = kind_of_rows(unit.stage)
            if table is None and not in_blocks:
                table = read_table(source)
            if in_blocks:
                given["rows"] = pick(pieces, [unit.task.region])
            elif unit.task.region and table is not None:
                given["rows"] = take_rows(table, source, unit.regions)
            elif isinstance(table, Failure):
                given["table"] = table
        elif unit.task.region:
            given["rows"] = [None]
        upstream = [[results[id(u)] for u in unit.upstream if id(u) in results]]
        (result,) = run_units(
            analyzer,
            unit.stage,
            source,
            list(unit.regions),
            [unit.task],
            upstream=upstream,
            store=store,
            **given,
        )
        recorder.take(result)
        for earlier in unit.upstream:
            users[id(earlier)] -= 1
            if not users[id(earlier)]:
                results.pop(id(earlier), None)
        if users[id(unit)]:
            results[id(unit)] = result


def _by_source(units: Sequence[PlannedUnit]) -> list[PlannedUnit]:
    """Order units so that a source is finished before the next one, unless a stage spans them all."""
    ordered: list[PlannedUnit] = []
    block: list[PlannedUnit] = []
    for unit in units:
        if unit.task.source:
            block.append(unit)
        else:
            ordered += _grouped(block) + [unit]
            block = []
    return ordered + _grouped(block)


def _grouped(units: Sequence[PlannedUnit]) -> list[PlannedUnit]:
    place = {u.task.source: i for i, u in reversed(list(enumerate(units)))}
    return sorted(units, key=lambda u: place[u.task.source])


def run_on_cluster(
    plan: Plan,
    analyzer: Any,
    store: Store,
    recorder: Recorder,
    client: Client,
    *,
    reach: Reach | None = None,
    batch: int | str = "auto",
    check: Callable[[], None] = lambda: None,
    absent: Callable[[float], str] = lambda seconds: "",
    earlier: Sequence[Sequence[tuple[str, str]]] = (),
    announce: Callable[[Sequence[Batch]], None] = lambda batches: None,
    outlives: bool = False,
    keep: Callable[[dict[Future, Batch]], None] | None = None,
) -> None:
    """Run units as Dask tasks and store their results as they complete.

    Parameters
    ----------
    plan, analyzer, store, recorder, client
    reach : Reach, optional
        Default: the workers can read the results folder and the files.
    batch : int or 'auto'
        Units per task.
    check, absent : callable
        As for `Watch`.
    earlier : sequence of sequence of (str, str)
        As for `make_batches`.
    announce : callable
        Told the tasks before they are submitted.
    outlives : bool
        Whether the work goes on when the run is interrupted.
    keep : callable, optional
        Takes the tasks that are left when the run is interrupted; without, they are cancelled.

    Raises
    ------
    LostClusterError
        If the scheduler can no longer be reached.

    Notes
    -----
    A worker that dies is replaced and its tasks run again by Dask. A task that was there each time
    is not to blame for that: its units run again one by one, with nothing else on the cluster, and
    one that still kills its workers is recorded as failed.
    """
    reach = Reach(store) if reach is None else reach
    workers = max(1, len(client.scheduler_info()["workers"]))
    batches = make_batches(plan.todo, batch, workers, earlier)
    announce(batches)
    graph = build_graph(batches, analyzer.specification(), reach, stored=store)
    futures = dict(zip(client.compute(list(graph.values())), graph, strict=True))
    arrived: queue.Queue[Future] = queue.Queue()
    for future in futures:
        future.add_done_callback(arrived.put)
    suspects: list[PlannedUnit] = []
    watch = Watch(client, check, absent)
    try:
        while futures:
            future = watch.arrival(arrived)
            results, error = watch.outcome(future)
            current = futures[future]
            if error is not None:  # also one that it cannot be sent here
                suspects += current.units
            for result in results or ():
                recorder.take(result)
            del futures[future]
            future.release()
    except LostClusterError:
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and keep is not None:
            keep(futures)
            raise
        if outlives and isinstance(error, KeyboardInterrupt):
            raise
        with contextlib.suppress(Exception):  # the error that ended the run is the one to show
            # to cancel tasks on which others depend makes Dask's scheduler drop the client
            for future in futures:
                future.release()
        raise
    recorder.report.retried += len(suspects)
    _run_alone(suspects, analyzer, reach, store, recorder, watch)


def _run_alone(
    suspects: Sequence[PlannedUnit],
    analyzer: Any,
    reach: Reach,
    store: Store,
    recorder: Recorder,
    watch: Watch,
) -> None:
    """Run units one after the other, each with the units that it needs."""
    failed: dict[int, UnitResult] = {}
    for i, unit in enumerate(sorted(suspects, key=lambda u: u.task.stage)):
        broken = next((failed[id(u)] for u in unit.upstream if id(u) in failed), None)
        if broken is not None:
            result = not_run(unit.task, broken)
        else:
            needed = [Batch([u]) for u in unit.upstream if u.status == "to do"]
            alone = Batch([unit])
            graph = build_graph(
                [*needed, alone], analyzer.specification(), reach, stored=store, salt=f"alone-{i}-"
            )
            future = watch.client.compute(graph[alone])
            try:
                result = watch.unit(future, unit)
            except BaseException:
                with contextlib.suppress(Exception):
                    future.release()
                raise
        if result.failure is not None:
            failed[id(unit)] = result
        recorder.take(result)


@contextlib.contextmanager
def closing(recorder: Recorder) -> Iterator[Recorder]:
    """Close a recorder; an error on the way out does not hide the one that ended the run."""
    try:
        yield recorder
    except BaseException:
        with contextlib.suppress(StoreError):
            recorder.close()
        raise
    recorder.close()
