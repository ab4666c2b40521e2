"""Slurm from a laptop: jobs, tunnels and files over one SSH connection."""

from __future__ import annotations

import contextlib
import getpass
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ..component import one_of, optional, positive, setting
from ..errors import DataError, SpecificationError
from .records import plain
from .remotefiles import RemoteFiles
from .slurm import Slurm, from_one

__all__ = ["SlurmOverSSH", "transfer_bar"]

logger = logging.getLogger("tramway_dask")


def _mapping(name: str, value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise SpecificationError(f"{name}: expected a dictionary of local to remote folders, got {value!r}")
    return value


@contextlib.contextmanager
def transfer_bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show the progress of a transfer; yields a function that is told the bytes so far."""
    from tqdm.auto import tqdm

    bar = tqdm(total=total, unit="B", unit_scale=True, desc=f"uploading {what}", leave=False, delay=1.0)

    def advanced(sent: int) -> None:
        bar.update(sent - bar.n)

    try:
        yield advanced
    finally:
        bar.close()


@dataclass(eq=False, repr=False)
class SlurmOverSSH(Slurm):
    """Workers as jobs of Slurm, submitted over SSH.

    The cluster never connects to this computer: one SSH connection to the login node carries
    everything, as the user's SSH configuration says.

    Parameters
    ----------
    host : str, optional
        Login node, or its name in ``~/.ssh/config``; default: that of the site.
    username : str, optional
        Default: as the SSH configuration says.
    port : int, optional
    directory_mapping : dict
        Local folders and where the same files are on the cluster. The home folder is mapped to the
        remote one.
    stage_data : {'auto', 'never'}
        Whether files that the cluster does not have are uploaded.
    ssh_options : dict
        Further options of asyncssh's ``connect``.
    reconnect_for : float
        Seconds to wait for a connection that is lost, before a run gives up; what was submitted goes on on
        the cluster for `alone_timeout`.

    The other parameters are those of `Slurm`.
    """

    host: str | None = setting(None)
    username: str | None = setting(None)
    port: int | None = setting(None, check=optional(from_one))
    directory_mapping: dict[str, str] = setting(default_factory=dict, check=_mapping)
    stage_data: str = setting("auto", check=one_of("auto", "never"))
    ssh_options: dict[str, Any] = setting(default_factory=dict)
    reconnect_for: float = setting(300.0, check=positive)

    shares_files: ClassVar[bool] = False

    @classmethod
    def hostname(cls) -> str | None:
        """Return the login node of the site."""
        return None

    def login_node(self) -> tuple[str, str | None]:
        """Return the host to connect to, and the name of the user if it is known."""
        host = self.host or self.hostname()
        if not host:
            raise SpecificationError(
                f"{type(self).__name__}: no host; set a.env.host = 'user@login.node' or use the adapter of a site"
            )
        name, _, alone = host.rpartition("@")
        return alone, self.username or name or None

    def user(self) -> str:
        """Return the name of the user on the cluster."""
        host = self.host or self.hostname()
        named = self.login_node()[1] if host else self.username
        return named or getpass.getuser()

    def _shell(self) -> Any:
        from .ssh import Connection

        host, username = self.login_node()
        return Connection(
            host,
            username=username,
            port=self.port,
            options=self.ssh_options,
            reconnect_for=self.reconnect_for,
        )

    def connection_record(self) -> dict[str, Any]:
        """Return how the cluster is reached, for the record of a run."""
        host, username = self.login_node()
        options = plain(self.ssh_options)
        return {"kind": "ssh", "host": host, "username": username, "port": self.port, "options": options}

    def mapped(self, path: str, home: str) -> str:
        """Return where a local file would be on the cluster.

        Parameters
        ----------
        path : str
            Absolute.
        home : str
            Home folder on the cluster.
        """
        pairs = {os.path.expanduser("~"): home}
        for local, remote in self.directory_mapping.items():
            local = os.path.abspath(os.path.expanduser(local))
            pairs[local] = home + remote[1:] if remote.startswith("~") else remote
        for local in sorted(pairs, key=len, reverse=True):
            if path == local or path.startswith(local.rstrip("/") + "/"):
                return pairs[local].rstrip("/") + path[len(local.rstrip("/")) :]
        return path

    def _mapped_folders(self, home: str) -> list[str]:
        values = self.directory_mapping.values()
        return [home + v[1:] if v.startswith("~") else v for v in values]

    def _visible(self, path: str, home: str) -> bool:
        """Tell whether workers see a path of the cluster."""
        return True

    @property
    def files(self) -> RemoteFiles:
        """The files of the cluster; to look at them, a connection is opened, which the run then uses."""
        if "_files" not in self.__dict__:
            self._files = RemoteFiles(self)
        return self._files

    def _found_folders(self) -> list[str]:
        """Return the folders of files that were found on the cluster."""
        files = self.__dict__.get("_files")
        return [] if files is None else sorted(files.folders)

    def require(self, paths: Sequence[str]) -> None:
        """Raise an error if workers cannot see one of the paths of `files`."""
        for path in paths:
            if not self._visible(path, self._home):
                raise DataError(
                    f"{path}: the workers' container, which was started before this file was named, does not show "
                    "its folder; start the workers again: a.env.close()"
                )

    def stage(self, files: Sequence[str], digests: Mapping[str, str] | None = None) -> Mapping[str, str]:
        """Make sure that the cluster has some files; see `staging.stage`."""
        self.cluster  # noqa: B018 (it is started at first use)
        return self.bring(files, digests)

    def bring(self, files: Sequence[str], digests: Mapping[str, str] | None = None) -> Mapping[str, str]:
        """Do what `stage` does, through the connection that there is."""
        from .staging import stage

        home = self._home
        absolute = {path: os.path.abspath(os.path.expanduser(path)) for path in files}
        size = sum(os.path.getsize(p) for p in absolute.values() if os.path.exists(p))

        def mapped(path: str) -> str | None:
            place = self.mapped(path, home)
            return place if self._visible(place, home) else None

        with transfer_bar("data", size) as advanced:
            staged = self._loop.call(
                stage(
                    self._connection,
                    list(absolute.values()),
                    mapped=mapped,
                    folder=f"{self.runs_folder(home)}/data",
                    upload=self.stage_data == "auto",
                    progress=lambda sent, _: advanced(sent),
                    digests={absolute[path]: digest for path, digest in (digests or {}).items()},
                )
            )
        if staged.sent:
            logger.info("uploaded %d files, %d bytes", staged.sent, staged.size)
        return {path: staged.paths[at] for path, at in absolute.items()}
