"""A Keras model in memory, from a file or not."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from helpers.formats.runtime import Runtime
from helpers.formats.tensors import InputError, TensorSpec

if TYPE_CHECKING:
    import keras

KerasMethod = Literal["predict_on_batch", "predict", "call"]


class KerasRuntime(Runtime):
    """A Keras model in memory.

    Args:
        model: built, with known input shapes.
        method: "predict_on_batch" (one compiled step), "predict" (a data pipeline around it), or
            "call" (``model(x, training=False)``, operation by operation).
    """

    def __init__(self, model: keras.Model, method: KerasMethod = "predict_on_batch") -> None:
        check_method(method)
        if not getattr(model, "inputs", None):
            raise InputError(
                f"the model '{model.name}' does not state its inputs, as subclassed models do not. "
                "Wrap it: inputs = keras.Input(shape); keras.Model(inputs, model(inputs))."
            )
        self._model = model
        self._method = method
        inputs, outputs, output_names = _structure(model)
        self._input_keys = list(inputs) if isinstance(inputs, Mapping) else None
        self._takes_list = isinstance(inputs, list | tuple)
        super().__init__(f"Keras {method}", _specs(inputs), _specs(outputs, output_names))

    @property
    def model(self) -> keras.Model:
        """The Keras model itself."""
        return self._model

    def _run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        import keras

        arrays = [
            keras.ops.convert_to_tensor(array, "string") if spec.dtype == "string" else array
            for spec, array in zip(self.inputs, feeds.values(), strict=True)
        ]  # Keras takes numbers from NumPy arrays, but not text
        batch: Any = arrays if self._takes_list else arrays[0]
        if self._input_keys is not None:
            batch = dict(zip(self._input_keys, arrays, strict=True))
        if self._method == "predict":
            # Its own batch size is 32, which would cut a larger batch into pieces.
            results = self._model.predict(batch, batch_size=len(arrays[0]), verbose=0)
        elif self._method == "call":
            results = self._model(batch, training=False)
        else:
            results = self._model.predict_on_batch(batch)
        if isinstance(results, Mapping):
            results = [results[spec.name] for spec in self.outputs]
        elif not isinstance(results, list | tuple):
            results = [results]
        return [np.asarray(result) for result in results]


def check_method(method: KerasMethod) -> None:
    """Raise ValueError for a method that `KerasRuntime` does not have."""
    if method not in get_args(KerasMethod):
        raise ValueError(f"method: expected one of {get_args(KerasMethod)}, got {method!r}")


def _structure(model: keras.Model) -> tuple[Any, Any, list[str]]:
    """Return the symbolic inputs, the outputs (tensor, list or mapping) and the output names."""
    import keras

    if isinstance(model, keras.Sequential):  # its `input` exists only after a first call
        return model.inputs[0], model.outputs[0], [model.layers[-1].name]
    return model.input, model.output, _unique(model.output_names)


def _unique(names: Sequence[str]) -> list[str]:
    """Number repeated names: a layer that is called twice gives two outputs its one name."""
    taken = set(names)
    unique = []
    for name in names:
        if names.count(name) > 1:
            numbered = (f"{name}_{number}" for number in itertools.count())
            name = next(candidate for candidate in numbered if candidate not in taken)
            taken.add(name)
        unique.append(name)
    return unique


def _specs(tensors: Any, names: Sequence[str] | None = None) -> list[TensorSpec]:
    """Describe a tensor, a list or a mapping of them; a mapping's keys are the names."""
    if isinstance(tensors, Mapping):
        pairs = list(tensors.items())
    else:
        tensors = list(tensors) if isinstance(tensors, list | tuple) else [tensors]
        pairs = list(zip(names or [tensor.name for tensor in tensors], tensors, strict=True))
    if nested := [name for name, tensor in pairs if isinstance(tensor, Mapping | list | tuple)]:
        raise InputError(
            f"{nested} hold more than one tensor each. Give the model flat inputs and outputs: "
            "one tensor, a list or a dict."
        )
    return [TensorSpec(name, tuple(tensor.shape), tensor.dtype) for name, tensor in pairs]
