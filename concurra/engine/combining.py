"""A lock whose holder also serves those who come meanwhile: flat combining.

With an ordinary lock, a thread that finds it taken falls asleep and is woken by the one
that gives it back, which soon finds it taken itself: from the first such meeting on,
each decision costs two switches between threads. Short decisions do not prevent that,
since the interpreter may switch threads in the middle of the shortest.

Here, whoever finds the lock taken leaves a case, and the holder decides it before it
goes. (The idea is from D. Hendler et al., *Flat Combining and the
Synchronization-Parallelism Tradeoff*, 2010.)
"""

from __future__ import annotations

import threading
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Deque, Tuple

    #: The visitor, and a lock that is released once the case has been decided. Each
    #: visit has its own: after a late exception two threads may come for one visitor.
    Case = Tuple[Any, threading.Lock]


class CombiningLock:
    """See above. A context manager, for what else needs the lock.

    Not for threads in which a signal handler may raise. Where a late exception has
    struck a thread, it must ask whether it `holds` the lock, and `release` it.

    :param decide: called with each visitor, under the lock. A second call for one visit
        must do nothing.
    """

    def __init__(self, decide: Callable[[Any], None]) -> None:
        self._decide = decide
        # Of a reentrant lock it can be told who holds it.
        self._lock = threading.RLock()
        self._waiting: Deque[Case] = deque()

    def visit(self, visitor: Any) -> None:
        """Have the visitor's case decided, by this thread or by another."""
        if self._lock.acquire(False):
            try:
                self._decide(visitor)
            except BaseException as error:
                self.failed(error, visitor)
            finally:
                self.release()
            return
        decided = threading.Lock()
        decided.acquire()
        self._waiting.append((visitor, decided))
        # Whoever held the lock may be gone, without having seen the case.
        if self._lock.acquire(False):
            self.release()
        decided.acquire()

    def failed(self, error: BaseException, visitor: Any) -> None:
        """A decision has raised; called under the lock.

        What this raises reaches the holder, so it must not raise about others' cases.
        """
        raise error

    def holds(self) -> bool:
        """Whether the calling thread holds the lock."""
        return self._lock._is_owned()  # type: ignore[attr-defined,no-any-return]

    def release(self) -> None:
        """Decide what has come in meanwhile, and give the lock back."""
        lock, waiting = self._lock, self._waiting
        while True:
            try:
                while waiting:
                    self._serve(waiting[0])
                    waiting.popleft()  # the last: a case may be decided twice
            finally:
                lock.release()
            # A visitor between the two looks, that found the lock taken, is seen here.
            if not (waiting and lock.acquire(False)):
                return

    def _serve(self, case: Case) -> None:
        visitor, decided = case
        try:
            self._decide(visitor)
        except BaseException as error:
            self.failed(error, visitor)
        finally:
            try:
                decided.release()
            except RuntimeError:
                pass  # it is decided for the second time, and nobody waits

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self.release()
