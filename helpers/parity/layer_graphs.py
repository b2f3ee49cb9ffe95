"""The steps of a Keras model, and the ONNX tensors that carry their names.

A converter keeps the path of a layer in the names of the nodes that compute it, such as
``digits_cnn_1/conv_1_1/Relu`` for the layer ``conv_1`` of ``digits_cnn``. TensorFlow adds the
number at the end of each part.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras
    import onnx


@dataclass(frozen=True)
class Step:
    """One call of a layer in the graph of a model.

    Attributes:
        name: the layer's name; further calls of a shared layer are numbered, "dense (call 2)".
        layer: the layer's name.
        kind: the layer's class.
        outputs: symbolic tensors.
        parents: the names of the steps whose outputs it takes; the model's inputs are not steps.
        exposed: True when an output of the model comes from here.
        reads: the names of the steps and of the model's inputs that its weights are multiplied
            with; empty for a layer without weights.
    """

    name: str
    layer: str
    kind: str
    outputs: tuple[Any, ...]
    parents: tuple[str, ...]
    exposed: bool
    reads: tuple[str, ...] = ()


def keras_steps(model: keras.Model) -> list[Step]:
    """List the calls of a Sequential or Functional model in the order in which Keras runs them.

    A model inside the model is one step.
    """
    import keras

    function = model._functional if isinstance(model, keras.Sequential) else model
    depths = sorted(function._nodes_by_depth, reverse=True)
    nodes = [node for depth in depths for node in function._nodes_by_depth[depth]]
    answers = {id(output) for output in function.outputs}
    steps: list[Step] = []
    producers: dict[int, str] = {}
    entries = {id(x): x.name for x in function.inputs}
    for node in nodes:
        if node.is_input:
            continue
        layer = node.operation.name
        call = 1 + sum(step.layer == layer for step in steps)
        name = layer if call == 1 else f"{layer} (call {call})"
        parents = [producers[id(x)] for x in node.input_tensors if id(x) in producers]
        kind, outputs = type(node.operation).__name__, tuple(node.outputs)
        exposed = any(id(output) in answers for output in outputs)
        reads = [(producers | entries).get(id(x), "") for x in node.input_tensors]
        reads = dict.fromkeys(reads if getattr(node.operation, "weights", ()) else ())
        steps.append(
            Step(name, layer, kind, outputs, tuple(dict.fromkeys(parents)), exposed, tuple(reads))
        )
        producers.update((id(output), name) for output in node.outputs)
    return steps


def only_consumer(step: Step, steps: Iterable[Step]) -> Step | None:
    """Return the step that alone takes the output of `step`; None when more is done with it."""
    if step.exposed:
        return None
    consumers = [each for each in steps if step.name in each.parents]
    return consumers[0] if len(consumers) == 1 else None


def tensors_by_step(
    graph: onnx.GraphProto, steps: list[Step], model_name: str
) -> dict[str, list[str]]:
    """Return the tensors that carry a step's name, in the order in which the file computes them.

    A node without a path of its own belongs to the layer of its largest constant, the kernel. When
    a later layer was folded into it, such as a batch normalization into a convolution, another
    constant names that layer, and the node belongs there.
    """
    ranks = {initializer.name: len(initializer.dims) for initializer in graph.initializer}
    names = [name for node in graph.node for name in (node.name, *node.output)]
    find = _StepFinder(steps, model_name, [*names, *ranks])
    tensors: dict[str, list[str]] = defaultdict(list)
    for node in graph.node:
        found = next((s for name in (node.name, *node.output) if (s := find(name))), None)
        if found is None:
            constants = sorted((x for x in node.input if ranks.get(x, 0) > 0), key=ranks.get)
            found = _last_folded([s for x in reversed(constants) if (s := find(x))], steps)
        if found is not None:
            tensors[found.name].extend(name for name in node.output if name)
    return dict(tensors)


def _last_folded(named: list[Step], steps: list[Step]) -> Step | None:
    """Follow the only consumers from the first of the named steps while they are named too."""
    last = named[0] if named else None
    while last is not None and (after := only_consumer(last, steps)) in named:
        last = after
    return last


class _StepFinder:
    """Finds the step that a path in an ONNX file belongs to.

    Layers named ``dense`` and ``dense_1`` appear as ``dense_1`` and ``dense_1_1``: the last number
    is TensorFlow's, so it is taken off first, and the part is read as it stands only when no
    layer has the shorter name. The calls of a shared layer have rising numbers.
    """

    def __init__(self, steps: list[Step], model_name: str, paths: list[str]) -> None:
        self._calls: dict[str, list[Step]] = defaultdict(list)
        for step in steps:
            self._calls[step.layer].append(step)
        self._model_name = model_name
        numbers: dict[str, set[int]] = defaultdict(set)
        for layer, number in filter(None, map(self._locate, paths)):
            numbers[layer].add(number)
        self._numbers = {layer: sorted(found) for layer, found in numbers.items()}

    def __call__(self, path: str) -> Step | None:
        if (located := self._locate(path)) is None:
            return None
        layer, number = located
        calls, numbers = self._calls[layer], self._numbers[layer]
        if len(calls) != len(numbers):  # a call of a shared layer is gone: which one is unknown
            return None
        return calls[numbers.index(number)]

    def _locate(self, path: str) -> tuple[str, int] | None:
        """Return the layer that a path names and the number of its part."""
        if "/" not in path:  # the name of an input or output, which the user chose
            return None
        parts = path.split("/")
        places = [i for i, part in enumerate(parts) if self._model_name in dict(_readings(part))]
        rest = parts[places[0] + 1 :] if places else parts
        readings = (reading for part in rest for reading in _readings(part))
        return next((reading for reading in readings if reading[0] in self._calls), None)


def _readings(part: str) -> Iterator[tuple[str, int]]:
    if numbered := re.fullmatch(r"(.+)_(\d+)", part):
        yield numbered[1], int(numbered[2])
    yield part, 0
