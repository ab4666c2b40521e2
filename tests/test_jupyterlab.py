"""A notebook in JupyterLab, in a real browser: scale by clicking, run, interrupt, go on, plot."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from cases import write_fields

# what JupyterLab itself writes to the console, whatever the notebook
NOISE = re.compile(r"favicon|Failed to load resource: the server responded with a status of 404")

FIRST = """
import time
import pandas as pd
import tramway_dask as td

def slowly(cells):
    time.sleep(0.5)
    return pd.DataFrame({"diffusivity": [0.01 * i for i in range(len(cells))]}, index=list(cells))

a = td.RWAnalyzer(
    tesseller=td.tessellers.Hexagons(resolution=0.15),
    mapper=td.mapper.from_callable(slowly),
    stages=td.stages.tessellate_and_infer(map_label="m"),
    env=td.environments.LocalHost(worker_count=1),
)
a.spt_data.from_ascii_files("*.trxyt")
a.spt_data.localization_precision = 0.01
a.roi.from_squares([[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]], 0.5)
a
"""
CELLS = {
    "analyzer": FIRST.strip(),
    "cluster": "a.env.cluster",
    "run": "a.run(batch=1)",
    "attach": "a.attach()",
    "plot": "from tramway_dask import plot\nmaps = a.maps('m')\n"
    "ax = plot.map(maps[maps['source'] == 'cell0'], 'diffusivity')",
    "close": "a.env.close()",
}


class Lab:
    """A JupyterLab server of its own, and the page that shows the notebook."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.token = secrets.token_hex(16)
        self.url = f"http://127.0.0.1:{port}"
        self.log = folder / "lab.log"
        config = folder / "config"
        self._configure(config)
        work = folder / "work"
        work.mkdir()
        write_fields(work, 3)
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(source) for source in CELLS.values()]
        )
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
        nbformat.write(notebook, work / "n.ipynb")
        own = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "MPLCONFIGDIR")
        environ = {**os.environ, **{name: str(folder / name.lower()) for name in own}}
        environ |= {"JUPYTER_CONFIG_DIR": str(config), "JUPYTERLAB_SETTINGS_DIR": str(config / "settings")}
        environ.pop("MPLBACKEND", None)  # the notebook's own shows figures
        environ |= {"PYTHONWARNINGS": "default", "JUPYTER_PLATFORM_DIRS": "1"}
        options = ["--no-browser", "--allow-root", "--expose-app-in-browser", "--ServerApp.ip=127.0.0.1"]
        options += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={work}"]
        options += [f"--IdentityProvider.token={self.token}"]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jupyterlab", *options], env=environ, cwd=work, stdout=log, stderr=log
            )

    @staticmethod
    def _configure(config: Path) -> None:
        """Keep the page from asking for news, and have all cells in it, seen or not."""
        settings = {
            "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
            "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
        }
        for name, content in settings.items():
            path = config / "settings" / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content))

    def wait(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            try:
                with urllib.request.urlopen(f"{self.url}/api/status?token={self.token}", timeout=5):
                    return
            except OSError:
                time.sleep(0.1)
        pytest.fail(f"JupyterLab has not started: {self.log.read_text()}")

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    running = Lab(tmp_path)
    try:
        running.wait()
        yield running
    finally:
        running.close()


class Notebook:
    """The notebook in the page, by the names of its cells."""

    def __init__(self, page: Any, lab: Lab) -> None:
        from playwright.sync_api import expect

        self.page, self.expect = page, expect
        page.set_default_timeout(60_000)
        expect.set_options(timeout=60_000)
        page.goto(f"{lab.url}/lab/tree/n.ipynb?token={lab.token}")
        expect(page.locator(".jp-Notebook .jp-CodeCell")).to_have_count(len(CELLS))
        # what is run before is lost
        expect(page.locator("#jp-main-statusbar")).to_contain_text("| Idle")

    def cell(self, name: str) -> Any:
        return self.page.locator(".jp-Notebook .jp-CodeCell").nth(list(CELLS).index(name))

    def output(self, name: str) -> Any:
        return self.cell(name).locator(".jp-Cell-outputArea")

    def start(self, name: str) -> None:
        """Run a cell as a person does: click into it, Ctrl-Enter."""
        self.cell(name).locator(".cm-content").click()
        self.page.keyboard.press("Control+Enter")

    def run(self, name: str) -> None:
        """Run a cell to its end."""
        self.start(name)
        self.ended(name)

    def ended(self, name: str) -> None:
        self.expect(self.cell(name).locator(".jp-InputArea-prompt")).to_have_text(re.compile(r"\[\d+\]:"))


@pytest.fixture
def notebook(browser: Any, lab: Lab) -> Iterator[Notebook]:
    context = browser.new_context(viewport={"width": 1280, "height": 1400})
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    yield Notebook(page, lab)
    context.close()
    assert [error for error in errors if not NOISE.search(error)] == []


def scale(notebook: Notebook, workers: int) -> None:
    """Ask for workers in the widget of the cluster, and wait for them."""
    widget = notebook.output("cluster")
    number = widget.get_by_label("Workers")
    number.fill(str(workers))
    number.press("Tab")
    asked = widget.locator("td", has_text=re.compile(rf"Workers: (\d+ / )?{workers}$"))
    deadline = time.monotonic() + 60
    while not asked.count() and time.monotonic() < deadline:
        # of a busy kernel, a widget sends a click before the number that was typed before it
        widget.get_by_role("button", name="Scale").click()
        with contextlib.suppress(AssertionError):
            notebook.expect(asked).to_have_count(1, timeout=3000)
    notebook.expect(widget.locator("td", has_text=re.compile(rf"Workers: {workers}$"))).to_have_count(1)


@pytest.mark.xdist_group("cluster")
def test_scale_run_interrupt_go_on_plot(notebook: Notebook, tmp_path: Path) -> None:
    expect = notebook.expect
    pictures = os.environ.get("TRAMWAY_PICTURES")

    def picture(name: str) -> None:
        if pictures:
            notebook.page.screenshot(path=str(Path(pictures) / f"lab-{name}.png"))

    notebook.run("analyzer")
    expect(notebook.output("analyzer")).to_contain_text("ready to run")
    # the widget scales by clicking
    notebook.run("cluster")
    widget = notebook.output("cluster")
    picture("widget")
    widget.get_by_role("tab", name="Scaling").click()
    widget.get_by_text("Manual Scaling").click()
    scale(notebook, 2)
    picture("scaled")
    scale(notebook, 1)
    # a run with its bar, interrupted
    notebook.start("run")
    output = notebook.output("run")
    bar = output.locator("progress")
    expect(bar).to_have_count(1)
    expect(output).to_contain_text(re.compile(r"[1-9]\d* done"))
    picture("running")
    notebook.page.locator(
        "[data-command='notebook:interrupt-kernel'], [data-jp-item-name='interrupt'] *"
    ).first.click()
    notebook.ended("run")
    expect(output).to_contain_text("it goes on")
    expect(output).to_contain_text("KeyboardInterrupt")
    expect(output).to_contain_text("stopped with")
    notebook.run("attach")
    expect(notebook.output("attach")).to_contain_text("going on")
    picture("interrupted")
    # run again: one bar in the cell, and nothing is done twice
    notebook.run("run")
    expect(output).to_contain_text("Run report")
    expect(bar).to_have_count(1)
    expect(output).not_to_contain_text("KeyboardInterrupt")
    expect(output).to_contain_text("done before")
    picture("done")
    notebook.run("plot")
    image = notebook.output("plot").locator("img")
    expect(image).to_have_count(1)
    assert image.evaluate("image => image.complete && image.naturalWidth > 100")
    image.scroll_into_view_if_needed()
    picture("plot")
    notebook.run("close")
