"""Interactive sessions on Slurm: they outlive the process that has started them, and are found again."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import re
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from ..component import optional, positive, setting
from ..errors import ClusterError, LostClusterError, SpecificationError
from .base import Environment
from .records import RunRecord
from .runfolder import RunFolder

__all__ = ["SessionEnvironment", "check_timeouts", "grouping"]

logger = logging.getLogger("tramway_dask")

# s; a cluster that cannot be reached for longer is left to end by itself
CLOSE_WITHIN = 30.0
# s; with less, Dask 2026 reads its own setting as no time at all, and every connection fails
LEAST_TIMEOUT = 11.0


def _seconds(name: str, value: Any) -> str:
    from dask.utils import parse_timedelta

    if isinstance(value, str):
        value = re.sub(r"\bmins?\b", "minutes", value)  # which Dask does not know
    try:
        seconds = parse_timedelta(value)
    except (ValueError, TypeError, KeyError, AttributeError):
        seconds = 0
    if not seconds or seconds <= 0:
        raise SpecificationError(f"{name}: expected a time such as '1 hour' or '30 min', got {value!r}")
    return str(value)


def check_timeouts() -> None:
    """Refuse a setting of Dask with which no connection can be made.

    Raises
    ------
    SpecificationError
        If ``distributed.comm.timeouts.tcp`` is too short.
    """
    import dask.config
    from dask.utils import parse_timedelta

    name = "distributed.comm.timeouts.tcp"
    given = dask.config.get(name, "30s")
    if parse_timedelta(given, default="seconds") < LEAST_TIMEOUT:
        raise SpecificationError(
            f"{name} is {given} in Dask's configuration: with less than {LEAST_TIMEOUT:g} s connections fail; "
            "leave it at its default, 30s"
        )


def grouping(batches: Sequence[Any]) -> list[list[tuple[str, str]]]:
    """Return source and key of each unit of tasks that were announced."""
    return [[(source, key) for _, source, _, key in units] for _, units in batches]


@dataclass(eq=False, repr=False)
class SessionEnvironment(Environment):
    """An environment whose scheduler and workers go on for a while when its process is gone.

    Parameters
    ----------
    alone_timeout : str
        How long scheduler and workers go on without this computer, with the work that was submitted. Then
        they end by themselves; what is done stays on the cluster, to be fetched.
    worker_timeout : float, optional
        Seconds that a run waits while there is no worker; then it ends with an error. Default: it waits, and
        says why, as long as Slurm does not say that the jobs will never start.
    """

    outlives: ClassVar[bool] = True

    alone_timeout: str = setting("1 hour", check=_seconds, kw_only=True)
    worker_timeout: float | None = setting(None, check=optional(positive), kw_only=True)

    # of the session that there is: the loop of its connection, its connection, its record here
    _loop = cast(Any, None)
    _connection = cast(Any, None)
    _record = cast(Any, None)
    # the units that a run has for its workers; the workers that were asked for, if it has fewer
    _units: int | None = None
    _capped: int | None = None

    def alone_for(self) -> float:
        """Return `alone_timeout` in seconds."""
        from dask.utils import parse_timedelta

        return float(parse_timedelta(self.alone_timeout))

    @property
    def run_id(self) -> str | None:
        """Name of the session, by which it is attached to; None if there is none."""
        return self._cluster.run.run_id if self.is_running else None

    @property
    def parts_folder(self) -> str | None:
        """Folder of the run in which workers leave copies of their results."""
        return self.cluster.run.inside("parts")

    def parts(self, keys: Collection[str]) -> Iterator[tuple[str, str, bytes]]:
        """Fetch the copies of some results that the workers left: source, key and content."""
        from .sessions import read_parts

        run = self.cluster.run
        return read_parts(self._loop.call, run.shell, run.path, keys)

    @property
    def earlier_batches(self) -> Sequence[Sequence[tuple[str, str]]]:
        """How units were grouped into tasks before: grouped alike, they join work that goes on."""
        return self.__dict__.get("_batches", ())

    def announce(self, results: str, batches: Sequence[Any], **about: Any) -> None:
        """Note on the cluster what is to be done, for later sessions."""
        self._batches = [*self.earlier_batches, *grouping(batches)]
        run: RunFolder = self.cluster.run
        plan = {"results": results, "time": time.time(), "batches": batches, **about}
        path = run.inside("plans", f"{time.time_ns()}.json")
        self._loop.call(run.shell.write(path, json.dumps(plan).encode(), mode=0o600))
        record: RunRecord = self._record
        if record.results != results:
            record.results = results
            record.save()

    def attach(self, record: RunRecord) -> None:
        """Find a session again that an earlier process has started.

        Raises
        ------
        ClusterError
            If it has ended, or this environment runs another one.
        """
        if self.is_running and self._cluster.is_left:
            self.close()  # what was cut off is found anew
        if self.is_running:
            if self.run_id == record.run_id:
                return
            raise ClusterError(
                f"a.env runs session {self.run_id}: a.env.close() ends it, then {record.run_id} can be attached to"
            )
        self._cluster = self._started(record)

    def _started(self, record: RunRecord | None = None) -> Any:
        raise NotImplementedError

    def reconnect(self, error: LostClusterError) -> None:
        """Wait until the cluster is reached again, with a new client.

        Raises
        ------
        LostClusterError
            If it is not reached; the session goes on there for `alone_timeout`.
        ClusterError
            If its scheduler has ended.
        """
        from .login import UnreachableError

        self.check()
        self._drop_client()
        pool = self.cluster
        try:
            found = self._loop.call(pool.find_again())
        except UnreachableError as reason:
            pool.leave_alone()
            raise LostClusterError(f"{reason} {self.farewell()}") from None
        if not found:
            raise ClusterError(
                "the Dask scheduler on the cluster has ended; run again: what is done already is not done again"
            ) from error

    def check(self) -> None:
        """Raise the reason for which no more workers come, if there is one."""
        cluster = self.__dict__.get("_cluster")
        if cluster is not None and cluster.problem is not None:
            raise ClusterError(cluster.problem)

    def absent(self, seconds: float) -> str:
        """Return why there is no worker, as Slurm says it; raise an error after `worker_timeout`."""
        why, hopeless = self._cluster.absent()
        if hopeless or seconds > (self.worker_timeout or math.inf):
            raise ClusterError(f"no worker has been there for {seconds:.0f} s: {why}")
        return str(why)

    def expect(self, units: int) -> None:
        """Note how many units a run has: for more workers than that, no job is submitted."""
        wanted = min(cast(Any, self).worker_count, units)
        if not self.is_running:
            self._units = units
        elif self._capped is not None and wanted > self._capped:
            self._capped = wanted
            self.scale(wanted)

    def _asked_for(self) -> int:
        """Return the number of workers to start with."""
        wanted: int = cast(Any, self).worker_count
        units, self._units, self._capped = self._units, None, None
        if units is None or units >= wanted:
            return wanted
        self._capped = units
        return units

    def farewell(self) -> str:
        """Say how the session is found again."""
        run_id = self.run_id
        return (
            f"Session {run_id} goes on on the cluster for {self.alone_timeout} without this process. To take it up "
            f"again, in this script or notebook started anew: a.attach({run_id!r}), then a.run(). To end it: "
            f"tramway-dask cancel {run_id}"
        )

    def interrupted(self) -> None:
        """Have the work go on although nobody waits for it: the interruption is not an end."""
        self._drop_client()
        logger.warning("interrupted. %s", self.farewell())

    def _drop_client(self) -> None:
        client = self.__dict__.pop("_client", None)
        if client is not None:
            with contextlib.suppress(Exception):
                client.close(timeout=2)

    def leave(self) -> None:
        """Disconnect; scheduler and workers go on for `alone_timeout`."""
        if self.is_running:
            self._cluster.leave_alone()
            self.close()

    def _left_by(self, error: BaseException) -> None:
        if isinstance(error, KeyboardInterrupt | LostClusterError):
            self.leave()
        else:
            self.close()

    def close(self) -> None:
        """Cancel the jobs, end the scheduler, delete the keys, close the connection.

        If the cluster cannot be reached, all this happens there after `alone_timeout`.
        """
        pool, record = self.__dict__.get("_cluster"), self.__dict__.get("_record")
        if pool is not None and not pool.is_left and not self._reachable():
            logger.warning("the cluster cannot be reached. %s", self.farewell())
            pool.leave_alone()
        if pool is not None and pool.is_left:
            self._drop_client()
        super().close()
        self.__dict__.pop("_batches", None)
        if pool is not None and record is not None and not pool.is_left and not pool.scheduler.keep_folder:
            record.forget()
        self._hang_up()

    def _reachable(self) -> bool:
        shell, loop = self.__dict__.get("_connection"), self.__dict__.get("_loop")
        if shell is None or loop is None:
            return False
        try:
            loop.call(shell.run("true"), timeout=CLOSE_WITHIN)
        except ClusterError:
            return False
        return True

    def _hang_up(self) -> None:
        loop, shell = self.__dict__.pop("_loop", None), self.__dict__.pop("_connection", None)
        if loop is not None:
            if shell is not None:
                with contextlib.suppress(ClusterError):
                    loop.call(shell.close(), timeout=10)
            loop.close()

    def __getstate__(self) -> dict[str, Any]:
        here = ("_loop", "_connection", "_record", "_batches", "_files", "_units", "_capped")
        return {k: v for k, v in super().__getstate__().items() if k not in here}
