"""What a Keras configuration asks Keras to call, read without Keras.

Safe mode refuses Python code. It does not refuse names: Keras 3.15 calls any public function of
its own that a configuration names, while it loads the file. So a configuration is read first, and
may name nothing but what a model consists of.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

CODE_LAYERS = frozenset({"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"})
"""Layers that run a function or a file which the configuration names."""

DATA = frozenset(
    {"__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__",
     "__typespec__", "__tuple__"}
)  # fmt: skip
"""Names of values, not of classes."""

FUNCTION_MODULES = frozenset(
    {"activations", "initializers", "regularizers", "constraints", "losses", "metrics", "ops"}
)
CLASS_MODULES = FUNCTION_MODULES | {
    "layers", "models", "optimizers", "quantizers", "dtype_policies", "random"
}  # fmt: skip
"""Modules below ``keras`` and ``keras.src`` whose classes are parts of a model."""

ROOT_CLASSES = frozenset(
    {"DTypePolicy", "FloatDTypePolicy", "QuantizedDTypePolicy", "Functional", "Model", "Sequential",
     "SeedGenerator", "Variable", "KerasTensor", "InputSpec"}
)  # fmt: skip
LOOKUPS = frozenset({"get", "serialize", "deserialize"})

PYTHON_CODE = "Python code"

DEEPEST = 200
"""Levels of a configuration; a model in a model in a model has about 40."""


def suspicious_parts(config: Any) -> list[str]:
    """List what a configuration names besides the parts of a model, each once, in its words.

    Classes and functions outside Keras are not listed: Keras finds those only that the caller has
    registered.

    Args:
        config: the JSON of a ``.keras`` file's ``config.json``, or an ``.h5`` file's
            ``model_config``.

    Raises:
        ValueError: it is nested deeper than any model.
    """
    return list(dict.fromkeys(_search(config, 0)))


def _search(part: Any, depth: int) -> Iterator[str]:
    if depth > DEEPEST:
        raise ValueError(f"its configuration is nested deeper than {DEEPEST} levels")
    if isinstance(part, list):
        for value in part:
            yield from _search(value, depth + 1)
    elif isinstance(part, dict):
        if isinstance(part.get("class_name"), str):
            yield from _judge(part)
        for value in part.values():
            yield from _search(value, depth + 1)


def _judge(part: dict[str, Any]) -> Iterator[str]:
    name, module = part["class_name"], part.get("module")
    if name == "__lambda__":
        yield PYTHON_CODE
    elif name in CODE_LAYERS:
        inside = part["config"] if isinstance(part.get("config"), dict) else {}
        is_code = isinstance(inside.get("function"), list)  # as old files hold it
        yield PYTHON_CODE if is_code else f"a {name} layer ({inside.get('name')!r})"
    elif name == "function":
        function = part.get("config")
        if _is_keras(module) and not _is_part(module, function, FUNCTION_MODULES):
            yield f"the function {module}.{function}"
    elif _is_keras(module) and name not in DATA:
        of_model = _is_part(module, name, CLASS_MODULES) and name[:1].isupper()
        if not of_model and not (module == "keras" and name in ROOT_CLASSES):
            yield f"{module}.{name}"


def _is_keras(module: Any) -> bool:
    return isinstance(module, str) and module.split(".")[0] == "keras"


def _is_part(module: str, name: Any, modules: frozenset[str]) -> bool:
    """Tell whether a name is in one of the modules, in ``keras`` or its sources."""
    parts = module.removeprefix("keras.src.").removeprefix("keras.").split(".")
    return parts[0] in modules and isinstance(name, str) and name not in LOOKUPS


def operators_in(config: Any) -> list[str]:
    """List the operators of a model in an ``.h5`` file, each once: sums, masks, ``keras.ops``.

    Keras writes them there by their class alone, and looks for layers of that name when it reads.
    A layer says whether it is trainable; an operator does not.
    """
    return list(dict.fromkeys(_operators(config)))


def _operators(model: Any) -> Iterator[str]:
    import keras

    for part in model["config"]["layers"]:
        name, inside = part["class_name"], part["config"]
        if "layers" in inside:
            yield from _operators(part)
        elif "trainable" not in inside and name != "InputLayer":
            function = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
            if hasattr(keras.ops, function) or name == "GetItem":
                yield name
