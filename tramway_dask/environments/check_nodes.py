"""Tests of the network between here, the login node and the compute nodes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import shlex
import time
from pathlib import Path
from typing import Any

from .check import FailedError, NotTriedError, Step, Visit
from .check_container import python_words
from .check_slurm import job_settings
from .jobs import scheduler_script
from .refusals import explain_refusal
from .slurmtext import PLAIN
from .slurmwords import explain_log, explain_waiting
from .submission import parse_job_id

__all__ = ["end_job", "node_steps"]

WALLTIME = "00:02:00"
OPEN_SECONDS = 60.0
LISTENING_SECONDS = 300.0
POLL = 0.7
ADVICE = "a.env.interface names the network interface by which compute nodes and login node reach each other"


def node_steps(env: Any) -> list[Step]:
    """Return the tests, in their order."""
    if env.scheduler == "job":
        return [
            Step("job", _job, ("sbatch", "scratch")),
            Step("interface of nodes", _node_interface, ("job",)),
            Step("scheduler port", _port_of_job, ("interface of nodes", "forwarding")),
        ]
    return [
        Step("interface", _interface, ("shell",)),
        Step("tunnel", _tunnel, ("interface", "scratch", "forwarding")),
        Step("job", _job, ("sbatch", "scratch", "tunnel")),
        Step("interface of nodes", _node_interface, ("job",)),
        Step("scheduler port", _port_of_login, ("interface of nodes",)),
    ]


def _program(*words: str) -> str:
    text = Path(__file__).with_name("check_program.py").read_text(encoding="utf-8")
    return shlex.join(["-c", text, *words])


def _listed(interfaces: dict[str, str]) -> str:
    names = [f"{name} ({address})" for name, address in interfaces.items() if name != "lo"]
    return ", ".join(names) or "none"


async def _interface(visit: Visit) -> str:
    command = "PATH=$PATH:/usr/sbin:/sbin; ip -o -4 addr 2>/dev/null | awk '{print $2, $4}'"
    done = await visit.shell.run(command, check=False)
    pairs = [line.split() for line in done.stdout.splitlines()]
    found = {name.partition("@")[0]: address.partition("/")[0] for name, address in pairs}
    wanted = visit.env.interface
    if wanted and not found:
        known = (await visit.shell.run("ls /sys/class/net", check=False)).stdout.split()
        found = dict.fromkeys(known, "?")
    if wanted and wanted not in found:
        raise FailedError(
            f"the login node has no interface {wanted!r}",
            f"set a.env.interface to one of: {_listed(found)}; compute nodes must have it, too",
        )
    if wanted:
        return f"{wanted} is {found[wanted]} on the login node"
    return f"none is asked for; the login node has {_listed(found)}"


async def _read(visit: Visit, name: str) -> dict[str, Any] | None:
    done = await visit.shell.run(f"cat {shlex.quote(f'{visit.folder}/tmp/{name}')} 2>/dev/null", check=False)
    with contextlib.suppress(ValueError):
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer
    return None


async def _greet(visit: Visit, host: str, port: int, *, stop: bool = False) -> None:
    """Connect through the tunnel to what listens on the cluster."""
    tunnel = hasattr(visit.shell, "stop_forwarding")
    local = await visit.shell.forward(host, port)
    word = f"{visit.settled['token']}{' stop' if stop else ''}\n"
    try:
        async with asyncio.timeout(15):
            reader, writer = await asyncio.open_connection("127.0.0.1" if tunnel else host, local)
            try:
                writer.write(word.encode())
                await writer.drain()
                line = await reader.readline()
            finally:
                writer.close()
    except (TimeoutError, OSError) as error:
        raise FailedError(
            f"no connection from here to {host}:{port} through the login node: {error or 'no answer'}",
            "the site's firewall or PermitOpen of its sshd may forbid it: ask the site; or run the analysis on the "
            "login node",
        ) from error
    finally:
        if tunnel:
            await visit.shell.stop_forwarding(local)
    if line != b"welcome\n":
        raise FailedError(
            f"the connection from here to {host}:{port} through the login node was closed",
            f"{ADVICE}; or the site's firewall is in the way",
        )


async def _tunnel(visit: Visit) -> str:
    """Open a port on the login node, as the scheduler will, and connect to it from here."""
    env = visit.env
    token = visit.settled["token"] = secrets.token_hex(16)
    python, before = python_words(visit)
    path = f"{visit.folder}/tmp/listen.json"
    words = _program("listen", path, env.interface or "", token, f"{LISTENING_SECONDS:g}")
    log = f"{visit.folder}/logs/listen.log"
    script = f"{visit.folder}/tmp/listen.sh"
    text = "\n".join([*before, f"exec timeout {LISTENING_SECONDS + 30:g} {python} {words}", ""])
    await visit.shell.write(script, text.encode(), mode=0o700)
    quoted = shlex.quote(script)
    launched = await visit.shell.run(
        f"setsid nohup bash {quoted} </dev/null >{shlex.quote(log)} 2>&1 & echo $!"
    )
    visit.listener = launched.stdout.split()[-1]
    ends = time.monotonic() + OPEN_SECONDS
    while (answer := await _read(visit, "listen.json")) is None:
        alive = await visit.shell.run(f"kill -0 {visit.listener}", check=False)
        if alive.status or time.monotonic() > ends:
            said = (await visit.shell.run(f"tail -n 3 {shlex.quote(log)}", check=False)).stdout.strip()
            raise FailedError(
                f"no port could be opened on the login node: {said or 'no answer'}",
                "the site may forbid processes there: set a.env.scheduler = 'job'",
            )
        await asyncio.sleep(POLL)
    if answer.get("error"):
        raise FailedError(
            f"no port could be opened: {answer['error']}", f"{ADVICE}: {_listed(answer['interfaces'])}"
        )
    visit.settled["listen"] = answer
    await _greet(visit, answer["host"], answer["port"])
    return f"this computer reaches {answer['host']}:{answer['port']} on {answer['node']}"


async def _job(visit: Visit) -> str:
    if not visit.job:
        raise NotTriedError("not tried, as asked for", "let the check submit a job: without --no-job")
    env = visit.env
    python, before = python_words(visit)
    path, interface = f"{visit.folder}/tmp/job.json", env.interface or ""
    if env.scheduler == "job":
        token = visit.settled["token"] = secrets.token_hex(16)
        words = _program("listen", path, interface, token, "100")
    else:
        listen = visit.settled["listen"]
        words = _program("call", path, interface, visit.settled["token"], listen["host"], str(listen["port"]))
    settings = job_settings(visit)
    own = type(settings)(**{**vars(settings), "name": visit.name, "before_python": (), "prologue": before})
    script = scheduler_script(own, f"{python} {words}", walltime=WALLTIME)
    visit.submitted = True
    started = time.monotonic()
    done = await visit.shell.run("sbatch --parsable", input=script, check=False, timeout=120)
    if done.status:
        refusal = explain_refusal(done.stderr or done.stdout)
        raise FailedError(f"{refusal.sentence} (Slurm says: {refusal.text})", refusal.remedy)
    number = parse_job_id(done.stdout)
    answer = visit.settled["answer"] = await _answer_of_job(visit, number)
    whose = "the container" if visit.passed("binds") else python.split()[-2 if python.endswith(" -s") else -1]
    seconds = time.monotonic() - started
    return f"job {number} ran on {answer['node']} within {seconds:.0f} s, with Python {answer['python']} of {whose}"


async def _answer_of_job(visit: Visit, number: str) -> dict[str, Any]:
    ends = time.monotonic() + visit.job_seconds
    absent = 0
    command = f"{PLAIN}squeue --noheader --me --name={visit.name} --format='%T|%r'"
    while True:
        answer = await _read(visit, "job.json")
        if answer is not None:
            return answer
        done = await visit.shell.run(command, check=False)
        state, _, reason = done.stdout.strip().partition("|")
        # a shared file system may show the answer some seconds later
        absent = absent + 1 if not state and not done.status else 0
        if absent > 4:
            log = f"{visit.folder}/logs/{visit.name}-{number}.log"
            said = (
                await visit.shell.run(f"tail -n 8 {shlex.quote(log)} 2>/dev/null", check=False)
            ).stdout.strip()
            told = explain_log(said) if said else None
            raise FailedError(
                f"job {number} has ended without an answer: {said[-600:] or 'its log is not there'}",
                told.advice
                if told
                else f"do compute nodes see {visit.folder.rpartition('/')[0]}? 'scratch' must be "
                "a folder that they share with the login node",
            )
        if state == "PENDING":
            waiting = explain_waiting(reason)
            if waiting.stuck:
                raise FailedError(f"job {number}: {waiting.sentence}", waiting.remedy)
        if time.monotonic() > ends:
            if state == "PENDING":
                raise NotTriedError(
                    f"not tried: job {number} did not start within {visit.job_seconds:g} s: {waiting.sentence}",
                    "try again later, or with more patience (--job-seconds)",
                )
            raise FailedError(
                f"job {number} gave no answer within {visit.job_seconds:g} s ({state or 'unknown'})", ""
            )
        await asyncio.sleep(POLL)


async def _node_interface(visit: Visit) -> str:
    answer, wanted = visit.settled["answer"], visit.env.interface
    found = answer["interfaces"]
    if wanted and wanted not in found:
        raise FailedError(
            f"{answer['node']} has no interface {wanted!r}",
            f"set a.env.interface to one of: {_listed(found)}",
        )
    if wanted:
        return f"{wanted} is {found[wanted]} on {answer['node']}"
    return f"none is asked for; {answer['node']} has {_listed(found)}"


async def _port_of_login(visit: Visit) -> str:
    answer, listen = visit.settled["answer"], visit.settled["listen"]
    where = f"{listen['host']}:{listen['port']} of {listen['node']}"
    if not answer.get("reached"):
        raise FailedError(
            f"{answer['node']} does not reach {where}: {answer.get('error') or 'the connection was closed'}",
            f"{ADVICE}: {_listed(listen['interfaces'])}; or set a.env.scheduler = 'job', if a firewall is in the way",
        )
    return f"{answer['node']} ({answer['from']}) reaches {where}"


async def _port_of_job(visit: Visit) -> str:
    answer = visit.settled["answer"]
    if answer.get("error"):
        raise FailedError(str(answer["error"]), f"{ADVICE}: {_listed(answer['interfaces'])}")
    await _greet(visit, answer["host"], answer["port"], stop=True)
    return (
        f"this computer reaches {answer['host']}:{answer['port']} on {answer['node']}, through the login node"
    )


async def end_job(visit: Visit) -> None:
    """End the job and the process that listens, and wait until they are gone."""
    if visit.listener:
        number = visit.listener
        await visit.shell.run(
            f"kill -- -{number} 2>/dev/null; for i in 1 2 3 4 5 6 7 8 9 10; do kill -0 -- -{number} 2>/dev/null || "
            f"exit 0; sleep 0.3; done; kill -9 -- -{number}",
            check=False,
        )
    if visit.submitted:
        # by its name: the answer of sbatch may have been lost
        find = f"{PLAIN}squeue --noheader --me --name={visit.name} --format=%A"
        await visit.shell.run(
            f"scancel --me --name={visit.name} 2>/dev/null || scancel --user=$USER --name={visit.name}; "
            f'for i in $(seq 20); do [ -z "$({find})" ] && exit 0; sleep 0.7; done; echo "job $({find}) is there" >&2; '
            "exit 1"
        )
