"""Everything that is decided during a run: events in, effects out. Pure.

::

    open, come, ended, gone, unavailable, expire, cancel, stop      what happened, when
                          │
                          v
          plan + slots + deadlines + limit
                          │
                          v
    START slot · STOP slot · ABANDON slot · DELAY task · AT moment · KILL_ALL · FINISH

It knows no thread, lock, clock or log. Its owner holds a lock while it decides, and
carries out the effects afterwards, in order. It asks of a worker only what takes no
time and runs no other code: what is at hand, and to begin no further job (`dismiss`).

Each effect can be done twice: its slot's state tells whether it is still called for. So
where a late exception that was meant for a task (see `plan`) has cut a decision short,
or its effects, all of these can be derived again: see `rebuild`.
"""

from __future__ import annotations

from collections import deque

from ..events import RUN_END, RUN_START, TASK_RETRY, TASK_START
from ..options import seconds_of
from ..outcomes import NOTHING, SUCCESS, Outcome
from ..plan import rules
from .deadlines import TIMEOUT, Deadlines, is_timed
from .effects import DELAY, FINISH, START, STOP
from .limit import AGAIN_ONCE, LEAVE, SETTLE, Limit
from .slots import AT_WORK, COMING, GONE, PARKED, STOPPING, Slot, Slots
from .stopping import Stopping
from .timers import FOREVER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Deque, Dict, Mapping, Optional, Set, Tuple

    from ..events import Events
    from ..plan.plan import Plan
    from ..tasks import Task
    from .effects import Effect


class RunState(Stopping):
    """The state of a run, and every decision.

    :param plan: checked, and the run's own from now on.
    :param events: where it is recorded which tasks have ended.
    :param limit: how many tasks may be at work together.
    :param at_first: with how many slots it begins; None for all.
    :param timeout: seconds that a task may take, its retries included, if it has no
        timeout of its own; None for ever.
    :param run_timeout: seconds that the run may take; None for ever.
    :param progress_every: seconds between two looks at how far it has come, or None.
    :param resources: how much there is of each.
    :param grace: seconds between asking a worker to stop and forcing it.
    :param fast_fail: whether the first task that goes wrong ends all others.
    :param cancelled: tasks that are not to begin.
    :param restored: tasks that need not be run, and their outcomes.
    """

    def __init__(
        self,
        plan: Plan,
        events: Events,
        *,
        limit: int,
        at_first: Optional[int] = None,
        timeout: Optional[float] = None,
        run_timeout: Optional[float] = None,
        progress_every: Optional[float] = None,
        resources: Optional[Mapping[str, int]] = None,
        grace: float = 1.0,
        fast_fail: bool = False,
        cancelled: Optional[Dict[Task, None]] = None,
        restored: Optional[Mapping[Task, Outcome]] = None,
    ) -> None:
        self.plan = plan
        self.events = events
        self.slots = Slots()
        #: What is to be done; whoever has left the lock takes from the left.
        self.effects: Deque[Effect] = deque()
        #: Whether nothing is to be started any more.
        self.stopped = False
        #: Whether everything has ended, and no slot is busy.
        self.over = False
        #: Whether a task or an attempt has a timeout; known once the run has begun.
        self.timed = False
        self._deadlines = Deadlines(self.effects)
        self._limit = Limit(limit, at_first)
        self._timeout = timeout
        self._run_timeout = run_timeout
        self._look_every = progress_every
        self._resources = resources or {}
        self._grace = grace
        self._fast_fail = fast_fail
        self._cancelled: Dict[Task, None] = {} if cancelled is None else cancelled
        self._restored = restored or {}
        self._ends_by = FOREVER
        self._special = False  # whether a begin is more than a take
        self._opened = self._preparing = False
        self._abandoning = 0  # workers that are to release what they hold
        self._extended: Set[Any] = set()  # what was given a little more time

    @property
    def next_moment(self) -> float:
        """When the state is to be told what time it is."""
        return self._deadlines.next

    def open(self, now: float = 0.0) -> bool:
        """The run begins, unless it has been stopped: see which tasks are ready."""
        if self.stopped or self._opened:
            return False
        restored = self._restored
        if restored and self._cancelled:
            restored = rules.without(self._cancelled, restored, self.plan.dependents)
        self.plan.open(self._resources, restored, now)
        self._opened = self._preparing = True
        options = (self.plan.shared, *self.plan.own)
        self.timed = self._timeout is not None or any(map(is_timed, options))
        held = any(each.resources for each in options)
        self._special = self.timed or held or TASK_START in self.events.kinds
        if self._run_timeout is not None:
            self._ends_by = now + seconds_of(self._run_timeout)
            self._deadlines.end_run(self._ends_by)
        self._look_later(now)
        self.events.note(RUN_START, None, now)
        self.events.record(self.plan.ended, now)
        if self._cancelled:  # cancelled, not skipped for another's sake
            for task in rules.dependents_first(self._cancelled):
                self.cancel(task, now)
        return True

    def call(self, late: int = 0) -> None:
        """Let slots come: all is prepared, or ``late`` of those coming are held up."""
        self._preparing = False
        self._call(late)
        self._check_end()

    def come(self, slot: Slot, claim: object, now: float) -> Tuple[int, Optional[Task]]:
        """A slot has come for a task; its state, and the task that it has taken.

        If the state returned is PARKED, the slot is not the caller's to serve any more:
        of all callers that come for it, only one takes a task.

        :param claim: a new object for each call. It shows whether a call that was cut
            short, and is decided again, had taken the task.
        """
        if slot.state >= STOPPING:
            return slot.state, None
        if slot.state != COMING:
            mine = slot.state == AT_WORK and slot.claim is claim
            return (AT_WORK, slot.task) if mine else (PARKED, None)
        slot.claim = claim
        slot.came = True
        take = self.plan.take
        task = take(now)
        if task is None:
            self.slots.move(slot, PARKED)
        else:
            self._begin(slot, task, now)
            self.slots.move(slot, AT_WORK)
        self._call()
        self._check_end()
        return slot.state, task

    def ended(self, slot: Slot, follow: bool = True) -> None:
        """The job of a slot has come to its outcome, at its moment.

        Either the slot has a ``following`` task then, or it is to `come`: there is
        something to do first, or no task is ready.

        :param follow: False if the slot's own thread has yet to come for the next task.
        """
        task, outcome, now = slot.task, slot.outcome, slot.moment
        if slot.state != AT_WORK:
            slot.following = None
            return  # nothing that it says counts any more
        if task is None or outcome is None:
            slot.following = task  # it has been decided before
            return
        plan, slots, events = self.plan, self.slots, self.events
        if outcome.cause is SUCCESS:
            plan.settle(task, outcome, now)
            ended = len(plan.ended)
            if outcome.warning is None and events.ended + 1 == ended != events.next:
                events.ended = ended  # nobody wants to know of it
            else:
                events.record(plan.ended, now)
        elif not self._give_back(slot, task, outcome):
            self._settle(task, outcome, now)
        slot.task = slot.following = None  # from here on it is recorded
        slot.outcome = None
        if slot.held:
            self._release(slot)
        if slot.state != AT_WORK:
            return
        worker: Any = slot.worker
        if follow and not (events.unread or worker.unreaped):
            full = slots.staff >= self._limit.now and not slots.parked
            if full or not plan.ready.more_than(slots.count[COMING] + 1):
                if self.timed:
                    now = max(now, slot.free)
                take = plan.take  # an attribute: to call it at once would be slower
                following = take(now)
                if following is not None:
                    self._begin(slot, following, now)
                    slot.following = following
                    if self._limit.rises:
                        self._watch()
                    return
        slots.move(slot, COMING)
        self._call()

    def gone(self, slot: Slot, now: float, final: bool = False) -> None:
        """Nobody serves a slot any more; a task that it has taken has not begun.

        :param final: no other slot is to come for that.
        """
        if slot.state == GONE:
            return
        task, stopped = slot.task, slot.state == STOPPING and not slot.leaving
        slot.task = None
        self.slots.move(slot, GONE)
        if task is not None:
            self._put_back(task)
        if slot.held:
            self._release(slot)
        if slot.retrying is not None:
            self._retry(slot.retrying, now)
        self._limit.gone(stopped, not (final or self.slots.all))
        self._call()
        self._check_end()

    def unavailable(self, slot: Slot, now: float) -> None:
        """No thread or worker can be had for a slot; its task has not begun."""
        if slot.state in (COMING, AT_WORK):
            final = self._limit.is_final(slot, self.slots)
            self._limit.lower(self.slots.staff - 1)
            self.gone(slot, now, final)
            if final:
                self.stop(now)

    def rebuild(self, now: float) -> None:
        """Restore what a decision that was cut short has left half done."""
        slots, plan = self.slots, self.plan
        slots.rebuild()
        self._limit.rebuild(slots)
        for slot in slots.all:
            if slot.state != AT_WORK:
                slot.task = None
            elif slot.task is None:
                slots.move(slot, COMING)
                slot.outcome = None
            if slot.state != STOPPING:  # it may still use what it holds
                slot.held = slot.task.options.resources if slot.task else {}
        held = [slot.held for slot in slots.all]
        ending = self.stopped or (self._fast_fail and plan.has_faults)
        plan.rebuild(self._taken(), now, not ending, held)
        if ending:
            late = self.stopped and now >= self._ends_by
            self._terminate(now, timeout=self._run_timeout if late else None)
        self.events.record(plan.ended, now)
        self._deadlines.rebuild()
        self.renew_effects()

    def renew_effects(self) -> None:
        """Add each effect once more that may have been left undone."""
        self._abandoning = 0
        self._deadlines.renew()
        for slot in self.slots.all:
            if slot.state == COMING:  # whoever comes first serves it
                self.effects.append((START, slot, None))
            elif slot.state == STOPPING and not slot.leaving:
                self.effects.append((STOP, slot, slot.step))
        held = {slot.retrying for slot in self.slots.all}
        for task, moment in self.plan.delayed.items():
            if moment is None and task not in held:
                self.effects.append((DELAY, None, (task, None)))
        self.over = False
        self._call()
        self._check_end()

    # -- tasks -----------------------------------------------------------------------

    def _begin(self, slot: Slot, task: Task, now: float) -> None:
        slot.worker.at_hand = NOTHING  # type: ignore[union-attr]
        slot.task = task  # second: `snapshot` may look between the two
        slot.departures = self._limit.departures
        if self._special:
            slot.held = task.options.resources
            if TASK_START in self.events.kinds and self._is_start(task):
                self.events.note(TASK_START, task, now)
            self._set_deadlines(slot, task, now)

    def _is_start(self, task: Task) -> bool:
        """Whether what begins is an attempt that readers of events are told of."""
        return True

    def _set_deadlines(self, slot: Slot, task: Task, now: float) -> None:
        timeout = self._timeout_of(task)
        if timeout is not None and task.attempts == 1:
            self._deadlines.add(TIMEOUT, task, now + seconds_of(timeout), now)
        self._limit_attempt(slot, task, now)

    def deadline(self, slot: Slot, task: Task) -> Optional[float]:
        """When the task of a slot is ended at the latest; None if it has no limit."""
        if not self.timed and self._run_timeout is None:
            return None
        options, moments = task.options, [self._ends_by]
        if task.started is not None:
            moments.append(task.started + seconds_of(self._timeout_of(task)))
        if options.retry is not None:
            moments.append(slot.began + seconds_of(options.retry.attempt_timeout))
        first = min(moments)
        return first if first < FOREVER else None

    def _settle(
        self,
        task: Task,
        outcome: Outcome,
        now: float,
        until_gone: Optional[Slot] = None,
    ) -> None:
        """Record how an attempt came out.

        :param until_gone: the slot that is still at it, so the next attempt has to wait
            until it has gone.
        """
        plan, fast_fail = self.plan, self._fast_fail
        plan.settle(task, outcome, now, not fast_fail, until_gone is not None)
        if fast_fail and outcome.fault and task.outcome is outcome:
            self._bring_in([slot for slot in self.slots.all if slot.task is not task])
            self._terminate(now)
        if task.outcome is None and task.errors:
            self.events.note(TASK_RETRY, task, now)
            if until_gone is not None:
                until_gone.retrying = task
            elif task in plan.delayed:
                self._retry(task, now)
        self.events.record(plan.ended, now)

    def _retry(self, task: Task, now: float) -> None:
        """Have a task wait for its next attempt, or make that at once."""
        retry = task.options.retry
        if retry is None or not retry.delays:
            self.plan.resume(task)
        elif task in self.plan.delayed:
            self.effects.append((DELAY, None, (task, now)))

    def _give_back(self, slot: Slot, task: Task, outcome: Outcome) -> bool:
        """Give back a task that has not begun, if there may be a worker for it."""
        decision = self._limit.decide(slot, task, outcome, self.slots)
        if decision == SETTLE:
            return False
        self._put_back(task)
        if decision == AGAIN_ONCE:
            self._limit.note_again(task)
        elif decision == LEAVE:
            self._limit.lower(self._limit.now - 1)
            slot.leaving = True
            self.slots.move(slot, STOPPING)
            self._call()
        return True

    # -- slots -----------------------------------------------------------------------

    def _call(self, late: int = 0) -> None:
        """Let as many slots come as there are tasks to take; ``late``: see `call`."""
        plan, slots = self.plan, self.slots
        if self._preparing:
            return
        while plan.ready.more_than(max(0, slots.count[COMING] - late)):
            if slots.parked:
                slot = next(reversed(slots.parked))
                slots.move(slot, COMING)
            elif slots.staff < self._limit.now:
                slot = slots.new()
            else:
                return self._watch()
            slot.departures = self._limit.departures
            self.effects.append((START, slot, None))

    def _release(self, slot: Slot) -> None:
        """An attempt has ended: what it has held is free."""
        held, slot.held = slot.held, {}
        self.plan.ready.release(held)

    def _check_end(self) -> None:
        busy = self._preparing or self._abandoning or self.slots.busy
        if not (self.over or self.plan.remaining or busy):
            self.over = True
            ended = self.plan.ended
            moment = ended[-1].ended if ended else None
            self.events.note(RUN_END, None, moment or 0.0)
            self.effects.append((FINISH, None, None))
