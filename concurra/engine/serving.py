"""How slots are served: by a thread, or by calls from anywhere.

::

    a thread serves a slot                     a job is done elsewhere
    ----------------------                     -----------------------
    come ──> begin(job) = outcome ─┐           begin(job) = None
      ^                            v                ...
      └──── ended, and the next <──┴────────── done(outcome), from any thread

Whoever brings in an outcome takes the next task in the same visit to the lock: nobody
polls and nobody hands over. A slot without a task needs no thread, and neither does one
whose job is done elsewhere. If the calling thread of ``done`` serves others, too, it is
never held up: jobs that may take their time to begin are left to other threads.

Such a job is over when two things have happened, in either order: ``begin`` has
returned, and ``done`` was called. Each of the two draws a ticket of the slot, and
whoever draws the second goes on with the slot.

The thread of a slot can be struck by an exception that was meant for a task (a late
timer). That costs the slot, and nothing else: see `decisions`.
"""

from __future__ import annotations

import threading
from functools import partial

from .. import current
from ..outcomes import ERROR, SUCCESS, Outcome
from ..steps import KILL
from ..tasks import CALLS
from ..threads import report
from ..wording import name
from .slots import COMING, PARKED, STOPPING, Slot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Hashable, List, Optional, Set, Tuple

    from ..events import Events
    from ..tasks import Job, Task
    from ..threads import ThreadCache
    from ..workers import Worker, Workers
    from .decisions import Decisions
    from .snapshot import AtWork
    from .state import RunState


class Serving:
    """What serves the slots of a run; the other half is `scheduler.Scheduler`."""

    _clock: Callable[[], float]
    _decisions: Decisions
    _events: Events
    _state: RunState
    _threads: ThreadCache
    _workers: Workers

    def __init__(self) -> None:
        self._serving: Dict[int, Optional[Slot]] = {}  # by the thread

    @property
    def running(self) -> int:
        """How many tasks are at work."""
        return self._state.running

    @property
    def ready(self) -> int:
        """How many tasks wait for nothing but their turn."""
        return self._state.ready

    def at_work(self) -> List[AtWork]:
        """What is at work, the longest first; for any thread."""
        from .snapshot import at_work

        return at_work(self._state.slots.all, self._clock())

    def _perform(self) -> None:
        """Do what was decided."""
        raise NotImplementedError

    def _tell(self) -> None:
        """Let the readers of events read on."""
        raise NotImplementedError

    def _let_come(self, slot: Slot) -> None:
        """Let a slot come, with a worker; in a thread, if it is to need one."""
        worker = self._hire(slot)
        try:
            if worker is None:
                return
            if not worker.elsewhere:
                self._threads.start(self._serve, slot)
                return
            state, task = self._come(slot)
            if state != PARKED and not self._go_on(slot, task):
                self._threads.start_soon(self._serve, slot)
        except Exception:  # no more threads: the run goes on with those it has
            slot.handed.clear()
            self._decisions.make(self._state.unavailable, slot, self._clock())
            if slot.state >= STOPPING:
                self._leave(slot)

    def _come(self, slot: Slot) -> Tuple[int, Optional[Task]]:
        """Have a slot come for a task; see `RunState.come`."""
        state: int
        task: Optional[Task]
        come, claim = self._state.come, object()
        state, task = self._decisions.make(come, slot, claim, self._clock())
        return state, task

    def _hire(self, slot: Slot) -> Optional[Worker]:
        """Get a worker for a slot that has none; None if there is none to be had."""
        try:
            if slot.worker is None:
                slot.worker = self._workers.hire(partial(self._done, slot))
        except Exception:
            self._decisions.make(self._state.unavailable, slot, self._clock())
        return slot.worker

    def _start(self, target: Callable[..., object], *args: Any) -> None:
        """Call it in another thread; or here if there are none at all."""
        try:
            self._threads.start_soon(target, *args)
        except Exception:
            target(*args)

    def _serve(self, slot: Slot) -> None:
        """Do the jobs of a slot, as long as it has any, in a thread that may block."""
        me = threading.get_ident()
        others = self._serving.get(me)
        self._serving[me] = slot
        if slot.worker is not None:
            slot.worker.thread = me
        before = current.exchange(partial(self._current, slot))
        try:
            self._work(slot)
        except BaseException as error:
            self._give_up(slot, error)
        finally:
            self._serving[me] = others
            current.exchange(before)

    def _current(self, slot: Slot) -> Optional[current.CurrentTask]:
        """What the thread of a slot is at."""
        task = slot.task
        if task is None:
            return None
        deadline = self._state.deadline(slot, task)
        return current.CurrentTask(task.label, task.attempts, deadline)

    def _note(self, slot: Slot, task: Task, label: Hashable) -> current.Note:
        """What goes along with a job of a task; the label is the task's, made plain."""
        retry = task.options.retry
        deadline = self._state.deadline(slot, task)
        on = None if retry is None or task.attempts > retry.retries else retry.on
        return label, task.attempts, deadline, on

    def _work(self, slot: Slot) -> None:
        task = slot.handed.pop() if slot.handed else self._next(slot)
        worker = slot.worker
        if task is None or worker is None:
            return
        begin, clock, visit = worker.begin, self._clock, self._decisions.visit
        claim = slot.claim  # see `_bring_in`
        remote, events, effects = worker.remote, self._events, self._state.effects
        timed = self._state.timed
        while task is not None:
            if effects:
                self._perform()
            if events.unread:
                self._tell_soon()
            job = task.job  # let go below: its finalizers must not run under the lock
            note = self._note(slot, task, _plain_label(task)) if remote else None
            outcome = begin(job, note)
            if outcome is not None:
                moment = clock()
                # One whose slot has been stopped meanwhile counts no more.
                last = outcome.cause is SUCCESS or (
                    slot.task is task and _judge(task, outcome)
                )
                slot.outcome = outcome
                slot.moment = moment
                if timed and last and _is_last_use(task, job):
                    # Finalizers of its arguments run now, and take no time of a task
                    # that follows. The local goes last: whoever brings in the outcome
                    # meanwhile must not run them, as that is under the lock.
                    task.job = job = None
                    slot.free = clock()
            elif not next(slot.tickets) & 1:
                return  # `done` is still to be called, and goes on
            visit(slot)
            job = None
            if slot.claim is not claim:
                return
            task = slot.following
            if task is None:
                task = self._next(slot)
                claim = slot.claim

    def _next(self, slot: Slot) -> Optional[Task]:
        """Do what is to be done first, and take a task; None if there is none."""
        self._perform()
        if self._events.unread and slot.state == COMING:
            if self._events.apart:  # observers take no task's place
                self._tell_soon()
            else:  # a line of the log stands before the next task
                if not self._events.quick():
                    self._let_others_come()
                self._tell()
        worker = slot.worker
        if worker is not None and worker.unreaped and slot.state == COMING:
            self._let_others_come()
            worker.reap()
        state, task = self._come(slot)
        self._perform()
        if state >= STOPPING:
            self._leave(slot)
        return task

    def _ending(self, now: float) -> Set[Task]:
        """The tasks whose time is over and which have visibly ended: see `expire`."""
        found: Set[Task] = set()
        for slot in list(self._state.slots.all):
            task, worker = slot.task, slot.worker
            if task is not None and worker is not None:
                deadline = self._state.deadline(slot, task)
                if deadline is not None and deadline <= now and worker.has_ended():
                    found.add(task)
        return found

    def _tell_soon(self) -> None:
        """Let the readers of events read on, without being held up by them."""
        if self._events.quick():
            self._tell()
        elif self._events.is_due():
            self._start(self._tell)

    def _let_others_come(self) -> None:
        """Let others come, as this thread has something to do that takes its time."""
        self._decisions.make(self._state.call, 1)
        self._perform()

    def _leave(self, slot: Slot) -> None:
        """Close the worker of a slot that was stopped or given up: the slot is gone."""
        worker = self._decisions.make(slot.take_worker)
        try:
            if worker is not None:
                worker.close()
        finally:
            if worker is not None:
                slot.worker = None
            self._decisions.make(self._state.gone, slot, self._clock())
            self._perform()

    def _give_up(self, slot: Slot, error: BaseException) -> None:
        """Let a slot go whose thread was struck by an exception.

        It was meant for a task that has ended, or a worker has broken its promise. The
        job at hand, if there is one, fails with it. Another slot takes the place.
        """
        try:
            report(error)
            self._decisions.record(slot, error)
            if slot.worker is not None:
                slot.worker.stop(KILL)
            self._leave(slot)
            self._decisions.make(self._state.renew_effects)
            self._perform()
            self._tell()  # it may have been at that
        except BaseException as another:  # one exception seldom comes alone
            self._give_up(slot, another)

    def _ask_delay(self, task: Task, since: Optional[float]) -> None:
        """Find out how long a task waits for its next attempt, from ``since`` on."""
        if callable(getattr(task.options.retry, "delay", None)):  # the user's
            self._start(self._find_delay, task, since, True)
        else:
            self._find_delay(task, since)

    def _find_delay(
        self, task: Task, since: Optional[float], perform: bool = False
    ) -> None:
        state, retry = self._state, task.options.retry
        try:
            seconds = 0.0 if retry is None else retry.wait(task.attempts)
        except BaseException as error:
            self._decisions.make(state.delay_failed, task, error, self._clock())
        else:
            since = self._clock() if since is None else since
            self._decisions.make(state.delay, task, seconds, since)
        if perform:  # or else the caller does
            self._perform()

    def _bring_in(self, slot: Slot) -> Optional[Task]:
        """Have the end of a job recorded; the task that the slot has taken next.

        None if another thread has come for the slot: where a strike has cut a decision
        short, it is let come once more, and a thread may wake up that late.
        """
        claim = slot.claim
        self._decisions.visit(slot)
        return slot.following if slot.claim is claim else None

    # -- jobs that are done elsewhere --------------------------------------------------

    def _done(self, slot: Slot, outcome: Outcome, serving: bool) -> None:
        """A job that was begun has come to its outcome; called once, by any thread.

        :param serving: whether the calling thread serves others, too.
        """
        try:
            slot.outcome, slot.moment = outcome, self._clock()
            if not next(slot.tickets) & 1:
                return  # `begin` is still to return
            task = slot.task
            job = None if task is None else task.job  # not let go under the lock
            timed = self._state.timed and outcome.cause is SUCCESS
            if task is not None and timed and _is_last_use(task, job):
                task.job = job = None  # see `_work`
                slot.free = self._clock()
            following = self._bring_in(slot)
            del job
            busy = serving or self._serving.get(threading.get_ident())
            if self._go_on(slot, following):
                if self._state.effects:
                    self._start(self._perform)
            elif busy:
                self._start(self._serve, slot)
            else:
                self._serve(slot)
        except BaseException as error:
            self._give_up(slot, error)

    def _go_on(self, slot: Slot, task: Optional[Task]) -> bool:
        """Begin a task that a slot has, and those that follow, while it takes no time.

        False if a thread is to serve the slot, and to begin what it is handed.
        """
        worker = slot.worker
        while (
            task is not None
            and worker is not None
            and _is_plain(task)
            and (job := task.job) is not None
            and worker.is_quick(job)
        ):
            if self._events.unread and self._events.is_due():
                self._start(self._tell)
            outcome = worker.begin(job, self._note(slot, task, task.label))
            if outcome is not None:
                slot.outcome, slot.moment = outcome, self._clock()
            elif not next(slot.tickets) & 1:
                return True  # `done` is still to be called
            task = self._bring_in(slot)
        if task is not None:
            slot.handed.append(task)
        return False


def _is_last_use(task: Task, job: Optional[Job]) -> bool:
    """Whether a job is a call that nobody needs once an attempt has come to its end.

    One that exceeded its `attempt_timeout` may go on, and end in the midst of the next.
    """
    retry = task.options.retry
    again = retry is not None and retry.retries and retry.attempt_timeout is not None
    return type(job) in CALLS and not again


def _is_plain(task: Task) -> bool:
    """Whether it calls none of the user's code to note what goes with a task."""
    retry = task.options.retry
    plain = retry is None or retry.on is Exception
    return plain and current.is_plain(task.label)


def _plain_label(task: Task) -> Hashable:
    """The label, or its name if it cannot be sent to another process as it is."""
    label = task.label
    return label if current.is_plain(label) else name(label)


def _judge(task: Task, outcome: Outcome) -> bool:
    """Ask the task's own rule whether there may be another attempt.

    Returns whether there is none for certain, whatever is decided.
    """
    options, error = task.options, outcome.exception
    left = outcome.retry and task.attempts <= options.retries
    if left and options.retry is not None and isinstance(error, BaseException):
        from ..retries import refusal

        outcome.refuse(refusal(options.retry.on, error))
        left = outcome.retry
    if not left:
        outcome.render_trace()
    return not left and outcome.cause is ERROR
