"""Movies of maps, cells and trajectories: their pictures, files and page."""

from __future__ import annotations

import html
import re
import stat
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.animation import FuncAnimation
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.quiver import Quiver
from plot_cases import close_all, colored, in_space, in_time, made_of, walk

from tramway_dask import plot
from tramway_dask.errors import MissingDependencyError, SpecificationError, StoreError
from tramway_dask.plot.player import page, player

mpl.use("Agg")


@pytest.fixture(autouse=True)
def _closed():
    yield
    close_all()


@pytest.fixture(scope="module")
def timed():
    return in_time()


@pytest.fixture
def movie(timed):
    return plot.animate(made_of(timed), "diffusivity", figure=Figure((2, 2), dpi=40))


def test_pictures_follow_the_segments(movie, timed):
    size = timed.tessellation.spatial_mesh.number_of_cells
    ax = movie.figure.axes[0]
    assert isinstance(movie, FuncAnimation)
    assert len(movie) == 3 == len(list(movie.new_frame_seq()))
    limits = set()
    for k in (0, 2, 1):
        movie._draw_parts(k)
        assert colored(ax).get_array()[0] == pytest.approx(0.05 + 0.01 * k * size)
        assert ax.get_title() == f"{0.5 * k:g}–{0.5 * k + 0.5:g} s"
        limits.add(colored(ax).get_clim())
    assert len(limits) == 1
    few = plot.animate(made_of(timed), "force", segments=[1], overlay_locations=True, title="F")
    few._draw_parts(0)
    assert few.figure.axes[0].get_title() == "F, 0.5–1 s"
    assert any(isinstance(c, Quiver) for c in few.figure.axes[0].collections)


def test_page_holds_all_and_asks_for_nothing(movie, tmp_path):
    movie.save(tmp_path / "maps.html")
    text = (tmp_path / "maps.html").read_text()
    assert text.startswith("<!DOCTYPE html>")
    assert not re.search(r"https?://|<link|src=\"(?!data:)", text)
    assert len(re.findall("iVBORw0KGgo", text)) == 3 + 1  # the first is seen without scripts too
    assert 'alt="diffusivity, 0–0.5 s"' in text
    assert movie.to_jshtml() == movie._repr_html_()
    assert "https://" not in movie.to_jshtml()


def test_names_cannot_leave_the_page():
    evil = '</script><script>alert("x")</script> & PICTURES'
    text = page(player(["QQ=="], [evil], fps=2), evil)
    assert "<script>alert" not in text
    assert html.escape(evil) in text
    assert text.count("</script>") == 1


def test_page_in_a_browser(movie, page, tmp_path):
    movie.interval = 1e5  # stays where it is put
    movie.save(tmp_path / "maps.html")
    wanted = []
    page.on("request", lambda request: wanted.append(request.url))
    page.goto((tmp_path / "maps.html").as_uri())
    image, words = page.locator("img"), page.locator("output")
    assert words.text_content() == "1 / 3"
    page.get_by_role("button", name="Next").click()
    assert words.text_content() == "2 / 3"
    assert image.get_attribute("alt") == "diffusivity, 0.5–1 s"
    page.get_by_role("slider", name="Picture").press("ArrowRight")
    assert words.text_content() == "3 / 3"
    page.get_by_role("button", name="Back").focus()
    page.keyboard.press("Enter")
    assert words.text_content() == "2 / 3"
    assert image.evaluate("i => i.naturalWidth") > 50
    assert not [url for url in wanted if not url.startswith(("file:", "data:"))]


def test_files_of_other_formats(movie, tmp_path, monkeypatch):
    movie.save(tmp_path / "maps.gif")
    from PIL import Image

    with Image.open(tmp_path / "maps.gif") as written:
        assert written.n_frames == 3
    assert plot.save(movie, tmp_path / "again.gif").exists()
    with pytest.raises(SpecificationError, match=r"no known format of movies; known: \.html, \.gif"):
        movie.save(tmp_path / "maps.docx")
    monkeypatch.setitem(mpl.rcParams, "animation.embed_limit", 0.001)
    with pytest.raises(SpecificationError, match=r"larger than 0\.001 MB: write an \.mp4"):
        movie.save(tmp_path / "maps.html")
    assert not (tmp_path / "maps.html").exists()


def test_video_without_ffmpeg(movie, tmp_path, monkeypatch):
    monkeypatch.setitem(mpl.rcParams, "animation.ffmpeg_path", "no-such-ffmpeg")
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    for write in (lambda: movie.save(tmp_path / "maps.mp4"), movie.to_html5_video):
        with pytest.raises(MissingDependencyError, match=r"apt install ffmpeg.*\.html or \.gif"):
            write()
    assert not list(tmp_path.iterdir())


def test_video_is_what_ffmpeg_writes(movie, tmp_path, monkeypatch):
    fake = tmp_path / "ffmpeg"
    # the last argument is the file; the pictures come as pixels
    fake.write_text('#!/bin/sh\nfor last; do :; done\ncase "$1" in -version) exit 0;; esac\ncat > "$last"\n')
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setitem(mpl.rcParams, "animation.ffmpeg_path", str(fake))
    movie.save(tmp_path / "maps.mp4", dpi=40)
    assert (tmp_path / "maps.mp4").stat().st_size == 3 * 80 * 80 * 4
    fake.write_text("#!/bin/sh\ncat > /dev/null\necho no such codec >&2\nexit 1\n")
    with pytest.raises(StoreError, match="ffmpeg failed"):
        movie.save(tmp_path / "wrong.mp4", dpi=40)
    assert not (tmp_path / "wrong.mp4").exists()


def test_parts_move_together(timed):
    figure = Figure((4, 2), dpi=40)
    left, right = figure.subplots(1, 2)
    first = plot.animate(made_of(timed), "diffusivity", figure=figure, ax=left, segments=[0])
    both = plot.animate(made_of(timed), "force", figure=first, ax=right)
    assert both is first
    assert len(both) == 3
    both._draw_parts(2)
    assert (left.get_title(), right.get_title()) == ("0–0.5 s", "1–1.5 s")
    with pytest.raises(SpecificationError, match="axes each"):
        plot.animate(made_of(timed), "force", figure=both)


def test_cells_over_time(timed):
    moving = plot.animate_cells(timed, figure=Figure((2, 2)), style={"color": "red"})
    times = timed.points["t"]
    for k in range(3):
        moving._draw_parts(k)
        dots = [c for c in moving.figure.axes[0].collections if len(c.get_offsets()) > 1][-1]
        inside = (times >= 0.5 * k) & (times < 0.5 * (k + 1))
        assert len(dots.get_offsets()) == inside.sum()
    with pytest.raises(SpecificationError, match="unknown name 'colour'"):
        plot.animate_cells(timed, style={"colour": "red"})
    with pytest.raises(SpecificationError, match="expected a partition"):
        plot.animate_cells(made_of(timed))


def test_trajectories_grow_and_go():
    table = walk(count=4, steps=10)
    table.loc[table["n"] == 3, "t"] += 0.5  # begins when the others have ended
    moving = plot.animate_trajectories(table, figure=Figure((2, 2)), speed=0.5)
    assert len(moving) == 20
    assert moving.interval == pytest.approx(100.0)
    ax = moving.figure.axes[0]

    def pieces(k):
        moving._draw_parts(k)
        [lines] = [c for c in ax.collections if isinstance(c, LineCollection)]
        return len(lines.get_segments())

    assert [pieces(k) for k in (0, 1, 9, 10, 12, 19)] == [0, 3, 27, 0, 2, 9]
    assert ax.get_title() == "t = 0.95 s"
    tailed = plot.animate_trajectories(table, figure=Figure((2, 2)), tail=0.1)
    tailed._draw_parts(9)
    [lines] = [c for c in tailed.figure.axes[0].collections if isinstance(c, LineCollection)]
    assert len(lines.get_segments()) == 3 * 3
    few = plot.animate_trajectories(table, figure=Figure((2, 2)), max_frames=5)
    assert len(few) == 5
    assert "every 0.2 s" in " ".join(t.get_text() for t in few.figure.axes[0].texts)
    with pytest.raises(SpecificationError, match="tail: expected a number above 0"):
        plot.animate_trajectories(table, tail=0)


def test_what_cannot_move(timed):
    maps = made_of(timed)
    with pytest.raises(SpecificationError, match="segments: expected some of 0 to 2"):
        plot.animate(maps, segments=[7])
    with pytest.raises(SpecificationError, match="interval"):
        plot.animate(maps, interval=0)
    with pytest.raises(SpecificationError, match="did you mean 'diffusivity'"):
        plot.animate(maps, "difusivity")
    void = made_of(timed, diffusivity=np.nan)
    assert len(plot.animate(void, "diffusivity")) == 3
    assert len(plot.animate(made_of(in_space()), "force")) == 1
