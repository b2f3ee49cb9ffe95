"""The real TensorFlow Serving, where it is installed, behind the same `Server`.

The program ``tensorflow_model_server`` does not come from a Python package registry: it is in the
Docker image ``tensorflow/serving`` and in packages of its own for Linux.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from helpers.serving.errors import ServingError
from helpers.serving.folders import find_models
from helpers.serving.server import Server, check_port, check_range

PROGRAM = "tensorflow_model_server"


def start_tensorflow_serving(
    folder: str | Path,
    *,
    all_addresses: bool,
    port: int = 0,
    life_s: float = 600.0,
    ready_timeout_s: float = 120.0,
) -> Server:
    """Serve the one model of a folder with ``tensorflow_model_server`` from the PATH.

    **It cannot be bound to 127.0.0.1**: its REST and gRPC ports listen at every address of the
    machine, and no option changes that (https://github.com/tensorflow/serving/issues/1969). So
    `all_addresses` must say that this is meant. To stay on this machine, run it in Docker, which
    can publish the port to 127.0.0.1 only: ``docker run -p 127.0.0.1:8501:8501 ...``.

    For `port` (of the REST API), `life_s` and `ready_timeout_s` see `start_server`.

    Raises:
        ServingError: the program is not on the PATH, the folder holds no model or several, the port
            is taken, `all_addresses` is not True, or the server ended before it was ready.
        ValueError: an argument out of range.
    """
    numbers = check_range(life_s=life_s, ready_timeout_s=ready_timeout_s)
    check_port(port)
    if all_addresses is not True:
        raise ServingError(
            f"{PROGRAM} listens at every address of this machine and has no option to listen on "
            "127.0.0.1 only. Pass all_addresses=True if a firewall protects the machine, or use "
            "Docker with -p 127.0.0.1:8501:8501."
        )
    program = shutil.which(PROGRAM)
    if program is None:
        raise ServingError(
            f"{PROGRAM} is not on the PATH. Install TensorFlow Serving, run its Docker image, or "
            "use start_server(...), which needs Python packages only."
        )
    models = find_models(folder)
    if len(models) != 1:
        raise ServingError(
            f"{folder}: expected one model, got {', '.join(models)}. Several models need a "
            "configuration file of TensorFlow Serving."
        )
    ((name, path),) = models.items()
    command = [program, f"--model_name={name}", f"--model_base_path={path.resolve()}",
               "--file_system_poll_wait_seconds=1"]  # fmt: skip
    return Server("helpers.serving.keeper", {**numbers, "command": command, "port": port}, [name])
