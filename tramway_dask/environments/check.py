"""Tries everything that a site needs, and says for each what to do where it does not work."""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import SpecificationError, TramwayDaskError

__all__ = [
    "CheckResult",
    "FailedError",
    "NotTriedError",
    "Step",
    "Visit",
    "check_site",
    "run_steps",
    "split_advice",
]

Report = Callable[["CheckResult"], None]

STEP_SECONDS = 400.0
CLEANING_SECONDS = 60.0
RECONNECT_SECONDS = 20.0


@dataclass(frozen=True)
class CheckResult:
    """What one test has shown.

    Attributes
    ----------
    name : str
        Of the test.
    ok : bool or None
        None if it could not be tried.
    evidence : str
        What was seen, or why it was not tried.
    remedy : str
        What to do if it is not ok.
    """

    name: str
    ok: bool | None
    evidence: str = ""
    remedy: str = ""


class FailedError(Exception):
    """A test has failed.

    Parameters
    ----------
    evidence : str
    remedy : str
    """

    def __init__(self, evidence: str, remedy: str = "") -> None:
        super().__init__(evidence)
        self.evidence, self.remedy = evidence, remedy


class NotTriedError(FailedError):
    """A test could not be tried."""


@dataclass
class Visit:
    """What the tests share, and what has to be tidied up after them.

    Attributes
    ----------
    env : Slurm
        A copy of the user's environment.
    shell : Connection or LocalShell
    name : str
        Of the folder and of the job that the tests make.
    job : bool
        Whether a job may be submitted.
    job_seconds : float
        How long to wait for it.
    results : dict
        By the names of tests.
    home : str
        The user's home folder on the cluster.
    folder : str
        The folder of the check on scratch; empty until it exists.
    made : list of str
        Folders above it that did not exist before, the deepest first.
    """

    env: Any
    shell: Any
    name: str = field(default_factory=lambda: f"tramway-check-{secrets.token_hex(4)}")
    job: bool = True
    job_seconds: float = 120.0
    results: dict[str, CheckResult] = field(default_factory=dict)
    home: str = ""
    folder: str = ""
    made: list[str] = field(default_factory=list)
    settled: dict[str, Any] = field(default_factory=dict)
    submitted: bool = False
    listener: str = ""

    def passed(self, name: str) -> bool:
        """Tell whether a test was tried and is ok."""
        result = self.results.get(name)
        return result is not None and result.ok is True

    async def bash(self, lines: Sequence[str], *, timeout: float = 120.0) -> Any:
        """Run lines of Bash in a login shell, as jobs have them; never raises for their status."""
        text = "\n".join(lines) + "\n"
        return await self.shell.run("bash -s", input=text, check=False, timeout=timeout)


@dataclass(frozen=True)
class Step:
    """One test.

    Attributes
    ----------
    name : str
    test : callable
        ``await test(visit)`` returns the evidence, or raises `FailedError` or `NotTriedError`.
    needs : tuple of str
        Tests without which it makes no sense; those that are not in the list count as passed.
    """

    name: str
    test: Callable[[Visit], Awaitable[str]]
    needs: tuple[str, ...] = ()


def split_advice(text: str) -> tuple[str, str]:
    """Return what a message says has happened, and what it says to do.

    Examples
    --------
    >>> split_advice("lab: no host of this name is known; check its spelling")
    ('lab: no host of this name is known', 'check its spelling')
    """
    head, line, tail = text.strip().rpartition("\n")
    if line:
        return head, tail
    found = re.search(r"(?:; |\. (?=Either )|: (?=rebuild |build it ))", text)
    return (text[: found.start()], text[found.end() :]) if found else (text, "")


async def run_steps(steps: Sequence[Step], visit: Visit, report: Report | None = None) -> list[CheckResult]:
    """Run tests one after the other; those whose needs have failed are not tried.

    Parameters
    ----------
    steps : sequence of Step
    visit : Visit
    report : callable, optional
        Called with each result as soon as it is known.
    """
    there = {step.name for step in steps}
    # why a test was not tried: the first in the chain that is not ok
    causes: dict[str, str] = {}
    for step in steps:
        lacking = [n for n in step.needs if n in there and not visit.passed(n)]
        if lacking:
            cause = causes[step.name] = causes.get(lacking[0], lacking[0])
            verb = "failed" if visit.results[cause].ok is False else "was not tried"
            result = CheckResult(step.name, None, f"not tried, since {cause!r} {verb}")
        else:
            result = await _run(step, visit)
        visit.results[step.name] = result
        if report is not None:
            report(result)
    return list(visit.results.values())


async def _run(step: Step, visit: Visit) -> CheckResult:
    try:
        evidence = await asyncio.wait_for(step.test(visit), STEP_SECONDS)
    except NotTriedError as error:
        return CheckResult(step.name, None, error.evidence, error.remedy)
    except FailedError as error:
        return CheckResult(step.name, False, error.evidence, error.remedy)
    except TimeoutError:
        return CheckResult(
            step.name,
            False,
            f"no result within {STEP_SECONDS:g} s",
            "try again; the login node may be overloaded",
        )
    except (TramwayDaskError, OSError) as error:
        return CheckResult(step.name, False, *split_advice(str(error)))
    return CheckResult(step.name, True, evidence)


def _script_or_error(env: Any) -> str | TramwayDaskError:
    try:
        return str(env.job_script())
    except TramwayDaskError as error:
        return error


async def _settings(visit: Visit) -> str:
    script = visit.settled["script"]
    if isinstance(script, TramwayDaskError):
        raise script
    return f"a job script of {len(script.splitlines())} lines can be made"


def steps_of(env: Any, data: Sequence[str]) -> list[Step]:
    """Return the tests for an environment, in their order."""
    from .check_container import container_steps, data_steps
    from .check_host import host_steps, shell_step
    from .check_nodes import node_steps
    from .check_slurm import slurm_steps

    return [
        Step("settings", _settings),
        *(host_steps() if hasattr(env, "login_node") else []),
        shell_step(),
        *slurm_steps(),
        *container_steps(env),
        *node_steps(env),
        *data_steps(data),
    ]


def _environment(given: Any) -> Any:
    from .slurm import Slurm

    if isinstance(given, str):
        from .sites import sites

        given = sites[given]
    env = given() if isinstance(given, type) else given
    if not isinstance(env, Slurm):
        raise SpecificationError(f"only environments on Slurm can be checked, got {env!r}")
    return env.replace()  # tests leave the user's own one as it is


async def tidy_up(visit: Visit) -> CheckResult | None:
    """Remove all that the tests have made; return a result if that failed."""
    from .check_nodes import end_job
    from .check_slurm import remove_folder

    left = []
    for clean in (end_job, remove_folder):
        try:
            await clean(visit)
        except (TramwayDaskError, FailedError, OSError) as error:
            left.append(str(error))
    if not left:
        return None
    return CheckResult(
        "cleaning up",
        False,
        "; ".join(left),
        f"on the cluster, run: scancel --me --name={visit.name}; rm -r {visit.folder or ''}".rstrip(" ;rm-"),
    )


def check_site(
    env_or_name: Any,
    *,
    data: Sequence[str] = (),
    job: bool = True,
    job_seconds: float = 120.0,
    report: Report | None = None,
) -> list[CheckResult]:
    """Try everything that runs on a site need.

    Nothing is left behind on the cluster, whatever happens: no file, no process, no job.

    Parameters
    ----------
    env_or_name : Slurm or str
        An environment, or the name of a site.
    data : sequence of str
        Files, or patterns of files, that an analysis will need.
    job : bool
        Whether a job of two minutes at most may be submitted: it shows whether compute nodes reach the
        scheduler.
    job_seconds : float
        How long to wait until that job has started and ended.
    report : callable, optional
        Called with each result as soon as it is known.

    Returns
    -------
    list of CheckResult

    Examples
    --------
    >>> [r.name for r in check_site("maestro") if r.ok is False]  # doctest: +SKIP
    ['host name']
    """
    from .loop import LoopThread

    env = _environment(env_or_name)
    # dask-jobqueue can be imported by the main thread only
    script = _script_or_error(env)
    with LoopThread("tramway-dask-check") as loop:

        async def prepare() -> Visit:
            shell = env._shell()
            shell.reconnect_for = RECONNECT_SECONDS
            return Visit(env, shell, job=job, job_seconds=job_seconds, settled={"script": script})

        visit = loop.call(prepare())
        extra = None
        try:
            results = loop.call(run_steps(steps_of(env, data), visit, report))
        finally:
            with contextlib.suppress(KeyboardInterrupt):
                extra = loop.call(tidy_up(visit), timeout=CLEANING_SECONDS)
            loop.call(visit.shell.close(), timeout=10)
    if extra is not None:
        results.append(extra)
        if report is not None:
            report(extra)
    return results
