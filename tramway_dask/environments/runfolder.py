"""The folder of a run on the cluster's file system, and the keys of its scheduler."""

from __future__ import annotations

import json
import secrets
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..errors import ClusterError
from .jobs import JobSettings

if TYPE_CHECKING:
    from distributed.security import Security

__all__ = ["RunFolder", "new_run_id", "new_security"]

SUBFOLDERS = ("tls", "logs", "home", "parts", "plans", "data", "tmp")
# a folder without it is never deleted by a later session
MARKER = ".tramway-dask-run"
# of the scheduler's keeper: how long it goes on alone, and what it tells
SESSION = "session.json"
STATUS = "status.json"
# who makes this file wants the scheduler to end
STOP = "stop"
# host, process and job of the scheduler; its exit status, once it has ended; names of worker jobs and workers
PLACE = "scheduler.place"
ENDED = "scheduler.ended"
JOBS = "jobs.txt"
KEYS = ("ca", "cert", "key")


def new_run_id() -> str:
    """Return a name for a run: sorted by time, not to be guessed."""
    return f"{datetime.now(UTC):%y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def new_security() -> Security:
    """Return a key pair made for one run; both sides of every connection must have it."""
    from distributed.security import Security

    return Security.temporary()


def security_of(keys: Sequence[str]) -> Security:
    """Return the security of authority, certificate and key given as text."""
    from distributed.security import Security

    ca, cert, key = keys
    roles = ("scheduler", "worker", "client")
    return Security(
        require_encryption=True,
        tls_ca_file=ca,
        **{f"tls_{role}_cert": cert for role in roles},
        **{f"tls_{role}_key": key for role in roles},
    )


@dataclass
class RunFolder:
    """A run's folder and what is known of the run.

    Parameters
    ----------
    shell : Connection or LocalShell
        Reaches the cluster.
    run_id : str
    path : str
        The folder, as login node and compute nodes see it.
    settings : JobSettings
    security : Security
    secret : str
        Part of the dashboard's address.
    alone_for : float
        Seconds that scheduler and workers go on without a client.
    """

    shell: Any
    run_id: str
    path: str
    settings: JobSettings
    security: Any = field(repr=False)
    secret: str = field(default_factory=lambda: secrets.token_hex(8), repr=False)
    alone_for: float = 3600.0

    def inside(self, *names: str) -> str:
        """Return a path in the folder."""
        return "/".join((self.path, *names))

    def quoted(self, *names: str) -> str:
        """Return a path in the folder as a shell word."""
        return shlex.quote(self.inside(*names))

    async def make(self) -> None:
        """Make the folder, readable by its owner alone, with the keys of the run."""
        folders = " ".join(self.quoted(name) for name in SUBFOLDERS)
        await self.shell.run(f"umask 077 && mkdir -p {folders}")
        for name, text in self.keys().items():
            await self.shell.write(self.inside("tls", f"{name}.pem"), text.encode(), mode=0o600)
        about = {"alone_for": self.alone_for, "secret": self.secret}
        await self.shell.write(self.inside(SESSION), json.dumps(about).encode(), mode=0o600)
        await self.shell.write(self.inside(MARKER), f"{self.run_id}\n".encode(), mode=0o600)

    @classmethod
    async def find(cls, shell: Any, run_id: str, path: str, settings: JobSettings) -> RunFolder:
        """Return the folder of a run that was made by an earlier session, with its keys.

        Raises
        ------
        ClusterError
            If it is not there, or belongs to somebody else, or its keys are deleted.
        """
        mark = f"-{secrets.token_hex(8)}-"
        files = [MARKER, SESSION, *(f"tls/{name}.pem" for name in KEYS)]
        command = (
            f"cd {shlex.quote(path)} && [ -O . ] && for f in {' '.join(files)}; do echo {mark}; cat $f; done"
        )
        done = await shell.run(command, check=False)
        marker, about, *keys = [*done.stdout.split(f"{mark}\n")[1:], "", "", ""][: len(files)]
        if marker.strip() != run_id:
            raise ClusterError(f"{path} on {shell.host} is not the folder of run {run_id} of this user")
        if done.status or not all(keys):
            raise ClusterError(f"run {run_id} has ended: its keys are deleted")
        told = json.loads(about)
        return cls(shell, run_id, path, settings, security_of(keys), told["secret"], float(told["alone_for"]))

    def keys(self) -> dict[str, str]:
        """Return certificate authority, certificate and key as text."""
        security = self.security
        return {
            "ca": security.tls_ca_file,
            "cert": security.tls_client_cert,
            "key": security.tls_client_key,
        }

    def scheduler_spec(self, *, on_node: bool, idle_timeout: str) -> str:
        """Return the description of the scheduler, for ``dask spec``.

        A file keeps the dashboard's secret prefix out of the list of processes.
        """
        options: dict[str, Any] = {
            "protocol": "tls",
            "port": 0,
            # loopback of the login node is reached through SSH; that of a node is not
            "dashboard_address": ":0" if on_node else "127.0.0.1:0",
            "http_prefix": self.secret,
            "scheduler_file": self.inside("scheduler.json"),
            "preload": ["tramway_dask.environments.alive"],
            "idle_timeout": idle_timeout,
            "security": {
                "require_encryption": True,
                "tls_ca_file": self.inside("tls", "ca.pem"),
                "tls_scheduler_cert": self.inside("tls", "cert.pem"),
                "tls_scheduler_key": self.inside("tls", "key.pem"),
            },
        }
        if self.settings.interface:
            options["interface"] = self.settings.interface
        return json.dumps({"cls": "distributed.Scheduler", "opts": options})

    async def remove(self) -> None:
        """Delete the folder."""
        await self.shell.run(f"rm -rf {self.quoted()}", check=False)

    async def drop_keys(self) -> None:
        """Delete the keys."""
        await self.shell.run(f"rm -rf {self.quoted('tls')}", check=False)
