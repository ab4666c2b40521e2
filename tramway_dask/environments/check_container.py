"""Tests of modules, container, versions, and of what the container shows."""

from __future__ import annotations

import glob
import os
import re
import shlex
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import ClusterError
from .check import FailedError, NotTriedError, Step, Visit, split_advice
from .container_versions import check_versions, parse_versions
from .installed import installed_versions
from .slurmtext import parse_modules
from .slurmwords import explain_log

__all__ = ["container_steps", "data_steps", "python_words"]

# of a container that must unpack its image first
START_SECONDS = 300.0
CONTAINERS = re.compile(r"apptainer|singularity", re.I)
# tells which folders are not there, and whether the folder of runs can be written to
LOOK = """
import os, sys
for path in sys.argv[2:]:
    if not os.path.isdir(path):
        print("missing|" + path)
probe = os.path.join(sys.argv[1], "tmp", "inside")
open(probe, "w").close()
print("written|" + probe)
"""


def container_steps(env: Any) -> list[Step]:
    """Return the tests, in their order."""
    modules = Step("modules", _modules, ("shell",))
    if not hasattr(env, "singularity_executable"):
        return [modules, Step("Python", _python, ("settings", "modules"))]
    return [
        modules,
        Step("container executable", _executable, ("modules",)),
        Step("container", _container, ("settings", "shell")),
        Step("versions", _versions, ("container executable", "container")),
        Step("binds", _binds, ("scratch", "versions")),
    ]


def data_steps(patterns: Sequence[str]) -> list[Step]:
    """Return the tests that find data, one for each file or pattern."""

    def step(pattern: str) -> Step:
        async def data(visit: Visit) -> str:
            return await _data(visit, pattern)

        return Step(f"data {pattern}", data, ("shell",))

    return [step(pattern) for pattern in dict.fromkeys(patterns)]


def python_words(visit: Visit) -> tuple[str, list[str]]:
    """Return the shell words of a Python on the cluster, and the lines that must come before.

    It is that of the workers where the tests have shown that it works, else that of the system.
    """
    env = visit.env
    if visit.passed("binds") or visit.passed("Python"):
        return env._python(visit.folder, visit.home), [
            *env._prologue(),
            *env._before_python(visit.folder, visit.home),
        ]
    return "python3", []


def _last(text: str, count: int = 3) -> str:
    return "\n".join(text.strip().splitlines()[-count:])[-600:]


async def _modules(visit: Visit) -> str:
    env = visit.env
    lines = [line for line in (*env.prologue, env.remote_dependencies()) if line]
    if not lines:
        return "nothing has to be loaded"
    # the first line of the prologue reads /etc/profile, whatever it says
    script = [line for line in env._prologue() if line not in lines]
    for line in lines:
        script += [
            line,
            f"status=$?; [ $status = 0 ] || {{ echo {shlex.quote(line)} ends with $status >&2; exit 3; }}",
        ]
    done = await visit.bash(script)
    told = explain_log(done.stderr)
    if done.status or (told is not None and told.kind == "module"):
        there = await visit.shell.run("module -t avail 2>&1", check=False)
        names = [name for name in parse_modules(there.stdout) if CONTAINERS.search(name)]
        listed = f"; the site has: {', '.join(names)}" if names else "; 'module avail' lists what there is"
        raise FailedError(
            _last(done.stderr) or f"status {done.status}", f"correct remote_dependencies{listed}"
        )
    return "; ".join(lines)


async def _executable(visit: Visit) -> str:
    env = visit.env
    name = shlex.quote(env.singularity_executable())
    script = [*env._prologue(), f"command -v {name} || exit 3", f"{name} --version"]
    done = await visit.bash(script)
    if done.status:
        both = "for p in apptainer singularity; do command -v $p; done; module -t avail 2>&1"
        there = (await visit.shell.run(both, check=False)).stdout
        programs = [
            line for line in there.splitlines() if re.fullmatch(r"/\S*/(apptainer|singularity)", line)
        ]
        names = [*programs, *(f"module {m}" for m in parse_modules(there) if CONTAINERS.search(m))]
        listed = f"; the site has: {', '.join(names)}" if names else "; ask the site how containers are run"
        raise FailedError(
            f"no command {env.singularity_executable()} after {env.remote_dependencies() or 'logging in'}",
            f"correct singularity_executable and remote_dependencies of the site{listed}",
        )
    where, _, version = done.stdout.strip().partition("\n")
    return f"{version or 'it starts'}, {where}"


def _image(visit: Visit) -> tuple[Any, str]:
    location = visit.env._location()
    return location, location.remote_path(visit.home, visit.env._images(visit.home))


async def _container(visit: Visit) -> str:
    location, path = _image(visit)
    word = shlex.quote(path)
    done = await visit.shell.run(f"[ -r {word} ] && stat -L -c %s {word}", check=False)
    if not done.status:
        visit.settled["image"] = path
        return f"{path}, {int(done.stdout) / 1e6:.0f} MB"
    if location.action == "use":
        raise FailedError(*split_advice(str(location.absent(visit.shell.host, path))))
    if location.action == "upload":
        size = Path(location.source).stat().st_size / 1e6
        return f"not there yet: the first run uploads {location.source}, {size:.0f} MB"
    address = shlex.quote(location.source)
    done = await visit.shell.run(f"curl -sSfIL --max-time 30 -o /dev/null {address}", check=False)
    if done.status:
        raise FailedError(
            f"the login node cannot download {location.source}: {_last(done.stderr)}",
            f"download it to this computer and register the file: "
            f'environments.containers.singularity_containers["{location.file_name}"] = "/path/of/the/file"',
        )
    return f"not there yet: the first run downloads {location.source}"


def _fit(output: str, name: str) -> str:
    there = parse_versions(output)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        check_versions(installed_versions(), there, image=name)
    notes = "".join(f"; {warning.message}" for warning in said)
    names = ("python", "dask", "distributed", "tramway_dask")
    return ", ".join(f"{n} {there.get(n)}" for n in names) + notes


async def _versions(visit: Visit) -> str:
    env, path = visit.env, visit.settled.get("image")
    location = env._location()
    if path is None:
        raise NotTriedError(
            f"not tried, since {location.file_name} is not on the cluster yet",
            "the first run brings it and compares the versions then",
        )
    # without home folder and binds, which are tested apart
    container = env._container(visit.folder or visit.home, visit.home)
    plain = type(container)(image=path, executable=container.executable, options=container.options)
    done = await visit.bash([*env._prologue(), shlex.join(plain.versions_words())], timeout=START_SECONDS)
    if done.status:
        raise FailedError(
            f"the container does not start (status {done.status}): {_last(done.stderr)}",
            f"check singularity_options of the site ({env.singularity_options()!r}), and the image with "
            f"'{container.executable} inspect {path}'",
        )
    return _fit(done.stdout, location.name)


async def _python(visit: Visit) -> str:
    env = visit.env
    program = Path(__file__).with_name("installed.py").read_text(encoding="utf-8")
    python = env._python(visit.folder, visit.home)
    done = await visit.bash([*env._prologue(), f"{python} -c {shlex.quote(program)}"])
    if done.status:
        raise FailedError(
            f"{env.python} does not start (status {done.status}): {_last(done.stderr)}",
            "set a.env.python to a Python of the cluster in which tramway_dask is installed",
        )
    try:
        return _fit(done.stdout, env.python)
    except ClusterError as error:
        evidence, _ = split_advice(str(error))
        remedy = "install there what this computer has: pip install the same versions, or use a container"
        raise FailedError(evidence, remedy) from error


async def _binds(visit: Visit) -> str:
    from .singularity import _bound

    env = visit.env
    container = env._container(visit.folder, visit.home)
    # the home folder is shown as a whole: paths of images and of data lie in it
    places = list(dict.fromkeys([*env._binds(visit.home), *_bound(env.singularity_options())]))
    words = container.python_words(["-c", LOOK, visit.folder, *places])
    script = [*env._prologue(), *env._before_python(visit.folder, visit.home), shlex.join(words)]
    done = await visit.bash(script, timeout=START_SECONDS)
    remedy = (
        f"correct singularity_options of the site ({env.singularity_options()!r}): -B names folders that exist on "
        "the cluster; ask the site if users may bind folders"
    )
    missing = [line.partition("|")[2] for line in done.stdout.splitlines() if line.startswith("missing|")]
    if done.status:
        raise FailedError(_last(done.stderr) or f"status {done.status}", remedy)
    if missing:
        raise FailedError(f"the container does not show {', '.join(missing)}", remedy)
    return f"the container shows {', '.join(places)}"


async def _data(visit: Visit, pattern: str) -> str:
    env = visit.env
    absolute = os.path.abspath(os.path.expanduser(pattern))
    here = glob.glob(absolute, recursive=True)
    mapped = env.mapped(absolute, visit.home) if hasattr(env, "mapped") else absolute
    # words of the pattern are quoted, its wildcards are not
    parts = re.split(r"([*?\[\]]+)", mapped)
    shell = "".join(p if re.fullmatch(r"[*?\[\]]+", p) else shlex.quote(p) if p else "" for p in parts)
    script = (
        f'shopt -s nullglob globstar; n=0; for f in {shell}; do [ -r "$f" ] && n=$((n + 1)); done; echo $n'
    )
    there = int((await visit.bash([script])).stdout.split()[-1])
    shown = env._visible(mapped, visit.home) if hasattr(env, "_visible") else True
    seen = f"{len(here)} files on this computer, {there} on the cluster ({mapped})"
    if there and shown:
        return seen
    if there and not here:
        raise FailedError(
            f"{seen}, but the container does not show that folder",
            f"add it to singularity_options of the site: -B {mapped.rpartition('/')[0]}",
        )
    if not here:
        raise FailedError(
            f"no file on this computer, and none on the cluster ({mapped})",
            "correct the path, or a.env.directory_mapping (folders here, and where the same files are there)",
        )
    if getattr(env, "stage_data", "auto") == "never":
        raise FailedError(
            f"{seen}, and a.env.stage_data is 'never'",
            "copy the files, correct a.env.directory_mapping, or set a.env.stage_data = 'auto'",
        )
    return f"{seen}: they are uploaded by the first run"
