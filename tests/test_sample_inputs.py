"""Made-up inputs: what is chosen, what is stated, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from conftest import ArtifactOf
from helpers.formats import open_artifact
from helpers.formats.sample_inputs import sample_inputs
from helpers.formats.tensors import InputError, TensorSpec, name_arrays
from tiny_onnx import write_dense

DTYPES = ["float16", "float32", "float64", "int8", "uint8", "int32", "int64", "uint64", "bool"]


@pytest.mark.parametrize("dtype", [*DTYPES, "string"])
def test_every_type_fits_its_own_specification(dtype: str) -> None:
    spec = TensorSpec("x", (None, 3, 2), dtype)
    made = sample_inputs([spec], rows=64)
    array = name_arrays(made.arrays, [spec])["x"]
    assert array.shape == (64, 3, 2)
    assert len(set(array.ravel().tolist())) > 1
    assert made.notes == ()


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "uint64"])
def test_integers_are_valid_in_every_vocabulary(dtype: str) -> None:
    values = sample_inputs([TensorSpec("x", (None, 50), dtype)]).arrays["x"]
    assert set(values.ravel().tolist()) == {0, 1}


def test_floats_lie_between_zero_and_one() -> None:
    values = sample_inputs([TensorSpec("x", (None, 500), "float32")]).arrays["x"]
    assert 0 <= values.min() < 0.1 < 0.9 < values.max() < 1


def test_the_seed_decides() -> None:
    specs = [TensorSpec("a", (None, 4), "float32"), TensorSpec("b", (None, 4), "int32")]
    first, again, other = (sample_inputs(specs, seed=seed).arrays for seed in (0, 0, 1))
    for name in ("a", "b"):
        np.testing.assert_array_equal(first[name], again[name])
    assert (first["a"] != other["a"]).any()


def test_a_free_axis_gets_a_length_that_is_stated() -> None:
    made = sample_inputs([TensorSpec("tokens", (None, None), "int32")], rows=2, dynamic_length=7)
    assert made.arrays["tokens"].shape == (2, 7)
    assert made.notes == ("input 'tokens': axis 1 may have any length; used 7",)


def test_a_fixed_batch_is_kept_and_stated() -> None:
    made = sample_inputs([TensorSpec("x", (1, 4), "float32")], rows=8)
    assert made.arrays["x"].shape == (1, 4)
    assert made.notes == ("input 'x': the artifact takes 1 row at a time only",)
    assert sample_inputs([TensorSpec("x", (8, 4), "float32")], rows=8).notes == ()


def test_a_scalar_input_is_made_too() -> None:
    assert sample_inputs([TensorSpec("rate", (), "float32")]).arrays["rate"].shape == ()


@pytest.mark.parametrize(
    ("spec", "finding"),
    [
        (TensorSpec("x", None, "float32"), "'x': the artifact states no shape"),
        (TensorSpec("x", (None, 2), "complex64"), "no inputs of dtype complex64"),
        (TensorSpec("x", (None, 2), "bfloat16x"), "no inputs of dtype bfloat16x"),
        (TensorSpec("x", (None, 2), "seq(tensor(float))"), r"no inputs of dtype seq\(tensor"),
    ],
)
def test_what_cannot_be_made_up_is_refused(spec: TensorSpec, finding: str) -> None:
    with pytest.raises(InputError, match=f"{finding}.*Give inputs of your own"):
        sample_inputs([spec])


@pytest.mark.parametrize("argument", ["rows", "dynamic_length"])
def test_lengths_start_at_one(argument: str) -> None:
    with pytest.raises(ValueError, match=f"{argument}: expected .* got 0"):
        sample_inputs([TensorSpec("x", (None,), "float32")], **{argument: 0})


@pytest.mark.parametrize("route", ["keras", "export", "onnx"])
@pytest.mark.parametrize("family", ["digits_cnn", "two_branch"])
def test_real_artifacts_run_on_them(artifact: ArtifactOf, family: str, route: str) -> None:
    with open_artifact(artifact(family, route)) as runtime:
        outputs = runtime(sample_inputs(runtime.inputs, rows=3).arrays)
    arrays = outputs.values() if isinstance(outputs, dict) else [outputs]
    assert all(len(array) == 3 and np.isfinite(array).all() for array in arrays)


def test_a_file_with_a_fixed_batch_runs_on_them(tmp_path: Path) -> None:
    with open_artifact(write_dense(tmp_path / "fixed.onnx", batch=5)) as runtime:
        assert runtime(sample_inputs(runtime.inputs).arrays).shape == (5, 4)
