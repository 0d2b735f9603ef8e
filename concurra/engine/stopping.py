"""How tasks are ended by force: by time, by `cancel`, by a stop. A part of `state`.

::

    expire, cancel, stop ──> the task has its outcome
                             its slot is STOPPING ──> STOP, forced after the grace
                                                  ──> ABANDON, if that does not help

The outcome does not wait for the end of what is stopped. What had happened before the
stop counts first, however late it is recorded: the program may have been paused, while
the answer of a process was waiting in its pipe.
"""

from __future__ import annotations

from .. import steps
from ..events import RUN_START
from ..options import seconds_of
from ..outcomes import NOTHING, AtHand, Outcome
from .deadlines import ATTEMPT, GRACE, RETRY, RISE, TICK, TIMEOUT
from .effects import ABANDON, KILL_ALL, STOP
from .limit import STEP
from .slots import AT_WORK, COMING, PARKED, STOPPING
from .timers import FOREVER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import AbstractSet, Any, Callable, Deque, Dict, Final, Iterable, List
    from typing import Optional, Set

    from ..events import Events
    from ..plan.plan import Plan
    from ..tasks import Task
    from .deadlines import Deadlines
    from .effects import Effect
    from .limit import Limit, Look
    from .slots import Slot, Slots

    Outcomes = Dict[Task, Outcome]

#: Seconds more for a task whose time is over if it has visibly ended: its outcome is
#: about to come in.
LATE: Final = 1.0


class Stopping:
    """The half of `state.RunState` that ends what does not end by itself."""

    plan: Plan
    events: Events
    slots: Slots
    effects: Deque[Effect]
    stopped: bool
    _cancelled: Dict[Task, None]
    _deadlines: Deadlines
    _limit: Limit
    _timeout: Optional[float]
    _run_timeout: Optional[float]
    _look_every: Optional[float]
    _grace: float
    _opened: bool
    _abandoning: int
    _extended: Set[Any]

    def ended(self, slot: Slot, follow: bool = True) -> None:
        """See `state.RunState.ended`; what follows is there as well."""
        raise NotImplementedError

    def gone(self, slot: Slot, now: float) -> None:
        """Nobody serves a slot any more."""
        raise NotImplementedError

    def _settle(
        self,
        task: Task,
        outcome: Outcome,
        now: float,
        until_gone: Optional[Slot] = None,
    ) -> None:
        raise NotImplementedError

    def _slot_of(self, task: Task) -> Optional[Slot]:
        """The slot that is at a task."""
        if task.started is None or task.outcome is not None:
            return None
        return next((slot for slot in self.slots.all if slot.task is task), None)

    def _slots_at(self, task: Task) -> List[Slot]:
        """The slots that are at a task."""
        slot = self._slot_of(task)
        return [] if slot is None else [slot]

    def _dismiss(self, task: Task, slot: Optional[Slot]) -> AtHand:
        """Have no further job begin in the slot of a task; what is at hand."""
        return NOTHING if slot is None else slot.dismiss()

    def _outcomes_between(self, outcome: Callable[[AtHand], Outcome]) -> Outcomes:
        """The outcomes of tasks that are at work, but in no slot just now."""
        return {}

    def _put_back(self, task: Task) -> None:
        """Give back a task that was taken and has not begun."""
        self.plan.give_back(task)

    def _taken(self) -> Set[Task]:
        """The tasks that have been taken, and not settled."""
        return {slot.task for slot in self.slots.all if slot.task is not None}

    def _call(self, late: int = 0) -> None:
        raise NotImplementedError

    def _check_end(self) -> None:
        raise NotImplementedError

    @property
    def running(self) -> int:
        """How many tasks are at work."""
        return self.slots.count[AT_WORK]

    @property
    def ready(self) -> int:
        """How many tasks wait for nothing but their turn."""
        return len(self.plan.ready)

    def unstoppable(self, slot: Slot, now: float) -> None:
        """The worker of a slot cannot be stopped."""
        if slot.state == STOPPING:
            self._abandon(slot, now)

    def abandoned(self) -> None:
        """A worker has released what it held, as it was told to."""
        self._abandoning = max(0, self._abandoning - 1)
        self._check_end()

    def expire(self, now: float, ending: AbstractSet[Task] = frozenset()) -> None:
        """Do what is due: end what has taken too long, take the next steps of stops.

        :param ending: tasks that have visibly ended, but whose outcomes have not come
            in yet. They get a little more time for that.
        """
        for kind, what in self._deadlines.due(now):
            if kind == GRACE:
                self._take_step(what, now, what.step + 1)
            elif kind == TIMEOUT:
                if not (what in ending and self._extend(what, now)):
                    self._time_out(what, now)
            elif kind == ATTEMPT:
                if not (what.task in ending and self._extend(what.task, now, what)):
                    self._time_out_attempt(what, now)
            elif kind == RETRY:
                self.plan.resume(what)
            elif kind == RISE:
                self._rise(what, now)
            elif kind == TICK:
                self.events.note_look(now)
                self._look_later(now)
            elif self.plan.remaining and not (ending and self._extend(None, now)):
                self._time_out_run(now)
        self._deadlines.look_on()
        self._call()
        self._check_end()

    def _watch(self) -> None:
        """See from now on whether more slots would help, if there may be more."""
        limit = self._limit
        if limit.rises and not limit.watched:
            limit.watched = True
            self._deadlines.add(RISE, None, -FOREVER)

    def _rise(self, last: Optional[Look], now: float) -> None:
        """Look whether more slots would help; the caller lets them come."""
        limit, slots = self._limit, self.slots
        full = slots.staff >= limit.now and not slots.parked
        wanted = full and self.plan.ready.more_than(slots.count[COMING])
        starting = any(slot.is_starting() for slot in slots.all)
        look = limit.look(last, now, len(self.plan.ended), wanted, starting)
        limit.watched = look is not None
        if look is not None:
            self._deadlines.add(RISE, look, now + STEP)

    @property
    def rises(self) -> bool:
        """Whether more slots are allowed in time."""
        return self._limit.rises

    def rise(self) -> None:
        """Allow all slots at once: nobody can look whether they would help."""
        self._limit.rise()

    def _bring_in(self, slots: Iterable[Slot]) -> None:
        """Record the outcomes that slots have already: these count first."""
        for slot in tuple(slots):
            if slot.state == AT_WORK and slot.outcome is not None:
                self.ended(slot, follow=False)

    def _timeout_of(self, task: Task) -> Optional[float]:
        """Seconds that a task may take, its retries included; None for ever."""
        timeout = task.options.timeout
        return self._timeout if timeout is None else timeout

    def _limit_attempt(self, slot: Slot, task: Task, now: float) -> None:
        """Set the deadline of an attempt, if it is to have one."""
        retry = task.options.retry
        if retry is not None and retry.attempt_timeout is not None:
            slot.began = now
            moment = now + seconds_of(retry.attempt_timeout)
            self._deadlines.add(ATTEMPT, slot, moment, (task, now))

    def _look_later(self, now: float) -> None:
        """Have readers of events look how far the run has come, if they want to."""
        if self._look_every is not None:
            self._deadlines.tick(now + seconds_of(self._look_every))

    def delay(self, task: Task, seconds: float, now: float) -> None:
        """Have a task wait for its next attempt; only the first answer counts."""
        delayed = self.plan.delayed
        if task in delayed and delayed[task] is None:
            self._deadlines.add(RETRY, task, now + seconds, task.attempts)
            delayed[task] = now + seconds

    def delay_failed(self, task: Task, error: BaseException, now: float) -> None:
        """The function that says how long a task waits has raised an error."""
        if task in self.plan.delayed:
            outcome = Outcome.raised(None, error)
            outcome.error = f"{task.errors[-1]} ({outcome.error} in the delay)"
            outcome.final = True
            self._settle(task, outcome, now)
            self._call()
            self._check_end()

    def cancel(self, task: Task, now: float) -> bool:
        """End one task; whether that was still to be done."""
        if not (self._opened or self.stopped):  # `open` will do it
            new = task not in self._cancelled
            self._cancelled[task] = None
            return new
        self._bring_in(self._slots_at(task))
        if task.outcome is not None:
            return False
        slot = self._slot_of(task)
        at_hand = self._dismiss(task, slot)
        self.plan.cancel(task, Outcome.cancelled(at_hand), now, slot is not None)
        self.events.record(self.plan.ended, now)
        if slot is not None:
            self._stop_slot(slot, now)
        self._call()
        self._check_end()
        return True

    def stop(self, now: float, force: int = steps.TERMINATE) -> None:
        """End every task that has not ended.

        :param force: the step to begin with, one of `steps`.
        """
        self._bring_in(self.slots.all)
        if not (self._opened or self.stopped):
            self.events.note(RUN_START, None, now)
        self.stopped = True
        self._deadlines.tick(FOREVER)
        for slot in self.slots.all:
            if slot.state == STOPPING and slot.step < force:
                self._take_step(slot, now, force)
        self._terminate(now, force)
        self.events.record(self.plan.ended, now)
        if force == steps.KILL:
            self.effects.append((KILL_ALL, None, None))
        self._check_end()

    def _extend(
        self, task: Optional[Task], now: float, slot: Optional[Slot] = None
    ) -> bool:
        """Let something that is due wait a little; only once.

        :param task: None for the run.
        :param slot: if it is its attempt that is due.
        """
        key = task and (task, task.attempts)
        if key in self._extended:
            return False
        self._extended.add(key)
        if task is None:
            self._deadlines.end_run(now + LATE)
        elif slot is None:
            self._deadlines.add(TIMEOUT, task, now + LATE, task.started)
        else:
            self._deadlines.add(ATTEMPT, slot, now + LATE, (task, slot.began))
        return True

    # -- how -------------------------------------------------------------------------

    def _time_out(self, task: Task, now: float) -> None:
        self._bring_in(self._slots_at(task))
        if task.outcome is not None:  # by what has just been brought in
            return
        slot, timeout = self._slot_of(task), self._timeout_of(task)
        assert timeout is not None
        at_hand = self._dismiss(task, slot)
        self._settle(task, Outcome.timed_out(timeout, at_hand), now)
        if slot is not None and slot.state == AT_WORK:
            self._stop_slot(slot, now)

    def _time_out_attempt(self, slot: Slot, now: float) -> None:
        self._bring_in([slot])
        task = slot.task
        if task is None:
            return
        retry = task.options.retry
        assert retry is not None and retry.attempt_timeout is not None
        outcome = Outcome.attempt_timed_out(retry.attempt_timeout, slot.dismiss())
        self._settle(task, outcome, now, slot)
        if slot.state == AT_WORK:
            self._stop_slot(slot, now)

    def _time_out_run(self, now: float) -> None:
        assert self._run_timeout is not None
        self._bring_in(self.slots.all)
        self.stopped = True
        self._deadlines.tick(FOREVER)
        self._terminate(now, timeout=self._run_timeout)
        self.events.record(self.plan.ended, now)

    def _terminate(
        self,
        now: float,
        force: int = steps.TERMINATE,
        timeout: Optional[float] = None,
    ) -> None:
        """End all tasks, and stop all slots that are at one, or on their way.

        :param timeout: the run's, if that is the reason.
        """

        def outcome(at_hand: AtHand = NOTHING) -> Outcome:
            if timeout is None:
                return Outcome.stopped(at_hand)
            return Outcome.run_timed_out(timeout, at_hand)

        stopping: List[Slot] = []
        outcomes = self._outcomes_between(outcome)
        for slot in self.slots.all:
            task = slot.task
            if slot.state == COMING:
                slot.dismiss()
                stopping.append(slot)
            elif task is not None and task.outcome is None:
                task = task.whole or task
                outcomes[task] = outcome(self._dismiss(task, slot))
                stopping.append(slot)
        self.plan.terminate(outcomes, now, outcome())
        for slot in stopping:
            self._stop_slot(slot, now, force)

    def withdraw(self, slot: Slot, now: float) -> None:
        """The thread of a slot was struck, and closes its worker: no other serves it.

        What it is at, if there is a task, is still to be recorded.
        """
        if slot.state == COMING:
            slot.leaving = True
            self.slots.move(slot, STOPPING)
        elif slot.state == PARKED:
            self.gone(slot, now)

    def _stop_slot(self, slot: Slot, now: float, force: int = steps.TERMINATE) -> None:
        self.slots.move(slot, STOPPING)
        slot.task = None
        self._take_step(slot, now, force)

    def _take_step(self, slot: Slot, now: float, force: int) -> None:
        if force > steps.KILL:
            return self._abandon(slot, now)
        # An interrupt and what follows it share one grace period.
        shared = steps.INTERRUPT in (force, slot.step) and force != steps.KILL
        slot.step = force
        self.effects.append((STOP, slot, force))
        slot.due = now + self._grace / (2 if shared else 1)
        self._deadlines.add(GRACE, slot, slot.due, slot.due)

    def _abandon(self, slot: Slot, now: float) -> None:
        self._abandoning += 1
        self.effects.append((ABANDON, slot, None))
        self.gone(slot, now)
