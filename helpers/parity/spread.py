"""How far do the last bits of a model's numbers move its answers? The spread is measured.

Two faithful programs that add the same numbers in another order, or multiply a normalization into
the kernel before it, differ as two runs of one program do whose numbers differ in the last bit
(backward error: N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2002, chapter 1;
with random bits: D. S. Parker, "Monte Carlo Arithmetic", 1997). So the model is run a few times
with other last bits, and how far its answers move is its spread.

For a Keras model, a float64 copy is run, in which nothing else rounds: with other last bits of the
inputs and of the weights, and with the rounding of long sums (see `noise_of_sum`). For all other
references, the reference itself is run, with other last bits of the inputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from helpers.formats import KerasRuntime, Runtime
from helpers.formats.tensors import take_rows
from helpers.parity.compare import as_mapping, is_float
from helpers.parity.golden import run_in_float64
from helpers.parity.golden_rule import EPSILONS
from helpers.parity.graph import narrow_operations, noise_of_narrow, noise_of_sum, sums
from helpers.parity.rebuild import rebuild_in_float64

if TYPE_CHECKING:
    import keras

DRAWS = 4
Answers = dict[str, np.ndarray]


def measure_spread(source: Runtime, feeds: Mapping[str, np.ndarray], size: int) -> Answers:
    """Run a model with other last bits, and return how its answers differ from its usual ones.

    Args:
        source: the model. It is not touched.
        feeds: inputs by name; the number of rows is a multiple of `size`.
        size: rows in one call.

    Returns:
        for each output of rounded numbers, float64 differences of the shape (draws, rows, ...).
        The same arguments give the same differences.
    """
    if hasattr(source, "measure_spread"):  # a model in another process, where it is measured
        return source.measure_spread(feeds, size)
    if isinstance(source, KerasRuntime):
        try:
            return _spread_of_copy(source.model, feeds, size)
        except Exception:  # no float64 copy: `float64_reference` has told why
            pass
    dtypes = [*(array.dtype.name for array in feeds.values()), *(x.dtype for x in source.outputs)]
    epsilon = _coarsest(dtypes)
    usual = in_batches(source, feeds, size)
    draws = [
        in_batches(source, _with_other_bits(feeds, epsilon, np.random.default_rng(draw)), size)
        for draw in range(DRAWS)
    ]
    return _differences(usual, draws)


def _spread_of_copy(model: keras.Model, feeds: Mapping[str, np.ndarray], size: int) -> Answers:
    """Measure with a float64 copy, in which nothing rounds but what is meant to."""
    copy = rebuild_in_float64(model)
    wide = {
        name: array.astype(np.float64) if is_float(array) else array
        for name, array in feeds.items()
    }
    runtime, _ = run_in_float64(copy, list(take_rows(wide, slice(size)).values()))
    usual = in_batches(runtime, wide, size)
    dtypes = _dtypes_of_weights(model)
    epsilon = _coarsest([*dtypes, *(array.dtype.name for array in feeds.values())])
    operations = runtime.operations
    runtime.add_noise(
        {each.name: noise_of_sum(epsilon) for each in sums(operations)}
        | {each.name: noise_of_narrow for each in narrow_operations(operations)}
    )
    weights = [weight.numpy() for weight in copy.weights]
    draws = []
    for draw in range(DRAWS):
        random = np.random.default_rng(draw)
        for weight, value, dtype in zip(copy.weights, weights, dtypes, strict=True):
            weight.assign(_other_bits(value, EPSILONS.get(dtype, 0.0), random))
        draws.append(in_batches(runtime, _with_other_bits(wide, epsilon, random), size))
    return _differences(usual, draws)


def in_batches(runtime: Runtime, feeds: Mapping[str, np.ndarray], size: int) -> Answers:
    """Run all rows, `size` of them in a call, and return the answers by output name."""
    rows = min(len(array) for array in feeds.values())
    answers = [
        as_mapping(runtime(take_rows(feeds, slice(start, start + size))))
        for start in range(0, rows, size)
    ]
    return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}


def _dtypes_of_weights(model: keras.Model) -> list[str]:
    """Tell in which dtype each weight is computed with: its innermost layer decides."""
    owners = {
        id(weight): layer.compute_dtype
        for layer in model._flatten_layers()  # from the outside to the inside
        for weight in layer.weights
    }
    return [owners.get(id(weight), weight.dtype) for weight in model.weights]


def _coarsest(dtypes: Iterable[str]) -> float:
    return max((EPSILONS.get(dtype, 0.0) for dtype in dtypes), default=0.0)


def _with_other_bits(
    feeds: Mapping[str, np.ndarray], epsilon: float, random: np.random.Generator
) -> Answers:
    return {name: _other_bits(array, epsilon, random) for name, array in feeds.items()}


def _other_bits(array: np.ndarray, epsilon: float, random: np.random.Generator) -> np.ndarray:
    """Change the last bit of rounded numbers, up or down.

    Whole numbers only grow: they may be meant as such, and 4.9999 would be another category.
    """
    if not is_float(array):
        return array
    steps = random.choice([-1, 1], array.shape)
    steps = np.where(array == np.round(array), np.maximum(steps, 0), steps)
    return (array.astype(np.float64) * (1 + epsilon * steps)).astype(array.dtype)


def _differences(usual: Answers, draws: Iterable[Answers]) -> Answers:
    return {
        name: np.stack([draw[name].astype(np.float64) - array for draw in draws])
        for name, array in usual.items()
        if is_float(array)
    }
