"""How many operations a model's matrix products and convolutions need."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


class UncountableError(ValueError):
    """A model whose number of operations cannot be told from its graph."""


def flops_per_inference(model: keras.Model) -> int:
    """Count the operations of matrix products and convolutions for one row of inputs.

    The model is traced as a TensorFlow graph, and each product in it counts two operations for each
    multiply-add. So shared, nested and custom layers count as often as they run; a recurrent layer
    counts its loop times the number of steps. All the rest (activations, sums, pooling) is left
    out: the count is a lower bound, as a floor needs.

    Args:
        model: with known input shapes, apart from the batch axis.

    Raises:
        UncountableError: an axis other than the batch has no fixed length, or a loop has no fixed
            number of steps.
    """
    import tensorflow as tf

    structure = model.inputs[0] if len(model.inputs) == 1 else model.input
    specs = tf.nest.map_structure(_fixed_spec, structure)
    function = tf.function(lambda inputs: model(inputs, training=False))
    return _count(function.get_concrete_function(specs).graph)


def _fixed_spec(tensor: keras.KerasTensor) -> tf.TensorSpec:
    import tensorflow as tf

    shape = (1, *tensor.shape[1:])
    if None in shape:
        raise UncountableError(
            f"model: the input '{tensor.name}' has shape {tuple(tensor.shape)}; only the batch "
            "axis may have any length. Build the model with fixed lengths to count its operations."
        )
    return tf.TensorSpec(shape, tensor.dtype)


def _count(graph: tf.Graph) -> int:
    """Count what the outputs depend on; TensorFlow leaves the rest out when it runs the graph."""
    pending = [tensor.op for tensor in graph.outputs]
    needed = set(pending)
    while pending:
        operation = pending.pop()
        before = {tensor.op for tensor in operation.inputs} | set(operation.control_inputs)
        pending.extend(before - needed)
        needed |= before
    return sum(_count_operation(operation, graph) for operation in needed)


def _count_operation(operation: tf.Operation, graph: tf.Graph) -> int:
    if operation.type in PRODUCTS:
        return 2 * PRODUCTS[operation.type](operation)
    if operation.type in ("PartitionedCall", "StatefulPartitionedCall"):
        return _count(_function_graph(operation, "f", graph))
    if operation.type in ("While", "StatelessWhile"):
        return _count_loop(operation, graph)
    if operation.type in ("If", "StatelessIf"):  # the cheaper branch, as a lower bound
        branches = ("then_branch", "else_branch")
        return min(_count(_function_graph(operation, branch, graph)) for branch in branches)
    return 0


def _count_loop(operation: tf.Operation, graph: tf.Graph) -> int:
    import tensorflow as tf

    body = _count(_function_graph(operation, "body", graph))
    if body == 0:
        return 0
    try:
        # The inputs of a while_loop are its counter, its maximum number of steps, its variables.
        # The maximum is computed from constants; run that piece of the graph to know it.
        with tf.compat.v1.Session(graph=graph) as session:
            steps = int(session.run(operation.inputs[1]))
    except (tf.errors.OpError, TypeError, ValueError):
        steps = -1
    if steps < 0:
        raise UncountableError(
            f"model: the loop '{operation.name}' has no fixed number of steps, so its operations "
            "cannot be counted. Build the model with a fixed sequence length."
        )
    return steps * body


def _function_graph(operation: tf.Operation, attribute: str, graph: tf.Graph) -> tf.Graph:
    return graph._get_function(operation.get_attr(attribute).name).graph


def _shape(tensor: tf.Tensor, operation: tf.Operation) -> tuple[int, ...]:
    if not tensor.shape.is_fully_defined():
        raise UncountableError(
            f"model: the shape of '{operation.name}' depends on the data, so its operations cannot "
            "be counted."
        )
    return tuple(tensor.shape.as_list())


def _matmul(operation: tf.Operation) -> int:
    flag = "transpose_a" if operation.type == "MatMul" else "adj_x"
    depth = -2 if operation.get_attr(flag) else -1
    left = _shape(operation.inputs[0], operation)
    return math.prod(_shape(operation.outputs[0], operation)) * left[depth]


def _convolution(operation: tf.Operation) -> int:
    """Kernel: (height, width, input channels of the group, output channels)."""
    kernel = _shape(operation.inputs[1], operation)
    return math.prod(_shape(operation.outputs[0], operation)) * math.prod(kernel[:-1])


def _depthwise(operation: tf.Operation) -> int:
    """Kernel: (height, width, channels, multiplier)."""
    kernel = _shape(operation.inputs[1], operation)
    return math.prod(_shape(operation.outputs[0], operation)) * math.prod(kernel[:-2])


def _transposed_convolution(operation: tf.Operation) -> int:
    """Kernel: (height, width, output channels, input channels); the third input is the image."""
    kernel = _shape(operation.inputs[1], operation)
    return math.prod(_shape(operation.inputs[2], operation)) * math.prod(kernel[:-1])


def _einsum(operation: tf.Operation) -> int:
    """Every combination of all indices is one multiply-add."""
    equation = operation.get_attr("equation").decode()
    lengths: dict[str, int] = {}
    for labels, tensor in zip(equation.split("->")[0].split(","), operation.inputs, strict=True):
        shape = _shape(tensor, operation)
        before, dots, after = labels.partition("...")
        batch = len(shape) - len(before) - len(after)
        names = [*before, *(f"...{index - batch}" for index in range(batch) if dots), *after]
        for name, length in zip(names, shape, strict=True):
            lengths[name] = max(length, lengths.get(name, 1))
    return math.prod(lengths.values()) if len(operation.inputs) > 1 else 0


PRODUCTS: Mapping[str, Callable[[Any], int]] = {
    "MatMul": _matmul,
    "BatchMatMul": _matmul,
    "BatchMatMulV2": _matmul,
    "BatchMatMulV3": _matmul,
    "Conv2D": _convolution,
    "Conv3D": _convolution,
    "DepthwiseConv2dNative": _depthwise,
    "Conv2DBackpropInput": _transposed_convolution,
    "Conv3DBackpropInputV2": _transposed_convolution,
    "Einsum": _einsum,
}
"""How many multiply-adds an operation of each type needs."""
