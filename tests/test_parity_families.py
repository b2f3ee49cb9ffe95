"""Faithful copies of many kinds of model pass, by the spread that is measured; faults do not.

A reduced sample of `tools/benchmarks/bench_parity.py`, and what the measurement rests on.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from benchmarks.parity_families import FAMILIES, build
from families import WithoutConfig
from helpers.formats import KerasRuntime, Runtime, load_onnx, open_artifact
from helpers.formats.tensors import TensorSpec
from helpers.parity import (
    ParityReport,
    ProbeError,
    check_artifact_probe,
    check_parity,
    compare_layers,
    compare_outputs,
    float64_reference,
)
from helpers.parity.golden_rule import GoldenArray, error_ratio
from helpers.parity.spread import DRAWS, measure_spread
from routes import write_artifact

ROWS_OF_4 = np.random.default_rng(0).uniform(-1, 1, (40, 4)).astype(np.float32)
NOT_THROUGHOUT = "the golden run is not float64 throughout: {} answered in float32. "
ROUNDED = {
    "segmenter, resized": ("resizing", "up_sampling2d", "resizing_1"),
    "volumes": ("max_pooling3d",),
}


@pytest.fixture
def plain_names() -> None:
    """Number the layers of the next models from the start."""
    keras.backend.clear_session()


def with_one_weight_zeroed(model: keras.Model) -> Runtime:
    """Copy a model, with the largest weight of its middle kernel set to zero."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    kernels = [weight for weight in copy.weights if len(weight.shape) > 1]
    kernel = kernels[len(kernels) // 2]
    values = kernel.numpy().copy()
    values.flat[np.abs(values).argmax()] = 0
    kernel.assign(values)
    return KerasRuntime(copy)


@pytest.mark.parametrize(
    "family",
    [
        "group norm",
        "separable, batch norm",
        "segmenter, resized",
        "volumes",
        "residual, Add and +",
        "Multiply and *",
        "masked",
        "mixed_float16",
    ],
)
@pytest.mark.usefixtures("plain_names")
def test_a_faithful_file_passes_and_one_zeroed_weight_does_not(family: str, tmp_path: Path) -> None:
    model, inputs = build(family, seed=2)
    source, golden = KerasRuntime(model), float64_reference(model, inputs)
    path = write_artifact(model, "onnx", tmp_path / "model")
    for optimization in ("enable_all", "disable_all"):
        with load_onnx(path, optimization=optimization) as candidate:
            report = check_parity(candidate, source, inputs, golden)
        assert report.findings == ()
        text = NOT_THROUGHOUT.format(", ".join(ROUNDED.get(family, ())))
        assert any(note.startswith(text) for note in report.notes) == (family in ROUNDED)
    report = check_parity(with_one_weight_zeroed(model), source, inputs, golden)
    assert not report.passed


@pytest.mark.parametrize("family", ["dense", "two inputs", "dict of outputs", "embedding", "LSTM"])
def test_a_family_has_a_golden_run_and_a_spread(family: str) -> None:
    model, inputs = build(family, seed=0)
    source = KerasRuntime(model)
    feeds = inputs if isinstance(inputs, dict) else {source.inputs[0].name: inputs}
    first, again = (measure_spread(source, feeds, 16) for _ in range(2))
    golden = float64_reference(model, inputs)
    goldens = golden if isinstance(golden, dict) else {"output": golden}
    assert list(first) == list(again) == list(goldens)
    for name, array in goldens.items():
        assert type(array) is np.ndarray
        assert array.flags.writeable
        assert first[name].shape == (DRAWS, *array.shape)
        np.testing.assert_array_equal(first[name], again[name])
        size = np.abs(array).max()
        assert 1e-9 * size < np.sqrt(np.mean(np.square(first[name]))) < 1e-4 * size
        assert not np.array_equal(first[name][0], first[name][1])


def test_no_family_is_missing() -> None:
    assert len(FAMILIES) >= 25 + 3


# --- the golden run of operators, and of layers that share a name with one -----------------------


@keras.saving.register_keras_serializable(package="test_parity_families")
class Registered(layers.Layer):
    def call(self, x: Any) -> Any:
        return x / 3


class Add(layers.Layer):
    """A layer of the user's, with the name of an operator of Keras."""

    def call(self, x: Any) -> Any:
        return x + 2.5


def mixed(first: Callable[[Any, Any], Any]) -> keras.Model:
    x = keras.Input((4,))
    left, right = layers.Dense(3)(x), layers.Dense(3)(x)
    return keras.Model(x, first(left, right))


@pytest.mark.parametrize(
    "combine",
    [
        lambda a, b: layers.Multiply()([a, b]) * 0.5,
        lambda a, b: layers.Add()([a, b]) + a,
        lambda a, b: layers.Subtract()([a, b]) - b,
        lambda a, b: layers.Maximum()([a, b]) + keras.ops.maximum(a, 0.1),
        lambda a, b: Add()(a) + b,
        lambda a, b: Registered()(a) / layers.Lambda(lambda y: y * y + 3)(b),
    ],
    ids=["Multiply", "Add", "Subtract", "Maximum", "own Add", "Lambda"],
)
@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
def test_layers_and_operators_of_one_name_have_a_golden_run(combine: Callable[..., Any]) -> None:
    model = mixed(combine)
    golden = float64_reference(model, ROWS_OF_4)
    assert golden.dtype == np.float64
    assert 0 < np.abs(golden - KerasRuntime(model)(ROWS_OF_4)).max() < 1e-5


# --- a golden run that is none -------------------------------------------------------------------


class InFloat32(layers.Layer):
    """A layer that computes in float32 whatever it is asked."""

    def call(self, x: Any) -> Any:
        return keras.ops.cast(keras.ops.cast(x, "float32") / 3, self.compute_dtype)


def test_a_golden_run_knows_what_it_does_not_know() -> None:
    x = keras.Input((4,))
    model = keras.Model(x, {"a": layers.Dense(3)(InFloat32(name="cast")(x)), "b": x * 3})
    golden = float64_reference(model, ROWS_OF_4)
    doubted = golden["a"]
    assert isinstance(doubted, GoldenArray)
    assert (doubted.dtype, doubted.float32_layers) == (np.float64, ("cast",))
    assert doubted.doubt is not None
    assert doubted.doubt.shape == (3,)
    assert 1e-9 < doubted.doubt.min() <= doubted.doubt.max() < 1e-6
    for copy in (doubted[:7], pickle.loads(pickle.dumps(doubted))):
        assert copy.float32_layers == ("cast",)
        np.testing.assert_array_equal(copy.doubt, doubted.doubt)
    np.testing.assert_array_equal(golden["b"].doubt, 0)


def test_errors_within_the_doubt_are_not_judged() -> None:
    golden = np.linspace(1, 2, 96).reshape(32, 3)
    source, given = golden + 1e-8, golden + 1e-6
    assert error_ratio(given, source, golden) > 2
    assert not compare_outputs(given, source, golden).passed
    doubted = GoldenArray.of(golden, ("resizing",), np.full(3, 1e-6))
    assert error_ratio(given, source, doubted) < 2
    report = compare_outputs(given, source, doubted)
    assert report.passed
    assert report.notes == (
        NOT_THROUGHOUT.format("resizing")
        + "Their rounding was measured, and errors of that size are not judged.",
    )
    assert repr(report).splitlines()[1:] == [f"  {report.notes[0]}"]
    assert not compare_outputs(given + 1e-5, source, doubted).passed


def test_layers_behind_a_resize_are_the_same(tmp_path: Path) -> None:
    model, inputs = build("segmenter, resized", seed=1)
    path = write_artifact(model, "onnx", tmp_path / "model")
    report = compare_layers(model, path, inputs[:8])
    assert report.passed, report


# --- what the spread allows ----------------------------------------------------------------------


def test_the_spread_decides_what_is_too_far_off() -> None:
    random = np.random.default_rng(0)
    golden = random.uniform(1, 2, (32, 50))
    source = golden + 1e-7 * random.normal(size=golden.shape)
    spread = {"output": 1e-5 * random.normal(size=(4, *golden.shape))}
    for error, alone, passes in [
        (1e-7, True, True),
        (2e-5, False, True),
        (4e-5, False, False),
    ]:
        given = golden + error * random.normal(size=golden.shape)
        assert compare_outputs(given, source, golden).passed == alone
        assert compare_outputs(given, source, golden, spread=spread).passed == passes
    one_position = golden + 1e-7 * random.normal(size=golden.shape)
    one_position[:, 7] += 4e-5
    report = compare_outputs(one_position, source, golden, spread=spread)
    assert "at position (7,) of the rows" in report.findings[0]


def test_a_value_within_its_spread_is_within_the_tolerance() -> None:
    expected = np.ones((8, 4))
    given = expected.copy()
    given[3, 2] += 7e-3
    spread = {"output": np.full((4, 8, 4), 1e-3)}
    assert not compare_outputs(given, expected).passed
    report = compare_outputs(given, expected, spread=spread)
    assert report.passed
    assert report.comparisons[0].atol_needed == 0
    given[3, 2] += 2e-3
    assert not compare_outputs(given, expected, spread=spread).passed
    spread["output"][:, 3, :] = 2e-3  # a rough row
    assert compare_outputs(given, expected, spread=spread).passed


def test_a_spread_that_explains_everything_is_told() -> None:
    expected = np.linspace(1, 2, 40).reshape(10, 4)
    narrow, wide = ({"output": np.full((4, 10, 4), part)} for part in (1e-3, 1e-1))
    assert compare_outputs(expected + 1e-3, expected, spread=narrow).notes == ()
    assert compare_outputs(expected + 1e-3, expected, spread=wide).notes == (
        "parity proves little for 'output': other last bits of the source's numbers move its own "
        "answers by more than 1% of their size.",
    )


def test_half_precision_has_the_tolerance_of_its_steps() -> None:
    expected = np.linspace(1, 8, 50).astype(np.float16)
    assert compare_outputs(np.nextafter(expected, np.float16(100)), expected).passed
    assert not compare_outputs(expected * np.float16(1.01), expected).passed


class Shifted(Runtime):
    """No Keras model: multiplies by a large number, after most of the input is taken away."""

    def __init__(self, error: float = 0.0) -> None:
        self._model = error
        spec = TensorSpec("x", (None, 4), "float32")
        super().__init__("shifted", [spec], [TensorSpec("y", (None, 4), "float32")])

    def _run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        return [(feeds["x"] - np.float32(1)) * np.float32(1000) + np.float32(self._model)]


def test_a_reference_that_is_no_keras_model_is_measured_by_its_inputs() -> None:
    close_to_one = 1 + 1e-3 * ROWS_OF_4
    (spread,) = measure_spread(Shifted(), {"x": close_to_one}, 8).values()
    assert spread.shape == (DRAWS, 40, 4)
    assert 5e-5 < np.abs(spread).max() < 3e-4  # one last bit of 1, times 1000
    report = check_parity(Shifted(3e-4), Shifted(), close_to_one)
    assert report.passed
    assert "the last bits of its numbers" in report.notes[0]
    assert not check_parity(Shifted(3e-3), Shifted(), close_to_one).passed


def test_a_model_that_cannot_be_rebuilt_is_measured_by_its_inputs() -> None:
    x = keras.Input((4,), name="x")
    source = KerasRuntime(keras.Model(x, WithoutConfig(3)(x)))
    (spread,) = measure_spread(source, {"x": ROWS_OF_4}, 40).values()
    assert spread.shape == (DRAWS, 40, 3)
    assert 1e-9 < np.abs(spread).max() < 1e-5


def test_whole_numbers_may_be_categories() -> None:
    class Truncated(Shifted):
        def _run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
            return [np.trunc(feeds["x"])]

    numbers = np.arange(-80, 80, dtype=np.float32).reshape(40, 4)
    (spread,) = measure_spread(Truncated(), {"x": numbers}, 40).values()
    assert np.all(spread == 0)


# --- the order of outputs ------------------------------------------------------------------------


def report_of(given: dict[str, np.ndarray], source: dict[str, np.ndarray]) -> ParityReport:
    return compare_outputs(given, source, layers={"small": "head_1", "big": "head_2"})


def test_outputs_are_paired_by_the_names_of_their_layers() -> None:
    a, b = np.zeros((4, 2), np.float32), np.ones((4, 2), np.float32)
    source = {"small": a, "big": b}
    assert report_of({"head_2:0": b, "head_1:0": a}, source).passed
    assert report_of({"big": b, "small": a}, source).passed
    assert report_of({"output_0": a, "output_1": b}, source).passed
    swapped = report_of({"output_0": b, "output_1": a}, source)
    assert not swapped.passed
    assert swapped.notes == (
        "the candidate's outputs come in another order: the source's 'small' is its 'output_1', "
        "'big' is its 'output_0'. Export them under the names that they have in the source.",
    )
    assert report_of({"output_0": b, "output_1": a + 7}, source).notes == ()


def test_a_dict_of_outputs_survives_the_conversion(tmp_path: Path) -> None:
    import tf2onnx

    model, inputs = build("dict of outputs", seed=0)
    tf2onnx.convert.from_keras(model, output_path=str(tmp_path / "model.onnx"))
    with open_artifact(tmp_path / "model.onnx") as candidate:
        assert [spec.name for spec in candidate.outputs] == ["head_2", "head_1"]
        golden = float64_reference(model, inputs)
        assert check_parity(candidate, KerasRuntime(model), inputs, golden).passed


# --- the probe of any reference ------------------------------------------------------------------


@pytest.fixture(scope="module")
def picture_reader() -> tuple[keras.Model, np.ndarray]:
    """Reads columns 1 to 3 of a row; a second branch reads a part that may be all zero."""
    keras.utils.set_random_seed(0)
    x = keras.Input((4,))
    rare = layers.Dense(3, use_bias=False, name="rare")(x[:, :1])
    often = layers.Dense(3, activation="tanh", name="often")(x[:, 1:])
    return keras.Model(x, layers.Dense(2, name="last")(rare + often)), ROWS_OF_4


@pytest.mark.parametrize("route", ["keras", "export", "onnx"])
def test_an_artifact_is_probed(
    route: str, picture_reader: tuple[keras.Model, np.ndarray], tmp_path: Path
) -> None:
    model, rows = picture_reader
    path = write_artifact(model, route, tmp_path / "model")
    before = sorted((x, x.stat().st_size) for x in tmp_path.rglob("*"))
    report = check_artifact_probe(path, rows)
    assert (report.rows, len(report.damaged_tensors)) == (40, 3)
    assert repr(report) == (
        "Probe of 40 rows: noticed one zeroed weight in each of 3 tensors"
        if route == "keras"
        else "Probe of 40 rows: noticed each of 3 tensors set to zero"
    )
    blind = rows * np.float32([0, 1, 1, 1])
    with pytest.raises(ProbeError, match=r"^a damaged \w+ passes on these 40 rows: .*rare"):
        check_artifact_probe(path, blind)
    with pytest.raises(ProbeError, match="is the same in 40 rows, so it cannot show a fault"):
        check_artifact_probe(path, np.ones_like(rows))
    assert sorted((x, x.stat().st_size) for x in tmp_path.rglob("*")) == before


def test_an_artifact_without_weights_proves_nothing(tmp_path: Path) -> None:
    x = keras.Input((4,))
    path = write_artifact(keras.Model(x, x * 2), "onnx", tmp_path / "model")
    message = r"^'model.onnx' has no weight tensor of two axes or more to damage\.$"
    with pytest.raises(ProbeError, match=message):
        check_artifact_probe(path, ROWS_OF_4)
    not_finite = ROWS_OF_4.copy()
    not_finite[0] = np.nan
    with pytest.raises(ProbeError, match=r"^the sound artifact itself fails: output: 4 of 160 "):
        check_artifact_probe(path, not_finite)
