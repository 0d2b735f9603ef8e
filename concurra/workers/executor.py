"""Workers that hand their jobs to an executor of the user's.

::

    any thread         a thread that submits         the executor's    a thread that
                       and cancels, in order         own               receives
    ----------         ---------------------         --------------    -------------
    run ────────────>  submit ────────────────────>  runs it
                                                     its callback ───> result, done
    stop ───────────>  cancel

Submitting, cancelling and asking for a result may block: it is never done by the
threads that decide, and no thread waits for a job. The executor belongs to the user: it
is never shut down. A future is let go before its outcome is told, since some executors
do again what somebody still holds.
"""

from __future__ import annotations

import itertools
import threading
import uuid
from weakref import WeakSet

from ..outcomes import LOST, SUCCESS, UNAVAILABLE, AtHand, Outcome
from ..remote_results import NotKept, RemoteResult
from ..steps import TERMINATE
from ..tasks import Command
from ..wording import describe, kind, stripped
from .envelope import MODE, contents, enclose, outcome_of, unpicklable
from .lane import Lane
from .pool import Pool, PooledWorker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Collection, Final, List, Optional

    from ..current import Note
    from ..tasks import Job
    from ..threads import ThreadCache
    from . import Done

#: The kind of jobs that are handed to the executor.
EXECUTOR: Final = "executor"

#: How many threads may wait for results at once.
RECEIVERS: Final = 64

_NO_NOTE: Final[Note] = ("", 1, None, None)

_NO_CONCURRA = "No module named 'concurra"


class ExecutorPool(Pool):
    """What the workers of a run share that has an executor; see `Workers`.

    :param executor: the user's.
    :param local: the ids of jobs that are done in this process.
    :param kept: the ids of jobs whose results stay with the executor.
    :param commands: whether there are commands among the local ones.
    :param grace: seconds that the end waits for cancels that are on their way.
    :param max_output: see `CommandWorker`.
    """

    def __init__(
        self,
        threads: ThreadCache,
        executor: Any,
        *,
        local: Collection[int] = (),
        kept: Collection[int] = (),
        commands: bool = False,
        grace: float = 1.0,
        max_output: Optional[float] = None,
    ) -> None:
        super().__init__(threads, commands=commands, max_output=max_output)
        self.elsewhere = self.remote = True
        self.executor = executor
        self.local = local
        self.kept = kept
        #: What goes with commands.
        self.limits = grace, max_output
        self._grace = grace
        #: What submits and cancels, and what receives results that are there.
        self.outgoing = Lane(threads)
        self.incoming = Lane(threads)
        self._lock = threading.Lock()
        self._receiving = 0  # in how many threads
        self._name = uuid.uuid4().hex
        self._numbers = itertools.count()
        self._results: WeakSet[RemoteResult] = WeakSet()
        self._closed = False

    def hire(self, done: Done) -> ExecutorsWorker:
        """See `Workers.hire`."""
        return ExecutorsWorker(self, done)

    def token(self) -> str:
        """Another one with each call, in all the world."""
        return f"{self._name}-{next(self._numbers)}"

    def receive(self, call: Callable[[], object], waits: bool) -> None:
        """Have a result received soon; if that may block, in a thread of its own.

        There are only so many of these. All others share one.

        :raises RuntimeError: there can be no thread.
        """
        with self._lock:
            alone = waits and self._receiving < RECEIVERS
            self._receiving += alone
        if not alone:
            self.incoming.put(call)
            return
        try:
            self.threads.start_soon(self._receive, call)
        except Exception:
            self._receive(call)

    def _receive(self, call: Callable[[], object]) -> None:
        try:
            call()
        finally:
            with self._lock:
                self._receiving -= 1

    def keep(self, name: str, future: Any) -> RemoteResult:
        """What stands for the result of a future; it is kept till the end of the run.

        That is the latest: see `Releasing`.
        """
        result = RemoteResult(name, future)
        with self._lock:
            if self._closed:
                result.release()
            else:
                self._results.add(result)
        return result

    def close(self) -> None:
        """See `Workers.close`."""
        with self._lock:
            self._closed = True
        for result in self._results:
            result.release()
        self.outgoing.drain(self._grace)
        super().close()


class ExecutorsWorker(PooledWorker):
    """A worker with an executor for all jobs that are not done here."""

    def __init__(self, pool: ExecutorPool, done: Done) -> None:
        super().__init__(pool, done)
        self._local = pool.local
        self._kinds[EXECUTOR] = ExecutorWorker(pool)

    def _kind(self, job: Job) -> str:
        return job.kind if id(job) in self._local else EXECUTOR


class ExecutorWorker:
    """Hands jobs to an executor; see `kinds.Kind`."""

    mode = MODE
    spent = False
    sent = False
    note: Optional[Note] = None
    thread: Optional[int] = None

    def __init__(self, pool: ExecutorPool) -> None:
        self._pool = pool
        self._at_hand = AtHand(MODE)
        self._attempt: Optional[_Attempt] = None
        self._stopped = False

    def is_quick(self, job: Job) -> bool:
        """Always: `run` does no more than to put it into a queue."""
        return True

    def present(self, job: Job) -> AtHand:
        """See `Kind.present`."""
        return self._at_hand

    def run(self, job: Job, at_hand: AtHand, done: Done) -> Optional[Outcome]:
        """See `Kind.run`."""
        if self._stopped:
            return Outcome.stopped()
        note = self.note or _NO_NOTE
        pool = self._pool
        self._attempt = attempt = _Attempt(pool, job, note, done, id(job) in pool.kept)
        self.sent = True
        try:
            if pool.kept and isinstance(job, Command):
                pool.threads.start_soon(attempt.prepare)
            else:
                pool.outgoing.put(attempt.submit)
        except Exception as error:  # there can be no thread
            self.sent = False
            return Outcome.raised(None, error, UNAVAILABLE)
        if self._stopped:  # meanwhile
            attempt.withdraw()
        return None

    def has_ended(self) -> bool:
        """See `Worker.has_ended`: the executor has said so."""
        attempt = self._attempt
        return attempt is not None and attempt.arrived

    def stop(self, force: int = TERMINATE) -> bool:
        """See `Worker.stop`: what the executor has not begun is withdrawn.

        What it has begun goes on there, and nobody waits for it.
        """
        self._stopped = True
        attempt = self._attempt
        if attempt is not None:
            attempt.withdraw()
        return False

    def retire(self) -> None:
        """Nothing is ever idle."""

    def abandon(self) -> None:
        """Nothing is held."""

    def close(self) -> None:
        """Nothing is held."""
        self._attempt = None


class _Attempt:
    """A job on its way to the executor and back; ``done`` is called once."""

    __slots__ = (
        *("_pool", "_job", "_note", "_untold", "_future", "_withdrawn", "arrived"),
        *("_token", "_keeps"),
    )

    def __init__(
        self, pool: ExecutorPool, job: Job, note: Note, done: Done, keeps: bool
    ) -> None:
        self._pool = pool
        self._job: Optional[Job] = job
        self._note = note
        self._untold: List[Done] = [done]
        self._future: Any = None
        self._withdrawn = False
        self._token = pool.token()
        self._keeps = job.name if keeps else None
        #: Whether the executor has called back.
        self.arrived = False

    def prepare(self) -> None:
        """Fetch what a command is to have of others, then submit it; never raises.

        That may block, and others are not to wait for it.
        """
        job = self._job
        try:
            if isinstance(job, Command):
                self._job = job.ready()
            del job
            self._pool.outgoing.put(self.submit)
        except BaseException as error:
            self._tell(Outcome.raised(MODE, error))

    def submit(self) -> None:
        """Hand it to the executor, unless it has been withdrawn; never raises."""
        job, self._job = self._job, None
        if job is None or self._withdrawn:
            return
        outcome = self._submit(job)
        del job
        if outcome is not None:
            self._tell(outcome)

    def _submit(self, job: Job) -> Optional[Outcome]:
        pool = self._pool
        try:
            what, args = contents(job)
        except BaseException as error:
            return Outcome.raised(MODE, error)
        try:
            about = self._note, self._token, pool.limits, self._keeps is not None
            envelope = enclose(job, what, *about)
        except BaseException as error:
            return unpicklable(error)
        del what
        try:
            self._future = pool.executor.submit(envelope, *args)
            self._future.add_done_callback(self._arrive)
        except BaseException as error:  # broken, shut down, or not what it should be
            self._future = None
            outcome = Outcome.raised(None, error)
            outcome.final = True  # it may have been submitted, for all we know
            return outcome
        return None

    def withdraw(self) -> None:
        """Nobody waits for it any more; idempotent, for any thread."""
        self._withdrawn = True
        self._job = None
        try:
            self._pool.outgoing.put(self._cancel)
        except Exception:  # there can be no thread, and here it might block
            pass

    def _cancel(self) -> None:
        future = self._future
        try:
            if future is not None and (self.arrived or future.cancel() is False):
                return  # it goes on to its end there, or has come to it
        except BaseException:  # what becomes of it is not known
            return
        self._future = future = None
        self._tell(Outcome.stopped())

    def _arrive(self, future: Any) -> None:
        """The executor calls back, in a thread that must not be held up."""
        from concurrent.futures import Future

        if self.arrived:
            return
        self.arrived = True
        try:
            there = isinstance(future, Future)
            self._pool.receive(self._receive, waits=not there)
        except Exception:  # there can be no thread
            self._receive()

    def _receive(self) -> None:
        """Ask for the result, and tell the outcome; never raises."""
        future, self._future = self._future, None
        if future is None or not self._untold:
            return
        try:
            if self._keeps is None:
                outcome = outcome_of(future.result())
            else:
                outcome = self._kept(self._keeps, future)
        except BaseException as error:
            outcome = _fault(error)
        del future
        self._tell(outcome)

    def _kept(self, name: str, future: Any) -> Outcome:
        """The outcome of what has left its result there."""
        try:
            if future.status != "finished":
                future.result()  # raises what has happened
        except NotKept as error:
            error.__traceback__ = None  # which holds the future
            if error.token != self._token:
                return _fault(error)
            return outcome_of(error.reply)
        if self._withdrawn:
            return Outcome.stopped()
        return Outcome(SUCCESS, MODE, self._pool.keep(name, future))

    def _tell(self, outcome: Outcome) -> None:
        try:
            done = self._untold.pop()
        except IndexError:
            return  # it has been told
        done(outcome, True)


def _fault(error: BaseException) -> Outcome:
    """The executor itself has failed: what has become of the job is not known."""
    text, trace = describe(error)
    if isinstance(error, NotKept):  # of another attempt
        text, trace = f"RuntimeError: {error.told_to_others}", ""
    elif kind(error) == "CancelledError":
        text = f"{text.rstrip(': ')}: the executor has dropped the task"
    elif _NO_CONCURRA in text:
        text = f"{text} (it must be installed wherever the executor runs tasks)"
    outcome = Outcome(LOST, MODE, None, text, trace)
    outcome.exception = stripped(error)
    return outcome
