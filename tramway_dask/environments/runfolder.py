"""The folder of a run on the cluster's file system, and the keys of its scheduler."""

from __future__ import annotations

import json
import secrets
import shlex
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from .jobs import JobSettings

if TYPE_CHECKING:
    from distributed.security import Security

__all__ = ["RunFolder", "new_run_id", "new_security"]

SUBFOLDERS = ("tls", "logs", "home", "parts", "data", "tmp")


def new_run_id() -> str:
    """Return a name for a run: sorted by time, not to be guessed."""
    return f"{datetime.now(UTC):%y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def new_security() -> Security:
    """Return a key pair made for one run; both sides of every connection must have it."""
    from distributed.security import Security

    return Security.temporary()


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
    """

    shell: Any
    run_id: str
    path: str
    settings: JobSettings
    security: Any = field(repr=False)
    secret: str = field(default_factory=lambda: secrets.token_hex(8), repr=False)

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
