"""Says in plain words why ``sbatch`` took no job, and what to do."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Refusal", "explain_refusal"]


@dataclass(frozen=True)
class Refusal:
    """Why ``sbatch`` took no job.

    Attributes
    ----------
    kind : str
        One of the names in `REFUSALS`, or ``"unknown"``.
    sentence, remedy : str
    text : str
        What Slurm has said.
    maybe_submitted : bool
        Whether the job may exist all the same: look for it by name before it is submitted again.
    """

    kind: str
    sentence: str
    remedy: str
    text: str
    maybe_submitted: bool = False

    def __str__(self) -> str:
        said = f" (Slurm says: {self.text})" if self.text else ""
        return f"{self.sentence}; {self.remedy}{said}"


# kind, phrase of Slurm, what it means, what to do: the first that matches counts
REFUSALS: tuple[tuple[str, str, str, str], ...] = (
    (
        "unknown outcome",
        r"socket timed out|timed out on send/recv|zero bytes were transmitted|message receive failure",
        "Slurm gave no answer in time, and the job may exist",
        "look for it by its name before submitting it again",
    ),
    (
        "controller",
        r"unable to contact slurm controller|connection refused|controller is in standby|backup controller"
        r"|unable to process configuration file|address already in use|slurm_persist_conn",
        "Slurm's controller does not answer",
        "try again in a few minutes; if it lasts, ask the administrators of the cluster",
    ),
    (
        "no sbatch",
        r"(sbatch|squeue|scancel|sinfo).*(command not found|no such file)|command not found.*sbatch",
        "there is no Slurm on this host, or its commands are not in the PATH of a login shell",
        "check the host name; if Slurm comes as a module, load it in ~/.bash_profile on the cluster",
    ),
    (
        "account",
        r"invalid account|account.*not permitted|invalid bank account|must specify (an )?account",
        "the account is unknown, or may not be used with this partition",
        "set a.env.account; 'sacctmgr show association user=$USER' lists yours",
    ),
    (
        "qos",
        r"invalid qos|qos.*not permitted|qos usage threshold",
        "the QOS is unknown, or your account may not use it",
        "set a.env.sbatch_options['qos']; 'sacctmgr show association user=$USER format=qos' lists yours",
    ),
    (
        "permission",
        r"group not permitted|not permitted to use this partition|access/permission denied|permission denied"
        r"|access denied to requested reservation|user.?s? not permitted",
        "you may not use this partition, reservation or file",
        "choose another partition (a.env.queue); 'sinfo' lists those that are open to you",
    ),
    (
        "array size",
        r"invalid job array|array.*too large|job array index",
        "the array of jobs is larger than the site accepts",
        "lower a.env.max_array below MaxArraySize of 'scontrol show config'",
    ),
    (
        "submit limit",
        r"job violates accounting/qos policy|submit ?job ?limit|submitjobslimit|maxsubmit|too many jobs"
        r"|job count exceeds|unable to create job record|assoc(max|grp)submit|maximum number of jobs",
        "you would have more jobs than the site allows, or ask for more than your account may use",
        "lower a.env.worker_count or a.env.max_jobs, or wait until others of your jobs have ended",
    ),
    (
        "partition",
        r"invalid partition|required partition not available|partition configuration not available"
        r"|no partition specified|partition is in use|no default partition",
        "the partition does not exist or takes no jobs now",
        "set a.env.queue to one of those that 'sinfo' lists",
    ),
    (
        "time limit",
        r"time limit is invalid|invalid --time|invalid time (limit|spec)|time-min|job time limit",
        "the walltime is missing, not a time, or longer than the partition allows",
        "set a.env.walltime (hours:minutes:seconds) within the limit of the partition, which 'sinfo' shows",
    ),
    (
        "memory",
        r"memory specification|invalid --mem|memory required by task|--mem.*not (supported|allowed)",
        "no node has as much memory as was asked for, or the site does not take this option",
        "lower a.env.memory; where the site refuses --mem, ask for it by cores",
    ),
    (
        "cores",
        r"more processors requested|cpu count (specification|per node)|more tasks than available|core count",
        "more cores were asked for than a node or the partition has",
        "lower a.env.cores",
    ),
    (
        "gres",
        r"generic resource|\bgres\b|trackable resource|\btres\b",
        "the generic resource (such as a GPU) does not exist here",
        "check 'gres' in a.env.sbatch_options",
    ),
    (
        "features",
        r"invalid feature|feature specification|invalid constraint",
        "no node has the feature that was asked for",
        "check 'constraint' in a.env.sbatch_options; 'sinfo -o \"%N %f\"' lists the features",
    ),
    (
        "licence",
        r"invalid license",
        "the licence does not exist here",
        "check 'licenses' in a.env.sbatch_options",
    ),
    (
        "reservation",
        r"requested reservation|invalid reservation",
        "the reservation does not exist or cannot be used now",
        "check 'reservation' in a.env.sbatch_options",
    ),
    (
        "nodes",
        r"invalid node name|node count specification|node configuration is not available|requested nodes"
        r"|required node not available|job size specification",
        "no node of the partition offers what was asked for (cores, memory, names, number of nodes)",
        "lower a.env.cores or a.env.memory, or choose another partition; 'sinfo -Nel' shows what there is",
    ),
    (
        "dependency",
        r"job dependency problem|circular job dependency|invalid dependency",
        "the job that this one should follow does not exist any more",
        "start the run again",
    ),
    (
        "script",
        r"does not look like a batch script|dos line breaks|unable to open file|batch script is empty",
        "the job script is not one that Slurm takes",
        "print(a.env.job_script()) shows it",
    ),
    (
        "option",
        r"unrecognized option|invalid option|option.*requires an argument|invalid .* specification"
        r"|unknown option|ambiguous",
        "an option of sbatch is wrong",
        "check a.env.sbatch_options",
    ),
)

SLURM_LINE = re.compile(
    r"^(sbatch|srun|squeue|sinfo|scontrol|scancel|salloc|allocation failure|slurm_)", re.I
)


def explain_refusal(text: str) -> Refusal:
    """Return what the error output of ``sbatch`` means.

    Parameters
    ----------
    text : str
        Standard error, with or without standard output.

    Examples
    --------
    >>> explain_refusal("sbatch: error: invalid partition specified: fast").kind
    'partition'
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # a login node may greet on the same channel
    own = [line for line in lines if SLURM_LINE.match(line)] or lines
    said = "; ".join(re.sub(r"^(sbatch|srun): (error: )?", "", line) for line in own)[-800:]
    for kind, pattern, sentence, remedy in REFUSALS:
        if any(re.search(pattern, line, re.I) for line in own):
            return Refusal(kind, sentence, remedy, said, maybe_submitted=kind == "unknown outcome")
    return Refusal("unknown", "Slurm refused the job", "see its words, and a.env.job_script()", said)
