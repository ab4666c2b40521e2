"""The ``tramway-dask`` commands about runs on clusters: detached ones, and interactive sessions."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from .cli_base import FAILED, JSON, plainly, say_json
from .cli_completion import run_names

__all__ = ["COMMANDS"]


def _handle(run: str | None, results: Path | None = None) -> Any:
    from .analyzer.detached import attach

    return attach(run, results)


RUN = click.argument("run", required=False, shell_complete=run_names)
THIS_RUN = click.argument("run", shell_complete=run_names)


@click.command()
@JSON
@click.option("--status", "ask", is_flag=True, help="Ask the clusters how the runs are.")
@plainly
def runs(as_json: bool, ask: bool) -> None:
    """List the runs on clusters that were started from this computer.

    --status asks each cluster how they are.
    """
    from .environments.records import read_records, runs_folder

    records = read_records()
    states = {record.run_id: _state(record.run_id) for record in records} if ask else {}
    if as_json:
        rows = [{**asdict(r), **({"state": states[r.run_id]} if ask else {})} for r in records]
        say_json(rows)
        return
    if not records:
        click.echo(f"no run is known here ({runs_folder()} has no record)")
        return
    for record in records:
        fetched = f"fetched {record.fetched}" if record.fetched else "not fetched"
        click.echo(
            f"{record.run_id}  {record.mode}  {record.environment} ({record.host})  started {record.started}, {fetched}"
        )
        if ask:
            click.echo(f"    {states[record.run_id]}")
        if record.results:
            click.echo(f"    results: {record.results}")


def _state(run: str) -> str:
    from .errors import ClusterError

    try:
        found = _handle(run).status()
    except ClusterError as error:
        return f"unknown: {error}"
    return f"{found.state}, {found.why}" if found.why else str(found.state)


@click.command()
@RUN
@JSON
@click.option("--wait", is_flag=True, help="Wait until the run is over.")
@plainly
def status(run: str | None, as_json: bool, wait: bool) -> int:
    """Say how far a run is.

    RUN is its name, or the beginning or end of it [default: the latest run]. The exit code is 1 if
    something has failed.
    """
    handle = _handle(run)
    found = handle.wait() if wait else handle.status()
    if as_json:
        say_json(found.to_dict())
    else:
        click.echo(str(found))
    return FAILED if found.over and found.state != "done" else 0


@click.command()
@RUN
@JSON
@plainly
def logs(run: str | None, as_json: bool) -> None:
    """Show why units of a run have failed, or its jobs.

    RUN is its name, or the beginning or end of it [default: the latest run].
    """
    handle = _handle(run)
    if as_json:
        say_json({"run": handle.run_id, "log": handle.logs()})
    else:
        click.echo(handle.logs())


@click.command()
@RUN
@click.option(
    "--results",
    type=click.Path(path_type=Path),
    default=None,
    help="Results folder [default: as at the start].",
)
@click.option("--overwrite", is_flag=True, help="Replace results made with other parameters meanwhile.")
@JSON
@plainly
def fetch(run: str | None, results: Path | None, overwrite: bool, as_json: bool) -> int:
    """Bring what a run has finished into the results folder.

    It may be repeated while the run goes on. RUN is its name, or the beginning or end of it [default: the
    latest run].
    """
    handle = _handle(run, results)
    found = handle.fetch(overwrite=overwrite or None)
    if as_json:
        say_json({**found.to_dict(), "results": handle.results.folder, "received": handle.received})
    else:
        click.echo(str(found))
        click.echo(f"results are in {handle.results.folder} ({handle.received / 1e6:.1f} MB were sent)")
    return FAILED if found.over and found.state != "done" else 0


@click.command()
@THIS_RUN
@JSON
@plainly
def cancel(run: str, as_json: bool) -> None:
    """Cancel the jobs of a run, or end an interactive session.

    What is done can still be fetched.
    """
    handle = _handle(run)
    handle.cancel()
    if as_json:
        say_json({"run": handle.run_id, "done": "cancelled"})
    else:
        click.echo(
            f"run {handle.run_id} is cancelled; 'tramway-dask fetch {handle.run_id}' brings what is done"
        )


@click.command()
@RUN
@JSON
@plainly
def resume(run: str | None, as_json: bool) -> None:
    """Go on with a detached run that has stopped, or was cancelled.

    What is done is not done again. RUN is its name, or the beginning or end of it [default: the latest
    run].
    """
    handle = _handle(run)
    handle.resume()
    if as_json:
        say_json({"run": handle.run_id, "done": "resumed"})
    else:
        click.echo(f"run {handle.run_id} goes on; 'tramway-dask status {handle.run_id}' says how far it is")


@click.command()
@THIS_RUN
@JSON
@plainly
def clean(run: str, as_json: bool) -> None:
    """Delete what a run has left on the cluster, and forget it.

    Results that were not fetched are lost.
    """
    handle = _handle(run)
    handle.clean()
    if as_json:
        say_json({"run": handle.run_id, "done": "deleted"})
    else:
        click.echo(f"run {handle.run_id} is deleted")


COMMANDS = (runs, status, logs, fetch, cancel, resume, clean)
