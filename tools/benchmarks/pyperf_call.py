"""Time the prepared call of one candidate with pyperf; started by bench_latency.py.

    python pyperf_call.py REQUEST.json [options of pyperf]

The request names the candidate, the inputs and the batch size, as `helpers.costs` hands them to
its own workers, so that both tools time the same call.
"""

from __future__ import annotations

import json
from pathlib import Path

import pyperf

from helpers.costs.arrays import load_arrays, prepare_batch
from helpers.costs.messages import request_from
from helpers.costs.worker import keep_to_processors, open_requested


def main() -> None:
    """Let pyperf start a worker process that opens the candidate and times the call."""
    runner = pyperf.Runner(
        add_cmdline_args=lambda command, options: command.append(options.request)
    )
    runner.argparser.add_argument("request")
    options = runner.parse_args()
    call = None  # the process that only starts the worker opens nothing
    if options.worker:
        request = json.loads(Path(options.request).read_text())
        # Before TensorFlow starts its threads: pyperf's --affinity would come too late for them.
        candidate = request_from(request["candidate"])
        keep_to_processors(candidate.threads)
        runtime, _, _ = open_requested(candidate)
        call = prepare_batch(runtime, load_arrays(request["inputs"]), request["batch_size"])
    runner.bench_func("call", call)


if __name__ == "__main__":
    main()
