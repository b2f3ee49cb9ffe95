"""Which output of the candidate is which output of the source? Names first, then the order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import permutations

import numpy as np

from helpers.formats import KerasRuntime, Runtime

MOST_ORDERS = 6
"""Other orders are looked for among so many outputs: 720 orders, 36 comparisons."""


def names_by_layer(source: Runtime) -> dict[str, str]:
    """Return the layers that a Keras model's outputs come from, by the names of the outputs.

    A model with a dict of outputs names them by its keys, a converter by their layers.
    """
    if hasattr(source, "names_by_layer"):  # a model in another process, which knows its layers
        return source.names_by_layer
    model = source.model if isinstance(source, KerasRuntime) else None
    outputs = getattr(model, "output", None)  # a Sequential model has none before its first call
    if not isinstance(outputs, Mapping):
        return {}
    return {name: tensor._keras_history.operation.name for name, tensor in outputs.items()}


def pair_outputs(
    outputs: Mapping[str, np.ndarray],
    source: Mapping[str, np.ndarray],
    role: str,
    layers: Mapping[str, str],
) -> dict[str, np.ndarray]:
    """Return the outputs in the order of the source's, under their own names.

    By name, if all of them agree; then by the names of the layers (see `names_by_layer`); then by
    position, since converters rename outputs but keep their order.

    Raises:
        ValueError: the numbers of outputs differ.
    """
    if len(outputs) != len(source):
        raise ValueError(
            f"the source has {len(source)} output(s) ({', '.join(source)}), the {role} has "
            f"{len(outputs)} ({', '.join(outputs)}). Compare the same outputs."
        )
    plain = {name.removesuffix(":0"): name for name in outputs}  # TensorFlow's first result
    for names in (list(source), [layers.get(name, "") for name in source]):
        if set(plain) == set(names):
            return {plain[name]: outputs[plain[name]] for name in names}
    return dict(outputs)


def other_order(
    names: Sequence[str], outputs: Mapping[str, np.ndarray], fits: Callable[[int, str], bool]
) -> str | None:
    """Say in which other order the outputs are those of the source; None when in no other order.

    Args:
        names: the source's outputs.
        outputs: the candidate's, as they were paired.
        fits: tells whether an output of the source, by number, is that output of the candidate.
    """
    if not 1 < len(names) <= MOST_ORDERS:
        return None
    fitting = [{name for name in outputs if fits(number, name)} for number in range(len(names))]
    for order in permutations(outputs):
        if all(name in each for name, each in zip(order, fitting, strict=True)):
            pairs = ", ".join(f"'{a}' is its '{b}'" for a, b in zip(names, order, strict=True))
            return (
                f"the candidate's outputs come in another order: the source's {pairs}. "
                "Export them under the names that they have in the source."
            )
    return None
