"""Numbers in tables."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.tables import counted, readable


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (float("nan"), "-"),
        (float("inf"), "-"),
        (True, "yes"),
        (np.False_, "no"),
        (3.14159, "3.14"),
        (999.4, "999"),
        (12345.6, "12,346"),
        (np.float64(2.5e-7), "2.5e-07"),
        (42, "42"),
        ("passed", "passed"),
    ],
)
def test_a_cell_reads_well(value: object, text: str) -> None:
    assert readable(value) == text


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [(0, "row", "0 rows"), (1, "process", "1 process"), (1200, "process", "1,200 processes")],
)
def test_a_number_has_its_noun(count: int, noun: str, text: str) -> None:
    assert counted(count, noun) == text
