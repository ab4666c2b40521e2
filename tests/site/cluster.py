"""Start, stop and enter the test site: a Slurm cluster and a laptop on one machine."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hosts import HERE, HOSTS, NETWORKS, OWN_USERS, cache_folder, forget_old, install_secret, prepare_host

PYTHON = "/usr/bin/python3"
MARKER = ".tramway-site"
PLAIN_PATH = "/usr/local/bin:/usr/bin:/bin"


class SiteError(Exception):
    """What a person reads when the site cannot do what was asked."""


# Where things are


def site_folder(given: str | None) -> Path:
    """The folder of the site: given, or TRAMWAY_SITE_DIR, or one below the temporary folder."""
    path = given or os.environ.get("TRAMWAY_SITE_DIR")
    return Path(path or Path(tempfile.gettempdir()) / "tramway-site").resolve()


def first_processes(folder: Path) -> dict[str, int]:
    """PID 1 of each host of the site in `folder`, as this machine numbers it."""
    found = {}
    for name, number, innermost in _site_processes(folder):
        if innermost:
            found[name] = number
    return found


def _site_processes(folder: Path) -> list[tuple[str, int, bool]]:
    """Host, number, and whether it is the host's PID 1, for all processes that hold hosts."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            status = (entry / "status").read_text()
        except OSError:
            continue
        if len(words) > 4 and words[2].endswith("/hosts.py") and words[4] == str(folder):
            numbers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()
            found.append((words[3], int(entry.name), len(numbers) > 2 and numbers[-1] == "1"))
    return found


def _require_root() -> None:
    if os.geteuid() != 0:
        raise SiteError("the test site needs root: it makes namespaces and network interfaces")


# Up


def up(folder: Path) -> None:
    """Start the site in `folder`, unless it runs already."""
    _require_root()
    running = first_processes(folder)
    if set(running) == {"switch", *HOSTS} and (folder / "site.json").exists():
        print(f"{folder} is up already; its description: {folder / 'site.json'}")
        return
    _check_programs()
    down(folder)
    try:
        _prepare(folder)
        _start("switch", folder)
        for name in HOSTS:
            _start(name, folder)
        _wait_for_nodes(folder)
        _write_description(folder)
    except BaseException:
        logs = _last_lines(folder)
        down(folder)
        print(logs, file=sys.stderr)
        raise
    print(f"the site is up; its description: {folder / 'site.json'}")


def _check_programs() -> None:
    missing = [
        program
        for program in (
            "slurmctld",
            "slurmd",
            "munged",
            "sshd",
            "ip",
            "iptables",
            "nsenter",
            "unsquashfs",
            "ssh-keygen",
        )
        if not shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    ]
    if missing:
        raise SiteError(f"not installed: {', '.join(missing)}. Run: bash {HERE / 'install.sh'}")


def _prepare(folder: Path) -> None:
    """Keys, shared folders and the files of every host."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise SiteError(f"{folder} is not empty and not of a test site: choose another folder")
    (folder / MARKER).touch()
    keys, shared, laptop = folder / "keys", folder / "shared", folder / "laptop"
    for path in (
        keys,
        shared / "home",
        shared / "scratch",
        shared / "opt",
        laptop / "home",
        folder / "hosts",
    ):
        path.mkdir(parents=True)
    keys.chmod(0o700)
    (keys / "munge.key").write_bytes(secrets.token_bytes(128))
    for name in ("login", "alice", "bob"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"{name}@site", "-f", str(keys / name)],
            check=True,
        )
    shutil.copytree(HERE / "files/cluster/opt", shared / "opt", dirs_exist_ok=True)
    shutil.copytree(
        HERE / "standin", shared / "opt/singularity-standin", ignore=shutil.ignore_patterns("__pycache__")
    )
    for user in ("alice", "bob"):
        _make_home(user, shared / "home" / user)
        _own_folder(shared / "scratch" / user, user, 0o755)
        authorized = shared / "home" / user / ".ssh/authorized_keys"
        install_secret(keys / f"{user}.pub", authorized, user)
        authorized.chmod(0o600)
    _prepare_laptop(keys, laptop / "home/tester")
    for name in HOSTS:
        prepare_host(name, folder)


def _own_folder(path: Path, user: str, mode: int) -> None:
    path.mkdir(parents=True)
    path.chmod(mode)
    os.chown(path, *OWN_USERS[user])


def _make_home(user: str, path: Path) -> None:
    _own_folder(path, user, 0o700)
    for source in Path("/etc/skel").iterdir():
        target = shutil.copy2(source, path / source.name)
        os.chown(target, *OWN_USERS[user])


def _prepare_laptop(keys: Path, home: Path) -> None:
    _make_home("tester", home)
    install_secret(keys / "alice", home / ".ssh/id_ed25519", "tester")
    install_secret(keys / "bob", home / ".ssh/id_bob", "tester")
    known = home / ".ssh/known_hosts"
    words = (keys / "login.pub").read_text().split()
    known.write_text(f"login,login.site.test,10.77.1.1 {words[0]} {words[1]}\n")
    known.chmod(0o600)
    os.chown(known, *OWN_USERS["tester"])


def _shown(name: str) -> list[str]:
    """Folders of this machine that a host sees, read-only: the laptop's Python and the code."""
    if name == "switch":
        return []
    if HOSTS[name].cluster:
        return _listed("TRAMWAY_SITE_CLUSTER_SHOWS")
    shown = _python_folders() + [str(HERE.parents[1])] + _listed("TRAMWAY_SITE_LAPTOP_SHOWS")
    return list(dict.fromkeys(shown))


def _listed(variable: str) -> list[str]:
    paths = [path for path in os.environ.get(variable, "").split(":") if path]
    for path in paths:
        if not os.path.exists(path):
            raise SiteError(f"{variable} names {path}, which does not exist")
    return [os.path.realpath(path) for path in paths]


def _laptop_python() -> str:
    return os.environ.get("TRAMWAY_SITE_PYTHON", "python3")


def _python_folders() -> list[str]:
    code = "import sys; print(sys.base_prefix, sys.prefix, sep='\\n')"
    folders = subprocess.run(
        [_laptop_python(), "-c", code], capture_output=True, text=True, check=True
    ).stdout.split("\n")
    return [path for path in folders if path and path != "/usr"]


def _unpacked_images() -> Path:
    """Where the stand-in keeps unpacked images, across sites: the last few of each user."""
    folder = cache_folder() / "unpacked"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o1777)
    for lock in folder.glob("*/lock"):
        with open(lock) as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            forget_old(lock.parent)
    return folder


def _start(name: str, folder: Path) -> None:
    """Start one host, connect it, and wait until its daemons run."""
    log = open(folder / f"{name}.log", "ab")  # noqa: SIM115
    process = subprocess.Popen(
        [PYTHON, "-IB", str(HERE / "hosts.py"), name, str(folder), str(_unpacked_images()), *_shown(name)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        start_new_session=True,
    )
    log.close()
    said, told = process.stdout, process.stdin
    assert said is not None and told is not None
    number = said.readline().strip()
    if not number:
        raise SiteError(f"host {name} did not start")
    process.wait()
    _connect(name, int(number), folder)
    with contextlib.suppress(BrokenPipeError):
        told.write("go\n")
        told.close()
    if said.readline().strip() != "ready":
        raise SiteError(f"host {name} did not get ready")


def _connect(name: str, number: int, folder: Path) -> None:
    """Plug the interfaces of a host into the networks of the switch."""
    _in_network(number, "link set lo up")
    if name == "switch":
        for network in NETWORKS:
            _in_network(number, f"link add {network} type bridge")
            _in_network(number, f"link set {network} up")
        return
    switch = first_processes(folder)["switch"]
    for interface, (network, address) in HOSTS[name].interfaces.items():
        plug = f"{name}-{interface}"
        _in_network(switch, f"link add {plug} type veth peer name {interface} netns {number}")
        _in_network(switch, f"link set {plug} master {network} up")
        _in_network(number, f"address add {address} dev {interface}")
        _in_network(number, f"link set {interface} up")


def _in_network(number: int, command: str) -> None:
    subprocess.run(["nsenter", f"--net=/proc/{number}/ns/net", "ip", *command.split()], check=True)


def _wait_for_nodes(folder: Path, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    command = _entering(folder, "login", "root", ["sinfo", "-h", "-N", "-p", "main", "-o", "%T"])
    while True:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.stdout.split() == ["idle", "idle"]:
            return
        if time.monotonic() > end:
            raise SiteError(f"the nodes are not idle: {done.stdout}{done.stderr}")
        time.sleep(0.1)


def _last_lines(folder: Path) -> str:
    paths = [
        *folder.glob("*.log"),
        *folder.glob("hosts/*/var/log/*.log"),
        *folder.glob("hosts/*/var/log/slurm/*.log"),
    ]
    texts = []
    for path in sorted(paths):
        lines = path.read_text(errors="replace").splitlines()[-8:]
        texts += [f"== {path.relative_to(folder)}", *lines] if lines else []
    return "\n".join(texts)


def _laptop_path() -> str:
    folders = [f"{path}/bin" for path in reversed(_python_folders())]
    return ":".join(dict.fromkeys([*folders, *PLAIN_PATH.split(":")]))


def _described_path(folder: Path) -> str | None:
    """The laptop's PATH as it was when the site came up."""
    try:
        return str(json.loads((folder / "site.json").read_text())["laptop"]["path"])
    except FileNotFoundError:
        return None


def _write_description(folder: Path) -> None:
    """site.json: what tests need to know."""
    shared, home = folder / "shared", folder / "laptop/home/tester"
    fingerprint = subprocess.run(
        ["ssh-keygen", "-lf", str(folder / "keys/login.pub")], capture_output=True, text=True, check=True
    ).stdout.split()[1]
    processes = first_processes(folder)
    description = {
        "folder": str(folder),
        "hosts": {
            name: {
                "pid": processes[name],
                "interfaces": {
                    interface: address.partition("/")[0]
                    for interface, (_, address) in host.interfaces.items()
                },
            }
            for name, host in HOSTS.items()
        },
        "switch": {"pid": processes["switch"], "networks": list(NETWORKS)},
        "ssh": {
            "host": "login",
            "address": "10.77.1.1",
            "port": 22,
            "user": "alice",
            "key": "/home/tester/.ssh/id_ed25519",
            "known_hosts": "/home/tester/.ssh/known_hosts",
            "fingerprint": fingerprint,
            "other_user": "bob",
            "other_key": "/home/tester/.ssh/id_bob",
        },
        "laptop": {
            "user": "tester",
            "home": "/home/tester",
            "path": _described_path(folder) or _laptop_path(),
            "home_on_machine": str(home),
        },
        "cluster": {
            "users": ["alice", "bob"],
            "home": "/home",
            "scratch": "/scratch",
            "home_on_machine": str(shared / "home"),
            "scratch_on_machine": str(shared / "scratch"),
            "interface": "ib0",
            "module": "singularity",
            "singularity": "/opt/singularity-standin/singularity",
        },
        "slurm": {
            "partitions": {
                "main": {"default": True, "default_minutes": 30, "max_minutes": 1440},
                "short": {"default_minutes": 2, "max_minutes": 10},
                "closed": {"group": "staff", "max_minutes": 60},
            },
            "nodes": ["node1", "node2"],
            "cpus_per_node": 16,
            "memory_per_node_mb": 32000,
            "max_array_size": 121,
            "max_jobs": 5000,
            "max_jobs_per_user": 150,
            "accounting": False,
        },
    }
    partial = folder / "site.json.partial"
    partial.write_text(json.dumps(description, indent=2) + "\n")
    partial.rename(folder / "site.json")


# Down


def down(folder: Path) -> None:
    """Stop the site in `folder` and remove it, whatever state it is in."""
    _require_root()
    for _ in range(100):
        processes = _site_processes(folder)
        if not processes:
            break
        for _, number, _ in processes:
            _kill(number)
        time.sleep(0.05)
    else:
        raise SiteError(f"processes of {folder} would not end: {processes}")
    if (folder / MARKER).exists():
        shutil.rmtree(folder)


def _kill(number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(number, signal.SIGKILL)


# Enter, cut, power


def _entering(
    folder: Path, name: str, user: str, command: list[str], variables: tuple[str, ...] = ()
) -> list[str]:
    """The command that runs `command` on a host as `user`."""
    processes = first_processes(folder)
    if name not in HOSTS:
        raise SiteError(f"no host {name!r}; the hosts: {', '.join(HOSTS)}")
    if name not in processes:
        raise SiteError(f"host {name} is not up in {folder}")
    known = {
        line.split(":")[0]: line.split(":")
        for line in (folder / f"hosts/{name}/etc/passwd").read_text().splitlines()
    }
    if user not in known:
        raise SiteError(f"no user {user!r} on {name}; its users: {', '.join(known)}")
    _, _, uid, gid, _, home, shell = known[user]
    path = PLAIN_PATH if user != "root" else f"/usr/local/sbin:{PLAIN_PATH}:/usr/sbin:/sbin"
    if name == "laptop" and user != "root":
        path = _described_path(folder) or _laptop_path()
        variables = (f"SITE_PATH={path}", *variables)
    environment = [
        f"HOME={home}",
        f"USER={user}",
        f"LOGNAME={user}",
        f"SHELL={shell}",
        f"PATH={path}",
        f"TERM={os.environ.get('TERM', 'dumb')}",
        "LANG=C.UTF-8",
    ]
    return [
        "nsenter",
        f"--target={processes[name]}",
        "--mount",
        "--uts",
        "--ipc",
        "--net",
        "--pid",
        "setpriv",
        f"--reuid={uid}",
        f"--regid={gid}",
        f"--groups={','.join(_groups(folder, name, user, gid))}",
        "env",
        "-i",
        "-C",
        home,
        *environment,
        *variables,
        *(command or [shell, "-l"]),
    ]


def _groups(folder: Path, name: str, user: str, own: str) -> list[str]:
    lines = [line.split(":") for line in (folder / f"hosts/{name}/etc/group").read_text().splitlines()]
    return [own, *(number for _, _, number, users in lines if user in users.split(","))]


def enter(folder: Path, name: str, given: list[str]) -> None:
    """Become a command on a host; `given` is its user and the command, or nothing."""
    _require_root()
    user, *command = given or ["tester" if name == "laptop" else "alice"]
    words = _entering(folder, name, user, command)
    os.execvp(words[0], words)


def cut(folder: Path, state: str) -> None:
    """Drop (on), refuse (reset) or let through (off) all between laptop and login."""
    _require_root()
    rules = {
        "on": ["-A CUT -j DROP"],
        "off": [],
        "reset": ["-A CUT -p tcp --dport 22 -j REJECT --reject-with tcp-reset"],
    }
    for rule in ["-F CUT", *rules[state]]:
        subprocess.run(_entering(folder, "login", "root", ["iptables", "-w", *rule.split()]), check=True)


def power(folder: Path, state: str, name: str) -> None:
    """Pull the plug of a host, or start it again."""
    _require_root()
    if name not in HOSTS:
        raise SiteError(f"no host {name!r}; the hosts: {', '.join(HOSTS)}")
    processes = first_processes(folder)
    if state == "off" and name in processes:
        _kill(processes[name])
        while name in first_processes(folder):
            time.sleep(0.02)
    elif state == "on" and name not in processes:
        for path in (folder / f"hosts/{name}/tmp").iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        _start(name, folder)
        _write_description(folder)


# Command line


def main(arguments: list[str]) -> int:
    os.environ["PATH"] = os.environ.get("PATH", PLAIN_PATH) + ":/usr/sbin:/sbin"
    parser = argparse.ArgumentParser(prog="cluster.py", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("up", "down"):
        commands.add_parser(name).add_argument("folder", nargs="?")
    entering = commands.add_parser("enter")
    entering.add_argument("host")
    entering.add_argument("words", nargs=argparse.REMAINDER, metavar="[USER [COMMAND...]]")
    commands.add_parser("cut").add_argument("state", choices=("on", "off", "reset"))
    powering = commands.add_parser("power")
    powering.add_argument("state", choices=("on", "off"))
    powering.add_argument("host")
    given = parser.parse_args(arguments)
    try:
        if given.command == "up":
            up(site_folder(given.folder))
        elif given.command == "down":
            down(site_folder(given.folder))
        elif given.command == "enter":
            enter(site_folder(None), given.host, given.words)
        elif given.command == "cut":
            cut(site_folder(None), given.state)
        else:
            power(site_folder(None), given.state, given.host)
    except SiteError as error:
        print(f"test site: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
