"""Results as they come: in the order in which tasks end."""

from __future__ import annotations

import threading

from .completion import ATTENTION
from .events import Reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterator, Tuple

    from .events import Event
    from .lifecycle import Broken, LifeCycle
    from .tasks import Task

    Take = Callable[[Task], Any]


class Arrivals(Reader):
    """Calls ``wake`` at each end of a task; that must not block."""

    step = 1

    def __init__(self, wake: Callable[[], object]) -> None:
        self._wake = wake

    def quick(self, event: Event) -> bool:
        """See `Reader.quick`."""
        return True

    def read(self, event: Event) -> None:
        """See `Reader.read`."""
        try:
            self._wake()
        except RuntimeError:
            pass  # it is awake already, or its loop has been closed


def as_completed(
    life: LifeCycle, take: Take, broken: Broken
) -> Iterator[Tuple[Any, Any]]:
    """Each label with its result, in the order of ending; ends with the last.

    What breaks a wait, Ctrl-C for one, terminates everything. To leave the iterator
    leaves the run at work.

    :param life: of a run that has begun.
    :param take: makes the result of a task that has ended.
    :param broken: see `LifeCycle`.
    """
    ended = life.ended
    news = threading.Lock()
    news.acquire()
    reader = Arrivals(news.release)

    def wait() -> None:
        while len(ended) <= seen:
            news.acquire(timeout=ATTENTION)

    life.attach(reader)
    try:
        for seen in range(life.total):
            if len(ended) <= seen:
                life.conduct(broken, wait)
            yield ended[seen].label, take(ended[seen])
    finally:
        life.detach(reader)
    life.wait(broken)
    life.in_background = False
