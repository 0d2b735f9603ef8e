"""How many slots there may be, and what becomes of a task that no worker could do."""

from __future__ import annotations

import pytest

from concurra.engine.limit import (
    AGAIN,
    AGAIN_ONCE,
    LEAVE,
    LONG,
    MANY,
    SETTLE,
    STEP,
    Limit,
)
from concurra.engine.slots import GONE, Slot, Slots
from concurra.outcomes import LOST, Outcome
from tests.unit.scripted import unable
from tests.unit.support import failure, make, success


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
    limit.lower(limit.now - 1)
    limit.lower(limit.now - 1)
    assert limit.now == 1
    for now in (2, 3, 3):
        limit.gone(stopped=True, last=False)
        assert limit.now == now


def test_when_all_have_left_there_is_room_for_one() -> None:
    """Who is alone has all that there is."""
    limit = Limit(2)
    limit.lower(limit.now - 1)
    limit.gone(stopped=False, last=True)
    assert limit.now == 1, "there is room as it is"
    limit.lower(limit.now - 1)
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


def rising(ended: int = 0, **options: bool) -> Limit:
    """Two of eight at first, looked at three times while so many tasks ended a step."""
    limit, look = Limit(8, 2), None
    for number in range(3):
        seen = {"wanted": True, "starting": False, **options}
        look = limit.look(look, number * STEP, number * ended, **seen)
    return limit


def test_it_doubles_while_that_does_not_do() -> None:
    """Two looks are compared; the one after a rise is the first again."""
    limit, look, found = Limit(9, 2), None, []
    while limit.rises:
        look = limit.look(look, 0.5 * len(found), 0, True, False)
        found.append(limit.now)
    assert found == [2, 2, 4, 4, 8, 8, 9]
    assert limit.look(look, 9.0, 0, True, False) is None, "there is nothing to look for"


def test_all_at_once_where_nothing_is_said_or_all_is_allowed() -> None:
    """There is nothing to look for then."""
    for limit in (Limit(8), Limit(8, 8), Limit(8, 99)):
        assert limit.now == 8 and not limit.rises


def test_it_rises_if_few_tasks_end() -> None:
    """If many do, it is handing them out that takes the time."""
    enough = round(MANY * STEP)
    assert rising(ended=enough - 1).now == 4
    assert rising(ended=enough + 1).now == 2


def test_it_does_not_rise_while_a_worker_is_on_its_way() -> None:
    """It may be all that is needed; but it may never arrive."""
    assert rising(starting=True).now == 2
    limit, look = Limit(8, 2), None
    for moment in (0.0, STEP, 2 * STEP, LONG):
        look = limit.look(look, moment, 0, True, True)
        assert limit.now == 2
    limit.look(look, LONG + STEP, 0, True, True)
    assert limit.now == 4


def test_what_ends_while_workers_start_is_not_compared() -> None:
    """It would be few, however many end once they are ready."""
    limit, look = Limit(8, 2), None
    for moment in (0.0, STEP, 100 * STEP):
        look = limit.look(look, moment, 0, True, True)
    ready = limit.look(look, 101 * STEP, 1, True, False)
    assert limit.look(ready, 102 * STEP, 9 + round(MANY * STEP), True, False)
    assert limit.now == 2
    limit.look(ready, 102 * STEP, 1, True, False)
    assert limit.now == 4


def test_it_is_not_looked_at_while_no_task_waits() -> None:
    """One look may find so: the next task may be a moment away."""
    limit = Limit(8, 2)
    first = limit.look(None, 0.0, 0, False, False)
    assert first is not None and not first.counts
    assert limit.look(first, STEP, 0, False, False) is None
    again = limit.look(first, STEP, 0, True, False)
    assert again is not None and again.counts
    gap = limit.look(again, 2 * STEP, 0, False, False)
    assert gap is not None and not gap.counts, "tasks have to wait at both"
    assert limit.now == 2


def test_a_want_lets_all_others_try() -> None:
    """It may have passed for them; if not, each lowers the limit."""
    limit = Limit(8, 2)
    limit.gone(stopped=True, last=False)
    assert limit.now == 2, "the stopped one has left no room but its own"
    limit.lower(1)
    assert limit.now == 7 and not limit.rises
    limit.lower(6)
    assert limit.now == 6


def test_no_want_is_final_while_others_are_to_come() -> None:
    """Who is alone leaves, and the next one finds out whether it has passed."""
    slots, (slot,) = slots_of(1)
    limit, task = Limit(8, 1), make("a")
    slot.departures = limit.departures
    assert not limit.is_final(slot, slots)
    assert limit.decide(slot, task, unable(), slots) == LEAVE
    limit.lower(0)
    assert limit.now == 7
    assert limit.is_final(slot, slots)
    assert limit.decide(slot, task, unable(), slots) == SETTLE


def test_it_can_rise_at_once() -> None:
    """If nobody can look."""
    limit = Limit(8, 2)
    limit.rise()
    assert limit.now == 8 and not limit.rises
    limit.lower(3)
    limit.rise()
    assert limit.now == 3, "not beyond what could be had"


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
    assert limit.decide(slot, task, unable(), slots) == LEAVE
    other.leaving = True
    assert limit.decide(slot, task, unable(), slots) == LEAVE
    other.leaving, other.came = False, False
    assert limit.decide(slot, task, unable(), slots) == SETTLE, "it may not arrive"


def test_who_lacks_a_worker_tries_again_if_one_has_gone_meanwhile() -> None:
    """It looked a moment too early."""
    slots, (slot, _) = slots_of(2)
    limit, task = Limit(2), make("a")
    slot.departures = limit.departures
    limit.gone(stopped=False, last=False)
    assert limit.decide(slot, task, unable(), slots) == AGAIN
    slot.departures = limit.departures
    assert limit.decide(slot, task, unable(), slots) == LEAVE
