"""Images for workers: names, where they come from, the command, the versions, the recipes."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import dask.config
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tramway_dask.environments import containers
from tramway_dask.environments.container_exec import Container, visible_paths
from tramway_dask.environments.container_versions import check_versions, parse_versions
from tramway_dask.environments.installed import installed_versions, source_digest
from tramway_dask.environments.singularity import SingularitySlurm
from tramway_dask.errors import ClusterError, SpecificationError

ROOT = Path(__file__).resolve().parents[1]
ZEROS = 64 * "0"


@pytest.fixture(autouse=True)
def _registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "singularity_containers", containers.Registry())


# names


@pytest.mark.parametrize("given", ["311", "3.11", "3.11.7", "py311", " 3.11 ", "3.11.0rc1"])
def test_python_versions(given: str) -> None:
    assert (
        containers.default_container(python_version=given)
        == f"tramway-dask-{containers.IMAGE_DATE}-py311.sif"
    )


def test_default_is_the_python_that_runs() -> None:
    tag = "{}{}".format(*sys.version_info)
    assert containers.default_container().endswith(f"-py{tag}.sif")


@pytest.mark.parametrize("given", ["3.10", "27", "3", "", "3.99", "python", "3.1.1"])
def test_unsupported_python(given: str) -> None:
    with pytest.raises(SpecificationError, match=r"no container for Python .*3\.11, 3\.12, 3\.13"):
        containers.default_container(given)


def test_the_newest_registered_image_is_the_default(tmp_path: Path) -> None:
    registry = containers.singularity_containers
    for date, python in (("280101", "311"), ("290101", "312"), ("270101", "311")):
        registry[f"tramway-dask-{date}-py{python}.sif"] = tmp_path / "x"
    assert containers.default_container("3.11") == "tramway-dask-280101-py311.sif"
    with dask.config.set({"tramway.containers": {"tramway-dask-300101-py311.sif": "/x.sif"}}):
        assert containers.default_container("3.11") == "tramway-dask-300101-py311.sif"


# registry


@pytest.mark.parametrize(
    ("name", "source", "match"),
    [
        ("a.sif", "http://x.org/a.sif", "not encrypted"),
        ("a.sif", "ftp://x.org/a.sif", "cannot be downloaded"),
        ("a.sif", "docker://x/y", "apptainer pull"),
        ("a.sif", "https://x.org/a.sif#sha256=12", "64 hexadecimal"),
        ("a.sif", f"https://x.org/a.sif#md5={ZEROS}", "sha256"),
        ("a.sif", "", "an address or a path"),
        ("a.sif", 3, "an address or a path"),
        ("b/a.sif", "/a.sif", "file name"),
        ("a.img", "/a.img", r"\.sif"),
    ],
)
def test_what_cannot_be_registered(name: str, source: str, match: str) -> None:
    with pytest.raises(SpecificationError, match=match):
        containers.singularity_containers[name] = source
    with (
        dask.config.set({"tramway.containers": {name: source}}),
        pytest.raises(SpecificationError, match=match),
    ):
        containers.locate("other.sif")


def test_configuration_that_is_no_mapping() -> None:
    with (
        dask.config.set({"tramway.containers": ["x"]}),
        pytest.raises(SpecificationError, match=r"name\.sif"),
    ):
        containers.locate("other.sif")


# where an image comes from


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("my_container.sif", "/home/me/my_container.sif"),
        ("images/a b.sif", "/home/me/images/a b.sif"),
        ("~/a.sif", "/home/me/a.sif"),
        ("$HOME/a.sif", "/home/me/a.sif"),
        ("/shared/a.sif", "/shared/a.sif"),
    ],
)
def test_unregistered_is_on_the_cluster(given: str, path: str) -> None:
    location = containers.locate(given)
    assert (location.action, location.source) == ("use", None)
    assert location.remote_path("/home/me", "/scratch/me/images") == path
    error = str(location.absent("login", path))
    assert path in error
    assert "login" in error
    assert f'singularity_containers["{Path(given).name}"]' in error


def test_registered_file_is_uploaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "built.sif"
    file.write_bytes(b"image")
    containers.singularity_containers["lab.sif"] = str(file)
    location = containers.locate("lab.sif")
    assert (location.action, location.source) == ("upload", str(file))
    assert location.sha256 == containers.file_sha256(file)
    before = location.remote_path("/home/me", "/scratch/me/images")
    assert before == f"/scratch/me/images/{location.sha256[:16]}/lab.sif"
    with monkeypatch.context() as reading:
        reading.setattr(hashlib, "file_digest", None)  # a file that has not changed is not read again
        assert containers.locate("lab.sif") == location
    file.write_bytes(b"image rebuilt")
    assert containers.locate("lab.sif").remote_path("/home/me", "/scratch/me/images") != before
    assert containers.locate(file).file_name == "built.sif"
    assert containers.locate("lab.sif").remote_path("/home/me", "images").startswith("/home/me/images/")
    file.unlink()
    with pytest.raises(SpecificationError, match="there is no file"):
        containers.locate("lab.sif")
    with pytest.raises(SpecificationError, match="there is no file"):
        containers.locate(file)


def test_registered_address_is_downloaded() -> None:
    containers.singularity_containers["lab.sif"] = f"https://x.org/get?id=3#sha256={ZEROS}"
    location = containers.locate("lab.sif")
    assert (location.action, location.source, location.sha256) == (
        "download",
        "https://x.org/get?id=3",
        ZEROS,
    )
    path = location.remote_path("/home/me", "/s")
    assert path == "/s/0000000000000000/lab.sif"
    assert location.download_words(path, timeout=5) == [
        *("bash", "-s", "--", "https://x.org/get?id=3", path, ZEROS, "5"),
    ]
    with pytest.raises(SpecificationError, match="not one that is downloaded"):
        containers.locate("other.sif").download_words("/x")


def test_address_without_registration() -> None:
    location = containers.locate("https://x.org/d/my%20lab.sif?download=1")
    assert (location.action, location.file_name, location.sha256) == ("download", "my lab.sif", None)
    other = containers.locate("https://x.org/e/my%20lab.sif?download=1")
    assert location.remote_path("/h", "/s") != other.remote_path("/h", "/s")
    assert location.download_words("/x")[5] == "-"
    with pytest.raises(SpecificationError, match="not encrypted"):
        containers.locate("http://x.org/a.sif")


@pytest.mark.parametrize("given", ["", "  ", Path()])
def test_no_container(given: str | Path) -> None:
    with pytest.raises(SpecificationError, match="empty"):
        containers.locate(given)


# the command


def test_command() -> None:
    container = Container(
        "/scratch/me/x.sif",
        "apptainer",
        options="-B '/data/two words' --nv",
        binds=("/scratch/me", "/odd:name,here"),
        home="/scratch/me/home",
        env={"OMP_NUM_THREADS": "1", "LIST": "a,b"},
    )
    assert container.python_words(["-m", "distributed.cli.dask_worker"]) == [
        *("apptainer", "exec", "--cleanenv", "-H", "/scratch/me/home", "-B", "/scratch/me"),
        *("--mount", 'type=bind,"src=/odd:name,here","dst=/odd:name,here"'),
        *("--env", "OMP_NUM_THREADS=1", "--env", '"LIST=a,b"'),
        *("--env", "PYTHONNOUSERSITE=1", "--env", "PYTHONSAFEPATH=1"),
        *("-B", "/data/two words", "--nv", "/scratch/me/x.sif"),
        *("python", "-s", "-m", "distributed.cli.dask_worker"),
    ]


def test_python_of_the_container() -> None:
    words = Container("x.sif", python="/opt/my env/bin/python3".replace(" ", "\\ ")).python_words(["-V"])
    assert words[-3:] == ["/opt/my env/bin/python3", "-s", "-V"]
    for wrong in ("", "'python"):
        with pytest.raises(SpecificationError, match="python"):
            Container("x.sif", python=wrong)
    env = SingularitySlurm(host="lab", container="x.sif", python="/opt/bin/python3")
    assert "x.sif /opt/bin/python3 -s -m distributed" in env.job_script()


@pytest.mark.parametrize("tag", ["310", "312", "313"])
def test_image_for_another_python(tag: str) -> None:
    containers.check_name("lab.sif")
    containers.check_name(f"images/tramway-dask-261122-py{tag}.sif", f"3.{tag[1:]}")
    with pytest.raises(SpecificationError, match=rf"for Python 3\.{tag[1:]}, and Python 3\.11 runs here"):
        containers.check_name(Path(f"/images/tramway-dask-261122-py{tag}.sif"), "3.11")


def test_isolation_cannot_be_turned_off_by_env() -> None:
    words = Container("x.sif", env={"PYTHONNOUSERSITE": ""}).exec_words(["true"])
    assert "PYTHONNOUSERSITE=1" in words
    assert "PYTHONNOUSERSITE=" not in words
    assert Container("-x.sif").exec_words(["true"])[-2:] == ["./-x.sif", "true"]


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"image": ""}, "no image"),
        ({"options": "-B 'x"}, "quotation"),
        ({"home": "/a:/b"}, "home folder"),
    ],
)
def test_wrong_settings_fail_at_once(settings: dict[str, str], match: str) -> None:
    with pytest.raises(SpecificationError, match=match):
        Container(**{"image": "x.sif", **settings})


@pytest.mark.parametrize("variables", [{"a-b": "1"}, {"A": 'say "x"'}, {"A": "two\nlines"}])
def test_variables_that_do_not_pass(variables: dict[str, str]) -> None:
    with pytest.raises(SpecificationError, match="variable"):
        Container("x.sif", env=variables).exec_words()


TEXT = st.text(
    st.characters(blacklist_characters="\0\r\n", blacklist_categories=("Cs",)), min_size=1, max_size=12
)


@given(TEXT, TEXT)
def test_any_word_survives_the_shell(path: str, value: str) -> None:
    container = Container("/i/" + path, binds=("/b/" + path,), env={"A": value.replace('"', "")})
    words = container.exec_words(["echo", value])
    assert shlex.split(shlex.join(words)) == words


def test_prologue_passes_on_what_workers_need(tmp_path: Path) -> None:
    nasty = 'a "b" $(date) `x`, é\nsecond line'
    environment = {
        "PATH": os.environ["PATH"], "SLURM_JOB_ID": "7", "DASK_X": nasty, "TMPDIR": str(tmp_path),
        "PYTHONPATH": "/evil", "MY_DASK": "no", "SINGULARITY_BIND": "/site",
    }  # fmt: skip
    show = shlex.join([sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))"])
    for executable, prefix in (("/usr/bin/apptainer", "APPTAINER"), ("singularity", "SINGULARITY")):
        lines = "set -eu\n" + Container("x.sif", executable).prologue() + show
        done = subprocess.run(
            ["bash", "-c", lines], env=environment, capture_output=True, text=True, check=True
        )
        seen = json.loads(done.stdout)
        assert seen[f"{prefix}ENV_DASK_X"] == nasty
        assert seen[f"{prefix}ENV_SLURM_JOB_ID"] == "7"
        assert seen[f"{prefix}ENV_TMPDIR"] == str(tmp_path)
        assert seen[f"{prefix}_BIND"] == (f"/site,{tmp_path}" if prefix == "SINGULARITY" else str(tmp_path))
        assert {n for n in seen if n.startswith(f"{prefix}ENV_")} == {
            f"{prefix}ENV_{name}" for name in ("DASK_X", "SLURM_JOB_ID", "TMPDIR")
        }


def test_visible_paths() -> None:
    assert visible_paths("/s/me", "/s/me", None, "/s/me/run", "/mnt/s/me", "/s/metoo") == (
        *("/s/me", "/mnt/s/me", "/s/metoo"),
    )
    for wrong in ("relative", "/"):
        with pytest.raises(SpecificationError, match="absolute path"):
            visible_paths(wrong)


# versions

HERE: dict[str, str | None] = {
    "python": "3.11.7", "tramway_dask": "0.1.0", "dask": "2026.8.0", "distributed": "2026.8.0",
    "cloudpickle": "3.1.2", "msgpack": "1.2.4", "numpy": "2.4.6", "pandas": "2.3.3", "source": 64 * "a",
}  # fmt: skip


def test_equal_versions_pass() -> None:
    check_versions(HERE, {**HERE, "python": "3.11.2", "numpy": "2.0.0", "pandas": "2.2.0"})


@pytest.mark.parametrize("name", ["dask", "distributed", "cloudpickle", "tramway_dask"])
def test_other_version_is_refused(name: str) -> None:
    with pytest.raises(ClusterError) as caught:
        check_versions(HERE, {**HERE, name: "0.0.9"}, image="lab.sif")
    message = str(caught.value)
    assert f"{name} is 0.0.9 there and {HERE[name]} here" in message
    assert message.startswith("lab.sif")
    assert "bash singularity/build.sh --python 3.11" in message
    assert f"pip install {name}==0.0.9" in message


def test_every_difference_is_named() -> None:
    there = {**HERE, "python": "3.12.1", "dask": None, "distributed": "2025.1.0"}
    with pytest.raises(ClusterError) as caught:
        check_versions(HERE, there)
    for part in (
        "python is 3.12.1 there and 3.11.7 here",
        "dask is not installed there",
        "2025.1.0",
        "Python 3.12",
    ):
        assert part in str(caught.value)


def test_changed_sources_are_refused() -> None:
    there = {**HERE, "source": 64 * "b"}
    with pytest.raises(
        ClusterError, match=r"rebuild the image: bash singularity/build\.sh.*accept-other-source"
    ):
        check_versions(HERE, there)
    check_versions(HERE, there, accept_other_source=True)
    with dask.config.set({"tramway.accept-other-source": True}):
        check_versions(HERE, there)
        with pytest.raises(ClusterError, match="rebuild"):
            check_versions(HERE, there, accept_other_source=False)


@pytest.mark.parametrize("name", ["numpy", "pandas", "msgpack"])
def test_major_drift_warns(name: str) -> None:
    with pytest.warns(UserWarning, match=rf"{name} 9\.0 there, .* here"):
        check_versions(HERE, {**HERE, name: "9.0"})


def test_the_program_prints_what_is_installed() -> None:
    words = Container("x.sif").versions_words()
    program = words[words.index("-c") + 1]
    done = subprocess.run(
        [sys.executable, "-s", "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )  # fmt: skip
    assert parse_versions("Welcome!\n" + done.stdout) == installed_versions()
    assert set(HERE) <= set(installed_versions())


def test_the_program_without_the_package(tmp_path: Path) -> None:
    program = Container("x.sif").versions_words()[-1]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path
    )  # fmt: skip
    found = parse_versions(done.stdout)
    assert (found["tramway_dask"], found["source"], found["dask"]) == (None, None, None)
    with pytest.raises(ClusterError, match="dask is not installed there"):
        check_versions(HERE, found)


@pytest.mark.parametrize("output", ["", "Segmentation fault", "{}", "[1]", '{"a": 1}', "3"])
def test_no_versions(output: str) -> None:
    with pytest.raises(ClusterError, match="did not print its versions"):
        parse_versions(output)


def test_digest_of_sources(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for folder, end in ((first, "\n"), (second, "\r\n")):
        (folder / "sub").mkdir(parents=True)
        (folder / "x.py").write_bytes(f"a = 1{end}".encode())
        (folder / "sub/y.py").write_bytes(f"b = 2{end}".encode())
    (second / "__pycache__").mkdir()
    (second / "__pycache__/x.pyc").write_bytes(b"1")
    assert source_digest(first) == source_digest(second)
    (second / "x.py").rename(second / "sub/x.py")
    assert source_digest(first) != source_digest(second)
    (second / "sub/x.py").rename(second / "x.py")
    (second / "x.py").write_text("a = 2\n")
    assert source_digest(first) != source_digest(second)


# recipes


@pytest.fixture(scope="module")
def render() -> ModuleType:
    spec = importlib.util.spec_from_file_location("render", ROOT / "singularity/render.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("python", containers.PYTHON_VERSIONS)
def test_recipe(render: ModuleType, python: str) -> None:
    recipe = render.recipe(python, "tramway_dask-9-py3-none-any.whl", "270101")
    assert recipe.startswith(f"Bootstrap: docker\nFrom: python:{python}-slim-bookworm\n")
    assert not re.search(r"@\w+@", recipe)
    sections = re.findall(r"^%(\w+)$", recipe, re.MULTILINE)
    assert sections == ["labels", "files", "post", "environment", "test", "runscript", "help"]
    assert '"./tramway_dask-9-py3-none-any.whl[matlab,plot,rwa]"' in recipe
    assert f"-Fx '{source_digest()}'" in recipe
    for section in ("post", "test"):
        script = recipe.split(f"%{section}\n")[1].split("\n%")[0]
        subprocess.run(["sh", "-n"], input=script, text=True, check=True)


def test_recipe_from_an_earlier_image(render: ModuleType) -> None:
    recipe = render.recipe("3.11", "x.whl", earlier="/images/tramway-dask-261122-py311.sif")
    assert recipe.startswith("Bootstrap: localimage\nFrom: /images/tramway-dask-261122-py311.sif\n")


def test_requirements_are_the_versions_here(render: ModuleType) -> None:
    lines = dict(line.split("==") for line in render.requirements().splitlines())
    here = installed_versions()
    assert lines == {name: here[name] for name in lines}
    assert {
        "dask",
        "distributed",
        "cloudpickle",
        "msgpack",
        "numpy",
        "scipy",
        "pandas",
        "pyarrow",
        "shapely",
    } <= set(lines)


def test_render_writes_both_files(
    render: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [
        "render.py",
        "--python",
        "3.12",
        "--folder",
        str(tmp_path),
        "--wheel",
        "x.whl",
        "--date",
        "270101",
    ]
    monkeypatch.setattr(sys, "argv", words)
    render.main()
    assert {p.name for p in tmp_path.iterdir()} == {"requirements.txt", "tramway-dask-270101-py312.def"}


def build(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(ROOT / "singularity/build.sh"), *words],
        env={**os.environ, **environ}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_build_refuses(tmp_path: Path) -> None:
    assert "unknown argument: --bogus" in build("--bogus").stderr
    assert "--python needs a value" in build("--python").stderr
    assert "build.sh [--python 3.11]" in build("--help").stdout
    assert "--from needs --python" in build("--from", str(ROOT / "x.sif")).stderr
    absent = build("--output", str(tmp_path), SINGULARITY=str(tmp_path / "absent"))
    assert absent.returncode == 1
    assert "absent cannot be run" in absent.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("path", ["singularity/build.sh", "tramway_dask/environments/download.sh"])
def test_shellcheck(path: str) -> None:
    done = subprocess.run(["shellcheck", str(ROOT / path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
