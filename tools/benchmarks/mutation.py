"""Mutation testing: change the helpers on purpose, one operator at a time, and see a test fail.

    python tools/benchmarks/mutation.py tensors
    python tools/benchmarks/mutation.py parity runtimes latency size --keep /tmp/mutants

Works on a copy in a temporary folder, with mutmut installed beside it, so that neither the
repository nor its environment changes. Prints the score of each target, and its survivors as
differences. A folder that is kept is taken up again: mutants with an outcome are not run twice.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import fnmatch
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from mutants.results import DETECTED, append, note_crash, pending, read

ROOT = Path(__file__).resolve().parents[2]
MUTMUT = "mutmut==3.8.1"
SILENCE_S = 900.0
"""A process that says nothing for so long hangs outside Python, where no alarm reaches it."""


@dataclass(frozen=True)
class Target:
    """What is mutated, and the tests that must notice.

    Attributes:
        modules: patterns of files.
        tests: test files; of these, each mutant meets those that reach its function.
        select: pytest's expression for the tests that are quick enough to run for every mutant.
    """

    modules: tuple[str, ...]
    tests: tuple[str, ...]
    select: str = ""


SLOW = "mobilenet or real_size or uncalibrated or two_million or deep_model or stale_weights"
TARGETS = {
    "tensors": Target(("helpers/formats/tensors.py",), ("tests/test_tensors.py",)),
    "latency": Target(
        ("helpers/costs/statistics.py", "helpers/costs/latency_results.py"),
        ("tests/test_latency.py",),
        "percentile or statistics or enough or noise or warning or scenario or report or best",
    ),
    "size": Target(
        ("helpers/formats/__init__.py", "helpers/formats/format.py", "helpers/costs/install.py"),
        ("tests/test_size.py", "tests/test_formats.py"),
    ),
    "runtimes": Target(
        ("helpers/formats/runtime.py", "helpers/formats/keras*.py", "helpers/formats/onnx.py",
         "helpers/formats/saved_model.py", "helpers/formats/identify.py"),
        ("tests/test_runtimes.py", "tests/test_artifacts.py", "tests/test_size.py",
         "tests/test_formats.py"),
        "not (anywhere or no_bytes or any_name or flipped or needs_no)",
    ),
    "parity": Target(
        ("helpers/parity/check.py", "helpers/parity/compare.py", "helpers/parity/report.py",
         "helpers/parity/probe*.py", "helpers/parity/golden*.py", "helpers/parity/pairing.py",
         "helpers/parity/spread.py"),
        ("tests/test_parity.py", "tests/test_parity_families.py"),
        f"not ({SLOW} or faithful_artifact or augmentation) "
        "and not (planted_fault and not (nan or class or shifted))",
    ),
    "layers": Target(
        ("helpers/parity/layer*.py",), ("tests/test_compare_layers.py",), f"not ({SLOW} or depth)"
    ),
}  # fmt: skip


def main() -> int:
    """Run the named targets one after another."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="+", choices=TARGETS)
    parser.add_argument("--only", default="*", help="names of mutants, such as '*error_ratio*'")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="work here, and leave it")
    again = "run the survivors once more, with the tests as they are now"
    parser.add_argument("--again", action="store_true", help=again)
    parser.add_argument("--limit", default="inf", metavar="SECONDS",
                        help="what is alive after so long counts as survived")  # fmt: skip
    arguments = parser.parse_args()
    os.environ["MUTANT_LIMIT_S"] = arguments.limit
    with tempfile.TemporaryDirectory() as temporary:
        base = (arguments.keep or Path(temporary)).resolve()
        for name in arguments.targets:
            folder = base / name
            if not (folder / "mutants.json").exists():
                prepare(TARGETS[name], folder, base / "packages", arguments.only)
            elif arguments.again:
                forget_survivors(folder)
            run(TARGETS[name], folder)
            report(name, folder)
    return 0


def prepare(target: Target, folder: Path, packages: Path, only: str) -> None:
    """Copy the repository and write the mutants into the copy."""
    if not packages.exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", packages, MUTMUT]
        subprocess.run(pip, check=True)
    for part in ("helpers", "tests", "tools"):
        shutil.copytree(ROOT / part, folder / part)
    switch = folder / "tools" / "benchmarks" / "mutants" / "switch.py"
    shutil.copyfile(switch, folder / "helpers" / "mutant_switch.py")
    (folder / "setup.cfg").write_text("[mutmut]\nsource_paths = helpers\n")
    files = sorted({path for pattern in target.modules for path in folder.glob(pattern)})
    generate = [sys.executable, "-m", "mutants.generate", *(f.relative_to(folder) for f in files)]
    written = subprocess.run(
        generate, cwd=folder, env=_environment(folder, packages), check=True, stdout=subprocess.PIPE
    )
    names = [name for name in json.loads(written.stdout) if fnmatch.fnmatch(name, only)]
    (folder / "mutants.json").write_text(json.dumps(names))


def forget_survivors(folder: Path) -> None:
    """Take the tests from the repository again, and drop what they are to be tried on."""
    for part in ("tests", "tools"):
        shutil.copytree(ROOT / part, folder / part, dirs_exist_ok=True)
    (folder / "tests.json").unlink(missing_ok=True)
    results = folder / "results.jsonl"
    detected = [each for each in read(results).values() if each.outcome in DETECTED]
    results.unlink()
    for each in detected:
        append(results, each)


def run(target: Target, folder: Path) -> None:
    """Start one process after another until every mutant has an outcome."""
    mutants = json.loads((folder / "mutants.json").read_text())
    results = folder / "results.jsonl"
    results.touch()
    command = [sys.executable, "-m", "pytest", "-p", "mutants.loop", "-p", "no:nbval", "-q"]
    # Not where pytest puts its files: the next pytest on this machine may remove them there.
    command += ["--tb=native", "--basetemp", folder / "files", *target.tests]
    command += ["-o", "tmp_path_retention_policy=none"]
    command += ["-k", target.select] if target.select else []
    while pending(results, mutants):
        before = results.read_text()
        with (folder / "log").open("a") as log:
            process = subprocess.Popen(
                command, cwd=folder, env=_environment(folder), stdout=log, stderr=log
            )
            while process.poll() is None:
                time.sleep(1)
                if time.time() - results.stat().st_mtime > SILENCE_S:
                    process.kill()
        if results.read_text() == before:
            raise SystemExit(f"the tests do not run without mutants; see {folder / 'log'}")
        note_crash(results)


def report(name: str, folder: Path) -> None:
    """Print the score, and how each survivor differs from the original."""
    results = read(folder / "results.jsonl").values()
    counts = Counter(each.outcome for each in results)
    detected = sum(counts[outcome] for outcome in DETECTED)
    for each in results:
        if each.outcome not in DETECTED:
            print(f"\n{each.outcome}: {each.mutant}\n{difference(folder, each.mutant)}")
    minutes = sum(each.seconds for each in results) / 60
    print(
        f"\n{name}: {detected} of {len(results)} mutants detected ({detected / len(results):.1%}) "
        f"in {minutes:.1f} minutes: {dict(counts)}"
    )


def difference(folder: Path, mutant: str) -> str:
    """Return the lines that a mutant changes, read from the mutated module."""
    module, _, name = mutant.rpartition(".")
    path = folder / f"{module.replace('.', '/')}.py"
    if not path.exists():
        path = folder / module.replace(".", "/") / "__init__.py"
    source = path.read_text()
    original = name.partition("__mutmut_")[0] + "__mutmut_orig"
    functions = {
        node.name: ast.get_source_segment(source, node).replace(node.name, "it").splitlines()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef) and node.name in (name, original)
    }
    lines = difflib.unified_diff(functions[original], functions[name], n=1, lineterm="")
    return "\n".join(list(lines)[2:])


def _environment(folder: Path, *more: Path) -> dict[str, str]:
    tools = folder / "tools"
    paths = [folder, tools, tools / "benchmarks", *more]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


if __name__ == "__main__":
    sys.exit(main())
