"""Whether the scheduler and the workers of a user's own client fit this process."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import setting_of
from ..errors import ClusterError
from . import installed

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["check_client"]

EQUAL = ("tramway_dask", "dask", "distributed", "cloudpickle")
SCHEDULER = "the scheduler"


def check_client(client: Client, checked: Collection[str] = ()) -> list[str]:
    """Refuse a client whose scheduler or workers could not do the work.

    Parameters
    ----------
    client : distributed.Client
    checked : collection of str
        Places that need not be asked again.

    Returns
    -------
    list of str
        The places that were asked.

    Raises
    ------
    ClusterError
        If tramway_dask cannot be imported there, or versions differ.
    """
    mine = installed.installed_versions()
    found = _ask(client, checked)
    for place, versions in found.items():
        _compare(mine, versions, place)
    return list(found)


def _ask(client: Client, checked: Collection[str]) -> dict[str, dict[str, Any]]:
    # a function of this package could not be sent to where the package is not
    text = Path(installed.__file__).read_text()
    code = f"(lambda names: exec({text!r}, names) or names['json'].dumps(names['installed_versions']()))"
    code += "({'__name__': 'installed'})"
    known = client.scheduler_info()["workers"]
    workers = [place for place in known if _worker(place) not in checked]
    said: dict[str, Any] = {}
    if SCHEDULER not in checked:
        said[SCHEDULER] = client.run_on_scheduler(eval, code)
    if workers:
        answers = client.run(eval, code, workers=workers, on_error="ignore")
        said |= {_worker(place): answer for place, answer in answers.items()}
    return {place: json.loads(text) for place, text in said.items()}


def _worker(address: str) -> str:
    return f"worker {address}"


def _compare(mine: Mapping[str, Any], there: Mapping[str, Any], place: str) -> None:
    if there.get("source") is None:
        raise ClusterError(
            f"{place} of a.env's client cannot import tramway_dask: install it there, in the version that is here "
            f"({mine['tramway_dask']}), as 'pip install tramway_dask=={mine['tramway_dask']}'"
        )
    different = [name for name in EQUAL if there.get(name) != mine.get(name)]
    if _minor(there) != _minor(mine):
        different.insert(0, "python")
    if different:
        listed = "; ".join(
            f"{name} is {there.get(name)} there and {mine.get(name)} here" for name in different
        )
        raise ClusterError(
            f"{place} of a.env's client does not fit this process: {listed}; start the cluster from the same "
            "environment as this script"
        )
    if there["source"] != mine["source"] and not setting_of("accept_other_source"):
        raise ClusterError(
            f"{place} of a.env's client has the same version of tramway_dask, {mine['tramway_dask']}, but other "
            "source files: install the same there, or set tramway.accept-other-source to true in Dask's "
            "configuration if the difference does not matter"
        )


def _minor(versions: Mapping[str, Any]) -> list[str]:
    return str(versions.get("python")).split(".")[:2]
