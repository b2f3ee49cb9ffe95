"""What the run needs of the machine; each thing that is missing is told in one clear line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from tools.scale.namespaces import isolated

MEMORY_NEEDED_MIB = 3 * 1024
PROGRAMS = {"unshare": "util-linux", "ip": "iproute2", "mount": "mount"}
PROBE = ("ip", "link", "add", "probe-1", "type", "veth", "peer", "name", "probe-2")
PROBE_TIMEOUT_S = 20


class Refusal(RuntimeError):
    """Something is missing: what was expected, what is there, what to do."""


def check_demands(environment: Path) -> None:
    """Look for everything that the run needs, the cheapest first.

    Args:
        environment: the folder of the Ray environment.

    Raises:
        Refusal: the first thing that is missing.
    """
    check_system(sys.platform)
    check_engine(environment)
    check_memory(available_memory_mib())
    check_rights(isolated(PROBE))


def check_system(platform: str) -> None:
    """Refuse systems without network namespaces."""
    if platform != "linux":
        raise Refusal(f"two hosts need network namespaces of Linux, and this is {platform}. "
                      "Run it in a Linux virtual machine.")  # fmt: skip
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            raise Refusal(f"the program {program} is missing. Install {package} "
                          f"(Debian and Ubuntu: apt install {package}).")  # fmt: skip


def check_engine(environment: Path) -> None:
    """Refuse an environment without Ray."""
    if not (environment / "bin" / "ray").exists():
        raise Refusal(f"there is no Ray in {environment.name}. Run it as: make scale")


def check_memory(available_mib: float) -> None:
    """Refuse a machine on which the run would starve others, or be ended half-way."""
    if available_mib < MEMORY_NEEDED_MIB:
        raise Refusal(
            f"{MEMORY_NEEDED_MIB / 1024:g} GiB of free memory are needed, and "
            f"{available_mib / 1024:.1f} GiB are free. End other programs, such as notebooks."
        )


def check_rights(probe: list[str]) -> None:
    """Refuse when two hosts cannot be made; a run on one host would listen at every address."""
    try:
        result = subprocess.run(
            probe, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=PROBE_TIMEOUT_S, check=False,
        )  # fmt: skip
        failed, reason = result.returncode, " ".join(result.stderr.split())
    except (OSError, subprocess.TimeoutExpired) as error:
        failed, reason = 1, str(error)
    if failed:
        raise Refusal(
            f"network namespaces cannot be made here ({reason or 'no reason given'}), and without "
            "them Ray would listen at every address of this machine, so nothing was started. Run "
            "it as root, or on a machine that gives users namespaces of their own."
        )


def available_memory_mib() -> float:
    """Return the memory that can still be used: the machine's, or this container's if less."""
    fields = dict(
        line.split(":") for line in Path("/proc/meminfo").read_text().splitlines() if ":" in line
    )
    found = [int(fields["MemAvailable"].split()[0]) / 1024]
    group = Path("/sys/fs/cgroup")
    with suppress(OSError, ValueError):  # no such file, or "max"
        limit = int((group / "memory.max").read_text())
        found.append((limit - int((group / "memory.current").read_text())) / 2**20)
    return min(found)


def can_use_namespaces() -> bool:
    """Tell whether two hosts can be made here; tests ask."""
    with suppress(Refusal):
        check_system(sys.platform)
        check_rights(isolated(PROBE))
        return True
    return False


def machine_network() -> str:
    """Name the network namespace of the machine, in which nothing of the run may be."""
    return os.readlink("/proc/self/ns/net")
