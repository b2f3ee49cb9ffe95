"""Run with ``python -m``: opens one candidate in a fresh process and calls it once."""

from __future__ import annotations

import sys
import time
from typing import Any

from helpers.costs.channel import Channel, open_requested


def main() -> None:
    """Answer one request, and end."""
    channel = Channel()
    try:
        channel.reply(_first_call(channel.receive()))
    except Exception as error:  # whatever a runtime raises goes to the parent
        channel.reply_error(error)


def _first_call(request: dict[str, Any]) -> dict[str, Any]:
    runtime, import_ms, load_ms = open_requested(request["candidate"])
    loaded = time.perf_counter()
    call = _prepare(runtime, request)
    prepared = time.perf_counter()
    call()
    called = time.perf_counter()
    return {
        "import_ms": import_ms,
        "load_ms": load_ms,
        "inputs_ms": 1e3 * (prepared - loaded),
        "first_inference_ms": 1e3 * (called - prepared),
        "peak_rss_mib": peak_rss_mib(),
    }


def _prepare(runtime: Any, request: dict[str, Any]) -> Any:
    if request["inputs"] is None:
        from helpers.formats.sample_inputs import sample_inputs

        return runtime.prepare(sample_inputs(runtime.inputs, rows=1).arrays)
    from helpers.costs.inputs import load_inputs, prepare_batch

    return prepare_batch(runtime, load_inputs(request["inputs"]), request["rows"])


def peak_rss_mib() -> float | None:
    """Return the largest resident memory of this process so far, in MiB; None where unknown.

    It is ``VmHWM`` in ``/proc/self/status``, so Linux only. ``getrusage`` is no substitute: its
    ``ru_maxrss`` is inherited from the process that started this one, and a large notebook kernel
    would count as the peak of its smallest child.
    """
    if sys.platform != "linux":
        return None
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    return None


if __name__ == "__main__":
    main()
