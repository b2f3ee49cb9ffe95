"""The command line: ``python -m helpers.cold_start FILE...``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from helpers.cold_start.measure import compare_cold_starts


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 1 when an artifact failed."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers.cold_start",
        description="Measure import, load, first inference and peak memory in fresh processes.",
    )
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="a .keras, .h5 or .onnx file, or a SavedModel folder",
    )
    parser.add_argument("--repeats", type=int, default=5, help="measured processes (default: 5)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args(arguments)
    try:
        report = compare_cold_starts(
            {file: file for file in options.files}, repeats=options.repeats
        )
    except ValueError as error:
        parser.error(str(error))
    if options.json:
        rows = json.loads(report.to_frame().to_json(orient="records"))
        print(json.dumps({"results": rows, "failures": report.failures}, indent=2))
    else:
        print(report)
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
