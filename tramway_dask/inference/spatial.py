"""What mappers with a spatial gradient share: which operator, σ where it is required, and their maps."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..component import non_negative, one_of, optional, positive, setting
from ..errors import InferenceError
from .base import Mapper
from .gradient import Gradient, grad1
from .gradn import gradn
from .inputs import Inputs, known_precision
from .maps import Maps
from .vocabulary import alias

__all__ = ["Spatial", "finish"]

FloatArray = NDArray[Any]


@dataclass(eq=False, repr=False, kw_only=True)
class Spatial(Mapper):
    """Choice of the gradient operator.

    Parameters
    ----------
    grad : {'grad1', 'gradn'}, optional
        Parabola along each axis (default, see `gradient.grad1`), or local polynomial of degree 2
        (see `gradn.gradn`).
    grad_selection_angle : float, optional
        For 'grad1': half-opening of the cones, in units of 90°; 0.5 in 2-D for InferenceMAP's
        quadrants.
    grad_epsilon : float, optional, µm
        For 'grad1': half-spaces beyond this distance instead of cones.
    """

    grad: str | None = setting(None, check=one_of(None, "grad1", "gradn"))
    grad_selection_angle: float | None = setting(None, check=optional(positive))
    grad_epsilon: float | None = setting(None, check=optional(non_negative))

    epsilon = alias("grad_epsilon")
    gradient = alias("grad")

    def _gradient(self, inputs: Inputs) -> Gradient:
        if self.grad == "gradn":
            return gradn(inputs.centers, *inputs.neighbours)
        return grad1(inputs.centers, *inputs.neighbours, **self._cone())

    def _cone(self) -> dict[str, Any]:
        angle = 0.9 if self.grad_selection_angle is None else self.grad_selection_angle
        return {"selection_angle": angle, "epsilon": self.grad_epsilon}

    def _precision(self, sigma: float | None, partition: Any) -> float:
        """Return σ (µm), for models that assume none."""
        found = known_precision(sigma, partition, self.owner)
        if found is None:
            raise InferenceError(
                f"{type(self).__name__} needs the localization precision: set "
                "`a.spt_data.localization_precision` (µm) or pass `sigma`; 0 is allowed"
            )
        return found


def finish(
    inputs: Inputs,
    columns: dict[str, FloatArray],
    attrs: dict[str, Any],
    mode: str,
    sigma: float | None,
    began: float,
) -> Maps:
    """Return the maps of some columns; ``attrs["undefined_values"]`` counts cells with a NaN value."""
    table = pd.DataFrame(columns, index=pd.Index(inputs.cells, name="cell"))
    values = [c for c in table.columns if not c.endswith(" se")]
    attrs["undefined_values"] = int(np.count_nonzero(table[values].isna().any(axis=1)))
    maps = Maps(table, mode, sigma, time.perf_counter() - began, attrs)
    maps.parent = inputs.partition
    return maps
