"""A lock whose holder also serves those who come meanwhile.

With an ordinary lock, a thread that finds it taken falls asleep and is woken by the one
that gives it back, which soon finds it taken itself: from the first such meeting on,
each decision costs two switches between threads. It takes no long decisions to get
there, since the interpreter may switch threads in the middle of the shortest.

Here, who finds the desk taken leaves a case, and the holder decides it before he goes.
"""

from __future__ import annotations

import threading
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Deque


class Visitor:
    """Somebody whose cases are decided at a desk, and a place to wait for that."""

    __slots__ = ("parking",)

    def __init__(self) -> None:
        self.parking = threading.Lock()
        self.parking.acquire()


class Desk:
    """See above. A context manager, for what else needs the lock.

    Not for threads in which a signal handler may raise: an exception between two lines
    of `release` would leave it held for ever.

    :param decide: called with each visitor, under the lock.
    """

    def __init__(self, decide: Callable[[Any], None]) -> None:
        self._decide = decide
        self._lock = threading.Lock()
        self._waiting: Deque[Visitor] = deque()

    def visit(self, visitor: Visitor) -> None:
        """Have the visitor's case decided, by this thread or by another."""
        if self._lock.acquire(False):
            try:
                self._decide(visitor)
            finally:
                self.release()
            return
        self._waiting.append(visitor)
        # Whoever held the lock may be gone, without having seen the visitor.
        if self._lock.acquire(False):
            self.release()
        visitor.parking.acquire()

    def release(self) -> None:
        """Decide what has come in meanwhile, and go."""
        lock, waiting = self._lock, self._waiting
        while True:
            try:
                while waiting:
                    visitor = waiting.popleft()
                    try:
                        self._decide(visitor)
                    finally:
                        visitor.parking.release()
            finally:
                lock.release()
            # Who came between the two looks, and found the lock taken, is seen here.
            if not (waiting and lock.acquire(False)):
                return

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self.release()
