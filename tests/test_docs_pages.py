"""What the documentation's pages show is true: their Python runs, their commands exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tramway_dask import simulate
from tramway_dask.cli import main

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / ".docs"
PAGES = sorted(DOCS.rglob("*.md"))
# before a block: why it is only compiled
NOT_RUN = "<!-- not run: "


def blocks(doc: Path, language: str) -> Iterator[tuple[int, str, bool]]:
    """Yield line, text and whether it is to be run, of the blocks of a language."""
    text = doc.read_text(encoding="utf-8")
    for found in re.finditer(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        before = text[: found.start()].rstrip().splitlines()
        yield text[: found.start(1)].count("\n"), found[1], not (before and before[-1].startswith(NOT_RUN))


def name(doc: Path) -> str:
    return doc.relative_to(DOCS).with_suffix("").as_posix()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write what the pages' examples read."""
    folder = tmp_path_factory.mktemp("documented")
    for part in ("data", "pixels", "storm"):
        (folder / part).mkdir()
    for i in range(4):
        table = simulate.random_walk(
            diffusivity=0.1, box=((0, 0), (2, 2)), trajectory_count=60, duration=1.0, time_step=0.02,
            localization_precision=0.02, seed=i,
        )  # fmt: skip
        table.to_csv(folder / f"data/cell{i:03d}.trxyt", sep="\t", header=False, index=False)
    frames = (table["t"] / 0.02).round().astype(int)
    pixels = table.assign(frame=frames, x=table.x / 0.107, y=table.y / 0.107).rename(
        columns={"n": "trajectory"}
    )
    for lens in ("60x", "100x"):
        pixels[["trajectory", "frame", "x", "y"]].to_csv(folder / f"pixels/a_{lens}.csv", index=False)
    storm = table.assign(id=range(1, len(table) + 1), frame=frames + 1, x=table.x * 1000, y=table.y * 1000)
    storm = (
        storm[storm.n <= 5]
        .rename(columns={"x": "x [nm]", "y": "y [nm]"})
        .assign(**{"uncertainty [nm]": 20.0})
    )
    storm[["id", "frame", "x [nm]", "y [nm]", "uncertainty [nm]"]].to_csv(
        folder / "storm/one.csv", index=False
    )
    (folder / "data/manifest.csv").write_text(
        "file,condition,localization_precision\ncell000.trxyt,wild type,0.02\ncell001.trxyt,wild type,0.02\n"
        "cell002.trxyt,mutant,0.02\ncell003.trxyt,mutant,0.02\n"
    )
    return folder


@pytest.mark.filterwarnings("ignore::tramway_dask.errors.LocalizationPrecisionWarning")
@pytest.mark.parametrize("doc", [p for p in PAGES if any(blocks(p, "python"))], ids=name)
def test_python_runs(doc: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in ("data", "pixels", "storm"):
        (tmp_path / part).symlink_to(data / part)
    monkeypatch.chdir(tmp_path)
    known: dict[str, object] = {"__name__": "__main__"}
    for line, text, run in blocks(doc, "python"):
        # the empty lines make tracebacks show the line of the page
        code = compile("\n" * line + text, str(doc), "exec")
        if run:
            exec(code, known)


# what the README says on files, experiments and exports is run in this order, in one session
TOGETHER = ("Any file", "A folder as an experiment", "For other programs")


@pytest.mark.filterwarnings("ignore::tramway_dask.errors.LocalizationPrecisionWarning")
def test_readme_runs(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in ("data", "pixels"):
        (tmp_path / part).symlink_to(data / part)
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    known: dict[str, object] = {"__name__": "__main__"}
    for title in TOGETHER:
        section = text.partition(f"## {title}\n")[2].partition("\n## ")[0]
        found = re.findall(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
        assert found, title
        for block in found:
            exec(block, known)
    assert list(tmp_path.glob("results/exports/**/*.geojson"))


def test_figure_of_the_readme_is_small() -> None:
    (figure,) = re.findall(
        r"^!\[.{40,}\]\((.*)\)$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert (ROOT / figure).stat().st_size <= 150_000


def commands(doc: Path) -> Iterator[list[str]]:
    """Yield the words of each ``tramway-dask`` command of a page."""
    for _, text, _ in blocks(doc, "bash"):
        for line in text.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|\||;", line):
                words = shlex.split(part.partition(">")[0], comments=True)
                if words[:1] == ["tramway-dask"]:
                    yield words[1:]


def check(words: list[str]) -> None:
    """Complain of commands, options and choices that do not exist."""
    command: click.Command = main
    context = click.Context(main, info_name="tramway-dask")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        assert found is not None, f"no command {words[0]!r}"
        command, words = found, words[1:]
        context = click.Context(command, info_name=command.name, parent=context)
    if words in (["--help"], ["--version"]):
        return
    options = {o: p for p in command.params if isinstance(p, click.Option) for o in p.opts}
    at = 0
    while at < len(words):
        word, _, value = words[at].partition("=")
        at += 1
        if not word.startswith("-"):
            continue
        assert word in options, f"{command.name} has no option {word}"
        option = options[word]
        if not option.is_flag:
            if not value:
                value, at = words[at], at + 1
            option.type.convert(value.strip("[]"), option, context)


@pytest.mark.parametrize("doc", [*PAGES, ROOT / "README.md"], ids=lambda p: p.name)
def test_commands_exist(doc: Path) -> None:
    for words in commands(doc):
        check(words)


def test_commands_are_found() -> None:
    assert sum(len(list(commands(doc))) for doc in PAGES) > 20
    with pytest.raises(AssertionError, match="no option"):
        check(["export", "results", "--formats", "csv"])
    with pytest.raises(click.BadParameter):
        check(["export", "results", "--format", "cvs"])
    with pytest.raises(AssertionError, match="no command"):
        check(["exports"])
