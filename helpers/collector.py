"""Let Python's garbage collector rest while large libraries are imported."""

from __future__ import annotations

import gc
import sys
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
