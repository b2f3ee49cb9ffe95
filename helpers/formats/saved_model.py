"""The kind SavedModel: a folder, whose signatures TensorFlow runs without Keras."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from helpers.formats.format import ArtifactSize, Format, Look, Refusal, StoredFile, Traits
from helpers.formats.graph_operators import suspicious_operators
from helpers.formats.identify import ArtifactError, identify_as, refusing, unreadable
from helpers.formats.runtime import Runtime
from helpers.formats.tensors import Arrays, InputError, TensorSpec
from helpers.imports import quiet_import

GRAPH_FILE = "saved_model.pb"
MOST_NAMED = 5
OPTIMIZER_GROUPS = frozenset({"optimizer", "optimizer_weights"})


class SavedModelRuntime(Runtime):
    """One signature of a SavedModel folder."""

    def __init__(self, model: Any, signature: str) -> None:
        import tensorflow as tf

        function = model.signatures[signature]
        # The function refers to variables that the loaded object owns: both must stay alive.
        self._model = model, function
        self._convert = tf.convert_to_tensor
        inputs = _specs(function.structured_input_signature[1])
        outputs = _specs(function.structured_outputs)
        super().__init__("SavedModel", inputs, outputs)

    def prepare(self, arrays: Arrays) -> Callable[[], list[np.ndarray]]:
        """See `Runtime.prepare`. A signature has names but no order, so a sequence is refused."""
        if len(self.inputs) > 1 and not isinstance(arrays, Mapping):
            names = ", ".join(spec.name for spec in self.inputs)
            raise InputError(
                f"expected a dict with the inputs {names}, got {type(arrays).__name__}. "
                "The inputs of a SavedModel signature have names but no order."
            )
        return super().prepare(arrays)

    def _run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        _, function = self._model
        results = function(**{name: self._convert(array) for name, array in feeds.items()})
        return [results[spec.name].numpy() for spec in self.outputs]


def _specs(by_name: Mapping[str, Any]) -> list[TensorSpec]:
    return [
        TensorSpec(
            name,
            None if spec.shape.rank is None else tuple(spec.shape.as_list()),
            spec.dtype.name,
        )
        for name, spec in sorted(by_name.items(), key=lambda item: _natural_key(item[0]))
    ]


def _natural_key(name: str) -> list[str | int]:
    """Sort output_2 before output_10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def load_saved_model(
    path: str | Path, signature: str = "serving_default", trust: bool = False
) -> SavedModelRuntime:
    """Open one signature of a SavedModel folder.

    Loading restores a graph: no code of yours is needed, and Keras is not imported by this
    function. The graph is read first: a SavedModel can read and write files, when it is loaded and
    when it runs.

    Args:
        path: the folder.
        signature: which one.
        trust: you know where the folder comes from: load it whatever its graph does.

    Raises:
        ArtifactError: no SavedModel, damaged, without that signature, or with operators that do
            more than compute.
    """
    with _loaded(path, trust) as model:
        if signature not in model.signatures:
            names = ", ".join(sorted(model.signatures)) or "none"
            raise ArtifactError(
                path,
                f"it has no signature '{signature}' (it has: {names})",
                "Name one of them with signature=..., or --signature in a terminal, or export the "
                "model with `model.export(folder)`, which writes 'serving_default'.",
            )
        return SavedModelRuntime(model, signature)


def load_signatures(path: str | Path) -> dict[str, SavedModelRuntime]:
    """Open every signature of a SavedModel folder, by name. The folder is loaded once.

    Raises:
        ArtifactError: no SavedModel, damaged, or without signatures.
    """
    with _loaded(path) as model:
        if not model.signatures:
            raise ArtifactError(path, "it has no signatures", "Export it with `model.export`.")
        return {name: SavedModelRuntime(model, name) for name in sorted(model.signatures)}


@contextmanager
def _loaded(path: str | Path, trust: bool = False) -> Iterator[Any]:
    """Load a folder; what goes wrong, and in the ``with`` block, is an `ArtifactError`."""
    path = Path(path)
    identify_as(path, "a SavedModel", "saved_model")
    import tensorflow as tf

    with refusing(path, _explain_loading):
        if not trust and (operators := suspicious_operators(path)):
            raise ArtifactError(
                path,
                f"its graph does more than compute: {', '.join(operators[:MOST_NAMED])}",
                "Ask its author for a model without it. If you know where the folder comes from: "
                "trust=True, or --trust in a terminal.",
            )
        yield tf.saved_model.load(str(path))


def _explain_loading(error: Exception) -> Refusal:
    message = " ".join(str(error).split())
    if "Op type not registered" in message:
        remedy = "Import the package that brings this operation, or install a newer TensorFlow."
    else:
        remedy = "A file of the folder is missing or damaged. Copy or export all of it again."
    return f"TensorFlow cannot load it ({message})", remedy


def limit_tensorflow_threads(threads: int) -> dict[str, Any]:
    """Hold TensorFlow to a number of threads, before its first operation; see `Format`."""
    from tensorflow import config

    config.threading.set_intra_op_parallelism_threads(threads)
    config.threading.set_inter_op_parallelism_threads(threads)
    return {}


class StoredTensor(NamedTuple):
    """A variable of a checkpoint; two copies of one variable are equal.

    Attributes:
        fingerprint: of dtype, shape and values.
        size_bytes: of the values.
        varied: False when every value is the same, as in a new bias.
    """

    fingerprint: str
    size_bytes: int
    varied: bool


def _weigh(folder: Path) -> ArtifactSize:
    groups: defaultdict[str, Counter[StoredTensor]] = defaultdict(Counter)
    optimizer = 0
    again = "A file of the folder is missing or damaged. Copy or export the whole folder again."
    with quiet_import():
        import tensorflow as tf
    with refusing(folder, unreadable("its variables", again)):
        files = tuple(
            StoredFile(entry.relative_to(folder).as_posix(), entry.stat().st_size)
            for entry in sorted(folder.rglob("*"))
            if entry.is_file()
        )
        reader = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
        keys = reader.get_variable_to_shape_map().keys() - {"_CHECKPOINTABLE_OBJECT_GRAPH"}
        for key in sorted(keys):
            array = np.asarray(reader.get_tensor(key))
            group, _, rest = key.partition("/")
            # An optimizer also refers to the model's own weights, its "trainable variables".
            if group in OPTIMIZER_GROUPS and not rest.startswith("_trainable_variables/"):
                optimizer += array.nbytes
            else:
                groups[group][_describe(array)] += 1
    total, stored = sum(file.size_bytes for file in files), list(groups.values())
    once, weights = _bytes_of(without_copies(stored)), _bytes_of(stored)
    return ArtifactSize(folder, "saved_model", total, once, weights, optimizer, files)


def _describe(array: np.ndarray) -> StoredTensor:
    content = repr(array.tolist()).encode() if array.dtype == object else array.tobytes()
    digest = sha256(f"{array.dtype}{array.shape}".encode() + content).hexdigest()
    return StoredTensor(digest, array.nbytes, bool((array != array.flat[:1]).any()))


def without_copies(groups: Iterable[Counter[StoredTensor]]) -> list[Counter[StoredTensor]]:
    """Leave out the groups of variables that are copies of others.

    A group is what hangs on one attribute of the saved object, such as ``variables`` and
    ``_all_variables`` in what Keras exports. It is a copy when all of its tensors are in the other
    groups too, value for value, and one of them at least is varied: two new biases look alike
    without being copies.
    """
    kept = sorted(groups, key=lambda group: _bytes_of([group]))
    for group in list(kept):  # smallest first: a copy is no larger than its original
        others = [other for other in kept if other is not group]
        if any(tensor.varied for tensor in group) and group <= sum(others, Counter()):
            kept = others
    return kept


def _bytes_of(groups: Iterable[Counter[StoredTensor]]) -> int:
    return sum(tensor.size_bytes * count for group in groups for tensor, count in group.items())


def _recognizes(look: Look) -> bool | Refusal:
    path = look.path
    if not path.is_dir():
        if path.name != GRAPH_FILE and look.start[:3] != b"\x08\x01\x12":
            return False
        finding = "it is the graph file of a SavedModel, without its variables"
        return finding, f"Give the whole folder: {path.parent}"
    if (path / GRAPH_FILE).is_file():
        finding = f"the folder has {GRAPH_FILE} but no variables/ folder beside it"
        remedy = "A SavedModel is the whole folder. Copy or export all of it again."
        return (path / "variables").is_dir() or (finding, remedy)
    found = (entry.parent.name for entry in path.glob(f"*/{GRAPH_FILE}"))
    versions = sorted(found, key=lambda name: (len(name), name))  # version 10 comes after 9
    if versions:
        finding = f"it is a folder of model versions ({', '.join(versions)})"
        return finding, f"Give one version: {path / versions[-1]}"
    finding = f"the folder holds no {GRAPH_FILE}, so it is not a SavedModel"
    return finding, "Export one with `model.export(folder)`, or give the path of a model file."


SAVED_MODEL = Format(
    kind="saved_model",
    title="a SavedModel folder",
    short="a SavedModel folder",
    framework="tensorflow",
    recognizes=_recognizes,
    load=load_saved_model,
    options=("signature", "trust"),
    limit_threads=limit_tensorflow_threads,
    contents=_weigh,
    traits=lambda path, size=None: Traits(True, False, False),
)
