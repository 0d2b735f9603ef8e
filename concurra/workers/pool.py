"""Hires workers for a run: each can do every job of it."""

from __future__ import annotations

import os

from ..tasks import CALL, COMMAND, FEED
from .thread import FallbackWorker, ThreadWorker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.context import BaseContext
    from typing import Any, Callable, Collection, Dict, List, Optional
    from typing import Sequence

    from ..tasks import Job
    from ..threads import ThreadCache
    from . import Done, Worker
    from .backend import Backend
    from .initializer import Initializer
    from .printing import Printing
    from .process import ProcessWorker
    from .processes import Processes


class Pool:
    """What the workers of one run share; see `Workers`.

    :param threads: where to do what may take its time.
    :param context: how to start processes for functions; None to call them in threads.
    :param commands: whether the run has commands.
    :param width: how many processes can be at work at once.
    :param fallback: whether a function that cannot be pickled is called in a thread.
    :param max_tasks: jobs that a process does until it is replaced; None for no limit.
    :param grace: seconds that a process has to end by itself at the end of the run.
    :param importing: the modules that wait for the run in the midst of their import.
    :param initializer: called by each worker for functions before its first task.
    :param forward_logs: see `Processes`.
    :param output: see `CommandWorker`, and so for ``max_output``.
    :param labels: whether commands have an ``output`` of their own.
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
        #: See `Workers.at_first`.
        self.at_first = None if context is None else _cores()
        self._width = width
        self._makers: Dict[str, Callable[[], Backend]] = {CALL: self._thread_worker}
        self._makers[FEED] = ThreadWorker
        self._prepared: List[ProcessWorker] = []
        self._start: Optional[Callable[[], ProcessWorker]] = None  # before all threads
        self._printing: Optional[Printing] = None
        if output in ("prefixed", "grouped"):
            from . import printing

            self._printing = printing.Printing(output, max_output)
        self._processes: Optional[Processes] = None
        self._guardian: Any = None
        self._drain: Any = None
        # What is not needed is not imported. What is needed is imported here: a program
        # that forks while another thread imports has half a module in the child.
        if commands or context is not None:
            from .groups import kill_all
            from .guardian import Guardian
            from .pooled import PooledWorker, close_backend

            self._hire: Callable[[Pool, Done], Worker] = PooledWorker
            self._close = close_backend
            self._kill = kill_all
            self._guardian = Guardian()
        if commands:
            self._run_commands(output, max_output)
        if context is not None:
            self._run_processes(
                context,
                forward_logs,
                max_tasks=max_tasks,
                grace=grace,
                importing=importing,
                initializer=initializer,
                display=self._printing and self._printing.display,
            )

    def _run_commands(self, output: Optional[str], max_output: Optional[float]) -> None:
        """Have workers for commands."""
        from .command import CommandWorker
        from .command_output import Drain

        guardian = self._guardian
        self._drain = drain = Drain(self.threads.start_own)
        self._makers[COMMAND] = lambda: CommandWorker(
            guardian, drain, output, max_output
        )

    def _run_processes(
        self, context: BaseContext, forward_logs: Optional[bool], **options: Any
    ) -> None:
        """Have functions run in processes; ``options`` are those of `ProcessWorker`."""
        from .processes import Processes

        guardian, threads = self._guardian, self.threads
        made = Processes(context, guardian, threads, forward_logs, **options)
        self._processes = made
        self.elsewhere = made.elsewhere
        self._makers[CALL] = made.make
        if context.get_start_method() == "fork":
            self._start = made.make

    def is_passing_on(self) -> bool:
        """See `Workers.is_passing_on`."""
        made = self._processes
        return made is not None and made.log_forwarding.is_at_it()

    def prepare(self, stopped: Callable[[], bool]) -> None:
        """Under fork, start the processes that are needed at first.

        It is best to do that before the run has many threads. By any other method each
        worker starts its own, side by side with the others.
        """
        if self._printing is not None:
            self._printing.open()
        if self._start is None:
            return
        try:
            for _ in range(min(self._width(), self.at_first or 0)):
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
        return self._hire(self, done)

    def _thread_worker(self) -> ThreadWorker:
        return ThreadWorker("thread", self.initializer, *self._performer())

    def _performer(self) -> Sequence[Callable[..., Any]]:
        """What calls the functions of a worker, and what is told if one goes on."""
        if self._printing is None:
            return ()
        performer = self._printing.performer(self.threads.start_soon)
        return performer, performer.abandon

    def fallback_worker(self) -> FallbackWorker:
        """What does jobs that cannot be sent to a process."""
        return FallbackWorker(self.initializer, *self._performer())

    def close(self) -> None:
        """See `Workers.close`."""
        for worker in self._prepared:
            worker.retire()  # all of them first: they have one period to end
        while self._prepared:
            self._close(self._prepared.pop())
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

    def make(self, kind: str) -> Backend:
        """What does jobs of this kind."""
        while kind is CALL and self._prepared:
            try:
                worker = self._prepared.pop()
            except IndexError:  # another worker has been faster
                break
            if worker.alive:
                return worker
            self._close(worker)
        return self._makers[kind]()


def _cores() -> int:
    """How many processes can compute at once."""
    if hasattr(os, "sched_getaffinity"):  # a container, say, has not all of them
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
