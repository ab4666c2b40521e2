"""Runs that go on while the person does other things: results are stored as they complete."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from ..cards import badge, card, counts, folded, guarded, rows, table
from ..errors import ClusterError, StoreError
from .execute import Recorder
from .plan import PlannedUnit
from .progress import Progress
from .report import RunReport
from .waiting import CHECK_EVERY, Watch

if TYPE_CHECKING:
    from distributed import Client, Future

    from .work import UnitResult

__all__ = ["BackgroundRun", "Submitted", "going_on"]

logger = logging.getLogger("tramway_dask")

# s between two changes of a progress bar
INTERVAL = 0.2

# Those of this process that write to a results folder, as its lock says to other processes: a cell that is
# run again makes another analyzer, which must find them.
_writing: WeakValueDictionary[Path, BackgroundRun] = WeakValueDictionary()


def going_on(folder: Path) -> BackgroundRun | None:
    """Return the run of this process that writes to a results folder, while nobody waits for it."""
    found = _writing.get(folder.absolute())
    return None if found is None or found.over else found


class BackgroundRun:
    """A run on workers that nobody waits for: its tasks go on, and their results are stored as they complete.

    Attributes
    ----------
    env : Environment
        Where it runs.
    groups : list of list of (str, str)
        Sources and keys of the units of each task.
    """

    def __init__(self, recorder: Recorder, client: Client, env: Any = None) -> None:
        self.env = env
        self.groups: list[list[tuple[str, str]]] = []
        self._recorder = recorder
        self._client = client
        self._held = contextlib.ExitStack()
        self._left: dict[Future, Sequence[PlannedUnit]] = {}
        self._arrived: list[PlannedUnit] = []
        self._changed = threading.Condition(threading.RLock())
        self._over = False
        self._stopped = False
        self._began = time.monotonic()
        self._missed = 0
        self._looked = self._began
        hopes = {} if env is None else {"check": env.check, "absent": env.absent}
        self.outcomes = Watch(client, **hopes)
        self._outcomes = Watch(client, **{**hopes, "check": self._check})

    def _check(self) -> None:
        if self._over:
            raise ClusterError("nobody waits for it any more")
        self.outcomes.check()

    def watch(self, futures: Mapping[Future, Sequence[PlannedUnit]], *, blame: bool) -> None:
        """Store the results of tasks from now on.

        Parameters
        ----------
        futures : mapping of Future to sequence of PlannedUnit
        blame : bool
            Whether a task that has ended without results has failed; else, a later run does it again.
        """
        self._left = dict(futures)
        self.groups = [[(u.task.source, u.task.key) for u in units] for units in futures.values()]
        _writing[self.folder.absolute()] = self

        def arrived(future: Future) -> None:
            self._take(future, blame)

        for future in futures:
            future.add_done_callback(arrived)
        if not futures:
            self._end()

    def hold(self, held: contextlib.ExitStack) -> None:
        """Keep what was opened for the run, such as the lock of the results folder, until its end."""
        with self._changed:
            if not self._over:
                self._held = held
                return
        held.close()

    def _take(self, future: Future, blame: bool) -> None:
        units = self._left.get(future, ())
        if self._over:
            return
        results = self._results(future, units, blame)  # which may have to be made again
        with self._changed:
            if self._over:
                return
            try:
                for result in results:
                    self._recorder.take(result)
            except StoreError as error:
                logger.error("%s; a later run does that unit again", error)
            finally:
                self._left.pop(future, None)
                self._arrived += units
                self._changed.notify_all()
                if not self._left:
                    self._end()

    def _results(self, future: Future, units: Sequence[PlannedUnit], blame: bool) -> list[UnitResult]:
        try:
            if blame:
                return [self._outcomes.unit(future, unit) for unit in units]
            found, error = self._outcomes.outcome(future)
        except ClusterError as reason:  # cancelled, or lost with the cluster
            logger.debug("%s", reason)
            self._missed += len(units)
            return []
        if error is None:
            return list(found)
        # a later run finds out which of its units is to blame
        logger.warning("a task of %d units has ended without results; run again", len(units))
        return []

    def _end(self) -> None:
        with self._changed:
            if self._over:
                return
            self._over = True
            if self._missed:
                logger.warning(
                    "%d units were cancelled or lost with the cluster; a later run does them", self._missed
                )
            with contextlib.suppress(StoreError):
                self._recorder.close()
            self.report.seconds = time.monotonic() - self._began
            self._held.close()
            self._changed.notify_all()

    def stop(self) -> None:
        """Store no more results; the tasks go on as long as this object lives."""
        with self._changed:
            self._stopped |= not self._over
            self._end()

    def cancel(self) -> None:
        """End the run: its tasks are dropped, what is done stays in the results folder."""
        self.stop()
        with contextlib.suppress(Exception):  # of a cluster that is gone nothing is left to cancel
            self._client.cancel(list(self._left))

    @property
    def folder(self) -> Path:
        """The results folder."""
        return self._recorder.store.folder

    @property
    def report(self) -> RunReport:
        """What was done so far."""
        return self._recorder.report

    @property
    def over(self) -> bool:
        """Whether nothing more is stored."""
        return self._over

    @property
    def left(self) -> int:
        """Number of units that are not finished."""
        return sum(map(len, list(self._left.values())))

    def status(self) -> str:
        """Return how the run is, in words."""
        how = "ended before its time" if self._stopped else "over" if self._over else "going on"
        return f"{how}: {self.report.done} done, {self.report.failed} failed, {self.left} left"

    def farewell(self) -> str:
        """Say how the run is found again."""
        return (
            f"nobody waits for the run any more, but it goes on. {self.left} units are left, their results are stored "
            "as they complete. To wait for them: a.run(); to see how far they are: a.attach(); to end them: "
            "a.attach().cancel()"
        )

    def wait(self, timeout: float | None = None, *, progress: bool = True) -> RunReport:
        """Wait for the end; interrupted, the run goes on.

        Parameters
        ----------
        timeout : float, optional
            Seconds.
        progress : bool
            Show a progress bar.

        Raises
        ------
        ClusterError
            If it is not over after `timeout`, or no more results come.
        """
        ends = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            before = (self.report.done, self.report.failed)
            bar = Progress(sum(before) + self.left, progress, before)
        try:
            while not self._over:
                if ends is not None and time.monotonic() > ends:
                    raise ClusterError(f"not over after {timeout:g} s: {self.status()}")
                with self._changed:
                    self._changed.wait(INTERVAL)
                self._look()
                bar.show(self.report.done, self.report.failed)
        finally:
            bar.close()
        return self.report

    def finished(self) -> Iterator[PlannedUnit]:
        """Iterate over the units as they finish, those first that have finished before."""
        seen = 0
        while True:
            with self._changed:
                if seen == len(self._arrived) and not self._over:
                    self._changed.wait(INTERVAL)
                over, new = self._over, self._arrived[seen:]
            yield from new
            seen += len(new)
            if over and not new:
                return
            self._look()

    def _look(self) -> None:
        """Look now and then whether results can still come; raise if not."""
        if not self._over and time.monotonic() - self._looked > CHECK_EVERY:
            self._looked = time.monotonic()
            self.outcomes.look()

    def __repr__(self) -> str:
        return f"run {self.status()}; results in {self.folder}"

    @guarded
    def _repr_html_(self) -> str:
        numbers = counts(
            done=("done", self.report.done), failed=("failed", self.report.failed), left=("left", self.left)
        )
        how = "r.wait() waits for it with a progress bar, r.cancel() ends it" if not self._over else ""
        return card(
            "Run",
            numbers or badge("note", "no unit"),
            how,
            rows([("results", self.folder)]),
            about=self.status(),
        )


class Submitted(dict[tuple[str, str], "Future"]):
    """Futures of the units that were submitted, by (source, region).

    Attributes
    ----------
    run : BackgroundRun
        All of them: `status`, `wait`, `cancel`.
    """

    def __init__(self, futures: Mapping[tuple[str, str], Future], run: BackgroundRun) -> None:
        super().__init__(futures)
        self.run = run

    def as_completed(self) -> Iterator[tuple[tuple[str, str], UnitResult]]:
        """Iterate over the units as they complete, while others run.

        Yields
        ------
        (source, region) : tuple of str
        UnitResult
            Its maps are in the results folder already.
        """
        last = {future.key: place for place, future in self.items()}
        seen = set()
        for unit in self.run.finished():
            future = self.get(unit.place)
            if future is None or future.key not in last or not future.done() or unit.place in seen:
                continue
            seen.add(unit.place)
            if future.status != "cancelled":
                yield unit.place, self.run.outcomes.unit(future, unit)

    def __repr__(self) -> str:
        return f"Submitted({len(self)} units, {self.run.status()})"

    @guarded
    def _repr_html_(self) -> str:
        failed = {(r["source"], r["roi"]) for r in self.run.report.rows if r["status"] == "failed"}
        lines = [
            (source, roi or "(all)", "failed" if (source, roi) in failed else future.status)
            for (source, roi), future in self.items()
        ]
        lines.sort(key=lambda line: line[2] == "finished")
        return card(
            "Submitted units",
            counts(
                done=("done", self.run.report.done),
                failed=("failed", self.run.report.failed),
                left=("left", self.run.left),
            ),
            "as_completed() gives them one by one; each value is a Dask future",
            folded("futures", table(("source", "roi", "status"), lines)),
            about=f"{len(self):,} futures",
        )
