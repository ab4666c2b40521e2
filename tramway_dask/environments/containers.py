"""Images for workers: their names, where each one comes from, and how it gets to the cluster."""

from __future__ import annotations

import hashlib
import re
import sys
from collections import UserDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from ..config import setting_of
from ..errors import ClusterError, SpecificationError, suggest
from .container_exec import Container
from .container_versions import check_versions, parse_versions
from .digests import file_sha256

__all__ = [
    "IMAGE_DATE",
    "PYTHON_VERSIONS",
    "Container",
    "Location",
    "Registry",
    "check_name",
    "check_versions",
    "container_name",
    "default_container",
    "download_script",
    "file_sha256",
    "locate",
    "parse_versions",
    "python_tag",
    "singularity_containers",
]

# date in the names of the images that belong to this version of the package
IMAGE_DATE = "261122"
PYTHON_VERSIONS = ("3.11", "3.12", "3.13")

_NAME = re.compile(r"tramway-dask-(\d{6})-py(3\d+)\.sif")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def python_tag(python_version: str | None = None) -> str:
    """Return a version of Python as names of images have it.

    Parameters
    ----------
    python_version : str, optional
        Such as ``"3.11"``, ``"3.11.7"``, ``"311"`` or ``"py311"``; default: the Python that runs.

    Returns
    -------
    str
        Such as ``"311"``.

    Raises
    ------
    SpecificationError
        If there is no image for that version.

    Examples
    --------
    >>> python_tag("3.12.1")
    '312'
    """
    given = "{}.{}".format(*sys.version_info) if python_version is None else str(python_version)
    match = re.fullmatch(r"(?:py)?3\.?(\d+)(?:\.\w+)?", given.strip())
    known = [v.replace(".", "") for v in PYTHON_VERSIONS]
    tag = f"3{match[1]}" if match else ""
    if tag not in known:
        reason = "" if python_version is not None else ", the version that runs here"
        raise SpecificationError(
            f"there is no container for Python {given}{reason}: containers exist for "
            f"{', '.join(PYTHON_VERSIONS)}, and the client needs the same version as its workers"
        )
    return tag


def container_name(python_version: str | None = None, date: str = IMAGE_DATE) -> str:
    """Return the name of the image of a date for a version of Python.

    Examples
    --------
    >>> container_name("3.11", "261122")
    'tramway-dask-261122-py311.sif'
    """
    if not re.fullmatch(r"\d{6}", date):
        raise SpecificationError(f"date: expected six digits YYMMDD, got {date!r}")
    return f"tramway-dask-{date}-py{python_tag(python_version)}.sif"


def _checked_source(name: str, source: Any) -> str:
    if isinstance(source, Path):
        source = str(source)
    if not isinstance(source, str) or not source.strip():
        raise SpecificationError(f"container {name!r}: expected an address or a path, got {source!r}")
    if "/" in name or not name.endswith(".sif"):
        raise SpecificationError(f"container {name!r}: expected a file name that ends with .sif")
    if _is_url(source):
        _split_url(name, source)
    return source


class Registry(UserDict[str, str]):
    """Where images come from: file name → address or path on this computer.

    An address ``https://…`` may end with ``#sha256=<64 hexadecimal digits>``, the checksum of the file;
    one that is not encrypted (``http://…``) must. What Dask's configuration files list as
    ``tramway.containers`` is found as well; what is set here comes first.

    Examples
    --------
    >>> registry = Registry()
    >>> registry["lab.sif"] = "https://example.org/lab.sif#sha256=" + 64 * "0"
    """

    def __setitem__(self, name: str, source: str | Path) -> None:
        super().__setitem__(name, _checked_source(name, source))

    def all(self) -> dict[str, str]:
        """Return these entries and those of the configuration files."""
        configured = setting_of("containers") or {}
        if not isinstance(configured, Mapping):
            raise SpecificationError(
                f"tramway.containers: expected lines 'name.sif: address or path', got {configured!r}"
            )
        return {str(k): _checked_source(str(k), v) for k, v in configured.items()} | self.data


def check_name(container: str | Path, python_version: str | None = None) -> None:
    """Refuse an image whose name says that it has another Python than the one that runs.

    Raises
    ------
    SpecificationError
        Before anything is sent: workers and client need the same version.
    """
    match = _NAME.fullmatch(PurePosixPath(str(container)).name)
    mine = "{}.{}".format(*sys.version_info) if python_version is None else python_version
    if match and f"{match[2][0]}.{match[2][1:]}" != mine:
        there = f"{match[2][0]}.{match[2][1:]}"
        raise SpecificationError(
            f"the container {container!s} is for Python {there}, and Python {mine} runs here: workers and client need "
            f"the same version; run this script with Python {there}, or leave a.env.container unset"
        )


singularity_containers = Registry()


def default_container(python_version: str | None = None) -> str:
    """Return the name of the image for a version of Python.

    Parameters
    ----------
    python_version : str, optional
        Such as ``"311"`` or ``"3.11"``; default: the Python that runs, which is the one that works.

    Returns
    -------
    str
        The newest image of that version in `singularity_containers`; without any, the name under which
        ``singularity/build.sh`` makes it.

    Raises
    ------
    SpecificationError
        If there is no image for that version.
    """
    tag = python_tag(python_version)
    matches = (_NAME.fullmatch(name) for name in singularity_containers.all())
    dates = [m[1] for m in matches if m and m[2] == tag]
    return container_name(tag, max(dates, default=IMAGE_DATE))


def _is_url(text: str) -> bool:
    return "://" in text


def _split_url(name: str, address: str) -> tuple[str, str | None]:
    """Address and checksum of ``address#sha256=…``."""
    url, _, fragment = address.partition("#")
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.netloc:
        raise SpecificationError(
            f"container {name!r}: {url} cannot be downloaded, expected https://… "
            "(pull images of other kinds once, by hand: apptainer pull x.sif oras://…)"
        )
    if not fragment:
        if parts.scheme == "http":
            raise SpecificationError(
                f"container {name!r}: {url} is not encrypted; use https://… or append "
                "#sha256=<checksum of the file>"
            )
        return url, None
    digest = fragment.removeprefix("sha256=").lower()
    if not _DIGEST.fullmatch(digest) or not fragment.startswith("sha256="):
        raise SpecificationError(
            f"container {name!r}: expected #sha256=<64 hexadecimal digits> after the address, got #{fragment}"
        )
    return url, digest


@dataclass(frozen=True)
class Location:
    """Where an image comes from, and what must be done before workers can start in it.

    Parameters
    ----------
    name : str
        As the user gave it: a registered name, an address, or a path on the cluster.
    action : {"use", "upload", "download"}
        ``"use"``: the file is on the cluster already; ``"upload"``: it is sent from this computer;
        ``"download"``: the cluster fetches it.
    source : str or None
        Path on this computer, or address.
    sha256 : str or None
        What the file must be; None if unknown.
    """

    name: str
    action: Literal["use", "upload", "download"]
    source: str | None = None
    sha256: str | None = None

    def remote_path(self, home: str, folder: str) -> str:
        """Return the absolute path of the image on the cluster.

        Parameters
        ----------
        home : str
            The user's home folder there: a path that is in use already is relative to it.
        folder : str
            Folder of the images that this package brings, on scratch or in the home folder. Each lies in
            a subfolder named by its content or its address, so that a new one never takes the place of
            one in which workers run.

        Returns
        -------
        str
            An absolute path.
        """
        if self.action == "use":
            return str(PurePosixPath(home, re.sub(r"^(~|\$HOME|\$\{HOME\})/", "", self.name)))
        return str(PurePosixPath(home, folder, self._subfolder(), self.file_name))

    @property
    def file_name(self) -> str:
        """Name of the file, without folder."""
        return PurePosixPath(unquote(urlsplit(self.name).path) if _is_url(self.name) else self.name).name

    def _subfolder(self) -> str:
        key = self.sha256 or hashlib.sha256((self.source or self.name).encode()).hexdigest()
        return key[:16]

    def download_words(self, path: str, *, timeout: int = 3600) -> list[str]:
        """Return the command that downloads the image to `path` on the cluster.

        It reads `download_script` from its standard input; its last line of output is
        ``<"present" or "downloaded"> <sha256> <path>``.
        """
        if self.action != "download" or self.source is None:
            raise SpecificationError(f"container {self.name!r} is not one that is downloaded")
        return ["bash", "-s", "--", self.source, path, self.sha256 or "-", str(timeout)]

    def absent(self, host: str, path: str) -> ClusterError:
        """Return the error for an image that was expected on the cluster and is not there."""
        known = singularity_containers.all()
        return ClusterError(
            f"the container {self.name!r} is neither at {path} on {host} nor registered on this computer: "
            "build it (bash singularity/build.sh) and register the file, "
            f'environments.containers.singularity_containers["{self.file_name}"] = "/path/of/{self.file_name}", '
            f"or copy it to {host} ({suggest(self.name, known)})"
        )


def locate(container: str | Path, *, registry: Mapping[str, str] | None = None) -> Location:
    """Say where an image comes from.

    Parameters
    ----------
    container : str or Path
        A name in the registry, an address ``https://…``, a `pathlib.Path` of a file on this computer, or
        a path on the cluster, absolute or relative to the user's home folder there.
    registry : mapping, optional
        File name → address or path on this computer; default: `singularity_containers`.

    Returns
    -------
    Location
        What is to be done. Of a file on this computer, the checksum is computed.

    Raises
    ------
    SpecificationError
        If a name is empty, an address cannot be used, or a file on this computer is missing.
    """
    if not str(container).strip() or str(container) == ".":
        raise SpecificationError("container: expected a name, a path or an address, got an empty one")
    if isinstance(container, Path):
        return _local(container.name, container)
    known = singularity_containers.all() if registry is None else registry
    source = known.get(container, container if _is_url(container) else None)
    if source is None:
        return Location(container, "use")
    if _is_url(source):
        url, digest = _split_url(container, source)
        return Location(url if _is_url(container) else container, "download", url, digest)
    return _local(container, Path(source).expanduser())


def _local(name: str, path: Path) -> Location:
    if not path.is_file():
        raise SpecificationError(
            f"container {name!r}: there is no file {path} on this computer; build it with "
            "bash singularity/build.sh, or register another place"
        )
    return Location(name, "upload", str(path.resolve()), file_sha256(path))


def download_script() -> str:
    """Return the Bash script that downloads an image, for the standard input of `Location.download_words`."""
    return Path(__file__).with_name("download.sh").read_text(encoding="utf-8")
