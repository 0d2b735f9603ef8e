"""Programs that are started beside forks."""

from __future__ import annotations

import os
import threading

import pytest

from concurra.workers import forks
from tests.helpers import start_script
from tests.workers.support import BOUND, ROOT
from tests.workers.support import forks as needs_fork

pytestmark = needs_fork

SCRIPT = """
import multiprocessing, subprocess, sys, threading

class Popen(subprocess.Popen):
    def __init__(self, *args, **options):
        super().__init__(*args, preexec_fn=lambda: None, **options)

subprocess.Popen = Popen

from concurra.tasks import Call, Command
from concurra.workers.command import CommandWorker
from concurra.workers.guardian import Guardian
from concurra.workers.process import ProcessWorker

def run(worker, job):
    outcome = worker.run(job, worker.present(job))
    assert outcome.ok, outcome.error

def commands():
    worker = CommandWorker(guardian)
    for _ in range(5):
        run(worker, Command(["true"]))

if __name__ == "__main__":
    guardian = Guardian()
    threads = [threading.Thread(target=commands, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        worker = ProcessWorker(multiprocessing.get_context(sys.argv[1]), guardian)
        run(worker, Call(len, ("four",)))
        worker.close()
    for thread in threads:
        thread.join()
    guardian.close()
    print("done")
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_programs_that_are_started_with_hooks(method: str) -> None:
    """A `Popen` that runs the hooks at a fork waits neither for itself, nor for others
    of its kind, nor for workers that are forked meanwhile."""
    with start_script(SCRIPT, method, env=ROOT) as script:
        assert script.wait() == 0, str(script)
        assert script.stdout() == "done\n"


def test_a_fork_within_a_start_waits_for_nobody() -> None:
    """Neither for another start, nor for a fork that waits for both and holds a lock
    which a library takes before each fork."""
    started, waits, may_go_on = (threading.Event() for _ in range(3))
    library = threading.Lock()
    codes: list[int] = []

    def take() -> None:
        if active:
            library.acquire()
            waits.set()

    def give() -> None:
        if library.locked():
            library.release()

    def start() -> None:
        with forks.starting():
            started.set()
            assert may_go_on.wait(BOUND)

    def fork() -> None:
        pid = os.fork()
        if pid == 0:
            os._exit(7)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    active = [True]
    os.register_at_fork(before=take, after_in_parent=give, after_in_child=give)
    threads = [threading.Thread(target=each, daemon=True) for each in (start, fork)]
    try:
        with forks.starting():
            threads[0].start()
            assert started.wait(BOUND)
            threads[1].start()
            assert waits.wait(BOUND)
            fork()
        may_go_on.set()
        for thread in threads:
            thread.join(BOUND)
    finally:
        active.clear()
    assert codes == [7, 7]
