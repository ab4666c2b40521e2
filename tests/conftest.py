"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

import pytest
from browser_fixtures import browser, page  # noqa: F401
from site_fixtures import image, site  # noqa: F401
from site_sessions import cluster, mark  # noqa: F401
from xdist.scheduler import LoadScopeScheduling


class _Fence(MetaPathFinder):
    """Fails a test that compares with TRamWAy without being marked so: it would run where there is none."""

    marked = False

    def find_spec(self, name: str, *_: Any) -> None:
        if name.split(".")[0] == "tramway" and not self.marked:
            pytest.fail("this test imports TRamWAy: mark it with @pytest.mark.oracle", pytrace=False)


def pytest_configure() -> None:
    """Let Ctrl-C interrupt the programs of the tests: a shell starts what it puts in the background without."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


_fence = _Fence()
sys.meta_path.insert(0, _fence)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Tell the fence whether the test, whose fixtures come with it, may import TRamWAy."""
    _fence.marked = item.get_closest_marker("oracle") is not None
    try:
        return (yield)
    finally:
        _fence.marked = False


# a site's tests mostly wait for Slurm: two sites, one beside the other, take half the time
_SECOND_SITE = {"test_batch_site", "test_container_site", "test_notebooks_site", "test_readme_site"}
# files of few long tests, which begin early and are shared out test by test
_LONG = {"test_tramway_scripts", "test_notebooks"}


class _ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """Gives a process all tests of a file, whose fixtures are made once, or all tests of a site."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::")[0]
        name = Path(file).stem
        if name.endswith("_site"):
            return "second site" if name in _SECOND_SITE else "site"
        return nodeid if name in _LONG else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _ByFile:
    """Distribute the tests; their order is that of the collection."""
    config.option.loadscopereorder = False
    return _ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest; refuse a test that would start a site of its own."""
    for item in items:
        if item.get_closest_marker("site") is None:
            continue
        if not item.path.stem.endswith("_site"):
            raise pytest.UsageError(
                f"{item.nodeid} is marked `site`: its file must be named test_..._site.py"
            )
        # to build the image, which the first test does, takes minutes
        item.add_marker(pytest.mark.timeout(420, func_only=True))
    items.sort(key=lambda item: (not item.path.stem.endswith("_site"), item.path.stem not in _LONG))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real trajectory files, which lies beside the repository."""
    folder = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    if not folder.is_dir():
        reason = f"REAL DATA NOT FOUND: {folder} is missing, the readers are not tested on real files"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return folder
