"""Moments of a run: what is due, what is stale, and when somebody is to look."""

from __future__ import annotations

from collections import deque
from typing import Any

from concurra.engine.deadlines import (
    ATTEMPT,
    GRACE,
    RETRY,
    RUN,
    TICK,
    TIMEOUT,
    Deadlines,
)
from concurra.engine.effects import AT
from concurra.engine.slots import AT_WORK, COMING, GONE, STOPPING, Slot
from concurra.engine.timers import FOREVER
from tests.unit.support import make, success


class Replay:
    """Moments, and what the timer was told."""

    def __init__(self) -> None:
        self.effects: deque[Any] = deque()
        self.moments = Deadlines(self.effects)

    def told(self) -> list[float]:
        """Since it was last asked."""
        found = [how for kind, _, how in self.effects]
        assert {kind for kind, *_ in self.effects} <= {AT}
        self.effects.clear()
        return found

    def look(self, now: float) -> list[Any]:
        due = list(self.moments.due(now))
        self.moments.look_on()
        return due


def test_the_timer_is_told_of_what_comes_first() -> None:
    """Not of what comes later, nor of what never comes."""
    run = Replay()
    for moment in (5.0, 7.0, 3.0, FOREVER, 3.0):
        run.moments.add(RUN, None, moment)
    assert run.told() == [5.0, 3.0] and run.moments.next == 3.0


def test_what_is_due_comes_in_order() -> None:
    """By the moment; then as it was added."""
    run = Replay()
    tasks = [make(number) for number in range(3)]
    for task, moment in zip(tasks, (2.0, 1.0, 2.0)):
        task.attempts = 1
        run.moments.add(RETRY, task, moment, 1)
    assert run.look(0.5) == []
    assert run.look(2.0) == [(RETRY, tasks[1]), (RETRY, tasks[0]), (RETRY, tasks[2])]
    assert run.look(9.0) == [] and run.moments.next == FOREVER


def test_nobody_is_told_while_somebody_looks() -> None:
    """Who does what is due sees by itself what has come to it."""
    run = Replay()
    run.moments.add(RUN, None, 1.0)
    run.told()
    for _ in run.moments.due(1.0):
        run.moments.add(RUN, None, 2.0)
    assert run.told() == []
    run.moments.look_on()
    assert run.moments.next == 2.0


def test_the_timer_can_be_told_once_more() -> None:
    """If it may have missed it."""
    run = Replay()
    run.moments.add(RUN, None, 4.0)
    run.told()
    run.moments.rebuild()
    run.moments.renew()
    assert run.told() == [4.0]
    empty = Replay()
    empty.moments.renew()
    assert empty.told() == [] and empty.moments.next == FOREVER


def test_a_timeout_is_stale_when_the_task_has_ended_or_began_anew() -> None:
    """A task that was given back has all of its time again."""
    for change in ({"outcome": success()}, {"started": None}, {"started": 2.0}):
        run, task = Replay(), make("a")
        task.started = 1.0
        run.moments.add(TIMEOUT, task, 5.0, 1.0)
        for name, value in change.items():
            setattr(task, name, value)
        assert run.look(5.0) == []


def test_a_retry_is_stale_when_the_task_has_ended_or_was_tried() -> None:
    """Its moment was another attempt's."""
    for change in ({"outcome": success()}, {"attempts": 2}):
        run, task = Replay(), make("a")
        task.attempts = 1
        run.moments.add(RETRY, task, 5.0, 1)
        for name, value in change.items():
            setattr(task, name, value)
        assert run.look(5.0) == []


def test_an_attempts_moment_is_stale_when_its_slot_is_at_something_else() -> None:
    """Or at nothing."""
    task = make("a")
    for at, began in ((None, 1.0), (make("b"), 1.0), (task, 2.0)):
        run, slot = Replay(), Slot()
        slot.task, slot.began = at, began
        run.moments.add(ATTEMPT, slot, 5.0, (task, 1.0))
        assert run.look(5.0) == []
    slot.task, slot.began = task, 1.0
    run.moments.add(ATTEMPT, slot, 5.0, (task, 1.0))
    assert run.look(5.0) == [(ATTEMPT, slot)]


def test_a_grace_period_is_stale_when_the_stop_went_on() -> None:
    """Or the slot has gone."""
    for state, due in ((GONE, 5.0), (AT_WORK, 5.0), (COMING, 5.0), (STOPPING, 6.0)):
        run, slot = Replay(), Slot()
        slot.state, slot.due = state, due
        run.moments.add(GRACE, slot, 5.0, 5.0)
        assert run.look(5.0) == []
    slot.state, slot.due = STOPPING, 5.0
    run.moments.add(GRACE, slot, 5.0, 5.0)
    assert run.look(5.0) == [(GRACE, slot)]


def test_the_runs_own_moment_is_never_stale() -> None:
    """Whoever does it looks whether there is anything left to end."""
    run = Replay()
    run.moments.add(RUN, None, 5.0)
    assert run.look(5.0) == [(RUN, None)]


def test_what_is_stale_does_not_pile_up() -> None:
    """A run of any length keeps the moments of what is at work."""
    run = Replay()
    for number in range(1000):
        task = make(number)
        task.started = float(number)
        run.moments.add(TIMEOUT, task, number + 5.0, float(number))
        task.outcome = success()
    assert len(run.moments._moments._heap) == 1
    assert run.look(2000.0) == []


def test_a_tick_comes_once_and_can_be_moved() -> None:
    """Whoever hears it asks for the next one."""
    run = Replay()
    run.moments.tick(5.0)
    run.moments.tick(3.0)
    assert run.told() == [5.0, 3.0]
    assert run.look(3.0) == [(TICK, None)] and run.moments.next == FOREVER
    run.moments.tick(9.0)
    run.moments.tick(FOREVER)
    assert run.look(9.0) == []
