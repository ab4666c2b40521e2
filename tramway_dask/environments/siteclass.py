"""Makes the class of a site from settings: a few lines of YAML, no code."""

from __future__ import annotations

import dataclasses
import keyword
import re
import shlex
from collections.abc import Mapping
from typing import Any

from ..component import setting
from ..errors import SpecificationError, suggest
from .slurmunits import format_duration

__all__ = ["site_class", "site_keys"]

# answered by class methods of the site
ANSWERS = ("hostname", "scratch", "singularity_options", "singularity_executable", "remote_dependencies")
LIMITS = ("max_jobs", "max_array")
ALIASES = {"partition": "queue", "wc": "worker_count", "wd": "working_directory"}
TEXTS: tuple[str, ...] = (
    "hostname",
    "username",
    "scratch",
    "singularity_executable",
    "container",
    "queue",
    "account",
)
TEXTS = (*TEXTS, "interface", "python", "working_directory", "local_directory", "memory")
TIMES = ("walltime", "scheduler_walltime")
DESCRIPTION = "description"


def _fields(base: type) -> dict[str, dataclasses.Field[Any]]:
    # what a class says of itself is no parameter
    fields = dataclasses.fields(base) if dataclasses.is_dataclass(base) else ()
    return {f.name: f for f in fields if not f.name.startswith("_")}


def site_keys(base: type) -> list[str]:
    """Return the keys that the settings of a site may have.

    Parameters
    ----------
    base : type
        Class that is specialised: its parameters are keys as well.
    """
    parameters = [n for n in _fields(base) if n not in LIMITS]
    named = [*ANSWERS, *parameters, "partition", "limits", DESCRIPTION]
    return list(dict.fromkeys(named))


def _text(where: str, key: str, value: Any) -> str:
    if key in ("account", "username", "queue") and isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # a name made of digits, without quotes
    if not isinstance(value, str) or not value.strip() or "\n" in value or "\0" in value:
        example = {"memory": " such as '4 GiB'", "python": " such as 'python3'"}.get(key, "")
        raise SpecificationError(f"{where}.{key}: expected text of one line{example}, got {value!r}")
    return value.strip()


def _lines(where: str, key: str, value: Any) -> str:
    lines = [value] if isinstance(value, str) else value
    if not isinstance(lines, list | tuple) or not all(isinstance(line, str) for line in lines):
        raise SpecificationError(f"{where}.{key}: expected text or a list of texts, got {value!r}")
    if key == "singularity_options" and not isinstance(value, str):
        return shlex.join(lines)
    return "\n".join(lines).strip()


def _scratch(where: str, value: Any) -> str:
    pattern = _text(where, "scratch", value)
    other = [p for p in re.findall(r"\{[^}]*\}?", pattern) if p != "{username}"]
    if other:
        raise SpecificationError(f"{where}.scratch: {other[0]} means nothing, only {{username}} is replaced")
    if not pattern.startswith(("/", "~")) or "$" in pattern:
        raise SpecificationError(
            f"{where}.scratch: expected a path from '/' or '~' such as '/scratch/{{username}}', got {value!r}; "
            "variables are not replaced: 'echo $SCRATCH' on the cluster shows the path"
        )
    return pattern


def _walltime(value: Any) -> Any:
    # YAML reads 12:00:00 as a number in base 60, that of its seconds
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return format_duration(value)
    return value


def _flat(where: str, settings: Mapping[str, Any], base: type) -> dict[str, Any]:
    """Return settings by the names of parameters and answers."""
    keys = site_keys(base)
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        name = str(key).replace("-", "_")
        if name not in keys:
            known = [*keys, *(f"limits.{n}" for n in LIMITS)]
            raise SpecificationError(f"{where}: unknown key {key!r}; {suggest(name, known)}")
        if name == "limits":
            if not isinstance(value, Mapping):
                raise SpecificationError(f"{where}.limits: expected {' and '.join(LIMITS)}, got {value!r}")
            for limit, number in value.items():
                if limit not in LIMITS:
                    raise SpecificationError(
                        f"{where}.limits: unknown key {limit!r}; {suggest(limit, LIMITS)}"
                    )
                flat[limit] = number
            continue
        name = ALIASES.get(name, name)
        if name in flat and flat[name] != value:
            raise SpecificationError(f"{where}: 'partition' and 'queue' are the same thing, give one of them")
        flat[name] = value
    return flat


def _parameters(where: str, flat: Mapping[str, Any], base: type) -> dict[str, Any]:
    """Return the checked defaults of parameters."""
    checked = {}
    for name, value in flat.items():
        if name in ANSWERS or name == DESCRIPTION or value is None:
            continue
        field = _fields(base).get(name)
        if field is None:
            raise SpecificationError(f"{where}.{name}: {base.__name__} has no such parameter")
        if name in TEXTS:
            value = _text(where, name, value)
        elif name in TIMES:
            value = _walltime(value)
        check = field.metadata.get("check")
        try:
            checked[name] = value if check is None else check(f"{where}.{name}", value)
        except SpecificationError as error:
            if where in str(error):
                raise
            raise SpecificationError(f"{where}.{name}: {error}") from error
    return checked


def _class_name(name: str) -> str:
    words = re.findall(r"[A-Za-z0-9]+", name)
    made = "".join(w[:1].upper() + w[1:] for w in words) or "Site"
    return f"Site{made}" if made[0].isdigit() or keyword.iskeyword(made) else made


def _answer(name: str, value: str) -> classmethod[Any, Any, Any]:
    if name == "scratch":

        def scratch(cls: type, username: str) -> str:
            return value.replace("{username}", username)

        return classmethod(scratch)

    def answer(cls: type) -> str:
        return value

    answer.__name__ = name
    return classmethod(answer)


def _default(value: Any, field: dataclasses.Field[Any]) -> Any:
    check = field.metadata.get("check")
    if isinstance(value, dict | list):
        return setting(check=check, default_factory=lambda: type(value)(value))
    return setting(value, check=check)


def site_class(name: str, settings: Mapping[str, Any], base: type, *, where: str | None = None) -> type:
    """Return the class of a site.

    Parameters
    ----------
    name : str
        Of the site.
    settings : mapping
        By the keys of `site_keys`.
    base : type
        `SingularitySlurm`, or the class of a site some of whose settings are changed.
    where : str, optional
        How messages call the place of the settings.

    Raises
    ------
    SpecificationError
        For a key that does not exist, or a value that cannot be.

    Examples
    --------
    >>> from tramway_dask.environments.overssh import SlurmOverSSH
    >>> lab = site_class("lab", {"hostname": "login.lab.org", "scratch": "/scratch/{username}"}, SlurmOverSSH)
    >>> lab.hostname(), lab.scratch("ada"), lab().queue
    ('login.lab.org', '/scratch/ada', None)
    """
    where = where or f"tramway.sites.{name}"
    if not isinstance(settings, Mapping):
        raise SpecificationError(f"{where}: expected keys and values such as hostname: ..., got {settings!r}")
    flat = _flat(where, settings, base)
    members: dict[str, Any] = {"__module__": __name__, "__annotations__": {}}
    for key in ANSWERS:
        if flat.get(key) is not None:
            if key == "scratch":
                value = _scratch(where, flat[key])
            elif key in TEXTS:
                value = _text(where, key, flat[key])
            else:
                value = _lines(where, key, flat[key])
            members[key] = _answer(key, value)
    fields = _fields(base)
    for key, value in _parameters(where, flat, base).items():
        members[key] = _default(value, fields[key])
        members["__annotations__"][key] = fields[key].type
    known = flat.get(DESCRIPTION)
    members["__doc__"] = (
        str(known) if known else (base.__doc__ if "hostname" not in flat else f"Site {name!r}.")
    )
    made: Any = dataclasses.dataclass(eq=False, repr=False)(type(_class_name(name), (base,), members))
    if not made.hostname():
        raise SpecificationError(f"{where}: 'hostname' is missing, the login node that ssh connects to")
    return made
