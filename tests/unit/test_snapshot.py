"""A run at one moment: what is at work, and how far it has come."""

from __future__ import annotations

from typing import Any

import pytest

from concurra.engine.slots import AT_WORK, COMING, STOPPING, Slot
from concurra.engine.snapshot import AtWork, Snapshot, at_work
from concurra.outcomes import NOTHING, AtHand
from concurra.summary import rounded, status
from tests.unit.support import make, success


class Busy:
    """A worker, as far as somebody looks at it."""

    def __init__(self, at_hand: AtHand = NOTHING) -> None:
        self.at_hand = at_hand


def slot_at(
    label: Any, started: float, at_hand: AtHand = NOTHING, state: int = AT_WORK
) -> Slot:
    slot = Slot()
    slot.state = state
    slot.worker = Busy(at_hand)  # type: ignore[assignment]
    slot.task = make(label)
    slot.task.started, slot.task.attempts = started, 2
    return slot


def taken(
    ended: int = 0,
    restored: int = 0,
    labels: tuple[Any, ...] = (),
    quiet: float = 0.0,
    **counts: int,
) -> Snapshot:
    """Ten seconds after the start of a run."""
    states = ("waiting", "ready", "running", "successful", "failed", "terminated")
    whole = {**dict.fromkeys(states, 0), "successful": ended, **counts}
    tasks = [AtWork(label, "task", 1, 9.0 - n) for n, label in enumerate(labels)]
    return Snapshot("Nightly", 10.0, whole, tasks, restored, quiet)


def test_the_repr_says_how_far_it_has_come() -> None:
    """In one line."""
    told = "<Snapshot 'Nightly' after 10.0 sec: 5 of 8 ended, 2 at work>"
    assert repr(taken(4, failed=1, running=3, labels=("a", "b"))) == told


def test_what_is_at_work_comes_in_the_order_of_its_start() -> None:
    """With what is known of each."""
    output = ["so far"]
    slots = [
        slot_at("late", 8.0),
        slot_at("early", 2.0, AtHand("subprocess", output)),
        slot_at("middle", 5.0),
    ]
    found = at_work(slots, 10.0)
    assert [each.label for each in found] == ["early", "middle", "late"]
    first = found[0]
    assert (first.name, first.attempt, first.seconds) == ("nothing", 2, 8.0)
    assert (first.mode, first.output) == ("subprocess", output)
    assert repr(first) == "<AtWork 'early', 8.0 sec>"
    assert first.items is None


@pytest.mark.parametrize("state", [COMING, STOPPING])
def test_what_is_not_at_work_is_not_told(state: int) -> None:
    """Nor a slot without a task, or without a worker."""
    idle, alone, over = slot_at("a", 1.0), slot_at("a", 1.0), slot_at("a", 1.0)
    idle.task = alone.worker = None
    assert over.task is not None
    over.task.outcome = success()
    assert at_work([slot_at("a", 1.0, state=state), idle, alone, over], 2.0) == []


def test_what_has_gone_on_meanwhile_is_not_told() -> None:
    """What is at hand then may be another task's."""
    slot = slot_at("a", 1.0)

    class Fast:
        @property
        def at_hand(self) -> AtHand:
            slot.task = make("b")
            return NOTHING

    slot.worker = Fast()  # type: ignore[assignment]
    assert at_work([slot], 2.0) == []


def test_the_rest_is_reckoned_from_what_has_ended() -> None:
    """Not from what was restored, which took no time; None if that was all."""
    assert taken(5, ready=15).rest == 30.0
    assert taken(7, restored=2, ready=15).rest == 30.0
    assert taken(3, failed=1, terminated=1, ready=15).rest == 30.0
    assert taken(0, ready=15).rest is None
    assert taken(2, restored=2, ready=15).rest is None
    assert taken(5).rest == 0.0


def test_there_is_no_rest_when_nothing_ends_for_longer_than_that() -> None:
    """The last ones take longer than those before, and nobody knows how much."""
    assert taken(5, ready=15, quiet=10.0).rest == 30.0
    assert taken(100, running=9, quiet=0.8).rest == pytest.approx(0.9)
    assert taken(100, running=9, quiet=1.0).rest is None
    assert "left" not in status(taken(100, running=9, quiet=1.0))
    assert taken(5, quiet=10.0).rest == 0.0


def test_a_line_tells_what_is_at_work() -> None:
    """The longest by its label; an estimate as soon as there is one."""
    assert status(taken(0, labels=("load", "other"), running=2, ready=8)) == (
        "Nightly after 10.0 sec: 0 of 10 tasks have ended, 0 failed, 2 at work "
        "(longest: load, 9.0 sec)"
    )
    assert status(taken(4, failed=1, terminated=2, waiting=100)) == (
        "Nightly after 10.0 sec: 7 of 107 tasks have ended, 1 failed, 2 terminated, "
        "0 at work, about 2.4 min left"
    )


def test_a_label_in_the_line_is_cut_and_harmless() -> None:
    """As in the table of the report."""
    line = status(taken(labels=("\x1b[2J\n" + "x" * 5000,), running=1))
    assert "\\x1b[2J\\n" in line and "\n" not in line and len(line) < 200


def test_durations_have_one_decimal() -> None:
    """In minutes beyond one."""
    assert [rounded(each) for each in (0, 0.04, 60, 61, 7200)] == [
        *("0.0 sec", "0.0 sec", "60.0 sec", "1.0 min", "120.0 min"),
    ]
