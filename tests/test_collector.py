"""The garbage collector rests during an import, and then works as before."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from helpers.collector import collector_at_rest
from helpers.quiet import quiet_import


@pytest.fixture(autouse=True)
def _collector_as_before() -> Iterator[None]:
    collects = gc.isenabled()
    yield
    gc.unfreeze()
    (gc.enable if collects else gc.disable)()


@pytest.mark.parametrize("rest", [collector_at_rest, quiet_import])
def test_it_rests_and_what_was_made_is_kept(
    rest: Callable[[], AbstractContextManager[None]],
) -> None:
    gc.enable()
    before = gc.get_freeze_count()
    with rest():
        assert not gc.isenabled()
        made = [[] for _ in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() - before >= len(made)


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
