"""The guardian: who is killed when this process is gone, and what that costs."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Callable

import pytest

from concurra.tasks import Command
from concurra.workers.guardian import Guardian
from concurra.workers.command import CommandWorker
from concurra.workers.guardian import _Table
from tests.helpers import HAS_PROC, alive, descendants, start_script, wait_until
from tests.workers.support import (
    BOUND,
    ROOT,
    leave_pid,
    read,
    run,
    sh,
    wait_for_end_of,
)

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="needs process groups"),
    pytest.mark.skipif(not HAS_PROC, reason="needs /proc"),
]

#: Ids that no process has, for tables that are long.
NOBODY = 10**9


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


def newcomer(before: list[int]) -> int:
    """The shell that was not there before; a new process has no name at first."""
    (pid,) = wait_until(lambda: set(shells()) - set(before), what="the shell")
    return pid


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
            assert run(worker, Command(["true"])).ok
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


def test_a_guardian_whose_start_runs_the_hooks_at_a_fork(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has its table: a `Popen` with hooks, such as gevent's, takes nothing of it."""
    real = subprocess.Popen

    def popen(*args: object, **options: object) -> object:
        options["preexec_fn"] = int  # any function will do
        return real(*args, **options)  # type: ignore[call-overload]

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", popen)
        guardian = started()
    process = start("sleep", "60")
    guardian.watch(process.pid)
    guardian.close()
    assert process.wait(20) == -signal.SIGKILL


def test_a_guardian_that_is_closed_does_not_wait_for_others(start: Start) -> None:
    """A child that is forked by a library in C has a copy of the pipe's end."""
    guardian = started()
    process = start("sleep", "60")
    guardian.watch(process.pid)
    assert guardian._pipe is not None
    copy = os.dup(guardian._pipe.fd)
    try:
        with ThreadPoolExecutor(1) as pool:
            closing = pool.submit(guardian.close)
            try:
                closing.result(BOUND)
            finally:
                os.close(copy)
    finally:
        assert process.wait(20) == -signal.SIGKILL


def test_a_guardian_that_was_killed_can_be_closed() -> None:
    """Also by a program that dies of writing to nobody, as shell tools do."""
    code = """
    import os, signal
    from concurra.workers.guardian import Guardian

    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    guardian = Guardian()
    guardian.start()
    os.kill(guardian._shell.pid, signal.SIGKILL)
    os.waitid(os.P_PID, guardian._shell.pid, os.WEXITED | os.WNOWAIT)
    guardian.close()
    print("closed")
    """
    with start_script(code, env=ROOT) as script:
        assert script.wait() == 0
        assert script.stdout() == "closed\n"


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
        assert run(worker, sh("echo one")).ok
        pid = newcomer(before)
        os.kill(pid, signal.SIGKILL)
        wait_for_end_of(pid)
        for _ in range(3):
            assert run(worker, sh("echo two")).value["stdout"] == "two\n"
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
    pid = newcomer(before)
    status = Path(f"/proc/{pid}/status")

    def ignores() -> bool:
        lines = status.read_text().splitlines()
        (bits,) = [line.split()[1] for line in lines if line.startswith("SigIgn")]
        return bool(int(bits, 16) & 1 << (number - 1))

    wait_until(ignores, what="the guardian's trap")
    os.kill(pid, number)
    guardian.close()
    assert process.wait(20) == -signal.SIGKILL


@pytest.mark.parametrize("shell", ["dash", "bash --posix", "busybox sh", "mksh", "zsh"])
def test_any_shell_can_be_the_guardian(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    """``/bin/sh`` is another one on each system."""
    name, *options = shell.split()
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"there is no {name}")
    monkeypatch.setattr(Guardian, "_SHELL", (path, *options))
    guardian = started()
    doomed, spared = start("sleep", "60"), start("sleep", "60")
    line = f"sleep 60 & {leave_pid(tmp_path / 'pid', '$!')}"
    leader = start("sh", "-c", line)
    with started_now(tmp_path / "started_now") as (unknown, child, output):
        for process in (spared, doomed, leader):
            guardian.watch(process.pid)
        assert leader.wait(20) == 0
        guardian.dismiss(leader.pid, leftovers=True)
        guardian.dismiss(spared.pid, leftovers=False)
        with guardian.expecting(output):
            guardian.close()
        for each in (doomed, unknown):
            assert each.wait(20) == -signal.SIGKILL
        wait_for_end_of(child)
        wait_for_end_of(read(tmp_path / "pid"))
        assert spared.poll() is None


@contextmanager
def started_now(path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str, int]]:
    """A process that leads a group, its child, and the pipe into which they print."""
    line = f"sleep 60 & {leave_pid(path, '$!')}; wait"
    read_end, write_end = os.pipe()
    try:
        process = subprocess.Popen(
            ["sh", "-c", line], stdout=write_end, start_new_session=True
        )
        try:
            yield process, read(path), read_end
        finally:
            process.kill()
            process.wait()
    finally:
        os.close(read_end)
        os.close(write_end)


def test_a_command_that_was_just_started_is_found_by_its_output(tmp_path: Path) -> None:
    """This process can be killed before it has seen the id; others are not touched."""
    guardian = started()
    with started_now(tmp_path / "a") as (mine, child, output):
        with started_now(tmp_path / "b") as (other, _, _):
            with guardian.expecting(output):
                guardian.close()
            assert mine.wait(20) == -signal.SIGKILL
            wait_for_end_of(child)
            assert other.poll() is None
            os.killpg(other.pid, signal.SIGKILL)


def test_nobody_is_expected_any_more(tmp_path: Path) -> None:
    """Once it is watched and dismissed, or was never started."""
    guardian = started()
    with started_now(tmp_path / "pid") as (process, _, output):
        with pytest.raises(FileNotFoundError), guardian.expecting(output):
            raise FileNotFoundError
        with guardian.expecting(output):
            guardian.watch(process.pid)
        guardian.dismiss(process.pid, leftovers=False)
        guardian.close()
        assert process.poll() is None
        os.killpg(process.pid, signal.SIGKILL)


def test_a_guardian_is_not_led_astray(monkeypatch: pytest.MonkeyPatch) -> None:
    """By variables that shells obey, such as TMOUT, which would end its sleep."""
    monkeypatch.setenv("TMOUT", "1")
    before = shells()
    guardian = started()
    environ = Path(f"/proc/{newcomer(before)}/environ").read_bytes()
    guardian.close()
    assert b"TMOUT" not in environ


SCRIPT = """
import signal
from concurra.workers.guardian import Guardian

guardian = Guardian()
guardian.start()
print("ready", flush=True)
signal.pause()
"""


def test_a_guardian_ends_with_its_program() -> None:
    """When it has done its work, of which there is none here."""
    with start_script(SCRIPT, env=ROOT) as script:
        script.wait_for("ready")
        (guardian,) = descendants(script.pid)
        script.send_signal(signal.SIGKILL)
        script.wait()
        wait_for_end_of(guardian.pid)


@pytest.mark.parametrize("capture_output", [True, False])
def test_where_nobody_can_be_sought_no_pipe_is_told(
    monkeypatch: pytest.MonkeyPatch, capture_output: bool
) -> None:
    """Its number would be of no use, and may be too long for a line of the table."""
    told: list[str] = []
    add = _Table.add

    def note(table: _Table, what: str, number: int) -> None:
        told.append(what)
        add(table, what, number)

    monkeypatch.setattr(Guardian, "seeks", False)
    monkeypatch.setattr(_Table, "add", note)
    guardian = Guardian()
    worker = CommandWorker(guardian)
    try:
        assert run(worker, Command(["true"], capture_output=capture_output)).ok
    finally:
        worker.close()
        guardian.close()
    assert told == ["+"]


# What it costs ------------------------------------------------------------------------


def naps(pid: int) -> int:
    """How often a process has gone to sleep."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (count,) = [line.split()[1] for line in lines if line.startswith("voluntary")]
    return int(count)


def is_asleep(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def test_a_child_does_not_wake_the_guardian() -> None:
    """It would compete with the children for the processors."""
    before = shells()
    guardian = Guardian()
    worker = CommandWorker(guardian)
    try:
        assert run(worker, Command(["true"])).ok
        pid = newcomer(before)
        wait_until(lambda: is_asleep(pid), what="the guardian's sleep")
        count = naps(pid)
        for _ in range(20):
            assert run(worker, Command(["true"])).ok
        assert naps(pid) <= count + 1, "the last nap may have been about to begin"
    finally:
        worker.close()
        guardian.close()


def test_the_table_is_as_long_as_there_were_children_at_once() -> None:
    """However many there are one after another: lines are used again."""
    table = _Table()
    try:
        for number in range(100):
            table.add("+", number)
            table.add("+", number + 1)
            table.remove("+", number)
        assert os.fstat(table.fd).st_size == 2 * table.WIDTH
    finally:
        table.close()


def test_a_leftover_keeps_its_line() -> None:
    """Also when its leader's id is given to another child."""
    table = _Table()
    try:
        for rest in ("=", ""):
            table.add("+", 7)
            table.remove("+", 7, rest)
        table.add("+", 8)
        assert os.pread(table.fd, 100, 0).split() == [b"=", b"7", b"+", b"8"]
    finally:
        table.close()


def test_a_guardian_of_many_is_quick(start: Start) -> None:
    """It does not look at all of 20,000 again for each of them."""
    guardian = started()
    process = start("sleep", "60")
    for number in range(20_000):
        guardian.watch(NOBODY + number)
    guardian.watch(process.pid)
    guardian.close()
    assert process.wait(20) == -signal.SIGKILL


# Where it lives -----------------------------------------------------------------------


def test_a_system_without_files_in_memory(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A temporary file does as well, and nobody ever sees it."""
    monkeypatch.delattr(os, "memfd_create", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    guardian = started()
    doomed, spared = start("sleep", "60"), start("sleep", "60")
    for process in (spared, doomed):
        guardian.watch(process.pid)
    guardian.dismiss(spared.pid, leftovers=False)
    assert list(tmp_path.iterdir()) == []
    guardian.close()
    assert doomed.wait(20) == -signal.SIGKILL
    assert spared.poll() is None


def test_a_guardian_that_cannot_be_told_is_sent_away(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather than that it kills by ids that may be others' by now."""
    guardian = started()
    process = start("sleep", "60")
    guardian.watch(process.pid)

    def write(table: _Table, line: int, text: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_Table, "_write", write)
    guardian.dismiss(process.pid, leftovers=False)
    guardian.close()
    assert process.poll() is None


def test_a_child_for_whom_there_is_no_space_goes_unguarded(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others do not, neither those before it nor those after it."""
    guardian = started()
    first, second, third = [start("sleep", "60") for _ in range(3)]
    write = _Table._write

    def write_others(table: _Table, line: int, text: str) -> None:
        if text == f"+ {second.pid}":
            raise OSError(errno.ENOSPC, "No space left on device")
        write(table, line, text)

    monkeypatch.setattr(_Table, "_write", write_others)
    for process in (first, second, third):
        guardian.watch(process.pid)
    guardian.dismiss(second.pid, leftovers=False)
    guardian.close()
    for process in (first, third):
        assert process.wait(20) == -signal.SIGKILL
    assert second.poll() is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_nothing_of_the_guardian() -> None:
    """So the pipe ends with this process, and the table is this process's alone."""
    guardian = started()
    table, pipe = guardian._table, guardian._pipe
    assert table is not None and pipe is not None
    pid = os.fork()
    if pid == 0:
        guardian.watch(NOBODY)
        os._exit(not (table.fd == pipe.fd == -1))
    assert os.waitpid(pid, 0)[1] == 0
    assert os.fstat(table.fd).st_size == 0
    guardian.close()
