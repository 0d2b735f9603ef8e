"""What has happened in a run, told to those who want to know."""

from __future__ import annotations

import threading
from collections import deque

from .tasks import Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Deque, Optional, Sequence, Tuple


class News:
    """Noted under the scheduler's lock; told without it, in order, one at a time.

    :param progress: called with the number of tasks that have ended, after every
        ``step`` of them and after the last of ``total``.
    :param report: called with each task that went wrong or has a warning.
    """

    def __init__(
        self,
        progress: Callable[[int], None],
        report: Callable[[Task], None],
        step: int,
        total: int,
    ) -> None:
        self._progress = progress
        self._report = report
        self._step = step
        self._total = total
        self._ended = 0
        self._milestone = min(step, total)  # the next end to tell of
        #: What is to be told yet: the callbacks with their arguments.
        self.untold: Deque[Tuple[Callable[[Any], None], Any]] = deque()
        self._telling = threading.Lock()
        self._teller: Optional[int] = None

    def note(self, tasks: Sequence[Task]) -> None:
        """Count tasks that have ended; remember what is to be told of them."""
        for task in tasks:
            outcome = task.outcome
            assert outcome is not None
            if outcome.fault or outcome.warning is not None:
                self.untold.append((self._report, task))
            self._ended = ended = self._ended + 1
            if ended == self._milestone:
                self.untold.append((self._progress, ended))
                self._milestone = min(ended + self._step, self._total)

    @property
    def needs_teller(self) -> bool:
        """Whether there is something to tell, and nobody at it."""
        return bool(self.untold) and not self._telling.locked()

    def tell(self) -> None:
        """Tell all, unless another thread is at it, which will then tell these too."""
        while self.untold and self._telling.acquire(False):
            self._teller = threading.get_ident()
            try:
                while self.untold:
                    tell, what = self.untold.popleft()
                    tell(what)
            finally:
                self._teller = None
                self._telling.release()

    def is_teller(self) -> bool:
        """Whether the calling thread is within ``progress`` or ``report``."""
        return self._teller == threading.get_ident()
