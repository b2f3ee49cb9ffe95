"""One module for each kind: what is said there once, every function knows; damage is one error."""

from __future__ import annotations

import importlib.util
import inspect
import os
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from conftest import ArtifactOf, RunPython
from helpers.formats import (
    FORMATS,
    ArtifactError,
    ArtifactSize,
    Format,
    Runtime,
    TensorSpec,
    Traits,
    artifact_size,
    identify,
    load_keras,
    load_onnx,
    load_saved_model,
    open_artifact,
    read_traits,
)
from tiny_onnx import write_dense

SAVE_AGAIN = "Save or copy the model again, and compare the sizes."


class Adder(Runtime):
    """The runtime of a made-up kind: it adds the number in the file."""

    def __init__(self, path: Path, times: int = 1) -> None:
        spec = TensorSpec("x", (None,), "float32")
        super().__init__("adder", [spec], [spec])
        self._model = times * float(path.read_bytes()[3:])

    def _run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        return [feeds["x"] + np.float32(self._model)]


ADDER = Format(
    kind="adder",
    title="a made-up file",
    short=".add",
    framework="json",
    recognizes=lambda look: look.start.startswith(b"ADD"),
    load=lambda path, **options: Adder(Path(path), **options),
    options=("times",),
    limit_threads=lambda threads: {},
    contents=lambda path: ArtifactSize(path, "adder", path.stat().st_size, 4, 8, 0, ()),
    traits=lambda path, size=None: Traits(False, True, False),
)


def refuse(call: Callable[[Path], Any], path: Path) -> ArtifactError:
    with pytest.raises(ArtifactError) as caught:
        call(path)
    assert "\n" not in str(caught.value)
    assert caught.value.path == path
    return caught.value


@pytest.fixture
def adder(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"  # the suffix is only a hint
    path.write_bytes(b"ADD2.5")
    return path


def test_one_line_makes_a_new_kind_known(adder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArtifactError, match=r"no known kind .*: \.keras, \.h5, a SavedModel fol"):
        open_artifact(adder)
    monkeypatch.setitem(FORMATS, ADDER.kind, ADDER)
    assert identify(adder) == "adder"
    with open_artifact(adder) as runtime:
        assert runtime(np.ones(2, np.float32)).tolist() == [3.5, 3.5]
    assert FORMATS["adder"].load(adder, times=2)(np.ones(1, np.float32)).tolist() == [6]
    size = artifact_size(adder)
    assert (size.kind, size.total_bytes) == ("adder", 6)
    assert [flag.split(":")[0] for flag in size.flags] == ["Weights stored twice"]
    assert read_traits(adder) == Traits(False, True, False)


def test_what_is_said_of_the_kinds_knows_the_new_one(
    adder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FORMATS, ADDER.kind, ADDER)
    for load in (load_keras, load_onnx, load_saved_model):
        with pytest.raises(ArtifactError, match=r"it is adder, not a.*\. Use open_artifact\(path"):
            load(adder)
    path = tmp_path / "other"
    path.write_text("text")
    kinds = ".keras, .h5, a SavedModel folder, .onnx"
    assert refuse(identify, path).remedy == f"Known are: {kinds} and .add."
    path.write_text("{}")
    assert refuse(identify, path).remedy == f"Give the path of a whole model: {kinds} or .add."


@pytest.mark.parametrize("kind", FORMATS)
def test_a_kind_is_described_in_full(kind: str) -> None:
    known = FORMATS[kind]
    assert known.kind == kind
    assert set(known.options) <= set(inspect.signature(known.load).parameters)
    assert importlib.util.find_spec(known.framework)
    assert known.title.startswith(("a ", "an ", "the "))


def test_knowing_all_kinds_imports_no_framework(run_python: RunPython) -> None:
    names = {known.framework for known in FORMATS.values()} | {"h5py", "onnx", "pandas"}
    code = f"import sys, helpers.formats; print([n for n in {sorted(names)} if n in sys.modules])"
    result = run_python(code)
    assert result.stdout.strip() == "[]", result.stderr


def test_threads_of_onnx_are_an_argument_of_the_loader(tmp_path: Path) -> None:
    arguments = FORMATS["onnx"].limit_threads(2)
    runtime = FORMATS["onnx"].load(write_dense(tmp_path / "model.onnx"), **arguments)
    assert runtime._model.get_session_options().intra_op_num_threads == 2


@pytest.mark.parametrize("kind", ["keras", "h5", "saved_model"])
def test_threads_of_tensorflow_are_set_in_the_process(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tensorflow.config import threading

    noted = {}
    for name in ("intra", "inter"):
        setter = f"set_{name}_op_parallelism_threads"
        monkeypatch.setattr(threading, setter, lambda count, name=name: noted.update({name: count}))
    assert FORMATS[kind].limit_threads(3) == {}
    assert noted == {"intra": 3, "inter": 3}


ASK = (identify, open_artifact, artifact_size, read_traits)


@pytest.mark.parametrize("ask", ASK)
def test_a_pipe_is_refused_and_not_read(ask: Callable[[Path], Any], tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    os.mkfifo(path)
    ends = os.open(path, os.O_RDWR)  # were it read, it would answer like an ONNX file
    try:
        os.write(ends, b"\x08\x08" * 64)
        error = refuse(ask, path)
    finally:
        os.close(ends)
    assert error.finding == "it is a pipe, a device or the like, no file"
    assert error.remedy == "Give the path of a model file or folder."
    assert refuse(ask, Path("/dev/null")).finding == error.finding


@pytest.mark.parametrize("ask", ASK)
def test_a_name_that_no_file_can_have(ask: Callable[[Path], Any], tmp_path: Path) -> None:
    error = refuse(ask, tmp_path / ("long" * 200))
    assert error.finding.startswith("it cannot be read (")
    assert error.remedy == "Check the path, and who may read it."


def write_keras(path: Path, **members: str | bytes) -> Path:
    """Write a .keras file of three members, with other contents where they are given."""
    path.unlink(missing_ok=True)
    whole = {"metadata": "{}", "config": "{}", "weights": b""} | members
    names = {"weights": "model.weights.h5"}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in whole.items():
            archive.writestr(names.get(name, f"{name}.json"), content)
    return path


NO_CONFIGURATIONS = {
    "text": "no JSON",
    "no UTF-8": b"\xff\xfe\xfa",
    "too deep": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "other types": '{"class_name": 1, "module": 1}',
}


@pytest.mark.parametrize("name", NO_CONFIGURATIONS)
@pytest.mark.parametrize("kind", ["keras", "h5"])
def test_traits_of_what_is_no_configuration(kind: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / "model"
    if kind == "keras":
        write_keras(path, config=NO_CONFIGURATIONS[name])
    else:
        with h5py.File(path, "w") as file:
            file.attrs["model_config"] = NO_CONFIGURATIONS[name]
    error = refuse(read_traits, path)
    part = "its config.json" if kind == "keras" else "its configuration"
    assert error.finding.startswith(f"{part} cannot be read (")
    assert error.remedy == SAVE_AGAIN


@pytest.mark.parametrize("config", ["[]", "3", '{"compile_config": [1]}'])
def test_traits_of_a_configuration_without_names(config: str, tmp_path: Path) -> None:
    path = write_keras(tmp_path / "model", config=config)
    assert refuse(read_traits, path).finding.startswith("its config.json cannot be read (")


@pytest.mark.parametrize("ask", [open_artifact, read_traits])
def test_weights_alone_have_no_traits(ask: Callable[[Path], Any], tmp_path: Path) -> None:
    path = tmp_path / "model.weights.h5"
    with h5py.File(path, "w") as file:
        file["layers/dense/vars/0"] = np.ones(3)
    error = refuse(ask, path)
    assert error.finding == "it holds weights only, not the architecture"
    assert error.remedy == "Build the model in code, then call model.load_weights(path)."
    assert artifact_size(path).parameter_bytes == 24


def test_an_encrypted_archive(tmp_path: Path) -> None:
    path = write_keras(tmp_path / "model.keras")
    content = bytearray(path.read_bytes())
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # of each member, twice
        place = -1
        while (place := content.find(mark, place + 1)) >= 0:
            content[place + flags] |= 1
    path.write_bytes(content)
    for ask, part in ((artifact_size, "its weights"), (read_traits, "its config.json")):
        error = refuse(ask, path)
        assert error.finding.startswith(f"{part} cannot be read (")
        assert "is encrypted" in error.finding
    refuse(open_artifact, path)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One small good file of each kind that is a file."""
    import keras

    folder = tmp_path_factory.mktemp("sound")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, kernel_initializer="ones")])
    model.compile("adam", "mean_squared_error")
    model.train_on_batch(np.ones((2, 4)), np.ones((2, 3)))
    paths = {kind: folder / f"model.{kind}" for kind in ("keras", "h5", "onnx")}
    model.save(paths["keras"])
    model.save(paths["h5"])
    write_dense(paths["onnx"])
    return paths


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Change some bytes, and cut off the end now and then."""
    changed = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 8])):
        changed[chance.randrange(len(changed))] = chance.choice([0, 255, chance.randrange(256)])
    if chance.random() < 0.3:
        del changed[chance.randrange(len(changed)) :]
    return bytes(changed)


def damaged_member(source: Path, path: Path, chance: random.Random) -> None:
    """Damage a member of a .keras file, with the checksum of what it holds then."""
    chosen = chance.choice(["config.json", "model.weights.h5", "metadata.json"])
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(path, "w") as copy:
        for name in archive.namelist():
            content = archive.read(name)
            copy.writestr(name, damaged(content, chance) if name == chosen else content)


@pytest.mark.parametrize(
    ("ask", "count"), [(artifact_size, 200), (read_traits, 200), (open_artifact, 100)]
)
@pytest.mark.parametrize("kind", ["keras", "h5", "onnx"])
def test_damage_of_any_kind_is_one_error(
    kind: str, ask: Callable[[Path], Any], count: int, sound: dict[str, Path], tmp_path: Path
) -> None:
    """Any error but `ArtifactError` fails the test. Some damage only changes a value."""
    source, path, chance = sound[kind], tmp_path / sound[kind].name, random.Random(0)
    refused = 0
    for number in range(count):
        if kind == "keras" and number % 3:
            damaged_member(source, path, chance)
        else:
            path.write_bytes(damaged(source.read_bytes(), chance))
        try:
            ask(path)
        except ArtifactError:
            refused += 1
    assert 0 < refused < count


def test_damage_in_a_saved_model_is_one_error_to_the_scales(tmp_path: Path) -> None:
    import tensorflow as tf

    module = tf.Module()
    module.variable = tf.Variable(np.arange(100, dtype=np.float32))
    tf.saved_model.save(module, str(tmp_path))
    chance = random.Random(0)
    refused = 0
    for file in sorted((tmp_path / "variables").iterdir()):
        content = file.read_bytes()
        for _ in range(40):
            file.write_bytes(damaged(content, chance))
            try:
                artifact_size(tmp_path)
            except ArtifactError:
                refused += 1
        file.write_bytes(content)
    assert 40 < refused < 80
    assert artifact_size(tmp_path).parameter_bytes == 400
    assert read_traits(tmp_path) == Traits(True, False, False)


def test_weights_are_weighed_alike_however_the_archive_holds_them(
    artifact: ArtifactOf, tmp_path: Path
) -> None:
    """Stored weights are read in place, compressed ones through the archive."""
    stored, packed = artifact("digits_cnn", "keras"), tmp_path / "packed.keras"
    with (
        zipfile.ZipFile(stored) as source,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        assert source.getinfo("model.weights.h5").compress_type == zipfile.ZIP_STORED
        for name in source.namelist():
            target.writestr(name, source.read(name))
    first, second = artifact_size(stored), artifact_size(packed)
    assert first.parameter_bytes == second.parameter_bytes > 0
    assert first.weight_bytes == second.weight_bytes
    assert first.optimizer_bytes == second.optimizer_bytes
