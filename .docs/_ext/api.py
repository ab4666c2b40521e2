"""Reference pages of whole modules: every name of ``__all__`` is documented once.

``.. api:: module, …`` documents modules. A name that several modules share is documented by the
first of `PUBLIC` that has it, else where it is defined. ``.. api-internal:: package`` tells, in a sentence
each, what the modules of a package hold that `PUBLIC` does not name.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from jinja2.sandbox import SandboxedEnvironment
from numpydoc import docscrape_sphinx, numpydoc
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

from tramway_dask.component import Component

PACKAGE = "tramway_dask"
_STARS = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
# modules whose names scripts use, the more usual ones first
PUBLIC = [
    "tramway_dask",
    "tramway_dask.analyzer",
    "tramway_dask.analyzer.detached",
    "tramway_dask.analyzer.sessions",
    "tramway_dask.analyzer.pipeline",
    "tramway_dask.analyzer.configuration",
    "tramway_dask.analyzer.logger",
    "tramway_dask.pipeline",
    "tramway_dask.pipeline.stages",
    "tramway_dask.spt_data",
    "tramway_dask.spt_data.linkers",
    "tramway_dask.spt_data.tables",
    "tramway_dask.spt_data.filters",
    "tramway_dask.spt_data.formats",
    "tramway_dask.roi",
    "tramway_dask.roi.utils",
    "tramway_dask.segmentation.tessellers",
    "tramway_dask.segmentation.tesseller",
    "tramway_dask.segmentation.cell_mergers",
    "tramway_dask.segmentation.time",
    "tramway_dask.segmentation.sampler",
    "tramway_dask.segmentation",
    "tramway_dask.inference.models",
    "tramway_dask.inference.mapper",
    "tramway_dask.inference.profiles",
    "tramway_dask.inference",
    "tramway_dask.environments",
    "tramway_dask.environments.containers",
    "tramway_dask.environments.sites",
    "tramway_dask.results",
    "tramway_dask.results.units",
    "tramway_dask.experiment",
    "tramway_dask.export",
    "tramway_dask.plot",
    "tramway_dask.simulate",
    "tramway_dask.landscapes",
    "tramway_dask.config",
    "tramway_dask.errors",
]


@cache
def modules() -> dict[str, ModuleType]:
    """Return all modules that say what they offer, the public ones first."""
    package = importlib.import_module(PACKAGE)
    found = [PACKAGE, *(m.name for m in pkgutil.walk_packages(package.__path__, f"{PACKAGE}."))]
    names = [*PUBLIC, *(n for n in found if n not in PUBLIC and not n.endswith(".__main__"))]
    loaded = {name: importlib.import_module(name) for name in names}
    return {name: module for name, module in loaded.items() if hasattr(module, "__all__")}


@cache
def homes() -> dict[tuple[str, str], tuple[str, str]]:
    """Return where each (module, name) is documented, as (module, name); modules are left out."""
    home: dict[tuple[str, str], tuple[str, str]] = {}
    first: dict[int, tuple[str, str]] = {}
    for name, module in modules().items():
        for entry in module.__all__:
            value = getattr(module, entry)
            if isinstance(value, ModuleType):
                continue
            here = (name, entry)
            if not (inspect.isclass(value) or inspect.isroutine(value)):
                home[here] = here
            elif name in PUBLIC or value.__module__ == name:
                home[here] = first.setdefault(id(value), here)
    for name, module in modules().items():
        for entry in module.__all__:
            value = getattr(module, entry)
            if not isinstance(value, ModuleType) and (name, entry) not in home:
                home[name, entry] = first.setdefault(id(value), (name, entry))
    return home


@cache
def _comments(module: ModuleType) -> dict[str, str]:
    """Return what the comments above the constants of a module say."""
    source = inspect.getsource(module)
    lines = source.splitlines()
    said = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            at, above = node.lineno - 2, []
            while at >= 0 and lines[at].startswith("# "):
                above.insert(0, lines[at][2:])
                at -= 1
            said |= {t.id: " ".join(above) for t in targets if isinstance(t, ast.Name)}
    return said


def _private(kind: type) -> bool:
    return kind.__module__.startswith(f"{PACKAGE}.") and not _documented(kind)


@cache
def _documented(kind: type) -> bool:
    return any(getattr(modules()[module], name) is kind for module, name in homes())


def drop_private_bases(app: Sphinx, name: str, obj: Any, options: Any, bases: list[Any]) -> None:
    """Show those base classes only of which the reference tells more."""
    bases[:] = [b for b in bases if _documented(b)]


def _entry(module: ModuleType, name: str) -> Iterator[str]:
    """Document a name that scripts use."""
    value, full = getattr(module, name), f"{module.__name__}.{name}"
    if inspect.isclass(value):
        yield from (f".. autoclass:: {full}", "   :members:")
        # what it has from classes that are not documented themselves belongs to it
        known = [c.__name__ for c in value.__mro__[1:] if not _private(c)]
        yield f"   :inherited-members: {', '.join(known)}"
        yield from ("   :show-inheritance:", "") if any(map(_documented, value.__bases__)) else ("",)
    elif inspect.isroutine(value):
        yield from (f".. autofunction:: {full}", "")
    else:
        yield from _brief(module, name)


def _brief(module: ModuleType, name: str) -> Iterator[str]:
    """Say in a sentence what a name is that only other modules use; the source says the rest."""
    value = getattr(module, name)
    kind = "class" if inspect.isclass(value) else "function" if inspect.isroutine(value) else "data"
    signature = ""
    if kind == "function":
        names = [f"{_STARS.get(p.kind, '')}{p.name}" for p in inspect.signature(value).parameters.values()]
        signature = f"({', '.join(names)})"
    yield from (f".. py:{kind}:: {name}{signature}", f"   :module: {module.__name__}", "")
    yield from (f"   {_summary(module, name)}", "")


def _summary(module: ModuleType, name: str) -> str:
    value = getattr(module, name)
    text: str | None
    if inspect.isclass(value) or inspect.isroutine(value):
        text = inspect.getdoc(value)
    else:
        text = _comments(module).get(name)
        text = f"{text}." if text else None
    first = " ".join((text or f"A ``{type(value).__name__}``.").partition("\n\n")[0].split())
    return f"{first[:1].upper()}{first[1:]}"


def _overview(module: ModuleType, names: list[str]) -> Iterator[str]:
    yield from (".. list-table::", "   :widths: auto", "")
    for name in names:
        target = f":py:obj:`{name} <{module.__name__}.{name}>`"
        yield from (f"   * - {target}", f"     - {_summary(module, name)}")
    yield ""


def document(name: str) -> Iterator[str]:
    """Yield the lines of reStructuredText that document a module."""
    module = modules()[name]
    yield f".. automodule:: {name}"
    # a function may have the name of the module that it comes from
    package, _, last = name.rpartition(".")
    hidden = package in modules() and not isinstance(getattr(modules()[package], last, module), ModuleType)
    yield from ("   :no-index:", "") if hidden else ("",)
    elsewhere = []
    own = [entry for entry in module.__all__ if homes().get((name, entry)) == (name, entry)]
    if name in PUBLIC and len(own) > 1:
        yield from _overview(module, own)
    for entry in module.__all__:
        value = getattr(module, entry)
        if isinstance(value, ModuleType):
            elsewhere.append(f":py:mod:`{entry} <{value.__name__}>`")
            continue
        home = homes()[name, entry]
        if home == (name, entry):
            yield from (_entry if name in PUBLIC else _brief)(module, entry)
        else:
            elsewhere.append(f":py:obj:`{entry} <{'.'.join(home)}>`")
    if elsewhere:
        yield from (f"Also here: {', '.join(elsewhere)}.", "")


class Api(SphinxDirective):
    """Document modules in the current section."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return what documents the modules."""
        return parse_lines(self, [line for name in self.content for line in document(name.strip())])


class Internal(SphinxDirective):
    """Document the modules of a package that scripts do not name, each in a section."""

    required_arguments = 1
    option_spec = {"without": str.split}

    def run(self) -> list[nodes.Node]:
        """Return a section for each module."""
        package = self.arguments[0]
        left_out = {f"{package}.{name}" for name in self.options.get("without", ())}
        sections: list[nodes.Node] = []
        for name in modules():
            if name in PUBLIC or not (name == package or name.startswith(f"{package}.")):
                continue
            if any(name == other or name.startswith(f"{other}.") for other in left_out):
                continue
            section = nodes.section(ids=[nodes.make_id(f"module-of-{name}")], names=[])
            title = nodes.literal("", name.removeprefix(f"{PACKAGE}."))
            section += nodes.title("", "", title)
            section += parse_lines(self, list(document(name)))
            sections.append(section)
        return sections


def parse_lines(directive: SphinxDirective, lines: list[str]) -> list[nodes.Node]:
    """Return what lines of reStructuredText make, in a page of any kind."""
    node = nodes.section()
    node.document = directive.state.document
    source = StringList(lines, source=directive.get_source_info()[0])
    directive.state.nested_parse(source, directive.content_offset, node)
    return node.children


def link_by_end(app: Sphinx, env: Any, node: Any, contnode: nodes.Element) -> nodes.Element | None:
    """Resolve ``Class.method`` or ``module.name`` wherever it is, if there is one only; else no link."""
    if node.get("refdomain") != "py" or node.get("reftype") != "obj":
        return None
    target = node["reftarget"].removesuffix("()")
    objects = env.get_domain("py").objects
    parts = target.split(".")
    while parts:
        end = "." + ".".join(parts)
        found = [name for name in objects if name.endswith(end)]
        if len(found) == 1 and len(parts) >= min(2, target.count(".") + 1):
            return make_refnode(
                app.builder,
                node["refdoc"],
                objects[found[0]].docname,
                objects[found[0]].node_id,
                contnode,
                found[0],
            )
        parts = parts[1:]
    return contnode


def parameters_as_signature(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None] | None:
    """Show the parameters of components with their defaults, which their base class takes by keyword."""
    if not (inspect.isclass(obj) and issubclass(obj, Component) and dataclasses.is_dataclass(obj)):
        return None
    shown = []
    for f in dataclasses.fields(obj):
        if not f.name.startswith("_"):
            made = f.default if f.default_factory is dataclasses.MISSING else f.default_factory()
            shown.append(f.name if made is dataclasses.MISSING else f"{f.name}={made!r}")
    return f"({', '.join(shown)})", returns


def _quicken(app: Sphinx) -> None:
    """Have numpydoc do once what it does for every name: compile its template, and not read each docstring twice."""
    environments: list[Any] = []

    def environment(loader: Any) -> Any:
        if not environments:
            environments.append(SandboxedEnvironment(loader=loader))
        return environments[0]

    docscrape_sphinx.SandboxedEnvironment = environment
    for listener in list(app.events.listeners["autodoc-process-signature"]):
        if listener.handler is numpydoc.mangle_signature:  # for signatures within docstrings: there are none
            app.disconnect(listener.id)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("api", Api)
    app.add_directive("api-internal", Internal)
    app.setup_extension("numpydoc")
    _quicken(app)
    app.connect("autodoc-process-signature", parameters_as_signature)
    app.connect("autodoc-process-bases", drop_private_bases)
    app.connect("missing-reference", link_by_end)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
