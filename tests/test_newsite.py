from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tramway_dask.environments.newsite import COMMANDS, SCRATCH_VARIABLES, describe_cluster, to_yaml
from tramway_dask.environments.singularity import SingularitySlurm
from tramway_dask.environments.siteclass import site_class

# printed by Slurm 22.05.8 on the test site
REAL: dict[str, str] = json.loads((Path(__file__).parent / "slurm_outputs.json").read_text())["commands"]

# a large site: Slurm 23.11, accounts, Lmod, no default partition
LARGE = {
    "sinfo": (
        "cpu|up|5-00:00:00|n/a|180|mixed|96|385000+|(null)|c[001-180]\n"
        "gpu|up|infinite|n/a|300|idle|64|512000|gpu:a100:4|g[001-300]\n"
        "debug|drain|1:00:00|n/a|2|idle|96|385000|(null)|d[1-2]\n"
    ),
    "config": (
        "Configuration data as of 2025-03-01T10:00:00\nAccountingStorageEnforce = associations,limits,qos,safe\n"
        "ClusterName             = big\nMaxArraySize            = 10001\n"
        "SchedulerParameters     = bf_continue,max_array_tasks=1000\nSLURM_VERSION           = 23.11.10\n"
    ),
    "partitions": (
        "PartitionName=cpu Default=NO MaxTime=5-00:00:00 State=UP RootOnly=NO ReqResv=NO MaxMemPerCPU=2048\n"
        "PartitionName=gpu Default=NO MaxTime=UNLIMITED State=UP RootOnly=NO ReqResv=NO\n"
        "PartitionName=admin Default=YES MaxTime=UNLIMITED State=UP RootOnly=YES ReqResv=NO\n"
    ),
    "association": "bio||50|200|normal,long\nchem|||500|normal\n",
    "modules": "/opt/mods:\ngcc/12.2.0\ntools/singularity-ce/3.11.4\nsingularityfs/1.0\n",
    "programs": "",
    "addresses": (
        "1: lo    inet 127.0.0.1/8 scope host lo\n2: eno1    inet 93.184.216.34/24 scope global eno1\n"
        "4: ib0@if3    inet 10.2.0.1/16 scope global ib0\n5: docker0    inet 172.17.0.1/16 scope global docker0\n"
    ),
    "env": "USER=ada\nHOME=/home/ada\nWORK=/work/ada\nSCRATCH=/lustre/ada/tmp\n",
}


def values(outputs: dict[str, str], **known: str) -> dict[str, Any]:
    return {key: choice.value for key, choice in describe_cluster(outputs, **known).items()}  # type: ignore[arg-type]


def test_the_test_site() -> None:
    found = values(REAL, hostname="login", username="alice")
    assert found == {
        "hostname": "login",
        "username": "alice",
        "scratch": "/scratch/{username}",
        "singularity_executable": "singularity",
        "remote_dependencies": "module load singularity",
        "singularity_options": "-B /scratch",
        "queue": "main",
        "account": None,
        "interface": "ib0",
        "scheduler": "job",
        "walltime": "04:00:00",
        "scheduler_walltime": "1-00:00:00",
        "cores": 1,
        "memory": "1900 MiB",
        "max_array": 121,
        "max_jobs": None,
    }


def test_a_large_site() -> None:
    description = describe_cluster(LARGE, hostname="big.org")
    found = {key: choice.value for key, choice in description.items()}
    assert (found["queue"], found["walltime"], found["scheduler_walltime"]) == (
        "cpu",
        "04:00:00",
        "5-00:00:00",
    )
    assert "gpu" in description["scheduler_walltime"].why
    assert not description["queue"].sure
    assert (found["memory"], found["max_array"], found["max_jobs"]) == ("1900 MiB", 1000, 50)
    assert (found["singularity_executable"], found["remote_dependencies"]) == (
        "singularity",
        "module load tools/singularity-ce",
    )
    assert (found["interface"], found["scratch"], found["singularity_options"]) == (
        "ib0",
        "/lustre/{username}/tmp",
        "-B /lustre",
    )
    assert "bio, chem" in description["account"].why


def test_apptainer_comes_first_and_needs_no_module_if_it_is_there() -> None:
    both = {"modules": "singularity/3.8\napptainer/1.2.2(default)\n"}
    assert values(both)["remote_dependencies"] == "module load apptainer"
    there = values({**both, "programs": "/usr/bin/apptainer\n"})
    assert (there["singularity_executable"], there["remote_dependencies"]) == ("apptainer", None)


def test_short_partitions_bound_the_times() -> None:
    found = values({"sinfo": "short*|up|10:00|2:00|2|idle|16|320000|(null)|node[1-2]\n"})
    assert (found["walltime"], found["scheduler_walltime"], found["memory"]) == (
        "00:10:00",
        "00:10:00",
        "8 GiB",
    )


def test_endless_partitions_give_a_week() -> None:
    assert (
        values({"sinfo": "all*|up|infinite|n/a|2|idle|16|32000|(null)|n"})["scheduler_walltime"]
        == "7-00:00:00"
    )


def test_nothing_known() -> None:
    description = describe_cluster({})
    assert description["queue"].value is None
    assert "no partition" in description["queue"].why
    assert not any(choice.sure for choice in description.values() if choice.value is not None)
    text = to_yaml("lab", description)
    assert "# hostname:" in text
    assert yaml.safe_load(text)["tramway"]["sites"]["lab"]["memory"] == "4 GiB"


@pytest.mark.parametrize("outputs", [REAL, LARGE])
def test_the_file_is_a_site(outputs: dict[str, str]) -> None:
    description = describe_cluster(outputs, hostname="login.lab.org", username="ada")
    text = to_yaml("my lab: 1", description)
    loaded = yaml.safe_load(text)["tramway"]["sites"]["my lab: 1"]
    adapter: Any = site_class("my lab: 1", loaded, SingularitySlurm)
    env = adapter()
    assert adapter.hostname() == "login.lab.org"
    assert env.walltime == description["walltime"].value
    assert env.scheduler_walltime == description["scheduler_walltime"].value
    assert env.max_array == description["max_array"].value
    comments = [line for line in text.splitlines() if line.strip().startswith("#")]
    assert len(comments) > len(description)


def test_commands_only_read() -> None:
    words = " ".join(COMMANDS.values())
    assert not any(
        word in words for word in ("sbatch", "scancel", "update", "rm ", ">/", "sudo", "modify", "create")
    )
    # nothing else of the user's environment leaves the cluster
    assert "grep" in COMMANDS["env"]


def test_commands_are_valid_shell(tmp_path: Path) -> None:
    for command in COMMANDS.values():
        subprocess.run(["bash", "-n", "-c", command], check=True)
    env = {**os.environ, "SECRET": "hidden", "SCRATCH": "/scratch/ada", "USER": "ada", "HOME": str(tmp_path)}
    shown = subprocess.run(
        ["bash", "-c", COMMANDS["env"]], env=env, capture_output=True, text=True, check=True
    ).stdout
    assert {line.partition("=")[0] for line in shown.splitlines()} <= {"USER", "HOME", *SCRATCH_VARIABLES}
    assert "hidden" not in shown
    (tmp_path / "scratch").mkdir()
    shown = subprocess.run(
        ["bash", "-c", COMMANDS["folders"]], env=env, capture_output=True, text=True, check=True
    )
    assert str(tmp_path / "scratch") in shown.stdout


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.sampled_from(list(COMMANDS)), st.text(max_size=150), max_size=10),
    st.text(min_size=1, max_size=12),
)
def test_garbage_gives_a_file_all_the_same(outputs: dict[str, str], name: str) -> None:
    name = name.encode("utf-8", "ignore").decode() or "x"
    if not name.isprintable():
        name = "x"
    assert yaml.safe_load(to_yaml(name, describe_cluster(outputs, hostname="h")))["tramway"]["sites"]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(list(REAL)), st.integers(0, 2000), st.text(max_size=20))
def test_damaged_outputs(key: str, at: int, change: str) -> None:
    text = REAL[key]
    damaged = {**REAL, key: text[: at % (len(text) + 1)] + change}
    description = describe_cluster(damaged, hostname="login", username="alice")
    loaded = yaml.safe_load(to_yaml("lab", description))["tramway"]["sites"]["lab"]
    assert site_class("lab", loaded, SingularitySlurm)
