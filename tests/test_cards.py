"""What a notebook shows: every object says what it is, quickly, safely, and without computing anything."""

from __future__ import annotations

import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cases import analyzer, walk, write_fields

import tramway_dask as td
from tramway_dask import cards, environments
from tramway_dask.inference.maps import Maps
from tramway_dask.pipeline.report import RunReport
from tramway_dask.pipeline.work import Failure, UnitResult, UnitTask
from tramway_dask.segmentation.partition import Partition
from tramway_dask.thumbnails import MOST_OUTLINES, thumbnail

EVIL = "<script>alert('x')</script>&\"µ"
VOID = {"img", "br", "hr"}


class Page(HTMLParser):
    """Elements and words of a page; an element that is not closed is an error."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.tags == [], f"not closed: {self.tags}"

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.tags.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.found if name == tag]


def shown(thing: Any, *, within: float = 0.3, size: int = 120_000) -> Page:
    """Return what a notebook shows of a thing."""
    began = time.process_time()
    html = thing._repr_html_()
    assert time.process_time() - began < within
    assert len(html) < size
    assert "cannot be shown" not in html, html
    html.encode()
    page = Page(html)
    assert not page.all("script")
    for _, attrs in page.found:
        assert not any(name.startswith("on") for name in attrs)
        assert "://" not in str(attrs.get("src", ""))
    for image in page.all("svg") + page.all("img"):
        assert image.get("aria-label") or image.get("alt")
    assert repr(thing)
    return page


@pytest.fixture
def made(tmp_path: Path) -> td.RWAnalyzer:
    a = analyzer(tmp_path / EVIL.replace("/", ":"), mapper=td.models.DV(diffusivity_prior=7.5))
    a.pipeline.append_stage(td.stages.tessellate_and_infer(map_label=EVIL))
    return a


def maps_of(a: td.RWAnalyzer) -> tuple[Partition, Maps]:
    partition = a.sampler.sample(walk())
    return partition, a.mapper.infer(partition)


def test_empty_analyzer() -> None:
    a = td.RWAnalyzer()
    page = shown(a)
    for words in (
        "not ready to run",
        "a.spt_data.from_files",
        "append_stage",
        "not chosen",
        "in this process",
    ):
        assert words in page.text
    assert repr(a).count("missing for a run") == 2
    for part in (a.spt_data, a.roi, a.tesseller, a.mapper, a.time, a.sampler, a.pipeline, a.results):
        shown(part)
    a.pipeline.append_stage(td.stages.tessellate_and_infer())
    assert "a tesseller, as in" in shown(a).text
    assert "a mapper, as in" in repr(a)
    a.pipeline.reset()
    a.pipeline.append_stage(td.stages.tessellate())
    assert "mapper, as in" not in repr(a)
    assert not a.results.folder.exists()


def test_analyzer(made: td.RWAnalyzer) -> None:
    made.env = environments.LocalHost(worker_count=3)
    page = shown(made)
    for words in (
        "ready to run",
        "diffusivity_prior=7.5",
        "resolution=0.15",
        "not started",
        "nothing yet",
        "0.01 µm",
    ):
        assert words in page.text, words
    assert "missing" not in repr(made)
    assert not made.env.is_running
    assert made.spt_data[0]._translocations is None
    assert "7.5" in shown(made.mapper).text
    assert "it starts with the first run" in shown(made.env).text


def test_plan_and_report(made: td.RWAnalyzer) -> None:
    assert "4 to do" in shown(made.plan()).text
    report = made.run(progress=False)
    assert "4 done" in shown(report).text
    assert "4 done before" in shown(made.plan()).text
    assert EVIL in shown(made.results).text
    assert EVIL in shown(made).text
    source = made.spt_data[0]
    partition = next(iter(source.roi.as_support_regions())).get_sampling()
    page = shown(partition)
    assert "roi000" in page.text
    assert len(page.all("svg")) == 1
    page = shown(partition.get_child(EVIL))
    assert "kT/µm" in page.text
    assert str(page.all("svg")[0]["aria-label"]).startswith("Map of diffusivity, ")


def test_text_of_users_is_escaped(tmp_path: Path, made: td.RWAnalyzer) -> None:
    (tmp_path / "data").mkdir()
    name = EVIL.replace("/", ":") + ".trxyt"
    Path(write_fields(tmp_path / "data", 1)[0]).rename(tmp_path / "data" / name)
    a = td.RWAnalyzer(results=tmp_path / "r")
    a.spt_data.from_ascii_files(str(tmp_path / "data" / "*"), alias=lambda path: EVIL)
    a.spt_data[0].condition = EVIL
    a.roi.from_squares([[0.5, 0.5]], 0.5, label=EVIL)
    a.mapper = td.mapper.from_callable(lambda cells, option=EVIL: None, option=EVIL + EVIL)
    for thing in (a, a.spt_data, a.spt_data[0], a.roi, a.spt_data[0].roi, a.mapper):
        assert "script>" in shown(thing).text
    task = UnitTask("u", "k", 0, EVIL, EVIL, EVIL)
    report = RunReport(Path(EVIL), warnings=[EVIL], units_of_data={EVIL: EVIL})
    report.add(UnitResult(task, failure=Failure(EVIL, EVIL * 1000)))
    assert shown(report).text.count("script>") > 6
    partition, maps = maps_of(made)
    partition.param["roi"] = {"label": EVIL}
    assert EVIL in shown(partition).text
    other = Maps(
        maps.table.rename(columns={"diffusivity": EVIL}), EVIL, attrs={"converged": False, "message": EVIL}
    )
    assert EVIL in shown(other).text
    # a file name that is no text
    a.spt_data.from_dataframe(walk(), alias="caf\udce9")
    shown(a.spt_data)


def test_thousands_of_regions(tmp_path: Path) -> None:
    centers = np.random.default_rng(0).random((1000, 2))
    a = analyzer(tmp_path, [walk()], roi=td.roi.from_squares(centers, 0.1))
    a.pipeline.append_stage(td.stages.tessellate())
    plan = a.plan()
    assert len(plan) == 1000
    plan.units *= 20
    page = shown(plan, size=20_000)
    assert "20,000 to do" in page.text
    assert "… and 19,980 more" in page.text
    assert len(page.all("tr")) < 40
    report = RunReport(tmp_path)
    for unit in plan:
        report.add(UnitResult(unit.task, failure=None if unit.task.index else Failure("OSError", "gone")))
    page = shown(report, size=30_000)
    assert "20 failed" in page.text
    assert "19,980 done" in page.text
    for thing in (a, a.spt_data, a.roi):
        shown(thing, size=20_000)


def test_pictures_are_bounded(made: td.RWAnalyzer) -> None:
    made.tesseller.resolution = 0.01
    partition = made.sampler.sample(walk())
    assert partition.number_of_cells > MOST_OUTLINES
    page = shown(partition, size=80_000)
    assert str(page.all("img")[0]["src"]).startswith("data:image/png;base64,")
    rng = np.random.default_rng(0)
    for dimension, count in ((2, 5), (3, 10**5)):
        page = Page(thumbnail(rng.random((count, dimension)), rng.random(count), label="n"))
        assert 0 < len(page.all("circle")) <= MOST_OUTLINES
    assert thumbnail(np.empty((0, 2)), np.empty(0), label="n") == ""


@pytest.mark.parametrize("spoilt", [np.nan, np.inf, -np.inf])
def test_maps_without_values(made: td.RWAnalyzer, spoilt: float) -> None:
    _, maps = maps_of(made)
    columns = maps.variables
    maps.table[columns] = spoilt
    page = shown(maps)
    assert "no cell has a value" in page.text
    one = Maps(pd.DataFrame({"diffusivity": [0.5]}), "d")
    assert "0.5" in shown(one).text
    shown(Maps(pd.DataFrame(), "d"))
    shown(Maps(pd.DataFrame({"kind": ["a", "b"]}), "d"))


def test_colours_tell_values(made: td.RWAnalyzer) -> None:
    partition = made.sampler.sample(walk())
    values = np.arange(partition.number_of_cells, dtype=float)
    page = Page(partition.picture(values, "v", unit="µm"))
    fills = {path["fill"] for path in page.all("path")}
    assert {"#440154", "#fde725"} <= fills
    assert f"v: 0 to {len(values) - 1} µm" in page.text
    values[3] = np.nan
    assert "1 cells without a value" in Page(partition.picture(values, "v")).text
    signed = Page(partition.picture(values - 5, "v", signed=True))
    assert "zero in white" in signed.text


def test_the_png_is_one(made: td.RWAnalyzer) -> None:
    import base64
    import io

    from matplotlib.image import imread

    centers = np.column_stack([g.ravel() for g in np.meshgrid(np.arange(50.0), np.arange(40.0))])
    picture = thumbnail(
        centers, centers[:, 0], label="x", vertices=centers, offsets=np.arange(len(centers) + 1)
    )
    source = str(Page(picture).all("img")[0]["src"])
    image = imread(io.BytesIO(base64.b64decode(source.partition(",")[2])))
    assert image.shape[2] == 4
    # violet at the left, yellow at the right
    assert image[:, 0, 0].mean() < 0.3 < 0.9 < image[:, -1, 0].mean()


def test_a_broken_object_is_shown_nevertheless() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError(EVIL)

        @cards.guarded
        def _repr_html_(self) -> str:
            return f"{self!r}"

    page = Page(Broken()._repr_html_())
    assert EVIL in page.text
    assert "Broken object" in page.text

    class WorseError(RuntimeError):
        def __str__(self) -> str:
            raise ValueError

    class Component:
        @cards.guarded
        def _repr_html_(self) -> str:
            raise WorseError

    Page(Component()._repr_html_())


def test_links_lead_to_pages_only() -> None:
    assert "href" in cards.link("http://127.0.0.1:1/status")
    assert "href" not in cards.link(f"javascript:{EVIL}")
    assert "<script" not in cards.link(f'http://x/{EVIL}"')


def test_badges_have_contrast() -> None:
    def luminance(color: str) -> float:
        parts = [c / 255 for c in bytes.fromhex(color.removeprefix("#"))]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    for color in cards.KINDS.values():
        assert 1.05 / (luminance(color) + 0.05) > 4.5
    assert set(cards.SIGNS) == set(cards.KINDS)


def test_without_matplotlib_and_notebook() -> None:
    """Nothing is drawn with matplotlib, and neither IPython nor ipywidgets is needed."""
    code = """
import sys
for name in ("matplotlib", "IPython", "ipywidgets"):
    sys.modules[name] = None
sys.path.insert(0, sys.argv[1])
from cases import analyzer, walk
a = analyzer("nowhere")
partition = a.sampler.sample(walk())
assert "<svg" in partition._repr_html_()
assert "<svg" in a.mapper.infer(partition)._repr_html_()
assert "ready" in a._repr_html_()
from tramway_dask.pipeline.progress import Progress
bar = Progress(2)
bar.show(1, 1)
bar.close()
"""
    folder = str(Path(__file__).parent)
    ended = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "2/2" in ended.stderr
    assert "1 failed" in ended.stderr


def test_environments() -> None:
    for name in environments.__all__:
        kind = getattr(environments, name)
        if isinstance(kind, type) and issubclass(kind, environments.Environment) and name != "GivenClient":
            assert "not started" in shown(kind()).text
