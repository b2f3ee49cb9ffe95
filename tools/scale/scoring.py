"""Offline scoring: the whole test set many times through Dask, with a worker killed on the way.

Run it in the Ray environment: ``python -m tools.scale.scoring FOLDER [BLOCKS]``. It prints one line
of JSON. Dask hands blocks of images to worker processes; when one of these dies, its blocks go to
another one, and a new worker takes its place.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client, LocalCluster, as_completed

from tools.scale.model_files import ANSWERS, MODEL, ONNX_FILE

WORKERS = 3
TOLERANCE = 1e-5
PAUSE_S = 0.02
"""Added to each block, so that the work takes long enough for a worker to be killed in it."""


@cache
def _session(path: str) -> Any:
    """Open the model once in each worker."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    from helpers.formats import load_onnx

    return load_onnx(path)


def score(path: str, images: np.ndarray, block: int) -> np.ndarray:
    """Return the probabilities for a block, uint8 ``(n, 8, 8)`` turned round by `block` images."""
    time.sleep(PAUSE_S)
    return _session(path)(np.roll(images, block, axis=0))["probabilities"]


def score_all(folder: Path, blocks: int) -> dict[str, float]:
    """Score every block; kill a worker when a quarter is done.

    Args:
        folder: with the files of `model_files`.
        blocks: how many times the test set is scored, each time in another order.
    """
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # it reports the planned kill
    with np.load(folder / ANSWERS) as arrays:
        images, expected = arrays["images"], arrays["1"]
    path = str(folder / MODEL / "1" / ONNX_FILE)
    with (
        LocalCluster(
            n_workers=WORKERS, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        start = time.perf_counter()
        (sent,) = client.scatter([images], broadcast=True)
        tasks = {client.submit(score, path, sent, block): block for block in range(blocks)}
        found = _collect(client, tasks, expected)
        seconds = time.perf_counter() - start
    return found | {"blocks": blocks, "seconds": seconds,
                    "images_per_s": blocks * len(images) / seconds}  # fmt: skip


def _collect(client: Client, tasks: Mapping[Any, int], expected: np.ndarray) -> dict[str, float]:
    """Count the lost and the wrong blocks, and kill a worker on the way."""
    right, wrong, killed = 0, 0, 0
    for task in as_completed(tasks):
        block = tasks[task]
        try:
            answer = task.result()  # waits, when it has to be computed again after the kill
        except Exception as error:  # whatever Dask gives up with: the block is lost
            print(f"block {block}: {error!r}", file=sys.stderr)
            continue
        difference = np.abs(answer - np.roll(expected, block, axis=0)).max()
        right += int(difference <= TOLERANCE)
        wrong += int(difference > TOLERANCE)
        if not killed and right >= len(tasks) // 4:
            os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)
            killed = 1
    return {"lost": len(tasks) - right - wrong, "wrong": wrong, "killed": killed}


if __name__ == "__main__":
    print(json.dumps(score_all(Path(sys.argv[1]), int(sys.argv[2]))))
