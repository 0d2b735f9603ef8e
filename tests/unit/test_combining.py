"""The combining lock: every case is decided once, by whoever holds the lock."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any, Callable, Deque

import pytest

from concurra.engine.combining import CombiningLock
from concurra.engine.decisions import Decisions
from concurra.engine.slots import PARKED
from tests.helpers import wait_until

BOUND = 10.0


class Someone:
    """A visitor that knows which threads have decided its cases."""

    def __init__(self) -> None:
        self.deciders: list[int] = []


def note(visitor: Someone) -> None:
    visitor.deciders.append(threading.get_ident())


def start(target: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=target)
    thread.start()
    return thread


def test_whoever_finds_it_free_decides_itself() -> None:
    """A visit to a free lock is decided by the visitor's own thread, at once."""
    someone = Someone()
    lock = CombiningLock(note)
    lock.visit(someone)
    lock.visit(someone)
    assert someone.deciders == [threading.get_ident()] * 2


def test_who_finds_it_taken_is_served_by_the_holder() -> None:
    """The holder decides all that came meanwhile, in the order of their coming."""
    order: list[Someone] = []
    lock = CombiningLock(order.append)
    visitors = [Someone() for _ in range(3)]
    threads = []
    with lock:
        for count, visitor in enumerate(visitors, 1):
            threads.append(start(lambda visitor=visitor: lock.visit(visitor)))
            wait_until(lambda count=count: len(lock._waiting) == count, BOUND)
        assert order == []
    for thread in threads:
        thread.join(BOUND)
        assert not thread.is_alive()
    assert order == visitors


def test_the_holder_does_not_wait_for_those_whom_it_serves() -> None:
    """A visitor's thread is released, and the holder goes on without it."""
    lock = CombiningLock(note)
    someone = Someone()
    thread = None
    with lock:
        thread = start(lambda: lock.visit(someone))
        wait_until(lambda: len(lock._waiting) == 1, BOUND)
    assert someone.deciders == [threading.get_ident()]
    thread.join(BOUND)
    assert not thread.is_alive()


def test_one_who_comes_when_the_holder_leaves_is_served() -> None:
    """Nobody is left waiting, however visits and holders of the lock meet."""
    lock = CombiningLock(note)
    visits = 2000
    visitors = [Someone() for _ in range(4)]
    together = threading.Barrier(len(visitors) + 1)

    def visit(visitor: Someone) -> None:
        together.wait(BOUND)
        for _ in range(visits):
            lock.visit(visitor)

    threads = [start(lambda visitor=visitor: visit(visitor)) for visitor in visitors]
    together.wait(BOUND)
    for _ in range(visits):
        with lock:
            pass
    for thread in threads:
        thread.join(BOUND)
        assert not thread.is_alive()
    assert [len(visitor.deciders) for visitor in visitors] == [visits] * 4


def test_decisions_exclude_each_other() -> None:
    """Decisions, and what else is done under the lock, never overlap."""
    inside = []
    overlaps = []

    def decide(visitor: Someone) -> None:
        overlaps.extend(inside)
        inside.append(visitor)
        threading.Event().wait(0)  # gives other threads every chance
        inside.pop()

    lock = CombiningLock(decide)
    visitors = [Someone() for _ in range(3)]
    threads = [
        start(lambda visitor=visitor: [lock.visit(visitor) for _ in range(200)])
        for visitor in visitors
    ]
    for _ in range(200):
        with lock:
            decide(visitors[0])
    for thread in threads:
        thread.join(BOUND)
        assert not thread.is_alive()
    assert overlaps == []


def test_an_error_leaves_the_lock_free() -> None:
    """If a decision raises, whoever made it is told, and the next one can come."""

    def refuse(visitor: Someone) -> None:
        raise MemoryError("no")

    lock = CombiningLock(refuse)
    for _ in range(2):
        with pytest.raises(MemoryError):
            lock.visit(Someone())
    with lock:
        pass


def test_an_error_about_somebody_else_releases_it() -> None:
    """If the decision for one who waits raises, its thread goes on all the same."""

    def refuse(visitor: Someone) -> None:
        raise MemoryError("no")

    class Noting(CombiningLock):
        def failed(self, error: BaseException, visitor: object) -> None:
            failures.append(str(error))

    failures: list[str] = []
    lock = Noting(refuse)
    lock.__enter__()
    thread = start(lambda: lock.visit(Someone()))
    wait_until(lambda: len(lock._waiting) == 1, BOUND)
    lock.release()
    assert failures == ["no"]
    thread.join(BOUND)
    assert not thread.is_alive()
    with lock:
        pass


def test_it_can_be_told_who_holds_it() -> None:
    """So that a thread that was struck in the midst of a visit can give it back."""
    lock = CombiningLock(note)
    assert not lock.holds()
    with lock:
        assert lock.holds()
        seen: list[bool] = []
        thread = start(lambda: seen.append(lock.holds()))
        thread.join(BOUND)
        assert seen == [False]
    assert not lock.holds()


def test_two_threads_may_come_for_one_visitor() -> None:
    """After a late exception: each waits for its own case, and goes on."""
    lock = CombiningLock(note)
    someone = Someone()
    with lock:
        threads = [
            threading.Thread(target=lock.visit, args=(someone,), daemon=True)
            for _ in range(2)
        ]
        for count, thread in enumerate(threads, 1):
            thread.start()
            wait_until(lambda count=count: len(lock._waiting) == count, BOUND)
        assert someone.deciders == []
    for thread in threads:
        thread.join(BOUND)
        assert not thread.is_alive()
    assert someone.deciders == [threading.get_ident()] * 2


def test_a_case_that_is_decided_twice_wakes_its_thread_once() -> None:
    """The holder may be struck after the first time, before it has noted that."""
    lock = CombiningLock(note)
    someone = Someone()
    with lock:
        thread = start(lambda: lock.visit(someone))
        wait_until(lambda: len(lock._waiting) == 1, BOUND)
        lock._serve(lock._waiting[0])
        thread.join(BOUND)
        assert not thread.is_alive()
    assert someone.deciders == [threading.get_ident()] * 2


class Late(BaseException):
    """Strikes a thread in the midst of a visit."""


class Struck(Deque[Any]):
    """Strikes who leaves a case, before or after that."""

    def __init__(self, after: bool) -> None:
        super().__init__()
        self.after = after

    def append(self, case: Any) -> None:
        if self.after:
            super().append(case)
        raise Late


@pytest.mark.parametrize("left", [False, True])
def test_a_visit_that_was_cut_short_is_waited_for_only_if_it_was_left(
    left: bool,
) -> None:
    """Nobody decides a case that nobody has seen; one that was left is decided once."""
    decided: list[Any] = []
    state: Any = SimpleNamespace(
        ended=decided.append,
        rebuild=lambda now: None,
        withdraw=lambda slot, now: None,
    )
    decisions = Decisions(state, lambda: 0.0)
    slot: Any = SimpleNamespace(state=PARKED, outcome=None, worker=None)
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with decisions:
            entered.set()
            leave.wait(BOUND)

    def visit() -> None:
        try:
            decisions.visit(slot)
        except Late as error:
            leave.set()
            decisions.record(slot, error)

    holder = start(hold)
    assert entered.wait(BOUND)
    decisions._waiting = Struck(left)
    visitor = threading.Thread(target=visit, daemon=True)
    visitor.start()
    visitor.join(BOUND)
    holder.join(BOUND)
    assert not visitor.is_alive()
    assert decided == [slot] * (1 + left)  # the last is what `record` brings in itself
