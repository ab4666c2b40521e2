"""What a notebook shows of definitions of regions; no file is opened, and no source is read."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

from ..cards import SHOWN, Html, card, table

__all__ = ["regions_card"]


def regions_card(collections: Sequence[Any], *, own: bool) -> Html:
    """Return the HTML representation of collections of regions.

    Parameters
    ----------
    collections : sequence
    own : bool
        Whether they are of the object itself, and not those of its analyzer.
    """
    title, about = "Regions of interest", "" if own else "those of the analyzer"
    if not collections:
        return card(title, "none: the whole field of view of each source is one region")
    lines = [
        (c.label or "(no label)", _described(c), "those that overlap" if c.grouped else "none")
        for c in collections
    ]
    boxes = [
        (c.label, *(f"{low:g} to {up:g}" for low, up in zip(box.lower, box.upper, strict=True)))
        for c in collections
        for box in islice(c.boxes or (), SHOWN)
    ]
    width = max(map(len, boxes), default=1)
    header = ["label", "x (µm)", "y (µm)", "third bound", "fourth bound"][:width]
    padded = [(*box, *[""] * (width - len(box))) for box in boxes]
    total = sum(len(c.boxes or ()) for c in collections)
    told = table(header, padded, total=total)
    return card(title, table(("label", "what", "grouped"), lines), told, about=about)


def _described(collection: Any) -> str:
    if collection.boxes is not None:
        beside = f" of {collection.path}" if collection.path else ""
        return f"{len(collection.boxes):,} boxes{beside}"
    if collection.density is not None:
        return f"squares of {collection.size:g} µm where localizations are dense"
    return f"a file beside each source: *{collection.suffix}{collection.extension}"
