"""The state of a run without the shell around it: what happens, in short words."""

from __future__ import annotations

import sys
from collections.abc import Hashable
from typing import Any, Callable

from concurra.engine.effects import ABANDON, DELAY, FINISH
from concurra.engine.slots import AT_WORK, COMING, PARKED, STOPPING, Slot
from concurra.engine.state import RunState
from concurra.events import Events
from concurra.outcomes import NOTHING, AtHand, Outcome
from concurra.plan.plan import Plan
from concurra.tasks import Task
from tests.unit.support import checked, error_of, labels, status_of, success


class Hand:
    """A worker as the state sees it: it can be dismissed, and says what is at hand."""

    def __init__(self) -> None:
        self.at_hand = NOTHING
        self.unreaped = False
        self.dismissed = False
        self.starting = False

    def is_starting(self) -> bool:
        return self.starting

    def dismiss(self) -> AtHand:
        self.dismissed = True
        return self.at_hand


class Replay:
    """A state, and short words for what happens to it."""

    def __init__(self, *tasks: Task, **options: Any) -> None:
        self.tasks = {task.label: task for task in tasks}
        self.events = Events(len(tasks))
        options.setdefault("limit", 2)
        options = {"grace": 1.0, **options}
        self.state = self.make(checked(*tasks), self.events, **options)
        self.slots: list[Slot] = []

    def make(self, plan: Plan, events: Events, **options: Any) -> RunState:
        return RunState(plan, events, **options)

    def effects(self) -> list[tuple[Any, ...]]:
        """What is to be done, with slots as their numbers; it is done then."""
        found = []
        while self.state.effects:
            kind, slot, how = self.state.effects.popleft()
            if slot is not None and slot not in self.slots:
                self.slots.append(slot)
                slot.worker = Hand()  # type: ignore[assignment]
            how = how[0] if kind == DELAY else how  # the task, without the moment
            number = [] if slot is None else [self.slots.index(slot)]
            found.append((kind, *number, *([] if how is None else [how])))
        return found

    def open(self) -> list[tuple[Any, ...]]:
        assert self.state.open()
        self.state.call()
        return self.effects()

    def come(self, number: int, now: float = 0.0) -> Hashable:
        """A slot comes; the label of the task that it has then."""
        state, task = self.state.come(self.slots[number], object(), now)
        assert state == self.slots[number].state in (AT_WORK, PARKED)
        return None if task is None else task.label

    def begin(self, number: int, transcript: object = None) -> None:
        """The worker of a slot begins its job."""
        self.worker(number).at_hand = AtHand("thread", transcript)

    def end(self, number: int, outcome: Outcome, now: float = 0.0) -> Hashable:
        """The job of a slot comes to its outcome; the label of the next one."""
        slot = self.slots[number]
        slot.outcome, slot.moment = outcome, now
        self.state.ended(slot)
        return None if slot.following is None else slot.following.label

    def worker(self, number: int) -> Hand:
        worker: Any = self.slots[number].worker
        return worker  # type: ignore[no-any-return]

    def states(self) -> list[int]:
        return [slot.state for slot in self.slots]

    def statuses(self) -> dict[Hashable, str | None]:
        return {
            label: None if task.outcome is None else status_of(task)
            for label, task in self.tasks.items()
        }


class Struck(BaseException):
    """What a late timer raises."""


def struck_at(line: int, decision: Callable[[], object]) -> bool:
    """Make a decision; an exception strikes at a line; whether it came so far."""
    left = [line]

    def trace(frame: Any, event: str, arg: object) -> Any:
        if "/concurra/" not in frame.f_code.co_filename.replace("\\", "/"):
            return None
        if event == "line":
            left[0] -= 1
            if left[0] == 0:
                sys.settrace(None)
                raise Struck
        return trace

    sys.settrace(trace)
    try:
        decision()
    except Struck:
        pass
    finally:
        sys.settrace(None)
    return left[0] <= 0


def play_to_the_end(run: Replay) -> str:
    """Let everything that is to be done be done, in some order; how it ended."""
    finished = run.state.over
    for _ in range(100):
        for effect in run.effects():
            finished += effect[0] == FINISH
            if effect[0] == ABANDON:
                run.state.abandoned()
            elif effect[0] == DELAY:
                run.state.delay(effect[1], 1.0, 2.0)
                run.state.expire(3.0)
        for number, slot in enumerate(run.slots):
            if slot.state == AT_WORK:
                run.end(number, success(), 2.0)
            elif slot.state == COMING:
                run.come(number, 2.0)
            elif slot.state == STOPPING:
                run.state.gone(slot, 2.0)
        if not (run.state.effects or run.state.slots.busy):
            break
    assert finished >= 1
    assert labels(run.state.plan.ended) == list(
        dict.fromkeys(labels(run.state.plan.ended))
    )
    assert run.state.plan.remaining == 0 and run.events.ended == len(run.tasks)
    return repr(
        [
            (label, status_of(task), error_of(task), task.attempts, list(task.errors))
            for label, task in run.tasks.items()
        ]
    )
