"""Programs that write trajectories as text: the names of their columns, and the units that they do not state."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .columns import parse_name

__all__ = ["NAMED_BY_USER", "UNKNOWN", "Program", "stated_scales", "written_by"]


@dataclass(frozen=True)
class Program:
    """A program's text file: the names that tell it, and the unit of its lengths (empty: not known).

    `roles` are columns whose names mean something else where others use them.
    """

    title: str
    names: frozenset[str]
    length: str
    notes: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    roles: Mapping[str, str] = field(default_factory=dict)


def _program(title: str, names: str, length: str = "", *notes: str, **options: Any) -> Program:
    return Program(title, frozenset(names.split()), length, notes, options)


# the first whose names are all there; where the file states units, those hold
_PROGRAMS = (
    _program(
        "swift csv", "track_id seg_id", "",
        "'seg.id' numbers the segments of tracks, to be read by columns={'n': 'seg.id'}",
    ),
    _program(
        "TrackMate csv", "track_id position_x quality", "",
        "spots in no track are left out", untracked="drop",
    ),
    _program("Imaris csv", "position_x position_y unit trackid"),
    _program("MOSAIC csv", "trajectory frame x y npscore", "px"),
    _program("MOSAIC csv", "trajectory frame x y m0", "px"),
    _program("saSPT csv", "trajectory frame x y y_err", "px"),
    _program("Spot-On csv", "trajectory frame t x y", "µm"),
    _program("saSPT csv, or one like it", "trajectory frame x y", "px"),
    _program("trackpy table", "particle frame x y", "px"),
    _program("palmari csv", "frame x y t n", "µm"),
    _program("FreeTrace csv", "traj_idx frame x y z", "px"),
    _program("AnDi csv", "traj_idx frame x y", "px"),
    _program("TRAIT2D csv", "id t x y", "µm"),
    _program("DiffMAP-GP text", "particle xpos ypos"),
    _program("MINFLUX csv", "tid tim x y"),
    _program("MINFLUX csv", "track_id time x y sigma_x_um"),
    _program("ThunderSTORM csv", "id frame x y uncertainty", "nm"),
    _program("ThunderSTORM csv", "id frame x y uncertainty_xy", "nm"),
    _program("Nanoimager csv", "channel frame x y photons", "nm"),
    _program("Elyra text", "index first_frame position_x position_y", "nm"),
)  # fmt: skip


_PALMTRACER = Program(
    "PALMTracer text",
    frozenset(["track", "plane", "centroidx", "centroidy"]),
    "px",
    roles={"frame": "plane"},
)
# columns that the user has named, and tables of no known program
NAMED_BY_USER = Program("text", frozenset(), "µm")
UNKNOWN = Program("text with a header", frozenset(), "")


def stated_scales(lines: Sequence[str]) -> dict[str, float]:
    """Return pixel size (µm) and frame interval (s), as PALMTracer states them above its table.

    Parameters
    ----------
    lines : sequence of str
        A line of names, and below it one of values, separated by tabs.
    """
    filled = [line.split("\t") for line in lines if line.strip()]
    stated = {}
    for names, values in zip(filled[:-1], filled[1:], strict=True):
        known = {parse_name(name): value.strip() for name, value in zip(names, values, strict=False)}
        for option, name in (("pixel_size", ("pixel_size", "µm")), ("dt", ("frame_duration", "s"))):
            with contextlib.suppress(ValueError, KeyError):
                if 0 < (value := float(known[name])) < math.inf:
                    stated[option] = value
    return stated


def written_by(names: Sequence[str]) -> Program:
    """Return the program whose files have columns of these names."""
    keys = {parse_name(name)[0] for name in names}
    return next((p for p in (_PALMTRACER, *_PROGRAMS) if p.names <= keys), UNKNOWN)
