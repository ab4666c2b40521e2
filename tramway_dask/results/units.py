"""Units of what tables of cells and maps hold, as text."""

from __future__ import annotations

from collections.abc import Iterable

from ..spt_data.tables import SPACE

__all__ = ["unit_of", "units_of"]

_UNITS = {
    **dict.fromkeys(SPACE, "µm"),
    **dict.fromkeys((f"d{axis}" for axis in SPACE), "µm"),
    **dict.fromkeys(("t", "dt", "t min", "t max"), "s"),
    "area": "µm²",
    "volume": "µm³",
    "polygon": "µm",
    "diffusivity": "µm²/s",
    "ci low": "µm²/s",
    "ci high": "µm²/s",
    "potential": "kT",
    "force": "kT/µm",
    "drift": "µm/s",
    "V": "µm²",
    "V_prior": "µm²",
}
_ENDS = (" se", " low", " high", " truth", " mapped")


def unit_of(name: str, dimension: int = 2) -> str:
    """Return the unit of a column; empty if it has none, or none is known.

    Parameters
    ----------
    name : str
        ``'diffusivity'``, ``'force x'``, ``'diffusivity se'``…
    dimension : int
        Of space: an ``area`` is a volume in 3-D.

    Examples
    --------
    >>> unit_of("force x se")
    'kT/µm'
    """
    if name == "area" and dimension == 3:
        return _UNITS["volume"]
    if name in _UNITS:
        return _UNITS[name]
    for end in _ENDS:
        if name.endswith(end):
            return unit_of(name.removesuffix(end), dimension)
    head, _, axis = name.rpartition(" ")
    return _UNITS.get(head, "") if axis in SPACE else ""


def units_of(columns: Iterable[str], dimension: int = 2) -> dict[str, str]:
    """Return the units of the columns that have one."""
    found = {name: unit_of(name, dimension) for name in map(str, columns)}
    return {name: unit for name, unit in found.items() if unit}
