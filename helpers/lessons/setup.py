"""What a lesson prepares before its first cell."""

from __future__ import annotations

import logging
import textwrap
import warnings

from helpers.imports import quiet_import

__all__ = ["quiet_import", "warnings_to_stdout"]

LONGEST_WARNING = 320
"""Characters of a warning that are printed: Keras puts whole weight matrices into some."""


def warnings_to_stdout() -> None:
    """Print each warning once, as one line of plain text, for the rest of the process.

    A lesson wants its warnings read. A red block with the path of a file invites to skip it, and
    differs from machine to machine. Python's warnings and absl's log (Keras uses both) are
    redirected. TensorFlow's own log keeps its errors only: its warnings about retracing name
    addresses in memory, and lesson 2 counts traces instead. The errors of tf2onnx, which are no
    exceptions, are printed too: lesson 3 reads them.
    """
    seen: set[str] = set()

    def print_once(kind: str, message: object) -> None:
        text = " ".join(str(message).split())
        if text not in seen:
            seen.add(text)
            print(f"{kind}: {textwrap.shorten(text, LONGEST_WARNING, placeholder=' ...')}")

    def show(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
        print_once(category.__name__, message)

    class PrintHandler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            print_once(record.levelname.capitalize(), record.getMessage())

    warnings.showwarning = show
    for name in ("absl", "tf2onnx"):
        log = logging.getLogger(name)
        log.handlers, log.propagate = [PrintHandler()], False
    log.setLevel(logging.ERROR)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
