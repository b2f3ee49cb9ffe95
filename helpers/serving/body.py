"""The bodies of requests and answers: JSON on the wire, arrays for the model.

The format is that of TensorFlow Serving's REST API
(https://github.com/tensorflow/serving/blob/master/tensorflow_serving/g3doc/api_rest.md).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from helpers.formats.tensors import TensorSpec, format_shape
from helpers.serving.errors import RequestError

DEFAULT_SIGNATURE = "serving_default"
MOST_AXES = 64
"""NumPy has no arrays with more."""
# What JSON may hold for each kind of array: its Python types, and how to say it.
JSON_TYPES: Mapping[str, tuple[tuple[type, ...], str]] = {
    "b": ((bool,), "true or false"),
    "i": ((int,), "whole numbers"),
    "u": ((int,), "whole numbers"),
    "f": ((int, float), "numbers"),
    "O": ((str, bytes), "text"),
}


@dataclass(frozen=True)
class PredictBody:
    """What was sent as ``instances`` (then `by_row`) or as ``inputs``, and for which signature."""

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
        example = '{"instances": [...]}'
        raise RequestError(f"expected an object such as {example}, got {_kind(content)}")
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

    Nothing is converted on the way: 1.5, 300, true and "1" are no uint8. Bytes for an input of text
    come as ``{"b64": "..."}``.

    Raises:
        RequestError: a value has another type or shape than the model takes, an input is missing or
            unknown, or there are more than `max_rows` rows.
    """
    names = [spec.name for spec in specs]
    named = (_columns if body.by_row else _by_name)(body.values, names)
    arrays = {spec.name: _to_array(named[spec.name], spec) for spec in specs}
    rows = max((len(array) for array in arrays.values() if array.ndim), default=0)
    if rows > max_rows:
        raise RequestError(f"at most {max_rows} rows are answered at a time, got {rows}", 413)
    return arrays


def _columns(instances: Any, names: Sequence[str]) -> Mapping[str, Any]:
    """Regroup rows by input: a row is the value of the single input, or an object by name."""
    if not isinstance(instances, list) or not instances:
        given = _kind(instances)
        raise RequestError(f"'instances': expected a list with at least one row, got {given}")
    if len(names) == 1 and _is_value(instances[0]):
        return {names[0]: instances}
    rows = [_by_name(row, names, f"row {index}") for index, row in enumerate(instances)]
    return {name: [row[name] for row in rows] for name in names}


def _by_name(value: Any, names: Sequence[str], where: str = "'inputs'") -> Mapping[str, Any]:
    if len(names) == 1 and _is_value(value) and where == "'inputs'":
        return {names[0]: value}
    if not isinstance(value, dict) or set(value) != set(names):
        given = sorted(value) if isinstance(value, dict) else _kind(value)
        raise RequestError(f"{where}: expected an object with {sorted(names)}, got {given}")
    return value


def _is_value(value: Any) -> bool:
    return not isinstance(value, dict) or set(value) == {"b64"}


def _to_array(values: Any, spec: TensorSpec) -> np.ndarray:
    where = f"input '{spec.name}'"
    flat, shape = _flatten(values, where)
    try:
        dtype = np.dtype(object if spec.dtype == "string" else spec.dtype)
        allowed, words = JSON_TYPES[dtype.kind]
    except (KeyError, TypeError) as error:
        raise RequestError(f"{where}: {spec.dtype} cannot be sent as JSON") from error
    if dtype.kind == "O":
        flat = [_from_base64(value, where) for value in flat]
    for value in flat:
        if type(value) not in allowed:
            raise RequestError(f"{where} is {spec.dtype}: expected {words}, got {_show(value)}")
    if not spec.accepts_shape(shape):
        hint = ". The list of rows is missing: put the value in a list of its own"
        raise RequestError(
            f"{where}: expected shape {format_shape(spec.shape)}, got {shape}"
            f"{hint if spec.accepts_shape((1, *shape)) else ''}"
        )
    if dtype.kind in "iuf":
        limits = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
        low, high = map(int if dtype.kind in "iu" else float, (limits.min, limits.max))
        for value in flat:
            # NaN and Infinity are allowed in TensorFlow Serving's JSON; a number too large is not.
            if not low <= value <= high and not (dtype.kind == "f" and value - value != 0):
                bounds = f"{_show(value)} is not between {low} and {high}"
                raise RequestError(f"{where} is {spec.dtype}: {bounds}")
    return np.array(flat, dtype=dtype).reshape(shape)


def _flatten(values: Any, where: str) -> tuple[list[Any], tuple[int, ...]]:
    """Take nested lists apart; all lists of one depth must have one length."""
    level, shape = [values], []
    while level and isinstance(level[0], list):
        lengths = {len(each) if isinstance(each, list) else None for each in level}
        if len(lengths) > 1:
            found = sorted("a value" if each is None else str(each) for each in lengths)
            raise RequestError(
                f"{where}: lists of one depth must have one length, got {' and '.join(found)} at "
                f"depth {len(shape) + 1}"
            )
        shape.append(lengths.pop())
        if len(shape) > MOST_AXES:
            raise RequestError(f"{where}: lists are nested at most {MOST_AXES} deep")
        level = list(chain.from_iterable(level))
    return level, tuple(shape)


def _from_base64(value: Any, where: str) -> Any:
    if not isinstance(value, dict) or set(value) != {"b64"}:
        return value
    try:
        return base64.b64decode(value["b64"], validate=True)
    except (TypeError, ValueError) as error:
        raise RequestError(f"{where}: 'b64' holds no base64 ({error})") from error


def encode_answer(outputs: Mapping[str, np.ndarray], by_row: bool) -> str:
    """Write an answer: ``predictions``, row by row, or ``outputs``, tensor by tensor.

    The name is left out when there is one output only. Text is written as ``{"b64": "..."}`` where
    the name of the output ends with ``_bytes``.

    Raises:
        RequestError: rows were asked for, and the outputs have different numbers of rows.
    """
    lists = {name: _to_json(name, array) for name, array in outputs.items()}
    single = next(iter(lists.values())) if len(lists) == 1 else None
    if not by_row:
        return json.dumps({"outputs": lists if single is None else single})
    lengths = {array.shape[:1] for array in outputs.values()}
    if len(lengths) != 1 or () in lengths:
        raise RequestError(
            "the outputs of this model have different numbers of rows; send 'inputs' instead of "
            "'instances'"
        )
    rows = zip(*lists.values(), strict=True)
    return json.dumps(
        {"predictions": single or [dict(zip(lists, row, strict=True)) for row in rows]}
    )


def _to_json(name: str, array: np.ndarray) -> Any:
    if array.dtype.kind == "O":  # TensorFlow's text is bytes
        flat = [
            {"b64": base64.b64encode(text).decode()}
            if name.endswith("_bytes")
            else text.decode(errors="replace")
            for text in array.flat
        ]
        array = np.array([*flat, None], dtype=object)[:-1].reshape(array.shape)
    return array.tolist()


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false"}
    if value is None or value == []:
        return "null" if value is None else "an empty list"
    return names.get(type(value), "a number")


def _show(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
