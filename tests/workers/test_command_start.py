"""How a command is started: what is tried again, what it reads, what it holds."""

from __future__ import annotations

import errno
import io
import os
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from concurra.outcomes import ERROR, UNAVAILABLE
from concurra.tasks import Command
from concurra.workers import command_start
from concurra.workers.command import CommandWorker
from concurra.workers.guardian import Guardian
from tests.helpers import wait_until
from tests.workers.support import BOUND, Running, leave_pid, read, run, sh

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")


@pytest.fixture
def worker(guardian: Guardian) -> CommandWorker:
    """Closed by the fixture `close`."""
    return CommandWorker(guardian)


# Tried again --------------------------------------------------------------------------


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A program that leaves a sign each time it is run."""
    path = tmp_path / "script"
    path.write_text(f"#!/bin/sh\necho run >> {shlex.quote(str(tmp_path))}/runs\n")
    path.chmod(0o755)
    return path


def test_a_program_that_is_being_written_is_tried_again(
    worker: CommandWorker, script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until nobody holds it open for writing any more; it runs once."""
    monkeypatch.setattr(command_start, "BUSY", BOUND)
    opened = subprocess.Popen
    tries: list[int] = []

    def start(*args: Any, **options: Any) -> Any:
        if args[0] == [str(script)]:
            tries.append(len(tries))
            if len(tries) == 3:
                held.close()
        return opened(*args, **options)

    monkeypatch.setattr(subprocess, "Popen", start)
    with script.open("a") as held:
        outcome = run(worker, Command([str(script)]))
    assert outcome.ok, outcome.error
    assert len(tries) == 3
    assert (script.parent / "runs").read_text() == "run\n"


def test_a_program_that_stays_open_for_writing_is_given_up(
    worker: CommandWorker, script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the reason, after a while."""
    monkeypatch.setattr(command_start, "BUSY", 0.05)
    with script.open("a"):
        outcome = run(worker, Command([str(script)]))
    assert outcome.cause is ERROR
    assert outcome.error == (
        f"OSError: [Errno 26] Text file busy: {str(script)!r} "
        "(it is open for writing, in this program or another one)"
    )


def test_a_stop_ends_the_tries(
    worker: CommandWorker, script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once."""
    monkeypatch.setattr(command_start, "BUSY", 60.0)
    tried = threading.Event()
    opened = subprocess.Popen

    def start(*args: Any, **options: Any) -> Any:
        if args[0] == [str(script)]:
            tried.set()
        return opened(*args, **options)

    monkeypatch.setattr(subprocess, "Popen", start)
    with script.open("a"):
        running = Running(worker, Command([str(script)]))
        assert tried.wait(BOUND)
        worker.stop()
        assert not running.outcome().ok


@pytest.mark.parametrize(
    "number", [errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE]
)
def test_a_shortage_is_none_of_the_task_s_doing(
    worker: CommandWorker, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Nothing has run: there may be enough for it when another has ended."""
    assert run(worker, sh("true")).ok  # the guardian is there

    def refuse(*args: Any, **options: Any) -> Any:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(subprocess, "Popen", refuse)
    outcome = run(worker, sh("true"))
    assert outcome.cause is UNAVAILABLE and outcome.retry


# Environment --------------------------------------------------------------------------


def test_a_variable_can_be_unset(
    worker: CommandWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that there is not."""
    monkeypatch.setenv("CONCURRA_HERE", "here")
    env = {"CONCURRA_HERE": None, "CONCURRA_NOT_HERE": None, "CONCURRA_NEW": "new"}
    line = 'echo "${CONCURRA_HERE-unset} ${CONCURRA_NOT_HERE-unset} $CONCURRA_NEW"'
    assert run(worker, sh(line, env=env)).value["stdout"] == "unset unset new\n"
    assert os.environ["CONCURRA_HERE"] == "here"


def test_names_of_variables_where_their_case_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There is one of each, whichever way it is written."""
    monkeypatch.setattr(command_start, "POSIX", False)
    monkeypatch.setattr(os, "environ", {"PATH": "old", "TEMP": "old"})
    assert command_start.environment({"Path": "new", "temp": None}) == {"PATH": "new"}


# Input --------------------------------------------------------------------------------


def test_what_a_command_reads(worker: CommandWorker) -> None:
    """All of it, and then the end; each attempt has it from the beginning."""
    job = Command(["cat"], input=b"one\n\xc3\xa9\n")
    for _ in range(2):
        assert run(worker, job).value["stdout"] == "one\né\n"


def test_a_large_input_waits_for_nobody(worker: CommandWorker) -> None:
    """Whoever reads all of it, some of it, or nothing, and prints as much."""
    data = b"x" * 3_000_000
    outcome = run(worker, Command(["cat"], input=data, text=False))
    assert outcome.value["stdout"] == data
    assert run(worker, Command(["true"], input=data)).ok
    head = Command(["head", "-c", "3"], input=data)
    assert run(worker, head).value["stdout"] == "xxx"


def test_a_command_with_input_can_be_stopped(
    worker: CommandWorker, tmp_path: Path
) -> None:
    """Though it has not read it."""
    job = sh(f"{leave_pid(tmp_path / 'pid')}; sleep 60", input=b"x" * 1_000_000)
    running = Running(worker, job)
    read(tmp_path / "pid")
    worker.stop()
    assert running.outcome().value["returncode"] < 0


def test_an_input_for_which_there_is_no_space(
    worker: CommandWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails the task, and leaves nothing."""

    def full() -> int:
        return os.open("/dev/full", os.O_RDWR)

    monkeypatch.setattr(command_start, "nameless_file", full)
    outcome = run(worker, Command(["cat"], input=b"x"))
    assert "No space left" in str(outcome.error)


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="needs files in memory")
def test_an_input_for_which_there_is_no_descriptor(
    worker: CommandWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a want, as of a pipe: the task may begin when another one has ended."""

    def none_left(name: str) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "memfd_create", none_left)
    outcome = run(worker, Command(["cat"], input=b"x"))
    assert outcome.cause == UNAVAILABLE
    assert "Too many open files" in str(outcome.error)


# Output -------------------------------------------------------------------------------


def test_errors_among_all_else(worker: CommandWorker) -> None:
    """In the order in which they were printed; nothing is left for stderr."""
    line = "echo one; echo two >&2; echo three; exit 3"
    outcome = run(worker, sh(line, merged=True))
    assert outcome.value["stdout"] == "one\ntwo\nthree\n"
    assert outcome.value["stderr"] == ""
    assert str(outcome.trace) == "stdout:\none\ntwo\nthree\n"
    assert str(outcome.error).endswith("return code 3: one\ntwo\nthree")
    assert run(worker, sh(line, merged=True, text=False)).value["stderr"] == b""


def test_errors_among_all_else_without_capture(
    worker: CommandWorker, capfd: pytest.CaptureFixture[str]
) -> None:
    """Go to where this program prints."""
    outcome = run(worker, sh("echo two >&2", merged=True, capture_output=False))
    assert outcome.value["stderr"] is None
    assert tuple(capfd.readouterr()) == ("two\n", "")


class Recorder(io.StringIO):
    """Tells how often it was flushed."""

    def __init__(self) -> None:
        super().__init__()
        self.flushes = 0

    def flush(self) -> None:
        self.flushes += 1


class Broken(io.StringIO):
    """Cannot be flushed."""

    def flush(self) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def test_what_was_printed_before_is_seen_before(
    worker: CommandWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The streams of the program are flushed, whatever has become of them."""
    first, second = Recorder(), Recorder()
    monkeypatch.setattr(sys, "stdout", first)
    monkeypatch.setattr(sys, "__stdout__", second)
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setattr(sys, "__stderr__", Broken())
    assert run(worker, sh("true")).ok
    assert (first.flushes, second.flushes) == (0, 0), "nobody will see it"
    assert run(worker, sh("true", capture_output=False)).ok
    assert (first.flushes, second.flushes) == (1, 1)


# The shell, and descriptors -----------------------------------------------------------


def test_another_shell(worker: CommandWorker, tmp_path: Path) -> None:
    """Reads the line instead."""
    shell = tmp_path / "shell"
    shell.write_text('#!/bin/sh\necho "$#: $1 $2"\n')
    shell.chmod(0o755)
    outcome = run(worker, sh("a | line", executable=str(shell)))
    assert outcome.value["stdout"] == "2: -c a | line\n"
    assert outcome.value["command"] == "a | line"


@pytest.mark.parametrize("capture", [True, False])
def test_descriptors_that_are_passed_on(worker: CommandWorker, capture: bool) -> None:
    """Have the same numbers, and no others are there."""
    read_end, write_end = os.pipe()
    try:
        job = sh(
            f"echo passed > /dev/fd/{write_end}",
            pass_fds=(write_end,),
            capture_output=capture,
        )
        assert run(worker, job).ok
        assert os.read(read_end, 100) == b"passed\n"
        assert not run(worker, sh(f"echo passed > /dev/fd/{write_end}")).ok
    finally:
        os.close(read_end)
        os.close(write_end)


def test_a_descriptor_that_is_not_open(worker: CommandWorker) -> None:
    """Fails the task, with the reason."""
    outcome = run(worker, Command(["true"], pass_fds=(999,)))
    assert outcome.cause is ERROR
    assert str(outcome.error).endswith("(a descriptor of pass_fds is not open)")


# The signal ---------------------------------------------------------------------------


def test_a_command_is_stopped_by_its_signal(
    worker: CommandWorker, tmp_path: Path
) -> None:
    """The one that was chosen, and no other."""
    line = "trap 'echo usr1; exit 5' USR1; trap 'echo term' TERM; "
    line += f"{leave_pid(tmp_path / 'pid')}; while :; do sleep 0.01; done"
    job = sh(line, stop_signal=signal.SIGUSR1)
    running = Running(worker, job)
    read(tmp_path / "pid")
    worker.stop()
    value = running.outcome().value
    assert (value["returncode"], value["stdout"]) == (5, "usr1\n")


def test_a_guardian_is_known_by_its_name(worker: CommandWorker) -> None:
    """Among processes, and its program is not shown."""
    assert run(worker, sh("true")).ok
    shell = worker._guardian._shell
    assert shell is not None

    def shown() -> str:
        columns = ["ps", "-o", "args=", "-p", str(shell.pid)]
        return subprocess.run(columns, capture_output=True, text=True).stdout

    wait_until(lambda: "concurra-guardian" in shown(), what="its name")
    assert len(shown().splitlines()) == 1 and "kill" not in shown()
