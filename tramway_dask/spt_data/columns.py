"""Which column of a text file is what: names, units, and the user's own choice."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import DataError, SpecificationError, suggest

__all__ = ["ROLES", "Choice", "choose_columns", "parse_name", "role_of", "split_columns"]

ROLES = ("n", "x", "y", "z", "t", "frame")

_SYNONYMS = {
    "n": "n particle particle_id trajectory trajectory_id traj traj_idx traj_id track track_id trackid "
    "track_idx tid",
    "x": "x xpos x_pos pos_x position_x x_position centroidx",
    "y": "y ypos y_pos pos_y position_y y_position centroidy",
    "z": "z zpos z_pos pos_z position_z z_position centroidz",
    "t": "t time tim position_t timestamp",
    "frame": "frame frames frame_number frame_index frame_idx framenumber imagenumber first_frame t_stamp",
}
_ROLE_OF = {name: role for role, names in _SYNONYMS.items() for name in names.split()}

# factors to µm and s; None: cannot be told without being given pixel_size
_LENGTHS = {"µm": 1.0, "nm": 1e-3, "mm": 1e3, "m": 1e6}
_PIXELS = {"px"}
_TIMES = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "min": 60.0, "h": 3600.0}
# how else units are written, also where the encoding has lost the µ
_SPELLINGS = {
    "µm": "um μm micron microns micrometer micrometers micrometre micrometres ?m \ufffdm âµm",
    "nm": "nanometer nanometers nanometre nanometres",
    "m": "meter meters metre metres",
    "px": "pixel pixels pix",
    "s": "sec secs second seconds",
    "ms": "msec millisecond milliseconds",
    "µs": "us μs usec microsecond microseconds ?s",
    "min": "minute minutes",
    "h": "hour hours hr",
    "frames": "frame",
}
_UNIT_OF = {spelling: unit for unit, spellings in _SPELLINGS.items() for spelling in spellings.split()}


@dataclass
class Choice:
    """Positions of the columns to read.

    Attributes
    ----------
    position : dict
        Role (``n``, ``x``, ``y``, ``z``, ``t``, ``frame``, or the name of an extra column) to
        number of the column in the file.
    unit : dict
        Role to the unit that the file states, if it states one.
    weak_id : bool
        The trajectory index comes from a column called ``id``, which may number locations instead.
    """

    position: dict[str, int] = field(default_factory=dict)
    unit: dict[str, str] = field(default_factory=dict)
    weak_id: bool = False


def split_columns(columns: str | Sequence[str | None]) -> list[str]:
    """Return the names in file order from a list, ``"n x y t"`` or ``"nxyt"``.

    ``None`` and ``"-"`` stand for a column to ignore.

    Raises
    ------
    SpecificationError
        If a string cannot be understood.
    """
    if not isinstance(columns, str):
        return ["-" if c is None else str(c) for c in columns]
    if re.search(r"[\s,;]", columns.strip()):
        return re.split(r"\s*[,;]\s*|\s+", columns.strip())
    if set(columns) <= set("nxyzt-_"):
        return ["-" if c == "_" else c for c in columns]
    raise SpecificationError(
        f"columns: {columns!r} is not understood; give a list of names in file order (['n', 'x', 'y', 't'], "
        "'-' for a column to ignore), or 'nxyt', or a mapping {'n': 'name in the header', ...}"
    )


def choose_columns(
    names: Sequence[str],
    units: Sequence[str] | None = None,
    mapping: Mapping[str, str | int] | None = None,
    extra: Sequence[str] = (),
) -> Choice:
    """Find the columns by their names.

    Parameters
    ----------
    names : sequence of str
        Names in file order.
    units : sequence of str, optional
        Units in file order, where the file states them apart from the names.
    mapping : mapping, optional
        Role (or name of an extra column) to name or position of the column in the file.
    extra : sequence of str
        Names of further columns to keep.

    Raises
    ------
    DataError
        If a name is not found, or two columns can play the same role.
    """
    parsed = [parse_name(name) for name in names]
    choice = Choice()
    for role, wanted in (mapping or {}).items():
        at = _find(wanted, names)
        if role == "t" and _ROLE_OF.get(parsed[at][0]) == "frame":
            role = "frame"
        choice.position[role] = at
    timed = bool({"t", "frame"} & choice.position.keys())
    for role in ROLES:
        if role in choice.position or (timed and role in ("t", "frame")):
            continue
        found = _by_role(role, names, [key for key, _ in parsed])
        if found is not None:
            choice.position[role] = found
    ids = [i for i, (key, _) in enumerate(parsed) if key == "id"]
    if "n" not in choice.position and len(ids) == 1:
        choice.position["n"], choice.weak_id = ids[0], True
    stated = {
        role: _unit((units[at] if units else "") or parsed[at][1]) for role, at in choice.position.items()
    }
    choice.unit = {role: unit for role, unit in stated.items() if unit}
    if choice.unit.get("t", "").startswith("frame"):
        choice.position.setdefault("frame", choice.position["t"])
        del choice.position["t"], choice.unit["t"]
    if "t" in choice.position:
        choice.position.pop("frame", None)
    for name in extra:
        choice.position[name] = _find(name, names)
    return choice


def _by_role(role: str, names: Sequence[str], keys: Sequence[str]) -> int | None:
    found = [i for i, key in enumerate(keys) if _ROLE_OF.get(key) == role]
    exact = [i for i in found if names[i].strip() == role]
    found = exact if len(exact) == 1 else found
    if len(found) > 1:
        listed = ", ".join(repr(names[i]) for i in found)
        raise DataError(
            f"the columns {listed} may all be {role!r}; choose: columns={{{role!r}: {names[found[0]]!r}}}"
        )
    return found[0] if found else None


def length_factor(role: str, unit: str | None, pixel_size: float | None) -> float:
    """Return what a space column must be multiplied by to be in µm.

    Raises
    ------
    DataError
        If the file says pixels and `pixel_size` is not given, or says a length and it is.
    """
    known = _LENGTHS.get(unit or "")
    if pixel_size is None:
        if unit in _PIXELS:
            raise DataError(f"column {role!r} is in pixels; give the size of a pixel in µm: pixel_size=")
        return 1.0 if known is None else known
    if known is not None and known != pixel_size:
        raise DataError(
            f"column {role!r} is in {unit} by the file's own word, not in pixels of {pixel_size:g} µm; "
            "leave pixel_size= out: such units are converted to µm"
        )
    return pixel_size


def time_factor(unit: str | None) -> float:
    """Return what a time column must be multiplied by to be in s (unknown units are taken as s)."""
    return _TIMES.get(unit or "", 1.0)


def knows_length(unit: str) -> bool:
    """Tell whether a unit is one of lengths."""
    return unit in _LENGTHS or unit in _PIXELS


def knows_time(unit: str) -> bool:
    """Tell whether a unit is one of times."""
    return unit in _TIMES or unit == "frames"


def role_of(name: str) -> str | None:
    """Return what a column of that name usually is."""
    return _ROLE_OF.get(parse_name(name)[0])


def _unit(text: str) -> str:
    return _UNIT_OF.get(text, text)


@functools.lru_cache(maxsize=1024)
def parse_name(name: str) -> tuple[str, str]:
    """Return the name of a column in lower case with underscores, and the unit that it states."""
    key = name.strip().strip('"').lower()
    unit = ""
    stated = re.search(r"[\[(]\s*([^\])]*?)\s*[\])]\s*$", key)
    if stated:
        unit, key = stated[1], key[: stated.start()]
    key = re.sub(r"[\s.\-]+", "_", key.strip().strip("#").strip())
    tail = re.fullmatch(r"([xyz]|t|time)_?(um|µm|μm|nm|px|pixels?|ms|s|sec)", key)
    if tail and not unit and (tail[1] in ("t", "time")) == (_unit(tail[2]) in _TIMES):
        key, unit = tail[1], tail[2]
    return key, _unit(unit)


def _find(wanted: str | int, names: Sequence[str]) -> int:
    if isinstance(wanted, int):
        if not 0 <= wanted < len(names):
            raise DataError(f"there is no column number {wanted}: the file has {len(names)}, counted from 0")
        return wanted
    for compare in (str, str.strip, lambda s: s.strip().lower()):
        at = [i for i, name in enumerate(names) if compare(name) == compare(str(wanted))]
        if len(at) == 1:
            return at[0]
        if at:
            raise DataError(
                f"{len(at)} columns are called {wanted!r}; give the number of the column instead, one of {at}"
            )
    raise DataError(f"there is no column {wanted!r}; {suggest(wanted, names)}")
