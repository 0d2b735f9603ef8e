"""Calls that may block, one after the other."""

from __future__ import annotations

import threading
from typing import Any

from concurra.threads import ThreadCache
from concurra.workers.call_queue import CallQueue

BOUND = 20.0


class Gap:
    """A lock; when a thread that serves first comes to it, a call comes in."""

    def __init__(self, lane: CallQueue, late: threading.Event) -> None:
        self._lock = threading.Lock()
        self._lane = lane
        self._late = [late.set]
        self._caller = threading.get_ident()

    def __enter__(self) -> None:
        if threading.get_ident() != self._caller and self._late:
            self._lane._calls.append(self._late.pop())
        self._lock.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self._lock.release()


def test_a_call_that_comes_when_all_has_been_called() -> None:
    """It is called, though its caller has seen that there is a thread."""
    threads = ThreadCache()
    lane, late = CallQueue(threads), threading.Event()
    gap: Any = Gap(lane, late)
    lane._lock = gap
    first = threading.Event()
    lane.put(first.set)
    try:
        assert first.wait(BOUND)
        assert late.wait(BOUND)
    finally:
        threads.close()
