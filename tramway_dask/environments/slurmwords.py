"""Says in plain words what the reasons of waiting jobs and the ends of jobs mean, and what to do."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass

from .slurmtext import normal_state

__all__ = ["End", "Waiting", "explain_end", "explain_log", "explain_waiting"]


@dataclass(frozen=True)
class Waiting:
    """Why a job waits.

    Attributes
    ----------
    kind : str
        ``"queue"``, ``"limit"``, ``"nodes"``, ``"time"``, ``"dependency"``, ``"array"``, ``"held"``,
        ``"licence"``, ``"impossible"`` or ``"unknown"``.
    sentence : str
    remedy : str
        Empty where there is nothing to do but to wait.
    stuck : bool
        Whether the job will never start as it is.
    start : float or None
        When Slurm expects it to start, in seconds since 1970.
    """

    kind: str
    sentence: str
    remedy: str = ""
    stuck: bool = False
    start: float | None = None

    def __str__(self) -> str:
        return f"{self.sentence}; {self.remedy}" if self.remedy else self.sentence


@dataclass(frozen=True)
class End:
    """How a job has ended.

    Attributes
    ----------
    kind : str
        ``"done"``, ``"time limit"``, ``"memory limit"``, ``"preempted"``, ``"node failure"``,
        ``"cancelled"``, ``"launch failure"``, ``"disk full"``, ``"module"``, ``"container"``, ``"killed"``,
        ``"crash"``, ``"failed"``, ``"active"`` (it has not ended) or ``"unknown"``.
    sentence, advice : str
    again : bool
        Whether the same job may well succeed if it is submitted again as it is.
    """

    kind: str
    sentence: str
    advice: str = ""
    again: bool = False

    def __str__(self) -> str:
        return f"{self.sentence}; {self.advice}" if self.advice else self.sentence


# of reasons that are one word; Slurm's names are the same in all versions
REASONS: dict[str, tuple[str, str, str, bool]] = {
    "None": ("queue", "Slurm has not looked at the job yet", "", False),
    "WaitingForScheduling": ("queue", "Slurm has not looked at the job yet", "", False),
    "Priority": ("queue", "other jobs come first", "", False),
    "Resources": ("queue", "the nodes are busy; it is the next in line", "", False),
    "SchedDefer": ("queue", "Slurm is busy and will look at the job later", "", False),
    "Prolog": ("queue", "the node is being prepared", "", False),
    "Cleaning": ("queue", "the job is requeued and its former run is being cleaned up", "", False),
    "NodeDown": ("nodes", "a node that it needs is down", "", False),
    "ReqNodeNotAvail": (
        "nodes",
        "nodes that it needs are down, drained or reserved, maybe for maintenance",
        "a shorter walltime may fit before the maintenance",
        False,
    ),
    "Reservation": ("nodes", "its reservation has not begun", "", False),
    "ReservationDeleted": (
        "impossible",
        "its reservation was deleted",
        "submit it without reservation",
        True,
    ),
    "PartitionDown": ("nodes", "the partition is down", "choose another one, or wait", False),
    "PartitionInactive": ("nodes", "the partition is inactive", "choose another one, or wait", False),
    "BeginTime": ("time", "it was asked to start later", "", False),
    "Dependency": ("dependency", "it waits for another job", "", False),
    "DependencyNeverSatisfied": (
        "impossible",
        "the job that it waits for has failed or was cancelled",
        "cancel it and start the run again",
        True,
    ),
    "JobArrayTaskLimit": ("array", "as many jobs of this array run as were asked for at once", "", False),
    "JobHeldUser": ("held", "it is held", "release it with 'scontrol release'", True),
    "JobHeldAdmin": ("held", "the administrators hold it", "ask them why", True),
    "JobHoldMaxRequeue": ("held", "it failed to start too often and is held", "see its log; cancel it", True),
    "Licenses": ("licence", "all licences are in use", "", False),
    "InvalidAccount": ("impossible", "the account is not valid", "set a.env.account and run again", True),
    "AccountNotAllowed": (
        "impossible",
        "the account may not use this partition",
        "set a.env.account or a.env.queue and run again",
        True,
    ),
    "InvalidQOS": ("impossible", "the QOS is not valid", "correct 'qos' in a.env.sbatch_options", True),
    "QOSNotAllowed": (
        "impossible",
        "the QOS may not be used here",
        "correct 'qos' in a.env.sbatch_options",
        True,
    ),
    "BadConstraints": (
        "impossible",
        "no node offers what was asked for",
        "lower a.env.cores or a.env.memory, or choose another partition",
        True,
    ),
    "PartitionNodeLimit": (
        "impossible",
        "it asks for more nodes than the partition allows, or they are down",
        "check the partition with 'sinfo'",
        True,
    ),
    "PartitionTimeLimit": (
        "impossible",
        "its walltime is longer than the partition allows",
        "lower a.env.walltime and run again",
        True,
    ),
    "JobLaunchFailure": ("held", "it could not be started on its node", "see the log of the job", False),
    "launch_failed_requeued_held": ("held", "it could not be started and is held", "cancel it", True),
}

THINGS = (
    ("submit", "submitted jobs"),
    ("job", "running jobs"),
    ("minutes", "computing time"),
    ("wall", "walltime"),
    ("time", "walltime"),
    ("cpu", "cores"),
    ("node", "nodes"),
    ("mem", "memory"),
    ("gres", "generic resources such as GPUs"),
    ("licen", "licences"),
    ("bill", "billed resources"),
    ("energy", "energy"),
    ("bb", "burst buffers"),
)


def _limit_reason(word: str) -> tuple[str, str, str, bool] | None:
    found = re.fullmatch(r"(QOS|Assoc(?:iation)?)(Grp|Max|Min|)(\w+)", word)
    if found is None:
        return None
    owner = "the QOS" if found.group(1) == "QOS" else "your account"
    low = found.group(3).lower()
    per_job = "perjob" in low or "wallduration" in low or found.group(2) == "Min"
    plain = re.sub(r"per(job|user|account|acct|node)|limit", "", low)
    thing = next((words for key, words in THINGS if key in plain), "resources")
    if per_job or low.startswith("timelimit"):
        sentence = f"it asks for more or less {thing} than {owner} allows one job"
        remedy = "correct a.env.walltime, cores, memory or the QOS, and run again"
        return "impossible", sentence, remedy, True
    whose = " of all its users together" if found.group(2) == "Grp" else ""
    whose = " of one user" if "peruser" in low else whose
    sentence = f"{owner} has reached its limit of {thing}{whose}"
    return "limit", sentence, "it starts when other jobs have ended", False


def _when(start: float, now: float | None) -> str:
    moment = dt.datetime.fromtimestamp(start).astimezone()
    if now is None:
        return moment.strftime("%Y-%m-%d %H:%M")
    left = start - now
    if left < 90:
        return "within a minute or two"
    if left < 5400:
        return f"in about {left / 60:.0f} min, at {moment:%H:%M}"
    if left < 86400:
        return f"in about {left / 3600:.0f} h, at {moment:%H:%M}"
    return f"in about {left / 86400:.0f} days, on {moment:%Y-%m-%d}"


def explain_waiting(reason: str, *, start: float | None = None, now: float | None = None) -> Waiting:
    """Return what the reason of a waiting job means.

    Parameters
    ----------
    reason : str
        As ``squeue`` has it, with or without parentheses.
    start, now : float, optional
        When Slurm expects the job to start, and the present time, in seconds since 1970.

    Examples
    --------
    >>> print(explain_waiting("(QOSMaxJobsPerUserLimit)"))
    waiting: the QOS has reached its limit of running jobs of one user; it starts when other jobs have ended
    """
    whole = reason.strip().strip("()")
    word, _, rest = whole.partition(",")
    word = word.strip()
    known = REASONS.get(word) or REASONS.get(word.title()) or _limit_reason(word)
    if known is None and re.search(r"held", word, re.I):
        known = ("held", f"it is held ({word})", "release it with 'scontrol release', or cancel it", True)
    if known is None:
        said = f"Slurm's reason is {whole!r}" if whole else "Slurm gives no reason"
        known = ("unknown", said, "", False)
    kind, sentence, remedy, stuck = known
    detail = re.search(r"UnavailableNodes:(\S+)", rest)
    if detail and detail.group(1).strip("()"):
        sentence += f" ({detail.group(1).strip('()')})"
    if start is not None and not stuck:
        try:
            sentence += f"; expected to start {_when(start, now)}"
        except (ValueError, OverflowError, OSError):
            start = None
    return Waiting(kind, f"{'cannot start' if stuck else 'waiting'}: {sentence}", remedy, stuck, start)


TIME_LIMIT = End(
    "time limit",
    "the time limit was reached",
    "raise a.env.walltime; what was finished is kept",
    again=True,
)
MEMORY_LIMIT = End("memory limit", "it used more memory than it had asked for", "raise a.env.memory")
PREEMPTED = End("preempted", "it had to make way for a job of higher priority", "run again", again=True)
NODE_FAILURE = End("node failure", "its node failed", "run again", again=True)
CANCELLED = End("cancelled", "it was cancelled", "", again=True)
DISK_FULL = End("disk full", "a disk or a quota is full", "free some space; 'quota' and 'df -h' tell where")
NO_MODULE = End(
    "module",
    "a module could not be loaded on the node",
    "correct remote_dependencies of the site; 'module avail' lists the modules",
)
NO_CONTAINER = End(
    "container",
    "the container could not be started on the node",
    "check a.env.container and singularity_options with 'tramway-dask sites check'",
)
KILLED = End(
    "killed",
    "it was killed (signal 9), by somebody, or because its memory ran out",
    "if nobody did, raise a.env.memory; if that does not help, ask the administrators",
)
CRASHED = End("crash", "the program crashed", "see its log")

# phrases of logs; the first that matches counts
PHRASES: tuple[tuple[str, End], ...] = (
    (r"DUE TO TIME LIMIT", TIME_LIMIT),
    (
        r"exceeded (job |step )?memory limit|oom[-_ ]?kill|\bout[- ]of[- ]memory\b|OUT_OF_MEMORY"
        r"|Exceeded job memory limit|Worker exceeded \d+% memory budget|^MemoryError\b"
        r"|nanny.*memory.*(restart|terminat)|KilledWorker.*memory",
        MEMORY_LIMIT,
    ),
    (r"DUE TO PREEMPTION", PREEMPTED),
    (r"DUE TO NODE FAILURE|\bNODE FAILURE\b", NODE_FAILURE),
    (r"No space left on device|Disk quota exceeded", DISK_FULL),
    (
        r"Unable to locate a modulefile|module\(s\) are unknown|module(cmd)?: command not found"
        r"|module\(s\) exist but cannot be loaded",
        NO_MODULE,
    ),
    (
        r"^FATAL: |(singularity|apptainer): (command )?not found|could not open image|failed to mount"
        r"|(singularity|apptainer): No such file",
        NO_CONTAINER,
    ),
    (r"\*\*\* (JOB|STEP) \S+ ON \S+ CANCELLED", CANCELLED),
    (r"Segmentation fault|Bus error|Illegal instruction|core dumped|^Fatal Python error", CRASHED),
    (r"(^|: |\s)Killed(\s|$)", KILLED),
)


def explain_log(text: str) -> End | None:
    """Return what phrases in the log of a job tell of its end, or None if they tell nothing.

    Examples
    --------
    >>> explain_log("slurmstepd: error: *** JOB 9 ON n1 CANCELLED AT 2026-11-22T01:03:41 DUE TO TIME LIMIT ***").kind
    'time limit'
    """
    for pattern, end in PHRASES:
        flags = re.M if pattern.startswith(("^", "(^")) else re.I | re.M
        if re.search(pattern, text, flags):
            return end
    return None


STATES: dict[str, End] = {
    "COMPLETED": End("done", "it has ended normally"),
    "TIMEOUT": TIME_LIMIT,
    "DEADLINE": End("time limit", "its deadline has passed", "submit it without deadline"),
    "OUT_OF_MEMORY": MEMORY_LIMIT,
    "PREEMPTED": PREEMPTED,
    "NODE_FAIL": NODE_FAILURE,
    "BOOT_FAIL": End("node failure", "its node could not be booted", "run again", again=True),
    "CANCELLED": CANCELLED,
    "REVOKED": CANCELLED,
}
ACTIVE = (
    "PENDING",
    "RUNNING",
    "CONFIGURING",
    "COMPLETING",
    "SUSPENDED",
    "STOPPED",
    "RESIZING",
    "SIGNALING",
    "STAGE_OUT",
    "REQUEUED",
    "REQUEUE_FED",
    "REQUEUE_HOLD",
    "RESV_DEL_HOLD",
    "SPECIAL_EXIT",
)


def explain_end(state: str, *, exit_code: str = "", reason: str = "", log: str = "") -> End:
    """Return how a job has ended.

    Parameters
    ----------
    state : str
        As ``squeue``, ``scontrol`` or ``sacct`` have it.
    exit_code : str
        ``"status:signal"``.
    reason : str
    log : str
        The last lines of its log: where memory is not watched by control groups, only the log tells
        that the memory limit was exceeded.

    Examples
    --------
    >>> explain_end("FAILED", exit_code="0:9", log="slurmstepd: error: Exceeded job memory limit").kind
    'memory limit'
    """
    name = normal_state(state)
    if name in ACTIVE:
        return End("active", f"it has not ended ({name.lower().replace('_', ' ')})")
    told = explain_log(log) if log else None
    known = STATES.get(name)
    # who exceeds a limit may be shown as cancelled
    if known is not None and (known is not CANCELLED or told is None):
        return known
    if told is not None:
        return told
    if reason == "TimeLimit":
        return TIME_LIMIT
    if reason == "OutOfMemory":
        return MEMORY_LIMIT
    status, _, signal = exit_code.partition(":")
    if reason in ("JobLaunchFailure", "RaisedSignal:53(Real-time_signal_19)") and signal == "53":
        advice = "check that the folder of the run and of its logs exist on the nodes"
        return End("launch failure", "it could not be started on its node", advice)
    if signal == "9" or status == "137":
        return KILLED
    if name == "FAILED":
        return End("failed", f"it has failed with status {exit_code or 'unknown'}", "see its log")
    return End(
        "unknown", f"Slurm calls its state {state!r}" if state.strip() else "Slurm does not know it any more"
    )
