"""Reading a Singularity recipe."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from options import RefusedError, why

SECTIONS = ("arguments", "files", "post", "environment", "labels", "runscript", "test", "help")


@dataclass(frozen=True)
class Recipe:
    """Header and sections of a recipe, its templates filled in."""

    header: dict[str, str]
    sections: dict[str, str]
    shells: dict[str, str]

    def pairs(self, section: str) -> list[tuple[str, str]]:
        """Lines `name rest` of a section."""
        lines = (line.strip() for line in self.sections.get(section, "").splitlines())
        words = [line.split(None, 1) for line in lines if line and not line.startswith("#")]
        return [(entry[0], entry[1] if len(entry) > 1 else "") for entry in words]

    def files(self) -> list[tuple[str, str]]:
        """Source and destination of each line of %files."""
        lines = self.sections.get("files", "").splitlines()
        words = [shlex.split(line, comments=True) for line in lines]
        return [(entry[0], entry[-1]) for entry in words if entry]


def read_recipe(path: str, arguments: list[str]) -> Recipe:
    """Parse the recipe at `path`; `arguments` are `NAME=VALUE` of --build-arg."""
    try:
        text = Path(path).read_text()
    except OSError as error:
        raise RefusedError(f"unable to open file {path}: {why(error)}") from None
    given = dict(item.partition("=")[::2] for item in arguments)
    defaults = dict(
        line.strip().partition("=")[::2]
        for line in _split(text)[1].get("arguments", "").splitlines()
        if "=" in line
    )
    text = _fill(text, defaults | given)
    header, sections, shells = _split(text)
    if "bootstrap" not in header:
        raise RefusedError(f"{path}: the header has no line 'Bootstrap: …'")
    if "stage" in header:
        raise RefusedError(f"{path}: the stand-in for Singularity builds recipes of one stage only")
    return Recipe(header, sections, shells)


def _fill(text: str, values: dict[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise RefusedError(
                f"build var {match[1]} is not defined through either --build-arg or 'arguments' section"
            )
        return values[match[1]]

    return re.sub(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}", value, text)


def _split(text: str) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    header: dict[str, str] = {}
    sections: dict[str, str] = {}
    shells: dict[str, str] = {}
    current = None
    for line in text.splitlines():
        match = re.match(r"%(\w+)(.*)", line)
        if match:
            current, words = match[1], match[2].split()
            if current not in SECTIONS:
                raise RefusedError(
                    f"the stand-in for Singularity has no section %{current}: it knows {', '.join(SECTIONS)}"
                )
            if words[:1] == ["-c"]:
                shells[current] = " ".join(words[1:])
            sections.setdefault(current, "")
        elif current:
            sections[current] += line + "\n"
        elif line.strip() and not line.strip().startswith("#"):
            name, _, value = line.partition(":")
            header[name.strip().lower()] = value.strip()
    return header, sections, shells
