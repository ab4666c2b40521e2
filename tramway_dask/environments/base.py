"""What an environment offers to the pipeline: a Dask client."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ..cards import badge, link, rows
from ..component import Component
from ..errors import ClusterError, LostClusterError

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["Environment", "GivenClient"]

logger = logging.getLogger("tramway_dask")


@dataclass(eq=False, repr=False)
class Environment(Component):
    """Base class of environments.

    A subclass starts a cluster in `start`. The cluster lives while somebody uses it: a run starts one
    and closes it at its end, unless it was started before by ``with a.env:``, `cluster` or `scale`.
    """

    lost: ClassVar = {
        "script": "functions are sent to the workers, no script is run there",
        "interpreter": "workers run the Python of the environment",
        "debug": "logs and results are always kept in the results folder",
        "refresh_interval": "events are not polled for",
    }

    # whether workers see the files of the user's process under the same paths
    shares_files: ClassVar[bool] = True
    # whether work goes on when the user's process is gone
    outlives: ClassVar[bool] = False
    # whether workers can import the modules that lie beside the user's script
    shares_modules: ClassVar[bool] = True

    def start(self) -> Any:
        """Start a cluster."""
        raise NotImplementedError

    @property
    def is_running(self) -> bool:
        """Whether there is a cluster."""
        return self.__dict__.get("_cluster") is not None

    @property
    def cluster(self) -> Any:
        """The Dask cluster, started at first use; in a notebook, its widget scales it."""
        if not self.is_running:
            self._cluster = self.start()
        return self._cluster

    @property
    def client(self) -> Client:
        """A client of the cluster."""
        from distributed import Client

        if self.__dict__.get("_client") is None:
            self._client = Client(self.cluster, set_as_default=False)
        return self._client

    @property
    def dashboard_link(self) -> str:
        """Address of the Dask dashboard."""
        return self.cluster.dashboard_link

    @property
    def live_page(self) -> str:
        """Address of the live page: units and their states, maps as they come; empty without dashboard."""
        from .live import page_address

        return page_address(self.dashboard_link) if self._watching().shown else ""

    def show(self, run: Any) -> None:
        """Show a run (`live.Shown`) on the live page; that this cannot be done is no reason to stop it."""
        try:
            watch = self._watching()
            if watch.shown:
                watch.begin(run)
        except Exception as error:
            logger.debug("there is no live page: %s: %s", type(error).__name__, error)

    def show_end(self, run: Any) -> None:
        """Tell the live page that a run has ended."""
        watch = self.__dict__.get("_watch")
        if watch is not None:
            watch.end(run)

    def _watching(self) -> Any:
        from .live import Watch

        watch = self.__dict__.get("_watch")
        if watch is None or watch.client is not self.client:
            watch = self._watch = Watch(self.client)
        return watch

    @property
    def files(self) -> Any:
        """Files that workers see and this process does not (`RemoteFiles`); None if there is no such place."""
        return None

    def stage(self, files: Sequence[str], digests: Mapping[str, str] | None = None) -> Mapping[str, str]:
        """Make sure that the workers have some files, and return where they find each of them.

        `digests` are the BLAKE2b checksums that are known.
        """
        return {path: path for path in files}

    def require(self, paths: Sequence[str]) -> None:
        """Raise an error if workers cannot see one of the paths of `files`."""

    @property
    def parts_folder(self) -> str | None:
        """Folder in which the workers leave copies of their results, if they do not share ours."""
        return None

    def parts(self, keys: Collection[str]) -> Iterator[tuple[str, str, bytes]]:
        """Iterate over the copies of some results that the workers left: source, key and content."""
        return iter(())

    @property
    def earlier_batches(self) -> Sequence[Sequence[tuple[str, str]]]:
        """How units were grouped into tasks before: source and key of each."""
        return ()

    def announce(self, results: str, batches: Sequence[Any], **about: Any) -> None:
        """Note what is to be done, where sessions outlive their process.

        Parameters
        ----------
        results : str
            The results folder.
        batches : sequence of (str, list)
            Name of each task, and its units: stage, source, region and key.
        **about
            What else there is to know.
        """

    def interrupted(self) -> None:
        """Do what is to be done when a run was interrupted: nothing, its work is cancelled or kept."""

    def keep_for(self, run: Any) -> None:
        """Keep the cluster for a run that goes on although nobody waits for it."""
        self._background = run

    @property
    def background(self) -> Any:
        """The last run that went on, or goes on, although nobody waits for it; None if there is none."""
        return self.__dict__.get("_background")

    @property
    def _is_needed(self) -> bool:
        return self.background is not None and not self.background.over

    def serves_for(self, other: Any) -> bool:
        """Tell whether this is as good a place as another environment, whose cluster is not started."""
        return self == other and not other.is_running

    def dismiss(self) -> None:
        """Close the cluster if it was started for a run alone."""
        if self.__dict__.pop("_for_a_run", False):
            self.close()

    def check(self) -> None:
        """Raise the reason for which no more workers come, if there is one."""

    def absent(self, seconds: float) -> str:
        """Return why there is no worker, after so many seconds without one.

        Raises
        ------
        ClusterError
            If none will come.
        """
        return ""

    def expect(self, units: int) -> None:
        """Note how many units a run has for the workers."""

    def reconnect(self, error: LostClusterError) -> None:
        """Find a lost cluster again, or raise the error."""
        raise error

    def scale(self, n: int) -> None:
        """Ask for `n` workers."""
        self.cluster.scale(n)

    def adapt(self, minimum: int = 0, maximum: int | None = None, **options: Any) -> Any:
        """Let the number of workers follow the work."""
        bounds: dict[str, Any] = {"minimum": minimum}
        if maximum is not None:
            bounds["maximum"] = maximum
        return self.cluster.adapt(**bounds, **options)

    @contextlib.contextmanager
    def ending(self) -> Iterator[None]:
        """Close at the end, unless there is a cluster, whatever was opened to look for files."""
        try:
            yield
        finally:
            if not self.is_running:
                self.close()

    def close(self) -> None:
        """Close the client and the cluster."""
        client, cluster = self.__dict__.get("_client"), self.__dict__.get("_cluster")
        if self._is_needed:
            self.background.stop()
        self.__dict__.pop("_for_a_run", None)
        self.__dict__.update(_client=None, _cluster=None, _watch=None)
        if client is not None:
            client.close()
        if cluster is not None:
            cluster.close()

    def __enter__(self) -> Self:
        """Start the cluster and keep it until the end of the block."""
        self.client  # noqa: B018
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def connect(self) -> Iterator[Client]:
        """Yield a client; close at the end what was started for it."""
        before = self.is_running and not self.__dict__.pop("_for_a_run", False)
        try:
            yield self.client
        except BaseException as error:
            if not before:
                self._left_by(error)
            raise
        if not before:
            self.close()

    def _left_by(self, error: BaseException) -> None:
        """Close what was started for a run that an error has ended, unless its work goes on."""
        if self._is_needed and isinstance(error, KeyboardInterrupt):
            self._for_a_run = True
        else:
            self.close()

    def _identity(self) -> dict[str, Any]:
        """Return what is known of the scheduler, without asking it."""
        return getattr(self.__dict__.get("_cluster"), "scheduler_info", None) or {}

    def state(self) -> str:
        """Tell in words whether there is a cluster, and how many workers; nothing is started."""
        if not self.is_running:
            return "not started"
        workers = self._identity().get("workers", {})
        threads = sum(worker.get("nthreads", 0) for worker in workers.values())
        return f"running: {len(workers)} workers, {threads} threads"

    def _card_parts(self) -> list[Any]:
        running = self.is_running
        pages = []
        if running:
            # a page of its own where there is one, beside the dashboard of Dask
            for name, attribute in (("dashboard", "dashboard_link"), ("live page", "live_page")):
                address = getattr(self, attribute, None)
                pages += [(name, link(address))] if address else []
        told = "a.env.cluster shows a widget to scale it" if running else "it starts with the first run"
        return [badge("done" if running else "left", self.state()), rows(pages), told, *super()._card_parts()]

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        here = ("_cluster", "_client", "_background", "_for_a_run", "_watch")
        return {k: v for k, v in state.items() if k not in here}


class GivenClient(Environment):
    """The environment of a client that the user has made; it is never closed here."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._checked: set[str] = set()

    def check(self) -> None:
        """Refuse a scheduler or workers that cannot import this version of the package."""
        from .client_versions import check_client

        if self._client.status == "running":
            self._checked.update(check_client(self._client, self._checked))

    @property
    def cluster(self) -> Any:
        """The client's cluster."""
        if self._client.cluster is None:
            raise ClusterError(
                "this client is connected to a scheduler by address: there is no cluster to scale"
            )
        return self._client.cluster

    @property
    def is_running(self) -> bool:
        """Always."""
        return True

    def serves_for(self, other: Any) -> bool:
        """Tell whether another environment is that of the same client."""
        return isinstance(other, GivenClient) and other._client is self._client

    def _identity(self) -> dict[str, Any]:
        return getattr(self._client, "_scheduler_identity", None) or {}

    @property
    def dashboard_link(self) -> str:
        """Address of the Dask dashboard."""
        return self._client.dashboard_link

    def close(self) -> None:
        """Leave the client to its owner."""
