"""Make a condition for one command."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from robust.conditions import Condition, namespaces

BUSY = "while True: pass"

# Runs inside the new namespaces: closes folders, gives a network of its own its loopback, becomes
# the command. Arguments: the folders to close, "--", the command.
INSIDE = """
import fcntl, os, socket, struct, subprocess, sys

closed, command = sys.argv[1 : sys.argv.index("--")], sys.argv[sys.argv.index("--") + 1 :]
for folder in closed:
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
os.chdir(os.getcwd())  # the working directory was open before its folder was closed
GET_FLAGS, SET_FLAGS, UP = 0x8913, 0x8914, 1  # of a network device; see `man netdevice`
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
    device = fcntl.ioctl(control, GET_FLAGS, struct.pack("16sh22x", b"lo", 0))
    flags = struct.unpack("16sh22x", device)[1] | UP
    fcntl.ioctl(control, SET_FLAGS, struct.pack("16sh22x", b"lo", flags))
os.execvp(command[0], command)
"""


def isolated(condition: Condition, command: list[str], tree: Path, home: Path) -> list[str]:
    """Return the command that runs `command` in the namespaces that the condition needs.

    Args:
        condition: the row of the matrix.
        command: what runs.
        tree: the copy of the repository.
        home: the home folder of the condition that closes it.
    """
    closed = {"repository": [tree], "home": [home], "": []}[condition.read_only]
    kinds = [*(["--mount"] if closed else []), *(["--net"] if condition.offline else [])]
    if not kinds:
        return command
    return [*namespaces(*kinds), sys.executable, "-c", INSIDE, *map(str, closed), "--", *command]


def environment_of(condition: Condition, tree: Path, home: Path) -> dict[str, str]:
    """Return the environment of a command: this one's, the copy's helpers, the condition's."""
    # Neither a run of pytest around this one, nor a CI, where a skipped test would fail.
    outside = {k: v for k, v in os.environ.items() if k != "CI" and not k.startswith("PYTEST_")}
    limits = tree / "tools" / "robust" / "limits"  # has a sitecustomize.py, which says why
    environment = {**outside, "PYTHONPATH": f"{tree}{os.pathsep}{limits}"}
    if condition.read_only == "home":
        environment["HOME"] = str(home)
    return environment | condition.environment


@contextmanager
def busy_cores() -> Iterator[None]:
    """Keep every core busy while the block runs."""
    with ExitStack() as stack:
        for _ in range(os.cpu_count() or 1):
            process = stack.enter_context(subprocess.Popen([sys.executable, "-c", BUSY]))
            stack.callback(process.kill)
        yield
