"""Slots: one state at a time, legal moves only, and counts that agree."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concurra.engine.slots import (
    AT_WORK,
    COMING,
    GONE,
    NEXT,
    PARKED,
    STOPPING,
    Slot,
    Slots,
)

STATES = (COMING, PARKED, AT_WORK, STOPPING, GONE)

#: How a new slot comes to each state.
WAYS = {
    COMING: [],
    PARKED: [PARKED],
    AT_WORK: [AT_WORK],
    STOPPING: [AT_WORK, STOPPING],
    GONE: [GONE],
}


def in_state(slots: Slots, state: int) -> Slot:
    slot = slots.new()
    for step in WAYS[state]:
        slots.move(slot, step)
    return slot


def check(slots: Slots) -> None:
    """What is counted is what there is."""
    states = [slot.state for slot in slots.all]
    assert slots.count == [states.count(state) for state in STATES]
    assert GONE not in states
    assert set(slots.parked) == {slot for slot in slots.all if slot.state == PARKED}
    assert slots.staff == sum(state < STOPPING for state in states)
    assert slots.busy == sum(state != PARKED for state in states)


@pytest.mark.parametrize(("old", "new"), list(itertools.product(STATES, repeat=2)))
def test_every_move_is_legal_or_refused(old: int, new: int) -> None:
    """A refused move changes nothing."""
    slots = Slots()
    slot = in_state(slots, old)
    if new in NEXT[old]:
        slots.move(slot, new)
        assert slot.state == new
    else:
        with pytest.raises(AssertionError, match=f"from {old} to {new}"):
            slots.move(slot, new)
        assert slot.state == old
    check(slots)


def test_gone_is_legal_from_every_state_and_final() -> None:
    """A slot may die at any moment."""
    assert [GONE in NEXT[state] for state in STATES] == [True] * 4 + [False]
    assert NEXT[GONE] == ()


def test_a_stop_never_goes_back() -> None:
    """So it hits no other task."""
    assert NEXT[STOPPING] == (GONE,)


def test_the_last_one_parked_is_the_next_to_be_woken() -> None:
    """Its thread, and its process, are the warmest."""
    slots = Slots()
    first, second, third = (in_state(slots, PARKED) for _ in range(3))
    assert list(slots.parked) == [first, second, third]
    slots.move(second, COMING)
    slots.move(second, PARKED)
    assert list(slots.parked) == [first, third, second]


@given(st.data())
def test_counts_agree_after_any_moves(data: st.DataObject) -> None:
    """Whatever moves are made; and they can be made anew at any moment."""
    slots = Slots()
    every: list[Slot] = []
    for _ in range(data.draw(st.integers(1, 40))):
        movable = [slot for slot in every if NEXT[slot.state]]
        if not movable or data.draw(st.booleans()):
            every.append(slots.new())
        else:
            slot = data.draw(st.sampled_from(movable))
            slots.move(slot, data.draw(st.sampled_from(NEXT[slot.state])))
        check(slots)
    counted, parked = list(slots.count), list(slots.parked)
    slots.count, slots.parked, slots.staff = [9] * 5, {}, -1
    slots.rebuild()
    check(slots)
    assert slots.count == counted
    assert set(slots.parked) == set(parked)
