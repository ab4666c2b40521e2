"""The ``tramway-dask`` command.

Exit codes: 0 all done, 1 some units failed (or the disk, or the workers), 2 wrong usage.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from . import __version__
from .cli_data import info
from .cli_experiment import COMMANDS as OF_EXPERIMENTS
from .cli_report import report
from .cli_runs import COMMANDS
from .cli_sites import sites
from .errors import ClusterError, StoreError, TramwayDaskError

__all__ = ["main"]

FAILED = 1
WRONG_USAGE = 2
ABOVE_0 = click.FloatRange(min=0, min_open=True)
FROM_0 = click.FloatRange(min=0)


def _plainly(command: Callable[..., Any]) -> Callable[..., Any]:
    """Say our errors without a traceback and turn them into exit codes."""

    @functools.wraps(command)
    def wrapped(*args: Any, **options: Any) -> None:
        try:
            code = command(*args, **options)
        except (StoreError, ClusterError) as error:
            click.echo(f"Error: {error}", err=True)
            code = FAILED
        except TramwayDaskError as error:
            # the API's way to say it is no help here
            told = str(error).replace("pass overwrite=True", "add --overwrite")
            click.echo(f"Error: {told}", err=True)
            code = WRONG_USAGE
        sys.exit(code or 0)

    return wrapped


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="tramway-dask")
def main() -> None:
    """Map diffusivity, drift, force and potential from molecule trajectories, on Dask."""


main.add_command(sites)
main.add_command(info)
main.add_command(report)


@main.command()
@click.option(
    "--workers", type=click.IntRange(min=1), default=None, help="Worker processes [default: CPUs, at most 4]."
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("tramway-demo"),
    show_default=True,
    help="Where data, results and pictures go.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the simulation.")
@_plainly
def demo(workers: int | None, folder: Path, seed: int) -> int:
    """Simulate a small experiment and map it.

    The maps are compared with the truth. Takes well under a minute; what it leaves in the folder,
    config.toml included, is an example for analyses of your own.
    """
    from .demo import run_demo

    return 0 if run_demo(folder, workers=workers, seed=seed) else FAILED


@main.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--workers", type=click.IntRange(min=1), default=None, help="Worker processes; replaces [env].")
@click.option(
    "--results", type=click.Path(path_type=Path), default=None, help="Results folder; replaces the file's."
)
@click.option("--overwrite", is_flag=True, help="Replace results made with other parameters.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
@click.option("--site", default=None, help="Cluster to run on; see `tramway-dask sites list`.")
@click.option(
    "--detach", is_flag=True, help="Submit jobs to the cluster and return; see `tramway-dask status`."
)
@_plainly
def run(
    config: Path,
    workers: int | None,
    results: Path | None,
    overwrite: bool,
    quiet: bool,
    site: str | None,
    detach: bool,
) -> int:
    """Run the analysis that CONFIG (TOML or YAML) describes.

    What the results folder holds already is not done again. For an example of a configuration, run
    `tramway-dask demo` and see tramway-demo/config.toml.
    """
    analyzer = _configured(config, workers, results, site)
    if detach:
        click.echo(repr(analyzer.run(overwrite=overwrite, detach=True)))
        return 0
    report = analyzer.run(overwrite=overwrite, progress=not quiet)
    click.echo(report.summary())
    return 0 if report.ok else FAILED


@main.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--results", type=click.Path(path_type=Path), default=None, help="Results folder; replaces the file's."
)
@click.option("--overwrite", is_flag=True, help="As if run was told to replace results.")
@click.option("--all", "everything", is_flag=True, help="List every unit.")
@click.option("--site", default=None, help="Cluster that would run it, where files may be.")
@_plainly
def plan(config: Path, results: Path | None, overwrite: bool, everything: bool, site: str | None) -> None:
    """Show what `run CONFIG` would do, without doing it."""
    analyzer = _configured(config, None, results, site)
    with contextlib.nullcontext() if analyzer.env is None else analyzer.env.ending():
        planned = analyzer.plan(overwrite=overwrite)
        table = planned.to_frame()
    _print_table(table, None if everything else 20)
    click.echo(planned.summary())


@main.command()
@click.argument("results", type=click.Path(path_type=Path))
@click.option("--label", default=None, help="Label of the maps; may be left out if there is only one.")
@click.option("--csv", is_flag=True, help="Write the whole table as CSV.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="CSV file; default: standard output.",
)
@_plainly
def maps(results: Path, label: str | None, csv: bool, output: Path | None) -> None:
    """Show or export the maps in a RESULTS folder.

    All sources and regions are in one table: one row per cell, lengths in µm, diffusivity in µm²/s,
    standard errors in the columns that end with "se".
    """
    from .analyzer.tables import maps_table
    from .results import Store
    from .results.files import write_atomically

    table = maps_table(_existing(Store(results)), label)
    if output is not None:
        write_atomically(output, table.to_csv(index=False).encode())
        click.echo(f"{len(table)} rows written to {output}")
    elif csv:
        table.to_csv(sys.stdout, index=False)
    else:
        _print_table(table, 20)
        click.echo(f"{len(table)} rows; add --csv for all of them")


@main.command()
@click.argument("results", type=click.Path(path_type=Path))
@click.option("--label", default=None, help="Label of the maps; may be left out if there is only one.")
@click.option(
    "--variable", "variables", multiple=True, help="Mapped variable; may be repeated [default: all]."
)
@click.option("--source", "sources", multiple=True, help="Only these sources; may be repeated.")
@click.option("--log", is_flag=True, help="Logarithmic colour scale.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Folder [default: RESULTS/pictures].",
)
@_plainly
def plot(
    results: Path,
    label: str | None,
    variables: tuple[str, ...],
    sources: tuple[str, ...],
    log: bool,
    output: Path | None,
) -> None:
    """Draw the maps in a RESULTS folder, one picture per source."""
    from . import plot as plots
    from .analyzer.tables import only_label
    from .results import Store

    store = _existing(Store(results))
    written = plots.results(
        store,
        label or only_label(store),
        sources=list(sources) or None,
        variables=list(variables) or None,
        out_dir=output or results / "pictures",
        log=log,
    )
    for path in written:
        click.echo(path)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--files", type=click.IntRange(min=1), default=2, show_default=True, help="Number of files.")
@click.option("--trajectories", type=click.IntRange(min=1), default=500, show_default=True, help="Per file.")
@click.option("--duration", type=ABOVE_0, default=10.0, show_default=True, help="Of the recording, s.")
@click.option("--time-step", type=ABOVE_0, default=0.02, show_default=True, help="Between frames, s.")
@click.option("--diffusivity", type=FROM_0, default=0.1, show_default=True, help="µm²/s.")
@click.option(
    "--well-depth", type=float, default=0.0, show_default=True, help="Of a potential well in the middle, kT."
)
@click.option("--localization-precision", type=FROM_0, default=0.02, show_default=True, help="µm.")
@click.option("--size", type=ABOVE_0, default=2.0, show_default=True, help="Side of the field, µm.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random numbers.")
@_plainly
def simulate(folder: Path, files: int, seed: int, **options: Any) -> None:
    """Write simulated trajectories into FOLDER.

    The files are cell000.trxyt, cell001.trxyt, …: columns n, x, y (µm), t (s), without a header.
    """
    from .demo import simulate_files

    for path in simulate_files(folder, files=files, seed=seed, **options):
        click.echo(path)


for _command in (*COMMANDS, *OF_EXPERIMENTS):
    main.add_command(_command)


def _configured(config: Path, workers: int | None, results: Path | None, site: str | None = None) -> Any:
    from .analyzer.configuration import read_configuration

    analyzer = read_configuration(config, site=site)
    if results is not None:
        analyzer.results = results
    if workers is not None and site is not None:
        analyzer.env.worker_count = workers
    elif workers is not None:
        from .environments import LocalHost

        analyzer.env = LocalHost(worker_count=workers)
    return analyzer


def _existing(store: Any) -> Any:
    if not store.folder.is_dir():
        raise StoreError(
            f"no results folder {store.folder}; give the folder that `tramway-dask run` has named"
        )
    return store


def _print_table(table: Any, limit: int | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from .roi.boxes import short_label

    shown = table if limit is None or len(table) <= limit else table.head(limit)
    drawn = Table(header_style="bold")
    for column in shown.columns:
        number = shown[column].dtype.kind in "if"
        drawn.add_column(str(column), justify="right" if number else "left", no_wrap=number, overflow="fold")
    for row in shown.itertuples(index=False):
        drawn.add_row(*(f"{v:.4g}" if isinstance(v, float) else short_label(str(v), 60) for v in row))
    # a pipe has no width: do not cut what a program may read
    Console(width=None if sys.stdout.isatty() else 240).print(drawn)
    if len(shown) < len(table):
        click.echo(f"… and {len(table) - len(shown)} more rows")
