"""Numbers as people read them in a table."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def readable(value: object) -> str:
    """Write a cell of a table: three digits below 1000, whole thousands above, "-" for nothing.

    Truth values become "yes" and "no"; whole numbers and text stay as they are.
    """
    if value is None or value != value:  # None, or NaN: the only value unequal to itself
        return "-"
    if isinstance(value, bool | np.bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        if not np.isfinite(value):
            return "-"
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return str(value)


def counted(count: int, noun: str) -> str:
    """Write a number with its noun: "1 row", "1,200 rows", "2 processes"."""
    ending = "" if count == 1 else "es" if noun.endswith("s") else "s"
    return f"{count:,} {noun}{ending}"


def table_as_text(frame: pd.DataFrame, remarks: Sequence[str]) -> str:
    """Write a table with a row for each result, and a line for each remark."""
    table = frame.to_string(index=False, float_format=readable, na_rep="-")
    return "\n".join([table, *remarks])


def table_as_html(frame: pd.DataFrame, remarks: Sequence[str]) -> str:
    """Write the same for a notebook."""
    table = frame.to_html(index=False, float_format=readable, na_rep="-")
    items = "".join(f"<li>{escape(remark)}</li>" for remark in remarks)
    return f"{table}<ul>{items}</ul>"
