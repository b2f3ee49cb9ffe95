"""How long a call takes, measured so that the comparison holds.

1. Every candidate runs in a process of its own, with a stated number of threads.
2. Visits to the candidates are interleaved, in a new random order each round. Measured one after
   the other, identical candidates differed by up to 40% here; interleaved, by about 1%.
3. Every batch size is warmed up first: the first calls trace, compile and allocate.
4. The median and the quartiles are reported, and a percentile only with enough calls.
5. What is timed is the whole call: NumPy arrays in, NumPy arrays out.
"""

from helpers.latency.calls import median_seconds
from helpers.latency.measure import measure_latency, measure_throughput
from helpers.latency.report import LatencyReport, ThroughputReport
from helpers.latency.results import Failure, LatencyResult, ThroughputResult
from helpers.workers.candidate import Candidate
from helpers.workers.process import WorkerError

__all__ = [
    "Candidate",
    "Failure",
    "LatencyReport",
    "LatencyResult",
    "ThroughputReport",
    "ThroughputResult",
    "WorkerError",
    "measure_latency",
    "measure_throughput",
    "median_seconds",
]
