"""One calling convention for a model, whatever runs it: NumPy arrays in, NumPy arrays out.

TensorFlow, Keras and ONNX Runtime are imported by the loader that needs them, not by this package:
a process that opens an ONNX file must not pay for TensorFlow, nor need it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from helpers.formats.identify import ArtifactError, ArtifactKind, identify
from helpers.formats.keras import KerasMethod, KerasRuntime, load_keras
from helpers.formats.onnx import OnnxRuntime, load_onnx
from helpers.formats.runtime import Runtime
from helpers.formats.saved_model import (
    SavedModelRuntime,
    load_saved_model,
    load_signatures,
)
from helpers.formats.tensors import Arrays, InputError, TensorSpec

__all__ = [
    "Arrays",
    "ArtifactError",
    "ArtifactKind",
    "InputError",
    "KerasMethod",
    "KerasRuntime",
    "OnnxRuntime",
    "Runtime",
    "SavedModelRuntime",
    "TensorSpec",
    "identify",
    "load_keras",
    "load_onnx",
    "load_saved_model",
    "load_signatures",
    "open_artifact",
]

LOADERS: dict[ArtifactKind, Callable[[str | Path], Runtime]] = {
    "keras": load_keras,
    "h5": load_keras,
    "saved_model": load_saved_model,
    "onnx": load_onnx,
}


def open_artifact(path: str | Path) -> Runtime:
    """Open a model file or folder with the runtime that fits its content.

    Raises:
        ArtifactError: see `load_keras`, `load_saved_model` and `load_onnx`.
    """
    return LOADERS[identify(path)](path)
