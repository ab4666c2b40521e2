"""Passwords, codes, jump hosts and agents, with real sshd: one on the login node, one behind it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from site_fixtures import Site

pytestmark = pytest.mark.site

WORD = "it's a Secret 1"
PORTS = {"password": 2201, "code": 2202, "both": 2203}

SSHD = """
{ports}
HostKey /etc/ssh/inner_key
PidFile /run/inner-sshd.pid
PermitRootLogin no
PasswordAuthentication no
KbdInteractiveAuthentication no
PubkeyAuthentication no
UsePAM yes
Match LocalPort 2201
  PasswordAuthentication yes
Match LocalPort 2202
  KbdInteractiveAuthentication yes
Match LocalPort 2203
  PubkeyAuthentication yes
  KbdInteractiveAuthentication yes
  AuthenticationMethods publickey,keyboard-interactive
"""

PAM = "auth required pam_unix.so\naccount required pam_permit.so\nsession required pam_permit.so\n"

CONFIG = """
Host inner
  HostName 10.77.2.11
  User alice
  ProxyJump alice@login
"""

SCRIPT = """
import asyncio, json, os, sys
from pathlib import Path
from tramway_dask.environments.ssh import Connection
from tramway_dask.errors import ClusterError

asked = []
def prompt(text):
    asked.append(text)
    return sys.argv[2]

async def main():
    c = Connection("inner", port=int(sys.argv[1]), prompt=prompt, reconnect_for=30)
    try:
        said = [(await c.run("hostname")).stdout, c.username]
        if len(sys.argv) > 3:
            # everybody is thrown out; what was typed once is not asked for again
            try:
                await c.run("kill -9 $PPID", check=False)
            except ClusterError as error:
                assert "broke during" in str(error), error
        said.append((await c.run("hostname", idempotent=True)).stdout)
    except ClusterError as error:
        said = str(error)
    finally:
        await c.close()
    print(json.dumps([said, asked]))
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def inner(site: Site) -> Iterator[Path]:
    """Start sshd on node1, which the laptop reaches through the login node; return the laptop's home."""
    etc = site.folder / "hosts/node1/etc"
    home = Path(site.info["laptop"]["home_on_machine"])
    key = etc / "ssh/inner_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    crypted = subprocess.run(
        ["openssl", "passwd", "-6", "-stdin"], input=WORD, capture_output=True, text=True, check=True
    ).stdout.strip()
    shadow = etc / "shadow"
    shadow.write_text(shadow.read_text().replace("alice:*:", f"alice:{crypted}:"))
    (etc / "pam.d").mkdir(exist_ok=True)
    (etc / "pam.d/sshd").write_text(PAM)
    (etc / "pam.d/other").write_text(PAM)
    listening = "\n".join(f"Port {port}" for port in PORTS.values())
    (etc / "ssh/inner_config").write_text(SSHD.format(ports=listening))
    words = ["bash", "-c", "mkdir -p /run/sshd; exec /usr/sbin/sshd -D -e -f /etc/ssh/inner_config"]
    process = site.popen("node1", "root", words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    known = home / ".ssh/known_hosts"
    before = known.read_text()
    public = " ".join(key.with_suffix(".pub").read_text().split()[:2])
    known.write_text(before + "".join(f"[10.77.2.11]:{port} {public}\n" for port in PORTS.values()))
    config = home / ".ssh/config"
    config.write_text(CONFIG)
    site.run(
        "node1", "root",
        ["bash", "-c", "for i in $(seq 100); do [ -e /run/inner-sshd.pid ] && exit; sleep 0.1; done; exit 1"],
    )  # fmt: skip
    yield home
    config.unlink()
    known.write_text(before)
    site.kill(process)
    process.communicate()


def logged_in(site: Site, port: int, word: str, *more: str, **env: str) -> Any:
    return json.loads(site.python(SCRIPT, str(port), word, *more, env=env))


@pytest.mark.parametrize("kind", PORTS)
def test_typed_once(site: Site, inner: Path, kind: str) -> None:
    """A password; a prompt of PAM; a key and a prompt: through the jump host, and again by itself."""
    said, asked = logged_in(site, PORTS[kind], WORD, "broken")
    assert said == ["node1\n", "alice", "node1\n"], asked
    assert len(asked) == 1
    assert "password" in asked[0].lower()
    assert "alice@inner" in asked[0]


def test_wrong_word(site: Site, inner: Path) -> None:
    said, asked = logged_in(site, PORTS["code"], "wrong")
    assert "alice@inner: login refused" in said
    assert WORD not in str(said)
    assert len(asked) == 1


def test_agent(site: Site, inner: Path) -> None:
    """The only key is in the agent: for the jump host, and for the host behind it."""
    key, aside = inner / ".ssh/id_ed25519", inner / "aside"
    agent = f"{site.info['laptop']['home']}/agent"
    process = site.popen("laptop", "tester", ["ssh-agent", "-D", "-a", agent], stdout=subprocess.DEVNULL)
    os.rename(key, aside)
    try:
        site.run(
            "laptop", "tester",
            ["bash", "-c", f"until [ -S {agent} ]; do sleep 0.1; done; SSH_AUTH_SOCK={agent} ssh-add -q ~/aside"],
        )  # fmt: skip
        said, asked = logged_in(site, PORTS["both"], WORD, SSH_AUTH_SOCK=agent)
        assert said == ["node1\n", "alice", "node1\n"], asked
        # without it nobody gets in
        said, asked = logged_in(site, PORTS["both"], WORD)
        assert isinstance(said, str)
        assert "login" in said
    finally:
        os.rename(aside, key)
        site.kill(process)
        process.communicate()
