"""Run with ``python -m``: opens one artifact, answers with it, is timed, and weighs it.

What is asked and what is replied stands in `helpers.costs.messages`. Until the artifact is open,
only the standard library is imported besides what the artifact needs: the import is measured.
"""

from __future__ import annotations

import gc
import importlib
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.costs import messages
from helpers.costs.channel import Channel, die_with_parent, find_modules, import_alone

if TYPE_CHECKING:
    from helpers.formats import Runtime

WARM_UP_CALLS = 2
WARM_UP_S = 0.05
FLOOR_CALLS = 5000
MEMORY_SHARE = 0.8
LEAST_MEMORY = 2**30
LARGEST_FILE = 2**33


def main() -> None:
    """Do what is asked, one request after the other."""
    channel = Channel()
    die_with_parent()
    limit_resources()
    artifact = Artifact()
    while True:
        request = messages.request_from(channel.receive())
        try:
            channel.reply(asdict(artifact.reply(request)))
        except Exception as error:  # whatever a runtime raises goes to the manager's side
            channel.reply_error(error)
        if artifact.timed:
            gc.collect()


class Artifact:
    """The artifact of this process, from its file to its timed calls."""

    def __init__(self) -> None:
        self._calls: dict[int, Callable[[], Any]] = {}
        self._runtime: Runtime | None = None
        self._path: str | None = None
        self.timed = False
        self._answers_to: dict[type[Any], Callable[[Any], Any]] = {
            messages.Open: self._open,
            messages.Answer: self._answer,
            messages.WarmUp: self._warm_up,
            messages.Visit: self._visit,
            messages.Weigh: _weigh,
            messages.RunGolden: self._run_golden,
            messages.FindSpread: self._find_spread,
        }

    def reply(self, request: messages.Request) -> Any:
        """Do what one message asks, and return the reply that belongs to it."""
        return self._answers_to[type(request)](request)

    def _open(self, request: messages.Open) -> messages.Opened:
        self._runtime, import_ms, load_ms = open_requested(request)
        self._path = request.path
        specs = [
            [[spec.name, spec.shape, spec.dtype] for spec in tensors]
            for tensors in (self._runtime.inputs, self._runtime.outputs)
        ]
        return messages.Opened(self._runtime.name, *specs, import_ms, load_ms)

    def _answer(self, request: messages.Answer) -> messages.Answered:
        from helpers.costs.arrays import load_arrays, prepare_batch, save_arrays

        call = prepare_batch(self._runtime, load_arrays(request.arrays))
        start = time.perf_counter()
        results = call()
        called_ms = 1e3 * (time.perf_counter() - start)
        peak = peak_rss_mib()
        named = {str(number): array for number, array in enumerate(results)}
        save_arrays(Path(request.answers), named)
        return messages.Answered(called_ms, peak)

    def _warm_up(self, request: messages.WarmUp) -> messages.Warm:
        """Prepare to be timed: the processors, every batch size, and a collector that rests."""
        from helpers.costs.arrays import load_arrays, prepare_batch

        keep_to_processors(request.threads)
        inputs = load_arrays(request.arrays)
        failures: dict[str, str] = {}
        for size in request.batch_sizes:
            try:
                call = prepare_batch(self._runtime, inputs, size)
                _call_until_warm(call)
                self._calls[size] = call
            except Exception as error:
                failures[str(size)] = " ".join(str(error).split())
        floor = time_calls(partial(list, inputs), 1.0, FLOOR_CALLS).nanoseconds
        gc.collect()
        gc.freeze()
        gc.disable()
        self.timed = True
        return messages.Warm(failures, sorted(floor)[len(floor) // 2])

    def _visit(self, request: messages.Visit) -> messages.Visited:
        return time_calls(self._calls[request.batch_size], request.seconds, request.max_calls)

    def _run_golden(self, request: messages.RunGolden) -> messages.Golden:
        """Run the float64 copy in this process: its memory is free again when this one ends."""
        from helpers.costs.arrays import load_arrays, save_arrays
        from helpers.parity.compare import as_mapping
        from helpers.parity.evidence import gather_evidence
        from helpers.parity.pairing import names_by_layer

        found = gather_evidence(self._runtime, self._path, load_arrays(request.arrays))
        golden = {} if found.golden is None else dict(as_mapping(found.golden))
        doubts = {
            f"{messages.DOUBT}{name}": each.doubt
            for name, each in golden.items()
            if getattr(each, "doubt", None) is not None
        }
        if golden:
            save_arrays(Path(request.answers), golden | doubts)
        layers = {name: list(getattr(each, "float32_layers", ())) for name, each in golden.items()}
        by_layer = names_by_layer(self._runtime)
        return messages.Golden(bool(golden), found.proves, found.note, layers, by_layer)

    def _find_spread(self, request: messages.FindSpread) -> messages.Spread:
        from helpers.costs.arrays import load_arrays, save_arrays
        from helpers.parity.spread import measure_spread

        feeds = load_arrays(request.arrays)
        save_arrays(Path(request.answers), measure_spread(self._runtime, feeds, request.size))
        return messages.Spread()


def limit_resources() -> None:
    """Refuse this process most of the free memory, and files without end (Linux).

    A small file can ask for any amount. Without a limit, the system ends some process to get memory
    back, perhaps the one that asked.
    """
    if sys.platform != "linux":
        return
    with open("/proc/meminfo") as lines:
        free_kib = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    memory = max(int(MEMORY_SHARE * free_kib * 2**10), LEAST_MEMORY)
    for kind, limit in ((resource.RLIMIT_DATA, memory), (resource.RLIMIT_FSIZE, LARGEST_FILE)):
        hard = resource.getrlimit(kind)[1]
        if hard == resource.RLIM_INFINITY or limit < hard:
            resource.setrlimit(kind, (limit, limit))


def open_requested(request: messages.Open) -> tuple[Runtime, float, float]:
    """Open an artifact as `Candidate.request` describes it.

    Returns:
        The runtime, and the milliseconds that the imports and the loading took. The package
        `helpers.formats` counts as import: it costs hardly more than NumPy, which every runtime
        needs.
    """
    find_modules(request.folders)
    start = time.perf_counter()
    kind = importlib.import_module("helpers.formats").FORMATS[request.kind]
    (import_alone if request.alone else importlib.import_module)(kind.framework)
    for module in request.imports:
        importlib.import_module(module)
    imported = time.perf_counter()
    more = kind.limit_threads(request.threads) if request.threads else {}
    runtime = kind.load(request.path, **more, **request.options)
    loaded = time.perf_counter()
    return runtime, 1e3 * (imported - start), 1e3 * (loaded - imported)


def _weigh(request: messages.Weigh) -> messages.Weighed:
    from helpers.formats import artifact_size, read_traits

    size = artifact_size(request.path)
    fields = {**asdict(size), "path": request.path}
    return messages.Weighed(fields, asdict(read_traits(request.path, size)))


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


def keep_to_processors(threads: int) -> None:
    """Give this process as many processors as threads, where the system can do that (Linux).

    TensorFlow hands each call to other threads, and where these wake up decides how long it takes:
    205 or 310 us for one and the same SavedModel, on two processors with one thread. Entered
    twice, it differed from itself by up to 26%, and by at most 2.7% with one processor.

    Threads that exist by now are moved too: the artifact is open already.
    """
    if not hasattr(os, "sched_setaffinity"):
        return
    processors = sorted(os.sched_getaffinity(0))[-threads:]
    for thread in os.listdir("/proc/self/task"):
        os.sched_setaffinity(int(thread), processors)


def _call_until_warm(call: Callable[[], Any]) -> None:
    """Call at least twice: the first calls trace, compile and allocate."""
    end = time.perf_counter() + WARM_UP_S
    done = 0
    while done < WARM_UP_CALLS or time.perf_counter() < end:
        call()
        done += 1


def time_calls(call: Callable[[], Any], seconds: float, max_calls: int) -> messages.Visited:
    """Time single calls until the time or the number of calls is used up, at least one.

    One untimed call comes first: since the last visit, another process has had the caches.
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
    return messages.Visited(samples, cpu, max(after - start, 1))


if __name__ == "__main__":
    main()
