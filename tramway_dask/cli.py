"""The ``tramway-dask`` command; its exit codes are told in `cli_base`."""

from __future__ import annotations

import contextlib
import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import __version__
from .cli_base import FAILED, JSON, Sections, existing, plainly, print_table, say_files, say_json
from .cli_completion import completion, site_names
from .cli_data import info
from .cli_experiment import COMMANDS as OF_EXPERIMENTS
from .cli_report import report
from .cli_runs import COMMANDS
from .cli_sites import sites

if TYPE_CHECKING:
    from .pipeline.report import RunReport

__all__ = ["main"]

ABOVE_0 = click.FloatRange(min=0, min_open=True)
FROM_0 = click.FloatRange(min=0)


class _Main(Sections):
    sections = {
        "Begin": ("demo", "simulate", "info", "manifest"),
        "Analyse": ("plan", "run"),
        "Look at results": ("maps", "plot", "report", "compare", "export"),
        "Runs on clusters": ("runs", "status", "logs", "fetch", "cancel", "resume", "clean"),
        "Set up": ("sites", "completion"),
    }


@click.group(
    cls=_Main,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 all done; 1 something failed (units, the disk, workers, a cluster); 2 wrong usage, or input "
    "that cannot be used. With --json, a command prints one JSON document on standard output, and errors as JSON "
    "on standard error.",
)
@click.version_option(__version__, prog_name="tramway-dask")
def main() -> None:
    """Map diffusivity, drift, force and potential from molecule trajectories, on Dask."""


for _command in (sites, info, report, completion):
    main.add_command(_command)


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
@JSON
@plainly
def demo(workers: int | None, folder: Path, seed: int, as_json: bool) -> int:
    """Simulate a small experiment and map it.

    The maps are compared with the truth. Takes well under a minute; what it leaves in the folder,
    config.toml included, is an example for analyses of your own.
    """
    from .demo import run_demo

    said = functools.partial(click.echo, err=True) if as_json else click.echo
    ok = run_demo(folder, workers=workers, seed=seed, say=said)
    if as_json:
        parts = {name: folder / name for name in ("data", "results", "pictures")}
        say_json({"ok": ok, "folder": folder, **parts, "config": folder / "config.toml"})
    return 0 if ok else FAILED


@main.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--workers", type=click.IntRange(min=1), default=None, help="Worker processes; replaces [env].")
@click.option(
    "--results", type=click.Path(path_type=Path), default=None, help="Results folder; replaces the file's."
)
@click.option("--overwrite", is_flag=True, help="Replace results made with other parameters.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
@click.option(
    "--site",
    default=None,
    shell_complete=site_names,
    help="Cluster to run on; see `tramway-dask sites list`.",
)
@click.option(
    "--detach", is_flag=True, help="Submit jobs to the cluster and return; see `tramway-dask status`."
)
@JSON
@plainly
def run(
    config: Path,
    workers: int | None,
    results: Path | None,
    overwrite: bool,
    quiet: bool,
    site: str | None,
    detach: bool,
    as_json: bool,
) -> int:
    """Run the analysis that CONFIG (TOML or YAML) describes.

    What the results folder holds already is not done again. For an example of a configuration, run
    `tramway-dask demo` and see tramway-demo/config.toml.
    """
    analyzer = _configured(config, workers, results, site)
    if detach:
        handle = analyzer.run(overwrite=overwrite, detach=True)
        if as_json:
            say_json({"run": handle.run_id, "results": handle.results.folder})
        else:
            click.echo(repr(handle))
        return 0
    report = analyzer.run(overwrite=overwrite, progress=not quiet)
    if as_json:
        say_json(_told(report))
    else:
        click.echo(report.summary())
    return 0 if report.ok else FAILED


def _told(report: RunReport) -> dict[str, Any]:
    names = ("done", "skipped", "failed", "retried", "discarded", "seconds", "warnings")
    failures = report.failures[["stage", "source", "roi", "message", "host"]]
    return {
        "ok": report.ok,
        "results": report.folder,
        **{name: getattr(report, name) for name in names},
        "failures": failures,
    }


@main.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--results", type=click.Path(path_type=Path), default=None, help="Results folder; replaces the file's."
)
@click.option("--overwrite", is_flag=True, help="As if run was told to replace results.")
@click.option("--all", "everything", is_flag=True, help="List every unit.")
@click.option(
    "--site", default=None, shell_complete=site_names, help="Cluster that would run it, where files may be."
)
@JSON
@plainly
def plan(
    config: Path, results: Path | None, overwrite: bool, everything: bool, site: str | None, as_json: bool
) -> None:
    """Show what `run CONFIG` would do, without doing it."""
    analyzer = _configured(config, None, results, site)
    with contextlib.nullcontext() if analyzer.env is None else analyzer.env.ending():
        planned = analyzer.plan(overwrite=overwrite)
        table = planned.to_frame()
    if as_json:
        counts = table["status"].value_counts().to_dict()
        say_json({"results": analyzer.results.folder, "counts": counts, "units": table})
        return
    print_table(table, None if everything else 20)
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
@JSON
@plainly
def maps(results: Path, label: str | None, csv: bool, output: Path | None, as_json: bool) -> None:
    """Show or export the maps in a RESULTS folder.

    All sources and regions are in one table: one row per cell, lengths in µm, diffusivity in µm²/s,
    standard errors in the columns that end with "se".
    """
    from .analyzer.tables import maps_table, only_label
    from .results.files import write_atomically
    from .results.units import units_of

    store = existing(results)
    label = only_label(store) if label is None else label
    table = maps_table(store, label)
    if output is not None:
        write_atomically(output, table.to_csv(index=False).encode())
    if as_json:
        about = {"label": label, "rows": len(table), "units": units_of(table.columns)}
        say_json({**about, "file": output} if output is not None else {**about, "maps": table})
    elif output is not None:
        click.echo(f"{len(table)} rows written to {output}")
    elif csv:
        table.to_csv(sys.stdout, index=False)
    else:
        print_table(table, 20)
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
@JSON
@plainly
def plot(
    results: Path,
    label: str | None,
    variables: tuple[str, ...],
    sources: tuple[str, ...],
    log: bool,
    output: Path | None,
    as_json: bool,
) -> None:
    """Draw the maps in a RESULTS folder, one picture per source."""
    from . import plot as plots
    from .analyzer.tables import only_label

    store = existing(results)
    written = plots.results(
        store,
        label or only_label(store),
        sources=list(sources) or None,
        variables=list(variables) or None,
        out_dir=output or results / "pictures",
        log=log,
    )
    say_files("pictures", written, as_json)


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
@JSON
@plainly
def simulate(folder: Path, files: int, seed: int, as_json: bool, **options: Any) -> None:
    """Write simulated trajectories into FOLDER.

    The files are cell000.trxyt, cell001.trxyt, …: columns n, x, y (µm), t (s), without a header.
    """
    from .demo import simulate_files

    say_files("files", simulate_files(folder, files=files, seed=seed, **options), as_json)


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
