"""Run with ``python -m``: times float32 matrix products with NumPy."""

from __future__ import annotations

import time
from typing import Any

from helpers.workers.channel import Channel, die_with_parent


def main() -> None:
    """Answer one request, and end."""
    channel = Channel()
    die_with_parent()
    try:
        channel.reply(_peak(**channel.receive()))
    except Exception as error:  # whatever goes wrong goes to the parent
        channel.reply_error(error)


def _peak(sizes: list[int], seconds: float) -> dict[str, Any]:
    """Return the best rate of all square products, in 10**9 operations a second."""
    import numpy as np

    random = np.random.default_rng(0)
    best = 0.0
    for size in sizes:
        left = random.random((size, size), dtype=np.float32)
        right = random.random((size, size), dtype=np.float32)
        result = np.empty_like(left)
        np.matmul(left, right, out=result)
        end = time.perf_counter() + seconds / len(sizes)
        while time.perf_counter() < end:
            start = time.perf_counter()
            np.matmul(left, right, out=result)
            best = max(best, 2 * size**3 / (time.perf_counter() - start) / 1e9)
    return {"gflops": best}


if __name__ == "__main__":
    main()
