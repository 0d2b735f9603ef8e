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
from collections import deque
from weakref import WeakSet

from .. import checks
from ..outcomes import UNAVAILABLE, AtHand, Outcome
from ..remote_results import RemoteResult
from ..steps import TERMINATE
from ..tasks import Command
from .call_queue import CallQueue
from .envelope import MODE
from .pool import Pool
from .pooled import PooledWorker
from .submissions import Submission, cancel_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Collection, Deque, Final, Optional

    from ..current import Note
    from ..tasks import Job
    from ..threads import ThreadCache
    from . import Done

#: The kind of jobs that are handed to the executor.
EXECUTOR: Final = "executor"

#: How many threads may wait for results at once.
RECEIVERS: Final = 64

_NO_NOTE: Final[Note] = ("", 1, None, None)


class ExecutorPool(Pool):
    """What the workers of a run with an executor share; see `Workers`.

    :param executor: the user's.
    :param local: the ids of jobs that are done in this process. Jobs that are made
        during the run may have the same ids, and tell themselves where they are done.
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
        self.outgoing = CallQueue(threads)
        self.incoming = CallQueue(threads)
        self._lock = threading.Lock()
        self._receiving = 0  # in how many threads
        self._name = uuid.uuid4().hex
        self._numbers = itertools.count()
        self._results: WeakSet[RemoteResult] = WeakSet()
        self._closed = False
        self._withdrawn: Deque[Submission] = deque()
        # That of dask cancels many in one call, in the time of one.
        self._cancels_many = checks.takes_own_futures(executor) and callable(
            getattr(executor, "cancel", None)
        )

    def hire(self, done: Done) -> ExecutorPooledWorker:
        """See `Workers.hire`."""
        return ExecutorPooledWorker(self, done)

    def token(self) -> str:
        """A new one with each call, which no other program has either."""
        return f"{self._name}-{next(self._numbers)}"

    def withdraw(self, submission: Submission) -> None:
        """Have a submission cancelled soon, together with others that wait for that.

        :raises RuntimeError: there can be no thread.
        """
        self._withdrawn.append(submission)
        self.outgoing.put(self._cancel)

    def _cancel(self) -> None:
        withdrawn = self._withdrawn
        # Not iterated: others append to it meanwhile.
        submissions = [withdrawn[n] for n in range(len(withdrawn))]
        if self._cancels_many:
            cancel_all(self.executor, submissions)
        else:
            for each in submissions:
                each.cancel()
        for _ in submissions:
            withdrawn.popleft()

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

        Usually it is released before: see `ReleaseReader`.
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


class ExecutorPooledWorker(PooledWorker):
    """A worker with an executor for all jobs that are not done here."""

    def __init__(self, pool: ExecutorPool, done: Done) -> None:
        super().__init__(pool, done)
        self._local = pool.local
        self._backends[EXECUTOR] = ExecutorBackend(pool)

    def _kind(self, job: Job) -> str:
        here = id(job) in self._local if job.here is None else job.here
        return job.kind if here else EXECUTOR


class ExecutorBackend:
    """Hands jobs to an executor; see `backend.Backend`."""

    mode = MODE
    spent = False
    sent = False
    note: Optional[Note] = None
    thread: Optional[int] = None

    def __init__(self, pool: ExecutorPool) -> None:
        self._pool = pool
        self._at_hand = AtHand(MODE)
        self._submission: Optional[Submission] = None
        self._stopped = False

    def is_quick(self, job: Job) -> bool:
        """Always: `run` does no more than to put it into a queue."""
        return True

    def present(self, job: Job) -> AtHand:
        """See `Backend.present`."""
        return self._at_hand

    def run(self, job: Job, at_hand: AtHand, done: Done) -> Optional[Outcome]:
        """See `Backend.run`."""
        if self._stopped:
            return Outcome.stopped()
        note = self.note or _NO_NOTE
        pool = self._pool
        kept = job.here is None and id(job) in pool.kept
        self._submission = submission = Submission(pool, job, note, done, kept)
        self.sent = True
        try:
            if pool.kept and isinstance(job, Command):
                pool.threads.start_soon(submission.prepare)
            else:
                pool.outgoing.put(submission.submit)
        except Exception as error:  # there can be no thread
            self.sent = False
            return Outcome.raised(None, error, UNAVAILABLE)
        if self._stopped:  # meanwhile
            submission.withdraw()
        return None

    def is_starting(self) -> bool:
        """See `Worker.is_starting`: the executor's are its own affair."""
        return False

    def has_ended(self) -> bool:
        """See `Worker.has_ended`: the executor has said so."""
        submission = self._submission
        return submission is not None and submission.arrived

    def stop(self, force: int = TERMINATE) -> bool:
        """See `Worker.stop`: what the executor has not begun is withdrawn.

        What it has begun goes on there, and nobody waits for it.
        """
        self._stopped = True
        submission = self._submission
        if submission is not None:
            submission.withdraw()
        return False

    def retire(self) -> None:
        """Nothing is ever idle."""

    def abandon(self) -> None:
        """Nothing is held."""

    def close(self) -> None:
        """Nothing is held."""
        self._submission = None
