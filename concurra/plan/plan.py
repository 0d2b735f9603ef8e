"""What is to be done, and what follows from each outcome: pure transitions.

::

    add ──> open ──> take ──> settle ──> ended
                      ^          |
                      └── retry, give_back, resume

A plan knows no thread, clock, log or worker: it is told what happened and when. Several
threads may `add` at once; for all else, whoever shares it holds a lock. Every step
costs O(1) for each task and dependency it touches (and O(log n) where a task becomes
ready out of turn); nothing recurses.

An exception can strike a thread between any two lines (`PyThreadState_SetAsyncExc`).
So what is known of each task is written in such an order that all the rest can be
made from it again: see `rebuild`.
"""

from __future__ import annotations

from ..collector import collection_paused
from ..errors import hidden
from ..options import ALL_SUCCESS, DEFAULTS, ONE_FAILED, Options
from ..outcomes import FAILED, SUCCESS, TERMINATED, Outcome
from ..tasks import EMPTY, Errors, Task
from . import rules
from .dag import Dag
from .ready import Ready
from .tries import Tries
from .width import width

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextvars import Context
    from typing import Collection, Dict, Hashable, Iterable, List, Mapping
    from typing import Optional, Sequence, Union

    from ..maps.values import Values
    from .ranked import Ranked

__tracebackhide__ = hidden


class Plan:
    """Tasks, those that are ready, and every transition.

    :param shared: the options of tasks that have none of their own.
    """

    def __init__(self, shared: Options = DEFAULTS) -> None:
        self.shared = shared
        self.dag = Dag()
        self.tasks = self.dag.tasks
        #: See `Dag.dependents`.
        self.dependents = self.dag.dependents
        self.checked: Sequence[Task] = ()  # the tasks that were there then
        self._order: Sequence[Task] = ()  # once it is open
        self.tries = Tries()  # of those that are tried again
        self.ready: Union[Ready, Ranked] = Ready(self.tries)
        #: Adds a task, or raises and leaves everything as it was: see `Dag.add`.
        self.add = self.dag.add
        #: Adds many that depend on nothing: all of them, or none.
        self.add_all = self.dag.add_all
        #: Starts an attempt of the next ready task: see `Ready.take`.
        self.take = self.ready.take
        #: The tasks that have ended, in this order; only ever appended to.
        self.ended: List[Task] = []
        #: The jobs of tasks that ended without being done. Their arguments may have
        #: finalizers, so they are released by others, outside of the lock.
        self.dropped: List[object] = []
        #: How many tasks have ended without success, by their status.
        self.faults = {FAILED: 0, TERMINATED: 0}
        #: How many tasks failed, or ended because others did.
        self.failures = 0
        #: Those that wait for their next attempt, and its time, once that is known.
        self.delayed: Dict[Task, Optional[float]] = {}
        #: The options of tasks that have some of their own; known after `check`.
        self.own: List[Options] = []
        #: The context of the call added last; calls added in an equal one share it.
        self.context: Context = EMPTY
        #: The tasks whose jobs get results of others.
        self.referring: List[Task] = []
        #: The tasks that are maps, and what is known of the items of each.
        self.mapped: Dict[Task, Values] = {}
        self._ruled = False  # whether one has a trigger rule

    @property
    def remaining(self) -> int:
        """How many tasks have not ended."""
        return len(self._order or self.tasks) - len(self.ended)

    @property
    def has_faults(self) -> bool:
        """Whether a task has gone wrong by itself; costs O(n)."""
        return any(task.outcome and task.outcome.fault for task in self._order)

    # -- before the run ----------------------------------------------------------

    def check(self) -> None:
        """Prepare the plan to be opened; what is added later is left out.

        Labels are hashed and compared (the user's code) for the last time.

        :raises UnknownDependencyError: tasks wait for labels that do not exist.
        """
        with collection_paused(len(self.tasks)):
            self.checked = order = self.dag.resolve()
            shared = self.shared
            self.own = [t.options for t in order if t.options is not shared]
        for task in self.referring:
            task.job.needs = task.needs  # type: ignore[union-attr]

    def open(
        self,
        resources: Mapping[str, int] = {},
        restored: Mapping[Task, Outcome] = {},
        now: float = 0.0,
    ) -> None:
        """Find out which tasks are ready. The plan has been checked.

        :param resources: how much there is of each.
        :param restored: tasks that have succeeded before, with all that they need.
        """
        if any(each.priority or each.resources for each in self.own):
            from .ranked import Ranked

            self.ready = Ranked(resources, self.tries)
            self.take = self.ready.take
        self._ruled = any(each.trigger_rule != ALL_SUCCESS for each in self.own)
        self._order = self.checked
        for task, outcome in restored.items():
            if task.outcome is None:  # or else this was cut short, and begins anew
                task.started = task.ended = now
                task.attempts = 1
                task.outcome = outcome  # the last: see `rebuild`
                self._drop(task)
                self.ended.append(task)
        if restored:
            self._follow_all(now)
        for task in self._order if restored else ():
            task.blockers = rules.blockers(task)
        self.ready.clear()
        self.ready.open(self._order)

    def width(self) -> int:
        """How many tasks can be at work together, at the most: see `width.width`."""
        return width(self._order, self.dependents)

    # -- during the run ----------------------------------------------------------

    def give_back(self, task: Task) -> None:
        """Undo a `take`: the attempt was not made after all."""
        task.attempts = len(task.errors)
        if not task.attempts:
            task.started = None
        self.ready.add_again(task)

    def resume(self, task: Task) -> None:
        """It is time for the next attempt of a task, if it waits for that."""
        if task in self.delayed:
            del self.delayed[task]
            self.ready.add_again(task)

    def settle(
        self,
        task: Task,
        outcome: Outcome,
        now: float,
        skip: bool = True,
        delay: bool = False,
    ) -> None:
        """Record how an attempt came out: the only way to an outcome.

        The first outcome stands: a second one is refused. An attempt that failed goes
        back to the ready tasks while retries are left, or is `delayed` first. What
        depends on a task follows by its trigger rule: mostly, it ends with a task that
        did not succeed, skipped.

        The job of a success is held by whoever brings that in, so it is not released
        here.

        :param skip: False if `terminate` will end what depends on it, and all others.
        :param delay: whether another attempt has to wait in any case.
        """
        if task.outcome is not None:
            return
        if outcome.cause is SUCCESS:
            task.ended = now
            task.outcome = outcome  # the last: whoever sees it may read all the rest
            task.job = None
            self.ended.append(task)
            if self._ruled:
                return self._follow(task, now)
            for dependent in self.dependents[task.index]:
                dependent.blockers = blockers = dependent.blockers - 1
                if not blockers:
                    self.ready.add(dependent.index)
            return
        again = outcome.retry and task.attempts <= task.options.retries
        counts = outcome.mode is not None or (outcome.retry and task.errors)
        if again or (outcome.status is FAILED and counts):
            if len(task.errors) < task.attempts:  # or else see `rebuild`
                errors = *task.errors, str(outcome.error)
                task.errors = Errors(errors, outcome.mode or task.failed_mode)
            if again:
                self.tries.failed(task, now)
                retry = task.options.retry
                if delay or (retry is not None and retry.delays):
                    self.delayed[task] = None
                else:
                    self.ready.add_again(task)
                return
        self._end(task, outcome, now)
        if skip and self._ruled:
            self._follow(task, now)
        elif skip:
            self._skip([task], now)

    def cancel(self, task: Task, outcome: Outcome, now: float, at_work: bool) -> None:
        """Settle a task that is told to end, whatever state it is in."""
        if not at_work and task.started is None and task.blockers <= 0:
            self.ready.drop(task, ready=True)
        self.settle(task, outcome, now)

    def terminate(
        self,
        at_work: Mapping[Task, Outcome],
        now: float,
        waiting: Optional[Outcome] = None,
    ) -> None:
        """End every task that has not ended, in the order of adding.

        :param at_work: the outcomes of those that are at work.
        :param waiting: the outcome of all others; None for that of a stop.
        """
        waiting = waiting or Outcome.stopped()
        for task in self._order or self.tasks.values():
            if task.outcome is None:
                self._end(task, at_work.get(task, waiting), now)
        self.ready.clear()

    def close(self) -> None:
        """Everything has ended: release what only the run needed."""
        self.dropped.clear()
        self.referring.clear()
        self.take = self.ready.take  # `map_state` takes by a method of its own
        self.dependents[:] = [()] * len(self.dependents)

    def rebuild(
        self,
        at_work: Collection[Task],
        now: float,
        skip: bool = True,
        held: Iterable[Mapping[str, int]] = (),
    ) -> None:
        """Make anew what follows from the tasks, after a transition was cut short.

        :param at_work: those that have been taken, and not settled.
        :param skip: see `settle`.
        :param held: the resources that are held.
        """
        ended, tasks = set(self.ended), self._order
        self.ended.extend(each for each in tasks if each.outcome and each not in ended)
        self.faults = {FAILED: 0, TERMINATED: 0}
        self.failures = 0
        for task in self.ended:
            self._count(task)
        self.ready.clear(held)
        if skip:
            self._follow_all(now)
        for task in tasks:
            task.blockers = rules.blockers(task)
            if task.outcome is not None and task.job is not None:
                self._drop(task)
            if task.outcome is not None or task in at_work:
                self.delayed.pop(task, None)
                continue
            if task in self.delayed:
                continue
            task.attempts = len(task.errors)
            if not task.attempts:
                task.started = None
            if task.blockers <= 0:
                self.ready.add_again(task)

    def _follow_all(self, now: float) -> None:
        """End what is to end because of those that have ended."""
        many = -1
        while many != len(self.ended):
            many = len(self.ended)
            self._skip([task for task in self.ended if not rules.succeeded(task)], now)
            for task in self._order if self._ruled else ():
                if task.outcome is None and rules.is_untriggered(task):
                    self._end(task, Outcome.untriggered(), now)

    def _dependents(self, task: Task) -> Sequence[Task]:
        return self.dependents[task.index] if self.dependents else ()

    def _follow(self, task: Task, now: float) -> None:
        """Let what depends on a task that has ended follow, each by its rule."""
        wave = [task]
        while wave:
            unsuccessful = [each for each in wave if not rules.succeeded(each)]
            ended = [*wave, *self._skip(unsuccessful, now)]
            wave = []
            for task in ended:
                for dependent in self._dependents(task):
                    if dependent.outcome is None and dependent.blockers > 0:
                        self._trigger(dependent, task)
                        if not dependent.blockers and rules.is_untriggered(dependent):
                            self._end(dependent, Outcome.untriggered(), now)
                            wave.append(dependent)

    def _trigger(self, task: Task, needed: Task) -> None:
        """A dependency of a task has ended, which does not end the task."""
        task.blockers -= 1
        if task.options.trigger_rule == ONE_FAILED:
            if rules.failed(needed):
                task.blockers = -1  # it starts, whatever the others do
            elif not task.blockers:
                return
        if task.blockers <= 0:
            self.ready.add(task.index)

    def _skip(self, ended: Sequence[Task], now: float) -> List[Task]:
        """End all tasks that can start no more, through any number of levels.

        :param ended: tasks that have not succeeded.
        :return: those that end with them.
        """
        failed = [task for task in ended if rules.failed(task)]
        doomed = self._end_with(failed, now)
        if len(failed) < len(ended):
            doomed += self._end_with([t for t in ended if not rules.failed(t)], now)
        return doomed

    def _end_with(self, ended: Sequence[Task], now: float) -> List[Task]:
        failed = any(map(rules.failed, ended))
        doomed: Dict[Task, Hashable] = {}  # each with the label of its root
        roots = {task: rules.root(task) for task in ended}
        wave = ended
        while wave:
            following = []
            for task in wave:
                for dependent in self._dependents(task):
                    if (
                        dependent.outcome is None
                        and dependent not in doomed
                        and dependent.options.trigger_rule == ALL_SUCCESS
                    ):
                        doomed[dependent] = roots[dependent] = roots[task]
                        following.append(dependent)
            wave = following
        for task in doomed:
            if not failed:
                self._end(task, Outcome.untriggered(rules.BECAUSE), now)
                continue
            guilty = [
                needed.label
                for needed in task.needs
                if needed in doomed or (needed.outcome and not needed.outcome.ok)
            ]
            self._end(task, Outcome.skipped(guilty, doomed[task]), now)
        return list(doomed)

    def _end(self, task: Task, outcome: Outcome, now: float) -> None:
        if outcome.mode is None:  # it never began: nothing of it took any time
            task.attempts = len(task.errors)
            if not task.attempts:
                task.started = now
        self.ready.drop(task)
        self.delayed.pop(task, None)
        task.blockers = -1  # it is never ready after that
        task.ended = now
        task.outcome = outcome  # the last: whoever sees it may read all the rest
        self._drop(task)
        self.ended.append(task)
        self._count(task)

    def _drop(self, task: Task) -> None:
        self.dropped.append(task.job)  # first: it must not be released here
        task.job = None

    def _count(self, task: Task) -> None:
        outcome = task.outcome
        if outcome is not None and outcome.cause is not SUCCESS:
            self.faults[outcome.status] += 1
            self.failures += outcome.failed
