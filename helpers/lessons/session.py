"""Load a SavedModel as TensorFlow's C++ server does: its graph and its weights, in a session.

`tf.saved_model.load` rebuilds Python objects from a list in the folder. A session does not use that
list, so a folder can work in Python and fail in a server.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np


def session_answers(
    path: str | Path, array: np.ndarray, signature: str = "serving_default"
) -> dict[str, np.ndarray]:
    """Run one signature with one input in a session, and return its outputs by name.

    Args:
        path: a SavedModel folder.
        array: the only input of the signature.
        signature: which one to run.

    Raises:
        tensorflow.errors.FailedPreconditionError: the graph reads a variable that got no value.
        OSError: there is no SavedModel.
        ValueError: the signature has more than one input, or there is none of that name.
    """
    with _session(path) as (session, definition):
        if signature not in definition.signature_def:
            names = ", ".join(sorted(definition.signature_def))
            raise ValueError(f"{path} has no signature {signature!r}. It has: {names}.")
        chosen = definition.signature_def[signature]
        if len(chosen.inputs) != 1:
            names = ", ".join(sorted(chosen.inputs)) or "none"
            raise ValueError(f"{path}: expected a signature with one input, it has: {names}.")
        (given,) = chosen.inputs.values()
        outputs = {name: tensor.name for name, tensor in chosen.outputs.items()}
        return session.run(outputs, {given.name: array})


def variables_in_session(path: str | Path) -> dict[str, bool]:
    """Return each variable of the graph: its name, and whether loading gave it a value.

    Raises:
        OSError: there is no SavedModel at `path`.
    """
    import tensorflow as tf

    with _session(path) as (session, _):
        handles = [
            node.outputs[0] for node in session.graph.get_operations() if node.type == "VarHandleOp"
        ]
        filled = [tf.raw_ops.VarIsInitializedOp(resource=handle) for handle in handles]
        values = session.run(filled)
    return {handle.op.name: bool(value) for handle, value in zip(handles, values, strict=True)}


@contextmanager
def _session(path: str | Path) -> Iterator[tuple[Any, Any]]:
    """Load the graph that is tagged for serving; give the session and the graph's definition."""
    import tensorflow as tf

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        yield session, tf.compat.v1.saved_model.load(session, ["serve"], str(path))
