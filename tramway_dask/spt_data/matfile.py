"""Variables of MATLAB files, of versions 4 to 7 (SciPy) and 7.3 (h5py), without a word on meaning."""

from __future__ import annotations

import io
import warnings
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from .hdf5 import child, is_hdf5, native, numbers, open_hdf5, raw
from .matlayout import check_layout

__all__ = ["CELLS", "Struct", "load_variable", "stored_variables"]

# field -> its value in each element of a struct array
Struct = dict[str, list[np.ndarray]]

# the name under which the elements of a cell array are
CELLS = "{}"

_BROKEN = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    NameError,  # SciPy's own, in broken variables
    NotImplementedError,
    OSError,
    TypeError,
    ValueError,
    Warning,
    zlib.error,
)


def stored_variables(path: Path | bytes) -> dict[str, str]:
    """Return the variables of a file.

    Parameters
    ----------
    path : Path or bytes
        MATLAB file of any version, or its content.

    Returns
    -------
    dict
        Name to size and class, such as ``"6121x4 double"``.

    Raises
    ------
    DataError
        If the file cannot be read.
    MissingDependencyError
        If the file is of version 7.3 and h5py is not installed.
    """
    if not _is_hdf5(path):
        found = _by_scipy(path, "whosmat")
        return {name: _described(shape, kind) for name, shape, kind in found}
    with open_hdf5(_opened(path), "matlab") as file:
        return {name: _described_hdf5(file, name) for name in file if not name.startswith("#")}


def load_variable(path: Path | bytes, name: str, fields: Collection[str]) -> np.ndarray | Struct:
    """Return a numeric array, the fields of a struct array that hold numbers, or the arrays of a cell array.

    Parameters
    ----------
    path : Path or bytes
        MATLAB file of any version, or its content.
    name : str
        A name from `stored_variables`.
    fields : collection of str
        The fields to load if the variable is a struct array.

    Raises
    ------
    DataError
        If the file is broken, or the variable (or field) is neither numeric nor a struct array.
    """
    if not _is_hdf5(path):
        return _from_scipy(_by_scipy(path, "loadmat", variable_names=[name]).get(name), name, fields)
    with open_hdf5(_opened(path), "matlab") as file:
        return _from_hdf5(file, name, fields)


def _is_hdf5(path: Path | bytes) -> bool:
    if isinstance(path, bytes):
        head = path
    else:
        try:
            with open(path, "rb") as file:
                head = file.read(4096)
        except OSError as error:
            raise DataError(f"cannot read the file: {error.strerror or error}") from error
    return is_hdf5(head) or head.startswith(b"MATLAB 7.3")


def _opened(path: Path | bytes) -> Path | io.BytesIO:
    return io.BytesIO(path) if isinstance(path, bytes) else path


def _by_scipy(path: Path | bytes, function: str, **options: Any) -> Any:
    from scipy.io import matlab

    content = path if isinstance(path, bytes) else path.read_bytes()
    check_layout(content)
    try:
        with warnings.catch_warnings():
            # SciPy only warns about variables that it cannot read
            warnings.simplefilter("error")
            return getattr(matlab, function)(io.BytesIO(content), **options)
    except (matlab.MatReadError, *_BROKEN) as error:
        raise DataError(f"not a complete MATLAB file; it is truncated or corrupt ({error})") from error


def _from_scipy(value: Any, name: str, fields: Collection[str]) -> np.ndarray | Struct:
    if not isinstance(value, np.ndarray):
        raise DataError(f"variable {name!r} is neither an array of numbers nor a struct array")
    if value.dtype.names is None:
        if value.dtype == object and value.size:
            return {CELLS: [_numeric(item, f"{name}{{{i}}}") for i, item in enumerate(value.flat, 1)]}
        return _numeric(value, name)
    return {
        field: [_numeric(item, f"{name}({i}).{field}") for i, item in enumerate(value[field].flat, 1)]
        for field in value.dtype.names
        if field in fields
    }


def _numeric(value: Any, name: str) -> np.ndarray:
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
        raise DataError(f"{name!r} does not hold real numbers")
    return native(value)


def _from_hdf5(file: Any, name: str, fields: Collection[str]) -> np.ndarray | Struct:
    import h5py

    item = child(file, name)
    if not isinstance(item, h5py.Group):
        if _matlab_class(item) == "cell" and _refers(item):
            return {CELLS: _referred(file, item, f"{name}{{{{}}}}")}
        return _matlab_array(item, name)
    found: Struct = {}
    for field in item:
        if field not in fields:
            continue
        stored = child(item, field)
        if _refers(stored):
            found[field] = _referred(file, stored, f"{name}({{}}).{field}")
        else:
            found[field] = [_matlab_array(stored, f"{name}.{field}")]
    if len({len(items) for items in found.values()}) > 1:
        raise DataError(f"the fields of {name!r} have different numbers of elements; the file is corrupt")
    return found


def _refers(item: Any) -> bool:
    import h5py

    return h5py.check_ref_dtype(getattr(item, "dtype", None)) is h5py.Reference


def _referred(file: Any, stored: Any, name: str) -> list[np.ndarray]:
    """Return the arrays that references point to: in the same file, wherever it may be."""
    return [
        _matlab_array(file[reference], name.replace("{}", str(i), 1))
        for i, reference in enumerate(raw(stored).flat, 1)
    ]


def _matlab_array(item: Any, name: str) -> np.ndarray:
    if item.attrs.get("MATLAB_empty"):
        return np.empty((0, 0))
    if _matlab_class(item) in ("char", "cell"):
        raise DataError(f"{name!r} does not hold real numbers")
    return np.atleast_2d(numbers(item).T)


def _matlab_class(item: Any) -> str:
    kind = item.attrs.get("MATLAB_class", b"")
    if isinstance(kind, bytes):
        kind = kind.decode("latin-1")
    return str(kind) or str(getattr(item, "dtype", "struct"))


def _described_hdf5(file: Any, name: str) -> str:
    try:
        item = child(file, name)
    except DataError:
        return "a link to elsewhere"
    return _described(tuple(reversed(getattr(item, "shape", None) or ())), _matlab_class(item))


def _described(shape: tuple[int, ...], kind: str) -> str:
    return f"{'x'.join(map(str, shape))} {kind}".strip()
