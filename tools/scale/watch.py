"""What the processes of the run need and where they are, looked at now and then."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from tools.process_memory import proportional_bytes
from tools.scale.namespaces import network_of

PERIOD_S = 1.5


class Watch:
    """A thread that looks at all processes of this host and those below it. Use it in a ``with``.

    Args:
        replicas: asks the engine for those that run.

    Attributes:
        peak_mib: the most proportional memory (PSS) of all processes at one look.
        networks: for each network namespace, the most processes seen in it at one time.
        replicas: for each look, its time (`time.monotonic`) and the replicas that ran.
    """

    def __init__(self, replicas: Callable[[], Sequence[object]]) -> None:
        self._replicas = replicas
        self._stop = threading.Event()
        self.peak_mib = 0.0
        self.networks: Counter[str] = Counter()
        self.replicas: list[tuple[float, int]] = []

    def look(self) -> None:
        """Look once."""
        ids = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
        self.peak_mib = max(self.peak_mib, sum(proportional_bytes(ids)) / 2**20)
        found: Counter[str] = Counter()
        for each in ids:
            with suppress(OSError):  # it has ended since
                found[network_of(each)] += 1
        self.networks |= found
        with suppress(Exception):  # the engine is not up, or is busy with what the story did to it
            running = len(self._replicas())
            if running:  # while an application is being built anew, the engine lists none
                self.replicas.append((time.monotonic(), running))

    def _watch(self) -> None:
        while not self._stop.wait(PERIOD_S):
            self.look()

    def __enter__(self) -> Watch:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
