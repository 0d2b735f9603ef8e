"""How many slots there may be, and what becomes of a task that no worker could do."""

from __future__ import annotations

import pytest

from concurra.engine.shortage import AGAIN, AGAIN_ONCE, LEAVE, SETTLE, Limit
from concurra.engine.slots import GONE, Slot, Slots
from concurra.outcomes import LOST, UNAVAILABLE, Outcome
from tests.unit.support import failure, make, success


def lacking() -> Outcome:
    return Outcome(UNAVAILABLE, None, None, "OSError: no more processes")


def slots_of(count: int) -> tuple[Slots, list[Slot]]:
    """So many that have come."""
    slots = Slots()
    each = [slots.new() for _ in range(count)]
    for slot in each:
        slot.came = True
    return slots, each


def test_it_sinks_and_rises() -> None:
    """With each slot that leaves for want, and each that was stopped and has gone; not
    above what it was."""
    limit = Limit(3)
    assert limit.now == 3
    limit.lower()
    limit.lower()
    assert limit.now == 1
    for now in (2, 3, 3):
        limit.gone(stopped=True, last=False)
        assert limit.now == now


def test_when_all_have_left_there_is_room_for_one() -> None:
    """Who is alone has all that there is."""
    limit = Limit(2)
    limit.lower()
    limit.gone(stopped=False, last=True)
    assert limit.now == 1, "there is room as it is"
    limit.lower()
    limit.gone(stopped=False, last=False)
    assert limit.now == 0
    limit.gone(stopped=False, last=True)
    assert limit.now == 1


def test_a_want_is_final_for_who_is_alone_and_was() -> None:
    """Others hold some of what is lacking, or have held it a moment ago."""
    slots, (slot, other) = slots_of(2)
    limit = Limit(2)
    assert not limit.is_final(slot, slots)
    slots.move(other, GONE)
    assert limit.is_final(slot, slots)
    limit.gone(stopped=False, last=False)
    assert not limit.is_final(slot, slots)


@pytest.mark.parametrize("outcome", [success(), failure(), Outcome.lost("process", "")])
def test_what_has_begun_is_settled(outcome: Outcome) -> None:
    """Whatever became of it."""
    slots, (slot, _) = slots_of(2)
    assert Limit(2).decide(slot, make("a"), outcome, slots) == SETTLE


def test_what_was_lost_before_it_began_is_tried_again_once() -> None:
    """Each task for itself."""
    slots, (slot,) = slots_of(1)
    limit, lost = Limit(1), Outcome(LOST, None, None, "RuntimeError: lost")
    first, second = make("a"), make("b")
    assert limit.decide(slot, first, lost, slots) == AGAIN_ONCE
    limit.note_again(first)
    assert limit.decide(slot, first, lost, slots) == SETTLE
    assert limit.decide(slot, second, lost, slots) == AGAIN_ONCE


def test_who_lacks_a_worker_leaves_the_task_to_others() -> None:
    """Those that leave themselves will make room; who has not come may never."""
    slots, (slot, other) = slots_of(2)
    limit, task = Limit(2), make("a")
    slot.departures = limit.departures
    assert limit.decide(slot, task, lacking(), slots) == LEAVE
    other.leaving = True
    assert limit.decide(slot, task, lacking(), slots) == LEAVE
    other.leaving, other.came = False, False
    assert limit.decide(slot, task, lacking(), slots) == SETTLE, "it may not arrive"


def test_who_lacks_a_worker_tries_again_if_one_has_gone_meanwhile() -> None:
    """It looked a moment too early."""
    slots, (slot, _) = slots_of(2)
    limit, task = Limit(2), make("a")
    slot.departures = limit.departures
    limit.gone(stopped=False, last=False)
    assert limit.decide(slot, task, lacking(), slots) == AGAIN
    slot.departures = limit.departures
    assert limit.decide(slot, task, lacking(), slots) == LEAVE
