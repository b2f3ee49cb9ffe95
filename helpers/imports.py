"""Import a heavy framework: quietly, and with the garbage collector at rest."""

from __future__ import annotations

import gc
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_at_rest() -> Iterator[None]:
    """Import in a ``with`` block without garbage collection, and keep what was imported for good.

    Importing Keras and TensorFlow makes hundreds of thousands of objects that stay until the
    process ends. The collector would look through all of them several times during the import (a
    fifth of its time), again whenever the process has made as much garbage, and once more at its
    end. Afterwards it works as before, on what is made from then on.

    Python can keep all objects that exist, or none. So a block that imports nothing new keeps none:
    a model that is in memory by then would never be freed.
    """
    known = len(sys.modules)
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > known:
            gc.freeze()
        if collects:
            gc.enable()


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

    The garbage collector rests meanwhile, see `collector_at_rest`.
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
