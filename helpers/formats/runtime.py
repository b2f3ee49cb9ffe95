"""The calling convention that every runtime follows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from helpers.formats.tensors import Arrays, TensorSpec, name_arrays


class Runtime(ABC):
    """A model that is ready to answer. Call it with arrays; use it as a context manager.

    Attributes:
        name: what runs the model, for tables and plots.
        inputs, outputs: the specifications, in the model's order.
    """

    def __init__(
        self, name: str, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
    ) -> None:
        self.name = name
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)

    def __call__(self, arrays: Arrays) -> np.ndarray | dict[str, np.ndarray]:
        """Run the model: one array for a model with one output, else a dict by output name.

        Raises:
            InputError: the arrays do not fit `inputs`.
            RuntimeError: the runtime is closed.
        """
        results = self.prepare(arrays)()
        if len(results) == 1:
            return results[0]
        return {spec.name: array for spec, array in zip(self.outputs, results, strict=True)}

    def prepare(self, arrays: Arrays) -> Callable[[], list[np.ndarray]]:
        """Check the arrays once and return the call itself, ready to be repeated and timed."""
        if not hasattr(self, "_model"):
            raise RuntimeError(f"this {self.name} runtime is closed. Open the artifact again.")
        return partial(self._run, name_arrays(arrays, self.inputs))

    @abstractmethod
    def _run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Run the model on checked arrays and return one array for each output."""

    def close(self) -> None:
        """Let go of the model. The runtime cannot be called afterwards."""
        self.__dict__.pop("_model", None)

    def __enter__(self) -> Runtime:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        inputs = "; ".join(map(str, self.inputs))
        outputs = "; ".join(map(str, self.outputs))
        return f"{type(self).__name__}({self.name!r}, inputs: {inputs}, outputs: {outputs})"
