"""Runs of an analyzer: plan, execute, record."""

from __future__ import annotations

import contextlib
import functools
import itertools
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..environments.usercode import modules_by_value
from ..environments.usermodules import user_files
from ..errors import LostClusterError, PipelineError, SpecificationError, suggest
from ..interactive import is_interactive
from ..pipeline.background import BackgroundRun, Submitted, going_on
from ..pipeline.execute import Recorder, closing, run_in_process, run_on_cluster
from ..pipeline.graph import Batch, Reach
from ..pipeline.live import LiveRun
from ..pipeline.plan import Plan, make_plan
from ..pipeline.progress import Progress
from ..pipeline.report import RunReport
from ..pipeline.stages import Stage
from ..pipeline.submit import submit_units
from ..pipeline.work import UnitResult, UnitTask
from ..results.files import locked
from ..results.store import Store
from .recording import logged, recorded

if TYPE_CHECKING:
    from distributed import Future

    from ..environments.base import Environment
    from .rwanalyzer import RWAnalyzer

__all__ = ["run", "submit", "take_parts"]

ON_ERROR = ("record", "raise")


def run(
    analyzer: RWAnalyzer, *, overwrite: bool, on_error: str, progress: Any, batch: int | str
) -> RunReport:
    """Run the pipeline of an analyzer; see `RWAnalyzer.run`.

    In the place of `progress`, a function of the plan may return what counts its units.
    """
    if on_error not in ON_ERROR:
        raise SpecificationError(f"on_error: unknown value {on_error!r}; {suggest(on_error, ON_ERROR)}")
    if batch != "auto" and (isinstance(batch, bool) or not isinstance(batch, int) or batch < 1):
        raise SpecificationError(f"batch: expected 'auto' or a whole number from 1 up, got {batch!r}")
    stages = analyzer.pipeline.stages
    if not stages:
        raise PipelineError("the pipeline has no stage; add one with a.pipeline.append_stage(stages....)")
    store = analyzer.results
    # it lives until what is done of it is done again, and its tasks go on until then
    former = _taken_over(analyzer)
    if former is not None:
        former.stop()
    report = RunReport(store.folder)
    report.groups = {s.name: s.groups for s in analyzer.spt_data if s.groups}
    began = time.perf_counter()
    first, *_ = _blocks(stages)
    planned: Plan | None = None
    if not first[0].requires_mutability:
        # what is wrong with the specification is said before anything is written
        analyzer.recover()
        planned = _plan(analyzer, first, overwrite)
    with (
        _kept_for_background(analyzer, locked(store.folder)),
        logged(analyzer),
        recorded(analyzer, report, planned),
        contextlib.ExitStack() as place,
    ):
        for source in store.pending():
            store.merge(source)
            planned = None
        for block in _blocks(stages):
            if block[0].requires_mutability:
                if not block[0].inert:
                    _run_here(block[0], analyzer, report)
                    analyzer.refresh()
                continue
            for stage in block:
                shared = analyzer.env is None or analyzer.env.shares_files
                if stage.run_everywhere and not shared:
                    _run_here(stage, analyzer, report)
            _run_block(analyzer, block, report, overwrite, on_error, progress, batch, place, planned, former)
            planned = None
        report.seconds = time.perf_counter() - began
    if analyzer.env is not None:
        analyzer.env.dismiss()
    analyzer.refresh()
    for text in report.warnings:
        analyzer.logger.warning(text)
    return report


def _plan(analyzer: RWAnalyzer, stages: Sequence[Stage], overwrite: bool) -> Plan:
    return make_plan(analyzer.synchronized(), stages, analyzer.results, overwrite=overwrite)


def _run_block(
    analyzer: RWAnalyzer,
    stages: Sequence[Stage],
    report: RunReport,
    overwrite: bool,
    on_error: str,
    progress: Any,
    batch: int | str,
    place: contextlib.ExitStack,
    planned: Plan | None = None,
    former: BackgroundRun | None = None,
) -> None:
    """Run stages that need not run here; go on where a lost cluster has left off, if it is found again."""
    store, env, again = analyzer.results, analyzer.env, False
    while True:
        plan = planned if planned is not None else _plan(analyzer, stages, overwrite)
        planned = None
        bar = progress(plan) if callable(progress) else Progress(len(plan.todo), progress)
        with closing(Recorder(plan, store, report, bar, on_error, goes_on=again)) as recorder:
            try:
                _execute(plan, analyzer, recorder, batch, place, former)
                return
            except LostClusterError as error:
                analyzer.logger.warning("%s; trying to find it again", error)
                lost = error
        env.reconnect(lost)
        wanted = {unit.task.key for unit in plan.todo}
        take_parts(store, env.parts(wanted))
        again = True


def take_parts(store: Store, parts: Iterable[tuple[str, str, bytes]]) -> int:
    """Put copies of results that workers have left into the results folder; return how many."""
    taken = 0
    for source, key, payload in parts:
        store.write_part(source, key, payload)
        taken += 1
    for source in store.pending():
        store.merge(source)
    return taken


def _taken_over(analyzer: RWAnalyzer) -> BackgroundRun | None:
    """Return the run that writes to the results folder while nobody waits for it, if there is one.

    Where it runs, this analyzer does as well if that is where it wants to; else that place is closed.
    """
    former = going_on(analyzer.results.folder)
    if former is None or former.env is analyzer.env:
        return former
    if former.env.serves_for(analyzer.env):
        analyzer.env = former.env  # a cell was run again
    else:
        former.cancel()
        former.env.dismiss()
    return former


@contextlib.contextmanager
def _kept_for_background(
    analyzer: RWAnalyzer, lock: contextlib.AbstractContextManager[None]
) -> Iterator[None]:
    """Hold a lock; when an interrupted run goes on, until its end."""
    with contextlib.ExitStack() as held:
        held.enter_context(lock)
        try:
            yield
        except KeyboardInterrupt:
            run = going_on(analyzer.results.folder)
            if run is not None:
                run.hold(held.pop_all())
            raise


def _execute(
    plan: Plan,
    analyzer: RWAnalyzer,
    recorder: Recorder,
    batch: int | str,
    place: contextlib.ExitStack,
    former: BackgroundRun | None,
) -> None:
    if not plan.todo:
        return
    env = analyzer.env
    if env is None:
        run_in_process(plan, analyzer.specification(), analyzer.results, recorder)
        return
    env.expect(len(plan.todo))
    place.enter_context(env.connect())
    env.check()
    try:
        _run_there(plan, analyzer, recorder, batch, former)
    except KeyboardInterrupt:
        env.interrupted()
        raise


def _run_there(
    plan: Plan, analyzer: RWAnalyzer, recorder: Recorder, batch: int | str, former: BackgroundRun | None
) -> None:
    env, specification = analyzer.env, analyzer.specification()
    with _shipping(env, specification, plan.stages):
        run_on_cluster(
            plan,
            specification,
            analyzer.results,
            recorder,
            env.client,
            reach=_reach(plan, analyzer),
            batch=batch,
            check=env.check,
            absent=env.absent,
            earlier=[*env.earlier_batches, *(former.groups if former is not None else ())],
            announce=functools.partial(_announce, env, plan, recorder),
            outlives=env.outlives,
            keep=functools.partial(_keep, analyzer, recorder)
            if is_interactive() and not env.outlives
            else None,
        )


def _keep(analyzer: RWAnalyzer, recorder: Recorder, futures: dict[Future, Batch]) -> None:
    """Have the tasks of an interrupted run go on, and their results be stored."""
    recorder.on_error = "record"
    run = BackgroundRun(recorder, analyzer.env.client, analyzer.env)
    run.watch({future: batch.units for future, batch in futures.items()}, blame=False)
    analyzer.env.keep_for(run)
    analyzer.logger.info("interrupted: %d units go on", run.left)


@contextlib.contextmanager
def _shipping(env: Environment, *travelling: Any) -> Iterator[None]:
    """Let the user's modules travel to workers that cannot import them."""
    if env.shares_modules:
        yield
        return
    from ..environments.moduleplugin import send_modules

    with modules_by_value():
        send_modules(env.client, user_files(*travelling))
        yield


def _announce(env: Environment, plan: Plan, recorder: Recorder, batches: Sequence[Batch]) -> None:
    """Tell the environment, and the live page, what is to be done."""
    recorder.live = LiveRun(plan, recorder.store, batches, over=env.show_end)
    env.show(recorder.live)
    if not env.outlives:
        return
    tasks = [
        (batch.key, [[u.task.name, u.task.source, u.task.region, u.task.key] for u in batch.units])
        for batch in batches
    ]
    done = Counter((u.task.name, u.task.source) for u in plan.units if u.status == "done")
    env.announce(
        str(recorder.store.folder.absolute()), tasks, skipped=[[*place, n] for place, n in done.items()]
    )


def _reach(plan: Plan, analyzer: RWAnalyzer) -> Reach:
    """Make sure that the workers have the files, and return how they reach them."""
    env = analyzer.env
    if env.shares_files:
        return Reach(analyzer.results, parts=env.parts_folder)
    concerned = [u.source for u in plan.todo if u.source is not None]
    if len(concerned) < len(plan.todo):  # a stage over the full dataset may read any file
        concerned = list(analyzer.spt_data)
    sources = {s.name: s for s in concerned if s.path is not None}
    here = [s for s in sources.values() if not s.elsewhere]
    staged = dict(env.stage([s.path for s in here], {s.path: s.file_digest() for s in here}))
    staged |= {s.path: s.path for s in sources.values() if s.elsewhere}
    env.require([s.path for s in sources.values() if s.elsewhere])
    paths = {name: staged[s.path] for name, s in sources.items()}
    return Reach(None, paths, env.parts_folder)


def _run_here(stage: Stage, analyzer: RWAnalyzer, report: RunReport) -> None:
    """Run a stage on the analyzer itself; an error there ends the run."""
    began = time.perf_counter()
    with analyzer.holding_results():
        returned = stage(analyzer)
    task = UnitTask(stage.name, "", -1, stage.name)
    report.add(
        UnitResult(task, returned=returned, seconds=time.perf_counter() - began, host=socket.gethostname())
    )


def submit(analyzer: RWAnalyzer, *, overwrite: bool) -> Submitted:
    """Submit the pipeline of an analyzer; see `RWAnalyzer.submit`."""
    if analyzer.env is None:
        raise PipelineError("submit() needs workers: set a.env, as in `a.env = environments.LocalHost`")
    if any(s.requires_mutability and not s.inert for s in analyzer.pipeline):
        raise PipelineError("submit() cannot run stages that require mutability; use run()")
    store = analyzer.results
    plan = analyzer.plan(overwrite=overwrite)
    with contextlib.ExitStack() as held:
        held.enter_context(locked(store.folder))
        recorder = Recorder(plan, store, RunReport(store.folder))
        client = analyzer.env.client
        analyzer.env.check()
        with _shipping(analyzer.env, analyzer.specification(), plan.stages):
            reach = _reach(plan, analyzer)
            submitted = submit_units(
                plan,
                analyzer,
                store,
                recorder,
                client,
                reach=reach,
                announce=functools.partial(_announce, analyzer.env, plan, recorder),
                env=analyzer.env,
            )
            # results arrive when this function has returned: the folder is held until the last one
            submitted.run.hold(held.pop_all())
    analyzer.env.keep_for(submitted.run)
    return submitted


def _blocks(stages: Sequence[Stage]) -> Iterator[list[Stage]]:
    """Cut a pipeline where a stage must run on the analyzer itself."""
    for alone, group in itertools.groupby(stages, key=lambda s: s.requires_mutability):
        if alone:
            yield from ([stage] for stage in group)
        else:
            yield list(group)
