"""``python -m tools.scale [--short]``: the command line behind ``make scale``."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from helpers.costs.fault_report import STORED
from tools.scale.demands import Refusal, check_demands, machine_network
from tools.scale.supervisor import REPORT, run_in_a_host

ROOT = Path(__file__).resolve().parents[2]
LIFE_S = 360.0


def main(arguments: list[str] | None = None) -> int:
    """Run the story; return 0 when every promise holds, 1 when not, 2 when it cannot start."""
    parser = argparse.ArgumentParser(
        prog="make scale", description="Two hosts, one model, and what clients lose."
    )
    parser.add_argument(
        "--short", action="store_true", help="clients with retry only, in 2 minutes"
    )
    parser.add_argument("--if-possible", action="store_true",
                        help="where two hosts cannot be made: say so, and end well")  # fmt: skip
    parser.add_argument("--store", action="store_true",
                        help="keep the report for lesson 2, when every promise holds")  # fmt: skip
    parser.add_argument("--environment", type=Path, default=ROOT / ".venv-scale",
                        help="the folder of the Ray environment")  # fmt: skip
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "scale",
                        help="the folder for the report and the figure")  # fmt: skip
    given = parser.parse_args(arguments)
    environment, output = given.environment.resolve(), given.output.resolve()
    try:
        check_demands(environment)
        output.mkdir(parents=True, exist_ok=True)
    except (Refusal, OSError) as error:
        print(f"make scale: {error}", file=sys.stderr)
        return 0 if given.if_possible and isinstance(error, Refusal) else 2
    command = [sys.executable, "-m", "tools.scale.story", "--binaries", str(environment / "bin"),
               "--output", str(output), "--machine-network", machine_network(),
               "--life-s", f"{LIFE_S:g}", *(["--short"] if given.short else [])]  # fmt: skip
    os.chdir(ROOT)
    code, left = run_in_a_host(command, dict(os.environ), LIFE_S + 10)
    kept = "BROKEN" if left else "kept  "
    print(f"{kept}  everything is gone at the end: {len(left)} processes left")
    if given.store and code == 0 and not left:
        shutil.copyfile(output / REPORT, STORED)
    return 1 if left else code


if __name__ == "__main__":
    sys.exit(main())
