"""Interactive sessions on a cluster, from other processes than the one that has started them."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ClusterError
from ..results.archive import merge
from ..results.files import locked
from ..results.store import Store
from .detached import RunHandle
from .running import take_parts

if TYPE_CHECKING:
    from ..environments.inspection import BatchStatus
    from ..environments.records import RunRecord
    from .rwanalyzer import RWAnalyzer

__all__ = ["SessionHandle", "take_up"]

logger = logging.getLogger("tramway_dask")


class SessionHandle(RunHandle):
    """An interactive session; see `RunHandle`.

    It goes on for a while without the process that has started it, and can be taken up again by
    ``a.attach(run_id)``; `cancel` ends it at once.
    """

    def _look(self, call: Any, shell: Any) -> BatchStatus:
        from ..environments.sessions import inspect_session

        return call(inspect_session(shell, self._record, now=time.time()))

    def wait(self, timeout: float | None = None, *, interval: float = 15.0) -> BatchStatus:
        """Wait until nothing is left to be done, or the session has ended.

        Parameters
        ----------
        timeout : float, optional
            Seconds; then a ClusterError is raised and the session goes on.
        interval : float
            Seconds between two looks.
        """
        return self._wait(lambda s: s.over or (bool(s.units) and not s.count("left")), timeout, interval)

    def fetch(self, *, overwrite: bool | None = None) -> BatchStatus:
        """Bring what is finished into the results folder.

        It may be repeated while the session goes on, and when it has ended.

        Parameters
        ----------
        overwrite : bool, optional
            Replace results made with other parameters; default: no.

        Raises
        ------
        LabelConflictError
            If the results folder has got results made with other parameters meanwhile.
        ClusterError
            If the cluster cannot be reached.
        """
        from ..environments.batch import connected
        from ..environments.sessions import read_parts, read_plans

        record = self._record
        with connected(record) as (call, shell), tempfile.TemporaryDirectory() as temporary:
            status = self._look(call, shell)
            if status.state == "gone":
                raise ClusterError(f"nothing can be fetched: {status.why}")
            plans = call(read_plans(shell, record.folder))
            # a session may have served several results folders
            wanted = {
                key
                for plan in plans
                if plan["results"] == record.results
                for _, units in plan["batches"]
                for *_, key in units
            }
            aside = Store(Path(temporary) / "results")
            for source, key, payload in read_parts(call, shell, record.folder, wanted):
                aside.write_part(source, key, payload)
            merge(self.results, aside, overwrite=bool(overwrite))
        record.fetched = datetime.now(UTC).isoformat(timespec="seconds")
        if record.path.exists():
            record.save()
        return status

    def logs(self) -> str:
        """Return excerpts: of each failed unit, and of the logs of jobs that went wrong."""
        from ..environments.batch import connected
        from ..environments.inspection import job_logs
        from ..environments.sessions import read_failures

        with connected(self._record) as (call, shell):
            status = self._look(call, shell)
            rows = call(read_failures(shell, self._record.folder))
            jobs = call(job_logs(shell, self._record, state=status.state))
        return self._told(rows, jobs, status)

    def cancel(self) -> None:
        """End the session: its scheduler and its workers; what is done can still be fetched."""
        from ..environments.batch import connected
        from ..environments.sessions import end_session

        with connected(self._record) as (call, shell):
            call(end_session(shell, self._record))

    def clean(self) -> None:
        """Delete the folder of the session on the cluster, and its record here.

        Raises
        ------
        ClusterError
            If the session goes on, or the folder is not that of the session.
        """
        from ..environments.batch import connected
        from ..environments.sessions import remove_session

        with connected(self._record) as (call, shell):
            call(remove_session(shell, self._record))
        self._record.forget()

    def __repr__(self) -> str:
        where = f"{self._record.username}@" if self._record.username else ""
        return (
            f"session {self.run_id} on {self.site} ({where}{self._record.host}:{self.folder})\n"
            f"  look at it: a.attach({self.run_id!r}).status(), or: tramway-dask status {self.run_id}\n"
            f"  go on:      a.attach({self.run_id!r}); a.run()\n"
            f"  end it:     a.attach({self.run_id!r}).cancel(), or: tramway-dask cancel {self.run_id}"
        )


def take_up(analyzer: RWAnalyzer, handle: SessionHandle) -> None:
    """Connect an analyzer to a session, if it goes on; fetch what is finished.

    Raises
    ------
    ClusterError
        If the cluster cannot be reached.
    """
    from ..environments.batch import connected
    from ..environments.sessions import read_parts

    record = handle._record
    env = analyzer.env
    attached = env is not None and env.is_running and getattr(env, "run_id", None) == record.run_id
    with connected(record) as (call, shell):
        status = handle._look(call, shell)
    if status.over:
        logger.warning("%s; what is done can be fetched, a.run() does the rest anew", status)
    elif not attached or env._cluster.is_left:
        env = _environment(record, env)
        env.attach(record)
        analyzer.env = env
    if status.state == "gone" or not len(analyzer.pipeline):
        return
    # a process from which the session was taken notices that after some seconds
    held = locked(analyzer.results.folder, patience=60)
    with _shell(record, None if status.over else env) as (call, shell), held:
        plan = analyzer.plan()
        wanted = {unit.task.key for unit in plan.todo}
        count = take_parts(analyzer.results, read_parts(call, shell, record.folder, wanted))
    analyzer.refresh()
    analyzer.logger.info("session %s: %d finished units were fetched", record.run_id, count)


@contextlib.contextmanager
def _shell(record: RunRecord, env: Any) -> Iterator[tuple[Any, Any]]:
    from ..environments.batch import connected

    if env is not None:
        yield env._loop.call, env._connection
    else:
        with connected(record) as found:
            yield found


def _environment(record: RunRecord, given: Any) -> Any:
    """Return the environment that a session is to be attached to: the analyzer's, or one like that of its start."""
    from .. import environments
    from ..environments.session import SessionEnvironment

    if isinstance(given, SessionEnvironment):
        return given
    made = next(
        (
            found
            for name in environments.__all__
            if name == record.environment and isinstance(found := getattr(environments, name), type)
        ),
        None,
    )
    if made is None and record.environment in environments.sites:
        made = environments.sites[record.environment]
    if made is None:
        raise ClusterError(
            f"session {record.run_id} was started with an environment {record.environment!r} that is not known here: "
            f"set a.env to it, then a.attach({record.run_id!r})"
        )
    return made(**record.parameters)
