"""The result of a comparison: the table, and the measurements behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

import pandas as pd

from helpers.costs.cold_start_results import ColdStartReport
from helpers.costs.latency_results import LatencyReport
from helpers.formats import ArtifactSize
from helpers.parity import ParityReport
from helpers.tables import readable

TIE = 0.1
"""What is within 10% of the best counts as equal: so much, a repeated measurement may differ."""


@dataclass(frozen=True, repr=False)
class Scorecard:
    """The table, and the measurements behind it.

    Attributes:
        table: one row for each artifact. Columns: ``parity`` ("passed", "FAILED", "reference" for
            the file that the others are compared with, "unproved" where a fault could not show in
            the inputs, or the reference gives other answers when it is asked twice), ``max_abs``,
            ``error_ratio``, ``size_kib``, ``cold_start_ms``, ``peak_rss_mib``, ``p50_us_N`` and
            ``p90_us_N`` for each batch size N, ``rows_per_s`` (at the best batch size),
            ``needs_tensorflow``, ``needs_your_code``, ``resumes_training``. What could not be
            measured is missing (NaN or None), and a note says why.
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


def best_rows(table: pd.DataFrame, column: str) -> list[str]:
    """List the artifacts that are best in a column of costs, or within 10% of the best.

    Args:
        table: such as `Scorecard.table`.
        column: one in which less is better; in ``rows_per_s``, more is.

    Raises:
        KeyError: there is no such column.
    """
    values = table[column].astype(float)
    costs = 1 / values if column == "rows_per_s" else values
    return list(table.index[costs <= (1 + TIE) * costs.min()])
