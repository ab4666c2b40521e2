"""Prior weights by the evidence: the probability of the data with the maps integrated out.

With weights w_k of the quadratic forms xᵀQ_k x, and the mode x̂ of the posterior, Laplace's
approximation of the log evidence is, up to a constant [1]_::

    log Z(w) = −J(x̂; w) + ½ Σ_b log|2 Σ_k w_k Q_k| − ½ log|H(x̂; w)|

The second term normalizes the priors, block of unknowns b (diffusivities, potentials) by block:
it is the log determinant outside the null space, since a prior on roughness does not tell levels.
With a single form in a block it is ½ rank(Q) log w. The gauge of the potential, which neither
prior nor data tell, is pinned in H. Derivatives by θ = log w are exact: x̂ moves along
dx̂ = −H⁻¹ 2 w_k Q_k x̂ dθ_k, so that the change of log|H| is that along this direction.

References
----------
.. [1] D. MacKay, "Bayesian interpolation", Neural Computation 4:415–447, 1992.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .likelihood import Groups
from .newton import Optimum, Problem, minimize
from .pattern import CellOrder, Factor, matrix_pattern

if TYPE_CHECKING:
    import scipy.sparse as sp

__all__ = ["Combination", "Evidence", "Point", "Term", "Tunable"]

FloatArray = NDArray[Any]
BoolArray = NDArray[Any]

# ridge relative to the largest diagonal entry: below any curvature that counts, above rounding
_NULL = 1e-11
# in log w, for the derivative of log|H|: much below its scale, and above its rounding error
_STEP = 1e-4
_GTOL = 1e-4


@dataclass(frozen=True, eq=False)
class Term:
    """A quadratic form whose weight is to be chosen.

    Attributes
    ----------
    name : str
        Parameter of the model.
    form : (m, m) sparse
    block : int
        0 for the diffusivities, 1 for the potentials.
    """

    name: str
    form: sp.csr_array
    block: int = 0

    @property
    def effective(self) -> bool:
        """Whether any two cells are linked."""
        return bool(np.any(self.form.data != 0))


@dataclass(frozen=True, eq=False)
class Point:
    """The evidence at some weights.

    Attributes
    ----------
    theta : (K,) float
        Logarithms of the weights.
    value : float
        Log evidence, up to a constant; NaN where it could not be determined.
    slope : (K,) float or None
        Derivatives by `theta`.
    x : (N,) float
        Mode of the posterior.
    """

    theta: FloatArray
    value: float
    slope: FloatArray | None
    x: FloatArray


class Combination:
    """Weighted sums of forms, on the sparsity pattern that they have in common.

    Parameters
    ----------
    forms : sequence of (m, m) sparse
    """

    def __init__(self, forms: Sequence[sp.csr_array]) -> None:
        import scipy.sparse as sp

        entries = [q.tocoo() for q in forms]
        self.size = forms[0].shape[0]
        keys = [q.row.astype(np.int64) * self.size + q.col for q in entries]
        union = np.unique(np.concatenate(keys))
        self.rows, self.cols = union // self.size, union % self.size
        self.values = np.stack(
            [
                np.bincount(np.searchsorted(union, k), weights=q.data, minlength=len(union))
                for k, q in zip(keys, entries, strict=True)
            ]
        )
        indptr = np.searchsorted(self.rows, np.arange(self.size + 1))
        self._empty = sp.csr_array((np.zeros(len(union)), self.cols, indptr), shape=forms[0].shape)

    def total(self, weights: FloatArray) -> sp.csr_array:
        """Return Σ_k w_k Q_k; zeros stay stored."""
        total = self._empty.copy()
        total.data = weights @ self.values
        return total


class Tunable:
    """A coupled model as a function of its prior weights, and of the sums it is inferred from.

    Parameters
    ----------
    groups : Groups
    terms : sequence of Term
        Forms whose weights are to be chosen.
    given : sequence of (Term, weight)
        Forms with weights that the user has set.
    order : CellOrder
    problem : callable
        ``problem(groups, *penalties)``, one penalty (or None) per block of unknowns.
    start : (N,) float
        Where the iteration starts.
    loss : callable
        ``loss(whole, part, x)`` returns minus the log probability per cell of the translocations that
        are in `whole` and not in `part`, given those in `part` and their map.
    """

    def __init__(
        self,
        groups: Groups,
        terms: Sequence[Term],
        given: Sequence[tuple[Term, float]] = (),
        *,
        order: CellOrder,
        problem: Callable[..., Any],
        start: FloatArray,
        loss: Callable[[Groups, Groups, FloatArray], FloatArray],
    ) -> None:
        self.groups, self.terms, self.order, self.start, self.loss = groups, list(terms), order, start, loss
        self._problem = problem
        self._fixed = [w for _, w in given]
        self.blocks = []
        for block in range(len(start) // groups.size):
            free = [k for k, t in enumerate(self.terms) if t.block == block]
            fixed = [k for k, (t, _) in enumerate(given) if t.block == block]
            forms = [self.terms[k].form for k in free] + [given[k][0].form for k in fixed]
            weights = np.array([self._fixed[k] for k in fixed])
            self.blocks.append((free, weights, Combination(forms) if forms else None))
        self._held: tuple[Groups, Any] | None = None

    def problem(self, weights: FloatArray, groups: Groups | None = None) -> Any:
        """Return the posterior with weights (K,) of the terms."""
        groups = self.groups if groups is None else groups
        penalties = [
            None if forms is None else forms.total(np.concatenate([weights[free], fixed]))
            for free, fixed, forms in self.blocks
        ]
        if self._held is None or self._held[0] is not groups:
            self._held = groups, self._problem(groups, *penalties)
        return self._held[1].reweighted(*penalties)


class _Normalizer:
    """log|Σ_k w_k Q_k| of the priors of one block, outside their null space."""

    def __init__(self, forms: Combination, order: CellOrder) -> None:
        self._forms = forms
        self._pattern = matrix_pattern(order, 1, forms.rows, forms.cols)
        diagonal = forms.rows == forms.cols
        self._scales = forms.values[:, diagonal].max(axis=1, initial=0.0)
        low, high = (self._log_determinant(1 / self._scales, r * _NULL) for r in (1.0, 10.0))
        # an eigenvalue below the ridge adds the logarithm of the ridge
        self.nullity = round((high - low) / np.log(10.0))
        self.rank = forms.size - self.nullity

    def _factor(self, weights: FloatArray, ridge: float) -> Factor | None:
        matrix = self._pattern.assemble(weights @ self._forms.values)
        return self._pattern.factor(self._pattern.add_diagonal(matrix, np.full(self._forms.size, ridge)))

    def _log_determinant(self, weights: FloatArray, ridge: float) -> float:
        factor = self._factor(weights, ridge)
        return np.nan if factor is None else factor.logdet()

    def value(self, weights: FloatArray) -> float:
        if len(weights) == 1:
            return float(self.rank * np.log(weights[0]))
        ridge = _NULL * float(weights @ self._scales)
        return self._log_determinant(weights, ridge) - self.nullity * np.log(ridge)

    def slopes(self, weights: FloatArray) -> FloatArray:
        """Return the derivatives by the logarithms of the weights: tr (Σ_l w_l Q_l)⁻¹ w_k Q_k."""
        if len(weights) == 1:
            return np.array([float(self.rank)])
        factor = self._factor(weights, _NULL * float(weights @ self._scales))
        if factor is None:
            return np.full(len(weights), np.nan)
        entries = factor.inverse_entries(self._forms.rows, self._forms.cols)
        return weights * (self._forms.values @ entries)


class Evidence:
    """Log evidence of a model as a function of the logarithms of its prior weights.

    Parameters
    ----------
    model : Tunable
    centre : (K,) float
        Logarithms of weights at which priors and data are of equal strength.
    """

    def __init__(self, model: Tunable, centre: FloatArray) -> None:
        self.model = model
        self.iterations = 0
        self._blocks = [
            (free, fixed, _Normalizer(forms, model.order))
            for free, fixed, forms in model.blocks
            if free and forms is not None
        ]
        m = len(model.start)
        # what neither prior nor data tell is among the last block of unknowns
        self._last = slice(m - model.groups.size, m)
        self._free = self._undetermined(centre)

    @property
    def ranks(self) -> list[int]:
        """Directions in which the priors of each block tell something."""
        return [n.rank for _, _, n in self._blocks]

    def _normalization(self, theta: FloatArray) -> float:
        total = 0.0
        for own, fixed, normalizer in self._blocks:
            total += normalizer.value(np.concatenate([np.exp(theta[own]), fixed]))
        return 0.5 * total

    def _slopes_of_normalization(self, theta: FloatArray) -> FloatArray:
        slopes = np.zeros(len(theta))
        for own, fixed, normalizer in self._blocks:
            both = normalizer.slopes(np.concatenate([np.exp(theta[own]), fixed]))
            slopes[own] = 0.5 * both[: len(own)]
        return slopes

    def _slope_of_prior(self, k: int, x: FloatArray) -> FloatArray:
        slope = np.zeros_like(x)
        term, m = self.model.terms[k], self.model.groups.size
        block = slice(term.block * m, (term.block + 1) * m)
        slope[block] = 2 * (term.form @ x[block])
        return slope

    def _matrix(
        self, problem: Problem, state: Any, fixed: BoolArray, *, exact: bool
    ) -> tuple[FloatArray, float, float]:
        """Return the Hessian with pinned gauges, the log of what pins add, and the scale of a ridge."""
        matrix = problem.hessian(state, exact=exact)
        diagonal = problem.pattern.diagonal(matrix)
        typical = problem.curvature(state)
        scale = float(typical[self._last].max())
        extra = problem.pinned * scale
        # an unknown at its bound is at no minimum: its curvature may be negative
        at_bound = np.flatnonzero(fixed)
        extra[at_bound] += np.maximum(typical[at_bound] - diagonal[at_bound], 0.0)
        matrix = problem.pattern.add_diagonal(matrix, extra)
        return matrix, np.count_nonzero(problem.pinned) * np.log(scale), _NULL * scale

    def _ridged(self, problem: Problem, matrix: FloatArray, ridge: float) -> Factor | None:
        values = np.zeros(problem.pattern.size)
        values[self._last] = ridge
        return problem.pattern.factor(problem.pattern.add_diagonal(matrix, values))

    def _undetermined(self, centre: FloatArray) -> int:
        """Return the number of directions, beyond pinned ones, that neither priors nor data tell."""
        problem = self.model.problem(np.exp(centre))
        _, _, state = problem.derivatives(self.model.start)
        fixed = np.zeros(problem.cells, dtype=bool)
        matrix, _, ridge = self._matrix(problem, state, fixed, exact=False)
        low, high = (self._ridged(problem, matrix, r * ridge) for r in (1.0, 10.0))
        return 0 if low is None or high is None else round((high.logdet() - low.logdet()) / np.log(10.0))

    def _curvature(self, problem: Problem, x: FloatArray, fixed: BoolArray) -> tuple[float, Any]:
        """Return log|H| outside the directions that nothing determines, and the factor of H."""
        _, _, state = problem.derivatives(x)
        for exact in (True, False):
            matrix, pinned, ridge = self._matrix(problem, state, fixed, exact=exact)
            factor = self._ridged(problem, matrix, ridge) if self._free else problem.pattern.factor(matrix)
            if factor is not None:
                return factor.logdet() - pinned - self._free * np.log(ridge), factor
        return np.nan, None

    def at(self, theta: FloatArray, x0: FloatArray, *, slope: bool = False, gtol: float = _GTOL) -> Point:
        """Return the evidence at weights exp(theta) (K,), the mode being searched from x0 (N,)."""
        problem = self.model.problem(np.exp(theta))
        optimum = minimize(problem, x0, gtol=gtol)
        self.iterations += optimum.iterations
        x, fixed = optimum.x, optimum.at_bound
        if fixed.all():
            return Point(theta, np.nan, None, x)
        log_h, factor = self._curvature(problem, x, fixed)
        value = -optimum.objective + self._normalization(theta) - 0.5 * log_h
        if not (optimum.converged and np.isfinite(value)):
            return Point(theta, np.nan, None, x)
        slopes = None
        if slope:
            slopes = self._slopes_of_normalization(theta)
            slopes -= [self._fall(k, theta, optimum, factor, log_h) for k in range(len(theta))]
        return Point(theta, value, slopes, x)

    def _fall(self, k: int, theta: FloatArray, optimum: Optimum, factor: Factor, log_h: float) -> float:
        """Return the derivative by theta[k] of the objective and of ½ log|H|."""
        x, fixed = optimum.x, optimum.at_bound
        pull = np.exp(theta[k]) * self._slope_of_prior(k, x)
        free = pull.copy()
        free[: len(fixed)][fixed] = 0.0
        move = -factor.solve(free)
        move[: len(fixed)][fixed] = 0.0
        ahead = theta.copy()
        ahead[k] += _STEP
        after, _ = self._curvature(self.model.problem(np.exp(ahead)), x + _STEP * move, fixed)
        return 0.5 * float(pull @ x) + 0.5 * (after - log_h) / _STEP
