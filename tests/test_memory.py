"""Memory that nothing uses goes back to the operating system."""

import needs
from helpers.lessons.fresh_process import run_in_fresh_process

IN_A_FRESH_PROCESS = """
import gc
from pathlib import Path
from helpers.scorecard.reference import give_back_memory

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
