"""What goes into a model and what comes out: specifications, and clear errors for wrong arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Arrays = np.ndarray | Mapping[str, np.ndarray] | Sequence[np.ndarray]
"""One array, a mapping from name to array, or a sequence of arrays in the model's order."""


class InputError(ValueError):
    """Arrays that do not fit the model: what was expected, what was given, what to do."""


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a model.

    Attributes:
        name: the name in the artifact.
        shape: one entry for each axis; None where any length fits, such as the batch axis.
            The whole shape is None when the artifact does not state it.
        dtype: the NumPy name of the element type ("float32", "int64"), or "string".
    """

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype} {format_shape(self.shape)}"

    def accepts_shape(self, shape: tuple[int, ...]) -> bool:
        """Tell whether an array of `shape` fits, with None standing for any length."""
        if self.shape is None:
            return True
        return len(shape) == len(self.shape) and all(
            expected is None or expected == given
            for expected, given in zip(self.shape, shape, strict=True)
        )


def format_shape(shape: tuple[int | None, ...] | None) -> str:
    """Write a shape as ``(n, 8, 8, 1)``, with ``n`` for an axis of any length."""
    if shape is None:
        return "(any shape)"
    axes = ["n" if length is None else str(length) for length in shape]
    return f"({', '.join(axes)}{',' if len(axes) == 1 else ''})"


def dtype_name(array: np.ndarray) -> str:
    """Return the element type as `TensorSpec` writes it: text of any kind is "string"."""
    return "string" if array.dtype.kind in "OSUT" else array.dtype.name


def name_arrays(arrays: Arrays, specs: Sequence[TensorSpec]) -> dict[str, np.ndarray]:
    """Give every array the name of its input, in the model's order.

    Args:
        arrays: one array (for a model with one input), a mapping by name, or a sequence in order.
        specs: the inputs of the model.

    Raises:
        InputError: an array is missing, not needed, no NumPy array, or of another dtype or shape.
    """
    named = _by_name(arrays, specs)
    for spec in specs:
        _check_array(named[spec.name], spec)
    return {spec.name: named[spec.name] for spec in specs}


def _by_name(arrays: Arrays, specs: Sequence[TensorSpec]) -> Mapping[str, np.ndarray]:
    expected = "; ".join(str(spec) for spec in specs)
    names = [spec.name for spec in specs]
    if isinstance(arrays, Mapping):
        missing = [name for name in names if name not in arrays]
        unknown = [str(name) for name in arrays if name not in names]
        if missing or unknown:
            raise InputError(
                f"the input names do not match: missing {missing}, unknown {unknown}. "
                f"The model takes {expected}."
            )
        return arrays
    if isinstance(arrays, np.ndarray):
        arrays = [arrays]
    if not isinstance(arrays, Sequence) or isinstance(arrays, str | bytes):
        raise InputError(
            f"expected NumPy arrays, got {type(arrays).__name__}. The model takes {expected}."
        )
    if len(arrays) != len(specs):
        raise InputError(
            f"expected {len(specs)} input(s), got {len(arrays)}. The model takes {expected}."
        )
    return dict(zip(names, arrays, strict=True))


def _check_array(array: np.ndarray, spec: TensorSpec) -> None:
    if not isinstance(array, np.ndarray):
        raise InputError(
            f"input '{spec.name}': expected a NumPy array of {spec.dtype} "
            f"{format_shape(spec.shape)}, got {type(array).__name__}. Convert it with "
            f"np.asarray(values, dtype=...)."
        )
    given = dtype_name(array)
    if given != spec.dtype:
        raise InputError(
            f"input '{spec.name}': expected dtype {spec.dtype}, got {given}. "
            f"Convert it with array.astype({spec.dtype!r})."
        )
    if not spec.accepts_shape(array.shape):
        hint = ""
        if spec.shape is not None and spec.accepts_shape((1, *array.shape)):
            hint = " The batch axis is missing: use array[np.newaxis]."
        raise InputError(
            f"input '{spec.name}': expected shape {format_shape(spec.shape)}, "
            f"got {array.shape}.{hint}"
        )


def rename_arrays(
    arrays: Mapping[str, np.ndarray], specs: Sequence[TensorSpec], others: Sequence[TensorSpec]
) -> dict[str, np.ndarray]:
    """Give arrays that are named for one model the input names of another model.

    Names are kept where both models use the same. Else a single input goes to the single input,
    and several are matched by dtype and shape when only one pairing fits.

    Raises:
        InputError: the numbers of inputs differ, or names are needed to tell two inputs apart.
    """
    names = [spec.name for spec in others]
    if len(names) != len(specs):
        raise InputError(
            f"one model takes {len(specs)} input(s), the other {len(names)}: "
            f"{'; '.join(map(str, specs))} against {'; '.join(map(str, others))}."
        )
    if set(names) == set(arrays):
        return {name: arrays[name] for name in names}
    if len(names) == 1:
        return {names[0]: next(iter(arrays.values()))}
    matches = {
        other.name: [
            name
            for name, array in arrays.items()
            if dtype_name(array) == other.dtype and other.accepts_shape(array.shape)
        ]
        for other in others
    }
    if any(len(found) != 1 for found in matches.values()) or (
        len({found[0] for found in matches.values()}) != len(names)
    ):
        raise InputError(
            f"cannot tell which input is which: {'; '.join(map(str, specs))} against "
            f"{'; '.join(map(str, others))}. Export with the same input names."
        )
    return {name: arrays[found[0]] for name, found in matches.items()}


def take_rows(arrays: Mapping[str, np.ndarray], rows: slice) -> dict[str, np.ndarray]:
    """Cut the same rows out of every array."""
    return {name: array[rows] for name, array in arrays.items()}
