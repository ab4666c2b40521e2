"""Joint posteriors: smoothed D, DD and DF, and DV.

With penalties written as quadratic forms (see `gradient`), the negative log posteriors are::

    smoothed:  Σ_i L_i(D_i) + μ DᵀQD                     L_i at the best drift or force of cell i
    DV:        Σ_i L_i(D_i, F_i) + μ DᵀQD + λ VᵀQV        F = −G V

plus Jeffreys' prior. Since F is linear in V, derivatives follow from those by (D_i, F_i)::

    ∂/∂V = −Gᵀ L_F,   ∂²/∂V² = Gᵀ L_FF G + 2 λ Q,   ∂²/∂D∂V = −L_DF G
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .gradient import Gradient
from .likelihood import Groups, Terms, jeffreys
from .newton import Optimum, minimize, regular_factor
from .pattern import CellOrder, Factor, matrix_pattern
from .uncoupled import Estimate, Profile, _root, estimate

if TYPE_CHECKING:
    import scipy.sparse as sp

__all__ = [
    "PotentialEstimate",
    "PotentialProblem",
    "SmoothProblem",
    "components",
    "posterior_factor",
    "solve_potential",
    "solve_smooth",
]

FloatArray = NDArray[Any]
IntArray = NDArray[Any]
BoolArray = NDArray[Any]

_RIDGE = 1e-11
# variance of an unknown over its variance with all others known, beyond which the data tell nothing
_UNDETERMINED = 1e7


def components(indptr: IntArray, indices: IntArray) -> tuple[int, IntArray]:
    """Return the number of connected components and the component (m,) of each cell."""
    import scipy.sparse as sp
    from scipy.sparse.csgraph import connected_components

    m = len(indptr) - 1
    ones = np.ones(len(indices), dtype=np.int8)
    return connected_components(sp.csr_array((ones, indices, indptr), shape=(m, m)), directed=False)


def _entries(penalty: sp.csr_array | None) -> tuple[IntArray, IntArray, FloatArray]:
    if penalty is None:
        empty = np.zeros(0, dtype=np.intp)
        return empty, empty, np.zeros(0)
    coo = penalty.tocoo()
    return coo.row.astype(np.intp), coo.col.astype(np.intp), coo.data


class SmoothProblem:
    """Smoothed D, DD or DF as a function of all the diffusivities.

    Parameters
    ----------
    profile : Profile
        Cells' own posteriors.
    penalty : (m, m) sparse
        Quadratic form on D, prior weight included.
    bound : (m,) float
        Smallest diffusivities.
    order : CellOrder
    """

    def __init__(self, profile: Profile, penalty: sp.csr_array, bound: FloatArray, order: CellOrder) -> None:
        self.profile, self.penalty, self.bound = profile, penalty, bound
        self.cells = len(bound)
        self.infimum = profile.infimum
        self.pinned = np.zeros(self.cells)
        rows, cols, data = _entries(penalty)
        own = np.arange(self.cells)
        self.pattern = matrix_pattern(order, 1, np.concatenate([own, rows]), np.concatenate([own, cols]))
        self._fixed_part = self.pattern.assemble(np.concatenate([np.zeros(self.cells), 2 * data]))

    def reweighted(self, penalty: sp.csr_array) -> SmoothProblem:
        """Return the same problem with another penalty on the same sparsity pattern."""
        other = copy.copy(self)
        other.penalty = penalty
        other._fixed_part = self.pattern.assemble(np.concatenate([np.zeros(self.cells), 2 * penalty.data]))
        return other

    def value(self, x: FloatArray) -> float:
        """Return the objective at diffusivities x (m,)."""
        return float(self.profile.value(x).sum() + x @ (self.penalty @ x))

    def derivatives(self, x: FloatArray) -> tuple[float, FloatArray, Any]:
        """Return the objective, its gradient (m,), and the cells' own terms."""
        at = self.profile.point(x)
        slope = self.penalty @ x
        return float(at.value.sum() + x @ slope), at.d1 + 2 * slope, at

    def hessian(self, state: Any, *, exact: bool) -> FloatArray:
        """Return the Hessian."""
        curvature = state.d2 if exact else np.maximum(state.d2, 0.25 * state.fisher)
        return self.pattern.add_diagonal(self._fixed_part, curvature)

    def curvature(self, state: Any) -> FloatArray:
        """Return the diagonal of the positive definite substitute of the Hessian."""
        return np.maximum(state.d2, 0.25 * state.fisher) + self.pattern.diagonal(self._fixed_part)


def solve_smooth(problem: SmoothProblem, x0: FloatArray, **options: Any) -> tuple[Estimate, Optimum]:
    """Infer D, DD or DF with a prior on the roughness of D.

    `options` are those of `newton.minimize`. Standard errors are those of the joint posterior.
    """
    optimum = minimize(problem, x0, **options)
    x = optimum.x
    own = estimate(problem.profile, x, optimum.at_bound, iterations=0, converged=True)
    _, _, state = problem.derivatives(x)
    _, factor, _ = posterior_factor(problem, state, optimum.at_bound)
    i = np.arange(problem.cells)
    variance = np.full(len(i), np.nan) if factor is None else factor.inverse_entries(i, i)
    variance = np.where(optimum.at_bound, np.nan, variance)
    result = Estimate(
        x,
        _root(variance),
        own.b,
        problem.profile.errors(x, variance),
        optimum.at_bound,
        optimum.objective,
        optimum.gradient_norm,
        optimum.iterations,
        optimum.converged,
    )
    return result, optimum


def posterior_factor(problem: Any, state: Any, fixed: BoolArray) -> tuple[FloatArray, Factor | None, bool]:
    """Factorize the Hessian at the optimum, or a positive definite substitute.

    Parameters
    ----------
    problem : SmoothProblem or PotentialProblem
    state
        What ``problem.derivatives`` returns last.
    fixed : (m,) bool
        Diffusivities at their bound; they get a variance of about 0.

    Returns
    -------
    matrix, factor
        The Hessian, with the potential pinned in one cell of each component, and its factor.
    exact : bool
        Whether it is the Hessian.
    """
    for exact, ridge in ((True, _RIDGE), (False, _RIDGE), (False, 1e-6)):
        matrix, factor = regular_factor(problem, state, fixed, exact=exact, ridge=ridge)
        if factor is not None:
            break
    return matrix, factor, exact


@dataclass(frozen=True, eq=False)
class _State:
    terms: Terms
    d2: FloatArray
    force: FloatArray


class PotentialProblem:
    """DV as a function of the diffusivities, then the potentials, of all cells.

    Parameters
    ----------
    groups : Groups
    gradient : Gradient
    diffusivity_penalty, potential_penalty : (m, m) sparse or None
        Quadratic forms, prior weights included.
    bound : (m,) float
        Smallest diffusivities.
    component : (m,) int
        Connected component of each cell: the potential has one free constant in each.
    order : CellOrder
    jeffreys_prior : bool
    counted : (m,) bool, optional
        Cells whose likelihood counts. By default all: where a component of the gradient is
        undefined it is taken as 0.
    """

    def __init__(
        self,
        groups: Groups,
        gradient: Gradient,
        *,
        diffusivity_penalty: sp.csr_array | None,
        potential_penalty: sp.csr_array | None,
        bound: FloatArray,
        component: IntArray,
        order: CellOrder,
        jeffreys_prior: bool = False,
        counted: BoolArray | None = None,
    ) -> None:
        m = groups.size
        self.groups, self.gradient, self.bound, self.cells = groups, gradient, bound, m
        self.component, self.jeffreys_prior = component, jeffreys_prior
        self.counted = None if counted is None or counted.all() else counted.astype(float)
        self.diffusivity_penalty, self.potential_penalty = diffusivity_penalty, potential_penalty
        self.infimum = np.zeros(m) if jeffreys_prior else -groups.noise / groups.dt_max
        self.pinned = np.zeros(2 * m)
        self.pinned[m + np.unique(component, return_index=True)[1]] = 1.0
        self._set_pattern(order)

    def _set_pattern(self, order: CellOrder) -> None:
        import scipy.sparse as sp

        m, g = self.cells, self.gradient
        own = np.arange(m)
        self._p, self._q = p, q = g.pairs
        self._pair_row = g.rows[p]
        self._pair_product = np.einsum("kp,kp->p", g.data[:, p], g.data[:, q])
        rd, cd, _ = _entries(self.diffusivity_penalty)
        rv, cv, _ = _entries(self.potential_penalty)
        mixed_d, mixed_v = g.rows, m + g.indices
        rows = np.concatenate([own, mixed_d, mixed_v, m + g.indices[p], rd, m + rv])
        cols = np.concatenate([own, mixed_v, mixed_d, m + g.indices[q], cd, m + cv])
        self.pattern = matrix_pattern(order, 2, rows, cols)
        square = np.einsum("kp,kp->p", g.data, g.data)
        self._squares = sp.csr_array((square, g.indices, g.indptr), shape=(m, m)).T.tocsr()
        self._set_penalties()

    def reweighted(
        self, diffusivity_penalty: sp.csr_array | None, potential_penalty: sp.csr_array | None
    ) -> PotentialProblem:
        """Return the same problem with other penalties on the same sparsity patterns."""
        other = copy.copy(self)
        other.diffusivity_penalty, other.potential_penalty = diffusivity_penalty, potential_penalty
        other._set_penalties()
        return other

    def _set_penalties(self) -> None:
        both = self.diffusivity_penalty, self.potential_penalty
        self._penalty_values = np.concatenate([2 * _entries(q)[2] for q in both])
        self._penalty_diagonal = np.concatenate(
            [np.zeros(self.cells) if q is None else 2 * q.diagonal() for q in both]
        )

    def split(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the diffusivities (m,) and the forces (m, d)."""
        return x[: self.cells], -self.gradient.apply(x[self.cells :]).T

    def _penalties(self, x: FloatArray) -> tuple[float, FloatArray]:
        value: Any = 0.0
        slope = np.zeros_like(x)
        m = self.cells
        for penalty, part in (
            (self.diffusivity_penalty, slice(None, m)),
            (self.potential_penalty, slice(m, None)),
        ):
            if penalty is not None:
                slope[part] = penalty @ x[part]
                value += x[part] @ slope[part]
        return float(value), 2 * slope

    def value(self, x: FloatArray) -> float:
        """Return the negative log posterior at x = (D, V), (2 m,)."""
        diffusivity, force = self.split(x)
        value = self.groups.value(diffusivity, force, "DF")
        if self.counted is not None:
            value = value * self.counted
        if self.jeffreys_prior:
            value = value + jeffreys(self.groups, diffusivity, force=True)[0]
        return float(value.sum()) + self._penalties(x)[0]

    def derivatives(self, x: FloatArray) -> tuple[float, FloatArray, _State]:
        """Return the negative log posterior, its gradient (2 m,), and the cells' own terms."""
        diffusivity, force = self.split(x)
        t = self.groups.terms(diffusivity, force, "DF")
        if self.counted is not None:
            c = self.counted
            t = Terms(
                t.value * c, t.d1 * c, t.d2 * c, t.fisher * c, t.b1 * c[:, None], t.b2 * c, t.db * c[:, None]
            )
        value, d1, d2 = t.value, t.d1, t.d2
        if self.jeffreys_prior:
            j0, j1, j2 = jeffreys(self.groups, diffusivity, force=True)
            value, d1, d2 = value + j0, d1 + j1, d2 + j2
        penalty, slope = self._penalties(x)
        slope[: self.cells] += d1
        slope[self.cells :] -= self.gradient.adjoint(t.b1.T)
        return float(np.sum(value)) + penalty, slope, _State(t, d2, force)

    def hessian(self, state: _State, *, exact: bool) -> FloatArray:
        """Return the Hessian, or one made positive definite cell by cell."""
        t, d2, cross = state.terms, state.d2, state.terms.db
        if not exact:
            d2 = np.maximum(d2, 0.25 * t.fisher)
            squared = np.einsum("ik,ik->i", cross, cross)
            shrink = np.sqrt(np.minimum(1.0, 0.9 * d2 * t.b2 / np.where(squared > 0, squared, 1.0)))
            cross = cross * shrink[:, None]
        g = self.gradient
        mixed = -np.einsum("pk,kp->p", cross[g.rows], g.data)
        second = self._pair_product * t.b2[self._pair_row]
        return self.pattern.assemble(np.concatenate([d2, mixed, mixed, second, self._penalty_values]))

    def curvature(self, state: _State) -> FloatArray:
        """Return the diagonal of the positive definite substitute of the Hessian."""
        own = np.maximum(state.d2, 0.25 * state.terms.fisher)
        return np.concatenate([own, self._squares @ state.terms.b2]) + self._penalty_diagonal


@dataclass(frozen=True, eq=False)
class PotentialEstimate:
    """Maps of DV and their standard errors.

    Attributes
    ----------
    diffusivity, diffusivity_se : (m,) float, µm²/s
    potential : (m,) float, kT
        With minimum 0 in each connected component.
    potential_se : (m,) float, kT
        Error of the difference to the component's mean; NaN where the data tell nothing.
    force, force_se : (m, d) float, kT/µm
        NaN on axes without neighbour.
    at_bound : (m,) bool
    optimum : Optimum
    exact_errors : bool
        False where the Hessian at the end was not positive definite.
    """

    diffusivity: FloatArray
    diffusivity_se: FloatArray
    potential: FloatArray
    potential_se: FloatArray
    force: FloatArray
    force_se: FloatArray
    at_bound: BoolArray
    optimum: Optimum
    exact_errors: bool


def _component_mean(component: IntArray, values: FloatArray) -> FloatArray:
    size = np.bincount(component)
    return (np.bincount(component, weights=values) / size)[component]


def solve_potential(problem: PotentialProblem, x0: FloatArray, **options: Any) -> PotentialEstimate:
    """Infer D and V jointly; `options` are those of `newton.minimize`."""
    optimum = minimize(problem, x0, **options)
    m, g, fixed = problem.cells, problem.gradient, optimum.at_bound
    diffusivity, force = problem.split(optimum.x)
    potential = optimum.x[m:]
    lowest = np.full(int(problem.component.max()) + 1, np.inf)
    np.minimum.at(lowest, problem.component, potential)
    _, _, state = problem.derivatives(optimum.x)
    matrix, factor, exact = posterior_factor(problem, state, fixed)
    i = np.arange(2 * m)
    rows = np.concatenate([i, m + g.indices[problem._p]])
    cols = np.concatenate([i, m + g.indices[problem._q]])
    entries = np.full(len(rows), np.nan) if factor is None else factor.inverse_entries(rows, cols)
    variance, pairs = entries[: 2 * m], entries[2 * m :]
    inflation = variance * problem.pattern.diagonal(matrix)
    force_variance = np.stack(
        [
            np.bincount(problem._pair_row, weights=axis[problem._p] * axis[problem._q] * pairs, minlength=m)
            for axis in g.data
        ],
        axis=1,
    )
    total = np.zeros(2 * m)
    total[m:] = 1.0
    shared = np.full(m, np.nan) if factor is None else factor.solve(total)[m:]
    size = np.bincount(problem.component)[problem.component]
    centred = variance[m:] - 2 * shared / size + _component_mean(problem.component, shared) / size
    raw = problem.curvature(state)[m:]
    unknown = raw <= 1e-20 * raw.max(initial=1e-300)
    unknown |= (inflation[m:] > _UNDETERMINED) | (centred * raw > _UNDETERMINED)
    undefined = ~g.defined.T
    return PotentialEstimate(
        diffusivity,
        _root(np.where(fixed | (inflation[:m] > _UNDETERMINED), np.nan, variance[:m])),
        potential - lowest[problem.component],
        _root(np.where(unknown, np.nan, centred)),
        np.where(undefined, np.nan, force),
        _root(np.where(undefined, np.nan, force_variance)),
        fixed,
        optimum,
        exact,
    )
