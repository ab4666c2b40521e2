"""The command that says what a file of trajectories is."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from .errors import TramwayDaskError, UnitsWarning

__all__ = ["describe_file", "info"]

ROWS = 3


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--format", "reader", default=None, help="Name of the format, instead of recognising it.")
@click.option(
    "--pixel-size", type=float, default=None, help="µm per pixel, for files that do not state units."
)
@click.option("--dt", type=float, default=None, help="Frame interval, s, for files that count frames.")
@click.option("--columns", default=None, help="What the columns are, as in nxyt; '-' for those to ignore.")
@click.pass_context
def info(context: click.Context, files: tuple[Path, ...], **options: Any) -> None:
    """Show what FILES are: format, columns, units, steps, first rows.

    Exit code 2 if one of them cannot be read as it is; what it lacks is said.
    """
    given = {name: value for name, value in options.items() if value is not None}
    failed = False
    for i, path in enumerate(files):
        if i:
            click.echo()
        lines, problem = describe_file(path, given)
        click.echo("\n".join(lines))
        if problem is not None:
            click.echo(f"Error: {problem}", err=True)
            failed = True
    context.exit(2 if failed else 0)


def describe_file(path: Path, options: Mapping[str, Any]) -> tuple[list[str], TramwayDaskError | None]:
    """Return what can be told of a file, line by line, and why it cannot be read, if so."""
    from .spt_data import from_files, single

    lines = [str(path)]
    try:
        source = single(from_files(path, **options))
        found = source.recognition
        lines.append(f"  format: {found.title} (reader {found.format!r})")
        if found.columns:
            lines.append(
                "  columns: " + ", ".join(f"{role} = {name!r}" for role, name in found.columns.items())
            )
        lines.append(f"  {source.units}")
        lines += [f"  note: {note}" for note in found.notes]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UnitsWarning)
            table = source.dataframe
        lines += _numbers(table)
        if source.localization_precision is not None:
            lines.append(f"  localization precision {source.localization_precision:.4g} µm")
        lines += [f"  warning: {w.message}" for w in caught if issubclass(w.category, UnitsWarning)]
    except TramwayDaskError as error:
        return lines, error
    return lines, None


def _numbers(table: Any) -> list[str]:
    import numpy as np

    from .spt_data.tables import is_translocations, space_columns, translocations

    space = space_columns(table)
    moves = translocations(table)
    steps = np.sqrt(sum(moves[f"d{c}"].to_numpy() ** 2 for c in space))
    what = "translocations" if is_translocations(table) else "localizations"
    lines = [f"  {len(table)} {what}, {table['n'].nunique()} trajectories, {len(space)} dimensions"]
    if len(moves):
        low, middle, high = np.percentile(steps, [5, 50, 95])
        dt = moves["dt"].to_numpy()
        lines.append(f"  {len(moves)} steps of {low:.3g}, {middle:.3g}, {high:.3g} µm (5, 50, 95 %)")
        lines.append(f"  time steps of {dt.min():.4g} to {dt.max():.4g} s, median {np.median(dt):.4g} s")
    rows = table.head(ROWS).to_string(index=False, float_format=lambda v: f"{v:.6g}")
    lines += ["  first rows (µm, s):", *(f"    {line}" for line in rows.splitlines())]
    return lines
