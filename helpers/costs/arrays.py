"""Arrays in a file, from one process to another: nothing in it is ever run by reading it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from helpers.formats.tensors import Arrays, InputError, TensorSpec, dtype_name, rename_arrays

if TYPE_CHECKING:
    from helpers.formats.runtime import Runtime

INDEX = "index"
POSITION = "position_"


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name, without pickle: the reader need not trust the writer.

    NumPy keeps numbers and fixed text. Text of any length and the small floats of other packages
    (bfloat16, float8) go as bytes, and the index says what they were.
    """
    index, stored = [], {}
    for number, (name, array) in enumerate(arrays.items()):
        array = np.asarray(array)
        note: dict[str, Any] = {"name": name}
        if array.dtype.kind in "OT":
            note |= {"text": _text_kinds(array), "shape": array.shape}
            array = _as_bytes(array)
        elif array.dtype.kind == "V":
            note["dtype"] = array.dtype.name
            array = array.view(f"u{array.dtype.itemsize}")
        index.append(note)
        stored[f"array_{number}"] = array
    stored[INDEX] = np.frombuffer(json.dumps(index).encode(), np.uint8)
    np.savez(path, **stored)


def load_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Read what `save_arrays` wrote, by name and in the same order."""
    arrays = {}
    with np.load(path, allow_pickle=False) as archive:
        for number, note in enumerate(json.loads(archive[INDEX].tobytes())):
            array = archive[f"array_{number}"]
            if "text" in note:
                array = _as_text(array, note["text"], note["shape"])
            elif "dtype" in note:
                import ml_dtypes

                array = array.view(getattr(ml_dtypes, note["dtype"]))
            arrays[note["name"]] = array
    return arrays


def _text_kinds(array: np.ndarray) -> str:
    """Tell for each item whether it is text ("s") or bytes ("b")."""
    return "".join("b" if isinstance(item, bytes) else "s" for item in array.flat)


def _as_bytes(array: np.ndarray) -> np.ndarray:
    items = [item if isinstance(item, bytes) else str(item).encode() for item in array.flat]
    sizes = np.array([len(item) for item in items], np.int64)
    return np.frombuffer(np.int64(len(items)).tobytes() + sizes.tobytes() + b"".join(items), "u1")


def _as_text(buffer: np.ndarray, kinds: str, shape: list[int]) -> np.ndarray:
    count = int(buffer[:8].view(np.int64)[0])
    ends = 8 + 8 * count + np.cumsum(buffer[8 : 8 + 8 * count].view(np.int64))
    starts = [8 + 8 * count, *ends[:-1]]
    array = np.empty(count, dtype=object)
    for number, (start, end, kind) in enumerate(zip(starts, ends, kinds, strict=True)):
        item = buffer[start:end].tobytes()
        array[number] = item if kind == "b" else item.decode()
    return array.reshape(shape)


def name_inputs(inputs: Arrays) -> dict[str, np.ndarray]:
    """Give inputs names for the file: their own, or their positions.

    Raises:
        InputError: no NumPy arrays, no rows, or arrays with different numbers of rows.
    """
    if isinstance(inputs, np.ndarray):
        inputs = [inputs]
    if isinstance(inputs, Mapping):
        named = dict(inputs)
    else:
        named = {f"{POSITION}{index}": array for index, array in enumerate(inputs)}
    for name, array in named.items():
        if not isinstance(array, np.ndarray) or array.ndim == 0:
            raise InputError(
                f"inputs: expected NumPy arrays whose first axis is the batch, got "
                f"{type(array).__name__} for '{name}'. Convert it with np.asarray(rows)."
            )
    rows = {name: len(array) for name, array in named.items()}
    if len(set(rows.values())) != 1 or 0 in rows.values():
        raise InputError(
            f"inputs: expected the same number of rows, at least one, in each array, got {rows}."
        )
    return named


def prepare_batch(
    runtime: Runtime, inputs: Mapping[str, np.ndarray], batch_size: int | None = None
) -> Callable[[], list[np.ndarray]]:
    """Return the call of `Runtime.prepare` for inputs that `name_inputs` named.

    Args:
        runtime: the model.
        inputs: all rows.
        batch_size: so many rows from the first on, repeated when there are too few; None takes all.

    Raises:
        InputError: the model does not take these inputs, or not in this number.
    """
    batch = dict(inputs)
    if batch_size is not None:
        batch = {
            name: array.take(np.arange(batch_size) % len(array), axis=0)
            for name, array in inputs.items()
        }
    if all(name.startswith(POSITION) for name in batch):
        return runtime.prepare(list(batch.values()))
    specs = [
        TensorSpec(name, (None, *array.shape[1:]), dtype_name(array))
        for name, array in batch.items()
    ]
    return runtime.prepare(rename_arrays(batch, specs, runtime.inputs))
