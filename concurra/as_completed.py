"""Results as they come: in the order in which tasks end."""

from __future__ import annotations

import threading

from .engine.completion import ATTENTION
from .events import Reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterator, List, Optional, Tuple

    from .events import Event
    from .lifecycle import Broken, LifeCycle
    from .tasks import Task
    from .types import Result

    #: The result of a task that has ended; None if it is somebody else's.
    Take = Callable[[Task], Optional[Result]]


class CompletionReader(Reader):
    """Wakes somebody, who is `waiting`, at the next end of a task.

    :param wake: must not block.
    """

    step = 1

    def __init__(self, wake: Callable[[], object]) -> None:
        self._wake = wake
        #: Set by whoever is about to wait, before a last look whether there is need.
        self.waiting = False

    def quick(self, event: Event) -> bool:
        """See `Reader.quick`."""
        return True

    def read(self, event: Event) -> None:
        """See `Reader.read`."""
        if self.waiting:
            self.waiting = False
            try:
                self._wake()
            except RuntimeError:
                pass  # it is awake already, or its loop has been closed


def as_completed(
    life: LifeCycle, take: Take, broken: Broken
) -> Iterator[Tuple[Any, Result]]:
    """Each label with its result, in the order of ending; ends with the last.

    What interrupts it, Ctrl-C for one, terminates everything. Leaving the iterator
    early leaves the run at work.

    :param life: of a run that has begun.
    :param take: makes the result of a task that has ended.
    :param broken: see `LifeCycle`.
    """
    woken = threading.Lock()
    woken.acquire()
    reader = CompletionReader(woken.release)
    taken: List[Optional[Result]] = []

    def fetch() -> None:
        while life.recorded <= seen:
            reader.waiting = True
            if life.recorded <= seen:
                woken.acquire(timeout=ATTENTION)
        taken.append(take(life.ended[seen]))

    try:
        life.conduct(broken, lambda: life.attach(reader))
        for seen in range(life.total):
            life.conduct(broken, fetch)
            result = taken.pop()
            if result is not None:
                yield life.ended[seen].label, result
    finally:
        life.detach(reader)
    life.wait(broken)
    life.in_background = False
