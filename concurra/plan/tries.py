"""When each attempt of a task began and ended, if there is more than one. Pure.

Of a task with one attempt nothing is noted here: it began and ended with that.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional, Tuple

    from ..tasks import Task


class Tries:
    """Moments by task and attempt, so that what is noted twice counts once."""

    def __init__(self) -> None:
        self._began: Dict[Task, Dict[int, float]] = {}
        self._failed: Dict[Task, Dict[int, float]] = {}

    def began(self, task: Task, now: float) -> None:
        """An attempt has begun that is not the first."""
        self._began.setdefault(task, {})[task.attempts] = now

    def failed(self, task: Task, now: float) -> None:
        """An attempt has failed, and there will be another one."""
        self._failed.setdefault(task, {})[task.attempts] = now

    def of(self, task: Task) -> List[Tuple[float, Optional[float]]]:
        """The begin and the end of each attempt; None for the end of one that goes on.

        A moment that is not known, because the thread that was to note it was struck,
        is the one before it.
        """
        moments = []
        began, failed = dict(self._began.get(task, ())), self._failed.get(task, {})
        last = task.started or 0.0
        for attempt in range(1, task.attempts + 1):
            begin = began.get(attempt, last)
            end = failed.get(attempt)
            if end is None and (attempt < task.attempts or task.ended is not None):
                end = begin if attempt < task.attempts else task.ended
            moments.append((begin, end))
            last = begin if end is None else end
        return moments
