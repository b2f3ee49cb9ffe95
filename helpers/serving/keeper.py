"""Run with ``python -m``: starts ``tensorflow_model_server``, and ends it with the parent."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from helpers.serving.lifetime import answer, take_request
from helpers.serving.ports import free_port
from helpers.workers.channel import die_with_parent

POLL_WAIT_SECONDS = 1


def main() -> None:
    """Take the request of `start_tensorflow_serving`, answer with the port, and wait.

    The server is no Python program and does not watch a pipe: this process does, in its place.
    """
    request = take_request()
    try:
        rest_port, grpc_port = free_port(request["port"], ""), free_port(0, "")
        server = subprocess.Popen(
            _command(request, rest_port, grpc_port),
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            preexec_fn=die_with_parent,
        )
    except OSError as error:
        answer({"error": str(error)})
        return
    answer({"port": rest_port})
    sys.exit(f"tensorflow_model_server ended with exit code {server.wait()}")


def _command(request: dict[str, Any], rest_port: int, grpc_port: int) -> list[str]:
    return [
        request["program"],
        f"--rest_api_port={rest_port}",
        f"--port={grpc_port}",
        f"--model_name={request['model']}",
        f"--model_base_path={request['folder']}",
        f"--file_system_poll_wait_seconds={POLL_WAIT_SECONDS}",
    ]


if __name__ == "__main__":
    main()
