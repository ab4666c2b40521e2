"""Workers on this computer."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ..component import count, optional, positive, setting
from ..errors import ClusterError, SpecificationError
from .base import Environment

if TYPE_CHECKING:
    from .processes import LocalPool

__all__ = ["LocalHost"]


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value == 0:
        raise SpecificationError(f"{name}: expected a whole number other than 0, got {value!r}")
    return value


@dataclass(eq=False, repr=False)
class LocalHost(Environment):
    """Worker processes on this computer.

    Parameters
    ----------
    worker_count : int, optional
        Number of worker processes; default: CPUs − 1. A negative number is added to the CPUs.
    threads_per_worker : int
        Threads of a worker. Results do not depend on it.
    memory_limit : str or float or None
        Memory of a worker, such as ``"4 GiB"``; ``"auto"``: an equal share of the machine's.
    dashboard_address : str or None
        Where the dashboard listens; default: a free port of the loopback interface. None: no dashboard.
    worker_timeout : float
        Seconds that a run goes on without any worker; then it ends with an error.
    """

    worker_count: int | None = setting(None, check=optional(_whole))
    threads_per_worker: int = setting(1, check=count)
    memory_limit: Any = setting("auto")
    dashboard_address: str | None = setting("127.0.0.1:0")
    worker_timeout: float = setting(300.0, check=positive)

    lost: ClassVar = {
        **Environment.lost,
        "working_directory": "workers share the folder of the script",
        "wd": "workers share the folder of the script",
    }

    @property
    def wc(self) -> int | None:
        """Alias of `worker_count`."""
        return self.worker_count

    @wc.setter
    def wc(self, value: int | None) -> None:
        self.worker_count = value

    def number_of_workers(self) -> int:
        """Return the number of workers that `worker_count` means here."""
        from dask.system import CPU_COUNT

        if self.worker_count is None:
            return max(1, CPU_COUNT - 1)
        if self.worker_count < 0:
            return max(1, CPU_COUNT + self.worker_count)
        return self.worker_count

    def absent(self, seconds: float) -> str:
        """Return why there is no worker; raise an error after `worker_timeout`."""
        why, hopeless = self._cluster.absent()
        if hopeless or seconds > self.worker_timeout:
            raise ClusterError(f"no worker has been there for {seconds:.0f} s: {why}")
        return str(why)

    def start(self) -> LocalPool:
        """Start scheduler and workers; they listen on the loopback interface only."""
        from .processes import LocalPool, WorkerProcess

        # a connection that is closed at the end is no news, and its traceback frightens
        batched = logging.getLogger("distributed.batched")
        if batched.level == logging.NOTSET:
            batched.setLevel(logging.WARNING)
        try:
            return LocalPool(
                n_workers=self.number_of_workers(),
                threads_per_worker=self.threads_per_worker,
                processes=True,
                **({} if self.memory_limit == "auto" else {"memory_limit": self.memory_limit}),
                host="127.0.0.1",
                dashboard_address=self.dashboard_address or "127.0.0.1:0",
                # what killed a worker runs once more, and then alone: this is enough to blame it
                scheduler_kwargs={"dashboard": self.dashboard_address is not None, "allowed_failures": 1},
                worker_dashboard_address=None,
                worker_class=WorkerProcess,
                silence_logs=logging.ERROR,
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise ClusterError(f"cannot start workers on this computer: {error}") from error
