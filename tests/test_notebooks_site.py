"""The notebook on clusters, run on the laptop of the test site; only the name of the site is told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import nbformat
import notebook_runs
import pytest
from site_fixtures import Site
from site_sessions import nothing_left

pytestmark = pytest.mark.site

NAME = "7-slurm-cluster"
# what `tramway-dask sites new` would have written, and less patience
SETTINGS = {
    "hostname": "login",
    "username": "alice",
    "scratch": "/scratch/{username}",
    "remote_dependencies": "module load singularity",
    "container": "lab.sif",
    "interface": "ib0",
    "reconcile_interval": 1.5,
}
RUNNER = """
import sys
import nbformat
from nbclient import NotebookClient

notebook = nbformat.read(sys.argv[1], as_version=4)
try:
    NotebookClient(notebook, timeout=180, kernel_name="python3").execute()
finally:
    nbformat.write(notebook, sys.argv[2])
"""


@pytest.fixture
def home(cluster: Site) -> Iterator[Path]:
    """Tell the laptop of the site, as a file of settings would."""
    home = Path(cluster.info["laptop"]["home_on_machine"])
    settings = home / ".config/dask"
    settings.mkdir(parents=True, exist_ok=True)
    for folder in (settings.parent, settings):
        shutil.chown(folder, home.stat().st_uid, home.stat().st_gid)  # matplotlib has its own there
    (settings / "tramway.yaml").write_text(json.dumps({"tramway": {"sites": {"my-lab": SETTINGS}}}))
    shutil.copy(notebook_runs.FOLDER / f"{NAME}.ipynb", home)
    yield home
    for place in (settings, home / "slurm-cluster"):
        shutil.rmtree(place, ignore_errors=True)


def test_runs_from_top_to_bottom(cluster: Site, home: Path) -> None:
    there = cluster.info["laptop"]["home"]
    words = cluster.python_words(
        RUNNER, f"{there}/{NAME}.ipynb", f"{there}/done.ipynb",
        env={
            "TRAMWAY_NOTEBOOK_SITE": "my-lab",
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
            "PYTHONPATH": str(notebook_runs.ROOT),
        },
    )  # fmt: skip
    cluster.run("laptop", "tester", ["env", f"--chdir={there}", *words], timeout=300)
    notebook = nbformat.read(home / "done.ipynb", as_version=4)
    said = notebook_runs.output_text(notebook)
    assert notebook_runs.errors_shown(notebook) == []
    assert "#SBATCH" in said
    assert "module load singularity" in said
    assert "8 done" in said  # of the interactive run
    assert notebook_runs.pictures(notebook) == 2
    nothing_left(cluster)
