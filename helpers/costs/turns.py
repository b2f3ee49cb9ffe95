"""In which order competitors take their turns, so that a slow moment hits all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")


def random_orders(items: Sequence[Item], seed: int) -> Iterator[list[Item]]:
    """Yield one order after the other, without end; each holds every item once."""
    random = np.random.default_rng(seed)
    while True:
        yield [items[index] for index in random.permutation(len(items))]
