"""How long a fresh process needs from its start to its first answer, and how much memory.

On the command line: ``python -m helpers.cold_start FILE...``
"""

from helpers.cold_start.measure import compare_cold_starts, measure_cold_start
from helpers.cold_start.report import ColdStart, ColdStartReport, ColdStartRun

__all__ = [
    "ColdStart",
    "ColdStartReport",
    "ColdStartRun",
    "compare_cold_starts",
    "measure_cold_start",
]
