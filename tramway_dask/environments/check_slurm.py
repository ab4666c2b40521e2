"""Tests of the scratch folder and of Slurm."""

from __future__ import annotations

import math
import re
import shlex
from pathlib import Path
from typing import Any

from ..errors import TramwayDaskError
from .check import FailedError, Step, Visit
from .jobs import SPELLINGS, worker_script
from .refusals import explain_refusal
from .slurmtext import SINFO, NodeGroup, parse_sinfo, parse_test_only
from .slurmunits import format_duration, parse_duration

__all__ = ["asked_for", "job_settings", "remove_folder", "slurm_steps"]

GIB = 2**30
ROOM = GIB
# of nodes that take no jobs for now
OUT_OF_USE = ("down", "drain", "fail", "maint", "unk")

# folders above are noted, so that all of them can be removed again
MAKE_FOLDER = r"""
umask 077
folder=$1/$2
at=$1
while [ ! -e "$at" ] && [ "$at" != / ] && [ "$at" != . ]; do echo "made|$at"; at=$(dirname "$at"); done
mkdir -p "$folder/logs" "$folder/home" "$folder/tmp" || exit 1
echo "folder|$folder"
echo "real|$(realpath "$1")"
echo "mode|$(stat -c %a "$folder/home")"
head -c 1048576 /dev/zero > "$folder/tmp/probe" || exit 1
[ "$(wc -c < "$folder/tmp/probe")" = 1048576 ] || { echo "a file of 1 MB could not be written" >&2; exit 1; }
rm "$folder/tmp/probe"
df -Pk "$folder" | tail -n 1 | awk '{print "free|" $4}'
"""


def slurm_steps() -> list[Step]:
    """Return the tests, in their order."""
    return [
        Step("scratch", _scratch, ("settings", "shell")),
        Step("Slurm", _slurm, ("shell",)),
        Step("partition", _partition, ("Slurm",)),
        Step("account", _account, ("Slurm",)),
        Step("sbatch", _test_only, ("settings", "partition", "account")),
    ]


def asked_for(env: Any, name: str, value: str | None) -> str | None:
    """Return what jobs ask for: options of sbatch come before parameters."""
    for key, given in env.sbatch_options.items():
        if str(key).replace("_", "-") in SPELLINGS[name]:
            return str(given)
    return value


def job_settings(visit: Visit) -> Any:
    """Return the settings of the jobs of this environment."""
    folder = visit.folder or f"{visit.env.runs_folder(visit.home)}/{visit.name}"
    return visit.env._settings(visit.name, folder, visit.home)


def _expected_upload(env: Any) -> int:
    """Return the size of the image that a run will bring."""
    try:
        location = env._location()
    except (AttributeError, TramwayDaskError):
        return 0
    return Path(location.source).stat().st_size if location.action == "upload" else 0


async def _scratch(visit: Visit) -> str:
    place = visit.env.runs_folder(visit.home)
    remedy = (
        "set 'scratch' of the site, or a.env.working_directory, to a folder that you can write to and that "
        "login node and compute nodes share; the site's documentation names it"
    )
    visit.folder = f"{place}/{visit.name}"
    words = shlex.join(["bash", "-s", "--", place, visit.name])
    done = await visit.shell.run(words, input=MAKE_FOLDER, check=False)
    found = [line.split("|", 1) for line in done.stdout.splitlines() if "|" in line]
    visit.made = [path for key, path in found if key == "made"]
    if done.status:
        said = done.stderr.strip().splitlines()
        raise FailedError(f"cannot write to {place}: {said[-1] if said else 'no reason given'}", remedy)
    known = dict(found)
    visit.env._physical = (known["real"],)
    if known["mode"] != "700":
        raise FailedError(
            f"folders made in {place} get the permissions {known['mode']} instead of 700 (a default ACL?): others "
            "could read the keys of runs",
            "set a.env.working_directory to a folder without default ACL, such as one in your home folder",
        )
    free = int(known["free"]) * 1024 if known.get("free", "").isdigit() else math.inf
    room = ROOM + _expected_upload(visit.env)
    if free < room:
        raise FailedError(
            f"{place} has {free / GIB:.2g} GB left, and a run may need {room / GIB:.2g} GB",
            "remove what you do not need any more ('tramway-dask clean' removes old runs), or use another folder",
        )
    real = "" if known["real"] == place else f" (in fact {known['real']})"
    return f"{place}{real}, writable, {f'{free / GIB:.3g} GB' if free < math.inf else 'unknown space'} left"


async def remove_folder(visit: Visit) -> None:
    """Remove what `scratch` has made."""
    if not visit.folder:
        return
    empty = "".join(f"rmdir {shlex.quote(path)} 2>/dev/null; " for path in visit.made)
    folder = shlex.quote(visit.folder)
    # a job that is just ending may still write its log
    await visit.shell.run(
        f"for i in 1 2 3 4; do rm -rf {folder} && [ ! -e {folder} ] && break; sleep 1; done; {empty}[ ! -e {folder} ]"
    )


async def _slurm(visit: Visit) -> str:
    done = await visit.shell.run(
        'for p in sbatch squeue scancel sinfo; do command -v $p >/dev/null || echo "no $p"; done; '
        "command -v sbatch; sbatch --version",
        check=False,
    )
    lines = done.stdout.strip().splitlines()
    missing = [line.removeprefix("no ") for line in lines if line.startswith("no ")]
    if missing or done.status:
        raise FailedError(
            f"not found by a login shell: {', '.join(missing) or done.stderr.strip()}",
            "check the host name; if Slurm comes as a module, load it in ~/.bash_profile on the cluster",
        )
    return f"{lines[-1]}, {lines[-2]}"


def _limit_of(groups: list[NodeGroup]) -> str:
    limit = groups[0].limit
    return "no time limit" if limit is None or math.isinf(limit) else f"at most {format_duration(limit)}"


async def _partition(visit: Visit) -> str:
    env = visit.env
    done = await visit.shell.run(SINFO, check=False)
    if done.status:
        refusal = explain_refusal(done.stderr)
        raise FailedError(f"{refusal.sentence} ({refusal.text})", refusal.remedy)
    groups = parse_sinfo(done.stdout)
    names = list(dict.fromkeys(g.partition for g in groups if g.up))
    listed = ", ".join(f"{n} ({_limit_of([g for g in groups if g.partition == n])})" for n in names) or "none"
    remedy = f"set a.env.queue to one of those that are open to you: {listed}"
    given = asked_for(env, "partition", env.queue)
    wanted = given.split(",") if given else list(dict.fromkeys(g.partition for g in groups if g.default))
    if not wanted:
        raise FailedError("no partition is asked for, and the site has no default one", remedy)
    for name in wanted:
        own = [g for g in groups if g.partition == name]
        if not own:
            raise FailedError(f"there is no partition {name!r} that you may use", remedy)
        if not own[0].up:
            raise FailedError(f"the partition {name!r} takes no jobs now", remedy)
    chosen = [g for g in groups if g.partition == wanted[0]]
    asked = asked_for(env, "time", env.walltime)
    seconds, limit = parse_duration(asked or ""), chosen[0].limit
    if seconds and limit and seconds > limit:
        raise FailedError(
            f"jobs ask for {asked}, and the partition {wanted[0]!r} allows {format_duration(limit)}",
            f"lower a.env.walltime, or choose another partition: {listed}",
        )
    states = ", ".join(f"{g.count} {g.state}" for g in chosen)
    if all(g.state.startswith(OUT_OF_USE) for g in chosen):
        raise FailedError(
            f"no node of the partition {wanted[0]!r} can be used now: {states}", f"wait, or {remedy}"
        )
    default = "" if given else " (the default one)"
    return f"{', '.join(wanted)}{default}: nodes {states}; {_limit_of(chosen)}"


async def _account(visit: Visit) -> str:
    wanted = asked_for(visit.env, "account", visit.env.account)
    if wanted is None:
        return "none is asked for: Slurm takes your default one"
    command = "sacctmgr --noheader --parsable2 show association where user=$USER format=Account"
    done = await visit.shell.run(command, check=False)
    known = [line.strip() for line in done.stdout.splitlines() if re.fullmatch(r"[\w.+-]+", line.strip())]
    if done.status or not known:
        return f"{wanted}; the site does not tell which ones you have"
    if wanted.lower() not in [name.lower() for name in known]:
        raise FailedError(
            f"the account {wanted!r} is not one of yours",
            f"set a.env.account to one of: {', '.join(dict.fromkeys(known))}",
        )
    return f"{wanted}, one of yours"


async def _test_only(visit: Visit) -> str:
    env = visit.env
    number = min(env.worker_count, env.max_array)
    names = [f"worker-{k}" for k in range(number)]
    script = worker_script(job_settings(visit), names=names)
    command = f"sbatch --test-only --array=0-{number - 1}"
    done = await visit.shell.run(command, input=script, check=False)
    said = f"{done.stderr}\n{done.stdout}"
    expected = parse_test_only(said)
    if expected is not None:
        place = f" (partition {expected['partition']})" if expected["partition"] else ""
        return (
            f"would take the jobs ({number}, {env.cores} cores each), such as on {expected['nodes']}{place}"
        )
    if done.status:
        refusal = explain_refusal(said)
        raise FailedError(f"{refusal.sentence} (Slurm says: {refusal.text})", refusal.remedy)
    return f"takes jobs: {' '.join(said.split())[:200]}"
