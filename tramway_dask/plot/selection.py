"""Why a prior weight was chosen: evidence and cross-validation over the weight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import SpecificationError
from ..inference.maps import Maps
from .figures import LABEL, TICK, TITLE, add_note, new_figure, require

__all__ = ["prior_selection"]

EVIDENCE, VALIDATION = "#0072b2", "#d55e00"
# nats below the best that a weight is shown with
DEPTH = 60.0


def prior_selection(maps: Maps | Mapping[str, Any], *, ax: Any = None) -> Any:
    """Draw the log evidence over each weight that was chosen by 'auto', and its cross-validation.

    Parameters
    ----------
    maps : Maps or mapping
        Maps inferred with a prior 'auto', or their attribute ``prior_selection``.
    ax : Axes or sequence of Axes, optional
        One per weight; default: those of a new figure.

    Returns
    -------
    Figure
        One axes per weight: the evidence relative to the best, log scores of left-out
        translocations with standard errors, and a line at the chosen weight.

    Raises
    ------
    SpecificationError
        If no prior of these maps was chosen by 'auto', or there are not as many axes as weights.
    MissingDependencyError
        If matplotlib is not installed.

    Examples
    --------
    >>> maps = models.D(diffusivity_prior="auto").infer(partition, sigma=0.02)  # doctest: +SKIP
    >>> figure = plot.prior_selection(maps)  # doctest: +SKIP
    """
    require()
    about = maps.attrs.get("prior_selection") if isinstance(maps, Maps) else maps
    if not about or not about.get("weights"):
        raise SpecificationError(
            "prior_selection: no prior of these maps was chosen; set, for instance, diffusivity_prior='auto'"
        )
    weights = about["weights"]
    axes = np.ravel(ax) if ax is not None else None
    if axes is None:
        figure = new_figure((3.4 * len(weights) + 0.4, 2.9))
        axes = figure.subplots(1, len(weights), squeeze=False)[0]
    if len(axes) != len(weights):
        raise SpecificationError(
            f"prior_selection: {len(weights)} weights need as many axes, got {len(axes)}"
        )
    for each, (name, weight) in zip(axes, weights.items(), strict=True):
        _draw(each, name, weight, about)
    return axes[0].figure


def _draw(ax: Any, name: str, weight: float, about: Mapping[str, Any]) -> None:
    curve = about.get("evidence", {}).get(name)
    checked = (about.get("cross_validation") or {}).get("curves", {}).get(name)
    if curve is not None:
        ax.plot(curve["weight"], curve["log_evidence"], "o-", ms=3, lw=1.2, color=EVIDENCE, label="evidence")
        low = max(min(curve["log_evidence"]), -DEPTH)
        near = np.array(curve["weight"])[np.array(curve["log_evidence"]) >= low]
        ax.set_xlim(near.min() / 3, near.max() * 3)
        ax.set_ylim(1.15 * min(low, -1.0), 0.12 * max(-low, 1.0))
        ax.set_xscale("log")
    if checked is not None:
        ax.errorbar(
            checked["weight"],
            checked["score"],
            yerr=checked["error"],
            fmt="s",
            ms=3.5,
            lw=1,
            capsize=2,
            color=VALIDATION,
            label="cross-validation",
        )
    if weight > 0:
        ax.axvline(weight, color="0.4", lw=0.8, ls="--")
    ax.set_title(f"{name} = {weight:.3g}", fontsize=TITLE)
    ax.set_xlabel("weight", fontsize=LABEL)
    ax.set_ylabel("relative to the best (nats)", fontsize=LABEL)
    ax.tick_params(labelsize=TICK)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(fontsize=TICK, frameon=False, loc="lower center")
    add_note(ax, about.get("flags", {}).get(name, "").partition(":")[0])
