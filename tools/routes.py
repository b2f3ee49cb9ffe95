"""The routes from a Keras model to an artifact, as the lessons take them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tf2onnx

SUFFIXES = {
    "keras": ".keras",
    "h5": ".h5",
    "export": "",
    "tf_save": "",
    "archive": "",
    "onnx": ".onnx",
    "tf2onnx": ".onnx",
}
"""Every route and the suffix of what it writes; a folder has none."""


def write_artifact(model: keras.Model, route: str, stem: Path) -> Path:
    """Write the model by a route and return the path of the file or folder."""
    path = stem.with_name(stem.name + SUFFIXES[route])
    if route == "keras":
        model.save(path)
    elif route == "h5":
        # An .h5 save takes the optimizer out of the model's compile settings (Keras 3.15), so the
        # model that the tests share is not the one that is saved.
        copy = stem.with_name(f"{stem.name}_for_h5.keras")
        model.save(copy)
        keras.saving.load_model(copy).save(path)
    elif route == "export":
        model.export(path, verbose=False)
    elif route == "tf_save":
        tf.saved_model.save(model, str(path))
    elif route == "archive":
        archive = keras.export.ExportArchive()
        archive.track(model)
        archive.add_endpoint(
            "serving_default", lambda x: model(x, training=False), [signature(model)]
        )
        archive.write_out(str(path), verbose=False)
    elif route == "onnx":
        call_once(model)  # the exporter refuses a model that was never called
        model.export(path, format="onnx", verbose=False)
    elif route == "tf2onnx":
        function = tf.function(lambda x: model(x, training=False), [signature(model)])
        tf2onnx.convert.from_function(function, [signature(model)], output_path=str(path))
    else:
        raise ValueError(f"no such route: {route}")
    return path


def input_names(model: keras.Model) -> list[str] | None:
    """Return the keys of a model that takes a dict, None for a model with one input."""
    if isinstance(model, keras.Sequential) or not isinstance(model.input, dict):
        return None
    return list(model.input)


def signature(model: keras.Model) -> Any:
    """Describe the model's inputs to TensorFlow, by name where the model takes a dict."""
    specs = [tf.TensorSpec(x.shape, x.dtype, name=x.name) for x in model.inputs]
    names = input_names(model)
    return dict(zip(names, specs, strict=True)) if names else specs[0]


def call_once(model: keras.Model) -> None:
    """Run the model on one row of zeros."""
    zeros = [np.zeros((1, *x.shape[1:]), x.dtype) for x in model.inputs]
    names = input_names(model)
    model(dict(zip(names, zeros, strict=True)) if names else zeros[0])
