"""The choice of prior weights: search for the largest evidence, its curve, and cross-validation.

The search scans each weight by decades, the others held, from strong to weak, then follows the
gradient of the evidence in all of them. Each mode of the posterior starts at the one before, so that
an evaluation costs a few Newton iterations.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InferenceError
from .evidence import Evidence, Point, Tunable
from .folds import without_folds
from .inputs import Inputs
from .likelihood import Groups
from .newton import minimize

__all__ = ["AUTO", "Selection", "choose", "cross_validate", "select"]

AUTO = "auto"

FloatArray = NDArray[Any]

logger = logging.getLogger(__name__)

# decades around the weight at which prior and data are equally strong between neighbours
_WEAKEST, _STRONGEST = -4.0, 2.0
_CURVE = (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0)
# decades from one evidence of a scan to the next
_STRIDE = 1.5
# decades around the chosen weight that are cross-validated
_TRIED = (-1.0, 1.0)
# nats below the best, twice in a row, that end a scan
_GIVE_UP = 10.0
# nats that a last step may still gain, steps, and a curvature for weights that hardly matter
_GAIN, _CLIMBS, _LEAST_BEND = 0.02, 15, 0.1
# distance to a limit, in e-folds, that counts as none
_END = 0.05


@dataclass(frozen=True, eq=False)
class Selection:
    """Chosen prior weights, and why.

    Attributes
    ----------
    weights : dict of str to float
        By the name of the parameter.
    flags : dict of str to str
        What the user must know of a weight: that it is at an end of its range, or a substitute.
    curves : dict of str to dict
        Per parameter, ``weight`` and ``log_evidence`` (relative to the largest), the other weights
        being at their chosen values.
    evaluations, iterations : int
        Evidences computed, and Newton iterations that they took.
    cross_validation : dict or None
        See `cross_validate`.
    """

    weights: dict[str, float]
    flags: dict[str, str] = field(default_factory=dict)
    curves: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    evaluations: int = 0
    iterations: int = 0
    cross_validation: dict[str, Any] | None = None

    def report(self) -> dict[str, Any]:
        """Return it as the attribute of maps."""
        about: dict[str, Any] = {
            "weights": self.weights,
            "flags": self.flags,
            "evidence": self.curves,
            "evaluations": self.evaluations,
            "iterations": self.iterations,
        }
        if self.cross_validation is not None:
            about["cross_validation"] = self.cross_validation
        return about


def choose(model: Tunable, inputs: Inputs, *, void: Sequence[str] = (), folds: int = 0) -> Selection:
    """Choose the weights of a model's terms, and cross-validate the choice; see `select`.

    Parameters
    ----------
    model : Tunable
    inputs : Inputs
        Of the model.
    void : sequence of str
    folds : int
        Of trajectories; 0 for no cross-validation.
    """
    selection = select(model, void)
    if not (folds and selection.curves):
        return selection
    try:
        checked = cross_validate(model, selection, without_folds(inputs, model.groups, folds))
    except InferenceError as error:
        checked = {"folds": 0, "curves": {}, "agrees": None, "message": str(error)}
    if checked["agrees"] is False:
        logger.warning("%s: cross-validation prefers other weights", ", ".join(selection.curves))
    return replace(selection, cross_validation=checked)


def select(model: Tunable, void: Sequence[str] = ()) -> Selection:
    """Choose the weights of a model's terms by their evidence.

    A weight for which the evidence still grows at an end of its range is that end; where no evidence can
    be computed, weights make prior and data equally strong between neighbours. Both are flagged, and
    logged, as are the parameters `void` that have no effect and get weight 0.
    """
    names = [t.name for t in model.terms]
    flags = dict.fromkeys(void, "no two cells are linked: the prior has no effect")
    weights = dict.fromkeys(void, 0.0)
    if not names:
        return Selection(weights, _told(flags))
    centre = _balance(model)
    if not np.isfinite(centre).all():
        flags |= dict.fromkeys(names, "the data have no spread: the weight is a substitute")
        return Selection(weights | dict.fromkeys(names, 1.0), _told(flags))
    search = _Search(model, centre)
    best = search.run()
    if best is None:
        flags |= dict.fromkeys(names, "the evidence could not be computed: the weight is a substitute")
        weights |= {n: _round(np.exp(c)) for n, c in zip(names, centre, strict=True)}
        return Selection(weights, _told(flags), {}, len(search.seen), search.evidence.iterations)
    weights |= {n: _round(w) for n, w in zip(names, np.exp(best.theta), strict=True)}
    for n, theta, low, high in zip(names, best.theta, search.low, search.high, strict=True):
        if theta > high - _END:
            flags[n] = "upper limit: the evidence still grows, the data do not tell the map from a flat one"
        elif theta < low + _END:
            flags[n] = "lower limit: the evidence still grows, neighbouring cells are unlike each other"
    curves = {n: search.curve(k, best) for k, n in enumerate(names)}
    return Selection(weights, _told(flags), curves, len(search.seen), search.evidence.iterations)


def _told(flags: dict[str, str]) -> dict[str, str]:
    for name, reason in flags.items():
        logger.warning("%s='auto': %s", name, reason)
    return flags


def _round(weight: float) -> float:
    # three digits are more than the evidence tells, and are the same on every machine
    return float(f"{weight:.3g}")


def _balance(model: Tunable) -> FloatArray:
    """Return logarithms of the weights at which a form is as strong as the data."""
    problem = model.problem(np.zeros(len(model.terms)))
    m = model.groups.size
    _, _, state = problem.derivatives(model.start)
    curvature = problem.curvature(state)
    balance = []
    for t in model.terms:
        own, diagonal = curvature[t.block * m : (t.block + 1) * m], 2 * t.form.diagonal()
        usable = (own > 0) & (diagonal > 0) & np.isfinite(own)
        balance.append(np.median(own[usable]) / np.median(diagonal[usable]) if usable.any() else np.nan)
    return np.log(balance)


class _Search:
    def __init__(self, model: Tunable, centre: FloatArray) -> None:
        self.evidence, self.x0 = Evidence(model, centre), model.start
        self.seen: list[Point] = []
        decade = np.log(10.0)
        self.theta = centre.copy()
        self.low = centre + _WEAKEST * decade
        self.high = centre + (_STRONGEST + max(2.0, np.log10(model.groups.size))) * decade
        self.best: Point | None = None
        self.bend = np.full(len(centre), _LEAST_BEND)

    def _at(self, theta: FloatArray, x: FloatArray, *, slope: bool = False) -> Point:
        point = self.evidence.at(theta, x, slope=slope)
        self.seen.append(point)
        if np.isfinite(point.value) and (self.best is None or point.value > self.best.value):
            self.best = point
        return point

    def run(self) -> Point | None:
        x = self.x0
        for k in range(len(self.theta)):
            found = self._scan(k, x)
            if found is not None:
                self.theta, x = found.theta, found.x
        return None if self.best is None else self._climb(self.best)

    def _scan(self, k: int, x: FloatArray) -> Point | None:
        stride = _STRIDE * np.log(10.0)
        seen: list[Point] = []
        for value in np.arange(self.high[k], self.low[k] - 0.01, -stride):
            theta = self.theta.copy()
            theta[k] = value
            seen.append(self._at(theta, x))
            x = seen[-1].x
            values = np.nan_to_num([p.value for p in seen], nan=-np.inf)
            if len(values) > 2 and (values[-2:] < values.max() - _GIVE_UP).all():
                break
        top = int(values.argmax())
        if not np.isfinite(values[top]):
            return None
        if 0 < top < len(values) - 1 and np.isfinite(values[[top - 1, top + 1]]).all():
            bend = (2 * values[top] - values[top - 1] - values[top + 1]) / stride**2
            self.bend[k] = bend if bend > self.bend[k] else self.bend[k]
        return seen[top]

    def _climb(self, at: Point) -> Point:
        """Follow the gradient by quasi-Newton steps, first scaled by the curvature that the scans saw."""
        point = self._at(at.theta, at.x, slope=True)
        inverse = np.diag(1 / self.bend)
        for _ in range(_CLIMBS):
            if point.slope is None:
                break
            outward = np.where(point.slope > 0, point.theta >= self.high, point.theta <= self.low)
            uphill = np.where(outward, 0.0, point.slope)
            step = inverse @ uphill
            step *= min(1.0, _STRIDE * np.log(10.0) / max(np.abs(step).max(), 1e-300))
            if step @ uphill < _GAIN:
                break
            for _ in range(4):
                theta = np.clip(point.theta + step, self.low, self.high)
                trial = self._at(theta, point.x, slope=True)
                if trial.slope is not None and trial.value > point.value:
                    break
                step = step / 4
            else:
                break
            moved, turned = trial.theta - point.theta, point.slope - trial.slope
            if moved @ turned > 1e-12:
                inverse = _updated(inverse, moved, turned)
            point = trial
        assert self.best is not None
        return self.best

    def curve(self, k: int, best: Point) -> dict[str, list[float]]:
        others = np.arange(len(best.theta)) != k
        for side in (-1, 1):
            x = best.x
            for decades in sorted((c for c in _CURVE if c * side > 0), key=abs):
                theta = best.theta.copy()
                theta[k] += decades * np.log(10.0)
                x = self._at(theta, x).x
        # all on this line, which is every one if there is one weight
        seen = [p for p in self.seen if np.isfinite(p.value) and (p.theta == best.theta)[others].all()]
        apart = [p for p in seen if abs(p.theta[k] - best.theta[k]) > _END]
        values = {float(p.theta[k]): p.value - best.value for p in [best, *apart]}
        order = sorted(values)
        return {
            "weight": [float(np.exp(t)) for t in order],
            "log_evidence": [float(values[t]) for t in order],
        }


def _updated(inverse: FloatArray, moved: FloatArray, turned: FloatArray) -> FloatArray:
    """Return the inverse Hessian after a step, by the rule of Broyden, Fletcher, Goldfarb and Shanno."""
    rho = 1 / (moved @ turned)
    left = np.eye(len(moved)) - rho * np.outer(moved, turned)
    return left @ inverse @ left.T + rho * np.outer(moved, moved)


def cross_validate(model: Tunable, selection: Selection, parts: Sequence[Groups]) -> dict[str, Any]:
    """Return how well maps of a part of the data predict the rest, around the chosen weights.

    Parameters
    ----------
    model : Tunable
    selection : Selection
    parts : sequence of Groups
        Sums without each fold of trajectories.

    Returns
    -------
    dict
        ``folds``; ``curves``, for D and for V, whose weights in space and time go together, by the name of the
        first the ``weight``, the ``score`` (log probability of the
        left-out translocations, relative to that of the chosen weights) and its standard ``error``
        over the folds; ``agrees``, whether no weight ten times smaller or larger is significantly
        better (by two standard errors). With a part of the data, somewhat stronger priors do best.
    """
    chosen = np.log([selection.weights[t.name] for t in model.terms])
    blocks = np.array([t.block for t in model.terms])
    first = {model.terms[k].name: int(k) for k in np.unique(blocks, return_index=True)[1]}
    lines = {
        name: [chosen + d * np.log(10.0) * (blocks == blocks[k]) for d in _TRIED] for name, k in first.items()
    }
    losses = {name: np.empty((len(parts), len(_TRIED))) for name in lines}
    for i, part in enumerate(parts):
        x, loss = _predict(model, part, chosen, model.start)
        for name, line in lines.items():
            for j, theta in enumerate(line):
                losses[name][i, j] = _predict(model, part, theta, x)[1] - loss
    curves, agrees = {}, True
    for name, more in losses.items():
        k = first[name]
        score, error = -more.sum(axis=0), np.sqrt(len(parts)) * more.std(axis=0, ddof=1)
        agrees &= bool((score <= 2 * error).all())
        weight = np.exp([theta[k] for theta in lines[name]])
        table = np.array([[*weight, np.exp(chosen[k])], [*score, 0.0], [*error, 0.0]])
        table = table[:, np.argsort(table[0])]
        curves[name] = dict(zip(("weight", "score", "error"), table.tolist(), strict=True))
    return {"folds": len(parts), "curves": curves, "agrees": agrees}


def _predict(model: Tunable, part: Groups, theta: FloatArray, x0: FloatArray) -> tuple[FloatArray, float]:
    optimum = minimize(model.problem(np.exp(theta), part), x0, gtol=1e-2)
    return optimum.x, float(model.loss(model.groups, part, optimum.x).sum())
