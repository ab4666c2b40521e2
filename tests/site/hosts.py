"""The hosts of the test site: what each is made of, and the process that is its PID 1."""

from __future__ import annotations

import glob
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "standin"))

import namespaces  # noqa: E402
from base import cache_folder  # noqa: E402, F401
from execute import forget_old  # noqa: E402, F401

ALL_NAMESPACES = (
    namespaces.CLONE_NEWNS
    | namespaces.CLONE_NEWUTS
    | namespaces.CLONE_NEWIPC
    | namespaces.CLONE_NEWPID
    | namespaces.CLONE_NEWNET
)
OWN_USERS = {
    "root": (0, 0),
    "munge": (901, 901),
    "slurm": (902, 902),
    "alice": (20001, 20001),
    "bob": (20002, 20002),
    "tester": (20003, 20003),
}
FROM_MACHINE = (
    "alternatives",
    "bash.bashrc",
    "fonts",
    "host.conf",
    "inputrc",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "login.defs",
    "magic",
    "mime.types",
    "protocols",
    "python3",
    "rpc",
    "services",
    "shells",
    "skel",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
    *(path.name for path in Path("/etc").glob("python3.*")),
)
SLURM_COMMANDS = (
    "sacct",
    "sacctmgr",
    "salloc",
    "sattach",
    "sbatch",
    "sbcast",
    "scancel",
    "scontrol",
    "scrontab",
    "sdiag",
    "sinfo",
    "sprio",
    "squeue",
    "sreport",
    "srun",
    "sshare",
    "sstat",
    "strigger",
    "munge",
    "unmunge",
    "modulecmd",
    "singularity",
    "apptainer",
)
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


@dataclass(frozen=True)
class Service:
    """A daemon: its command in the foreground, its user, and a path that shows it is up."""

    command: tuple[str, ...]
    user: str = "root"
    ready: str | None = None


@dataclass(frozen=True)
class Host:
    """A host: interfaces (network, address), daemons, and rules of its firewall."""

    interfaces: dict[str, tuple[str, str]] = field(default_factory=dict)
    services: tuple[Service, ...] = ()
    firewall: tuple[str, ...] = ()
    cluster: bool = True


MUNGE = Service(("munged", "-F"), "munge", "/run/munge/munge.socket.2")
NETWORKS = ("outside", "inside")
FIREWALL = (
    "-N CUT",
    "-A INPUT -i eth0 -j CUT",
    "-A OUTPUT -o eth0 -j CUT",
    "-A INPUT -i eth0 -p tcp --dport 22 -j ACCEPT",
    "-A INPUT -i eth0 -j REJECT",
    "-A OUTPUT -o eth0 -p tcp --sport 22 -j ACCEPT",
    "-A OUTPUT -o eth0 -p icmp -j ACCEPT",
    "-A OUTPUT -o eth0 -j REJECT",
)
HOSTS = {
    "login": Host(
        {"eth0": ("outside", "10.77.1.1/24"), "ib0": ("inside", "10.77.2.1/24")},
        (
            MUNGE,
            Service(("/usr/sbin/sshd", "-D", "-e"), ready="/run/sshd.pid"),
            Service(("slurmctld", "-D"), ready="/run/slurmctld.pid"),
        ),
        FIREWALL,
    ),
    "node1": Host({"ib0": ("inside", "10.77.2.11/24")}, (MUNGE, Service(("slurmd", "-D")))),
    "node2": Host({"ib0": ("inside", "10.77.2.12/24")}, (MUNGE, Service(("slurmd", "-D")))),
    "laptop": Host({"eth0": ("outside", "10.77.1.2/24")}, cluster=False),
}


# Files


def prepare_host(name: str, folder: Path) -> None:
    """Make the folders and the configuration of a host under `folder`/hosts."""
    host, root = HOSTS[name], folder / "hosts" / name
    etc, var = root / "etc", root / "var"
    for path in (
        etc,
        var / "log/munge",
        var / "log/slurm",
        var / "lib/munge",
        root / "tmp",
        var / "lib/slurm/slurmd",
        var / "lib/slurm/slurmctld",
        var / "tmp",
        var / "cache/singularity-standin",
    ):
        path.mkdir(parents=True)
    for known in FROM_MACHINE:
        _copy(Path("/etc") / known, etc / known)
    if host.cluster:
        _copy(Path("/etc/environment-modules"), etc / "environment-modules")
    for kind in ("common", "cluster" if host.cluster else "laptop"):
        _copy(HERE / "files" / kind / "etc", etc)
    (etc / "hostname").write_text(f"{name}\n")
    (etc / "resolv.conf").touch()
    users = [line.partition(":")[0] for line in (etc / "passwd").read_text().splitlines()]
    secret = etc / "shadow"
    secret.write_text("".join(f"{user}:*:19700:0:99999:7:::\n" for user in users))
    secret.chmod(0o600)
    for path in (root / "tmp", var / "tmp"):
        path.chmod(0o1777)
    for path, user in (
        (var / "log/munge", "munge"),
        (var / "lib/munge", "munge"),
        (var / "log/slurm", "slurm"),
        (var / "lib/slurm/slurmctld", "slurm"),
    ):
        os.chown(path, *OWN_USERS[user])
        path.chmod(0o700)
    if host.cluster:
        install_secret(folder / "keys/munge.key", etc / "munge/munge.key", "munge")
    if any("sshd" in service.command[0] for service in host.services):
        install_secret(folder / "keys/login", etc / "ssh/ssh_host_ed25519_key", "root")


def install_secret(source: Path, target: Path, user: str) -> None:
    """Copy a key so that only `user` reads it."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chown(target.parent, *OWN_USERS[user])
    shutil.copyfile(source, target)
    target.chmod(0o400)
    os.chown(target, *OWN_USERS[user])


def _copy(source: Path, target: Path) -> None:
    if source.is_dir() and not source.is_symlink():
        shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True, ignore_dangling_symlinks=True)
    elif os.path.lexists(source):
        shutil.copy2(source, target, follow_symlinks=False)


# Root file system, seen from within


def _build_root(name: str, folder: Path, unpacked: Path, shown: list[str]) -> Path:
    """Mount all that the host sees below a new root, and nothing else."""
    host, own = HOSTS[name], folder / "hosts" / name
    namespaces.mount("tmpfs", "/mnt", "tmpfs", namespaces.MS_NOSUID, "mode=755")
    root = Path("/mnt")
    namespaces.bind("/usr", root / "usr", readonly=True)
    for path in ("bin", "sbin", *(os.path.basename(found) for found in glob.glob("/lib*"))):
        if os.path.islink(f"/{path}"):
            (root / path).symlink_to(os.readlink(f"/{path}"))
        else:
            namespaces.bind(f"/{path}", root / path, readonly=True)
    for path in ("etc", "var", "tmp"):
        namespaces.bind(own / path, root / path)
    if host.cluster:
        for path in ("home", "scratch", "opt"):
            namespaces.bind(folder / "shared" / path, root / path)
        namespaces.bind(unpacked, root / "var/cache/singularity-standin")
    else:
        namespaces.bind(folder / "laptop/home", root / "home")
        _hide_commands(root)
    _show_folders(root, shown)
    for path in ("mnt", "run", "srv"):
        (root / path).mkdir(exist_ok=True)
    if not (root / "var/run").is_symlink():
        (root / "var/run").symlink_to("/run")
    namespaces.mount("tmpfs", root / "run", "tmpfs", namespaces.MS_NOSUID, "mode=755")
    _mount_kernel_folders(root)
    return root


def _show_folders(root: Path, shown: list[str]) -> None:
    """Show folders of the machine, read-only, without what lies beside them."""
    (root / "root").mkdir(mode=0o755 if any(path.startswith("/root/") for path in shown) else 0o700)
    for path in shown:
        if not path.startswith("/usr/"):
            namespaces.bind(path, root / path.lstrip("/"), readonly=True)


def _mount_kernel_folders(root: Path) -> None:
    for path in ("proc", "sys", "dev"):
        (root / path).mkdir()
    namespaces.mount("proc", root / "proc", "proc")
    namespaces.mount("sysfs", root / "sys", "sysfs")
    if os.path.isdir("/sys/fs/cgroup"):
        namespaces.bind("/sys/fs/cgroup", root / "sys/fs/cgroup")
    namespaces.mount("tmpfs", root / "dev", "tmpfs", namespaces.MS_NOSUID, "mode=755")
    for device in DEVICES:
        namespaces.bind(f"/dev/{device}", root / "dev" / device)
    for path in ("pts", "shm"):
        (root / "dev" / path).mkdir()
    namespaces.mount("devpts", root / "dev/pts", "devpts", data="newinstance,ptmxmode=0666,mode=620,gid=5")
    namespaces.mount("tmpfs", root / "dev/shm", "tmpfs", data="mode=1777")
    for link, target in (
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "fd/0"),
        ("stdout", "fd/1"),
        ("stderr", "fd/2"),
    ):
        (root / "dev" / link).symlink_to(target)


def _hide_commands(root: Path) -> None:
    """A laptop has no Slurm: its commands become files that cannot be executed."""
    empty = root / "absent"
    empty.touch(mode=0o000)
    for command in SLURM_COMMANDS:
        path = root / "usr/bin" / command
        if path.exists():
            namespaces.mount(empty, path.resolve(), flags=namespaces.MS_BIND)
    empty.unlink()


# PID 1


def run_host(name: str, folder: Path, unpacked: Path, shown: list[str]) -> None:
    """Become a host: print the number of its PID 1, then wait for `go` on standard input.

    When whoever starts the host goes away before saying `go`, the host ends.
    """
    namespaces.unshare(ALL_NAMESPACES)
    child = os.fork()
    if child:
        print(child, flush=True)
        return
    namespaces.make_private()
    if name != "switch":
        root = _build_root(name, folder, unpacked, shown)
        namespaces.enter_root(root)
        socket.sethostname(name)
    if sys.stdin.readline().strip() != "go":
        sys.exit("nobody said go")
    if name != "switch":
        _start_services(HOSTS[name])
    print("ready", flush=True)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    _reap_for_ever()


def _start_services(host: Host) -> None:
    for path, user in (("/run/munge", "munge"), ("/run/sshd", "root")):
        os.mkdir(path, 0o755)
        os.chown(path, *OWN_USERS[user])
    for rule in host.firewall:
        subprocess.run(["iptables", "-w", *rule.split()], check=True)
    for service in host.services:
        log = open(f"/var/log/{os.path.basename(service.command[0])}.log", "ab")  # noqa: SIM115
        number, group = OWN_USERS[service.user]
        subprocess.Popen(
            service.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            user=number,
            group=group,
            extra_groups=[],
        )
        log.close()
        _wait_for(service)


def _wait_for(service: Service) -> None:
    end = time.monotonic() + 10
    while service.ready and not os.path.exists(service.ready):
        if time.monotonic() > end:
            sys.exit(f"{service.command[0]} did not start: see its log in /var/log")
        time.sleep(0.02)


def _reap_for_ever() -> None:
    while True:
        try:
            os.wait()
        except ChildProcessError:
            signal.sigtimedwait([signal.SIGCHLD], 1)


if __name__ == "__main__":
    os.environ.clear()
    os.environ.update(
        PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", LANG="C.UTF-8", HOME="/root"
    )
    os.umask(0o022)
    run_host(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
