"""Reader of the trajectories in TRamWAy's ``.rwa`` files, without TRamWAy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import DataError
from .hdf5 import SIGNATURE, child, has, numbers, open_hdf5, raw
from .tables import SPACE, check_trajectories

__all__ = ["columns_of", "read_rwa", "root_table", "table_of"]

_FLOATS = (*SPACE, "t", *(f"d{c}" for c in (*SPACE, "t")))


def read_rwa(path: str | Path) -> pd.DataFrame:
    """Read the table at the root of the analysis tree of a ``.rwa`` file.

    Samplings and maps in the file are not read. Units are those of the file, µm and s as TRamWAy
    has it.

    Parameters
    ----------
    path : str or Path
        File written by TRamWAy (HDF5; needs h5py).

    Returns
    -------
    DataFrame
        Trajectories, or translocations if that is what was stored: ``n`` (int64), ``x, y[, z], t``
        and further columns of numbers, sorted by (``n``, ``t``).

    Raises
    ------
    DataError
        If the file cannot be read or holds no trajectories.
    MissingDependencyError
        If h5py is not installed.
    """
    path = Path(path).expanduser()
    try:
        _check_signature(path)
        with open_hdf5(path, "rwa") as file:
            columns = columns_of(root_table(file))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error.__cause__
    return check_trajectories(table_of(columns, str(path)), str(path))


def _check_signature(path: Path) -> None:
    try:
        with open(path, "rb") as file:
            head = file.read(len(SIGNATURE))
    except OSError as error:
        raise DataError(f"cannot read the file: {error.strerror or error}") from error
    if head != SIGNATURE:
        raise DataError("not a .rwa file (no HDF5 signature); text files are read by from_ascii_file")


def root_table(file: Any) -> Any:
    """Return the table at the root of the analyses."""
    if not has(file, "analyses"):
        raise DataError(
            f"not a .rwa file of TRamWAy: no 'analyses' at its root, which has {', '.join(file) or 'nothing'}"
        )
    tree = child(file, "analyses")
    if not has(tree, "_data"):
        raise DataError(
            "the file holds analyses without the trajectories they were made from; "
            "read the original file of trajectories instead (from_ascii_file)"
        )
    table = child(tree, "_data")
    kind = _text(table.attrs.get("type", b"no table"))
    if not kind.endswith("DataFrame"):
        raise DataError(
            f"the root of the analyses is {kind}, not a table of trajectories; "
            "read the original file of trajectories instead (from_ascii_file)"
        )
    return table


def columns_of(table: Any) -> dict[str, np.ndarray]:
    """Return the columns of numbers of a stored table."""
    if has(table, "root"):
        return _from_blocks(child(table, "root"))
    data = child(table, "data")
    if has(data, "keys") and has(data, "values"):
        names = [_text(raw(item)[()]) for item in _items(child(data, "keys"))]
        stored = _items(child(data, "values"))
        if len(names) != len(stored):
            raise DataError(f"the table has {len(names)} names and {len(stored)} columns: it is corrupt")
        found = dict(zip(names, stored, strict=True))
    else:
        group = child(data, "items") if has(data, "items") else data
        found = {name: child(group, name) for name in group}
    return {name: numbers(item) for name, item in found.items() if _is_numeric(item)}


def _items(group: Any) -> list[Any]:
    """Return the elements of a list, whose names are their numbers."""
    names = list(group)
    if not all(name.isdecimal() for name in names):
        raise DataError(f"{group.name!r} is not a list; the file is corrupt, or of an unknown version")
    return [child(group, name) for name in sorted(names, key=int)]


def _from_blocks(root: Any) -> dict[str, np.ndarray]:
    """Return the columns of a table in the layout of PyTables, as in files of old."""
    found: dict[str, np.ndarray] = {}
    block = 0
    while has(root, f"block{block}_values"):
        values = child(root, f"block{block}_values")
        if _is_numeric(values):
            names = [_text(name) for name in raw(child(root, f"block{block}_items")).flat]
            array = numbers(values)
            if array.ndim != 2 or array.shape[1] != len(names):
                raise DataError(f"{values.name!r} does not match its {len(names)} names; the file is corrupt")
            found.update(zip(names, array.T, strict=True))
        block += 1
    order = [_text(name) for name in raw(child(root, "axis0")).flat]
    return {name: found[name] for name in order if name in found}


def _is_numeric(item: Any) -> bool:
    dtype = getattr(item, "dtype", None)
    return dtype is not None and dtype.kind in "biuf"


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def table_of(columns: dict[str, np.ndarray], where: str) -> pd.DataFrame:
    """Return the table of given columns."""
    shapes = {values.shape for values in columns.values()}
    if any(len(shape) != 1 for shape in shapes) or len(shapes) > 1:
        raise DataError(f"{where}: the columns of the table differ in length; the file is corrupt")
    # single precision is a way of storing, not of computing
    return pd.DataFrame({c: v.astype(float) if c in _FLOATS else v for c, v in columns.items()})
