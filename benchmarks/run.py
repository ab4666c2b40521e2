"""Benchmarks side by side with TRamWAy 0.7, one thread each: ``python benchmarks/run.py``."""

from __future__ import annotations

import os

THREADS = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")}
# libraries of linear algebra read these when numpy is imported
os.environ.update(THREADS)

import argparse  # noqa: E402
import json  # noqa: E402
import platform  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Iterable  # noqa: E402
from datetime import UTC, datetime  # noqa: E402
from importlib.metadata import version  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

HERE = Path(__file__).parent
PACKAGES = (
    "tramway_dask",
    "tramway",
    "numpy",
    "scipy",
    "pandas",
    "dask",
    "distributed",
    "pyarrow",
    "shapely",
)
GROUPS = (
    "import",
    "segmentation",
    "tessellations",
    "gwr",
    "independent",
    "smoothed",
    "dv",
    "bayes",
    "overhead",
    "memory",
    "priors",
    "blocks",
    "hpc",
    "time",
    "fields",
    "reading",
    "live",
)


def processor() -> str:
    """Return the model of the processor."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def header(quick: bool) -> dict[str, Any]:
    """Return what the numbers depend on."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "quick": quick,
        "processor": processor(),
        "cpus": os.cpu_count(),
        "load before": load,
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "threads": 1,
    }


def groups(quick: bool) -> dict[str, Callable[[], Iterable[Any]]]:
    """Return the measurements by name."""
    import fields
    import hpc
    import kernels
    import large
    import live
    import reading
    import runs
    import tessellations
    import trackmate

    count, cells, repeats = (8_000, 100, 5) if quick else (40_000, 500, 11)

    def smoothed() -> Iterable[Any]:
        yield kernels.smoothed(4_000, 50, repeats=repeats)
        if not quick:
            yield kernels.smoothed(12_000, 150, repeats=repeats)

    def read() -> Iterable[Any]:
        yield from reading.text(100_000 if quick else 1_000_000, repeats=repeats)
        yield reading.folder(100 if quick else 1_000, 10_000)
        yield from trackmate.rows(10_000_000 if quick else 100_000_000)

    return {
        "import": lambda: runs.imports(3 if quick else 7),
        "segmentation": lambda: kernels.segmentation(count, cells, repeats=repeats),
        "tessellations": lambda: tessellations.tessellations(40_000, repeats=repeats),
        "gwr": lambda: tessellations.equivalence(*((4_000, 4) if quick else (12_000, 8))),
        "independent": lambda: kernels.independent(count, cells, repeats=repeats),
        "smoothed": smoothed,
        "dv": lambda: [kernels.potential(*((1_600, 6) if quick else (2_800, 12)), repeats=repeats)],
        "bayes": lambda: [
            kernels.bayes_factors(*((8_000, 100) if quick else (40_000, 500)), repeats=repeats)
        ],
        "overhead": lambda: runs.overhead(*((4, 20) if quick else (20, 50))),
        "time": lambda: [fields.in_time(*((4, 50) if quick else (20, 200)), repeats=repeats)],
        "fields": lambda: fields.scaling([100, 1_000] if quick else [100, 1_000, 10_000, 100_000]),
        "memory": lambda: [runs.memory(400_000 if quick else 1_600_000, regions) for regions in (16, 4)],
        "priors": lambda: large.automatic(*((8_000, 100) if quick else (40_000, 500)), repeats=repeats),
        "blocks": lambda: [large.blocks(400_000 if quick else 4_000_000)],
        "hpc": lambda: hpc.hpc(quick),
        "reading": read,
        "live": lambda: live.page(*((4, 20) if quick else (20, 50))),
    }


def main() -> None:
    """Measure, print the table, write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small cases, about a minute")
    parser.add_argument("--output", type=Path, default=HERE / "results.json", metavar="FILE.json")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=GROUPS,
        default=[name for name in GROUPS if name != "hpc"],
        help="some rows only; hpc by name",
    )
    options = parser.parse_args()
    sys.path.insert(0, str(HERE))
    from measure import table

    head = header(options.quick)
    rows: list[Any] = []
    for name, measure in groups(options.quick).items():
        if name in options.only:
            began = time.perf_counter()
            rows += measure()
            sys.stderr.write(f"{name}: {time.perf_counter() - began:.0f} s\n")
    print(
        f"{head['processor']}, {head['cpus']} CPUs, {head['system']}, Python {head['python']}, {head['date']}"
    )
    print(", ".join(f"{k} {v}" for k, v in head["versions"].items()), "\n")
    print(table(rows))
    print()
    for row in rows:
        if row.note:
            print(f"- {row.name}: {row.note}")
    content = {"header": head, "rows": [row.to_dict() for row in rows]}
    options.output.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
