"""Process workers that no thread waits for: a dispatcher serves them.

::

    any thread            dispatcher                        a thread of the cache
    ----------            ----------                        ---------------------
    run: pack, send
                          small and plain: unpickle, done
                          all else ───────────────────────> receive, unpickle, done
                          its end ────────────────────────> reap, done

The dispatcher neither blocks nor calls the user's code. So it passes on a reply itself
only if the arguments were plain, too, as these are released with the outcome. A job's
``done`` is called by whoever takes the job away from its worker, so it is called once.
An exception that was meant for a task may strike all other threads late, see `threads`.
Then the process is given up, and the job has the outcome that has come, or is lost.
"""

from __future__ import annotations

import threading
from functools import partial

from ..outcomes import LOST, Outcome
from ..steps import KILL
from ..threads import report
from ..wording import describe
from .pieces import CHUNK
from .plain import Names
from .process import ProcessWorker
from .start_errors import unavailable
from .transfer import INCOMPLETE, Ended

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.context import BaseContext
    from typing import Any, Callable, List, Optional, Tuple

    from ..tasks import Call
    from . import Done
    from .dispatcher import Dispatcher
    from .guardian import Guardian
    from .pieces import Message
    from .plain import Place
    from .transfer import SocketChannel


class _Job:
    """A job from when it is packed until its outcome is told.

    :param done: called once, see `tell`. It lets go of the call.
    :param simple: see `Names.place`.
    """

    __slots__ = (
        "message",
        "simple",
        "outcome",
        "began",
        "sending",
        "_untold",
    )

    def __init__(self, message: Message, done: Done, simple: bool) -> None:
        self.message = message
        self.simple = simple
        #: Set as soon as it has come, which may be before the job is taken away.
        self.outcome: Optional[Outcome] = None
        #: Whether the process has received some of it.
        self.began = False
        #: Whether a thread is sending it, and sees to it if the process ends meanwhile.
        self.sending = False
        self._untold = [done]

    @property
    def told(self) -> bool:
        """Whether ``done`` has been called."""
        return not self._untold

    def tell(self, outcome: Outcome, serving: bool) -> None:
        """Call ``done``, unless that was done, with the first outcome that came."""
        if self.outcome is None:
            self.outcome = outcome
        if self._untold:
            self._untold.pop()(self.outcome, serving)


class DispatchedWorker(ProcessWorker):
    """See `ProcessWorker`; only `run` does not wait.

    :param dispatcher: calls `serve`.
    :param options: those of `ProcessWorker`.
    """

    _pipe: SocketChannel  # as `can_dispatch` has seen to

    def __init__(
        self,
        context: BaseContext,
        guardian: Guardian,
        dispatcher: Dispatcher,
        **options: Any,
    ) -> None:
        super().__init__(context, guardian, **options)
        self._dispatcher = dispatcher
        self._watched = False
        # Held for a moment by whoever changes what follows, and `_ready`.
        self._lock = threading.Lock()
        self._job: Optional[_Job] = None
        self._ended = False  # the pipe has, or the process
        self._how: Optional[str] = None  # it was broken off
        self._names = Names()
        self._looked_at: Optional[Call] = None  # by `is_quick`, just now
        self._place: Optional[Place] = None  # of the function of the last call

    def is_quick(self, call: Call) -> bool:
        """Whether `run` would neither block nor call the user's code."""
        if not self._watched or not self._ready or self.spent:
            return False
        self._looked_at, self._place = call, self._names.place(call)
        return self._place is not None

    def serve(self) -> None:
        """There is something to read, or the process has ended; for the dispatcher."""
        if self._ended:  # or given up: what comes then answers no later job
            return self._see_end()
        job = self._job
        try:
            # First: once an answer has left the pipe, nothing else shows that it came.
            self._arriving = job is not None and (job.began or job.sending)
            message = self._pipe.arrive()
        except Ended:
            return self._see_end()
        except BaseException as error:
            return self._give_up(self._job, error, True)
        if message is INCOMPLETE:
            self._dispatcher.forget(self)
            self._elsewhere(self._receive, job)
        elif message is not None:
            job = self._accept(message)
            if job is not None:
                self._proceed(job, True)
        else:
            self._arriving = False
            if not self.alive:
                self._see_end()  # a grandchild holds the pipe

    def has_ended(self) -> bool:
        """See `Worker.has_ended`; never before its process has received the job."""
        job = self._job
        if job is not None and not job.began and not self._arriving:
            return False
        return super().has_ended()

    def break_off(self, how: str) -> None:
        """Nobody serves this worker any more: its process is killed, its job lost."""
        # First: a thread that is sending the job may be the one to tell.
        self._how = how
        try:
            self.stop(KILL)
        finally:
            job = self._take_if_ended()
            if job is not None:
                self._tell_end(job, True)

    def sources(self) -> List[int]:
        """The files that tell of something to read, and of the end."""
        sign = self._exit.pidfd
        pipe = self._pipe.source.fileno()
        return [pipe] if sign is None else [pipe, sign]

    # -- a job on its way there --------------------------------------------------

    def _pack(self, call: Call) -> Message:
        if call is not self._looked_at:
            self._place = self._names.place(call)
        self._looked_at = None
        place, note = self._place, self.note
        on = None if note is None else note[3]
        if place is None or not (on is None or on is Exception):
            return self._pipe.pack((call.func, call.args, call.kwargs, note))
        return self._pipe.pack((place, call.args, call.kwargs, note), True)

    def _exchange(self, message: Message, done: Optional[Done]) -> Optional[Outcome]:
        """Send a job, or leave that to `_accept` if the process is not ready."""
        assert done is not None
        if not self._watched:
            try:
                self._dispatcher.watch(self)
                self._watched = True
            except Exception as error:
                self.retire()
                return unavailable(error)
        job = _Job(message, done, self._place is not None)
        try:
            self.sent = True
            with self._lock:
                self._job = job
                self._arriving = False
                job.sending = self._ready
            if job.sending:
                self._deliver(job)
            elif self._ended:
                self._see_end()
        except BaseException as error:
            self._give_up(job, error)
        return None

    def _deliver(self, job: _Job, serving: bool = False) -> None:
        """Send it; whatever goes wrong becomes its outcome."""
        try:
            self._pipe.send(job.message)
            job.began = True
        except Ended:
            self._ended = True  # before it received any of it
        except BaseException as error:
            return self._give_up(job, error, serving)
        # Whoever sees the end meanwhile notes it first, and looks at `sending` after
        # that: so one of the two takes the job.
        job.sending = False
        if self._ended:
            self._see_end()

    # -- and back ----------------------------------------------------------------

    def _receive(self, serving: bool) -> None:
        """Receive what is large, or takes the user's code to unpickle."""
        job, ended = self._receive_all()
        if ended:
            self._see_end()
        else:
            try:
                self._dispatcher.watch(self)  # the next job may be sent by `done`
            except Exception:
                self.retire()  # its end would not be noticed
        if job is not None:
            self._proceed(job, serving)

    def _receive_all(self) -> Tuple[Optional[_Job], bool]:
        """Receive what has been taken in; the job, see `_accept`; whether it ended."""
        job: Optional[_Job] = None
        with self._reading:
            try:
                while True:
                    message = self._read()
                    if not self._is_aside(message):
                        job = self._accept(message)  # it counts, whatever comes then
                    if not self._pipe.pending:
                        break
            except Ended:
                return job, True
        if self._job is not None:
            self._arriving = False  # what has come was no answer
        return job, False

    def _accept(self, message: Any) -> Optional[_Job]:
        """Take a reply to the job at hand, or notice that the process is ready.

        Returns the job: with its outcome, or to be sent.
        """
        with self._lock:
            job, ready = self._job, self._ready
            if not ready:
                self._ready = self._starts.good = True
            if job is None:
                if ready:
                    self.retire()  # an answer without a job
            elif ready:
                job.outcome = self._finish(message)
                self._job = None
            else:
                job.sending = True
        return job

    def _proceed(self, job: _Job, serving: bool) -> None:
        if job.outcome is not None:
            if job.simple or not serving:
                job.tell(job.outcome, serving)
            else:  # the arguments' finalizers are the user's code
                self._elsewhere(partial(job.tell, job.outcome), job)
        elif sum(map(len, job.message)) < CHUNK:
            self._deliver(job, serving)
        else:
            self._elsewhere(partial(self._deliver, job), job)

    # -- or not ------------------------------------------------------------------

    def _see_end(self) -> None:
        """The pipe has ended, or the process, and so the job at hand."""
        job = self._take_if_ended()
        if job is not None:
            self._elsewhere(partial(self._tell_end, job), job)

    def _take_if_ended(self) -> Optional[_Job]:
        """Take the job away, unless a thread is sending it, which then does this."""
        self.retire()
        self._dispatcher.forget(self)
        with self._lock:
            self._ended = True
            job = self._job
            if job is None or job.sending:
                return None
            self._job = None
        return job

    def _tell_end(self, job: _Job, serving: bool) -> None:
        if self._how is None:
            outcome = self._lost(job.began)
        else:
            outcome = Outcome.lost(self.mode if job.began else None, self._how)
        job.tell(outcome, serving)

    def _give_up(
        self, job: Optional[_Job], error: BaseException, serving: bool = False
    ) -> None:
        """End the process, as it is not known how far a message has come. Idempotent.

        The job at hand has its outcome by that.

        :param job: the job at hand when what ``error`` has cut short began.
        """
        if job is not None and job.told:
            return report(error)
        self.retire()
        with self._lock:
            self._ended = True
            job = job or self._job
            if self._job is job:
                self._job = None
        if job is not None:
            mode = self.mode if job.began or job.sending else None
            job.tell(Outcome(LOST, mode, None, *describe(error)), serving)

    def _reap_once(self) -> Optional[int]:
        self._dispatcher.forget(self)
        return super()._reap_once()

    def _elsewhere(self, work: Callable[[bool], object], job: Optional[_Job]) -> None:
        """Call it in a thread that may take its time, or if none can be had, here.

        :param work: called with whether this may be the dispatcher's thread.
        :param job: what is at hand.
        """
        works = [work]
        try:
            self._dispatcher.threads.start(self._work, works, job, False)
        except RuntimeError:
            self._work(works, job, True)

    def _work(
        self,
        works: List[Callable[[bool], object]],
        job: Optional[_Job],
        serving: bool,
    ) -> None:
        """Do it, once; a call that was struck is made again, and gives up then."""
        try:
            if not works:
                raise RuntimeError("the thread that served the worker was struck")
            works.pop()(serving)
        except BaseException as error:
            self._give_up(job, error, serving)
