"""Run the matrix of conditions and print one table: ``make robust``.

It can be stopped with Ctrl-C at any time. The next run goes on where this one stopped, and runs
again what depends on a file that has changed since. The exit status is 1 when anything failed or
did not run.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from robust.conditions import CONDITIONS, NOTEBOOKS, Condition
from robust.results import Results, fingerprints, to_frame
from robust.run import Runner

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv*", "build", "__pycache__", ".*_cache", ".hypothesis"
)

Task = tuple[Condition, str]


def tasks_of(condition: Condition) -> Iterator[Task]:
    """Yield what runs under a condition, one command each."""
    if condition.together:
        yield condition, " ".join(condition.targets)
    else:
        yield from ((condition, target) for target in condition.targets)


def copy_repository(folder: Path) -> Path:
    """Copy the repository's files, without what `make` built, and return the copy."""
    return shutil.copytree(ROOT, folder, ignore=LEFT_OUT, symlinks=True)


def run_tasks(tasks: list[Task], trees: Path, results: Results, jobs: int) -> None:
    """Run the tasks, several at a time, and print a line for each one that ends."""
    runners = {
        folder: Runner(copy_repository(trees / folder))
        for folder in {condition.folder for condition, _ in tasks}
    }
    start, done = time.perf_counter(), itertools.count(1)
    with ThreadPoolExecutor(jobs) as pool:
        waiting = {
            pool.submit(runners[condition.folder].run, condition, target): condition
            for condition, target in tasks
        }
        try:
            for future in as_completed(waiting):
                number = next(done)
                minutes = (time.perf_counter() - start) / number * (len(tasks) - number) / 60
                for result in future.result():
                    results.add(result)
                    word = "FAILED" if result.failures else "passed"
                    print(
                        f"[{number}/{len(tasks)}] {result.condition}, {result.target}: {word}, "
                        f"{result.seconds:.0f} s; about {minutes:.0f} minutes left",
                        *result.failures, sep="\n    ", flush=True,
                    )  # fmt: skip
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            for runner in runners.values():
                runner.stop()
            raise


def print_table(conditions: list[Condition], results: Results, missing: dict[str, str]) -> bool:
    """Print the table and what it means; tell whether all that could be tried passed."""
    table = to_frame(conditions, results, missing)
    print(table.to_string())
    cells = list(table.to_numpy().ravel())
    failed = [result for result in results.all() if result.failures]
    for number in NOTEBOOKS:
        runs = [each for each in results.all() if each.target == number]
        bad = sum(bool(each.failures) for each in runs)
        print(f"notebook {number}: {len(runs)} strict runs, {bad} failed")
    for result in failed:
        print(f"FAILED {result.condition}, {result.target}:", *result.failures, sep="\n    ")
    for name, reason in missing.items():
        print(f"not tried here: {name}: {reason}")
    if "not run yet" in cells:
        print("Not everything has run. The same command goes on from here.")
    return not failed and "not run yet" not in cells


def main(arguments: list[str] | None = None) -> int:
    """Run what has no result yet; print the table. Return the exit status."""
    parser = argparse.ArgumentParser(prog="make robust", description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="rows whose name holds this text")
    parser.add_argument("--targets", default="", help='columns, such as "01 tests"')
    parser.add_argument("--jobs", type=int, default=1, help="commands at a time (default: 1)")
    parser.add_argument("--again", action="store_true", help="also run what failed before")
    parser.add_argument("--table", action="store_true", help="run nothing, print the table")
    options = parser.parse_args(arguments)
    conditions = [each for each in CONDITIONS if options.only in each.name]
    if not conditions:
        parser.error(
            f"no row holds {options.only!r}; there are: {', '.join(c.name for c in CONDITIONS)}"
        )
    missing = {each.name: reason for each in conditions if (reason := each.missing())}
    build = ROOT / "build" / "robust"
    build.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=build) as scratch:
        trees = Path(scratch)
        results = Results(build / "results.jsonl", fingerprints(copy_repository(trees / "state")))
        tasks = [] if options.table else [
            (condition, target)
            for condition in conditions if condition.name not in missing
            for _, target in tasks_of(condition)
            if not options.targets or set(target.split()) & set(options.targets.split())
            if any(
                (found := results.get(condition.name, name)) is None
                or (options.again and found.failures)
                for name in target.split()
            )
        ]  # fmt: skip
        try:
            run_tasks(tasks, trees, results, options.jobs)
        except KeyboardInterrupt:
            print("stopped")
    return 0 if print_table(conditions, results, missing) else 1


if __name__ == "__main__":
    sys.exit(main())
