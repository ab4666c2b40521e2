"""The driver of a detached run: scheduler and client, in one job on the cluster.

``python -m tramway_dask.environments.driver FOLDER`` reads what the user's computer has left in the
folder of the run, waits for workers, runs the pipeline, and tells in ``status.json`` how far it is.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import signal
import stat
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import ClusterError, TramwayDaskError
from .base import GivenClient
from .usermodules import install

__all__ = ["BatchClient", "Shipped", "Watch", "drive", "main", "read_private"]

logger = logging.getLogger("tramway_dask")

STATUS = "status.json"
FAILURES_TOLD = 20
# exit status: some units failed, or the run has stopped
FAILED = 1
# as the shell says it of a program that SIGTERM ended: another driver may take over
KILLED = 128 + signal.SIGTERM


class BatchClient(GivenClient):
    """The client of a detached run; it gives up when no job is left that could be a worker.

    Parameters
    ----------
    client : distributed.Client
    gave_up : Path
        File in which the job around the driver says why no more workers come.
    """

    def __init__(self, client: Any, gave_up: Path) -> None:
        super().__init__(client)
        self._gave_up = gave_up

    def check(self) -> None:
        """Raise the reason for which no more workers come, if there is one."""
        with suppress(OSError):
            reason = self._gave_up.read_text().strip()
            raise ClusterError(
                f"{reason}; see their logs, then run again: what is done already is not done again"
            )


@dataclass
class Shipped:
    """What the user's computer sends.

    Attributes
    ----------
    modules : dict of str to bytes
        Files of the user's modules.
    content : bytes
        Pickled: the analyzer without stages, which do not travel with it; the stages, with labels chosen;
        and the regions of each source whose file could be read there, since what they are defined by may
        not be on the cluster.
    """

    modules: dict[str, bytes]
    content: bytes

    def unpack(self, folder: Path) -> Any:
        """Return the analyzer, whole; modules go to a folder."""
        install(self.modules, folder)
        analyzer, stages, regions = pickle.loads(self.content)
        for stage in stages:
            analyzer.pipeline.append_stage(stage)
        for source in analyzer.spt_data:
            if source.name in regions:
                source.roi.fix([region.of_source(source) for region in regions[source.name]])
        return analyzer


class Watch:
    """Counts units as they are done and writes the counts to a file.

    Parameters
    ----------
    path : Path
        ``status.json``.
    run_id : str
    """

    def __init__(self, path: Path, run_id: str) -> None:
        self.path = path
        self.scheduler: Any = None
        self._guard = threading.RLock()
        self._counts: dict[tuple[str, str], Counter[str]] = {}
        self._failed: dict[tuple[str, str, str], str] = {}
        self._about: dict[str, Any] = {"run": run_id, "state": "starting", "start": _now(), "end": None}
        self._over = threading.Event()
        # what a driver before, or the user's computer, has told: it counts until there is a plan
        self._before: dict[str, Any] = {}
        with suppress(OSError, ValueError):
            told = json.loads(path.read_text())
            self._before = {name: list(told[name]) for name in ("units", "failures") if told.get(name)}

    def __call__(self, plan: Any) -> Watch:
        """Take up the units of a plan, and return this as its progress bar."""
        with self._guard:
            for key in dict.fromkeys((u.task.name, u.task.source) for u in plan):
                self._counts[key] = Counter()
            for unit in plan:
                status = {"done": "skipped", "to do": "left"}.get(unit.status, "failed")
                self._counts[unit.task.name, unit.task.source][status] += 1
                if unit.failure is not None:
                    self._failed[_place(unit.task)] = str(unit.failure)
        return self

    def advance(self, result: Any) -> None:
        """Count one unit."""
        with self._guard:
            counts = self._counts.setdefault((result.task.name, result.task.source), Counter())
            counts["left"] -= 1
            counts["done" if result.ok else "failed"] += 1
            if result.ok:
                self._failed.pop(_place(result.task), None)
            else:
                self._failed[_place(result.task)] = str(result.failure)

    def close(self) -> None:
        """Do nothing: the run goes on."""

    def tell(self, state: str, **about: Any) -> None:
        """Note a state and write it at once."""
        with self._guard:
            self._about |= {"state": state, **about}
            if state not in ("starting", "waiting", "running"):
                self._about["end"] = _now()
        self.write()

    def content(self) -> dict[str, Any]:
        """Return what is known."""
        busy, workers = self._running()
        with self._guard:
            rows = [
                {
                    "stage": stage,
                    "source": source,
                    **{name: counts[name] for name in ("done", "skipped", "failed", "left")},
                    "running": min(busy[stage, source], counts["left"]),
                }
                for (stage, source), counts in self._counts.items()
            ]
            failed = [
                {"stage": stage, "source": source, "roi": roi, "message": message[:1000]}
                for (stage, source, roi), message in list(self._failed.items())[:FAILURES_TOLD]
            ]
            about = dict(self._about)
            if not self._counts:
                rows = [{**row, "running": 0} for row in self._before.get("units", ())]
                failed = self._before.get("failures", [])
        if workers is not None and about["state"] in ("waiting", "running"):
            about["state"] = "running" if workers or any(r["done"] for r in rows) else "waiting"
        return {**about, "updated": _now(), "workers": workers or 0, "units": rows, "failures": failed}

    def _running(self) -> tuple[Counter[tuple[str, str]], int | None]:
        """Count the tasks that workers are busy with, by stage and source; and workers."""
        busy: Counter[tuple[str, str]] = Counter()
        scheduler = self.scheduler
        if scheduler is None:
            return busy, None
        with self._guard:
            known = sorted(self._counts, key=lambda pair: len(pair[0]) + len(pair[1]), reverse=True)
        workers = list(scheduler.workers.values())
        for worker in workers:
            with suppress(RuntimeError):  # it changes meanwhile; the next look is soon
                for task in list(worker.processing):
                    key = str(task.key)
                    for stage, source in known:
                        # as `Batch.key` names tasks: stage, digest, source, region
                        rest = key[len(stage) + 18 :]
                        if key.startswith(f"{stage}-") and (rest == source or rest.startswith(f"{source}-")):
                            busy[stage, source] += 1
                            break
        return busy, len(workers)

    def write(self) -> None:
        """Write the file, whole."""
        with self._guard:
            temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
            try:
                handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                with os.fdopen(handle, "w") as file:
                    json.dump(self.content(), file)
                os.replace(temporary, self.path)
            except OSError as error:
                logger.warning("cannot write %s: %s", self.path, error)

    @contextmanager
    def writing(self, every: float) -> Iterator[None]:
        """Write the file every few seconds."""

        def loop() -> None:
            while not self._over.wait(every):
                self.write()

        thread = threading.Thread(target=loop, daemon=True, name="status")
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join(10)


def _place(task: Any) -> tuple[str, str, str]:
    return task.name, task.source, task.region


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_private(path: Path) -> bytes:
    """Return the content of a file that nobody else can have written.

    Raises
    ------
    ClusterError
        If the file or its folder belongs to somebody else, or others may write there.
    """
    for place in (path.parent, path):
        try:
            info = place.lstat()
        except OSError as error:
            raise ClusterError(f"cannot read {place}: {error.strerror}") from error
        if info.st_uid != os.geteuid() or info.st_mode & 0o022 or stat.S_ISLNK(info.st_mode):
            raise ClusterError(f"{place} is not read: others than this user can write there")
    return path.read_bytes()


@contextmanager
def cluster(folder: Path, interface: str | None, protocol: str = "tls") -> Iterator[Any]:
    """Start a scheduler that waits for workers, with the keys of the run."""
    from distributed import LocalCluster
    from distributed.security import Security

    keys: dict[str, Any] = {}
    for role in ("scheduler", "worker", "client"):
        keys[f"tls_{role}_cert"] = str(folder / "tls/cert.pem")
        keys[f"tls_{role}_key"] = str(folder / "tls/key.pem")
    security = Security(require_encryption=True, tls_ca_file=str(folder / "tls/ca.pem"), **keys)
    with LocalCluster(
        n_workers=0,
        protocol=f"{protocol}://",
        interface=interface,
        host=None if interface else "0.0.0.0",
        security=security,
        # without an address its pages of logs and calls would be open to the cluster's network
        dashboard_address="127.0.0.1:0",
        silence_logs=logging.WARNING,
        scheduler_kwargs={"scheduler_file": str(folder / "scheduler.json"), "dashboard": False},
    ) as made:
        yield made


def drive(folder: Path) -> int:
    """Run what the folder of a run describes.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    int
        Exit status: 0 if every unit is done, 143 if a signal came before, else 1.
    """
    settings: Mapping[str, Any] = json.loads((folder / "driver.json").read_text())
    watch = Watch(folder / STATUS, settings["run_id"])
    watch.write()
    try:
        with watch.writing(settings.get("status_interval", 3.0)):
            report = _run(folder, settings, watch)
    except TramwayDaskError as error:
        watch.tell("stopped", error=str(error))
        logger.error("%s", error)
        return FAILED
    except _StoppedError as error:
        watch.tell("stopped", error=str(error))
        logger.error("%s", error)
        return KILLED
    except BaseException as error:
        watch.tell("stopped", error=f"{type(error).__name__}: {error}")
        raise
    watch.tell("done" if report.ok else "failed", summary=report.summary(), seconds=report.seconds)
    return 0 if report.ok else FAILED


def _run(folder: Path, settings: Mapping[str, Any], watch: Watch) -> Any:
    from distributed import Client

    from .moduleplugin import send_modules

    shipped = pickle.loads(read_private(folder / "analyzer.pkl"))
    analyzer = shipped.unpack(folder / "modules")
    with cluster(folder, settings.get("interface")) as pool, Client(pool, set_as_default=False) as client:
        watch.scheduler = pool.scheduler
        watch.tell("waiting")
        send_modules(client, shipped.modules)
        analyzer.env = BatchClient(client, folder / "gave-up")
        analyzer.results = folder / "results"
        report = analyzer.run(
            overwrite=settings["overwrite"],
            on_error=settings["on_error"],
            batch=settings["batch"],
            progress=watch,
        )
        watch.scheduler = None
        return report


class _StoppedError(BaseException):
    """A signal has come; nothing that handles errors shall stop it."""


def _stop(number: int, _: Any) -> None:
    signal.signal(number, signal.SIG_IGN)  # the shell around passes it on as well
    raise _StoppedError(f"stopped by signal {signal.Signals(number).name}")


def main(arguments: list[str]) -> int:
    """Run the driver; see `drive`."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m tramway_dask.environments.driver FOLDER\n")
        return 2
    os.umask(0o077)
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("distributed").setLevel("WARNING")
    signal.signal(signal.SIGTERM, _stop)
    folder = Path(arguments[0]).absolute()
    # what stages write under relative names is then found in the folder of the run
    os.chdir(folder)
    return drive(folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
