"""What can go wrong: for who starts a server, and for who sends it a request."""

from __future__ import annotations


class ServingError(RuntimeError):
    """A server that cannot be started or has ended: what happened and what to do."""


class RequestError(ValueError):
    """A request that cannot be answered.

    Attributes:
        status: of HTTP: 400 for a wrong body, 403 for a host that is not this machine, 404 for an
            unknown model or version, 413 for a body that is too large, 415 for one that is not
            JSON, 503 while no version of the model answers.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        self.status = status
        super().__init__(message)
