"""Put together what was measured in several calls, and read off who won."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from helpers.costs.latency_report import LatencyReport

TIE = 0.1
"""What is within 10% of the best counts as equal: so much, a repeated measurement may differ."""


def join_latency(*reports: LatencyReport) -> LatencyReport:
    """Put reports on different candidates, with the same batch sizes, into one.

    Visits to candidates of different reports were not interleaved, which a note says.
    """
    if len(reports) == 1:
        return reports[0]
    notes = [note for report in reports for note in report.notes]
    notes.append(f"measured in {len(reports)} parts, one after the other")
    return replace(
        reports[0],
        results=tuple(result for report in reports for result in report.results),
        failures=tuple(failure for report in reports for failure in report.failures),
        call_floor_us=max(report.call_floor_us for report in reports),
        budget_s=sum(report.budget_s for report in reports),
        measured_s=sum(report.measured_s for report in reports),
        startup_s=sum(report.startup_s for report in reports),
        notes=tuple(dict.fromkeys(notes)),
    )


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
