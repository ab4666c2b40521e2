"""Brings modules of the user's to every worker, those that come later as well."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from distributed.diagnostics.plugin import WorkerPlugin

from .usermodules import install, modules_digest

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["UserModules", "send_modules"]


class UserModules(WorkerPlugin):
    """Modules that a worker can import.

    Parameters
    ----------
    files : dict of str to bytes
        As from `usermodules.user_files`.
    """

    idempotent = True  # the same files once

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.name = f"tramway-modules-{modules_digest(files)}"

    def setup(self, worker: Any) -> None:
        """Write the files beside those of the worker."""
        install(self.files, Path(worker.local_directory) / self.name)


def send_modules(client: Client, files: dict[str, bytes]) -> None:
    """Send modules to the workers of a client."""
    if files:
        client.register_plugin(UserModules(files))
