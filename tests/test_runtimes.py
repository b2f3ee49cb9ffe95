"""One calling convention, whatever runs the model, and a clear error for arrays that do not fit."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
from keras import layers
from onnx import helper

from conftest import ArtifactOf, RunPython
from helpers.formats import (
    ArtifactError,
    InputError,
    KerasMethod,
    KerasRuntime,
    OnnxRuntime,
    Runtime,
    SavedModelRuntime,
    load_keras,
    load_onnx,
    load_saved_model,
    load_signatures,
    open_artifact,
)
from helpers.formats.keras import innermost_reason
from routes import SUFFIXES, write_artifact

Families = dict[str, keras.Model]
RUNTIMES = {"keras": KerasRuntime, "h5": KerasRuntime, "onnx": OnnxRuntime, "tf2onnx": OnnxRuntime}
NAMES = {
    KerasRuntime: "Keras predict_on_batch",
    OnnxRuntime: "ONNX Runtime",
    SavedModelRuntime: "SavedModel",
}


def assert_same(given: Any, expected: Any) -> None:
    """Compare answers up to rounding; parity has its own, stricter tests."""
    np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("route", SUFFIXES)
def test_one_array_in_one_array_out(
    route: str, artifact: ArtifactOf, probe: np.ndarray, digits_cnn: keras.Model
) -> None:
    with open_artifact(artifact("digits_cnn", route)) as runtime:
        kind = RUNTIMES.get(route, SavedModelRuntime)
        assert isinstance(runtime, kind)
        assert runtime.name == NAMES[kind]
        (spec,) = runtime.inputs
        assert (spec.shape, spec.dtype) == ((None, 8, 8, 1), "float32")
        assert [(y.shape, y.dtype) for y in runtime.outputs] == [((None, 10), "float32")]
        answer = runtime(probe)
        assert isinstance(answer, np.ndarray)
        assert_same(answer, digits_cnn.predict_on_batch(probe))
        for form in ([probe], (probe,), {spec.name: probe}):
            np.testing.assert_array_equal(runtime(form), answer)
        assert str(spec) in repr(runtime)
        assert runtime.name in repr(runtime)


@pytest.mark.parametrize("route", SUFFIXES)
def test_two_named_inputs_and_outputs(
    route: str, artifact: ArtifactOf, feeds: dict[str, Any], families: Families
) -> None:
    expected = families["two_branch"].predict_on_batch(feeds["two_branch"])
    with open_artifact(artifact("two_branch", route)) as runtime:
        renamed = route == "tf_save"  # this route names the inputs after the call's arguments
        names = ["inputs", "inputs_1"] if renamed else ["image", "profile"]
        assert [spec.name for spec in runtime.inputs] == names
        arrays = dict(zip(names, feeds["two_branch"].values(), strict=True))
        answers = runtime(arrays)
        assert len(answers) == 2
        for answer, name in zip(answers.values(), ["digit", "ink"], strict=True):
            assert_same(answer, expected[name])


@pytest.mark.parametrize("method", get_args(KerasMethod))
@pytest.mark.parametrize("family", ["digits_cnn", "two_branch"])
def test_keras_methods(
    method: KerasMethod, family: str, families: Families, feeds: dict[str, Any]
) -> None:
    expected = families[family].predict_on_batch(feeds[family])
    runtime = KerasRuntime(families[family], method)
    assert runtime.name == f"Keras {method}"
    answer = runtime(feeds[family])
    if family == "digits_cnn":
        assert_same(answer, expected)
        return
    assert list(answer) == ["digit", "ink"]
    for name, array in answer.items():
        assert_same(array, expected[name])


@pytest.mark.parametrize("method", get_args(KerasMethod))
def test_the_method_that_was_asked_for_is_called(
    method: KerasMethod, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = keras.Input((4,))
    model = keras.Model(x, layers.Dense(2)(x))
    runtime = KerasRuntime(model, method)
    called = []

    def listen(name: str) -> None:
        original = getattr(keras.Model, name)

        def note(*given: Any, **more: Any) -> Any:
            called.append(name)
            return original(*given, **more)

        monkeypatch.setattr(keras.Model, name, note)

    listen("predict")
    listen("predict_on_batch")
    assert runtime(np.ones((3, 4), np.float32)).shape == (3, 2)
    assert called == ([] if method == "call" else [method])


class Watch(layers.Layer):
    """Notes how many rows come in."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[int] = []

    def call(self, x: Any) -> Any:
        self.rows.append(x.shape[0])
        return x


def test_predict_takes_all_rows_at_once_and_says_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    x, watch = keras.Input((4,)), Watch()
    model = keras.Model(x, watch(x))
    model.compile(run_eagerly=True)
    watch.rows.clear()
    KerasRuntime(model, "predict")(np.ones((40, 4), np.float32))
    assert list(watch.rows) == [40]  # by default, Keras would make two batches of them
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("method", get_args(KerasMethod))
def test_augmentation_is_off(method: KerasMethod, probe: np.ndarray) -> None:
    image = keras.Input((8, 8, 1))
    model = keras.Model(image, layers.RandomFlip("horizontal", seed=0)(image))
    np.testing.assert_array_equal(KerasRuntime(model, method)(probe), probe)


def test_the_output_of_a_sequential_has_the_name_of_its_last_layer(
    digits_cnn: keras.Model,
) -> None:
    assert [spec.name for spec in KerasRuntime(digits_cnn).outputs] == ["probabilities"]


def test_an_unknown_method_is_refused(digits_cnn: keras.Model) -> None:
    with pytest.raises(ValueError, match=r"expected one of .*'predict_on_batch'.* got 'run'"):
        KerasRuntime(digits_cnn, "run")  # type: ignore[arg-type]


def many_outputs() -> keras.Model:
    """Two inputs in a list, not in alphabetical order, and twelve outputs in a list."""
    inputs = [keras.Input((4,), name=name) for name in ("zeta", "alpha")]
    heads = [layers.Dense(2, name=f"head_{n}")(inputs[n % 2]) for n in range(12)]
    return keras.Model(inputs, heads)


@pytest.mark.parametrize("route", ["keras", "export", "onnx"])
def test_lists_keep_their_order(route: str, tmp_path: Path) -> None:
    model = many_outputs()
    zeta, alpha = np.random.default_rng(0).random((2, 3, 4), np.float32)
    model([zeta, alpha])
    expected = model.predict_on_batch([zeta, alpha])
    with open_artifact(write_many(model, route, tmp_path)) as runtime:
        answers = list(runtime({"alpha": alpha, "zeta": zeta}).values())
        assert len(answers) == 12
        for answer, wanted in zip(answers, expected, strict=True):
            assert_same(answer, wanted)
        if route == "export":  # a signature's inputs have no order
            message = "expected a dict with the inputs alpha, zeta, got list. The inputs of a "
            message += "SavedModel signature have names but no order."
            with pytest.raises(InputError, match=f"^{message}$"):
                runtime([zeta, alpha])
        else:
            by_order = list(runtime([zeta, alpha]).values())
            np.testing.assert_array_equal(by_order, answers)


def write_many(model: keras.Model, route: str, folder: Path) -> Path:
    """Export a model that was called, so that no route has to call it."""
    path = folder / f"model{SUFFIXES[route]}"
    if route == "keras":
        model.save(path)
    else:
        model.export(path, format="onnx" if route == "onnx" else "tf_saved_model", verbose=False)
    return path


def test_saved_model_outputs_are_in_natural_order(tmp_path: Path) -> None:
    path = write_many(many_outputs(), "export", tmp_path)
    names = [spec.name for spec in load_saved_model(path).outputs]
    assert names == [f"output_{n}" for n in range(12)]


def test_saved_model_inputs_are_in_natural_order(tmp_path: Path) -> None:
    names = [f"x_{n}" for n in range(12)]
    specs = [tf.TensorSpec([None], tf.float32, name=name) for name in names]
    module = tf.Module()
    module.total = tf.function(lambda *parts: tf.add_n(parts), input_signature=specs)
    tf.saved_model.save(module, str(tmp_path), signatures=module.total)
    assert [spec.name for spec in load_saved_model(tmp_path).inputs] == names


def test_a_saved_model_for_any_shape(tmp_path: Path) -> None:
    module = tf.Module()
    signature = [tf.TensorSpec(None, tf.float32, name="x")]
    module.twice = tf.function(lambda x: 2 * x, input_signature=signature)
    tf.saved_model.save(module, str(tmp_path), signatures=module.twice)
    runtime = load_saved_model(tmp_path)
    assert str(runtime.inputs[0]) == "x: float32 (any shape)"
    assert runtime(np.ones((1, 2, 3), np.float32)).tolist() == [[[2, 2, 2], [2, 2, 2]]]


def test_element_types_of_onnx_have_their_numpy_names(tmp_path: Path) -> None:
    kinds = {"float32": 1, "uint8": 2, "int64": 7, "string": 8, "bool": 9, "float64": 11}
    ends = {
        side: [helper.make_tensor_value_info(f"{side}_{k}", n, ["n"]) for k, n in kinds.items()]
        for side in ("in", "out")
    }
    nodes = [helper.make_node("Identity", [f"in_{kind}"], [f"out_{kind}"]) for kind in kinds]
    nodes.append(helper.make_node("SequenceConstruct", ["in_int64"], ["list"]))
    ends["out"].append(helper.make_tensor_sequence_value_info("list", 7, None))
    graph = helper.make_graph(nodes, "kinds", ends["in"], ends["out"])
    opset = [helper.make_opsetid("", 17)]
    path = tmp_path / "kinds.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    runtime = load_onnx(path)
    assert [spec.dtype for spec in runtime.inputs] == list(kinds)
    assert [spec.dtype for spec in runtime.outputs] == [*kinds, "seq(tensor(int64))"]


def test_a_layer_that_is_called_twice_gives_two_outputs() -> None:
    left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    shared = layers.Dense(3, name="shared")
    runtime = KerasRuntime(keras.Model([left, right], [shared(left), shared(right)]))
    ones = np.ones((2, 4), np.float32)
    answers = runtime([ones, 2 * ones])
    assert list(answers) == ["shared_0", "shared_1"]
    assert_same(answers["shared_1"], 2 * answers["shared_0"])


@pytest.mark.parametrize("method", get_args(KerasMethod))
@pytest.mark.parametrize("form", ["tensor", "list", "dict"])
@pytest.mark.filterwarnings("error:The structure of `inputs`")
def test_one_input_in_any_structure(form: str, method: KerasMethod) -> None:
    x = keras.Input((4,), name="x")
    y = layers.Dense(2, name="y")(x)
    ends = {"tensor": (x, y), "list": ([x], [y]), "dict": ({"x": x}, {"y": y})}
    runtime = KerasRuntime(keras.Model(*ends[form]), method)
    assert runtime(np.ones((3, 4), np.float32)).shape == (3, 2)
    assert [spec.name for spec in (*runtime.inputs, *runtime.outputs)] == ["x", "y"]


def test_a_runtime_describes_itself() -> None:
    inputs = [keras.Input((4,), name="a"), keras.Input((2,), name="b", dtype="int32")]
    outputs = [layers.Dense(3, name="c")(inputs[0]), layers.Flatten(name="d")(inputs[1])]
    assert repr(KerasRuntime(keras.Model(inputs, outputs), "predict")) == (
        "KerasRuntime('Keras predict', inputs: a: float32 (n, 4); b: int32 (n, 2), "
        "outputs: c: float32 (n, 3); d: int32 (n, 2))"
    )


def test_models_that_cannot_be_called_by_name_are_refused() -> None:
    class Subclassed(keras.Model):
        def call(self, x: Any) -> Any:
            return x

    wrap = "Wrap it: inputs = keras.Input(shape); keras.Model(inputs, model(inputs))."
    message = "the model 'it' does not state its inputs, as subclassed models do not."
    with pytest.raises(InputError, match=f"^{re.escape(f'{message} {wrap}')}$"):
        KerasRuntime(Subclassed(name="it"))
    x = keras.Input((4,))
    flat = "Give the model flat inputs and outputs: one tensor, a list or a dict."
    message = f"['deep'] hold more than one tensor each. {flat}"
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        KerasRuntime(keras.Model(x, {"deep": [layers.Dense(1)(x)], "flat": layers.Dense(1)(x)}))


@pytest.mark.parametrize("route", ["keras", "h5", "export", "onnx"])
def test_integer_inputs(route: str, tmp_path: Path) -> None:
    tokens = keras.Input((5,), dtype="int32", name="tokens")
    model = keras.Model(tokens, layers.Dense(2)(layers.Embedding(7, 3)(tokens)))
    values = np.arange(10, dtype=np.int32).reshape(2, 5) % 7
    with open_artifact(write_artifact(model, route, tmp_path / "model")) as runtime:
        assert runtime.inputs[0].dtype == "int32"
        assert_same(runtime(values), model.predict_on_batch(values))
        with pytest.raises(InputError, match="expected dtype int32, got int64"):
            runtime(values.astype(np.int64))


class Parser(tf.Module):
    """Text in, a number and a code out."""

    def __init__(self) -> None:
        super().__init__()
        keys = tf.lookup.KeyValueTensorInitializer(["1", "2"], tf.constant([10, 20], tf.int64))
        self.table = tf.lookup.StaticHashTable(keys, default_value=-1)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def parse(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        numbers = tf.strings.to_number(text)
        return {"number": numbers, "code": self.table.lookup(text), "text": text}


@pytest.mark.parametrize("dtype", [str, bytes, object])
def test_string_inputs_of_a_saved_model(dtype: type, tmp_path: Path) -> None:
    parser = Parser()
    tf.saved_model.save(parser, str(tmp_path), signatures=parser.parse)
    with load_saved_model(tmp_path) as runtime:
        assert str(runtime.inputs[0]) == "text: string (n,)"
        answers = runtime(np.array(["1", "2", "3"]).astype(dtype))
        assert answers["number"].tolist() == [1.0, 2.0, 3.0]
        assert answers["code"].tolist() == [10, 20, -1]
        assert answers["text"].tolist() == [b"1", b"2", b"3"]
        with pytest.raises(InputError, match="expected dtype string, got float32"):
            runtime(np.ones(3, np.float32))


@pytest.mark.parametrize("method", get_args(KerasMethod))
@pytest.mark.parametrize("dtype", [str, object])
def test_string_inputs_of_keras(method: KerasMethod, dtype: type) -> None:
    text = keras.Input((1,), dtype="string", name="text")
    lookup = layers.StringLookup(vocabulary=["red", "blue"])
    runtime = KerasRuntime(keras.Model(text, lookup(text)), method)
    assert runtime(np.array([["blue"], ["green"]]).astype(dtype)).tolist() == [[2], [0]]


def digits_error(array: Any) -> str:
    """Describe a malformed input of the digits CNN the way every runtime must."""
    return {
        "float64": r"expected dtype float32, got float64\. Convert it with array\.astype",
        "uint8": "expected dtype float32, got uint8",
        "no batch axis": r"expected shape \(n, 8, 8, 1\), got \(8, 8, 1\)\. The batch axis is mis",
        "wrong shape": r"expected shape \(n, 8, 8, 1\), got \(2, 7, 8, 1\)",
        "nested list": r"expected a NumPy array of float32 \(n, 8, 8, 1\), got list",
        "wrong key": r"missing \['.*'\], unknown \['picture'\]",
        "empty dict": r"missing \['.*'\], unknown \[\]",
        "two arrays": r"expected 1 input\(s\), got 2\. The model takes .*: float32 \(n, 8, 8, 1\)",
        "tensor": "expected NumPy arrays, got EagerTensor",
    }[array]


IMAGES = np.zeros((2, 8, 8, 1), np.float32)
MALFORMED: dict[str, Any] = {
    "float64": IMAGES.astype(np.float64),
    "uint8": IMAGES.astype(np.uint8),
    "no batch axis": IMAGES[0],
    "wrong shape": IMAGES[:, 1:],
    "nested list": [[[[0.0]]]],
    "wrong key": {"picture": IMAGES},
    "empty dict": {},
    "two arrays": [IMAGES, IMAGES],
    "tensor": tf.zeros((2, 8, 8, 1)),
}


@pytest.mark.parametrize("fault", MALFORMED)
@pytest.mark.parametrize("route", ["keras", "h5", "export", "tf_save", "onnx"])
def test_malformed_input_is_named(fault: str, route: str, artifact: ArtifactOf) -> None:
    runtime = open_artifact(artifact("digits_cnn", route))
    with pytest.raises(InputError, match=digits_error(fault)):
        runtime(MALFORMED[fault])
    assert runtime(IMAGES).shape == (2, 10)


@pytest.mark.parametrize("route", ["keras", "export", "onnx"])
def test_malformed_named_inputs(
    route: str, artifact: ArtifactOf, feeds: dict[str, np.ndarray]
) -> None:
    runtime = open_artifact(artifact("two_branch", route))
    image, profile = feeds["two_branch"].values()
    with pytest.raises(InputError, match=r"missing \['profile'\], unknown \[\]"):
        runtime({"image": image})
    with pytest.raises(InputError, match="'profile': expected shape"):
        runtime({"image": image, "profile": image})
    wrong_length = "expected a dict" if route == "export" else r"expected 2 input\(s\), got 3"
    with pytest.raises(InputError, match=wrong_length):
        runtime([image, profile, profile])


@pytest.mark.parametrize("route", ["keras", "export", "onnx"])
def test_a_closed_runtime_says_so(route: str, artifact: ArtifactOf, probe: np.ndarray) -> None:
    with open_artifact(artifact("digits_cnn", route)) as runtime:
        runtime(probe)
    with pytest.raises(RuntimeError, match=r"runtime is closed. Open the artifact again"):
        runtime(probe)
    runtime.close()  # twice is no error


@pytest.mark.parametrize("route", ["keras", "export", "onnx"])
def test_a_prepared_call_can_be_repeated(
    route: str, artifact: ArtifactOf, probe: np.ndarray
) -> None:
    runtime = open_artifact(artifact("digits_cnn", route))
    call = runtime.prepare(probe)
    (first,), (second,) = call(), call()
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, runtime(probe))


def test_a_fixed_batch_is_stated_and_kept(
    artifact: ArtifactOf, probe: np.ndarray, tmp_path: Path
) -> None:
    model = onnx.load(artifact("digits_cnn", "onnx"))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    path = tmp_path / "fixed.onnx"
    onnx.save(model, path)
    runtime = load_onnx(path)
    assert str(runtime.inputs[0]).endswith("(1, 8, 8, 1)")
    assert runtime(probe[:1]).shape == (1, 10)
    with pytest.raises(InputError, match=r"expected shape \(1, 8, 8, 1\), got \(7, 8, 8, 1\)"):
        runtime(probe[:7])


class Doubler(tf.Module):
    """A module with a function, saved with a signature of another name or with none."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def double(self, x: tf.Tensor) -> tf.Tensor:
        return 2 * x


def test_signatures_of_other_names(tmp_path: Path) -> None:
    doubler = Doubler()
    tf.saved_model.save(doubler, str(tmp_path), signatures={"double": doubler.double})
    runtime = load_saved_model(tmp_path, signature="double")
    assert runtime(np.ones(3, np.float32)).tolist() == [2, 2, 2]
    for signature in ("serving_default", "treble"):
        with pytest.raises(ArtifactError) as caught:
            load_saved_model(tmp_path, signature)
        assert caught.value.path == tmp_path
        assert caught.value.finding == f"it has no signature '{signature}' (it has: double)"
        assert caught.value.remedy == (
            "Name one of them with signature=..., or --signature in a terminal, or export the "
            "model with `model.export(folder)`, "
            "which writes 'serving_default'."
        )


def test_several_signatures_are_listed_in_order(tmp_path: Path) -> None:
    doubler = Doubler()
    names = ("second", "first")
    tf.saved_model.save(doubler, str(tmp_path), signatures=dict.fromkeys(names, doubler.double))
    with pytest.raises(ArtifactError, match=r"'serving_default' \(it has: first, second\)"):
        load_saved_model(tmp_path)


def test_all_signatures_are_opened_at_once(tmp_path: Path) -> None:
    doubler = Doubler()
    names = ("second", "first")
    tf.saved_model.save(doubler, str(tmp_path), signatures=dict.fromkeys(names, doubler.double))
    opened = load_signatures(tmp_path)
    assert list(opened) == ["first", "second"]
    for runtime in opened.values():
        assert isinstance(runtime, SavedModelRuntime)
        (answer,) = runtime.prepare(np.ones(2, np.float32))()
        assert answer.tolist() == [2, 2]
    opened["first"].close()
    assert opened["second"](np.ones(1, np.float32)).tolist() == [2]


def test_a_folder_without_signatures_has_none_to_open(tmp_path: Path) -> None:
    tf.saved_model.save(tf.Module(), str(tmp_path))
    with pytest.raises(ArtifactError, match=r"it has no signatures\. Export it with"):
        load_signatures(tmp_path)


def test_an_operation_that_this_tensorflow_does_not_have(tmp_path: Path) -> None:
    doubler = Doubler()
    tf.saved_model.save(doubler, str(tmp_path), signatures=doubler.double)
    graph = tmp_path / "saved_model.pb"
    graph.write_bytes(graph.read_bytes().replace(b"Mul", b"Nul"))
    with pytest.raises(ArtifactError, match=r"Op type not registered 'Nul'") as caught:
        load_saved_model(tmp_path)
    assert "\n" not in caught.value.finding
    assert caught.value.remedy == (
        "Import the package that brings this operation, or install a newer TensorFlow."
    )


def test_no_signature_at_all(tmp_path: Path) -> None:
    tf.saved_model.save(tf.Module(), str(tmp_path))
    with pytest.raises(ArtifactError, match=r"no signature 'serving_default' \(it has: none\)"):
        open_artifact(tmp_path)


@pytest.mark.parametrize(
    ("load", "route", "message"),
    [
        (load_keras, "onnx", "it is onnx, not a Keras file"),
        (load_keras, "export", "it is saved_model, not a Keras file"),
        (load_onnx, "keras", "it is keras, not an ONNX file"),
        (load_saved_model, "h5", "it is h5, not a SavedModel"),
    ],
)
def test_the_wrong_loader_names_the_kind(
    load: Callable[[Path], Runtime], route: str, message: str, artifact: ArtifactOf
) -> None:
    path = artifact("digits_cnn", route)
    with pytest.raises(ArtifactError) as caught:
        load(path)
    assert str(caught.value) == f"{path}: {message}. Use open_artifact(path)."


@pytest.mark.parametrize("route", ["keras", "h5", "export", "onnx"])
@pytest.mark.parametrize("as_text", [True, False])
def test_relative_path_with_spaces_and_unicode(
    route: str,
    as_text: bool,
    artifact: ArtifactOf,
    probe: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = artifact("digits_cnn", route)
    path = tmp_path / "my models ñ 손글씨" / f"digits é{source.suffix}"
    path.parent.mkdir()
    (shutil.copytree if source.is_dir() else shutil.copyfile)(source, path)
    monkeypatch.chdir(tmp_path)
    relative = path.relative_to(tmp_path)
    with open_artifact(str(relative) if as_text else relative) as runtime:
        assert runtime(probe).shape == (32, 10)


def test_a_file_is_opened_for_inference_by_the_method_that_was_asked_for(
    artifact: ArtifactOf,
) -> None:
    runtime = load_keras(artifact("digits_cnn", "keras"), "call")
    assert runtime.name == "Keras call"
    assert not runtime.model.compiled


def test_of_a_keras_error_the_innermost_line_is_the_reason() -> None:
    found = "Exception encountered: "
    text = f"Outer.\n\n{found}Inner.\n\n{found}No class 'Twice' here...\nFull config: {{}}"
    assert innermost_reason(ValueError(text)) == "No class 'Twice' here"
    assert innermost_reason(ValueError("Without a wrapper.")) == "Without a wrapper"
    assert innermost_reason(KeyError()) == "KeyError"


def test_custom_objects_are_passed_on(tmp_path: Path) -> None:
    class Twice(layers.Layer):
        def call(self, x: Any) -> Any:
            return 2 * x

    x = keras.Input((4,))
    path = tmp_path / "custom.keras"
    keras.Model(x, Twice()(x)).save(path)
    with pytest.raises(ArtifactError, match=r"Twice.*custom_objects=\{'Name': Class\}"):
        load_keras(path)
    runtime = load_keras(path, custom_objects={"Twice": Twice})
    assert runtime(np.ones((1, 4), np.float32)).tolist() == [[2, 2, 2, 2]]


def test_onnx_threads_are_what_was_asked_for(artifact: ArtifactOf) -> None:
    import onnxruntime

    path = artifact("digits_cnn", "onnx")
    options = load_onnx(path)._model.get_session_options()
    assert options.intra_op_num_threads == 1
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    runtime = load_onnx(path, intra_op_num_threads=2, allow_spinning=True)
    options = runtime._model.get_session_options()
    assert options.intra_op_num_threads == 2
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "1"
    levels = onnxruntime.GraphOptimizationLevel
    assert options.graph_optimization_level == levels.ORT_ENABLE_ALL
    options = load_onnx(path, optimization="enable_basic")._model.get_session_options()
    assert options.graph_optimization_level == levels.ORT_ENABLE_BASIC
    with pytest.raises(ValueError, match=r"optimization: expected one of disable_all, .* 'fast'"):
        load_onnx(path, optimization="fast")
    own = onnxruntime.SessionOptions()
    own.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options = load_onnx(path, session_options=own)._model.get_session_options()
    assert options.graph_optimization_level == own.graph_optimization_level


RUN_ARTIFACT = """
import sys
import numpy as np
from helpers.formats import open_artifact
runtime = open_artifact(sys.argv[1])
assert runtime(np.zeros((2, 8, 8, 1), np.float32)).shape == (2, 10)
print([name for name in ("tensorflow", "keras", "h5py") if name in sys.modules])
"""

BLOCK_TENSORFLOW = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "keras", "tf2onnx"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocked())
"""


@pytest.mark.parametrize("prelude", ["", BLOCK_TENSORFLOW], ids=["free", "blocked"])
def test_onnx_needs_no_tensorflow(
    prelude: str, artifact: ArtifactOf, run_python: RunPython
) -> None:
    result = run_python(prelude + RUN_ARTIFACT, artifact("digits_cnn", "onnx"))
    assert result.stdout.strip() == "[]", result.stderr


def test_the_block_works(artifact: ArtifactOf, run_python: RunPython) -> None:
    result = run_python(BLOCK_TENSORFLOW + RUN_ARTIFACT, artifact("digits_cnn", "export"))
    assert result.returncode == 1
    assert "tensorflow is blocked" in result.stderr


# TensorFlow imports Keras where it is installed. As if it were not:
HIDE_KERAS = """
import sys
from importlib.machinery import PathFinder

class WithoutKeras:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] != "keras":
            return PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = WithoutKeras()
"""


def test_a_saved_model_needs_no_keras(artifact: ArtifactOf, run_python: RunPython) -> None:
    result = run_python(HIDE_KERAS + RUN_ARTIFACT, artifact("digits_cnn", "export"))
    assert "'keras'" not in result.stdout
    assert result.stdout.startswith("['tensorflow'"), result.stderr


def test_numbered_output_names_stay_clear_of_other_layers() -> None:
    """A layer `dense` with two outputs beside a layer `dense_0`: three outputs, three names."""
    first, second = keras.Input((2,), name="a"), keras.Input((2,), name="b")
    shared = keras.layers.Dense(2, name="dense")
    outputs = [shared(first), shared(second), keras.layers.Dense(2, name="dense_0")(first)]
    runtime = KerasRuntime(keras.Model([first, second], outputs))
    assert [spec.name for spec in runtime.outputs] == ["dense_1", "dense_2", "dense_0"]


def sum_of_two() -> keras.Model:
    entry = keras.Input((4,), name="entry")
    return keras.Model(entry, keras.layers.Dense(4)(entry) + entry)


def masked() -> keras.Model:
    words = keras.Input((4,), dtype="int32", name="entry")
    embedded = keras.layers.Embedding(5, 3, mask_zero=True)(words)
    return keras.Model(words, keras.layers.GlobalAveragePooling1D()(embedded))


def scaled_and_cut() -> keras.Model:
    entry = keras.Input((4,), name="entry")
    return keras.Model(entry, keras.ops.relu(keras.layers.Dense(4)(entry) * 2)[:, :2])


@pytest.mark.parametrize(
    ("build", "operators"),
    [(sum_of_two, "Add"), (masked, "NotEqual"), (scaled_and_cut, "Multiply, Relu, GetItem")],
)
def test_an_h5_file_with_operators_says_so_and_its_remedies_work(
    build: Callable[[], keras.Model], operators: str, tmp_path: Path
) -> None:
    model, path = build(), tmp_path / "model.h5"
    model.save(path)
    with pytest.raises(ArtifactError) as caught:
        open_artifact(path)
    assert f"does not bring back from .h5 ({operators})" in caught.value.finding
    assert "Save the model as .keras." in caught.value.remedy
    assert "call model.load_weights(path)" in caught.value.remedy
    rows = np.ones((2, 4), model.inputs[0].dtype)
    again = keras.models.clone_model(model)
    again.load_weights(path)
    np.testing.assert_array_equal(again.predict_on_batch(rows), model.predict_on_batch(rows))
    model.save(tmp_path / "model.keras")
    with open_artifact(tmp_path / "model.keras") as runtime:
        np.testing.assert_array_equal(runtime(rows), model.predict_on_batch(rows))
