"""What to send when a test fails on your machine: ``make report``.

Prints the processor, the versions, and the tests that failed in the last ``make test``, which are
run once more for their messages. It sends nothing.
"""

from __future__ import annotations

import json
import locale
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    "tensorflow_cpu", "tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime", "openvino", "numpy",
    "h5py", "scikit-learn", "pandas", "matplotlib", "jupyterlab", "nbval",
)  # fmt: skip
INSTRUCTIONS = (
    "sse4_1", "avx", "avx2", "fma", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16",
    "amx_bf16", "asimd", "bf16", "sve",
)  # fmt: skip
"""The sets that change how a library computes, in the words of Linux."""
VARIABLES = (
    "KERAS_", "ONEDNN_", "DNNL_", "TF_CPP_", "TF_ENABLE_", "TF_XLA_", "OMP_", "OPENBLAS_", "NPY_",
    "MKL_", "LANG", "LC_", "TZ", "CI",
)  # fmt: skip
"""The beginnings of the names of variables that change how a library computes."""


def processor() -> dict[str, str]:
    """Describe the processor as far as the system tells: name, instructions, cores."""
    found = {"processor": platform.processor() or platform.machine(), "instructions": "unknown"}
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
        lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        facts = {key.strip(): value.strip() for key, value in lines.items()}
        found["processor"] = facts.get("model name", found["processor"])
        flags = (facts.get("flags") or facts.get("Features") or "").split()
        found["instructions"] = " ".join(name for name in INSTRUCTIONS if name in flags)
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return found | {"cores": f"{os.cpu_count()}, usable: {usable}"}


def memory() -> str:
    """Return the size of the memory in GiB, or that it is unknown."""
    try:
        pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has neither
        return "unknown"
    return f"{pages * size / 2**30:.1f} GiB"


def versions() -> dict[str, str]:
    """Return the version of each package that computes or compares; absent ones are left out."""
    installed = {each.metadata["Name"]: each.version for each in metadata.distributions()}
    return {name: installed[name] for name in PACKAGES if name in installed}


def machine() -> dict[str, str]:
    """Return all that is said of the machine, line by line."""
    set_here = {name: value for name, value in os.environ.items() if name.startswith(VARIABLES)}
    return {
        **processor(),
        "memory": memory(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "language": str(locale.setlocale(locale.LC_ALL, "")),
        "variables": " ".join(f"{name}={value}" for name, value in sorted(set_here.items())),
        **versions(),
    }


def last_failed(root: Path = ROOT) -> list[str]:
    """Return what failed in the last run: tests by name, notebooks as a whole."""
    found = root / ".pytest_cache" / "v" / "cache" / "lastfailed"
    if not found.is_file():
        return []
    names = json.loads(found.read_text(encoding="utf-8"))
    whole = (name.partition("::")[0] if ".ipynb" in name else name for name in names)
    return list(dict.fromkeys(whole))  # a cell alone would miss the cells before it


def main() -> int:
    """Print the report; run again what failed. Return 0 when nothing fails now."""
    for name, value in machine().items():
        print(f"{name:15} {value}".rstrip(), flush=True)
    failed = last_failed()
    print(f"failed in the last run: {len(failed)}", *failed, sep="\n  ", flush=True)
    if not failed:
        return 0
    command = [sys.executable, "-m", "pytest", "--quiet", "--tb=short", *failed]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
