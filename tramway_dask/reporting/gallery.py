"""Maps of a label in small, with common colours, and what their values are in each file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from ..errors import SpecificationError, StoreError
from ..plot.folder import common_scales
from ..plot.mosaic import Mosaic, resolve
from ..plot.quantities import Colors, Quantity, quantity
from ..results.store import Store
from ..roi.boxes import short_label
from ..spt_data.analyses import FULL_REGION
from .contents import Contents, LabelledMaps
from .markup import Markup, details, element, joined, scrolling
from .pictures import Thumbnails, data_uri, gradient, limits_of, named

__all__ = ["Budget", "Gallery", "make_gallery"]

MOST_SEGMENTS = 6
MOST_ARROWS = 300
OPENED = 6
# of its pixels, which a screen of high resolution has use for
SHOWN = 0.6
SHARES = {"q5": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95}


@dataclass
class Budget:
    """How many small pictures may be made, and how many were, or were not."""

    pictures: int
    made: int = 0
    left_out: int = 0
    canvas: Thumbnails = field(default_factory=Thumbnails, repr=False)


@dataclass(frozen=True)
class Gallery:
    """Pictures of the maps of a label, and the values of each file.

    Attributes
    ----------
    maps : LabelledMaps
    markup : Markup
    variables : dict
        Each variable with its unit, as text.
    files : dict
        For each variable one row per file: source, cells, blank, n, mean, and quantiles.
    values : DataFrame
        What conditions are compared by: source, n and the columns of the variables.
    style : str
        CSS of the colour bars.
    """

    maps: LabelledMaps
    markup: Markup
    variables: dict[str, str]
    files: dict[str, pd.DataFrame]
    values: pd.DataFrame
    style: str = ""


@dataclass
class _Row:
    """One row of pictures: some cells of a source."""

    name: str
    about: str
    rows: np.ndarray
    boxes: Sequence[tuple[str, np.ndarray]] = field(default_factory=tuple)


def make_gallery(contents: Contents, maps: LabelledMaps, budget: Budget, number: int) -> Gallery:
    """Draw the maps of a label.

    Parameters
    ----------
    contents : Contents
    maps : LabelledMaps
    budget : Budget
        Counts the pictures.
    number : int
        Of the gallery on its page.
    """
    store = contents.store
    usable = _readable(contents, maps)
    scales = common_scales(store, maps.sampling, maps.label, usable, None, False, {}) if usable else {}
    names: dict[str, str] = {}
    parts, frames = [], []
    files: dict[str, list[dict[str, Any]]] = {name: [] for name in scales}
    allowed = _per_source(budget, len(usable), len(scales))
    for i, source in enumerate(usable):
        mosaic, table = _read(store, maps, source)
        shown = {name: _quantity(table, mosaic, name) for name in scales}
        for name, one in shown.items():
            if one is not None:
                names[name] = named(name, vector=one.vectors is not None, dimension=mosaic.dimension)
                files[name].append({"source": source, **_summary(one.values, mosaic.counts)})
        values = table.assign(source=source, n=mosaic.counts)
        frames.append(values[[c for c in values.columns if values[c].dtype.kind in "iufb" or c == "source"]])
        drawn = _source(contents, maps, source, mosaic, shown, scales, allowed, budget, number, names)
        parts.append(_titled(contents, source, mosaic, drawn, opened=i < OPENED))
    for name in scales:
        names.setdefault(name, named(name))
    style = "".join(
        f".bar-{number}-{i}{{background:{gradient(colors)}}}" for i, colors in enumerate(scales.values())
    )
    tables = {name: pd.DataFrame(rows) for name, rows in files.items() if rows}
    together = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame({"source": []})
    return Gallery(maps, joined(parts), names, tables, together, style)


def _readable(contents: Contents, maps: LabelledMaps) -> list[str]:
    """Return the sources whose tables of maps and cells fit together."""
    found = []
    for source in maps.sources:
        try:
            _read(contents.store, maps, source)
        except (StoreError, SpecificationError) as error:
            contents.notes.append(f"Maps {maps.label!r} of {source!r} cannot be shown: {error}")
        else:
            found.append(source)
    return found


def _read(store: Store, maps: LabelledMaps, source: str) -> tuple[Mosaic, pd.DataFrame]:
    table = store.table(maps.sampling, maps.label, source).to_pandas()
    cells = store.table(maps.sampling, "cells", source)
    return resolve(table, cells=cells.drop_columns(["neighbours"]))


def _quantity(table: pd.DataFrame, mosaic: Mosaic, name: str) -> Quantity | None:
    try:
        return quantity(table, mosaic, name)
    except SpecificationError:  # only other sources have it
        return None


def _per_source(budget: Budget, sources: int, variables: int) -> int:
    """Return how many rows of pictures each source may have."""
    left = budget.pictures - budget.made
    return left // max(sources * variables, 1)


def _summary(values: np.ndarray, counts: np.ndarray) -> dict[str, Any]:
    """Return mean and quantiles over cells, each counted as often as it has translocations."""
    known = np.isfinite(values)
    about = {"cells": int(known.sum()), "blank": int((~known).sum()), "n": int(counts[known].sum())}
    weights = counts[known].astype(float)
    if not weights.sum() > 0:
        weights = np.ones(about["cells"])
    values = values[known]
    if not len(values):
        return {**about, "mean": np.nan, **dict.fromkeys(SHARES, np.nan)}
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weights[order])
    at = np.searchsorted(below, np.array(list(SHARES.values())) * below[-1])
    quantiles = values[order][np.minimum(at, len(values) - 1)]
    return {
        **about,
        "mean": float(np.average(values, weights=weights)),
        **dict(zip(SHARES, quantiles, strict=True)),
    }


def _titled(contents: Contents, source: str, mosaic: Mosaic, drawn: Markup, *, opened: bool) -> Markup:
    condition = contents.group(source, "condition")
    told = f"{_many(len(mosaic.regions), 'region')}, {_many(len(mosaic), 'cell')}"
    title = element("h4", source, f" ({condition})" if condition else None)
    return details(
        joined([title, element("span", told, class_="aside")]), drawn, open=opened, class_="source"
    )


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _rows(mosaic: Mosaic, attrs: Mapping[str, Any]) -> Iterator[_Row]:
    """Yield all regions together, if there are several, then one by one."""
    kept = _segments(mosaic)
    frame = pd.DataFrame({"region": mosaic.region, "segment": mosaic.segment})
    places = frame[frame["segment"].isin(kept)].groupby(["region", "segment"], sort=False).indices
    within = np.flatnonzero(frame["segment"].isin(kept))
    if len(mosaic.regions) > 1:
        groups = frame.groupby("region", sort=False).indices
        boxes = [(str(region), mosaic.take(np.asarray(rows)).extent) for region, rows in groups.items()]
        for segment in kept:
            rows = np.flatnonzero(mosaic.segment == segment)
            yield _Row("all regions", _about(mosaic, rows, segment), rows, boxes)
    place: Any
    for place, at in places.items():
        (region, segment), rows = place, within[at]
        about = _about(mosaic, rows, segment)
        if attrs.get(region, {}).get("attrs", {}).get("converged") is False:
            about += ", not converged"
        yield _Row("whole field" if region == FULL_REGION else str(region), about, rows)


def _segments(mosaic: Mosaic) -> list[int]:
    segments, total = mosaic.segments, len(mosaic.segments)
    if total <= MOST_SEGMENTS:
        return segments
    return [segments[i] for i in np.linspace(0, total - 1, MOST_SEGMENTS).round().astype(int)]


def _about(mosaic: Mosaic, rows: np.ndarray, segment: int) -> str:
    about = [_many(len(rows), "cell"), _many(int(mosaic.counts[rows].sum()), "translocation")]
    if segment in mosaic.times:
        start, stop = mosaic.times[segment]
        about.insert(0, f"{start:g}–{stop:g} s")
    return ", ".join(about)


def _source(
    contents: Contents,
    maps: LabelledMaps,
    source: str,
    mosaic: Mosaic,
    shown: dict[str, Quantity | None],
    scales: dict[str, Colors],
    allowed: int,
    budget: Budget,
    number: int,
    names: dict[str, str],
) -> Markup:
    rows = list(_rows(mosaic, maps.attrs[source]))
    variables = {name: one for name, one in shown.items() if one is not None}
    drawn = rows[:allowed]
    omitted = len(rows) - len(drawn)
    budget.left_out += omitted * len(variables)
    head = [element("th", "Region", scope="col")]
    for i, name in enumerate(scales):
        if name in variables:
            head.append(
                element(
                    "th", names[name], _legend(scales[name], names[name], f"bar-{number}-{i}"), scope="col"
                )
            )
    body = []
    for row in drawn:
        part = mosaic.take(row.rows)
        cells = [
            element("th", element("b", short_label(row.name, 40)), element("span", row.about), scope="row")
        ]
        for name, one in variables.items():
            cells.append(
                element("td", _picture(budget.canvas, source, row, part, one, scales[name], names[name]))
            )
            budget.made += 1
        body.append(element("tr", *cells))
    told = []
    total, kept = len(mosaic.segments), min(len(mosaic.segments), MOST_SEGMENTS)
    if total > kept:
        told.append(f"{kept} of {total} time segments are shown.")
    if omitted:
        told.append(f"{_many(omitted, 'row')} of pictures left out.")
    note = element("p", " ".join(told), class_="note") if told else None
    if not body:
        return joined([note])
    caption = element("caption", f"Maps {maps.label} of {source}", class_="hidden")
    made = element(
        "table", caption, element("thead", element("tr", *head)), element("tbody", *body), class_="maps"
    )
    return joined([scrolling(made, f"Maps {maps.label} of {source}"), note])


def _legend(colors: Colors, name: str, style: str) -> Markup:
    low, middle, high = limits_of(colors)
    told = f"Colours of {name}: from {low} over {middle} to {high}"
    bar = element("span", class_=f"bar {style}", role="img", aria_label=told)
    ticks = element(
        "span", *(element("span", t) for t in (low, middle, high)), class_="ticks", aria_hidden="true"
    )
    return element("span", bar, ticks, class_="legend")


def _picture(
    canvas: Thumbnails, source: str, row: _Row, part: Mosaic, whole: Quantity, colors: Colors, name: str
) -> Markup:
    vectors = None if whole.vectors is None or len(row.rows) > MOST_ARROWS else whole.vectors[row.rows]
    shown = replace(whole, values=whole.values[row.rows], vectors=vectors)
    png, (width, height) = canvas.draw(part, shown, colors, row.boxes)
    known = shown.values[np.isfinite(shown.values)]
    size = " by ".join(f"{x:.3g}" for x in np.ptp(part.extent, axis=0))
    where = f"{source}, {row.name}, {row.about}"
    if len(known):
        low, middle, high = known.min(), np.median(known), known.max()
        told = f"{name} in {where}: {low:.3g} to {high:.3g}, median {middle:.3g}"
        span = f"{low:.3g} – {high:.3g}".replace("-", "−")
    else:
        told, span = f"{name} in {where}: no cell has a value", "no value"
    blank = len(shown.values) - len(known)
    if blank and len(known):
        told += f"; {_many(blank, 'cell')} without value"
    alt = f"Map of {told}; field of {size} µm"
    picture = element(
        "img",
        src=data_uri(png),
        alt=alt,
        width=round(width * SHOWN),
        height=round(height * SHOWN),
        decoding="async",
    )
    return element("figure", picture, element("figcaption", span))
