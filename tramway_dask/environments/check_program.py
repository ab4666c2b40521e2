"""What a check runs on login node and compute nodes: opens a port, or connects to one.

It is given as text to whatever Python is there: the standard library from 3.6 on, nothing else.
"""

import fcntl
import json
import os
import platform
import socket
import struct
import sys
import time

SIOCGIFADDR = 0x8915
LINE = 4096


def addresses() -> "dict[str, str]":
    """Return the IPv4 address of each network interface."""
    found = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(asked.fileno(), SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:
                continue
            found[name] = socket.inet_ntoa(answer[20:24])
    return found


def main_address() -> str:
    """Return the address that Dask takes when no interface is named; nothing is sent for it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            asked.connect(("8.8.8.8", 80))
            return str(asked.getsockname()[0])
        except OSError:
            try:
                return socket.gethostbyname(socket.gethostname())
            except OSError:
                return "127.0.0.1"


def tell(path: str, answer: "dict[str, object]") -> None:
    """Write the answer, whole or not at all."""
    answer.update(node=socket.gethostname(), interfaces=addresses(), python=platform.python_version())
    with open(path + ".part", "w") as file:
        json.dump(answer, file)
    os.replace(path + ".part", path)


def listen(path: str, interface: str, token: str, seconds: float) -> None:
    """Open a port and greet who knows the token, until told to stop or the time is over."""
    ends = time.time() + seconds
    host = addresses().get(interface) if interface else main_address()
    if host is None:
        tell(path, {"error": "no interface " + interface})
        return
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as server:
        server.bind((host, 0))
        server.listen(8)
        tell(path, {"host": host, "port": server.getsockname()[1]})
        while time.time() < ends:
            server.settimeout(max(0.1, ends - time.time()))
            try:
                caller, _ = server.accept()
            except socket.timeout:  # noqa: UP041 (another class before 3.10)
                return
            with caller:
                caller.settimeout(5)
                try:
                    words = caller.recv(LINE).decode("ascii", "replace").split()
                    if words[:1] != [token]:
                        continue
                    caller.sendall(b"welcome\n")
                    if words[1:] == ["stop"]:
                        return
                except OSError:
                    continue


def call(path: str, interface: str, token: str, host: str, port: int) -> None:
    """Connect to a port, and tell whether that worked."""
    answer: dict[str, object] = {"error": ""}
    own = addresses().get(interface, "") if interface else ""
    if interface and not own:
        tell(path, {"error": "", "reached": False})
        return
    try:
        with socket.create_connection((host, port), 15, (own, 0) if own else None) as link:
            link.settimeout(15)
            link.sendall(token.encode())
            answer["reached"] = link.recv(LINE) == b"welcome\n"
            answer["from"] = link.getsockname()[0]
    except OSError as error:
        answer.update(reached=False, error=str(error))
    tell(path, answer)


if __name__ == "__main__":
    if sys.argv[1] == "listen":
        listen(sys.argv[2], sys.argv[3], sys.argv[4], float(sys.argv[5]))
    else:
        call(sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5], int(sys.argv[6]))
