"""One calling convention for a model, whatever runs it: NumPy arrays in, NumPy arrays out.

Each kind of artifact has one module that holds all that is known of it; `FORMATS` is the table.
TensorFlow, Keras and ONNX Runtime are imported by the loader that needs them, not by this package:
a process that opens an ONNX file must not pay for TensorFlow, nor need it.
"""

from __future__ import annotations

from pathlib import Path

from helpers.formats.format import FORMATS, ArtifactSize, Format, Traits
from helpers.formats.identify import ArtifactError, ArtifactKind, identify
from helpers.formats.keras import H5, KERAS, load_keras
from helpers.formats.keras_runtime import KerasMethod, KerasRuntime
from helpers.formats.onnx import ONNX, OnnxRuntime, load_onnx
from helpers.formats.runtime import Runtime
from helpers.formats.saved_model import (
    SAVED_MODEL,
    SavedModelRuntime,
    load_saved_model,
    load_signatures,
)
from helpers.formats.tensors import Arrays, InputError, TensorSpec

__all__ = [
    "FORMATS",
    "Arrays",
    "ArtifactError",
    "ArtifactKind",
    "ArtifactSize",
    "Format",
    "InputError",
    "KerasMethod",
    "KerasRuntime",
    "OnnxRuntime",
    "Runtime",
    "SavedModelRuntime",
    "TensorSpec",
    "Traits",
    "artifact_size",
    "identify",
    "load_keras",
    "load_onnx",
    "load_saved_model",
    "load_signatures",
    "open_artifact",
    "read_traits",
]

FORMATS.update({known.kind: known for known in (KERAS, H5, SAVED_MODEL, ONNX)})


def open_artifact(path: str | Path) -> Runtime:
    """Open a model file or folder with the runtime that fits its content.

    Raises:
        ArtifactError: see `load_keras`, `load_saved_model` and `load_onnx`.
    """
    return FORMATS[identify(path)].load(path)


def artifact_size(path: str | Path, parameter_bytes: int | None = None) -> ArtifactSize:
    """Weigh an artifact and the tensors inside it. The model is not loaded.

    Random-seed states (16 bytes for a dropout layer in a SavedModel) and the constants of an ONNX
    graph (a few bytes for each shape) count as parameters.

    Args:
        path: a ``.keras`` or ``.h5`` file, a SavedModel folder, or a ``.onnx`` file. The external
            data of an ONNX file is included, where it lies in the file's folder.
        parameter_bytes: what the source model needs, such as ``4 * model.count_params()`` for
            float32. The artifact is then compared with it as well.

    Raises:
        ArtifactError: no artifact, or its tensors cannot be read.
        ValueError: `parameter_bytes` is not positive.
    """
    if parameter_bytes is not None and parameter_bytes <= 0:
        raise ValueError(
            f"parameter_bytes: expected a positive number of bytes, got {parameter_bytes}. "
            "Leave it out to compare the artifact with itself only."
        )
    return FORMATS[identify(path)].contents(Path(path)).compared_with(parameter_bytes)


def read_traits(path: str | Path, size: ArtifactSize | None = None) -> Traits:
    """Read the traits from the file; nothing is loaded or executed.

    A ``.keras`` file resumes when it holds the optimizer's variables and its settings; ``.h5``
    files do not, since Keras 3 restores none of the variables that they hold.

    Args:
        path: of the artifact.
        size: what `artifact_size` says of it; read when not given.

    Raises:
        ArtifactError: no artifact, or a damaged one.
    """
    return FORMATS[identify(path)].traits(Path(path), size)
