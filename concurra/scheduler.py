"""The shell around `state`: a lock, threads for slots, and doing what was decided.

::

    a thread serves a slot                     a job is done elsewhere
    ----------------------                     -----------------------
    come ──> begin(job) = outcome ─┐           begin(job) = None
      ^                            v                ...
      │    ended, and the next <── visit <──── done(outcome), from any thread
      └─── START                   │
                                   v
          effects, outside of the lock: threads, stops, the timer, the end

Whoever brings in an outcome takes the next task in the same visit to the lock: nobody
polls and nobody hands over. A slot without a task needs no thread, and neither does one
whose job is done elsewhere. If the calling thread of ``done`` serves others, too, it is
never held up: jobs that may take their time to begin, and readers of events, are left
to threads of the cache.

Two bring the end of such a job, in either order: ``begin`` returns, and ``done`` is
called. Each draws a ticket of the slot, and the second goes on with it.

Under the lock: decisions, nothing else. No user code, no log, no start or stop of
anything. The main thread of the program does not come to it, because an interrupt could
strike it there. The threads of slots can be struck, too, by an exception that was meant
for a task (a late timer): what it has cut short is made anew from what is known.
"""

from __future__ import annotations

import itertools
import threading
import time
from functools import partial

from .completion import Completion
from .decisions import Decisions
from .errors import LifeCycleError
from .outcomes import Outcome
from .slots import AT_WORK, COMING, PARKED, STOPPING, Slot
from .state import ABANDON, AT, FINISH, KILL, START, RunState
from .threads import ThreadCache, report
from .timers import FOREVER, Timer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Optional

    from .events import Events
    from .plan import Plan
    from .tasks import Task
    from .workers import Worker, Workers


class Scheduler:
    """Runs a plan to its end.

    :param workers: where workers come from.
    :param events: told in threads of the run, never under the lock. Readers may block,
        which holds up no deadline, but the end of the run.
    :param threads: where threads come from; closed with the run.
    :param clock: monotonic seconds.

    For the others, see `RunState`.
    """

    def __init__(
        self,
        plan: Plan,
        workers: Workers,
        events: Events,
        *,
        limit: int,
        timeout: Optional[float] = None,
        grace: float = 1.0,
        fast_fail: bool = False,
        threads: Optional[ThreadCache] = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan = plan
        self._workers = workers
        self._events = events
        self._threads = threads or ThreadCache()
        self._clock = clock
        self._state = RunState(
            plan,
            events,
            limit=limit,
            timeout=timeout,
            grace=grace,
            fast_fail=fast_fail,
        )
        self._decisions = Decisions(self._state, clock)
        self._timer = Timer(self._threads.start)
        self._halting = False
        self._forcing = False

        self._serving: Dict[int, Optional[Slot]] = {}  # by the thread
        self._closings = itertools.count()
        self._completion = Completion()

    # -- for the life cycle --------------------------------------------------------

    @property
    def running(self) -> int:
        """How many tasks are at work."""
        return self._state.slots.count[AT_WORK]

    @property
    def finished(self) -> bool:
        """Whether every task has ended, and all that follows from it is done."""
        return self._completion.reached

    @property
    def failure(self) -> Optional[BaseException]:
        """What a decision or `Workers.prepare` raised; all tasks are terminated."""
        return self._decisions.failure

    def start(self) -> None:
        """Start to work.

        :raises RuntimeError: no thread can be started.
        """
        # An interrupt can strike the caller's thread between any two lines, so all is
        # done by threads of the run's own.
        self._threads.start(self._open)

    def refusal(self) -> Optional[LifeCycleError]:
        """Why the calling thread cannot wait for the end, or None."""
        refusal = self._completion.refusal()
        if refusal is not None:
            return refusal
        slot = self._serving.get(threading.get_ident())
        if slot is not None and slot.task and not self._events.is_reader():
            return LifeCycleError("A task cannot wait for the end of its own run")
        return None

    def wait(self) -> None:
        """Wait until the run has finished.

        Returns at once in a thread for which the end would have to wait: that of a
        reader of events.

        :raises LifeCycleError: see `refusal`.
        """
        refusal = self.refusal()
        if refusal is not None:
            raise refusal
        if not self._events.is_reader():
            self._completion.wait()

    def stop(self, force: bool = False) -> None:
        """End every task that has not ended; returns without waiting for it.

        :param force: kill at once, without the grace period.
        :raises LifeCycleError: this is a copy, see `refusal`.
        """
        refusal = self._completion.refusal()
        if refusal is not None:
            raise refusal
        if self.finished:
            return
        self._forcing = self._forcing or force
        if threading.current_thread() is not threading.main_thread():
            self._halt()
        else:
            self._halting = True  # for the timer
            self._ring()

    def _stopping(self) -> bool:
        """Whether nothing is to be started any more."""
        return self._halting or self._state.stopped

    # -- serving a slot --------------------------------------------------------------

    def _open(self) -> None:
        """Begin the run; on its first thread."""
        if not self._decisions.make(self._state.open):
            return self._perform()
        try:
            self._workers.prepare(self._stopping)
        except BaseException as error:
            self._decisions.failure = error
            self._decisions.make(self._state.stop, self._clock())
        self._decisions.make(self._state.call)
        effects = self._state.effects
        slot = effects[0][1] if effects and effects[0][0] == START else None
        if slot is not None:  # the first slot has a thread: this one
            effects.popleft()
        self._perform()
        if slot is not None and self._hire(slot):
            self._serve(slot)

    def _serve(self, slot: Slot) -> None:
        """Do the jobs of a slot, as long as it has any, in a thread that may block."""
        me = threading.get_ident()
        others = self._serving.get(me)
        self._serving[me] = slot
        try:
            self._work(slot, me)
        except BaseException as error:
            self._give_up(slot, error)
        finally:
            self._serving[me] = others

    def _work(self, slot: Slot, me: int) -> None:
        task = slot.task or self._next(slot, me)
        if task is None:
            return
        assert slot.worker is not None
        begin, clock, visit = slot.worker.begin, self._clock, self._decisions.visit
        while task is not None:
            outcome = begin(task.job)
            if outcome is not None:
                slot.outcome = outcome
                slot.moment = clock()
            elif not next(slot.tickets) & 1:
                return  # `done` is still to be called, and goes on
            visit(slot)
            task = slot.task or self._next(slot, me)

    def _next(self, slot: Slot, me: int) -> Optional[Task]:
        """Do what is to be done first, and take a task; None if there is none."""
        self._perform()
        if self._events.unread and slot.state == COMING:
            self._delay()
            self._tell()
        if slot.worker is not None and slot.worker.retired:
            self._delay()
            slot.worker.reap()
        task: Optional[Task]
        state, task = self._decisions.make(self._state.come, slot, me, self._clock())
        self._perform()
        if state >= STOPPING:
            self._leave(slot)
        return task

    def _delay(self) -> None:
        """Let others come, as this thread has something to do that takes its time."""
        self._decisions.make(self._state.delayed)
        self._perform()

    def _leave(self, slot: Slot) -> None:
        """The last act for a slot that has been stopped, or let go."""
        worker, slot.worker = slot.worker, None
        try:
            if worker is not None:
                worker.close()
        finally:
            self._decisions.make(self._state.gone, slot, self._clock())
            self._perform()

    def _give_up(self, slot: Slot, error: BaseException) -> None:
        """Let a slot go whose thread was struck by an exception.

        It was meant for a task that has ended, or a worker has broken its promise. The
        job at hand, if there is one, fails with it. Another slot takes the place.
        """
        report(error)
        self._decisions.record(slot, error)
        if slot.worker is not None:
            slot.worker.stop(force=True)
        self._leave(slot)
        self._decisions.make(self._state.renew_effects)
        self._perform()

    # -- jobs that are done elsewhere --------------------------------------------------

    def _done(self, slot: Slot, outcome: Outcome, serving: bool) -> None:
        """A job that was begun has come to its outcome; called once, by any thread.

        :param serving: whether the calling thread serves others, too.
        """
        slot.outcome, slot.moment = outcome, self._clock()
        if not next(slot.tickets) & 1:
            return  # `begin` is still to return
        self._decisions.visit(slot)
        if not serving and not self._serving.get(threading.get_ident()):
            self._serve(slot)
        elif not self._go_on(slot):
            self._start(self._serve, slot)

    def _go_on(self, slot: Slot) -> bool:
        """Begin the task of a slot, and those that follow, while that takes no time.

        False if another thread is to go on, as something may take its time.
        """
        while True:
            task, worker = slot.task, slot.worker
            if task is None or worker is None or not worker.is_quick(task.job):
                return False
            outcome = worker.begin(task.job)
            if outcome is not None:
                slot.outcome, slot.moment = outcome, self._clock()
            elif not next(slot.tickets) & 1:
                return True  # `done` is still to be called
            self._decisions.visit(slot)

    # -- effects ---------------------------------------------------------------------

    def _perform(self) -> None:
        """Do what is to be done, in order; whoever has left the lock does it."""
        effects = self._state.effects
        while effects:
            try:
                kind, slot, how = effects.popleft()
            except IndexError:  # another thread is at it, too
                return
            if kind == START:
                assert slot is not None
                self._let_come(slot)
            elif kind == AT:
                self._ring()
            elif kind == FINISH:
                self._finish()
            elif kind == KILL:
                self._workers.kill()
            elif slot is not None:
                self._end_job(slot, slot.worker, kind, how)

    def _let_come(self, slot: Slot) -> None:
        """Let a slot come, with a worker; in a thread, if it is to need one."""
        if not self._hire(slot):
            return
        if slot.worker is not None and slot.worker.elsewhere:
            me, now = threading.get_ident(), self._clock()
            state, _ = self._decisions.make(self._state.come, slot, me, now)
            if state != PARKED and not self._go_on(slot):
                self._start(self._serve, slot)
            return
        try:
            self._threads.start(self._serve, slot)
        except Exception:  # no more threads: the run goes on with those it has
            self._decisions.make(self._state.unavailable, slot, self._clock())

    def _hire(self, slot: Slot) -> bool:
        """Let a slot have a worker; False if there is none to be had."""
        try:
            if slot.worker is None:
                slot.worker = self._workers.hire(partial(self._done, slot))
        except Exception:
            self._decisions.make(self._state.unavailable, slot, self._clock())
            return False
        return True

    def _end_job(
        self, slot: Slot, worker: Optional[Worker], kind: str, how: Any
    ) -> None:
        if kind == ABANDON:
            self._start(self._abandon, worker)
            return
        if worker is None:
            return  # it has left already
        try:
            stoppable = worker.stop(how)
        except BaseException as error:
            report(error)
            stoppable = False
        if not stoppable:
            self._decisions.make(self._state.unstoppable, slot, self._clock())

    def _abandon(self, worker: Optional[Worker]) -> None:
        try:
            if worker is not None:
                worker.abandon()
        finally:
            self._decisions.make(self._state.abandoned)
            self._perform()

    def _start(self, target: Callable[..., object], *args: Any) -> None:
        """Call it in another thread, or here if there is none to be had."""
        try:
            self._threads.start(target, *args)
        except Exception:
            target(*args)

    # -- the timer ---------------------------------------------------------------------

    def _ring(self) -> None:
        if self.finished:
            return
        try:
            self._timer.ring(self._look)
        except Exception:
            self._end_without_timer()

    def _look(self) -> Optional[float]:
        """Do what is due now; the seconds until there is more, None at the end."""
        try:
            if self._halting:
                self._halt()
            self._decisions.make(self._state.expire, self._clock())
            self._perform()
            if self._events.waiting:
                self._start(self._tell)
        except BaseException:
            self._end_without_timer()
            raise
        if self.finished:
            return None
        return self._state.next_moment - self._clock()

    def _halt(self) -> None:
        """Do what `stop` asked for."""
        self._halting = False  # first: whoever asks from here on is heard again
        self._decisions.make(self._state.stop, self._clock(), self._forcing)
        self._perform()

    def _end_without_timer(self) -> None:
        """There can be no more threads: end everything at once, without any grace."""
        self._halting = False
        self._decisions.make(self._state.stop, self._clock(), True)
        self._perform()
        while self._state.next_moment < FOREVER:
            self._decisions.make(self._state.expire, self._state.next_moment)
            self._perform()

    # -- the end -------------------------------------------------------------------

    def _tell(self) -> None:
        """Let the readers of events read on."""
        self._events.tell()
        if self._state.over:
            self._finish()

    def _finish(self) -> None:
        """Everything has ended: close what there is, once all events have been read."""
        self._events.tell()
        if self._events.being_read or next(self._closings):
            return  # whoever reads comes here after that
        try:
            self._close()
        finally:
            self._completion.reach()
            self._timer.close()
            self._threads.close()

    def _close(self) -> None:
        for slot in self._state.slots.all:
            worker, slot.worker = slot.worker, None
            if worker is not None:
                try:
                    worker.close()
                except BaseException as error:
                    report(error)
        self._workers.close()
