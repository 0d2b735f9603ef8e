"""What is to be done next, and what follows from each outcome: pure decisions.

::

    add ──> open ──> take ──> settle ──> ended
                      ^          |
                      └── retry, give_back

A plan knows no thread, clock, log or worker: it is told what happened and when,
and answers with tasks. It is not thread-safe; whoever shares it holds a lock.
Every step costs O(1) for each task and dependency it touches (and O(log n) where a
task becomes ready out of turn); nothing recurses.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush

from .collector import collection_paused
from .dag import Dag
from .errors import UnknownDependencyError
from .outcomes import FAILED, SUCCESS, Outcome
from .tasks import Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Deque, Dict, Hashable, List, Mapping, Optional, Sequence, Set


class Plan:
    """Tasks, the queue of those that are ready, and every transition."""

    def __init__(self) -> None:
        self._dag = Dag()
        self.tasks = self._dag.tasks
        self._ended = 0
        self._order: List[Task] = []
        # Two queues of ready indices: what becomes ready in the order of adding goes
        # to the lane, what comes late to the heap. The smaller head is next.
        self._lane: Deque[int] = deque()
        self._late: List[int] = []
        # Tasks in these queues that wait for another attempt, and how many are there
        # that ended meanwhile: they are passed over when their turn comes.
        self._retrying: Set[Task] = set()
        self._stale = 0

    @property
    def remaining(self) -> int:
        """How many tasks have not ended."""
        return (len(self._order) or len(self.tasks)) - self._ended

    # -- before the run ----------------------------------------------------------

    def add(self, task: Task) -> None:
        """Add a task, or raise and leave everything as it was.

        For errors, see `Dag.add`.
        """
        self._dag.add(task)

    def add_all(self, tasks: Sequence[Task]) -> None:
        """Add tasks that depend on nothing: all of them, or none.

        For errors, see `Dag.add`.
        """
        self._dag.add_all(tasks)

    def check(self) -> None:
        """Raise if the plan cannot be opened.

        :raises UnknownDependencyError: tasks wait for labels that do not exist.
        """
        missing = {label for label, namers in self._dag.missing.items() if namers}
        unknown: Dict[Hashable, List[Hashable]] = {}
        for task in self.tasks.values() if missing else ():
            absent = [label for label in task.depends_on if label in missing]
            if absent:
                unknown[task.label] = absent
        if unknown:
            raise UnknownDependencyError(unknown)

    def open(self) -> None:
        """Fill the ready queue; nothing can be added from here on."""
        with collection_paused(len(self.tasks)):
            self._dag.close()
        self._order = list(self.tasks.values())
        for index, task in enumerate(self._order):
            task.index = index
            task.blockers = blockers = len(task.depends_on)
            if not blockers:
                self._lane.append(index)

    def width(self) -> int:
        """How many tasks can be at work together, at the most.

        An upper bound that is cheap to know: each task but one of the longest path
        waits for another of that path.
        """
        waiting = {task: task.blockers for task in self._order if task.blockers}
        layer = [task for task in self._order if not task.blockers]
        longest = 0
        while layer:
            longest += 1
            following = []
            for task in layer:
                for dependent in task.dependents:
                    waiting[dependent] -= 1
                    if not waiting[dependent]:
                        following.append(dependent)
            layer = following
        return len(self._order) - longest + 1 if longest else 0

    # -- during the run ----------------------------------------------------------

    @property
    def ready(self) -> int:
        """How many tasks could start now."""
        return len(self._lane) + len(self._late) - self._stale

    def take(self, now: float) -> Optional[Task]:
        """Start an attempt of the ready task that was added first, if there is one."""
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
            return task
        return None

    def give_back(self, task: Task) -> None:
        """Undo a `take`: the attempt was not made after all."""
        task.attempts -= 1
        if task.attempts:
            self._retrying.add(task)
        else:
            task.started = None
        heappush(self._late, task.index)

    def settle(
        self, task: Task, outcome: Outcome, now: float, skip: bool = True
    ) -> Sequence[Task]:
        """Record how an attempt came out; the tasks that ended by it, in order.

        The first outcome stands: a second one is refused, and ends nothing. An
        attempt that failed goes back to the ready queue while retries are left.
        What depends on a task that did not succeed ends with it, skipped.

        :param skip: False if `terminate` will end these, and all others.
        """
        if task.outcome is not None:
            return ()
        if outcome.cause is SUCCESS:
            task.ended = now
            task.outcome = outcome  # the last: who sees it may read all the rest
            self._ended += 1
            lane = self._lane
            for dependent in task.dependents:
                dependent.blockers = blockers = dependent.blockers - 1
                if not blockers:
                    index = dependent.index
                    if not lane or index > lane[-1]:
                        lane.append(index)
                    else:
                        heappush(self._late, index)
            return (task,)
        again = outcome.retry and task.attempts <= task.retries
        counts = outcome.mode is not None or (outcome.retry and task.errors)
        if again or (outcome.status is FAILED and counts):
            task.errors = [*task.errors, outcome.error or ""]
            task.mode = outcome.mode or task.mode
            if again:
                self._retrying.add(task)
                heappush(self._late, task.index)
                return ()
        self._end(task, outcome, now)
        return [task, *self._skip(task, now)] if skip else (task,)

    def terminate(self, running: Mapping[Task, Outcome], now: float) -> List[Task]:
        """End every task that has not ended; these, in the order of adding.

        :param running: the outcomes of those that are at work.
        """
        waiting = Outcome.stopped()
        ended = [task for task in self.tasks.values() if task.outcome is None]
        for task in ended:
            self._end(task, running.get(task, waiting), now)
        self._lane.clear()
        self._late.clear()
        self._stale = 0
        return ended

    def _skip(self, failed: Task, now: float) -> List[Task]:
        """End all tasks that depend on ``failed``, through any number of levels."""
        doomed: Dict[Task, None] = {}
        wave = [failed]
        while wave:
            following = []
            for task in wave:
                for dependent in task.dependents:
                    if dependent.outcome is None and dependent not in doomed:
                        doomed[dependent] = None
                        following.append(dependent)
            wave = following
        for task in doomed:
            needed = (self.tasks[label] for label in task.depends_on)
            guilty = [
                other.label
                for other in needed
                if other in doomed or (other.outcome and not other.outcome.ok)
            ]
            self._end(task, Outcome.skipped(guilty), now)
        return list(doomed)

    def _end(self, task: Task, outcome: Outcome, now: float) -> None:
        if outcome.mode is None:  # it never began: nothing of it took any time
            task.attempts = len(task.errors)
            if not task.attempts:
                task.started = now
        if task in self._retrying:
            self._retrying.discard(task)
            self._stale += 1
        task.ended = now
        task.outcome = outcome  # the last: who sees it may read all the rest
        self._ended += 1
