"""Notebooks of the repository: found, executed from top to bottom, and what they have printed."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import nbformat

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "notebooks"
NEEDS_SITE = {"7-slurm-cluster"}
LIMIT = 120.0  # s


def names() -> list[str]:
    """Return the names of all notebooks, in order."""
    return sorted(path.stem for path in FOLDER.glob("*.ipynb"))


def read(name: str) -> Any:
    """Return a notebook as it is in the repository."""
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def output_text(notebook: Any) -> str:
    """Return the text of all outputs."""
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            found.append(output.get("text", "") or output.get("data", {}).get("text/plain", ""))
    return "\n".join(found)


def errors_shown(notebook: Any) -> list[str]:
    """Return what cells have written to the stream of errors: warnings, mostly."""
    return [
        output["text"]
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if output["output_type"] == "stream" and output["name"] == "stderr"
    ]


def pictures(notebook: Any) -> int:
    """Return how many pictures there are."""
    data = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", ())]
    return sum("image/png" in d or "<img" in d.get("text/html", "") for d in data)


def processor_time() -> float:
    """Return the time of processors that ended children of this process have used, s."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
