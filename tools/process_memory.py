"""The memory of a process and of all that it started, watched and limited as Binder does."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

PROC = Path("/proc")
INTERVAL_S = 0.1
STEP_BYTES = 10**6


def process_tree(root: int) -> list[int]:
    """List a process and its descendants."""
    children: dict[int, list[int]] = {}
    for path in PROC.glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended since
            # The name in brackets may hold anything; the state and the parent follow it.
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(path.parent.name))
    tree = [root]
    for process in tree:
        tree += children.get(process, [])
    return tree


def proportional_bytes(processes: list[int]) -> list[int]:
    """Read the proportional memory (PSS) of each process; in the sum, nothing is counted twice."""
    found = [0] * len(processes)
    for index, process in enumerate(processes):
        with suppress(OSError):  # it has ended since
            lines = (PROC / str(process) / "smaps_rollup").read_text().splitlines()
            kib = sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
            found[index] = 1024 * kib
    return found


def resident_bytes(processes: list[int]) -> int:
    """Add up the resident memory (RSS): what processes share is counted for each of them."""
    pages = 0
    for process in processes:
        with suppress(OSError):  # it has ended since
            pages += int((PROC / str(process) / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class MemoryWatch:
    """Sample the memory of this process and its descendants; above a limit, kill the new ones.

    Reading the proportional memory of a process with TensorFlow takes 10 ms, and holds it up. So
    the resident memory is read first, at almost no cost: the proportional one is never larger, and
    hardly changes when the resident one does not.

    Attributes:
        limit_bytes: no limit when None.
        peak_bytes: the largest sum that was seen.
        started_bytes: the part of it without this process itself.
        peak_s: when, in seconds after the start.
        killed: whether the limit was passed.
    """

    def __init__(self, limit_bytes: int | None = None) -> None:
        self.limit_bytes = limit_bytes
        self.peak_bytes = 0
        self.started_bytes = 0
        self.peak_s = 0.0
        self.killed = False
        self._older: set[int] = set()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._older = set(process_tree(os.getpid()))
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        start = time.monotonic()
        last = 0
        while not self._end.wait(INTERVAL_S):
            tree = process_tree(os.getpid())
            resident = resident_bytes(tree)
            settled = resident <= self.peak_bytes or abs(resident - last) < STEP_BYTES
            if settled and not self.killed:
                continue
            last = resident
            own, *others = proportional_bytes(tree)
            started = sum(others)
            total = own + started
            if total > self.peak_bytes:
                self.peak_bytes, self.started_bytes = total, started
                self.peak_s = time.monotonic() - start
            if self.limit_bytes is not None and total > self.limit_bytes:
                self.killed = True
                for process in set(tree) - self._older:
                    with suppress(ProcessLookupError):
                        os.kill(process, signal.SIGKILL)
