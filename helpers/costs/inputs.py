"""How the inputs of a measurement reach a worker, and how batches are cut from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from helpers.formats.tensors import Arrays, InputError, TensorSpec, dtype_name, rename_arrays

if TYPE_CHECKING:
    from helpers.formats import Runtime

POSITION = "position_"


def save_inputs(path: Path, inputs: Arrays) -> int:
    """Write the inputs to a ``.npz`` file and return their number of rows.

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
    np.savez(path, **named)
    return next(iter(rows.values()))


def load_inputs(path: str | Path) -> dict[str, np.ndarray]:
    """Read what `save_inputs` wrote. Text arrays are pickled: read no file of another's."""
    with np.load(path, allow_pickle=True) as archive:
        return {name: archive[name] for name in archive.files}


def prepare_batch(
    runtime: Runtime, inputs: Mapping[str, np.ndarray], batch_size: int
) -> Callable[[], list[np.ndarray]]:
    """Return the call of `Runtime.prepare` for the first rows, repeated when there are too few.

    Raises:
        InputError: the model does not take these inputs, or not in this number.
    """
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
