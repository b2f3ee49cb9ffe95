"""What a cold start took: one record for each process, and the medians of an artifact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

Phase = Literal["import_ms", "load_ms", "first_inference_ms", "total_ms"]
PHASES: tuple[Phase, ...] = ("import_ms", "load_ms", "first_inference_ms", "total_ms")


@dataclass(frozen=True)
class ColdStartRun:
    """One fresh process; see `ColdStart` for the fields."""

    import_ms: float
    load_ms: float
    first_inference_ms: float
    total_ms: float
    peak_rss_mib: float | None


@dataclass(frozen=True, repr=False)
class ColdStart:
    """The cold start of one artifact: medians over several fresh processes.

    Attributes:
        candidate: its name.
        runs: every measured process.
        page_cache: "warm" when an unmeasured process has run before the measured ones, so that the
            files were already in memory; else "unknown". On a machine that has not read them yet,
            reading them from disk comes on top.
    """

    candidate: str
    runs: tuple[ColdStartRun, ...]
    page_cache: Literal["warm", "unknown"]

    @property
    def import_ms(self) -> float:
        """The runtime's imports (TensorFlow, Keras or ONNX Runtime, and NumPy)."""
        return self.median("import_ms")

    @property
    def load_ms(self) -> float:
        """From the path to a model that can be called."""
        return self.median("load_ms")

    @property
    def first_inference_ms(self) -> float:
        """The first call, which may trace and allocate."""
        return self.median("first_inference_ms")

    @property
    def total_ms(self) -> float:
        """From the start of the Python interpreter to the first answer, without making inputs."""
        return self.median("total_ms")

    @property
    def peak_rss_mib(self) -> float | None:
        """The largest resident memory (``VmHWM``, Linux); None where it was not measured."""
        peaks = [run.peak_rss_mib for run in self.runs if run.peak_rss_mib is not None]
        return float(np.median(peaks)) if peaks else None

    def median(self, phase: Phase) -> float:
        """Return the median of a phase over all runs."""
        return float(np.median([getattr(run, phase) for run in self.runs]))

    def spread_ms(self, phase: Phase = "total_ms") -> float:
        """Return the distance between the slowest and the fastest run in a phase."""
        return float(np.ptp([getattr(run, phase) for run in self.runs]))

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each run."""
        return pd.DataFrame(self.runs)

    def __repr__(self) -> str:
        memory = "not measured" if self.peak_rss_mib is None else f"{self.peak_rss_mib:.0f} MiB"
        return (
            f"{self.candidate}: {self.total_ms:.0f} ms to the first answer "
            f"(import {self.import_ms:.0f}, load {self.load_ms:.0f}, first inference "
            f"{self.first_inference_ms:.1f}; slowest - fastest of {len(self.runs)} runs: "
            f"{self.spread_ms():.0f}), peak memory {memory}, page cache {self.page_cache}"
        )


@dataclass(frozen=True, repr=False)
class ColdStartReport:
    """The cold starts of several artifacts, measured in turn.

    Attributes:
        results: of the artifacts that answered.
        failures: what happened to the others, by name.
    """

    results: tuple[ColdStart, ...]
    failures: Mapping[str, str]

    def result(self, candidate: str) -> ColdStart:
        """Return one result.

        Raises:
            KeyError: there is none; the message says why when it failed.
        """
        for result in self.results:
            if result.candidate == candidate:
                return result
        reason = self.failures.get(candidate, f"known are {[r.candidate for r in self.results]}")
        raise KeyError(f"no result for {candidate!r}: {reason}")

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each artifact; memory that was not measured is NaN."""
        return pd.DataFrame(
            [
                {
                    "candidate": result.candidate,
                    **{phase: result.median(phase) for phase in PHASES},
                    "spread_ms": result.spread_ms(),
                    "peak_rss_mib": result.peak_rss_mib,
                    "runs": len(result.runs),
                    "page_cache": result.page_cache,
                }
                for result in self.results
            ]
        )

    def __repr__(self) -> str:
        lines = [f"FAILED {name}: {reason}" for name, reason in self.failures.items()]
        if self.results:
            frame = self.to_frame()
            lines.insert(0, frame.to_string(index=False, float_format="{:.0f}".format, na_rep="-"))
        return "\n".join(lines)
