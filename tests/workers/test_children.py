"""What every child process has in common: the guardian, and the ends of the program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest

from concurra.tasks import Command
from concurra.workers.children import Guardian
from concurra.workers.command import CommandWorker
from tests.helpers import (
    HAS_PROC,
    START_METHODS,
    alive,
    descendants,
    start_script,
    wait_until,
)
from tests.workers.support import leave_pid, read, sh, wait_for_end_of

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="process groups are POSIX"),
    pytest.mark.skipif(not HAS_PROC, reason="needs /proc"),
]

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts programs that lead a group of their own; killed when the test ends."""
    started: list[subprocess.Popen[bytes]] = []

    def make(*argv: str) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(argv, start_new_session=True))
        return started[-1]

    yield make
    for each in started:
        try:
            os.killpg(each.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        each.wait()


def shells() -> list[int]:
    return [each.pid for each in descendants(os.getpid()) if "/bin/sh" in each.command]


# The guardian -------------------------------------------------------------------------


def started() -> Guardian:
    """A guardian that is there."""
    guardian = Guardian()
    guardian.start()
    return guardian


def test_a_guardian_starts_before_the_first_child(guardian: Guardian) -> None:
    """Not earlier: a run of functions in threads needs none; and only one of them."""
    before = shells()
    worker = CommandWorker(guardian)
    assert shells() == before
    try:
        for _ in range(2):
            assert worker.run(Command(["true"])).ok
            guardian.start()
            assert len(shells()) == len(before) + 1
    finally:
        worker.close()
    guardian.close()
    assert shells() == before


def test_a_guardian_that_never_started_can_be_closed() -> None:
    """There is nothing to do."""
    Guardian().close()


def test_a_guardian_kills_what_is_alive(start: Start) -> None:
    """When its pipe ends, as it does with the death of this process."""
    guardian = started()
    processes = [start("sleep", "60") for _ in range(3)]
    for process in processes:
        guardian.watch(process.pid)
    guardian.close()
    for process in processes:
        assert process.wait(20) == -signal.SIGKILL


def test_a_guardian_forgets_what_is_dismissed(start: Start) -> None:
    """Its id may belong to another by now."""
    guardian = started()
    kept, *others = [start("sleep", "60") for _ in range(3)]
    for process in (others[0], kept, others[1]):
        guardian.watch(process.pid)
    guardian.dismiss(kept.pid, leftovers=False)
    guardian.close()
    for process in others:
        assert process.wait(20) == -signal.SIGKILL
    assert kept.poll() is None


def test_ids_that_are_parts_of_others_are_told_apart(start: Start) -> None:
    """Each is a word of its own."""
    guardian = started()
    process = start("sleep", "60")
    guardian.watch(process.pid)
    for other in (int(f"{process.pid}1"), int(str(process.pid)[1:] or 0)):
        guardian.dismiss(other, leftovers=False)
    guardian.close()
    assert process.wait(20) == -signal.SIGKILL


def test_a_guardian_kills_leftovers(start: Start, tmp_path: Path) -> None:
    """The others of a group whose leader has been reaped."""
    guardian = started()
    line = f"sleep 60 & {leave_pid(tmp_path / 'pid', '$!')}"
    leader = start("sh", "-c", line)
    guardian.watch(leader.pid)
    assert leader.wait(20) == 0
    guardian.dismiss(leader.pid, leftovers=True)
    pid = int(read(tmp_path / "pid"))
    assert alive(pid)
    guardian.close()
    wait_for_end_of(pid)


def test_a_guardian_does_not_kill_by_a_recycled_id(start: Start) -> None:
    """If there is a process with the id of a leader that was reaped, it is another."""
    guardian = started()
    process = start("sleep", "60")
    guardian.watch(process.pid)
    guardian.dismiss(process.pid, leftovers=True)
    guardian.close()
    assert process.poll() is None


def test_tasks_do_not_suffer_from_the_death_of_the_guardian() -> None:
    """Somebody kills it: the run goes on, unguarded."""
    before = shells()
    guardian = Guardian()
    worker = CommandWorker(guardian)
    try:
        assert worker.run(sh("echo one")).ok
        (pid,) = set(shells()) - set(before)
        os.kill(pid, signal.SIGKILL)
        wait_for_end_of(pid)
        for _ in range(3):
            assert worker.run(sh("echo two")).value["stdout"] == "two\n"
    finally:
        worker.close()
        guardian.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_guardian_outlives_friendly_signals(
    start: Start, number: signal.Signals
) -> None:
    """It is there for the worst; a signal to all processes must not end it first."""
    before = shells()
    guardian = started()
    process = start("sleep", "60")
    guardian.watch(process.pid)
    (pid,) = set(shells()) - set(before)
    status = Path(f"/proc/{pid}/status")

    def ignores() -> bool:
        lines = status.read_text().splitlines()
        (bits,) = [line.split()[1] for line in lines if line.startswith("SigIgn")]
        return bool(int(bits, 16) & 1 << (number - 1))

    wait_until(ignores, what="the guardian's trap")
    os.kill(pid, number)
    guardian.close()
    assert process.wait(20) == -signal.SIGKILL


# The end of the program ---------------------------------------------------------------

SCRIPT = """
import multiprocessing, os, signal, sys, threading, time
from concurra.tasks import Call, Command
from concurra.workers.children import Guardian
from concurra.workers.command import CommandWorker
from concurra.workers.process import ProcessWorker

LINE = "trap '' TERM; sleep 60 & echo command; while :; do sleep 0.01; done"

def linger():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if hasattr(os, "fork") and os.fork() == 0:
        time.sleep(60)
        os._exit(0)
    print("function", flush=True)
    time.sleep(60)

if __name__ == "__main__":
    method, way = sys.argv[1:]
    guardian = Guardian()
    context = multiprocessing.get_context(method)
    process = ProcessWorker(context, guardian)
    command = CommandWorker(guardian)
    for worker, job in (
        (process, Call(linger)),
        (command, Command(LINE)),
    ):
        threading.Thread(target=worker.run, args=(job,), daemon=True).start()
    while "command" not in str(command.transcript):
        time.sleep(0.01)
    print("ready", flush=True)
    if way == "exit":
        while not os.path.exists("function"):
            time.sleep(0.01)
        sys.exit(3)
    time.sleep(60)
"""

ROOT = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


@pytest.mark.parametrize("method", START_METHODS)
def test_nothing_outlives_a_program_that_is_killed(method: str) -> None:
    """SIGKILL: no handler runs, and the guardian ends all groups."""
    with start_script(SCRIPT, method, "wait", env=ROOT) as script:
        script.wait_for("function")
        script.wait_for("ready")
        script.send_signal(signal.SIGKILL)
        assert script.wait() == -signal.SIGKILL
        assert script.survivors() == []


@pytest.mark.parametrize("method", START_METHODS)
def test_nothing_outlives_a_program_that_ends(method: str, tmp_path: Path) -> None:
    """By `sys.exit`, while its threads are busy with workers that ignore SIGTERM."""
    with start_script(SCRIPT, method, "exit", cwd=tmp_path, env=ROOT) as script:
        script.wait_for("function")
        (tmp_path / "function").touch()
        assert script.wait() == 3
        assert script.survivors() == []
        assert "Traceback" not in script.stderr()


def test_no_process_starts_when_the_program_is_ending() -> None:
    """A thread that goes on into the farewell gets an error, and leaves nobody."""
    code = """
    import atexit
    from concurra.tasks import Command
    from concurra.workers import children
    from concurra.workers.command import CommandWorker

    children.say_farewell()
    outcome = CommandWorker(children.Guardian()).run(Command(["echo", "no"]))
    print(outcome.status, outcome.error)
    """
    with start_script(code, env=ROOT) as script:
        assert script.wait() == 0
        assert script.stdout() == (
            "Failed RuntimeError: no process can be started: the program is ending\n"
        )


def test_somebody_else_reaps_a_command(guardian: Guardian) -> None:
    """That is a failure with the reason, at the worst, and never a wrong success."""
    old = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    worker = CommandWorker(guardian)
    try:
        outcome = worker.run(Command(["sh", "-c", "exit 7"]))
    finally:
        worker.close()
        signal.signal(signal.SIGCHLD, old)
    assert not outcome.ok
    assert outcome.error and "return code" in outcome.error
