"""A sound model to plant faults in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from helpers.formats import KerasRuntime, Runtime
from helpers.formats.tensors import name_arrays
from helpers.parity.golden import run_in_float64
from helpers.parity.rebuild import rebuild_in_float64

EIGHT_ROUNDINGS = 1e-6
"""About eight roundings of a float32."""

Fault = Callable[["Case"], "Runtime | str"]
"""Takes a case and returns a runtime with the fault, or why this model cannot have it."""


@dataclass
class Case:
    """One model to plant faults in.

    Attributes:
        model: the sound model.
        inputs: its probe.
        stale: its weights at an earlier state of the training, in order.
        golden: its float64 outputs.
        draws: how many weights were tried until one mattered.
        smallest_effect: how much a zeroed weight must change the exact (float64) output to be a
            fault, as a part of its size. A smaller change is not one that anyone could see.
    """

    model: keras.Model
    inputs: Any
    stale: Sequence[np.ndarray]
    golden: Any
    draws: list[int] = field(default_factory=list)
    smallest_effect: float = EIGHT_ROUNDINGS

    def __post_init__(self) -> None:
        self.copy = keras.models.clone_model(self.model)
        self.source = KerasRuntime(self.model)
        self.exact = rebuild_in_float64(self.model)
        feeds = name_arrays(self.inputs, self.source.inputs).values()
        self.wide = [np.asarray(x, np.float64) if x.dtype.kind == "f" else x for x in feeds]
        self.exact_runtime, _ = run_in_float64(self.exact, self.wide)


def listed(arrays: Any) -> list[np.ndarray]:
    """Return one array or a mapping of arrays as a list."""
    return list(arrays.values()) if isinstance(arrays, Mapping) else [arrays]
