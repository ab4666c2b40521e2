"""A run as the live page shows it: units and what has become of them, maps when somebody looks."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from ..results.store import Store
from .graph import Batch
from .plan import Plan
from .work import UnitResult

__all__ = ["LiveRun"]

# characters of a message, and of a traceback, that are shown
MESSAGE, TRACEBACK = 2_000, 8_000
STATUS = {"to do": "waiting", "done": "done before", "failed": "failed"}


class LiveRun:
    """Keeps what has become of each unit of a plan; told by a `Recorder`.

    Parameters
    ----------
    plan : Plan
    store : Store
        Where the maps are.
    batches : sequence of Batch
        The tasks.
    over : callable, optional
        Told this object when the run has ended.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        batches: Sequence[Batch] = (),
        over: Callable[[LiveRun], None] = lambda run: None,
    ) -> None:
        self.name = secrets.token_hex(6)
        self.store = store
        self.units = plan.units
        self.over = over
        self.began = time.time()
        self.ended: float | None = None
        self._stages = [stage.name for stage in plan.stages]
        self._place = {id(unit.task): i for i, unit in enumerate(plan.units)}
        self._by_key = {(u.task.source, u.task.key): i for i, u in enumerate(plan.units)}
        self._tasks = {b.key: [self._place[id(u.task)] for u in b.units] for b in batches}
        self._left = {i for i, unit in enumerate(plan.units) if unit.status == "to do"}
        # its length is the version
        self._log: list[list[Any]] = []
        self._guard = threading.Lock()

    def begin(self) -> dict[str, Any]:
        """Return what is to be done, and what was done before."""
        sources = list(dict.fromkeys(unit.task.source for unit in self.units))
        index = {source: i for i, source in enumerate(sources)}
        units = []
        for unit in self.units:
            task = unit.task
            row: list[Any] = [
                index[task.source],
                task.region,
                task.stage,
                STATUS.get(unit.status, unit.status),
            ]
            if unit.failure is not None:
                row += [0.0, "", 0.0, [str(unit.failure)[:MESSAGE], unit.failure.traceback[-TRACEBACK:]]]
            units.append(row)
        return {
            "title": self.store.folder.absolute().name,
            "began": self.began,
            "sources": sources,
            "stages": self._stages,
            "units": units,
            "tasks": self._tasks,
        }

    def advance(self, result: UnitResult) -> None:
        """Note the result of a unit, which is stored."""
        unit = self._by_key.get((result.task.source, result.task.key))
        if unit is None:
            return
        status, told = "done", []
        if result.failure is not None:
            failure = result.failure
            status, told = "failed", [str(failure)[:MESSAGE], failure.traceback[-TRACEBACK:]]
        elif result.remarks or result.warnings:
            status, told = "flagged", ["\n".join([*result.remarks, *result.warnings])[:MESSAGE]]
        after = round(time.time() - self.began, 3)
        host = result.host if result.failure is None else result.failure.host
        with self._guard:
            self.ended = None  # an interrupted run may go on
            self._left.discard(unit)
            self._log.append([unit, status, round(result.seconds, 4), host, after, told])

    def close(self) -> None:
        """Note the end of the run."""
        self.ended = time.time()
        self.over(self)

    def changes(self, since: int) -> dict[str, Any]:
        """Return what has become of units since a version."""
        with self._guard:
            news = self._log[max(0, since) :]
            version = len(self._log)
        how = "" if self.ended is None else ("stopped" if self._left else "finished")
        elapsed = (self.ended or time.time()) - self.began
        return {"version": version, "changes": news, "elapsed": elapsed, "ended": self.ended, "how": how}

    def maps(self, units: Sequence[int], segment: int) -> dict[int, str]:
        """Return the maps of units that are done, as JSON."""
        from .livemaps import maps_of_units

        ready = {i: self.units[i] for i in units if i < len(self.units) and i not in self._left}
        return maps_of_units(self.store, ready, segment)
