"""GWR: cells of a gas of nodes that grows when required."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from ..component import boolean, count, fraction, non_negative, one_of, optional, positive, setting
from ..errors import SegmentationError, SpecificationError
from .calibration import Tesseller
from .gas import Gas, Rates, train
from .locating import nearest
from .tessellation import SPACE, Tessellation, coordinates
from .voronoi import Cells, clipped_voronoi

__all__ = ["GWR"]

TOPOLOGIES = ("displacement length", "approximate density")
NEIGHBOURS = 20
BLOCK = 65_536
MAX_CUBES = 4e18
# every point is drawn at least once with this probability in the least number of passes
DRAWN = 0.95


def _pair(inner: Any) -> Any:
    def check(name: str, value: Any) -> Any:
        if isinstance(value, tuple | list) and len(value) == 2:
            return tuple(None if v is None else inner(name, v) for v in value)
        return inner(name, value)

    return check


def _pass_count(name: str, value: Any) -> Any:
    if value is None or (isinstance(value, tuple | list) and not value):
        return None if value is None else ()
    found = _pair(positive)(name, value)
    if isinstance(found, tuple) and None not in found and found[0] > found[1]:
        raise SpecificationError(f"{name}: expected (least, most), got {value!r}")
    return found


def _batch_size(name: str, value: Any) -> int:
    if not count(name, value):
        raise SpecificationError(f"{name}: expected a whole number from 1 up, got {value!r}")
    return value if isinstance(value, int) else count(name, value)


def _growth(name: str, value: Any) -> float | None:
    return optional(non_negative)(name, value)


@dataclass(eq=False, repr=False)
class GWR(Tesseller):
    """Cells that are as small as the local translocations where data are dense, and larger elsewhere.

    Nodes are inserted where a point is farther from all of them than a local length, and
    move towards the points around them; they become the centers of the cells.

    Parameters
    ----------
    batch_size : int
        Points drawn between two checks whether growth has ended.
    tau : float or (float, float)
        Number of visits over which a node, and the neighbours of a node, settle.
    trust : float
        A new node is at ``(1 - l) * node + l * point``, with ``l = (1 + trust) / 2``.
    lifetime : float
        Age at which links break: visits, or below 1 a share of the number of nodes (at least 20).
    pass_count : (), float or (float, float)
        Least and greatest number of points drawn, in multiples of their number; the greatest is twice
        a single number. Default: so many that each point is drawn with a probability of 0.95.
    residual_factor : float
        A point is an error when farther than this times `avg_distance` from all nodes.
    error_count_tol : float
        Growth goes on while there are more errors in a batch: a number, or below 1 a share of the points.
    min_growth : float or None
        Growth ends when a batch adds a smaller share of nodes.
    min_distance : float, µm
        Linked nodes that are closer, relative to the local length, are merged after each batch;
        0 for none, None for 0.8 times the reference distance.
    collapse_tol : float or None
        Growth ends when more than this share of the nodes is merged.
    complete_delaunay : bool
        Whether all cells that touch are neighbours. Else those are whose nodes are linked, and those
        with no gap between their points.
    alpha_risk : float
        Level of the test (Welch's) for such a gap.
    topology : {'displacement length', 'approximate density'}, optional
        What the local length is: the median length of the translocations nearest to the point, or the
        distance to its neighbours. Default: the first if there are translocations.
    seed : int
    **parameters
        See `Tesseller`: `avg_distance` (the resolution) and `max_distance` (four times that) are twice the
        bounds of the local length; `min_location_count` (20) is the number of neighbours.

    Notes
    -----
    TRamWAy 0.7 shows points to the gas one by one. Here they are shown in mini-batches of as many
    points as there are nodes, in which the nearest node of each point is found for all at once, with
    nodes and links where they were at the beginning. All else is the result of the sequence: a point
    becomes a node unless one of the mini-batch before it is near; the moves of a node are composed in
    closed form, with the counters as they were at each; links age by the visits after their last
    renewal. As a node is nearest to one point per mini-batch, on average, little can change in between.
    The tests and the benchmark ``gwr`` compare both: the numbers of cells, counts per cell and
    distances between centers have the same distribution within that of TRamWAy's seeds.

    Two defects are not reproduced: TRamWAy fails for 1667 to 3333 points, and it now and then forgets
    to link a new node. The order of the rows does not matter.

    References
    ----------
    Marsland, S., Shapiro, J. and Nehmzow, U. (2002). A self-organising network that grows when
    required. Neural Networks 15, 1041-1058.

    Examples
    --------
    >>> import numpy as np
    >>> points = np.random.default_rng(0).random((1000, 2))
    >>> mesh = GWR(resolution=0.25).tessellate(points, box=[[0, 0], [1, 1]])
    >>> 20 < mesh.number_of_cells < 60
    True
    """

    batch_size: int = setting(10_000, check=_batch_size)
    tau: float | tuple[float, float] = setting(333.0, check=_pair(positive))
    trust: float = setting(1.0, check=fraction)
    lifetime: float = setting(0.05, check=positive)
    pass_count: Any = setting((), check=_pass_count)
    residual_factor: float = setting(0.7, check=positive)
    error_count_tol: float = setting(5e-3, check=non_negative)
    min_growth: float | None = setting(1e-4, check=_growth)
    min_distance: float | None = setting(0.0, check=optional(non_negative))
    collapse_tol: float | None = setting(0.01, check=_growth)
    complete_delaunay: bool = setting(True, check=boolean)
    alpha_risk: float = setting(1e-15, check=fraction)
    topology: str | None = setting(None, check=optional(one_of(*TOPOLOGIES)))
    seed: int = setting(0, check=count)

    lost: ClassVar[dict[str, str]] = {
        "verbose": "growth takes a moment",
        "stopping_criterion": "it was deprecated",
    }

    def _grow(self, points: Any, box: np.ndarray) -> Tessellation:
        xy, lengths = self._ordered(points)
        if (xy[0] == xy[-1]).all():
            raise SegmentationError("all points are at the same place: GWR needs two places at least")
        calibration = self.calibration(points)
        average = self._distance(calibration, box)
        widest = 4 * average if calibration.max_distance is None else calibration.max_distance
        if widest < average:
            raise SegmentationError(
                f"GWR: max_distance {widest:.3g} µm is smaller than avg_distance {average:.3g} µm"
            )
        threshold = local_radius(xy, lengths, average / 2, widest / 2, self._neighbours(len(xy)))
        merge = (calibration.min_distance or 0.0) / (average / 2)
        gas = train(xy, threshold, self._rates(len(xy), average, merge), np.random.default_rng(self.seed))
        cells = clipped_voronoi(gas.nodes, box)
        if not self.complete_delaunay:
            cells = self._linked(gas, cells, xy)
        return Tessellation.from_cells(gas.nodes, box, cells)

    def _neighbours(self, size: int) -> int:
        if self.min_probability is not None:
            return max(1, round(self.min_probability * size))
        return self.min_location_count or NEIGHBOURS

    def _ordered(self, points: Any) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the points in an order of their own, and the lengths of the translocations."""
        xy = coordinates(points)
        lengths = None
        if isinstance(points, pd.DataFrame) and self.topology != "approximate density":
            deltas = [f"d{c}" for c in SPACE if c in points.columns]
            if set(deltas) <= set(points.columns):
                lengths = np.sqrt((points[deltas].to_numpy(dtype=float) ** 2).sum(axis=1))
        if lengths is None and self.topology == "displacement length":
            raise SegmentationError(
                "GWR: the data have no displacements (columns dx, dy); set topology = 'approximate density'"
            )
        keys = [*xy.T[::-1]] if lengths is None else [lengths, *xy.T[::-1]]
        order = np.lexsort(keys)
        return np.ascontiguousarray(xy[order]), None if lengths is None else lengths[order]

    def _rates(self, size: int, average: float, merge: float) -> Rates:
        passes = self.pass_count
        if passes == ():
            passes = math.log(1 - DRAWN) / math.log(1 - 1 / size) / size
        least, most = passes if isinstance(passes, tuple) else (passes, passes and 2 * passes)
        return Rates(
            trust=self.trust,
            tau=self.tau if isinstance(self.tau, tuple) else (self.tau, self.tau),
            lifetime=self.lifetime,
            batch_size=self.batch_size,
            pass_count=(least, most),
            residual=self.residual_factor * average,
            error_count_tol=self.error_count_tol,
            min_growth=self.min_growth,
            merge_below=merge,
            merge_tol=self.collapse_tol,
        )

    def _linked(self, gas: Gas, cells: Cells, xy: np.ndarray) -> Cells:
        size = len(gas.nodes)
        linked = np.isin(cells.pairs @ [size, 1], gas.pairs @ [size, 1])
        index = nearest(xy, gas.nodes)
        linked[~linked] = touching(xy, index, gas.nodes, cells.pairs[~linked], self.alpha_risk)
        return Cells(cells.areas, cells.pairs[linked], cells.vertices, cells.polygon_offsets)


def touching(
    xy: np.ndarray, index: np.ndarray, centers: np.ndarray, pairs: np.ndarray, level: float, count: int = 10
) -> np.ndarray:
    """Tell for which pairs of cells there is no gap between their points.

    Of each cell the points farthest towards the other one are compared along the line between the
    centers, by Welch's test.

    Parameters
    ----------
    xy : ndarray (N, d), µm
    index : ndarray (N,) of int
        Cell of each point.
    centers : ndarray (m, d), µm
    pairs : ndarray (p, 2) of int
    level : float
        There is a gap if the test's p-value is not above.
    count : int
        Points of each cell that are compared, at most.

    Returns
    -------
    ndarray (p,) of bool
        False if one of the cells has fewer than 2 points.
    """
    from scipy.stats import ttest_ind_from_stats

    order = np.argsort(index, kind="stable")
    held = np.bincount(index, minlength=len(centers))
    start = np.cumsum(held) - held
    line = centers[pairs[:, 1]] - centers[pairs[:, 0]]
    described = []
    for side, sign in ((0, -1.0), (1, 1.0)):
        cells = pairs[:, side]
        repeats = held[cells]
        pair = np.repeat(np.arange(len(pairs)), repeats)
        stop = np.cumsum(repeats)
        within = np.arange(len(pair)) - np.repeat(stop - repeats, repeats)
        rows = order[start[cells][pair] + within]
        value = ((xy[rows] - centers[pairs[pair, 0]]) * line[pair]).sum(axis=1)
        # the rank within the pair: those nearest to the other cell come first
        value = value[np.lexsort((sign * value, pair))]
        taken = within < count
        pair, value = pair[taken], value[taken]
        number = np.minimum(repeats, count)
        mean = np.bincount(pair, weights=value, minlength=len(pairs)) / np.maximum(number, 1)
        square = np.bincount(pair, weights=(value - mean[pair]) ** 2, minlength=len(pairs))
        described.append((mean, np.sqrt(square / np.maximum(number - 1, 1)), number))
    (mean, deviation, number), (mean_2, deviation_2, number_2) = described
    enough = (number > 1) & (number_2 > 1)
    result = np.zeros(len(pairs), bool)
    some = enough & (deviation + deviation_2 > 0)
    if some.any():
        first, second = (
            (mean[some], deviation[some], number[some]),
            (
                mean_2[some],
                deviation_2[some],
                number_2[some],
            ),
        )
        result[some] = ttest_ind_from_stats(*first, *second, equal_var=False).pvalue > level
    return result


def local_radius(
    points: np.ndarray, lengths: np.ndarray | None, least: float, most: float, neighbours: int
) -> np.ndarray:
    """Return the local length scale at each point.

    In cubes with the diagonal `least` that hold more than `neighbours` points it is
    `least`. Elsewhere it is the median length of the translocations nearest to the
    point or, without lengths, the distance to the last of these neighbours.

    Parameters
    ----------
    points : ndarray (N, d), µm
    lengths : ndarray (N,), µm, optional
        Of the translocations.
    least, most : float, µm
    neighbours : int

    Returns
    -------
    ndarray (N,), µm
        Within `least` and `most`.

    Raises
    ------
    SegmentationError
        If `least` is too small for the extent of the points.
    """
    from scipy.spatial import cKDTree

    size, dimension = points.shape
    side = least / math.sqrt(dimension)
    if float(np.prod(np.ptp(points, axis=0) / side + 3)) > MAX_CUBES:
        raise SegmentationError(
            f"distance {2 * least:.3g} µm is too small for a region of this size; choose a larger resolution"
        )
    # a margin, so that no cube is beside one of the next row
    place = np.floor((points - points.min(axis=0)) / side).astype(np.int64) + 1
    strides = np.append(np.cumprod((place.max(axis=0) + 2)[:0:-1])[::-1], 1)
    cubes, cube, count = np.unique(place @ strides, return_inverse=True, return_counts=True)
    beside = np.zeros(len(cubes))
    for stride in (*strides, *-strides):
        found = np.minimum(np.searchsorted(cubes, cubes + stride), len(cubes) - 1)
        beside += np.where(cubes[found] == cubes + stride, count[found], 0)
    dense = count > neighbours
    filled = ~dense & (count > 2 * (neighbours + 1 - beside / (2 * dimension)))
    radius = np.full(size, least)
    # in a cube there is room for more neighbours than in the ball within
    volume = math.pi ** (dimension / 2) / math.gamma(dimension / 2 + 1) / 2**dimension
    wanted = 2 * round(neighbours / volume)
    reach = math.ceil(2 * most / side / volume) * side
    if lengths is None:
        rows = np.flatnonzero(~(dense | filled)[cube])
        for some in _blocks(rows):
            distance = cKDTree(points).query(points[some], k=[wanted + 1])[0][:, 0]
            radius[some] = np.where(distance <= reach, distance, most)
        return np.clip(radius, least, most)
    sparse = np.flatnonzero(~dense[cube])
    order = sparse[np.lexsort((lengths[sparse], cube[sparse]))]
    held = np.where(dense, 0, count)
    start = np.cumsum(held) - held
    own = np.zeros(len(cubes))
    some_cubes = np.flatnonzero(held)
    middles = [start[some_cubes] + (held[some_cubes] - shift) // 2 for shift in (1, 0)]
    own[some_cubes] = (lengths[order[middles[0]]] + lengths[order[middles[1]]]) / 2
    radius[sparse] = own[cube[sparse]]
    rows = np.flatnonzero(~(dense | filled)[cube])
    if len(rows) and len(sparse) >= wanted:
        tree = cKDTree(points[sparse])
        for some in _blocks(rows):
            distance, index = tree.query(points[some], k=wanted)
            near = distance[:, -1] <= reach
            radius[some[near]] = np.median(lengths[sparse[index[near]]], axis=1)
    return np.clip(radius, least, most)


def _blocks(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)]
