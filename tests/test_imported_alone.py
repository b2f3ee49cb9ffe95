"""A framework that is imported without what it only takes along."""

import pytest

from helpers.lessons.fresh_process import run_in_fresh_process


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
