"""Reads the text that Slurm's commands print. Nothing here runs a command.

The formats are those of Debian's Slurm 22.05 and later: ``squeue`` and ``sinfo`` are asked for fields
between bars, since their JSON differs from one version to the next. Lines that are something else,
such as a banner of the login node, are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .slurmunits import parse_duration, parse_memory, parse_time

__all__ = [
    "DOWN",
    "PLAIN",
    "SINFO",
    "SQUEUE",
    "Job",
    "NodeGroup",
    "normal_state",
    "parse_config",
    "parse_modules",
    "parse_records",
    "parse_sinfo",
    "parse_squeue",
    "parse_test_only",
    "task_numbers",
]

# what a person has set for himself must not change what programs are told
PLAIN = (
    "unset ${!SQUEUE_@} ${!SINFO_@} SLURM_TIME_FORMAT SBATCH_JOB_NAME SBATCH_WAIT SBATCH_OUTPUT SBATCH_ERROR"
    " SBATCH_ARRAY_INX SBATCH_OPEN_MODE SBATCH_REQUEUE; "
)
# times in seconds since 1970: the time zone of the login node does not matter
SQUEUE = (
    f"{PLAIN}SLURM_TIME_FORMAT=%s squeue --noheader --me --array --states=all "
    "--format='%i|%T|%r|%S|%e|%M|%l|%P|%N|%j'"
)
# nodes that do not work, one on a line
DOWN = f"{PLAIN}sinfo --noheader -N --states=down,fail --format=%N"
SINFO = f"{PLAIN}sinfo --noheader --format='%P|%a|%l|%L|%D|%T|%c|%m|%G|%N'"

STATES = {
    "BF": "BOOT_FAIL",
    "CA": "CANCELLED",
    "CD": "COMPLETED",
    "CF": "CONFIGURING",
    "CG": "COMPLETING",
    "DL": "DEADLINE",
    "F": "FAILED",
    "NF": "NODE_FAIL",
    "OOM": "OUT_OF_MEMORY",
    "PD": "PENDING",
    "PR": "PREEMPTED",
    "R": "RUNNING",
    "RD": "RESV_DEL_HOLD",
    "RF": "REQUEUE_FED",
    "RH": "REQUEUE_HOLD",
    "RQ": "REQUEUED",
    "RS": "RESIZING",
    "RV": "REVOKED",
    "S": "SUSPENDED",
    "SE": "SPECIAL_EXIT",
    "SI": "SIGNALING",
    "SO": "STAGE_OUT",
    "ST": "STOPPED",
    "TO": "TIMEOUT",
}
# larger than the largest array that Slurm can be told to accept
MOST_TASKS = 4_000_001
JOB_ID = re.compile(r"(\d+)(?:_(?:(\d+)|\[([^\]]*)\]?)|\+\d+)?", re.ASCII)


@dataclass(frozen=True)
class Job:
    """A job, or one task of an array, as ``squeue`` shows it.

    Attributes
    ----------
    id : str
        ``"123"`` or ``"123_4"``.
    array : str
        Number of the job that was submitted.
    task : int or None
        Its index in the array.
    state : str
        In capitals and in full, such as ``"PENDING"``.
    reason : str
        Slurm's word for why the job waits, or why it has ended.
    start, end : float or None
        Seconds since 1970; of a waiting job, what Slurm expects.
    elapsed, limit : float or None
        Seconds; `limit` may be infinite.
    partition, nodes, name : str
    throttle : int or None
        How many tasks of the array may run at once.
    """

    id: str
    array: str
    task: int | None
    state: str
    reason: str = ""
    start: float | None = None
    end: float | None = None
    elapsed: float | None = None
    limit: float | None = None
    partition: str = ""
    nodes: str = ""
    name: str = ""
    throttle: int | None = None


@dataclass(frozen=True)
class NodeGroup:
    """Nodes of a partition that are alike and in the same state, as ``sinfo`` shows them.

    Attributes
    ----------
    partition : str
    default : bool
        Whether jobs that name no partition go there.
    up : bool
    limit, default_time : float or None
        Seconds; may be infinite.
    count : int
    state : str
    cores : int
        Of one node; of the smallest where they differ.
    memory : float or None
        Bytes, of one node; of the smallest where they differ.
    gres, nodes : str
    """

    partition: str
    default: bool
    up: bool
    limit: float | None
    default_time: float | None
    count: int
    state: str
    cores: int
    memory: float | None
    gres: str
    nodes: str


def task_numbers(text: str) -> tuple[list[int], int | None]:
    """Return the indices that a list of array tasks means, and how many of them may run at once.

    Examples
    --------
    >>> task_numbers("0,4-7%2"), task_numbers("0-8:4")
    (([0, 4, 5, 6, 7], 2), ([0, 4, 8], None))
    """
    numbers, _, most = text.strip("[] ").partition("%")
    found: list[int] = []
    for part in numbers.split(","):
        # a long list ends with '...', which says nothing of its last range
        match = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?(?::(\d{1,9}))?", part.strip(), re.ASCII)
        if match:
            first, last, step = (None if g is None else int(g) for g in match.groups())
            wanted = range(first or 0, (first if last is None else last or 0) + 1, step or 1)  # type: ignore[operator]
            if len(found) + len(wanted) > MOST_TASKS:
                break
            found.extend(wanted)
    return found, int(most) if re.fullmatch(r"\d{1,9}", most, re.ASCII) else None


def normal_state(text: str) -> str:
    """Return a job's state in full.

    ``sacct`` cuts states (``OUT_OF_ME+``) and adds who cancelled (``CANCELLED by 1000``); ``squeue``
    has codes of two letters.

    Examples
    --------
    >>> normal_state("OUT_OF_ME+"), normal_state("CANCELLED by 1000"), normal_state("TO")
    ('OUT_OF_MEMORY', 'CANCELLED', 'TIMEOUT')
    """
    words = text.split()
    word = words[0].upper() if words else ""
    if word.endswith("+"):
        cut = word.rstrip("+")
        whole = [state for state in STATES.values() if cut and state.startswith(cut)]
        return whole[0] if len(whole) == 1 else cut
    return STATES.get(word, word)


def _jobs_of_line(line: str, utc_offset: float) -> Iterator[Job]:
    parts = line.split("|", 9)
    found = JOB_ID.fullmatch(parts[0].strip())
    if len(parts) != 10 or found is None:
        return
    _, state, reason, start, end, elapsed, limit, partition, nodes, name = (p.strip() for p in parts)
    array, task, tasks = found.groups()
    common = {
        "state": normal_state(state),
        "reason": reason.strip("()"),
        "start": parse_time(start, utc_offset=utc_offset),
        "end": parse_time(end, utc_offset=utc_offset),
        "elapsed": parse_duration(elapsed),
        "limit": parse_duration(limit),
        "partition": partition,
        "nodes": nodes,
        "name": name,
    }
    numbers, throttle = task_numbers(tasks or "")
    if numbers:
        for number in numbers:
            yield Job(id=f"{array}_{number}", array=array, task=number, throttle=throttle, **common)  # type: ignore[arg-type]
    else:
        yield Job(id=found.group(), array=array, task=None if task is None else int(task), **common)  # type: ignore[arg-type]


def parse_squeue(text: str, *, utc_offset: float = 0.0) -> list[Job]:
    """Return the jobs in the output of `SQUEUE`; waiting arrays become one job per task.

    Parameters
    ----------
    text : str
    utc_offset : float
        As for `parse_time`.
    """
    return [job for line in text.splitlines() for job in _jobs_of_line(line, utc_offset)]


def parse_sinfo(text: str) -> list[NodeGroup]:
    """Return the groups of nodes in the output of `SINFO`."""
    groups = []
    for line in text.splitlines():
        parts = [p.strip() for p in line.split("|")]
        if len(parts) != 10 or not parts[0] or not re.fullmatch(r"\d{1,9}", parts[4], re.ASCII):
            continue
        cores = re.match(r"\d{1,9}", parts[6], re.ASCII)
        groups.append(
            NodeGroup(
                partition=parts[0].rstrip("*"),
                default=parts[0].endswith("*"),
                up=parts[1].lower() == "up",
                limit=parse_duration(parts[2]),
                default_time=parse_duration(parts[3]),
                count=int(parts[4]),
                # a flag says that the node does not answer, saves power or will restart
                state=re.sub(r"[^a-z_]+$", "", parts[5].lower()),
                cores=int(cores.group()) if cores else 0,
                memory=parse_memory(parts[7]),
                gres="" if parts[8] in ("(null)", "N/A") else parts[8],
                nodes=parts[9],
            )
        )
    return groups


def parse_config(text: str) -> dict[str, str]:
    """Return the settings that ``scontrol show config`` prints; empty where it has ``(null)``."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        match = re.fullmatch(r"\s*([A-Za-z][\w\[\]]*)\s*=\s?(.*)", line)
        if match and match.group(1) not in found:
            value = match.group(2).strip()
            found[match.group(1)] = "" if value in ("(null)", "N/A") else value
    return found


def parse_records(text: str, first: str) -> list[dict[str, str]]:
    """Return the records that ``scontrol show`` prints, on one or several lines each.

    Parameters
    ----------
    text : str
    first : str
        Name by which a record begins: ``"PartitionName"``, ``"JobId"`` or ``"NodeName"``.
    """
    records: list[dict[str, str]] = []
    for block in re.split(rf"(?m)^(?={re.escape(first)}=)", text):
        if not block.startswith(f"{first}="):
            continue
        record: dict[str, str] = {}
        # a value ends where the next name begins: some values contain blanks
        keys = list(re.finditer(r"(?<!\S)([A-Z][\w/:\[\]-]*)=", block))
        for k, key in enumerate(keys):
            end = keys[k + 1].start() if k + 1 < len(keys) else len(block)
            value = block[key.end() : end].partition("\n")[0].strip()
            record.setdefault(key.group(1), "" if value in ("(null)", "N/A", "None assigned") else value)
        records.append(record)
    return records


def parse_modules(text: str) -> list[str]:
    """Return the names that ``module avail`` prints, terse or in columns (Lmod or Environment Modules)."""
    found: dict[str, None] = {}
    prose = False
    for line in text.splitlines():
        stripped = line.strip()
        if re.match(r"-{3,}", stripped) or stripped.endswith(":") and stripped.startswith(("/", "~")):
            prose = False
        elif re.match(r"(Where|Key|Use |If |No module|Module |Lmod |The |Loading|\w+:\s)", stripped):
            prose = True
        elif not prose:
            plain = re.sub(r"\([^)]*\)|<[^>]*>", " ", stripped)
            for word in plain.split():
                if re.fullmatch(r"[A-Za-z0-9][\w.+-]*(/[\w.+-]+)*/?", word):
                    found[word.rstrip("/")] = None
    return list(found)


def parse_test_only(text: str, *, utc_offset: float = 0.0) -> dict[str, str | float | None] | None:
    """Return what ``sbatch --test-only`` expects: start, cores, nodes, partition; None if it refuses."""
    found = re.search(
        r"Job \d+ to start at (\S+) using (\d{1,9}) processors on (?:nodes )?(\S+)(?: in partition (\S+))?",
        text,
    )
    if found is None:
        return None
    start, cores, nodes, partition = found.groups()
    return {
        "start": parse_time(start, utc_offset=utc_offset),
        "cores": float(cores),
        "nodes": nodes,
        "partition": partition,
    }
