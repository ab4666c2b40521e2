"""The report of a results folder: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import SpecificationError
from ..experiment import compare
from ..plot.conditions import conditions
from ..plot.figures import new_figure, require
from ..results.files import write_atomically
from ..results.store import Store, with_groups
from .contents import Contents, read_contents, records_of
from .gallery import SHARES, Budget, Gallery, make_gallery
from .markup import Markup, details, element, joined, table
from .pictures import data_uri, distribution, figure_png
from .sections import (
    facts,
    failures_section,
    files_section,
    methods_section,
    parameters_section,
    runs_section,
    units_section,
)

__all__ = ["Written", "write_report"]

PICTURES = 600
MOST_FILES = 60
MOST_ROWS = 500


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes
    ----------
    path : Path
    size : int
        Bytes.
    pictures : int
        Maps that are shown.
    left_out : int
        Maps that are not.
    """

    path: Path
    size: int
    pictures: int
    left_out: int


def write_report(
    results: Store | str | Path,
    path: str | Path | None = None,
    *,
    pictures: int = PICTURES,
    title: str | None = None,
) -> Written:
    """Write the report of a results folder.

    Parameters
    ----------
    results : Store or path
        The folder alone is enough, in any later session.
    path : path, optional
        HTML file; default: ``report.html`` in the folder.
    pictures : int
        Maps that are shown at most; the report says how many are left out.
    title : str, optional
        Default: the name of the folder.

    Returns
    -------
    Written

    Raises
    ------
    StoreError
        If there is no such folder, it is no results folder, it was written by a newer version, or the
        report cannot be written.
    SpecificationError
        If `pictures` is no whole number from 0 up.
    MissingDependencyError
        If matplotlib is not installed.
    """
    require()
    if isinstance(pictures, bool) or not isinstance(pictures, int) or pictures < 0:
        raise SpecificationError(f"pictures: expected a whole number from 0 up, got {pictures!r}")
    store = results if isinstance(results, Store) else Store(Path(results).expanduser())
    contents = read_contents(store)
    target = store.folder / "report.html" if path is None else Path(path).expanduser()
    budget = Budget(pictures)
    page = _page(contents, budget, title or _title(store))
    # names of files may hold what is no character
    data = page.encode("utf-8", "replace")
    write_atomically(target, data)
    return Written(target, len(data), budget.made, budget.left_out)


def _title(store: Store) -> str:
    folder = store.folder.absolute()
    return folder.name if folder.name != "results" else f"{folder.parent.name}/{folder.name}"


def _page(contents: Contents, budget: Budget, title: str) -> str:
    galleries = [make_gallery(contents, maps, budget, i) for i, maps in enumerate(contents.maps)]
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    sections = {
        "files": ("Files and regions", files_section(contents)),
        "maps": ("Maps", _maps_section(galleries, budget)),
        "values": ("Distributions across files", _values_section(contents, galleries)),
        "failures": ("Failures", failures_section(contents)),
        "units": ("Regions, one by one", units_section(contents)),
        "parameters": ("Parameters", parameters_section(contents)),
        "methods": ("Methods and references", methods_section(contents)),
        "runs": ("Runs, durations, versions", runs_section(contents)),
    }
    links = (element("li", element("a", name, href=f"#{key}")) for key, (name, _) in sections.items())
    notes = [element("li", note) for note in dict.fromkeys(contents.notes)]
    body = [
        element("a", "Skip to the files", href="#files", class_="skip"),
        element(
            "header",
            element("h1", f"Report: {title}"),
            element(
                "p", f"Results in {contents.store.folder.absolute()}; report made {made}.", class_="aside"
            ),
        ),
        element("nav", element("ul", *links), aria_label="Sections"),
        element(
            "main",
            facts(contents),
            element("div", element("b", "Please note"), element("ul", *notes), class_="note")
            if notes
            else None,
            *(
                element(
                    "section",
                    element("h2", name, id=f"{key}-title"),
                    inner,
                    id=key,
                    aria_labelledby=f"{key}-title",
                )
                for key, (name, inner) in sections.items()
            ),
        ),
        element("footer", "Made by tramway_dask. Lengths in µm, times in s, energies in kT."),
    ]
    head = [
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        # nothing is loaded, nothing is run
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("title", f"Report: {title}"),
        element("link", rel="icon", href="data:,"),
        element("style", Markup(_style() + "".join(g.style for g in galleries))),
    ]
    return (
        "<!DOCTYPE html>\n"
        + element("html", element("head", *head), "\n", element("body", *body), lang="en")
        + "\n"
    )


_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def _style() -> str:
    return files(__package__).joinpath("report.css").read_text(encoding="utf-8")


def _maps_section(galleries: list[Gallery], budget: Budget) -> Markup:
    if not galleries:
        return element("p", "There are no maps.")
    parts: list[Any] = [
        element(
            "p",
            "A variable has the same colours in all pictures of a label: the limits leave out the lowest and highest "
            "0.5 % of the values where cells are many. Cells without value are hatched in grey; arrows are vectors; "
            "the numbers below a picture are its lowest and highest value.",
        )
    ]
    if budget.left_out:
        told = (
            f"{budget.left_out:,} of {budget.made + budget.left_out:,} pictures are left out, to keep this page light: "
            "write the report again with more of them (--pictures N, pictures=N), or draw all with "
            "“tramway-dask plot”."
        )
        parts.append(element("p", told, class_="note"))
    for gallery in galleries:
        parts.append(element("h3", _heading(gallery)))
        parts.append(gallery.markup if gallery.markup else element("p", "No maps can be shown."))
    return joined(parts)


def _heading(gallery: Gallery) -> str:
    return f"{gallery.maps.label} ({gallery.maps.sampling})"


def _values_section(contents: Contents, galleries: list[Gallery]) -> Markup:
    parts: list[Any] = []
    for gallery in galleries:
        if not gallery.files:
            continue
        parts.append(element("h3", _heading(gallery)))
        for name, rows in gallery.files.items():
            parts += _values(contents, gallery, name, rows)
    if not parts:
        return element("p", "There are no values to show.")
    told = (
        "Over the cells of each file, a cell counting as often as it has translocations: median (black), middle half "
        "(bar), from 5 % to 95 % (line)."
    )
    return joined([element("p", told), *parts])


def _values(contents: Contents, gallery: Gallery, name: str, rows: pd.DataFrame) -> Iterator[Markup]:
    label = gallery.variables[name]
    files = rows.assign(condition=rows["source"].map(lambda s: contents.group(s, "condition")).astype(object))
    files = files.sort_values("condition", kind="stable", na_position="last", ignore_index=True)
    drawn, what = _to_draw(files)
    if drawn["q50"].notna().any():
        low, high = drawn["q50"].min(), drawn["q50"].max()
        alt = f"Distribution of {label} in {what}: medians from {low:.3g} to {high:.3g}; numbers below"
        yield _figure(distribution(drawn, label), alt, f"{label}, {what}")
    else:
        yield element("p", f"{label}: no cell of any file has a value.")
    conditions_known = files["condition"].notna().any()
    header = ["File", *(["Condition"] if conditions_known else []), "Cells", "Without value", "Mean"]
    header += ["5 %", "25 %", "Median", "75 %", "95 %"]
    body = [
        [
            str(r["source"]),
            *([r["condition"] or "–"] if conditions_known else []),
            f"{r['cells']:,}",
            f"{r['blank']:,}",
            *(f"{r[k]:.4g}" if pd.notna(r[k]) else "–" for k in ("mean", *SHARES)),
        ]
        for r in records_of(files.head(MOST_ROWS))
    ]
    numbers = table(f"{label}, file by file", header, body, numbers=range(1 + conditions_known, len(header)))
    more = len(files) - MOST_ROWS
    note = element("p", f"{more:,} more files are not listed.", class_="note") if more > 0 else None
    yield details(f"Numbers: {label}", numbers, note)
    yield from _comparison(contents, gallery, name, label)


def _to_draw(files: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return what one figure can hold: the files, or where they are many their medians by condition."""
    if len(files) <= MOST_FILES:
        return files, f"{len(files)} file{'s' * (len(files) != 1)}"
    named = files["condition"].fillna(
        "without condition" if files["condition"].notna().any() else "all files"
    )
    medians = files["q50"].groupby(named.astype(str))
    table_ = pd.DataFrame({key: medians.quantile(share) for key, share in SHARES.items()}).reset_index(
        names="source"
    )
    return table_.assign(condition=table_["source"]), f"the medians of {len(files):,} files"


def _comparison(contents: Contents, gallery: Gallery, name: str, label: str) -> Iterator[Markup]:
    groups = {s: {k: contents.group(s, k) for k in ("condition", "replicate")} for s in contents.sources}
    if len({g["condition"] for g in groups.values()} - {None}) < 2:
        return
    try:
        found = compare(with_groups(gallery.values.copy(), groups), name)
    except SpecificationError as error:
        yield element("p", f"{label}: the conditions cannot be compared: {error}", class_="note")
        return
    told = found.summary()
    width = max(2.6, 1.0 + 1.05 * len(found.conditions))
    ax = conditions(found, ax=new_figure((width, 3.6), shown=False).add_subplot())
    alt = f"{label} by condition, one dot per file. {told.splitlines()[0]}; the text below has the numbers"
    yield _figure(ax.figure, alt, f"{label} by condition")
    yield details(f"Comparison of conditions: {label}", element("pre", told, tabindex="0"))


def _figure(figure: Any, alt: str, caption: str) -> Markup:
    png, (width, height) = figure_png(figure)
    picture = element("img", src=data_uri(png), alt=alt, width=width * 2 // 3, height=height * 2 // 3)
    return element("figure", picture, element("figcaption", caption), class_="wide")
