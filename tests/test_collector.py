"""The garbage collector rests during an import, and then works as before."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from types import ModuleType

import pytest

from helpers.imports import collector_at_rest, quiet_import


@pytest.fixture(autouse=True)
def _collector_as_before() -> Iterator[None]:
    collects = gc.isenabled()
    yield
    gc.unfreeze()
    (gc.enable if collects else gc.disable)()


Rest = Callable[[], AbstractContextManager[None]]
either = pytest.mark.parametrize("rest", [collector_at_rest, quiet_import])


@either
def test_it_rests_and_what_was_made_is_kept(rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    gc.enable()
    before = gc.get_freeze_count()
    with rest():
        assert not gc.isenabled()
        made = [[] for _ in range(1000)]
        monkeypatch.setitem(sys.modules, "imported_now", ModuleType("imported_now"))
    assert gc.isenabled()
    assert gc.get_freeze_count() - before >= len(made)


@either
def test_what_is_in_memory_is_freed_later_when_nothing_new_was_imported(rest: Rest) -> None:
    class Knot:
        def __init__(self) -> None:
            self.itself = self

    knot = Knot()
    seen = weakref.ref(knot)
    with rest():
        import json  # noqa: F401
    del knot
    gc.collect()
    assert seen() is None


def test_it_works_again_when_the_import_fails() -> None:
    gc.enable()
    with pytest.raises(ImportError), collector_at_rest():
        raise ImportError
    assert gc.isenabled()


def test_one_that_was_switched_off_stays_so() -> None:
    gc.disable()
    with collector_at_rest():
        pass
    assert not gc.isenabled()
