"""The result of a comparison: the table, and the measurements behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

import pandas as pd

from helpers.costs.cold_start_report import ColdStartReport
from helpers.costs.latency_report import LatencyReport
from helpers.formats import ArtifactSize
from helpers.parity import ParityReport
from helpers.tables import readable


@dataclass(frozen=True, repr=False)
class Scorecard:
    """The table, and the measurements behind it.

    Attributes:
        table: one row for each artifact. Columns: ``parity`` ("passed" or "FAILED"),
            ``max_abs``, ``error_ratio``, ``size_kib``, ``cold_start_ms``, ``peak_rss_mib``,
            ``p50_us_N`` and ``p90_us_N`` for each batch size N, ``rows_per_s`` (at the best batch
            size), ``needs_tensorflow``, ``needs_your_code``, ``resumes_training``. What could not
            be measured is missing (NaN or None), and a note says why.
        parity, latency, cold_starts, sizes: what the columns come from.
        notes: what a reader must know before trusting the table.
    """

    table: pd.DataFrame
    parity: Mapping[str, ParityReport]
    latency: LatencyReport
    cold_starts: ColdStartReport
    sizes: Mapping[str, ArtifactSize]
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        table = self.table.T.map(readable).to_string()
        return "\n".join([table, *(f"Note: {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        items = "".join(f"<li>{escape(note)}</li>" for note in self.notes)
        return f"{self.table.T.map(readable).to_html()}<ul>{items}</ul>"
