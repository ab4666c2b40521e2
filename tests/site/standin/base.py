"""Root file systems on which recipes build, made from Debian's packages and kept."""

from __future__ import annotations

import fcntl
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

from options import RefusedError
from recipe import Recipe

FORM = 1  # raised when the bases change, so that kept ones are made anew
PYTHON_PACKAGES = "python3,python3-venv,ca-certificates"
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")


def cache_folder() -> Path:
    """Where bases are kept: TRAMWAY_SITE_CACHE, or the user's cache folder."""
    given = os.environ.get("TRAMWAY_SITE_CACHE")
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tramway-site"
    folder = Path(given) if given else default
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


def base_root(recipe: Recipe) -> Path:
    """The kept root file system that stands in for what the recipe's header asks for."""
    kind = _kind(recipe)
    folder = cache_folder()
    root = folder / f"base-{kind}-{FORM}"
    with open(folder / f"{root.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            print(f"INFO:    stand-in: making the base {root}, kept for later builds", flush=True)
            _make(kind, root)
    return root


def _kind(recipe: Recipe) -> str:
    agent, source = recipe.header["bootstrap"].lower(), recipe.header.get("from", "")
    here = ".".join(platform.python_version_tuple()[:2])
    if agent == "docker":
        name = source.removeprefix("docker.io/").removeprefix("library/")
        if re.fullmatch(rf"python:{re.escape(here)}(\.\d+)?(-slim)?(-bookworm)?", name):
            return f"python{here}"
        if re.fullmatch(r"debian:(12(\.\d+)?|bookworm)(-slim)?", name):
            return "debian"
    if agent == "debootstrap" and recipe.header.get("osversion") == "bookworm":
        return "debian"
    raise RefusedError(
        f"the stand-in for Singularity has no base for 'Bootstrap: {agent}', "
        f"'From: {source}': it knows docker with python:{here}[-slim][-bookworm] or "
        "debian:bookworm[-slim], debootstrap with OSVersion bookworm, and localimage"
    )


def apt_sources() -> str:
    """The package sources of this machine that are Debian's own, one a line."""
    return subprocess.run(
        [
            "apt-get",
            "indextargets",
            "--format",
            "deb $(REPO_URI) $(RELEASE) $(COMPONENT)",
            "Created-By: Packages",
            "Origin: Debian",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def apt_options() -> str:
    """This machine's settings for fetching packages."""
    lines = subprocess.run(
        ["apt-config", "dump", "Acquire"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    wanted = re.compile(r"Acquire::(https?::|Check-|Retries)", re.IGNORECASE)
    return "\n".join(line for line in lines if wanted.match(line)) + "\n"


def _make(kind: str, root: Path) -> None:
    partial = root.with_name(f"{root.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    command = [
        "mmdebstrap",
        "--quiet",
        "--mode=root",
        "--variant=minbase",
        '--aptopt=APT::Install-Recommends "false"',
        "--dpkgopt=force-unsafe-io",
        *(f"--dpkgopt=path-exclude={path}" for path in LEFT_OUT),
        *(f"--aptopt={line}" for line in apt_options().splitlines()),
    ]
    if kind != "debian":
        command.append(f"--include={PYTHON_PACKAGES}")
    command += ["bookworm", str(partial), "-"]
    try:
        done = subprocess.run(command, input=apt_sources(), text=True, check=False, stdout=sys.stderr)
    except FileNotFoundError:
        raise RefusedError("mmdebstrap is not installed: run install.sh of the test site") from None
    if done.returncode != 0:
        shutil.rmtree(partial, ignore_errors=True)
        raise RefusedError(f"while bootstrapping: mmdebstrap failed ({done.returncode})")
    _forget_machine(partial)
    if kind != "debian":
        _like_python_image(partial)
    partial.rename(root)


def _forget_machine(root: Path) -> None:
    """Leave nothing of this machine's configuration in the base."""
    for path in (root / "etc/apt/sources.list.d").iterdir():
        path.unlink()
    for name in ("etc/apt/sources.list", "etc/resolv.conf", "etc/hosts"):
        (root / name).write_text("")
    (root / "etc/apt/apt.conf.d/99mmdebstrap").unlink(missing_ok=True)
    (root / "etc/hostname").unlink(missing_ok=True)


def _like_python_image(root: Path) -> None:
    """`python` and `pip` where a python:3.x image has them, and free to install packages."""
    for marker in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        marker.unlink()
    for name in ("python", "python3"):
        (root / "usr/local/bin" / name).symlink_to("/usr/bin/python3")
    wheel = next(root.glob("usr/share/python-wheels/pip-*.whl")).relative_to(root)
    install = [
        "/usr/bin/python3",
        f"/{wheel}/pip",
        "--quiet",
        "--no-cache-dir",
        "install",
        "--root-user-action=ignore",
        "--no-index",
        "--find-links=/usr/share/python-wheels",
        "pip",
        "setuptools",
    ]
    subprocess.run(
        ["/usr/sbin/chroot", str(root), *install],
        check=True,
        stdout=sys.stderr,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/nonexistent"},
    )
