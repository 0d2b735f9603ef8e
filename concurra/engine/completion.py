"""The end of a run, as something to wait for, also where Ctrl-C can come.

A fork during the run copies it. Nobody is at work in the copy, and whoever held a lock
never gives it back: whoever waited there would wait for ever.
"""

from __future__ import annotations

import os
import threading

from ..clock import monotonic
from ..errors import ConcurraError, LifeCycleError
from ..wording import COPY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, List, Optional

#: Seconds between two looks for Ctrl-C of a thread that waits. A signal wakes it up,
#: but not if it comes just before the thread falls asleep, or is only simulated, by
#: `_thread.interrupt_main`; and never on Windows.
ATTENTION = 1.0 if os.name == "posix" else 0.25


class Completion:
    """An end that comes once. An interrupt at any line of `wait` does no harm."""

    def __init__(self) -> None:
        self.reached = False
        self._pid = os.getpid()
        self._waiters: List[Callable[[], object]] = []

    def refusal(self) -> Optional[LifeCycleError]:
        """Why it will never come here, or None."""
        if self._pid == os.getpid() or self.reached:
            return None
        return LifeCycleError(f"{COPY}: only the original can be waited for or aborted")

    def wait(self, timeout: Optional[float] = None) -> bool:
        """Wait until it has come; whether it has.

        :param timeout: seconds to wait at the most; None for ever.
        """
        ends = None if timeout is None else monotonic() + timeout
        # A lock of one's own, because an interrupt while it is held does no harm.
        waiter = threading.Lock()
        waiter.acquire()
        self._waiters.append(waiter.release)
        # Whoever comes too late to be released sees here that it has been reached.
        try:
            while not self.reached:
                left = ATTENTION if ends is None else ends - monotonic()
                if left <= 0 or waiter.acquire(timeout=min(left, ATTENTION)):
                    break
        finally:
            if not self.reached:
                self._waiters.remove(waiter.release)
        return self.reached

    def reach(self) -> None:
        """It has come; whoever waits goes on."""
        self.reached = True
        while self._waiters:
            self._waiters.pop()()

    def then(self, callback: Callable[[], object]) -> None:
        """Call it when it has come, once or twice; it must not raise or block."""
        self._waiters.append(callback)
        if self.reached:
            callback()


def refuse(refusal: Optional[ConcurraError]) -> None:
    """Raise it, if there is one, without a cycle of its traceback and a frame."""
    try:
        if refusal is not None:
            raise refusal
    finally:
        del refusal
