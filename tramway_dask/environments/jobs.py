"""Job scripts: text that can be printed before anything is submitted.

Workers are one array of jobs: the n-th job of the array is the n-th of a list of
names. The script is that of dask-jobqueue's `SLURMJob`, whose words are joined
without quotes: what is given to it here is quoted already.
"""

from __future__ import annotations

import shlex
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..errors import MissingDependencyError, SpecificationError

__all__ = ["JobSettings", "directives", "scheduler_of", "scheduler_script", "worker_script"]

# a worker stops this long before its job ends, so that nothing is killed half way
MARGIN = 120  # s
PLACEHOLDER = "tls://scheduler:0"

# how options of sbatch that dask-jobqueue writes itself are spelt
SPELLINGS = {
    "job-name": ("J", "job-name"),
    "partition": ("p", "partition"),
    "account": ("A", "account"),
    "ntasks": ("n", "ntasks"),
    "cpus-per-task": ("c", "cpus-per-task"),
    "mem": ("mem",),
    "time": ("t", "time"),
}
WRITTEN = {
    "job-name": "#SBATCH -J ",
    "partition": "#SBATCH -p ",
    "account": "#SBATCH -A ",
    "ntasks": "#SBATCH -n ",
    "cpus-per-task": "#SBATCH --cpus-per-task=",
    "mem": "#SBATCH --mem=",
    "time": "#SBATCH -t ",
}
# the package decides on these
RESERVED = ("a", "array", "o", "output", "e", "error", "wrap", "parsable", "d", "dependency")

NAMES = """\
names=({names})
export TRAMWAY_WORKER="${{names[${{SLURM_ARRAY_TASK_ID:-0}}]}}"
"""
# the job's end as Slurm knows it: its time limit may be shorter than what was asked for
LIFETIME = """\
ends=$(unset ${{!SQUEUE_@}}; SLURM_TIME_FORMAT=standard \
    squeue --noheader --job "$SLURM_JOB_ID" --format %e 2>/dev/null | head -n 1)
# of nothing, date would make the last midnight
[ -z "$ends" ] || ends=$(date -d "$ends" +%s 2>/dev/null || true)
left=$(( ${{ends:-0}} - $(date +%s) ))
if [ "$left" -gt 0 ]; then
    margin=$((left / 5 < {margin} ? left / 5 : {margin}))
    left=$((left - margin))
    export DASK_DISTRIBUTED__WORKER__LIFETIME__DURATION="${{left}}s"
fi
"""


@dataclass(frozen=True)
class JobSettings:
    """What a site wants in its job scripts.

    Parameters
    ----------
    name : str
        Of the jobs.
    folder : str
        Of the run, as the jobs see it.
    python : str
        Shell words, quoted, that start Python.
    prologue : sequence of str
        Shell lines that come first.
    before_python : sequence of str
        Shell lines that come last before Python.
    cores : int
    memory : str
    walltime, queue, account, interface : str, optional
    options : mapping
        Further options of sbatch; one-letter names as with a single dash.
    local_directory : str
        Of workers, on the node.
    death_timeout : int
        Seconds that a worker waits for the scheduler.
    """

    name: str
    folder: str
    python: str
    prologue: Sequence[str] = ()
    before_python: Sequence[str] = ()
    cores: int = 1
    memory: str = "4 GiB"
    walltime: str | None = None
    queue: str | None = None
    account: str | None = None
    interface: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    local_directory: str = "/tmp"
    death_timeout: int = 300


def directives(options: Mapping[str, Any]) -> list[str]:
    """Return options of sbatch as words of ``#SBATCH`` lines.

    Examples
    --------
    >>> directives({"qos": "fast", "p": "long", "exclusive": True})
    ['--qos=fast', '-p long', '--exclusive']
    """
    words = []
    for name, value in options.items():
        key = str(name).replace("_", "-")
        if key in RESERVED:
            raise SpecificationError(f"sbatch_options: {name!r} is set by the package itself")
        text = shlex.quote(str(value))
        if value is True:
            words.append(f"-{key}" if len(key) == 1 else f"--{key}")
        elif value is not False and value is not None:
            words.append(f"-{key} {text}" if len(key) == 1 else f"--{key}={text}")
    return words


def _skipped(options: Mapping[str, Any]) -> list[str]:
    """Return the lines that given options replace."""
    given = {str(name).replace("_", "-") for name in options}
    return [WRITTEN[name] for name, spellings in SPELLINGS.items() if given & set(spellings)]


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep an import from replacing the handler of Ctrl-C, which fails outside the main thread."""
    install = signal.signal
    importing = threading.current_thread()

    def keep(number: Any, handler: Any) -> Any:
        # other threads go on as ever
        return (
            signal.getsignal(number) if threading.current_thread() is importing else install(number, handler)
        )

    signal.signal = keep  # type: ignore[assignment]
    try:
        yield
    finally:
        signal.signal = install


def _slurm_job() -> Any:
    try:
        with _own_signals():  # dask-jobqueue 0.9.0 installs a handler when it is imported
            from dask_jobqueue.slurm import SLURMJob
    except ImportError as error:
        raise MissingDependencyError(
            'Slurm needs dask-jobqueue: pip install "tramway_dask[slurm]"'
        ) from error
    return SLURMJob


def worker_script(
    settings: JobSettings,
    *,
    names: Sequence[str] = ("worker-0",),
    address: str = PLACEHOLDER,
    security: Mapping[str, str] | None = None,
) -> str:
    """Return the script of an array of worker jobs.

    Parameters
    ----------
    settings : JobSettings
    names : sequence of str
        Of the workers, one per job of the array.
    address : str
        Of the scheduler, as the nodes reach it; or words as from `scheduler_of`.
    security : mapping, optional
        Paths of ``ca``, ``cert`` and ``key`` as the workers see them.
    """
    security = security or {k: f"{settings.folder}/tls/{k}.pem" for k in ("ca", "cert", "key")}
    extra = [
        "--no-dashboard",
        *("--dashboard-address", "127.0.0.1:0"),  # pages that a worker has even so, unencrypted
        *("--tls-ca-file", shlex.quote(security["ca"])),
        *("--tls-cert", shlex.quote(security["cert"])),
        *("--tls-key", shlex.quote(security["key"])),
    ]
    if settings.interface:
        extra += ["--interface", shlex.quote(settings.interface)]
    prologue = [
        *settings.prologue,
        NAMES.format(names=" ".join(map(shlex.quote, names))).rstrip(),
        LIFETIME.format(margin=MARGIN).rstrip(),
        *settings.before_python,
        f"cd {shlex.quote(settings.folder)} || exit 1",
    ]
    job = _job(
        settings,
        name='"$TRAMWAY_WORKER"',
        scheduler=address,
        protocol="tls://",
        worker_extra_args=extra,
        job_script_prologue=prologue,
        log="%x-%A_%a.log",
    )
    return job.job_script()


def scheduler_of(folder: str) -> str:
    """Return the words by which workers find the scheduler of a run: they may be there before it."""
    return f"--scheduler-file {shlex.quote(f'{folder}/scheduler.json')}"


def scheduler_script(settings: JobSettings, command: str, *, walltime: str | None = None) -> str:
    """Return the script of a job that runs a command, such as a scheduler or a driver."""
    job = _job(
        settings,
        name="none",
        scheduler="none",
        protocol=None,
        worker_extra_args=[],
        job_script_prologue=[
            *settings.prologue,
            *settings.before_python,
            f"cd {shlex.quote(settings.folder)} || exit 1",
        ],
        log="%x-%j.log",
        walltime=walltime or settings.walltime,
    )
    head, _, _ = job.job_script().partition(job._command_template)
    return f"{head}{command}\n"


def _job(settings: JobSettings, *, log: str, walltime: str | None = None, **options: Any) -> Any:
    logs = f"{settings.folder}/logs/{log}"
    return _slurm_job()(
        cores=settings.cores,
        processes=1,  # with more, dask-jobqueue cannot tell which worker belongs to which job
        memory=settings.memory,
        walltime=walltime or settings.walltime,
        queue=settings.queue,
        account=settings.account,
        python=settings.python,
        nanny=True,
        death_timeout=settings.death_timeout,
        local_directory=shlex.quote(settings.local_directory),
        log_directory=None,
        shebang="#!/usr/bin/env bash",
        job_name=settings.name,
        job_directives_skip=_skipped(settings.options),
        job_extra_directives=[
            f"--output={shlex.quote(logs)}",
            "--nodes=1",
            "--no-requeue",
            "--open-mode=append",
            *directives(settings.options),
        ],
        **options,
    )
