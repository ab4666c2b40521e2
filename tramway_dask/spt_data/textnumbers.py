"""The numbers of a text file: chosen columns, as they stand in it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd

from ..errors import DataError
from .columns import Choice
from .tables import SPACE
from .textlayout import NOT_A_NUMBER, Layout

__all__ = ["EXACT", "as_numbers", "read_numbers"]

# the same digits as by Arrow; and what is not exact crashes at exponents like e9991588203 before pandas 3
EXACT: dict[str, Any] = {} if int(pd.__version__.split(".")[0]) >= 3 else {"float_precision": "round_trip"}


def read_numbers(layout: Layout, choice: Choice) -> pd.DataFrame:
    """Return the chosen columns of a text file as they stand in it."""
    roles = choice.position
    core = {role: at for role, at in roles.items() if role in ("n", *SPACE, "t", "frame")}
    others = {role: at for role, at in roles.items() if role not in core}
    table = _by_arrow(layout, core, others)
    if table is None:
        table = _by_pandas(layout, core, others)
    if table is None or not all(np.isfinite(table[c].to_numpy()).all() for c in core if c != "n"):
        layout.diagnose(core)
        raise DataError("the file is not a regular table of numbers")
    if not len(table):
        raise DataError("the file has no rows of data")
    return table


def _by_arrow(layout: Layout, core: dict[str, int], others: dict[str, int]) -> pd.DataFrame | None:
    if layout.blanks or layout.decimal != ".":
        return None
    try:
        import pyarrow as pa
        from pyarrow import csv
    except ImportError:
        return None
    names = [str(i) for i in range(layout.width)]
    wanted = sorted({*core.values(), *others.values()})
    typed = {*core.values(), *(at for role, at in others.items() if role == "sigma")}
    try:
        read = csv.read_csv(
            layout.path,
            read_options=csv.ReadOptions(
                skip_rows=layout.first_line - 1, column_names=names, encoding=layout.encoding
            ),
            parse_options=csv.ParseOptions(delimiter=layout.sep),
            convert_options=csv.ConvertOptions(
                include_columns=[str(i) for i in wanted],
                column_types={str(i): pa.float64() for i in typed},
                null_values=NOT_A_NUMBER,
                strings_can_be_null=True,
            ),
        )
    except (pa.ArrowInvalid, UnicodeDecodeError):
        return None
    data: dict[str, Any] = {role: _writeable(read.column(str(at)).to_numpy()) for role, at in core.items()}
    data.update({role: read.column(str(at)).to_pandas().array for role, at in others.items()})
    return pd.DataFrame(data, copy=False)


def as_numbers(values: pd.Series) -> np.ndarray:
    """Return floats; NaN for what is no number."""
    if values.dtype.kind in "biuf":
        return values.to_numpy(dtype=float)
    # of text, one by one: pandas before version 3 may crash at large exponents here too
    return np.array([_number(value) for value in values], dtype=float)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return np.nan


def _writeable(values: np.ndarray) -> np.ndarray:
    return values if values.flags.writeable else values.copy()


def _by_pandas(layout: Layout, core: dict[str, int], others: dict[str, int]) -> pd.DataFrame | None:
    # one column more than there should be catches lines that are too long, which pandas would cut
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            read = pd.read_csv(
                layout.path,
                sep=r"\s+" if layout.blanks else layout.sep,
                header=None,
                names=list(range(layout.width + 1)),
                low_memory=False,
                index_col=False,
                skiprows=layout.first_line - 1,
                dtype=dict.fromkeys(core.values(), float),
                decimal=layout.decimal,
                encoding=layout.encoding,
                encoding_errors="replace",
                na_values=NOT_A_NUMBER,
                skipinitialspace=True,
                engine="c",
                **EXACT,
            )
    except pd.errors.EmptyDataError:
        raise DataError("the file has no rows of data") from None
    except (ValueError, pd.errors.ParserError, pd.errors.ParserWarning):
        return None
    if read[layout.width].notna().any():
        return None
    return pd.DataFrame({role: read[at].array for role, at in {**core, **others}.items()})
