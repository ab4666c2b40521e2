"""What an HDF5 file is, by the groups and datasets at its root."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .formats import Head, Recognition
from .hdf5 import child, has, is_hdf5, open_head
from .picasso import recognized_picasso

__all__ = ["STATED_ERROR", "kind_of", "recognize_hdf5", "recognize_rwa"]

# of SPTAnalyser's settings; the motion during an exposure is part of it
STATED_ERROR = "Δ loc dyn type [μm]"
_NOT_LINKED = (
    "its localizations are not linked in trajectories: link them when reading "
    "(spt_data.from_localizations), or in the program that wrote it"
)


def kind_of(file: Any) -> str:
    """Return ``'rwa'``, ``'smap'``, ``'picasso'``, ``'sptanalyser'``, ``'decode'``, ``'storm-analysis'`` or ``''``.

    Parameters
    ----------
    file : h5py.File
    """
    if has(file, "analyses"):
        return "rwa"
    if has(file, "saveloc") and has(child(file, "saveloc"), "loc"):
        return "smap"
    if has(file, "locs"):
        return "picasso"
    if has(file, "trc") and has(child(file, "trc"), "trcType"):
        return "sptanalyser"
    if has(file, "data") and has(child(file, "data"), "xyz"):
        return "decode"
    if "sa_type" in file.attrs or any(name.startswith("fr_") for name in file):
        return "storm-analysis"
    return ""


def recognize_rwa(head: Head) -> Recognition | None:
    """Recognise TRamWAy's files: HDF5 with analyses at its root."""
    if not is_hdf5(head.data):
        return None
    with open_head(head, "rwa") as file:
        if kind_of(file) != "rwa":
            return None
    return Recognition("rwa", "TRamWAy's .rwa file", "µm", "s")


def recognize_hdf5(head: Head, options: Mapping[str, Any] | None = None) -> Recognition | None:
    """Recognise other HDF5 files, of trajectories and of localizations."""
    if not is_hdf5(head.data):
        return None
    with open_head(head, "hdf5") as file:
        kind = kind_of(file)
        if kind == "sptanalyser":
            stated = child(child(file, "settings"), "settings") if has(file, "settings") else None
            names = getattr(getattr(stated, "dtype", None), "names", None) or ()
            return Recognition(
                "hdf5",
                "SPTAnalyser's .h5 file",
                "µm",
                "s",
                stated=True,
                timed=True,
                columns={"sigma": STATED_ERROR} if STATED_ERROR in names else {},
            )
        if kind == "picasso":
            return recognized_picasso(head.path, file, options or {})
        if kind == "decode":
            return _localizations("DECODE localizations", _decode_unit(file))
        if kind == "storm-analysis":
            return _localizations("storm-analysis localizations", "px")
        if kind == "smap":
            return _localizations("SMAP localizations", "nm")
        listed = ", ".join(list(file)[:20]) or "nothing"
    unknown = (
        f"it has {listed} at its root, which is not known here: export it as text with columns n, x, y, t, or "
        "read it yourself and use from_dataframe"
    )
    return Recognition("hdf5", "HDF5 file", needs={"": unknown})


def _localizations(title: str, length: str) -> Recognition:
    return Recognition(
        "hdf5", title, length, "frames", stated=length != "px", linked=False, notes=(_NOT_LINKED,)
    )


def _decode_unit(file: Any) -> str:
    meta = child(file, "meta") if has(file, "meta") else child(file, "data")
    unit = meta.attrs.get("xy_unit", "px")
    return unit.decode("latin-1") if isinstance(unit, bytes) else str(unit)
