"""Memory that nothing uses goes back to the operating system."""

import gc

import pytest

import needs
from helpers.costs import memory
from helpers.lessons.fresh_process import run_in_fresh_process

IN_A_FRESH_PROCESS = """
import gc
from pathlib import Path
from helpers.costs.memory import give_back_memory

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


@needs.linux("memory that is given back")
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


@pytest.mark.parametrize("framework", ["keras", "tensorflow"])
def test_what_a_framework_takes_along_can_be_imported_later(framework: str) -> None:
    code = f"""
import gc, sys
from helpers.costs.channel import TAKEN_ALONG, import_alone

import_alone("{framework}")
print("{framework}" in sys.modules, set(TAKEN_ALONG) & set(sys.modules) - {{"{framework}"}})
print(gc.isenabled(), gc.get_freeze_count() > 100_000)
import keras, matplotlib, pandas, sklearn
import_alone("{framework}")
print(pandas is sys.modules["pandas"], sklearn is sys.modules["sklearn"])
rows = pandas.DataFrame([[1.0, 2.0]]).to_numpy()
print(keras.Sequential([keras.layers.Flatten()]).predict_on_batch(rows))
"""
    lines = run_in_fresh_process(code).splitlines()
    assert lines[-4:] == ["True set()", "True True", "True True", "[[1. 2.]]"]
