"""Numbers as people read them in a table."""

from __future__ import annotations

import numpy as np


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
