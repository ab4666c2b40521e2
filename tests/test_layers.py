"""The architecture: what may import what, how long a module is, and what an import costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "tramway_dask"
MODULES = sorted(ROOT.rglob("*.py"))

FLOORS = {
    "errors": 0, "config": 0, "component": 0, "fields": 0, "landscapes": 0,
    "cards": 0, "thumbnails": 0, "interactive": 0,
    "spt_data": 1, "roi": 1, "simulate": 1,
    "segmentation": 2,
    "inference": 3,
    "results": 4, "plot": 4, "experiment": 4, "export": 4,
    "reporting": 5,
    "environments": 5, "pipeline": 5,
    "analyzer": 6,
    "cli": 7, "cli_sites": 7, "cli_runs": 7, "cli_data": 7, "cli_experiment": 7, "cli_report": 7,
    "cli_base": 7, "cli_completion": 7,
    "dashboard": 7, "demo": 7, "configuration": 7,
    "__init__": 7, "__main__": 7,
}  # fmt: skip

# (importing, imported): why the import may run upwards; each of them is made when it is needed
UPWARDS = {
    ("spt_data", "roi"): "a source makes its regions at first use; same floor",
}
# modules below the pipeline that import dask, when it is needed
DASK = {"config.py", "analyzer/tables.py"}
# longer than 400 lines, and why
LONG = {
    "analyzer/rwanalyzer.py": "the attributes of one object, each with its documentation",
    "spt_data/sources.py": "the attributes of one object, each with its documentation",
    "spt_data/collection.py": "the attributes of one object, each with its documentation",
    "environments/transfer.py": "both directions of a transfer, which share locks and checks",
    "pipeline/plan.py": "one subject: the units of a pipeline and their state",
}


def part(path: Path) -> str:
    """Return the floor's entry of a module."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield the absolute name of each imported module, and whether it is imported with the module."""
    tree = ast.parse(path.read_text())
    package = ["tramway_dask", *path.relative_to(ROOT).parts[:-1]]
    typing = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in typing:
            continue
        top = node in tree.body
        if isinstance(node, ast.Import):
            yield from ((alias.name, top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            yield name, top
            yield from ((f"{name}.{alias.name}", top) for alias in node.names)


def own(name: str) -> str | None:
    """Return the part of this package that a module name belongs to."""
    first, *rest = name.split(".")
    return rest[0] if first == "tramway_dask" and rest and rest[0] in FLOORS else None


def test_every_part_has_a_floor() -> None:
    assert {part(p) for p in MODULES} <= set(FLOORS)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_downwards(path: Path) -> None:
    here = part(path)
    for name, _ in imports(path):
        there = own(name)
        if there is None or there == here or (here, there) in UPWARDS:
            continue
        assert FLOORS[there] <= FLOORS[here], f"{path} imports {name}"
        if here == "environments":
            assert FLOORS[there] == 0, f"{path} imports {name}"
        if here == "pipeline":
            assert there != "environments", f"{path} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_dask_stays_upstairs(path: Path) -> None:
    relative = path.relative_to(ROOT).as_posix()
    for name, top in imports(path):
        library = name.split(".")[0]
        if library not in ("dask", "distributed", "dask_jobqueue"):
            continue
        if relative in DASK or part(path) == "config":
            assert not top, f"{path}: import {name} where it is needed"
        else:
            assert FLOORS[part(path)] >= 5, f"{path} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_star_import_and_no_print(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert all(alias.name != "*" for alias in node.names), path
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"{path}:{node.lineno}"


def test_modules_are_short() -> None:
    long = {p.relative_to(ROOT).as_posix() for p in MODULES if len(p.read_text().splitlines()) > 400}
    assert long <= set(LONG), long - set(LONG)


def test_import_loads_little() -> None:
    code = "import sys, tramway_dask, tramway_dask.analyzer; print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(ended.stdout.split())
    assert "tramway_dask.analyzer.rwanalyzer" in loaded
    for heavy in (
        "matplotlib",
        "bokeh",
        "dask_jobqueue",
        "distributed",
        "distributed.worker",
        "shapely",
        "tqdm",
    ):
        assert heavy not in loaded
