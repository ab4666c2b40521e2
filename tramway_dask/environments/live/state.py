"""What the scheduler keeps of the runs that the live page shows."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["WAITING", "Maps", "Run"]

# states of a unit: those that the client tells, and those that the scheduler adds
WAITING, RUNNING, COMPUTED, NOT_RUN = "waiting", "running", "computed", "not run"
MAPS_LIMIT = 64_000_000  # bytes


class Run:
    """A run: its units, and what has become of them.

    Parameters
    ----------
    about : mapping
        ``run``, ``topic``, ``client``, ``title``, ``began``, ``sources``, ``stages``, ``units`` (source, region,
        stage and status of each), and ``tasks``: the units of each Dask task.
    """

    def __init__(self, about: Mapping[str, Any]) -> None:
        self.name = str(about["run"])
        self.topic = str(about["topic"])
        self.client = str(about["client"])
        # seconds since the beginning: the clock of another computer is not compared with ours
        self._elapsed, self._heard = 0.0, time.monotonic()
        self.ended: float | None = None
        self.how = ""
        self.version = 0
        self.about = {k: about[k] for k in ("title", "began", "sources", "stages")}
        self.places = [list(unit[:3]) for unit in about["units"]]
        self.status = [str(unit[3]) for unit in about["units"]]
        self.tasks: Mapping[str, Sequence[int]] = about["tasks"]
        # of each unit that has an end: version, seconds, host, time since the beginning, messages
        self.ends: dict[int, list[Any]] = {
            i: [0, *unit[4:]] for i, unit in enumerate(about["units"]) if len(unit) > 4
        }

    def take(
        self, version: int, changes: Iterable[Sequence[Any]], elapsed: float, ended: float | None, how: str
    ) -> None:
        """Note what the client tells: unit, status, seconds, host, time and messages of each change."""
        for unit, status, *rest in changes:
            self.status[unit] = status
            self.ends[unit] = [version, *rest]
        self.version = max(self.version, version)
        self._elapsed, self._heard = elapsed, time.monotonic()
        self.ended, self.how = ended, how

    @property
    def over(self) -> bool:
        """Whether nothing more will be told."""
        return self.ended is not None

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning, until the end."""
        return self._elapsed + (0.0 if self.over else time.monotonic() - self._heard)

    def changes(self, since: int) -> list[list[Any]]:
        """Return the units that have ended after a version; all that have, for -1."""
        return [
            [unit, self.status[unit], *rest]
            for unit, (version, *rest) in self.ends.items()
            if version > since
        ]

    def working(self, scheduler: Any) -> dict[str, list[int]]:
        """Return the units in tasks that run or have run, and those that will not run any more."""
        executing = {ts.key for worker in scheduler.workers.values() for ts in worker.executing}
        found: dict[str, list[int]] = {RUNNING: [], COMPUTED: [], NOT_RUN: []}
        for key, units in self.tasks.items():
            left = [unit for unit in units if self.status[unit] == WAITING]
            if not left:
                continue
            task = scheduler.tasks.get(key)
            if key in executing:
                found[RUNNING] += left
            elif task is not None and task.state == "memory":
                found[COMPUTED] += left
            elif task is None and self.over:
                found[NOT_RUN] += left
        return found


class Maps:
    """Maps that were looked at, the latest up to a number of bytes."""

    def __init__(self, limit: int = MAPS_LIMIT) -> None:
        self.limit = limit
        self.size = 0
        self._held: OrderedDict[tuple[str, int, int], str] = OrderedDict()

    def put(self, run: str, segment: int, maps: Mapping[int, str]) -> None:
        """Keep the maps of units of a run, as JSON texts."""
        for unit, text in maps.items():
            self.size += len(text) - len(self._held.pop((run, int(unit), segment), ""))
            self._held[run, int(unit), segment] = text
        while self.size > self.limit and self._held:
            self.size -= len(self._held.popitem(last=False)[1])

    def get(self, run: str, unit: int, segment: int) -> str | None:
        """Return the maps of a unit, if they are here."""
        return self._held.get((run, unit, segment))

    def drop(self, run: str) -> None:
        """Forget the maps of a run."""
        for key in [k for k in self._held if k[0] == run]:
            self.size -= len(self._held.pop(key))
