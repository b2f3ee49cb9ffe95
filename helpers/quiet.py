"""Keep the log lines of TensorFlow's C++ core out of a lesson."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from helpers.collector import collector_at_rest

LONGEST_WARNING = 320
"""Characters of a warning that are printed: Keras puts whole weight matrices into some."""


class _DescriptorHandler(logging.Handler):
    """Writes to file descriptor 2, wherever a notebook sends Python's ``sys.stderr``."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record as a line of text."""
        os.write(2, f"{self.format(record)}\n".encode())


@contextmanager
def quiet_import() -> Iterator[None]:
    """Hide what is written to stderr while TensorFlow is imported in a ``with`` block.

    On import, TensorFlow 2.21 announces oneDNN and the processor's instruction set, before its own
    log level (``TF_CPP_MIN_LOG_LEVEL``) is read. The lines come from C++ and go to file descriptor
    2, which Python's ``sys.stderr`` knows nothing of, so the descriptor itself is redirected.
    Nothing is lost when the import fails: the hidden text is then written out.

    Keras imports Matplotlib, which logs a warning where the home folder cannot be written. Python
    prints such a warning by a handler of last resort, which is redirected too.

    The garbage collector rests meanwhile, see `helpers.collector`.
    """
    # Later informational lines, such as the one of the first operation, do obey the level.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    saved_descriptor, last_resort = os.dup(2), logging.lastResort
    logging.lastResort = _DescriptorHandler(logging.WARNING)
    with tempfile.TemporaryFile() as hidden:
        os.dup2(hidden.fileno(), 2)
        try:
            with collector_at_rest():
                yield
        except BaseException:
            sys.stderr.flush()
            hidden.seek(0)
            with open(saved_descriptor, "wb", closefd=False) as stderr:
                stderr.write(hidden.read())
            raise
        finally:
            logging.lastResort = last_resort
            sys.stderr.flush()
            os.dup2(saved_descriptor, 2)
            os.close(saved_descriptor)


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
