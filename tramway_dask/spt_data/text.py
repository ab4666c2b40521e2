"""Reader of text files whose columns and units are recognised; what stays open is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import DataError
from .ascii import asked, check_values, choose_in_file, read_table
from .columns import length_factor
from .formats import PHYSICAL, Head, Recognition, look
from .headerless import holds
from .tables import with_precision
from .textformats import TextFile, understand
from .textlayout import Layout, find_layout
from .textnumbers import as_numbers

__all__ = ["Reading", "open_text", "read_text", "recognize_ascii"]


def read_text(
    path: str | Path,
    *,
    columns: str | Sequence[str | None] | Mapping[str, str | int] | None = None,
    header: bool | None = None,
    sep: str | None = None,
    decimal: str | None = None,
    pixel_size: float | None = None,
    dt: float | None = None,
    extra: Sequence[str] = (),
    duplicates: str = "raise",
    untracked: str = "raise",
    one_trajectory: bool = False,
) -> pd.DataFrame:
    """Read trajectories from a text file, of which nothing need be said that its content tells.

    Separator, decimal mark, encoding and lines before the table are found. Columns with names are
    those of the programs that write them; columns without are told by their numbers, if a single
    reading is possible. Unlike `tramway_dask.spt_data.ascii.read_ascii`, which takes the user's word,
    this one asks for what the file does not tell.

    Parameters
    ----------
    path : str or Path
        File to read.
    columns, header, sep, decimal, pixel_size, dt, extra, duplicates, untracked
        As for `tramway_dask.spt_data.ascii.read_ascii`; given values are not looked for.
    one_trajectory : bool
        The file is one trajectory, and no column says so.

    Returns
    -------
    DataFrame
        Columns ``n`` (int64), ``x, y[, z]`` (µm), ``t`` (s) and the extra ones, sorted by (``n``, ``t``).
        ``attrs["localization_precision"]`` is the median of the uncertainties (µm), if the file states them;
        ``columns={"sigma": …}`` keeps them as a column.

    Raises
    ------
    DataError
        If the file cannot be read, or what it holds is not clear: with the first rows, the possible
        readings, and the argument that decides.
    SpecificationError
        If an argument is wrong.
    """
    reading = open_text(
        path,
        columns=columns,
        header=header,
        sep=sep,
        decimal=decimal,
        pixel_size=pixel_size,
        dt=dt,
        extra=extra,
        duplicates=duplicates,
        untracked=untracked,
        one_trajectory=one_trajectory,
    )
    return reading.table(reading.known.sniffed.layout)


@dataclass(frozen=True)
class Reading:
    """A text file that is understood, and how it is to be read.

    Attributes
    ----------
    known : TextFile
    options : mapping
        Of `tramway_dask.spt_data.ascii.read_table`.
    columns : object
        As the user gave them.
    """

    known: TextFile
    options: Mapping[str, Any]
    columns: Any

    def table(self, layout: Layout) -> pd.DataFrame:
        """Read the file, or a part of it with the same layout."""
        known = self.known

        def check(table: pd.DataFrame) -> None:
            _check(known, table, self.options["untracked"])

        keep_z = asked(self.columns, "z")
        table = read_table(layout, known.choice, check=check, keep_z=keep_z, **self.options)
        if "sigma" not in known.choice.position:
            return table
        unit = known.choice.unit["sigma"]
        try:
            scale = length_factor("sigma", unit, None if unit in PHYSICAL else self.options["pixel_size"])
        except DataError as error:
            raise DataError(f"{layout.path}: {error}") from None
        sigma = as_numbers(table["sigma"]) * scale
        if asked(self.columns, "sigma"):
            table["sigma"] = sigma
        else:
            table = table.drop(columns="sigma")
        return with_precision(table, sigma)


def open_text(
    path: str | Path,
    *,
    columns: str | Sequence[str | None] | Mapping[str, str | int] | None = None,
    header: bool | None = None,
    sep: str | None = None,
    decimal: str | None = None,
    pixel_size: float | None = None,
    dt: float | None = None,
    extra: Sequence[str] = (),
    duplicates: str = "raise",
    untracked: str = "raise",
    one_trajectory: bool = False,
) -> Reading:
    """Look at the beginning of a file, and return how to read it; arguments and errors as of `read_text`."""
    check_values(pixel_size, dt, duplicates, untracked)
    path = Path(path).expanduser()
    given = {"columns": columns, "header": header, "sep": sep, "decimal": decimal, "extra": extra}
    known = understand(look(path), {**given, "one_trajectory": one_trajectory})
    if known is None:
        raise DataError(f"{path}: there is no table of numbers in the first lines of this file")
    arguments = {**given, "pixel_size": pixel_size, "dt": dt}
    decided = {name for name, value in arguments.items() if value is not None}
    known.recognition.check(str(path), decided | ({"one_trajectory"} if one_trajectory else set()))
    stated = known.recognition.options
    dt = stated.get("dt") if dt is None else dt
    pixel_size = stated.get("pixel_size") if pixel_size is None else pixel_size
    if known.recognition.scaled:
        pixel_size = None

    how = {"pixel_size": pixel_size, "dt": dt, "duplicates": duplicates, "untracked": untracked}
    return Reading(known, how, columns)


def recognize_ascii(head: Head) -> Recognition:
    """Describe a text file that the user says is a table."""
    try:
        layout = find_layout(head, header=None, sep=None, decimal=".")
        choice, _ = choose_in_file(layout, None, ())
    except DataError:
        return Recognition("ascii", "text", "µm", "s")
    unit, clock = choice.unit.get("x", ""), choice.unit.get("t", "")
    names = layout.names
    return Recognition(
        "ascii",
        "text" if names else "text without header",
        unit if unit in PHYSICAL or unit == "px" else "µm",
        "frames" if "frame" in choice.position else (clock or "s") if "t" in choice.position else "",
        stated=bool(unit),
        timed=bool(clock),
        columns={role: names[at] for role, at in choice.position.items()} if names else {},
    )


def _check(known: TextFile, table: pd.DataFrame, untracked: str) -> None:
    """See that what the first rows told holds for all of them."""
    n = table["n"].to_numpy()
    layout = known.sniffed.layout
    if known.by_rule:
        clock = table["frame" if "frame" in table else "t"].to_numpy()
        if not holds(n, clock):
            raise DataError(
                f"the first rows look like {', '.join(known.recognition.columns)} in this order, but "
                "further down a trajectory is interrupted or time goes back; say what the columns are: columns=. "
                f"First rows:\n{layout.preview()}"
            )
    if known.choice.weak_id and "n" in known.choice.position and len(n) > 1 and table["n"].is_unique:
        raise DataError(
            "the column 'id' is different in every row: it is no trajectory index; columns={'n': …}"
        )
    if (np.abs(n) >= 2.0**53).any():
        raise DataError("trajectory indices are so large that they cannot be told apart; number them anew")
    lost = n == -1
    if lost.any() and (n[~lost] >= 0).all():
        if untracked == "raise":
            raise DataError(
                f"the trajectory index is -1 in {np.sum(lost)} rows of {len(n)}, which mostly means: in no "
                "trajectory; untracked='drop' leaves them out"
            )
        table.loc[lost, "n"] = np.nan
