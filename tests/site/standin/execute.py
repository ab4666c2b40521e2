"""Run a command in an image: what the host shows, and with which environment."""

from __future__ import annotations

import csv
import fcntl
import grp
import hashlib
import json
import os
import pwd
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import namespaces
from options import Options, RefusedError, why

CACHE = Path("/var/cache/singularity-standin")
# unpacked images per user, beside those in which something runs
KEPT = 3
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
KEPT_BY_CLEANENV = (
    "TERM",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "ftp_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "FTP_PROXY",
)
NEVER_KEPT = ("PATH", "HOME", "LD_LIBRARY_PATH", "LD_PRELOAD")
START = """
for file in /.singularity.d/env/*.sh; do
    if [ -f "$file" ]; then . "$file"; fi
done
{exports}
unset file
if ! command -v -- "$1" >/dev/null 2>&1; then
    printf 'FATAL:   "%s": executable file not found in $PATH\\n' "$1" >&2
    exit 255
fi
exec "$@"
"""


@dataclass(frozen=True)
class Mount:
    """A path of the host and where the container shows it."""

    source: str
    target: str
    readonly: bool = False


# Images


def unpacked(image: str) -> Path:
    """The root file system of `image`, unpacked once for this user; it stays while this process lives."""
    path = _existing_image(image)
    cache = _user_cache()
    with open(cache / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        root = cache / _checksum(path, cache)
        if not root.exists():
            _unpack(path, root)
        os.utime(root)
        # held open by the command that this process becomes
        used = os.open(f"{root}.used", os.O_RDWR | os.O_CREAT, 0o600)
        os.set_inheritable(used, True)
        fcntl.flock(used, fcntl.LOCK_SH)
        forget_old(cache)
    return root


def forget_old(cache: Path) -> None:
    """Remove what a user has unpacked and not used lately."""
    roots = [path for path in cache.glob("?" * 64) if path.is_dir()]
    for root in sorted(roots, key=lambda path: path.stat().st_mtime)[:-KEPT]:
        with open(f"{root}.used", "w") as used:
            try:
                fcntl.flock(used, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            shutil.rmtree(root, ignore_errors=True)
            os.unlink(used.name)


def _existing_image(image: str) -> Path:
    if "://" in image:
        raise RefusedError(f"the stand-in for Singularity runs files only, not {image}")
    path = Path(image)
    try:
        path = path.resolve(strict=True)
        with open(path, "rb") as stream:
            magic = stream.read(4)
    except IsADirectoryError:
        raise RefusedError(f"could not open image {path}: the stand-in runs no sandbox folders") from None
    except OSError as error:
        raise RefusedError(
            f"could not open image {os.path.abspath(image)}: failed to retrieve path for "
            f"{os.path.abspath(image)}: lstat {os.path.abspath(image)}: "
            f"{why(error)}"
        ) from None
    if magic != b"hsqs":
        raise RefusedError(f"could not open image {path}: image format not recognized")
    return path


def _user_cache() -> Path:
    parent = CACHE if CACHE.is_dir() else Path(tempfile.gettempdir()) / "singularity-standin"
    parent.mkdir(mode=0o1777, exist_ok=True)
    cache = parent / str(os.getuid())
    cache.mkdir(mode=0o700, exist_ok=True)
    status = cache.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise RefusedError(f"{cache} must belong to you alone")
    return cache


def _checksum(path: Path, cache: Path) -> str:
    """SHA-256 of the image; remembered until the file changes."""
    status = path.stat()
    identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    known = cache / ("known-" + "-".join(map(str, identity)))
    if known.exists():
        return known.read_text()
    with open(path, "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    known.write_text(digest)
    return digest


def _unpack(path: Path, root: Path) -> None:
    partial = root.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    done = subprocess.run(
        ["unsquashfs", "-no-progress", "-no-xattrs", "-processors", "2", "-dest", str(partial), str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        shutil.rmtree(partial, ignore_errors=True)
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise RefusedError(f"could not open image {path}: {reason}")
    partial.rename(root)


# Mounts


def _bind_mounts(options: Options) -> list[Mount]:
    lists = [os.environ.get(name, "") for name in ("SINGULARITY_BIND", "SINGULARITY_BINDPATH")]
    specifications = [item for text in [*lists, *options.all("bind")] for item in text.split(",") if item]
    return [_bind_mount(item) for item in specifications] + [
        _long_mount(item) for item in options.all("mount")
    ]


def _bind_mount(specification: str) -> Mount:
    parts = specification.split(":")
    if len(parts) > 3 or not parts[0]:
        raise RefusedError(f"while parsing bind path: {specification!r} is not src[:dest[:ro|rw]]")
    mode = parts[2] if len(parts) == 3 else "rw"
    if mode not in ("ro", "rw"):
        raise RefusedError(f"while parsing bind path: {mode!r} is not a valid bind option")
    source = os.path.abspath(parts[0])
    return _checked(Mount(source, parts[1] if len(parts) > 1 else source, mode == "ro"))


def _long_mount(specification: str) -> Mount:
    words = next(csv.reader([specification]))
    fields = dict(word.partition("=")[::2] for word in words)
    source = fields.get("src") or fields.get("source")
    target = fields.get("dst") or fields.get("destination") or fields.get("target")
    if fields.get("type") != "bind" or not source or not target:
        raise RefusedError(f"while parsing mount: {specification!r} is not type=bind,src=SRC,dst=DEST")
    return _checked(Mount(os.path.abspath(source), target, "ro" in fields))


def _checked(mount: Mount) -> Mount:
    if not mount.target.startswith("/"):
        raise RefusedError(f"while parsing bind path: destination must be an absolute path: {mount.target}")
    if not os.path.exists(mount.source):
        raise RefusedError(
            f"container creation failed: mount hook function failure: mount "
            f"{mount.source}->{mount.target} error: while mounting {mount.source}: "
            f"mount source {mount.source} doesn't exist"
        )
    return mount


def _hidden(options: Options) -> set[str]:
    return {name for text in options.all("no-mount") for name in text.split(",")}


def _home(options: Options) -> tuple[str, Mount | None]:
    """The container's home folder, and the mount that shows it."""
    given = options.last("home")
    if given is not None:
        source, _, target = given.partition(":")
        source = os.path.abspath(source)
        mount = _checked(Mount(source, target or source))
        return mount.target, mount
    home = pwd.getpwuid(os.getuid()).pw_dir
    if {"no-home", "contain"} & options.flags or "home" in _hidden(options) or not os.path.isdir(home):
        return home, None
    return home, Mount(home, home)


def _system_mounts(options: Options, scratch: Path) -> list[Mount]:
    mounts = [Mount(path, path) for path in ("/dev", "/proc", "/sys")]
    for path in () if "tmp" in _hidden(options) else ("/tmp", "/var/tmp"):
        if "contain" in options.flags:
            (scratch / path[1:]).mkdir(parents=True)
            mounts.append(Mount(str(scratch / path[1:]), path))
        elif os.path.isdir(path):
            mounts.append(Mount(path, path))
    return mounts


def _identity_mounts(root: Path, scratch: Path, home: str) -> list[Mount]:
    """The user's own line in passwd and group, and the names of the hosts."""
    user = pwd.getpwuid(os.getuid())
    group = grp.getgrgid(os.getgid())
    lines = {
        "passwd": f"{user.pw_name}:x:{user.pw_uid}:{user.pw_gid}:{user.pw_gecos}:{home}:/bin/sh\n",
        "group": f"{group.gr_name}:x:{group.gr_gid}:\n",
    }
    mounts = []
    for name, line in lines.items():
        path = root / "etc" / name
        known = path.read_text() if path.exists() else ""
        names = {entry.partition(":")[0] for entry in known.splitlines()}
        (scratch / name).write_text(known if line.partition(":")[0] in names else known + line)
        mounts.append(Mount(str(scratch / name), f"/etc/{name}"))
    return mounts + [
        Mount(path, path, readonly=True)
        for path in ("/etc/hosts", "/etc/resolv.conf")
        if os.path.exists(path)
    ]


def _resolve(root: Path, target: str) -> PurePosixPath:
    """`target` with the symbolic links of the image followed, relative to its root."""
    pending = list(reversed(PurePosixPath(target).parts[1:]))
    resolved: list[str] = []
    for _ in range(1000):
        if not pending:
            return PurePosixPath(*resolved)
        part = pending.pop()
        if part == "..":
            resolved = resolved[:-1]
            continue
        path = root.joinpath(*resolved, part)
        if not path.is_symlink():
            resolved.append(part)
            continue
        link = PurePosixPath(os.readlink(path))
        if link.is_absolute():
            resolved = []
        pending += reversed([piece for piece in link.parts if piece != "/"])
    raise RefusedError(f"too many symbolic links at {target}")


def _show_image(root: Path, place: Path, points: dict[PurePosixPath, bool]) -> None:
    """Show the image's folder `root` at `place`, with room for mount points that it lacks.

    `points` are relative paths; true for a folder, false for a file.
    """
    names = {entry.name for entry in os.scandir(root)}
    for name in sorted(names):
        source = root / name
        below = {
            PurePosixPath(*point.parts[1:]): folder
            for point, folder in points.items()
            if point.parts[0] == name and len(point.parts) > 1
        }
        if source.is_symlink():
            (place / name).symlink_to(os.readlink(source))
        elif source.is_dir() and any(not (source / point).exists() for point in below):
            (place / name).mkdir(mode=source.stat().st_mode & 0o7777)
            _show_image(source, place / name, below)
        else:
            namespaces.bind(source, place / name, readonly=True)
    for point, folder in points.items():
        if point.parts[0] not in names:
            (place / point if folder else (place / point).parent).mkdir(parents=True, exist_ok=True)
            if not folder:
                (place / point).touch()


def _mount_all(root: Path, place: Path, mounts: list[Mount]) -> None:
    resolved = [(mount, _resolve(root, mount.target)) for mount in mounts]
    points = {point: os.path.isdir(mount.source) for mount, point in resolved if point.parts}
    _show_image(root, place, points)
    for mount, point in resolved:
        if not (place / point).exists():
            raise RefusedError(
                f"container creation failed: mount {mount.source}->{mount.target} error: "
                f"destination {mount.target} doesn't exist in container"
            )
        namespaces.bind(mount.source, place / point, readonly=mount.readonly)


# Environment


def _set_variables(options: Options) -> dict[str, str]:
    """What SINGULARITYENV_…, `--env-file` and `--env` set, the last one winning."""
    variables = {
        name.removeprefix("SINGULARITYENV_"): value
        for name, value in os.environ.items()
        if name.startswith("SINGULARITYENV_")
    }
    for file in options.all("env-file"):
        try:
            lines = Path(file).read_text().splitlines()
        except OSError as error:
            raise RefusedError(f"could not read {file}: {why(error)}") from None
        for line in lines:
            variables.update(_pair("".join(shlex.split(line, comments=True)), "--env-file"))
    for text in options.all("env"):
        for item in next(csv.reader([text]), []):
            variables.update(_pair(item, "--env"))
    return variables


def _pair(text: str, option: str) -> dict[str, str]:
    if not text:
        return {}
    name, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise RefusedError(
            f'invalid argument "{text}" for "{option}" flag: {text} must be formatted as key=value'
        )
    return {name: value}


def _host_environment(options: Options, image: Path, home: str) -> dict[str, str]:
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in NEVER_KEPT
        and not name.startswith("SINGULARITYENV_")
        and ("cleanenv" not in options.flags or name in KEPT_BY_CLEANENV)
    }
    if "cleanenv" in options.flags:
        environment["LANG"] = "C"
    return environment | {
        "PATH": DEFAULT_PATH,
        "HOME": home,
        "PS1": "Singularity> ",
        "LD_LIBRARY_PATH": "/.singularity.d/libs",
        "SINGULARITY_CONTAINER": str(image),
        "SINGULARITY_NAME": image.name,
        "SINGULARITY_COMMAND": "exec",
    }


def _start_script(variables: dict[str, str]) -> str:
    special = {"PATH": "{}", "PREPEND_PATH": "{}:$PATH", "APPEND_PATH": "$PATH:{}"}
    exports = []
    for name, value in variables.items():
        if name in special:
            exports.append(f"export PATH={special[name].format(shlex.quote(value))}")
        else:
            exports.append(f"export {name}={shlex.quote(value)}")
    return START.format(exports="\n".join(exports))


# Commands


def execute(options: Options, words: list[str]) -> None:
    """Become the command `words[1:]` in the image `words[0]`."""
    image, command = words[0], words[1:]
    root = unpacked(image)
    variables = _set_variables(options)
    home, home_mount = _home(options)
    binds = _bind_mounts(options)
    environment = _host_environment(options, Path(image).resolve(), home)
    if "nv" in options.flags and "quiet" not in options.flags:
        print("WARNING: the stand-in for Singularity ignores --nv: no GPU here", file=sys.stderr)
    where = os.getcwd()
    session = _user_cache() / "session"
    session.mkdir(exist_ok=True)

    if os.getuid() == 0:
        namespaces.unshare(namespaces.CLONE_NEWNS)
    else:
        namespaces.become_own_user()
    namespaces.make_private()
    namespaces.mount("tmpfs", session, "tmpfs", namespaces.MS_NOSUID | namespaces.MS_NODEV, "mode=755")
    place, scratch = session / "root", session / "scratch"
    scratch.mkdir()
    place.mkdir()
    namespaces.bind(place, place)
    mounts = _system_mounts(options, scratch) + _identity_mounts(root, scratch, home)
    mounts += ([home_mount] if home_mount else []) + binds
    _mount_all(root, place, mounts)
    namespaces.make_readonly(place, below=False)
    namespaces.enter_root(place)
    _enter_folder(options, where, home)
    os.execve("/bin/sh", ["/bin/sh", "-c", _start_script(variables), "sh", *command], environment)


def _enter_folder(options: Options, where: str, home: str) -> None:
    given = options.last("pwd")
    if given is not None:
        try:
            os.chdir(given)
        except OSError as error:
            raise RefusedError(f"chdir {given}: {why(error)}") from None
        return
    for path in (where, home, "/"):
        try:
            os.chdir(path)
            return
        except OSError:
            continue


def inspect(words: list[str]) -> None:
    """Print the labels of an image."""
    labels = unpacked(words[0]) / ".singularity.d" / "labels.json"
    for name, value in json.loads(labels.read_text()).items():
        print(f"{name}: {value}")
