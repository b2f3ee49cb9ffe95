"""What the process that computes keeps: the models, and a thread that watches their folders."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers.quiet import quiet_import
from helpers.serving.errors import RequestError
from helpers.serving.versions import ServedModel

if TYPE_CHECKING:
    from helpers.serving.endpoint import Endpoint


class Models:
    """All models of a server, loaded, and loaded again when their folders change.

    Args:
        folders: the folder of each model, by name.
        status_file: where the state of all models is written whenever it changes.
        poll_s: seconds between two looks at the folders.
    """

    def __init__(self, folders: Mapping[str, str], status_file: Path, poll_s: float) -> None:
        self._status_file = status_file
        self._written = b""
        self._models = {
            name: ServedModel(name, Path(folder), _load) for name, folder in folders.items()
        }
        self._poll()
        threading.Thread(target=self._poll_forever, args=(poll_s,), daemon=True).start()

    def find(self, name: str) -> ServedModel[Endpoint]:
        """Return a model.

        Raises:
            RequestError: 404, there is no such model.
        """
        if name not in self._models:
            raise RequestError(f"no model '{name}'; there are: {', '.join(self._models)}", 404)
        return self._models[name]

    def _poll_forever(self, poll_s: float) -> None:
        while True:
            time.sleep(poll_s)
            self._poll()

    def _poll(self) -> None:
        for model in self._models.values():
            try:
                model.poll()
            except OSError as error:  # a folder that cannot be read now may be readable later
                print(f"{model.name}: {error}", file=sys.stderr, flush=True)
        content = json.dumps({name: _describe(model) for name, model in self._models.items()})
        if content.encode() != self._written:
            self._written = content.encode()
            part = self._status_file.with_suffix(".part")
            part.write_bytes(self._written)
            part.replace(self._status_file)  # in one step: the reader never sees half of it


def _load(path: Path) -> Endpoint:
    # A SavedModel needs no Keras. Hidden, it is not imported with TensorFlow: faster and smaller.
    sys.modules.setdefault("keras", None)
    with quiet_import():  # the log is for what matters
        import tensorflow  # noqa: F401
    from helpers.serving.endpoint import load_and_warm_up

    return load_and_warm_up(path)


def _describe(model: ServedModel[Endpoint]) -> dict[str, Any]:
    status, metadata = model.status(), {}
    try:
        with model.use() as endpoint:
            served = next(each["version"] for each in status["model_version_status"]
                          if each["state"] == "AVAILABLE")  # fmt: skip
            signatures = {"signature_def": endpoint.metadata()}
    except RequestError:  # nothing is served
        return {"status": status, "metadata": metadata}
    metadata = {
        "model_spec": {"name": model.name, "signature_name": "", "version": served},
        "metadata": {"signature_def": signatures},
    }
    return {"status": status, "metadata": metadata}
