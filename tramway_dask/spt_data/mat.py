"""Reader of trajectories in MATLAB files: arrays of numbers, cells of them, Spot-On's and u-track's structs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ..component import positive
from ..errors import DataError, SpecificationError
from .columns import Choice, choose_columns, length_factor, split_columns, time_factor
from .matfile import CELLS, Struct, load_variable, stored_variables
from .matkinds import ARRAYS, SPOT_ON, U_TRACK, find_order, stacked
from .tables import SPACE, check_trajectories, with_precision

__all__ = ["read_mat"]

_DEFAULT = "plist"
_FIELDS = ("xy", "Frame", "TimeStamp", "tracksCoordAmpCG", "seqOfEvents")
_ASK = "say what its columns are, in order, '-' for those to ignore: columns=['n', 'x', 'y', 't']"


def read_mat(
    path: str | Path,
    *,
    variable: str = _DEFAULT,
    columns: str | Sequence[str | None] | Mapping[str, str | int] | None = None,
    dt: float | None = None,
    coord_scale: float | None = None,
    pixel_size: float | None = None,
) -> pd.DataFrame:
    """Read trajectories from a MATLAB file, of any version.

    An array has a row per location, and `columns` says what its columns are, unless its numbers
    leave no doubt: rows of a trajectory stand together, and time increases along them. In a
    cell array, each cell is the array of a trajectory, without a column ``n``. Struct arrays are
    known by their fields: ``xy`` and ``TimeStamp`` are Spot-On's ``trackedPar`` (µm, s);
    ``tracksCoordAmpCG`` and ``seqOfEvents`` are u-track's ``tracksFinal`` (pixels, frames). Each
    row of a u-track coordinate matrix, i.e. each branch of a track that merges or splits, is a
    trajectory; its NaN are frames without a location, and make a gap.

    Parameters
    ----------
    path : str or Path
        File to read. Version 7.3 needs h5py.
    variable : str
        Name of the variable. If there is no ``plist``, ``trackedPar``, ``tracksFinal`` and ``tr`` are
        looked for too.
    columns : list, str or mapping
        Names of the columns of an array, in order (``['n', 'x', 'y', 't']``, ``'nxyt'``; ``'-'`` or
        None for a column to ignore; other names are kept as they are), with units if need be
        (``'x [nm]'``, ``'t [ms]'``); or a mapping from names to column numbers from 0. With
        ``dx, dy[, dz], dt`` the rows are translocations.
    dt : float, optional
        Frame interval in s, by which frame numbers (column ``frame``, or ``t`` if no unit is said)
        are multiplied. Not used for ``trackedPar`` with time stamps, which are in s.
    coord_scale, pixel_size : float, optional
        What coordinates are multiplied by, in µm (two names of the same).

    Returns
    -------
    DataFrame
        Columns ``n`` (int64), ``x, y[, z]`` (µm), ``t`` (s) and further ones, sorted by (``n``, ``t``).
        The trajectories of structs are numbered from 1 in the order of the file.

    Raises
    ------
    DataError
        If the file or variable cannot be read, or what it holds is not clear.
    SpecificationError
        If an argument is wrong.
    MissingDependencyError
        If the file is of version 7.3 and h5py is not installed.
    """
    scale = _scale(coord_scale, pixel_size)
    dt = None if dt is None else positive("dt", dt)
    path = Path(path).expanduser()
    try:
        name = _choose_variable(stored_variables(path), variable)
        value = load_variable(path, name, _FIELDS)
        if isinstance(value, np.ndarray):
            table = _from_array(value, name, columns, scale, dt)
        elif CELLS in value:
            table = _from_array(stacked(value, name), name, _with_index(columns), scale, dt)
        elif "xy" in value and value.keys() & {"TimeStamp", "Frame"}:
            table = _from_spot_on(value, name, scale, dt)
        elif {"tracksCoordAmpCG", "seqOfEvents"} <= value.keys():
            table = _from_u_track(value, name, scale, dt)
        else:
            raise DataError(
                f"variable {name!r} is a struct array of an unknown kind (known: Spot-On's trackedPar with "
                "xy and TimeStamp, u-track's tracksFinal); save its locations as an array: columns n, x, y, t"
            )
    except DataError as error:
        raise DataError(f"{path}: {error}") from error.__cause__
    return check_trajectories(table, str(path))


def _scale(coord_scale: float | None, pixel_size: float | None) -> float | None:
    if coord_scale is not None and pixel_size is not None:
        raise SpecificationError("coord_scale and pixel_size are two names of the same; give one of them")
    if coord_scale is not None:
        return positive("coord_scale", coord_scale)
    return None if pixel_size is None else positive("pixel_size", pixel_size)


def _choose_variable(found: dict[str, str], wanted: str) -> str:
    candidates = [wanted, SPOT_ON, U_TRACK, *ARRAYS] if wanted == _DEFAULT else [wanted]
    for name in candidates:
        if name in found:
            return name
    listed = ", ".join(f"{name!r} ({what})" for name, what in found.items())
    if not found:
        raise DataError("the file holds no variables")
    if "saveloc" in found:
        raise DataError(
            "SMAP localizations, which are not linked in trajectories: link them when reading "
            "(spt_data.from_localizations), or in SMAP"
        )
    raise DataError(
        f"no variable {wanted!r}; the file has {listed}; say which one holds the trajectories: variable="
    )


def _from_array(
    values: np.ndarray,
    name: str,
    columns: str | Sequence[str | None] | Mapping[str, str | int] | None,
    scale: float | None,
    dt: float | None,
) -> pd.DataFrame:
    size = "x".join(map(str, values.shape))
    if values.ndim != 2 or not values.size:
        raise DataError(f"variable {name!r} is {size}; expected a row per location")
    preview = pd.DataFrame(values[:3]).to_string(index=False, header=False)
    if columns is None:
        columns = find_order(values, name)
        if "frame" in columns and scale is None:
            raise DataError(
                f"variable {name!r} does not say the unit of its lengths; give pixel_size= (how many µm their "
                f"unit is). It is read as columns={columns}. First rows:\n{preview}"
            )
    mapping = columns if isinstance(columns, Mapping) else None
    if mapping is None:
        names = split_columns(columns)  # type: ignore[arg-type]
    else:
        names = [f"column {i}" for i in range(values.shape[1])]
    if len(names) != values.shape[1]:
        turned = "; it seems to be transposed: save it with a row per location"
        raise DataError(
            f"columns= names {len(names)} columns and variable {name!r} is {size}"
            f"{turned if len(names) == values.shape[0] else ''}. First rows:\n{preview}"
        )
    choice = choose_columns(names, mapping=mapping)
    missing = [role for role in ("n", "x", "y") if role not in choice.position]
    if not {"t", "frame"} & choice.position.keys():
        missing.append("t")
    if missing:
        lacking = ", ".join(map(repr, missing))
        raise DataError(f"columns= does not name {lacking}; {_ASK}. First rows:\n{preview}")
    table = pd.DataFrame({role: values[:, at] for role, at in choice.position.items()})
    for at, kept in enumerate(names if mapping is None else ()):
        if kept.strip("-_ ") and at not in choice.position.values():
            table[kept] = values[:, at]
    return _physical(table, choice, scale, dt)


def _with_index(
    columns: str | Sequence[str | None] | Mapping[str, str | int] | None,
) -> Sequence[str] | Mapping[str, str | int] | None:
    """Return the columns of the arrays in cells, behind the number of the cell."""
    if columns is None:
        return None
    if isinstance(columns, Mapping):
        moved = {k: v + 1 if isinstance(v, int) else v for k, v in columns.items()}
        return moved if "n" in moved else {"n": 0, **moved}
    return ["n", *split_columns(columns)]


def _physical(table: pd.DataFrame, choice: Choice, scale: float | None, dt: float | None) -> pd.DataFrame:
    for c in SPACE:
        if c in table:
            _multiply(table, c, length_factor(c, choice.unit.get(c), scale))
    unit = choice.unit.get("t")
    counted = "frame" if "frame" in choice.position else "t"
    if counted == "t" and (unit or dt is None):
        _multiply(table, "t", time_factor(unit))
        return table
    if dt is None:
        raise DataError("the file counts frames; give the frame interval in s: dt=")
    frame = table[counted].to_numpy()
    if (frame != np.floor(frame)).any():
        row = int(np.argmax(frame != np.floor(frame)))
        raise DataError(
            f"row {row}: {counted} = {frame[row]:.10g} is not a frame number to be multiplied by the frame "
            "interval dt; if the column is in s already, say so: 't [s]' in columns="
        )
    table = table.rename(columns={counted: "t"})
    _multiply(table, "t", dt)
    return table


def _multiply(table: pd.DataFrame, column: str, factor: float) -> None:
    for c in (column, f"d{column}"):
        if c in table:
            with np.errstate(over="ignore"):  # what is not finite is refused later
                table[c] = table[c].to_numpy(dtype=float) * factor


def _from_spot_on(fields: Struct, name: str, scale: float | None, dt: float | None) -> pd.DataFrame:
    if scale is not None:
        raise DataError(f"the xy of {name!r} are in µm, not in pixels; leave coord_scale= (pixel_size=) out")
    stamp = "TimeStamp" if "TimeStamp" in fields else "Frame"
    if stamp == "Frame" and dt is None:
        raise DataError(f"{name!r} has no TimeStamp; give the frame interval in s: dt=")
    found = [i for i, xy in enumerate(fields["xy"]) if xy.size]
    if not found:
        raise DataError(f"variable {name!r} holds no trajectories")
    d = fields["xy"][found[0]].shape[-1]
    for i in found:
        xy, t = fields["xy"][i], fields[stamp][i]
        if d not in (2, 3) or xy.ndim != 2 or xy.shape[1] != d or t.size != len(xy):
            raise DataError(
                f"{name}({i + 1}) has xy of {'x'.join(map(str, xy.shape))} and {t.size} values of {stamp}; "
                "expected a row of 2 (or always 3) coordinates per location, and as many times"
            )
    points = np.concatenate([fields["xy"][i] for i in found]).astype(float)
    t = np.concatenate([fields[stamp][i].ravel() for i in found]).astype(float)
    n = np.repeat(np.array(found) + 1, [len(fields["xy"][i]) for i in found])
    table = pd.DataFrame({"n": n, **dict(zip(SPACE, points.T, strict=False)), "t": t})
    if stamp == "Frame" and dt is not None:
        _multiply(table, "t", dt)
    return table


def _from_u_track(fields: Struct, name: str, scale: float | None, dt: float | None) -> pd.DataFrame:
    lacking = [a for a, v in (("pixel_size= (µm per pixel)", scale), ("dt= (s per frame)", dt)) if v is None]
    if lacking or scale is None or dt is None:
        raise DataError(f"{name!r} is in pixels and frames; give {' and '.join(lacking)}")
    branches = 0
    parts, deviations = [], [np.empty((0, 2))]
    for i, (matrix, events) in enumerate(
        zip(fields["tracksCoordAmpCG"], fields["seqOfEvents"], strict=True), 1
    ):
        if matrix.ndim != 2 or matrix.shape[1] % 8 or events.ndim != 2 or not events.size:
            raise DataError(
                f"{name}({i}).tracksCoordAmpCG is {'x'.join(map(str, matrix.shape))} with a seqOfEvents of "
                f"{'x'.join(map(str, events.shape))}; expected 8 columns per frame, and at least one event"
            )
        fitted = matrix.reshape(len(matrix), matrix.shape[1] // 8, 8).astype(float)
        located = fitted[:, :, :3]
        branch, frame = np.nonzero(~np.isnan(located[:, :, :2]).all(axis=2))
        deviations.append(fitted[branch, frame, 4:6])
        first = float(events[:, 0].min())
        parts.append(np.column_stack([branches + branch + 1, located[branch, frame], first + frame]))
        branches += len(matrix)
    table = pd.DataFrame(np.concatenate([np.empty((0, 5)), *parts]), columns=["n", *SPACE, "t"])
    if not len(table):
        raise DataError(f"variable {name!r} holds no trajectories")
    if (table["z"] == 0).all() or table["z"].isna().all():
        table = table.drop(columns="z")
    for c in (*SPACE, "t"):
        if c in table:
            _multiply(table, c, dt if c == "t" else scale)
    return with_precision(table, np.hypot(*np.concatenate(deviations).T) * (scale / np.sqrt(2)))
