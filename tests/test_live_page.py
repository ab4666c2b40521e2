"""The live page: what it is told, what it serves, and how it looks and behaves in a browser."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest
from cases import analyzer, walk, write_fields

import tramway_dask as td
from tramway_dask.environments.base import GivenClient
from tramway_dask.environments.live import Watch, page_address
from tramway_dask.environments.live.state import Maps, Run
from tramway_dask.pipeline.live import LiveRun
from tramway_dask.pipeline.livemaps import MOST_CELLS, maps_of_units
from tramway_dask.pipeline.work import UnitResult
from tramway_dask.results.artefacts import remarks
from tramway_dask.results.payload import Record

pytestmark = pytest.mark.xdist_group("cluster")
MESSAGE = "no <img src=x onerror='document.title=1'> & no 'cells'"
# a scheduler in this process, without workers
ALONE = {
    "n_workers": 0,
    "processes": False,
    "protocol": "tcp",
    "host": "127.0.0.1",
    "dashboard_address": "127.0.0.1:0",
}
THREE = [[0.25, 0.5], [0.5, 0.5], [0.75, 0.5]]


def infer(cells: Any, gate: str = "") -> pd.DataFrame:
    """Map the first region at once; fail in the second; in the third of one file, wait until a file is there."""
    x = np.array([cells[i].center[0] for i in cells])
    if abs(x.mean() - 0.5) < 0.1:
        raise ValueError(MESSAGE)
    if gate and x.mean() > 0.6:
        with contextlib.suppress(FileExistsError):
            Path(f"{gate}.taken").touch(exist_ok=False)
            while not Path(gate).exists():
                time.sleep(0.02)
    table = pd.DataFrame(
        {"diffusivity": 0.1 + x, "diffusivity se": 0.01, "potential": -3 * x}, index=list(cells)
    )
    return table.assign(**{"force x": 1.0 + x, "force y": -2.0})


def experiment(results: Path, data: Any, env: Any, gate: Path | str = "") -> td.RWAnalyzer:
    mapper = td.mapper.from_callable(infer, gate=str(gate))
    a = analyzer(results, data, mapper=mapper, env=env, roi=None)
    a.roi.from_squares(THREE, 0.24)
    a.pipeline.append_stage(td.stages.tessellate_and_infer(map_label="m"))
    return a


def in_thread(a: td.RWAnalyzer) -> threading.Thread:
    def go() -> None:
        with contextlib.suppress(td.errors.LostClusterError):  # the test has failed
            a.run(progress=False)

    thread = threading.Thread(target=go, daemon=True)
    thread.start()
    return thread


def get(address: str, code: int = 200) -> Any:
    answer: Any
    try:
        answer = urllib.request.urlopen(address, timeout=60)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        text = answer.read().decode()
        assert answer.status == code, (address, text)
        return json.loads(text) if "json" in answer.headers["Content-Type"] else text


def until(condition: Callable[[], Any], what: str, timeout: float = 120) -> Any:
    ends = time.monotonic() + timeout
    while time.monotonic() < ends:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {timeout} s: {what}")


@pytest.fixture(scope="module")
def fields(tmp_path_factory: Any) -> list[str]:
    return write_fields(tmp_path_factory.mktemp("live"), 2)


@pytest.fixture(scope="module")
def local() -> Iterator[td.environments.LocalHost]:
    with td.environments.LocalHost(worker_count=2) as env:
        yield env


@pytest.fixture(scope="module")
def bare() -> Iterator[Any]:
    """A client of a scheduler in this process, without workers."""
    from distributed import Client, LocalCluster

    with LocalCluster(**ALONE) as cluster, Client(cluster, set_as_default=False) as client:
        yield client


class Many:
    """A run of many regions, each with the same map."""

    def __init__(self, files: int, regions: int, ended: int) -> None:
        self.name = f"many{files}x{regions}"
        self.size, self.asked = files * regions, 0
        self.ended = ended
        self.about = {
            "title": "many", "began": time.time(), "stages": ["infer"], "tasks": {},
            "sources": [f"file{i:03d}" for i in range(files)],
            "units": [[i, f"roi{j:03d}", 0, "waiting"] for i in range(files) for j in range(regions)],
        }  # fmt: skip
        grid = np.array([[i, j] for i in range(8) for j in range(8)])
        corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
        points = ((grid[:, None] + corners) * 8191).reshape(-1, 2)
        self.map = {
            "name": "m", "cells": 64, "dimension": 2, "times": None, "low": [0, 0], "size": [1, 1], "step": 1 / 65535,
            "sizes": packed(np.full(64, 4), "<u2"), "points": packed(points, "<u2"),
            "variables": [{"name": "diffusivity", "label": "diffusivity (µm² s⁻¹)", "signed": False,
                           "values": packed(np.arange(64) / 64, "<f4")}],
        }  # fmt: skip

    def begin(self) -> dict[str, Any]:
        return self.about

    def changes(self, since: int) -> dict[str, Any]:
        self.asked += 1
        rows = [[i, "done", 0.5, "node:1", 0.01 * i, []] for i in range(max(since, 0), self.ended)]
        return {"version": self.ended, "changes": rows, "elapsed": 60.0, "ended": None, "how": ""}

    def maps(self, units: list[int], segment: int) -> dict[int, str]:
        return {i: json.dumps([self.map]) for i in units}


def packed(values: np.ndarray, kind: str) -> str:
    return base64.b64encode(np.asarray(values).astype(kind).tobytes()).decode()


def unpacked(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind)


# --- in a browser ---------------------------------------------------------------------------------------------------


def colours(page: Any, canvas: str) -> int:
    """Count the colours of a canvas."""
    code = """(c) => {
        const pixels = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
        return new Set(new Uint32Array(pixels.buffer)).size;
    }"""
    return page.locator(canvas).first.evaluate(code)


def picture(page: Any) -> str:
    return page.locator("#map").evaluate("(c) => c.toDataURL()")


def labels(page: Any) -> list[str]:
    return [tile.get_attribute("aria-label") for tile in page.locator(".tile").all()]


def test_a_run_is_watched(local: Any, fields: list[str], tmp_path: Path, page: Any) -> None:
    gate = tmp_path / "gate"
    page.set_default_timeout(120_000)
    page.goto(local.live_page)
    assert page.locator("h1").inner_text() == "No run yet"
    a = experiment(tmp_path / "first", fields, local, gate)
    thread = in_thread(a)
    page.locator('.tile.running[aria-label$="roi002: running"]').wait_for()
    page.get_by_role("button", name="cell1, roi000: done, map of diffusivity").wait_for()
    page.get_by_role("button", name="cell1, roi001: failed").wait_for()
    page.locator("#ended", has_text="5 of 6 2 failed").wait_for()
    assert page.locator("h1").inner_text() == "first"
    assert page.locator('.tile[aria-label*="roi000"] .sign').first.inner_text() == "✓"
    assert colours(page, '.tile[aria-label*="map of"] canvas') > 20
    # messages are a person's text
    summary = page.locator("#failure-list summary")
    assert summary.inner_text().endswith(f"ValueError: {MESSAGE}")
    summary.click()
    assert "Traceback" in page.locator("#failure-list pre").inner_text()
    assert page.locator("img").count() == 0
    # a click enlarges, a choice of variable changes the picture
    page.get_by_role("button", name="cell1, roi000: done").click()
    assert page.locator("#large-title").inner_text() == "cell1 · roi000"
    before = picture(page)
    page.select_option("#large-variable", "potential")
    assert picture(page) != before
    page.select_option("#large-variable", "force")
    assert "Map of force amplitude (kT µm⁻¹)" in page.locator("#map").get_attribute("aria-label")
    assert "potential (kT)" in page.locator("#numbers").inner_text()
    page.locator("#more summary").click()
    assert page.locator("#cells tbody tr").count() == int(
        page.locator("#numbers th").first.inner_text().split()[0]
    )
    page.keyboard.press("Escape")
    # so does the keyboard, from tile to tile
    page.locator('.tile[aria-label^="cell0, roi000"]').focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert page.locator("#large-title").inner_text() == "cell0 · roi001"
    assert MESSAGE in page.locator("#told").inner_text()
    page.keyboard.press("Escape")
    assert "roi001" in page.evaluate("document.activeElement.getAttribute('aria-label')")
    # what was seen is there after a reload
    page.reload()
    page.get_by_role("button", name="cell1, roi000: done, map of diffusivity").wait_for()
    page.locator("#ended", has_text="5 of 6 2 failed").wait_for()
    gate.touch()
    page.get_by_text("finished; began at").wait_for()
    thread.join()
    assert page.locator("#said").inner_text() != ""
    assert page.locator("#ended").inner_text() == "6 of 6 2 failed"
    # a second run, half of which was done before, comes by itself
    b = experiment(tmp_path / "second", fields[:1], local)
    b.run(progress=False)
    assert b.run(progress=False).skipped == 2
    page.get_by_role("button", name="cell0, roi002: done before, map of diffusivity").wait_for()
    assert page.locator("h1").inner_text() == "second"
    page.select_option("#run", index=0)
    page.get_by_role("button", name="cell1, roi002: done, map of diffusivity").wait_for()
    assert page.locator("h1").inner_text() == "first"


def test_a_thousand_regions(bare: Any, page: Any) -> None:
    many = Many(20, 100, 1_000)
    Watch(bare).begin(many)
    page.set_default_timeout(120_000)
    page.goto(page_address(bare.dashboard_link))
    page.locator("#state").get_by_text("running").wait_for()
    page.wait_for_function("document.querySelectorAll('.tile.done').length === 1000")
    assert page.locator(".tile.waiting").count() == 1_000
    assert page.locator(".tile canvas").count() == 0  # signs first
    page.click("#as-maps")
    page.get_by_role("button", name="file000, roi000: done, map of diffusivity").wait_for()
    drawn = page.locator('.tile[aria-label*="map of"]').count()
    assert 0 < drawn < 400  # only those in sight
    page.locator("#legend button", has_text="waiting").click()
    assert page.locator(".tile:visible").count() == 1_000
    assert page.locator(".file:visible").count() == 10
    page.locator("#legend button", has_text="waiting").click()
    # a look at one unit that has ended touches one tile, its file and the figures
    page.evaluate(
        """() => {
            window.touched = 0;
            const count = (records) => { window.touched += records.length; };
            new MutationObserver(count).observe(document.body, { subtree: true, childList: true, attributes: true });
        }"""
    )
    many.ended = 1_001
    page.get_by_role("button", name="file010, roi000: done").wait_for()
    assert page.evaluate("window.touched") < 300


# texts whose contrast with what is under them is below that of WCAG AA
CONTRAST = """() => {
  const parse = (c) => c.match(/[\\d.]+/g).map(Number);
  const linear = (v) => v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const under = (e) => {
    for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] > 0.99) return c;
    }
    return [255, 255, 255];
  };
  const poor = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement, text = walker.currentNode.data.trim();
    if (!text || !e.checkVisibility() || e.closest("option, .unseen, .skip")) continue;
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(under(e))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) poor.push([text, e.className, (a + 0.05) / (b + 0.05)]);
  }
  return poor;
}"""
UNNAMED = """[...document.querySelectorAll('button, select, input, canvas:not([aria-hidden])')]
  .filter((e) => e.checkVisibility() && !e.getAttribute('aria-label') && !e.textContent.trim())
  .filter((e) => !e.closest('label')?.textContent.trim() && !e.closest('button'))
  .map((e) => e.outerHTML)"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_read_it(bare: Any, page: Any, scheme: str) -> None:
    many = Many(1, 9, 0)
    states = ["waiting", "done", "flagged", "failed", "done before"]
    many.name = f"states-{scheme}"
    many.about["units"] = [
        [0, f"roi{i}", 0, s, *([1.0, "h", 1.0, ["why", ""]] if i else [])] for i, s in enumerate(states)
    ]
    Watch(bare).begin(many)
    page.emulate_media(color_scheme=scheme)
    page.goto(page_address(bare.dashboard_link))
    page.locator(".tile.failed").wait_for()
    for view in ("#as-maps", "#as-status"):
        page.click(view)
        assert page.evaluate(CONTRAST) == []
    words = ["waiting", "done", "done, flagged", "failed", "done before"]
    assert labels(page) == [f"file000, roi{i}: {w}" for i, w in enumerate(words)]
    signs = [tile.inner_text() for tile in page.locator(".tile").all()]
    assert signs == ["·", "✓", "!", "✕", "✓"]
    # each control has a name, and each can be reached by Tab
    assert page.evaluate(UNNAMED) == []
    page.locator("#as-maps").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className").startswith("tile")
    assert page.locator('[aria-live="polite"]').count() == 1


# --- without a browser ------------------------------------------------------------------------------------------------


def test_nobody_looks_and_nothing_is_sent(local: Any, fields: list[str], tmp_path: Path) -> None:
    address = local.live_page
    a = experiment(tmp_path / "unseen", fields, local)
    topic = local._watch.topic
    before = len(local.client.get_events(topic))
    a.run(progress=False)
    assert len(local.client.get_events(topic)) == before
    # but what the end was is there, without a question
    told = until(lambda: (t := get(f"{address}/state"))["ended"] and t, "the end of the run")
    assert len(local.client.get_events(topic)) == before
    assert (told["how"], sorted(row[1] for row in told["changes"])) == (
        "finished",
        ["done"] * 4 + ["failed"] * 2,
    )
    assert told["about"]["title"] == "unseen"
    maps = get(f"{address}/maps?run={told['run']}&units=0,1,2")
    assert len(local.client.get_events(topic)) == before + 1
    assert [len(maps[i]) for i in "012"] == [1, 0, 1]


def test_requests_that_make_no_sense(local: Any, fields: list[str], tmp_path: Path) -> None:
    address = local.live_page
    experiment(tmp_path / "odd", fields, local).run(progress=False)
    run = get(f"{address}/state")["run"]
    assert "units" in get(f"{address}/maps?run={run}&units=a", 400)
    get(f"{address}/maps?run={run}", 400)
    get(f"{address}/maps?run={run}&units={','.join(['1'] * 100)}", 400)
    get(f"{address}/maps?run={run}&units=1&segment=x", 400)
    assert get(f"{address}/maps?run={run}&units=999") == {}
    get(f"{address}/maps?run=<script>&units=1", 404)
    get(f"{address}/state?run={run}&since=x", 400)
    # a run that is not known any more gives way to the last one
    assert get(f"{address}/state?run=gone&since=5")["about"]["title"] == "odd"
    with urllib.request.urlopen(address) as answer:
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "http" not in answer.read().decode().replace("http://www.w3.org/2000/svg", "")


def test_the_page_is_where_the_dashboard_is() -> None:
    from distributed import Client, LocalCluster

    # its secret prefix keeps it
    with (
        LocalCluster(scheduler_kwargs={"http_prefix": "se.cret"}, **ALONE) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        assert Watch(client).shown
        root = f"http://127.0.0.1:{cluster.scheduler.http_server.port}"
        assert "<h1" in get(f"{root}/se.cret/tramway")
        assert "<h1" in get(f"{root}/se.cret/tramway/")
        assert 'href="tramway"' in get(f"{root}/se.cret/status")
        for wrong in ("/tramway", "/tramway/state", "/sexcret/tramway", "/x/tramway"):
            get(root + wrong, 404)
    # a server without dashboard may listen to everybody: no page there
    with (
        LocalCluster(scheduler_kwargs={"dashboard": False}, **ALONE) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        env = GivenClient(client)
        assert env.live_page == ""
        env.show(Many(1, 1, 0))
        get(f"http://127.0.0.1:{cluster.scheduler.http_server.port}/tramway", 404)


def test_scheduler_without_bokeh(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from distributed import Client, LocalCluster

    monkeypatch.setitem(sys.modules, "distributed.dashboard.scheduler", None)
    modules = list(dask.config.get("distributed.scheduler.http.routes"))
    with (
        dask.config.set({"distributed.scheduler.http.routes": modules}),
        LocalCluster(**ALONE) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        Watch(client).begin(Many(1, 3, 2))
        address = f"http://127.0.0.1:{cluster.scheduler.http_server.port}/tramway"
        assert "Dask needs" in get(address.replace("tramway", "status"))
        assert len(get(f"{address}/state")["changes"]) == 2


def test_a_client_that_is_gone(bare: Any) -> None:
    from distributed import Client

    with Client(bare.scheduler.address, set_as_default=False) as other:
        many = Many(2, 2, 1)
        many.name = "left"
        Watch(other).begin(many)
        address = page_address(bare.dashboard_link)
        assert get(f"{address}/state?run=left")["connected"]
    began = time.perf_counter()
    told = until(
        lambda: not (t := get(f"{address}/state?run=left"))["connected"] and t, "the end of the client"
    )
    assert len(told["changes"]) == 1
    assert get(f"{address}/maps?run=left&units=2") == {}
    assert time.perf_counter() - began < 60


def test_a_page_is_no_reason_to_stop(
    local: Any, fields: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LiveRun, "begin", lambda self: {"run": 1 / 0})
    assert experiment(tmp_path, fields[:1], local).run(progress=False).done == 2


def test_submitted_units_are_shown(local: Any, fields: list[str], tmp_path: Path) -> None:
    address = local.live_page
    futures = experiment(tmp_path / "submitted", fields, local).submit()
    told = until(lambda: (t := get(f"{address}/state"))["ended"] and t, "the end of what was submitted")
    assert told["about"]["title"] == "submitted"
    assert len(told["changes"]) == len(futures) == 6


def test_a_client_of_ones_own(bare: Any) -> None:
    assert GivenClient(bare).live_page == page_address(bare.dashboard_link)
    assert page_address(None) == ""


# --- maps -------------------------------------------------------------------------------------------------------------


def made(folder: Path, **settings: Any) -> tuple[td.RWAnalyzer, dict[int, Any]]:
    """Run in this process; return the analyzer and its units."""
    a = analyzer(folder, **{"mapper": td.models.DV(diffusivity_prior=1.0, potential_prior=1.0), **settings})
    a.pipeline.append_stage(td.stages.tessellate())
    a.pipeline.append_stage(td.stages.infer("m"))
    a.run(progress=False)
    return a, dict(enumerate(a.plan().units))


@pytest.mark.parametrize("keep_parts", [True, False])
def test_maps_are_those_of_the_results(
    tmp_path: Path, keep_parts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if keep_parts:
        monkeypatch.setattr(td.Store, "merge", lambda self, source: None)
    a, units = made(tmp_path)
    assert keep_parts == (tmp_path / ".parts" / "field0").exists()
    maps = {i: json.loads(text) for i, text in maps_of_units(a.results, units, 0).items()}
    monkeypatch.undo()
    for source in a.results.pending():
        a.results.merge(source)
    table, cells = a.maps("m"), a.results.table("segmentation", "cells").to_pandas()
    for i, unit in units.items():
        (entry,) = maps[i]
        place = (table["source"] == unit.task.source) & (table["roi"] == unit.task.region)
        here = cells[(cells["source"] == unit.task.source) & (cells["roi"] == unit.task.region)]
        assert entry["cells"] == len(here)
        values = {v["name"]: v for v in entry["variables"]}
        np.testing.assert_array_equal(unpacked(values["n"]["values"], "<f4"), here["n"])
        outline = np.vstack(here["polygon"].iloc[0])
        sizes, points = unpacked(entry["sizes"], "<u2"), unpacked(entry["points"], "<u2").reshape(-1, 2)
        assert sizes.sum() == len(points)
        np.testing.assert_allclose(
            points[: sizes[0]] * entry["step"] + entry["low"], outline, atol=entry["step"]
        )
        if unit.task.name == "tessellate":
            assert (entry["name"], list(values)) == ("cells", ["n"])
            continue
        assert entry["name"] == "m"
        assert list(values) == ["diffusivity", "potential", "force", "n"]
        mapped = here["cell"].isin(table[place]["cell"]).to_numpy()
        for name in ("diffusivity", "potential"):
            found = unpacked(values[name]["values"], "<f4")
            np.testing.assert_array_equal(found[mapped], table[place][name].astype("f4"))
            assert np.isnan(found[~mapped]).all()
            errors = unpacked(values[name]["errors"], "<f4")[mapped]
            np.testing.assert_array_equal(errors, table[place][f"{name} se"].astype("f4"))
        vectors = unpacked(values["force"]["vectors"], "<f4").reshape(-1, 2)[mapped]
        np.testing.assert_array_equal(vectors, table[place][["force x", "force y"]].astype("f4"))


def test_maps_of_time_segments(tmp_path: Path) -> None:
    a, units = made(tmp_path, mapper=td.models.D(), time=td.time.SlidingWindow(duration=1.0))
    table = a.maps("m")
    last = {i: u for i, u in units.items() if u.task.name == "infer"}
    seen = []
    for segment in (0, 2, 99):
        (i, text), *_ = maps_of_units(a.results, last, segment).items()
        (entry,) = json.loads(text)
        task, times = last[i].task, entry["times"]
        assert (times["segments"], times["segment"]) == (3, min(segment, 2))
        rows = table[(table["source"] == task.source) & (table["roi"] == task.region)]
        rows = rows[rows["segment"] == times["segment"]]
        assert times["bounds"] == [rows["t min"].iloc[0], rows["t max"].iloc[0]]
        found = unpacked(entry["variables"][0]["values"], "<f4")
        np.testing.assert_array_equal(
            np.sort(found[np.isfinite(found)]), np.sort(rows["diffusivity"].astype("f4"))
        )
        seen.append(entry)
    assert seen[1] == seen[2] != seen[0]


def test_maps_of_cells_without_outline(tmp_path: Path) -> None:
    data = [walk(i, box=((0, 0, 0), (1, 1, 1)), count=60) for i in range(1)]
    boxes = pd.DataFrame(
        [[0.0, 0.0, 0.0, 1.0, 1.0, 1.0]], columns=["x min", "y min", "z min", "x max", "y max", "z max"]
    )
    a = analyzer(
        tmp_path, data, roi=None, tesseller=td.tessellers.Squares(resolution=0.5), mapper=td.models.D()
    )
    a.roi.from_bounding_boxes(boxes)
    a.pipeline.append_stage(td.stages.tessellate_and_infer("m"))
    a.run(progress=False)
    (entry,) = json.loads(maps_of_units(a.results, dict(enumerate(a.plan().units)), 0)[0])
    assert (entry["dimension"], entry["sizes"]) == (3, "")
    assert len(unpacked(entry["points"], "<u2")) == 2 * entry["cells"]
    assert entry["variables"][-1]["label"] == "translocations per cell"


def test_maps_that_cannot_be_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, units = made(tmp_path)
    monkeypatch.setattr("tramway_dask.pipeline.livemaps.MOST_CELLS", 3)
    assert "too many" in json.loads(maps_of_units(a.results, units, 0)[0])[0]["note"]
    assert MOST_CELLS > 3
    monkeypatch.undo()
    (tmp_path / "segmentation" / "cells" / "field0.parquet").write_bytes(b"PAR1 is not")
    (entry,) = json.loads(maps_of_units(a.results, units, 0)[0])
    assert entry["note"].startswith("cannot be shown: cannot read")


def test_what_is_kept_of_maps_is_bounded() -> None:
    maps = Maps(limit=10)
    maps.put("a", 0, {1: "12345", 2: "12345"})
    maps.put("a", 0, {2: "1234"})
    maps.put("b", 1, {1: "123"})
    assert maps.size <= 10
    assert [maps.get("a", 1, 0), maps.get("a", 2, 0), maps.get("b", 1, 1)] == [None, "1234", "123"]
    maps.drop("a")
    assert maps.size == 3


# --- states -----------------------------------------------------------------------------------------------------------


def test_changes_since(tmp_path: Path) -> None:
    a = experiment(tmp_path, [walk(0), walk(1)], None)
    plan = a.plan()
    over: list[Any] = []
    live = LiveRun(plan, a.results, over=over.append)
    tasks = [u.task for u in plan.units]
    live.advance(UnitResult(tasks[0], seconds=0.25, host="node1:7"))
    live.advance(UnitResult(tasks[1], warnings=("UserWarning: <odd>",), remarks=("not converged",)))
    told = live.changes(-1)
    assert told["version"] == 2
    assert [(row[0], row[1], row[5]) for row in told["changes"]] == [
        (0, "done", []),
        (1, "flagged", ["not converged\nUserWarning: <odd>"]),
    ]
    assert [row[0] for row in live.changes(1)["changes"]] == [1]
    assert live.changes(2)["changes"] == []
    # what is not done has no map to be read
    assert list(live.maps([0, 5, 99], 0)) == [0]
    live.close()
    assert over == [live]
    assert live.changes(2)["how"] == "stopped"
    # interrupted, it may go on
    live.advance(UnitResult(tasks[2]))
    assert (live.changes(2)["ended"], live.changes(2)["how"]) == (None, "")
    run = Run({**live.begin(), "run": "r", "topic": "t", "client": "c"})
    run.take(**{k: v for k, v in told.items() if k != "how"}, how="")
    assert [row[0] for row in run.changes(-1)] == [0, 1]
    assert run.changes(2) == []


def test_what_has_not_converged_is_flagged() -> None:
    selected = {"flags": {"diffusivity_prior": "upper limit"}}
    attrs = {"attrs": {"converged": False, "message": "no step", "prior_selection": selected}}
    assert list(remarks(Record("s", "m", "r", {}, attrs))) == [
        "maps 'm' have not converged: no step",
        "diffusivity_prior: upper limit",
    ]
    assert (
        list(remarks(Record("s", "m", "r", {}, {"attrs": {"converged": True, "prior_selection": None}})))
        == []
    )
