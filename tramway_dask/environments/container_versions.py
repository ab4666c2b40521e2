"""Whether a container fits the client: the versions of what they exchange."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping

from ..config import setting_of
from ..errors import ClusterError

__all__ = ["check_versions", "parse_versions"]

EQUAL = ("dask", "distributed", "cloudpickle", "tramway_dask")
SAME_MAJOR = ("msgpack", "numpy", "pandas")


def parse_versions(output: str) -> dict[str, str | None]:
    """Return the versions that a container has printed.

    Parameters
    ----------
    output : str
        Standard output of `Container.versions_words`; lines before the last are greetings of the host.

    Raises
    ------
    ClusterError
        If the last line is something else.
    """
    lines = output.strip().splitlines()
    try:
        versions = json.loads(lines[-1])
        if isinstance(versions, dict) and "python" in versions:
            return versions
    except (IndexError, ValueError):
        pass
    raise ClusterError(
        "the container's Python did not print its versions but: "
        f"{output.strip()[-300:] or 'nothing'}; is it an image of singularity/build.sh?"
    )


def _head(version: str | None, parts: int) -> str:
    return "none" if version is None else ".".join(version.split(".")[:parts])


def check_versions(
    client: Mapping[str, str | None],
    container: Mapping[str, str | None],
    *,
    image: str = "the container",
    accept_other_source: bool | None = None,
) -> None:
    """Refuse a container with which the client cannot work.

    Parameters
    ----------
    client, container : mapping
        Versions on either side: `tramway_dask.environments.installed.installed_versions` here,
        `parse_versions` there.
    image : str
        Name of the container in messages.
    accept_other_source : bool, optional
        Accept a container in which tramway_dask has the same version and other source files: maps may
        then differ from those made here. Default: the setting ``tramway.accept-other-source`` of Dask's
        configuration (``DASK_TRAMWAY__ACCEPT_OTHER_SOURCE=true``), else False.

    Raises
    ------
    ClusterError
        If Python's minor version, or dask, distributed, cloudpickle or tramway_dask differ. The message
        names each difference, and the remedy.

    Warns
    -----
    UserWarning
        If the major version of numpy, pandas or msgpack differs.
    """
    different = []
    if _head(client.get("python"), 2) != _head(container.get("python"), 2):
        different.append("python")
    different += [name for name in EQUAL if client.get(name) != container.get(name)]
    if different:
        raise ClusterError(_refusal(client, container, image, different))
    accepted = setting_of("accept_other_source") if accept_other_source is None else accept_other_source
    if client.get("source") != container.get("source") and not accepted:
        raise ClusterError(
            f"{image}: its tramway_dask has the version of this computer's, {client.get('tramway_dask')}, "
            f"but other source files (digest {_short(container)} there, {_short(client)} here): "
            "rebuild the image: bash singularity/build.sh --python "
            f"{_head(client.get('python'), 2)}; or set tramway.accept-other-source to true in Dask's "
            "configuration, if the difference does not matter"
        )
    drift = [n for n in SAME_MAJOR if _head(client.get(n), 1) != _head(container.get(n), 1)]
    if drift:
        listed = ", ".join(f"{n} {container.get(n)} there, {client.get(n)} here" for n in drift)
        warnings.warn(f"{image}: {listed}; results may differ in the last digits, or not load", stacklevel=2)


def _short(versions: Mapping[str, str | None]) -> str:
    return (versions.get("source") or "none")[:12]


def _refusal(
    client: Mapping[str, str | None], container: Mapping[str, str | None], image: str, different: list[str]
) -> str:
    listed = "; ".join(
        f"{name} is {container.get(name) or 'not installed'} there and {client.get(name) or 'not installed'} here"
        for name in different
    )
    minor = _head(client.get("python"), 2)
    remedies = [
        f"build the image for this computer (bash singularity/build.sh --python {minor}) and register it"
    ]
    if "python" in different:
        remedies.append(f"or run this script with Python {_head(container.get('python'), 2)}")
    elif all(container.get(name) for name in different):
        wanted = " ".join(f"{name}=={container[name]}" for name in different)
        remedies.append(f"or install here what the container has (pip install {wanted})")
    return f"{image} does not fit this computer: {listed}. Either {' '.join(remedies)}"
