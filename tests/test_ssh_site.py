"""The connection from a laptop to a login node, with a real sshd and a network that breaks."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from site_fixtures import Site

pytestmark = pytest.mark.site

PREAMBLE = """
import asyncio, json, os, sys, time
from pathlib import Path
from tramway_dask.environments.ssh import *
from tramway_dask.errors import ClusterError
def link(host="login", **options):
    return Connection(host, **{"username": "alice", "reconnect_for": 60, **options})
"""


def laptop(site: Site, body: str, **options: Any) -> str:
    """Run a script on the laptop whose `main` is given; return its output."""
    return site.python(PREAMBLE + body + "\nasyncio.run(main())\n", **options)


def started(site: Site, body: str, **options: Any) -> Any:
    """Start a script on the laptop; it says `ready` when the network may be cut."""
    words = site.python_words(PREAMBLE + body + "\nasyncio.run(main())\n")
    process = site.popen("laptop", "tester", words, **options)
    line = process.stdout.readline()
    if line != "ready\n":
        site.kill(process)
        raise AssertionError(f"{line}{process.communicate()}")
    return process


def finished(site: Site, process: Any, timeout: float = 90) -> str:
    try:
        output, errors = process.communicate(timeout=timeout)
    finally:
        site.kill(process)
    assert process.returncode == 0, output + errors
    return output


@pytest.fixture(autouse=True)
def _whole_network(site: Site) -> Any:
    yield
    site.cut("off")


def on_cluster(site: Site, path: str) -> Path:
    cluster = site.info["cluster"]
    for place in ("home", "scratch"):
        if path.startswith(cluster[place] + "/"):
            return Path(cluster[f"{place}_on_machine"]) / path.removeprefix(cluster[place] + "/")
    raise AssertionError(path)


ECHO = """
import socket, threading
server = socket.create_server(("0.0.0.0", {port}))
def serve(s):
    while data := s.recv(65536):
        s.sendall(data)
    s.close()
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"""


@pytest.fixture(scope="module")
def echoes(site: Site) -> Any:
    """TCP echoes: port 17001 of login's loopback, and of node1."""
    processes = [
        site.popen(host, "alice", ["/usr/bin/python3", "-c", ECHO.format(port=17001)])
        for host in ("login", "node1")
    ]
    time.sleep(1)
    yield
    for process in processes:
        site.kill(process)
        process.communicate()


def test_commands(site: Site) -> None:
    profile = on_cluster(site, "/home/alice/.bash_profile")
    bashrc = on_cluster(site, "/home/alice/.bashrc")
    before = bashrc.read_text()
    profile.write_text("echo Welcome; echo Disk quota: fine >&2\n. /etc/profile\ncd /\ncd\n")
    bashrc.write_text("echo chatty\n")
    try:
        said = json.loads(
            laptop(
                site,
                r"""
async def main():
    c = link()
    assert not c.connected
    said = {}
    words = ["a b", "it's", '"q"', "$HOME", "é漢", "x\ny", "!;&|", "*", ""]
    import shlex
    said["words"] = (await c.run("printf '%s\\0' " + shlex.join(words))).stdout.split("\0")[:-1] == words
    r = await c.run("echo out; echo err >&2; exit 3", check=False)
    said["streams"] = [r.stdout, r.stderr, r.status]
    text = "no newline at the end, é, \\ ' $x `y`\n\n  z" + "\n" * 3
    said["stdin"] = (await c.run("cat", input=text)).stdout == text
    big = "0123456789abcdef" * 65536
    said["big"] = (await c.run("cat", input=big)).stdout == big
    said["unread"] = (await c.run("true", input=big)).status
    said["no stdin"] = (await c.run("cat; pwd")).stdout
    said["module"] = (await c.run("module load singularity && singularity --version")).stdout
    said["here"] = (await c.run("cat <<END\nhello\nEND\n# comment")).stdout
    said["syntax"] = (await c.run("echo 'open", check=False)).status
    said["signal"] = (await c.run("kill -9 $$", check=False)).status
    said["home"] = await c.home()
    nul, boo = ("cat; true", {"input": "a\0b"}), ("cat >&2; exit 4", {"input": "boo"})
    for command, options in (nul, ("ls /nowhere", {}), ("cat", {"input": "secret"}), boo):
        try:
            await c.run(command + ("; false" if command == "cat" else ""), **options)
        except ClusterError as error:
            said[command] = str(error)
    try:
        await c.run("sleep 30", timeout=1)
    except LinkLostError as error:
        said["timeout"] = [type(error).__name__, str(error)]
    t = time.time()
    running = await asyncio.gather(*(c.run(f"sleep 0.3; echo {i}") for i in range(12)))
    said["many"] = [r.stdout.strip() for r in running] == [str(i) for i in range(12)]
    said["left"] = (await c.run("pgrep -c sleep", check=False)).stdout
    await c.close()
    print(json.dumps(said))
""",
            )
        )
    finally:
        profile.unlink()
        bashrc.write_text(before)
    assert said["words"]
    assert said["stdin"]
    assert said["big"]
    assert said["many"]
    assert said["streams"] == ["out\n", "err", 3]
    assert said["unread"] == 0
    assert said["no stdin"] == "/home/alice\n"
    assert "stand-in" in said["module"]
    assert said["here"] == "hello\n"
    assert said["syntax"] != 0
    assert said["signal"] != 0
    assert said["home"] == "/home/alice"
    assert re.search(r"login: `ls /nowhere` failed \(status 2\): .*No such file", said["ls /nowhere"])
    assert "NUL character" in said["cat; true"]
    assert "secret" not in said["cat"].split("failed")[0]
    assert said["cat >&2; exit 4"].endswith("boo")
    assert said["timeout"][0] == "CommandTimeoutError"
    assert "sleep 30" in said["timeout"][1]
    assert said["left"] == "0\n"


def test_files(site: Site) -> None:
    laptop(
        site,
        r"""
async def main():
    async with link() as c:
        name = "/scratch/alice/new dir/it's \"é\"/ke y"
        data = bytes(range(256)) * 3000
        try:
            await c.write(name, data)
        except ClusterError as error:
            assert "No such file" in str(error), error
        else:
            raise AssertionError
        await c.write(name, data, parents=True)
        assert await c.read(name) == data
        await c.write("plain", b"", 0o644)
        await c.write("~/plain2", b"x")
        assert await c.read("/home/alice/plain") == b""
        assert await c.read("plain2") == b"x"
        try:
            await c.read("/scratch/alice/absent")
        except ClusterError as error:
            assert "/scratch/alice/absent" in str(error) and "No such file" in str(error)
        assert await c.download(name, Path.home() / "got") is True
        assert await c.download(name, Path.home() / "got") is False
        assert (Path.home() / "got").read_bytes() == data
        assert not list(Path.home().glob(".*.part"))
        try:
            await c.download("/scratch/alice/absent", "got")
        except ClusterError as error:
            assert "no file" in str(error)
        Path("empty").touch()
        assert await c.upload("empty", "/scratch/alice/empty") is True
        assert await c.upload("empty", "/scratch/alice/empty") is False
        assert await c.read("/scratch/alice/empty") == b""
        try:
            await c.upload("empty", "/scratch/alice/empty2", digest="0" * 64)
        except ClusterError as error:
            assert "damaged" in str(error)
        for place in ("/etc/forbidden", "/scratch/bob/x"):
            try:
                await c.upload("empty", place)
            except ClusterError as error:
                assert "Permission denied" in str(error), error
            else:
                raise AssertionError
""",
    )
    base = "/scratch/alice/new dir"
    assert site.mode(f'{base}/it\'s "é"/ke y') == "600"
    assert site.mode(base) == site.mode(f'{base}/it\'s "é"') == "700"
    assert site.mode("/home/alice/plain") == "644"
    assert site.mode("/scratch/alice/empty") == "600"
    left = [
        path.name
        for path in on_cluster(site, "/scratch/alice").rglob(".*")
        if not path.name.startswith(".bash")
    ]
    assert not left


def test_forwarding(site: Site, echoes: None) -> None:
    laptop(
        site,
        r"""
async def echo(port, data):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async def send():
        writer.write(data); await writer.drain(); writer.write_eof()
    _, said = await asyncio.gather(send(), reader.read())
    writer.close()
    return said
async def main():
    async with link() as c:
        data = os.urandom(5_000_000)
        for host in ("127.0.0.1", "node1", "10.77.2.11"):
            port = await c.forward(host, 17001)
            assert await echo(port, data) == data
            assert all(await asyncio.gather(*(echo(port, b"x" * i) for i in range(1, 20))))
        nothing = await c.forward("node1", 17999)
        try:
            assert await echo(nothing, b"x") == b""
        except ConnectionError:
            pass
        try:
            await c.forward("127.0.0.1", 17001, local_port=port)
        except ClusterError as error:
            assert str(port) in str(error)
        else:
            raise AssertionError
        await c.stop_forwarding(port)
        assert await c.forward("127.0.0.1", 17001, local_port=port) == port
    try:
        await echo(port, b"x")
    except OSError:
        pass
    else:
        raise AssertionError
""",
    )


LINK_LIFE = r"""
async def echo(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"ping")
    said = await asyncio.wait_for(reader.read(4), 60)
    writer.close()
    return said.decode()
async def main():
    c = link(keepalive=KEEPALIVE, keepalive_count=3)
    events = []
    c.on_lost(lambda: events.append("lost"))
    async def restored():
        events.append("restored")
    c.on_restored(restored)
    port = await c.forward("node1", 17001)
    assert await echo(port) == "ping"
    pending = asyncio.create_task(c.run("sleep 4; echo done >> ~/counted; echo done", timeout=60))
    again = asyncio.create_task(c.run("sleep 4; echo done", timeout=60, idempotent=True))
    await asyncio.sleep(0.5)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    during = asyncio.create_task(c.run("echo during"))
    said = {}
    try:
        said["pending"] = (await pending).stdout
    except LinkLostError as error:
        said["pending"] = str(error)
    said["again"] = (await again).stdout
    said["during"] = (await during).stdout
    said["echo"] = await echo(port)
    said["events"] = events
    said["run"] = (await c.run("cat ~/counted; rm ~/counted", check=False)).stdout
    await c.close()
    print(json.dumps(said))
"""


def cut_for(site: Site, state: str, seconds: float, keepalive: float) -> dict[str, Any]:
    process = started(site, LINK_LIFE.replace("KEEPALIVE", str(keepalive)))
    site.cut(state)
    process.stdin.write("go\n")
    process.stdin.flush()
    time.sleep(seconds)
    site.cut("off")
    said: dict[str, Any] = json.loads(finished(site, process))
    assert said["during"] == "during\n"
    assert said["again"] == "done\n"
    assert said["echo"] == "ping"
    return said


def test_silence_that_the_link_outlives(site: Site, echoes: None) -> None:
    said = cut_for(site, "on", 20, keepalive=15)
    assert said["pending"] == "done\n"
    assert said["run"] == "done\n"
    assert said["events"] == []


def test_silence_that_breaks_the_link(site: Site, echoes: None) -> None:
    said = cut_for(site, "on", 20, keepalive=3)
    assert said["events"] == ["lost", "restored"]
    assert "the link to login broke during `sleep 4; echo done" in said["pending"]
    # whatever became of it, it was not repeated
    assert said["run"] in ("", "done\n")


def test_link_reset(site: Site, echoes: None) -> None:
    said = cut_for(site, "reset", 6, keepalive=15)
    assert said["events"] == ["lost", "restored"]
    assert "broke during" in said["pending"]


def test_link_that_stays_broken(site: Site) -> None:
    process = started(
        site,
        r"""
async def main():
    c = link(reconnect_for=4)
    await c.connect()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    try:
        await c.run("true", idempotent=True)
    except UnreachableError as error:
        print(error)
    t = time.time()
    await asyncio.to_thread(sys.stdin.readline)
    print((await c.run("echo back")).stdout, flush=True)
    await c.close()
""",
    )
    site.cut("reset")
    process.stdin.write("go\n")
    process.stdin.flush()
    line = process.stdout.readline()
    assert line.startswith("no link to login for 4 s")
    assert "port 22 refuses connections" in line
    site.cut("off")
    process.stdin.write("go\n")
    process.stdin.flush()
    assert "back" in finished(site, process)


def refusal(site: Site, arguments: str, before: str = "") -> str:
    return laptop(
        site,
        f"""
async def main():
    {before}
    c = link({arguments})
    try:
        await c.connect()
    except ClusterError as error:
        print(type(error).__name__, error)
    else:
        raise AssertionError("connected")
    finally:
        await c.close()
    assert not c.connected
""",
    )


def test_refusals(site: Site) -> None:
    said = refusal(site, '"no-such-host"')
    assert "no host of this name" in said
    said = refusal(site, "port=2222")
    assert re.search("port 2222", said)
    said = refusal(site, 'username="nobody-here"')
    assert "nobody-here@login: login refused" in said
    said = refusal(site, 'options={"client_keys": ["/home/tester/.ssh/id_bob"], "agent_path": None}')
    assert "alice@login: login refused" in said
    assert "ssh-add" not in said


def test_unknown_and_changed_host_keys(site: Site) -> None:
    fingerprint = site.info["ssh"]["fingerprint"]
    said = refusal(site, 'options={"known_hosts": b"# nothing"}')
    assert fingerprint in said
    assert "not known" in said
    assert "ssh-keyscan" in said
    known = Path(site.info["laptop"]["home_on_machine"]) / ".ssh/known_hosts"
    before = known.read_text()
    try:
        known.write_text("")
        assert fingerprint in refusal(site, "")
        # a configuration that accepts every key changes nothing
        (known.parent / "config").write_text(
            "Host login\n UserKnownHostsFile none\n StrictHostKeyChecking no\n"
        )
        assert fingerprint in refusal(site, "")
        (known.parent / "config").unlink()
        key = "import asyncssh; k = asyncssh.generate_private_key('ssh-ed25519').export_public_key().decode()"
        known.write_text("login " + site.python(f"{key}\nprint(k)"))
        said = refusal(site, "")
        assert "THE HOST KEY HAS CHANGED" in said
        assert fingerprint in said
        assert "ssh-keygen -R login" in said
    finally:
        known.write_text(before)
        (known.parent / "config").unlink(missing_ok=True)


def test_ssh_configuration(site: Site) -> None:
    config = Path(site.info["laptop"]["home_on_machine"]) / ".ssh/config"
    config.write_text("Host cluster\n HostName login\n User bob\n IdentityFile ~/.ssh/id_bob\n")
    try:
        said = site.python(
            PREAMBLE
            + r"""
async def main():
    c = Connection("cluster")
    print((await c.run("whoami; hostname")).stdout.split(), c.username)
    await c.close()
asyncio.run(main())
"""
        )
    finally:
        config.unlink()
    assert said == "['bob', 'login'] bob\n"


UPLOAD = r"""
async def main():
    name = Path.home() / "big é.bin"
    if not name.exists():
        name.write_bytes(os.urandom(60_000_000))
    c = link(keepalive=2)
    seen = []
    def progress(n):
        seen.append(n)
        if n > 10_000_000 and len(sys.argv) > 1 and not progress.told:
            progress.told = True
            print("ready", flush=True)
            while not (Path.home() / "cut").exists():
                time.sleep(0.05)
    progress.told = False
    sent = await c.upload(name, "/scratch/alice/in put/big.bin", progress=progress)
    falls = [(a, b) for a, b in zip(seen, seen[1:]) if b < a]
    print(json.dumps({"sent": sent, "first": seen[:1], "last": seen[-1:], "falls": falls}))
    await c.close()
"""


def test_upload_is_resumed(site: Site) -> None:
    words = site.python_words(PREAMBLE + UPLOAD + "\nasyncio.run(main())\n", "slow")
    process = site.popen("laptop", "tester", words)
    assert process.stdout.readline() == "ready\n"
    site.cut("reset")
    cut = Path(site.info["laptop"]["home_on_machine"]) / "cut"
    cut.touch()
    time.sleep(2)
    site.cut("off")
    said = json.loads(finished(site, process))
    cut.unlink()
    assert said["sent"]
    assert said["last"] == [60_000_000]
    # it went on near where it was cut
    assert said["falls"]
    assert all(lower > 5_000_000 for _, lower in said["falls"])
    assert site.mode("/scratch/alice/in put/big.bin") == "600"
    again = json.loads(laptop(site, UPLOAD))
    assert again == {"sent": False, "first": [], "last": [], "falls": []}


def test_upload_is_resumed_by_another_process(site: Site) -> None:
    folder = on_cluster(site, "/scratch/alice") / "in put"
    (folder / "big.bin").unlink(missing_ok=True)
    words = site.python_words(PREAMBLE + UPLOAD + "\nasyncio.run(main())\n", "slow")
    process = site.popen("laptop", "tester", words)
    assert process.stdout.readline() == "ready\n"
    site.kill(process)
    process.communicate()
    parts = list(folder.glob(".*.part"))
    assert len(parts) == 1
    assert parts[0].stat().st_size > 5_000_000
    # a dead sender's lock is waited for; a site's users would wait a minute
    hurried = "import tramway_dask.environments.transfer as transfer\ntransfer.STALE_SECONDS = 2\n"
    body = hurried + UPLOAD
    said = json.loads(laptop(site, body))
    assert said["sent"]
    assert said["first"][0] > 5_000_000
    assert [path.name for path in folder.iterdir()] == ["big.bin"]


def test_concurrent_uploads(site: Site) -> None:
    said = laptop(
        site,
        r"""
async def main():
    Path("same").write_bytes(os.urandom(8_000_000))
    async with link() as a, link() as b, link() as c:
        sent = await asyncio.gather(*(x.upload("same", "/scratch/alice/same") for x in (a, b, c, a, b)))
        assert (await a.read("/scratch/alice/same")) == Path("same").read_bytes()
    print(sum(sent))
""",
    )
    assert said == "1\n"


def test_corrupt_part_is_sent_again(site: Site) -> None:
    laptop(
        site,
        r"""
import hashlib
async def main():
    data = os.urandom(3_000_000)
    Path("damaged").write_bytes(data)
    async with link() as c:
        digest = hashlib.blake2b(data).hexdigest()
        unique = hashlib.sha256(f"{digest} /scratch/alice/damaged".encode()).hexdigest()[:32]
        await c.write(f"/scratch/alice/.{unique}.part", b"0" * 1_000_000)
        assert await c.upload("damaged", "/scratch/alice/damaged")
        assert await c.read("/scratch/alice/damaged") == data
""",
    )


def test_loop_thread(site: Site) -> None:
    said = site.python(
        PREAMBLE
        + r"""
import threading
asked = []
with LoopThread() as thread:
    c = thread.call(asyncio.sleep(0, link()))
    print(thread.call(c.run("hostname")).stdout.strip())
    from distributed import Client, LocalCluster
    with LocalCluster(n_workers=1, processes=False, dashboard_address=None, loop=thread.loop) as cluster:
        with Client(cluster, loop=thread.loop) as client:
            print(client.submit(sum, [1, 2]).result())
    try:
        thread.call(asyncio.sleep(9), timeout=0.2)
    except ClusterError as error:
        print(error)
    try:
        thread.call(c.run("exit 3"))
    except ClusterError as error:
        print(error)
    from tramway_dask.environments.loop import ask
    def question():
        return threading.current_thread() is threading.main_thread()
    print(thread.call(ask(question)))
    thread.call(c.close())
try:
    thread.call(asyncio.sleep(0))
except ClusterError as error:
    print(error)
"""
    )
    assert said.splitlines() == [
        "login",
        "3",
        "no result after 0.2 s",
        "login: `exit 3` failed (status 3): it said nothing",
        "True",
        "this loop is closed",
    ]
