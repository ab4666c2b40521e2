"""Newton's method for the coupled models, with lower bounds on the diffusivity.

The exact Hessian is used where it is positive definite, else one whose likelihood part is made
so cell by cell. A step is projected on the bounds, and shortened until the objective decreases.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .pattern import Factor, Pattern

__all__ = ["CONVERGED", "EXHAUSTED", "INTERRUPTED", "Optimum", "Problem", "minimize"]

FloatArray = NDArray[Any]
BoolArray = NDArray[Any]

CONVERGED = "converged"
EXHAUSTED = "the limit of iterations was reached"
INTERRUPTED = "INTERRUPTED"

# relative to the diagonal: keeps directions that the data do not determine from moving
_RIDGE = 1e-9
_FIXED = 1e12
# limits to what a step does to D·Δt + σ² in each cell: beyond, the quadratic model means nothing
_SHRINK, _GROW = 0.2, 10.0


class Problem(Protocol):
    """An objective of D (its first `cells` unknowns) and possibly more."""

    cells: int
    pattern: Pattern
    bound: FloatArray
    infimum: FloatArray
    pinned: FloatArray

    def value(self, x: FloatArray) -> float:
        """Return the objective."""

    def derivatives(self, x: FloatArray) -> tuple[float, FloatArray, Any]:
        """Return the objective, its gradient, and what `hessian` needs."""

    def hessian(self, state: Any, *, exact: bool) -> FloatArray:
        """Return the Hessian, or a positive definite substitute, as `pattern` assembles it."""

    def curvature(self, state: Any) -> FloatArray:
        """Return the diagonal of the positive definite substitute."""


@dataclass(frozen=True, eq=False)
class Optimum:
    """Where the iteration ended.

    Attributes
    ----------
    x : (N,) float
    objective : float
    gradient_norm : float
        Largest component of the projected gradient, each relative to the square root of the
        curvature along it: a distance to the optimum in units of standard errors.
    iterations : int
    converged : bool
    message : str
    at_bound : (m,) bool
        Diffusivities that the bound stopped.
    """

    x: FloatArray
    objective: float
    gradient_norm: float
    iterations: int
    converged: bool
    message: str
    at_bound: BoolArray


def _near_bound(problem: Problem, x: FloatArray) -> BoolArray:
    bound = np.where(np.isfinite(problem.bound), problem.bound, -1e300)
    return x[: problem.cells] - bound <= np.where(bound > -1e300, 1e-9 * np.abs(bound) + 1e-15, -1.0)


def regular(
    pattern: Pattern, matrix: FloatArray, pinned: FloatArray, fixed: BoolArray, ridge: float
) -> FloatArray:
    """Return the matrix with pinned gauges, fixed unknowns and a relative ridge on its diagonal."""
    diagonal = pattern.diagonal(matrix)
    typical = np.abs(diagonal).max(initial=0.0) or 1.0
    scale = np.where(diagonal > 1e-20 * typical, diagonal, typical)
    extra = scale * (ridge + pinned)
    extra[diagonal <= 1e-20 * typical] += typical
    extra[: len(fixed)] += np.where(fixed, _FIXED * scale[: len(fixed)], 0.0)
    return pattern.add_diagonal(matrix, extra)


def regular_factor(
    problem: Problem, state: Any, fixed: BoolArray, *, exact: bool, ridge: float
) -> tuple[FloatArray, Factor | None]:
    """Return the regular Hessian, see `regular`, and its factor if it is positive definite."""
    hessian = problem.hessian(state, exact=exact)
    diagonal = problem.pattern.diagonal(hessian)
    # `regular` would hide a negative diagonal, which only the substitute can mend
    if exact and (diagonal < -1e-14 * np.abs(diagonal).max(initial=0.0)).any():
        return hessian, None
    matrix = regular(problem.pattern, hessian, problem.pinned, fixed, ridge)
    return matrix, problem.pattern.factor(matrix)


def _direction(
    problem: Problem, state: Any, gradient: FloatArray, fixed: BoolArray, damping: float
) -> FloatArray:
    right = gradient.copy()
    right[: problem.cells][fixed] = 0.0
    for exact, ridge in ((True, damping), (False, damping), (False, 1e-6), (False, 1e-2), (False, 1.0)):
        _, factor = regular_factor(problem, state, fixed, exact=exact, ridge=ridge)
        if factor is not None:
            step = -factor.solve(right)
            if np.isfinite(step).all() and step @ right < 0:
                step[: problem.cells][fixed] = 0.0
                return step
    return -right / np.maximum(problem.curvature(state), 1e-300)


def _projected_norm(problem: Problem, state: Any, gradient: FloatArray, fixed: BoolArray) -> float:
    diagonal = problem.curvature(state)
    scaled = np.abs(gradient) / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    scaled[: problem.cells][fixed] = 0.0
    return float(scaled.max(initial=0.0))


def _search(
    problem: Problem, x: FloatArray, value: float, gradient: FloatArray, step: FloatArray
) -> FloatArray | None:
    m = problem.cells
    room = x[:m] - problem.infimum
    floor = np.maximum(problem.bound, problem.infimum + _SHRINK * room)
    ceiling = problem.infimum + _GROW * room
    length = 1.0
    noise = 1e-13 * abs(value)
    for _ in range(40):
        trial = x + length * step
        trial[:m] = np.clip(trial[:m], floor, np.maximum(ceiling, floor))
        slope = gradient @ (trial - x)
        if slope < 0 and problem.value(trial) <= value + 1e-4 * slope + noise:
            return trial
        length /= 2
    return None


def minimize(
    problem: Problem,
    x0: FloatArray,
    *,
    gtol: float = 1e-6,
    ftol: float | None = None,
    max_iter: int = 200,
    max_runtime: float | None = None,
) -> Optimum:
    """Minimize the negative log posterior of a coupled model.

    Parameters
    ----------
    problem : Problem
    x0 : (N,) float
        Start, within the bounds.
    gtol : float
        Converged when the projected gradient (see `Optimum`) is below this.
    ftol : float, optional
        Converged, too, when a step is predicted to lower the objective by less than this;
        by default, less than its rounding error.
    max_iter : int
    max_runtime : float, optional, s
    """
    began = time.perf_counter()
    x = np.array(x0, dtype=float)
    m = problem.cells
    inside = problem.infimum + 1e-9 * np.abs(problem.infimum) + 1e-12
    x[:m] = np.maximum(x[:m], np.maximum(problem.bound, inside))
    message, converged, iteration = EXHAUSTED, False, 0
    norm = np.inf
    value, gradient, state = problem.derivatives(x)
    fixed = _near_bound(problem, x) & (gradient[:m] > 0)
    for iteration in range(max_iter + 1):
        fixed = _near_bound(problem, x) & (gradient[:m] > 0)
        norm = _projected_norm(problem, state, gradient, fixed)
        if norm <= gtol:
            message, converged = CONVERGED, True
            break
        if iteration == max_iter:
            break
        if max_runtime is not None and time.perf_counter() - began > max_runtime:
            message = INTERRUPTED
            break
        step = _direction(problem, state, gradient, fixed, _RIDGE)
        free = gradient.copy()
        free[:m][fixed] = 0.0
        decrease = -0.5 * float(step @ free)
        trial = _search(problem, x, value, gradient, step)
        least = 1e-14 * abs(value) if ftol is None else ftol
        if trial is None:
            converged = decrease <= max(least, 1e-9)
            message = CONVERGED if converged else "no step lowers the objective"
            break
        x = trial
        value, gradient, state = problem.derivatives(x)
        if decrease <= least:
            fixed = _near_bound(problem, x) & (gradient[:m] > 0)
            norm = _projected_norm(problem, state, gradient, fixed)
            iteration, message, converged = iteration + 1, CONVERGED, True
            break
    return Optimum(x, value, norm, iteration, converged, message, fixed)
