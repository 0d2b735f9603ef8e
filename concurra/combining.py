"""A lock whose holder also serves those who come meanwhile: flat combining.

With an ordinary lock, a thread that finds it taken falls asleep and is woken by the one
that gives it back, which soon finds it taken itself: from the first such meeting on,
each decision costs two switches between threads. It takes no long decisions to get
there, since the interpreter may switch threads in the middle of the shortest.

Here, whoever finds the lock taken leaves a case, and the holder decides it before it
goes. (The idea is from D. Hendler et al., *Flat Combining and the
Synchronization-Parallelism Tradeoff*, 2010.)
"""

from __future__ import annotations

import threading
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Deque, Protocol
else:
    Protocol = object


class Visitor(Protocol):
    """Somebody with a case: whether it has been decided, and a place to wait."""

    served: bool
    parking: threading.Lock


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
        self._waiting: Deque[Visitor] = deque()

    def visit(self, visitor: Visitor) -> None:
        """Have the visitor's case decided, by this thread or by another."""
        if self._lock.acquire(False):
            try:
                self._decide(visitor)
            except BaseException as error:
                self.failed(error, visitor)
            finally:
                self.release()
            return
        visitor.served = False
        self._waiting.append(visitor)
        # Whoever held the lock may be gone, without having seen the visitor.
        if self._lock.acquire(False):
            self.release()
        self.await_decision(visitor)

    def failed(self, error: BaseException, visitor: Any) -> None:
        """A decision has raised; called under the lock.

        What this raises reaches the holder, so it must not raise about others' cases.
        """
        raise error

    def await_decision(self, visitor: Visitor) -> None:
        """Wait until the visitor's case has been decided, if it has one."""
        while not visitor.served:
            visitor.parking.acquire()

    def end_visit(self, visitor: Visitor) -> None:
        """Nothing is left of a visit that a late exception has cut short.

        A case that was left is decided by now, or when this gives the lock back.
        """
        with self:
            pass
        visitor.served = True

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
            # Who came between the two looks, and found the lock taken, is seen here.
            if not (waiting and lock.acquire(False)):
                return

    def _serve(self, visitor: Visitor) -> None:
        try:
            self._decide(visitor)
        except BaseException as error:
            self.failed(error, visitor)
        finally:
            visitor.served = True
            try:
                visitor.parking.release()
            except RuntimeError:
                pass  # it has not waited for the last time

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self.release()
