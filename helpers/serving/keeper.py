"""Run with ``python -m``: starts ``tensorflow_model_server``, and ends it with the parent.

The program does not watch a pipe; this process does, in its place.
"""

from __future__ import annotations

import subprocess
import sys

from helpers.costs.channel import die_with_parent
from helpers.serving.lifetime import answer, free_port, take_request


def main() -> None:
    """Take the request of `start_tensorflow_serving`, answer with the port, and wait."""
    request = take_request()
    try:
        port = free_port(request["port"], "")
        ports = [f"--rest_api_port={port}", f"--port={free_port(0, '')}"]
        server = subprocess.Popen(
            [*request["command"], *ports],
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            preexec_fn=die_with_parent,
        )
    except OSError as error:
        answer({"error": str(error)})
        return
    answer({"port": port})
    sys.exit(f"tensorflow_model_server ended with exit code {server.wait()}")


if __name__ == "__main__":
    main()
