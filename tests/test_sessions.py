"""A session tells what a server will see: a variable without a value is found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers.lessons.session import session_answers, variables_in_session


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel with the signatures `serving_default` (one input) and `two`."""
    import tensorflow as tf

    path = tmp_path_factory.mktemp("sessions") / "scaled"
    module = tf.Module()
    module.factor = tf.Variable(3.0, name="factor")
    spec = tf.TensorSpec((None,), tf.float32, name="x")
    module.scale = tf.function(lambda x: {"y": module.factor * x}, input_signature=[spec])
    other = tf.TensorSpec((None,), tf.float32, name="z")
    module.two = tf.function(lambda x, z: {"y": x + z}, input_signature=[spec, other])
    signatures = {"serving_default": module.scale, "two": module.two}
    tf.saved_model.save(module, str(path), signatures=signatures)
    return path


@pytest.fixture(scope="module")
def keras_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Keras model as `tf.saved_model.save` writes it."""
    import keras
    import tensorflow as tf

    path = tmp_path_factory.mktemp("sessions") / "keras"
    tf.saved_model.save(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]), str(path))
    return path


def test_a_sound_folder_answers(folder: Path) -> None:
    answers = session_answers(folder, np.array([1.0, 2.0], np.float32))
    np.testing.assert_array_equal(answers["y"], [3.0, 6.0])
    assert variables_in_session(folder) == {"factor": True}


def test_a_variable_without_a_value_is_found(keras_folder: Path) -> None:
    import tensorflow as tf

    variables = variables_in_session(keras_folder)
    named = {name: filled for name, filled in variables.items() if not name.startswith("Variable")}
    assert len(named) == 2
    assert not any(named.values())
    with pytest.raises(tf.errors.FailedPreconditionError, match="Could not find variable"):
        session_answers(keras_folder, np.ones((1, 2), np.float32))


def test_what_cannot_be_run_is_refused(folder: Path, tmp_path: Path) -> None:
    row = np.ones(1, np.float32)
    with pytest.raises(ValueError, match=r"no signature 'predict'.*serving_default, two"):
        session_answers(folder, row, "predict")
    with pytest.raises(ValueError, match="one input, it has: x, z"):
        session_answers(folder, row, "two")
    with pytest.raises(OSError, match="does not exist"):
        session_answers(tmp_path, row)
