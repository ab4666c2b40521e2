"""Job scripts of detached runs: the driver, which others take over, and its workers."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from .jobs import scheduler_of, scheduler_script, worker_script
from .runfolder import RunFolder
from .slurm import Slurm
from .slurmunits import parse_duration

__all__ = ["array_size", "at_once", "driver_script", "workers_script"]

# of a worker without time limit
LONG = 10 * 365 * 86400

# workers that come before the scheduler wait for it, those that come after it has ended end as well;
# an array that is submitted later gives no name a second time
BEFORE_WORKER = """\
export TRAMWAY_WORKER="{run_id}-${{SLURM_ARRAY_JOB_ID:-0}}-${{SLURM_ARRAY_TASK_ID:-0}}"
finish() {{ touch {ended}/"${{SLURM_ARRAY_JOB_ID:-0}}_${{SLURM_ARRAY_TASK_ID:-0}}"; }}
trap finish EXIT
for i in $(seq {seconds}); do
    if [ -e {over} ]; then exit 0; fi
    if [ -s {scheduler} ]; then break; fi
    sleep 1
done"""

AROUND_DRIVER = """\
drive() {{ {python} -m tramway_dask.environments.driver {folder}; }}
run={run_id} folder={folder}
workers_at_once={at_once} budget={budget} interval={interval:.0f} worker_seconds={worker_seconds:.0f}
{script}"""

# the first line of the job: what sbatch was called with
FOUND = "submit_environment=$(export -p)"


def at_once(env: Slurm) -> int:
    """Return how many worker jobs run at once: as many as are wanted, within the site's limits.

    Two jobs more are in the queue: the driver, and the one that takes over if it is lost.
    """
    wanted = env.worker_count
    if env.max_jobs is not None:
        wanted = max(1, min(wanted, env.max_jobs - 2))
    return min(wanted, env.max_array)


def array_size(env: Slurm) -> tuple[int, int]:
    """Return the number of worker jobs that are submitted at first, and how many of them run at once.

    A worker ends with its job: as many jobs more wait in the queue as the time of the driver is longer,
    and some to replace those that die. The driver's job submits others when these are used up; not every
    site allows that on its nodes.
    """
    wanted = at_once(env)
    driver = parse_duration(env.scheduler_walltime or env.walltime) or 0.0
    worker = parse_duration(env.walltime) or math.inf
    rounds = max(1, math.ceil(driver / worker)) if worker else 1
    total = wanted * rounds + min(wanted, env.max_resubmits)
    if env.max_jobs is not None:
        total = min(total, max(wanted, env.max_jobs - 2))
    return min(total, env.max_array), wanted


def workers_script(run: RunFolder) -> str:
    """Return the script of the worker jobs."""
    settings = run.settings
    before = BEFORE_WORKER.format(
        run_id=run.run_id,
        ended=run.quoted("ended"),
        over=run.quoted("driver.ended"),
        scheduler=run.quoted("scheduler.json"),
        seconds=settings.death_timeout,
    )
    settings = replace(
        settings, name=f"tramway-{run.run_id}-workers", before_python=[before, *settings.before_python]
    )
    return worker_script(settings, address=scheduler_of(run.path))


def driver_script(run: RunFolder, env: Slurm) -> str:
    """Return the script of the job of the driver."""
    seconds = parse_duration(env.walltime) or LONG
    command = AROUND_DRIVER.format(
        python=run.settings.python,
        run_id=run.run_id,
        folder=run.quoted(),
        at_once=at_once(env),
        budget=env.max_resubmits,
        interval=max(1.0, env.reconcile_interval),
        worker_seconds=min(max(60.0, seconds), LONG),
        script=Path(__file__).with_name("driver.sh").read_text(encoding="utf-8"),
    )
    settings = replace(
        run.settings, name=f"tramway-{run.run_id}-driver", prologue=[FOUND, *run.settings.prologue]
    )
    return scheduler_script(settings, command, walltime=env.scheduler_walltime)
