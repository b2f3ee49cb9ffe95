"""The bodies of requests and answers: JSON on the wire, arrays for the model.

The format is that of TensorFlow Serving's REST API
(https://github.com/tensorflow/serving/blob/master/tensorflow_serving/g3doc/api_rest.md).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from helpers.serving.errors import RequestError
from helpers.tensors import TensorSpec, format_shape

DEFAULT_SIGNATURE = "serving_default"

# What JSON may hold for each kind of array: its Python types, and how to say it.
JSON_TYPES: Mapping[str, tuple[frozenset[type], str]] = {
    "b": (frozenset({bool}), "true or false"),
    "i": (frozenset({int}), "whole numbers"),
    "u": (frozenset({int}), "whole numbers"),
    "f": (frozenset({int, float}), "numbers"),
    "O": (frozenset({str}), "text"),
}


@dataclass(frozen=True)
class PredictBody:
    """A request that is JSON of the right form; its values are not checked yet.

    Attributes:
        signature: which function of the SavedModel to call.
        by_row: True for ``instances``, False for ``inputs``.
        values: what was sent under that key.
    """

    signature: str
    by_row: bool
    values: Any


def read_body(body: bytes) -> PredictBody:
    """Read a request of the predict API.

    Raises:
        RequestError: no JSON, no object, or not exactly one of ``instances`` and ``inputs``.
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the body is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise RequestError(
            f'expected an object such as {{"instances": [...]}}, got {_kind(content)}'
        )
    formats = [key for key in ("instances", "inputs") if key in content]
    if len(formats) != 1:
        given = ", ".join(map(repr, content)) or "none"
        raise RequestError(f"expected one of the keys 'instances' and 'inputs', got {given}")
    signature = content.get("signature_name", DEFAULT_SIGNATURE)
    if not isinstance(signature, str):
        raise RequestError(f"'signature_name': expected text, got {_kind(signature)}")
    return PredictBody(signature, formats == ["instances"], content[formats[0]])


def to_arrays(
    body: PredictBody, specs: Sequence[TensorSpec], max_rows: int
) -> dict[str, np.ndarray]:
    """Turn the values of a request into the arrays that the model takes, by input name.

    Nothing is converted on the way: 1.5, 300, true and "1" are no uint8.

    Raises:
        RequestError: a value has another type or shape than the model takes, an input is missing or
            unknown, or there are more than `max_rows` rows.
    """
    if body.by_row:
        named = _columns(body.values, [spec.name for spec in specs], max_rows)
    else:
        named = _named_inputs(body.values, [spec.name for spec in specs])
    arrays = {spec.name: _to_array(named[spec.name], spec) for spec in specs}
    rows = max((len(array) for array in arrays.values() if array.ndim), default=0)
    if rows > max_rows:
        raise RequestError(f"at most {max_rows} rows are answered at a time, got {rows}", 413)
    return arrays


def _columns(instances: Any, names: Sequence[str], max_rows: int) -> dict[str, Any]:
    """Regroup rows by input: a row is the value of the single input, or an object by name."""
    if not isinstance(instances, list) or not instances:
        raise RequestError(
            f"'instances': expected a list with at least one row, got {_kind(instances)}"
        )
    if len(instances) > max_rows:
        raise RequestError(
            f"at most {max_rows} rows are answered at a time, got {len(instances)}", 413
        )
    if len(names) == 1 and not isinstance(instances[0], dict):
        return {names[0]: instances}
    for row, instance in enumerate(instances):
        if not isinstance(instance, dict) or set(instance) != set(names):
            given = sorted(instance) if isinstance(instance, dict) else _kind(instance)
            raise RequestError(f"row {row}: expected an object with {sorted(names)}, got {given}")
    return {name: [instance[name] for instance in instances] for name in names}


def _named_inputs(inputs: Any, names: Sequence[str]) -> dict[str, Any]:
    if len(names) == 1 and not isinstance(inputs, dict):
        return {names[0]: inputs}
    if not isinstance(inputs, dict) or set(inputs) != set(names):
        given = sorted(inputs) if isinstance(inputs, dict) else _kind(inputs)
        raise RequestError(f"'inputs': expected an object with {sorted(names)}, got {given}")
    return inputs


def _to_array(values: Any, spec: TensorSpec) -> np.ndarray:
    flat, shape = _flatten(values, spec.name)
    dtype = np.dtype(object if spec.dtype == "string" else spec.dtype)
    if dtype.kind not in JSON_TYPES:
        raise RequestError(f"input '{spec.name}': {spec.dtype} cannot be sent as JSON")
    allowed, words = JSON_TYPES[dtype.kind]
    for value in flat:
        if type(value) not in allowed:
            raise RequestError(
                f"input '{spec.name}' is {spec.dtype}: expected {words}, got {_show(value)}"
            )
    if not spec.accepts_shape(shape):
        hint = ""
        if spec.accepts_shape((1, *shape)):
            hint = ". The list of rows is missing: put the value in a list of its own"
        raise RequestError(
            f"input '{spec.name}': expected shape {format_shape(spec.shape)}, got {shape}{hint}"
        )
    if dtype.kind in "iuf":
        _check_range(flat, dtype, spec)
    return np.array(flat, dtype=dtype).reshape(shape)


def _flatten(values: Any, name: str) -> tuple[list[Any], tuple[int, ...]]:
    """Take nested lists apart; all lists of one depth must have one length."""
    level, shape = [values], []
    while level and isinstance(level[0], list):
        lengths = {len(each) if isinstance(each, list) else None for each in level}
        if len(lengths) > 1:
            found = sorted("a value" if each is None else str(each) for each in lengths)
            raise RequestError(
                f"input '{name}': lists of one depth must have one length, got "
                f"{' and '.join(found)} at depth {len(shape) + 1}"
            )
        shape.append(lengths.pop())
        level = list(chain.from_iterable(level))
    return level, tuple(shape)


def _check_range(flat: Sequence[float], dtype: np.dtype, spec: TensorSpec) -> None:
    limits = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
    low, high = limits.min, limits.max
    if dtype.kind == "f":
        low, high = float(low), float(high)
    for value in flat:
        # NaN and Infinity are allowed in TensorFlow Serving's JSON; a number too large is not.
        if not low <= value <= high and not (dtype.kind == "f" and value - value != 0):
            raise RequestError(
                f"input '{spec.name}' is {spec.dtype}: {_show(value)} is not between "
                f"{low} and {high}"
            )


def encode_answer(outputs: Mapping[str, np.ndarray], by_row: bool) -> bytes:
    """Write an answer: ``predictions``, row by row, or ``outputs``, tensor by tensor.

    The name is left out when there is one output only.

    Raises:
        RequestError: rows were asked for, and the outputs have different numbers of rows.
    """
    lists = {name: _to_json(array) for name, array in outputs.items()}
    single = next(iter(lists.values())) if len(lists) == 1 else None
    if not by_row:
        return json.dumps({"outputs": lists if single is None else single}).encode()
    if len({len(array) if array.ndim else None for array in outputs.values()}) != 1 or any(
        array.ndim == 0 for array in outputs.values()
    ):
        raise RequestError(
            "the outputs of this model have different numbers of rows; send 'inputs' instead of "
            "'instances'"
        )
    if single is None:
        rows = zip(*lists.values(), strict=True)
        single = [dict(zip(lists, row, strict=True)) for row in rows]
    return json.dumps({"predictions": single}).encode()


def _to_json(array: np.ndarray) -> Any:
    if array.dtype.kind == "O":  # TensorFlow's text is bytes
        array = np.vectorize(lambda text: text.decode(errors="replace"), otypes=[object])(array)
    return array.tolist()


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false"}
    if value == []:
        return "an empty list"
    return "null" if value is None else names.get(type(value), "a number")


def _show(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
