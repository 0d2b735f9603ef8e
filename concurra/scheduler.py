"""Brings tasks and workers together: one desk, one loop, one watchman.

::

             ┌───────────────── a thread for each worker ─────────────────┐
    plan ──> take ──> worker.run(job) ──> settle, and take the next ──> ...
               ^                             │          │
               └── parked, until a task ─────┘          └──> observer (after the desk)
                   becomes ready

    watchman: asleep until a deadline, a stop, or the end of a grace period. He calls no
    observer, who may take his time.

The worker that ends a task records its outcome and takes the next ready task in one
visit to the desk: nobody polls and nobody hands over. Threads are hired when tasks are
ready for which nobody is free. A slot that lacks what a task needs, a process say,
gives it back and leaves; there may be another when one that was stopped has gone.

A task that is terminated costs its worker. The plan is told first, so that whatever
the worker may still say is refused; then the slot is dismissed and replaced; then the
worker is stopped. A dismissed slot never takes another task, so a stop can never hit
another task than the one it was meant for.

At the desk, which is under one lock: decisions about the plan and the slots, nothing
else. No user code, no log, no start or stop of anything. The main thread of the program
does not come to it, because an interrupt could strike it there.
"""

from __future__ import annotations

import os
import threading
import time

from .agenda import FOREVER, Agenda, Doomed, Victim
from .desk import Desk, Visitor
from .errors import LifeCycleError
from .news import News
from .plan import Plan
from .outcomes import UNAVAILABLE, AtHand, Outcome
from .tasks import Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, List, Optional, Protocol, Set, Tuple

    from .types import ExecutionMode
else:
    Protocol = object

#: Seconds between two looks for Ctrl-C of a thread that waits. A signal wakes it up,
#: but not if it comes just before the thread falls asleep, or is but simulated, by
#: `_thread.interrupt_main`; and never on Windows.
_ATTENTION = 1.0 if os.name == "posix" else 0.25

_COPY = (
    "This is the copy of a runner that a fork has made: only the original can be "
    "waited for or aborted"
)


class Hand(Protocol):
    """What does the jobs of one slot: a worker that can be dismissed."""

    def run(self, job: Any) -> Outcome:
        """See `Worker.run`."""

    @property
    def untidy(self) -> bool:
        """Whether something of the last job is to be cleared away before the next."""

    def tidy(self) -> None:
        """Clear it away; this may take its time."""

    def forget(self) -> None:
        """The outcome of the last job is known: no job is at hand now."""

    def dismiss(self) -> Tuple[Optional[ExecutionMode], Optional[object]]:
        """Begin no further job; the mode and the transcript of the one at hand."""

    def stop(self, force: bool = False) -> bool:
        """See `Worker.stop`."""

    def abandon(self) -> None:
        """Nobody waits for its job any more: let go of what else it holds."""

    def close(self) -> None:
        """See `Worker.close`."""


class Crew(Protocol):
    """Where the hands of a run come from."""

    def prepare(self) -> None:
        """Called once, before all else, on the first thread of the run."""

    def hire(self) -> Hand:
        """A new hand; called on any thread."""

    def hurry(self) -> None:
        """Kill all that is left, without any grace."""

    def close(self) -> None:
        """Called once, when all hands are closed."""


class _Slot(Visitor):
    """One hand, and the task that it is at, or how and when it has ended."""

    __slots__ = (
        *("hand", "task", "outcome", "moment", "thread"),
        *("departures", "dismissed", "resigned", "left"),
    )

    def __init__(self, hand: Hand) -> None:
        super().__init__()
        self.hand = hand
        self.task: Optional[Task] = None
        self.outcome: Optional[Outcome] = None
        self.moment = 0.0
        self.thread: Optional[int] = None
        #: How many had made room when it took the task.
        self.departures = 0
        #: It takes no further task, and nothing that it says counts.
        self.dismissed = False
        #: It takes no further task, for want of a worker.
        self.resigned = False
        #: Its thread has ended, or nobody waits for it any more.
        self.left = False


class Scheduler:
    """Runs a plan to its end.

    :param plan: checked, and the scheduler's own from now on.
    :param crew: where workers come from.
    :param limit: how many tasks may be at work together.
    :param timeout: seconds that a task may take, its retries included; None for ever.
    :param grace: seconds between asking a worker to stop and forcing it.
    :param fast_fail: whether the first task that goes wrong ends all others.
    :param progress: called with the number of tasks that have ended, after every
        ``step`` of them and after the last.
    :param report: called with each task that went wrong or has a warning.
    :param step: see ``progress``.
    :param clock: monotonic seconds.

    ``progress`` and ``report`` are called in the order of the events, by one thread
    at a time, never under the lock. They must not raise. They may block, which holds up
    no deadline, but the worker that calls them and the end of the run; and they may
    call anything of the runner.
    """

    def __init__(
        self,
        plan: Plan,
        crew: Crew,
        *,
        limit: int,
        timeout: Optional[float] = None,
        grace: float = 1.0,
        fast_fail: bool = False,
        progress: Callable[[int], None] = lambda ended: None,
        report: Callable[[Task], None] = lambda task: None,
        step: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan = plan
        self._crew = crew
        self._most = self._limit = limit  # the latter sinks when no more can be had
        self._timeout = timeout
        self._seconds = FOREVER if timeout is None else float(timeout)
        self._grace = grace
        self._fast_fail = fast_fail
        self._clock = clock
        self._news = News(progress, report, step, len(plan.tasks))
        self._agenda = Agenda()
        self._desk = Desk(self._decide)

        self._slots: Set[_Slot] = set()  # those that may take a task
        self._parked: List[_Slot] = []
        self._hired = 0  # the same, and those on their way
        self._coming = 0  # slots that are on their way to take a task
        self._departures = 0  # dismissed slots that are gone
        self._threads = 0  # slots' threads that the end of the run waits for

        self._alarm = threading.Lock()  # held while there is nothing new to see
        self._alarm.acquire()
        self._watching = False
        self._wake_at = 0.0  # while the watchman is asleep: until when
        self._halting = False
        self._forcing = False

        #: What `Plan.open` or `Crew.prepare` raised; all tasks are terminated then.
        self.failure: Optional[Exception] = None
        self._pid = os.getpid()
        self._closing = False
        self._finished = False
        self._waiters: List[threading.Lock] = []

    # -- for the runner ----------------------------------------------------------

    @property
    def running(self) -> int:
        """How many tasks are at work."""
        return sum(slot.task is not None for slot in self._slots.copy())

    @property
    def finished(self) -> bool:
        """Whether every task has ended, and all that follows from it is done."""
        return self._finished

    def start(self) -> None:
        """Start to work.

        :raises RuntimeError: no thread can be started.
        """
        # An interrupt can strike the caller's thread between any two lines, so all is
        # done by threads of the scheduler's own, which write themselves into the books.
        _start_thread(self._work, _Slot(self._crew.hire()), True)

    def refusal(self) -> Optional[LifeCycleError]:
        """Why the calling thread cannot wait for the end, or None."""
        if self._is_copy():
            return LifeCycleError(_COPY)
        me = threading.get_ident()
        if any(slot.thread == me and slot.task for slot in self._slots.copy()):
            return LifeCycleError("A task cannot wait for the end of its own run")
        return None

    def wait(self) -> None:
        """Wait until the run has finished.

        Returns at once in a thread for which the end would have to wait: within
        ``progress`` or ``report``.

        :raises LifeCycleError: see `refusal`.
        """
        refusal = self.refusal()
        if refusal is not None:
            raise refusal
        if self._news.is_teller():
            return
        # A lock of one's own, because an interrupt while it is held does no harm.
        waiter = threading.Lock()
        waiter.acquire()
        self._waiters.append(waiter)
        # Who comes too late to be released sees here that it is finished.
        while not (self._finished or waiter.acquire(timeout=_ATTENTION)):
            pass

    def stop(self, force: bool = False) -> None:
        """End every task that has not ended; returns without waiting for it.

        :param force: kill at once, without the grace period.
        :raises LifeCycleError: this is a copy, see `refusal`.
        """
        if self._is_copy():
            raise LifeCycleError(_COPY)
        if force:
            self._forcing = True
        if threading.current_thread() is threading.main_thread():
            self._halting = True  # for the watchman
        else:
            with self._desk:
                self._terminate(self._clock())
        self._ring()
        self._start_watch()

    def _is_copy(self) -> bool:
        """Whether this is a process that was forked during the run.

        Nobody is at work there, and whoever held a lock never gives it back.
        """
        return self._pid != os.getpid() and not self._finished

    # -- the loop, in the thread of each slot ------------------------------------

    def _work(self, slot: _Slot, first: bool = False) -> None:
        try:
            if not self._arrive(slot, first):
                return
            if first:
                self._prepare()
            run, clock, visit = slot.hand.run, self._clock, self._desk.visit
            task = self._next(slot)
            while task is not None:
                slot.outcome = run(task.job)
                slot.moment = clock()
                visit(slot)
                task = slot.task or self._next(slot)
        except BaseException:
            self.stop()  # no memory left, say: rather an aborted run than a hanging one
            raise
        finally:
            self._leave(slot)

    def _arrive(self, slot: _Slot, first: bool) -> bool:
        """Enter the books; False if it is too late."""
        slot.thread = threading.get_ident()
        with self._desk:
            if not first:
                self._coming -= 1
            elif self._closing:
                slot.left = slot.dismissed = True
                return False
            else:
                self._hired += 1
            self._slots.add(slot)
            self._threads += 1
            return True

    def _prepare(self) -> None:
        try:
            with self._desk:
                if self._plan.remaining:  # otherwise it has been stopped before
                    self._plan.open()
            self._crew.prepare()
        except Exception as error:
            self.failure = error
            self.stop()
        if self._timeout is not None:
            self._start_watch()

    def _decide(self, slot: _Slot) -> None:
        """Record an outcome; take the next task, if nothing has to be done first."""
        task, outcome, now = slot.task, slot.outcome, slot.moment
        if slot.dismissed or task is None or outcome is None:
            return
        slot.task = None
        try:
            if outcome.cause is UNAVAILABLE and self._give_back(slot, task):
                return
            self._record(task, outcome, now)
            if not (self._news.untold or slot.hand.untidy or self._is_short()):
                self._take(slot, now)
        except BaseException:  # no memory left, say: rather an aborted run than a hang
            self._halting = True
            self._ring()

    def _next(self, slot: _Slot) -> Optional[Task]:
        """Wait for a task; None when the slot is to end."""
        # Nobody would wait for what the dismissed tells. It needs no look under the
        # lock: only who is at work is ever dismissed.
        while not (slot.dismissed or slot.resigned):
            if self._halting or self._agenda.has_victims():
                self._start_watch()
            if slot.hand.untidy:
                self._staff(present=0)  # a process may take its time to end
            elif self._news.untold:
                self._wake()
                self._staff()
            self._news.tell()
            self._staff()
            slot.hand.tidy()
            with self._desk:
                if not self._plan.remaining:
                    self._call_in()
                    return None
                self._take(slot, self._clock())
                task = slot.task
                if task is not None:
                    return task
                self._parked.append(slot)
            try:
                slot.parking.acquire()
            except BaseException:  # meant for a task that has ended: a late timer, say
                if self._unpark(slot):
                    continue
            with self._desk:
                self._coming -= 1
        return None

    def _record(self, task: Task, outcome: Outcome, now: float) -> None:
        fast_fail = self._fast_fail
        self._news.note(self._plan.settle(task, outcome, now, skip=not fast_fail))
        if fast_fail and outcome.fault and task.outcome is outcome:
            self._terminate(now)

    def _take(self, slot: _Slot, now: float) -> None:
        slot.hand.forget()
        slot.departures = self._departures
        task = slot.task = self._plan.take(now)
        if task is not None and self._timeout is not None and task.attempts == 1:
            self._agenda.add_deadline(task, now + self._seconds)
            if now + self._seconds < self._wake_at:
                self._ring()

    def _leave(self, slot: _Slot) -> None:
        """The last act of a slot's thread."""
        try:
            if slot.resigned:
                self._wake()
            slot.hand.close()
        finally:
            with self._desk:
                if slot in self._slots:
                    self._slots.discard(slot)
                    self._hired -= 1
                self._let_go(slot)
                last = self._is_over() and not self._watching
            if last:
                self._finish()
            else:
                self._staff(present=0)  # it may have left work, or made room

    # -- staff -------------------------------------------------------------------

    def _is_short(self, present: int = 1) -> bool:
        """Whether somebody can be found for a task that is ready.

        :param present: how many are about to take a task.
        """
        if self._hired < self._limit or self._parked:
            return self._plan.ready > self._coming + present
        return False

    def _staff(self, present: int = 1) -> None:
        """Wake or hire as many slots as there are tasks to take; not under the lock.

        Those who take a task do this first: a task that computes would hold up each
        start of a thread by the interpreter's switch interval.
        """
        while True:
            with self._desk:
                if not self._is_short(present):
                    return
                self._coming += 1
                slot = self._parked.pop() if self._parked else None
                if slot is None:
                    self._hired += 1
            if slot is not None:
                slot.parking.release()
                continue
            try:
                _start_thread(self._work, _Slot(self._crew.hire()))
            except Exception:  # no more threads: the run goes on with those it has
                with self._desk:
                    self._coming -= 1
                    self._hired -= 1
                    self._limit = self._hired
                    if not self._hired:
                        self._halting = True
                if self._halting:  # the others may have gone meanwhile
                    self._ring()
                    self._start_watch()
                return

    def _give_back(self, slot: _Slot, task: Task) -> bool:
        """Give back a task for which the slot lacks what others may have.

        If one who had it is gone by now, the slot tries again. Otherwise it leaves the
        task to another slot, or to whoever comes when a dismissed one is gone; not to
        one that is on its way, as it may not arrive. False if there is none of these.
        """
        anew = slot.departures != self._departures
        others = len(self._slots) > 1 or self._agenda.has_victims(alive=True)
        if not (anew or others):
            return False
        self._plan.give_back(task)
        if not task.attempts:
            self._agenda.remove_deadline(task)
        if not anew:
            self._slots.discard(slot)
            self._hired -= 1
            self._limit -= 1
            slot.resigned = True
        return True

    def _wake(self) -> None:
        """Let those who are parked take what is ready, as this slot is to be late."""
        with self._desk:
            while self._parked and self._plan.ready > self._coming:
                self._coming += 1
                self._parked.pop().parking.release()

    def _unpark(self, slot: _Slot) -> bool:
        """Let a slot go that has not been woken; False if it has been."""
        with self._desk:
            parked = slot in self._parked
            if parked:
                self._parked.remove(slot)
            return parked

    def _call_in(self) -> None:
        """There is nothing left to do: let all who are parked find that out."""
        self._coming += len(self._parked)
        for slot in self._parked:
            slot.parking.release()
        self._parked.clear()
        self._ring()

    def _let_go(self, slot: Doomed) -> None:
        """Wait no longer for the thread of ``slot``."""
        if not slot.left:
            slot.left = True
            self._threads -= 1
            if slot.dismissed:
                self._departures += 1
                self._limit = min(self._limit + 1, self._most)
            self._ring()

    # -- the end of tasks that do not end by themselves ----------------------------

    def _start_watch(self) -> None:
        if not (self._watching or self._finished):
            try:
                _start_thread(self._keep_watch)
            except Exception:
                self._end_without_watch()

    def _end_without_watch(self) -> None:
        """There can be no more threads: end everything at once, without any grace."""
        with self._desk:
            self._terminate(self._clock())
            victims = self._agenda.due(FOREVER, force=True)
        for victim in victims:
            try:
                victim.slot.hand.stop(force=True)
            except Exception:
                pass  # this may be what the watchman has stumbled over
            if victim.slot.dismissed:
                with self._desk:
                    self._let_go(victim.slot)
        with self._desk:
            over = self._is_over()
        if over:
            self._finish()

    def _keep_watch(self) -> None:
        with self._desk:
            if self._watching or self._closing:
                return
            self._watching = True
        try:
            self._watch()
        except BaseException:  # no memory left, say: rather an aborted run than a hang
            self._watching = False
            self._end_without_watch()
            raise
        self._finish()

    def _watch(self) -> None:
        while True:
            with self._desk:
                self._wake_at = 0.0
                now = self._clock()
                changed = self._halt(now) | self._expire(now)
                due = self._agenda.due(now, self._forcing)
                if self._is_over():
                    return
                idle = not (changed or due)
                if idle:
                    self._wake_at = self._agenda.next_moment()
            if self._forcing:
                self._crew.hurry()
            if idle:
                seconds = max(0.0, self._wake_at - now)
                self._alarm.acquire(timeout=min(seconds, threading.TIMEOUT_MAX))
                continue
            for victim in due:
                self._put_down(victim)
            self._have_told()
            self._staff(present=0)

    def _have_told(self) -> None:
        """Have the news told by another thread, if there are any."""
        if not self._news.needs_teller:
            return
        with self._desk:
            self._threads += 1
        try:
            _start_thread(self._tell)
        except Exception:  # no more threads: the next slot tells, or `_finish`
            with self._desk:
                self._threads -= 1

    def _tell(self) -> None:
        try:
            self._news.tell()
        finally:
            with self._desk:
                self._threads -= 1
            self._ring()

    def _ring(self) -> None:
        """Let the watchman look around, now or when he next would fall asleep."""
        try:
            self._alarm.release()
        except RuntimeError:
            pass  # it has been rung already

    def _halt(self, now: float) -> bool:
        """Do what `stop` asked for; whether it did."""
        if not self._halting:
            return False
        self._halting = False  # first: whoever asks from here on is heard again
        self._terminate(now)
        return True

    def _expire(self, now: float) -> bool:
        """End the tasks whose time is over; whether there are any."""
        overdue = self._agenda.overdue(now)
        if overdue:
            at_work = {slot.task: slot for slot in self._slots}
            for task in overdue:
                if task.outcome is None:  # or else another's end has been its own
                    slot = at_work.get(task)  # None if it waits for its next attempt
                    self._expel(task, slot, now)
        return bool(overdue)

    def _expel(self, task: Task, slot: Optional[_Slot], now: float) -> None:
        mode = transcript = None
        if slot is not None:
            mode, transcript = slot.hand.dismiss()
            self._dismiss(slot, now)
        assert self._timeout is not None
        outcome = Outcome.timed_out(self._timeout, AtHand(mode, transcript))
        self._record(task, outcome, now)
        if not self._plan.remaining:
            self._call_in()

    def _terminate(self, now: float) -> None:
        """End all tasks, and dismiss all who are at work."""
        at_work = {slot.task: slot for slot in self._slots if slot.task is not None}
        outcomes = {
            task: Outcome.stopped(AtHand(*slot.hand.dismiss()))
            for task, slot in at_work.items()
        }
        self._news.note(self._plan.terminate(outcomes, now))
        for slot in at_work.values():
            self._dismiss(slot, now)
        for slot in self._slots:
            if slot.hand.untidy:  # what it waits for is not to take its time any more
                self._agenda.add_victim(slot, now)
                self._ring()
        self._call_in()

    def _dismiss(self, slot: _Slot, now: float) -> None:
        slot.dismissed = True
        slot.task = None
        self._slots.discard(slot)
        self._hired -= 1
        self._agenda.add_victim(slot, now)
        self._ring()

    def _put_down(self, victim: Victim) -> None:
        """Take the next step to the end of a victim; not under the lock."""
        slot = victim.slot
        patient = victim.stage < 2 and slot.hand.stop(force=victim.stage > 0)
        victim.stage += 1
        victim.moment = self._clock() + self._grace
        if patient:
            return
        if not slot.dismissed:  # it has no task, and may be telling the news
            victim.moment = FOREVER
            return
        slot.hand.abandon()
        with self._desk:
            self._let_go(slot)

    # -- the end ----------------------------------------------------------------

    def _is_over(self) -> bool:
        return not (self._plan.remaining or self._threads or self._coming)

    def _finish(self) -> None:
        with self._desk:
            if self._closing:
                return
            self._closing = True
        try:
            self._news.tell()
        finally:
            self._close()

    def _close(self) -> None:
        try:
            self._crew.close()
        finally:
            self._finished = True
            while self._waiters:
                self._waiters.pop().release()


def _start_thread(target: Callable[..., None], *args: object) -> None:
    threading.Thread(target=target, args=args, name="concurra", daemon=True).start()
