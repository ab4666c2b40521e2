"""Writes the settings of a site that is not known yet, from what its commands print."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .slurmtext import SINFO, NodeGroup, parse_config, parse_modules, parse_records, parse_sinfo
from .slurmunits import format_duration, parse_duration, parse_memory

__all__ = ["COMMANDS", "Choice", "describe_cluster", "to_yaml"]

SCRATCH_VARIABLES = (
    *("SCRATCH", "MYSCRATCH", "SCRATCHDIR", "SCRATCH_DIR", "USERSCRATCH", "CSCRATCH", "PSCRATCH", "GSCRATCH"),
    *("FASTSCRATCH", "SCR", "WORK", "MYWORK", "WORKDIR", "WORK_DIR"),
)
SCRATCH_FOLDERS = (
    *("/scratch/$USER", "/scratch/users/$USER", "/scratch/${USER:0:1}/$USER", "/gpfs/scratch/$USER"),
    *("/lustre/scratch/$USER", "/work/$USER", "/data/scratch/$USER", "$HOME/scratch"),
)

# to be run by a login shell; all only read
COMMANDS: dict[str, str] = {
    "sinfo": SINFO,
    "config": "scontrol show config",
    "partitions": "scontrol show partition --oneliner",
    "association": (
        "sacctmgr --noheader --parsable2 show association where user=$USER "
        "format=Account,Partition,MaxJobs,MaxSubmitJobs,QOS 2>&1"
    ),
    "modules": "module -t avail 2>&1",
    "programs": "command -v apptainer singularity; true",
    "addresses": "PATH=$PATH:/usr/sbin:/sbin ip -o -4 addr",
    "route": (
        "PATH=$PATH:/usr/sbin:/sbin ip -o -4 route get "
        "$(getent ahostsv4 $(unset ${!SINFO_@}; sinfo --noheader -N --format=%N | head -n 1) | awk '{print $1; exit}')"
    ),
    # the whole environment may hold secrets
    "env": f"env | grep -E '^(USER|HOME|{'|'.join(SCRATCH_VARIABLES)})='",
    "folders": f'for d in {" ".join(SCRATCH_FOLDERS)}; do [ -d "$d" ] && [ -w "$d" ] && echo "$d"; done; true',
}

DAY = 86400.0
GIB = 2**30
VIRTUAL = re.compile(r"(lo|docker|virbr|veth|br-|podman|cni|tun|tap|wg|flannel|cali)")
CONTAINERS = re.compile(r"(apptainer|singularity)(-?(ce|pro|stable))?", re.I)


@dataclass(frozen=True)
class Choice:
    """A value and why it was chosen.

    Attributes
    ----------
    value : object
        None if the texts do not tell it.
    why : str
    sure : bool
        Whether the texts say so; otherwise it is to be checked.
    """

    value: Any
    why: str
    sure: bool = True


def _usable(records: list[dict[str, str]], groups: list[NodeGroup]) -> list[dict[str, str]]:
    # sinfo shows only those partitions that the user may use; scontrol may show others
    shown = {g.partition for g in groups if g.up}
    fit = [
        r
        for r in records
        if r.get("State", "UP") == "UP" and r.get("RootOnly", "NO") == "NO" and r.get("ReqResv", "NO") == "NO"
    ]
    return [r for r in fit if not shown or r["PartitionName"] in shown]


def _partition(records: list[dict[str, str]], groups: list[NodeGroup]) -> Choice:
    usable = _usable(records, groups)
    names = [r["PartitionName"] for r in usable] or list(dict.fromkeys(g.partition for g in groups if g.up))
    others = f"; others: {', '.join(names)}" if len(names) > 1 else ""
    default = [r["PartitionName"] for r in usable if r.get("Default") == "YES"]
    default += [g.partition for g in groups if g.default and g.partition in names]
    if default:
        return Choice(default[0], f"the default partition{others}")
    if not names:
        return Choice(None, "no partition was found that you may use; ask for the name of one", sure=False)
    graphics = {g.partition for g in groups if g.gres}
    size = {n: sum(g.count for g in groups if g.partition == n) for n in names}
    plain = [n for n in names if n not in graphics] or names
    return Choice(
        max(plain, key=lambda n: size[n]), f"the largest; there is no default partition{others}", sure=False
    )


def _times(name: str | None, records: list[dict[str, str]], groups: list[NodeGroup]) -> dict[str, Choice]:
    limits = {r["PartitionName"]: parse_duration(r.get("MaxTime", "")) for r in records}
    for group in groups:
        if limits.get(group.partition) is None:
            limits[group.partition] = group.limit
    limit = limits.get(name or "")
    if limit is None or limit <= 0:
        unknown = "the time limit of the partition is not known"
        return {"walltime": Choice("04:00:00", unknown, sure=False)}
    said = f"partition {name} allows {format_duration(limit)}"
    longest = min(limit, 7 * DAY)
    usable = {r["PartitionName"] for r in _usable(records, groups)}
    longer = [n for n, most in limits.items() if n in usable and most is not None and most > limit]
    if longer:
        said_longer = f"{said}; longer: {', '.join(longer)}"
    else:
        said_longer = said if limit <= 7 * DAY else f"{said}; a week is enough"
    return {
        "walltime": Choice(format_duration(min(limit, 4 * 3600.0)), f"of a worker; {said}"),
        "scheduler_walltime": Choice(
            format_duration(longest), f"of the job that holds scheduler and driver; {said_longer}"
        ),
    }


def _size(name: str | None, records: list[dict[str, str]], groups: list[NodeGroup]) -> dict[str, Choice]:
    own = [g for g in groups if g.partition == name and g.cores > 0 and g.memory and math.isfinite(g.memory)]
    if not own:
        unknown = "the size of the nodes is not known"
        return {"cores": Choice(1, unknown, sure=False), "memory": Choice("4 GiB", unknown, sure=False)}
    usual = max(own, key=lambda g: g.count)
    share = (usual.memory or 0) / usual.cores
    said = f"nodes have {usual.cores} cores and {(usual.memory or 0) / GIB:.0f} GiB"
    record = next((r for r in records if r.get("PartitionName") == name), {})
    most = parse_memory(record.get("MaxMemPerCPU", ""))
    if most and math.isfinite(most) and most < share:
        share = most
        said += f", at most {most / GIB:.1f} GiB per core"
    # a little less than its share: systems keep some memory for themselves
    share = min(8.0, max(1.0, share * 0.95 / GIB))
    memory = f"{math.floor(share)} GiB" if share >= 4 else f"{math.floor(share * 1024 / 100) * 100} MiB"
    return {
        "cores": Choice(1, f"threads of a worker; {said}"),
        "memory": Choice(memory, f"of a worker; {said}"),
    }


def _limits(config: Mapping[str, str], association: str, account: str | None) -> dict[str, Choice]:
    size = config.get("MaxArraySize", "")
    tasks = re.search(r"max_array_tasks=(\d{1,9})", config.get("SchedulerParameters", ""))
    most = [int(n) for n in (size, tasks.group(1) if tasks else "") if re.fullmatch(r"\d{1,9}", n, re.ASCII)]
    found: dict[str, Choice] = {}
    if most and min(most) <= 1:
        found["max_array"] = Choice(1, "the site has no arrays of jobs")
    elif most:
        found["max_array"] = Choice(min(most), f"MaxArraySize = {size or min(most)}")
    allowed = []
    for fields in _associations(association):
        if account is None or fields[0] == account:
            allowed += [int(n) for n in fields[2:4] if re.fullmatch(r"[1-9]\d{0,8}", n, re.ASCII)]
    if allowed:
        found["max_jobs"] = Choice(min(allowed), "MaxJobs or MaxSubmitJobs of your account")
    else:
        found["max_jobs"] = Choice(None, "the number of jobs that you may have is not known here", sure=False)
    return found


def _associations(text: str) -> list[list[str]]:
    rows = [line.strip().split("|") for line in text.splitlines()]
    return [row for row in rows if len(row) == 5 and re.fullmatch(r"[\w.+-]+", row[0])]


def _account(config: Mapping[str, str], association: str) -> Choice:
    names = list(dict.fromkeys(row[0] for row in _associations(association)))
    if "associations" in config.get("AccountingStorageEnforce", "") or names:
        listed = ", ".join(names) or "not known"
        return Choice(None, f"Slurm takes your default account; yours: {listed}", sure=bool(names))
    return Choice(None, "the site asks for no account")


def _interfaces(text: str) -> list[tuple[str, str]]:
    found = re.findall(r"(?m)^\d+:\s+(\S+?)(?:@\S+)?\s+inet\s+(\d+\.\d+\.\d+\.\d+)", text)
    return [(name, address) for name, address in found if not VIRTUAL.match(name)]


def _interface(addresses: str, route: str) -> Choice:
    interfaces = _interfaces(addresses)
    check = "it must have the same name on the nodes: 'tramway-dask sites check' tries it"
    device = re.search(r"\bdev\s+(\S+)", route)
    if device and device.group(1) in [name for name, _ in interfaces]:
        return Choice(device.group(1), f"by which the login node reaches a node; {check}", sure=False)

    def rank(item: tuple[str, str]) -> int:
        name, address = item
        try:
            private = ipaddress.ip_address(address).is_private
        except ValueError:
            private = False
        fast = re.match(r"(ib|hsn|opa|hfi|bond.*ib)", name) is not None
        return (2 if fast else 0) + (1 if private else 0)

    if not interfaces:
        return Choice(None, "network interfaces are not known; often ib0 or eth0", sure=False)
    name = max(interfaces, key=rank)[0]
    others = ", ".join(n for n, _ in interfaces if n != name)
    return Choice(name, f"of {name}{f', {others}' if others else ''}; {check}", sure=False)


def _container_runtime(modules: str, programs: str) -> dict[str, Choice]:
    for name in ("apptainer", "singularity"):
        if re.search(rf"(?m)^/\S*/{name}\s*$", programs):
            return {
                "singularity_executable": Choice(
                    name, "found on the login node without any module", sure=False
                ),
                "remote_dependencies": Choice(
                    None, "no module is needed for it on the login node", sure=False
                ),
            }
    found: dict[str, str] = {}
    for module in parse_modules(modules):
        parts = module.split("/")
        for k, part in enumerate(parts):
            match = CONTAINERS.fullmatch(part)
            if match and (k == len(parts) - 1 or re.match(r"v?\d", parts[k + 1], re.I)):
                found.setdefault(match.group(1).lower(), "/".join(parts[: k + 1]))
    for name in ("apptainer", "singularity"):
        if name in found:
            listed = f"module {found[name]} is there"
            return {
                "singularity_executable": Choice(name, listed),
                "remote_dependencies": Choice(
                    f"module load {found[name]}", f"{listed}; add a version to pin it"
                ),
            }
    missing = "neither a module nor a program named apptainer or singularity was found; ask for it"
    return {
        "singularity_executable": Choice("singularity", missing, sure=False),
        "remote_dependencies": Choice(None, missing, sure=False),
    }


def _scratch(env: str, folders: str, username: str | None) -> Choice:
    variables = dict(re.findall(r"(?m)^(\w+)=(.*?)\r?$", env))
    user = username or variables.get("USER") or ""

    def pattern(path: str) -> str:
        parts = path.strip().rstrip("/").split("/")
        return "/".join("{username}" if user and part == user else part for part in parts)

    for name in SCRATCH_VARIABLES:
        path = variables.get(name, "").strip()
        if re.fullmatch(r"/[^\s{}$]+", path) and path.rstrip("/") != variables.get("HOME", "").rstrip("/"):
            return Choice(pattern(path), f"${name} on the login node")
    for line in folders.splitlines():
        if re.fullmatch(r"/[^\s{}$]+", line.strip()):
            return Choice(pattern(line), "the folder exists, and you may write there", sure=False)
    return Choice(None, "no scratch folder was found; without one, runs go to ~/.tramway_dask", sure=False)


def _options(scratch: str | None) -> Choice:
    root = "/" + scratch.split("/")[1] if scratch and scratch.startswith("/") else ""
    if root and root not in ("/home", "/tmp", "/var", "/root", "/{username}"):
        return Choice(f"-B {root}", "folders that containers see; add those of your data")
    return Choice(
        None, "folders that containers see besides the home folder: '-B /folder,/other'", sure=False
    )


def describe_cluster(
    outputs: Mapping[str, str], *, hostname: str | None = None, username: str | None = None
) -> dict[str, Choice]:
    """Choose the settings of a site.

    Parameters
    ----------
    outputs : mapping
        Text that each of `COMMANDS` has printed, by its name; some may be missing.
    hostname : str, optional
        Login node, as the user calls it.
    username : str, optional
        On the cluster.

    Returns
    -------
    dict
        `Choice` by key of the YAML; ``max_jobs`` and ``max_array`` belong under ``limits``.
    """
    text = {name: outputs.get(name) or "" for name in COMMANDS}
    config = parse_config(text["config"])
    records = parse_records(text["partitions"], "PartitionName")
    groups = parse_sinfo(text["sinfo"])
    partition = _partition(records, groups)
    scratch = _scratch(text["env"], text["folders"], username)
    named = f"cluster {config['ClusterName']!r}" if config.get("ClusterName") else "the login node"
    version = f", Slurm {config['SLURM_VERSION']}" if config.get("SLURM_VERSION") else ""
    return {
        "hostname": Choice(hostname, f"{named}{version}", sure=hostname is not None),
        "username": Choice(username, "yours on the cluster; default: as ~/.ssh/config says"),
        "scratch": scratch,
        **_container_runtime(text["modules"], text["programs"]),
        "singularity_options": _options(scratch.value),
        "queue": partition,
        "account": _account(config, text["association"]),
        "interface": _interface(text["addresses"], text["route"]),
        "scheduler": Choice(
            "job", "many sites end long processes on the login node; else: login", sure=False
        ),
        **_times(partition.value, records, groups),
        **_size(partition.value, records, groups),
        **_limits(config, text["association"], None),
    }


def _comment(choice: Choice) -> str:
    plain = " ".join(re.sub(r"[^\x20-\x7e\xa0-\uffff]", " ", choice.why).split())
    return f"# {plain}" if choice.sure else f"# {plain} (please check)"


def to_yaml(name: str, description: Mapping[str, Choice]) -> str:
    """Return the text of a configuration file, with the reason for each choice.

    Parameters
    ----------
    name : str
        Of the site.
    description : mapping
        As from `describe_cluster`.
    """
    import yaml

    def entry(key: str, value: Any) -> str:
        # one line, with quotes where YAML would read something else than text
        return yaml.safe_dump({key: value}, width=10**6, allow_unicode=True, default_flow_style=False).strip()

    head = entry(name, None).rpartition(":")[0]
    lines = ["# A file of Dask's configuration, such as ~/.config/dask/tramway.yaml", "tramway:", "  sites:"]
    lines.append(f"    {head}:")
    limits = ["      limits:"]
    for key, choice in description.items():
        inner = limits if key in ("max_jobs", "max_array") else lines
        indent = "        " if inner is limits else "      "
        inner.append(f"{indent}{_comment(choice)}")
        inner.append(f"{indent}{f'# {key}:' if choice.value is None else entry(key, choice.value)}")
    if any(description[k].value is not None for k in ("max_jobs", "max_array") if k in description):
        lines += limits
    return "\n".join(lines) + "\n"
