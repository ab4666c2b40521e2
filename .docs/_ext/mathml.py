"""Equations as MathML, which browsers draw and screen readers read without any script.

And in docstrings, which are read as plain text first, bars are bars: ``|x|`` is no substitution.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from docutils.parsers.rst.states import Inliner
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.errors import SphinxError


def _mathml(node: nodes.Element, *, block: bool) -> str:
    try:
        return tex2mathml(node.astext(), as_block=block)
    except MathError as error:
        raise SphinxError(f"{node.source}:{node.line}: {error} in {node.astext()!r}") from error


def visit_inline(self: Any, node: nodes.Element) -> None:
    """Write an equation within a line."""
    self.body.append(_mathml(node, block=False))
    raise nodes.SkipNode


def visit_block(self: Any, node: nodes.Element) -> None:
    """Write an equation of its own."""
    self.body.append('<div class="equation">' + _mathml(node, block=True) + "</div>\n")
    raise nodes.SkipNode


def _bar(self: Inliner, match: Any, lineno: int) -> tuple[str, list[nodes.Node], str, list[nodes.Node]]:
    return match.string[: match.start("start")], [nodes.Text("|")], match.string[match.end("start") :], []


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the writer of equations."""
    Inliner.dispatch["|"] = _bar  # type: ignore[assignment]
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
