"""A Keras model as one TensorFlow graph: what it computes in which dtype, and what noise does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from helpers.formats.keras import KerasRuntime
from helpers.parity.golden_rule import EPSILONS

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

NARROW = ("float32", "float16", "bfloat16")

Noise = Callable[["tf.Operation", "tf.Tensor"], "tuple[tf.Tensor, float]"]
"""Takes an operation and its result; returns the size of the noise and its part of that size."""


class GraphRuntime(KerasRuntime):
    """A Keras model that runs as one graph, traced for the shapes of its first call.

    Args:
        model: what to run. Its weights may change between calls.
    """

    def __init__(self, model: keras.Model) -> None:
        super().__init__(model, "call")
        self.keras_model = model
        self._model = self._call
        self._exact: Any = None
        self._noisy: Any = None
        self._calls = 0

    def _call(self, batch: Any, training: bool) -> Any:
        import tensorflow as tf

        batch = tf.nest.map_structure(tf.convert_to_tensor, batch)
        if self._exact is None:
            specs = tf.nest.map_structure(lambda x: tf.TensorSpec(x.shape, x.dtype), batch)

            @tf.function
            def run(given: Any) -> Any:
                return self.keras_model(given, training=training)

            self._exact = run.get_concrete_function(specs)
        if self._noisy is None:
            outputs = self._exact(batch)
        else:
            self._calls += 1
            outputs = self._noisy(batch, tf.constant(self._calls))
        return tf.nest.map_structure(np.array, outputs)  # TensorFlow's arrays are read-only

    @property
    def operations(self) -> list[tf.Operation]:
        """The operations of the graph. The model must have been called."""
        return self._exact.graph.get_operations()

    def add_noise(self, noise: Mapping[str, Noise]) -> None:
        """Change the results of operations, given by name, from the next call on.

        The noise is another one in each call, and the same ones for the same calls.
        """
        import tensorflow as tf

        exact = self._exact

        def run(batch: Any, draw: tf.Tensor) -> Any:
            given = [*tf.nest.flatten(batch), *exact.captured_inputs]
            values = dict(zip((tensor.name for tensor in exact.inputs), given, strict=True))
            graph = tf.compat.v1.get_default_graph()
            for number, each in enumerate(exact.graph.get_operations()):  # in order of creation
                if each.type == "Placeholder":
                    continue
                inputs = [values[tensor.name] for tensor in each.inputs]
                dtypes = [output.dtype for output in each.outputs]
                attributes = dict(each.node_def.attr)
                results = list(graph.create_op(each.type, inputs, dtypes, attrs=attributes).outputs)
                if each.name in noise:
                    size, level = noise[each.name](each, results[0])
                    normal = tf.random.stateless_normal(
                        tf.shape(size), tf.stack([draw, number]), stddev=level, dtype=size.dtype
                    )
                    results[0] += size * normal
                values.update(
                    (old.name, new) for old, new in zip(each.outputs, results, strict=True)
                )
            outputs = [values[tensor.name] for tensor in exact.outputs]
            return tf.nest.pack_sequence_as(exact.structured_outputs, outputs)

        self._noisy = tf.function(run, autograph=False)


def narrow_operations(operations: Iterable[tf.Operation]) -> list[tf.Operation]:
    """Find the operations that make float32 or less of float64.

    TensorFlow's bilinear resize does, whatever it is given; so does a layer that casts.
    """
    return [
        each
        for each in operations
        if any(output.dtype.name in NARROW for output in each.outputs)
        and any(x.dtype.name == "float64" and x.op.type != "Const" for x in each.inputs)
    ]


def noise_of_narrow(operation: tf.Operation, result: tf.Tensor) -> tuple[tf.Tensor, float]:
    """Size the noise of a computation over the positions of an image in the result's precision.

    Positions along an axis of n are known to ``n * epsilon / 2`` in that precision: so far may a
    faithful resize be off, as a part of the values between which it interpolates.
    """
    epsilon = EPSILONS[result.dtype.name]
    lengths = [length for length in result.shape[1:-1] if length]
    return result, epsilon / 2 * max(lengths, default=1)


def sums(operations: Iterable[tf.Operation]) -> list[tf.Operation]:
    """Find the sums and means of known length in float64."""
    return [
        each
        for each in operations
        if each.type in ("Mean", "Sum")
        and each.outputs[0].dtype.name == "float64"
        and each.inputs[0].shape.is_fully_defined()
        and each.inputs[0].shape.num_elements() > each.outputs[0].shape.num_elements() > 0
    ]


def noise_of_sum(epsilon: float) -> Noise:
    """Size the noise of adding n values one after another, in a precision of `epsilon`.

    Each of the n additions loses up to half of the last bit of the partial sum, 1/sqrt(12) of a
    bit in the mean square, and the partial sums grow to the whole: that is
    ``epsilon * sqrt(n) / 6`` of the sum of the absolute values. (N. J. Higham and T. Mary, "A New
    Approach to Probabilistic Rounding Error Analysis", 2019: the error grows with the square root
    of n.) TensorFlow adds in pairs and loses far less; ONNX Runtime adds one after another.
    """

    def noise(operation: tf.Operation, result: tf.Tensor) -> tuple[tf.Tensor, float]:
        import tensorflow as tf

        values, axes = result.op.inputs
        count = values.shape.num_elements() / operation.outputs[0].shape.num_elements()
        reduce = tf.reduce_mean if operation.type == "Mean" else tf.reduce_sum
        size = tf.reshape(reduce(tf.abs(values), axes), tf.shape(result))
        return size, epsilon * float(np.sqrt(count)) / 6

    return noise
