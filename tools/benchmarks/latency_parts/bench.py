"""What every part needs: artifacts, inputs, and a place for the verdicts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras


@dataclass
class Verdicts:
    """Counts what passed, and prints each verdict as it falls."""

    outcomes: list[bool] = field(default_factory=list)

    def check(self, passed: bool, text: str) -> None:
        """Note and print one verdict."""
        self.outcomes.append(passed)
        print(f"{'PASS' if passed else 'FAIL'} {text}", flush=True)

    def close(self) -> int:
        """Print the sum and return the exit code."""
        passed = sum(self.outcomes)
        failed = len(self.outcomes) - passed
        print(f"{passed} passed, {failed} failed")
        return 1 if failed or not passed else 0


@dataclass(frozen=True)
class Bench:
    """What every part needs: where the artifacts are, the inputs, and how much time to spend."""

    folder: Path
    images: np.ndarray
    scale: float
    verdicts: Verdicts


def write_digits(folder: Path) -> np.ndarray:
    """Write the digits CNN by three routes and return real images for it."""
    from helpers.lessons.digits import load_digits
    from helpers.lessons.models import build_digits_cnn

    images = load_digits().test_images
    model = build_digits_cnn()
    model(images[:1])  # the ONNX exporter refuses a model that was never called
    write_routes(model, folder, "digits")
    return images


def write_routes(model: keras.Model, folder: Path, name: str) -> None:
    """Write a model by the three routes that are timed."""
    model.save(folder / f"{name}.keras")
    model.export(folder / name, verbose=False)
    model.export(folder / f"{name}.onnx", format="onnx", verbose=False)
