"""The bodies of requests and answers: JSON on the wire, arrays for the model.

The format is that of TensorFlow Serving's REST API
(https://github.com/tensorflow/serving/blob/master/tensorflow_serving/g3doc/api_rest.md).
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from helpers.formats.tensors import TensorSpec, format_shape

DEFAULT_SIGNATURE = "serving_default"
MOST_AXES = 64
"""NumPy has no arrays with more."""
# What JSON may hold for each kind of array: its Python types, how to say it, what limits numbers.
JSON_TYPES: Mapping[str, tuple[tuple[type, ...], str, Any]] = {
    "b": ((bool,), "true or false", None),
    "i": ((int,), "whole numbers", np.iinfo),
    "u": ((int,), "whole numbers", np.iinfo),
    "f": ((int, float), "numbers", np.finfo),
    "O": ((str, bytes), "text", None),
}


class RequestError(ValueError):
    """A request that cannot be answered.

    Attributes:
        status: of HTTP: 400 for a wrong body, 403 for a host that is not this machine, 404 for an
            unknown model or version, 413 for a body that is too large, 415 for one that is not
            JSON, 503 while no version of the model answers.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        self.status = status
        super().__init__(message)


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
        raise RequestError(f"expected an object such as {example}, got {_show(content)}")
    formats = [key for key in ("instances", "inputs") if key in content]
    if len(formats) != 1:
        given = ", ".join(map(repr, content)) or "none"
        raise RequestError(f"expected one of the keys 'instances' and 'inputs', got {given}")
    signature = content.get("signature_name", DEFAULT_SIGNATURE)
    if not isinstance(signature, str):
        raise RequestError(f"'signature_name': expected text, got {_show(signature)}")
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
    named = _by_input(body, [spec.name for spec in specs])
    arrays = {spec.name: _to_array(named[spec.name], spec) for spec in specs}
    rows = max((len(array) for array in arrays.values() if array.ndim), default=0)
    if rows > max_rows:
        raise RequestError(f"at most {max_rows} rows are answered at a time, got {rows}", 413)
    return arrays


def _by_input(body: PredictBody, names: Sequence[str]) -> Mapping[str, Any]:
    """Regroup values by input: a row is the value of the single input, or an object by name."""
    if body.by_row and (not isinstance(body.values, list) or not body.values):
        given = _show(body.values)
        raise RequestError(f"'instances': expected a list with at least one row, got {given}")
    first = body.values[0] if body.by_row else body.values
    if len(names) == 1 and (not isinstance(first, dict) or set(first) == {"b64"}):
        return {names[0]: body.values}
    if not body.by_row:
        return _check_names(body.values, names, "'inputs'")
    rows = [_check_names(row, names, f"row {index}") for index, row in enumerate(body.values)]
    return {name: [row[name] for row in rows] for name in names}


def _check_names(value: Any, names: Sequence[str], where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict) or set(value) != set(names):
        given = sorted(value) if isinstance(value, dict) else _show(value)
        raise RequestError(f"{where}: expected an object with {sorted(names)}, got {given}")
    return value


def _to_array(values: Any, spec: TensorSpec) -> np.ndarray:
    where = f"input '{spec.name}'"
    objects = _to_objects(values, where)
    flat = objects.ravel()  # a view: what is put into it is in both
    try:
        dtype = np.dtype(object if spec.dtype == "string" else spec.dtype)
        allowed, words, limits = JSON_TYPES[dtype.kind]
    except (KeyError, TypeError) as error:
        raise RequestError(f"{where}: {spec.dtype} cannot be sent as JSON") from error
    bounds = np.array([limits(dtype).min, limits(dtype).max], dtype).tolist() if limits else None
    for index, value in enumerate(flat):
        if dtype.kind == "O":
            flat[index] = value = _from_base64(value, where)
        if type(value) not in allowed:
            raise RequestError(f"{where} is {spec.dtype}: expected {words}, got {_show(value)}")
        # NaN and Infinity are allowed in TensorFlow Serving's JSON; a number too large is not.
        if bounds and (value < bounds[0] or value > bounds[1]) and abs(value) != math.inf:
            between = f"between {bounds[0]} and {bounds[1]}"
            raise RequestError(f"{where} is {spec.dtype}: {_show(value)} is not {between}")
    if not spec.accepts_shape(objects.shape):
        hint = ". The list of rows is missing: put the value in a list of its own"
        raise RequestError(
            f"{where}: expected shape {format_shape(spec.shape)}, got {objects.shape}"
            f"{hint if spec.accepts_shape((1, *objects.shape)) else ''}"
        )
    return objects.astype(dtype)


def _to_objects(values: Any, where: str) -> np.ndarray:
    """Make one array of nested lists: all lists of one depth must have one length."""
    array = np.array(values, dtype=object)  # what does not fit stays a list inside
    lengths = {len(each) if isinstance(each, list) else None for each in array.ravel()}
    if lengths <= {None}:
        return array
    if array.ndim == MOST_AXES:
        raise RequestError(f"{where}: lists are nested at most {MOST_AXES} deep")
    found = sorted("a value" if each is None else str(each) for each in lengths)
    raise RequestError(
        f"{where}: lists of one depth must have one length, got {' and '.join(found)} at "
        f"depth {array.ndim + 1}"
    )


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
    lists = {
        name: _write_text(name, array.tolist()) if array.dtype.kind == "O" else array.tolist()
        for name, array in outputs.items()
    }
    single = next(iter(lists.values())) if len(lists) == 1 else None
    if not by_row:
        return json.dumps({"outputs": lists if single is None else single})
    lengths = {array.shape[:1] for array in outputs.values()}
    if len(lengths) != 1 or () in lengths:
        raise RequestError(
            "the outputs of this model have different numbers of rows; send 'inputs' instead of "
            "'instances'"
        )
    rows = [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
    return json.dumps({"predictions": single or rows})


def _write_text(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_write_text(name, each) for each in value]
    if name.endswith("_bytes"):
        return {"b64": base64.b64encode(value).decode()}
    return value.decode(errors="replace")


def _show(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
