"""Moments at which something is to be done: one heap, and one thread that waits.

The heap is pure, and belongs to whoever decides. The thread knows no more than when to
look again; it starts when there is a first moment. With nothing to do it sleeps.
"""

from __future__ import annotations

import itertools
import threading
from heapq import heapify, heappop, heappush

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterator, List, Optional, Tuple

    Look = Callable[[], Optional[float]]

FOREVER = float("inf")


class Moments:
    """Things to come, by the moment of each; what comes at one moment, in order.

    :param stale: tells from a thing and its mark whether it need not be done any more.
    """

    def __init__(self, stale: Callable[[Any, object], bool]) -> None:
        self._stale = stale
        self._heap: List[Tuple[float, int, Any, object]] = []
        self._numbers = itertools.count()

    def add(self, moment: float, thing: object, mark: object) -> None:
        """Have something done at a moment."""
        self._drop_stale()  # so that what never comes due does not pile up
        heappush(self._heap, (moment, next(self._numbers), thing, mark))

    def due(self, now: float) -> Iterator[Any]:
        """What is to be done by now; each is removed when the next is asked for.

        So if doing it is cut short, it is still to be done. What is added meanwhile is
        left for later.
        """
        heap, last = self._heap, next(self._numbers)
        self._drop_stale()
        while heap and heap[0][0] <= now and heap[0][1] < last:
            entry = heap[0]
            yield entry[2]
            if heap and heap[0] is entry:
                heappop(heap)
            self._drop_stale()

    @property
    def first(self) -> float:
        """When there is something to do next."""
        self._drop_stale()
        return self._heap[0][0] if self._heap else FOREVER

    def rebuild(self) -> None:
        """Make the order anew, after an addition was cut short."""
        heapify(self._heap)

    def _drop_stale(self) -> None:
        heap = self._heap
        while heap and self._stale(heap[0][2], heap[0][3]):
            heappop(heap)


class Timer:
    """A thread that looks around now and then.

    :param start: starts a call in a thread.
    """

    def __init__(self, start: Callable[..., object]) -> None:
        self._start = start
        self._starting = threading.Lock()
        self._started = False
        self._alarm = threading.Lock()  # held while there is nothing new to see
        self._alarm.acquire()

    def ring(self, look: Look) -> None:
        """Have it look now, or when it next would fall asleep.

        :param look: does what is due; says how many seconds later there is more to do,
            or None when there never will be. It counts as long as the thread lives.
        :raises RuntimeError: it cannot be started.
        """
        self.wake()
        if not self._started and self._starting.acquire(False):
            try:
                if not self._started:
                    self._start(self._run, look)
                    self._started = True
            finally:
                self._starting.release()

    def wake(self) -> None:
        """Have it look once more, if it has been started."""
        try:
            self._alarm.release()
        except RuntimeError:
            pass  # it has been rung already

    def _run(self, look: Look) -> None:
        while True:
            seconds = look()
            if seconds is None:
                self.wake()  # the second, if Ctrl-C has cut a start short
                return
            self._alarm.acquire(timeout=min(max(0.0, seconds), threading.TIMEOUT_MAX))
