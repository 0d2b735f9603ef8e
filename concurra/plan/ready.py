"""The tasks that can start now, and which of them is next: pure.

The task added first is next. What becomes ready in the order of adding goes to a
lane, what comes out of turn to a heap; the smaller head of the two is next. So a task
costs O(1), and O(log n) only if it comes out of turn. For tasks with priorities, or
which hold resources, there is `ranked`, with the same methods.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush

from ..tasks import Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Deque, Iterable, List, Mapping, Optional, Sequence, Set

    from .tries import Tries


class Ready:
    """The ready tasks of a plan.

    :param tries: where it is noted when attempts begin, of tasks that are tried again.
    """

    def __init__(self, tries: Tries) -> None:
        self._tries = tries
        self._order: Sequence[Task] = ()
        self._lane: Deque[int] = deque()
        self._late: List[int] = []
        # Tasks that wait here for another attempt, and how many of them have ended
        # meanwhile: they are passed over when their turn comes.
        self._retrying: Set[Task] = set()
        self._stale = 0

    def __len__(self) -> int:
        return len(self._lane) + len(self._late) - self._stale

    def more_than(self, many: int) -> bool:
        """Whether more than so many could start now, as far as is known."""
        return len(self._lane) + len(self._late) - self._stale > many

    def add(self, index: int) -> None:
        """A task can start."""
        lane = self._lane
        if not lane or index > lane[-1]:
            lane.append(index)
        else:
            heappush(self._late, index)

    def add_again(self, task: Task) -> None:
        """A task that has been taken before can start once more."""
        if task.attempts:
            self._retrying.add(task)
        heappush(self._late, task.index)

    def open(self, order: Sequence[Task]) -> None:
        """These are all tasks, by their index; those without blockers can start."""
        self._order = order
        self._lane.extend(
            [task.index for task in order if not (task.blockers or task.outcome)]
        )

    def take(self, now: float) -> Optional[Task]:
        """Start an attempt of the next task, if there is one."""
        lane, late = self._lane, self._late
        while lane or late:
            if not late or (lane and lane[0] < late[0]):
                task = self._order[lane.popleft()]
            else:
                task = self._order[heappop(late)]
            if task.outcome is not None:
                self._stale -= 1
                continue
            if task.started is None:
                task.started = now
                task.attempts = 1
            else:
                self._retrying.discard(task)
                task.attempts += 1
                self._tries.began(task, now)
            return task
        return None

    def drop(self, task: Task, ready: bool = False) -> None:
        """A task has ended that may be waiting here for another attempt.

        :param ready: it waits here for the first.
        """
        if ready or task in self._retrying:
            self._retrying.discard(task)
            self._stale += 1

    def release(self, held: Mapping[str, int]) -> None:
        """An attempt has ended: what it held is free. Here no task holds anything."""

    def clear(self, held: Iterable[Mapping[str, int]] = ()) -> None:
        """Forget all: no task is ready any more.

        :param held: all that is held now.
        """
        self._lane.clear()
        self._late.clear()
        self._retrying.clear()
        self._stale = 0
