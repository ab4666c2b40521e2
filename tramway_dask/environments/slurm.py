"""Environments on Slurm, from a submit host."""

from __future__ import annotations

import getpass
import logging
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ..component import count, one_of, optional, positive, setting
from ..errors import ClusterError, SpecificationError
from .jobs import JobSettings, directives, scheduler_of, worker_script
from .records import RunRecord, make_record
from .session import SessionEnvironment, check_timeouts, grouping
from .shell import LocalShell

__all__ = ["Slurm", "from_one"]

logger = logging.getLogger("tramway_dask")

PLACES = ("login", "job")
WALLTIME = re.compile(r"(\d+-)?\d+(:\d{1,2}){0,2}")


def _walltime(name: str, value: Any) -> str:
    if not isinstance(value, str) or not WALLTIME.fullmatch(value):
        raise SpecificationError(f"{name}: expected e.g. '04:00:00' or '1-12:00:00', got {value!r}")
    return value


def from_one(name: str, value: Any) -> int:
    """Accept a whole number from 1 up."""
    if count(name, value) < 1:
        raise SpecificationError(f"{name}: expected a whole number from 1 up, got {value!r}")
    return int(value)


def _memory(name: str, value: Any) -> str:
    from dask.utils import parse_bytes

    try:
        parse_bytes(value)
    except (ValueError, TypeError, AttributeError):
        raise SpecificationError(f"{name}: expected e.g. '4 GiB', got {value!r}") from None
    return str(value)


def _options(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SpecificationError(
            f"{name}: expected a dictionary such as dict(p='main', qos='fast'), got {value!r}"
        )
    directives(value)
    return value


def _lines(name: str, value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


@dataclass(eq=False, repr=False)
class Slurm(SessionEnvironment):
    """Workers as jobs of Slurm, from a host on which ``sbatch`` is.

    Parameters
    ----------
    worker_count : int
        Number of workers; each is a job.
    cores : int
        Threads of a worker.
    memory : str
        Of a worker.
    walltime : str
        Of a job, ``[days-]hours:minutes:seconds``.
    queue : str, optional
        Partition; also `partition`.
    account : str, optional
    interface : str, optional
        Network interface by which compute nodes and login node reach each other, such as ``"ib0"``.
    sbatch_options : dict
        Further options of sbatch; one-letter names as with a single dash.
    working_directory : str, optional
        Folder for runs, on a file system that nodes and login node share; also `wd`. Default: the
        scratch folder of the site, else ``~/.tramway_dask``.
    python : str
        Command that starts Python on the nodes.
    prologue : sequence of str
        Shell lines that come first in every job.
    scheduler : {'login', 'job'}
        Where the Dask scheduler runs: on the login node, or in a job of its own where the site forbids
        long processes there.
    scheduler_walltime : str, optional
        Of that job; default: `walltime`.
    max_jobs, max_array : int
        Limits of the site.
    max_resubmits : int
        How many worker jobs that ended before their time are replaced.
    local_directory : str
        Of workers, on the node.
    start_timeout : float
        Seconds to wait for the scheduler.
    worker_timeout : float, optional
        Seconds that a run waits while there is no worker; then it ends with an error. Default: it waits, and
        says why, as long as Slurm does not say that the jobs will never start.
    idle_timeout : str
        The scheduler ends by itself when it had nothing to do for that long.
    alone_timeout : str
        How long scheduler and workers go on without this process (killed, asleep, cut off), with the work
        that was submitted; meanwhile ``a.attach(run_id)`` finds them again. Then they end by themselves.
    """

    worker_count: int = setting(1, check=count)
    cores: int = setting(1, check=from_one)
    memory: str = setting("4 GiB", check=_memory)
    walltime: str = setting("01:00:00", check=_walltime)
    queue: str | None = setting(None)
    account: str | None = setting(None)
    interface: str | None = setting(None)
    sbatch_options: dict[str, Any] = setting(default_factory=dict, check=_options)
    working_directory: str | None = setting(None)
    python: str = setting("python3")
    prologue: tuple[str, ...] = setting((), check=_lines)
    scheduler: str = setting("login", check=one_of(*PLACES))
    scheduler_walltime: str | None = setting(None, check=optional(_walltime))
    max_jobs: int | None = setting(None, check=optional(from_one))
    max_array: int = setting(1000, check=from_one)
    max_resubmits: int = setting(20, check=count)
    reconcile_interval: float = setting(15.0, check=positive)
    local_directory: str = setting("/tmp")
    start_timeout: float = setting(300.0, check=positive)
    idle_timeout: str = setting("1 hour")

    lost: ClassVar = {
        **SessionEnvironment.lost,
        "srun_options": "results are collected by the client, no step runs under srun",
        "collectibles": "name them with a.pipeline.add_collectible(path)",
    }

    @property
    def wc(self) -> int:
        """Alias of `worker_count`."""
        return self.worker_count

    @wc.setter
    def wc(self, value: int) -> None:
        self.worker_count = value

    @property
    def wd(self) -> str | None:
        """Alias of `working_directory`."""
        return self.working_directory

    @wd.setter
    def wd(self, value: str | None) -> None:
        self.working_directory = value

    @property
    def partition(self) -> str | None:
        """Alias of `queue`."""
        return self.queue

    @partition.setter
    def partition(self, value: str | None) -> None:
        self.queue = value

    @property
    def submit_side(self) -> bool:
        """Always true: scripts run on the submit side only."""
        return True

    @property
    def worker_side(self) -> bool:
        """Always false."""
        return False

    @classmethod
    def remote_dependencies(cls) -> str:
        """Return the shell line that must come before Python, such as ``module load ...``."""
        return ""

    @classmethod
    def scratch(cls, username: str) -> str | None:
        """Return the scratch folder of a user."""
        return None

    shares_modules: ClassVar[bool] = False

    # of the folder of runs, by its physical path; known when connected
    _physical = ()

    def user(self) -> str:
        """Return the name of the user on the cluster."""
        return getpass.getuser()

    def _shell(self) -> Any:
        return LocalShell()

    def _prologue(self) -> list[str]:
        # jobs given to sbatch from outside a login shell know no modules
        first = "[ -r /etc/profile ] && . /etc/profile >/dev/null 2>&1"
        return [line for line in (first, *self.prologue, self.remote_dependencies()) if line]

    def runs_folder(self, home: str = "$HOME") -> str:
        """Return the folder of runs on the cluster."""
        scratch = self.scratch(self.user())
        folder = self.working_directory or (f"{scratch}/tramway_dask" if scratch else "~/.tramway_dask")
        if folder == "~" or folder.startswith("~/"):
            folder = home + folder[1:]
        elif not folder.startswith(("/", "$")):
            folder = f"{home}/{folder}"
        return folder

    def _python(self, run_folder: str, home: str) -> str:
        """Return the shell words that start Python."""
        return f"env PYTHONNOUSERSITE=1 {self.python} -s"

    def _before_python(self, run_folder: str, home: str) -> list[str]:
        """Return the shell lines that must come right before Python."""
        return []

    def _settings(self, run_id: str, folder: str, home: str) -> JobSettings:
        return JobSettings(
            name=f"tramway-{run_id}",
            folder=folder,
            python=self._python(folder, home),
            prologue=self._prologue(),
            before_python=self._before_python(folder, home),
            cores=self.cores,
            memory=self.memory,
            walltime=self.walltime,
            queue=self.queue,
            account=self.account,
            interface=self.interface,
            options=self.sbatch_options,
            local_directory=self.local_directory,
        )

    def job_script(self) -> str:
        """Return the script of the worker jobs; nothing is submitted.

        The address of the scheduler and the names of run and workers are placeholders.

        Raises
        ------
        SpecificationError
            If options are wrong.
        """
        if self.is_running:
            run = self._cluster.run
            return worker_script(run.settings, address=scheduler_of(run.path))
        home = f"/home/{self.user()}"
        folder = f"{self.runs_folder(home)}/runs/RUN"
        return worker_script(self._settings("RUN", folder, home))

    def start(self) -> Any:
        """Connect, start the scheduler and submit the workers."""
        return self._started()

    def _started(self, record: RunRecord | None = None) -> Any:
        from .loop import LoopThread
        from .remote import SlurmPool

        self.job_script()  # wrong options fail here, before anything is started
        check_timeouts()
        self._loop = self.__dict__.get("_loop") or LoopThread()
        try:
            run = self._loop.call(self._open() if record is None else self._find(record))
            if record is None:
                made = make_record(self, run.run_id, run.path, mode="interactive", workers=self.worker_count)
                made.save()
            self._record = record or made
            wanted = self._asked_for()
            pool = SlurmPool(
                run,
                {
                    "python": run.settings.python,
                    "place": self.scheduler,
                    "walltime": self.scheduler_walltime,
                    "idle_timeout": self.idle_timeout,
                    "start_timeout": self.start_timeout,
                    "found": record is not None,
                },
                max_array=self.max_array,
                max_jobs=self.max_jobs,
                max_resubmits=self.max_resubmits,
                interval=self.reconcile_interval,
                at_once=wanted,
                loop=self._loop.loop,
            )
        except BaseException as error:
            if record is None and "_record" in self.__dict__:
                self._record.forget()
            self._hang_up()
            cause = error.__cause__
            if isinstance(error, RuntimeError) and not isinstance(error, ClusterError):
                raise (cause if isinstance(cause, ClusterError) else ClusterError(str(error))) from error
            raise
        if wanted > len(pool.worker_spec):
            pool.scale(wanted)
        return pool

    def connection(self) -> tuple[Any, str]:
        """Return the connection to the submit host, opened if need be, and the home folder there."""
        from .loop import LoopThread

        if self.__dict__.get("_connection") is None:
            self._loop = LoopThread()
            try:
                self._loop.call(self._connected())
            except BaseException:
                self._hang_up()
                raise
        return self._connection, self._home

    def call(self, coroutine: Any) -> Any:
        """Wait for what a method of the connection does."""
        return self._loop.call(coroutine)

    async def _connected(self) -> Any:
        shell = self.__dict__.get("_connection")
        if shell is None:
            shell = self._connection = self._shell()
            await shell.connect()
            self._home = await shell.home()
        return shell

    async def _open(self) -> Any:
        """Connect and make the folder of the run."""
        from .runfolder import RunFolder, new_run_id, new_security

        shell = await self._connected()
        home = self._home
        await self._look_around(shell, home)
        run_id = new_run_id()
        folder = f"{self.runs_folder(home)}/runs/{run_id}"
        settings = self._settings(run_id, folder, home)
        run = RunFolder(shell, run_id, folder, settings, new_security(), alone_for=self.alone_for())
        await run.make()
        try:
            await self._prepare(run, home)
        except BaseException:
            await run.remove()
            raise
        return run

    async def _find(self, record: RunRecord) -> Any:
        """Connect and find the folder of a run."""
        from .runfolder import RunFolder
        from .sessions import read_plans

        shell = await self._connected()
        home = self._home
        await self._look_around(shell, home)
        settings = self._settings(record.run_id, record.folder, home)
        run = await RunFolder.find(shell, record.run_id, record.folder, settings)
        await self._prepare(run, home)
        plans = await read_plans(shell, record.folder)
        self._batches = [group for plan in plans for group in grouping(plan["batches"])]
        return run

    async def _look_around(self, shell: Any, home: str) -> None:
        """Learn the physical path of the folder of runs: programs write either."""
        folder = shlex.quote(self.runs_folder(home))
        done = await shell.run(f"umask 077 && mkdir -p {folder} && realpath {folder}", check=False)
        if done.status:
            raise ClusterError(
                f"{shell.host}: cannot write to {self.runs_folder(home)}: {done.stderr.strip()}; set "
                "a.env.working_directory to a folder that login node and compute nodes share"
            )
        self._physical = tuple(done.stdout.split("\n")[:1])

    async def _prepare(self, run: Any, home: str) -> None:
        """Make sure of what the jobs need, before anything is started."""

    def connection_record(self) -> dict[str, Any]:
        """Return how the cluster is reached, for the record of a run."""
        return {"kind": "local"}

    def bring(self, files: Sequence[str], digests: Mapping[str, str] | None = None) -> Mapping[str, str]:
        """Return where the workers find some files, once there is a connection."""
        return {path: os.path.abspath(os.path.expanduser(path)) for path in files}
