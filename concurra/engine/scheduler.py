"""The shell around `state`: a lock, threads, and doing what was decided.

::

    start, stop, the timer, the end of a job (`serving`)
                     │
                     v
    decisions, under the lock ──> effects, outside of it: threads, stops, the timer,
                                  the end

Under the lock: decisions, nothing else. No user code, no log, no start or stop of
anything. The main thread of the program never takes the lock, because an interrupt
could strike it there.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import partial

from .. import steps
from ..clock import clock
from ..errors import LifeCycleError
from ..threads import ThreadCache, report
from .completion import Completion, refuse
from .decisions import Decisions
from .effects import ABANDON, AT, DELAY, FINISH, KILL_ALL, START
from .questions import Questions
from .serving import Serving
from .slots import STOPPING, Slot
from .state import RunState
from .timers import FOREVER, Timer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Optional

    from ..events import Events, Reader
    from ..plan.plan import Plan
    from ..tasks import Task
    from ..workers import Worker, Workers


class Scheduler(Serving):
    """Runs a plan to its end.

    :param workers: where workers come from.
    :param events: told in threads of the run, never under the lock. Readers may block,
        which holds up no deadline, but the end of the run.
    :param threads: where threads come from; closed with the run.
    :param clock: monotonic seconds.
    :param options: see `RunState`.
    """

    def __init__(
        self,
        plan: Plan,
        workers: Workers,
        events: Events,
        *,
        threads: Optional[ThreadCache] = None,
        clock: Callable[[], float] = clock(),
        **options: Any,
    ) -> None:
        super().__init__()
        self._workers = workers
        self._events = events
        self._threads = threads or ThreadCache()
        self._clock = clock
        make = RunState
        if plan.mapped:
            from .map_state import MapState

            make = MapState
        self._state = make(plan, events, at_first=workers.at_first, **options)
        self._decisions = Decisions(self._state, clock)
        self._timer = Timer(self._threads.start_own)
        self._halting = False
        self._forcing: int = steps.INTERRUPT
        self._questions = Questions()
        self._closing = threading.RLock()
        self._closed = False
        self._completion = Completion()

    # -- for the life cycle --------------------------------------------------------

    @property
    def finished(self) -> bool:
        """Whether every task has ended, and all that follows from it is done."""
        return self._completion.reached

    @property
    def recorded(self) -> int:
        """How many tasks have ended, and have been recorded as events."""
        return self._events.ended

    @property
    def failure(self) -> Optional[BaseException]:
        """What has cut the run short, such as a decision that raised."""
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
        if not refusal and not self._waits_for_caller() and self.needs_caller():
            return LifeCycleError("A task cannot wait for the end of its own run")
        return refusal

    def needs_caller(self) -> bool:
        """Whether the end has to wait for the calling thread.

        It may be in the midst of a task, or in a finalizer between two of them.
        """
        if self.finished:
            return False
        slot = self._serving.get(threading.get_ident())
        if slot is None:
            return self._threads.holds_caller()
        return slot.task is not None or slot.state < STOPPING

    def wait(self, timeout: Optional[float] = None) -> bool:
        """Wait until the run has finished; whether it has.

        Returns at once in a thread for which the end would have to wait: that of a
        reader of events, or of a handler of the log.

        :raises LifeCycleError: see `refusal`.
        """
        refuse(self.refusal())
        if self._waits_for_caller():
            return self.finished
        self._release_caller()
        return self._completion.wait(timeout)

    def _release_caller(self) -> None:
        """Leave the slot of the calling thread, if that was stopped."""
        slot = self._serving.get(threading.get_ident())
        if slot is not None and slot.task is None and slot.state == STOPPING:
            self._leave(slot)

    def _waits_for_caller(self) -> bool:
        return self._events.is_reader() or self._workers.is_passing_on()

    def then(self, callback: Callable[[], object]) -> None:
        """Call it, once or twice, when the run has finished; in any thread."""
        self._completion.then(callback)

    def stop(self, force: int = steps.TERMINATE) -> None:
        """End every task that has not ended; returns without waiting for it.

        :param force: the step to begin with, one of `steps`.
        :raises LifeCycleError: this is a copy, see `refusal`.
        """
        refuse(self._completion.refusal())
        if self._closed:
            if force == steps.KILL and not self.finished:  # closing takes its time
                self._kill()
            return
        self._forcing = max(self._forcing, force)
        main = threading.current_thread() is threading.main_thread()
        if main or self._decisions.holds():  # a finalizer, in the midst of a decision
            self._halting = True  # for the timer
            self._ring()
        else:
            self._halt()

    def cancel(self, task: Task) -> bool:
        """End one task; whether that was still to be done.

        :raises LifeCycleError: this is a copy, see `refusal`.
        """
        refuse(self._completion.refusal())
        done: Optional[bool] = self._ask(partial(self._state.cancel, task))
        return done is not False

    def attach(self, reader: Reader) -> None:
        """Have one more reader of events, of what happens from now on."""
        self._ask(lambda now: self._events.attach(reader))

    def detach(self, reader: Reader) -> None:
        """Remove a reader that was attached."""
        if self._completion.refusal() is None:  # in a copy nobody would answer
            self._ask(lambda now: self._events.detach(reader))

    def _ask(self, decide: Callable[[float], Any]) -> Any:
        """Have something decided, from any thread; None if that has to wait."""
        main = threading.current_thread() is threading.main_thread()
        holds = self._decisions.holds()  # a finalizer, in the midst of a decision
        if main or holds:  # it is left to the timer
            question = self._questions.put(decide)
            self._ring()
            if self._closed:
                self._answer()
            return None if holds else question.wait()
        answer = self._decisions.make(decide, self._clock())
        self._perform()
        return answer

    def _answer(self) -> None:
        """Decide what was asked, and left to others."""
        for question in self._questions.take():
            question.reply(self._decisions.make(question.decide, self._clock()))

    def _kill(self) -> None:
        """Kill all that is left, if possible not in the calling thread."""
        try:
            self._threads.start_own(self._workers.kill)
        except Exception:
            self._workers.kill()

    def _stopping(self) -> bool:
        """Whether nothing is to be started any more."""
        return self._halting or self._state.stopped

    # -- serving a slot --------------------------------------------------------------

    def _open(self) -> None:
        """Begin the run; on its first thread."""
        if self._halting:  # asked for before: nothing is run
            self._halt()
        if not self._decisions.make(self._state.open, self._clock()):
            return self._perform()
        if self._state.timed:
            self._ring()  # before there are too many threads for it
        self._perform()  # the timer is set before anything runs
        try:
            self._workers.prepare(self._stopping)
        except BaseException as error:
            self._decisions.failure = error
            self._decisions.make(self._state.stop, self._clock())
        if self._state.rises:
            try:
                self._timer.ring(self._look)
            except Exception:  # no look is possible
                self._decisions.make(self._state.rise)
        self._decisions.make(self._state.call)
        slot = self._take_start()  # the first slot has a thread: this one
        self._perform()
        if slot is not None and self._hire(slot) is not None:
            self._serve(slot)

    def _take_start(self) -> Optional[Slot]:
        """A slot that is to be started next, if there is one."""
        effects = self._state.effects
        try:
            effect = effects.popleft()
        except IndexError:
            return None
        if effect[0] == START:
            return effect[1]
        effects.appendleft(effect)
        return None

    # -- effects ---------------------------------------------------------------------

    def _perform(self) -> None:
        """Do what is to be done, in order; whoever has left the lock does it."""
        effects, dropped = self._state.effects, self._state.plan.dropped
        if dropped and self._serving.get(threading.get_ident()):
            dropped.clear()  # may call finalizers, for which the timer has no time
        while effects:
            try:
                kind, slot, how = effects.popleft()
            except IndexError:  # another thread is at it, too
                return
            if kind == START and slot is not None:
                self._let_come(slot)
            elif kind == AT:
                self._ring()
            elif kind == DELAY:
                self._ask_delay(*how)
            elif kind == FINISH:
                self._finish()
            elif kind == KILL_ALL:
                self._workers.kill()
            elif kind == ABANDON and slot is not None:
                self._start(self._abandon, slot.worker)
            elif slot is not None:
                self._stop_job(slot, how)

    def _stop_job(self, slot: Slot, step: int) -> None:
        worker = slot.worker
        if worker is None:
            return  # it has left already
        try:
            stoppable = worker.stop(step)
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

    # -- the timer ---------------------------------------------------------------------

    def _ring(self) -> None:
        try:
            if not self._closed:
                self._timer.ring(self._look)
        except Exception as error:
            self._end_without_timer(error)

    def _look(self) -> Optional[float]:
        """Do what is due now; the seconds until there is more, None at the end."""
        try:
            if self._halting:
                self._halt()
            self._answer()
            now = self._clock()
            ending = self._ending(now) if self._state.next_moment <= now else set()
            self._decisions.make(self._state.expire, now, ending)
            self._perform()
            if self._events.waiting:
                self._start(self._tell)
        except BaseException as error:
            self._end_without_timer(error)
            raise
        return None if self._closed else self._state.next_moment - self._clock()

    def _halt(self) -> None:
        """Do what `stop` asked for."""
        self._halting = False  # first: whoever asks from here on is heard again
        self._decisions.make(self._state.stop, self._clock(), self._forcing)
        self._perform()

    def _end_without_timer(self, error: BaseException) -> None:
        """No more threads: end all without grace; a failure unless it was asked for."""
        self._decisions.failure = self.failure if self._stopping() else error
        self._halting = False
        self._decisions.make(self._state.stop, self._clock(), steps.KILL)
        self._perform()
        while self._state.next_moment < FOREVER:
            self._decisions.make(self._state.expire, self._state.next_moment)
            self._perform()

    # -- the end -------------------------------------------------------------------

    def _tell(self) -> None:
        """Let the readers of events read on."""
        self._events.tell(self._tell_elsewhere)
        if self._state.over:
            self._finish()

    def _tell_elsewhere(self) -> None:
        with suppress(Exception):  # no more threads: they read one after another
            self._threads.start(self._tell)

    def _finish(self) -> None:
        """Everything has ended: close what there is, once all events have been read."""
        self._events.tell(self._tell_elsewhere)
        # Reentrant: a thread that was struck in the midst of it does it again.
        if self._events.being_read or not self._closing.acquire(False):
            return  # whoever reads comes here after that
        try:
            if not self.finished:
                self._close()
        except BaseException as error:  # it was meant for a task, and came late
            report(error)
            self._close()  # or else the timer would not end, and be waited for
        finally:
            self._closed = True
            self._timer.wake()  # it sees that this is closed, and ends
            self._threads.close()
            self._completion.reach()
            self._answer()
            self._closing.release()

    def _close(self) -> None:
        self._closed = True
        self._state.plan.close()
        for slot in self._state.slots.all:
            if slot.worker is not None:
                slot.worker.retire()  # all of them first: they have one period to end
        for slot in self._state.slots.all:
            worker, slot.worker = slot.worker, None
            if worker is not None:
                try:
                    worker.close()
                except BaseException as error:
                    report(error)
        self._workers.close()
        self._events.close()
