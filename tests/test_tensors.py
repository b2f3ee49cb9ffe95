"""Arrays reach the input that they are meant for, or the error says what was expected."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.formats.tensors import (
    InputError,
    TensorSpec,
    dtype_name,
    format_shape,
    name_arrays,
    rename_arrays,
    take_rows,
)

IMAGE = TensorSpec("image", (None, 8, 8, 1), "float32")
PROFILE = TensorSpec("profile", (None, 8), "float32")

lengths = st.integers(0, 4)
dtypes = st.sampled_from(["float32", "float64", "int64", "bool"])


@st.composite
def fitting(draw: st.DrawFn) -> tuple[TensorSpec, np.ndarray]:
    """A specification and an array that fits it."""
    shape = tuple(draw(st.lists(lengths, max_size=4)))
    stated = tuple(draw(st.sampled_from([None, length])) for length in shape)
    dtype = draw(dtypes)
    return TensorSpec(draw(st.text(max_size=5)), stated, dtype), np.zeros(shape, dtype)


@given(fitting())
def test_a_fitting_array_passes_unchanged(pair: tuple[TensorSpec, np.ndarray]) -> None:
    spec, array = pair
    for form in (array, [array], (array,), {spec.name: array}):
        assert name_arrays(form, [spec])[spec.name] is array


@given(fitting(), st.data())
def test_another_length_is_refused(
    pair: tuple[TensorSpec, np.ndarray], data: st.DataObject
) -> None:
    spec, array = pair
    fixed = [axis for axis, length in enumerate(spec.shape or ()) if length is not None]
    if not fixed:
        return
    axis = data.draw(st.sampled_from(fixed))
    shape = tuple(length + (position == axis) for position, length in enumerate(array.shape))
    assert not spec.accepts_shape(shape)
    with pytest.raises(InputError) as caught:
        name_arrays(np.zeros(shape, spec.dtype), [spec])
    assert format_shape(spec.shape) in str(caught.value)
    assert str(shape) in str(caught.value)


@given(fitting(), lengths)
def test_another_number_of_axes_is_refused(
    pair: tuple[TensorSpec, np.ndarray], length: int
) -> None:
    spec, array = pair
    assert not spec.accepts_shape((*array.shape, length))
    assert TensorSpec("any", None, spec.dtype).accepts_shape((*array.shape, length))


@given(fitting(), dtypes)
def test_another_dtype_is_refused(pair: tuple[TensorSpec, np.ndarray], dtype: str) -> None:
    spec, array = pair
    if dtype == spec.dtype:
        return
    with pytest.raises(InputError, match=f"expected dtype {spec.dtype}, got {dtype}"):
        name_arrays(array.astype(dtype), [spec])


@given(st.permutations(["a", "b", "c"]))
def test_a_mapping_may_come_in_any_order(order: list[str]) -> None:
    specs = [TensorSpec(name, (None,), "float32") for name in "abc"]
    arrays = {name: np.full(2, position, np.float32) for position, name in enumerate("abc")}
    named = name_arrays({name: arrays[name] for name in order}, specs)
    assert list(named) == ["a", "b", "c"]
    assert all(named[name] is arrays[name] for name in order)


@pytest.mark.parametrize(
    ("given_shape", "message"),
    [
        ((8, 8, 1), r"expected shape \(n, 8, 8, 1\), got \(8, 8, 1\)\. The batch axis is missing"),
        ((2, 8, 8), r"expected shape \(n, 8, 8, 1\), got \(2, 8, 8\)\.$"),
        ((2, 8, 9, 1), r"got \(2, 8, 9, 1\)\.$"),
        ((), r"got \(\)\.$"),
    ],
)
def test_a_wrong_shape_is_named(given_shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        name_arrays(np.zeros(given_shape, np.float32), [IMAGE])


def test_a_missing_batch_axis_is_named_where_the_batch_is_fixed() -> None:
    with pytest.raises(InputError, match=r"got \(4,\)\. The batch axis is missing: use array\["):
        name_arrays(np.zeros(4, np.float32), [TensorSpec("one", (1, 4), "float32")])


def test_names_and_numbers_that_do_not_match() -> None:
    image, profile = np.zeros((1, 8, 8, 1), np.float32), np.zeros((1, 8), np.float32)
    both = [IMAGE, PROFILE]
    with pytest.raises(InputError, match=r"missing \['profile'\], unknown \['photo'\]"):
        name_arrays({"image": image, "photo": profile}, both)
    with pytest.raises(InputError, match=r"missing \[\], unknown \['extra'\]"):
        name_arrays({"image": image, "profile": profile, "extra": image}, both)
    takes = r"The model takes image: float32 \(n, 8, 8, 1\); profile: float32 \(n, 8\)\."
    with pytest.raises(InputError, match=rf"^expected 2 input\(s\), got 1\. {takes}$"):
        name_arrays(image, both)
    with pytest.raises(InputError, match=r"expected 2 input\(s\), got 3"):
        name_arrays([image, profile, profile], both)
    with pytest.raises(InputError, match=r"expected shape \(n, 8, 8, 1\), got \(1, 8\)"):
        name_arrays([profile, image], both)


def test_what_is_no_array() -> None:
    message = (
        r"^input 'profile': expected a NumPy array of float32 \(n, 8\), got list\. "
        r"Convert it with np\.asarray\(values, dtype=\.\.\.\)\.$"
    )
    with pytest.raises(InputError, match=message):
        name_arrays([[0.0] * 8], [PROFILE])
    with pytest.raises(InputError, match="expected NumPy arrays, got str"):
        name_arrays("image.png", [PROFILE])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="expected NumPy arrays, got NoneType"):
        name_arrays(None, [PROFILE])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "array", [np.array(["a"]), np.array([b"a"]), np.array(["a"], object)], ids=lambda a: a.dtype
)
def test_text_of_any_kind_is_string(array: np.ndarray) -> None:
    assert dtype_name(array) == "string"
    assert name_arrays(array, [TensorSpec("text", (None,), "string")])["text"] is array
    with pytest.raises(InputError, match="expected dtype float32, got string"):
        name_arrays(array, [TensorSpec("text", (None,), "float32")])


def test_formatting() -> None:
    assert format_shape((None, 8)) == "(n, 8)"
    assert format_shape((None,)) == "(n,)"
    assert format_shape(()) == "()"
    assert str(TensorSpec("text", None, "string")) == "text: string (any shape)"


@given(st.permutations(range(4)))
def test_renaming_follows_shape_and_dtype(order: list[int]) -> None:
    shapes = [((2, 8), "float32"), ((2, 9), "float32"), ((2, 8), "int64"), ((2,), "float32")]
    arrays = {f"in_{n}": np.zeros(shape, dtype) for n, (shape, dtype) in enumerate(shapes)}
    specs = [TensorSpec(f"in_{n}", (None, *s[1:]), d) for n, (s, d) in enumerate(shapes)]
    others = [TensorSpec(f"out_{n}", specs[n].shape, specs[n].dtype) for n in order]
    renamed = rename_arrays(arrays, specs, others)
    assert list(renamed) == [f"out_{n}" for n in order]
    assert all(renamed[f"out_{n}"] is arrays[f"in_{n}"] for n in order)


def test_renaming_keeps_names_that_agree() -> None:
    arrays = {"a": np.zeros((1, 2), np.float32), "b": np.ones((1, 2), np.float32)}
    specs = [TensorSpec(name, (None, 2), "float32") for name in "ab"]
    assert rename_arrays(arrays, specs, specs[::-1]) == {"b": arrays["b"], "a": arrays["a"]}
    only = rename_arrays({"a": arrays["a"]}, specs[:1], [TensorSpec("x", None, "float32")])
    assert only == {"x": arrays["a"]}


def test_renaming_refuses_to_guess() -> None:
    arrays = {"a": np.zeros((1, 2), np.float32), "b": np.ones((1, 2), np.float32)}
    specs = [TensorSpec(name, (None, 2), "float32") for name in "ab"]
    ours = r"a: float32 \(n, 2\); b: float32 \(n, 2\)"
    theirs = r"x: float32 \(n, 2\); y: float32 \(n, 2\)"
    message = rf"^cannot tell which input is which: {ours} against {theirs}\. Export with the same "
    with pytest.raises(InputError, match=message):
        rename_arrays(arrays, specs, [TensorSpec(n, (None, 2), "float32") for n in "xy"])
    with pytest.raises(InputError, match="cannot tell which input is which"):
        rename_arrays(
            arrays, specs, [TensorSpec("x", (None, 2), "float32"), TensorSpec("y", (3,), "int64")]
        )
    one = r"x: float32 \(n, 2\)"
    message = rf"^one model takes 2 input\(s\), the other 1: {ours} against {one}\.$"
    with pytest.raises(InputError, match=message):
        rename_arrays(arrays, specs, [TensorSpec("x", (None, 2), "float32")])
    message = rf"^one model takes 1 input\(s\), the other 2: {one} against {theirs}\.$"
    x, y = (TensorSpec(name, (None, 2), "float32") for name in "xy")
    with pytest.raises(InputError, match=message):
        rename_arrays({"x": arrays["a"]}, [x], [x, y])


@given(st.integers(0, 6), st.integers(0, 6))
def test_the_same_rows_are_taken_everywhere(start: int, stop: int) -> None:
    arrays = {"a": np.arange(5), "b": np.arange(10).reshape(5, 2)}
    taken = take_rows(arrays, slice(start, stop))
    np.testing.assert_array_equal(taken["b"][:, 0], 2 * taken["a"])
    assert len(taken["a"]) == max(0, min(stop, 5) - start)
