"""The workers under one roof, and what they are given to do.

Everything that goes to a process is a function of this module or of a test module.
"""

from __future__ import annotations

import multiprocessing
import os
import shlex
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

from concurra.outcomes import Outcome
from concurra.tasks import Call, Command
from concurra.workers import Worker
from concurra.workers.guardian import Guardian
from concurra.workers.command import CommandWorker
from concurra.workers.crew import Crew, Hand
from concurra.workers.process import ProcessWorker
from concurra.workers.thread import FallbackWorker, ThreadWorker
from tests.helpers import START_METHODS, alive, wait_until

if TYPE_CHECKING:
    from concurra.tasks import Job

#: Seconds until a wait fails that should have been over long ago.
BOUND = 20.0

#: For the environment of scripts, which are to find what the tests have found.
ROOT = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


class Kind(NamedTuple):
    """A kind of worker: how it is made, in which mode it runs, what it runs."""

    make: Callable[[Guardian], Worker]
    mode: str
    command: bool = False
    stoppable: bool = True


def _process(method: str) -> Callable[[Guardian], Worker]:
    context = multiprocessing.get_context(method)
    return lambda guardian: ProcessWorker(context, guardian, grace=BOUND)


def _hand(method: str | None = None) -> Callable[[Guardian], Worker]:
    context = None if method is None else multiprocessing.get_context(method)
    return lambda guardian: Crew(context, grace=BOUND).hire()


KINDS = {
    "thread": Kind(lambda guardian: ThreadWorker(), "thread", stoppable=False),
    "fallback": Kind(
        lambda guardian: FallbackWorker(), "thread_fallback", stoppable=False
    ),
    **{method: Kind(_process(method), "process") for method in START_METHODS},
    "command": Kind(CommandWorker, "subprocess", command=True),
    "hand, thread": Kind(_hand(), "thread", stoppable=False),
    "hand, process": Kind(_hand(START_METHODS[0]), "process"),
    "hand, command": Kind(_hand(), "subprocess", command=True),
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
    return Call(func, args, kwargs)


def sh(line: str, **options: Any) -> Command:
    return Command(line, **options)


def leave_pid(path: object, which: str = "$$") -> str:
    """A shell command that writes a process id to a file, whole or not at all."""
    quoted = shlex.quote(str(path))
    return f"echo {which} > {quoted}.part; mv {quoted}.part {quoted}"


# In a thread --------------------------------------------------------------------------


class Running:
    """A worker at its job, in a thread, as the scheduler has it."""

    def __init__(self, worker: Worker, job: Job) -> None:
        self._outcome: list[Outcome] = []
        self._thread = threading.Thread(
            target=lambda: self._outcome.append(worker.run(job)), daemon=True
        )
        self._thread.start()

    def outcome(self) -> Outcome:
        """Wait for the end of `run`; what it returned."""
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
    """Closes a worker, once; a `Hand` with its crew."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._closed = False

    def __call__(self) -> None:
        if not self._closed:
            self._closed = True
            self._worker.close()
            if isinstance(self._worker, Hand):
                self._worker._crew.close()
