"""The documentation site: built without a warning, complete, and read in a browser without any network."""

from __future__ import annotations

import http.server
import importlib
import inspect
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest

from tramway_dask.cli import main
from tramway_dask.config import DEFAULTS
from tramway_dask.environments import SingularitySlurm
from tramway_dask.environments.siteclass import site_keys
from tramway_dask.results.units import unit_of
from tramway_dask.spt_data.formats import formats

DOCS = Path(__file__).resolve().parents[1] / ".docs"
sys.path.insert(0, str(DOCS / "_ext"))
api: Any = importlib.import_module("api")
commandline: Any = importlib.import_module("commandline")

# one process builds the site
pytestmark = pytest.mark.xdist_group("docs")

MAIN = ["index", "tutorials/index", "howto/read-files", "explanation/models", "explanation/architecture",
        "explanation/hpc", "reference/inference", "reference/commands", "reference/tables", "from-tramway"]  # fmt: skip


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site, as the README says; warnings are errors."""
    folder = tmp_path_factory.mktemp("site")
    words = ["-m", "sphinx", "-q", "-W", "--keep-going", "-j", "2", "-d", str(folder / "trees")]
    environment = {**os.environ, "PYTHONWARNINGS": "default"}
    ended = subprocess.run(
        [sys.executable, *words, str(DOCS), str(folder / "html")],
        capture_output=True, text=True, timeout=400, env=environment,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-5000:]
    return folder / "html"


def inventory(html: Path) -> set[str]:
    from sphinx.util.inventory import InventoryFile

    with open(html / "objects.inv", "rb") as file:
        found = InventoryFile.load(file, "", lambda base, uri: uri)
    return {name for kind, names in found.items() if kind.startswith("py:") for name in names}


def resolve(name: str) -> Any:
    parts = name.split(".")
    # a function goes before the module of its name
    for cut in (*range(len(parts) - 1, 0, -1), len(parts)):
        try:
            value: Any = importlib.import_module(".".join(parts[:cut]))
        except ImportError:
            continue
        for part in parts[cut:]:
            value = getattr(value, part, None)
        return value
    return None


def test_every_public_name_is_in_the_reference(html: Path) -> None:
    documented = inventory(html)
    # classes and functions may be documented under another module's name
    known = {id(value) for name in documented if (value := resolve(name)) is not None}
    missing = []
    for module_name, module in api.modules().items():
        for name in module.__all__:
            value = getattr(module, name)
            full = value.__name__ if isinstance(value, ModuleType) else f"{module_name}.{name}"
            shared = inspect.isclass(value) or inspect.isroutine(value)
            if full not in documented and not (shared and id(value) in known):
                missing.append(full)
    assert not missing
    assert "tramway_dask.inference.models.DV" in documented
    assert "tramway_dask.RWAnalyzer.run" in documented
    assert "tramway_dask.inference.models.DV.infer" in documented


def test_every_command_and_option_is_in_the_reference(html: Path) -> None:
    text = (html / "reference" / "commands.html").read_text(encoding="utf-8")
    for name, command, _ in commandline.commands(main, "tramway-dask"):
        assert f'id="{commandline.anchor(name)}"' in text, name
        for parameter in command.params:
            for option in parameter.opts:
                if option.startswith("--"):
                    assert option in text, f"{name} {option}"


def test_pages_of_keys_formats_and_columns_are_complete(html: Path) -> None:
    configuration = (html / "reference" / "configuration.html").read_text(encoding="utf-8")
    for key in [*(f"tramway.{name.replace('_', '-')}" for name in DEFAULTS), *site_keys(SingularitySlurm)]:
        assert f">{key}</span>" in configuration, key
    described = (DOCS / "reference" / "formats.md").read_text(encoding="utf-8")
    for name in formats():
        assert f"`{name}`" in described, name
    units = {"diffusivity": "µm²/s", "drift x": "µm/s", "force x": "kT/µm", "potential": "kT", "V": "µm²"}
    tables = (DOCS / "reference" / "tables.md").read_text(encoding="utf-8")
    for column, unit in units.items():
        assert unit_of(column) == unit
        assert re.search(rf"^\| .*`{column}`.* \| {unit} \|", tables, re.MULTILINE), column


class _Page(HTMLParser):
    """What a page refers to, what it can be referred to by, and what it loads."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.loads: list[str] = []
        self.without_text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids.update(filter(None, (given.get("id"), given.get("name") if tag == "a" else None)))
        if tag == "a" and given.get("href"):
            self.links.append(str(given["href"]))
        if tag in ("script", "img", "iframe", "source") and given.get("src"):
            self.loads.append(str(given["src"]))
        if tag == "link" and given.get("rel") not in ("canonical", "prev", "next") and given.get("href"):
            self.loads.append(str(given["href"]))
        if tag == "img" and not given.get("alt"):
            self.without_text.append(str(given.get("src")))


def pages(html: Path) -> dict[str, _Page]:
    read = {}
    for path in sorted(html.rglob("*.html")):
        page = _Page()
        page.feed(path.read_text(encoding="utf-8"))
        read[path.relative_to(html).as_posix()] = page
    return read


def test_links_lead_somewhere_and_nothing_is_loaded_from_elsewhere(html: Path) -> None:
    read = pages(html)
    assert len(read) > 40
    for name, page in read.items():
        assert not page.without_text, name
        for link in page.links:
            if urlsplit(link).scheme in ("http", "https", "mailto"):
                continue
            target, fragment = urldefrag(urljoin(name, link))
            target = unquote(target) or name
            assert (html / target).is_file(), f"{name}: {link}"
            if fragment and target.endswith(".html"):
                assert unquote(fragment) in read[target].ids, f"{name}: {link}"
        for load in page.loads:
            assert not urlsplit(load).netloc, f"{name} loads {load}"
            assert (html / unquote(urljoin(name, urldefrag(load)[0])).partition("?")[0]).is_file(), load
    for style in html.rglob("*.css"):
        assert not re.search(r"url\(\s*['\"]?(https?:)?//|@import", style.read_text(encoding="utf-8")), style


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def site_address(html: Path) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(html)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_pages_in_a_browser(site_address: str, page: Any) -> None:
    asked: list[str] = []
    failed: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("response", lambda response: failed.append(response.url) if response.status >= 400 else None)
    for name in MAIN:
        page.goto(f"{site_address}/{name}.html")
        assert page.locator("h1").count() == 1, name
        # nothing is wider than the window, but for what scrolls by itself
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), name
    assert all(url.startswith((site_address, "data:")) for url in asked), asked
    assert not failed


def test_equations_are_drawn(site_address: str, page: Any) -> None:
    page.goto(f"{site_address}/explanation/models.html")
    sizes = page.eval_on_selector_all(
        ".equation mfrac",
        "all => all.map(e => [e.getBoundingClientRect().width, e.getBoundingClientRect().height])",
    )
    # numerator above denominator: higher than a line of text
    assert len(sizes) > 5
    assert all(width > 5 and height > 20 for width, height in sizes)
    assert "\\" not in page.inner_text("article")


def test_search_finds(site_address: str, page: Any) -> None:
    page.goto(f"{site_address}/index.html")
    page.fill("input[name=q]", "diffusivity_prior")
    page.keyboard.press("Enter")
    page.wait_for_selector("#search-results li a")
    found = page.eval_on_selector_all("#search-results li a", "all => all.map(e => e.getAttribute('href'))")
    assert any("priors" in link or "inference" in link for link in found), found


def test_drawings_have_a_text(site_address: str, page: Any) -> None:
    for name in ("explanation/architecture", "explanation/hpc"):
        page.goto(f"{site_address}/{name}.html")
        drawing = page.locator("svg.drawing[role=img]")
        assert drawing.locator("desc").text_content()
        assert drawing.bounding_box()["width"] > 400
