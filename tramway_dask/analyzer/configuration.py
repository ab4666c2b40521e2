"""Analyzers written down in a TOML or YAML file, in the words of the API.

A section is an attribute of the analyzer. In it, ``from_…`` names a method with its
arguments, ``type`` a class, and anything else a parameter.
"""

from __future__ import annotations

import fnmatch
import inspect
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .. import environments
from ..component import Component
from ..errors import SpecificationError, TramwayDaskError, suggest
from ..inference import models
from ..pipeline import stages
from ..segmentation import cell_mergers, sampler, tesseller, tessellers, time
from ..spt_data import linkers
from .rwanalyzer import RWAnalyzer

__all__ = ["from_mapping", "read_configuration"]

SECTIONS = ("spt_data", "roi", "tesseller", "time", "sampler", "mapper", "stages", "env", "results", "seed")
STAGES = ("tessellate", "infer", "tessellate_and_infer")
# classes that are there to be derived from, or need an object that no file can hold
NOT_TYPES = {"BaseSampler", "CallableTesseller", "Environment", "GivenClient", "Linker", "Tesseller", "Time"}
FILTERS = ("roi_index", "spt_source")
# arguments that are paths, relative to the folder of the file
PATHS = {"pattern", "path", "tessellation"}


def read_configuration(path: str | Path, *, site: str | None = None) -> RWAnalyzer:
    """Return the analyzer that a TOML or YAML file describes.

    Relative paths in the file are relative to its folder.

    Parameters
    ----------
    path : path
    site : str, optional
        Name of a cluster; it takes the place of the type in section ``env``, whose options are kept.

    Raises
    ------
    SpecificationError
        If the file cannot be read, or has a section, option or value that is not known.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in (".toml", ".yaml", ".yml"):
        raise SpecificationError(f"{path}: expected a file that ends with .toml, .yaml or .yml")
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text) if kind == ".toml" else _from_yaml(text)
    except OSError as error:
        raise SpecificationError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise SpecificationError(f"{path} is no valid {kind[1:].upper()}: {error}") from error
    if not isinstance(content, Mapping):
        raise SpecificationError(f"{path}: expected sections such as spt_data, tesseller, mapper")
    with _in(f"{path}: "):
        return from_mapping(content, path.parent, site=site)


def _from_yaml(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


@contextmanager
def _in(place: str) -> Iterator[None]:
    """Say where in the file an error is."""
    try:
        yield
    except TramwayDaskError as error:
        raise type(error)(f"{place}{error}") from error
    except (TypeError, ValueError) as error:
        raise SpecificationError(f"{place}{error}") from error


def from_mapping(content: Mapping[str, Any], folder: Path = Path(), *, site: str | None = None) -> RWAnalyzer:
    """Return the analyzer that nested mappings describe.

    Parameters
    ----------
    content : mapping
        Sections.
    folder : Path
        What relative paths are relative to.
    site : str, optional
        As for `read_configuration`.
    """
    for section in content:
        if section not in SECTIONS:
            raise SpecificationError(f"unknown section {str(section)!r}; {suggest(section, SECTIONS)}")
    analyzer = RWAnalyzer(seed=content.get("seed", 0))
    results = content.get("results", str(analyzer.results.folder))
    if not isinstance(results, str):
        raise SpecificationError(f"results: expected the path of a folder, got {results!r}")
    analyzer.results = folder / _expand(results)
    # files may be on the cluster that is the environment
    if site is not None:
        analyzer.env = _on_site(site, content.get("env", {}))
    elif "env" in content:
        analyzer.env = _environment(content["env"])
    _read_data(analyzer, content.get("spt_data"), folder)
    _call_initializers("roi", analyzer.roi, _mapping("roi", content.get("roi", {})), folder)
    for name, modules in (
        ("tesseller", (tessellers, tesseller)),
        ("time", (time,)),
        ("sampler", (sampler,)),
        ("mapper", (models,)),
    ):
        if name in content:
            setattr(analyzer, name, _component(name, content[name], modules, folder))
    for entry in _stages(content.get("stages", [])):
        analyzer.pipeline.append_stage(entry)
    return analyzer


def _mapping(section: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise SpecificationError(f"[{section}]: expected options as in `name = value`, got {value!r}")
    return {str(name): given for name, given in value.items()}


def _expand(path: Any) -> str:
    return os.path.expandvars(os.path.expanduser(str(path)))


def _read_data(analyzer: RWAnalyzer, section: Any, folder: Path) -> None:
    if section is None:
        raise SpecificationError(
            'no section [spt_data]; name the files, as in\n[spt_data.from_ascii_files]\npattern = "data/*.trxyt"'
        )
    options = _mapping("spt_data", section)
    conditions = options.pop("conditions", {})
    _call_initializers("spt_data", analyzer.spt_data, options, folder)
    if analyzer.elsewhere() is None:
        with _in("[spt_data] "):
            len(analyzer.spt_data)  # files that cannot be elsewhere
    if not analyzer.spt_data.initialized:
        raise SpecificationError(
            "[spt_data]: no files are named; add e.g. [spt_data.from_ascii_files] with a pattern"
        )
    for name, patterns in _mapping("spt_data.conditions", conditions).items():
        for pattern in [patterns] if isinstance(patterns, str) else _listed(name, patterns):
            found = [s for s in analyzer.spt_data if fnmatch.fnmatch(Path(s.source).name, pattern)]
            if not found:
                names = ", ".join(Path(s.source).name for s in list(analyzer.spt_data)[:3])
                raise SpecificationError(
                    f"[spt_data.conditions] {name}: no file matches {pattern!r}; there are e.g. {names}"
                )
            for source in found:
                if source.condition not in (None, name):
                    raise SpecificationError(
                        f"[spt_data.conditions]: {Path(source.source).name} is of two conditions, "
                        f"{source.condition!r} and {name!r}"
                    )
                source.condition = name


def _listed(name: str, patterns: Any) -> list[str]:
    if not isinstance(patterns, list) or not all(isinstance(p, str) for p in patterns):
        raise SpecificationError(
            f"[spt_data.conditions] {name}: expected a pattern of file names, or a list of them, got {patterns!r}"
        )
    return patterns


def _call_initializers(section: str, target: Any, options: dict[str, Any], folder: Path) -> None:
    """Apply ``from_…`` methods with their arguments, then set what is left."""
    known = [n for n in dir(type(target)) if n.startswith("from_") and "dataframe" not in n]
    settable = [n for n, v in vars(type(target)).items() if isinstance(v, property) and v.fset]
    # what a manifest says of a file goes before what is said of all
    later = [name for name in options if name == "from_manifest"]
    methods = [name for name in options if name.startswith("from_") and name not in later]
    for name in (*methods, *(n for n in options if not n.startswith("from_")), *later):
        if name.startswith("from_"):
            _call(section, target, name, options[name], known, folder)
            continue
        if name not in settable:
            names = [*known, *settable]
            raise SpecificationError(f"[{section}]: unknown option {name!r}; {suggest(name, names)}")
        with _in(f"[{section}] "):
            setattr(target, name, options[name])


def _call(section: str, target: Any, name: str, value: Any, known: Sequence[str], folder: Path) -> None:
    """Apply a ``from_…`` method."""
    if name not in known:
        raise SpecificationError(f"[{section}]: unknown method {name!r}; {suggest(name, known)}")
    method = getattr(target, name)
    arguments = _mapping(f"{section}.{name}", value)
    with _in(f"[{section}.{name}] "):
        arguments = _paths(arguments, folder)
        if "linker" in arguments:
            arguments["linker"] = _component(f"{section}.{name}.linker", arguments["linker"], (linkers,))
        _check_arguments(method, arguments)
        method(**arguments)


def _check_arguments(
    function: Callable[..., Any], arguments: Mapping[str, Any], more: Sequence[str] = ()
) -> None:
    """Complain of arguments that are missing or not known; ``**options`` are checked by the function."""
    parameters = inspect.signature(function).parameters.values()
    known = [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]
    is_open = len(known) < len(parameters) and not more
    for name in () if is_open else arguments:
        if name not in (*known, *more):
            raise SpecificationError(f"unknown option {name!r}; {suggest(name, (*known, *more))}")
    for p in parameters:
        if p.default is p.empty and p.kind is not p.VAR_KEYWORD and p.name not in arguments:
            near = [n for n in arguments if n not in known]
            got = f", got {', '.join(map(repr, near))}" if near else ""
            raise SpecificationError(f"{p.name!r} is missing{got}; known: {', '.join(map(repr, known))}")


def _paths(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    for name in PATHS & arguments.keys():
        value = arguments[name]
        if not isinstance(value, str | list):
            raise SpecificationError(f"{name}: expected a path or a list of paths, got {value!r}")
        several = isinstance(value, Sequence) and not isinstance(value, str)
        joined = [str(folder / _expand(v)) for v in (value if several else [value])]
        arguments[name] = joined if several else joined[0]
    return arguments


def _component(section: str, value: Any, modules: Sequence[Any], folder: Path = Path()) -> Component:
    options = {"type": value} if isinstance(value, str) else _mapping(section, value)
    known: dict[str, type[Component]] = {}
    for module in modules:
        for name in module.__all__:
            found = getattr(module, name)
            if isinstance(found, type) and issubclass(found, Component) and name not in NOT_TYPES:
                known[name] = found
    if "type" not in options:
        raise SpecificationError(
            f"[{section}]: say which, as in type = {next(iter(known))!r}; {suggest('', known)}"
        )
    name = options.pop("type")
    if name not in known:
        raise SpecificationError(f"[{section}] type: unknown value {name!r}; {suggest(name, known)}")
    return _with_options(known[name](), section, _with_components(section, options, modules, folder))


def _with_components(
    section: str, options: dict[str, Any], modules: Sequence[Any], folder: Path
) -> dict[str, Any]:
    """Return options in which sections with a type are components, and paths start at the folder."""
    for name, value in options.items():
        if isinstance(value, Mapping) and "type" in value:
            within = (cell_mergers,) if name in ("post", "post_processing") else modules
            options[name] = _component(f"{section}.{name}", value, within, folder)
        elif name in PATHS and isinstance(value, str):
            options[name] = str(folder / _expand(value))
    return options


def _with_options(made: Component, section: str, options: Mapping[str, Any]) -> Component:
    for option, given in options.items():
        with _in(f"[{section}] "):
            setattr(made, option, tuple(given) if isinstance(given, list) else given)
    return made


def _environment(value: Any) -> Component:
    """Return the environment that section ``env`` describes, by its type or by the name of a site."""
    options = {"type": value} if isinstance(value, str) else _mapping("env", value)
    if "site" in options and "type" in options:
        raise SpecificationError("[env]: 'site' and 'type' are two ways to say which; give one of them")
    if "site" in options:
        with _in("[env] site: "):
            made = environments.sites[str(options.pop("site"))]()
        return _with_options(made, "env", options)
    if "type" not in options:
        raise SpecificationError(
            '[env]: say which, as in site = "maestro" (see `tramway-dask sites list`; or run with --site NAME), '
            'or as in type = "LocalHost"'
        )
    return _component("env", options, (environments,))


def _on_site(site: str, value: Any) -> Component:
    """Return the environment of a site, with the options of section ``env`` that it knows."""
    options = {"type": value} if isinstance(value, str) else _mapping("env", value)
    if options.pop("site", site) != site:
        options["type"] = ""  # that of another one
    made = environments.sites[site]()
    if "type" in options:
        # written for another environment
        options = {name: given for name, given in options.items() if name in made.parameters()}
    return _with_options(made, "env", options)


def _stages(entries: Any) -> list[stages.Stage]:
    if isinstance(entries, str | Mapping):
        entries = [entries]
    if entries and not isinstance(entries, list):
        raise SpecificationError(f"stages: expected a list of stages, got {entries!r}")
    if not entries:
        raise SpecificationError(
            'no stage: add e.g.\n[[stages]]\nstage = "tessellate_and_infer"\nmap_label = "dv"'
        )
    made = []
    for i, entry in enumerate(entries):
        options = {"stage": entry} if isinstance(entry, str) else _mapping("[stages]", entry)
        name = options.pop("stage", None)
        if name is None:
            raise SpecificationError(f"[[stages]] number {i + 1}: 'stage' is missing; {suggest('', STAGES)}")
        if name not in STAGES:
            raise SpecificationError(f"[[stages]] stage: unknown value {name!r}; {suggest(name, STAGES)}")
        function = getattr(stages, name)
        with _in(f"[[stages]] {name}: "):
            _check_arguments(function, options, FILTERS)
            made.append(function(**options))
    return made
