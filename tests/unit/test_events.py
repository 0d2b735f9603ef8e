"""Events: facts in order, read outside of the lock by those who want them."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import pytest

from concurra import events
from concurra.events import Event, Events
from concurra.outcomes import SUCCESS, Outcome
from concurra.tasks import Task
from tests.unit.replay import struck_at
from tests.unit.support import failure, make, success

BOUND = 10.0


class Reader(events.Reader):
    """Writes down what it is told."""

    def __init__(self, step: int = 0, faults: bool = False) -> None:
        self.step = step
        self.faults = faults
        self.told: list[tuple[Any, int]] = []

    def read(self, event: Event) -> None:
        self.told.append((event.task.label, event.ended))


def ended(*outcomes: Outcome) -> list[Task]:
    tasks = []
    for number, outcome in enumerate(outcomes, 1):
        task = make(number)
        task.outcome = outcome
        tasks.append(task)
    return tasks


def numbers(reader: Reader) -> list[int]:
    return [number for _, number in reader.told]


@pytest.mark.parametrize(
    ("step", "total", "told"),
    [(1, 3, [1, 2, 3]), (2, 5, [2, 4, 5]), (10, 4, [4]), (0, 4, [])],
)
def test_a_reader_is_told_every_step_and_the_last(
    step: int, total: int, told: list[int]
) -> None:
    """And nothing else."""
    reader = Reader(step)
    events = Events(total, [reader])
    tasks = ended(*[success()] * total)
    for count in range(1, total + 1):
        events.record(tasks[:count], 0.0)
        events.tell()
    assert numbers(reader) == told


def test_faults_and_warnings_are_told() -> None:
    """Successes and what others have caused are not."""
    warned = Outcome(SUCCESS, "thread", warning="careful")
    reader = Reader(faults=True)
    events = Events(4, [reader])
    tasks = ended(success(), failure(), Outcome.stopped(), warned)
    events.record(tasks, 0.0)
    events.tell()
    assert reader.told == [(2, 2), (4, 4)]


def test_what_nobody_wants_is_not_kept() -> None:
    """A run that nobody follows keeps no list."""
    events = Events(1000, [Reader(faults=True)])
    events.record(ended(*[success()] * 1000), 0.0)
    assert not events.unread and not events.waiting
    assert events.ended == 1000


def test_nothing_is_recorded_twice() -> None:
    """Whoever records goes on where the last one has ended."""
    reader = Reader(step=1)
    events = Events(3, [reader])
    tasks = ended(success(), success(), success())
    for count in (1, 1, 3, 2, 3):
        events.record(tasks[:count], 0.0)
    events.tell()
    assert numbers(reader) == [1, 2, 3]


def test_readers_of_a_group_read_each_fact_together() -> None:
    """In the order in which they were named."""
    order: list[str] = []

    class Named(Reader):
        def __init__(self, name: str) -> None:
            super().__init__(step=1)
            self.name = name

        def read(self, event: Event) -> None:
            order.append(f"{self.name}{event.ended}")

    events = Events(2, [Named("a"), Named("b")])
    events.record(ended(success(), success()), 0.0)
    events.tell()
    assert order == ["a1", "b1", "a2", "b2"]


def test_each_reader_that_may_block_costs_one_thread() -> None:
    """Who has begun to read has one more thread tell, if others wait; nobody else."""
    many = 8
    together = threading.Barrier(many)
    asked: list[threading.Thread] = []

    class Meeting(Reader):
        def read(self, event: Event) -> None:
            together.wait(BOUND)
            super().read(event)

    def elsewhere() -> None:
        thread = threading.Thread(target=events.tell, args=(elsewhere,))
        thread.start()
        asked.append(thread)
        thread.join(0.01)  # it may be faster than who has started it

    readers = [Meeting(step=1) for _ in range(many)]
    events = Events(3, *[[each] for each in readers])
    tasks = ended(success(), success(), success())
    events.record(tasks[:1], 0.0)
    events.tell(elsewhere)
    for thread in asked:  # it grows meanwhile
        thread.join(BOUND)
    assert [numbers(each) for each in readers] == [[1]] * many
    assert len(asked) <= many


class Blocking(Reader):
    """Blocks with the first fact."""

    def __init__(self) -> None:
        super().__init__(step=1)
        self.reached, self.leave = threading.Event(), threading.Event()

    def read(self, event: Event) -> None:
        self.reached.set()
        assert self.leave.wait(BOUND)
        super().read(event)


def test_a_reader_that_blocks_holds_up_its_own_group_only() -> None:
    """The others read on, and it reads all that came meanwhile, in order."""
    blocking, other = Blocking(), Reader(step=1)
    events = Events(3, [blocking], [other])
    tasks = ended(success(), success(), success())
    events.record(tasks[:1], 0.0)
    thread = threading.Thread(target=events.tell)
    thread.start()
    assert blocking.reached.wait(BOUND)
    assert events.being_read and not events.is_reader()
    events.record(tasks, 0.0)
    events.tell()
    assert numbers(other) == [1, 2, 3]
    assert numbers(blocking) == []
    blocking.leave.set()
    thread.join(BOUND)
    assert numbers(blocking) == [1, 2, 3]
    assert not events.being_read


def test_a_reader_knows_that_it_is_one() -> None:
    """So that it does not wait for the end of the run."""
    seen: list[bool] = []

    class Asking(Reader):
        def read(self, event: Event) -> None:
            seen.append(events.is_reader())

    events = Events(1, [Asking(step=1)])
    events.record(ended(success()), 0.0)
    assert events.waiting and not events.is_reader()
    events.tell()
    assert seen == [True]
    assert not events.is_reader() and not events.waiting


def test_a_reader_that_raises_loses_that_fact_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The others of its group are told, and it is told the next one."""
    escaped: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", escaped.append)

    class Raising(Reader):
        def read(self, event: Event) -> None:
            super().read(event)
            raise KeyboardInterrupt

    raising, other = Raising(step=1), Reader(step=1)
    events = Events(2, [raising, other])
    events.record(ended(success(), success()), 0.0)
    events.tell()
    assert numbers(raising) == numbers(other) == [1, 2]
    assert [each.exc_type for each in escaped] == [KeyboardInterrupt] * 2


def test_an_event_says_what_happened_when() -> None:
    """The kind, the moment, the task, and the count."""
    found: list[Event] = []

    class Keeping(Reader):
        def read(self, event: Event) -> None:
            found.append(event)

    events = Events(1, [Keeping(step=1)])
    tasks = ended(success())
    events.record(tasks, 7.5)
    events.tell()
    (event,) = found
    assert (event.kind, event.moment, event.task, event.ended) == (
        "end",
        7.5,
        tasks[0],
        1,
    )


def test_telling_is_quick_if_each_reader_is() -> None:
    """They are asked of each fact; of more than one at once nobody is asked."""

    class Odd(Reader):
        def quick(self, event: Event) -> bool:
            return event.ended % 2 == 1

    tasks = ended(success(), success(), success())
    facts = Events(3, [Odd(step=1), Odd(step=1)])
    assert facts.quick()
    for many, quick in (1, True), (2, False), (3, True):
        facts.record(tasks[:many], 0.0)
        assert facts.quick() is quick
        facts.tell()
    slow = Events(3, [Odd(step=1)], [Reader(step=1)])
    slow.record(tasks[:1], 0.0)
    assert not slow.quick()
    together = Events(3, [Odd(step=1)])
    together.record(tasks, 0.0)
    assert not together.quick()


def test_what_is_unread_may_grow_while_it_is_looked_at() -> None:
    """Other threads record ends meanwhile: a collection of garbage lets them."""
    tasks = ended(*[success()] * 1_000)
    facts = Events(len(tasks), [Reader(1)])

    def grow(phase: str, info: object) -> None:
        facts.record(tasks[: facts.ended + 1], 0.0)

    before = gc.get_threshold()
    gc.callbacks.append(grow)
    gc.set_threshold(1)
    try:
        while facts.ended < 100:
            facts.quick()
            [[]]  # so that there is something to collect
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(grow)
    assert not facts.quick()


class Leaver(Reader):
    """Wants to know when it is over; the first time it raises."""

    def __init__(self) -> None:
        self.calls = 0

    def close(self) -> None:
        self.calls += 1
        if self.calls == 1:
            raise ValueError("not yet")


def test_readers_are_told_when_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them, in a thread that counts as reading, whatever one of them raises."""
    monkeypatch.setattr(threading, "excepthook", lambda args: None)
    told: list[bool] = []

    class Last(Reader):
        def close(self) -> None:
            told.append(events.is_reader())

    first = Leaver()
    events = Events(1, [first, Last()])
    events.close()
    assert (first.calls, told) == (1, [True])
    assert not events.is_reader()


def test_who_reads_can_be_struck_at_any_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """One event may be lost to a reader; the others are read, and nobody is said to
    read when nobody does."""
    monkeypatch.setattr(threading, "excepthook", lambda args: None)
    for line in range(1, 200):
        reader = Reader(step=1)
        events = Events(3, [reader])
        tasks = ended(*[success()] * 3)
        events.record(tasks[:2], 0.0)
        struck = struck_at(line, events.tell)
        events.tell()
        events.record(tasks, 0.0)
        events.tell()
        assert not (events.being_read or events.waiting)
        assert numbers(reader)[-1:] == [3]
        assert len(reader.told) >= (2 if struck else 3)
        if not struck:
            break
    assert line > 10


class Everything(Reader):
    """Wants to know of all that happens."""

    kinds = ("run start", "task start", "task retry", "run end")
    apart = True

    def read(self, event: Event) -> None:
        self.told.append((event.kind, event.ended))


def test_other_facts_are_kept_for_those_who_want_them() -> None:
    """In order with the ends of tasks; the attempt is that of then."""
    reader, found = Everything(step=1), []

    class Keeping(Everything):
        def read(self, event: Event) -> None:
            found.append((event.kind, event.attempt))

    events = Events(1, [reader, Keeping(step=1)])
    (task,) = ended(success())
    assert events.apart
    events.note("run start", None, 0.0)
    task.attempts = 1
    events.note("task start", task, 1.0)
    events.note("task retry", task, 2.0)
    task.attempts = 2
    events.record([task], 3.0)
    events.note("run end", None, 3.0)
    events.tell()
    assert reader.told == [
        ("run start", 0),
        ("task start", 0),
        ("task retry", 0),
        ("end", 1),
        ("run end", 1),
    ]
    assert [attempt for _, attempt in found] == [0, 1, 1, 2, 0]


def test_other_facts_are_not_kept_if_nobody_wants_them() -> None:
    """They cost a look."""
    events = Events(1, [Reader(step=1)])
    events.note("run start", None, 0.0)
    assert not (events.apart or events.unread or events.waiting)


def test_who_follows_a_run_is_let_go_of_at_its_end() -> None:
    """It may know of the run, which knows of its events."""
    reader = Reader(step=1)
    gone = weakref.ref(reader)
    events = Events(1, [reader])
    del reader
    events.close()
    assert gone() is None
    events.tell()
    assert not events.waiting


def test_a_reader_can_come_late() -> None:
    """It is told what happens from then on, with a cursor of its own."""
    early, late = Reader(), Reader(step=1)
    events = Events(4, [early])
    tasks = ended(*[success()] * 4)
    events.record(tasks[:2], 0.0)
    events.attach(late)
    events.record(tasks[:3], 0.0)
    events.tell()
    assert numbers(late) == [3]
    events.detach(late)
    events.record(tasks, 0.0)
    events.tell()
    assert numbers(late) == [3]
    assert events.next == 0


def test_who_leaves_takes_what_it_has_not_read_along() -> None:
    """The others read it."""
    staying, leaving = Reader(step=1), Reader(step=1)
    events = Events(1, [staying])
    events.attach(leaving)
    events.record(ended(success()), 0.0)
    events.detach(leaving)
    events.detach(Reader())  # who was never there
    events.tell()
    assert (numbers(staying), numbers(leaving)) == ([1], [])
    assert not events.waiting


def test_an_end_has_the_outcome_of_then() -> None:
    """Whoever takes the result away from the task comes after that."""
    found: list[Event] = []

    class Keeping(Reader):
        def read(self, event: Event) -> None:
            found.append(event)

    events = Events(1, [Keeping(step=1)])
    (task,) = ended(outcome := success(7))
    events.record([task], 0.0)
    assert events.ended == 1
    task.outcome = outcome.emptied()
    events.tell()
    assert found[0].outcome is outcome


def test_it_is_due_to_tell_as_long_as_nobody_reads() -> None:
    """Who blocks in one group leaves the others to be told."""
    blocking, other = Blocking(), Reader(step=1)
    events = Events(2, [blocking], [other])
    tasks = ended(success(), success())
    assert not events.is_due()
    events.record(tasks[:1], 0.0)
    assert events.is_due() and not events.unread
    assert not events.is_due(), "a thread has been asked, and is on its way"
    thread = threading.Thread(target=events.tell)
    thread.start()
    assert blocking.reached.wait(BOUND)
    events.record(tasks, 0.0)
    assert events.unread and events.is_due()
    events.tell()
    assert not events.is_due(), "what is left is read by the other thread"
    blocking.leave.set()
    thread.join(BOUND)
    assert numbers(blocking) == numbers(other) == [1, 2]


def test_nobody_is_to_look_again_who_has_not_come_to_look() -> None:
    """Reading that takes longer than the time between two looks comes to an end."""

    class Looking(Everything):
        kinds = ("look",)

        def read(self, event: Event) -> None:
            super().read(event)
            events.note_look(1.0)  # it is time again

    reader, other = Looking(), Looking()
    events = Events(1, [reader])
    events.note_look(0.0)
    events.note_look(0.0)
    events.attach(other)
    events.note_look(0.0)
    events.tell()
    assert reader.told == other.told == [("look", 0)]
    assert events.waiting, "the first had read all when the other one began"
    events.tell()
    assert reader.told == [("look", 0)] * 2


def test_nobody_looks_who_does_not_want_to() -> None:
    """It costs a look."""
    events = Events(1, [Reader(step=1)])
    events.note_look(0.0)
    assert not (events.unread or events.waiting)
