"""The model of lesson 2 as a Ray Serve application: the same addresses, requests and answers.

This module runs in the Ray environment, without TensorFlow. `build` is what a config file names.
"""

# No postponed annotations here: Ray Serve reads those of `build`.

import os
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before the import, or it asks a host and leaves an id

import onnxruntime
import ray
from pydantic import BaseModel
from ray import serve
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from helpers.formats import load_onnx
from helpers.formats.sample_inputs import sample_inputs
from helpers.serving.body import (
    DEFAULT_SIGNATURE,
    RequestError,
    encode_answer,
    read_body,
    to_arrays,
)

ADDRESS = re.compile(
    r"/v1/models/(?P<model>[^/:]+)(?:/versions/(?P<version>[0-9]{1,18}))?"
    r"(?P<action>:predict|/metadata)?"
)
MAX_BODY_BYTES = 4 * 2**20
MAX_ROWS = 1024
HOST_HEADER, VERSION_HEADER = "x-host", "x-model-version"


class Arguments(BaseModel):
    """What a config file gives under ``args``.

    Attributes:
        model: the name in the address.
        folder: of the model, with one subfolder for each version that holds ``model.onnx``. It must
            be the same on every host.
        version: that is served.
    """

    model: str
    folder: str
    version: int


class Predictor:
    """One replica: a session of ONNX Runtime behind TensorFlow Serving's REST contract.

    Args:
        model: the name in the address.
        path: the ``.onnx`` file.
        version: its number.

    Raises:
        ArtifactError: the file cannot be opened.
    """

    def __init__(self, model: str, path: str, version: int) -> None:
        self._model, self._version = model, version
        self._runtime = load_onnx(Path(path))
        # The first call is slower; lesson 2's server also sends a made-up row before anyone asks.
        self._runtime(sample_inputs(self._runtime.inputs, rows=1).arrays)
        self._headers = {
            HOST_HEADER: ray.util.get_node_ip_address(),
            VERSION_HEADER: str(version),
        }

    async def __call__(self, request: Request) -> Response:
        """Answer a request, or say in JSON what is wrong with it."""
        try:
            self._check(address := ADDRESS.fullmatch(request.url.path), request)
            if address["action"] == ":predict":
                body = await request.body()
                content = await run_in_threadpool(self._predict, body)
                return Response(content, media_type="application/json", headers=self._headers)
            return JSONResponse(self._describe(address["action"]), headers=self._headers)
        except RequestError as error:
            return JSONResponse({"error": str(error)}, error.status, headers=self._headers)

    def _check(self, address: re.Match[str] | None, request: Request) -> None:
        if address is None:
            raise RequestError(f"expected /v1/models/NAME..., got {request.url.path}", 404)
        if address["model"] != self._model:
            raise RequestError(f"no model '{address['model']}'; there are: {self._model}", 404)
        if address["version"] not in (None, str(self._version)):
            raise RequestError(
                f"model '{self._model}' has no version {address['version']}; "
                f"it serves version {self._version}", 404,
            )  # fmt: skip
        if request.method != ("POST" if address["action"] == ":predict" else "GET"):
            raise RequestError(f"{request.method} does not fit {request.url.path}", 405)

    def _predict(self, body: bytes) -> bytes:
        if len(body) > MAX_BODY_BYTES:
            raise RequestError(f"the body has more than {MAX_BODY_BYTES} bytes, the limit", 413)
        request = read_body(body)
        if request.signature != DEFAULT_SIGNATURE:
            raise RequestError(f"no signature '{request.signature}'; there is {DEFAULT_SIGNATURE}")
        arrays = to_arrays(request, self._runtime.inputs, MAX_ROWS)
        results = self._runtime.prepare(arrays)()
        names = [spec.name for spec in self._runtime.outputs]
        return encode_answer(dict(zip(names, results, strict=True)), request.by_row)

    def _describe(self, action: str | None) -> dict[str, Any]:
        if action is None:
            state = {"version": str(self._version), "state": "AVAILABLE",
                     "status": {"error_code": "OK", "error_message": ""}}  # fmt: skip
            return {"model_version_status": [state]}
        specification = {"name": self._model, "signature_name": "", "version": str(self._version)}
        inputs = {spec.name: asdict(spec) for spec in self._runtime.inputs}
        runtime = f"ONNX Runtime {onnxruntime.__version__}"
        return {"model_spec": specification, "metadata": {"inputs": inputs, "runtime": runtime}}


def build(arguments: Arguments) -> serve.Application:
    """Build the application from the ``args`` of a config file."""
    path = Path(arguments.folder, str(arguments.version), "model.onnx")
    deployment = serve.deployment(Predictor, name="predictor")
    return deployment.bind(arguments.model, str(path), arguments.version)
