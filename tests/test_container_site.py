"""The container of this checkout, built by the stand-in, on the test site."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from site_fixtures import Site

from tramway_dask.environments.container_exec import Container, visible_paths
from tramway_dask.environments.container_versions import check_versions, parse_versions
from tramway_dask.environments.containers import Location, download_script, file_sha256
from tramway_dask.environments.installed import installed_versions
from tramway_dask.errors import ClusterError

pytestmark = pytest.mark.site

MODULES = "module load singularity\n"
REMOTE = "/scratch/alice/test-containers"


def on_login(
    site: Site, text: str, *, user: str = "alice", input: str | None = None, check: bool = True
) -> str:
    """Run lines of Bash in a login shell, as over SSH; return what they print."""
    done = site.run("login", user, ["bash", "-lc", text], input=input, check=check)
    return done.stdout if check else done.stdout + done.stderr


@pytest.fixture(scope="module")
def container(site: Site, image: Path) -> Iterator[Container]:
    """Put the image on scratch."""
    on_login(site, f"mkdir -m 700 -p {REMOTE}/home")
    machine = Path(site.info["cluster"]["scratch_on_machine"]) / "alice/test-containers"
    subprocess.run(["cp", str(image), str(machine / "lab image.sif")], check=True)
    (machine / "lab image.sif").chmod(0o644)
    physical = on_login(site, f"realpath {REMOTE}").strip()
    yield Container(f"{REMOTE}/lab image.sif", binds=visible_paths(REMOTE, physical), home=f"{REMOTE}/home")
    on_login(site, f"rm -rf {REMOTE}")


def test_versions_fit(site: Site, container: Container) -> None:
    output = on_login(site, MODULES + shlex.join(container.versions_words()))
    there = parse_versions(output)
    # that the sources are those of the checkout was tested at the end of the build
    check_versions({**installed_versions(), "source": there["source"]}, there)
    for name in (
        "dask",
        "distributed",
        "cloudpickle",
        "msgpack",
        "numpy",
        "scipy",
        "pandas",
        "pyarrow",
        "shapely",
    ):
        assert there[name] == installed_versions()[name]
    with pytest.raises(ClusterError, match="rebuild the image"):
        check_versions({**installed_versions(), "source": 64 * "0"}, there)


def test_worker_command_in_a_job(site: Site, container: Container) -> None:
    program = (
        "import json, os, sys, tramway_dask, distributed;"
        "names = ['HOME', 'PYTHONPATH', 'TMPDIR', 'SLURM_JOB_ID', 'DASK_DISTRIBUTED__WORKER__X', 'OWN'];"
        "print(json.dumps({**{n: os.environ.get(n) for n in names}, 'path': sys.path, 'file': tramway_dask.__file__,"
        " 'tmp': os.path.isdir(os.environ['TMPDIR']), 'scratch': os.listdir('/scratch'), 'safe': sys.flags.safe_path,"
        " 'user': sys.flags.no_user_site}))"
    )
    lines = [
        "#!/usr/bin/env -S bash -l",
        "#SBATCH --output=" + REMOTE + "/job.log",
        MODULES.strip(),
        "export PYTHONPATH=/evil OWN=unwanted DASK_DISTRIBUTED__WORKER__X='a \"b\"'",
        "export TMPDIR=/var/tmp/job-$SLURM_JOB_ID",
        "mkdir -p $TMPDIR",
        container.prologue(),
        shlex.join(container.python_words(["-c", program])),
        shlex.join(container.python_words(["-m", "distributed.cli.dask_worker", "--version"])),
    ]
    on_login(site, f"cd {REMOTE} && sbatch --quiet --wait", input="\n".join(lines) + "\n", check=False)
    first, second = on_login(site, f"cat {REMOTE}/job.log").strip().splitlines()
    seen = json.loads(first)
    assert seen["HOME"] == f"{REMOTE}/home"
    assert (seen["PYTHONPATH"], seen["OWN"]) == (None, None)
    assert seen["SLURM_JOB_ID"].isdigit()
    assert seen["TMPDIR"] == f"/var/tmp/job-{seen['SLURM_JOB_ID']}"
    assert seen["DASK_DISTRIBUTED__WORKER__X"] == 'a "b"'
    assert seen["tmp"]
    assert seen["safe"]
    assert seen["user"]
    assert seen["scratch"] == ["alice"]
    assert not any(part.startswith(("/evil", REMOTE, "/home")) or part == "" for part in seen["path"])
    assert "dist-packages/tramway_dask" in seen["file"]
    assert second.endswith(f"version {installed_versions()['distributed']}")


def test_command_line_in_the_container(site: Site, container: Container) -> None:
    words = container.exec_words(["tramway-dask", "--help"])
    assert "Usage" in on_login(site, MODULES + shlex.join(words))


def test_what_goes_wrong_is_told(site: Site, container: Container) -> None:
    absent = Container(f"{REMOTE}/absent.sif").versions_words()
    assert "no such file" in on_login(site, MODULES + shlex.join(absent), check=False)
    before = shlex.join(container.versions_words())
    assert "not found" in on_login(site, before, check=False)


def test_download_on_the_login_node(site: Site, container: Container) -> None:
    served = f"{REMOTE}/web"
    on_login(site, f"mkdir -p {served} && head -c 5000000 /dev/urandom > '{served}/lab.sif'")
    digest = on_login(site, f"sha256sum < '{served}/lab.sif'").split()[0]
    server = site.popen(
        *("login", "alice", ["python3", "-m", "http.server", "18799", "--bind", "127.0.0.1", "--directory", served]),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        location = Location("lab.sif", "download", "http://127.0.0.1:18799/lab.sif", digest)
        path = location.remote_path("/home/alice", f"{REMOTE}/images")
        command = shlex.join(location.download_words(path, timeout=30))
        on_login(
            site,
            "for k in $(seq 50); do curl -s -o /dev/null http://127.0.0.1:18799/ && break; sleep 0.1; done",
        )
        answers = [on_login(site, command, input=download_script()) for _ in range(2)]
        assert answers == [f"downloaded {digest} {path}\n", f"present {digest} {path}\n"]
        assert site.mode(path) == "600"
        wrong = Location("lab.sif", "download", location.source, 64 * "0")
        other = wrong.remote_path("/home/alice", f"{REMOTE}/images")
        told = on_login(site, shlex.join(wrong.download_words(other)), input=download_script(), check=False)
        assert "its checksum is not" in told
        assert not on_login(site, f"ls {shlex.quote(str(Path(other).parent))}")
    finally:
        site.kill(server)
        server.wait(timeout=10)


def test_build_prints_how_to_register(image: Path) -> None:
    printed = (image.parent / "build.log").read_text()
    assert f"sha256 {file_sha256(image)}" in printed
    assert f'singularity_containers["{image.name}"] = "{image}"' in printed
