"""Run a command and print each host name that it asks for: ``python name_server.py COMMAND...``.

It runs in a network and a view of files of its own (see `robust.isolation.isolated`), where it is
the only name server. It knows no name, so nothing leaves the machine.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

SETTINGS = {"resolv.conf": "nameserver 127.0.0.1\n", "nsswitch.conf": "hosts: dns\n"}
NO_SUCH_NAME = b"\x81\x83"
HEAD = 12
"""Bytes of a message before its question; see RFC 1035, section 4.1."""


def name_in(query: bytes) -> str:
    """Return the name in the question of a query: labels, each after its length, up to a zero."""
    labels, at = [], HEAD
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode())
        at += 1 + length
    return ".".join(labels)


def main(command: list[str]) -> int:
    """Run the command, and answer until it ends."""
    with (
        tempfile.TemporaryDirectory() as folder,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
    ):
        for name, text in SETTINGS.items():
            Path(folder, name).write_text(text)
            if Path("/etc", name).exists():
                subprocess.run(["mount", "--bind", f"{folder}/{name}", f"/etc/{name}"], check=True)
        server.bind(("127.0.0.1", 53))
        server.settimeout(0.1)
        process = subprocess.Popen(command, stdout=sys.stderr)
        while process.poll() is None:
            with suppress(TimeoutError):
                query, asking = server.recvfrom(512)
                print(name_in(query), flush=True)
                count = query[4:6]  # of questions; there is no answer
                server.sendto(query[:2] + NO_SUCH_NAME + count + bytes(6) + query[HEAD:], asking)
    return process.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
