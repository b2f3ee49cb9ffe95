"""A tiny SavedModel whose answers tell which version gave them, and a client for it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np

LARGEST_PIXEL = 200


def write_version(folder: Path, factor: float) -> Path:
    """Write a model that adds up the pixels of ``(n, 2, 2)`` uint8 images, times a factor.

    Its graph refuses pixels above 200. The folder appears in one step, as a careful person would
    do it: written elsewhere, then renamed.
    """
    import tensorflow as tf

    class Sums(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = tf.Variable(factor)

        @tf.function(input_signature=[tf.TensorSpec((None, 2, 2), tf.uint8, "images")])
        def serve(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
            tf.debugging.assert_less_equal(images, np.uint8(LARGEST_PIXEL), "a pixel above 200")
            sums = tf.reduce_sum(tf.cast(images, tf.float32), axis=(1, 2))
            return {"sum": tf.cast(sums, tf.int64), "scaled": sums * self.factor}

        @tf.function(
            input_signature=[
                tf.TensorSpec((None,), tf.float32, "left"),
                tf.TensorSpec((None,), tf.float32, "right"),
            ]
        )
        def add(self, left: tf.Tensor, right: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"total": left + right}

    module = Sums()
    written = folder.with_name(f".{folder.name}")
    tf.saved_model.save(module, str(written), {"serving_default": module.serve, "add": module.add})
    folder.parent.mkdir(parents=True, exist_ok=True)
    return written.rename(folder)


def damage(folder: Path) -> None:
    """Cut the weights of a version off."""
    for path in (folder / "variables").iterdir():
        path.write_bytes(path.read_bytes()[:10])


def copy_version(source: Path, target: Path) -> Path:
    """Copy a version so that it appears in one step."""
    written = target.with_name(f".{target.name}")
    shutil.copytree(source, written)
    return written.rename(target)


def alive(processes: Iterable[int]) -> list[int]:
    """Return the processes that have not ended; a zombie has. Linux only."""
    found = []
    for process in processes:
        with suppress(OSError):
            stat = Path(f"/proc/{process}/stat").read_text()
            found += [process] if stat.rpartition(")")[2].split()[0] != "Z" else []
    return found


class Client:
    """Sends requests over one open connection."""

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=30)

    def send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        """Return the status and the JSON of the answer."""
        self._connection.request(method, path, body, headers or {})
        response = self._connection.getresponse()
        return response.status, json.loads(response.read())

    def post(self, path: str, content: Any) -> tuple[int, Any]:
        """Send content as JSON."""
        return self.send("POST", path, json.dumps(content).encode())

    def close(self) -> None:
        self._connection.close()
