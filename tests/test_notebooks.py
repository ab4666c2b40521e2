"""The notebooks: each runs from top to bottom, draws, and warns of nothing; none holds outputs in git."""

from __future__ import annotations

import json
import re
from pathlib import Path

import notebook_runs
import pytest
from notebook_runs import FOLDER, LIMIT, NEEDS_SITE, ROOT

NAMES = notebook_runs.names()
HERE = [name for name in NAMES if name not in NEEDS_SITE]


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a notebook a folder, and Jupyter no place in the user's home."""
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR", "DASK_CONFIG"):
        folder = tmp_path / ".settings" / name.lower()
        folder.mkdir(parents=True)
        monkeypatch.setenv(name, str(folder))
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.delenv("MPLBACKEND", raising=False)  # pictures go into the notebook
    return tmp_path


@pytest.mark.parametrize("name", HERE)
def test_runs_from_top_to_bottom(name: str, alone: Path) -> None:
    from nbclient import NotebookClient

    notebook = notebook_runs.read(name)
    before = notebook_runs.processor_time()
    NotebookClient(
        notebook, timeout=int(LIMIT), kernel_name="python3", resources={"metadata": {"path": str(alone)}}
    ).execute()
    assert notebook_runs.processor_time() - before < LIMIT
    assert notebook_runs.errors_shown(notebook) == []
    assert notebook_runs.pictures(notebook) >= 1


@pytest.mark.parametrize("name", NAMES)
def test_is_stripped_of_outputs(name: str) -> None:
    stored = json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))
    for cell in stored["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
    assert set(stored["metadata"]) == {"kernelspec", "language_info"}


@pytest.mark.parametrize("name", NAMES)
def test_has_a_title_with_its_number(name: str) -> None:
    first = notebook_runs.read(name).cells[0]
    assert first.cell_type == "markdown"
    title = re.match(r"# (\d) · (\S.*)\n", first.source)
    assert title is not None
    assert title[1] == name[0]


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    texts = [cell.source for cell in notebook_runs.read(name).cells if cell.cell_type == "markdown"]
    for target in re.findall(r"\]\(([^)#]+)\)", "\n".join(texts)):
        assert target.startswith("https://") or (FOLDER / target).exists(), target


def test_the_readme_links_all() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f"(notebooks/{name}.ipynb)" not in readme] == []
