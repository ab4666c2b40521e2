"""The registry of sites: adapters by name.

They come from this package, from other installed packages (entry points ``tramway_dask.sites``), from
Dask's configuration (``tramway.sites.<name>``), and from `Sites.register`; the later in this list
replaces the earlier. Settings in the configuration under the name of a site that exists change those
of its settings that they name.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from ..errors import SpecificationError, TramwayDaskError, suggest
from .base import Environment
from .siteclass import site_class

__all__ = ["ENTRY_POINTS", "Site", "Sites", "UnknownSiteError", "sites"]

ENTRY_POINTS = "tramway_dask.sites"
# name -> class in `adapters`
PACKAGED = {"maestro": "Maestro", "gpulab": "GPULab", "tars": "Tars"}
SHOWN = ("singularity_executable", "singularity_options", "remote_dependencies")


class UnknownSiteError(SpecificationError, KeyError):
    """No site has this name."""

    __str__ = Exception.__str__


@dataclass(frozen=True)
class Site:
    """What is known of a site.

    Attributes
    ----------
    name : str
    origin : str
        Where it comes from.
    adapter : type or None
        None if it is broken.
    description, hostname, scratch : str
        The scratch folder has ``{username}`` where the name of the user goes.
    settings : dict
        Everything by which it differs from the defaults.
    problem : str
        Why it is broken; empty if it is not.
    """

    name: str
    origin: str
    adapter: type | None = None
    description: str = ""
    hostname: str = ""
    scratch: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    problem: str = ""


def _plain(name: str) -> str:
    return name.strip().lower().replace("-", "_")


def _configured() -> dict[str, Any]:
    import dask.config

    found = dask.config.get("tramway.sites", None)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise SpecificationError(
            f"tramway.sites in Dask's configuration: expected names of sites, got {found!r}"
        )
    return {str(name): settings for name, settings in found.items()}


def _file_of(name: str) -> str | None:
    """Return the last configuration file that has a site."""
    from pathlib import Path

    import dask.config
    import yaml

    last = None
    for place in dask.config.paths:
        path = Path(place)
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        for file in files:
            if file.suffix.lower() not in (".yaml", ".yml", ".json"):
                continue
            try:
                content = yaml.safe_load(file.read_text(encoding="utf-8"))
                named = content["tramway"]["sites"]
                if _plain(name) in map(_plain, map(str, named)):
                    last = str(file)
            except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):
                continue
    return last


class Sites(Mapping[str, type]):
    """Adapters of sites by name; upper and lower case, ``-`` and ``_`` are the same.

    Examples
    --------
    >>> "maestro" in sites and "Maestro" in sites
    True
    """

    def __init__(self) -> None:
        self._registered: dict[str, type] = {}
        self._made: dict[tuple[str, type, str], type] = {}

    def register(self, name: str, cls: type) -> None:
        """Make an adapter known under a name.

        Raises
        ------
        SpecificationError
            If `cls` is not the class of an environment with a host name.
        """
        if not isinstance(name, str) or not name.strip():
            raise SpecificationError(f"name of a site: expected text, got {name!r}")
        self._check(f"site {name!r}", cls)
        self.unregister(name)
        self._registered[name.strip()] = cls

    def unregister(self, name: str) -> None:
        """Forget an adapter that was registered under a name; sites from elsewhere stay."""
        for known in [k for k in self._registered if _plain(k) == _plain(name)]:
            del self._registered[known]

    @staticmethod
    def _check(where: str, cls: Any) -> None:
        if not isinstance(cls, type) or not issubclass(cls, Environment):
            raise SpecificationError(f"{where}: expected a subclass of SingularitySlurm, got {cls!r}")
        hostname = getattr(cls, "hostname", None)
        if not callable(hostname) or not hostname():
            raise SpecificationError(
                f"{where}: {cls.__name__}.hostname() must be a class method that names the host"
            )

    @staticmethod
    def _entry_points() -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=ENTRY_POINTS)}

    def __iter__(self) -> Iterator[str]:
        names: dict[str, str] = {}
        for name in (*PACKAGED, *self._entry_points(), *_configured(), *self._registered):
            names.setdefault(_plain(name), name)
        return iter(sorted(names.values()))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and _plain(name) in map(_plain, self)

    def __getitem__(self, name: str) -> type:
        adapter = self._find(name)[0]
        if adapter is None:
            raise UnknownSiteError(f"there is no site {name!r}; {suggest(name, self)}")
        return adapter

    def __repr__(self) -> str:
        return f"Sites({', '.join(self)})"

    @staticmethod
    def _pick(name: str, found: Mapping[str, Any]) -> Any:
        if name in found:
            return found[name]
        same = [value for known, value in found.items() if _plain(known) == _plain(name)]
        return same[0] if same else None

    def _find(self, name: str) -> tuple[type | None, str]:
        """Return the class of a site and its origin."""
        registered = self._pick(name, self._registered)
        if registered is not None:
            return registered, "registered in this session"
        adapter, origin = self._installed(name)
        configured = _configured()
        if not any(_plain(known) == _plain(name) for known in configured):
            return adapter, origin
        settings = self._pick(name, configured)
        file = _file_of(name)
        where = f"{file}: tramway.sites.{name}" if file else f"tramway.sites.{name} in Dask's configuration"
        made = self._make(name, settings, adapter, where)
        place = file or "Dask's configuration"
        return made, f"{origin}, changed by {place}" if adapter else place

    def _installed(self, name: str) -> tuple[type | None, str]:
        point = self._pick(name, self._entry_points())
        if point is not None:
            package = point.dist.name if point.dist else "an installed package"
            where = f"site {point.name!r} of {package} (entry point {point.value})"
            try:
                adapter = point.load()
            except Exception as error:  # noqa: BLE001 (whatever another package raises)
                problem = f"{where} cannot be loaded: {type(error).__name__}: {error}"
                raise SpecificationError(problem) from error
            self._check(where, adapter)
            return adapter, f"package {package}"
        known = self._pick(name, PACKAGED)
        if known is not None:
            from . import adapters

            return getattr(adapters, known), "tramway_dask"
        return None, ""

    def _make(self, name: str, settings: Any, adapter: type | None, where: str) -> type:
        if adapter is None:
            from .singularity import SingularitySlurm

            adapter = SingularitySlurm
        # the same settings give the same class, so that environments can be compared
        key = (name, adapter, json.dumps(settings, sort_keys=True, default=repr))
        if key not in self._made:
            self._made[key] = site_class(name, settings, adapter, where=where)
        return self._made[key]

    def name_of(self, cls: type) -> str | None:
        """Return the name under which an adapter is known, if it has been looked up or registered."""
        named = [*self._registered.items(), *((name, made) for (name, *_), made in self._made.items())]
        return next((name for name, known in named if known is cls), None)

    def describe(self) -> list[Site]:
        """Return all sites; for each that is broken, a warning says why."""
        found = []
        for name in self:
            site = self.describe_site(name)
            if site.problem:
                warnings.warn(f"site {name!r} is broken: {site.problem}", UserWarning, stacklevel=2)
            found.append(site)
        return found

    def describe_site(self, name: str) -> Site:
        """Return what is known of a site, be it broken.

        Raises
        ------
        UnknownSiteError
            If no site has this name.
        """
        try:
            adapter, origin = self._find(name)
        except UnknownSiteError:
            raise
        except TramwayDaskError as error:
            return Site(name, "broken", problem=str(error))
        if adapter is None:
            raise UnknownSiteError(f"there is no site {name!r}; {suggest(name, self)}")
        try:
            return _describe(name, origin, adapter)
        except Exception as error:  # noqa: BLE001 (methods of another package)
            return Site(name, origin, adapter, problem=f"{type(error).__name__}: {error}")


def _hostname(cls: Any) -> str | None:
    return cls.hostname() if hasattr(cls, "hostname") else None


def _describe(name: str, origin: str, adapter: Any) -> Site:
    scratch = adapter.scratch("{username}") if hasattr(adapter, "scratch") else None
    settings: dict[str, Any] = {"hostname": adapter.hostname()}
    if scratch:
        settings["scratch"] = scratch
    for answer in SHOWN:
        if hasattr(adapter, answer):
            value = getattr(adapter, answer)()
            if value:
                settings[answer] = value
    chosen = adapter()
    # the class that no site has specialised yet
    usual = next((base() for base in adapter.__mro__[1:] if not _hostname(base)), None)
    for parameter in chosen.parameters():
        value = getattr(chosen, parameter)
        if parameter in getattr(adapter, "__dataclass_fields__", {}) and value != getattr(
            usual, parameter, None
        ):
            settings[parameter] = value
    lines = (adapter.__doc__ or "").strip().splitlines()
    return Site(
        name=name,
        origin=origin,
        adapter=adapter,
        description=lines[0].rstrip(".") if lines else "",
        hostname=settings["hostname"],
        scratch=scratch or "",
        settings=settings,
    )


sites = Sites()
