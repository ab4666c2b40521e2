"""The command that runs Python in a container."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ..errors import SpecificationError

__all__ = ["Container", "visible_paths"]

# variables of the host that the container's Python needs; values are known on the node only
PASSED = r"^(SLURM|DASK)_|^TMPDIR$"
# the user's own packages and the working folder must not hide what is in the image
ISOLATED = {"PYTHONNOUSERSITE": "1", "PYTHONSAFEPATH": "1"}


def visible_paths(*paths: str | None) -> tuple[str, ...]:
    """Return the paths to bind so that each of these is visible.

    Parameters
    ----------
    *paths : str or None
        Absolute paths on the cluster, such as the scratch folder by its name and by its physical path
        (``realpath``), since programs write either. None is left out.

    Returns
    -------
    tuple of str
        Without repetition, and without paths that lie below another one.

    Examples
    --------
    >>> visible_paths("/scratch/me", "/mnt/disk7/me", "/scratch/me/runs", None)
    ('/scratch/me', '/mnt/disk7/me')
    """
    pure = [PurePosixPath(p) for p in dict.fromkeys(p for p in paths if p)]
    for path in pure:
        if not path.is_absolute() or path == PurePosixPath("/"):
            raise SpecificationError(
                f"expected the absolute path of a folder to show in the container, got {path}"
            )
    return tuple(dict.fromkeys(str(p) for p in pure if not any(q in p.parents for q in pure)))


def _bind_words(path: str) -> list[str]:
    # `-B` gives a meaning to both characters
    if ":" in path or "," in path:
        quoted = path.replace('"', '""')
        return ["--mount", f'type=bind,"src={quoted}","dst={quoted}"']
    return ["-B", path]


def _env_words(variables: Mapping[str, str]) -> list[str]:
    words = []
    for name, value in variables.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise SpecificationError(f"variable {name!r}: expected letters, digits and underscores")
        if re.search(r'["\n\r]', value):
            raise SpecificationError(
                f"variable {name}: quotes and line ends do not pass through --env; "
                "export it before the command, under a name DASK_…"
            )
        # several values in one word are a comma list: a value with commas is quoted as a whole
        words += ["--env", f'"{name}={value}"' if "," in value else f"{name}={value}"]
    return words


@dataclass(frozen=True)
class Container:
    """An image, and how it is entered on a cluster.

    The environment is clean (``--cleanenv``): modules and shell start-up files often set PYTHONPATH,
    PYTHONHOME, LD_PRELOAD or library paths, that break the image's Python in ways that are hard to read.
    What the workers need of the host's environment is passed on by name: see `prologue`.

    Parameters
    ----------
    image : str
        Path of the image on the cluster.
    executable : str
        ``"singularity"`` or ``"apptainer"``, or a path of one of these.
    options : str
        Further options of ``exec``, as one would type them: ``"-B /pasteur --nv"``.
    binds : tuple of str
        Paths that the container shows, under the same names. See `visible_paths`.
    home : str or None
        Folder that stands in for the home folder: a private one keeps the packages and the
        configuration of the user's own home folder out. None: the real one.
    env : mapping
        Variables to set, whose values are known beforehand.
    python : str
        Command that starts Python in the image, as one would type it.
    """

    image: str
    executable: str = "singularity"
    options: str = ""
    binds: tuple[str, ...] = ()
    home: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    python: str = "python"

    def __post_init__(self) -> None:
        if not self.image:
            raise SpecificationError("container: there is no image; set a.env.container")
        if self.home is not None and (":" in self.home or "," in self.home):
            raise SpecificationError(f"home folder of the container: no ':' or ',' can be in {self.home}")
        self._option_words()
        if not self._split("python", self.python):
            raise SpecificationError("python: expected the command that starts Python in the container")

    def _option_words(self) -> list[str]:
        return self._split(f"options of {self.executable}", self.options)

    @staticmethod
    def _split(what: str, text: str) -> list[str]:
        try:
            return shlex.split(text)
        except ValueError as error:
            raise SpecificationError(f"{what}: {error} in {text!r}") from None

    def exec_words(self, command: Iterable[str] = ()) -> list[str]:
        """Return the words of a command in the container, not quoted: join them with `shlex.join`.

        Examples
        --------
        >>> Container("x.sif", options="-B /data").exec_words(["hostname"])[-4:]
        ['-B', '/data', 'x.sif', 'hostname']
        """
        home = [] if self.home is None else ["-H", self.home]
        binds = [word for path in self.binds for word in _bind_words(path)]
        # an image must not look like an option
        image = f"./{self.image}" if self.image.startswith("-") else self.image
        return [
            *(self.executable, "exec", "--cleanenv", *home, *binds),
            *_env_words({**self.env, **ISOLATED}),
            *(*self._option_words(), image, *command),
        ]

    def python_words(self, arguments: Iterable[str] = ()) -> list[str]:
        """Return the words of a Python command in the container; ``-s``: no package of the user's own."""
        return self.exec_words([*shlex.split(self.python), "-s", *arguments])

    def versions_words(self) -> list[str]:
        """Return the words of the command that prints the versions in the container, as JSON.

        The program comes from this computer, so that both sides count alike.
        """
        program = Path(__file__).with_name("installed.py").read_text(encoding="utf-8")
        return self.python_words(["-c", program])

    def prologue(self) -> str:
        """Return lines of Bash to run before the command, on the host.

        They pass on SLURM_*, DASK_* and TMPDIR, and show the folder TMPDIR in the container.
        """
        prefix = "APPTAINER" if PurePosixPath(self.executable).name == "apptainer" else "SINGULARITY"
        return (
            f"for name in $(compgen -e | grep -E '{PASSED}'); do export \"{prefix}ENV_$name=${{!name}}\"; done\n"
            f'if [ -d "${{TMPDIR:-}}" ]; then export {prefix}_BIND="${{{prefix}_BIND:+${prefix}_BIND,}}$TMPDIR"; fi\n'
        )
