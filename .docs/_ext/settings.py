"""Tables of the parameters of a class, with its defaults, from the docstrings of the class and its bases."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterator
from typing import Any

from api import parse_lines
from docutils import nodes
from numpydoc.docscrape import NumpyDocString
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


def described(cls: type) -> dict[str, tuple[str, str]]:
    """Return type and description of each parameter that the docstrings of a class and its bases have."""
    found: dict[str, tuple[str, str]] = {}
    for kind in reversed(cls.__mro__):
        for parameter in NumpyDocString(kind.__doc__ or "")["Parameters"]:
            for name in parameter.name.split(", "):
                found[name] = parameter.type, " ".join(parameter.desc)
    return found


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return f"``{field.default!r}``"
    made = field.default_factory
    return "" if made is dataclasses.MISSING else f"``{made()!r}``"


def rows(cls: Any) -> Iterator[tuple[str, str, str]]:
    """Yield name, default and description of each parameter of a dataclass."""
    known = described(cls)
    for field in dataclasses.fields(cls):
        if not field.name.startswith("_"):
            yield field.name, _default(field), " ".join(filter(None, known.get(field.name, ("", ""))[1:]))


class Settings(SphinxDirective):
    """Describe the parameters of a class, given as ``module:name``."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return a table."""
        module, _, name = self.arguments[0].partition(":")
        lines = [
            ".. list-table::",
            "   :header-rows: 1",
            "",
            "   * - key",
            "     - default",
            "     - meaning",
        ]
        for key, default, text in rows(getattr(importlib.import_module(module), name)):
            lines += [f"   * - ``{key}``", f"     - {default}", f"     - {text}"]
        return parse_lines(self, lines)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("settings", Settings)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
