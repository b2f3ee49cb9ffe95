"""Run with ``python -m``: serves models with LitServe until the parent ends, or in time.

LitServe has a process for HTTP, one that computes, and one that carries the messages between them.
"""

from __future__ import annotations

import os
import threading
import time

from helpers.serving.lifetime import answer, end_all, take_request
from helpers.serving.ports import free_port
from helpers.workers.channel import die_with_parent

HOST = "127.0.0.1"
WATCH_S = 0.2


def main() -> None:
    """Take the request of `start_server`, answer with the port, and serve."""
    request = take_request()
    try:
        port = free_port(request["port"], HOST)
    except OSError as error:
        answer({"error": str(error)})
        return
    answer({"port": port})
    # Processes that LitServe forks end with this one; the others say so themselves, in `setup`.
    os.register_at_fork(after_in_child=die_with_parent)

    from helpers.serving.app import build_server

    server = build_server(
        request["models"], request["poll_s"], request["max_body_bytes"], request["max_rows"]
    )
    threading.Thread(target=_watch, args=(server,), daemon=True).start()
    server.run(
        host=HOST,
        port=port,
        num_api_servers=1,
        api_server_worker_type="thread",
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )


def _watch(server: object) -> None:
    """End everything when a computing process has ended: nobody would answer any more."""
    while True:
        time.sleep(WATCH_S)
        for worker in getattr(server, "inference_workers", ()):
            if getattr(worker, "exitcode", None) is not None:
                end_all(f"the process that computes ended with exit code {worker.exitcode}")


if __name__ == "__main__":
    main()
