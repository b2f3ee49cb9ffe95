"""A faithful file has no divergent layer, and a planted fault is found in the layer that has it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from keras import layers
from onnx import numpy_helper

from conftest import ArtifactOf
from helpers.formats.identify import ArtifactError
from helpers.formats.tensors import InputError
from helpers.parity import GoldenError, LayerComparison, LayerReport, compare_layers
from helpers.parity.golden_rule import error_ratio
from helpers.parity.layer_graphs import Step, keras_steps, only_consumer, tensors_by_step
from helpers.parity.layer_report import shortened
from helpers.parity.layers import _judge, _match
from routes import call_once, write_artifact

Families = dict[str, keras.Model]
ROUTES = ["onnx", "tf2onnx"]
SMALL = ["digits_cnn", "residual", "lstm", "attention", "two_branch"]


def status(report: LayerReport) -> dict[str, str]:
    return {each.layer: each.status for each in report.layers}


# --- faithful files ----------------------------------------------------------------------------


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("family", SMALL)
def test_a_faithful_file_has_no_divergent_layer(
    family: str, route: str, artifact: ArtifactOf, families: Families, feeds: dict[str, Any]
) -> None:
    model = families[family]
    report = compare_layers(model, artifact(family, route), feeds[family])
    assert report.passed
    assert report.first_divergent is None
    folded = {"digits_cnn": {"dropout"}, "residual": {"stem_conv", "branch_conv"}}
    found = status(report)
    inputs = {layer.name for layer in model.layers if isinstance(layer, layers.InputLayer)}
    assert set(found) == {layer.name for layer in model.layers} - inputs
    absent = folded.get(family, set())
    assert {name for name in found if found[name] == "not in the file"} == absent
    assert {name for name in found if found[name] == "same"} == set(found) - absent
    assert all(each.max_abs < 1e-5 for each in report.layers if each.compared)


@pytest.fixture(scope="module")
def mobilenet_file(mobilenet: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_artifact(mobilenet, "onnx", tmp_path_factory.mktemp("layers") / "mobilenet")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(3).uniform(-1, 1, (2, 96, 96, 3)).astype(np.float32)


def test_rounding_that_builds_up_in_depth_is_no_divergence(
    mobilenet: keras.Model, mobilenet_file: Path, images: np.ndarray
) -> None:
    report = compare_layers(mobilenet, mobilenet_file, images)
    assert report.passed
    frame = report.to_frame().set_index("layer")
    absent = frame[frame.status == "not in the file"]
    assert (frame.status == "same").sum() == len(frame) - len(absent) == 120
    assert set(absent.kind) == {"Conv2D"}  # all of them folded with their batch normalization
    for name in absent.index:
        assert name in frame.includes[frame.index[frame.index.get_loc(name) + 1]]
    assert frame.max_abs.max() > frame.max_abs.iloc[1]


# --- planted faults ----------------------------------------------------------------------------


def plant(path: Path, constant: str, folder: Path, change: Callable[[np.ndarray], None]) -> Path:
    """Copy a file with a fault in the constant that is found by a part of its name.

    A node's name finds the kernel of that node: converters rename kernels that they transpose.
    """
    model = onnx.load(path)
    (found,) = _constants(model.graph, constant)
    values = numpy_helper.to_array(found).copy()
    change(values)
    found.CopyFrom(numpy_helper.from_array(values, found.name))
    faulty = folder / "faulty.onnx"
    onnx.save(model, faulty)
    return faulty


EFFECT = 1e-3
"""The change of the file's answers that makes a fault a visible one, relative to the largest."""
TRIES = 40


def zero_one_weight(path: Path, constant: str, folder: Path, feeds: Any) -> Path:
    """Copy a file with one weight set to zero: one of ordinary size that has an effect.

    Which weights have one depends on the model and on the rows: a weight may read a pixel that is
    always white, or a unit that never fires. So weights are tried, from two thirds of the way
    between the smallest and the largest, until the answers change.
    """
    (found,) = _constants(onnx.load(path).graph, constant)
    order = np.argsort(np.abs(numpy_helper.to_array(found)), axis=None)
    sound = answers_of(path, feeds)
    for place in np.linspace(2 * order.size // 3, order.size - 1, min(TRIES, order.size)):
        index = order[int(place)]
        faulty = plant(
            path, constant, folder, lambda values, at=index: values.flat.__setitem__(at, 0)
        )
        changes = [np.abs(a - b).max() / np.abs(b).max()
                   for a, b in zip(answers_of(faulty, feeds), sound, strict=True)]  # fmt: skip
        if max(changes) > EFFECT:
            return faulty
    raise AssertionError(f"no weight of {constant} has an effect on these rows")


def answers_of(path: Path, feeds: Any) -> list[np.ndarray]:
    """Run a file as it is, without the code under test."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    arrays = list(feeds.values()) if isinstance(feeds, dict) else [feeds]
    names = [entry.name for entry in session.get_inputs()]
    return session.run(None, dict(zip(names, arrays, strict=True)))


def _constants(graph: onnx.GraphProto, part: str) -> list[onnx.TensorProto]:
    kernels = {node.input[1] for node in graph.node if part == node.name}
    return [
        each
        for each in graph.initializer
        if each.data_type == onnx.TensorProto.FLOAT and (part in each.name or each.name in kernels)
    ]


def shift(values: np.ndarray) -> None:
    values.flat[0] += 1e-3


FAULTS = {
    "soft_cnn early": ("soft_cnn", "/conv_1_1/convolution/ReadVariable", "conv_1"),
    "soft_cnn middle": ("soft_cnn", "/conv_2_1/convolution/ReadVariable", "conv_2"),
    "soft_cnn late": ("soft_cnn", "/probabilities_1/Cast", "probabilities"),
    "residual early": ("residual", "/stem_conv_1/", "stem_norm"),
    "residual middle": ("residual", "/branch_conv_1/", "branch_norm"),
    "residual late": ("residual", "/probabilities_1/Cast", "probabilities"),
    "lstm input kernel": ("lstm", "W0__", "lstm"),
    "lstm recurrent kernel": ("lstm", "R0__", "lstm"),
    "lstm late": ("lstm", "/probabilities_1/Cast", "probabilities"),
    "attention early": ("attention", "/embed_1/Cast", "embed"),
    "attention query": ("attention", "/query_1/Reshape", "attention"),
    "attention key": ("attention", "/key_1/Reshape", "attention"),
    "attention value": ("attention", "/value_1/Reshape", "attention"),
    "attention output": ("attention", "/attention_output_1/Reshape", "attention"),
    "attention late": ("attention", "/probabilities_1/Cast", "probabilities"),
    "two_branch image": ("two_branch", "/image_conv_1/convolution/ReadVariable", "image_conv"),
    "two_branch profile": ("two_branch", "/profile_dense_1/Cast", "profile_dense"),
    "two_branch digit": ("two_branch", "/digit_1/Cast", "digit"),
    "two_branch ink": ("two_branch", "/ink_1/Cast", "ink"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_zeroed_weight_is_found_in_its_layer(
    fault: str,
    artifact: ArtifactOf,
    families: Families,
    feeds: dict[str, Any],
    tmp_path: Path,
) -> None:
    family, constant, layer = FAULTS[fault]
    route = ROUTES[list(FAULTS).index(fault) % 2]  # the names are the same by either route
    faulty = zero_one_weight(artifact(family, route), constant, tmp_path, feeds[family])
    report = compare_layers(families[family], faulty, feeds[family])
    assert report.first_divergent == layer
    assert [name for name, found in status(report).items() if found == "diverged"] == [layer]


@pytest.mark.parametrize(
    ("constant", "layer"),
    [
        ("/Conv1_1/convolution/merged", "bn_Conv1"),
        ("/block_9_project_1/convolution/merged", "block_9_project_BN"),
        ("mobilenetv2_1.00_96_1/block_6_depthwise_1/depthwise", "block_6_depthwise"),
        ("/predictions_1/Cast", "predictions"),
    ],
)
def test_one_zeroed_weight_is_found_in_a_deep_model(
    constant: str,
    layer: str,
    mobilenet: keras.Model,
    mobilenet_file: Path,
    images: np.ndarray,
    tmp_path: Path,
) -> None:
    faulty = zero_one_weight(mobilenet_file, constant, tmp_path, images)
    report = compare_layers(mobilenet, faulty, images)
    assert report.first_divergent == layer
    assert list(status(report).values()).count("diverged") == 1
    if layer == "block_9_project_BN":
        assert "BatchNormalization, which includes block_9_project)" in repr(report)


def test_the_fault_of_a_folded_layer_is_named_with_it(
    families: Families, artifact: ArtifactOf, feeds: dict[str, Any], tmp_path: Path
) -> None:
    faulty = plant(artifact("residual", "onnx"), "/stem_norm_1/batchnorm/sub", tmp_path, shift)
    report = compare_layers(families["residual"], faulty, feeds["residual"])
    rows = {each.layer: each for each in report.layers}
    assert report.first_divergent == "stem_norm"
    assert rows["stem_norm"].includes == ("stem_conv",)
    assert rows["stem_conv"].status == "not in the file"
    assert rows["add"].status == "inherited"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_diverge(
    value: float, families: Families, artifact: ArtifactOf, probe: np.ndarray, tmp_path: Path
) -> None:
    def spoil(values: np.ndarray) -> None:
        values.flat[0] = value

    faulty = plant(artifact("digits_cnn", "onnx"), "/conv_2_1/conv", tmp_path, spoil)
    assert compare_layers(families["digits_cnn"], faulty, probe).first_divergent == "conv_2"


def test_two_faults_in_two_branches_are_both_named(
    families: Families, artifact: ArtifactOf, feeds: dict[str, Any], tmp_path: Path
) -> None:
    sound, rows = artifact("two_branch", "onnx"), feeds["two_branch"]
    once = zero_one_weight(sound, "/profile_dense_1/Cast", tmp_path, rows)
    twice = zero_one_weight(once, "/image_conv_1/convolution/ReadVariable", tmp_path, rows)
    found = status(compare_layers(families["two_branch"], twice, feeds["two_branch"]))
    assert {name for name in found if found[name] == "diverged"} == {"profile_dense", "image_conv"}
    assert {found[name] for name in ("join", "digit", "ink")} == {"inherited"}


def test_a_lookalike_elsewhere_does_not_hide_a_fault(probe: np.ndarray, tmp_path: Path) -> None:
    x = keras.Input((8, 8, 1), name="image")
    twins = [layers.Conv2D(4, 3, activation="tanh", name=name) for name in ("left", "right")]
    joined = layers.Concatenate(name="join")([layer(x) for layer in twins])
    model = keras.Model(x, layers.Flatten(name="flatten")(joined), name="twins")
    twins[1].set_weights(twins[0].get_weights())
    twins[1].bias.assign([1e-3, 0, 0, 0])
    path = write_artifact(model, "onnx", tmp_path / "twins")
    assert compare_layers(model, path, probe).passed
    faulty = plant(path, "/right_1/Squeeze", tmp_path, lambda values: values.fill(0.0))
    report = compare_layers(model, faulty, probe)  # now `right` computes what `left` should
    assert report.first_divergent == "right"
    assert status(report)["left"] == "same"


# --- names and structures ----------------------------------------------------------------------


def export(model: keras.Model, folder: Path) -> Path:
    return write_artifact(model, "onnx", folder / model.name)


def test_a_shared_layer_has_one_row_for_each_call(tmp_path: Path) -> None:
    first, second = keras.Input((6,)), keras.Input((6,))
    dense = layers.Dense(6, activation="tanh", name="dense")
    joined = layers.Subtract(name="subtract")([dense(second), dense(dense(first))])
    model = keras.Model([first, second], layers.Dense(2, name="dense_1")(joined), name="shared")
    rows = [np.random.default_rng(seed).random((5, 6), np.float32) for seed in (1, 2)]
    model(rows)
    path = tmp_path / "shared.onnx"
    model.export(path, format="onnx", verbose=False)
    report = compare_layers(model, path, rows)
    expected = ["dense", "dense (call 2)", "dense (call 3)", "dense_1", "subtract"]
    assert sorted(status(report)) == expected
    assert set(status(report).values()) == {"same"}


def test_a_nested_model_is_one_layer(tmp_path: Path) -> None:
    parts = [layers.Dense(5, activation="tanh", name="a"), layers.Dense(5, name="b")]
    inner = keras.Sequential([keras.Input((6,)), *parts], name="inner")
    x = keras.Input((6,))
    model = keras.Model(x, layers.Dense(3, name="head")(inner(x)), name="outer")
    path = export(model, tmp_path)
    rows = np.random.default_rng(0).random((5, 6), np.float32)
    assert status(compare_layers(model, path, rows)) == {"inner": "same", "head": "same"}
    faulty = zero_one_weight(path, "/inner_1/a_1/", tmp_path, rows)
    assert compare_layers(model, faulty, rows).first_divergent == "inner"


def test_a_layer_with_equal_axes_is_read_in_the_right_layout(tmp_path: Path) -> None:
    x = keras.Input((8, 8, 8))
    convolution = layers.Conv2D(8, 3, padding="same", name="cube")(x)
    model = keras.Model(x, layers.Flatten(name="flatten")(convolution), name="cubes")
    rows = np.random.default_rng(0).random((4, 8, 8, 8), np.float32)
    path = export(model, tmp_path)
    assert status(compare_layers(model, path, rows))["cube"] == "same"
    faulty = zero_one_weight(path, "/cube_1/convolution/", tmp_path, rows)
    assert compare_layers(model, faulty, rows).first_divergent == "cube"


def test_work_that_moved_to_the_next_layer_is_no_fault(tmp_path: Path) -> None:
    x = keras.Input((16, 3))
    y = layers.Conv1D(7, 3, activation="swish", name="conv")(x)
    y = layers.GlobalMaxPooling1D(name="pool")(layers.BatchNormalization(name="norm")(y))
    model = keras.Model(x, y, name="moved")
    norm = model.get_layer("norm")
    norm.gamma.assign(np.linspace(0.5, 1.5, 7))
    norm.beta.assign(np.linspace(-0.5, 0.5, 7))
    rows = np.random.default_rng(0).normal(size=(5, 16, 3)).astype(np.float32)
    path = export(model, tmp_path)
    report = compare_layers(model, path, rows)
    assert report.passed
    assert status(report)["conv"] == "absorbed"
    assert "absorbed by the layers after them: conv" in repr(report)
    faulty = zero_one_weight(path, "/conv_1/convolution/ExpandDims_1", tmp_path, rows)
    report = compare_layers(model, faulty, rows)  # the fault is seen all the same
    assert report.first_divergent == "conv"
    assert status(report)["norm"] == "inherited"


def test_a_layer_with_several_outputs_is_listed(tmp_path: Path) -> None:
    x = keras.Input((8, 5))
    outputs = layers.LSTM(6, use_cudnn=False, return_state=True, name="lstm")(x)
    model = keras.Model(x, layers.Concatenate(name="join")(outputs), name="states")
    rows = np.random.default_rng(0).random((4, 8, 5), np.float32)
    path = export(model, tmp_path)
    report = compare_layers(model, path, rows)
    assert status(report) == {"lstm": "several outputs", "join": "same"}
    report = compare_layers(model, zero_one_weight(path, "W0__", tmp_path, rows), rows)
    assert report.first_divergent == "join"
    assert report.layers[1].includes == ("lstm",)


# --- the steps of a model and their tensors ----------------------------------------------------


@pytest.fixture(scope="module")
def branches() -> keras.Model:
    """Two calls of `dense`; the second, which `norm` alone takes, goes on to one of two outputs."""
    x = keras.Input((4,), name="x")
    dense = layers.Dense(4, name="dense")
    first = dense(x)
    norm = layers.BatchNormalization(name="norm")(dense(first))
    return keras.Model(x, [layers.Add(name="sum")([first, norm]), norm], name="net")


def test_the_steps_know_their_parents_and_which_of_them_answer(branches: keras.Model) -> None:
    found = [(s.name, s.layer, s.kind, s.parents, s.exposed) for s in keras_steps(branches)]
    assert found == [
        ("dense", "dense", "Dense", (), False),
        ("dense (call 2)", "dense", "Dense", ("dense",), False),
        ("norm", "norm", "BatchNormalization", ("dense (call 2)",), True),
        ("sum", "sum", "Add", ("dense", "norm"), True),
    ]


def test_a_step_has_an_only_consumer_when_nothing_else_takes_it(branches: keras.Model) -> None:
    steps = keras_steps(branches)
    first, second, norm, last = steps
    assert only_consumer(second, steps) is norm
    assert only_consumer(first, steps) is None  # two layers take it
    assert only_consumer(norm, steps) is None  # `sum` takes it, but it is an output as well
    assert only_consumer(last, steps) is None


@pytest.mark.parametrize(
    ("constants", "step"),
    [
        ({"net/dense/kernel": (4, 4)}, "dense"),
        # Of two constants of unrelated layers, the largest decides, not the first by name or place.
        ({"net/sum/shared": (4,), "net/dense/kernel": (4, 4)}, "dense"),
        ({"net/dense/shared": (4,), "net/sum/kernel": (4, 4)}, "sum"),
        # The only consumer was folded into the layer of the kernel.
        ({"net/dense_1/kernel": (4, 4), "net/norm/offset": (4,)}, "norm"),
        # `sum` is not the only one that takes `dense`, so it cannot have been folded into it.
        ({"net/dense/kernel": (4, 4), "net/sum/offset": (4,)}, "dense"),
        ({"net/norm/epsilon": ()}, None),
        ({"elsewhere/kernel": (4, 4)}, None),
        ({}, None),
    ],
)
def test_a_node_without_a_path_belongs_to_the_layer_of_its_kernel(
    constants: dict[str, tuple[int, ...]], step: str | None, branches: keras.Model
) -> None:
    graph = onnx.GraphProto()
    graph.initializer.extend(
        numpy_helper.from_array(np.ones(shape, np.float32), name)
        for name, shape in constants.items()
    )
    # The other call of the layer, so that the file has both.
    graph.node.append(onnx.helper.make_node("Relu", ["x"], ["net/dense/y"]))
    graph.node.append(onnx.helper.make_node("Relu", ["x"], ["net/dense_1/y"]))
    graph.node.append(onnx.helper.make_node("Sum", ["x", *constants], ["unnamed", ""]))
    found = tensors_by_step(graph, keras_steps(branches), "net")
    assert [name for name, tensors in found.items() if "unnamed" in tensors] == [step] * bool(step)
    assert not any("" in tensors for tensors in found.values())


def test_the_calls_of_a_shared_layer_are_told_by_their_numbers(branches: keras.Model) -> None:
    def found(*paths: str) -> dict[str, list[str]]:
        graph = onnx.GraphProto()
        for path in paths:
            graph.node.append(onnx.helper.make_node("Relu", ["x"], [path]))
        return tensors_by_step(graph, keras_steps(branches), "net")

    assert found("net_1/dense_10/y", "net_1/dense_9/y") == {
        "dense": ["net_1/dense_9/y"],
        "dense (call 2)": ["net_1/dense_10/y"],
    }
    assert found("net/dense/y", "net/dense_1/y", "net/dense/z") == {
        "dense": ["net/dense/y", "net/dense/z"],
        "dense (call 2)": ["net/dense_1/y"],
    }
    assert found("net/dense_3/y", "net/sum/y") == {"sum": ["net/sum/y"]}  # which call is unknown


# --- how a tensor is chosen and measured -------------------------------------------------------

VALUES = np.random.default_rng(5).uniform(1, 2, (2, 3, 3)).astype(np.float32)


def match(tensors: dict[str, np.ndarray], expected: np.ndarray, outputs: int = 1) -> Any:
    """Match a step with these tensors; its exact output is a little beside its own output."""
    golden = expected * (1 + 1e-6) if expected.dtype == np.float32 else expected
    step = Step("conv", "conv", "Conv1D", (None,) * outputs, (), False)
    return _match(step, tensors, (expected, golden))


def test_the_last_tensor_of_the_shape_counts() -> None:
    tensors = {"sum": VALUES + 1, "relu": VALUES + 0.5, "shape": np.array([3, 3])}
    row = match(tensors, VALUES)
    assert (row.layer, row.kind, row.tensor, row.shape) == ("conv", "Conv1D", "relu", (2, 3, 3))
    assert row.max_abs == pytest.approx(0.5, abs=1e-6)
    assert match({"shape": np.array([3, 3])}, VALUES).tensor is None


def test_a_layer_with_two_outputs_is_not_matched() -> None:
    row = match({"relu": VALUES}, VALUES, outputs=2)
    assert (row.tensor, row.status) == (None, "several outputs")


@pytest.mark.parametrize("sign", [1, -1])
def test_the_difference_is_the_largest_and_the_ratio_that_of_the_golden_rule(sign: int) -> None:
    given = VALUES.copy()
    given[0, 1, 2] += sign * 0.25
    given[1, 1, 2] += sign * 0.125
    row = match({"relu": given}, VALUES)
    wide, expected = given.astype(np.float64), VALUES.astype(np.float64)
    assert row.max_abs == pytest.approx(0.25, abs=1e-6)
    assert row.error_ratio == error_ratio(wide, expected, VALUES * (1 + 1e-6))
    assert match({"relu": VALUES}, VALUES).error_ratio == 1.0


@pytest.mark.parametrize("shape", [(2, 3, 3), (2, 4, 3), (2, 3, 3, 3), (2, 4, 5, 3)])
def test_channels_may_come_first_or_last(shape: tuple[int, ...]) -> None:
    expected = np.random.default_rng(6).uniform(1, 2, shape).astype(np.float32)
    for given in (expected, np.moveaxis(expected, -1, 1)):
        row = match({"relu": given}, expected)
        assert (row.tensor, row.max_abs, row.error_ratio) == ("relu", 0.0, 1.0)


def test_the_axes_of_a_table_are_not_swapped() -> None:
    expected = VALUES[0]
    assert match({"dense": expected.T}, expected).max_abs > 0.0


@pytest.mark.parametrize("wanted", [np.array([[1, 2]]), np.array([["a", "b"]]), VALUES.round()])
def test_values_that_are_not_rounded_must_be_equal(wanted: np.ndarray) -> None:
    given = wanted.astype(np.int64) if wanted.dtype == np.float32 else wanted
    row = match({"ids": given}, wanted)
    assert (row.error_ratio, row.max_abs) == (1.0, 0.0)
    row = match({"ids": np.roll(given, 1)}, wanted)
    assert row.error_ratio == np.inf
    assert np.isnan(row.max_abs)


# --- which layer is to blame -------------------------------------------------------------------

CHAIN = {"a": "", "b": "a", "c": "b"}
FORK = {"a": "", "b": "a", "c": "a"}
DIAMOND = {"a": "", "b": "a", "c": "a", "d": "bc"}


def judge(parents: dict[str, str], ratios: str, outputs: str) -> dict[str, tuple[str, str]]:
    """Return each step's status, and what its row includes.

    The ratios stand for the steps in turn; "-" where the file has no tensor.
    """
    steps, rows = [], {}
    for (name, above), ratio in zip(parents.items(), ratios.split(), strict=True):
        steps.append(Step(name, name, "Dense", (None,), tuple(above), name in outputs))
        rows[name] = LayerComparison(name, "Dense", None, (1,))
        if ratio != "-":
            rows[name] = replace(rows[name], tensor="tensor", error_ratio=float(ratio))
    judged = _judge(steps, rows, factor=4.0)
    assert [row.layer for row in judged] == list(parents)
    return {row.layer: (row.status, "".join(row.includes)) for row in judged}


SAME, WRONG, LATER = "same", "diverged", "inherited"
GONE, MOVED = "not in the file", "absorbed"


@pytest.mark.parametrize(
    ("parents", "ratios", "outputs", "expected"),
    [
        (CHAIN, "1 1 1", "c", [(SAME, ""), (SAME, ""), (SAME, "")]),
        (CHAIN, "4 4.1 1", "bc", [(SAME, ""), (WRONG, ""), (SAME, "")]),  # up to the factor
        (CHAIN, "1 nan 9", "c", [(SAME, ""), (WRONG, ""), (LATER, "")]),
        (CHAIN, "9 9 9", "c", [(WRONG, ""), (LATER, ""), (LATER, "")]),
        # Seen through a layer that the file does not have:
        (CHAIN, "9 - 9", "c", [(WRONG, ""), (GONE, ""), (LATER, "b")]),
        (CHAIN, "- - 9", "c", [(GONE, ""), (GONE, ""), (WRONG, "ab")]),
        (CHAIN, "- 9 9", "c", [(GONE, ""), (WRONG, "a"), (LATER, "")]),
        (CHAIN, "- 1 9", "c", [(GONE, ""), (SAME, "a"), (WRONG, "")]),
        # Wrong, and put right by what follows:
        (CHAIN, "9 1 1", "c", [(MOVED, ""), (SAME, "a"), (SAME, "")]),
        (CHAIN, "9 4 1", "bc", [(MOVED, ""), (SAME, "a"), (SAME, "")]),
        (CHAIN, "9 9 1", "c", [(MOVED, ""), (MOVED, "a"), (SAME, "ab")]),
        (CHAIN, "9 - 1", "c", [(MOVED, ""), (GONE, ""), (SAME, "ab")]),
        (CHAIN, "- 9 1", "c", [(GONE, ""), (MOVED, "a"), (SAME, "ab")]),
        (CHAIN, "9 1 9", "c", [(MOVED, ""), (SAME, "a"), (WRONG, "")]),
        # An output of the model is seen by its user, whatever follows in the model:
        (CHAIN, "9 1 1", "ac", [(WRONG, ""), (SAME, ""), (SAME, "")]),
        (CHAIN, "9 1 9", "ac", [(WRONG, ""), (SAME, ""), (WRONG, "")]),
        (CHAIN, "9 - 1", "ac", [(WRONG, ""), (GONE, ""), (SAME, "b")]),
        # Nothing takes the last layer, so nothing puts it right:
        (CHAIN, "1 1 9", "", [(SAME, ""), (SAME, ""), (WRONG, "")]),
        (FORK, "9 1 1", "bc", [(MOVED, ""), (SAME, "a"), (SAME, "a")]),
        (FORK, "9 1 9", "bc", [(WRONG, ""), (SAME, ""), (LATER, "")]),
        (DIAMOND, "- - - 9", "d", [(GONE, ""), (GONE, ""), (GONE, ""), (WRONG, "abc")]),
        (DIAMOND, "1 9 1 9", "d", [(SAME, ""), (WRONG, ""), (SAME, ""), (LATER, "")]),
        (DIAMOND, "1 9 9 9", "d", [(SAME, ""), (WRONG, ""), (WRONG, ""), (LATER, "")]),
        (DIAMOND, "1 9 - 1", "d", [(SAME, ""), (MOVED, ""), (GONE, ""), (SAME, "bc")]),
    ],
)
def test_the_layer_is_to_blame_whose_inputs_are_right(
    parents: dict[str, str], ratios: str, outputs: str, expected: list[tuple[str, str]]
) -> None:
    assert list(judge(parents, ratios, outputs).values()) == expected


def test_the_row_of_a_layer_with_several_outputs_stays_as_it_is() -> None:
    steps = [Step("a", "a", "LSTM", (None,) * 3, (), False)]
    row = LayerComparison("a", "LSTM", None, (1,), "several outputs")
    assert _judge(steps, {"a": row}, factor=4.0) == [row]


# --- the report --------------------------------------------------------------------------------


def test_the_report_reads_well(
    families: Families, artifact: ArtifactOf, probe: np.ndarray, tmp_path: Path
) -> None:
    path = artifact("digits_cnn", "onnx")
    report = compare_layers(families["digits_cnn"], path, probe)
    assert repr(report).splitlines()[:2] == [
        "Layers SAME: 6 of 7 layers compared",
        "  not in the file by themselves: dropout",
    ]
    frame = report.to_frame()
    assert list(frame.columns)[:5] == ["layer", "kind", "tensor", "shape", "status"]
    assert frame["diverged"].sum() == 0
    assert frame.loc[0, "tensor"] == "digits_cnn_1/conv_1_1/Relu:0"
    assert frame.loc[0, "shape"] == (32, 8, 8, 32)
    soft = artifact("soft_cnn", "onnx")  # a fault in a model that is very sure may hardly show
    faulty = zero_one_weight(soft, "/conv_2_1/convolution/ReadVariable", tmp_path, probe)
    lines = repr(compare_layers(families["soft_cnn"], faulty, probe)).splitlines()
    assert lines[0] == "Layers DIVERGE, first at 'conv_2': 6 of 7 layers compared"
    assert lines[1].startswith("  conv_2 (Conv2D): max abs difference 0.")
    assert lines[2] == "  3 later layers inherit it: pool_2, flatten, probabilities"


def test_the_report_counts_the_inputs_that_test_no_weight(tmp_path: Path) -> None:
    """A wrong weight that is multiplied with 0 in every row cannot show."""
    first, second = keras.Input((6,), name="first"), keras.Input((3,), name="second")
    fire = layers.Dense(5, activation="relu", name="fire")
    joined = layers.Concatenate(name="join")([fire(first), layers.Dense(2, name="all")(second)])
    model = keras.Model([first, second], layers.Dense(4, name="last")(joined), name="idle")
    kernel = np.ones((6, 5), np.float32)
    kernel[:, 1:3] = -1.0  # two units that never fire
    fire.set_weights([kernel, np.zeros(5)])
    rows = [
        np.random.default_rng(0).uniform(1, 2, (4, units)).astype("float32") for units in (6, 3)
    ]
    rows[0][:, 5] = 0.0
    model(rows)
    path = tmp_path / "idle.onnx"
    model.export(path, format="onnx", verbose=False)
    report = compare_layers(model, path, rows)
    found = {each.layer: (each.idle_units, each.read_units) for each in report.layers}
    assert found == {"fire": (1, 6), "all": (0, 3), "join": (0, 0), "last": (2, 7)}
    line = "  inputs that are 0 in all rows, their weights untested: fire (1 of 6), last (2 of 7)"
    assert repr(report).splitlines()[1:] == [line]

    def zero_what_an_idle_unit_meets(values: np.ndarray) -> None:
        values[1] = 0.0

    faulty = plant(path, "/last_1/Cast", tmp_path, zero_what_an_idle_unit_meets)
    assert repr(compare_layers(model, faulty, rows)) == repr(report)
    rows[0] = -rows[0]  # other rows, on which these two units fire: now the fault shows
    assert compare_layers(model, faulty, rows).first_divergent == "last"


def test_the_report_names_what_a_wrong_layer_includes() -> None:
    row = LayerComparison("norm", "BatchNormalization", "tensor", (1, 2), "diverged", 0.5, 9.0)
    wrong = "max abs difference 0.5, error 9 times the source's own"
    for includes, text in (((), ""), (("conv", "pad"), ", which includes conv, pad")):
        report = LayerReport((replace(row, includes=includes),))
        assert repr(report).splitlines() == [
            "Layers DIVERGE, first at 'norm': 1 of 1 layers compared",
            f"  norm (BatchNormalization{text}): {wrong}",
        ]


@pytest.mark.parametrize(
    ("count", "text"), [(1, "0"), (4, "0, 1, 2, 3"), (5, "0, 1, 2, 3, ..."), (9, "0, 1, 2, 3, ...")]
)
def test_long_lists_are_shortened(count: int, text: str) -> None:
    assert shortened([str(number) for number in range(count)]) == text


def test_every_layer_is_listed_with_its_class(
    families: Families, artifact: ArtifactOf, probe: np.ndarray
) -> None:
    model = families["digits_cnn"]
    frame = compare_layers(model, artifact("digits_cnn", "onnx"), probe).to_frame()
    kinds = {layer.name: type(layer).__name__ for layer in model.layers}
    assert dict(zip(frame.layer, frame.kind, strict=True)) == kinds


def test_the_factor_decides(families: Families, artifact: ArtifactOf, probe: np.ndarray) -> None:
    model, path = families["digits_cnn"], artifact("digits_cnn", "onnx")
    ratios = compare_layers(model, path, probe).to_frame()["error_ratio"]
    assert compare_layers(model, path, probe, factor=ratios.max()).passed
    # Nothing after the last layer could absorb its error.
    assert not compare_layers(model, path, probe, factor=0.99 * ratios.iloc[-1]).passed


def test_the_row_of_a_wrong_layer_says_so(
    families: Families, artifact: ArtifactOf, probe: np.ndarray
) -> None:
    row = compare_layers(families["digits_cnn"], artifact("digits_cnn", "onnx"), probe).layers[0]
    assert not row.diverged
    assert replace(row, status="diverged").diverged
    assert replace(row, status="inherited").diverged
    assert not replace(row, status="absorbed").diverged


def test_the_model_is_left_as_it_was(
    families: Families, artifact: ArtifactOf, probe: np.ndarray
) -> None:
    model = families["digits_cnn"]
    before = model.get_weights()
    path = artifact("digits_cnn", "onnx")
    content = path.read_bytes()
    compare_layers(model, path, probe)
    assert path.read_bytes() == content
    for weight, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, expected)


# --- bad input ---------------------------------------------------------------------------------


def test_inputs_that_do_not_fit_are_refused(
    families: Families, artifact: ArtifactOf, probe: np.ndarray
) -> None:
    model, path = families["digits_cnn"], artifact("digits_cnn", "onnx")
    with pytest.raises(InputError, match="batch axis is missing"):
        compare_layers(model, path, probe[0])
    with pytest.raises(InputError, match="expected dtype float32, got float64"):
        compare_layers(model, path, probe.astype(np.float64))
    with pytest.raises(InputError, match=r"^the inputs have no rows\. Give at least one\.$"):
        compare_layers(model, path, probe[:0])
    with pytest.raises(InputError, match="one model takes 1 input"):
        compare_layers(model, artifact("two_branch", "onnx"), probe)


def test_files_that_do_not_fit_are_refused(
    families: Families, artifact: ArtifactOf, probe: np.ndarray, tmp_path: Path
) -> None:
    model = families["digits_cnn"]
    with pytest.raises(ArtifactError, match="no such file"):
        compare_layers(model, tmp_path / "missing.onnx", probe)
    with pytest.raises(ArtifactError, match="it is keras, not an ONNX file"):
        compare_layers(model, artifact("digits_cnn", "keras"), probe)
    stranger = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(name="other")], name="new")
    file = artifact("lstm", "onnx")
    with pytest.raises(ValueError, match="no tensor carries the name") as caught:
        compare_layers(stranger, file, probe)
    assert str(caught.value) == (
        f"{file}: no tensor carries the name of a layer of 'new' and has its shape (layers: other)."
        " Give the model that was converted, or convert it again: layer names must be the same."
    )


class FixedDtype(layers.Layer):
    """A layer that does not follow its dtype policy."""

    def call(self, x: Any) -> Any:
        return keras.ops.cast(x, "float32")


def test_a_model_without_a_float64_run_is_refused_by_its_name(
    artifact: ArtifactOf, probe: np.ndarray
) -> None:
    model = keras.Sequential([keras.Input((8, 8, 1)), FixedDtype(name="fixed")], name="single")
    with pytest.raises(GoldenError, match=r"'single'.*float32"):
        compare_layers(model, artifact("lstm", "onnx"), probe)


def test_the_file_runs_as_it_is_written(
    families: Families,
    artifact: ArtifactOf,
    probe: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sessions = []

    class Recorded(onnxruntime.InferenceSession):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            sessions.append((self, named["providers"]))

    monkeypatch.setattr(onnxruntime, "InferenceSession", Recorded)
    compare_layers(families["digits_cnn"], artifact("digits_cnn", "onnx"), probe)
    session, providers = sessions[-1]
    options = session.get_session_options()
    level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # no node is fused with another
    assert options.graph_optimization_level == level
    assert options.intra_op_num_threads == 1  # sums in one order, on every machine
    assert providers == ["CPUExecutionProvider"]


def test_a_file_that_cannot_run_is_refused(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="dense")], name="small")
    call_once(model)
    loaded = onnx.load(export(model, tmp_path))
    loaded.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(loaded, tmp_path / "fixed.onnx")
    with pytest.raises(ArtifactError, match=r"ONNX Runtime cannot run it .*Expected: 1") as caught:
        compare_layers(model, tmp_path / "fixed.onnx", np.ones((3, 4), np.float32))
    remedy = "Convert the model again, and try the file with check_parity."
    assert caught.value.remedy == remedy


def test_a_model_without_a_graph_is_refused(artifact: ArtifactOf, probe: np.ndarray) -> None:
    class Subclassed(keras.Model):
        def call(self, x: Any) -> Any:
            return x

    with pytest.raises(InputError, match="subclassed"):
        compare_layers(Subclassed(), artifact("digits_cnn", "onnx"), probe)
