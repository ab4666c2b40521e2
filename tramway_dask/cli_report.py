"""The command that writes a page about a results folder."""

from __future__ import annotations

from pathlib import Path

import click

from .cli_base import JSON, plainly, say_json

__all__ = ["report"]


@click.command()
@click.argument("results", type=click.Path(path_type=Path))
@click.option(
    *("-o", "--output"),
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="HTML file [default: RESULTS/report.html].",
)
@click.option(
    "--pictures",
    type=click.IntRange(min=0),
    default=None,
    help="Maps that are shown at most [default: 600].",
)
@click.option("--title", default=None, help="Of the page [default: the name of the folder].")
@JSON
@plainly
def report(
    results: Path, output: Path | None, pictures: int | None, title: str | None, as_json: bool
) -> None:
    """Write a page about a RESULTS folder: maps, failures, methods.

    One file, which needs nothing else and loads nothing from the internet. It tells of parameters,
    versions, inputs, what was done, what failed and why, and has a paragraph for the methods section.
    """
    from .reporting import write_report

    options = {} if pictures is None else {"pictures": pictures}
    written = write_report(results, output, title=title, **options)
    if as_json:
        about = {"report": written.path, "bytes": written.size}
        say_json({**about, "pictures": written.pictures, "left_out": written.left_out})
        return
    click.echo(written.path)
    if written.left_out:
        click.echo(f"{written.left_out} pictures are left out; --pictures N shows more", err=True)
