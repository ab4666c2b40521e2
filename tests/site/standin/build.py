"""Build an image from a recipe, on Debian's packages, with real mounts."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import namespaces
from base import apt_options, apt_sources, base_root, cache_folder
from execute import DEFAULT_PATH
from options import Options, RefusedError
from recipe import Recipe, read_recipe

PASSED_ON = re.compile(r"PIP_\w+|(http|https|no|all)_proxy", re.IGNORECASE)
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
ENVIRONMENT = "export LANG=${LANG:-C.UTF-8}\n"


def build(options: Options, words: list[str]) -> None:
    """Build the image `words[0]` from the recipe `words[1]`."""
    target = Path(words[0]).absolute()
    recipe = read_recipe(words[1], options.all("build-arg"))
    if target.exists() and "force" not in options.flags:
        raise RefusedError(f"build target '{target}' already exists. Use --force if you want to overwrite it")
    if os.getuid() != 0:
        raise RefusedError("the stand-in for Singularity builds as root only")
    workshop = Path(tempfile.mkdtemp(prefix="build-", dir=cache_folder()))
    try:
        if recipe.header["bootstrap"].lower() == "localimage":
            base = _unpack_local(recipe.header.get("from", ""), workshop / "base")
        else:
            base = base_root(recipe)
        _in_child(lambda: _build(recipe, base, workshop, target))
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
    print(f"INFO:    Build complete: {target} (by the stand-in)")


def _in_child(work) -> None:
    """Run `work` in a process of its own, whose mounts vanish with it."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            namespaces.unshare(namespaces.CLONE_NEWNS)
            namespaces.make_private()
            work()
            code = 0
        except RefusedError as refusal:
            print(f"FATAL:   {refusal}", file=sys.stderr)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0:
        raise RefusedError("While performing build: see above")


def _unpack_local(image: str, folder: Path) -> Path:
    done = subprocess.run(
        ["unsquashfs", "-no-progress", "-dest", str(folder), image],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RefusedError(f"could not open image {image}: {done.stderr.strip()}")
    return folder


def _build(recipe: Recipe, base: Path, workshop: Path, target: Path) -> None:
    root = _writable_root(base, workshop)
    _copy_files(recipe, root)
    _write_metadata(recipe, root)
    for section in ("post", "test"):
        if recipe.sections.get(section, "").strip():
            _run_section(recipe, section, root, workshop)
    partial = target.with_name(f".{target.name}.partial")
    print("INFO:    stand-in: writing the image", flush=True)
    subprocess.run(
        [
            "mksquashfs",
            str(root),
            str(partial),
            "-noappend",
            "-all-root",
            "-quiet",
            "-no-progress",
            "-no-xattrs",
            "-comp",
            "zstd",
            "-Xcompression-level",
            "3",
            "-processors",
            "2",
            "-wildcards",
            "-e",
            "dev/*",
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    partial.rename(target)


def _writable_root(base: Path, workshop: Path) -> Path:
    """A root file system that starts as `base`, which stays as it is."""
    for name in ("changes", "work", "root"):
        (workshop / name).mkdir()
    root = workshop / "root"
    layers = f"lowerdir={base},upperdir={workshop / 'changes'},workdir={workshop / 'work'}"
    try:
        namespaces.mount("overlay", root, "overlay", data=layers)
    except OSError:
        root.rmdir()
        subprocess.run(["cp", "-a", "--reflink=auto", str(base), str(root)], check=True)
    return root


def _copy_files(recipe: Recipe, root: Path) -> None:
    for source, destination in recipe.files():
        matches = sorted(Path().glob(source)) if not source.startswith("/") else [Path(source)]
        if not matches:
            raise RefusedError(f"unable to copy files from host to container: {source} does not exist")
        place = root / destination.lstrip("/")
        if destination.endswith("/") or len(matches) > 1:
            place.mkdir(parents=True, exist_ok=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["cp", "-fLr", *map(str, matches), str(place)], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise RefusedError(f"unable to copy files from host to container: {done.stderr.strip()}")


def _write_metadata(recipe: Recipe, root: Path) -> None:
    folder = root / ".singularity.d"
    (folder / "env").mkdir(parents=True, exist_ok=True)
    (folder / "libs").mkdir(exist_ok=True)
    (folder / "env/10-base.sh").write_text(ENVIRONMENT)
    with open(folder / "env/90-environment.sh", "a") as stream:
        stream.write(recipe.sections.get("environment", ""))
    for name in ("runscript", "help"):
        if name in recipe.sections:
            (folder / name).write_text(recipe.sections[name])
    labels = folder / "labels.json"
    known = json.loads(labels.read_text()) if labels.exists() else {}
    labels.write_text(json.dumps(known | dict(recipe.pairs("labels")) | {"stand-in": "yes"}))
    for name in ("dev", "proc", "sys", "tmp", "var/tmp", "run"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in ("etc/hosts", "etc/resolv.conf"):
        if not os.path.lexists(root / name):
            (root / name).touch()


def _run_section(recipe: Recipe, section: str, root: Path, workshop: Path) -> None:
    """Run %post or %test in the new root; what it needs of this machine leaves no trace."""
    print(f"INFO:    Running {section} scriptlet", flush=True)
    mounted, made = [], []
    try:
        for path in ("/dev", "/proc", "/sys", *_package_folders()):
            place = root / path.lstrip("/")
            made += _missing_folders(place, root)
            namespaces.bind(path, place)
            mounted.append(place)
        for path in ("run", "tmp"):
            namespaces.mount("tmpfs", root / path, "tmpfs")
            mounted.append(root / path)
        for path in ("/etc/resolv.conf", "/etc/hosts"):
            namespaces.bind(os.path.realpath(path), root / path[1:])
            mounted.append(root / path[1:])
        environment = _build_environment(root / "run/build")
        script = root / "run/build/script"
        script.write_text(recipe.sections[section])
        shell = recipe.shells.get(section, "/bin/sh").split() + ["-ex", "/run/build/script"]
        if section == "test":
            shell = [
                "/bin/sh",
                "-c",
                'for file in /.singularity.d/env/*.sh; do . "$file"; done; exec "$@"',
                "sh",
                *shell,
            ]
        done = subprocess.run(["/usr/sbin/chroot", str(root), *shell], env=environment, check=False)
        if done.returncode != 0:
            raise RefusedError(f"failed to execute %{section} proc: exit status {done.returncode}")
    finally:
        for place in reversed(mounted):
            namespaces.unmount(place)
        for folder in reversed(made):
            folder.rmdir()


def _missing_folders(place: Path, root: Path) -> list[Path]:
    """The folders that a mount point at `place` will add to the image."""
    chain = [place, *(parent for parent in place.parents if root in parent.parents)]
    return [folder for folder in reversed(chain) if not folder.exists()]


def _pip_settings() -> configparser.ConfigParser:
    """This machine's own settings of pip, which the build uses and the image forgets."""
    settings = configparser.ConfigParser(interpolation=None)
    home = Path.home()
    settings.read(
        [
            "/etc/pip.conf",
            home / ".pip/pip.conf",
            home / ".config/pip/pip.conf",
            os.environ.get("PIP_CONFIG_FILE", os.devnull),
        ]
    )
    for section in settings.sections():
        settings.remove_option(section, "cert")
    return settings


def _package_folders() -> list[str]:
    """Folders of this machine in which pip looks for packages."""
    settings = _pip_settings()
    texts = [value for section in settings.sections() for value in settings[section].values()]
    texts += [value for name, value in os.environ.items() if name.startswith("PIP_")]
    folders = set()
    for word in " ".join(texts).split():
        path = Path(word.removeprefix("file://"))
        if path.is_absolute() and path.is_dir():
            folders.add(path.parent if word.startswith("file://") else path)
    return sorted(str(path) for path in folders if len(path.parts) > 2)


def _build_environment(folder: Path) -> dict[str, str]:
    """Variables for %post, which name files in `folder`, outside the image."""
    folder.mkdir()
    with open(folder / "pip.conf", "w") as stream:
        _pip_settings().write(stream)
    (folder / "sources.list").write_text(apt_sources())
    (folder / "apt.conf").write_text('Dir::Etc::SourceList "/run/build/sources.list";\n' + apt_options())
    environment = {
        name: value
        for name, value in os.environ.items()
        if PASSED_ON.fullmatch(name) and name not in ("PIP_CERT", "PIP_CONFIG_FILE")
    }
    environment |= {
        "PATH": DEFAULT_PATH,
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "DEBIAN_FRONTEND": "noninteractive",
        "SINGULARITY_ROOTFS": "/",
        "SINGULARITY_ENVIRONMENT": "/.singularity.d/env/91-environment.sh",
        "APT_CONFIG": "/run/build/apt.conf",
        "PIP_CONFIG_FILE": "/run/build/pip.conf",
    }
    if CERTIFICATES.exists():
        shutil.copy(CERTIFICATES, folder / "certificates")
        for name in ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            environment[name] = "/run/build/certificates"
    return environment
