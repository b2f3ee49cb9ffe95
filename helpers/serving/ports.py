"""Which port a server can have."""

from __future__ import annotations

import socket


def free_port(port: int, address: str) -> int:
    """Return `port` if a server can listen there now, or any free one for 0.

    Args:
        port: that is wanted.
        address: where to listen; the empty text stands for every address of the machine.

    Raises:
        OSError: the port is taken, or needs other rights; the message says what to do.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # free again after a restart
        try:
            probe.bind((address, port))
        except OSError as error:
            raise OSError(
                f"port {port} cannot be used ({error.strerror}). Another program has it, perhaps "
                "an earlier server: stop that one, or give port=0 to take a free port"
            ) from error
        return probe.getsockname()[1]
