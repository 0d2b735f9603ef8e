"""Hires workers for a run: each can do every job of it.

A thread of the scheduler holds one `Hand`, and the hand has a tool for each kind of
job: a thread worker for functions, or a process worker where the run uses processes,
and a command worker. Tools are made when they are first needed, and replaced when
they are spent: a hand lets go of one before it makes the next.
"""

from __future__ import annotations

import threading

from ..outcomes import LOST, UNAVAILABLE, UNPICKLABLE, Outcome
from ..tasks import Call, Command
from . import Worker
from .thread import FallbackWorker, ThreadWorker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.context import BaseContext
    from typing import Any, Callable, Collection, Dict, List, Optional, Tuple, Union

    from ..tasks import Job
    from ..types import ExecutionMode
    from .process import ProcessWorker


class Crew:
    """What the workers of one run share.

    :param context: how to start processes for functions; None to call them in threads.
    :param commands: whether the run has commands.
    :param stock: tells how many processes to start at once.
    :param fallback: whether a function that cannot be pickled is called in a thread.
    :param max_tasks: jobs that a process does until it is replaced; None for no limit.
    :param grace: seconds that a process has to end by itself at the end of the run.
    :param importing: the modules that wait for the run in the midst of their import.
    """

    def __init__(
        self,
        context: Optional[BaseContext] = None,
        *,
        commands: bool = True,
        stock: Callable[[], int] = lambda: 0,
        fallback: bool = False,
        max_tasks: Optional[int] = None,
        grace: float = 1.0,
        importing: Collection[str] = (),
    ) -> None:
        self.fallback = fallback
        self._count = stock
        self._makers: Dict[type, Callable[[], Worker]] = {Call: ThreadWorker}
        self._stock: List[ProcessWorker] = []
        self._start: Callable[[], ProcessWorker]
        self._guardian: Any = None
        # What is not needed is not imported. What is needed is imported here: a program
        # that forks while another thread imports has half a module in the child.
        if commands or context is not None:
            from .children import kill_all
            from .guardian import Guardian

            self._kill = kill_all
            self._guardian = guardian = Guardian()
        if commands:
            from .command import CommandWorker

            self._makers[Command] = lambda: CommandWorker(guardian)
        self._processes = context is not None
        if context is not None:
            from . import process

            process.import_start_method(context)
            self._makers[Call] = self._start = lambda: process.ProcessWorker(
                context, guardian, max_tasks, grace, importing
            )

    def prepare(self) -> None:
        """Start the stock of processes, for the first hands that need one.

        Under fork it is best to do that before the run has many threads.
        """
        if self._processes:
            try:
                for _ in range(self._count()):
                    self._stock.append(self._start())
            except OSError:
                pass  # no more processes: those that there are may do

    def hurry(self) -> None:
        """Kill all processes and commands that are left."""
        if self._guardian is not None:
            self._kill(self._guardian)

    def hire(self) -> Union[Hand, ThreadWorker]:
        """A worker for any job of the run."""
        if self._makers == {Call: ThreadWorker}:
            return ThreadWorker()
        return Hand(self)

    def close(self) -> None:
        """Let go of everything; called when all hands are closed."""
        for worker in self._stock:
            worker.retire()  # all of them first: they have one period to end
        while self._stock:
            _let_go(self._stock.pop())
        if self._guardian is not None:
            self._guardian.close()

    def tool(self, kind: type) -> Worker:
        """A worker for jobs of one kind."""
        while kind is Call and self._stock:
            try:
                worker = self._stock.pop()
            except IndexError:  # another hand has been faster
                break
            if worker.alive:
                return worker
            _let_go(worker)
        return self._makers[kind]()


class Hand:
    """What a thread of the scheduler works with: a tool for each kind of job."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._tools: Dict[type, Worker] = {}
        self._active: Optional[Worker] = None
        self._retired: Optional[Worker] = None  # spent, and not closed yet
        self._tidying = threading.Lock()
        self._stopped = False

    spent = False

    @property
    def mode(self) -> Optional[ExecutionMode]:
        """See `Worker.mode`."""
        active = self._active
        return None if active is None else active.mode

    @property
    def transcript(self) -> Optional[object]:
        """See `Worker.transcript`."""
        active = self._active
        return None if active is None else active.transcript

    def run(self, job: Job) -> Outcome:
        """See `Worker.run`."""
        kind = type(job)
        try:
            outcome, spent = self._try(kind, job)
            if outcome.cause is UNAVAILABLE and self._make_room(kind):
                outcome, spent = self._try(kind, job)
            if spent and outcome.cause is LOST and outcome.mode is None:
                # The process was lost before the job began: another one may do it.
                outcome, _ = self._try(kind, job)
            if (
                outcome.cause is UNPICKLABLE
                and not outcome.mode
                and self._crew.fallback
            ):
                outcome = self._use(FallbackWorker(), job)
            return outcome
        except BaseException as error:  # an exception for another task that came late
            return Outcome.raised(None, error)

    def _try(self, kind: type, job: Job) -> Tuple[Outcome, bool]:
        """Do the job with the tool for its kind; whether that tool is spent now."""
        tool = self._tools.get(kind)
        if tool is None:
            if self._stopped:
                return Outcome.stopped(), False
            try:
                self.tidy()
                tool = self._tools[kind] = self._crew.tool(kind)
            except BaseException as error:  # no process can be started, or no thread
                return Outcome.raised(None, error, UNAVAILABLE), False
        outcome, spent = self._use(tool, job), tool.spent
        # Who has been abandoned meanwhile has lost it already.
        if spent and self._tools.pop(kind, None) is not None:
            self._retired = tool
        return outcome, spent

    def _make_room(self, kind: type) -> bool:
        """Let go of the tools for other kinds of jobs; whether there were any."""
        others = [other for other in list(self._tools) if other is not kind]
        self._put_down(others)
        return bool(others)

    def _put_down(self, kinds: List[type]) -> None:
        for kind in kinds:
            tool = self._tools.pop(kind, None)
            if tool is not None:  # or else this hand has been abandoned meanwhile
                _let_go(tool)

    def _use(self, tool: Worker, job: Job) -> Outcome:
        # A stop that comes before the assignment is seen here; a later one finds the
        # tool there, and stops it.
        self._active = tool
        if self._stopped:
            tool.stop()  # a process that is still on its way would take its time
            return Outcome.stopped()
        return tool.run(job)

    @property
    def untidy(self) -> bool:
        """Whether a spent tool is still there.

        A process may take its time to end. It is waited for neither in its last task,
        which would seem to be at work, nor in the next one.
        """
        return self._retired is not None

    def tidy(self) -> None:
        """Wait for the end of a spent tool."""
        with self._tidying:
            if self._retired is not None:
                _let_go(self._retired)
                self._retired = None

    def forget(self) -> None:
        """The outcome of the last job is known: no job is at hand now."""
        self._active = None

    def dismiss(self) -> Tuple[Optional[ExecutionMode], Optional[object]]:
        """Begin no further job; the mode and the transcript of the one at hand.

        None for both if no job has begun. From now on none will: `_use` looks for the
        dismissal when it has shown its tool, and this for the tool after that.
        """
        self._stopped = True
        active = self._active
        return (None, None) if active is None else (active.mode, active.transcript)

    def stop(self, force: bool = False) -> bool:
        """See `Worker.stop`."""
        self._stopped = True
        active, retired = self._active, self._retired
        if retired is not None:
            retired.stop(force)  # it may be what the job at hand waits for
        return active is None or active.stop(force)

    def abandon(self) -> None:
        """Nobody waits any more for the job at hand: let go of all other tools.

        They would be held for as long as that job goes on, in a thread.
        """
        for kind, tool in list(self._tools.items()):
            if tool is self._active:
                continue
            if self._tools.pop(kind, None) is not None:
                tool.stop(force=True)
                _let_go(tool)
        retired = self._retired
        if retired is not None:
            retired.stop(force=True)
            self.tidy()

    def close(self) -> None:
        """See `Worker.close`."""
        self.tidy()
        self._put_down(list(self._tools))


def _let_go(tool: Worker) -> None:
    try:
        tool.close()
    except OSError:
        pass  # it can be no more than left alone
