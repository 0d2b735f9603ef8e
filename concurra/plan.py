"""What is to be done, and what follows from each outcome: pure transitions.

::

    add ──> open ──> take ──> settle ──> ended
                      ^          |
                      └── retry, give_back

A plan knows no thread, clock, log or worker: it is told what happened and when. It is
not thread-safe; whoever shares it holds a lock. Every step costs O(1) for each task
and dependency it touches (and O(log n) where a task becomes ready out of turn); nothing
recurses.

An exception can strike a thread between any two lines (`PyThreadState_SetAsyncExc`).
So what is known of each task is written in such an order that all the rest can be
made from it again: see `rebuild`.
"""

from __future__ import annotations

from .collector import collection_paused
from .dag import Dag
from .errors import UnknownDependencyError, hidden
from .outcomes import FAILED, NOTHING, SUCCESS, Outcome, SkipError
from .ready import Ready
from .tasks import Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Collection, Dict, Hashable, List, Mapping, Sequence

__tracebackhide__ = hidden


class Plan:
    """Tasks, those that are ready, and every transition."""

    def __init__(self) -> None:
        self._dag = Dag()
        self.tasks = self._dag.tasks
        self._checked: Sequence[Task] = ()
        self._order: Sequence[Task] = ()  # once it is open
        self.ready = Ready()
        #: Starts an attempt of the next ready task: see `Ready.take`.
        self.take = self.ready.take
        #: The tasks that have ended, in this order; only ever appended to.
        self.ended: List[Task] = []

    @property
    def remaining(self) -> int:
        """How many tasks have not ended."""
        return len(self._order or self.tasks) - len(self.ended)

    @property
    def has_faults(self) -> bool:
        """Whether a task has gone wrong by itself; costs O(n)."""
        return any(each.outcome and each.outcome.fault for each in self.ended)

    # -- before the run ----------------------------------------------------------

    def add(self, task: Task, depends_on: Sequence[Hashable] = ()) -> None:
        """Add a task, or raise and leave everything as it was.

        For parameters and errors, see `Dag.add`.
        """
        self._dag.add(task, depends_on)

    def add_all(self, tasks: Sequence[Task]) -> None:
        """Add tasks that depend on nothing: all of them, or none.

        For errors, see `Dag.add`.
        """
        self._dag.add_all(tasks)

    def check(self) -> None:
        """See to it that the plan can be opened; what is added later is not part of it.

        Labels are asked (``__hash__``, ``__eq__``) for the last time.

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
        with collection_paused(len(self.tasks)):
            self._checked = self._dag.resolve()

    def open(self) -> None:
        """Find out which tasks are ready. The plan has been checked."""
        self._order = self._checked
        for task in self._order:
            task.blockers = len(task.needs)
        self.ready.open(self._order)

    def width(self) -> int:
        """How many tasks can be at work together, at the most.

        An upper bound that is cheap to know: each task but one of the longest path
        waits for another of that path.
        """
        tasks = self._order
        waiting = {task: len(task.needs) for task in tasks if task.needs}
        layer = [task for task in tasks if not task.needs]
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
        return len(tasks) - longest + 1 if longest else 0

    # -- during the run ----------------------------------------------------------

    def give_back(self, task: Task) -> None:
        """Undo a `take`: the attempt was not made after all."""
        task.attempts = len(task.errors)
        if not task.attempts:
            task.started = None
        self.ready.add_again(task)

    def settle(
        self, task: Task, outcome: Outcome, now: float, skip: bool = True
    ) -> None:
        """Record how an attempt came out: the only way to an outcome.

        The first outcome stands: a second one is refused. An attempt that failed goes
        back to the ready tasks while retries are left. What depends on a task that did
        not succeed ends with it, skipped.

        :param skip: False if `terminate` will end these, and all others.
        """
        if task.outcome is not None:
            return
        if outcome.cause is SUCCESS:
            task.ended = now
            task.outcome = outcome  # the last: who sees it may read all the rest
            self.ended.append(task)
            for dependent in task.dependents:
                dependent.blockers = blockers = dependent.blockers - 1
                if not blockers:
                    self.ready.add(dependent.index)
            return
        again = outcome.retry and task.attempts <= task.options.task_retries
        counts = outcome.mode is not None or (outcome.retry and task.errors)
        if again or (outcome.status is FAILED and counts):
            if len(task.errors) < task.attempts:  # or else see `rebuild`
                task.mode = outcome.mode or task.mode
                task.errors = [*task.errors, str(outcome.error)]
            if again:
                self.ready.add_again(task)
                return
        self._end(task, outcome, now)
        if skip:
            self._skip(task, now)

    def terminate(self, at_work: Mapping[Task, Outcome], now: float) -> None:
        """End every task that has not ended, in the order of adding.

        :param at_work: the outcomes of those that are at work.
        """
        waiting = Outcome.stopped(NOTHING)
        for task in self._order or self.tasks.values():
            if task.outcome is None:
                self._end(task, at_work.get(task, waiting), now)
        self.ready.clear()

    def rebuild(self, at_work: Collection[Task], now: float, skip: bool = True) -> None:
        """Make anew what follows from the tasks, after a transition was cut short.

        :param at_work: those that have been taken, and not settled.
        :param skip: see `settle`.
        """
        ended, tasks = set(self.ended), self._order
        self.ended.extend(each for each in tasks if each.outcome and each not in ended)
        self.ready.clear()
        for task in tasks:
            unmet = [each for each in task.needs if not _succeeded(each)]
            task.blockers = len(unmet)
            if task.outcome is not None or task in at_work:
                continue
            task.attempts = len(task.errors)
            if not task.attempts:
                task.started = None
            if not unmet:
                self.ready.add_again(task)
        for task in tuple(self.ended) if skip else ():
            if _failed(task):
                self._skip(task, now)

    def _skip(self, failed: Task, now: float) -> None:
        """End all tasks that depend on ``failed``, through any number of levels."""
        doomed: Dict[Task, None] = {}
        assert failed.outcome is not None
        error = failed.outcome.error
        root = error.root if isinstance(error, SkipError) else failed.label
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
            guilty = [
                needed.label
                for needed in task.needs
                if needed in doomed or _failed(needed)
            ]
            self._end(task, Outcome.skipped(guilty, root), now)

    def _end(self, task: Task, outcome: Outcome, now: float) -> None:
        if outcome.mode is None:  # it never began: nothing of it took any time
            task.attempts = len(task.errors)
            if not task.attempts:
                task.started = now
        self.ready.drop(task)
        task.ended = now
        task.outcome = outcome  # the last: who sees it may read all the rest
        self.ended.append(task)


def _succeeded(task: Task) -> bool:
    return task.outcome is not None and task.outcome.ok


def _failed(task: Task) -> bool:
    return task.outcome is not None and not task.outcome.ok
