"""Linkers: how localizations are put together into trajectories.

A linker is a component with its parameters in µm, s and frames. It works on the table of one
file, where that file is read; its parameters are part of what identifies the source's data.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..component import Component, count, fraction, optional, positive, setting
from ..errors import DataError, MissingDependencyError, SpecificationError
from . import assignment
from .tables import SPACE, in_order, space_columns, unique_times

__all__ = ["LapTrack", "Linker", "NonTrackingTracker", "SingleParticleTracker", "Trackpy"]


class Linker(Component):
    """Base class of linkers; derive from it and define `identify` for another one."""

    def identify(self, points: np.ndarray, frame: np.ndarray, dt: float) -> np.ndarray:
        """Return the number of the trajectory of each localization.

        Parameters
        ----------
        points : (N, d) array
            µm.
        frame : (N,) int array
            In ascending order.
        dt : float
            Frame interval, in s.

        Returns
        -------
        (N,) int array
        """
        raise NotImplementedError

    def check(self) -> None:
        """Complain of parameters that are missing."""

    def link(self, localizations: pd.DataFrame, dt: float, where: str = "localizations") -> pd.DataFrame:
        """Turn localizations into trajectories.

        Parameters
        ----------
        localizations : DataFrame
            Columns ``frame`` (whole numbers), ``x, y[, z]`` (µm), in any order of rows. An index ``n`` is
            replaced; ``t`` (s) is kept, or made of the frames; so are further columns.
        dt : float
            Frame interval, in s.
        where : str
            What to call the table in messages.

        Returns
        -------
        DataFrame
            Columns ``n, x, y[, z], t`` and further ones, sorted by (``n``, ``t``). Trajectories are numbered
            from 1 by their first frames; localizations that are linked with no other are trajectories of one.

        Raises
        ------
        DataError
            If the table cannot be linked with these parameters.
        """
        self.check()
        dt = positive("dt", dt)
        if "frame" not in localizations:
            raise DataError(f"{where}: linking needs a column 'frame'")
        table = localizations.sort_values("frame", kind="stable", ignore_index=True)
        table.attrs = dict(localizations.attrs)
        space = space_columns(table)
        points, frame = table[space].to_numpy(dtype=float), table["frame"].to_numpy()
        if not np.isfinite(points).all() or (frame != np.floor(frame)).any():
            raise DataError(f"{where}: linking needs finite coordinates and whole frame numbers")
        frame = frame.astype(np.int64)
        try:
            n = self.identify(points, frame, dt) if len(table) else np.empty(0, dtype=np.int64)
        except DataError as error:
            raise DataError(f"{where}: {error}") from error
        table["n"] = np.asarray(n, dtype=np.int64)
        if "t" not in table:
            table["t"] = frame * dt
        table = table.drop(columns="frame")
        first = ["n", *(c for c in (*SPACE, "t") if c in table)]
        table = table[first + [c for c in table.columns if c not in first]]
        return unique_times(in_order(table), where)


def _reached(range_name: str, given: float | None, name: str) -> None:
    if given is None:
        raise SpecificationError(
            f"{name}.{range_name}: say how far (µm) a molecule may go from a frame to the next, e.g. "
            f"{name}({range_name}=0.3); three times the typical step is usual"
        )


@dataclass(eq=False, repr=False)
class NonTrackingTracker(Linker):
    """Optimal assignment from frame to frame; needs no other library.

    Between two frames, links are chosen that minimize the sum of squared displacements, where a
    localization that stays alone costs the square of the range (Crocker and Grier 1996). Trajectories
    that were interrupted for up to `memory` frames are then joined in the same way, all over the file
    at once (as in Jaqaman et al., Nat. Methods 5, 2008, 695), with displacements scaled to one frame.

    Parameters
    ----------
    search_range : float, optional
        Largest displacement from a frame to the next, in µm; √k times as much over k frames.
    estimated_high_diffusivity : float, optional
        D in µm²/s of the fastest molecules, instead: the range is then ``2 sqrt(2 D dt)``.
    memory : int
        Largest number of frames in which a molecule may be missing (blinking) and still be the same.

    Notes
    -----
    The name is that of TRamWAy, which links from frame to frame only.
    """

    search_range: float | None = setting(None, check=optional(positive))
    estimated_high_diffusivity: float | None = setting(None, check=optional(positive))
    memory: int = setting(0, check=count)

    lost = dict.fromkeys(
        ("localization_precision", "localization_error", "sigma", "dt", "frame_interval", "temperature"),
        "linkers have no parameters of the data; set it on a.spt_data",
    )

    @property
    def estimated_large_length(self) -> float | None:
        """TRamWAy's name of the range."""
        return self.search_range

    @estimated_large_length.setter
    def estimated_large_length(self, length: float | None) -> None:
        self.search_range = length

    def check(self) -> None:
        """Complain if the range is missing, or is given twice."""
        if self.estimated_high_diffusivity is None:
            _reached("search_range", self.search_range, type(self).__name__)
        elif self.search_range is not None:
            raise SpecificationError(
                "NonTrackingTracker: search_range and estimated_high_diffusivity say the same; give one of them"
            )

    def identify(self, points: np.ndarray, frame: np.ndarray, dt: float) -> np.ndarray:
        """Return the number of the trajectory of each localization; see `Linker.identify`."""
        reach = self.search_range
        if self.estimated_high_diffusivity is not None:
            reach = 2 * np.sqrt(2 * self.estimated_high_diffusivity * dt)
        assert reach is not None
        return assignment.identify(points, frame, float(reach), self.memory)


@dataclass(eq=False, repr=False)
class SingleParticleTracker(Linker):
    """All localizations of a file are of one molecule, at most one in a frame."""

    def identify(self, points: np.ndarray, frame: np.ndarray, dt: float) -> np.ndarray:
        """Return 1 for all localizations; see `Linker.identify`."""
        twice = np.flatnonzero(frame[1:] == frame[:-1])
        if len(twice):
            raise DataError(
                f"frame {frame[twice[0]]} has more than one localization (so have {len(np.unique(frame[twice]))} "
                "frames): they are not of a single molecule; take another linker"
            )
        return np.ones(len(frame), dtype=np.int64)


@dataclass(eq=False, repr=False)
class Trackpy(Linker):
    """Linking by trackpy (Crocker and Grier's algorithm); needs ``pip install "tramway_dask[linking]"``.

    Parameters
    ----------
    search_range : float
        Largest displacement since a molecule was last seen, in µm.
    memory : int
        Largest number of frames in which a molecule may be missing.
    adaptive_stop : float, optional
        Where candidates are too many, the range is reduced down to this length (µm) instead of refusing.
    adaptive_step : float
        Factor of each reduction.
    """

    search_range: float | None = setting(None, check=optional(positive))
    memory: int = setting(0, check=count)
    adaptive_stop: float | None = setting(None, check=optional(positive))
    adaptive_step: float = setting(0.95, check=fraction)

    def check(self) -> None:
        """Complain if the range is missing."""
        _reached("search_range", self.search_range, "Trackpy")

    def identify(self, points: np.ndarray, frame: np.ndarray, dt: float) -> np.ndarray:
        """Return the number of the trajectory of each localization; see `Linker.identify`."""
        try:
            from trackpy import SubnetOversizeException, link_iter
        except ImportError as error:
            raise _missing("trackpy", "Trackpy") from error
        # gaps longer than the memory are all alike
        times, begin = np.unique(frame, return_index=True)
        wait = np.minimum(np.diff(times), self.memory + 2)
        rank = np.repeat(np.r_[0, np.cumsum(wait)], np.diff(np.r_[begin, len(frame)]))
        edges = np.searchsorted(rank, np.arange(rank[-1] + 2))
        each = [points[a:b] for a, b in zip(edges[:-1], edges[1:], strict=True)]
        try:
            with _hushed("trackpy"):
                found = [
                    ids
                    for _, ids in link_iter(
                        each,
                        self.search_range,
                        memory=self.memory,
                        adaptive_stop=self.adaptive_stop,
                        adaptive_step=self.adaptive_step,
                    )
                ]
        except SubnetOversizeException as error:
            raise DataError(
                f"trackpy finds too many candidates within {self.search_range:g} µm ({error}); give a smaller "
                "search_range or an adaptive_stop, or link with NonTrackingTracker"
            ) from error
        return _renumbered(np.concatenate([np.asarray(ids, dtype=np.int64) for ids in found]))


@dataclass(eq=False, repr=False)
class LapTrack(Linker):
    """Linking by laptrack (Jaqaman's algorithm); needs ``pip install "tramway_dask[linking]"``.

    Splits and merges are not looked for: a trajectory is one molecule.

    Parameters
    ----------
    search_range : float
        Largest displacement from a frame to the next, in µm.
    memory : int
        Largest number of frames in which a molecule may be missing.
    gap_range : float, optional
        Largest displacement over such a gap, in µm; default: `search_range`.
    """

    search_range: float | None = setting(None, check=optional(positive))
    memory: int = setting(0, check=count)
    gap_range: float | None = setting(None, check=optional(positive))

    def check(self) -> None:
        """Complain if the range is missing."""
        _reached("search_range", self.search_range, "LapTrack")

    def identify(self, points: np.ndarray, frame: np.ndarray, dt: float) -> np.ndarray:
        """Return the number of the trajectory of each localization; see `Linker.identify`."""
        try:
            import laptrack
        except ImportError as error:
            raise _missing("laptrack", "LapTrack") from error
        assert self.search_range is not None
        tracker = laptrack.LapTrack(
            cutoff=self.search_range**2,
            gap_closing_cutoff=(self.gap_range or self.search_range) ** 2 if self.memory else False,
            gap_closing_max_frame_count=self.memory + 1,  # counts differences of frames
            splitting_cutoff=False,
            merging_cutoff=False,
        )
        names = list(SPACE[: points.shape[1]])
        table = pd.DataFrame(points, columns=names).assign(frame=frame, row=np.arange(len(frame)))
        found, _, _ = tracker.predict_dataframe(
            table, coordinate_cols=names, frame_col="frame", only_coordinate_cols=False
        )
        n = np.full(len(frame), -1)
        n[found["row"].to_numpy()] = found["track_id"].to_numpy()
        return _renumbered(n)


def _renumbered(n: np.ndarray) -> np.ndarray:
    """Return numbers from 1, in the order of first rows."""
    _, first, index = np.unique(n, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(1, len(first) + 1)
    return rank[index]


def _missing(library: str, linker: str) -> MissingDependencyError:
    return MissingDependencyError(
        f'linkers.{linker} needs {library}: pip install "tramway_dask[linking]" (or {library}); '
        "linkers.NonTrackingTracker needs nothing more"
    )


@contextlib.contextmanager
def _hushed(name: str) -> Iterator[None]:
    """Keep a library from telling of each frame."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
