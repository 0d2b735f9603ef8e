"""The worker of a slot: it does every job of a run.

It has a backend for each kind of job: a thread worker for functions, or a process
worker where the run uses processes, and a command worker. They are made when they are
first needed, and replaced when they are spent: one is closed before the next is made.
"""

from __future__ import annotations

import threading

from ..outcomes import LOST, NOTHING, UNAVAILABLE, UNPICKLABLE, AtHand, Outcome
from ..steps import KILL, TERMINATE
from ..tasks import CALL
from .start_errors import unavailable
from .starts import Hopeless

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional

    from ..current import Note
    from ..tasks import Job
    from . import Done
    from .backend import Backend
    from .pool import Pool


class PooledWorker:
    """Does every job of a run; see `Worker`.

    What is at hand is set in one place, `_use`, in this order: it is shown, then looked
    whether the worker was dismissed, then the job begins. `dismiss` and `stop` note
    that first, and look at what is at hand after it. So one of the two sides always
    sees the other.
    """

    def __init__(self, pool: Pool, done: Done) -> None:
        self.at_hand = NOTHING
        self.unreaped = False
        self.elsewhere = pool.elsewhere
        self.remote = pool.remote
        self.thread: Optional[int] = None
        self._note: Optional[Note] = None
        self._pool = pool
        self._done = done
        self._backends: Dict[str, Backend] = {}
        self._active: Optional[Backend] = None  # of what is at hand
        self._job: Optional[Job] = None  # that may have to fall back to a thread
        self._spent: Optional[Backend] = None  # and not closed yet
        self._first = True  # nothing has been replaced
        self._reaping = threading.Lock()
        self._dismissed = False

    def is_quick(self, job: Job) -> bool:
        """See `Worker.is_quick`."""
        backend = self._backends.get(self._kind(job))
        if backend is None or self.unreaped or id(job) in self._pool.unpicklable:
            return False
        return backend.is_quick(job)

    def begin(
        self, job: Optional[Job], note: Optional[Note] = None
    ) -> Optional[Outcome]:
        """See `Worker.begin`."""
        try:
            if job is None:  # its task was ended, and this dismissed before that
                return Outcome.stopped()
            self._note = note
            if id(job) in self._pool.unpicklable:
                return self._use(self._pool.fallback_worker(), job)
            outcome = self._try(job)
            if outcome and outcome.cause is UNAVAILABLE and self._make_room(job):
                outcome = self._try(job)
            if outcome is None:
                return None
            self._job = None
            if self._falls_back(outcome):
                outcome = self._use(self._pool.fallback_worker(), job)
            return outcome
        except BaseException as error:  # an exception for another task that came late
            active = self._current()
            if active is not None and active.sent:
                return None
            return Outcome.raised(None, error)

    def reap(self) -> None:
        """Wait for the end of what is spent."""
        with self._reaping:
            if self._spent is not None:
                close_backend(self._spent)
                self._spent = None
                self.unreaped = False

    def retire(self) -> None:
        """See `Worker.retire`."""
        for backend in list(self._backends.values()):
            backend.retire()

    def is_starting(self) -> bool:
        """See `Worker.is_starting`."""
        active = self._current()
        return self._first and (active is None or active.is_starting())

    def has_ended(self) -> bool:
        """See `Worker.has_ended`."""
        active = self._current()
        return active is not None and active.has_ended()

    def dismiss(self) -> AtHand:
        """See `Worker.dismiss`."""
        self._dismissed = True
        return self.at_hand

    def stop(self, force: int = TERMINATE) -> bool:
        """See `Worker.stop`."""
        self._dismissed = True
        spent = self._spent
        if spent is not None:
            spent.stop(force)  # it may be what the job at hand waits for
        active = self._current()
        return active is None or active.stop(force)

    def abandon(self) -> None:
        """Close all but what the job at hand uses.

        It would be held for as long as that job goes on, in a thread.
        """
        active = self._current()
        for kind, backend in list(self._backends.items()):
            if backend is not active and self._backends.pop(kind, None) is not None:
                backend.stop(KILL)
                close_backend(backend)
        spent = self._spent
        if spent is not None:
            spent.stop(KILL)
            self.reap()
        if active is not None:
            active.abandon()

    def close(self) -> None:
        """See `Worker.close`."""
        self.reap()
        self._close_backends(list(self._backends))

    def _kind(self, job: Job) -> str:
        """The kind of backend that does it."""
        return job.kind

    def _current(self) -> Optional[Backend]:
        return None if self.at_hand.mode is None else self._active

    def _try(self, job: Job) -> Optional[Outcome]:
        """Do the job with what there is for its kind, or is made for it."""
        kind = self._kind(job)
        backend = self._backends.get(kind)
        if backend is not None and backend.spent:  # it has ended while it was idle
            self._put_aside(kind)
            backend = None
        if backend is None:
            if self._dismissed:
                return Outcome.stopped()
            try:
                self.reap()
                backend = self._backends[kind] = self._pool.make(kind)
            except Hopeless as error:
                return Outcome(LOST, None, None, str(error))
            except BaseException as error:  # no process can be started, or no thread
                return unavailable(error)
        self._job = job if self._pool.fallback else None
        outcome = self._use(backend, job)
        if outcome is not None and backend.spent:
            self._put_aside(kind)
        return outcome

    def _use(self, backend: Backend, job: Job) -> Optional[Outcome]:
        backend.sent = False
        backend.note = self._note
        backend.thread = self.thread
        self._active = backend
        self.at_hand = at_hand = backend.present(job)
        if self._dismissed:
            backend.stop()  # a process that is still on its way would take its time
            return Outcome.stopped()
        return backend.run(job, at_hand, self._finish)

    def _finish(self, outcome: Outcome, serving: bool) -> None:
        """A process has done its job, or is lost.

        A job that is to fall back was lost before it began, as far as its owner can
        tell, who then begins it once more: in a thread that is known to run a job.
        """
        try:
            backend = self._backends.get(CALL)
            if backend is not None and backend.spent:
                self._put_aside(CALL)
            job, self._job = self._job, None
            if job is not None and self._falls_back(outcome):
                self._pool.unpicklable[id(job)] = job
                outcome = Outcome(LOST, None, None, outcome.error, outcome.trace)
        finally:  # a late exception is for another task
            job = None  # this thread may do the next ones, within this call
            self._done(outcome, serving)

    def _falls_back(self, outcome: Outcome) -> bool:
        """Whether the job did not begin, and is to be done in a thread."""
        never_began = outcome.cause is UNPICKLABLE and outcome.mode is None
        return never_began and self._pool.fallback

    def _put_aside(self, kind: str) -> None:
        """Keep what is spent until `reap`."""
        spent = self._backends.pop(kind, None)
        if spent is not None:  # or else this worker has been abandoned meanwhile
            self._spent = spent
            self.unreaped = True
            self._first = False

    def _make_room(self, job: Job) -> bool:
        """Close what is for jobs of other kinds; whether there was any."""
        kind = self._kind(job)
        others = [other for other in list(self._backends) if other is not kind]
        self._close_backends(others)
        return bool(others)

    def _close_backends(self, kinds: List[str]) -> None:
        for kind in kinds:
            backend = self._backends.pop(kind, None)
            if backend is not None:  # or else this worker has been abandoned meanwhile
                close_backend(backend)


def close_backend(backend: Backend) -> None:
    """Close it, or leave it alone if that cannot be done."""
    try:
        backend.close()
    except OSError:
        pass  # nothing more can be done
