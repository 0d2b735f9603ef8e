"""What every child process has in common: the ends of groups, and of the program."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from concurra.tasks import Command
from concurra.workers import groups, sessions
from concurra.workers.guardian import Guardian
from concurra.workers.command import CommandWorker
from concurra.workers.process import ProcessWorker
from tests.helpers import HAS_PROC, START_METHODS, start_script, wait_until
from tests.workers.support import (
    BOUND,
    leave_pid,
    read,
    run,
    wait_for_end_of,
)

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="needs process groups"),
    pytest.mark.skipif(not HAS_PROC, reason="needs /proc"),
]


# Who is left of a group ---------------------------------------------------------------


def test_one_look_answers_all_who_have_waited_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Many groups that end together cost two looks at all processes, not one each."""
    readings: list[float] = []
    looks: list[int] = []
    go = threading.Event()

    def clock() -> float:
        readings.append(time.monotonic())
        return readings[-1]

    def look() -> dict[int, list[Any]]:
        looks.append(len(looks) + 1)
        assert go.wait(BOUND)
        return {number: [number] for number in looks}

    monkeypatch.setattr(sessions, "monotonic", clock)
    monkeypatch.setattr(sessions, "_sessions", look)
    census = sessions.Census()
    with ThreadPoolExecutor(11) as pool:
        early = pool.submit(census.members, 2)
        wait_until(lambda: looks, what="the first look")
        late = [pool.submit(census.members, 2) for _ in range(10)]
        wait_until(lambda: len(readings) == 2 + len(late), what="those who ask")
        go.set()
        assert not early.result(BOUND), "it has its own answer"
        assert all(each.result(BOUND) for each in late), "none has an older one"
    assert looks == [1, 2]


def living(session: int) -> set[int]:
    """Who of a session is no zombie."""
    members = sessions.Census().members(session)
    assert members is not None
    return {pid for pid, _, _, zombie in members if not zombie}


def test_who_is_left_is_seen(tmp_path: Path) -> None:
    """A member that lives counts, and a zombie does not, though its group exists."""
    stay = f"sleep 60 & {leave_pid(tmp_path / 'pid', '$!')}; exec sleep 60"
    process = subprocess.Popen(["sh", "-c", stay], start_new_session=True)
    group = process.pid
    try:
        member = int(read(tmp_path / "pid"))
        # What has moved the file into its place is one, too, until it has ended.
        wait_until(lambda: living(group) == {group, member})
        os.kill(member, signal.SIGKILL)
        wait_for_end_of(member)
        assert living(group) == {group}
        process.kill()
        os.waitid(os.P_PID, group, os.WEXITED | os.WNOWAIT)
        assert living(group) == set()
        os.killpg(group, 0)
    finally:
        os.killpg(group, signal.SIGKILL)
        process.wait()


def test_who_cannot_be_seen_may_be_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """No descriptor is left, say: then the group has its grace period."""

    def no_more(path: str) -> list[str]:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "listdir", no_more)
    assert sessions.Census().members(os.getsid(0)) is None


# Recycled ids -------------------------------------------------------------------------


@pytest.mark.parametrize("stopped", [True, False])
def test_an_id_that_is_another_process_s_by_now(
    guardian: Guardian, stopped: bool
) -> None:
    """Somebody else has reaped the child, so its id was free for an innocent group."""
    innocent = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        child = groups.ProcessGroup(innocent.pid, guardian, lost=lambda: True)
        if stopped:
            child.stop()
            child.stop(force=True)
        child.reap(lambda: None)
        assert innocent.poll() is None
        guardian.close()
        assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()


def test_what_is_left_of_a_group_whose_leader_another_has_reaped(
    guardian: Guardian, tmp_path: Path
) -> None:
    """It is killed: as long as it has members, its id cannot be another's."""
    stay = f"sleep 60 & {leave_pid(tmp_path / 'pid', '$!')}"
    leader = subprocess.Popen(["sh", "-c", stay], start_new_session=True)
    assert leader.wait(BOUND) == 0
    member = int(read(tmp_path / "pid"))
    child = groups.ProcessGroup(leader.pid, guardian, lost=lambda: True)
    child.reap(lambda: None)
    wait_for_end_of(member)


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs pidfd_open")
@pytest.mark.parametrize("method", START_METHODS)
def test_a_process_that_another_has_reaped_is_known(
    guardian: Guardian, method: str
) -> None:
    """A fork server always has; otherwise the process stays a zombie of ours."""
    worker = ProcessWorker(multiprocessing.get_context(method), guardian, grace=BOUND)
    try:
        pid = worker._group.pid
        assert not worker._exit.is_reaped()
        os.kill(pid, signal.SIGKILL)
        wait_for_end_of(pid)
        by_others = method == "forkserver"
        if by_others:
            wait_until(worker._exit.is_reaped, what="its end, by the server")
        assert worker._exit.is_reaped() is by_others
    finally:
        worker.close()


# The end of the program ---------------------------------------------------------------

SCRIPT = """
import multiprocessing, os, signal, sys, threading, time
from concurra.tasks import Call, Command
from concurra.workers.guardian import Guardian
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
        at_hand = worker.present(job)
        threading.Thread(target=worker.run, args=(job, at_hand), daemon=True).start()
    while "command" not in str(at_hand.transcript):
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
    """A thread that goes on after that gets an error, and leaves nobody."""
    code = """
    import atexit
    from concurra.tasks import Command
    from concurra.workers import groups, sessions
    from concurra.workers.command import CommandWorker

    groups.stop_all()
    worker, job = CommandWorker(groups.Guardian()), Command(["echo", "no"])
    outcome = worker.run(job, worker.present(job))
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
        outcome = run(worker, Command(["sh", "-c", "exit 7"]))
    finally:
        worker.close()
        signal.signal(signal.SIGCHLD, old)
    assert not outcome.ok
    assert outcome.error and "return code" in outcome.error
