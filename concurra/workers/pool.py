"""Hires workers for a run: each can do every job of it.

A slot of the scheduler holds one `PooledWorker`, which has something for each kind of
job: a thread worker for functions, or a process worker where the run uses processes,
and a command worker. They are made when they are first needed, and replaced when they
are spent: one is closed before the next is made.
"""

from __future__ import annotations

import threading
from contextlib import suppress

from ..outcomes import LOST, NOTHING, UNAVAILABLE, UNPICKLABLE, AtHand, Outcome
from ..steps import KILL, TERMINATE
from ..tasks import CALL, COMMAND, FEED
from .starts import Hopeless
from .thread import FallbackWorker, ThreadWorker, perform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.context import BaseContext
    from typing import Any, Callable, Collection, Dict, List, Optional

    from ..current import Note
    from ..tasks import Call, Job
    from ..threads import ThreadCache
    from . import Done, Worker
    from .initializer import Initializer
    from .kinds import Kind
    from .printing import Printing
    from .process import ProcessWorker
    from .processes import Processes


class Pool:
    """What the workers of one run share; see `Workers`.

    :param threads: where to do what may take its time.
    :param context: how to start processes for functions; None to call them in threads.
    :param commands: whether the run has commands.
    :param width: tells how many processes can be at work at once.
    :param fallback: whether a function that cannot be pickled is called in a thread.
    :param max_tasks: jobs that a process does until it is replaced; None for no limit.
    :param grace: seconds that a process has to end by itself at the end of the run.
    :param importing: the modules that wait for the run in the midst of their import.
    :param initializer: called by each worker for functions before its first task.
    :param forward_logs: see `Processes`.
    :param output: see `CommandWorker`, and so for ``max_output``.
    :param labels: whether there are commands with an output of their own.
    """

    def __init__(
        self,
        threads: ThreadCache,
        context: Optional[BaseContext] = None,
        *,
        commands: bool = True,
        width: Callable[[], int] = lambda: 0,
        fallback: bool = False,
        max_tasks: Optional[int] = None,
        grace: float = 1.0,
        importing: Collection[str] = (),
        initializer: Optional[Initializer] = None,
        forward_logs: Optional[bool] = None,
        output: Optional[str] = None,
        max_output: Optional[float] = None,
        labels: bool = False,
    ) -> None:
        self.threads = threads
        self.fallback = fallback
        self.initializer = initializer
        #: By their ids, jobs that a process could not unpickle. From then on any worker
        #: does them in the calling thread. They are kept, so that no other has the id.
        self.unpicklable: Dict[int, Job] = {}
        #: Whether there are processes that no thread waits for.
        self.elsewhere = False
        #: Whether workers are to know what goes with a job.
        self.remote = context is not None or output is not None or labels
        self._width = width
        self._makers: Dict[str, Callable[[], Kind]] = {CALL: self._thread_worker}
        self._makers[FEED] = ThreadWorker
        self._prepared: List[ProcessWorker] = []
        self._start: Optional[Callable[[], ProcessWorker]] = None  # before all threads
        self._printing: Optional[Printing] = None
        #: Calls a function in the calling thread.
        self.perform: Callable[[Call], Any] = perform
        if output in ("prefixed", "grouped"):
            from . import printing

            self._printing = printing.Printing(output, max_output)
            self.perform = self._printing.perform
        self._processes: Optional[Processes] = None
        self._guardian: Any = None
        self._drain: Any = None
        # What is not needed is not imported. What is needed is imported here: a program
        # that forks while another thread imports has half a module in the child.
        if commands or context is not None:
            from .groups import kill_all
            from .guardian import Guardian

            self._kill = kill_all
            self._guardian = guardian = Guardian()
        if commands:
            from .command import CommandWorker
            from .output import Drain

            self._drain = drain = Drain(threads.start_own)
            chosen = output, max_output
            self._makers[COMMAND] = lambda: CommandWorker(guardian, drain, *chosen)
        if context is not None:
            from . import processes

            self._processes = made = processes.Processes(
                context,
                guardian,
                threads,
                forward_logs,
                max_tasks=max_tasks,
                grace=grace,
                importing=importing,
                initializer=initializer,
                display=self._printing and self._printing.display,
            )
            self.elsewhere = made.elsewhere
            self._makers[CALL] = made.make
            if context.get_start_method() == "fork":
                self._start = made.make

    def is_passing_on(self) -> bool:
        """See `Workers.is_passing_on`."""
        made = self._processes
        return made is not None and made.passing.is_at_it()

    def prepare(self, stopped: Callable[[], bool]) -> None:
        """Under fork, start the processes for the first workers that need one.

        It is best to do that before the run has many threads. By any other method each
        worker starts its own, side by side with the others.
        """
        if self._printing is not None:
            self._printing.open()
        if self._start is None:
            return
        try:
            for _ in range(self._width()):
                if stopped():
                    break
                self._prepared.append(self._start())
        except OSError:
            pass  # no more processes: those that there are may do

    def kill(self) -> None:
        """Kill all processes and commands that are left."""
        if self._guardian is not None:
            self._kill(self._guardian)

    def hire(self, done: Done) -> Worker:
        """See `Workers.hire`."""
        if self._guardian is None:  # there is nothing but threads
            return self._thread_worker()
        return PooledWorker(self, done)

    def _thread_worker(self) -> ThreadWorker:
        return ThreadWorker("thread", self.initializer, self.perform)

    def fallback_worker(self) -> FallbackWorker:
        """What does jobs that cannot be sent to a process."""
        return FallbackWorker(self.initializer, self.perform)

    def close(self) -> None:
        """See `Workers.close`."""
        for worker in self._prepared:
            worker.retire()  # all of them first: they have one period to end
        while self._prepared:
            _close(self._prepared.pop())
        if self._processes is not None:
            self._processes.close()
        if self._guardian is not None:
            self._guardian.close()
        if self._drain is not None:
            self._drain.close()
        if self._printing is not None:
            self._printing.close()
        self._makers.clear()  # which refer to this
        self.unpicklable.clear()
        self._start = None

    def make(self, kind: str) -> Kind:
        """What does jobs of this kind."""
        while kind is CALL and self._prepared:
            try:
                worker = self._prepared.pop()
            except IndexError:  # another worker has been faster
                break
            if worker.alive:
                return worker
            _close(worker)
        return self._makers[kind]()


class PooledWorker:
    """Does every job of a run; see `Worker`.

    What is at hand is set in one place, `_use`, in this order: it is shown, then looked
    whether the worker was dismissed, then the job begins. `dismiss` and `stop` say so
    first and look after that. So one of the two sides always sees the other.
    """

    def __init__(self, pool: Pool, done: Done) -> None:
        self.at_hand = NOTHING
        self.retired = False
        self.elsewhere = pool.elsewhere
        self.remote = pool.remote
        self.thread: Optional[int] = None
        self._note: Optional[Note] = None
        self._pool = pool
        self._done = done
        self._kinds: Dict[str, Kind] = {}
        self._active: Optional[Kind] = None  # of what is at hand
        self._job: Optional[Job] = None  # that may have to fall back to a thread
        self._spent: Optional[Kind] = None  # and not closed yet
        self._reaping = threading.Lock()
        self._dismissed = False

    def is_quick(self, job: Job) -> bool:
        """See `Worker.is_quick`."""
        kind = self._kinds.get(self._kind(job))
        if kind is None or self.retired or id(job) in self._pool.unpicklable:
            return False
        return kind.is_quick(job)

    def begin(
        self, job: Optional[Job], note: Optional[Note] = None
    ) -> Optional[Outcome]:
        """See `Worker.begin`."""
        try:
            if job is None:  # its task has been ended: this was dismissed before
                return Outcome.stopped()
            self._note = note
            if id(job) in self._pool.unpicklable:
                return self._use(self._pool.fallback_worker(), job)
            outcome = self._try(job)
            if outcome is None:
                return None
            if outcome.cause is UNAVAILABLE and self._make_room(self._kind(job)):
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
                _close(self._spent)
                self._spent = None
                self.retired = False

    def retire(self) -> None:
        """See `Worker.retire`."""
        for kind in list(self._kinds.values()):
            kind.retire()

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
        for kind, worker in list(self._kinds.items()):
            if worker is not active and self._kinds.pop(kind, None) is not None:
                worker.stop(KILL)
                _close(worker)
        spent = self._spent
        if spent is not None:
            spent.stop(KILL)
            self.reap()
        if active is not None:
            active.abandon()

    def close(self) -> None:
        """See `Worker.close`."""
        self.reap()
        self._close_kinds(list(self._kinds))

    def _kind(self, job: Job) -> str:
        """The kind of worker that does it."""
        return job.kind

    def _current(self) -> Optional[Kind]:
        return None if self.at_hand.mode is None else self._active

    def _try(self, job: Job) -> Optional[Outcome]:
        """Do the job with what there is for its kind, or is made for it."""
        kind = self._kind(job)
        worker = self._kinds.get(kind)
        if worker is not None and worker.spent:  # it has ended while it was idle
            self._put_aside(kind)
            worker = None
        if worker is None:
            if self._dismissed:
                return Outcome.stopped()
            try:
                self.reap()
                worker = self._kinds[kind] = self._pool.make(kind)
            except Hopeless as error:
                return Outcome.lost(None, str(error))
            except BaseException as error:  # no process can be started, or no thread
                return Outcome.raised(None, error, UNAVAILABLE)
        self._job = job if self._pool.fallback else None
        outcome = self._use(worker, job)
        if outcome is not None and worker.spent:
            self._put_aside(kind)
        return outcome

    def _use(self, worker: Kind, job: Job) -> Optional[Outcome]:
        worker.sent = False
        worker.note = self._note
        worker.thread = self.thread
        self._active = worker
        self.at_hand = at_hand = worker.present(job)
        if self._dismissed:
            worker.stop()  # a process that is still on its way would take its time
            return Outcome.stopped()
        return worker.run(job, at_hand, self._finish)

    def _finish(self, outcome: Outcome, serving: bool) -> None:
        """A process has done its job, or is lost.

        A job that is to fall back was lost before it began, as far as its owner can
        tell, who then begins it once more: in a thread that is known to run a job.
        """
        try:
            worker = self._kinds.get(CALL)
            if worker is not None and worker.spent:
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
        spent = self._kinds.pop(kind, None)
        if spent is not None:  # or else this worker has been abandoned meanwhile
            self._spent = spent
            self.retired = True

    def _make_room(self, kind: str) -> bool:
        """Close what is for other kinds of jobs; whether there was any."""
        others = [other for other in list(self._kinds) if other is not kind]
        self._close_kinds(others)
        return bool(others)

    def _close_kinds(self, kinds: List[str]) -> None:
        for kind in kinds:
            worker = self._kinds.pop(kind, None)
            if worker is not None:  # or else this worker has been abandoned meanwhile
                _close(worker)


def _close(worker: Kind) -> None:
    with suppress(OSError):  # it can be no more than left alone
        worker.close()
