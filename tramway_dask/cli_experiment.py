"""The ``tramway-dask`` commands about experiments: manifests, comparisons, exports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .cli_base import JSON, existing, plainly, say_files, say_json
from .errors import SpecificationError

__all__ = ["COMMANDS"]

RESULTS = click.argument("results", type=click.Path(path_type=Path))
LABEL = click.option("--label", default=None, help="Label of the maps; may be left out if there is only one.")
SAMPLING = click.option("--sampling", default=None, help="Label of the sampling, if several have such maps.")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="[default: FOLDER/manifest.csv]")
@click.option("--overwrite", is_flag=True, help="Replace a manifest that is there.")
@click.option("--flat", is_flag=True, help="Do not look into folders below.")
@JSON
@plainly
def manifest(folder: Path, output: Path | None, overwrite: bool, flat: bool, as_json: bool) -> None:
    """Write a first manifest of the files in FOLDER, to be filled in.

    Comments in it say what each file was recognised as, and what the file does not say: frame interval,
    pixel size. Give it to an analysis with [spt_data.from_manifest] path = "manifest.csv".
    """
    from .results.files import write_atomically
    from .spt_data.drafting import draft

    target = folder / "manifest.csv" if output is None else output
    if target.exists() and not overwrite:
        raise SpecificationError(
            f"{target} is there already; add --overwrite to replace it, or -o another name"
        )
    text = draft(folder, recursive=not flat, relative_to=target.parent)
    write_atomically(target, text.encode())
    rows = sum(not line.startswith("#") for line in text.splitlines()) - 1
    if as_json:
        say_json({"manifest": target, "files": rows})
    else:
        click.echo(f"{rows} files listed in {target}")


@click.command()
@RESULTS
@LABEL
@SAMPLING
@click.option("--variable", default="diffusivity", show_default=True, help="Mapped variable.")
@click.option(
    "--statistic", type=click.Choice(["mean", "median"]), default="mean", help="Of the cells of a file."
)
@click.option(
    "--test",
    type=click.Choice(["permutation", "welch", "mann-whitney"]),
    default="permutation",
    show_default=True,
)
@click.option(
    "--unit",
    type=click.Choice(["file", "replicate"]),
    help="[default: the replicate, where all files have one]",
)
@click.option("--paired", is_flag=True, help="Compare within replicates of the same name.")
@click.option("--reference", default=None, help="Condition that the others are compared with.")
@click.option("--csv", is_flag=True, help="Write the value of each file as CSV.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Picture to draw.")
@JSON
@plainly
def compare(
    results: Path,
    label: str | None,
    sampling: str | None,
    variable: str,
    csv: bool,
    output: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Compare conditions in a RESULTS folder, file by file.

    The cells of a file are no independent observations: however many there are, a file counts once, and so
    does a replicate if the manifest names replicates.
    """
    from .analyzer.tables import maps_table, of_sampling
    from .experiment import compare as compared
    from .plot import save

    found = compared(of_sampling(maps_table(existing(results), label), sampling), variable, **options)
    if output is not None:
        save(found.plot().figure, output)
    if as_json:
        names = (
            "variable",
            "quantity_unit",
            "statistic",
            "unit",
            "confidence",
            "conditions",
            "tests",
            "files",
        )
        say_json({**{name: getattr(found, name) for name in (*names, "notes")}, "picture": output})
        return
    click.echo(found.files.to_csv(index=False).rstrip("\n") if csv else found.summary())
    if output is not None:
        click.echo(output, err=csv)


@click.command()
@RESULTS
@click.option(
    "--format",
    "form",
    required=True,
    type=click.Choice(["parquet", "csv", "geojson", "zarr", "trxyt", "tracks", "trackpy", "napari", "rwa"]),
    help="Maps: parquet, csv, geojson, zarr. Trajectories: trxyt, tracks (parquet), trackpy, napari. All: rwa.",
)
@LABEL
@SAMPLING
@click.option("--source", "sources", multiple=True, help="Only these sources; may be repeated.")
@click.option("--pixel-size", type=float, help="µm; lengths in pixels for trackpy and napari.")
@click.option(
    "--dt", type=float, help="Frame interval (s) for trackpy and napari [default: that of the data]."
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="File or folder [default: in RESULTS/exports]."
)
@JSON
@plainly
def export(
    results: Path,
    form: str,
    label: str | None,
    sampling: str | None,
    sources: tuple[str, ...],
    pixel_size: float | None,
    dt: float | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Write what is in a RESULTS folder for other programs.

    Trajectories are read again from the files that the run has read.
    """
    from .analyzer.exporting import export as exported
    from .analyzer.exporting import recorded_sources

    store = existing(results)
    written = exported(
        store,
        recorded_sources(store),
        form,
        output,
        label,
        sampling=sampling,
        only=list(sources) or None,
        pixel_size=pixel_size,
        dt=dt,
    )
    say_files("files", written, as_json)


COMMANDS = (manifest, compare, export)
