"""What the units that a structured file states mean in µm and s, or that the user must say it."""

from __future__ import annotations

from ..component import positive
from ..errors import DataError

__all__ = ["is_length", "is_time", "length_scale", "time_scale"]

_LENGTHS = {
    1.0: "µm μm um micron microns micrometer micrometers micrometre micrometres",
    1e-3: "nm nanometer nanometers nanometre nanometres",
    1e3: "mm millimeter millimeters millimetre millimetres",
    1e6: "m meter meters metre metres",
}
_TIMES = {
    1.0: "s sec secs second seconds",
    1e-3: "ms msec millisecond milliseconds",
    1e-6: "µs μs us usec microsecond microseconds",
    60.0: "min minute minutes",
    3600.0: "h hr hour hours",
}
_LENGTH_OF = {name: factor for factor, names in _LENGTHS.items() for name in names.split()}
_TIME_OF = {name: factor for factor, names in _TIMES.items() for name in names.split()}


def is_length(unit: str) -> bool:
    """Tell whether a unit is one of lengths (pixels are none)."""
    return unit.strip().lower() in _LENGTH_OF


def is_time(unit: str) -> bool:
    """Tell whether a unit is one of times (frames are none)."""
    return unit.strip().lower() in _TIME_OF


def length_scale(unit: str, pixel_size: float | None) -> float:
    """Return what lengths must be multiplied by to be in µm.

    Parameters
    ----------
    unit : str
        As the file has it.
    pixel_size : float, optional
        What the user says, in µm.

    Raises
    ------
    DataError
        If the unit is no length and `pixel_size` is not given, or the two contradict each other.
    """
    known = _LENGTH_OF.get(unit.strip().lower())
    if pixel_size is None:
        if known is None:
            raise DataError(f"lengths are in {_quoted(unit)}; give the size of a pixel in µm: pixel_size=")
        return known
    pixel_size = positive("pixel_size", pixel_size)
    if known is not None and known != pixel_size:
        raise DataError(
            f"lengths are in {unit} by the file's own word, not in pixels of {pixel_size:g} µm; "
            "leave pixel_size= out: such units are converted to µm"
        )
    return pixel_size


def time_scale(unit: str, dt: float | None) -> float:
    """Return what times, or numbers of frames, must be multiplied by to be in s.

    Parameters
    ----------
    unit : str
        As the file has it; it has priority.
    dt : float, optional
        Frame interval that the user says, in s.

    Raises
    ------
    DataError
        If the unit is no time and `dt` is not given.
    """
    if dt is not None:
        dt = positive("dt", dt)
    known = _TIME_OF.get(unit.strip().lower())
    if known is not None:
        return known
    if dt is None:
        raise DataError(f"times are in {_quoted(unit)}; give the frame interval in s: dt=")
    return dt


def _quoted(unit: str) -> str:
    return f"{unit.strip()!r}" if unit.strip() else "an unknown unit"
