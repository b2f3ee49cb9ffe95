"""A SavedModel that an answer wrote: open it, look at its input, ask it without Keras."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from helpers.formats import load_saved_model
from helpers.formats.identify import ArtifactError
from helpers.formats.runtime import Runtime
from helpers.lessons.exercises.feedback import NotYet, shorten
from helpers.lessons.exercises.files import require_artifact
from helpers.lessons.fresh_process import FreshProcessError, run_in_fresh_process

ASK_WITHOUT_KERAS = """
import sys
sys.modules["keras"] = None  # from here on, an import of Keras fails
import numpy as np, tensorflow as tf
loaded = tf.saved_model.load(sys.argv[1])
serve = loaded.signatures["serving_default"]
(name,) = serve.structured_input_signature[1]
(answer,) = serve(**{name: tf.constant(np.load(sys.argv[2]))}).values()
np.save(sys.argv[3], answer.numpy())
"""


def open_endpoint(path: Path) -> Runtime:
    """Open the signature `serving_default` of the SavedModel that was written to `path`.

    Raises:
        NotYet: there is no SavedModel, or it cannot be used.
    """
    require_artifact(path, "saved_model")
    try:
        return load_saved_model(path)
    except ArtifactError as error:
        raise NotYet(f"the SavedModel cannot be used: {error.finding}.") from error


def require_input(endpoint: Runtime, images: np.ndarray, batch_sizes: Iterable[int]) -> None:
    """Demand a single input that takes such images, in batches of these sizes.

    Raises:
        NotYet: there are more inputs, or the one has another dtype or shape.
    """
    if len(endpoint.inputs) != 1:
        raise NotYet(f"it has {len(endpoint.inputs)} inputs. Expected: one, the images.")
    (spec,) = endpoint.inputs
    if spec.dtype != images.dtype.name:
        raise NotYet(f"its input is {spec}. The client sends {images.dtype} values.")
    for size in batch_sizes:
        shape = (size, *images.shape[1:])
        if not spec.accepts_shape(shape):
            raise NotYet(f"its input is {spec}. It refuses images of shape {shape}.")


def ask_without_keras(path: Path, images: np.ndarray) -> np.ndarray:
    """Ask a SavedModel with one input and one output in a process that cannot import Keras.

    Args:
        path: the SavedModel. Two files are written beside it.
        images: what its input takes.

    Raises:
        NotYet: it cannot be loaded or asked there.
    """
    question, answer = path.with_name("images.npy"), path.with_name("answers.npy")
    np.save(question, images)
    try:
        run_in_fresh_process(ASK_WITHOUT_KERAS, path, question, answer)
    except FreshProcessError as error:
        reason = shorten(error)
        if "callback" in str(error):
            reason = "the graph calls back into Python code, which stayed in this process."
        raise NotYet(
            f"it works here, but not in a fresh process without Keras: {reason}"
        ) from error
    return np.load(answer)
