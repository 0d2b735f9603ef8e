"""Who belongs to a session: found, signalled, ended, reaped, and named."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from concurra.outcomes import AtHand, Remark
from concurra.steps import KILL
from concurra.tasks import Call
from concurra.workers import sessions
from concurra.workers.command import CommandWorker
from concurra.workers.guardian import Guardian
from tests.helpers import START_METHODS, alive, process, start_script, wait_until
from tests.workers.support import (
    KINDS,
    ROOT,
    Running,
    leave_pid,
    linger,
    read,
    run,
    sh,
    wait_for_end_of,
    write,
)

pytestmark = pytest.mark.skipif(not sessions.SEES, reason="needs /proc")

PYTHON = shlex.quote(sys.executable)


@pytest.fixture
def worker(guardian: Guardian) -> CommandWorker:
    """Closed by the fixture `close`."""
    return CommandWorker(guardian)


def other_group(path: Path, body: str = "") -> str:
    """A shell word that stays in a group of its own, and leaves its id in a file."""
    code = f"{body}; {leave_pid(path)}; while :; do sleep 0.01; done"
    lead = "import os, sys; os.setpgid(0, 0); os.execv('/bin/sh', sys.argv[1:])"
    return f"{PYTHON} -c {shlex.quote(lead)} sh -c {shlex.quote(code.lstrip('; '))}"


# Ids ----------------------------------------------------------------------------------


def test_an_id_is_used_as_long_as_its_session_has_members(tmp_path: Path) -> None:
    """Also by a member in another group, when the leader has been reaped."""
    line = f"{other_group(tmp_path / 'pid')} & {leave_pid(tmp_path / 'there')}"
    leader = subprocess.Popen(["sh", "-c", line], start_new_session=True)
    member = int(read(tmp_path / "pid"))
    try:
        assert leader.wait() == 0
        assert not sessions.group_exists(leader.pid)
        assert sessions.is_used(leader.pid)
    finally:
        os.kill(member, signal.SIGKILL)
    wait_until(lambda: not sessions.is_used(leader.pid), what="its end")


def test_an_id_of_nobody() -> None:
    """A process that has been reaped has none."""
    child = subprocess.Popen(["true"], start_new_session=True)
    assert sessions.is_used(child.pid)
    child.wait()
    assert not sessions.is_used(child.pid)


def test_where_an_id_cannot_be_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is that of a group that exists, or of none."""
    monkeypatch.setattr(sessions, "SEES", False)
    child = subprocess.Popen(["true"], start_new_session=True)
    assert sessions.is_used(child.pid)
    child.wait()
    assert not sessions.is_used(child.pid)
    assert sessions.Census().members(os.getsid(0)) is None


# A group within the session -----------------------------------------------------------


def test_a_stop_reaches_all_groups_of_the_session(
    worker: CommandWorker, tmp_path: Path
) -> None:
    """With the signal that the leader gets, while that waits for its child."""
    said = shlex.quote(str(tmp_path / "said"))
    body = f"trap 'echo bye > {said}; exit' TERM"
    inner = other_group(tmp_path / "pid", body)
    running = Running(worker, sh(f"trap 'wait; exit 5' TERM; {inner} & wait"))
    pid = read(tmp_path / "pid")
    worker.stop()
    assert running.outcome().value["returncode"] == 5
    wait_for_end_of(pid)
    assert read(tmp_path / "said") == "bye"


@pytest.mark.parametrize("leader", ["waits", "ends"])
def test_a_group_that_does_not_heed_a_stop_is_killed(
    worker: CommandWorker, tmp_path: Path, leader: str
) -> None:
    """When the stop is forced; until then it has its time."""
    trap = "trap '' TERM; " if leader == "waits" else ""
    inner = other_group(tmp_path / "pid", "trap '' TERM")
    running = Running(worker, sh(f"{trap}{inner} >/dev/null 2>&1 & wait"))
    pid = int(read(tmp_path / "pid"))
    worker.stop()
    assert alive(pid) and not running.over
    worker.stop(KILL)
    running.outcome()
    wait_for_end_of(pid)


def test_each_group_gets_each_signal_once(
    worker: CommandWorker, tmp_path: Path
) -> None:
    """Who tidies up is not asked again."""
    said = shlex.quote(str(tmp_path / "said"))
    body = f"trap 'echo term >> {said}' TERM; trap 'echo int >> {said}' INT"
    running = Running(
        worker,
        sh(
            f"{body}; {other_group(tmp_path / 'pid', body)} & "
            f"{leave_pid(tmp_path / 'there')}; "
            "while :; do wait; sleep 0.01; done"
        ),
    )
    read(tmp_path / "pid"), read(tmp_path / "there")
    wait_until(lambda: worker._group, what="the end of its start")
    group = worker._group
    assert group is not None
    for _ in range(3):
        worker.stop()
    for _ in range(3):
        group.sweep()

    def lines() -> list[str]:
        path = tmp_path / "said"
        return path.read_text().split() if path.exists() else []

    wait_until(lambda: len(lines()) >= 2, what="both")
    worker.stop(KILL)
    running.outcome()
    assert lines() == ["term", "term"]


@pytest.mark.parametrize("method", START_METHODS)
def test_what_a_function_has_started_in_another_group(
    guardian: Guardian, method: str, tmp_path: Path
) -> None:
    """The session of a process worker ends with it, too: at a stop, or when closed."""
    for name in ("stopped", "closed"):
        worker = KINDS[method].make(guardian)
        path = tmp_path / name
        assert run(worker, Call(start_elsewhere, (str(path),))).ok
        pid = int(read(path))
        assert alive(pid)
        if name == "stopped":
            worker.stop()
        worker.close()
        wait_for_end_of(pid)


def start_elsewhere(path: str) -> None:
    """Start a program that leads a group of its own, in this session."""
    subprocess.Popen(["sh", "-c", other_group(Path(path))], stdout=subprocess.DEVNULL)
    read(path)


def test_leftovers_in_other_groups_go_with_the_run(tmp_path: Path) -> None:
    """They live until the guardian is closed."""
    guardian = Guardian()
    worker = CommandWorker(guardian)
    try:
        line = f"{other_group(tmp_path / 'pid')} >/dev/null 2>&1 &"
        assert run(worker, sh(line)).ok
        pid = int(read(tmp_path / "pid"))
        assert alive(pid)
    finally:
        worker.close()
        guardian.close()
    wait_for_end_of(pid)


SCRIPT = """
import os, sys, threading, time
from concurra.tasks import Command
from concurra.workers.command import CommandWorker
from concurra.workers.guardian import Guardian

worker = CommandWorker(Guardian())
job = Command(sys.argv[1])
args = job, worker.present(job)
threading.Thread(target=worker.run, args=args, daemon=True).start()
while not os.path.exists(sys.argv[2]):
    time.sleep(0.01)
if sys.argv[3] == "kill":
    os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("way", ["kill", "exit"])
def test_no_group_outlives_the_program(tmp_path: Path, way: str) -> None:
    """Whichever way it ends, at once or in good order."""
    path = tmp_path / "pid"
    line = f"{other_group(path)} & wait"
    with start_script(SCRIPT, line, str(path), way, env=ROOT) as script:
        script.wait()
        assert script.survivors() == []


def test_names_cannot_lead_the_guardian_astray(tmp_path: Path) -> None:
    """Whatever a process is called, it is read as a name."""
    evil = tmp_path / "a) b (c;$(touch x) \n Z 1 1 1"
    evil.symlink_to("/bin/sleep")
    stranger = subprocess.Popen([str(evil), "60"], start_new_session=True)
    guardian = Guardian()
    worker = CommandWorker(guardian)
    try:
        line = f"{other_group(tmp_path / 'pid')} >/dev/null 2>&1 &"
        assert run(worker, sh(line)).ok
        pid = read(tmp_path / "pid")
    finally:
        worker.close()
        guardian.close()
    wait_for_end_of(pid)
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


# Zombies ------------------------------------------------------------------------------

ADOPT = """
import ctypes, os, sys, time
from concurra.tasks import Command
from concurra.workers.command import CommandWorker
from concurra.workers.guardian import Guardian

ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # adopt orphans, as the first process does
guardian = Guardian()
worker = CommandWorker(guardian)
job = Command(sys.argv[2])
outcome = worker.run(job, worker.present(job))
assert outcome.ok, outcome.error
if sys.argv[1] == "stop":
    import threading
    job = Command("exec >&- 2>&-; " + sys.argv[2] + " wait")
    args = job, worker.present(job)
    os.remove(sys.argv[3])
    thread = threading.Thread(target=worker.run, args=args)
    thread.start()
    while not os.path.exists(sys.argv[3]):
        time.sleep(0.01)
    worker.stop()
    thread.join()
worker.close()
guardian.close()
try:
    print(os.waitpid(-1, os.WNOHANG))
except ChildProcessError:
    print("no children")
"""


@pytest.mark.parametrize("way", ["leave", "stop"])
def test_orphans_that_are_adopted_are_reaped(tmp_path: Path, way: str) -> None:
    """By the first process of a container, say: of all groups, and of no others."""
    files = [tmp_path / name for name in ("same", "other")]
    same = f"sleep 60 >/dev/null 2>&1 & {leave_pid(files[0], '$!')}; "
    line = f"{same}{other_group(files[1])} >/dev/null 2>&1 &"
    wait = f" while ! [ -e {shlex.quote(str(files[1]))} ]; do sleep 0.01; done;"
    with start_script(ADOPT, way, line + wait, str(files[1]), env=ROOT) as script:
        assert script.wait() == 0, str(script)
        assert script.stdout() == "no children\n"


def test_children_of_others_are_left_to_them() -> None:
    """They are in no session of ours."""
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    sessions.reap_killed([child.pid])
    assert child.wait() == 0


# Who cannot be killed -----------------------------------------------------------------


@pytest.fixture
def untouchable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signals to processes are refused, as those to another user's are."""

    for name in ("kill", "killpg"):

        def refuse(pid: int, number: int, real: Any = getattr(os, name)) -> None:
            if number:
                raise PermissionError(1, "Operation not permitted")
            real(pid, 0)

        monkeypatch.setattr(os, name, refuse)


@pytest.mark.usefixtures("untouchable")
@pytest.mark.parametrize("leader", [True, False], ids=["leader", "child"])
def test_who_could_not_be_killed_is_named(
    worker: CommandWorker, tmp_path: Path, leader: bool
) -> None:
    """The leader, when nobody waits for it any more; or who is left of its session."""
    until = shlex.quote(str(tmp_path / "until"))
    stay = f"{leave_pid(tmp_path / 'pid')}; until [ -e {until} ]; do sleep 0.01; done"
    line = (
        stay if leader else f"sh -c {shlex.quote(stay)} & {leave_pid(tmp_path / 'x')}"
    )
    job = sh(line)
    at_hand = worker.present(job)
    running = Running(worker, job, at_hand)
    try:
        pid = int(read(tmp_path / "pid"))
        assert str(at_hand.remark) == ""
        wait_until(lambda: worker._group, what="the end of its start")
        worker.stop()
        worker.stop(KILL)
        if leader:
            worker.abandon()
        else:
            running.outcome()
        assert process(pid) is not None
        text = str(at_hand.remark)
        assert text.startswith("Still running, as it could not be killed: ")
        assert f"sh (pid {pid})" in text
    finally:
        write(tmp_path / "until", "now")
    running.outcome()
    wait_for_end_of(pid)


@pytest.mark.usefixtures("untouchable")
@pytest.mark.parametrize("seen", [True, False])
def test_a_process_that_could_not_be_killed_is_named(
    guardian: Guardian, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: bool
) -> None:
    """A worker for functions as well; where processes cannot be seen, by its id."""
    monkeypatch.setattr(sessions, "SEES", seen)
    monkeypatch.setattr(sessions, "DYING", 0.1)
    worker = KINDS["fork"].make(guardian)
    files = [str(tmp_path / name) for name in ("pid", "until")]
    job = Call(linger, tuple(files))
    at_hand: AtHand = worker.present(job)
    running = Running(worker, job, at_hand)
    pid = read(files[0])
    worker.stop()
    worker.stop(KILL)
    worker.abandon()
    assert f"(pid {pid})" in str(at_hand.remark)
    write(files[1], "now")
    running.outcome()
    monkeypatch.undo()
    worker.close()


def test_who_was_killed_is_not_named(worker: CommandWorker, tmp_path: Path) -> None:
    """Even if nobody waits for it any more at once."""
    job = sh(f"trap '' TERM; {leave_pid(tmp_path / 'pid')}; while :; do sleep 9; done")
    at_hand = worker.present(job)
    running = Running(worker, job, at_hand)
    read(tmp_path / "pid")
    wait_until(lambda: worker._group, what="the end of its start")
    worker.stop(KILL)
    worker.abandon()
    running.outcome()
    assert isinstance(at_hand.remark, Remark) and str(at_hand.remark) == ""


def test_many_are_named_by_their_number() -> None:
    """The first ones by name, the others counted; nobody by a word."""
    mine = os.getpid()
    text = sessions.names([mine] * 5, "a process")
    assert text.count(f"(pid {mine})") == sessions.NAMED
    assert text.endswith(", 2 more")
    assert sessions.names([10**9], "a process") == "a process (pid 1000000000)"
    assert sessions.names([], "another process") == "another process"
