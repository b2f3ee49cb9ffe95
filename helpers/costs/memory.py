"""Give memory back that this process holds and no longer uses."""

from __future__ import annotations

import ctypes
import gc
import sys
from functools import cache
from typing import Any


def give_back_memory() -> None:
    """Free what nothing refers to, and return the free pages to the operating system.

    Models and figures are knots of objects that refer to each other: only the garbage collector
    frees them, some time later. The C library then keeps the pages for the next request. Both are
    right for speed. They are wrong just before another process needs the memory of a small machine.

    The second step needs glibc (``malloc_trim``, Linux); elsewhere only the first one is done.
    """
    gc.collect()
    if trim := getattr(_c_library(), "malloc_trim", None):
        trim(0)


@cache
def _c_library() -> Any:
    return ctypes.CDLL(None) if sys.platform == "linux" else None
