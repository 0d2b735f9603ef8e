"""Results as they come: who is woken when, and what ends the wait."""

from __future__ import annotations

from typing import Any

import pytest

from concurra.as_completed import CompletionReader, as_completed
from concurra.events import Event
from concurra.tasks import Task
from tests.unit.support import make, success


class Life:
    """A run in which tasks have ended, one more with each wake of its reader."""

    def __init__(self, *labels: str) -> None:
        self.ended = [make(label) for label in labels]
        for number, task in enumerate(self.ended):
            task.outcome = success(number)
        self.total = len(labels)
        self.recorded = 0
        self.log: list[str] = []
        self.error: BaseException | None = None
        self.refusal: Exception | None = None
        self.in_background = True

    def conduct(self, broken: Any, step: Any) -> None:
        """Take a step; before that another task has ended."""
        try:
            if self.error is not None:
                raise self.error
            self.recorded = min(self.recorded + 1, self.total)
            refusal = step()
        except BaseException:
            self.log.append("broken")
            raise
        if refusal is not None:
            raise refusal

    def attach(self, reader: Any) -> Exception | None:
        self.log.append("attached")
        self.recorded = 0
        return self.refusal

    def detach(self, reader: Any) -> None:
        self.log.append("detached")

    def wait(self, broken: Any) -> None:
        self.log.append("waited")


def take(task: Task) -> Any:
    return None if task.outcome is None else {"result": task.outcome.value}


def loop(life: Any, taking: Any = take) -> Any:
    return as_completed(life, taking, lambda error: (print, print))


def an_event() -> Event:
    return Event("end", 0.0, make(1), 1)


def test_only_who_waits_is_woken() -> None:
    """Once for each time that it has said so."""
    woken: list[int] = []
    reader = CompletionReader(lambda: woken.append(1))
    reader.read(an_event())
    assert woken == []
    reader.waiting = True
    reader.read(an_event())
    reader.read(an_event())
    assert woken == [1] and not reader.waiting


def test_who_is_awake_already_is_let_be() -> None:
    """Or whose loop has been closed."""

    def wake() -> None:
        raise RuntimeError

    reader = CompletionReader(wake)
    reader.waiting = True
    reader.read(an_event())
    assert not reader.waiting


def test_it_holds_nobody_up() -> None:
    """Whoever ends a task may tell it."""
    assert CompletionReader(print).quick(an_event())


def test_each_result_in_the_order_of_ending() -> None:
    """Then the end of the run is awaited, and nobody need fetch it any more."""
    life = Life("a", "b", "c")
    assert list(loop(life)) == [(each, {"result": n}) for n, each in enumerate("abc")]
    assert life.log == ["attached", "detached", "waited"]
    assert not life.in_background


def test_what_somebody_else_has_taken_is_passed_over() -> None:
    """Two loops share what there is."""
    life = Life("a", "b", "c")
    found = loop(life, lambda task: None if task.label == "b" else take(task))
    assert [label for label, _ in found] == ["a", "c"]


def test_to_leave_it_leaves_the_run_at_work() -> None:
    """Nothing is awaited or ended."""
    life = Life("a", "b")
    found = loop(life)
    assert next(found)[0] == "a"
    found.close()
    assert life.log == ["attached", "detached"] and life.in_background


def test_what_breaks_it_breaks_the_run() -> None:
    """Wherever it strikes while the next result is fetched."""
    life = Life("a", "b")
    found = loop(life)
    next(found)
    life.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        next(found)
    assert life.log == ["attached", "broken", "detached"]


def test_who_cannot_wait_is_told_so() -> None:
    """A task of the run, for one; the run goes on."""
    life = Life("a")
    life.refusal = ValueError("no")
    with pytest.raises(ValueError, match="no"):
        next(loop(life))
    assert "broken" not in life.log
