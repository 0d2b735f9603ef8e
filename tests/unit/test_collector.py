"""The garbage collector: paused for many new objects, and never left paused."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from concurra.collector import MANY, collection_paused


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """Leaves the collector as it was."""
    enabled = gc.isenabled()
    gc.enable()
    yield
    (gc.enable if enabled else gc.disable)()


def test_many_objects_pause_it() -> None:
    """It comes by again when they have been made."""
    with collection_paused(MANY):
        assert not gc.isenabled()
    assert gc.isenabled()


def test_few_objects_do_not() -> None:
    """They are not worth touching what belongs to the whole program."""
    with collection_paused(MANY - 1):
        assert gc.isenabled()


def test_an_error_does_not_leave_it_paused() -> None:
    """Whatever becomes of the objects."""
    with pytest.raises(MemoryError):
        with collection_paused(MANY):
            raise MemoryError
    assert gc.isenabled()


def test_a_program_that_has_switched_it_off_keeps_it_off() -> None:
    """It is not for us to switch it on."""
    gc.disable()
    with collection_paused(MANY):
        pass
    assert not gc.isenabled()
