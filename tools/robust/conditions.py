"""The conditions under which everything must hold, as data."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from helpers.lessons import SEED_SHIFT

NOTEBOOKS = ("01", "02", "03")
TESTS = "tests"
"""The tests that use trained models; conftest.py marks them `trained`."""
SAMPLE = "sample"
"""Those of them that judge models, by the answers and by the layers; `make test` runs these."""


@dataclass(frozen=True)
class Condition:
    """One row of the matrix.

    Attributes:
        name: the row's title.
        environment: variables that are set.
        targets: what runs: notebooks by their numbers, and `TESTS` where numbers may change.
        one_core: everything runs on one core.
        busy: a process that never rests runs on each core.
        together: the notebooks run in random order, two at a time.
        folder: the name of the folder that holds the copy of the repository.
        read_only: "repository" or "home": that folder cannot be written.
        offline: nothing but this machine can be reached.
        missing: tells why this machine cannot have the condition; empty when it can.
    """

    name: str
    environment: dict[str, str] = field(default_factory=dict)
    targets: tuple[str, ...] = NOTEBOOKS
    one_core: bool = False
    busy: bool = False
    together: bool = False
    folder: str = "repository"
    read_only: str = ""
    offline: bool = False
    missing: Callable[[], str] = str


def no_instructions(flag: str) -> str:
    """Tell whether the processor lacks a set of instructions (Linux on x86-64 alone says it)."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return "only processors of the x86-64 kind have these instructions"
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text(encoding="utf-8").split() if cpuinfo.exists() else []
    return "" if flag in flags else f"this processor has no {flag}"


def no_locale(name: str) -> str:
    """Tell whether a locale is missing on this machine, and what installs it."""
    known = subprocess.run(["locale", "-a"], capture_output=True, text=True, check=False)
    if name.lower().replace("-", "") in known.stdout.lower().split():
        return ""
    return f"the locale {name} is missing (Debian and Ubuntu: apt install locales-all)"


def no_namespaces() -> str:
    """Tell whether this user may give a command a view of its own of files and network."""
    if platform.system() != "Linux":
        return "only Linux has namespaces"
    command = [*namespaces("--mount", "--net"), "true"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"no right to make a namespace: {result.stderr.strip()}" if result.returncode else ""


def namespaces(*kinds: str) -> list[str]:
    """Return the start of a command that gets a view of its own (util-linux; see `man unshare`)."""
    as_user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *as_user, *kinds]


ALL = (*NOTEBOOKS, TESTS)
SEED_SHIFTS = 10


def _limited(isa: str, flag: str) -> Condition:
    return Condition(
        f"oneDNN up to {isa}",
        {"ONEDNN_MAX_CPU_ISA": isa},
        ALL,
        missing=lambda: no_instructions(flag),
    )


CONDITIONS: tuple[Condition, ...] = (
    Condition("as it is", {}, ALL),
    *(
        Condition(f"seeds moved by {shift}", {SEED_SHIFT: str(shift)}, ALL)
        for shift in range(1, SEED_SHIFTS + 1)
    ),
    # TensorFlow computes with oneDNN, which chooses its code by these names.
    _limited("SSE41", "sse4_1"),
    _limited("AVX2", "avx2"),
    _limited("AVX512_CORE", "avx512bw"),
    Condition("oneDNN off", {"TF_ENABLE_ONEDNN_OPTS": "0"}, ALL),
    Condition(
        "NumPy without AVX",
        {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR"},
        ALL,
        missing=lambda: no_instructions("avx512bw"),  # NumPy warns of what it does not have
    ),
    Condition(
        "OpenBLAS for Nehalem",
        {"OPENBLAS_CORETYPE": "Nehalem"},
        ALL,
        missing=lambda: no_instructions("sse4_2"),
    ),
    Condition("one core", {}, ALL, one_core=True),
    Condition("busy cores", {}, ALL, busy=True),
    Condition("two notebooks at a time", {}, NOTEBOOKS, together=True),
    # What changes no number is tried two at a time: a failure says what it stumbled over.
    Condition(
        "Turkish, Chatham Islands; home read-only",  # a time zone with three quarters of an hour
        {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8", "TZ": "Pacific/Chatham"},
        read_only="home",
        missing=lambda: no_locale("tr_TR.UTF-8") or no_namespaces(),
    ),
    Condition(
        "Korean, Seoul; path 모델 배포",
        {"LC_ALL": "ko_KR.UTF-8", "LANG": "ko_KR.UTF-8", "TZ": "Asia/Seoul"},
        folder="모델 배포 (copy)",
        missing=lambda: no_locale("ko_KR.UTF-8"),
    ),
    Condition(
        "repository read-only; no network",
        read_only="repository",
        offline=True,
        missing=no_namespaces,
    ),
)
