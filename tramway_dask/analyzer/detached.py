"""Runs that go on without this computer: started, looked at, fetched."""

from __future__ import annotations

import logging
import os
import shlex
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..environments.usercode import modules_by_value
from ..environments.usermodules import user_files
from ..errors import ClusterError, PipelineError
from ..pipeline.plan import Plan
from ..results.archive import pack
from ..results.store import Store
from .fetching import collect, fetch_results, forget_fetched

if TYPE_CHECKING:
    from ..environments.inspection import BatchStatus, JobLog
    from ..environments.records import RunRecord
    from .rwanalyzer import RWAnalyzer

logger = logging.getLogger("tramway_dask")

__all__ = ["RunHandle", "attach", "run_detached"]


class RunHandle:
    """A detached run: jobs on a cluster, which need nobody.

    Every method opens a connection, does its work and closes it.

    Attributes
    ----------
    run_id : str
    site : str
        Name of the environment or site.
    folder : str
        Of the run, on the cluster.
    results : Store
        Where `fetch` puts the results.
    received : int
        Bytes of results that the last `fetch` was sent.
    """

    received = 0

    def __init__(self, record: RunRecord, results: Store | None = None) -> None:
        self._record = record
        self.results = results or Store(record.results or "results")

    @property
    def run_id(self) -> str:
        """Name of the run."""
        return self._record.run_id

    @property
    def site(self) -> str:
        """Name of the environment or site."""
        return self._record.environment

    @property
    def folder(self) -> str:
        """Folder of the run on the cluster."""
        return self._record.folder

    def status(self) -> BatchStatus:
        """Return how the run is; printed, it is said in plain words.

        Raises
        ------
        ClusterError
            If the cluster cannot be reached.
        """
        from ..environments.batch import connected

        with connected(self._record) as (call, shell):
            return self._look(call, shell)

    def _look(self, call: Any, shell: Any) -> BatchStatus:
        from ..environments.inspection import inspect_run

        return call(inspect_run(shell, self._record))

    def wait(self, timeout: float | None = None, *, interval: float = 15.0) -> BatchStatus:
        """Wait until the run is over, through one connection.

        Parameters
        ----------
        timeout : float, optional
            Seconds; then a ClusterError is raised and the run goes on.
        interval : float
            Seconds between two looks.
        """
        return self._wait(lambda status: status.over, timeout, interval)

    def _wait(
        self, reached: Callable[[BatchStatus], bool], timeout: float | None, interval: float
    ) -> BatchStatus:
        from ..environments.batch import connected

        ends = None if timeout is None else time.monotonic() + timeout
        with connected(self._record) as (call, shell):
            while True:
                status = self._look(call, shell)
                if reached(status):
                    return status
                if ends is not None and time.monotonic() + interval > ends:
                    raise ClusterError(f"not over after {timeout:g} s: {status}")
                time.sleep(interval)

    def fetch(self, *, overwrite: bool | None = None) -> BatchStatus:
        """Bring what is finished into the results folder, failures and collectibles as well.

        It may be repeated while the run goes on, and when it has stopped before its end: what was brought
        before is not sent again (`received` says how many bytes of results were).

        Parameters
        ----------
        overwrite : bool, optional
            Replace results made with other parameters; default: as the run was told.

        Raises
        ------
        LabelConflictError
            If the results folder has got results made with other parameters meanwhile.
        ClusterError
            If the cluster cannot be reached.
        """
        from ..environments.batch import connected
        from ..environments.inspection import inspect_run

        record = self._record
        with connected(record) as (call, shell), tempfile.TemporaryDirectory() as temporary:
            status: BatchStatus = call(inspect_run(shell, record))
            if status.state == "gone":
                raise ClusterError(f"nothing can be fetched: {status.why}")
            wanted = record.overwrite if overwrite is None else overwrite
            self.received = fetch_results(
                call, shell, record, self.results, Path(temporary), overwrite=wanted, over=status.over
            )
            for path in record.collectibles:
                if not collect(call, shell, record, path, self.results.folder) and status.over:
                    logger.warning("run %s has not written %s", record.run_id, path)
        record.fetched = datetime.now(UTC).isoformat(timespec="seconds")
        if record.path.exists():
            record.save()
        return status

    def logs(self) -> str:
        """Return excerpts: of each failed unit, and of the logs of jobs that went wrong."""
        from ..environments.batch import connected
        from ..environments.inspection import inspect_run, job_logs

        with connected(self._record) as (call, shell):
            status: BatchStatus = call(inspect_run(shell, self._record))
            jobs = call(job_logs(shell, self._record, state=status.state))
            rows = call(_failures(shell, self._record))
        return self._told(rows, jobs, status)

    @staticmethod
    def _told(rows: Sequence[dict[str, Any]], jobs: Sequence[JobLog], status: BatchStatus) -> str:
        lines = []
        for row in rows:
            lines += [f"failed: {row['source']} {row['roi']} ({row['stage']}) on {row['host'] or '?'}"]
            lines += [
                f"    {line}" for line in (row["traceback"] or row["message"]).strip().splitlines()[-8:]
            ]
        for log in jobs:
            lines += [f"{log.name}" + (f": {log.meaning}" if log.meaning else "")]
            lines += [f"    {line}" for line in log.text.splitlines()]
        return "\n".join(lines) or f"no unit has failed and no job has ended badly; {status}"

    def cancel(self) -> None:
        """Cancel the jobs of the run; what is done can still be fetched."""
        from ..environments.batch import cancel_jobs, connected

        with connected(self._record) as (call, shell):
            call(cancel_jobs(shell, self._record))

    def resume(self) -> None:
        """Submit the jobs of a run that has stopped, or was cancelled, again; what is done is not done again.

        What failed for a reason that is still there is better told to a new run: files, parameters and
        environment stay those that the run was started with.

        Raises
        ------
        ClusterError
            If the run is not over, or its folder is gone, or a job is refused.
        """
        from ..environments.batch import connected, resume_run

        with connected(self._record) as (call, shell):
            self._record.jobs = call(resume_run(shell, self._record))
        self._record.save()

    def clean(self) -> None:
        """Delete the folder of the run on the cluster, and the record of the run here.

        Raises
        ------
        ClusterError
            If the run has jobs in the queue, or the folder is not that of the run.
        """
        from ..environments.batch import cancel_jobs, connected, remove_run
        from ..environments.inspection import inspect_run

        with connected(self._record) as (call, shell):
            status: BatchStatus = call(inspect_run(shell, self._record))
            if status.over:
                call(cancel_jobs(shell, self._record))  # its last jobs may be ending
            call(remove_run(shell, self._record))
        self._forget()

    def _forget(self) -> None:
        self._record.forget()
        forget_fetched(self.results, self.run_id)

    def __repr__(self) -> str:
        where = f"{self._record.username}@" if self._record.username else ""
        return (
            f"run {self.run_id} on {self.site} ({where}{self._record.host}:{self.folder})\n"
            f"  look at it:      a.attach({self.run_id!r}).status(), or: tramway-dask status {self.run_id}\n"
            f"  get its results: a.attach({self.run_id!r}).fetch(), or: tramway-dask fetch {self.run_id}"
        )


def attach(run_id: str | None = None, results: str | Path | Store | None = None) -> RunHandle:
    """Return the handle of a run on a cluster that was started from this computer.

    Parameters
    ----------
    run_id : str, optional
        Its name, or the beginning or end of it; default: the latest.
    results : path or Store, optional
        Where its results go; default: the results folder that it was started with.

    Raises
    ------
    ClusterError
        If no such run is known here.
    """
    from ..environments.records import find_record

    store = results if isinstance(results, Store) or results is None else Store(Path(results).expanduser())
    record = find_record(run_id)
    if record.mode == "interactive":
        from .sessions import SessionHandle

        return SessionHandle(record, store)
    return RunHandle(record, store)


def run_detached(analyzer: RWAnalyzer, *, overwrite: bool, on_error: str, batch: int | str) -> RunHandle:
    """Submit the pipeline of an analyzer as jobs that need nobody; see `RWAnalyzer.run`."""
    from ..environments.batch import opened, submit
    from ..environments.slurm import Slurm

    env = analyzer.env
    if not isinstance(env, Slurm):
        raise PipelineError(
            "a detached run needs a cluster with Slurm: set a.env, as in `a.env = environments.SingularitySlurm(...)`"
        )
    plan = None
    if any(not s.requires_mutability for s in analyzer.pipeline):
        plan = analyzer.plan(overwrite=overwrite)
    elif not len(analyzer.pipeline):
        analyzer.plan()  # says that there is no stage
    alone = any(s.requires_mutability and not s.inert for s in analyzer.pipeline)
    if plan is not None and not plan.todo and not alone:
        raise PipelineError(
            f"nothing is to be done: {analyzer.results.folder} holds all results\n{plan.summary()}"
        )
    sources = _sources_needed(analyzer, plan, alone)
    settings = {"overwrite": overwrite, "on_error": on_error, "batch": batch}
    record = {
        "results": str(analyzer.results.folder.absolute()),
        "directory": os.getcwd(),
        "overwrite": overwrite,
        "collectibles": list(analyzer.pipeline.collectibles),
    }
    units = [] if plan is None else _units(plan)
    with opened(env) as (env, run), tempfile.TemporaryDirectory() as temporary:
        if plan is not None and not alone:
            env.worker_count = min(env.worker_count, len(plan.todo))
        readable = [s for s in sources if s.path is not None and not s.elsewhere and os.path.isfile(s.path)]
        paths = env.bring([s.path for s in readable], {s.path: s.file_digest() for s in readable})
        env.require([s.path for s in sources if s.elsewhere])
        package, earlier = Path(temporary) / "analyzer.pkl", Path(temporary) / "earlier.tar"
        _pickle(analyzer, plan, sources, paths, package)
        packed = pack(analyzer.results, [s.name for s in sources], earlier)
        return RunHandle(
            submit(
                env,
                run,
                package=package,
                earlier=earlier if packed else None,
                settings=settings,
                record=record,
                units=units,
            ),
            analyzer.results,
        )


def _units(plan: Plan) -> list[dict[str, Any]]:
    """Count the units of a plan as the status of a run does."""
    counts = Counter((u.task.name, u.task.source, u.status) for u in plan.units)
    places = dict.fromkeys((u.task.name, u.task.source) for u in plan.units)
    return [
        {
            "stage": stage,
            "source": source,
            "done": 0,
            "skipped": counts[stage, source, "done"],
            "failed": counts[stage, source, "failed"],
            "left": counts[stage, source, "to do"],
            "running": 0,
        }
        for stage, source in places
    ]


def _sources_needed(analyzer: RWAnalyzer, plan: Plan | None, alone: bool) -> list[Any]:
    """Leave out sources of which everything is done, if no stage looks at all of them."""
    everything = list(analyzer.spt_data)
    if plan is None or alone or any(not unit.task.source for unit in plan):
        return everything
    left = {unit.task.source for unit in plan if unit.status != "done"}
    return [source for source in everything if source.name in left]


def _pickle(analyzer: RWAnalyzer, plan: Plan | None, sources: Sequence[Any], paths: Any, path: Path) -> None:
    """Write the analyzer for the driver: remote paths, regions resolved, labels chosen."""
    import cloudpickle

    from ..environments.driver import Shipped

    light = analyzer.specification()
    wanted = {source.name: source for source in sources}
    travelling, regions = [], {}
    for source in light.spt_data:
        original = wanted.get(source.name)
        if original is None:
            continue
        if original.path is None:
            source.hold(original.dataframe)
        else:
            source.path = paths.get(original.path, original.path)
            if original.elsewhere or os.path.isfile(original.path):
                regions[source.name] = list(original.roi.support_regions())
        travelling.append(source)
    light._set_sources(travelling)
    chosen = list(plan.stages) if plan is not None else []
    stages = [stage if stage.requires_mutability else chosen.pop(0) for stage in analyzer.pipeline]
    with modules_by_value():
        # apart from the rest, which can be read only when they are there
        shipped = Shipped(user_files(light, stages), cloudpickle.dumps((light, stages, regions)))
    path.write_bytes(cloudpickle.dumps(shipped))
    path.chmod(0o600)


async def _failures(shell: Any, record: RunRecord) -> list[dict[str, Any]]:
    path = f"{record.folder}/results/failures.parquet"
    if (await shell.run(f"[ -f {shlex.quote(path)} ]", check=False)).status:
        return []
    with tempfile.TemporaryDirectory() as folder:
        await shell.download(path, Path(folder) / "failures.parquet")
        table = Store(folder).read_failures()
    return [] if table is None else table.to_pylist()
