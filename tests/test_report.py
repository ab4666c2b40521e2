"""The page about a results folder: what it tells, for whom it can be read, and what bad input gets."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import tramway_dask as td
from tramway_dask.cli import main
from tramway_dask.errors import SpecificationError, StoreError
from tramway_dask.inference.maps import Maps
from tramway_dask.reporting import write_report
from tramway_dask.reporting.contents import read_contents
from tramway_dask.reporting.markup import Markup, element, table
from tramway_dask.reporting.methods import methods

EVIL = "<img src=x onerror=alert(1)> & \"co'"


def walk(seed: int = 0, count: int = 40, steps: int = 25, size: float = 2.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    start = rng.uniform(0, size, (count, 1, 2))
    places = start + np.cumsum(rng.normal(0, 0.08, (count, steps, 2)), axis=1)
    made = pd.DataFrame(places.reshape(-1, 2), columns=["x", "y"])
    made.insert(0, "n", np.repeat(np.arange(count), steps))
    return made.assign(t=np.tile(np.arange(steps) * 0.05, count))


def fragile(a: Any) -> None:
    for region in a.roi.as_support_regions():
        if region.label == "roi001":
            raise ValueError(f"no luck with {EVIL}\nsecond line")


def analyzer(folder: Path, files: int = 2, **parts: Any) -> td.RWAnalyzer:
    parts = {"tesseller": td.tessellers.Squares(resolution=0.5), "mapper": td.models.DD(), **parts}
    a = td.RWAnalyzer(results=folder / "results", **parts)
    a.spt_data.from_dataframes([walk(i) for i in range(files)])
    a.spt_data.localization_precision = 0.02
    return a


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the results of a run of 4 files in two conditions, 2 regions and one without data, with failures."""
    there = tmp_path_factory.mktemp("run")
    a = analyzer(there, 4, time=td.time.SlidingWindow(duration=0.6), sampler=td.sampler.Knn(8))
    a.mapper = td.models.DD(diffusivity_prior=2.0)
    for i, source in enumerate(a.spt_data):
        source.condition = "wild type" if i % 2 else EVIL
    a.roi.from_squares(centers=[[0.5, 0.5], [1.5, 1.5], [9.0, 9.0]], side=1.0)
    a.pipeline.append_stage(td.stages.tessellate_and_infer(map_label="dd"))
    a.pipeline.append_stage(fragile, granularity="roi")
    report = a.run(progress=False)
    assert report.failed == 12
    assert report.to_html() == there / "results" / "report.html"
    return there / "results"


@pytest.fixture(scope="module")
def html(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def test_elements_escape_text_and_attributes() -> None:
    assert element("p", EVIL, title=EVIL) == (
        '<p title="&lt;img src=x onerror=alert(1)&gt; &amp; &quot;co&#x27;">'
        "&lt;img src=x onerror=alert(1)&gt; &amp; \"co'</p>"
    )
    assert element("br") == "<br>"
    assert element("p", Markup("<b>x</b>"), None, hidden=True, id=None) == "<p hidden><b>x</b></p>"
    made = table("t", ["a", "b"], [["x", 1]], numbers=[1])
    assert '<th scope="col">a</th>' in made
    assert '<th scope="row">x</th><td class="number">1</td>' in made


def test_contents_tell_of_each_unit(folder: Path) -> None:
    contents = read_contents(td.Store(folder))
    assert contents.counts() == {"done": 8, "skipped": 0, "flagged": 0, "failed": 12, "missing": 0}
    done = contents.units[contents.units["status"] == "done"]
    assert (done["seconds"] > 0).all()
    assert (done["cells"] > 0).all()
    assert contents.translocations["table000"].keys() == {"roi000", "roi001"}
    store = td.Store(folder)
    partition = store.table("segmentation", "assignment", "table000").to_pandas()
    of = partition[partition["roi"] == "roi000"]["translocation"].nunique()
    assert contents.translocations["table000"]["roi000"] == of
    assert contents.group("table001", "condition") == "wild type"


def test_page_is_alone_and_escaped(html: str) -> None:
    assert "<script" not in html
    assert "<img src=x" not in html
    assert "&lt;img src=x onerror=alert(1)&gt;" in html
    loaded = re.findall(r'(?:src|href)="(?!data:|#|https://doi\.org/)([^"]*)"', html)
    assert loaded == []
    assert "url(" not in html


def test_page_tells_what_is_asked_for(html: str) -> None:
    text = re.sub(r"<[^>]+>", " ", html)
    assert "Knn" in text and "0.5 µm" in text  # parameters
    assert f"tramway_dask {td.__version__}" in text and "pyarrow" in text  # versions
    assert "no translocation starts there" in text and "second line" in text  # failures, tracebacks
    assert "diffusivity (µm²/s)" in text and "drift amplitude (µm/s)" in text
    assert "wild type −" in text  # the comparison of conditions


def test_methods_follow_the_parameters(folder: Path) -> None:
    text, works = methods(read_contents(td.Store(folder)))
    for part in (
        "a grid of rectangular cells with a distance between neighbouring centres of 0.5 µm",
        "windows of 0.6 s, one after the other",
        "at least 8 translocations",
        "the diffusivity D and the drift were inferred",
        "weights 2 (of the diffusivity in space)",
        "σ was taken as 0.02 µm",
        "12 failed",
    ):
        assert part in text, part
    cited = {int(n) for group in re.findall(r"\[([\d, ]+)\]", text) for n in group.split(",")}
    assert cited == set(range(1, len(works) + 1))
    assert any("Dask" in work for work, _ in works)


@pytest.mark.parametrize(
    ("mapper", "told"),
    [
        (td.models.DV(diffusivity_prior="auto", potential_prior=1.0), "largest evidence: median"),
        (td.models.D(jeffreys_prior=True, confidence=0.9), "at the level of 0.9"),
        (td.models.DConjugatePrior(), "conjugate prior"),
        (td.models.Density(), "density of translocations"),
    ],
)
def test_methods_of_other_models(tmp_path: Path, mapper: Any, told: str) -> None:
    a = analyzer(tmp_path, 1, mapper=mapper)
    a.pipeline.append_stage(td.stages.tessellate_and_infer(map_label="m", discard_static=False))
    assert a.run(progress=False).ok
    text, _ = methods(read_contents(a.results))
    assert told in text
    assert "were left out" not in text


def test_later_run_and_lost_region(tmp_path: Path) -> None:
    a = analyzer(tmp_path, 2)
    a.pipeline.append_stage(td.stages.tessellate_and_infer(map_label="m"))
    assert a.run(progress=False).ok
    store = a.results
    for ledger in (store.folder / ".units").glob("table000.json"):
        units = json.loads(ledger.read_text())
        for unit in units.values():
            unit["ended"] = "2020-01-01T00:00:00+00:00"
        ledger.write_text(json.dumps(units))
    (store.folder / ".units" / "table001.json").unlink()
    contents = read_contents(store)
    assert contents.counts() == {"done": 0, "skipped": 1, "flagged": 0, "failed": 0, "missing": 1}


def test_results_of_an_older_version(tmp_path: Path) -> None:
    a = analyzer(tmp_path, 1)
    a.pipeline.append_stage(td.stages.tessellate_and_infer(map_label="m"))
    assert a.run(progress=False).ok
    store = a.results
    ledger = store.folder / ".units" / "table.json"
    units = json.loads(ledger.read_text())
    for unit in units.values():
        for name in ("seconds", "ended", "host", "parameters"):
            del unit[name]
    ledger.write_text(json.dumps(units))
    (store.folder / "run.json").unlink()
    written = write_report(store, tmp_path / "r.html")
    text = written.path.read_text()
    assert "no record of runs" in text
    assert "did not record how long" in text
    (store.folder / "run.json").write_text('{"format": 99}')
    with pytest.raises(StoreError, match="newer version"):
        write_report(store)


def test_folders_that_hold_nothing(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no results folder"):
        write_report(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match="neither run.json nor tables"):
        write_report(tmp_path / "empty")
    assert not list((tmp_path / "empty").iterdir())
    a = analyzer(tmp_path, 1)
    a.roi.from_squares(centers=[[9.0, 9.0]], side=1.0)
    a.pipeline.append_stage(td.stages.tessellate_and_infer(map_label="m"))
    assert not a.run(progress=False).ok
    text = write_report(a.results).path.read_text()
    assert "There are no maps." in text
    with pytest.raises(SpecificationError, match="pictures"):
        write_report(a.results, pictures=-1)


def test_maps_of_nothing_single_cells_and_flags(tmp_path: Path) -> None:
    class Blank(td.models.D):
        def infer(self, partition: Any, *, sigma: float | None = None) -> Maps:
            table = pd.DataFrame({"odd": np.full(partition.number_of_cells, np.nan)})
            maps = Maps(table, "blank", attrs={"converged": False, "message": "went nowhere"})
            maps.parent = partition
            return maps

    a = analyzer(tmp_path, 1, tesseller=td.tessellers.Squares(resolution=2.8), mapper=Blank())
    a.pipeline.append_stage(td.stages.tessellate_and_infer(map_label="m"))
    report = a.run(progress=False)
    assert report.ok, report.failures.message.to_list()
    text = write_report(a.results).path.read_text()
    assert "no cell has a value" in text
    assert "1 cell" in text
    assert "went nowhere" in text
    assert read_contents(a.results).counts()["flagged"] == 1


def test_pictures_have_a_budget(folder: Path, tmp_path: Path) -> None:
    few = write_report(folder, tmp_path / "few.html", pictures=8)
    assert few.pictures == 8
    assert few.left_out > 0
    assert f"{few.left_out} of {few.left_out + 8} pictures are left out" in few.path.read_text()
    # a name that is no text, as of a file of another encoding
    none = write_report(folder, tmp_path / "none.html", pictures=0, title="caf\udce9")
    assert "caf?" in none.path.read_text(encoding="utf-8")
    assert none.pictures == 0
    assert none.size < few.size


def test_unreadable_table_is_told(folder: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "results"
    shutil.copytree(folder, copy)
    (copy / "segmentation" / "dd" / "table000.parquet").write_bytes(b"nothing")
    text = write_report(copy, pictures=0).path.read_text()
    assert "cannot read" in text
    assert "table001" in text


def test_page_for_everybody(page: Any, folder: Path) -> None:
    requests: list[str] = []
    page.on("request", lambda r: requests.append(r.url))
    page.goto(f"file://{folder}/report.html")
    assert [r for r in requests if not r.startswith(("file:", "data:"))] == []
    assert page.evaluate("document.documentElement.lang") == "en"
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:], strict=False))
    pictures = page.evaluate("[...document.images].map(i => [i.alt, i.naturalWidth])")
    assert len(pictures) > 40
    assert all(width > 0 for _, width in pictures)
    maps = [alt for alt, _ in pictures if alt.startswith("Map of ")]
    assert len(set(maps)) == len(maps)
    assert all(re.search(r"\(.+\) in table00\d, .*median", alt) for alt in maps)
    assert page.evaluate("[...document.querySelectorAll('th')].every(h => h.scope)")
    assert page.evaluate("[...document.querySelectorAll('th')].every(h => h.textContent.trim())")
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(set(ids)) == len(ids)
    assert page.evaluate(_CONTRAST) == []


def test_keyboard_opens_a_traceback(page: Any, folder: Path) -> None:
    page.goto(f"file://{folder}/report.html")
    shut = page.locator("#failures details:not([open]) pre").first
    assert not shut.is_visible()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the files"
    page.get_by_role("link", name="Failures").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
    page.keyboard.press("Enter")
    assert page.locator("#failures details[open] pre").first.is_visible()
    assert "Traceback" in page.locator("#failures details[open] pre").first.inner_text()


@pytest.mark.parametrize("width", [400, 1280])
def test_page_is_no_wider_than_the_window(page: Any, folder: Path, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"file://{folder}/report.html")
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_print_shows_what_is_folded(page: Any, folder: Path) -> None:
    page.goto(f"file://{folder}/report.html")
    page.emulate_media(media="print")
    hidden = "details:not([open]) pre"
    assert page.locator(hidden).first.evaluate("e => e.checkVisibility({contentVisibilityAuto: true})")


def test_command(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "my report.html"
    ended = CliRunner().invoke(
        main, ["report", str(folder), "-o", str(target), "--title", EVIL, "--pictures", "0"]
    )
    assert ended.exit_code == 0, ended.output
    assert str(target) in ended.output
    assert "left out" in ended.output
    assert "&lt;img src=x" in target.read_text()
    ended = CliRunner().invoke(main, ["report", str(tmp_path / "none")])
    assert ended.exit_code == 1
    assert "no results folder" in ended.output


# texts whose contrast with what is behind them is below 4.5 (3 where they are large)
_CONTRAST = """() => {
  const parse = c => c.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = e => {
    for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] > 0) return c;
    }
    return [255, 255, 255];
  };
  const bad = [];
  document.querySelectorAll('details').forEach(d => d.open = true);
  for (const e of document.body.querySelectorAll('*')) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    const style = getComputedStyle(e), size = parseFloat(style.fontSize);
    const [a, b] = [light(parse(style.color)), light(behind(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < (size >= 24 ? 3 : 4.5)) bad.push([e.textContent.slice(0, 40), ratio]);
  }
  return bad;
}"""
