"""Process workers that no thread waits for: a dispatcher serves them.

::

    any thread            dispatcher                        a thread of the cache
    ----------            ----------                        ---------------------
    run: pack, send
                          small and plain: unpickle, done
                          all else ───────────────────────> receive, unpickle, done
                          its end ────────────────────────> reap, done

The dispatcher neither blocks nor calls the user's code. A job's ``done`` is called by
whoever takes the job away from its worker, so it is called once.
"""

from __future__ import annotations

import sys
import threading
from types import BuiltinFunctionType, FunctionType, ModuleType

from ..outcomes import UNAVAILABLE, Outcome
from ..tasks import Call
from .process import ProcessWorker
from .transfer import CHUNK, Ended, SocketChannel, is_plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.context import BaseContext
    from typing import Any, Callable, List, Optional

    from . import Done
    from .dispatcher import Dispatcher
    from .guardian import Guardian
    from .transfer import Message


class _Job:
    """A job that was packed, until its outcome is known."""

    __slots__ = ("message", "done", "began", "sending")

    def __init__(self, message: Message, done: Done) -> None:
        self.message = message
        self.done = done
        #: The process has received some of it.
        self.began = False
        #: A thread is sending it, which sees to it if the process ends meanwhile.
        self.sending = False


class DispatchedWorker(ProcessWorker):
    """See `ProcessWorker`; only `run` does not wait.

    :param dispatcher: calls `serve`.
    :param options: those of `ProcessWorker`.
    """

    def __init__(
        self,
        context: BaseContext,
        guardian: Guardian,
        dispatcher: Dispatcher,
        **options: Any,
    ) -> None:
        super().__init__(context, guardian, **options)
        assert isinstance(self._pipe, SocketChannel)
        self._channel = self._pipe
        self._dispatcher = dispatcher
        self._watched = False
        # Held for a moment by whoever changes what follows, and `_ready`.
        self._lock = threading.Lock()
        self._job: Optional[_Job] = None
        self._ended = False  # the pipe has, or the process
        self._simple: Optional[Call] = None  # the last call that was found quick

    def is_quick(self, call: Call) -> bool:
        """Whether `run` would neither block nor call the user's code."""
        if self._watched and self._ready and not self.spent and _is_simple(call):
            self._simple = call
            return True
        return False

    def serve(self) -> None:
        """There is something to read, or the process has ended; for the dispatcher."""
        message = None
        try:
            plain = self._channel.arrive()
            if plain:
                message = self._read()
        except Ended:
            return self._see_end()
        except BaseException as error:
            return self._break(error, self._job)
        if plain:
            self._accept(message, True)
        elif plain is not None:
            self._dispatcher.forget(self)
            self._elsewhere(self._receive)
        elif not self.alive:
            self._see_end()  # a grandchild holds the pipe

    def break_off(self, how: str) -> None:
        """Nobody serves this worker any more: its process is killed, its job lost."""
        self.stop(force=True)
        job = self._take_if_ended()
        if job is not None:
            job.done(Outcome.lost(self.mode if job.began else None, how), True)

    def sources(self) -> List[int]:
        """The files that tell of something to read, and of the end."""
        sign = self._exit.pidfd
        pipe = self._channel.source.fileno()
        return [pipe] if sign is None else [pipe, sign]

    # -- a job on its way there --------------------------------------------------

    def _pack(self, call: Call) -> Message:
        simple = self._simple is call or _is_simple(call)
        self._simple = None
        return self._pipe.pack((call.func, call.args, call.kwargs), simple)

    def _exchange(self, message: Message, done: Optional[Done]) -> Optional[Outcome]:
        """Send a job, or leave that to `_accept` if the process is not ready."""
        assert done is not None
        if not self._watched:
            try:
                self._dispatcher.watch(self)
                self._watched = True
            except Exception as error:
                self.retire()
                return Outcome.raised(None, error, UNAVAILABLE)
        job = _Job(message, done)
        with self._lock:
            self._job = job
            job.sending = self._ready
        if job.sending:
            self._deliver(job)
        elif self._ended:
            self._see_end()
        return None

    def _deliver(self, job: _Job) -> None:
        """Send it; whatever goes wrong becomes its outcome."""
        try:
            self._pipe.send(job.message)
            job.began = True
        except Ended:
            self._ended = True  # before it received any of it
        except BaseException as error:
            self._break(error, job)
        with self._lock:
            job.sending = False
        if self._ended:
            self._see_end()

    # -- and back ----------------------------------------------------------------

    def _receive(self, serving: bool) -> None:
        """Receive what is large, or takes the user's code to unpickle."""
        try:
            message = self._read()
        except Ended:
            return self._see_end()
        except BaseException as error:
            return self._break(error, self._job)
        try:
            self._dispatcher.watch(self)  # first: the next job may be sent by `done`
        except Exception:
            self.retire()  # its end would not be noticed
        self._accept(message, serving)

    def _accept(self, message: Any, serving: bool) -> None:
        """Take a reply to the job at hand, or notice that the process is ready."""
        with self._lock:
            job, ready = self._job, self._ready
            self._ready = True
            if ready:
                self._job = None
            elif job is not None:
                job.sending = True
        if job is None:
            if ready:
                self.retire()  # it has answered what nobody asked
        elif ready:
            job.done(self._finish(message), serving)
        elif sum(map(len, job.message)) < CHUNK:
            self._deliver(job)
        else:
            self._elsewhere(lambda serving: self._deliver(job))

    # -- or not ------------------------------------------------------------------

    def _see_end(self) -> None:
        """The pipe has ended, or the process, and so the job at hand."""
        job = self._take_if_ended()
        if job is not None:
            self._elsewhere(lambda serving: self._tell_end(job, serving))

    def _take_if_ended(self) -> Optional[_Job]:
        """Take the job away, unless a thread is sending it, which then does this."""
        self.spent = True
        self._dispatcher.forget(self)
        with self._lock:
            self._ended = True
            job = self._job
            if job is None or job.sending:
                return None
            self._job = None
        return job

    def _tell_end(self, job: _Job, serving: bool) -> None:
        try:
            outcome = self._lost(job.began)
        except BaseException as error:
            outcome = Outcome.raised(self.mode, error)
        job.done(outcome, serving)

    def _break(self, error: BaseException, job: Optional[_Job]) -> None:
        """It is not known how far a message has come: the process can only end."""
        self.retire()
        with self._lock:
            if job is None or self._job is not job:
                return
            self._job = None
        done, outcome = job.done, Outcome.raised(self.mode, error)
        self._elsewhere(lambda serving: done(outcome, serving))

    def _reap_once(self) -> Optional[int]:
        self._dispatcher.forget(self)
        return super()._reap_once()

    def _elsewhere(self, work: Callable[[bool], object]) -> None:
        """Call it in a thread that may take its time, or if none can be had, here.

        :param work: called with whether this may be the dispatcher's thread.
        """
        try:
            self._dispatcher.threads.start(work, False)
        except RuntimeError:
            work(True)


def _is_simple(call: Call) -> bool:
    """Whether plain `pickle` packs the call, without a look at anything but modules.

    True of a function at the top level of a module that is there, with small arguments
    of the simplest types.
    """
    func, args, kwargs = call.func, call.args, call.kwargs
    if type(func) is not FunctionType and type(func) is not BuiltinFunctionType:
        return False
    if type(args) is not tuple and type(args) is not list:
        return False
    name, origin = func.__name__, func.__module__
    module = sys.modules.get(origin) if type(origin) is str else None
    if (
        func.__qualname__ != name
        or type(module) is not ModuleType
        or module.__dict__.get(name) is not func
    ):
        return False
    if kwargs is None:
        return is_plain(args)
    return type(kwargs) is dict and is_plain([*args, *kwargs, *kwargs.values()])
