"""A gas of nodes that grows when required (Marsland et al., 2002), in mini-batches.

Plain arrays in, plain arrays out; `gwr` has the tesseller.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["Gas", "Rates", "neighbours_of", "pull", "train", "visits"]

# links are numbers: the lower node times this, plus the higher node
SHIFT = np.int64(1) << 31
SMALLEST = 32


@dataclass(frozen=True)
class Rates:
    """How nodes move, links age and growth ends; see `gwr.GWR` for the meaning."""

    trust: float
    tau: tuple[float, float]
    lifetime: float
    batch_size: int
    pass_count: tuple[float | None, float | None]
    residual: float
    error_count_tol: float
    min_growth: float | None
    merge_below: float
    merge_tol: float | None
    rates: tuple[float, float] = (0.2, 0.006)
    habituation: float = 1.05


@dataclass
class Gas:
    """Nodes and the links between them.

    Attributes
    ----------
    nodes : ndarray (m, d), µm
    counters : ndarray (m,) of int
        How often a node or a neighbour was the nearest one.
    radius : ndarray (m,), µm
        Insertion threshold at which a node was made.
    links : ndarray (e,) of int64
        Sorted; ``SHIFT * i + j`` for nodes i < j.
    ages : ndarray (e,) of int
    """

    nodes: np.ndarray
    counters: np.ndarray
    radius: np.ndarray
    links: np.ndarray
    ages: np.ndarray

    @classmethod
    def between(cls, first: np.ndarray, last: np.ndarray) -> Gas:
        """Return two linked nodes."""
        zeros = np.zeros(2, np.int64)
        link = np.array([1], np.int64)
        return cls(np.stack([first, last]), zeros, np.zeros(2), link, np.zeros(1, np.int64))

    @property
    def pairs(self) -> np.ndarray:
        """Linked nodes i < j, ndarray (e, 2)."""
        return np.column_stack(np.divmod(self.links, SHIFT))


def train(points: np.ndarray, threshold: np.ndarray, rates: Rates, rng: np.random.Generator) -> Gas:
    """Grow a gas on random samples of the points until it settles.

    Parameters
    ----------
    points : ndarray (N, d), µm
    threshold : ndarray (N,), µm
        Distance to the nearest node above which a point becomes a node.
    rates : Rates
    rng : Generator

    Returns
    -------
    Gas
    """
    size = len(points)
    gas = Gas.between(points[0], points[-1])
    least, most = rates.pass_count
    tolerated = rates.error_count_tol
    if tolerated < 1:
        tolerated = math.ceil(tolerated * size)
    drawn, previous = 0, 0
    while True:
        sample = rng.integers(size, size=rates.batch_size)
        errors = _batch(gas, points[sample], threshold[sample], rates)
        grown = len(gas.nodes)
        if rates.merge_below:
            _merge(gas, rates.merge_below)
        merged = grown - len(gas.nodes)
        growth = (grown - previous) / previous if previous else math.inf
        drawn, previous = drawn + rates.batch_size, grown
        if least is not None and drawn < least * size:
            continue
        if most is not None and drawn >= most * size:
            return gas
        if errors > tolerated:
            continue
        if rates.min_growth is not None and growth < rates.min_growth:
            return gas
        if rates.merge_below and rates.merge_tol and merged > rates.merge_tol * grown:
            return gas


def _batch(gas: Gas, sample: np.ndarray, threshold: np.ndarray, rates: Rates) -> int:
    """Show a sample to the gas; return for how many points the nearest node was too far."""
    errors, start = 0, 0
    while start < len(sample):
        # each node is nearest to one point, on average: all but in sequence
        stop = start + max(SMALLEST, len(gas.nodes))
        distance = _learn(gas, sample[start:stop], threshold[start:stop], rates)
        errors += int((distance > rates.residual).sum())
        start = stop
    return errors


def _learn(gas: Gas, sample: np.ndarray, threshold: np.ndarray, rates: Rates) -> np.ndarray:
    """Insert nodes, move nodes, renew and drop links; return the distances to the nearest node."""
    from scipy.spatial import cKDTree

    old = len(gas.nodes)
    distance, near = cKDTree(gas.nodes).query(sample, k=2)
    novel = np.flatnonzero(distance[:, 0] > threshold)
    inserted = novel[_first_come(sample[novel], threshold[novel])]
    if len(inserted):
        _insert(gas, sample, threshold, distance, near, inserted, rates.trust)
        refused = np.setdiff1d(novel, inserted, assume_unique=True)
        if len(refused):
            near[refused] = cKDTree(gas.nodes).query(sample[refused], k=2)[1]
    moving = np.ones(len(sample), bool)
    moving[inserted] = False
    _link(gas, near, inserted, moving, old)
    _move(gas, sample, near[:, 0], moving, rates)
    most = rates.lifetime
    if most < 1:
        most = max(20.0, most * len(gas.nodes))
    _forget(gas, gas.ages <= most)
    return distance[:, 0]


def _first_come(points: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Return a mask of the points that are taken, in their order, unless near to one taken before."""
    from scipy.spatial import cKDTree

    taken, open_ = np.zeros(len(points), bool), np.ones(len(points), bool)
    if len(points) < 2:
        return open_
    pairs = cKDTree(points).query_pairs(threshold.max(), output_type="ndarray")
    first, second = np.sort(pairs, axis=1).T
    close = ((points[first] - points[second]) ** 2).sum(axis=1) <= threshold[second] ** 2
    first, second = first[close], second[close]
    while open_.any():
        waiting = np.zeros_like(open_)
        waiting[second[open_[first]]] = True
        now = open_ & ~waiting
        taken |= now
        open_ &= ~now
        open_[second[now[first]]] = False
    return taken


def _insert(
    gas: Gas,
    sample: np.ndarray,
    threshold: np.ndarray,
    distance: np.ndarray,
    near: np.ndarray,
    inserted: np.ndarray,
    trust: float,
) -> None:
    """Append nodes; their two nearest ones may be among those appended before them."""
    from scipy.spatial import cKDTree

    old, more = len(gas.nodes), len(inserted)
    new = sample[inserted]
    if more > 1:
        width = min(8, more)
        apart, index = cKDTree(new).query(new, k=np.arange(1, width + 1))
        apart[index >= np.arange(more)[:, None]] = np.inf
        apart = np.concatenate([distance[inserted], apart], axis=1)
        both = np.argsort(apart, axis=1, kind="stable")[:, :2]
        choice = np.concatenate([near[inserted], index + old], axis=1)
        near[inserted] = np.take_along_axis(choice, both, axis=1)
    share = (1 + trust) / 2
    nodes = np.concatenate([gas.nodes, new])
    nodes[old:] = (1 - share) * nodes[near[inserted, 0]] + share * new
    gas.nodes = nodes
    gas.counters = np.append(gas.counters, np.zeros(more, np.int64))
    gas.radius = np.append(gas.radius, threshold[inserted])


def _link(gas: Gas, near: np.ndarray, inserted: np.ndarray, moving: np.ndarray, old: int) -> None:
    """Link the two nodes nearest to each point, or the new node to both; let links age."""
    low, high = near.min(axis=1), near.max(axis=1)
    between = low * SHIFT + high
    times = np.flatnonzero(moving)
    made = np.arange(old, old + len(inserted))
    renewed = np.concatenate([between[moving], *(near[inserted, k] * SHIFT + made for k in (0, 1))])
    times = np.concatenate([times, inserted, inserted])
    order = np.argsort(times, kind="stable")
    renewed, times = renewed[order], times[order]
    kept = np.isin(gas.links, between[inserted], invert=True)
    links, place = np.unique(np.concatenate([gas.links[kept], renewed]), return_inverse=True)
    known = int(kept.sum())
    ages = np.zeros(len(links), np.int64)
    ages[place[:known]] = gas.ages[kept]
    since = np.zeros(len(links), np.int64)
    ages[place[known:]] = 0
    # of several times the last one stays
    since[place[known:]] = times
    span = np.int64(len(near))
    wins = np.sort(near[:, 0] * span + np.arange(span))
    for end in np.divmod(links, SHIFT):
        ages += np.searchsorted(wins, (end + 1) * span) - np.searchsorted(wins, end * span + since)
    gas.links, gas.ages = links, ages


def _move(gas: Gas, sample: np.ndarray, nearest: np.ndarray, moving: np.ndarray, rates: Rates) -> None:
    """Move the nearest node of each point, and its neighbours, towards it, one point after the other."""
    size = len(gas.nodes)
    node, time, kind = visits(nearest, *neighbours_of(gas.pairs, size))
    number = np.bincount(node, minlength=size)
    count = gas.counters[node] + np.arange(len(node)) - (np.cumsum(number) - number)[node]
    alpha = rates.habituation
    fresh = 1 - (1 - np.exp(-alpha * count / np.asarray(rates.tau)[kind])) / alpha
    pull(gas.nodes, sample, node, time, np.where(moving[time], np.asarray(rates.rates)[kind] * fresh, 0.0))
    gas.counters += number


def neighbours_of(pairs: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where the neighbours of each node start, ndarray (size + 1,), and the neighbours."""
    ends = pairs.T.ravel()
    others = pairs[:, ::-1].T.ravel()[np.argsort(ends, kind="stable")]
    return np.append(0, np.cumsum(np.bincount(ends, minlength=size))), others


def visits(
    nearest: np.ndarray, start: np.ndarray, neighbours: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return which nodes each point visits: the nearest one, and its neighbours.

    Parameters
    ----------
    nearest : ndarray (B,) of int
    start, neighbours : ndarray
        As returned by `neighbours_of`.

    Returns
    -------
    node, time, kind : ndarray of int
        Sorted by node, then by the number of the point; the kind of neighbours is 1.
    """
    size = np.int64(len(nearest))
    repeats = (start[1:] - start[:-1])[nearest]
    stop = np.cumsum(repeats)
    within = np.arange(stop[-1]) - np.repeat(stop - repeats, repeats)
    node = np.concatenate([nearest, neighbours[np.repeat(start[nearest], repeats) + within]])
    time = np.concatenate([np.arange(size), np.repeat(np.arange(size), repeats)])
    order = np.argsort(node * size + time)
    return node[order], time[order], (order >= size).astype(np.intp)


def pull(nodes: np.ndarray, sample: np.ndarray, node: np.ndarray, time: np.ndarray, rate: np.ndarray) -> None:
    """Move nodes towards points, ``node += rate * (point - node)``, one visit after the other.

    The result of all visits to a node is a weighted mean, in closed form.

    Parameters
    ----------
    nodes : ndarray (m, d), µm
        Changed in place.
    sample : ndarray (B, d), µm
    node, time : ndarray (v,) of int
        Visits, sorted by node, then by time: the number of the point.
    rate : ndarray (v,)
        Below 1.
    """
    # each move leaves the share 1 - rate of what the moves before it did
    left = np.append(0.0, np.cumsum(np.log1p(-rate)))
    last = np.cumsum(np.bincount(node, minlength=len(nodes)))
    weight = rate * np.exp(left[last[node]] - left[1:])
    for axis, column in enumerate(nodes.T):
        steps = weight * (sample[time, axis] - column[node])
        nodes[:, axis] += np.bincount(node, weights=steps, minlength=len(nodes))


def _forget(gas: Gas, kept: np.ndarray) -> None:
    """Drop links, and the nodes that are left alone."""
    if kept.all():
        return
    gas.links, gas.ages = gas.links[kept], gas.ages[kept]
    low, high = np.divmod(gas.links, SHIFT)
    alive = np.zeros(len(gas.nodes), bool)
    alive[low] = alive[high] = True
    if alive.all():
        return
    number = np.cumsum(alive) - 1
    gas.links = number[low] * SHIFT + number[high]
    gas.nodes, gas.counters, gas.radius = gas.nodes[alive], gas.counters[alive], gas.radius[alive]


def _merge(gas: Gas, below: float) -> None:
    """Merge linked nodes closer than `below` times the larger of their radii, the closest first."""
    low, high = np.divmod(gas.links, SHIFT)
    apart = np.sqrt(((gas.nodes[low] - gas.nodes[high]) ** 2).sum(axis=1))
    some = np.flatnonzero(apart < below * np.maximum(gas.radius[low], gas.radius[high]))
    some = some[np.argsort(apart[some], kind="stable")]
    low, high = low[some], high[some]
    target = np.arange(len(gas.nodes))
    free = np.ones(len(gas.nodes), bool)
    rank = np.arange(len(some))
    while len(rank):
        best = np.full(len(gas.nodes), len(some))
        np.minimum.at(best, low[rank], rank)
        np.minimum.at(best, high[rank], rank)
        chosen = rank[(best[low[rank]] == rank) & (best[high[rank]] == rank)]
        target[high[chosen]] = low[chosen]
        free[low[chosen]] = free[high[chosen]] = False
        rank = rank[free[low[rank]] & free[high[rank]]]
    gone = np.flatnonzero(target != np.arange(len(target)))
    if not len(gone):
        return
    gas.nodes[target[gone]] = (gas.nodes[target[gone]] + gas.nodes[gone]) / 2
    ends = np.sort(target[gas.pairs], axis=1)
    real = ends[:, 0] != ends[:, 1]
    links, place = np.unique(ends[real, 0] * SHIFT + ends[real, 1], return_inverse=True)
    ages = np.full(len(links), np.iinfo(np.int64).max)
    np.minimum.at(ages, place, gas.ages[real])
    gas.links, gas.ages = np.append(links, 0), np.append(ages, 0)
    # the link 0 joins nothing: it marks that nodes may have to go
    _forget(gas, gas.links > 0)
