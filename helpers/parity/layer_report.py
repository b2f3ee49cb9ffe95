"""What a comparison of layers found: one record for each layer, and the report that holds them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import pandas as pd

Status = Literal["same", "diverged", "inherited", "absorbed", "not in the file", "several outputs"]


@dataclass(frozen=True)
class LayerComparison:
    """One layer.

    Attributes:
        layer: its name; the second call of a shared layer is "name (call 2)".
        kind: its class.
        tensor: the ONNX tensor with its output; None where it was not compared.
        shape: of the Keras output, with the rows of the comparison.
        status: "same"; "diverged": wrong although its inputs are right; "inherited": wrong as its
            inputs are; "absorbed": wrong, but every layer that takes it is right; "not in the
            file"; "several outputs": not compared, as their order in the file is unknown.
        max_abs: the largest absolute difference; NaN where it was not or cannot be compared.
        error_ratio: error against a float64 run, as a multiple of the source's own error.
        includes: layers before this one that are not in the file by themselves. When this layer
            diverged, the fault may be in one of them.
        read_units: the units (entries of the last axis) that the layer's weights are multiplied
            with; 0 for a layer without weights.
        idle_units: how many of them are 0 in all rows, so that no weight which reads them was
            tested: it could have any value.
    """

    layer: str
    kind: str
    tensor: str | None
    shape: tuple[int, ...]
    status: Status = "not in the file"
    max_abs: float = float("nan")
    error_ratio: float = float("nan")
    includes: tuple[str, ...] = ()
    read_units: int = 0
    idle_units: int = 0

    @property
    def compared(self) -> bool:
        """True when the file has a tensor for the layer."""
        return self.tensor is not None

    @property
    def diverged(self) -> bool:
        """True when the output is wrong, whoever is at fault."""
        return self.status in ("diverged", "inherited")


@dataclass(frozen=True, repr=False)
class LayerReport:
    """All layers of a model, in the order in which Keras runs them."""

    layers: tuple[LayerComparison, ...]

    @property
    def passed(self) -> bool:
        """True when no layer diverged."""
        return self.first_divergent is None

    @property
    def first_divergent(self) -> str | None:
        """The first layer whose output is wrong although its inputs are right."""
        return next((each.layer for each in self.layers if each.status == "diverged"), None)

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each layer."""
        names = [field.name for field in fields(LayerComparison)]
        rows = [[*(getattr(each, name) for name in names), each.diverged] for each in self.layers]
        return pd.DataFrame(rows, columns=[*names, "diverged"])

    def __repr__(self) -> str:
        compared = [each for each in self.layers if each.compared]
        absent = [each.layer for each in self.layers if not each.compared]
        counts = f"{len(compared)} of {len(self.layers)} layers compared"
        lines = [f"Layers SAME: {counts}"]
        if not self.passed:
            lines = [f"Layers DIVERGE, first at '{self.first_divergent}': {counts}"]
        for each in compared:
            if each.status == "diverged":
                folded = f", which includes {', '.join(each.includes)}" if each.includes else ""
                lines.append(
                    f"  {each.layer} ({each.kind}{folded}): max abs difference "
                    f"{each.max_abs:.2g}, error {each.error_ratio:.3g} times the source's own"
                )
        if inherited := [each.layer for each in compared if each.status == "inherited"]:
            lines.append(f"  {len(inherited)} later layers inherit it: {shortened(inherited)}")
        if absorbed := [each.layer for each in compared if each.status == "absorbed"]:
            lines.append(f"  absorbed by the layers after them: {shortened(absorbed)}")
        if absent:
            lines.append(f"  not in the file by themselves: {shortened(absent)}")
        idle = [
            f"{each.layer} ({each.idle_units} of {each.read_units})"
            for each in self.layers
            if each.idle_units
        ]
        if idle:
            lines.append(
                f"  inputs that are 0 in all rows, their weights untested: {shortened(idle)}"
            )
        return "\n".join(lines)


def shortened(names: list[str]) -> str:
    """List the first names only."""
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
