"""Files that would do something when they are opened: refused before anything is done."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from helpers.formats import ArtifactError, load_keras, load_saved_model, open_artifact
from helpers.formats.keras_config import suspicious_parts
from helpers.formats.saved_model import suspicious_operators

ROWS = np.ones((2, 4), np.float32)


def tiny() -> keras.Model:
    entry = keras.Input((4,), name="entry")
    return keras.Model(entry, layers.Dense(3, name="last")(entry), name="tiny")


def edited(path: Path, edit: Callable[[dict[str, Any]], None]) -> Path:
    """Save a model, and change its configuration."""
    tiny().save(path)
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            config = json.loads(file.attrs["model_config"])
            edit(config)
            file.attrs["model_config"] = json.dumps(config)
        return path
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    edit(config)
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def function(module: str, name: str) -> dict[str, Any]:
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def lambda_layer(called: dict[str, Any], value: Any) -> Callable[[dict[str, Any]], None]:
    """Insert a layer that calls a function with a constant while the file is loaded."""
    layer = {
        "module": "keras.layers",
        "class_name": "Lambda",
        "registered_name": None,
        "name": "caller",
        "config": {"name": "caller", "function": called, "arguments": {}},
        "inbound_nodes": [{"args": [], "kwargs": {"inputs": value}}],
    }
    return lambda config: config["config"]["layers"].insert(1, layer)


def last_layer(change: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
    return lambda config: change(config["config"]["layers"][-1]["config"])


HOSTILE: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "a Lambda that sets the precision": (
        lambda_layer(function("keras.config", "set_floatx"), "float16"),
        "a Lambda layer ('caller'), the function keras.config.set_floatx",
    ),
    "a Lambda with a harmless function": (
        lambda_layer(function("keras.activations", "relu"), 1.0),
        "a Lambda layer ('caller')",
    ),
    "an activation that sets the precision": (
        last_layer(lambda layer: layer.update(activation=function("keras.config", "set_floatx"))),
        "the function keras.config.set_floatx",
    ),
    "an initializer that downloads": (
        last_layer(
            lambda layer: layer.update(kernel_initializer=function("keras.utils", "get_file"))
        ),
        "the function keras.utils.get_file",
    ),
    "a lookup among the activations": (
        last_layer(
            lambda layer: layer.update(activation=function("keras.activations", "deserialize"))
        ),
        "the function keras.activations.deserialize",
    ),
    "a class that is no part of a model": (
        last_layer(
            lambda layer: layer.update(
                kernel_regularizer={
                    "module": "keras.callbacks",
                    "class_name": "BackupAndRestore",
                    "config": {"backup_dir": "here"},
                    "registered_name": None,
                }
            )
        ),
        "keras.callbacks.BackupAndRestore",
    ),
    "a layer that loads a SavedModel": (
        lambda config: config["config"]["layers"].insert(
            1,
            {
                "module": "keras.layers",
                "class_name": "TFSMLayer",
                "name": "other",
                "config": {"name": "other", "filepath": "anywhere"},
                "inbound_nodes": [],
            },
        ),
        "a TFSMLayer layer ('other')",
    ),
}


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("name", HOSTILE)
def test_what_keras_would_call_is_named_and_not_called(
    name: str, suffix: str, tmp_path: Path
) -> None:
    edit, finding = HOSTILE[name]
    path = edited(tmp_path / f"model{suffix}", edit)
    before = keras.config.floatx()
    with pytest.raises(ArtifactError, match="it names what is no part of a model: ") as caught:
        open_artifact(path)
    assert finding in caught.value.finding
    assert keras.config.floatx() == before
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_the_attack_is_real_and_trust_lets_it_through(tmp_path: Path) -> None:
    """Without the look inside, Keras calls the function: this test fails when Keras mends it."""
    edit, _ = HOSTILE["a Lambda that sets the precision"]
    path = edited(tmp_path / "model.keras", edit)
    before = keras.config.floatx()
    try:
        with load_keras(path, trust=True):
            pass
        assert keras.config.floatx() == "float16"
    finally:
        keras.config.set_floatx(before)


def ordinary() -> dict[str, keras.Model]:
    """Build models with parts that look like calls, and are parts of a model."""
    image = keras.Input((8, 8, 3))
    x = layers.RandomFlip()(image)
    x = layers.Conv2D(4, 3, activation=keras.ops.relu, kernel_regularizer="l2")(x)
    x = layers.GroupNormalization(2)(x * 2 + 1)
    x = layers.TimeDistributed(layers.Dense(3, kernel_constraint="max_norm"))(x)
    x = keras.ops.relu(layers.Flatten()(x))
    compiled = keras.Model(image, layers.Dense(2, dtype="mixed_float16")(x))
    compiled.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(1e-3, 10, 0.9)),
        loss=keras.losses.mean_squared_error,
        metrics=["accuracy", keras.metrics.MeanSquaredError()],
    )
    words = keras.Input((None,), dtype="int32")
    masked = layers.Embedding(10, 4, mask_zero=True)(words)
    recurrent = keras.Model(words, layers.Bidirectional(layers.GRU(4))(masked))
    inner = tiny()
    nested = keras.Sequential([keras.Input((4,)), inner, layers.Dense(2)])
    return {"compiled": compiled, "recurrent": recurrent, "nested": nested}


@pytest.mark.parametrize("name", ["compiled", "recurrent", "nested"])
def test_ordinary_models_open_as_before(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    ordinary()[name].save(path)
    with open_artifact(path) as runtime:
        assert runtime.outputs


def test_no_layer_of_keras_but_those_that_run_code_is_suspicious() -> None:
    found = {}
    for name, each in vars(layers).items():
        if not (isinstance(each, type) and issubclass(each, layers.Layer)) or name == "Layer":
            continue
        for arguments in ((), (3,), (3, 3)):
            try:
                layer = each(*arguments)
                config = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
            except Exception:  # it wants other arguments
                continue
            found[name] = suspicious_parts(config)
            break
    assert len(found) > 100
    assert {name: parts for name, parts in found.items() if parts} == {}


def zipped(path: Path, name: str, size: int) -> Path:
    tiny().save(path)
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open(name, "w", force_zip64=True) as member,
    ):
        for _ in range(size // 2**20):
            member.write(bytes(2**20))
    return path


def test_a_file_that_unpacks_to_gigabytes_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "bomb.keras", "assets/vocabulary.txt", 1100 * 2**20)
    assert path.stat().st_size < 3e6
    with pytest.raises(ArtifactError, match=r"it unpacks to .* 1,100 MiB beside its weights"):
        open_artifact(path)


def test_a_file_that_declares_gigabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    tiny().save(path)
    with h5py.File(path, "r+") as file:
        shape = (2**15, 2**14)  # 2 GiB of float32, none of which is written
        file["model_weights"].create_dataset("huge", shape, np.float32, chunks=(1024, 1024))
    with pytest.raises(ArtifactError, match=r"it has 0.\d MiB and declares weights of 2,048 MiB"):
        open_artifact(path)


def test_a_configuration_without_end_is_refused(tmp_path: Path) -> None:
    def nest(config: dict[str, Any]) -> None:
        for _ in range(300):
            config["deeper"] = {"inside": config.pop("deeper", 1)}

    path = edited(tmp_path / "deep.keras", nest)
    with pytest.raises(ArtifactError, match="nested deeper than 200 levels"):
        open_artifact(path)


class Writes(tf.Module):
    """A graph that writes a file when it is called, where there is a path for it."""

    def __init__(self, marker: Path | None) -> None:
        super().__init__()
        self._marker, self.state = marker, tf.Variable([1.0])

    @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32)])
    def answer(self, rows: tf.Tensor) -> tf.Tensor:
        if self._marker:
            tf.io.write_file(str(self._marker), "x")
        return rows * self.state


def test_a_graph_that_writes_is_refused_unless_it_is_trusted(tmp_path: Path) -> None:
    module, folder = Writes(tmp_path / "marker"), tmp_path / "writes"
    tf.saved_model.save(module, str(folder), signatures=module.answer)
    with pytest.raises(ArtifactError, match=r"its graph does more than compute: WriteFile"):
        load_saved_model(folder)
    assert not (tmp_path / "marker").exists()
    with load_saved_model(folder, trust=True) as runtime:
        runtime(ROWS)
    assert (tmp_path / "marker").read_text() == "x"


def test_saving_and_restoring_its_own_variables_is_no_suspicion(tmp_path: Path) -> None:
    module, folder = Writes(None), tmp_path / "plain"
    tf.saved_model.save(module, str(folder), signatures=module.answer)
    assert suspicious_operators(folder) == []
    stored = (folder / "saved_model.pb").read_bytes()
    assert b"SaveV2" in stored
    assert b"RestoreV2" in stored


@pytest.mark.parametrize("name", ["/etc/hostname", "../../outside.txt"])
def test_an_asset_outside_the_folder_is_refused(name: str, tmp_path: Path) -> None:
    from tensorflow.core.protobuf import saved_model_pb2

    (tmp_path / "words.txt").write_text("a\nb\n")
    model = keras.Sequential(
        [keras.Input((1,), dtype="string"),
         layers.StringLookup(vocabulary=str(tmp_path / "words.txt"))]
    )  # fmt: skip
    folder = tmp_path / "exported"
    model.export(folder, verbose=False)
    graph = folder / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(graph.read_bytes())
    asset = saved.meta_graphs[0].asset_file_def.add()
    asset.filename, asset.tensor_info.name = name, "Const:0"
    graph.write_bytes(saved.SerializeToString())
    with pytest.raises(ArtifactError, match="a file outside the folder"):
        load_saved_model(folder)
