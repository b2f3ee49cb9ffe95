"""A file is what its content says. Whatever is no model gives one clear error, and runs nothing."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import random
import re
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
from helpers.formats import ArtifactError, Runtime, identify, open_artifact
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

NOTHING_THERE = "there is no such file or folder"
NO_KERAS_ZIP = "it is a zip archive but no .keras file: it has no"
UNKNOWN = "the content is of no known kind (it starts with ...)"
KNOWN_KINDS = "Known are: .keras, .h5, a SavedModel folder and .onnx."
SAVE_AS_KERAS = "Save the model with `model.save('model.keras')`."
SAVE_AGAIN = "Save or copy the model again, and compare the sizes."
CONVERT_AGAIN = "Convert or copy the model again, and compare the sizes."
PYTHON_CODE = "it contains Python code that would run on loading"
WHOLE = "If the file is whole, compare the Keras version that wrote it with the one here."
IMPORT_FIRST = (
    "Import the module that defines and registers the class before loading, or pass "
    "custom_objects={'Name': Class}."
)
COPY_FOLDER = "A file of the folder is missing or damaged. Copy or export all of it again."
LOWER_OPSET = "Convert with a lower target opset, or install a newer onnxruntime."
SECOND_FILE = "The weights are in a second file. Copy it beside the .onnx file."


def fits(text: str, pattern: str) -> bool:
    """Compare a text with all of a pattern, in which "..." stands for anything."""
    return bool(re.fullmatch(".*".join(map(re.escape, pattern.split("..."))), text))


def refuse(path: Path, finding: str, remedy: str) -> ArtifactError:
    """Open what must be refused; check that the error names file, finding and remedy."""
    with pytest.raises(ArtifactError) as caught:
        open_artifact(path)
    error = caught.value
    assert error.path == path
    assert fits(error.finding, finding)
    assert fits(error.remedy, remedy)
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
    refuse(path, NOTHING_THERE, f"The folder {tmp_path} holds: nothing.")
    for number in range(8):
        (tmp_path / f"model_{number}.h5").touch()
    listing = ", ".join(f"model_{number}.h5" for number in range(8))
    refuse(path, NOTHING_THERE, f"The folder {tmp_path} holds: {listing}.")
    (tmp_path / "model_8.h5").touch()
    error = refuse(path, NOTHING_THERE, "...")
    assert error.remedy == f"The folder {tmp_path} holds: {listing}, ...."
    nowhere = tmp_path / "no" / "where.h5"
    remedy = f"The folder {nowhere.parent} does not exist either. Check the path."
    refuse(nowhere, NOTHING_THERE, remedy)


def test_missing_file_beside_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here.keras").touch()
    monkeypatch.chdir(tmp_path)
    refuse(Path("there.keras"), NOTHING_THERE, "The folder . holds: here.keras.")


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
    "empty": (b"", "the file is empty", "Save or copy the model again."),
    "pickle": (
        pickle.dumps({"w": 1}),
        "it looks like a Python pickle, which runs code when it is loaded",
        "Ask for the model as .keras, SavedModel or ONNX.",
    ),
    "pytorch": (
        zip_bytes(**{"archive/data.pkl": "x"}),
        "it is a zip archive that looks like a PyTorch file",
        SAVE_AS_KERAS,
    ),
    "npz": (
        npz_bytes(),
        f"{NO_KERAS_ZIP} config.json, metadata.json, model.weights.h5",
        SAVE_AS_KERAS,
    ),
    "npy": (npy_bytes(), UNKNOWN, KNOWN_KINDS),
    "empty zip": (
        zip_bytes(),
        f"{NO_KERAS_ZIP} config.json, metadata.json, model.weights.h5",
        SAVE_AS_KERAS,
    ),
    "zip without weights": (
        zip_bytes(**{"config.json": "{}", "metadata.json": "{}"}),
        f"{NO_KERAS_ZIP} model.weights.h5",
        SAVE_AS_KERAS,
    ),
    "web page": (
        b"<!DOCTYPE html><html>404</html>",
        "it is text that looks like a web page or XML, perhaps a failed download",
        "Download the file again and check its size.",
    ),
    "json": (
        b'{"class_name": "Sequential"}',
        "it is JSON text, which can hold an architecture but no weights",
        "Give the path of a whole model: .keras, .h5, a SavedModel folder or .onnx.",
    ),
    "lfs": (
        b"version https://git-lfs.github.com/spec/v1\n",
        "it is a Git LFS pointer, not the file itself",
        "Fetch the content with `git lfs pull`.",
    ),
    "OpenVINO": (
        b'<?xml version="1.0"?>\n<net name="model" version="11">',
        "it is an OpenVINO model (IR), which these helpers do not run",
        "Compare the model that it was made from: .keras, .h5, a SavedModel folder or .onnx.",
    ),
    "ORT": (
        b"\x18\x00\x00\x00ORTM" + bytes(64),
        "it is a model in ONNX Runtime's own format (.ort), which these helpers do not run",
        "Compare the .onnx file that it was made from.",
    ),
    "gzip": (
        gzip.compress(b"model"),
        "it is a gzip archive",
        "Unpack it first and give the path of what is inside.",
    ),
    "tflite": (
        b"\x1c\x00\x00\x00TFL3" + bytes(64),
        "it is a TensorFlow Lite (LiteRT) model, which these helpers do not run",
        "Compare its source model instead: .keras, .h5, a SavedModel folder or .onnx.",
    ),
    "parquet": (
        b"PAR1" + bytes(64),
        "it is a Parquet table, not a model",
        "Give the path of a model file.",
    ),
    "random": (random.Random(0).randbytes(500), UNKNOWN, KNOWN_KINDS),
    "zeros": (bytes(500), UNKNOWN, KNOWN_KINDS),
    "text": (
        b"not a model at all",
        "the content is of no known kind (it starts with b'not a mo')",
        KNOWN_KINDS,
    ),
    "one byte": (b"\x08", UNKNOWN, KNOWN_KINDS),
    "too old": (b"\x08\x02" + bytes(20), UNKNOWN, KNOWN_KINDS),
    "too new": (b"\x08\x20" + bytes(20), UNKNOWN, KNOWN_KINDS),
    "another field": (b"\x09\x07" + bytes(20), UNKNOWN, KNOWN_KINDS),
    "protobuf": (
        b"\x08\x07" + bytes(20),
        "it starts like an ONNX file but cannot be read to its end, so it was probably cut off",
        CONVERT_AGAIN,
    ),
}


@pytest.mark.parametrize(("version", "kind"), [(3, "onnx"), (0x1F, "onnx")])
def test_onnx_is_told_by_the_version_it_starts_with(
    version: int, kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "model"
    path.write_bytes(bytes([8, version]))
    assert identify(path) == kind


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
        refuse(path, "...", "...")


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
    zip_file = "a .keras file (a zip archive) but its table of contents is missing"
    finding = {
        "keras": f"it starts like {zip_file}",
        "h5": "it starts like an HDF5 file but cannot be read (...)",
    }.get(route, "it starts like an ONNX file but cannot be read to its end")
    remedy = CONVERT_AGAIN if route.endswith("onnx") else SAVE_AGAIN
    refuse(path, f"{finding}, so it was probably cut off", remedy)


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
        refuse(folder, "TensorFlow cannot load it (...)", COPY_FOLDER)
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
    versions = "it is a folder of model versions (1, 9, 10)"
    refuse(folder, versions, f"Give one version: {folder / '10'}")
    graph = folder / "1" / "saved_model.pb"
    finding = "it is the graph file of a SavedModel, without its variables"
    refuse(graph, finding, f"Give the whole folder: {graph.parent}")
    renamed = shutil.copyfile(graph, tmp_path / "model.onnx")
    refuse(renamed, finding, f"Give the whole folder: {tmp_path}")
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\x07")  # the name says it too
    refuse(tmp_path / "saved_model.pb", finding, f"Give the whole folder: {tmp_path}")
    (tmp_path / "saved_model.pb").unlink()
    (folder / "9" / "variables" / "variables.index").unlink()
    refuse(folder / "9", "TensorFlow cannot load it (...)", COPY_FOLDER)
    shutil.rmtree(folder / "1" / "variables")
    refuse(
        folder / "1",
        "the folder has saved_model.pb but no variables/ folder beside it",
        "A SavedModel is the whole folder. Copy or export all of it again.",
    )
    refuse(
        tmp_path,
        "the folder holds no saved_model.pb, so it is not a SavedModel",
        "Export one with `model.export(folder)`, or give the path of a model file.",
    )


def test_weights_only_file(digits_cnn: keras.Model, tmp_path: Path) -> None:
    path = tmp_path / "model.weights.h5"
    digits_cnn.save_weights(path)
    refuse(
        path,
        "it holds weights only, not the architecture",
        "Build the model in code, then call model.load_weights(path).",
    )


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
    refuse(
        path,
        PYTHON_CODE,
        "Code inside a model file runs with your rights. Load it only if you trust its author, "
        "with keras.saving.load_model(path, safe_mode=False).",
    )
    assert not marker.exists()
    keras.saving.load_model(path, safe_mode=False)
    assert marker.exists()


def copy_with_member(source: Path, path: Path, member: str, content: str) -> None:
    """Copy a .keras file with another content of one of its members."""
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(path, "w") as copy:
        for name in archive.namelist():
            copy.writestr(name, content if name == member else archive.read(name))


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
    copy_with_member(artifact("digits_cnn", "keras"), path, "config.json", json.dumps(call))
    refuse(path, "Keras cannot load it (TypeError: Could not ...)", IMPORT_FIRST)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("words", "finding", "remedy"),
    [
        ("Unknown layer: 'X'", "...", IMPORT_FIRST),
        ("<class 'X'> Could not be Deserialized properly", "...", IMPORT_FIRST),
        ("Could not locate class 'X'", "...", IMPORT_FIRST),
        ("'X' is not registered", "...", IMPORT_FIRST),
        ("Could not deserialize 'X': its module shop cannot be imported", "...", IMPORT_FIRST),
        ("Use `@keras.saving.register_keras_serializable()`.", "...", IMPORT_FIRST),
        ("Disallowed with safe_mode=True", PYTHON_CODE, "..."),
        ("No such axis.", "Keras cannot load it (ValueError: No such axis)", WHOLE),
        ("No such axis.\nFull config: {'registered_name': None}", "...No such axis)", WHOLE),
    ],
)
def test_the_words_of_keras_choose_the_remedy(
    words: str, finding: str, remedy: str, artifact: ArtifactOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **options: Any) -> None:
        raise ValueError(words)

    monkeypatch.setattr(keras.saving, "load_model", fail)
    refuse(artifact("digits_cnn", "keras"), finding, remedy)


def test_weights_that_cannot_be_read(artifact: ArtifactOf, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    copy_with_member(artifact("digits_cnn", "keras"), path, "model.weights.h5", "no HDF5 file")
    refuse(path, "its weights cannot be read (...)", SAVE_AGAIN)


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
        refuse(path, "Keras cannot load it (...Twice...)", IMPORT_FIRST)


def test_a_file_that_holds_no_callable_model(tmp_path: Path) -> None:
    layer = keras.layers.Dense(2)
    layer.build((None, 4))
    path = tmp_path / "layer.keras"
    keras.saving.save_model(layer, path)
    refuse(path, "it loads, but cannot be called by name", "...does not state its inputs...")


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
        (
            {"operator": "StatefulPartitionedCall"},
            "The conversion left in an operator that ONNX does not have. Replace the layer it "
            "comes from, or keep that step outside the model.",
        ),
        (
            {"input": "nowhere"},
            "Check the file with onnx.checker.check_model(path, full_check=True).",
        ),
        ({"opset": 999}, LOWER_OPSET),
        ({"ir_version": 31}, LOWER_OPSET),
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
    error = refuse(path, "ONNX Runtime refuses it (... from the file failed...)", remedy)
    assert str(path) not in error.finding


def test_onnx_weights_in_a_second_file(
    artifact: ArtifactOf, tmp_path: Path, probe: np.ndarray
) -> None:
    source = artifact("digits_cnn", "onnx")
    path, weights = tmp_path / "model.onnx", tmp_path / "model.bin"
    onnx.save(onnx.load(source), path, save_as_external_data=True, location=weights.name)
    np.testing.assert_array_equal(open_artifact(path)(probe), open_artifact(source)(probe))
    weights.write_bytes(weights.read_bytes()[:1000])
    refuse(path, "ONNX Runtime refuses it (...)", SECOND_FILE)
    weights.unlink()
    refuse(path, "ONNX Runtime refuses it (...)", SECOND_FILE)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(st.characters(codec="utf-8", exclude_characters="/\0"), max_size=40))
def test_any_name_can_be_missing(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"_{name}"
    with pytest.raises(ArtifactError, match="no such file or folder"):
        identify(path)


@pytest.mark.parametrize("address", ["gs://bucket/model", "https://host/model.onnx", "hf://a/b"])
def test_an_address_is_no_path(address: str) -> None:
    with pytest.raises(ArtifactError, match=r"It is an address\. Download the file first"):
        identify(address)


def test_a_tilde_is_not_replaced_but_explained() -> None:
    with pytest.raises(ArtifactError, match=f"The path may be {Path.home() / 'no_such.onnx'}"):
        identify("~/no_such.onnx")
