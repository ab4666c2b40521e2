"""HTML made of elements: text is escaped unless it is markup already."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["Markup", "details", "element", "joined", "scrolling", "table"]


# characters, from which a cell of a table is a text
LONG = 40


class Markup(str):
    """HTML that needs no escaping."""

    __slots__ = ()


def element(name: str, /, *children: Any, **attributes: Any) -> Markup:
    """Return an element.

    Parameters
    ----------
    name : str
    *children : str, Markup or None
        Texts are escaped.
    **attributes
        ``class_`` stands for ``class``, ``_`` in names for ``-``; those that are None or False are left
        out.

    Examples
    --------
    >>> element("p", "a < b", class_="note")
    '<p class="note">a &lt; b</p>'
    """
    told = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        told.append(f" {key}" if value is True else f' {key}="{html.escape(str(value))}"')
    opened = f"<{name}{''.join(told)}>"
    if name in ("img", "meta", "br", "link"):
        return Markup(opened)
    return Markup(f"{opened}{joined(children)}</{name}>")


def joined(children: Iterable[Any], between: str = "") -> Markup:
    """Return texts and markup one after the other."""
    return Markup(
        between.join(
            c if isinstance(c, Markup) else html.escape(str(c), quote=False)
            for c in children
            if c is not None
        )
    )


def details(summary: Any, *children: Any, **attributes: Any) -> Markup:
    """Return what opens when its summary is clicked, or when Enter is pressed there."""
    return element("details", element("summary", summary), *children, **attributes)


def scrolling(inner: Markup, label: str) -> Markup:
    """Return something wide in a frame that scrolls, with the mouse and with the keyboard."""
    return element("div", inner, class_="scroll", tabindex="0", role="region", aria_label=label)


def table(
    caption: str, header: Sequence[Any], rows: Iterable[Sequence[Any]], *, numbers: Sequence[int] = ()
) -> Markup:
    """Return a table whose first column names its rows.

    Parameters
    ----------
    caption : str
    header : sequence
    rows : iterable of sequences
    numbers : sequence of int
        Columns that are aligned to the right.
    """

    def look(i: int, cell: Any = "") -> str | None:
        return "number" if i in numbers else "text" if len(cell) > LONG else None

    head = joined(element("th", h, scope="col", class_=look(i)) for i, h in enumerate(header))
    body = []
    for row in rows:
        first, *others = row
        cells = [element("th", first, scope="row", class_=look(0))]
        cells += [element("td", cell, class_=look(i, str(cell))) for i, cell in enumerate(others, 1)]
        body.append(element("tr", *cells))
    made = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", head)),
        element("tbody", *body),
    )
    return scrolling(made, caption)
