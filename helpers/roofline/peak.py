"""The float32 peak of this machine, and a result beside it."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

from helpers.workers.candidate import check_threads
from helpers.workers.process import Worker

WORKER_MODULE = "helpers.workers.gemm"
GEMM_SIZES = (512, 1024, 2048)
TIMEOUT_S = 120.0

MARGIN = 1.1
"""How much faster than the measured peak a float32 result may seem: no product quite reaches it.

A flag is a question, not a proof: Winograd's algorithm computes 3 x 3 convolutions in float32 with
2.25 times fewer multiplications (Lavin and Gray, CVPR 2016).
"""


@dataclass(frozen=True)
class RooflineCheck:
    """A result beside the floor.

    Attributes:
        p50_us: the measured time of one call.
        floor_us: the least time that the products need at the measured peak.
        gflops: the speed of the result, in 10**9 operations a second.
        peak_gflops: the measured peak of float32 products with as many threads.
    """

    p50_us: float
    floor_us: float
    gflops: float
    peak_gflops: float

    @property
    def peak_share(self) -> float:
        """The speed of the result as a share of the peak."""
        return self.gflops / self.peak_gflops

    @property
    def faster_than_float32(self) -> bool:
        """True when the result beats the peak by more than 10%."""
        return self.peak_share > MARGIN

    def __repr__(self) -> str:
        verdict = (
            "FASTER THAN FLOAT32 ALLOWS: look for bfloat16, int8 or skipped work"
            if self.faster_than_float32
            else "possible in float32"
        )
        return (
            f"{self.p50_us:.3g} us against a floor of {self.floor_us:.3g} us "
            f"({self.peak_share:.0%} of {self.peak_gflops:.0f} GFLOP/s): {verdict}"
        )


def gemm_peak_gflops(threads: int = 1, seconds: float = 3.0) -> float:
    """Measure how fast this machine multiplies float32 matrices, in 10**9 operations a second.

    Square products of 512, 1024 and 2048 with NumPy, in a fresh process whose numerical library is
    limited to `threads`; the fastest counts. A multiplication and an addition are two operations.

    Raises:
        ValueError: an argument out of range.
        WorkerError: the process did not answer.
    """
    check_threads(threads)
    if not 0 < seconds < math.inf:
        raise ValueError(f"seconds: expected a positive number, got {seconds!r}")
    with (
        tempfile.TemporaryDirectory(prefix="helpers_gemm_") as folder,
        Worker(WORKER_MODULE, Path(folder), threads) as worker,
    ):
        request = {"sizes": list(GEMM_SIZES), "seconds": seconds}
        return worker.ask(request, TIMEOUT_S + seconds)["gflops"]


def roofline_check(
    p50_us: float, flops_per_row: int, peak_gflops: float, batch_size: int = 1
) -> RooflineCheck:
    """Compare a measured latency with what float32 allows.

    Args:
        p50_us: of one call.
        flops_per_row: see `flops_per_inference`.
        peak_gflops: see `gemm_peak_gflops`; with as many threads as the result.
        batch_size: rows in the call.

    Raises:
        ValueError: an argument is not positive.
    """
    for name, value in (
        ("p50_us", p50_us),
        ("flops_per_row", flops_per_row),
        ("peak_gflops", peak_gflops),
        ("batch_size", batch_size),
    ):
        if not 0 < value < math.inf:
            raise ValueError(f"{name}: expected a positive number, got {value!r}")
    flops = flops_per_row * batch_size
    return RooflineCheck(p50_us, flops / peak_gflops / 1e3, flops / p50_us / 1e3, peak_gflops)
