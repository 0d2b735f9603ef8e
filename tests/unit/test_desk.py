"""The desk: every visitor's case is decided once, by whoever holds the lock."""

from __future__ import annotations

import threading
from typing import Callable

import pytest

from concurra.desk import Desk, Visitor
from tests.helpers import wait_until

BOUND = 10.0


class Someone(Visitor):
    """A visitor who knows which threads have decided his cases."""

    __slots__ = ("deciders",)

    def __init__(self) -> None:
        super().__init__()
        self.deciders: list[int] = []


def note(visitor: Someone) -> None:
    visitor.deciders.append(threading.get_ident())


def start(target: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=target)
    thread.start()
    return thread


def test_who_finds_it_free_decides_himself() -> None:
    """A visit to a free desk is decided by the visitor's own thread, at once."""
    someone = Someone()
    desk = Desk(note)
    desk.visit(someone)
    desk.visit(someone)
    assert someone.deciders == [threading.get_ident()] * 2
    assert someone.parking.locked()  # nobody has to wake a thread that did not wait


def test_who_finds_it_taken_is_served_by_the_holder() -> None:
    """The holder decides all that came meanwhile, in the order of their coming."""
    order: list[Someone] = []
    desk = Desk(order.append)
    visitors = [Someone() for _ in range(3)]
    threads = []
    with desk:
        for count, visitor in enumerate(visitors, 1):
            threads.append(start(lambda visitor=visitor: desk.visit(visitor)))
            wait_until(lambda count=count: len(desk._waiting) == count, BOUND)
        assert order == []
    for thread in threads:
        thread.join(BOUND)
        assert not thread.is_alive()
    assert order == visitors


def test_the_holder_does_not_wait_for_those_whom_he_serves() -> None:
    """A visitor's thread is released, and the holder goes on without it."""
    desk = Desk(note)
    someone = Someone()
    thread = None
    with desk:
        thread = start(lambda: desk.visit(someone))
        wait_until(lambda: len(desk._waiting) == 1, BOUND)
    assert someone.deciders == [threading.get_ident()]
    thread.join(BOUND)
    assert not thread.is_alive()


def test_one_who_comes_when_the_holder_leaves_is_served() -> None:
    """Nobody is left waiting, however visits and holders of the lock meet."""
    desk = Desk(note)
    visits = 2000
    visitors = [Someone() for _ in range(4)]
    together = threading.Barrier(len(visitors) + 1)

    def visit(visitor: Someone) -> None:
        together.wait(BOUND)
        for _ in range(visits):
            desk.visit(visitor)

    threads = [start(lambda visitor=visitor: visit(visitor)) for visitor in visitors]
    together.wait(BOUND)
    for _ in range(visits):
        with desk:
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

    desk = Desk(decide)
    visitors = [Someone() for _ in range(3)]
    threads = [
        start(lambda visitor=visitor: [desk.visit(visitor) for _ in range(200)])
        for visitor in visitors
    ]
    for _ in range(200):
        with desk:
            decide(visitors[0])
    for thread in threads:
        thread.join(BOUND)
        assert not thread.is_alive()
    assert overlaps == []


def test_an_error_leaves_the_desk_free() -> None:
    """If a decision raises, whoever made it is told, and the next one can come."""

    def refuse(visitor: Someone) -> None:
        raise MemoryError("no")

    desk = Desk(refuse)
    for _ in range(2):
        with pytest.raises(MemoryError):
            desk.visit(Someone())
    with desk:
        pass


def test_an_error_about_somebody_else_releases_him() -> None:
    """If the decision for one who waits raises, his thread goes on all the same."""

    def refuse(visitor: Someone) -> None:
        raise MemoryError("no")

    desk = Desk(refuse)
    desk.__enter__()
    thread = start(lambda: desk.visit(Someone()))
    wait_until(lambda: len(desk._waiting) == 1, BOUND)
    with pytest.raises(MemoryError):
        desk.release()
    thread.join(BOUND)
    assert not thread.is_alive()
    with desk:
        pass
