"""`check` and `sites new` on the test site: what is right, and each thing that can be wrong."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from site_fixtures import Site, default_name

pytestmark = pytest.mark.site

# other tests may be changing sources, which is not what is tested here
ACCEPT = {"DASK_TRAMWAY__ACCEPT_OTHER_SOURCE": "true"}
PREAMBLE = """
import json, sys
from tramway_dask.environments import SingularitySlurm, SlurmOverSSH
from tramway_dask.environments.check import check_site

class Lab(SingularitySlurm):
    @classmethod
    def hostname(cls): return "login"
    @classmethod
    def scratch(cls, username): return f"/scratch/{username}"
    @classmethod
    def singularity_options(cls): return "-B /scratch"
    @classmethod
    def remote_dependencies(cls): return "module load singularity"

usual = dict(username="alice", interface="ib0", queue="main", walltime="00:10:00", memory="1 GiB")
told = {}
def check(name, cls=Lab, *, data=(), job=False, **settings):
    results = check_site(cls(**{**usual, **settings}), data=data, job=job)
    told[name] = [vars(r) for r in results]
"""


@pytest.fixture(scope="module")
def _container(site: Site, image: Path) -> Iterator[None]:
    """Put the image where the default one is looked for: alice's home folder."""
    place = Path(site.info["cluster"]["home_on_machine"]) / "alice" / default_name()
    shutil.copyfile(image, place)
    place.chmod(0o644)
    yield
    place.unlink()


def traces(site: Site) -> str:
    """Return what the checks could leave behind."""
    processes = "pgrep -u alice -f 'tramway-check|listen.sh'"
    command = f"squeue --noheader --me; ls -A ~ /scratch/alice; {processes}"
    return site.run("login", "alice", ["bash", "-c", command], check=False).stdout


@pytest.fixture(autouse=True)
def _nothing_left(site: Site, _container: None) -> Iterator[None]:
    before = traces(site)
    yield
    assert traces(site) == before


def checked(site: Site, body: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Run checks on the laptop; return their results by check and by test."""
    output = site.python(f"{PREAMBLE}\n{body}\nprint(json.dumps(told))\n", env=ACCEPT, timeout=180)
    told = json.loads(output.strip().splitlines()[-1])
    return {name: {r["name"]: r for r in results} for name, results in told.items()}


def crosses(results: dict[str, dict[str, Any]]) -> list[str]:
    return [name for name, r in results.items() if r["ok"] is False]


def untried(results: dict[str, dict[str, Any]]) -> list[str]:
    return [name for name, r in results.items() if r["ok"] is None]


def test_a_healthy_site(site: Site) -> None:
    told = checked(
        site,
        """
from pathlib import Path
Path("~/some data").expanduser().mkdir(exist_ok=True)
Path("~/some data/a.txt").expanduser().touch()
check("login", job=True, data=["~/some data/*.txt"])
check("job", job=True, scheduler="job", worker_count=3)
check("no container", SlurmOverSSH, host="login", python="python3", job=True)
""",
    )
    for place in ("login", "job"):
        assert {name: r for name, r in told[place].items() if not r["ok"]} == {}
    found = told["login"]
    assert site.info["ssh"]["fingerprint"] in found["host key"]["evidence"]
    assert "as alice" in found["login"]["evidence"]
    assert "GB left" in found["scratch"]["evidence"]
    assert "stand-in" in found["container executable"]["evidence"]
    assert "of the container" in found["job"]["evidence"]
    assert "10.77.2.1:" in found["scheduler port"]["evidence"]
    assert "uploaded" in found["data ~/some data/*.txt"]["evidence"]
    assert "through the login node" in told["job"]["scheduler port"]["evidence"]
    # without the package there, the network is tried all the same
    assert crosses(told["no container"]) == ["Python"]
    assert told["no container"]["scheduler port"]["ok"]


def test_what_can_be_wrong(site: Site) -> None:
    told = checked(
        site,
        """
import asyncssh, os
key = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().split()
wrong = os.path.expanduser("~/wrong_hosts")
with open(wrong, "w") as file:
    file.write(f"login,10.77.1.1 {key[0]} {key[1]}\\n")
check("key", ssh_options={"known_hosts": wrong})
os.unlink(wrong)
check("user", username="mallory")
check("host", host="alice@nowhere")
check("port", port=2222)
check("partition", queue="fast", job=True)
check("image", container="absent.sif")
check("scratch", working_directory="/scratch/bob/runs", job=True)
check("interface", interface="ib7", job=True)

class NoModule(Lab):
    @classmethod
    def remote_dependencies(cls): return "module load singularity/99"
check("module", NoModule)

class NoBind(Lab):
    @classmethod
    def singularity_options(cls): return "-B /nowhere"
check("bind", NoBind)
check("walltime", walltime="5-00:00:00")
check("memory", memory="900 GiB")
""",
    )
    expected = {
        "key": ("host key", "HAS CHANGED", "ssh-keygen -R"),
        "user": ("login", "refused", "check the user name"),
        "host": ("host name", "nowhere", "VPN"),
        "port": ("answer", "2222", ""),
        "partition": ("partition", "no partition 'fast'", "main (at most 1-00:00:00), short"),
        "image": ("container", "/home/alice/absent.sif", "singularity/build.sh"),
        "scratch": ("scratch", "Permission denied", "a.env.working_directory"),
        "interface": ("interface", "'ib7'", "eth0 (10.77.1.1), ib0 (10.77.2.1)"),
        "module": ("modules", "singularity/99", "the site has: singularity/4.1.0-standin"),
        "bind": ("versions", "/nowhere", "singularity_options"),
        "walltime": ("partition", "allows 1-00:00:00", "a.env.walltime"),
        "memory": ("sbatch", "memory", "a.env.memory"),
    }
    assert set(told) == set(expected)
    for case, (name, evidence, remedy) in expected.items():
        assert crosses(told[case]) == [name], (case, told[case])
        assert evidence in told[case][name]["evidence"], case
        assert remedy in told[case][name]["remedy"], case
    # nothing is tried that cannot work, and everything else is
    assert "shell" in untried(told["user"])
    assert set(untried(told["partition"])) == {"sbatch", "job", "interface of nodes", "scheduler port"}
    assert told["image"]["modules"]["ok"]
    assert set(untried(told["scratch"])) >= {"binds", "tunnel", "job"}
    assert told["scratch"]["versions"]["ok"]


def test_networks_that_forbid(site: Site) -> None:
    login = site.info["hosts"]["login"]["pid"]
    rule = ["INPUT", "-i", "ib0", "-p", "tcp", "--syn", "--dport", "20000:65535", "-j", "REJECT"]
    inside = ["nsenter", f"--net=/proc/{login}/ns/net", "iptables"]
    subprocess.run([*inside, "-I", *rule], check=True)
    try:
        told = checked(site, 'check("firewall", job=True)')["firewall"]
    finally:
        subprocess.run([*inside, "-D", *rule], check=True)
    assert crosses(told) == ["scheduler port"]
    assert "node1 does not reach 10.77.2.1" in told["scheduler port"]["evidence"]
    assert "a.env.scheduler = 'job'" in told["scheduler port"]["remedy"]

    config = site.folder / "hosts/login/etc/ssh/sshd_config"
    usual, reload = config.read_text(), ["bash", "-c", "kill -HUP $(cat /run/sshd.pid); sleep 1"]
    config.write_text(usual.replace("AllowTcpForwarding yes", "AllowTcpForwarding no"))
    try:
        site.run("login", "root", reload)
        told = checked(site, 'check("forwarding", job=True)')["forwarding"]
    finally:
        config.write_text(usual)
        site.run("login", "root", reload)
    assert crosses(told) == ["forwarding"]
    assert "AllowTcpForwarding" in told["forwarding"]["evidence"]
    assert "administrators" in told["forwarding"]["remedy"]
    assert told["binds"]["ok"]


def command(site: Site, *words: str) -> subprocess.CompletedProcess[str]:
    settings = [f"{name}={value}" for name, value in {**ACCEPT, "PYTHONIOENCODING": "utf-8"}.items()]
    program = str(Path(sys.executable).with_name("tramway-dask"))
    return site.run("laptop", "tester", ["env", *settings, program, "sites", *words], check=False)


def test_a_new_site(site: Site) -> None:
    laptop = site.info["laptop"]
    file = Path(laptop["home_on_machine"]) / ".config/dask/tramway-my-lab.yaml"
    try:
        made = command(site, "new", "my-lab", "--host", "alice@login")
        assert made.returncode == 0, made.stderr
        assert f"{laptop['home']}/.config/dask/tramway-my-lab.yaml" in made.stdout
        assert "Please check" in made.stdout
        settings = yaml.safe_load(file.read_text())["tramway"]["sites"]["my-lab"]
        assert (settings["hostname"], settings["interface"], settings["queue"]) == ("login", "ib0", "main")
        again = command(
            site, "new", "my-lab", "--host", "alice@login", "-o", f"{laptop['home']}/.config/dask/x.yaml"
        )
        assert again.returncode == 0, "another file may be asked for"
        (file.parent / "x.yaml").unlink()
        assert command(site, "new", "my-lab", "--host", "alice@login").returncode == 2
        listed = json.loads(command(site, "list", "--json").stdout)
        assert {"my-lab": "login"}.items() <= {s["name"]: s["hostname"] for s in listed}.items()
        checked = command(site, "check", "my-lab")
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert "All is well" in checked.stdout
        assert "✓" in checked.stdout
        assert "✗" not in checked.stdout
        known = site.python(
            """
            from tramway_dask import environments
            env = environments.sites["my-lab"]()
            print(env.username, env.queue, env.scratch(env.user()), "#SBATCH -p main" in env.job_script())
            """
        )
        assert known.split() == ["alice", "main", "/scratch/alice", "True"]
        refused = command(site, "check", "my-lab", "--username", "mallory", "--no-job", "--json")
        assert refused.returncode == 1
        assert [r["name"] for r in json.loads(refused.stdout) if r["ok"] is False] == ["login"]
    finally:
        shutil.rmtree(file.parent, ignore_errors=True)


def test_interrupted(site: Site) -> None:
    """Ctrl-C while the job waits: all is removed."""
    said = site.python(
        PREAMBLE
        + """
import os, signal, threading, time
def report(result):
    if result.name == "tunnel":
        assert result.ok, result
        threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try:
    check_site(Lab(**{**usual, "sbatch_options": {"begin": "now+1hour"}}), report=report)
except KeyboardInterrupt:
    print("interrupted")
""",
        env=ACCEPT,
        timeout=90,
    )
    assert said.strip().endswith("interrupted")
