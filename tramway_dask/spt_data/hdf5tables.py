"""Readers of HDF5 files of trajectories and of localizations: Picasso, SPTAnalyser, DECODE, SMAP, storm-analysis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..component import one_of, positive
from ..errors import DataError
from .hdf5 import child, has, numbers, open_hdf5, record
from .hdf5kinds import STATED_ERROR, kind_of
from .picasso import picasso_pixel_size, picasso_table
from .scales import is_length, length_scale
from .tables import SPACE, check_trajectories, with_precision

__all__ = ["read_hdf5", "read_hdf5_localizations"]


def read_hdf5(
    path: str | Path,
    *,
    pixel_size: float | None = None,
    dt: float | None = None,
    track: str | None = None,
    by: str = "track",
) -> pd.DataFrame:
    """Read the trajectories of an HDF5 file of Picasso or SPTAnalyser.

    Parameters
    ----------
    path : str or Path
    pixel_size : float, optional
        Size of a pixel in µm: for Picasso's files, if the ``.yaml`` beside them does not say it.
    dt : float, optional
        Frame interval in s. SPTAnalyser's files state it themselves.
    track : str, optional
        Which column of a Picasso file numbers the tracks, if its name does not tell (``'group'``).
    by : {'track', 'segment'}
        Whether a trajectory is a track of SPTAnalyser's, or a segment of one (a part of one motion).

    Returns
    -------
    DataFrame
        Columns ``n, x, y[, z]`` (µm), ``t`` (s), sorted by (``n``, ``t``).

    Raises
    ------
    DataError
        If the file cannot be read, its localizations are not linked, or a unit is unknown.
    MissingDependencyError
        If h5py is not installed.
    """
    path = Path(path).expanduser()
    one_of("track", "segment")("by", by)
    try:
        with open_hdf5(path, "hdf5") as file:
            kind = kind_of(file)
            if kind == "sptanalyser":
                table = _from_sptanalyser(file, dt, pixel_size, by)
            elif kind == "picasso":
                table = _from_picasso(path, file, pixel_size, dt, track)
            elif kind == "rwa":
                raise DataError("a .rwa file of TRamWAy's; read it with from_rwa_file")
            elif kind:
                raise DataError(_NOT_LINKED.format(kind))
            else:
                raise DataError(
                    f"an HDF5 file of an unknown kind, with {', '.join(file) or 'nothing'} at its root; export "
                    "it as text with columns n, x, y, t, or read it yourself and use from_dataframe"
                )
    except DataError as error:
        raise DataError(f"{path}: {error}") from error.__cause__
    return check_trajectories(table, str(path))


_NOT_LINKED = (
    "{} localizations, which are not linked in trajectories: link them when reading "
    "(spt_data.from_localizations), or in the program that wrote them"
)


def _from_sptanalyser(file: Any, dt: float | None, pixel_size: float | None, by: str) -> pd.DataFrame:
    if pixel_size is not None:
        raise DataError("lengths are in µm by the file's own word; leave pixel_size= out")
    columns = record(child(child(file, "trc"), "trcType"))
    wanted = ["track id" if by == "track" else "seg id", "x position [μm]", "y position [μm]", "frame"]
    missing = [name for name in wanted if name not in columns]
    if missing:
        raise DataError(f"'trc/trcType' has no {missing[0]!r}; it has {', '.join(columns)}")
    settings = record(child(child(file, "settings"), "settings")) if has(file, "settings") else {}
    stated = float(settings["dt [s]"][0]) if len(settings.get("dt [s]", ())) else None
    if stated is None and dt is None:
        raise DataError("its settings have no 'dt [s]'; give the frame interval in s: dt=")
    if stated is not None and not 0 < stated < np.inf:
        raise DataError(f"its settings say dt = {stated:g} s; the file is corrupt")
    if stated is not None and dt is not None and abs(stated - positive("dt", dt)) > 1e-6 * dt:
        raise DataError(f"frames are {stated:g} s apart by the file's own word, not {dt:g} s; leave dt= out")
    table = pd.DataFrame(dict(zip("nxyt", (columns[name] for name in wanted), strict=True)))
    table["t"] = columns["frame"].astype(float) * (dt if stated is None else stated)
    return with_precision(table, settings.get(STATED_ERROR))


def _from_picasso(
    path: Path, file: Any, pixel_size: float | None, dt: float | None, track: str | None
) -> pd.DataFrame:
    locs, column = picasso_table(file, track)
    if column is None:
        if "group" in locs:
            raise DataError(
                "its column 'group' may number tracks, or picked areas; if it is tracks, say so: track='group'"
            )
        raise DataError(_NOT_LINKED.format("Picasso"))
    table = _picasso_in_micrometers(path, locs, pixel_size)
    if dt is None:
        raise DataError("it counts frames; give the frame interval in s: dt=")
    table.insert(0, "n", locs[column])
    table["t"] = table["frame"].to_numpy(float) * positive("dt", dt)
    sigma = table.get("precision")
    return with_precision(table[["n", *(c for c in SPACE if c in table), "t"]], sigma)


def _picasso_in_micrometers(path: Path, locs: pd.DataFrame, pixel_size: float | None) -> pd.DataFrame:
    scale = picasso_pixel_size(path) if pixel_size is None else positive("pixel_size", pixel_size)
    if scale is None:
        raise DataError(
            f"lengths are in pixels, and there is no {path.with_suffix('.yaml').name} beside it that says "
            "their size; give it in µm: pixel_size="
        )
    table = pd.DataFrame(
        {"frame": locs["frame"], "x": locs["x"] * float(scale), "y": locs["y"] * float(scale)}
    )
    table = table.astype({"x": float, "y": float})
    if "z" in locs:
        table["z"] = locs["z"].to_numpy(float) * 1e-3  # Picasso's z is in nm
    if {"lpx", "lpy"} <= set(locs):
        table["precision"] = np.hypot(locs["lpx"].to_numpy(float), locs["lpy"].to_numpy(float)) * (
            scale / np.sqrt(2)
        )
    if "photons" in locs:
        table["photons"] = locs["photons"].to_numpy(float)
    return table


def read_hdf5_localizations(path: str | Path, *, pixel_size: float | None = None) -> pd.DataFrame:
    """Read localizations that are not linked in trajectories, of Picasso, DECODE, SMAP or storm-analysis.

    Parameters
    ----------
    path : str or Path
    pixel_size : float, optional
        Size of a pixel in µm, where the file does not say it.

    Returns
    -------
    DataFrame
        Columns ``frame`` (as the file counts), ``x, y[, z]`` (µm), and ``precision`` (µm), ``photons``
        where the file has them, in the order of the file.

    Raises
    ------
    DataError
        If the file cannot be read, or a unit is unknown.
    MissingDependencyError
        If h5py is not installed.
    """
    path = Path(path).expanduser()
    try:
        with open_hdf5(path, "hdf5") as file:
            kind = kind_of(file)
            if kind == "picasso":
                table = _picasso_in_micrometers(path, picasso_table(file, None)[0], pixel_size)
            elif kind == "decode":
                table = _from_decode(file, pixel_size)
            elif kind == "smap":
                table = _from_smap(file, pixel_size)
            elif kind == "storm-analysis":
                table = _from_storm_analysis(file, pixel_size)
            else:
                raise DataError("no HDF5 file of localizations that is known here")
    except DataError as error:
        raise DataError(f"{path}: {error}") from error.__cause__
    if not len(table):
        raise DataError(f"{path}: the file holds no localizations")
    return table


def _columns(group: Any, names: dict[str, str]) -> dict[str, np.ndarray]:
    """Return the arrays of a group by our names."""
    found = {
        ours: numbers(child(group, theirs)).ravel() for ours, theirs in names.items() if has(group, theirs)
    }
    missing = [names[c] for c in ("frame", "x", "y") if c in names and c not in found]
    if missing:
        raise DataError(f"no {missing[0]!r} in {group.name!r}")
    if len({len(values) for values in found.values()}) > 1:
        raise DataError(f"the arrays in {group.name!r} differ in length; the file is corrupt")
    return found


def _from_smap(file: Any, pixel_size: float | None) -> pd.DataFrame:
    if pixel_size is not None:
        raise DataError("lengths are in nm by the file's own word; leave pixel_size= out")
    names = {"frame": "frame", "x": "xnm", "y": "ynm", "z": "znm", "precision": "xnmerr", "photons": "phot"}
    table = pd.DataFrame(_columns(child(child(file, "saveloc"), "loc"), names))
    for c in (*SPACE, "precision"):
        if c in table:
            table[c] = table[c].to_numpy(float) * 1e-3
    return table


def _from_decode(file: Any, pixel_size: float | None) -> pd.DataFrame:
    data = child(file, "data")
    meta = child(file, "meta") if has(file, "meta") else data
    found = _columns(data, {"frame": "frame_ix", "photons": "phot"})
    xyz = numbers(child(data, "xyz"))
    if xyz.ndim != 2 or xyz.shape[1] != 3 or len(xyz) != len(found.get("frame", ())):
        raise DataError(f"'data/xyz' is {'x'.join(map(str, xyz.shape))}; expected x, y, z per localization")
    unit = meta.attrs.get("xy_unit", "px")
    unit = unit.decode("latin-1") if isinstance(unit, bytes) else str(unit)
    stated = meta.attrs.get("px_size")
    scale = [1.0, 1.0]
    if not is_length(unit) and pixel_size is None and stated is not None and np.size(stated) == 2:
        scale = [float(s) * 1e-3 for s in np.ravel(stated)]  # of pixels, in nm
        if not all(0 < s < np.inf for s in scale):
            raise DataError(f"'px_size' is {stated}; the file is corrupt")
    else:
        scale = [length_scale(unit, pixel_size)] * 2
    table = pd.DataFrame({"frame": found["frame"], "x": xyz[:, 0] * scale[0], "y": xyz[:, 1] * scale[1]})
    if np.ptp(xyz[:, 2]) > 0:
        table["z"] = xyz[:, 2] * 1e-3  # DECODE's z is in nm
    if "photons" in found:
        table["photons"] = found["photons"]
    return table


def _from_storm_analysis(file: Any, pixel_size: float | None) -> pd.DataFrame:
    if pixel_size is None and "pixel_size" in file.attrs:
        pixel_size = positive("pixel_size", float(file.attrs["pixel_size"])) * 1e-3
    scale = length_scale("px", pixel_size)
    frames = sorted(int(name[3:]) for name in file if name.startswith("fr_") and name[3:].isdecimal())
    parts = []
    for frame in frames:
        group = child(file, f"fr_{frame}")
        if not has(group, "x"):  # nothing was found there
            continue
        found = _columns(group, {"x": "x", "y": "y", "z": "z"})
        parts.append(pd.DataFrame({"frame": frame, **found}))
    if not parts:
        raise DataError("the file holds no localizations")
    table = pd.concat(parts, ignore_index=True)
    table[["x", "y"]] = table[["x", "y"]].to_numpy(float) * scale
    return table
