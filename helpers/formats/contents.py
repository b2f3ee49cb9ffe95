"""The tensors inside an artifact, read without loading the model."""

from __future__ import annotations

import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np

from helpers.formats.identify import ArtifactError, ArtifactKind
from helpers.imports import quiet_import

if TYPE_CHECKING:
    import onnx

OPTIMIZER_GROUPS = frozenset({"optimizer", "optimizer_weights"})


@dataclass(frozen=True)
class StoredFile:
    """A file of a folder, or a member of a ``.keras`` archive with the bytes it takes there."""

    name: str
    size_bytes: int


@dataclass(frozen=True)
class Contents:
    """What is in an artifact; see `ArtifactSize` for the fields."""

    files: tuple[StoredFile, ...]
    total_bytes: int
    parameter_bytes: int
    weight_bytes: int
    optimizer_bytes: int = 0


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


def read_contents(path: Path, kind: ArtifactKind) -> Contents:
    """Read the sizes of an artifact: h5py for Keras files, onnx for ONNX, else TensorFlow.

    Raises:
        ArtifactError: the tensors cannot be read.
    """
    if kind == "saved_model":
        return _read_saved_model(path)
    if kind == "onnx":
        return _read_onnx(path)
    total = path.stat().st_size
    if kind == "h5":
        return Contents((StoredFile(path.name, total),), total, *_read_hdf5(path, path))
    with zipfile.ZipFile(path) as archive:
        files = tuple(StoredFile(item.filename, item.compress_size) for item in archive.infolist())
        with archive.open("model.weights.h5") as weights:
            return Contents(files, total, *_read_hdf5(path, weights))


def _read_hdf5(path: Path, source: Path | IO[bytes]) -> tuple[int, int, int]:
    """Return the bytes of parameters, weights (no copies here, so the same) and optimizer."""
    import h5py

    weights, optimizer = 0, 0

    def add(name: str, item: h5py.Group | h5py.Dataset) -> None:
        nonlocal weights, optimizer
        if not isinstance(item, h5py.Dataset):
            return
        if name.split("/")[0] in OPTIMIZER_GROUPS:
            optimizer += item.nbytes
        else:
            weights += item.nbytes

    try:
        with h5py.File(source, "r") as file:
            file.visititems(add)
    except (OSError, RuntimeError, zipfile.BadZipFile) as error:
        raise ArtifactError(
            path,
            f"its weights cannot be read ({error})",
            "Save or copy the model again, and compare the sizes.",
        ) from error
    return weights, weights, optimizer


def _read_onnx(path: Path) -> Contents:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise ArtifactError(
            path,
            "it starts like an ONNX file but cannot be read to its end, so it was probably cut off",
            "Convert or copy the model again, and compare the sizes.",
        ) from error
    tensors = list(_graph_tensors(model.graph))
    for function in model.functions:
        tensors.extend(_node_tensors(function.node))
    parameters = sum(map(_tensor_bytes, tensors))
    external = {
        entry.value
        for tensor in tensors
        for entry in tensor.external_data
        if entry.key == "location"
    }
    files = tuple(
        StoredFile(name, (path.parent / name).stat().st_size)
        for name in [path.name, *sorted(external)]
        if (path.parent / name).is_file()
    )
    return Contents(files, sum(file.size_bytes for file in files), parameters, parameters)


def _graph_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    """Find constants among the attributes, and in the graphs of branches and loops."""
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        for graph in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
            yield from _graph_tensors(graph)


def _tensor_bytes(tensor: onnx.TensorProto) -> int:
    import onnx

    if tensor.HasField("raw_data"):
        return len(tensor.raw_data)
    element = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return int(np.prod(tensor.dims)) * element.itemsize


def _read_saved_model(folder: Path) -> Contents:
    files = tuple(
        StoredFile(entry.relative_to(folder).as_posix(), entry.stat().st_size)
        for entry in sorted(folder.rglob("*"))
        if entry.is_file()
    )
    groups: defaultdict[str, Counter[StoredTensor]] = defaultdict(Counter)
    optimizer = 0
    for key, array in _checkpoint_arrays(folder):
        group, _, rest = key.partition("/")
        # An optimizer also refers to the model's own weights, as its "trainable variables".
        if group in OPTIMIZER_GROUPS and not rest.startswith("_trainable_variables/"):
            optimizer += array.nbytes
        else:
            groups[group][_describe(array)] += 1
    stored = list(groups.values())
    return Contents(
        files,
        sum(file.size_bytes for file in files),
        _bytes_of(without_copies(stored)),
        _bytes_of(stored),
        optimizer,
    )


def _checkpoint_arrays(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    with quiet_import():
        import tensorflow as tf
    try:
        reader = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
        for key in reader.get_variable_to_shape_map():
            if key != "_CHECKPOINTABLE_OBJECT_GRAPH":
                yield key, np.asarray(reader.get_tensor(key))
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        raise ArtifactError(
            folder,
            f"its variables cannot be read ({' '.join(str(error).split())})",
            "A file of the folder is missing or damaged. Copy or export the whole folder again.",
        ) from error


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
