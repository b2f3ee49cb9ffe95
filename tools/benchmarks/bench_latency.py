"""Is the latency measurement itself right? To be run on a quiet machine; it takes minutes.

    python tools/benchmarks/bench_latency.py [--only same pyperf harness ratios] [--scale 1.0]

- same: an artifact entered twice differs by less than 5% in p50, in 19 of 20 runs.
- pyperf: p50 agrees within 5% with pyperf, which times the same calls in turn with us.
- harness: the measurement costs less than 1 microsecond a call.
- ratios: the relations between the runtimes are as measured before, within a factor of 1.5.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from latency_parts import PARTS, Bench, Verdicts, write_digits

from helpers.imports import quiet_import


def main() -> int:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--scale", type=float, default=1.0, help="of the measuring times")
    options = parser.parse_args()
    with quiet_import():
        import keras  # noqa: F401
    verdicts = Verdicts()
    with tempfile.TemporaryDirectory(prefix="bench_latency_") as folder:
        images = write_digits(Path(folder))
        for name in options.only:
            start = time.perf_counter()
            PARTS[name](Bench(Path(folder), images, options.scale, verdicts))
            print(f"({name}: {time.perf_counter() - start:.0f} s)", flush=True)
    return verdicts.close()


if __name__ == "__main__":
    sys.exit(main())
