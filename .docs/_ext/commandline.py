"""Reference pages of commands, from what click knows of them."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from typing import Any

import click
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command, click.Context]]:
    """Yield a command and those below it, with their names in full."""
    context = click.Context(command, info_name=name)
    yield name, command, context
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            assert found is not None
            yield from commands(found, f"{name} {below}")


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("*", "\\*").replace("`", "\\`").replace("_", "\\_")


def describe(name: str, command: click.Command, context: click.Context) -> Iterator[str]:
    """Yield the lines of reStructuredText that describe a command."""
    usage = " ".join(command.collect_usage_pieces(context))
    yield from (".. code-block:: console", "", f"   {name} {usage}", "")
    yield from (*inspect.cleandoc(_escape(command.help or "").replace("\b", "")).splitlines(), "")
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None or parameter.name == "help":
            continue
        yield from (f"``{record[0]}``", "   " + (_escape(record[1]) or "\\ "), "")
    if isinstance(command, click.Group):
        below = [f"{name} {c}" for c in command.list_commands(context)]
        yield from ("Commands: " + ", ".join(f"`{c} <#{anchor(c)}>`__" for c in below), "")


def anchor(name: str) -> str:
    """Return the address of a command on its page."""
    return nodes.make_id(name)


class Commands(SphinxDirective):
    """Describe a click command, given as ``module:name``, and those below it."""

    required_arguments = 1
    option_spec = {"prog": str}

    def run(self) -> list[nodes.Node]:
        """Return a section for each command."""
        module, _, attribute = self.arguments[0].partition(":")
        main = getattr(importlib.import_module(module), attribute)
        sections: list[nodes.Node] = []
        for name, command, context in commands(main, self.options["prog"]):
            section = nodes.section(ids=[anchor(name)], names=[name])
            section += nodes.title("", "", nodes.literal("", name))
            node = nodes.section()
            node.document = self.state.document
            lines = StringList(list(describe(name, command, context)), source=self.get_source_info()[0])
            self.state.nested_parse(lines, self.content_offset, node)
            section += node.children
            sections.append(section)
        return sections


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
