"""Workers in Singularity (Apptainer) containers, as jobs of Slurm, over SSH."""

from __future__ import annotations

import shlex
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..component import setting
from ..errors import ClusterError
from .container_exec import Container, visible_paths
from .container_versions import check_versions, parse_versions
from .containers import Location, check_name, default_container, download_script, locate
from .installed import installed_versions
from .overssh import SlurmOverSSH, transfer_bar

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["SingularitySlurm"]


@dataclass(eq=False, repr=False)
class SingularitySlurm(SlurmOverSSH):
    """Slurm over SSH with workers in a container: the base class of site adapters.

    An adapter is a subclass with class methods `hostname`, `scratch`, `singularity_options`,
    `singularity_executable` and `remote_dependencies`.

    Parameters
    ----------
    container : str or Path, optional
        Name of a registered image (`environments.containers.singularity_containers`), address, path on
        the cluster relative to the home folder there, or `Path` on this computer. Default:
        `default_container` for this version of Python.
    python : str
        Command that starts Python in the container.

    The other parameters are those of `SlurmOverSSH`.
    """

    container: str | Path | None = setting(None)
    python: str = setting("python")

    @classmethod
    def singularity_options(cls) -> str:
        """Return options of ``exec`` that the site needs, such as ``-B /data``."""
        return ""

    @classmethod
    def singularity_executable(cls) -> str:
        """Return the command that runs containers."""
        return "singularity"

    @classmethod
    def default_container(cls, python_version: str | None = None) -> str:
        """Return the name of the image for a version of Python; default: the one that runs."""
        return default_container(python_version)

    @property
    def client(self) -> Client:
        """A client of the cluster."""
        from distributed.versions import VersionMismatchWarning

        with warnings.catch_warnings():
            # what matters was checked before; the patch release of Python does not
            warnings.simplefilter("ignore", VersionMismatchWarning)
            return super().client

    def _location(self) -> Location:
        return locate(self.container if self.container is not None else self.default_container())

    def _images(self, home: str) -> str:
        return f"{self.runs_folder(home)}/images"

    def _binds(self, home: str) -> tuple[str, ...]:
        found = self._found_folders()
        places = [home, self.runs_folder(home), *self._physical, *self._mapped_folders(home), *found]
        return visible_paths(*(p for p in places if p != "/"))

    def _container(self, folder: str, home: str) -> Container:
        return Container(
            image=self._location().remote_path(home, self._images(home)),
            executable=self.singularity_executable(),
            options=self.singularity_options(),
            binds=self._binds(home),
            home=f"{folder}/home",
            python=self.python,
        )

    def _python(self, folder: str, home: str) -> str:
        return shlex.join(self._container(folder, home).python_words())

    def _before_python(self, folder: str, home: str) -> list[str]:
        return [self._container(folder, home).prologue().rstrip()]

    def _visible(self, path: str, home: str) -> bool:
        shown = [*self._binds(home), *_bound(self.singularity_options())]
        return any(path == place or path.startswith(place.rstrip("/") + "/") for place in shown)

    async def _prepare(self, run: Any, home: str) -> None:
        """Bring the image, and refuse one that does not fit this computer."""
        location = self._location()
        check_name(location.name)
        path = location.remote_path(home, self._images(home))
        shell, host = run.shell, run.shell.host
        if location.action == "upload":
            await self._send_image(shell, location, path)
        elif location.action == "download":
            words = location.download_words(path)
            await shell.run(shlex.join(words), input=download_script(), timeout=4000)
        elif (await shell.run(f"[ -r {shlex.quote(path)} ]", check=False)).status:
            raise location.absent(host, path)
        container = self._container(run.path, home)
        lines = [*self._prologue(), f"exec {shlex.join(container.versions_words())}"]
        done = await shell.run("bash -s", input="\n".join(lines) + "\n", check=False, timeout=300)
        if done.status:
            raise ClusterError(
                f"the container {location.name} does not start on {host} (status {done.status}):\n"
                f"{done.stderr.strip()[-2000:]}"
            )
        check_versions(installed_versions(), parse_versions(done.stdout), image=location.name)

    @staticmethod
    async def _send_image(shell: Any, location: Location, path: str) -> None:
        assert location.source is not None
        source, there = Path(location.source), shlex.quote(path)
        folder = shlex.quote(path.rpartition("/")[0])
        found = await shell.run(
            f"umask 077 && mkdir -p {folder} && {{ stat -L -c %s -- {there} 2>&1 || true; }}"
        )
        size = source.stat().st_size
        # its folder is named by its content, which was checked when it got there
        if found.stdout.strip() != str(size):
            with transfer_bar("container", size) as advanced:
                await shell.upload(source, path, progress=advanced, digest=location.sha256)


def _bound(options: str) -> list[str]:
    """Return the places that options of ``exec`` show, under the names that they have in the container."""
    words, found = shlex.split(options), []
    for i, word in enumerate(words):
        name, _, value = word.partition("=")
        if name in ("-B", "--bind"):
            value = value or (words[i + 1] if i + 1 < len(words) else "")
            for bind in value.split(","):
                parts = bind.split(":")
                # a file is looked for under the same name on either side
                if len(parts) == 1 or parts[0] == parts[1]:
                    found.append(parts[0])
    return found
