"""The README's section on clusters, followed word for word; only names of hosts and users are others."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from site_fixtures import Site

pytestmark = pytest.mark.site

README = Path(__file__).resolve().parents[1] / "README.md"
# what is done before: the test site cannot build images on its laptop
BEFORE = ("pip install ", "bash singularity/build.sh ")
# the machine of a test is not a cluster
HERE = {
    "me@login.my-lab.org": "alice@login",
    "login.my-lab.org": "login",
    "worker_count = 20": "worker_count = 2",
}
DATA = """
from pathlib import Path
from tramway_dask import simulate
Path("data").mkdir(exist_ok=True)
for i in range(2):
    walk = simulate.random_walk(
        diffusivity=0.1, box=((0, 0), (4, 4)), trajectory_count=150, duration=4, time_step=0.04, seed=i
    )
    walk.to_csv(f"data/cell{i}.trxyt", sep="\\t", header=False, index=False)
"""
CONFIG = """
results = "detached"
[spt_data]
localization_precision = 0.03
[spt_data.from_ascii_files]
pattern = "data/*.trxyt"
[tesseller]
type = "Hexagons"
resolution = 0.5
[mapper]
type = "D"
diffusivity_prior = 1.0
[[stages]]
stage = "tessellate_and_infer"
map_label = "d"
[env]
site = "my-site"
"""


def blocks(section: str) -> list[tuple[str, str]]:
    """Return language and text of the blocks of code in a section of the README."""
    text = README.read_text(encoding="utf-8").partition(f"## {section}\n")[2].partition("\n## ")[0]
    for there, here in HERE.items():
        text = text.replace(there, here)
    return re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL)


@pytest.fixture
def home(site: Site, image: Path) -> Iterator[Path]:
    """Make the laptop one whose SSH configuration knows the user; put the image where the README has it."""
    home = Path(site.info["laptop"]["home_on_machine"])
    places = [
        home / name for name in (".ssh/config", "images", ".config/dask", "data", "results", "detached")
    ]
    (home / "images").mkdir()
    shutil.copy(image, home / "images")
    (home / ".ssh/config").write_text("Host login\n    User alice\n")
    shutil.chown(home / ".ssh/config", "root", "root")
    (home / ".ssh/config").chmod(0o644)
    yield home
    for place in places:
        shutil.rmtree(place, ignore_errors=True)
        place.unlink(missing_ok=True)


def do(site: Site, text: str) -> str:
    """Run lines of Bash on the laptop, up to the first that fails."""
    settings = [f"{k}={v}" for k, v in os.environ.items() if k.startswith("DASK_TRAMWAY__")]
    words = ["env", *settings, "OMP_NUM_THREADS=1", "bash", "-ec", text]
    return site.run("laptop", "tester", words, timeout=300).stdout


def test_section_on_clusters(site: Site, home: Path) -> None:
    (_, ten_lines), *_ = [b for b in blocks("Ten lines") if b[0] == "python"]
    found = blocks("On a cluster")
    assert [language for language, _ in found] == ["bash", "yaml", "python", "python", "bash", "python"]
    setup, registration, run, attach, commands, site_class = (text for _, text in found)
    script = ten_lines.partition("a.env =")[0]

    do(site, f"python - <<'END'\n{DATA}\nEND")
    (home / ".config/dask").mkdir(parents=True, exist_ok=True)
    shutil.chown(home / ".config/dask", 20003, 20003)
    (home / ".config/dask/tramway.yaml").write_text(registration)
    steps = [line for line in setup.splitlines() if not line.startswith(BEFORE)]
    assert len(steps) == 2
    said = do(site, "\n".join(steps))
    assert "tramway-my-site.yaml" in said
    assert "No test failed" in said or "All is well" in said

    said = do(site, f"python - <<'END'\n{script}{run}\nprint(len(a.maps('dv')), 'cells')\nEND")
    assert "#SBATCH --qos=fast" in said
    assert re.search(r"^4 done, 0 skipped \(done before\), 0 failed", said, re.MULTILINE), said
    assert re.search(r"^[1-9]\d+ cells$", said, re.MULTILINE)

    (home / "config.toml").write_text(CONFIG)
    first, *rest = commands.splitlines()
    name = re.search(r"run (\d{6}-\d{6}-\w{6})", do(site, first))
    assert name is not None
    again = next(i for i, line in enumerate(rest) if "--wait" in line)
    said = do(site, "\n".join(rest[:again]).replace("RUN", name[1]))
    assert said.count(name[1]) >= 4
    here = 'from tramway_dask.analyzer import *\na = RWAnalyzer(results="detached")\n'
    said = do(
        site,
        f"python - <<'END'\n{here}{attach.replace('RUN', repr(name[1]))}\nprint(len(a.maps('d')), 'cells')\nEND",
    )
    assert f"run {name[1]}: done" in said
    assert "2 done" in said or "skipped" in said, said
    said = do(site, "\n".join(rest[again:]).replace("RUN", name[1]))
    assert f"run {name[1]} is deleted" in said

    said = do(site, f"python - <<'END'\n{script}{site_class}\nprint(a.env.user(), a.env.job_script())\nEND")
    assert "module load singularity" in said
