"""The command that says what a file of trajectories is."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from .cli_base import JSON, WRONG_USAGE, plainly, say_json
from .errors import TramwayDaskError, UnitsWarning

__all__ = ["describe_file", "info"]

ROWS = 3
KEYS = (
    "file",
    "format",
    "reader",
    "columns",
    "units",
    "notes",
    "warnings",
    "kind",
    "rows",
    "trajectories",
    "dimensions",
    "steps",
    "time_steps",
    "first_rows",
    "localization_precision",
    "error",
)


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--format", "reader", default=None, help="Name of the format, instead of recognising it.")
@click.option(
    "--pixel-size", type=float, default=None, help="µm per pixel, for files that do not state units."
)
@click.option("--dt", type=float, default=None, help="Frame interval, s, for files that count frames.")
@click.option("--columns", default=None, help="What the columns are, as in nxyt; '-' for those to ignore.")
@JSON
@plainly
def info(files: tuple[Path, ...], as_json: bool, **options: Any) -> int:
    """Show what FILES are: format, columns, units, steps, first rows.

    Exit code 2 if one of them cannot be read as it is; what it lacks is said.
    """
    given = {name: value for name, value in options.items() if value is not None}
    told = []
    for i, path in enumerate(files):
        about = describe_file(path, given)
        told.append(about)
        if as_json:
            continue
        if i:
            click.echo()
        click.echo("\n".join(_lines(about)))
        if about["error"] is not None:
            click.echo(f"Error: {about['error']}", err=True)
    if as_json:
        say_json(told)
    return WRONG_USAGE if any(about["error"] is not None for about in told) else 0


def describe_file(path: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what can be told of a file, and why it cannot be read, if so.

    Returns
    -------
    dict
        ``file``, ``format``, ``reader``, ``columns``, ``units``, ``notes``, ``warnings``, ``kind``, ``rows``,
        ``trajectories``, ``dimensions``, ``steps`` (number, and quantiles in µm), ``time_steps`` (s),
        ``first_rows``, ``localization_precision`` (µm), ``error``: None where it is not known.
    """
    from .spt_data import from_files, single

    about: dict[str, Any] = dict.fromkeys(KEYS)
    about |= {"file": str(path), "notes": [], "warnings": []}
    try:
        source = single(from_files(path, **options))
        found = source.recognition
        about |= {"format": found.title, "reader": found.format, "columns": dict(found.columns)}
        about |= {"units": str(source.units), "notes": list(found.notes)}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UnitsWarning)
            table = source.dataframe
        about |= {**_numbers(table), "localization_precision": source.localization_precision}
        about["warnings"] = [str(w.message) for w in caught if issubclass(w.category, UnitsWarning)]
    except TramwayDaskError as error:
        about["error"] = str(error)
    return about


def _lines(about: Mapping[str, Any]) -> list[str]:
    """Return what is told of a file, line by line."""
    lines = [about["file"]]
    if about["format"] is not None:
        lines.append(f"  format: {about['format']} (reader {about['reader']!r})")
    if about["columns"]:
        lines.append(
            "  columns: " + ", ".join(f"{role} = {name!r}" for role, name in about["columns"].items())
        )
    if about["units"] is not None:
        lines.append(f"  {about['units']}")
    lines += [f"  note: {note}" for note in about["notes"]]
    if about["rows"] is not None:
        count = f"  {about['rows']} {about['kind']}, {about['trajectories']} trajectories"
        lines.append(f"{count}, {about['dimensions']} dimensions")
        steps, times = about["steps"], about["time_steps"]
        if steps is not None:
            span = ", ".join(f"{steps[k]:.3g}" for k in ("q5", "median", "q95"))
            lines.append(f"  {steps['number']} steps of {span} µm (5, 50, 95 %)")
            lines.append(
                f"  time steps of {times['min']:.4g} to {times['max']:.4g} s, median {times['median']:.4g} s"
            )
        rows = about["first_rows"].to_string(index=False, float_format=lambda v: f"{v:.6g}")
        lines += ["  first rows (µm, s):", *(f"    {line}" for line in rows.splitlines())]
    if about["localization_precision"] is not None:
        lines.append(f"  localization precision {about['localization_precision']:.4g} µm")
    return [*lines, *(f"  warning: {told}" for told in about["warnings"])]


def _numbers(table: Any) -> dict[str, Any]:
    import numpy as np

    from .spt_data.tables import is_translocations, space_columns, translocations

    space = space_columns(table)
    moves = translocations(table)
    lengths = np.sqrt(sum(moves[f"d{c}"].to_numpy() ** 2 for c in space))
    steps = times = None
    if len(moves):
        low, middle, high = np.percentile(lengths, [5, 50, 95])
        steps = {"number": len(moves), "q5": low, "median": middle, "q95": high}
        dt = moves["dt"].to_numpy()
        times = {"min": dt.min(), "max": dt.max(), "median": np.median(dt)}
    return {
        "kind": "translocations" if is_translocations(table) else "localizations",
        "rows": len(table),
        "trajectories": table["n"].nunique(),
        "dimensions": len(space),
        "steps": steps,
        "time_steps": times,
        "first_rows": table.head(ROWS),
    }
