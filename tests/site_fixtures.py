"""The test site, for tests: a Slurm cluster and a laptop on this machine."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.metadata
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).resolve().parent / "site"
IMAGE_PYTHON = "3.11"  # the only one that the stand-in has
IMAGES_KEPT = 3


class Site:
    """A running test site; `info` is its site.json."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # the cluster sees the Python of the tests as well, for what runs there without a container
        places = dict.fromkeys([sys.prefix, sys.base_prefix, str(SCRIPTS.parents[1])])
        shown = os.pathsep.join(place for place in places if not place.startswith("/usr"))
        defaults = {"TRAMWAY_SITE_PYTHON": sys.executable, "TRAMWAY_SITE_CLUSTER_SHOWS": shown}
        self.environ = {**defaults, **os.environ, "TRAMWAY_SITE_DIR": str(folder)}
        self._numbers = itertools.count()

    @property
    def info(self) -> dict[str, Any]:
        return json.loads((self.folder / "site.json").read_text())

    def call(self, script: str, *words: str, timeout: float = 120) -> str:
        """Run one of the scripts in tests/site: up, down, cut, power."""
        done = subprocess.run(
            ["bash", str(SCRIPTS / f"{script}.sh"), *words],
            env=self.environ, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{script}.sh {' '.join(words)}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def cut(self, state: str) -> None:
        """Silence (on), refuse (reset) or let through (off) all between laptop and login."""
        self.call("cut", state)

    def power(self, state: str, host: str) -> None:
        """Pull the plug of a host (off), or start it again (on)."""
        self.call("power", state, host)

    def popen(self, host: str, user: str, argv: list[str], **options: Any) -> subprocess.Popen[str]:
        """Start a command on a host; its streams are pipes of text unless `options` say otherwise."""
        pipe = subprocess.PIPE
        streams = {"stdin": pipe, "stdout": pipe, "stderr": pipe, "text": True}
        return subprocess.Popen(
            ["bash", str(SCRIPTS / "enter.sh"), host, user, *argv],
            env=self.environ, start_new_session=True, **{**streams, **options},
        )  # fmt: skip

    def kill(self, process: subprocess.Popen[str], number: int = signal.SIGKILL) -> None:
        """Kill what `popen` has started; its own `kill` would reach `nsenter` only."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)

    def run(
        self, host: str, user: str, argv: list[str], *, input: str | None = None, timeout: float = 120,
        check: bool = True, **options: Any,
    ) -> subprocess.CompletedProcess[str]:  # fmt: skip
        """Run a command on a host (laptop, login, node1, node2) as a user, and return what it said."""
        stdin = subprocess.DEVNULL if input is None else subprocess.PIPE
        process = self.popen(host, user, argv, **{"stdin": stdin, **options})
        try:
            output, errors = process.communicate(input, timeout)
        except subprocess.TimeoutExpired:
            self.kill(process)
            output, errors = process.communicate()
            raise AssertionError(f"{argv} on {host}: not done in {timeout} s\n{output}\n{errors}") from None
        finally:
            self.kill(process)
        status = process.returncode
        assert status == 0 or not check, f"{argv} on {host}: status {status}\n{output}\n{errors}"
        return subprocess.CompletedProcess(argv, status, output, errors)

    def script(self, text: str) -> str:
        """Save a Python script in the laptop's home folder; return its path on the laptop."""
        laptop = self.info["laptop"]
        name = f"script-{os.getpid()}-{next(self._numbers)}.py"
        path = Path(laptop["home_on_machine"]) / name
        path.write_text(textwrap.dedent(text))
        path.chmod(0o644)
        return f"{laptop['home']}/{name}"

    def python(
        self, text: str, *words: str, user: str = "tester", host: str = "laptop", timeout: float = 120,
        env: dict[str, str] | None = None,
    ) -> str:  # fmt: skip
        """Run a Python script on the laptop, with the package and its dependencies; return its output.

        Its settings are those of tests: one thread of linear algebra, no terminal.
        """
        return self.run(host, user, self.python_words(text, *words, env=env), timeout=timeout).stdout

    def python_words(self, text: str, *words: str, env: dict[str, str] | None = None) -> list[str]:
        """Return the command of `python`, for `popen` and `run`."""
        settings = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "Agg", **(env or {})}
        assigned = [f"{name}={value}" for name, value in settings.items()]
        return ["env", *assigned, sys.executable, "-u", self.script(text), *words]

    def mode(self, path: str, host: str = "login") -> str:
        """Return the permissions of a file, such as ``"600"``."""
        return self.run(host, "root", ["stat", "-c", "%a", path]).stdout.strip()


def _obstacle() -> str | None:
    if sys.platform != "linux" or os.geteuid() != 0:
        return "root is needed for its network namespaces"
    places = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    needed = ("slurmctld", "slurmd", "munged", "sshd", "iptables", "unsquashfs")
    missing = [program for program in needed if not _found(program, places)]
    if missing:
        return f"not installed: {', '.join(missing)}; run `bash tests/site/install.sh` once"
    return None


def _found(program: str, places: str) -> bool:
    return any((Path(folder) / program).is_file() for folder in places.split(os.pathsep) if folder)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Start a test site of our own, and remove it at the end of the tests."""
    obstacle = _obstacle()
    if obstacle is not None:
        reason = f"SLURM AND SSH ARE NOT TESTED: no test site: {obstacle}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    running = Site(tmp_path_factory.mktemp("site") / "up")
    try:
        running.call("up")
        yield running
    finally:
        running.call("down")


def _sources_digest() -> str:
    """Return a digest of all that goes into an image."""
    from tramway_dask.environments.installed import source_digest

    root = SCRIPTS.parents[1]
    files = [root / "pyproject.toml", *sorted((root / "singularity").iterdir())]
    digest = hashlib.sha256((source_digest(root / "tramway_dask") or "").encode())
    for path in [*files, *sorted((SCRIPTS / "standin").iterdir())]:
        digest.update(path.read_bytes() if path.is_file() else b"")
    pins = hashlib.sha256()
    for name in ("dask", "distributed", "cloudpickle", "msgpack", "numpy", "scipy", "pandas", "pyarrow"):
        pins.update(f"{name}=={importlib.metadata.version(name)}".encode())
    return f"{pins.hexdigest()[:8]}-{digest.hexdigest()[:16]}"


@pytest.fixture(scope="session")
def image(site: Site) -> Path:
    """Build the container of this checkout once, by the stand-in, and keep it while the sources stay."""
    cache = os.environ.get("TRAMWAY_SITE_CACHE")
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tramway-site"
    images = (Path(cache) if cache else default) / "images"
    images.mkdir(parents=True, exist_ok=True)
    with open(images / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
        folder = images / _sources_digest()
        name = default_name()
        if not (folder / name).exists():
            standin = str(SCRIPTS / "standin/singularity")
            environ = {**os.environ, "PYTHON": sys.executable, "SINGULARITY": standin}
            # what has the same dependencies makes the build short
            alike = sorted(images.glob(f"{folder.name[:8]}-*/{name}"), key=lambda path: path.stat().st_mtime)
            earlier = ["--from", str(alike[-1])] if alike and not os.environ.get("CI") else []
            build = SCRIPTS.parents[1] / "singularity" / "build.sh"
            done = subprocess.run(
                ["bash", str(build), "--python", IMAGE_PYTHON, "--output", str(folder), *earlier],
                env=environ, capture_output=True, text=True, timeout=1200, check=False,
            )  # fmt: skip
            assert done.returncode == 0, f"build.sh:\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
            (folder / "build.log").write_text(done.stdout)
        folder.touch()
        for old in sorted(images.glob("*/"), key=lambda path: path.stat().st_mtime)[:-IMAGES_KEPT]:
            shutil.rmtree(old)
    return folder / name


def default_name() -> str:
    """Return the file name of the image that the stand-in can build."""
    from tramway_dask.environments.containers import container_name

    return container_name(IMAGE_PYTHON)
