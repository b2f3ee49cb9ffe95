"""Faults in the numbers that a model has learned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from helpers.formats import KerasRuntime, Runtime
from parity_faults.case import Case, Fault, listed

CLASSIFIERS = {"probabilities", "digit", "predictions"}
Weights = dict[str, np.ndarray]


def weights(change: Callable[[Weights], str | None]) -> Fault:
    """Change a copy's weights, given by path. The change may refuse with a reason."""

    def plant(case: Case) -> Runtime | str:
        values = {weight.path: np.array(weight.numpy()) for weight in case.model.weights}
        if reason := change(values):
            return reason
        for weight, value in zip(case.copy.weights, values.values(), strict=True):
            weight.assign(value)
        return KerasRuntime(case.copy)

    return plant


def zero_one_weight(position: float) -> Fault:
    """Zero a random weight of the kernel at a position from 0 (first) to 1 (last)."""

    def plant(case: Case) -> Runtime | str:
        kernels = [i for i, w in enumerate(case.model.weights) if _is_kernel(w.path, w.shape)]
        index = kernels[round(position * (len(kernels) - 1))]
        random = np.random.default_rng(round(10 * position))
        tensor, before = case.exact.weights[index], case.exact.weights[index].numpy()
        for draw in range(1, 101):
            place = random.integers(before.size)
            damaged = before.copy()
            damaged.flat[place] = 0.0
            tensor.assign(damaged)
            effect = _effect(case)
            tensor.assign(before)
            if effect > case.smallest_effect:
                case.draws.append(draw)
                return _with_zero(index, int(place))(case)
        return "none of 100 weights has an effect"

    return plant


def _with_zero(index: int, place: int) -> Fault:
    return weights(lambda values: _put(list(values.values())[index], place, 0.0))


def _effect(case: Case) -> float:
    pairs = zip(listed(case.exact_runtime(case.wide)), listed(case.golden), strict=True)
    return max(np.sqrt(np.mean((a - b) ** 2) / np.mean(b**2)) for a, b in pairs)


def _is_kernel(path: str, shape: Sequence[int]) -> bool:
    return len(shape) >= 2 and "bias" not in path


def _put(values: np.ndarray, place: int, value: float) -> None:
    values.flat[place] = value


def spoil(value: float) -> Fault:
    """Put a value in the largest weight of the middle kernel."""

    def change(values: Weights) -> None:
        kernels = [w for path, w in values.items() if _is_kernel(path, w.shape)]
        kernel = kernels[len(kernels) // 2]
        _put(kernel, int(np.abs(kernel).argmax()), value)

    return weights(change)


def each(part: str, change: Callable[[np.ndarray], Any], count: int | None = None) -> Fault:
    """Change every weight (or the first `count`) whose path contains a part, in place."""

    def apply(values: Weights) -> str | None:
        found = [w for path, w in values.items() if part in path][:count]
        for array in found:
            array[...] = change(array)
        return None if found else f"no weight named *{part}*"

    return weights(apply)


def transpose_kernel(values: Weights) -> str | None:
    """Exchange the first two axes of the first kernel where they are equally long."""
    for path, array in values.items():
        if _is_kernel(path, array.shape) and array.shape[0] == array.shape[1] > 1:
            array[...] = array.swapaxes(0, 1).copy()
            return None
    return "no square kernel"


def swap_two_classes(values: Weights) -> str | None:
    """Exchange two output columns of the kernel and the bias of the classifier."""
    paths = [path for path in values if CLASSIFIERS & set(path.split("/"))]
    for path in paths:
        values[path][..., [0, 1]] = values[path][..., [1, 0]]
    return None


def swap_gates(values: Weights) -> str | None:
    """Exchange the forget and the output gate of an LSTM: another library's order."""
    found = [array for path, array in values.items() if "lstm_cell" in path]
    for array in found:
        i, f, c, o = np.split(array.copy(), 4, axis=-1)
        array[...] = np.concatenate([i, o, c, f], axis=-1)
    return None if found else "no LSTM"


def normalization_off(values: Weights) -> str | None:
    """Make the first batch normalization do nothing."""
    means = [path for path in values if path.endswith("moving_mean")]
    if not means:
        return "no batch normalization"
    for name, value in (("moving_mean", 0), ("beta", 0), ("moving_variance", 1), ("gamma", 1)):
        values[means[0].replace("moving_mean", name)][...] = value
    return None


def int8_rounded(array: np.ndarray) -> np.ndarray:
    """Round to 255 levels between the largest weights of a tensor."""
    scale = np.abs(array).max() / 127
    return np.round(array / scale) * scale if scale > 0 else array


def stale(case: Case) -> Runtime | str:
    """Deploy the weights of an earlier state."""
    case.copy.set_weights(case.stale)
    return KerasRuntime(case.copy)
