"""Completion of commands, options, files, runs and sites by the shell."""

from __future__ import annotations

import contextlib

import click

from .errors import TramwayDaskError

__all__ = ["completion", "run_names", "site_names"]

PROGRAM = "tramway-dask"
VARIABLE = "_TRAMWAY_DASK_COMPLETE"
SHELLS = ("bash", "zsh", "fish")


# \b: lines that are not to be filled
HELP = """Print what makes SHELL complete commands, options, runs, sites.

\b
bash: eval "$(tramway-dask completion bash)"     in ~/.bashrc
zsh:  eval "$(tramway-dask completion zsh)"      in ~/.zshrc
fish: tramway-dask completion fish | source      in ~/.config/fish/config.fish
"""


@click.command(help=HELP)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes a shell complete commands, options, runs, sites."""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(context.find_root().command, {}, PROGRAM, VARIABLE).source())


def run_names(_: click.Context, __: click.Parameter, begun: str) -> list[str]:
    """Return the runs that are known here and whose names begin so."""
    from .environments.records import read_records

    with contextlib.suppress(TramwayDaskError, OSError):
        return [r.run_id for r in read_records() if r.run_id.startswith(begun)]
    return []


def site_names(_: click.Context, __: click.Parameter, begun: str) -> list[str]:
    """Return the sites that are known here and whose names begin so."""
    from .environments import sites

    with contextlib.suppress(TramwayDaskError, OSError):
        return [name for name in sites if name.startswith(begun)]
    return []
