"""Run with ``python -m``: opens one candidate and times its calls, one visit after another."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from helpers.costs.channel import Channel, die_with_parent, open_requested

WARM_UP_CALLS = 2
WARM_UP_S = 0.05
FLOOR_CALLS = 5000


def main() -> None:
    """Answer the request to open the candidate, then requests to time it."""
    channel = Channel()
    die_with_parent()
    try:
        calls, ready = _open(channel.receive())
    except Exception as error:  # whatever a runtime raises goes to the parent
        channel.reply_error(error)
        return
    channel.reply(ready)
    gc.collect()
    gc.freeze()
    gc.disable()
    while True:
        visit = channel.receive()
        try:
            channel.reply(
                time_calls(calls[visit["batch_size"]], visit["seconds"], visit["max_calls"])
            )
        except Exception as error:
            channel.reply_error(error)
        gc.collect()


def _open(request: dict[str, Any]) -> tuple[dict[int, Callable[[], Any]], dict[str, Any]]:
    keep_to_processors(request["candidate"]["threads"])
    runtime, _, _ = open_requested(request["candidate"], alone=True)
    from helpers.costs.inputs import load_inputs, prepare_batch

    inputs = load_inputs(request["inputs"])
    calls: dict[int, Callable[[], Any]] = {}
    failures: dict[int, str] = {}
    for size in request["batch_sizes"]:
        try:
            call = prepare_batch(runtime, inputs, size)
            _warm_up(call)
            calls[size] = call
        except Exception as error:
            failures[size] = " ".join(str(error).split())
    floor = time_calls(partial(_empty, dict(inputs)), 1.0, FLOOR_CALLS)["nanoseconds"]
    floor_ns = sorted(floor)[len(floor) // 2]
    return calls, {"runtime": runtime.name, "failures": failures, "floor_ns": floor_ns}


def keep_to_processors(threads: int) -> None:
    """Give this process as many processors as threads, where the system can do that (Linux).

    TensorFlow hands each call to other threads, and where these wake up decides how long it takes:
    205 or 310 us for one and the same SavedModel, on two processors with one thread. Entered
    twice, it differed from itself by up to 26%, and by at most 2.7% with one processor.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])


def _empty(feeds: dict[str, Any]) -> list[Any]:
    """Do what a prepared call does, without the model."""
    return list(feeds)


def _warm_up(call: Callable[[], Any]) -> None:
    """Call at least twice: the first calls trace, compile and allocate."""
    end = time.perf_counter() + WARM_UP_S
    done = 0
    while done < WARM_UP_CALLS or time.perf_counter() < end:
        call()
        done += 1


def time_calls(call: Callable[[], Any], seconds: float, max_calls: int) -> dict[str, Any]:
    """Time single calls until the time or the number of calls is used up, at least one.

    One untimed call comes first: since the last visit, another process has had the caches.

    Returns:
        ``nanoseconds`` of each call; ``cpu_ns``, the processor time of all threads of this process
        in the visit, and ``wall_ns``, its duration.
    """
    clock = time.perf_counter_ns
    samples: list[int] = []
    call()
    cpu_start = time.process_time_ns()
    start = after = clock()
    end = start + int(seconds * 1e9)
    while after < end and len(samples) < max_calls:
        before = clock()
        call()
        after = clock()
        samples.append(after - before)
    cpu = time.process_time_ns() - cpu_start
    return {"nanoseconds": samples, "cpu_ns": cpu, "wall_ns": max(after - start, 1)}


if __name__ == "__main__":
    main()
