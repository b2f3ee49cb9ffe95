"""The memory of a server's processes, from Linux's ``/proc``."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")


def processes_of_session(leader: int) -> list[int]:
    """Return the ids of the processes of the session that a process leads; none off Linux."""
    found = []
    for path in PROC.glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended since
            # The name in brackets may hold anything; state, parent, group and session follow it.
            state, _, _, session = path.read_text().rpartition(")")[2].split()[:4]
            if int(session) == leader and state != "Z":
                found.append(int(path.parent.name))
    return sorted(found)


def peak_memory_mib(processes: Iterable[int]) -> float | None:
    """Add up the proportional memory (PSS) of processes, and what each needed more at its peak.

    Returns:
        MiB, or None where ``/proc`` does not tell.
    """
    total_kib = 0
    for process in processes:
        with suppress(OSError):  # it has ended since
            shared = _read(PROC / str(process) / "smaps_rollup", ("Pss",))
            own = _read(PROC / str(process) / "status", ("VmHWM", "VmRSS"))
            total_kib += shared["Pss"] + max(0, own["VmHWM"] - own["VmRSS"])
    return total_kib / 2**10 if total_kib else None


def _read(path: Path, names: tuple[str, ...]) -> dict[str, int]:
    """Read lines such as ``Pss:  1024 kB``."""
    fields = (line.split() for line in path.read_text().splitlines())
    return {field[0][:-1]: int(field[1]) for field in fields if field[0][:-1] in names}
