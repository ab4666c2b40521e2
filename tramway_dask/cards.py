"""What a notebook shows of an object: building blocks of HTML, the same for all of them.

Text is escaped unless it is `Html`, which these functions return. Colours are those of the notebook's
theme, light or dark; what must stand out brings its own background, so that its contrast is the same in both.
"""

from __future__ import annotations

import functools
import html
import reprlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

__all__ = [
    "SHOWN",
    "Html",
    "badge",
    "beside",
    "card",
    "counts",
    "element",
    "folded",
    "guarded",
    "items",
    "link",
    "rows",
    "table",
    "text",
]

CLASS = "tramway-dask-card tdc"
LONGEST = 400  # characters of a text; of a message that is longer, both ends are shown
SHOWN = 20  # rows of a table

# contrast of white on each of them is above 4.5
KINDS = {"done": "#1b6e3c", "failed": "#b3261e", "left": "#5f6368", "note": "#1a5fb4", "warning": "#8a5000"}
SIGNS = {"done": "✓", "failed": "✗", "left": "○", "note": "●", "warning": "!"}

# a class twice, to go before the rules of JupyterLab
STYLE = """<style>
.tdc{color:var(--jp-ui-font-color1,var(--vscode-editor-foreground,inherit));\
font-size:13px;line-height:1.45;max-width:64em}
.tdc.tdc header{font-size:15px;font-weight:600;margin:0 0 4px}
.tdc.tdc header small{font-size:13px;font-weight:400}
.tdc.tdc p{margin:4px 0}
.tdc.tdc ul{margin:4px 0;padding-left:1.4em}
.tdc.tdc table{border-collapse:collapse;margin:4px 0;border:0;color:inherit;font-size:inherit}
.tdc.tdc .beside{display:flex;flex-wrap:wrap;gap:4px 24px;align-items:flex-start}
.tdc.tdc caption{text-align:left;font-weight:600;caption-side:top;padding:2px 0}
.tdc.tdc th,.tdc.tdc td{text-align:left;vertical-align:top;padding:2px 12px 2px 0;\
max-width:44em;white-space:normal;overflow-wrap:anywhere;border:0}
.tdc.tdc th{font-weight:600;overflow-wrap:normal}
.tdc.tdc tr{border-bottom:1px solid rgba(128,128,128,.3)}
.tdc.tdc .number{text-align:right;font-variant-numeric:tabular-nums}
.tdc.tdc a{color:var(--jp-content-link-color,LinkText)}
.tdc.tdc figure{margin:4px 0}
.tdc.tdc figcaption{max-width:240px}
.tdc.tdc summary{cursor:pointer}
.tdc-badge{display:inline-block;border-radius:3px;padding:0 6px;margin-right:6px;\
color:#fff;font-weight:600}
</style>"""


class Html(str):
    """Text that is HTML already."""


def text(value: Any) -> Html:
    """Return a value as HTML: escaped, and shortened if it is very long."""
    if isinstance(value, Html):
        return value
    words = str(value)
    if len(words) > LONGEST:
        words = f"{words[: LONGEST * 3 // 4]} … {words[-LONGEST // 4 :]}"
    # what is no character, as in a file name of another encoding, cannot be sent to a browser
    words = words.encode("utf-8", "replace").decode()
    return Html(html.escape(words).replace("\n", "<br>"))


def element(tag: str, *content: Any, **attributes: Any) -> Html:
    """Return an element; of the names of attributes, ``class_`` is ``class`` and ``_`` is ``-``."""
    words = [tag]
    for name, value in attributes.items():
        if value is not None and value is not False:
            name = name.removesuffix("_").replace("_", "-")
            words.append(name if value is True else f'{name}="{html.escape(str(value))}"')
    return Html(f"<{' '.join(words)}>{''.join(map(text, content))}</{tag}>")


def badge(kind: str, words: Any) -> Html:
    """Return a word on a coloured ground, with a sign for those who do not see the colour.

    Parameters
    ----------
    kind : {'done', 'failed', 'left', 'note', 'warning'}
    words : object
    """
    style = f"background:{KINDS[kind]};color:#fff"
    return element("span", Html(f"{SIGNS[kind]} "), text(words), class_="tdc-badge", style=style)


def counts(**numbers: tuple[str, int]) -> Html:
    """Return a badge for each number that is not zero: ``done=("done", 12)``."""
    return Html("".join(badge(kind, f"{n:,} {words}") for kind, (words, n) in numbers.items() if n))


def rows(pairs: Iterable[tuple[str, Any]], caption: str = "") -> Html:
    """Return a table of names and values; values that are None are left out."""
    lines = [
        element("tr", element("th", name, scope="row"), element("td", value))
        for name, value in pairs
        if value is not None
    ]
    head = element("caption", caption) if caption else Html("")
    return element("table", head, element("tbody", *lines)) if lines else Html("")


def table(header: Sequence[str], lines: Sequence[Sequence[Any]], *, total: int | None = None) -> Html:
    """Return a table of at most 20 rows.

    Parameters
    ----------
    header : sequence of str
    lines : sequence of sequences
        Columns without any content are left out.
    total : int, optional
        How many rows there are, if `lines` are the first of them.
    """
    total = len(lines) if total is None else total
    shown = lines[:SHOWN]
    kept = [i for i in range(len(header)) if any(str(line[i]) != "" for line in shown)]
    if not kept:
        return Html("")
    numeric = [all(_is_number(line[i]) or line[i] == "" for line in shown) for i in range(len(header))]
    head = element(
        "tr",
        *(element("th", header[i], scope="col", class_="number" if numeric[i] else None) for i in kept),
    )
    body = [element("tr", *(_field(line[i]) for i in kept)) for line in shown]
    more = total - len(shown)
    tail = element("p", f"… and {more:,} more") if more > 0 else Html("")
    return Html(element("table", element("thead", head), element("tbody", *body)) + tail)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _field(value: Any) -> Html:
    number = _is_number(value)
    words = f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if number else value
    return element("td", words, class_="number" if number else None)


def items(lines: Iterable[Any]) -> Html:
    """Return a list of at most 20 lines."""
    every = list(lines)
    shown = [element("li", line) for line in every[:SHOWN]]
    if len(every) > SHOWN:
        shown.append(element("li", f"… and {len(every) - SHOWN:,} more"))
    return element("ul", *shown) if shown else Html("")


def beside(*parts: Html) -> Html:
    """Return parts side by side, as far as there is room."""
    return element("div", *parts, class_="beside")


def folded(summary: Any, *content: Any) -> Html:
    """Return content that is shown on demand; nothing if there is none."""
    inner = Html("".join(map(text, content)))
    return element("details", element("summary", summary), inner) if inner else Html("")


def link(url: Any, words: Any = None) -> Html:
    """Return a link to a page; the bare words of what is no address of one."""
    address = str(url)
    if not address.startswith(("http://", "https://")):
        return text(words if words is not None else address)
    given = address if words is None else words
    return element("a", given, href=address, target="_blank", rel="noopener noreferrer")


def card(title: str, *parts: Any, about: Any = "") -> Html:
    """Return the whole: a title, a few words about it, and parts."""
    small = element("small", about) if about else Html("")
    head = element("header", title, Html(" ") if small else "", small)
    body = [part if isinstance(part, Html) else element("p", part) for part in parts if part]
    return Html(STYLE + element("div", head, *body, class_=CLASS, role="group", aria_label=title))


def guarded(method: Callable[[Any], str]) -> Callable[[Any], str]:
    """Decorate a ``_repr_html_``: looking at an object never raises an error."""

    @functools.wraps(method)
    def shown(self: Any) -> str:
        try:
            return str(method(self))
        except Exception as error:
            title = type(self).__name__
            try:
                words = repr(self)
            except Exception:
                words = object.__repr__(self)
            why = f"it cannot be shown as it should: {type(error).__name__}: {_said(error)}"
            return str(card(title, element("pre", words), badge("warning", why)))

    return shown


def _said(error: Exception) -> str:
    try:
        return str(error)
    except Exception:
        return reprlib.repr(type(error))
