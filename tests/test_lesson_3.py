"""What lesson 3 relies on: the errors of a converter, and the models that it converts."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import onnxruntime
import pytest

from conftest import RunPython
from helpers.lessons.models import build_smooth_cnn, build_word_model

CONVERT = """
import keras, sys, tensorflow as tf, tf2onnx
from helpers.lessons.models import build_smooth_cnn
from helpers.lessons.setup import warnings_to_stdout
warnings_to_stdout()
image = tf.TensorSpec((None, 8, 8, 1), tf.float32, name="image")
smooth = build_smooth_cnn()
tf2onnx.convert.from_function(tf.function(lambda x: smooth(x)), [image], output_path=sys.argv[1])
"""


def test_the_errors_of_tf2onnx_are_printed_on_one_line(
    run_python: RunPython, tmp_path: Path
) -> None:
    """Lesson 3 shows a conversion that only logs its failure."""
    result = run_python(CONVERT, tmp_path / "smooth.onnx")
    assert "Error: Unsupported ops: Counter({'Erfc': 1})" in result.stdout.splitlines()
    assert "Erfc" not in result.stderr
    with pytest.raises(Exception, match="No Op registered for Erfc"):
        onnxruntime.InferenceSession(tmp_path / "smooth.onnx")


def test_the_models_of_lesson_3() -> None:
    assert build_smooth_cnn("relu").output_shape == (None, 10)
    words = build_word_model(["no", "yes"])
    answers = keras.ops.convert_to_numpy(words(keras.ops.convert_to_tensor(["no", "a", "b"])))
    assert np.array_equal(answers[1], answers[2])  # both unknown
    assert not np.array_equal(answers[0], answers[1])
