"""ONNX files that are written in a millisecond, for tests of what surrounds a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def write_dense(path: Path, width: int = 4, batch: int | None = None) -> Path:
    """Write ``relu(x @ kernel)`` with x float32 ``(n, width)``; `batch` fixes n."""
    kernel = np.linspace(-1, 1, width * width, dtype=np.float32).reshape(width, width)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "kernel"], ["product"]),
            helper.make_node("Relu", ["product"], ["y"]),
        ],
        "dense",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch or "n", width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch or "n", width])],
        [numpy_helper.from_array(kernel, "kernel")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path
