"""Analyzers written down in a TOML or YAML file, in the words of the API.

A section is an attribute of the analyzer. In it, ``from_…`` names a method with its
arguments, ``type`` a class, and anything else a parameter.
"""

from __future__ import annotations

import fnmatch
import inspect
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import environments
from ..component import Component
from ..errors import SpecificationError, TramwayDaskError, suggest
from ..inference import models
from ..pipeline import stages
from ..segmentation import sampler, tesseller, tessellers, time
from .rwanalyzer import RWAnalyzer

__all__ = ["from_mapping", "read_configuration"]

SECTIONS = ("spt_data", "roi", "tesseller", "time", "sampler", "mapper", "stages", "env", "results", "seed")
STAGES = ("tessellate", "infer", "tessellate_and_infer")
# arguments that are paths, relative to the folder of the file
PATHS = {"pattern", "path"}


def read_configuration(path: str | Path) -> RWAnalyzer:
    """Return the analyzer that a TOML or YAML file describes.

    Relative paths in the file are relative to its folder.

    Raises
    ------
    SpecificationError
        If the file cannot be read, or has a section, option or value that is not known.
    """
    path = Path(path)
    try:
        text = path.read_text()
        if path.suffix.lower() in (".yaml", ".yml"):
            import yaml

            content = yaml.safe_load(text)
        else:
            content = tomllib.loads(text)
    except OSError as error:
        raise SpecificationError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, _yaml_error()) as error:
        raise SpecificationError(f"{path}: {error}") from error
    if not isinstance(content, Mapping):
        raise SpecificationError(f"{path}: expected sections such as [spt_data], [tesseller], [mapper]")
    try:
        return from_mapping(content, path.parent)
    except SpecificationError as error:
        raise SpecificationError(f"{path}: {error}") from error


def _yaml_error() -> type[Exception]:
    import yaml

    return yaml.YAMLError


def from_mapping(content: Mapping[str, Any], folder: Path = Path()) -> RWAnalyzer:
    """Return the analyzer that nested mappings describe.

    Parameters
    ----------
    content : mapping
        Sections.
    folder : Path
        What relative paths are relative to.
    """
    for section in content:
        if section not in SECTIONS:
            raise SpecificationError(f"unknown section {section!r}; {suggest(section, SECTIONS)}")
    analyzer = RWAnalyzer(seed=content.get("seed", 0))
    analyzer.results = folder / _expand(content.get("results", analyzer.results.folder))
    _read_data(analyzer, content.get("spt_data"), folder)
    _call_initializers("roi", analyzer.roi, _mapping("roi", content.get("roi", {})), folder)
    for name, modules in (
        ("tesseller", (tessellers, tesseller)),
        ("time", (time,)),
        ("sampler", (sampler,)),
        ("mapper", (models,)),
    ):
        if name in content:
            setattr(analyzer, name, _component(name, content[name], modules))
    if "env" in content:
        analyzer.env = _component("env", content["env"], (environments,))
    for entry in _stages(content.get("stages", [])):
        analyzer.pipeline.append_stage(entry)
    return analyzer


def _mapping(section: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise SpecificationError(f"[{section}]: expected options, got {value!r}")
    return dict(value)


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
    for name, pattern in _mapping("spt_data.conditions", conditions).items():
        found = [s for s in analyzer.spt_data if fnmatch.fnmatch(Path(s.source).name, pattern)]
        if not found:
            raise SpecificationError(f"[spt_data.conditions] {name}: no file matches {pattern!r}")
        for source in found:
            source.condition = name


def _call_initializers(section: str, target: Any, options: dict[str, Any], folder: Path) -> None:
    """Apply ``from_…`` methods with their arguments, then set what is left."""
    known = [n for n in dir(type(target)) if n.startswith("from_")]
    settable = [n for n, v in vars(type(target)).items() if isinstance(v, property) and v.fset]
    for name, value in options.items():
        if not name.startswith("from_"):
            continue
        if name not in known:
            raise SpecificationError(f"[{section}]: unknown method {name!r}; {suggest(name, known)}")
        method = getattr(target, name)
        arguments = _paths(_mapping(f"{section}.{name}", value), folder)
        try:
            inspect.signature(method).bind(**arguments)
        except TypeError as error:
            raise SpecificationError(
                f"[{section}.{name}]: {error}; arguments: {inspect.signature(method)}"
            ) from None
        method(**arguments)
    for name, value in options.items():
        if name.startswith("from_"):
            continue
        if name not in settable:
            names = [*known, *settable]
            raise SpecificationError(f"[{section}]: unknown option {name!r}; {suggest(name, names)}")
        setattr(target, name, value)


def _paths(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    for name in PATHS & arguments.keys():
        value = arguments[name]
        several = isinstance(value, Sequence) and not isinstance(value, str)
        joined = [str(folder / _expand(v)) for v in (value if several else [value])]
        arguments[name] = joined if several else joined[0]
    return arguments


def _component(section: str, value: Any, modules: Sequence[Any]) -> Component:
    options = {"type": value} if isinstance(value, str) else _mapping(section, value)
    known: dict[str, type[Component]] = {}
    for module in modules:
        for name in module.__all__:
            found = getattr(module, name)
            if isinstance(found, type) and issubclass(found, Component):
                known[name] = found
    name = options.pop("type", None)
    if name not in known:
        raise SpecificationError(f"[{section}] type: unknown value {name!r}; {suggest(name, known)}")
    made = known[name]()
    for option, given in options.items():
        try:
            setattr(made, option, tuple(given) if isinstance(given, list) else given)
        except (TramwayDaskError, TypeError) as error:
            raise SpecificationError(f"[{section}]: {error}") from None
    return made


def _stages(entries: Any) -> list[stages.Stage]:
    if isinstance(entries, str | Mapping):
        entries = [entries]
    if not entries:
        raise SpecificationError(
            'no stage: add e.g.\n[[stages]]\nstage = "tessellate_and_infer"\nmap_label = "dv"'
        )
    made = []
    for i, entry in enumerate(entries):
        options = {"stage": entry} if isinstance(entry, str) else _mapping(f"stages {i}", entry)
        name = options.pop("stage", None)
        if name not in STAGES:
            raise SpecificationError(f"[[stages]] stage: unknown value {name!r}; {suggest(name, STAGES)}")
        function = getattr(stages, name)
        try:
            made.append(function(**options))
        except TypeError as error:
            raise SpecificationError(f"[[stages]] {name}: {error}; {inspect.signature(function)}") from None
    return made
