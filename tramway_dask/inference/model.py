"""What the models share: their parameters, and how they make maps of arrays."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..component import boolean, count, non_negative, one_of, optional, positive, setting
from ..errors import SpecificationError
from .gradient import Gradient, delta0_penalty, delta1_penalty, gradient_penalty
from .inputs import Inputs
from .intervals import limits, normal_intervals, probability
from .likelihood import Groups
from .maps import Maps, error_column
from .selection import AUTO
from .spatial import Spatial
from .vocabulary import LOST, alias

if TYPE_CHECKING:
    import scipy.sparse as sp

__all__ = [
    "LOST",
    "ROUGHNESS",
    "BaseModel",
    "add_vector",
    "full",
    "in_time",
    "is_auto",
    "report",
    "start_values",
    "time_weights",
    "weight",
]

FloatArray = NDArray[Any]

logger = logging.getLogger(__name__)

ROUGHNESS = {
    None: None,
    "grad": "grad",
    "grad1": "grad",
    "delta": "delta0",
    "delta0": "delta0",
    "delta1": "delta1",
    "delta0_without_scaling": "delta0_without_scaling",
}


def _bound(name: str, value: Any) -> float | bool | None:
    if value is None or value is False:
        return value
    if value is True:
        raise SpecificationError(f"{name}: expected a number in µm²/s, None or False, got True")
    if np.isscalar(value) and np.isfinite(value):
        return float(value)  # type: ignore[arg-type]
    raise SpecificationError(f"{name}: expected a number in µm²/s, None or False, got {value!r}")


def start_values(name: str, value: Any) -> float | FloatArray | None:
    """Accept None, a number, or an array of finite numbers."""
    if value is None:
        return None
    array = np.asarray(value, dtype=float)
    if array.ndim > 1 or not np.isfinite(array).all():
        raise SpecificationError(f"{name}: expected a finite number or one per inferred cell, got {value!r}")
    return float(array) if array.ndim == 0 else array


def weight(name: str, value: Any) -> float | str | None:
    """Accept None, 'auto', or a number that is not negative."""
    if isinstance(value, str) and value != AUTO:
        raise SpecificationError(f"{name}: expected a number, 'auto' or None, got {value!r}")
    return value if value is None or isinstance(value, str) else non_negative(name, value)


def _folds(name: str, value: Any) -> int:
    number = count(name, value)
    if number == 1:
        raise SpecificationError(f"{name}: expected 2 folds or more, or 0 for none, got 1")
    return number


def time_weights(name: str, value: Any) -> Any:
    """Accept weights in time relative to those in space: as `weight`, or a pair of them."""
    if value is None or isinstance(value, str) or np.isscalar(value):
        return weight(name, value)
    pair = tuple(weight(name, v) or 0.0 for v in value)
    if len(pair) != 2:
        raise SpecificationError(f"{name}: expected a number or a pair (for D, for V), got {value!r}")
    return pair


def in_time(space: Any, absolute: Any, relative: Any, name: str) -> tuple[Any, float]:
    """Return the weight in time, None or 'auto' or absolute, and the one relative to space, or 0.

    Raises
    ------
    SpecificationError
        If there is no weight in space that the relative one could refer to.
    """
    if absolute is not None or relative is None or is_auto(relative):
        return (relative if absolute is None else absolute), 0.0
    if relative and not space:
        raise SpecificationError(
            f"time_prior is relative to {name}_prior, which is not set: set it, "
            f"or the absolute {name}_time_prior instead"
        )
    return None, relative


@dataclass(eq=False, repr=False, kw_only=True)
class BaseModel(Spatial):
    """Parameters common to D, DD, DF and DV; see `D`."""

    diffusivity_prior: float | str | None = setting(None, check=weight)
    jeffreys_prior: bool = setting(False, check=boolean)
    min_diffusivity: float | bool | None = setting(None, check=_bound)
    max_iter: int | None = setting(None, check=optional(count))
    ftol: float | None = setting(None, check=optional(positive))
    gtol: float | None = setting(None, check=optional(positive))
    max_runtime: float | None = setting(None, check=optional(positive))
    rgrad: str | None = setting(None, check=one_of(*ROUGHNESS))
    D0: Any = setting(None, check=start_values)
    confidence: float | None = setting(None, check=optional(probability))
    export_centers: bool = setting(False, check=boolean)
    cross_validation: int = setting(5, check=_folds)
    verbose: bool = setting(False, check=lambda name, value: boolean(name, bool(value)))

    lost: ClassVar[Mapping[str, str]] = LOST
    _mode: ClassVar[str] = ""

    @property
    def name(self) -> str:
        """TRamWAy's name of the model."""
        return self._mode

    tol = alias("ftol")
    diffusion_prior = alias("diffusivity_prior")
    diffusivity_spatial_prior = alias("diffusivity_prior")
    diffusion_spatial_prior = alias("diffusivity_prior")

    def _roughness_kind(self) -> str:
        return ROUGHNESS[self.rgrad] or "grad"

    def _roughness(self, inputs: Inputs, gradient: Gradient | None) -> sp.csr_array:
        kind = self._roughness_kind()
        if kind.startswith("delta0"):
            mean = kind == "delta0"
            return delta0_penalty(inputs.centers, *inputs.neighbours, inputs.areas, mean=mean)
        if kind == "delta1":
            return delta1_penalty(inputs.centers, *inputs.neighbours, inputs.areas, **self._cone())
        return gradient_penalty(self._gradient(inputs) if gradient is None else gradient, inputs.areas)

    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = {"ftol": self.ftol, "max_runtime": self.max_runtime}
        if self.gtol is not None:
            options["gtol"] = self.gtol
        if self.max_iter:
            options["max_iter"] = self.max_iter
        return options

    def _first_diffusivity(self, groups: Groups) -> FloatArray:
        if self.D0 is not None:
            return full(self.D0, groups.size, "D0")
        start = groups.sum(groups.s2) / (2 * groups.dimension * groups.count * groups.dt_mean)
        return np.maximum(start, 1e-3 * start.mean() + 1e-12)

    def _intervals(
        self, inputs: Inputs, columns: dict[str, FloatArray], sigma: float
    ) -> dict[str, FloatArray]:
        """Return the columns with the limits of confidence intervals."""
        assert self.confidence is not None
        dt = Groups(inputs.statistics, sigma).dt_mean if len(inputs.cells) else np.zeros(0)
        return normal_intervals(columns, self.confidence, dt, sigma**2)

    def _finish(
        self,
        inputs: Inputs,
        columns: dict[str, FloatArray],
        attrs: dict[str, Any],
        sigma: float,
        began: float,
    ) -> Maps:
        if self.confidence is not None:
            found = self._intervals(inputs, columns, sigma)
            columns = _beside(columns, found)
            attrs["confidence"] = self.confidence
        table = pd.DataFrame(columns, index=pd.Index(inputs.cells, name="cell"))
        axes = ["x", "y", "z"][: inputs.centers.shape[1]]
        if self.export_centers:
            for k, axis in enumerate(axes):
                table[axis] = inputs.centers[:, k]
        undefined = [np.isnan(v) for c, v in columns.items() if c.endswith(" se")]
        attrs["undefined_errors"] = int(np.count_nonzero(np.logical_or.reduce(undefined)))
        attrs["settings"] = self._parameters_set()
        # aliases left out
        set_by_user = {k: getattr(self, k) for k in self.to_dict() if k.endswith("prior")}
        chosen = attrs.get("prior_selection", {}).get("weights", {})
        attrs["priors"] = {k: v for k, v in set_by_user.items() if v and not is_auto(v)} | chosen
        maps = Maps(table, self._mode, sigma, time.perf_counter() - began, attrs)
        maps.parent = inputs.partition
        if self.verbose:
            logger.info("%s: %d cells, %s", self._mode, len(table), attrs)
        return maps


def _beside(columns: dict[str, FloatArray], found: dict[str, FloatArray]) -> dict[str, FloatArray]:
    """Return the columns, each standard error followed by the limits of its interval."""
    result = {}
    for name, values in columns.items():
        result[name] = values
        for limit in limits(name.removesuffix(" se")):
            if name.endswith(" se") and limit in found:
                result[limit] = found[limit]
    return result


def is_auto(value: Any) -> bool:
    """Tell whether a prior, or one of a pair, is to be chosen."""
    return AUTO in value if isinstance(value, tuple) else isinstance(value, str)


def full(value: float | FloatArray, size: int, name: str) -> FloatArray:
    """Return one value per cell, of one value or of as many as there are cells."""
    array = np.asarray(value, dtype=float)
    if array.ndim and len(array) != size:
        raise SpecificationError(
            f"{name}: expected one value or one per inferred cell ({size}), got {len(array)}"
        )
    return np.broadcast_to(array, size).astype(float)


def report(objective: float, norm: float, iterations: int, converged: bool, message: str) -> dict[str, Any]:
    """Return the attributes of maps that tell how the inference went."""
    return {
        "objective": objective,
        "gradient_norm": norm,
        "iterations": iterations,
        "converged": converged,
        "message": message,
    }


def add_vector(columns: dict[str, FloatArray], name: str, values: FloatArray, errors: FloatArray) -> None:
    """Add the columns of a vector and of its standard errors."""
    for k, axis in enumerate(["x", "y", "z"][: values.shape[1]]):
        columns[f"{name} {axis}"] = values[:, k]
        columns[error_column(f"{name} {axis}")] = errors[:, k]
