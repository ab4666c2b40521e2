"""The ``tramway-dask sites`` commands: which clusters are known, whether they work, how to add one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .cli_base import FAILED, JSON, console, plainly, say_json
from .cli_completion import site_names
from .errors import ClusterError, SpecificationError

if TYPE_CHECKING:
    from .environments.check import CheckResult
    from .environments.sites import Site

__all__ = ["sites"]

NAME_WIDTH = 22
NAME = click.argument("name", shell_complete=site_names)
SAFE_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


@click.group()
def sites() -> None:
    """List, check and add clusters.

    A site is what the package knows of a cluster: host, scratch folder, modules, container, partition.
    """


@sites.command(name="list")
@JSON
@plainly
def list_sites(as_json: bool) -> None:
    """List the sites that are known here."""
    from rich.table import Table

    from .environments import sites as known

    found = [known.describe_site(name) for name in known]
    if as_json:
        say_json([_summary(site) for site in found])
        return
    broken = any(site.problem for site in found)
    table = Table("Name", "Host", "From", *(["Problem"] if broken else []), header_style="bold")
    for site in found:
        row = [site.name, site.hostname or "?", site.origin, *([site.problem] if broken else [])]
        table.add_row(*map(_text, row))
    console().print(table)
    click.echo(
        "One of them: tramway-dask sites show NAME; another one: tramway-dask sites new NAME --host user@host"
    )


def _text(text: str) -> Any:
    from rich.text import Text

    return Text(text, overflow="fold")


def _summary(site: Site) -> dict[str, Any]:
    summary = {
        k: getattr(site, k) for k in ("name", "description", "origin", "hostname", "scratch", "settings")
    }
    return {**summary, "problem": site.problem or None}


def _environment(name: str, username: str | None) -> Any:
    from .environments import sites as known

    env = known[name]()
    if username is not None:
        env.username = username
    return env


@sites.command()
@NAME
@click.option("--username", default=None, help="Yours on that cluster [default: as ~/.ssh/config says].")
@JSON
@plainly
def show(name: str, username: str | None, as_json: bool) -> int:
    """Show all that is known of the site NAME, and the script of its jobs."""
    from rich.table import Table

    from .environments import sites as known

    site = known.describe_site(name)
    script = "" if site.problem else _environment(name, username).job_script()
    if as_json:
        say_json({**_summary(site), "job_script": script or None})
        return FAILED if site.problem else 0
    out = console()
    table = Table.grid(padding=(0, 2))
    table.add_row(_text("name"), _text(site.name))
    table.add_row(_text("from"), _text(site.origin))
    if site.description:
        table.add_row(_text("description"), _text(site.description))
    for key, value in site.settings.items():
        table.add_row(_text(key), _text(str(value)))
    out.print(table)
    if site.problem:
        click.echo(f"\nThis site is broken: {site.problem}", err=True)
        return FAILED
    click.echo(f"\nScript of a job (scheduler, RUN and worker-0 are placeholders):\n\n{script}")
    return 0


@sites.command()
@NAME
@click.option(
    "--data",
    "data",
    multiple=True,
    metavar="PATTERN",
    help="Files that the analysis will need; may be repeated.",
)
@click.option("--no-job", is_flag=True, help="Submit no job; the network of compute nodes is then not tried.")
@click.option(
    "--job-seconds", type=click.FloatRange(min=1), default=120.0, show_default=True, help="Wait for the job."
)
@click.option("--username", default=None, help="Yours on that cluster [default: as ~/.ssh/config says].")
@JSON
@plainly
def check(
    name: str, data: tuple[str, ...], no_job: bool, job_seconds: float, username: str | None, as_json: bool
) -> int:
    """Try all that runs on the site NAME need.

    Says for each test what was seen, and what to do where it does not work. Nothing is left behind on
    the cluster. A job of two minutes at most is submitted, to see what compute nodes reach.
    """
    from .environments.check import check_site

    env = _environment(name, username)
    out = console()

    def report(result: CheckResult) -> None:
        if not as_json:
            out.print(_row(result, out))

    results = check_site(env, data=data, job=not no_job, job_seconds=job_seconds, report=report)
    if as_json:
        say_json([vars(result) for result in results])
    else:
        click.echo(_verdict(results))
    return FAILED if any(result.ok is False for result in results) else 0


def _row(result: CheckResult, console: Any) -> Any:
    from rich.table import Table
    from rich.text import Text

    plain = "utf" not in console.encoding.lower()
    marks = {True: ("OK", "green"), False: ("NO", "bold red"), None: ("--", "yellow")}
    symbols = {True: "✓", False: "✗", None: "–"}
    word, style = marks[result.ok]
    row = Table.grid(padding=(0, 1))
    row.add_column(width=2)
    row.add_column(width=NAME_WIDTH)
    row.add_column()
    told = Text()
    told.append(result.evidence, style="" if result.ok else style)
    if result.remedy:
        told.append("\n" if plain else "\n→ ", style="bold")
        told.append(result.remedy)
    row.add_row(Text(word if plain else symbols[result.ok], style), Text(result.name, overflow="fold"), told)
    return row


def _verdict(results: Sequence[CheckResult]) -> str:
    failed = sum(result.ok is False for result in results)
    skipped = sum(result.ok is None for result in results)
    tail = f", {skipped} not tried" if skipped else ""
    if failed:
        return f"\n{failed} of {len(results)} tests failed{tail}."
    if skipped:
        return f"\nNo test failed: {len(results) - skipped} passed{tail}."
    return f"\nAll is well: {len(results)} tests passed."


def _default_file(name: str) -> Path:
    import dask.config

    from .environments import sites as known

    folder = Path(dask.config.PATH).expanduser()
    if folder.is_file():
        raise SpecificationError(
            f"Dask's configuration is the file {folder}, not a folder: name a file with --output"
        )
    if name in known:
        site = known.describe_site(name)
        raise SpecificationError(
            f"there is a site {site.name!r} already ({site.origin}); choose another name"
        )
    return folder / f"tramway-{name}.yaml"


@sites.command()
@click.argument("name")
@click.option("--host", required=True, metavar="USER@HOST", help="Login node, as for ssh.")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=None, help="Of SSH [default: as ~/.ssh/config says]."
)
@click.option(
    *("-o", "--output"),
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="File to write [default: tramway-NAME.yaml in Dask's configuration folder].",
)
@JSON
@plainly
def new(name: str, host: str, port: int | None, output: Path | None, as_json: bool) -> None:
    """Ask a cluster how it is made, and write that as the site NAME.

    Only commands that read are run there. The file says where each value comes from; those to check are
    marked.
    """
    from .environments.newsite import describe_cluster, to_yaml

    if not SAFE_NAME.fullmatch(name):
        raise SpecificationError(f"name of a site: expected letters, digits, '.', '_' and '-', got {name!r}")
    path = output or _default_file(name)
    if path.exists():
        raise SpecificationError(f"{path} is there already, and is not replaced; move it, or give --output")
    username, _, hostname = host.rpartition("@")
    if not hostname:
        raise SpecificationError(f"--host: expected user@host, got {host!r}")
    outputs, user = _ask(hostname, username or None, port)
    description = describe_cluster(outputs, hostname=hostname, username=user)
    text = to_yaml(name, description)
    if port is not None:
        text = text.replace("\n      # ", f"\n      port: {port}\n      # ", 1)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise SpecificationError(f"cannot write {path}: {error.strerror or error}") from error
    unsure = {key: choice for key, choice in description.items() if not choice.sure}
    if as_json:
        doubts = {key: {"value": choice.value, "why": choice.why} for key, choice in unsure.items()}
        say_json({"name": name, "file": path, "to_check": doubts})
        return
    click.echo(f"Written: {path}")
    if unsure:
        click.echo("Please check there:")
        for key, choice in unsure.items():
            click.echo(f"  {key}: {'not set' if choice.value is None else choice.value} ({choice.why})")
    click.echo(f"Then try it: tramway-dask sites check {name}")


def _ask(hostname: str, username: str | None, port: int | None) -> tuple[Mapping[str, str], str | None]:
    """Return what the commands print, and the name of the user there."""
    from .environments.newsite import COMMANDS
    from .environments.ssh import Connection, LoopThread

    async def work() -> tuple[dict[str, str], str | None]:
        async with Connection(hostname, username=username, port=port, reconnect_for=20) as shell:
            outputs = {}
            for key, command in COMMANDS.items():
                try:
                    done = await shell.run(command, check=False)
                except ClusterError as error:
                    click.echo(f"{key}: {error}", err=True)
                    continue
                outputs[key] = done.stdout
            return outputs, shell.username

    with LoopThread() as loop:
        outputs, user = loop.call(work())
    if not (outputs.get("sinfo") or outputs.get("partitions") or "").strip():
        raise ClusterError(
            f"{hostname}: sinfo says nothing: is Slurm there, and in the PATH of a login shell? If it comes as a "
            "module, load it in ~/.bash_profile on the cluster"
        )
    return outputs, user
