"""Threads that serve slots: what they do when another one has come for theirs."""

from __future__ import annotations

import threading
from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest

from concurra.engine.serving import Serving
from concurra.engine.slots import AT_WORK, PARKED, Slot
from concurra.outcomes import SUCCESS, Outcome
from concurra.tasks import Call, Task


class Served(Serving):
    """Serves one slot, of which another thread may take the next task.

    :param overtaken: whether that happens in the first visit, as this thread wakes up
        late after a decision that was cut short.
    """

    def __init__(self, overtaken: bool) -> None:
        super().__init__()
        self.begun: list[Any] = []
        self.slot = Slot()
        self.slot.state = AT_WORK
        self.slot.claim = "mine"
        self.slot.task, *self.left = [Task(name, Call(print)) for name in "abc"]
        self._overtaken = overtaken
        state: Any = SimpleNamespace(
            effects=deque(), come=self._say_parked, timed=False
        )
        state.deadline = lambda slot, task: None
        self._state = state
        self._clock = lambda: 0.0
        self._events: Any = SimpleNamespace(unread=False)
        self._decisions: Any = SimpleNamespace(
            visit=self._visit, make=lambda decision, *args: decision(*args)
        )
        self._threads: Any = SimpleNamespace(start_soon=self._start_soon)
        self.started: list[Any] = []

    def _visit(self, slot: Slot) -> None:
        slot.task = slot.following = self.left.pop(0) if self.left else None
        if self._overtaken:
            slot.claim = "another's"

    def _say_parked(self, slot: Slot, claim: object, now: float) -> tuple[int, None]:
        return PARKED, None

    def _start_soon(self, target: Any, *args: Any) -> None:
        self.started.append((target, args))

    def _perform(self) -> None:
        pass

    def begin(self, job: Any, note: Any) -> Outcome:
        assert self.slot.task is not None
        self.begun.append(self.slot.task.label)
        return Outcome(SUCCESS, "thread")


def a_worker(serving: Served, **attributes: Any) -> Any:
    return SimpleNamespace(
        begin=serving.begin, remote=False, unreaped=False, **attributes
    )


@pytest.mark.parametrize(
    ("overtaken", "begun"), [(False, ["a", "b", "c"]), (True, ["a"])]
)
def test_a_thread_leaves_a_slot_for_which_another_has_come(
    overtaken: bool, begun: list[str]
) -> None:
    """What that has taken is done by one of them."""
    serving = Served(overtaken)
    serving.slot.worker = a_worker(serving)
    serving.slot.handed.append(serving.slot.task)  # type: ignore[arg-type]
    serving._work(serving.slot)
    assert serving.begun == begun


@pytest.mark.parametrize(
    ("overtaken", "begun"), [(False, ["b", "c"]), (True, [])], ids=["alone", "late"]
)
def test_so_does_one_that_brings_the_end_of_a_job(
    overtaken: bool, begun: list[str]
) -> None:
    """It lets the slot come, which finds out whether there is something to do."""
    serving = Served(overtaken)
    serving.slot.worker = a_worker(serving, is_quick=lambda job: True)
    next(serving.slot.tickets)  # `begin` has returned
    serving._serving[threading.get_ident()] = serving.slot
    serving._done(serving.slot, Outcome(SUCCESS, "process"), True)
    assert serving.begun == begun
    assert serving.started == [(serving._serve, (serving.slot,))]
