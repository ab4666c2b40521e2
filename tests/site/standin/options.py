"""The commands and options that the stand-in knows; every other is refused."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

VERSION = "singularity version 4.1.0-standin (a stand-in of the tramway_dask test site, not Singularity)"

HELP = f"""{VERSION}

Usage:
  singularity [-q|-s|-v|-d] exec  [options] IMAGE COMMAND [ARGUMENT...]
  singularity [-q|-s|-v|-d] build [options] IMAGE RECIPE
  singularity inspect IMAGE
  singularity --version | --help

Options of exec:
  -B, --bind SRC[:DEST[:ro|rw]]   show a path of the host (repeated, or a comma list)
      --mount type=bind,src=SRC,dst=DEST[,ro]
  -H, --home SRC[:DEST]           the home folder
      --no-home                   do not show the home folder
      --no-mount home,cwd,tmp     do not show these
  -c, --contain                   empty home and temporary folders
  -e, --cleanenv                  drop the variables of the host
      --env NAME=VALUE,...        set variables (repeated, or a comma list)
      --env-file FILE             set variables from lines NAME=VALUE
      --pwd, --cwd PATH           the working folder
      --nv                        ignored with a message

Options of build:
  -F, --force                     replace the image
      --fakeroot                  accepted; builds run as root
      --build-arg NAME=VALUE      replace {{{{ NAME }}}} in the recipe (repeated)

Unlike Singularity, the working folder is not shown unless it lies below a shown path.
"""

_GLOBAL_FLAGS = {
    "-q": "quiet",
    "--quiet": "quiet",
    "-s": "quiet",
    "--silent": "quiet",
    "-v": "verbose",
    "--verbose": "verbose",
    "-d": "verbose",
    "--debug": "verbose",
}
_FLAGS = {
    "exec": {
        "-c": "contain",
        "--contain": "contain",
        "-e": "cleanenv",
        "--cleanenv": "cleanenv",
        "--no-home": "no-home",
        "--nv": "nv",
    },
    "build": {"-F": "force", "--force": "force", "--fakeroot": "fakeroot"},
    "inspect": {},
}
_VALUES = {
    "exec": {
        "-B": "bind",
        "--bind": "bind",
        "--mount": "mount",
        "-H": "home",
        "--home": "home",
        "--no-mount": "no-mount",
        "--env": "env",
        "--env-file": "env-file",
        "--pwd": "pwd",
        "--cwd": "pwd",
    },
    "build": {"--build-arg": "build-arg"},
    "inspect": {},
}
_WORDS = {"exec": 2, "build": 2, "inspect": 1}


class RefusedError(Exception):
    """What was asked cannot be done; the message says why."""


def why(error: OSError) -> str:
    """The system's reason, as Singularity spells it."""
    return (error.strerror or str(error)).lower()


@dataclass
class Options:
    """Flags that were given, and the values of each option, in order."""

    flags: set[str] = field(default_factory=set)
    values: dict[str, list[str]] = field(default_factory=dict)

    def all(self, name: str) -> list[str]:
        return self.values.get(name, [])

    def last(self, name: str) -> str | None:
        return self.all(name)[-1] if self.all(name) else None


def parse_command(arguments: list[str]) -> tuple[str, Options, list[str]]:
    """Command, options and words; `--version` and `--help` are answered here."""
    options = Options()
    arguments = list(arguments)
    while arguments and arguments[0].startswith("-"):
        flag = arguments.pop(0)
        if flag == "--version":
            return _answer(VERSION)
        if flag in ("-h", "--help"):
            return _answer(HELP)
        if flag not in _GLOBAL_FLAGS:
            raise RefusedError(f"unknown flag: {flag} (stand-in for Singularity)")
        options.flags.add(_GLOBAL_FLAGS[flag])
    command = arguments.pop(0) if arguments else "help"
    if command in ("help", "version"):
        return _answer(HELP if command == "help" else VERSION)
    if command not in _FLAGS:
        raise RefusedError(
            f"the stand-in for Singularity has no command {command!r}: it knows {', '.join(_FLAGS)}"
        )
    words = _parse_options(command, arguments, options)
    if len(words) < _WORDS[command]:
        raise RefusedError(
            f"Error for command {command!r}: requires at least {_WORDS[command]} "
            f"arg(s), only received {len(words)}"
        )
    return command, options, words


def _answer(text: str) -> tuple[str, Options, list[str]]:
    print(text.rstrip())
    sys.exit(0)


def _parse_options(command: str, arguments: list[str], options: Options) -> list[str]:
    """Store the options of `arguments` and return what follows them."""
    flags, values = _FLAGS[command], _VALUES[command]
    while arguments and arguments[0].startswith("-") and arguments[0] != "-":
        word = arguments.pop(0)
        if word == "--":
            break
        name, attached, rest = _split_option(word)
        if name in ("-h", "--help"):
            _answer(HELP)
        if name in flags:
            if attached:
                raise RefusedError(f"Error for command {command!r}: {name} takes no value")
            options.flags.add(flags[name])
            if rest:
                arguments.insert(0, "-" + rest)
        elif name in values:
            value = rest if attached or rest else _next_word(command, name, arguments)
            options.values.setdefault(values[name], []).append(value)
        else:
            raise RefusedError(
                f"Error for command {command!r}: unknown flag: {name} (stand-in for Singularity)"
            )
    return arguments


def _next_word(command: str, name: str, arguments: list[str]) -> str:
    if not arguments:
        raise RefusedError(f"Error for command {command!r}: flag needs an argument: {name}")
    return arguments.pop(0)


def _split_option(word: str) -> tuple[str, bool, str]:
    """Name, whether a value is attached by `=`, and the value or the letters that follow."""
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        return name, bool(equals), value
    rest = word[2:]
    return word[:2], rest.startswith("="), rest.removeprefix("=")
