"""Workers that have the files at other places than the user's process."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cases import analyzer, write_fields

import tramway_dask as td
from tramway_dask import environments


@dataclass(eq=False, repr=False)
class Elsewhere(environments.LocalHost):
    """Workers of this computer that are given copies of the files, and see no others."""

    shares_files: ClassVar[bool] = False

    def stage(self, files: Sequence[str], digests: Mapping[str, str] | None = None) -> Mapping[str, str]:
        found = {}
        for path in files:
            copy = Path(path).parent.with_name("there") / os.path.basename(path)
            copy.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, copy)
            found[path] = str(copy)
        return found


@pytest.fixture(scope="module")
def env() -> Iterator[Elsewhere]:
    with Elsewhere(worker_count=1, dashboard_address=None) as env:
        yield env


@pytest.mark.xdist_group("cluster")
def test_stage_over_all_files(tmp_path: Path, env: Elsewhere) -> None:
    (tmp_path / "here").mkdir()
    files = write_fields(tmp_path / "here", 2)
    a = analyzer(tmp_path / "results", files, env=env)
    expected = [(source.name, len(source.dataframe)) for source in a.spt_data]

    def count(a: Any) -> list[tuple[str, str, int]]:
        return [(s.name, str(s.path), len(s.dataframe)) for s in a.spt_data]

    a.pipeline.append_stage(td.stages.tessellate())
    a.pipeline.append_stage(count, granularity="full dataset")
    for _ in range(2):  # the second time, this stage alone is to be done
        report = a.run(progress=False)
        assert report.ok, report
        returned = report.returned["count", "", ""]
        assert [(name, n) for name, _, n in returned] == expected
        assert {Path(path).parent.name for _, path, _ in returned} == {"there"}
