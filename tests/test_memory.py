"""Memory that nothing uses goes back to the operating system."""

import gc
from pathlib import Path

import pytest

from helpers import memory
from helpers.fresh_process import run_in_fresh_process

IN_A_FRESH_PROCESS = """
import gc
from pathlib import Path
from helpers.memory import give_back_memory

def own_mib():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Pss_Anon")).split()[1]) / 1024

gc.disable()
before = own_mib()
knot = [[bytes([i % 256]) * 1000 for i in range(100_000)]]
knot.append(knot)  # refers to itself: only the garbage collector can free it
pins = knot[0][::-1000]  # they stay, so that the heap cannot shrink from its end
full = own_mib()
del knot
dropped = own_mib()
give_back_memory()
print(full - before, dropped - before, own_mib() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux's /proc")
def test_what_nothing_refers_to_is_returned() -> None:
    full, dropped, given_back = map(float, run_in_fresh_process(IN_A_FRESH_PROCESS).split())
    assert full > 90
    assert dropped > 90
    assert given_back < 20


def test_without_glibc_the_garbage_is_collected_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "_c_library", lambda: None)
    collected: list[bool] = []
    monkeypatch.setattr(gc, "collect", lambda: collected.append(True))
    memory.give_back_memory()
    assert collected == [True]


def test_keras_is_imported_alone_and_others_can_have_what_it_takes_along() -> None:
    code = """
import sys
from helpers.workers.channel import import_alone

import_alone("keras")
print(*("keras" in sys.modules, "sklearn" in sys.modules, "pandas" in sys.modules))
import pandas, sklearn
import_alone("keras")
print(pandas is sys.modules["pandas"], sklearn is sys.modules["sklearn"])
"""
    lines = run_in_fresh_process(code).splitlines()
    assert lines[-2:] == ["True False False", "True True"]
