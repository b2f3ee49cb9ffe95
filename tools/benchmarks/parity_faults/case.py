"""A sound model to plant faults in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from helpers.formats import KerasRuntime, Runtime
from helpers.parity.rebuild import rebuild_in_float64

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
    """

    model: keras.Model
    inputs: Any
    stale: Sequence[np.ndarray]
    golden: Any
    draws: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.copy = keras.models.clone_model(self.model)
        self.exact = rebuild_in_float64(self.model)
        self.source = KerasRuntime(self.model)


def listed(arrays: Any) -> list[np.ndarray]:
    """Return one array or a mapping of arrays as a list."""
    return list(arrays.values()) if isinstance(arrays, Mapping) else [arrays]
