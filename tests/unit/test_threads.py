"""Threads that are used again."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from concurra.threads import ThreadCache, report
from tests.helpers import wait_until

BOUND = 10.0


@pytest.fixture
def cache() -> Iterator[ThreadCache]:
    threads = ThreadCache()
    yield threads
    threads.close()


@pytest.fixture
def escaped(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What threads have let escape: the arguments of `threading.excepthook`."""
    found: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", found.append)
    return found


class Calls:
    """Remembers which threads have called it."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self._called = threading.Semaphore(0)

    def __call__(self) -> None:
        self.threads.append(threading.current_thread())
        self._called.release()

    def wait(self) -> None:
        assert self._called.acquire(timeout=BOUND), "nobody has called"


def wait_for_idle(cache: ThreadCache, count: int = 1) -> None:
    wait_until(lambda: len(cache._idle) == count, BOUND, "idle threads")


def test_a_thread_is_used_again(cache: ThreadCache) -> None:
    """The second call needs no new one."""
    calls = Calls()
    cache.start(calls)
    calls.wait()
    wait_for_idle(cache)
    cache.start(calls)
    calls.wait()
    assert calls.threads[0] is calls.threads[1]
    assert calls.threads[0].daemon and calls.threads[0].name == "concurra"


def test_whoever_is_busy_is_not_waited_for(cache: ThreadCache) -> None:
    """Calls run side by side: they meet."""
    barrier = threading.Barrier(3)
    for _ in range(2):
        cache.start(barrier.wait, BOUND)
    barrier.wait(BOUND)


def test_idle_threads_hold_nothing(cache: ThreadCache) -> None:
    """What they have called goes when it is done."""
    import weakref

    class Held:
        def __call__(self, *args: object) -> None:
            pass

    called, argument = Held(), Held()
    gone = [weakref.ref(called), weakref.ref(argument)]
    cache.start(called, argument)
    wait_for_idle(cache)
    del called, argument
    assert [each() for each in gone] == [None, None]


def test_close_ends_the_idle(cache: ThreadCache) -> None:
    """They have ended when it returns."""
    calls = Calls()
    cache.start(calls)
    calls.wait()
    wait_for_idle(cache)
    cache.close()
    assert not calls.threads[0].is_alive()


def test_close_ends_a_thread_whose_start_was_cut_short(
    cache: ThreadCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C comes when it has begun, and before its start has returned."""
    calls = Calls()
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cache.start(calls)
    calls.wait()
    wait_for_idle(cache)
    closing = threading.Thread(target=cache.close, daemon=True)
    closing.start()
    closing.join(BOUND)
    assert not closing.is_alive() and not calls.threads[0].is_alive()


def test_close_does_not_wait_for_the_busy(cache: ThreadCache) -> None:
    """They end when they are done."""
    calls, leave = Calls(), threading.Event()

    def stay() -> None:
        calls()
        assert leave.wait(BOUND)

    cache.start(stay)
    calls.wait()
    cache.close()
    assert calls.threads[0].is_alive()
    leave.set()
    calls.threads[0].join(BOUND)
    assert not calls.threads[0].is_alive() and not cache._idle


def test_a_thread_may_close_its_own_cache(cache: ThreadCache) -> None:
    """It does not wait for itself."""
    calls = Calls()
    cache.start(lambda: (cache.close(), calls()))
    calls.wait()
    calls.threads[0].join(BOUND)
    assert not calls.threads[0].is_alive()


def test_a_call_that_raises_is_made_once_more(
    cache: ThreadCache, escaped: list[Any]
) -> None:
    """It may have been struck by an exception that was meant for another. The program
    hears of each, and the thread can be used again."""
    begun: list[int] = []

    def fail() -> None:
        begun.append(threading.get_ident())
        raise ValueError("no")

    cache.start(fail)
    wait_for_idle(cache)
    calls = Calls()
    cache.start(calls)
    calls.wait()
    assert begun == [calls.threads[0].ident] * 2
    assert [str(each.exc_value) for each in escaped] == ["no", "no"]


def raise_in(thread: threading.Thread, error: type[BaseException]) -> None:
    ident = ctypes.c_ulong(thread.ident or 0)
    raising = ctypes.pythonapi.PyThreadState_SetAsyncExc
    assert raising(ident, ctypes.py_object(error)) == 1


def test_a_late_exception_harms_no_idle_thread(cache: ThreadCache) -> None:
    """The call that wakes it is made all the same, and so are those after it."""
    calls = Calls()
    for _ in range(3):
        cache.start(calls)
        calls.wait()
        wait_for_idle(cache)
        raise_in(calls.threads[-1], TimeoutError)
    cache.start(calls)
    calls.wait()
    assert len(calls.threads) == 4 and len(set(calls.threads)) == 1


def test_when_no_thread_can_be_started(
    cache: ThreadCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever wants one is told, and nothing is left behind."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="new thread"):
            cache.start(print)
    calls = Calls()
    cache.start(calls)
    calls.wait()


def test_a_call_waits_for_a_thread_if_none_can_be_started(
    cache: ThreadCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first that has nothing else to do makes it; with no thread at all, whoever
    wants it is told."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    calls, leave, busy = Calls(), threading.Event(), threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="new thread"):
            cache.start_soon(calls)
    cache.start(lambda: (busy.set(), leave.wait(BOUND)))
    assert busy.wait(BOUND)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        cache.start_soon(calls)
        assert calls.threads == []
        leave.set()
        calls.wait()


def test_a_thread_of_its_own_makes_no_other_calls(cache: ThreadCache) -> None:
    """It has never run anything that might have left something behind."""
    calls = Calls()
    cache.start_own(calls)
    calls.wait()
    calls.threads[0].join(BOUND)
    assert not cache._idle and not calls.threads[0].is_alive()


def test_a_report_reaches_the_program(escaped: list[Any]) -> None:
    """As an exception does that ends a thread."""
    error = ValueError("late")
    report(error)
    (args,) = escaped
    assert args.exc_value is error and args.thread is threading.current_thread()


def test_a_hook_that_fails_harms_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report is the last thing that can be done."""

    def fail(args: object) -> None:
        raise OSError("closed")

    monkeypatch.setattr(threading, "excepthook", fail)
    report(ValueError("late"))
    assert threading.excepthook is fail
