"""The workers under one roof, and what they are given to do.

Everything that goes to a process is a function of this module or of a test module.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import shlex
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

import pytest

from concurra.outcomes import LOST, NOTHING, AtHand, Outcome
from concurra.tasks import Call, Command, FullCall
from concurra.threads import ThreadCache
from concurra.workers.command import CommandWorker
from concurra.workers.dispatched import DispatchedWorker
from concurra.workers.dispatcher import Dispatcher, can_dispatch
from concurra.workers.executor import ExecutorBackend, ExecutorPool
from concurra.workers.guardian import Guardian
from concurra.workers.pool import Pool
from concurra.workers.pooled import PooledWorker
from concurra.workers.process import ProcessWorker
from concurra.workers.thread import FallbackWorker, ThreadWorker
from tests.helpers import QUICKEST, START_METHODS, alive, wait_until

if TYPE_CHECKING:
    from concurra.tasks import Job
    from concurra.workers import Done

#: Seconds until a wait fails that should have been over long ago.
BOUND = 20.0

#: For the environment of scripts, which are to find what the tests have found.
ROOT = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


class Hired(PooledWorker):
    """A worker of a `TestPool`, whose outcomes go to whoever waits in `run`."""

    pool: TestPool
    outcomes: queue.Queue[Outcome]


def close_threads(threads: ThreadCache) -> None:
    """Those at work, too, have ended then: nothing of them reaches the next test."""
    working = [each.thread for each in threads._all if each.thread is not None]
    threads.close()
    for thread in working:
        thread.join(BOUND)


class TestPool(Pool):
    """A pool with threads of its own, closed with it."""

    __test__ = False

    def __init__(self, context: Any = None, **options: Any) -> None:
        super().__init__(ThreadCache(), context, **options)

    def hire(self, done: Done | None = None) -> Hired:
        """Without ``done``, a worker for `run`."""
        outcomes: queue.Queue[Outcome] = queue.Queue()
        if done is None:
            done = lambda outcome, serving: outcomes.put(outcome)  # noqa: E731
        worker = Hired(self, done)
        worker.pool, worker.outcomes = self, outcomes
        return worker

    def close(self) -> None:
        super().close()
        close_threads(self.threads)


class Dispatched(DispatchedWorker):
    """With a dispatcher of its own, closed with it."""

    def __init__(self, context: Any, guardian: Guardian, **options: Any) -> None:
        self.threads = ThreadCache()
        dispatcher = Dispatcher(self.threads)
        super().__init__(context, guardian, dispatcher, **options)

    def close(self) -> None:
        super().close()
        self._dispatcher.close()
        close_threads(self.threads)


class Executors(ExecutorBackend):
    """With an executor of its own, which has one process; closed with it."""

    def __init__(self, guardian: Guardian) -> None:
        self.threads = ThreadCache()
        context = multiprocessing.get_context(QUICKEST)
        self.executor = ProcessPoolExecutor(1, context)
        super().__init__(ExecutorPool(self.threads, self.executor))

    def close(self) -> None:
        super().close()
        self._pool.close()
        self.executor.shutdown()
        self.threads.close()


def run(worker: Any, job: Job, *at_hand: AtHand) -> Outcome:
    """Have a worker do a job, and wait for the outcome, as the scheduler does it."""
    if not isinstance(worker, PooledWorker):
        return _run_kind(worker, job, *(at_hand or (worker.present(job),)))
    assert isinstance(worker, Hired)
    outcome = _begin(worker, job)
    if outcome.cause is LOST and outcome.mode is None:
        outcome = _begin(worker, job)
    return outcome


def _begin(worker: Hired, job: Job) -> Outcome:
    worker.at_hand = NOTHING
    if worker.unreaped:
        worker.reap()
    return worker.begin(job) or worker.outcomes.get(timeout=2 * BOUND)


def _run_kind(worker: Any, job: Job, at_hand: AtHand) -> Outcome:
    outcomes: queue.Queue[Outcome] = queue.Queue()
    outcome: Outcome | None = worker.run(
        job, at_hand, lambda outcome, serving: outcomes.put(outcome)
    )
    return outcome or outcomes.get(timeout=2 * BOUND)


class Backend(NamedTuple):
    """A kind of worker: how it is made, in which mode it runs, what it runs."""

    make: Callable[[Guardian], Any]
    mode: str
    command: bool = False
    stoppable: bool = True


def _process(method: str) -> Callable[[Guardian], ProcessWorker]:
    context = multiprocessing.get_context(method)
    return lambda guardian: ProcessWorker(context, guardian, grace=BOUND)


def _dispatched(method: str) -> Callable[[Guardian], Dispatched]:
    context = multiprocessing.get_context(method)
    return lambda guardian: Dispatched(context, guardian, grace=BOUND)


def _pooled(method: str | None = None) -> Callable[[Guardian], PooledWorker]:
    context = None if method is None else multiprocessing.get_context(method)
    return lambda guardian: TestPool(context, grace=BOUND).hire()


KINDS = {
    "thread": Backend(lambda guardian: ThreadWorker(), "thread", stoppable=False),
    "fallback": Backend(
        lambda guardian: FallbackWorker(), "thread_fallback", stoppable=False
    ),
    **{method: Backend(_process(method), "process") for method in START_METHODS},
    **{
        f"dispatched, {method}": Backend(_dispatched(method), "process")
        for method in START_METHODS
        if can_dispatch()
    },
    "executor": Backend(Executors, "executor", stoppable=False),
    "command": Backend(CommandWorker, "subprocess", command=True),
    "pooled, thread": Backend(_pooled(), "thread", stoppable=False),
    "pooled, process": Backend(_pooled(QUICKEST), "process"),
    "pooled, command": Backend(_pooled(), "subprocess", command=True),
}

FUNCTIONS = {name: kind for name, kind in KINDS.items() if not kind.command}
COMMANDS = {name: kind for name, kind in KINDS.items() if kind.command}


@contextmanager
def few_descriptors(left: int) -> Iterator[None]:
    """Only so many more files can be opened."""
    import resource

    free = os.dup(0)
    os.close(free)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + left, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


posix = pytest.mark.skipif(
    os.name != "posix", reason="needs POSIX signals and process groups"
)

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


# What they do -------------------------------------------------------------------------


def add(first: int, second: int = 0) -> int:
    return first + second


def raising(error: BaseException) -> None:
    raise error


def exiting(code: Any) -> None:
    sys.exit(code)


def linger(pid_file: str, until: str) -> str:
    """Leave the process id, and stay until the second file is there."""
    write(pid_file, os.getpid())
    wait_until(lambda: os.path.exists(until), BOUND, "leave to go")
    return "was let go"


def write(path: str | os.PathLike[str], text: object) -> None:
    """Write a file that appears with its whole content, or not at all."""
    unfinished = f"{path}.{os.getpid()}.unfinished"
    Path(unfinished).write_text(str(text))
    os.replace(unfinished, path)


def read(path: str | os.PathLike[str]) -> str:
    """Wait for a file of `write`, and return its text."""
    wait_until(lambda: os.path.exists(path), BOUND, f"file {path}")
    return Path(path).read_text().strip()


def wait_for_end_of(pid: object) -> None:
    """Wait until that process runs no longer."""
    wait_until(lambda: not alive(int(str(pid))), BOUND, f"end of process {pid}")


def call(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Call:
    return FullCall(func, args, kwargs)


def sh(line: str, **options: Any) -> Command:
    return Command(line, **options)


def leave_pid(path: object, which: str = "$$") -> str:
    """A shell command that writes a process id to a file, whole or not at all."""
    quoted = shlex.quote(str(path))
    return f"echo {which} > {quoted}.part; mv {quoted}.part {quoted}"


def pid_of(worker: Any) -> int:
    outcome = run(worker, call(os.getpid))
    assert outcome.ok, outcome.error
    pid: int = outcome.value
    return pid


class ElsewhereOnly:
    """Can be pickled, but unpickled only in the process that made it."""

    def __reduce__(self) -> Any:
        return explode_elsewhere, (os.getpid(),)


def explode_elsewhere(pid: int) -> ElsewhereOnly:
    if os.getpid() != pid:
        raise ValueError("not here")
    return ElsewhereOnly()


def fork_lingering(pid_file: str, until: str, session: bool) -> None:
    """Fork a child that lingers, in a session of its own or in the worker's."""
    if os.fork() == 0:
        try:
            if session:
                os.setsid()
            linger(pid_file, until)
        finally:
            os._exit(0)
    read(pid_file)


# In a thread --------------------------------------------------------------------------


def show(worker: Any, job: Job) -> object:
    """Have a worker do a job; the transcript that is shown meanwhile."""
    at_hand = worker.present(job)
    _run_kind(worker, job, at_hand)
    return at_hand.transcript


def mode_of(worker: Any) -> object:
    """How the job at hand is run, as far as that worker says it."""
    return worker.at_hand.mode if isinstance(worker, Hired) else worker.mode


def is_spent(worker: Any) -> bool:
    """Whether it cannot do another job without being cleared up."""
    return bool(worker.unreaped if isinstance(worker, Hired) else worker.spent)


class Running:
    """A worker at its job, in a thread, as the scheduler has it."""

    def __init__(self, worker: Any, job: Job, *at_hand: AtHand) -> None:
        self._outcome: list[Outcome] = []
        self._thread = threading.Thread(
            target=lambda: self._outcome.append(run(worker, job, *at_hand)), daemon=True
        )
        self._thread.start()

    def outcome(self) -> Outcome:
        """Wait for the outcome."""
        self._thread.join(BOUND)
        assert not self._thread.is_alive(), "run() did not return"
        assert self._outcome, "run() raised"
        return self._outcome[0]

    @property
    def over(self) -> bool:
        return not self._thread.is_alive()


@contextmanager
def guarded() -> Iterator[Guardian]:
    """A guardian, closed in the end."""
    guardian = Guardian()
    try:
        yield guardian
    finally:
        guardian.close()


class Closing:
    """Closes a worker, once; one of a pool with it."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self._closed = False

    def __call__(self) -> None:
        if not self._closed:
            self._closed = True
            self._worker.close()
            if isinstance(self._worker, Hired):
                self._worker.pool.close()
