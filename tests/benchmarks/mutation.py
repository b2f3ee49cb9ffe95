"""Mutation testing: change the helpers on purpose, one operator at a time, and see a test fail.

    python tests/benchmarks/mutation.py tensors
    python tests/benchmarks/mutation.py parity runtimes latency size

Works on a copy in a temporary folder, with mutmut installed beside it, so that neither the
repository nor its environment changes. Prints the score and the survivors of each target.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MUTMUT = "mutmut==3.8.1"


@dataclass(frozen=True)
class Target:
    """What is mutated, and the tests that must notice.

    Attributes:
        modules: patterns of files.
        tests: test files; of these, mutmut runs those that reach the mutated function.
        without: names of tests that are too slow to run for every mutant.
    """

    modules: tuple[str, ...]
    tests: tuple[str, ...]
    without: tuple[str, ...] = ()


SLOW = ("mobilenet", "real_size", "uncalibrated", "two_million", "deep_model", "stale_weights")
TARGETS = {
    "tensors": Target(("helpers/tensors.py",), ("tests/test_tensors.py",)),
    "parity": Target(
        ("helpers/parity/check.py", "helpers/parity/compare.py", "helpers/parity/report.py",
         "helpers/parity/probe.py", "helpers/parity/golden.py"),
        ("tests/test_parity.py",),
        (*SLOW, "faithful_artifact", "augmentation"),
    ),
    "layers": Target(
        ("helpers/parity/layer*.py",), ("tests/test_compare_layers.py",), (*SLOW, "in_depth")
    ),
    "runtimes": Target(
        ("helpers/runtimes/*", "helpers/artifacts.py"),
        ("tests/test_runtimes.py", "tests/test_artifacts.py"),
    ),
    "latency": Target(("helpers/latency/statistics.py",), ("tests/test_latency.py",)),
    "size": Target(("helpers/size/*",), ("tests/test_size.py",)),
}  # fmt: skip


def main() -> int:
    """Run the named targets one after another."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="+", choices=TARGETS)
    parser.add_argument("--only", default="", help="names of mutants, such as '*error_ratio*'")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        packages = Path(folder) / "packages"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", packages, MUTMUT]
        subprocess.run(pip, check=True)
        for name in arguments.targets:
            run(name, Path(folder) / name, packages, arguments.only)
    return 0


def run(name: str, folder: Path, packages: Path, only: str) -> None:
    """Mutate one target in a copy of the repository and print what survived."""
    target = TARGETS[name]
    for part in ("helpers", "tests"):
        shutil.copytree(ROOT / part, folder / part)
    # setup.cfg, as pyproject.toml would win; without it pytest has none of its notebook options.
    lines = ["[mutmut]", "source_paths = helpers", "process_isolation = forkserver"]
    options = ["-q", "-x", "-p", "no:nbval", "-k", " and ".join(f"not {w}" for w in target.without)]
    lines += _entries("only_mutate", target.modules)
    lines += _entries("also_copy", ("helpers", "tests"))
    lines += _entries("pytest_add_cli_args", options if target.without else options[:4])
    lines += _entries("pytest_add_cli_args_test_selection", target.tests)
    (folder / "setup.cfg").write_text("\n".join(lines) + "\n")
    environment = {**os.environ, "PYTHONPATH": str(packages), "TF_CPP_MIN_LOG_LEVEL": "3"}
    start = time.monotonic()
    mutmut = [sys.executable, "-m", "mutmut"]
    command = [*mutmut, "run", "--max-children", "1", *([only] if only else [])]
    with (folder / "log").open("w") as log:
        code = subprocess.run(command, cwd=folder, env=environment, stdout=log, stderr=log)
    text = (folder / "log").read_text().replace("\r", "\n").strip().splitlines()
    print(f"{name}: exit {code.returncode}, {(time.monotonic() - start) / 60:.1f} minutes")
    print("\n".join(text[-2:] if code.returncode == 0 else text[-20:]))
    results = subprocess.run(
        [*mutmut, "results"], cwd=folder, env=environment, capture_output=True, text=True
    )
    print("\n".join(line for line in results.stdout.splitlines() if "not checked" not in line))


def _entries(key: str, values: tuple[str, ...] | list[str]) -> list[str]:
    return [f"{key} =", *(f"    {value}" for value in values)]


if __name__ == "__main__":
    sys.exit(main())
