"""The script that downloads an image on the cluster: run by Bash, from a web server of our own."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tramway_dask.environments.containers import download_script

CONTENT = bytes(range(256)) * 4000
DIGEST = hashlib.sha256(CONTENT).hexdigest()

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


class Server(ThreadingHTTPServer):
    """Serves one file under every address, and may misbehave."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/a%20b.sif"
        self.content = CONTENT
        self.ranges: list[str | None] = []
        self.supports_ranges = True
        self.cut_after: list[int] = []
        self.pause = 0.0
        self.status = 200

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers.get("Range")
        server.ranges.append(wanted)
        start = int(wanted.removeprefix("bytes=").split("-")[0]) if wanted and server.supports_ranges else 0
        total = len(server.content)
        if server.status != 200 or start >= total:
            self.send_error(416 if start >= total else server.status)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(total - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        self.end_headers()
        stop = server.cut_after.pop(0) if server.cut_after else total
        for k in range(start, stop, 50_000):
            self.wfile.write(server.content[k : min(k + 50_000, stop)])
            time.sleep(server.pause)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


def start(url: str, path: Path, *words: str, **environ: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        ["bash", "-s", "--", url, str(path), *words],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, **environ},
    )  # fmt: skip
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(download_script())
        process.stdin.close()
    process.stdin = None
    return process


def fetch(url: str, path: Path, *words: str, **environ: str) -> tuple[int, str, str]:
    process = start(url, path, *words, **environ)
    output, errors = process.communicate(timeout=30)
    return process.returncode, output.strip(), errors.strip()


def left(path: Path) -> set[str]:
    return {p.name for p in path.parent.iterdir()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new folder" / "lab.sif"


def test_download_then_present(server: Server, path: Path) -> None:
    assert fetch(server.url, path, DIGEST) == (0, f"downloaded {DIGEST} {path}", "")
    assert path.read_bytes() == CONTENT
    assert left(path) == {"lab.sif", "lab.sif.sha256"}
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert fetch(server.url, path, DIGEST) == (0, f"present {DIGEST} {path}", "")
    assert fetch(server.url, path) == (0, f"present {DIGEST} {path}", "")
    assert len(server.ranges) == 1


def test_present_file_that_is_another(server: Server, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"something else")
    assert fetch(server.url, path, DIGEST)[1] == f"downloaded {DIGEST} {path}"
    assert path.read_bytes() == CONTENT
    path.write_bytes(b"changed later")
    os.utime(path, (time.time() + 5, time.time() + 5))
    assert fetch(server.url, path, DIGEST)[1].startswith("downloaded")


def test_part_is_resumed(server: Server, path: Path) -> None:
    path.parent.mkdir()
    path.with_name("lab.sif.part").write_bytes(CONTENT[:300_000])
    assert fetch(server.url, path, DIGEST)[0] == 0
    assert server.ranges == ["bytes=300000-"]
    assert path.read_bytes() == CONTENT


def test_complete_part_is_not_fetched(server: Server, path: Path) -> None:
    path.parent.mkdir()
    path.with_name("lab.sif.part").write_bytes(CONTENT)
    assert fetch(server.url, path, DIGEST)[0] == 0
    assert server.ranges == []


@pytest.mark.parametrize("digest", [DIGEST, "-"])
def test_connection_that_breaks(server: Server, path: Path, digest: str) -> None:
    server.cut_after = [400_000]
    assert fetch(server.url, path, digest)[:2] == (0, f"downloaded {DIGEST} {path}")
    assert server.ranges == [None, "bytes=400000-"]
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("old", [b"of another file", CONTENT + b"too long"])
def test_useless_part_is_thrown_away(server: Server, path: Path, old: bytes) -> None:
    path.parent.mkdir()
    path.with_name("lab.sif.part").write_bytes(old)
    assert fetch(server.url, path, DIGEST)[0] == 0
    assert path.read_bytes() == CONTENT


def test_server_without_ranges(server: Server, path: Path) -> None:
    server.supports_ranges = False
    path.parent.mkdir()
    path.with_name("lab.sif.part").write_bytes(CONTENT[:1000])
    assert fetch(server.url, path, DIGEST)[0] == 0
    assert path.read_bytes() == CONTENT


def test_wrong_checksum(server: Server, path: Path) -> None:
    status, output, errors = fetch(server.url, path, 64 * "0")
    assert (status, output) == (65, "")
    assert errors.startswith(f"{server.url} is not the file that is registered")
    assert left(path) == set()


def test_web_page(server: Server, path: Path) -> None:
    server.content = b"\n<!DOCTYPE html><html>Please log in</html>"
    status, _, errors = fetch(server.url, path)
    assert status == 65
    assert "gives a web page" in errors
    assert left(path) == set()


def test_refusing_server(server: Server, path: Path) -> None:
    server.status = 404
    status, _, errors = fetch(server.url, path, DIGEST)
    assert status == 66
    assert "404" in errors
    assert "does the link still work" in errors
    assert left(path) == set()


def test_folder_that_cannot_be_written(server: Server, path: Path) -> None:
    path.parent.parent.joinpath("new folder").write_text("a file")
    status, _, errors = fetch(server.url, path, DIGEST)
    assert status == 73
    assert "cannot be made" in errors


def test_one_download_for_all(server: Server, path: Path) -> None:
    server.pause = 0.02
    running = [start(server.url, path, DIGEST) for _ in range(4)]
    answers = sorted(p.communicate(timeout=30)[0].split()[0] for p in running)
    assert answers == ["downloaded", "present", "present", "present"]
    assert len(server.ranges) == 1
    assert left(path) == {"lab.sif", "lab.sif.sha256"}


def wait_for_part(path: Path) -> None:
    part = path.with_name("lab.sif.part")
    for _ in range(200):
        if part.exists() and part.stat().st_size > 100_000:
            return
        time.sleep(0.02)
    raise AssertionError("nothing has come")


def test_killed_download_is_taken_over(server: Server, path: Path) -> None:
    server.pause = 0.1
    first = start(server.url, path, DIGEST)
    wait_for_part(path)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    assert "lab.sif.lock" in left(path)
    server.pause = 0.0
    status, output, errors = fetch(server.url, path, DIGEST)
    assert (status, output) == (0, f"downloaded {DIGEST} {path}")
    assert "taking over" in errors
    assert server.ranges[1] is not None
    assert path.read_bytes() == CONTENT
    assert left(path) == {"lab.sif", "lab.sif.sha256"}


def test_two_take_over_one_dead_lock(server: Server, path: Path) -> None:
    server.pause = 0.02
    lock = path.with_name("lab.sif.lock")
    lock.mkdir(parents=True)
    (lock / "owner").write_text("another-host 1 2\n")
    os.utime(lock, (1, 1))
    running = [start(server.url, path, DIGEST) for _ in range(4)]
    answers = sorted(p.communicate(timeout=30)[0].split()[0] for p in running)
    assert answers == ["downloaded", "present", "present", "present"]
    assert len(server.ranges) == 1


def test_orphan_goes_on_and_is_waited_for(server: Server, path: Path) -> None:
    server.pause = 0.05
    first = start(server.url, path, DIGEST)
    wait_for_part(path)
    os.kill(first.pid, signal.SIGKILL)
    first.wait(timeout=5)
    second = start(server.url, path, DIGEST)
    output, _ = second.communicate(timeout=30)
    assert output.split()[:2] == ["downloaded", DIGEST]
    assert len(server.ranges) == 1
    first.communicate()


def test_signal_ends_it_and_frees_the_lock(server: Server, path: Path) -> None:
    server.pause = 0.2
    process = start(server.url, path, DIGEST)
    wait_for_part(path)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == 143
    assert time.monotonic() - began < 2
    assert left(path) == {"lab.sif.part"}


def test_patience_ends(server: Server, path: Path) -> None:
    lock = path.with_name("lab.sif.lock")
    lock.mkdir(parents=True)
    (lock / "owner").write_text("another-host 1 2\n")
    status, _, errors = fetch(server.url, path, DIGEST, "1")
    assert status == 75
    assert "another-host" in errors
    assert lock.exists()
    assert server.ranges == []


@pytest.mark.skipif(shutil.which("wget") is None, reason="wget is not installed")
def test_wget_where_there_is_no_curl(server: Server, path: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    names = (
        "bash cat cut date dirname grep head hostname kill mkdir mv rm rmdir sha256sum sleep stat touch wget"
    )
    for name in names.split():
        (tools / name).symlink_to(shutil.which(name) or name)
    server.cut_after = [400_000]
    assert fetch(server.url, path, DIGEST, PATH=str(tools))[:2] == (0, f"downloaded {DIGEST} {path}")
    assert path.read_bytes() == CONTENT
    assert None in server.ranges
    assert "bytes=400000-" in server.ranges
