"""Run with ``python -m``: loads one version of a model, and answers until its pipe closes."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from helpers.costs.channel import Channel, die_with_parent, import_alone
from helpers.formats import Runtime, load_signatures
from helpers.formats.identify import ArtifactError
from helpers.formats.sample_inputs import sample_inputs
from helpers.formats.warmup import read_warmup_requests
from helpers.imports import quiet_import
from helpers.serving.body import (
    DEFAULT_SIGNATURE,
    RequestError,
    encode_answer,
    read_body,
    to_arrays,
)

LONGEST_REASON = 300

Signatures = Mapping[str, Runtime]


def main() -> None:
    """Load what the first request names, then answer the others one after the other."""
    die_with_parent()
    channel = Channel()
    request = channel.receive()
    try:
        with quiet_import():  # the log is for what matters
            import_alone("tensorflow")  # a SavedModel needs no Keras: faster and smaller
        signatures = load_signatures(request["folder"])
        described = describe(request["folder"], signatures)
        warm_up(Path(request["folder"]), signatures)
    except Exception as error:  # whatever a damaged model raises goes to the status
        channel.reply_error(error)
        return
    channel.reply({"signatures": described})
    while True:
        body = channel.receive()["body"].encode("latin-1")
        channel.reply(reply_to(body, signatures, request["max_rows"]))


def warm_up(path: Path, signatures: Signatures) -> None:
    """Let a version answer before anyone asks: the first call of a graph allocates and optimizes.

    The requests of the warm-up file are replayed when the version has one; otherwise one made-up
    row is sent, where the signature allows it.

    Raises:
        ArtifactError: it fails on its own warm-up requests.
    """
    requests = read_warmup_requests(path)
    for request in requests:
        try:
            signatures[request.signature_name](request.inputs)
        except Exception as error:  # whatever the graph raises
            finding = f"it fails on its warm-up requests ({error})"
            raise ArtifactError(path, finding, "Write the file again.") from error
    if not requests and DEFAULT_SIGNATURE in signatures:
        runtime = signatures[DEFAULT_SIGNATURE]
        with suppress(Exception):  # made-up inputs may not suit a model that is right
            runtime(sample_inputs(runtime.inputs, rows=1).arrays)


def reply_to(body: bytes, signatures: Signatures, max_rows: int) -> dict[str, Any]:
    """Answer the body of a request of the predict API: the status of HTTP, and a body as text."""
    try:
        return {"status": 200, "content": predict(body, signatures, max_rows)}
    except RequestError as error:
        status, message = error.status, str(error)
    except RecursionError:
        status, message = 400, "the body is nested too deeply"
    except Exception as error:  # ours, not the client's: the server lives on
        status, message = 500, f"this server failed: {type(error).__name__}: {error}"
    return {"status": status, "content": json.dumps({"error": message})}


def predict(body: bytes, signatures: Signatures, max_rows: int) -> str:
    """Answer a request with the signature that it names.

    Raises:
        RequestError: the request does not fit the model, or the model refuses it.
    """
    request = read_body(body)
    if request.signature not in signatures:
        known = ", ".join(signatures)
        raise RequestError(f"no signature '{request.signature}'; there are: {known}")
    runtime = signatures[request.signature]
    call = runtime.prepare(to_arrays(request, runtime.inputs, max_rows))
    try:
        outputs = call()
    except Exception as error:  # the graph's own checks: tf.errors.InvalidArgumentError, ...
        # Without the place in the graph, which comes first.
        message = " ".join(str(error).split()).split("<stack traces unavailable> ")[-1]
        reason = textwrap.shorten(message, LONGEST_REASON)
        raise RequestError(f"the model refused the request: {reason}") from error
    named = {spec.name: array for spec, array in zip(runtime.outputs, outputs, strict=True)}
    return encode_answer(named, request.by_row)


def describe(folder: str, names: Iterable[str]) -> dict[str, Any]:
    """Return signatures as TensorFlow Serving's metadata does: as they are stored, in JSON."""
    from google.protobuf.json_format import MessageToDict
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    stored = SavedModel.FromString(Path(folder, "saved_model.pb").read_bytes())
    signatures = stored.meta_graphs[0].signature_def
    as_it_is = {"preserving_proto_field_name": True, "always_print_fields_with_no_presence": True}
    return {name: MessageToDict(signatures[name], **as_it_is) for name in names}


if __name__ == "__main__":
    main()
