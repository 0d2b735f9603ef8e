"""Calls that may block, one after the other, in a thread that is there while needed."""

from __future__ import annotations

import threading
from collections import deque

from ..threads import report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Deque

    from ..threads import ThreadCache


class CallQueue:
    """Calls that may block, one after the other, in a thread that lasts while any wait.

    A thread that was struck (see `threads`) begins its call again, which must bear
    that.
    """

    def __init__(self, threads: ThreadCache) -> None:
        self._threads = threads
        self._calls: Deque[Callable[[], object]] = deque()
        self._lock = threading.Lock()
        self._served = False

    def put(self, call: Callable[[], object]) -> None:
        """Have it called soon.

        :raises RuntimeError: there can be no thread.
        """
        self._calls.append(call)
        with self._lock:
            if self._served:
                return
            self._served = True
        try:
            self._threads.start_soon(self._serve)
        except BaseException:
            self._calls.remove(call)
            with self._lock:
                self._served = bool(self._calls)
            if self._served:  # others rely on a thread that there is not
                self._serve()
            raise

    def drain(self, seconds: float) -> None:
        """Wait until all has been called that was put here, but not for ever."""
        if self._served:
            drained = threading.Event()
            self.put(drained.set)
            drained.wait(seconds)

    def _serve(self) -> None:
        while True:
            try:
                return self._work()
            except BaseException as error:
                report(error)

    def _work(self) -> None:
        calls = self._calls
        while self._served:
            while calls:
                calls[0]()
                calls.popleft()
            with self._lock:  # whoever came meanwhile relies on this thread
                self._served = bool(calls)
