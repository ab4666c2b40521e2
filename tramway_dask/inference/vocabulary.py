"""TRamWAy's names: those that are aliases here, and options that have lost their meaning, with the reason."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["LOST", "alias"]

_DETERMINISTIC = "the optimization is deterministic; `max_iter`, `ftol`, `gtol` and `max_runtime` stop it"
_NEWTON = "the optimization follows exact derivatives, its steps have nothing to tune"
_AT_ONCE = "all cells are inferred at once"
_DIAGNOSIS = "set `verbose`, or read `maps.attrs`"
_PRECISION = "set `a.spt_data.localization_precision` (µm), or pass `sigma` to `infer`"

LOST: Mapping[str, str] = {
    "worker_count": "a map is inferred by one process; workers belong to the environment, a.env.worker_count",
    "compatibility": "set `grad_selection_angle = 0.5` for InferenceMAP's gradient",
    "prior_delay": "priors count from the first iteration",
    "sigma": _PRECISION,
    "sigma2": _PRECISION,
    **dict.fromkeys(
        ["stochastic", "superlocal", "fulltime", "init_max_iter", "update_timeout"], _DETERMINISTIC
    ),
    **dict.fromkeys(["low_df_rate", "low_dg_rate", "options", "independent_components"], _DETERMINISTIC),
    **dict.fromkeys(
        ["ls_step_max", "ls_step_max_decay", "ls_iter_max", "ls_armijo_max", "ls_wolfe"], _NEWTON
    ),
    **dict.fromkeys(["ls_failure_rate", "ls_regul", "ls_kwargs", "fix_ls", "fix_ls_trigger"], _NEWTON),
    **dict.fromkeys(["newton", "memory", "step_scale", "regul", "regul_decay", "jac", "eps"], _NEWTON),
    **dict.fromkeys(["gradient_initial_step", "gradient_covariate", "gradient_sum"], _NEWTON),
    **dict.fromkeys(["debug", "diagnosis", "xref", "return_struct", "posterior_max_count"], _DIAGNOSIS),
    **dict.fromkeys(["cell_sampling", "max_cell_count", "dilation", "new_cell", "new_group"], _AT_ONCE),
    "include_empty_cells": "empty cells have no likelihood; a prior alone says nothing of them",
}


def alias(name: str) -> property:
    """Return a property that is another name of a parameter."""

    def read(self: object) -> object:
        return getattr(self, name)

    def write(self: object, value: object) -> None:
        setattr(self, name, value)

    return property(read, write, doc=f"Alias of `{name}`.")
