"""A file is what its content says. Whatever is no model gives one clear error, and runs nothing."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import random
import shutil
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import ArtifactOf, RunPython
from helpers.runtimes import ArtifactError, Runtime, identify, open_artifact
from routes import SUFFIXES

KINDS = {
    "keras": "keras",
    "h5": "h5",
    "export": "saved_model",
    "tf_save": "saved_model",
    "archive": "saved_model",
    "onnx": "onnx",
    "tf2onnx": "onnx",
}
FILE_ROUTES = ("keras", "h5", "onnx", "tf2onnx")


def refuse(path: Path, finding: str, remedy: str) -> ArtifactError:
    """Open what must be refused; check that the error names file, finding and remedy."""
    with pytest.raises(ArtifactError) as caught:
        open_artifact(path)
    error = caught.value
    assert error.path == path
    assert finding in error.finding
    assert remedy in error.remedy
    assert str(error) == f"{path}: {error.finding}. {error.remedy}"
    assert "\n" not in str(error)
    return error


@pytest.mark.parametrize("route", SUFFIXES)
def test_every_kind_is_identified(route: str, artifact: ArtifactOf) -> None:
    assert identify(artifact("digits_cnn", route)) == KINDS[route]


@pytest.mark.parametrize("suffix", ["", ".keras", ".h5", ".onnx", ".pb", ".txt", ".H5"])
@pytest.mark.parametrize("route", FILE_ROUTES)
def test_a_wrong_suffix_changes_nothing(
    route: str, suffix: str, artifact: ArtifactOf, tmp_path: Path, probe: np.ndarray
) -> None:
    source = artifact("digits_cnn", route)
    copy = shutil.copyfile(source, tmp_path / f"model{suffix}")
    assert identify(copy) == KINDS[route]
    with open_artifact(copy) as runtime, open_artifact(source) as expected:
        np.testing.assert_array_equal(runtime(probe), expected(probe))


def test_missing_file_lists_the_folder(tmp_path: Path) -> None:
    path = tmp_path / "digits.keras"
    refuse(path, "there is no such file or folder", f"The folder {tmp_path} holds: nothing.")
    for number in range(10):
        (tmp_path / f"model_{number}.h5").touch()
    error = refuse(path, "no such file", "holds: model_0.h5, model_1.h5")
    assert error.remedy.endswith("model_7.h5, ....")
    refuse(tmp_path / "no" / "where.h5", "no such file", "does not exist either")


def test_missing_file_beside_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here.keras").touch()
    monkeypatch.chdir(tmp_path)
    refuse(Path("there.keras"), "no such file", "The folder . holds: here.keras.")


def npz_bytes() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, weights=np.zeros(3))
    return buffer.getvalue()


def zip_bytes(**members: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def npy_bytes() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


FOREIGN = {
    "empty": (b"", "the file is empty", "Save or copy"),
    "pickle": (pickle.dumps({"w": 1}), "Python pickle, which runs code", "Ask for the model"),
    "pytorch": (zip_bytes(**{"archive/data.pkl": "x"}), "looks like a PyTorch file", "model.save"),
    "npz": (npz_bytes(), "it has no config.json, metadata.json", "model.save"),
    "npy": (npy_bytes(), "no known kind", "Known are"),
    "empty zip": (zip_bytes(), "it has no config.json, metadata.json", "model.save"),
    "zip without weights": (
        zip_bytes(**{"config.json": "{}", "metadata.json": "{}"}),
        "it has no model.weights.h5",
        "model.save",
    ),
    "web page": (b"<!DOCTYPE html><html>404</html>", "web page", "Download the file again"),
    "json": (b'{"class_name": "Sequential"}', "JSON text", "whole model"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer", "git lfs pull"),
    "gzip": (gzip.compress(b"model"), "gzip archive", "Unpack it"),
    "tflite": (b"\x1c\x00\x00\x00TFL3" + bytes(64), "TensorFlow Lite", "source model"),
    "parquet": (b"PAR1" + bytes(64), "Parquet table", "model file"),
    "random": (random.Random(0).randbytes(500), "no known kind", "Known are"),
    "zeros": (bytes(500), "no known kind", "Known are"),
    "text": (b"not a model at all", "no known kind", "Known are"),
    "one byte": (b"\x08", "no known kind", "Known are"),
    "protobuf": (b"\x08\x07" + bytes(20), "cut off", "Convert or copy the model again"),
}


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".onnx"])
@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_files_are_named(name: str, suffix: str, tmp_path: Path) -> None:
    content, finding, remedy = FOREIGN[name]
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    refuse(path, finding, remedy)


@settings(max_examples=150)
@given(content=st.binary(min_size=1, max_size=200))
def test_no_bytes_raise_another_error(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any_bytes"
    for start in (b"", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", b"\x08\x08"):
        path.write_bytes(start + content)
        refuse(path, "", "")


def open_or_refuse(path: Path) -> Runtime | None:
    """Open a file that may be damaged. Any error but `ArtifactError` fails the test."""
    try:
        return open_artifact(path)
    except ArtifactError:
        return None


@pytest.mark.parametrize("route", FILE_ROUTES)
def test_a_file_cut_off_anywhere_is_refused_or_faithful(
    route: str, artifact: ArtifactOf, tmp_path: Path, probe: np.ndarray
) -> None:
    source = artifact("digits_cnn", route)
    data, expected = source.read_bytes(), open_artifact(source)(probe)
    opened = []
    random_cuts = random.Random(0).sample(range(100, len(data) - 100), 40)
    for cut in [*range(0, 100, 3), *random_cuts, *range(len(data) - 100, len(data))]:
        path = tmp_path / "cut"
        path.write_bytes(data[:cut])
        if runtime := open_or_refuse(path):
            opened.append(cut)
            np.testing.assert_array_equal(runtime(probe), expected)
    # Only ONNX can lose something that does not matter: a second operator set, at its very end.
    assert all(cut > len(data) - 100 for cut in opened)
    assert route.endswith("onnx") or not opened


@pytest.mark.parametrize("route", FILE_ROUTES)
def test_a_cut_off_file_says_so(route: str, artifact: ArtifactOf, tmp_path: Path) -> None:
    data = artifact("digits_cnn", route).read_bytes()
    path = tmp_path / "cut"
    path.write_bytes(data[: len(data) // 2])
    refuse(path, "probably cut off", "compare the sizes")


def test_a_flipped_bit_in_a_keras_file_is_found(
    artifact: ArtifactOf, tmp_path: Path, probe: np.ndarray
) -> None:
    # The zip archive holds a checksum of each member. An .h5 or .onnx file has none.
    source = artifact("digits_cnn", "keras")
    data, expected = source.read_bytes(), open_artifact(source)(probe)
    path = tmp_path / "flipped"
    chance = random.Random(0)
    refused = 0
    for _ in range(60):
        flipped = bytearray(data)
        flipped[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(flipped)
        runtime = open_or_refuse(path)
        refused += runtime is None
        if runtime:
            np.testing.assert_array_equal(runtime(probe), expected)
    assert refused > 30


SAVED_MODEL_FILES = (
    "saved_model.pb",
    "variables/variables.index",
    "variables/variables.data-00000-of-00001",
)


@pytest.mark.parametrize("name", SAVED_MODEL_FILES)
def test_a_damaged_saved_model_is_refused_or_faithful(
    name: str, artifact: ArtifactOf, tmp_path: Path, probe: np.ndarray
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(artifact("digits_cnn", "export"), folder)
    expected = open_artifact(folder)(probe)
    file = folder / name
    data = file.read_bytes()
    for cut in (0, 1, len(data) // 3, len(data) - 1):
        file.write_bytes(data[:cut])
        refuse(folder, "TensorFlow cannot load it", "Copy or export all of it again")
    chance = random.Random(0)
    for _ in range(12):
        flipped = bytearray(data)
        flipped[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        file.write_bytes(flipped)
        if runtime := open_or_refuse(folder):
            np.testing.assert_array_equal(runtime(probe), expected)


def test_parts_of_a_saved_model(artifact: ArtifactOf, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "digits"
    for version in ("1", "9", "10"):
        shutil.copytree(artifact("digits_cnn", "export"), folder / version)
    refuse(folder, "a folder of model versions (1, 9, 10)", f"Give one version: {folder / '10'}")
    graph = folder / "1" / "saved_model.pb"
    refuse(graph, "the graph file of a SavedModel", f"Give the whole folder: {graph.parent}")
    renamed = shutil.copyfile(graph, tmp_path / "model.onnx")
    refuse(renamed, "the graph file of a SavedModel", "Give the whole folder")
    (folder / "9" / "variables" / "variables.index").unlink()
    refuse(folder / "9", "TensorFlow cannot load it", "missing or damaged")
    shutil.rmtree(folder / "1" / "variables")
    refuse(folder / "1", "no variables/ folder", "is the whole folder")
    refuse(tmp_path, "holds no saved_model.pb", "model.export(folder)")


def test_weights_only_file(digits_cnn: keras.Model, tmp_path: Path) -> None:
    path = tmp_path / "model.weights.h5"
    digits_cnn.save_weights(path)
    refuse(path, "weights only, not the architecture", "model.load_weights(path)")


HOSTILE_FORMATS = (".keras", ".h5")


@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
@pytest.mark.parametrize("suffix", HOSTILE_FORMATS)
def test_python_code_in_a_file_does_not_run(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    marker = tmp_path / "marker"
    inputs = keras.Input((4,))
    payload = keras.layers.Lambda(lambda x: (open("marker", "w").close(), x)[1])
    path = tmp_path / f"model{suffix}"
    keras.Model(inputs, payload(inputs)).save(path)
    marker.unlink()  # building the model ran the payload: it works
    refuse(path, "Python code that would run on loading", "only if you trust its author")
    assert not marker.exists()
    keras.saving.load_model(path, safe_mode=False)
    assert marker.exists()


def test_a_function_named_in_the_configuration_does_not_run(
    artifact: ArtifactOf, tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    path = tmp_path / "model.keras"
    call = {
        "module": "os",
        "class_name": "system",
        "registered_name": None,
        "config": {"command": f"touch {marker}"},
    }
    with (
        zipfile.ZipFile(artifact("digits_cnn", "keras")) as source,
        zipfile.ZipFile(path, "w") as copy,
    ):
        for name in source.namelist():
            content = json.dumps(call) if name == "config.json" else source.read(name)
            copy.writestr(name, content)
    refuse(path, "Keras cannot load it", "")
    assert not marker.exists()


CUSTOM_LAYER = """
import sys
import keras

@keras.saving.register_keras_serializable(package="shop")
class Twice(keras.layers.Layer):
    def call(self, x):
        return 2 * x

inputs = keras.Input((4,))
model = keras.Model(inputs, Twice()(inputs))
for path in sys.argv[1:]:
    model.save(path)
"""


def test_a_custom_layer_that_this_process_does_not_know(
    run_python: RunPython, tmp_path: Path
) -> None:
    paths = [tmp_path / "custom.keras", tmp_path / "custom.h5"]
    assert run_python(CUSTOM_LAYER, *paths).returncode == 0
    for path in paths:
        refuse(path, "Twice", "Import the module that defines and registers the class")


def test_a_file_that_holds_no_callable_model(tmp_path: Path) -> None:
    layer = keras.layers.Dense(2)
    layer.build((None, 4))
    path = tmp_path / "layer.keras"
    keras.saving.save_model(layer, path)
    refuse(path, "it loads, but cannot be called", "does not state its inputs")


def onnx_bytes(artifact: ArtifactOf, **changes: Any) -> bytes:
    model = onnx.load(artifact("digits_cnn", "onnx"))
    if "operator" in changes:
        model.graph.node[0].op_type = changes["operator"]
    if "input" in changes:
        model.graph.node[0].input[0] = changes["input"]
    if "opset" in changes:
        model.opset_import[0].version = changes["opset"]
    if "ir_version" in changes:
        model.ir_version = changes["ir_version"]
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"operator": "StatefulPartitionedCall"}, "an operator that ONNX does not have"),
        ({"input": "nowhere"}, "onnx.checker.check_model"),
        ({"opset": 999}, "Convert with a lower target opset"),
        ({"ir_version": 31}, "Convert with a lower target opset"),
    ],
)
def test_what_onnx_runtime_cannot_run(
    changes: dict[str, Any], remedy: str, artifact: ArtifactOf, tmp_path: Path
) -> None:
    # The folder's name holds the words that the remedies are chosen by.
    folder = tmp_path / "opset external parse"
    folder.mkdir()
    path = folder / "model.onnx"
    path.write_bytes(onnx_bytes(artifact, **changes))
    refuse(path, "ONNX Runtime refuses it", remedy)


def test_onnx_weights_in_a_second_file(
    artifact: ArtifactOf, tmp_path: Path, probe: np.ndarray
) -> None:
    source = artifact("digits_cnn", "onnx")
    path, weights = tmp_path / "model.onnx", tmp_path / "model.bin"
    onnx.save(onnx.load(source), path, save_as_external_data=True, location=weights.name)
    np.testing.assert_array_equal(open_artifact(path)(probe), open_artifact(source)(probe))
    weights.write_bytes(weights.read_bytes()[:1000])
    refuse(path, "ONNX Runtime refuses it", "The weights are in a second file")
    weights.unlink()
    refuse(path, "ONNX Runtime refuses it", "The weights are in a second file")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(st.characters(codec="utf-8", exclude_characters="/\0"), max_size=40))
def test_any_name_can_be_missing(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"_{name}"
    with pytest.raises(ArtifactError, match="no such file or folder"):
        identify(path)
