"""Hosts without machines: process trees of Linux with a network of their own.

A host is started by ``unshare`` with a new network namespace, where nothing but its own loopback
exists, and a new namespace of process ids. When the first process of the latter ends, the kernel
ends all others in it: a whole host can be killed at once, and nothing of it can stay behind. The
same holds for the first host, in which everything else runs, the second host included.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

PROCESS_TREE = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
"""Runs a command whose processes all end when it is killed, in the network of its parent."""
UNSHARE = (*PROCESS_TREE, "--net")
"""Runs it as a host: in a network of its own as well."""
SHARED_MEMORY = "/dev/shm"
ADDRESSES = ("10.201.0.1", "10.201.0.2")
"""Of the two hosts. No other machine is reachable from there, so any private addresses will do."""

# The second host waits until the cable is there; the memory disk keeps its files to itself.
SECOND_HOST = f"""
read -r cable
set -e
ip link set lo up
ip address add {ADDRESSES[1]}/30 dev host-2
ip link set host-2 up
mkdir -p "$0"
mount -t tmpfs tmpfs "$0"
exec "$@"
"""


def isolated(command: Sequence[str]) -> list[str]:
    """Return a command that runs another one as the first process of a new host.

    Who is not root becomes root of a user namespace first, where the system allows that.
    """
    user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    return [UNSHARE[0], *user, *UNSHARE[1:], *command]


def prepare_first_host() -> None:
    """Bring the loopback up and replace the shared memory by one that ends with this host.

    Raises:
        subprocess.CalledProcessError: not inside a new host, or without its rights.
    """
    _run("ip", "link", "set", "lo", "up")
    # Not at the cable: that end of it disappears when the other host is killed.
    _run("ip", "address", "add", f"{ADDRESSES[0]}/32", "dev", "lo")
    _run("mount", "-t", "tmpfs", "tmpfs", SHARED_MEMORY)


class SecondHost:
    """A second host, joined to this one by a virtual cable. Start it from inside the first host.

    Args:
        command: its first process; the host ends with it.
        folder: where it has a memory disk of its own.
        log: receives what it prints.
        environment: of the command.

    Attributes:
        process: whose process id belongs to ``unshare``, which ends with the host.
    """

    def __init__(
        self, command: Sequence[str], folder: Path, log: Path, environment: Mapping[str, str]
    ) -> None:
        shell = ["sh", "-c", SECOND_HOST, str(folder), *command]
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [*UNSHARE, *shell], stdin=subprocess.PIPE, stdout=output, stderr=output,
                env=dict(environment),
            )  # fmt: skip
        self._plug_in()

    def _plug_in(self) -> None:
        """Join the hosts, and let the command start."""
        pid = str(self.process.pid)
        while network_of(self.process.pid) == network_of(os.getpid()):
            pass  # until unshare has made the namespace: about a millisecond
        subprocess.run(["ip", "link", "delete", "host-1"], capture_output=True, check=False)
        _run("ip", "link", "add", "host-1", "type", "veth", "peer", "name", "host-2", "netns", pid)
        _run("ip", "link", "set", "host-1", "up")
        _run("ip", "route", "add", ADDRESSES[1], "dev", "host-1", "src", ADDRESSES[0])
        assert self.process.stdin is not None
        self.process.stdin.write(b"plugged in\n")
        self.process.stdin.flush()

    def unplug(self) -> None:
        """Pull the cable: the other host gets no answer any more, and no word of an end either."""
        _run("ip", "link", "set", "host-1", "down")

    def kill(self) -> None:
        """End every process of the host at once, without a word to the other one."""
        self.process.kill()  # its child is killed with it (--kill-child), and all others with that
        self.process.wait()


def network_of(process: int) -> str:
    """Name the network namespace of a process, such as ``net:[4026531840]``.

    Raises:
        OSError: the process has ended.
    """
    return os.readlink(f"/proc/{process}/ns/net")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
