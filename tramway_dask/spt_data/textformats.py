"""Text files of trajectories: which program wrote them, and what their columns and units are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DataError
from .columns import (
    Choice,
    choose_columns,
    knows_length,
    knows_time,
    parse_name,
    split_columns,
)
from .formats import LEAVE_OUT, Head, Recognition
from .headerless import orders, question
from .sniffing import Sniffed, sniff_layout
from .tables import SPACE
from .textlayout import sample_lines
from .textprograms import NAMED_BY_USER, UNKNOWN, Program, stated_scales, written_by

__all__ = ["TextFile", "recognize_text", "understand"]

OPTIONS = ("columns", "header", "sep", "decimal", "one_trajectory", "extra")

_SIGMA = frozenset(
    [
        "uncertainty_xy",
        "uncertainty",
        "x_err",
        "lpx",
        "xnmerr",
        "precision",
        "sigma_x_um",
    ]
)
_UNIT_OF_SIGMA = {"lpx": "px", "xnmerr": "nm", "sigma_x_um": "µm"}
# enough to tell what most files are
FEW_ROWS = 300

_WHAT_PIXEL = "pixel_size= says how many µm a pixel is"
_WHAT_UNIT = "pixel_size= says how many µm their unit is (1 if they are in µm, 0.001 if in nm)"


@dataclass
class TextFile:
    """A text file, as it will be read.

    Attributes
    ----------
    sniffed : Sniffed
    choice : Choice
    recognition : Recognition
    by_rule : bool
        The columns have no names and were told by their numbers.
    """

    sniffed: Sniffed
    choice: Choice
    recognition: Recognition
    by_rule: bool = False


def recognize_text(head: Head, options: Mapping[str, Any]) -> Recognition | None:
    """Recognise a text file of trajectories, or of localizations.

    Raises
    ------
    DataError
        If there is a header and nothing else.
    """
    if head.data.lstrip().startswith(b"<localizations"):
        return Recognition("text", "rapidSTORM text", "nm", "frames", linked=False)
    known = understand(head, {k: v for k, v in options.items() if k in OPTIONS})
    return None if known is None else known.recognition


def understand(head: Head, options: Mapping[str, Any]) -> TextFile | None:
    """Find out what the columns of a text file are.

    Parameters
    ----------
    head : Head
    options : mapping
        Those arguments of `read_text` that the user gave.

    Returns
    -------
    TextFile or None
        None if there is no table of numbers in the file. What stays open is in ``recognition.needs``.

    Raises
    ------
    DataError
        If there is a header and nothing else.
    """
    found = _understand(head, options, FEW_ROWS)
    if found is not None and found.recognition.needs.keys() & {"columns", ""}:
        found = _understand(head, options, None)  # more rows may tell
    return found


def _understand(head: Head, options: Mapping[str, Any], most: int | None) -> TextFile | None:
    how = {name: options.get(name) for name in ("header", "sep", "decimal")}
    sniffed = sniff_layout(head, **how, most=most)
    if sniffed is None:
        return None
    layout = sniffed.layout
    if sniffed.empty:
        names = ", ".join(map(repr, layout.names or []))[:200]
        raise DataError(f"{head.path}: the file has a header ({names}) and no rows of data")
    columns = options.get("columns")
    if columns is None and layout.names is None:
        return _without_names(sniffed, head, bool(options.get("one_trajectory")))
    return _with_names(sniffed, head, columns, options)


def _with_names(sniffed: Sniffed, head: Head, columns: Any, options: Mapping[str, Any]) -> TextFile:
    layout = sniffed.layout
    mapping = columns if isinstance(columns, Mapping) else None
    names = list(layout.names or [f"column {i}" for i in range(layout.width)])
    program = NAMED_BY_USER
    if columns is not None and mapping is None:
        given = split_columns(columns)
        if len(given) != layout.width:
            needs = {
                "": f"columns= names {len(given)} columns and the file has {layout.width}; name each of them, "
                f"'-' for those to ignore. First rows:\n{layout.preview()}"
            }
            return TextFile(sniffed, Choice(), Recognition("text", "text", needs=needs))
        names = given
    elif layout.names is not None:
        program = written_by(names)
    title = program.title
    if layout.units is not None and title == "TrackMate csv":
        title = "TrackMate csv (version 7)"
    chosen = layout.units if mapping is not None or columns is None else None
    try:
        named = {
            role: i
            for role, key in program.roles.items()
            for i, n in enumerate(names)
            if parse_name(n)[0] == key
        }
        choice = choose_columns(names, chosen, {**named, **(mapping or {})}, options.get("extra") or ())
    except DataError as error:
        return TextFile(sniffed, Choice(), Recognition("text", title, needs={"": str(error)}))
    if not {"x", "y"} <= choice.position.keys():
        needs = {"columns": _ask_names(names, layout.preview())}
        return TextFile(sniffed, choice, Recognition("text", title, needs=needs))
    needs = {}
    notes = list(program.notes)
    _settle_index(sniffed, choice, names, needs, bool(options.get("one_trajectory")))
    linked = "n" in choice.position or bool(options.get("one_trajectory"))
    if linked:
        trusted = columns is not None and (mapping is None or "t" in mapping)
        _settle_time(sniffed, choice, names, needs, trusted)
    length = _settle_length(sniffed, choice, names, program, needs)
    stated = stated_scales(sample_lines(head)[0][: layout.first_line - 2]) if program.roles else {}
    needs = {name: text for name, text in needs.items() if name not in stated}
    if program.title == "Imaris csv":
        length = _settle_imaris(sniffed, choice, names, needs)
    _settle_precision(choice, names)
    described = {role: names[at] for role, at in choice.position.items() if isinstance(role, str)}
    if "z" not in choice.position:
        others = [n for n in names if parse_name(n)[0].split("_")[0] == "z"]
        if others:
            notes.append(f"read in two dimensions; z may be {', '.join(others)}: columns={{'z': …}} takes it")
    if sniffed.skipped:
        notes.append(f"{sniffed.skipped} lines before the table are skipped")
    if linked and not {"t", "frame"} & choice.position.keys():
        notes.append("there is no time: rows of a trajectory are taken as consecutive frames")
    recognition = Recognition(
        "text",
        title,
        length,
        _clock(choice),
        stated="x" in choice.unit,
        timed="t" in choice.unit or "frame" in choice.position,
        columns=described,
        linked=linked,
        options={**program.options, **stated},
        needs=needs,
        notes=tuple(notes),
        preview=layout.preview(),
    )
    return TextFile(sniffed, choice, recognition)


def _clock(choice: Choice) -> str:
    if "frame" in choice.position:
        return "frames"
    return (choice.unit.get("t") or "s") if "t" in choice.position else ""


def _settle_index(
    sniffed: Sniffed, choice: Choice, names: Sequence[str], needs: dict[str, str], alone: bool
) -> None:
    """Decide whether a column called ``id`` numbers trajectories, and ask if there is no index."""
    if choice.weak_id:
        ids = sniffed.column(choice.position["n"])
        clock = choice.position.get("frame", choice.position.get("t"))
        if alone or len(np.unique(ids)) == len(ids) > 1:
            del choice.position["n"]
        elif clock is not None and _per_frame(ids, sniffed.column(clock)):
            needs["columns"] = (
                f"{names[choice.position['n']]!r} may number trajectories, or the locations of each frame; if it "
                f"does the former, give columns={{'n': {names[choice.position['n']]!r}}}. First rows:\n"
                f"{sniffed.layout.preview()}"
            )
    if "n" not in choice.position and not alone:
        listed = ", ".join(repr(n) for n in names)
        needs["one_trajectory"] = (
            f"no column says which trajectory a location is in, among {listed[:300]}: locations that are not linked "
            "cannot be analysed, link them first; if a column does, give columns={'n': <its name>}; if the file is "
            "one trajectory, one_trajectory=True"
        )


def _per_frame(ids: np.ndarray, clock: np.ndarray) -> bool:
    """Tell whether numbers start again in each frame, as those of localizations may."""
    if len(np.unique(ids)) == 1 or np.count_nonzero(np.diff(ids)) + 1 == len(np.unique(ids)):
        return False
    starts = np.r_[0, np.flatnonzero(np.diff(clock) != 0) + 1]
    rank = np.arange(len(ids)) - np.repeat(starts, np.diff(np.r_[starts, len(ids)]))
    return len(starts) > 1 and bool((ids - ids[0] == rank).all())


def _settle_time(
    sniffed: Sniffed, choice: Choice, names: Sequence[str], needs: dict[str, str], trusted: bool
) -> None:
    """Tell times from frame numbers, and ask for what is missing."""
    at = choice.position.get("t")
    unit = choice.unit.get("t", "")
    if at is not None and unit and not knows_time(unit):
        needs[""] = f"times are in {unit!r}, which is not known here (s, ms, µs, min, h): convert the column"
    if at is not None and not unit and not trusted:
        values = sniffed.column(at)
        if (values == np.floor(values)).all():
            choice.position["frame"] = choice.position.pop("t")
            needs["dt"] = (
                f"{names[at]!r} holds whole numbers, which may be frames: dt= is the time between them in s "
                "(1 if they are in s already, 0.001 if in ms)"
            )
    elif "frame" in choice.position:
        needs["dt"] = f"{names[choice.position['frame']]!r} counts frames: dt= is the frame interval in s"
    elif at is None:
        needs["dt"] = "there is no column for time: dt= is the frame interval in s, if no frame is missing"


def _settle_length(
    sniffed: Sniffed, choice: Choice, names: Sequence[str], program: Program, needs: dict[str, str]
) -> str:
    """Return the unit of lengths, and ask for the pixel size if need be."""
    stated = {c: choice.unit[c] for c in SPACE if choice.unit.get(c)}
    for c, unit in stated.items():
        if not knows_length(unit):
            needs["pixel_size"] = (
                f"{names[choice.position[c]]!r} is in {unit!r}, which is not known; {_WHAT_UNIT}"
            )
            return unit
    if stated:
        if "px" in stated.values():
            needs["pixel_size"] = f"lengths are in pixels; {_WHAT_PIXEL}"
        return stated.get("x", next(iter(stated.values())))
    if program.length == "px":
        needs["pixel_size"] = f"its lengths are in pixels; {_WHAT_PIXEL}"
    elif program.length == "nm":
        for c in SPACE:
            if c in choice.position:
                choice.unit[c] = "nm"
    elif not program.length:
        # those who write times mostly write µm, those who count frames pixels
        if program is UNKNOWN and "t" in choice.position:
            return "µm"
        needs["pixel_size"] = f"the file does not say the unit of its lengths; {_WHAT_UNIT}"
    return program.length


def _settle_precision(choice: Choice, names: Sequence[str]) -> None:
    """Find the column of uncertainties, whose median is the localization precision."""
    at = choice.position.get(
        "sigma", next((i for i, n in enumerate(names) if parse_name(n)[0] in _SIGMA), None)
    )
    if at is not None:
        key, unit = parse_name(names[at])
        choice.position["sigma"] = at
        choice.unit["sigma"] = unit or _UNIT_OF_SIGMA.get(key) or choice.unit.get("x", "")


def _settle_imaris(sniffed: Sniffed, choice: Choice, names: Sequence[str], needs: dict[str, str]) -> str:
    """Take the unit from the column that states it for each row."""
    [at] = [i for i, name in enumerate(names) if parse_name(name)[0] == "unit"]
    units = {parse_name(f"x [{row[at]}]")[1] for row in sniffed.rows if at < len(row)}
    if len(units) == 1 and knows_length(unit := units.pop()):
        for c in SPACE:
            if c in choice.position:
                choice.unit[c] = unit
        if unit != "px":
            needs.pop("pixel_size", None)
        return unit
    return ""


def _ask_names(names: Sequence[str], preview: str) -> str:
    listed = ", ".join(map(repr, names))
    return (
        f"the columns {listed[:400]} have no names that are known for x and y; say which they are: columns="
        f"{{'n': …, 'x': …, 'y': …, 't': …}}; {LEAVE_OUT}. First rows:\n{preview}"
    )


def _without_names(sniffed: Sniffed, head: Head, alone: bool) -> TextFile:
    layout = sniffed.layout
    values = np.column_stack([sniffed.column(c) for c in range(layout.width)])
    alone = alone or (layout.width == 3 and head.suffix == ".xyt")
    readings, certain = orders(values, single=alone)
    title = "text without header"
    if not certain:
        needs = {"columns": question(readings, layout.preview())}
        return TextFile(sniffed, Choice(), Recognition("text", title, needs=needs), by_rule=True)
    [reading] = readings
    choice = choose_columns(["-" if c == "-" else c for c in reading.columns])
    needs = {}
    length = "µm"
    if "frame" in choice.position:
        length = "px"
        frames = values[:, choice.position["frame"]]
        gaps = np.diff(frames)
        if "n" in choice.position:
            gaps = gaps[np.diff(values[:, choice.position["n"]]) == 0]
        counted = len(gaps) and np.abs(gaps).max() < 2.0**53
        common = int(np.gcd.reduce(gaps.astype(np.int64))) if counted else 1
        needs["dt"] = f"time is counted in frames (read as {reading}): dt= is the frame interval in s"
        needs["pixel_size"] = f"the file does not say the unit of its lengths; {_WHAT_UNIT}"
        if common > 1:
            named = list(reading.columns)
            named[choice.position["frame"]] = "t [ms]"
            needs["columns"] = (
                f"read as {reading}, but frames would be multiples of {common}; if these are ms, give "
                f"columns={named}. First rows:\n{layout.preview()}"
            )
    order = ", ".join(reading.columns)
    notes = [f"columns, as their numbers tell: {order}"]
    if alone:
        notes.append("one trajectory")
    if sniffed.skipped:
        notes.append(f"{sniffed.skipped} lines before the table are skipped")
    named_columns = {role: f"column {at + 1}" for role, at in choice.position.items()}
    recognition = Recognition(
        "text",
        title,
        length,
        _clock(choice),
        columns=named_columns,
        needs=needs,
        notes=tuple(notes),
        preview=layout.preview(),
    )
    return TextFile(sniffed, choice, recognition, by_rule=True)
