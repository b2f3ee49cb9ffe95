"""Put together what was measured in several calls, and read off who won."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from helpers.cold_start import ColdStartReport
from helpers.latency import LatencyReport
from helpers.scorecard.card import Scorecard

TIE = 0.1
"""What is within 10% of the best counts as equal: so much, a repeated measurement may differ."""


def join_latency(*reports: LatencyReport) -> LatencyReport:
    """Put reports with the same batch sizes into one; a name counts where it comes first.

    Visits to candidates of different reports were not interleaved, which a note says.
    """
    results, names = [], set()
    for report in reports:
        results += [each for each in report.results if each.candidate not in names]
        names |= {each.candidate for each in report.results}
    notes = [note for report in reports for note in report.notes]
    notes.append(f"measured in {len(reports)} parts, one after the other")
    return replace(
        reports[0],
        results=tuple(results),
        failures=tuple(failure for report in reports for failure in report.failures),
        call_floor_us=max(report.call_floor_us for report in reports),
        budget_s=sum(report.budget_s for report in reports),
        measured_s=sum(report.measured_s for report in reports),
        startup_s=sum(report.startup_s for report in reports),
        notes=tuple(dict.fromkeys(notes)),
    )


def join_scorecards(*cards: Scorecard) -> Scorecard:
    """Put the rows of several scorecards of one model into one.

    Use it where all processes at once would need too much memory.

    Raises:
        ValueError: an artifact is in more than one of them.
    """
    table = pd.concat([card.table for card in cards])
    if not table.index.is_unique:
        raise ValueError(f"expected each artifact in one scorecard only, got {list(table.index)}")
    latency = join_latency(*(card.latency for card in cards))
    notes = [note for card in cards for note in card.notes] + [latency.notes[-1]]
    return Scorecard(
        table,
        {name: report for card in cards for name, report in card.parity.items()},
        latency,
        ColdStartReport(
            tuple(result for card in cards for result in card.cold_starts.results),
            {name: why for card in cards for name, why in card.cold_starts.failures.items()},
        ),
        {name: size for card in cards for name, size in card.sizes.items()},
        tuple(dict.fromkeys(notes)),
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
