from __future__ import annotations

import os
import pickle
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import cloudpickle
import dask
import dask.config
import pytest

from tramway_dask.environments import LocalHost
from tramway_dask.environments.singularity import SingularitySlurm
from tramway_dask.environments.siteclass import site_class, site_keys
from tramway_dask.environments.sites import ENTRY_POINTS, Sites, UnknownSiteError, sites
from tramway_dask.errors import SpecificationError

WHOLE: dict[str, Any] = {
    "description": "The cluster of the lab",
    "hostname": "login.lab.org",
    "username": "ada",
    "scratch": "/scratch/{username}/x",
    "singularity_options": ["-B", "/data sets"],
    "singularity_executable": "apptainer",
    "remote_dependencies": ["module purge", "module load apptainer"],
    "container": "images/mine.sif",
    "partition": "long",
    "account": 1234,
    "interface": "ib0",
    "scheduler": "job",
    "walltime": 43200,  # how YAML reads 12:00:00
    "cores": 2,
    "memory": "6 GiB",
    "sbatch_options": {"qos": "fast"},
    "limits": {"max_jobs": 40, "max_array": 100},
    "python": "python3.11",
}


class Own(SingularitySlurm):
    @classmethod
    def hostname(cls) -> str:
        return "maestro.pasteur.fr"

    @classmethod
    def scratch(cls, username: str) -> str:
        return os.path.join("/pasteur/sonic/scratch/users", username)

    @classmethod
    def singularity_options(cls) -> str:
        return "-B /pasteur"

    @classmethod
    def remote_dependencies(cls) -> str:
        return "module load singularity"


class Nameless(SingularitySlurm):
    pass


class FakePoint:
    """An entry point; real ones need an installed package."""

    dist = None

    def __init__(self, name: str, value: str) -> None:
        self.name = name
        self.value = value

    def load(self) -> Any:
        return EntryPoint(self.name, self.value, ENTRY_POINTS).load()


def offer(monkeypatch: pytest.MonkeyPatch, *points: FakePoint) -> None:
    monkeypatch.setattr(Sites, "_entry_points", staticmethod(lambda: {p.name: p for p in points}))


@pytest.mark.parametrize(
    ("name", "host", "scratch", "executable", "options", "before"),
    [
        (
            "maestro",
            "maestro.pasteur.fr",
            "/pasteur/appa/scratch/ada",
            "apptainer",
            "-B /pasteur",
            "module load apptainer",
        ),
        ("GPULab", "adm.inception.hubbioit.pasteur.fr", "/master/home/ada/scratch", "singularity", "", ""),
        (
            "tars",
            "tars.pasteur.fr",
            "/pasteur/scratch/users/ada",
            "singularity",
            "-B /pasteur",
            "module load singularity",
        ),
    ],
)
def test_packaged(name: str, host: str, scratch: str, executable: str, options: str, before: str) -> None:
    adapter: Any = sites[name]
    assert adapter.hostname() == host
    assert adapter.scratch("ada") == scratch
    assert adapter.singularity_executable() == executable
    assert (adapter.singularity_options(), adapter.remote_dependencies()) == (options, before)
    assert issubclass(adapter, SingularitySlurm)


def test_registering_makes_a_site_known() -> None:
    known = Sites()
    assert "my-site" not in known
    known.register("my-site", Own)
    assert known["my-site"] is known["My_Site"] is Own
    assert "my-site" in list(known)
    site = known.describe_site("my-site")
    assert site.scratch == "/pasteur/sonic/scratch/users/{username}"
    assert site.settings["remote_dependencies"] == "module load singularity"
    known.unregister("my-site")
    assert known.get("my-site") is None


def test_wrong_classes_are_refused() -> None:
    known = Sites()
    with pytest.raises(SpecificationError, match="subclass of SingularitySlurm"):
        known.register("x", int)
    with pytest.raises(SpecificationError, match="subclass of SingularitySlurm"):
        known.register("x", Own())  # type: ignore[arg-type]
    with pytest.raises(SpecificationError, match=r"hostname\(\)"):
        known.register("x", LocalHost)
    with pytest.raises(SpecificationError, match=r"Nameless.hostname\(\)"):
        known.register("x", Nameless)
    with pytest.raises(SpecificationError, match="expected text"):
        known.register("", Own)


def test_unknown_site() -> None:
    with pytest.raises(UnknownSiteError, match="did you mean 'maestro'") as caught:
        sites["maestor"]
    assert isinstance(caught.value, KeyError)
    assert not str(caught.value).startswith(("'", '"'))
    with pytest.raises(UnknownSiteError):
        sites.describe_site("maestor")


def test_site_without_code() -> None:
    with dask.config.set({"tramway.sites": {"my-lab": WHOLE}}):
        adapter: Any = sites["my-lab"]
        assert sites["my-lab"] is adapter
        site = sites.describe_site("my-lab")
    assert adapter.__name__ == "MyLab"
    assert adapter.hostname() == "login.lab.org"
    assert adapter.scratch("ada") == "/scratch/ada/x"
    assert adapter.singularity_options() == "-B '/data sets'"
    assert adapter.remote_dependencies() == "module purge\nmodule load apptainer"
    env = adapter()
    assert (env.username, env.container, env.queue, env.account) == ("ada", "images/mine.sif", "long", "1234")
    assert (env.interface, env.scheduler, env.walltime, env.cores) == ("ib0", "job", "12:00:00", 2)
    assert (env.memory, env.max_jobs, env.max_array, env.python) == ("6 GiB", 40, 100, "python3.11")
    assert env.sbatch_options == {"qos": "fast"}
    env.sbatch_options["qos"] = "slow"
    assert adapter().sbatch_options == {"qos": "fast"}
    env.queue = "short"
    assert (env.partition, adapter().queue) == ("short", "long")
    with pytest.raises(SpecificationError):
        env.scheduler = "moon"
    assert site.description == "The cluster of the lab"
    assert site.settings["queue"] == "long"
    assert "start_timeout" not in site.settings


def test_environments_of_such_a_site_travel() -> None:
    adapter = site_class("my-lab", WHOLE, SingularitySlurm)
    env = adapter(cores=3)
    again = pickle.loads(cloudpickle.dumps(env))
    assert (again.cores, again.queue, again.hostname()) == (3, "long", "login.lab.org")
    assert env.replace(cores=4).queue == "long"


def test_settings_change_a_known_site() -> None:
    with dask.config.set({"tramway.sites": {"Maestro": {"account": "lab", "partition": "common"}}}):
        adapter: Any = sites["maestro"]
        assert adapter.hostname() == "maestro.pasteur.fr"
        assert adapter().queue == "common"
        assert "changed by" in sites.describe_site("maestro").origin
        assert [n.lower() for n in sites].count("maestro") == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hostnam": "x"}, "unknown key 'hostnam'; did you mean 'hostname'"),
        ({"max_jobs": 3}, "limits.max_jobs"),
        ({"limits": {"max_job": 3}}, "did you mean 'max_jobs'"),
        ({"limits": 3}, "limits: expected max_jobs and max_array"),
        ({"queue": "short"}, "same thing"),
        ({"memory": 4}, "memory: expected text of one line such as '4 GiB'"),
        ({"python": 3.11}, "python: expected text"),
        ({"cores": "many"}, "cores: expected a number"),
        ({"scheduler": "moon"}, "scheduler: unknown value 'moon'"),
        ({"walltime": "soon"}, "walltime: expected"),
        ({"scratch": "$SCRATCH/x"}, r"echo \$SCRATCH"),
        ({"scratch": "/scratch/{user}"}, "{user} means nothing"),
        ({"scratch": "scratch"}, "expected a path"),
        ({"hostname": None}, "'hostname' is missing"),
        ({"hostname": "a\nb"}, "text of one line"),
        ({"remote_dependencies": 4}, "expected text or a list"),
        ({"sbatch_options": {"array": "1-3"}}, "set by the package"),
    ],
)
def test_wrong_settings_name_the_file(
    change: dict[str, Any], message: str, tmp_path: Path, monkeypatch: Any
) -> None:
    import yaml

    settings = {**WHOLE, **change}
    file = tmp_path / "tramway.yaml"
    file.write_text(yaml.safe_dump({"tramway": {"sites": {"lab": settings}}}))
    (tmp_path / "broken.yaml").write_text("a: [")
    monkeypatch.setattr(dask.config, "paths", [str(tmp_path)])
    with dask.config.set({"tramway.sites": {"lab": settings}}):
        with pytest.raises(SpecificationError, match=message) as caught:
            sites["lab"]
        with pytest.warns(UserWarning, match="site 'lab' is broken"):
            listed = {site.name: site for site in sites.describe()}
    assert str(file) in str(caught.value)
    assert listed["lab"].problem == str(caught.value)
    assert not listed["maestro"].problem


def test_settings_that_are_no_settings() -> None:
    with (
        dask.config.set({"tramway.sites": {"lab": "login.lab.org"}}),
        pytest.raises(SpecificationError, match="keys"),
    ):
        sites["lab"]
    with (
        dask.config.set({"tramway.sites": ["lab"]}),
        pytest.raises(SpecificationError, match="names of sites"),
    ):
        list(sites)


def test_yaml_file_is_all_it_takes(tmp_path: Path) -> None:
    (tmp_path / "tramway.yaml").write_text(
        "tramway:\n  sites:\n    lab:\n      hostname: login.lab.org\n      walltime: 12:00:00\n"
    )
    with dask.config.set({}):
        dask.config.update(dask.config.config, dask.config.collect([str(tmp_path)], env={}))
        try:
            env: Any = sites["lab"]()
        finally:
            del dask.config.config["tramway"]["sites"]
    assert env.walltime == "12:00:00"
    assert "module" not in env.remote_dependencies()


def test_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, FakePoint("other", f"{__name__}:Own"), FakePoint("gone", "no_such_package:Site"))
    assert "other" in sites
    assert sites["other"].hostname() == "maestro.pasteur.fr"  # type: ignore[attr-defined]
    with pytest.raises(SpecificationError, match="'gone'.*no_such_package"):
        sites["gone"]
    with pytest.warns(UserWarning, match="'gone' is broken"):
        listed = {site.name: site for site in sites.describe()}
    assert listed["gone"].adapter is None
    assert "no_such_package" in listed["gone"].problem
    assert listed["other"].adapter is Own


def test_entry_point_of_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, FakePoint("odd", "os:getcwd"))
    assert "subclass of SingularitySlurm" in sites.describe_site("odd").problem


def test_keys() -> None:
    assert {*WHOLE, "queue", "limits"} <= set(site_keys(SingularitySlurm))


def test_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lab_clusters.py").write_text(
        "from tramway_dask.environments.singularity import SingularitySlurm\n\n\n"
        "class Lab(SingularitySlurm):\n    @classmethod\n    def hostname(cls):\n        return 'login.lab.org'\n"
    )
    info = tmp_path / "lab_clusters-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-clusters\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        f"[{ENTRY_POINTS}]\nlab = lab_clusters:Lab\nold-lab = lab_clusters:Old\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert {"lab", "old-lab"} <= set(sites)
    assert sites.describe_site("lab").origin == "package lab-clusters"
    assert sites["lab"].hostname() == "login.lab.org"  # type: ignore[attr-defined]
    assert (
        "'old-lab' of lab-clusters (entry point lab_clusters:Old)" in sites.describe_site("old-lab").problem
    )
