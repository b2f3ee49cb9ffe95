"""What only the course needs: its data, its models, its figures and its exercises.

Here is the seed of everything that is trained, made up or drawn for the lessons. Another processor
rounds differently, and so trains another model from the same seed. A test on one machine cannot
have that machine, but another seed has the same effect: with the environment variable `SEED_SHIFT`
set to a whole number, every such seed is moved by it. `make robust` sets it, to find what holds for
one trained model only. Readers leave it unset.
"""

from __future__ import annotations

import os

SEED_SHIFT = "KERAS_DEPLOYMENT_SEED_SHIFT"


def shifted(seed: int) -> int:
    """Return the seed, moved by the environment variable `SEED_SHIFT` where it is set.

    Raises:
        ValueError: the variable is set to something else than a whole number from 0 to 100,000.
    """
    shift = os.environ.get(SEED_SHIFT, "0")
    if not (shift.isascii() and shift.isdigit() and int(shift) <= 100_000):
        raise ValueError(
            f"the environment variable {SEED_SHIFT} is {shift!r}, expected a whole number from 0 "
            "to 100000. Unset it to get the models of the lessons."
        )
    return seed + int(shift)
