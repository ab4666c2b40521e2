"""Reader of tables in parquet files: this package's own, trackpy's, and others with known names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd

from ..component import positive
from ..errors import DataError
from .columns import Choice, choose_columns
from .formats import Head, Recognition
from .scales import is_length, is_time, length_scale, time_scale
from .tables import SPACE, check_trajectories

__all__ = ["read_parquet", "recognize_parquet"]

_SIGNATURE = b"PAR1"


def recognize_parquet(head: Head) -> Recognition | None:
    """Recognise parquet files, and their columns by name."""
    if not head.data.startswith(_SIGNATURE):
        return None
    if not head.complete and not head.path.is_file():
        return Recognition("parquet", "parquet table", notes=("its columns are found when it is read",))
    try:
        names = _names(_open(head.path))
        choice = choose_columns(names)
    except DataError as error:
        raise DataError(f"{head.path}: {error}") from error.__cause__
    lacking = _lacking(choice)
    columns = {role: names[at] for role, at in choice.position.items()}
    if "x" in lacking or "y" in lacking:
        return Recognition("parquet", "parquet table", needs={"columns": _ask(lacking, names)})
    own = _own(names)
    unit = choice.unit.get("x", "µm" if own else "px")
    needs = {}
    if not is_length(unit):
        needs["pixel_size"] = (
            "it does not say the unit of its lengths; pixel_size= says how many µm their unit is"
        )
    when = choice.unit.get("t", "s" if "t" in choice.position else "frames")
    if not is_time(when):
        needs["dt"] = f"{columns.get('frame', 'it')!r} counts frames; dt= is the frame interval in s"
    title = {True: "parquet table of trajectories", "particle" in columns.values(): "trackpy parquet"}[True]
    linked = "n" not in lacking
    return Recognition(
        "parquet",
        title if linked else "parquet table of localizations",
        unit,
        when,
        stated="x" in choice.unit,
        timed="t" in choice.unit,
        columns=columns,
        linked=linked,
        needs=needs if linked else {},
        notes=() if linked else (_ask(["n"], names),),
    )


def read_parquet(
    path: str | Path,
    *,
    columns: Mapping[str, str | int] | None = None,
    pixel_size: float | None = None,
    dt: float | None = None,
    extra: Sequence[str] = (),
) -> pd.DataFrame:
    """Read trajectories from a parquet file.

    Columns are found by their usual names; ``n, x, y[, z], t`` are this package's, in µm and s. Units
    in names (``x [nm]``) are converted.

    Parameters
    ----------
    path : str or Path
    columns : mapping, optional
        Which columns to take: ``{'n': 'cluster', 't': 'tick'}``; what it leaves out is found by name.
    pixel_size : float, optional
        What lengths of unknown unit are multiplied by, in µm.
    dt : float, optional
        Frame interval in s, if frames are counted.
    extra : sequence of str
        Names of further columns to keep.

    Returns
    -------
    DataFrame
        Columns ``n, x, y[, z]`` (µm), ``t`` (s) and the extra ones, sorted by (``n``, ``t``).

    Raises
    ------
    DataError
        If the file cannot be read, or a column or unit is not known.
    """
    path = Path(path).expanduser()
    try:
        opened = _open(path)
        names = _names(opened)
        choice = choose_columns(names, mapping=columns, extra=extra)
        lacking = _lacking(choice)
        if lacking:
            raise DataError(_ask(lacking, names))
        table = _load(opened, {role: names[at] for role, at in choice.position.items()})
        own = _own(names)
        for c in SPACE:
            if c in table:
                unit = choice.unit.get(c, "µm" if own and pixel_size is None else "")
                table[c] = _number(table, c) * length_scale(unit, pixel_size)
        if "t" in table:
            table["t"] = _number(table, "t") * time_scale(choice.unit.get("t", "s"), dt)
        else:
            table["t"] = _number(table, "frame") * time_scale("frames", dt and positive("dt", dt))
            table = table.drop(columns="frame")
    except DataError as error:
        raise DataError(f"{path}: {error}") from error.__cause__
    return check_trajectories(table, str(path))


def _own(names: Sequence[str]) -> bool:
    return {"n", "x", "y", "t"} <= set(names)


def _lacking(choice: Choice) -> list[str]:
    lacking = [
        role for role in ("n", "x", "y") if role not in choice.position or choice.weak_id and role == "n"
    ]
    return lacking if {"t", "frame"} & choice.position.keys() else [*lacking, "t"]


def _ask(lacking: Sequence[str], names: Sequence[str]) -> str:
    listed = ", ".join(map(repr, names[:30]))
    hint = " (locations that are not linked in trajectories must be linked first)" if "n" in lacking else ""
    return (
        f"no column of a known name for {', '.join(map(repr, lacking))} among {listed}; say which it is: "
        f"columns={{{lacking[0]!r}: …}}{hint}"
    )


def _broken() -> tuple[type[Exception], ...]:
    import pyarrow as pa

    # decoding of broken names and sizes fails in Python's own way
    return (pa.ArrowException, OSError, ValueError, TypeError, KeyError, OverflowError, MemoryError)


def _open(path: Path | BinaryIO) -> Any:
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path, page_checksum_verification=True)
    except FileNotFoundError as error:
        raise DataError(f"cannot read the file: {error.strerror or error}") from error
    except _broken() as error:
        raise DataError(f"not a complete parquet file; it is truncated or corrupt ({error})") from error


def _names(opened: Any) -> list[str]:
    try:
        return [str(name) for name in opened.schema_arrow.names]
    except _broken() as error:
        raise DataError(f"not a complete parquet file; it is truncated or corrupt ({error})") from error


def _load(opened: Any, columns: dict[str, str]) -> pd.DataFrame:
    try:
        table = opened.read(columns=list(columns.values()), use_threads=False)
        table.validate(full=True)
        found = {
            role: table.column(name).to_pandas().reset_index(drop=True) for role, name in columns.items()
        }
    except _broken() as error:
        raise DataError(f"not a complete parquet file; it is truncated or corrupt ({error})") from error
    return pd.DataFrame(found)


def _number(table: pd.DataFrame, column: str) -> np.ndarray:
    values = table[column]
    if values.dtype.kind not in "biuf":
        raise DataError(f"column {column!r} does not hold numbers ({values.dtype})")
    return values.to_numpy(float)
