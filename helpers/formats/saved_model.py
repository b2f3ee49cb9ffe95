"""A signature of a SavedModel folder, run by TensorFlow without Keras."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from helpers.formats.identify import ArtifactError, identify
from helpers.formats.runtime import Runtime
from helpers.formats.tensors import Arrays, InputError, TensorSpec


class SavedModelRuntime(Runtime):
    """One signature of a SavedModel folder."""

    def __init__(self, model: Any, signature: str) -> None:
        import tensorflow as tf

        # The signature refers to variables that the loaded object owns: it must stay alive.
        self._model = model
        self._function = model.signatures[signature]
        self._convert = tf.convert_to_tensor
        _, by_name = self._function.structured_input_signature
        inputs = [
            _tensorflow_spec(name, by_name[name]) for name in sorted(by_name, key=_natural_key)
        ]
        outputs = [
            _tensorflow_spec(name, spec)
            for name, spec in sorted(
                self._function.structured_outputs.items(), key=lambda item: _natural_key(item[0])
            )
        ]
        super().__init__("SavedModel", inputs, outputs)

    def prepare(self, arrays: Arrays) -> Callable[[], list[np.ndarray]]:
        """See `Runtime.prepare`. A signature has names but no order, so a sequence is refused."""
        if len(self.inputs) > 1 and not isinstance(arrays, Mapping):
            names = ", ".join(spec.name for spec in self.inputs)
            raise InputError(
                f"expected a dict with the inputs {names}, got {type(arrays).__name__}. "
                "The inputs of a SavedModel signature have names but no order."
            )
        return super().prepare(arrays)

    def _run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        results = self._function(**{name: self._convert(array) for name, array in feeds.items()})
        return [results[spec.name].numpy() for spec in self.outputs]

    def close(self) -> None:
        """See `Runtime.close`."""
        self.__dict__.pop("_function", None)
        super().close()


def _load(path: str | Path) -> Any:
    path = Path(path)
    kind = identify(path)
    if kind != "saved_model":
        raise ArtifactError(path, f"it is {kind}, not a SavedModel", "Use open_artifact(path).")
    import tensorflow as tf

    try:
        return tf.saved_model.load(str(path))
    except Exception as error:  # the loader has no type of its own: IndexError, KeyError, ...
        raise _load_error(path, error) from error


def _load_error(path: Path, error: Exception) -> ArtifactError:
    message = " ".join(str(error).split())
    if "Op type not registered" in message:
        remedy = "Import the package that brings this operation, or install a newer TensorFlow."
    else:
        remedy = "A file of the folder is missing or damaged. Copy or export all of it again."
    return ArtifactError(path, f"TensorFlow cannot load it ({message})", remedy)


def _tensorflow_spec(name: str, spec: Any) -> TensorSpec:
    shape = None if spec.shape.rank is None else tuple(spec.shape.as_list())
    return TensorSpec(name, shape, spec.dtype.name)


def _natural_key(name: str) -> list[str | int]:
    """Sort output_2 before output_10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def load_saved_model(path: str | Path, signature: str = "serving_default") -> SavedModelRuntime:
    """Open one signature of a SavedModel folder.

    Loading restores a graph: no code of yours is needed, and Keras is not imported by this
    function. A SavedModel can still read and write files, when it is loaded and when it runs: load
    what you trust.

    Raises:
        ArtifactError: no SavedModel, damaged, or without that signature.
    """
    model = _load(path)
    if signature not in model.signatures:
        names = ", ".join(sorted(model.signatures)) or "none"
        raise ArtifactError(
            path,
            f"it has no signature '{signature}' (it has: {names})",
            "Name one of them with signature=..., or export the model with "
            "`model.export(folder)`, which writes 'serving_default'.",
        )
    return SavedModelRuntime(model, signature)


def load_signatures(path: str | Path) -> dict[str, SavedModelRuntime]:
    """Open every signature of a SavedModel folder, by name. The folder is loaded once.

    Raises:
        ArtifactError: no SavedModel, damaged, or without signatures.
    """
    model = _load(path)
    if not model.signatures:
        raise ArtifactError(path, "it has no signatures", "Export it with `model.export`.")
    return {name: SavedModelRuntime(model, name) for name in sorted(model.signatures)}
