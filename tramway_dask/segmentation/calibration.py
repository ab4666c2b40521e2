"""What all tessellers share: their parameters, and the lengths and counts derived from data."""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..component import (
    Component,
    canonical,
    count,
    fraction,
    non_negative,
    one_of,
    optional,
    positive,
    setting,
)
from ..errors import SegmentationError, SpecificationError
from .support import as_translocations, check_cell_count, support_box
from .tessellation import Tessellation, coordinates

__all__ = ["Calibration", "Tesseller", "as_translocations", "support_box"]


@dataclass(frozen=True)
class Calibration:
    """Lengths and probabilities that a tesseller works with on given data.

    Attributes
    ----------
    ref_distance : float or None, µm
        That of the tesseller, else half the resolution, else the mean length of translocations.
    min_distance, avg_distance, max_distance : float or None, µm
    min_probability, avg_probability, max_probability : float or None
        Share of the points in a cell. `avg_probability` is None when the cells' size
        is given by a distance.
    """

    ref_distance: float | None
    min_distance: float | None
    avg_distance: float | None
    max_distance: float | None
    min_probability: float | None
    avg_probability: float | None
    max_probability: float | None


def mean_step(points: Any) -> float | None:
    """Return the mean length of the translocations of a table, µm, or None if it has none."""
    if not isinstance(points, pd.DataFrame):
        return None
    deltas = [f"d{c}" for c in "xyz" if f"d{c}" in points.columns and c in points.columns]
    if not deltas:
        return None
    lengths = np.sqrt((points[deltas].to_numpy(dtype=float) ** 2).sum(axis=1))
    lengths = lengths[np.isfinite(lengths)]
    return float(lengths.mean()) if len(lengths) and lengths.mean() > 0 else None


def _post_processing(name: str, value: Any) -> Any:
    value = value() if isinstance(value, type) else value
    if value is None or hasattr(value, "post_process") or callable(value):
        return value
    raise SpecificationError(f"{name}: expected a cell merger or a function, got {value!r}")


@dataclass(eq=False, repr=False)
class Tesseller(Component):
    """Base class of the tessellers: how space is divided into cells.

    The size of cells follows from a *resolution* (µm) if one is set. Else cells are
    sized to hold `avg_location_count` points on average.

    Parameters
    ----------
    resolution : float, µm
        Distance between neighbouring centers. Setting it switches the count criterion
        off.
    reference_distance : float, µm
        `ref_distance` for short: reference of the relative distances, by default half the
        resolution, or the mean length of translocations. It leaves the count criterion on.
    rel_min_distance, rel_avg_distance, rel_max_distance : float
        `min_distance`, `avg_distance` and `max_distance` relative to `ref_distance`.
        Defaults: 0.8, 2 and none.
    min_distance, avg_distance, max_distance : float, µm
        Absolute values, which replace the relative ones. `avg_distance` alone also
        switches the count criterion off; `min_distance` bounds the cells' size from
        below in the count criterion.
    min_location_count, avg_location_count, max_location_count : int
        Points per cell. `avg_location_count` defaults to four times `min_location_count`,
        that is 80.
    min_probability, avg_probability, max_probability : float
        The same as shares of all points, which replace the counts.
    calibrate : {'each', 'first'}
        Whether the defaults are computed on each region, or (TRamWAy's way) on the first
        one and kept until `reset`.
    post_processing : object, optional
        Has a method ``post_process(tessellation, points)``, or is such a function; what it
        returns replaces the tessellation.
    """

    resolution: float | None = setting(None, check=optional(positive))
    reference_distance: float | None = setting(None, check=optional(positive))
    rel_min_distance: float | None = setting(None, check=optional(non_negative))
    rel_avg_distance: float | None = setting(None, check=optional(positive))
    rel_max_distance: float | None = setting(None, check=optional(positive))
    min_distance: float | None = setting(None, check=optional(non_negative))
    avg_distance: float | None = setting(None, check=optional(positive))
    max_distance: float | None = setting(None, check=optional(positive))
    min_location_count: int | None = setting(None, check=optional(count))
    avg_location_count: int | None = setting(None, check=optional(count))
    max_location_count: int | None = setting(None, check=optional(count))
    min_probability: float | None = setting(None, check=optional(fraction))
    avg_probability: float | None = setting(None, check=optional(fraction))
    max_probability: float | None = setting(None, check=optional(fraction))
    calibrate: str = setting("each", check=one_of("each", "first"))
    post_processing: Any = setting(None, check=_post_processing)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if not name.startswith("_"):
            self.__dict__.pop("_calibration", None)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in super().__getstate__().items() if k != "_calibration"}

    @property
    def ref_distance(self) -> float | None:
        """Half the resolution if it is set, else `reference_distance`, µm."""
        return self.reference_distance if self.resolution is None else self.resolution / 2

    @ref_distance.setter
    def ref_distance(self, value: float | None) -> None:
        if self.resolution is None:
            self.reference_distance = value
        else:
            self.resolution = None if value is None else 2 * positive("ref_distance", value)

    def reset(self) -> None:
        """Forget the calibration on the first region."""
        self.__dict__.pop("_calibration", None)

    def calibration(self, points: Any) -> Calibration:
        """Return the lengths and probabilities used for these points.

        Parameters
        ----------
        points : DataFrame or ndarray
            Translocations of a region (or locations, which have no reference distance).
        """
        remembered = self.__dict__.get("_calibration")
        if self.calibrate == "first" and remembered is not None:
            return remembered
        found = self._calibrated(points)
        if self.calibrate == "first":
            self._calibration = found
        return found

    def _calibrated(self, points: Any) -> Calibration:
        step = None if self.ref_distance is not None else mean_step(points)
        return self.calibrated(step, len(points))

    def calibrated(self, step: float | None, total: int) -> Calibration:
        """Return the lengths and probabilities used for data of which two numbers are known.

        Parameters
        ----------
        step : float or None, µm
            Mean length of the translocations.
        total : int
            Their number.
        """
        reference = step if self.ref_distance is None else self.ref_distance

        def distance(absolute: float | None, relative: float | None, default: float | None) -> float | None:
            relative = default if relative is None else relative
            if absolute is not None or relative is None or reference is None:
                return absolute
            return relative * reference

        minimum = 20 if self.min_location_count is None else self.min_location_count
        average = self.avg_location_count
        counted = average is not None or self.avg_probability is not None
        by_distance = self.resolution is not None or (self.avg_distance is not None and not counted)
        if average is None:
            average = 4 * minimum

        def share(given: float | None, number: int | None, *, used: bool) -> float | None:
            if not used:
                return None
            return given or None if given is not None else (number / total if number else None)

        return Calibration(
            ref_distance=reference,
            min_distance=distance(self.min_distance, self.rel_min_distance, 0.8),
            avg_distance=distance(self.avg_distance, self.rel_avg_distance, 2.0),
            max_distance=distance(self.max_distance, self.rel_max_distance, None),
            min_probability=share(self.min_probability, minimum, used=not by_distance),
            avg_probability=share(self.avg_probability, average, used=not by_distance),
            max_probability=share(self.max_probability, self.max_location_count, used=True),
        )

    def tessellate(self, points: Any, *, box: Any = None) -> Tessellation:
        """Divide the space of a region into cells.

        Parameters
        ----------
        points : DataFrame or array_like (N, d), µm
            Trajectories or translocations (or mere locations).
        box : array_like (2, d), optional
            Lower and upper corner to which cells are clipped, µm. Default: the region's
            box if the table knows it, else the bounding box of the points.

        Returns
        -------
        Tessellation

        Raises
        ------
        SegmentationError
            If there are too few points, they are all at the same place, or the
            resolution does not suit the region.
        """
        points = as_translocations(points)
        xy = coordinates(points)
        if xy.ndim != 2 or xy.shape[1] not in (2, 3):
            raise SegmentationError(f"expected 2 or 3 space coordinates per point, got shape {xy.shape}")
        if len(xy) < 2:
            raise SegmentationError(
                f"{type(self).__name__} needs at least 2 translocations in the region, found {len(xy)}"
            )
        if not np.isfinite(xy).all():
            raise SegmentationError("some points have coordinates that are not finite")
        support = support_box(points, box)
        tessellation = self._grow(points, support)
        return self._post_process(tessellation, points)

    def from_plugin(self, name: str, **parameters: Any) -> Any:
        """Put another tesseller in the place of this one; see `tesseller.from_plugin`."""
        from .tesseller import from_plugin

        return self.become(from_plugin(name, **parameters))

    def from_callable(self, tesseller: Any) -> Any:
        """Put another tesseller in the place of this one; see `tesseller.from_callable`."""
        from .tesseller import from_callable

        return self.become(from_callable(tesseller))

    def from_centers(self, centers: Any) -> Any:
        """Put given centers in the place of this one; see `tesseller.from_centers`."""
        from .tesseller import from_centers

        return self.become(from_centers(centers))

    def from_tessellation(self, tessellation: Any) -> Any:
        """Put given cells in the place of this one; see `tesseller.from_tessellation`."""
        from .tesseller import from_tessellation

        return self.become(from_tessellation(tessellation))

    def from_partition(self, sampling: Any) -> Any:
        """Put the cells of a sampling in the place of this one; see `tesseller.from_partition`."""
        from .tesseller import from_partition

        return self.become(from_partition(sampling))

    @property
    def post(self) -> Any:
        """Alias of `post_processing`."""
        return self.post_processing

    @post.setter
    def post(self, value: Any) -> None:
        self.post_processing = value

    def _post_process(self, tessellation: Tessellation, points: Any) -> Tessellation:
        merger = self.post_processing
        process: Callable[..., Any] | None = getattr(merger, "post_process", merger)
        return tessellation if process is None else process(tessellation, points)

    def _grow(self, points: Any, box: np.ndarray) -> Tessellation:
        found = self.grow(points, box)
        if isinstance(found, Tessellation):
            return found
        name = getattr(getattr(self, "function", None), "__name__", type(self).__name__)
        try:
            centers = (
                coordinates(found) if isinstance(found, pd.DataFrame) else np.asarray(found, dtype=float)
            )
        except (TypeError, ValueError):
            raise SegmentationError(
                f"tesseller {name}: expected an array of centers or a Tessellation, got a {type(found).__name__}"
            ) from None
        if centers.ndim != 2 or centers.shape[1] != box.shape[1] or not len(centers):
            raise SegmentationError(
                f"tesseller {name}: expected centers of shape (cells, {box.shape[1]}), got {centers.shape}"
            )
        return Tessellation.from_centers(centers, box)

    def grow(self, points: Any, box: np.ndarray) -> Any:
        """Return the cells, or their centers: what a tesseller of one's own defines.

        Parameters
        ----------
        points : DataFrame or ndarray (N, d), µm
            At least two translocations (or locations) of a region.
        box : ndarray (2, d), µm
            Lower and upper corner of the region; all points are inside.

        Returns
        -------
        array_like (m, d), DataFrame or Tessellation
            Centers, µm, whose Voronoi cells are clipped to the box; or the cells themselves.
        """
        raise SpecificationError(
            f"{type(self).__name__} cannot be used as a tesseller: it has no method grow(points, box)"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the type and parameters, and a digest of the code if it is a user's class."""
        own = type(self).__mro__[: type(self).__mro__.index(Tesseller)]
        users = [cls for cls in own if cls.__module__.split(".")[0] != __name__.split(".")[0]]
        code = [
            {
                name: canonical(value)
                for name, value in vars(cls).items()
                if isinstance(value, types.FunctionType) and not name.startswith("__")
            }
            for cls in users
        ]
        return super().to_dict() | ({"code": code} if users else {})

    def _increment(self, calibration: Calibration, xy: np.ndarray, box: np.ndarray) -> float:
        """Return the edge of square (cubic) cells, checked against the region."""
        extent = np.ptp(xy, axis=0)
        if calibration.avg_probability:
            wide = extent[extent > 0]
            if not len(wide):
                raise SegmentationError(
                    "all points are at the same place: the count criterion cannot size the cells; "
                    "set a resolution"
                )
            increment = float(np.prod(wide) * calibration.avg_probability) ** (1 / len(wide))
            increment = max(increment, calibration.min_distance or 0.0)
        else:
            increment = self._distance(calibration, box)
        check_cell_count(extent, increment)
        return increment

    def _distance(self, calibration: Calibration, box: np.ndarray) -> float:
        """Return the distance between centers, checked against the region's extent."""
        distance = calibration.avg_distance
        if not distance:
            raise SegmentationError(
                f"{type(self).__name__} cannot choose a resolution: the data have no displacement; "
                "set `resolution` (µm) or `avg_location_count`"
            )
        size = box[1] - box[0]
        given = self.resolution is not None or self.avg_distance is not None
        if given and distance > size.max():
            shown = " × ".join(f"{s:.3g}" for s in size)
            raise SegmentationError(
                f"resolution {distance:g} µm exceeds the region's extent {shown} µm; "
                f"choose one below {size.max():.3g} µm"
            )
        return distance
