"""Signals in a process worker: what it forgets, and what is meant for it.

Also what becomes of the mask of the program that starts one.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from concurra.workers.guardian import Guardian
from concurra.workers.process import ProcessWorker
from concurra.workers.signals import Handlers
from tests.behaviour.support import SAME_LIBRARY
from tests.helpers import START_METHODS, run_script

from .support import BOUND, Running, call, linger, posix, read, wait_for_end_of, write

pytestmark = posix


def test_handlers_are_those_where_they_are_unpickled() -> None:
    """A process that is not forked inherits none, but the script may set some up."""
    handler = signal.getsignal(signal.SIGUSR1)
    before = Handlers()
    signal.signal(signal.SIGUSR1, print)
    try:
        after = pickle.loads(pickle.dumps(before))
    finally:
        signal.signal(signal.SIGUSR1, handler)
    assert int(signal.SIGUSR1) not in map(int, before._found)
    assert after._found[signal.SIGUSR1] is print


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_handler_that_is_set_up_for_the_worker_is_called(
    guardian: Guardian, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop asks it to end, as `coverage` needs it; a program's own is forgotten."""
    told, pid = tmp_path / "told", tmp_path / "pid"
    bootstrap: Any = BaseProcess._bootstrap  # type: ignore[attr-defined]

    def tell(number: int, frame: object) -> None:
        write(told, number)
        os._exit(0)

    def hooked(self: BaseProcess, *args: Any, **kwargs: Any) -> Any:
        signal.signal(signal.SIGTERM, tell)
        return bootstrap(self, *args, **kwargs)

    monkeypatch.setattr(BaseProcess, "_bootstrap", hooked)
    handler = signal.signal(signal.SIGTERM, lambda *args: None)
    try:
        worker = ProcessWorker(
            multiprocessing.get_context("fork"), guardian, grace=BOUND
        )
    finally:
        signal.signal(signal.SIGTERM, handler)
    try:
        running = Running(worker, call(linger, str(pid), str(tmp_path / "never")))
        number = read(pid)
        worker.stop()
        assert read(told) == str(int(signal.SIGTERM))
        wait_for_end_of(number)
        running.outcome()
    finally:
        worker.close()


WAITS_FOR_A_SIGNAL = """
    import multiprocessing, os, signal, sys
    from concurra.workers.guardian import Guardian
    from concurra.workers.process import ProcessWorker

    if __name__ == "__main__":
        number = int(sys.argv[2])
        signal.pthread_sigmask(signal.SIG_BLOCK, [number])
        guardian = Guardian()
        worker = ProcessWorker(multiprocessing.get_context(sys.argv[1]), guardian)
        print(*map(int, signal.pthread_sigmask(signal.SIG_BLOCK, ())))
        os.kill(os.getpid(), number)
        print(int(signal.sigwait([number])))
        worker.close()
        guardian.close()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGCHLD])
@pytest.mark.parametrize("method", START_METHODS)
def test_a_program_keeps_the_mask_with_which_it_starts_a_worker(
    method: str, number: signal.Signals
) -> None:
    """So a signal that it waits for does not kill it; the worker's end is noticed."""
    args = method, str(int(number))
    done = run_script(WAITS_FOR_A_SIGNAL, *args, env=SAME_LIBRARY, check=True)
    assert done.stdout.split() == [str(int(number))] * 2
