"""Maps: one table of values and standard errors per cell, and how they were obtained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..cards import Html, badge, beside, card, element, folded, guarded, rows
from ..cards import table as html_table
from ..errors import InferenceError, suggest
from ..spt_data.analyses import Artefact

__all__ = ["AT_BOUND", "Maps", "error_column"]

AT_BOUND = "at bound"
ROWS = 10  # that a notebook shows
UNITS = {"diffusivity": "µm²/s", "potential": "kT", "force": "kT/µm", "drift": "µm/s"}
_AXES = ("x", "y", "z")


def error_column(variable: str) -> str:
    """Return the name of the column with the standard errors of a variable."""
    return f"{variable} se"


@dataclass(eq=False)
class Maps(Artefact):
    """Inferred maps.

    Attributes
    ----------
    table : DataFrame
        One row per cell; the index, named ``cell``, holds global cell numbers. Each variable is
        followed by its standard error where there is one; ``at bound`` flags the cells whose
        diffusivity stopped at its lower bound.
    mode : str
        Model or function that made the maps.
    sigma : float or None, µm
        Localization precision used.
    runtime : float, s
    attrs : dict
        How the inference went: objective, gradient_norm, iterations, converged, message, priors…

    Examples
    --------
    >>> import pandas as pd
    >>> maps = Maps(pd.DataFrame({"diffusivity": [0.1], "force x": [1.0], "force y": [2.0]}), "df")
    >>> maps.features
    ['diffusivity', 'force']
    >>> list(maps["force"].columns)
    ['force x', 'force y']
    """

    table: pd.DataFrame
    mode: str
    sigma: float | None = None
    runtime: float = 0.0
    attrs: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.table.index.name = "cell"

    @property
    def maps(self) -> pd.DataFrame:
        """The table, by TRamWAy's name."""
        return self.table

    @property
    def variables(self) -> list[str]:
        """Mapped scalars, without errors, limits of intervals and flags."""
        columns = [str(c) for c in self.table.columns]
        other = {f"{c} {suffix}" for c in columns for suffix in ("se", "low", "high")}
        return [c for c in columns if c not in other and c != AT_BOUND]

    @property
    def features(self) -> list[str]:
        """Mapped quantities; a vector counts once."""
        return list(dict.fromkeys(map(_feature, self.variables)))

    def _columns(self, name: str) -> list[str]:
        if name in self.table.columns:
            return [name]
        columns = [v for v in self.variables if _feature(v) == name]
        if not columns:
            raise InferenceError(f"these maps have no {name!r}; {suggest(name, self.features)}")
        return columns

    def __getitem__(self, name: str) -> pd.Series | pd.DataFrame:
        columns = self._columns(name)
        return self.table[name] if columns == [name] else self.table[columns]

    def errors(self, name: str) -> pd.Series | pd.DataFrame:
        """Return the standard errors of a feature or variable, named as its values.

        Raises
        ------
        InferenceError
            If there is no such feature, or it was mapped without errors.
        """
        columns = self._columns(name)
        missing = [c for c in columns if error_column(c) not in self.table.columns]
        if missing:
            raise InferenceError(f"maps of mode {self.mode!r} have no standard error of {missing[0]!r}")
        if columns == [name]:
            return self.table[error_column(name)].rename(name)
        return self.table[[error_column(c) for c in columns]].set_axis(columns, axis=1)

    def interval(self, name: str) -> pd.DataFrame:
        """Return the limits of the confidence intervals of a feature or variable.

        Returns
        -------
        DataFrame
            Columns ``<variable> low`` and ``<variable> high``.

        Raises
        ------
        InferenceError
            If there is no such feature, or it was mapped without intervals.
        """
        columns = [f"{c} {end}" for c in self._columns(name) for end in ("low", "high")]
        if not set(columns) <= set(self.table.columns):
            raise InferenceError(
                f"maps of mode {self.mode!r} have no intervals of {name!r}; set `confidence=0.95` on the model"
            )
        return self.table[columns]

    def __contains__(self, name: object) -> bool:
        return name in self.features or name in self.table.columns

    def __iter__(self) -> Iterator[str]:
        return iter(self.features)

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        lines = [
            f"Maps: mode {self.mode!r}, {len(self)} cells, features {', '.join(self.features) or 'none'}"
        ]
        if self.attrs.get("converged") is False:
            lines.append(f"not converged: {self.attrs.get('message', '')}")
        return "\n".join([*lines, repr(self.table)])

    @guarded
    def _repr_html_(self) -> str:
        how: list[tuple[str, Any]] = [
            ("model", self.mode),
            ("cells", f"{len(self):,}"),
            ("localization precision", None if self.sigma is None else f"{self.sigma:g} µm"),
            ("time taken", f"{self.runtime:.2g} s" if self.runtime else None),
        ]
        trouble = ""
        if self.attrs.get("converged") is False:
            trouble = Html(badge("warning", "not converged") + element("span", self.attrs.get("message", "")))
        header = ("variable", "unit", "median", "from", "to", "median error", "cells with a value")
        first = self.table.head(ROWS).reset_index()
        head = html_table([str(c) for c in first.columns], first.to_numpy(dtype=object).tolist())
        return card(
            "Maps",
            trouble,
            beside(self._picture(), rows(how)),
            html_table(header, [self._described(name) for name in self.variables]),
            folded(f"the first {len(first)} cells", head),
            about=self.region_label,
        )

    def _described(self, name: str) -> tuple[Any, ...]:
        """Return what a notebook says of a variable."""
        unit = UNITS.get(_feature(name), "")
        values = pd.to_numeric(self.table[name], errors="coerce").to_numpy(dtype=float)
        values = values[np.isfinite(values)]
        if not len(values):
            return name, unit, "", "", "", "", 0
        known = self.table.get(error_column(name), pd.Series(dtype=float)).dropna()
        error: Any = float(known.median()) if len(known) else ""
        return (
            name,
            unit,
            float(np.median(values)),
            float(values.min()),
            float(values.max()),
            error,
            len(values),
        )

    def _picture(self) -> Html:
        """Return a small picture of the first feature; nothing if the cells are not known."""
        cells: Any = self.parent
        if cells is None or not hasattr(cells, "picture") or not self.features:
            return Html("")
        feature = self.features[0]
        columns = self._columns(feature)
        values = self.table[columns].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)
        vector = columns != [feature]
        shown = np.full(cells.number_of_cells, np.nan)
        shown[self.table.index.to_numpy()] = np.sqrt((values**2).sum(axis=1)) if vector else values[:, 0]
        signed = not vector and _feature(feature) in ("force", "drift")
        label = f"{feature} amplitude" if vector else feature
        return cells.picture(shown, label, unit=UNITS.get(_feature(feature), ""), signed=signed)

    def to_ascii_file(
        self,
        path: str | Path,
        *,
        add_coordinates: bool = False,
        float_format: str = "%.4f",
        index: bool = True,
        header: bool = True,
    ) -> None:
        """Write the table as tab-separated text.

        Parameters
        ----------
        path : str or Path
        add_coordinates : bool
            Add the cells' centres (µm), from the partition that the maps came from.

        Raises
        ------
        InferenceError
            If coordinates are asked for and the partition is not known.
        """
        table = self.table
        if add_coordinates:
            if self.parent is None:
                raise InferenceError(
                    "add_coordinates: these maps do not know their partition; "
                    "set `maps.parent = partition`, or take the maps from the analysis tree"
                )
            centers = self.parent.centers[table.index.to_numpy()]  # type: ignore[attr-defined]
            columns = list(_AXES[: centers.shape[1]])
            table = table.join(pd.DataFrame(centers, index=table.index, columns=columns))
        table.to_csv(Path(path).expanduser(), sep="\t", float_format=float_format, index=index, header=header)


def _feature(variable: str) -> str:
    name, _, axis = variable.rpartition(" ")
    return name if name and axis in _AXES else variable
