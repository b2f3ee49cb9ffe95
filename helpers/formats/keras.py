"""A Keras model, in memory or from a ``.keras`` or ``.h5`` file."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from helpers.formats.identify import ArtifactError, identify
from helpers.formats.runtime import Runtime
from helpers.formats.tensors import InputError, TensorSpec

if TYPE_CHECKING:
    import keras

KerasMethod = Literal["predict_on_batch", "predict", "call"]

SUFFIXES = {"keras": (".keras",), "h5": (".h5", ".hdf5")}
UNSAFE_REMEDY = (
    "Code inside a model file runs with your rights. Load it only if you trust its author, with "
    "keras.saving.load_model(path, safe_mode=False)."
)
CUSTOM_CODE_REMEDY = (
    "Import the module that defines and registers the class before loading, or pass "
    "custom_objects={'Name': Class}."
)


class KerasRuntime(Runtime):
    """A Keras model in memory.

    Args:
        model: built, with known input shapes.
        method: "predict_on_batch" (one compiled step), "predict" (a data pipeline around it), or
            "call" (``model(x, training=False)``, operation by operation).
    """

    def __init__(self, model: keras.Model, method: KerasMethod = "predict_on_batch") -> None:
        if method not in get_args(KerasMethod):
            raise ValueError(f"method: expected one of {get_args(KerasMethod)}, got {method!r}")
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


def load_keras(
    path: str | Path,
    method: KerasMethod = "predict_on_batch",
    custom_objects: Mapping[str, Any] | None = None,
) -> KerasRuntime:
    """Open a ``.keras`` or ``.h5`` file for inference (``compile=False``, ``safe_mode=True``).

    Args:
        path: told apart by content; the suffix may be anything.
        method: how the model is called; see `KerasRuntime`.
        custom_objects: classes by name, for models with code of your own.

    Raises:
        ArtifactError: the file is damaged, of another kind, holds only weights, contains Python
            code, or needs classes that this process does not know.
    """
    path = Path(path)
    kind = identify(path)
    if kind not in ("keras", "h5"):
        raise ArtifactError(path, f"it is {kind}, not a Keras file", "Use open_artifact(path).")
    if kind == "h5":
        _check_h5(path)
    import keras

    # Keras decides by suffix how to read a file. Where the suffix is wrong, it gets a copy.
    with tempfile.TemporaryDirectory() as folder:
        source = path
        if path.suffix not in SUFFIXES[kind]:
            source = Path(folder) / f"model.{kind}"
            shutil.copyfile(path, source)
        try:
            model = keras.saving.load_model(
                source, custom_objects=custom_objects, compile=False, safe_mode=True
            )
        except Exception as error:  # every layer's own code runs here, so any type can come
            raise _keras_error(path, error) from error
    try:
        return KerasRuntime(model, method)
    except InputError as error:
        raise ArtifactError(path, "it loads, but cannot be called by name", str(error)) from error


def _check_h5(path: Path) -> None:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            whole_model = "model_config" in file.attrs
    except OSError as error:
        raise ArtifactError(
            path,
            f"it starts like an HDF5 file but cannot be read ({error}), so it was probably cut off",
            "Save or copy the model again, and compare the sizes.",
        ) from error
    if not whole_model:
        raise ArtifactError(
            path,
            "it holds weights only, not the architecture",
            "Build the model in code, then call model.load_weights(path).",
        )


def innermost_reason(error: Exception) -> str:
    """Return the line of a Keras error that names the cause: Keras wraps it once for each layer."""
    cause = str(error).rpartition("Exception encountered:")[2].strip()
    return cause.partition("\n")[0].rstrip(".") or type(error).__name__


def _keras_error(path: Path, error: Exception) -> ArtifactError:
    finding = f"Keras cannot load it ({type(error).__name__}: {innermost_reason(error)})"
    text = str(error)
    if "safe_mode" in text:
        return ArtifactError(
            path, "it contains Python code that would run on loading", UNSAFE_REMEDY
        )
    if (
        "nknown layer" in text
        or "could not be deserialized" in text.lower()
        or ("not locate" in text or "registered" in text)
    ):
        return ArtifactError(path, finding, CUSTOM_CODE_REMEDY)
    return ArtifactError(
        path,
        finding,
        "If the file is whole, compare the Keras version that wrote it with the one here.",
    )
