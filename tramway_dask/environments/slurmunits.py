"""Times and amounts of memory as Slurm writes them."""

from __future__ import annotations

import datetime as dt
import math
import re

__all__ = ["format_duration", "format_memory", "parse_duration", "parse_memory", "parse_time"]

ENDLESS = ("UNLIMITED", "INFINITE", "INFINITY")
DURATION = re.compile(r"(?:(\d{1,9})-)?(\d{1,9})(?::(\d{1,9}))?(?::(\d{1,9})(?:\.\d*)?)?", re.ASCII)
MEMORY = re.compile(r"(\d{1,18}(?:\.\d{0,9})?)([KMGTPE]?)(?:I?B)?[NC]?", re.ASCII)
UNITS = "KMGTPE"


def parse_duration(text: str) -> float | None:
    """Return the seconds that a time of Slurm means, or None if it means none.

    Examples
    --------
    >>> parse_duration("1-12:00:00"), parse_duration("30:00"), parse_duration("90"), parse_duration("2-6")
    (129600.0, 1800.0, 5400.0, 194400.0)
    >>> parse_duration("UNLIMITED"), parse_duration("N/A")
    (inf, None)
    """
    text = text.strip()
    if text.upper() in ENDLESS:
        return math.inf
    found = DURATION.fullmatch(text)
    if found is None:
        return None
    days, first, second, third = (None if g is None else int(g) for g in found.groups())
    if days is not None:
        parts = (first or 0, second or 0, third or 0)
    elif third is not None:
        parts = (first or 0, second or 0, third)
    else:
        parts = (0, first or 0, second or 0)
    hours, minutes, seconds = parts
    return float((((days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds)


def format_duration(seconds: float) -> str:
    """Return a time as Slurm's options take it.

    Examples
    --------
    >>> format_duration(14400), format_duration(129600), format_duration(float("inf"))
    ('04:00:00', '1-12:00:00', 'UNLIMITED')
    """
    if math.isinf(seconds):
        return "UNLIMITED"
    minutes, second = divmod(max(0, math.ceil(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    clock = f"{hour:02}:{minute:02}:{second:02}"
    return f"{days}-{clock}" if days else clock


def parse_memory(text: str, *, unit: str = "M") -> float | None:
    """Return the bytes that an amount of Slurm means, or None if it means none.

    Parameters
    ----------
    text : str
        Such as ``"32000"``, ``"4G"``, ``"62.50G"`` or, as ``sacct`` has it, ``"4Gn"``; a plus sign
        (nodes that differ) is dropped.
    unit : str
        Of a bare number; everywhere in Slurm this is the megabyte of 1024 × 1024.

    Examples
    --------
    >>> parse_memory("4G") == parse_memory("4096") == 4 * 2**30
    True
    """
    text = text.strip().rstrip("+").upper()
    if text in ENDLESS:
        return math.inf
    found = MEMORY.fullmatch(text)
    if found is None:
        return None
    return float(found.group(1)) * 1024 ** (UNITS.index(found.group(2) or unit) + 1)


def format_memory(size: float) -> str:
    """Return bytes as Slurm's options take them: whole megabytes, rounded up.

    Examples
    --------
    >>> format_memory(4 * 2**30), format_memory(1.5 * 2**30)
    ('4G', '1536M')
    """
    megabytes = math.ceil(size / 2**20)
    return f"{megabytes // 1024}G" if megabytes and megabytes % 1024 == 0 else f"{megabytes}M"


def parse_time(text: str, *, utc_offset: float = 0.0) -> float | None:
    """Return a point in time in seconds since 1970, or None if there is none.

    Parameters
    ----------
    text : str
        Seconds since 1970, or ``2026-11-22T01:02:22``.
    utc_offset : float
        Seconds by which the clock of the login node is ahead of UTC; only the second form needs it.
    """
    text = text.strip()
    if re.fullmatch(r"\d{1,12}", text, re.ASCII):
        return float(text) or None
    if not re.match(r"\d{4}-\d\d-\d\dT", text, re.ASCII):
        return None
    try:
        moment = dt.datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=dt.UTC) - dt.timedelta(seconds=utc_offset)
        return moment.timestamp()
    except (ValueError, OverflowError):
        return None
