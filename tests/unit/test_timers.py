"""Moments in order, and the thread that waits for them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, Callable

import pytest

from concurra.engine.timers import FOREVER, Moments, Timer
from concurra.threads import ThreadCache
from tests.helpers import wait_until

BOUND = 10.0


class Thing:
    """May be done with; knows its mark."""

    def __init__(self, mark: object = None) -> None:
        self.mark = mark


def is_stale(thing: Thing, mark: object) -> bool:
    return thing.mark != mark


def test_things_come_in_the_order_of_their_moments() -> None:
    """Those of one moment in the order of adding, and none before its time."""
    moments = Moments(is_stale)
    late, early, also_early, never = (Thing() for _ in range(4))
    moments.add(3.0, late, None)
    moments.add(1.0, early, None)
    moments.add(1.0, also_early, None)
    moments.add(FOREVER, never, None)
    assert moments.first == 1.0
    assert list(moments.due(0.5)) == []
    assert list(moments.due(1.0)) == [early, also_early]
    assert moments.first == 3.0
    assert list(moments.due(9.0)) == [late]
    assert moments.first == FOREVER


def test_what_is_stale_is_passed_over() -> None:
    """It neither comes due nor wakes anybody."""
    moments = Moments(is_stale)
    gone, again = Thing("old"), Thing("old")
    moments.add(1.0, gone, "old")
    moments.add(2.0, again, "old")
    moments.add(4.0, again, "new")
    gone.mark = again.mark = "new"
    assert moments.first == 4.0
    assert list(moments.due(3.0)) == []
    assert list(moments.due(4.0)) == [again]


def test_what_is_stale_does_not_pile_up() -> None:
    """A million tasks that end in time leave no million deadlines."""
    moments = Moments(is_stale)
    for number in range(1000):
        thing = Thing(number)
        moments.add(float(number), thing, number)
        thing.mark = None
    assert len(moments._heap) == 1


def test_due_is_what_was_there_before() -> None:
    """What is added for the same moment meanwhile comes with the next look."""
    moments = Moments(is_stale)
    first, second = Thing(), Thing()
    moments.add(1.0, first, None)
    for _ in moments.due(1.0):
        moments.add(1.0, second, None)
    assert list(moments.due(1.0)) == [second]


def test_what_was_not_done_is_due_again() -> None:
    """Each goes when the next is asked for; one that was cut short is still there."""
    moments = Moments(is_stale)
    things = [Thing() for _ in range(3)]
    for thing in things:
        moments.add(1.0, thing, None)
    for thing in moments.due(1.0):
        if thing is things[1]:
            break
    assert list(moments.due(1.0)) == things[1:]


def test_the_order_can_be_made_anew() -> None:
    """After an addition that was cut short."""
    moments = Moments(is_stale)
    things = [Thing() for _ in range(5)]
    for number, thing in enumerate(things):
        moments._heap.insert(0, (float(number), number - 5, thing, None))
    moments.rebuild()
    assert list(moments.due(9.0)) == things


@pytest.fixture
def threads() -> Iterator[ThreadCache]:
    cache = ThreadCache()
    yield cache
    cache.close()


class Looks:
    """Counts the looks of a timer, and says when the next is due."""

    def __init__(self, *seconds: float | None) -> None:
        self.seconds = list(seconds)
        self.count = 0
        self.changed = threading.Semaphore(0)

    def __call__(self) -> float | None:
        self.count += 1
        self.changed.release()
        return self.seconds.pop(0) if self.seconds else FOREVER

    def wait(self) -> None:
        assert self.changed.acquire(timeout=BOUND), "the timer has not looked"


def test_nothing_is_started_before_it_is_rung(threads: ThreadCache) -> None:
    """A run without any moment has no thread for them."""
    timer = Timer(threads.start)
    assert not timer._started and not threads._idle


def test_it_looks_when_it_is_rung_and_when_it_is_time(threads: ThreadCache) -> None:
    """Then it sleeps, for as long as it was told; and one thread does it all."""
    looks = Looks(FOREVER, 0.0, FOREVER, None)
    timer = Timer(threads.start)
    timer.ring(looks)
    looks.wait()
    timer.ring(looks)
    looks.wait()
    looks.wait()  # no second has passed
    timer.ring(looks)
    looks.wait()
    wait_until(lambda: len(threads._idle) == 1, BOUND, "its end")
    assert looks.count == 4


def test_a_ring_while_it_looks_is_heard(threads: ThreadCache) -> None:
    """It looks once more before it falls asleep."""
    inside, leave = threading.Event(), threading.Event()
    seen: list[int] = []

    def look() -> float | None:
        seen.append(len(seen))
        inside.set()
        assert leave.wait(BOUND)
        return FOREVER if len(seen) == 1 else None

    timer = Timer(threads.start)
    timer.ring(look)
    assert inside.wait(BOUND)
    timer.ring(look)
    leave.set()
    wait_until(lambda: len(seen) == 2, BOUND, "the second look")


def test_it_can_be_woken_before_it_was_started(threads: ThreadCache) -> None:
    """Without starting it for that."""
    timer = Timer(threads.start)
    timer.wake()
    assert not timer._started and not threads._idle


def test_a_start_that_fails_can_be_tried_again(threads: ThreadCache) -> None:
    """Whoever rings is told."""
    looks = Looks(None)
    refusals = [RuntimeError("can't start new thread")]

    def start(target: Callable[..., Any], *args: Any) -> None:
        if refusals:
            raise refusals.pop()
        threads.start(target, *args)

    timer = Timer(start)
    with pytest.raises(RuntimeError, match="new thread"):
        timer.ring(looks)
    timer.ring(looks)
    looks.wait()


def test_all_end_where_a_start_was_cut_short() -> None:
    """Ctrl-C comes when the thread is there: the next ring starts a second one."""
    over, looks = threading.Event(), threading.Semaphore(0)
    started: list[threading.Thread] = []

    def look() -> float | None:
        looks.release()
        return None if over.is_set() else FOREVER

    def start(call: Callable[..., object], *args: object) -> None:
        started.append(threading.Thread(target=call, args=args, daemon=True))
        started[-1].start()
        if len(started) == 1:
            raise KeyboardInterrupt

    timer = Timer(start)
    with pytest.raises(KeyboardInterrupt):
        timer.ring(look)
    timer.ring(look)
    for _ in started:
        assert looks.acquire(timeout=BOUND)
    over.set()
    timer.wake()
    for thread in started:
        thread.join(BOUND)
    assert [thread.is_alive() for thread in started] == [False, False]
