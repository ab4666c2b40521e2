"""What the ``tramway-dask`` commands share: exit codes, JSON, tables, sections of the help.

Exit codes: 0 all done, 1 something failed (units, the disk, the workers, a cluster), 2 wrong usage or
input that cannot be used.
"""

from __future__ import annotations

import functools
import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from .errors import ClusterError, StoreError, TramwayDaskError

__all__ = [
    "FAILED",
    "JSON",
    "WRONG_USAGE",
    "Sections",
    "console",
    "existing",
    "plainly",
    "print_table",
    "say_files",
    "say_json",
]

FAILED = 1
WRONG_USAGE = 2
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document, for programs.")
# columns of what is not a terminal: what a program may read is not cut
PIPE_WIDTH = 240


class Sections(click.Group):
    """A group whose help lists its commands in sections; errors are JSON where that was asked for.

    Attributes
    ----------
    sections : dict
        Names of commands by title; what is in none comes last.
    """

    sections: Mapping[str, tuple[str, ...]] = {}

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands into the help."""
        known = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        listed = {name for names in self.sections.values() for name in names}
        others = tuple(name for name in known if name not in listed)
        width = max(map(len, known), default=0)
        for title, names in {**self.sections, "Others": others}.items():
            shown = [(name, command) for name in names if (command := known.get(name)) is not None]
            rows = [(f"{n:<{width}}", c.get_short_help_str(limit=72)) for n, c in shown if not c.hidden]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command; see `click.Command.main`."""
        words = sys.argv[1:] if args is None else list(args)
        as_json = standalone_mode and "--json" in words
        try:
            code = super().main(args, prog_name, complete_var, standalone_mode and not as_json, **extra)
        except click.ClickException as error:
            if not as_json:
                raise
            _say_error("UsageError", error.format_message(), error.exit_code)
            code = error.exit_code
        except click.Abort:
            if not as_json:
                raise
            _say_error("Abort", "interrupted", FAILED)
            code = FAILED
        if as_json:
            sys.exit(code or 0)
        return code


def plainly(command: Callable[..., Any]) -> Callable[..., Any]:
    """Say our errors without a traceback and turn them into exit codes."""

    @functools.wraps(command)
    def wrapped(*args: Any, **options: Any) -> None:
        try:
            code = command(*args, **options)
        except TramwayDaskError as error:
            code = FAILED if isinstance(error, StoreError | ClusterError) else WRONG_USAGE
            # the API's way to say it is no help here
            told = str(error).replace("pass overwrite=True", "add --overwrite")
            if options.get("as_json"):
                _say_error(type(error).__name__, told, code)
            else:
                click.echo(f"Error: {told}", err=True)
        sys.exit(code or 0)

    return wrapped


def _say_error(kind: str, message: str, code: int) -> None:
    click.echo(json.dumps({"error": {"type": kind, "message": message, "exit_code": code}}), err=True)


def say_json(value: Any) -> None:
    """Print a value as the one JSON document of a command; what is no number becomes null."""
    click.echo(json.dumps(_plain(value), indent=2, allow_nan=False))


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(v) for v in value]
    if hasattr(value, "to_dict"):  # a table
        return [_plain(row) for row in value.to_dict("records")]
    if hasattr(value, "tolist"):  # of numpy
        return _plain(value.tolist())
    return None if str(value) in ("NaT", "<NA>") else str(value)


def say_files(name: str, paths: Iterable[Any], as_json: bool) -> None:
    """Print the files that were written, one a line, or as JSON under a name."""
    if as_json:
        say_json({name: list(paths)})
        return
    for path in paths:
        click.echo(path)


def existing(results: Path) -> Any:
    """Return the store of a results folder.

    Raises
    ------
    StoreError
        If there is no such folder.
    """
    from .results import Store

    if not results.is_dir():
        raise StoreError(f"no results folder {results}; give the folder that `tramway-dask run` has named")
    return Store(results)


def console() -> Any:
    """Return where tables are printed: no colours if that is no terminal, or NO_COLOR is set."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)


def print_table(table: Any, limit: int | None) -> None:
    """Print a DataFrame, or its first rows."""
    from rich.table import Table

    from .roi.boxes import short_label

    shown = table if limit is None or len(table) <= limit else table.head(limit)
    drawn = Table(header_style="bold")
    for column in shown.columns:
        number = shown[column].dtype.kind in "if"
        drawn.add_column(str(column), justify="right" if number else "left", no_wrap=number, overflow="fold")
    for row in shown.itertuples(index=False):
        drawn.add_row(*(f"{v:.4g}" if isinstance(v, float) else short_label(str(v), 60) for v in row))
    console().print(drawn)
    if len(shown) < len(table):
        click.echo(f"… and {len(table) - len(shown)} more rows")
