"""Files of localizations that are not linked in trajectories: which program wrote them, and what is where."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import DataError, SpecificationError, suggest
from .columns import Choice, choose_columns, knows_length
from .formats import Head, Recognition, recognize
from .hdf5 import is_hdf5
from .tables import SPACE
from .textlayout import Layout, find_layout

__all__ = ["Table", "recognize_localizations", "understand_localizations"]

# what the uncertainties are of which the median is taken
_PRECISIONS = {"SMAP localizations": "xnmerr"}
_DT = "it counts frames: dt= is the frame interval in s"


@dataclass(frozen=True)
class _Program:
    """The columns of a program, by their names in lower case; the first of several names that is there."""

    title: str
    needs: tuple[str, ...]
    roles: Mapping[str, tuple[str, ...]]


_PROGRAMS = (
    _Program(
        "ThunderSTORM csv",
        ("frame", "x [nm]", "y [nm]"),
        {
            "frame": ("frame",),
            "x": ("x [nm]",),
            "y": ("y [nm]",),
            "z": ("z [nm]",),
            "sigma": ("uncertainty_xy [nm]", "uncertainty [nm]"),
        },
    ),
    _Program(
        "Elyra text",
        ("first frame", "position x [nm]", "position y [nm]"),
        {
            "frame": ("first frame",),
            "x": ("position x [nm]",),
            "y": ("position y [nm]",),
            "z": ("position z [nm]",),
            "sigma": ("precision [nm]",),
            "channel": ("channel",),
        },
    ),
    _Program(
        "Nanoimager csv",
        ("channel", "frame", "x (nm)", "y (nm)"),
        {
            "frame": ("frame",),
            "x": ("x (nm)",),
            "y": ("y (nm)",),
            "z": ("z (nm)",),
            "sigma": ("x precision (nm)",),
            "channel": ("channel",),
        },
    ),
)
_RAPIDSTORM = _Program(
    "rapidSTORM text",
    ("imagenumber-0-0", "position-0-0", "position-1-0"),
    {
        "frame": ("imagenumber-0-0",),
        "x": ("position-0-0",),
        "y": ("position-1-0",),
        "z": ("position-2-0",),
        "sigma": ("position-0-0-uncertainty",),
    },
)
_TO_NM = {"nanometer": "nm", "nm": "nm", "micrometer": "µm", "meter": "m", "m": "m"}
_TRACKED = re.compile(r"(track|traj\w*|particle|segment)([\s_.\-]*(id|idx|index|number))?")
_SIGMA = ("uncertainty_xy", "uncertainty", "precision", "x_err", "lpx", "xnmerr", "sigma_x_um")


@dataclass
class Table:
    """A text file of localizations.

    Attributes
    ----------
    layout : Layout
    names : list of str
    choice : Choice
        Positions and units of ``frame`` or ``t``, ``x``, ``y``, ``z``, ``sigma``, ``channel``.
    program : str
        Title of the program's format; empty if it is of none that is known.
    tracks : str
        Name of the column that seems to number trajectories; empty if there is none.
    """

    layout: Layout
    names: list[str]
    choice: Choice
    program: str = ""
    tracks: str = ""


def recognize_localizations(head: Head, options: Mapping[str, Any]) -> Recognition | None:
    """Recognise files of localizations: those of known programs, and if a linker is given, any table of them."""
    wanted = options.get("linker") is not None
    if is_hdf5(head.data):
        return _recognize_hdf5(head) if wanted else None
    try:
        known = understand_localizations(head, options)
    except (DataError, SpecificationError):
        return None
    if known.tracks or not (known.program or wanted):
        return None
    names, positions = known.names, known.choice.position
    unit = known.choice.unit.get("x", "")
    needs = {"dt": _DT}
    if not unit or unit == "px":
        needs["pixel_size"] = (
            f"{'lengths are in pixels' if unit else 'it does not say the unit of lengths'}; pixel_size= says how many "
            "µm that is"
        )
    return Recognition(
        "localizations",
        known.program or "localizations",
        unit,
        "frames" if "frame" in positions else known.choice.unit.get("t") or "s",
        stated=bool(unit),
        timed=True,
        columns={role: names[at] for role, at in positions.items()},
        linked=False,
        needs=needs,
        preview=known.layout.preview(),
    )


def _recognize_hdf5(head: Head) -> Recognition | None:
    found = recognize(head)
    if found.linked:
        return None
    sigma = _PRECISIONS.get(found.title)
    return replace(
        found,
        format="localizations",
        columns={**found.columns, "sigma": sigma} if sigma else found.columns,
        needs={**found.needs, "dt": _DT},
        notes=tuple(note for note in found.notes if "from_localizations" not in note),
    )


def understand_localizations(head: Head, options: Mapping[str, Any]) -> Table:
    """Find out what the columns of a text file of localizations are.

    Parameters
    ----------
    head : Head
    options : mapping
        The user's ``columns``, ``sep``, ``decimal``, as for `read_localizations`.

    Raises
    ------
    DataError
        If there is no header, or it does not tell.
    """
    layout, names = _laid_out(head, options)
    tracks = next((name for name in names if _TRACKED.fullmatch(name.strip().lower())), "")
    columns = options.get("columns")
    if columns is not None and not isinstance(columns, Mapping):
        raise SpecificationError(
            f"columns: expected a mapping such as {{'frame': 'Slice', 'x': 'X'}}, got {columns!r}"
        )
    program = _program(names) if columns is None else None
    if program is None:
        return Table(layout, names, _chosen(names, columns), "", tracks)
    choice = Choice(_roles(program, names))
    unit = _unit_of(program, names, layout)
    choice.unit = {role: unit for role in (*SPACE, "sigma") if role in choice.position}
    return Table(layout, names, choice, program.title, tracks)


def _laid_out(head: Head, options: Mapping[str, Any]) -> tuple[Layout, list[str]]:
    """Return the layout of a file, and the names of its columns."""
    first = head.data[: (head.data.find(b"\n") + 1) or None].decode("latin-1")
    if re.match(r"#?\s*<localizations", first):
        fields = re.findall(r"<field[^>]*>", first)
        names, units = (
            [found[1] if (found := re.search(rf'\b{key}="([^"]*)"', field)) else "" for field in fields]
            for key in ("identifier", "unit")
        )
        return Layout(head.path, "utf-8", " ", True, ".", names, units, len(names), 2), names
    layout = find_layout(head, header=None, sep=options.get("sep"), decimal=options.get("decimal") or ".")
    if layout.names is None:
        raise DataError("there is no header that names the columns of localizations; write one")
    return layout, [name.strip().strip('"') for name in layout.names]


def _program(names: Sequence[str]) -> _Program | None:
    lower = {name.strip().lower() for name in names}
    return next((p for p in (*_PROGRAMS, _RAPIDSTORM) if lower.issuperset(p.needs)), None)


def _roles(program: _Program, names: Sequence[str]) -> dict[str, int]:
    lower = [name.strip().lower() for name in names]
    found = {}
    for role, known in program.roles.items():
        at = [lower.index(name) for name in known if name in lower]
        if at:
            found[role] = at[0]
    return found


def _unit_of(program: _Program, names: Sequence[str], layout: Layout) -> str:
    if program is not _RAPIDSTORM or layout.units is None:
        return "nm"
    stated = layout.units[_roles(program, names)["x"]] or "nanometer"
    if stated not in _TO_NM:
        raise DataError(f"lengths are in {stated!r}, which is not known here; {suggest(stated, _TO_NM)}")
    return _TO_NM[stated]


def _chosen(names: list[str], columns: Mapping[str, str | int] | None) -> Choice:
    """Find the columns of another table by their names, or as given."""
    given = dict(columns or {})
    sigma = given.pop("sigma", None)
    choice = choose_columns(names, None, given)
    choice.position.pop("n", None)
    lower = [re.sub(r"\s*[\[(].*", "", name.strip().lower()) for name in names]
    if sigma is None:
        sigma = next((lower.index(name) for name in _SIGMA if name in lower), None)
    if sigma is not None:
        choice.position["sigma"] = choose_columns(names, None, {"x": sigma}).position["x"]
    choice.unit = {role: unit for role, unit in choice.unit.items() if knows_length(unit) or role == "t"}
    missing = [role for role in ("x", "y") if role not in choice.position]
    if not {"t", "frame"} & choice.position.keys():
        missing.append("frame")
    if missing:
        listed = ", ".join(map(repr, names))
        raise DataError(
            f"no column found for {', '.join(map(repr, missing))} among {listed[:300]}; "
            "say which: columns={'frame': <its name>, 'x': …, 'y': …}"
        )
    return choice
