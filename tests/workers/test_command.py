"""What is special to workers that start programs."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections import UserDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from concurra import steps
from concurra.outcomes import ERROR, FAILED, UNAVAILABLE
from concurra.tasks import Command
from concurra.threads import ThreadCache
from concurra.workers import command, groups, command_start, sessions
from concurra.workers.command import CommandWorker
from concurra.workers.command_output import Drain
from concurra.workers.guardian import Guardian
from tests.helpers import alive, wait_until
from tests.workers.support import (
    BOUND,
    Running,
    TestPool,
    add,
    call,
    few_descriptors,
    leave_pid,
    read,
    run,
    sh,
    show,
    wait_for_end_of,
    write,
)

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")


@pytest.fixture
def worker(guardian: Guardian) -> CommandWorker:
    """Closed by the fixture `close`."""
    return CommandWorker(guardian)


@pytest.fixture
def nobody_waits() -> Iterator[None]:
    """Children are reaped by the system: this program ignores their ends."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGCHLD, before)


# Before it begins ---------------------------------------------------------------------


@pytest.mark.parametrize("capture", [True, False], ids=["captured", "not captured"])
@pytest.mark.parametrize("left", range(12))
def test_a_command_that_lacks_descriptors_does_not_begin(
    worker: CommandWorker, tmp_path: Path, left: int, capture: bool
) -> None:
    """Or it runs to its end; it never runs in vain."""
    sign = tmp_path / "sign"
    job = sh(f"echo there > {shlex.quote(str(sign))}", capture_output=capture)
    assert run(worker, sh("true")).ok  # the guardian is there
    with few_descriptors(left):
        outcome = run(worker, job)
    assert (outcome.cause is UNAVAILABLE) == (not outcome.ok) == (not sign.exists())
    assert outcome.ok or "Too many open files" in str(outcome.error)
    assert run(worker, Command(["/no/such/program"])).cause is ERROR
    assert run(worker, sh("true")).ok


# Results ------------------------------------------------------------------------------


def test_the_result_of_a_program(worker: CommandWorker) -> None:
    """Six fields; arguments go to the program as they are."""
    argv = ["printf", "%s|", "a b", "$HOME", "*"]
    outcome = run(worker, Command(argv))
    assert outcome.value == {
        "command": argv,
        "shell": False,
        "returncode": 0,
        "stdout": "a b|$HOME|*|",
        "stderr": "",
        "cwd": None,
    }
    assert outcome.value["command"] is not argv, "the user may change his list"


def test_the_result_of_a_shell_line(worker: CommandWorker, tmp_path: Path) -> None:
    """Read by the shell, in the directory that was given."""
    line = "pwd; echo two | tr a-z A-Z >&2"
    outcome = run(worker, sh(line, cwd=str(tmp_path)))
    assert outcome.value == {
        "command": line,
        "shell": True,
        "returncode": 0,
        "stdout": f"{os.path.realpath(tmp_path)}\n",
        "stderr": "TWO\n",
        "cwd": str(tmp_path),
    }


def test_a_return_code_fails_the_task(worker: CommandWorker) -> None:
    """With what was printed as errors; the structured result stays."""
    outcome = run(worker, sh("echo out; echo err >&2; exit 7"))
    error = "CommandExecutionError: Command exited with return code 7: err"
    assert (outcome.status, outcome.error) == (FAILED, error)
    assert outcome.retry and outcome.fault
    assert outcome.value["returncode"] == 7
    assert str(outcome.trace) == "stdout:\nout\n\nstderr:\nerr\n"


def test_without_check_every_return_code_is_fine(worker: CommandWorker) -> None:
    """The result has it."""
    outcome = run(worker, sh("exit 7", check=False))
    assert outcome.ok
    assert outcome.value["returncode"] == 7


def test_a_program_that_is_killed(worker: CommandWorker) -> None:
    """Its return code is the negative number of the signal."""
    outcome = run(worker, sh("kill -s KILL $$"))
    assert outcome.value["returncode"] == -signal.SIGKILL
    error = "CommandExecutionError: Command was killed by SIGKILL (signal 9, "
    assert outcome.error == f"{error}probably out of memory)"


def test_without_capture_there_is_no_output(
    capfd: pytest.CaptureFixture[str], guardian: Guardian
) -> None:
    """It goes to where this program prints."""
    worker = CommandWorker(guardian)
    outcome = run(worker, sh("echo out; echo err >&2", capture_output=False))
    worker.close()
    assert (outcome.value["stdout"], outcome.value["stderr"]) == (None, None)
    assert tuple(capfd.readouterr()) == ("out\n", "err\n")
    assert worker.present(sh("", capture_output=False)).transcript is None


def test_binary_output(worker: CommandWorker) -> None:
    """Every byte as it came."""
    outcome = run(worker, sh(r"printf '\377\000\r\n'", text=False))
    assert outcome.value["stdout"] == b"\xff\x00\r\n"
    assert outcome.value["stderr"] == b""


def test_text_that_cannot_be_decoded_is_kept(worker: CommandWorker) -> None:
    """As backslash escapes."""
    outcome = run(worker, sh(r"printf 'a\377b'; printf '\376' >&2; exit 1"))
    assert outcome.value["stdout"] == "a\\xffb"
    assert outcome.value["stderr"] == "\\xfe"
    assert outcome.error and outcome.error.endswith(" 1: \\xfe")


def test_newlines_are_made_uniform(worker: CommandWorker) -> None:
    """In text."""
    assert run(worker, sh(r"printf 'a\r\nb\rc\n'")).value["stdout"] == "a\nb\nc\n"


def test_a_trace_knows_what_was_written_over(worker: CommandWorker) -> None:
    """A line that a progress bar uses again and again stays one line there."""
    outcome = run(worker, sh(r"printf 'a\r\nb\rc\n'; printf '1\r2' >&2; exit 1"))
    assert str(outcome.trace) == "stdout:\na\nb\rc\n\nstderr:\n1\r2"
    assert outcome.value["stderr"] == "1\n2"


def test_characters_that_come_in_pieces(worker: CommandWorker) -> None:
    """Are put together, however the pipe cuts them."""
    line = r"for i in 1 2 3; do printf '\303'; sleep 0; printf '\251'; done"
    assert run(worker, sh(line)).value["stdout"] == "ééé"


def test_much_output_on_both_streams(worker: CommandWorker) -> None:
    """More than the pipes hold, at once: nobody waits for ever."""
    code = "import sys; [f.write('x' * 2_000_000) for f in (sys.stdout, sys.stderr)]"
    outcome = run(worker, Command([sys.executable, "-c", code]))
    lengths = [len(outcome.value[name]) for name in ("stdout", "stderr")]
    assert lengths == [2_000_000, 2_000_000]


def test_standard_input_is_empty(worker: CommandWorker) -> None:
    """A program that reads it does not wait for a terminal."""
    assert run(worker, Command(["cat"])).value["stdout"] == ""


def test_variables_are_set_beside_those_that_there_are(
    worker: CommandWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of this process, as they are when the command starts."""
    monkeypatch.setenv("CONCURRA_HERE", "here")
    job = sh('echo "$CONCURRA_HERE $CONCURRA_NEW"', env={"CONCURRA_NEW": "new"})
    assert run(worker, job).value["stdout"] == "here new\n"
    assert "CONCURRA_NEW" not in os.environ


class Changing(UserDict[str, str]):
    """An environment that another thread changes while it is copied, a few times."""

    def __init__(self, error: Exception) -> None:
        super().__init__(os.environ)
        self._errors = [error, error]

    def __iter__(self) -> Iterator[str]:
        names = super().__iter__()
        yield next(names)
        if self._errors:
            raise self._errors.pop()
        yield from names


@pytest.mark.parametrize("error", [KeyError("X"), RuntimeError("changed size")])
def test_variables_may_change_meanwhile(
    worker: CommandWorker, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Whoever changes them in another thread fails no command."""
    monkeypatch.setenv("CONCURRA_HERE", "here")
    monkeypatch.setattr(os, "environ", Changing(error))
    job = sh('echo "$CONCURRA_HERE $CONCURRA_NEW"', env={"CONCURRA_NEW": "new"})
    assert run(worker, job).value["stdout"] == "here new\n"


def test_a_command_leads_a_session_of_its_own(worker: CommandWorker) -> None:
    """So Ctrl-C in the terminal does not reach it, and a stop reaches its groups."""
    code = "import os; print(os.getpid() == os.getpgrp() == os.getsid(0))"
    outcome = run(worker, Command([sys.executable, "-c", code]))
    assert outcome.value["stdout"] == "True\n"


def test_a_program_that_closes_its_output_is_waited_for(
    worker: CommandWorker, tmp_path: Path
) -> None:
    """The end of the output is not the end of the program."""
    done = shlex.quote(str(tmp_path / "done"))
    line = f"exec >&- 2>&-; until [ -e {done} ]; do sleep 0.01; done; exit 3"
    running = Running(worker, sh(f"{leave_pid(tmp_path / 'pid')}; {line}"))
    read(tmp_path / "pid")
    assert not running.over
    write(tmp_path / "done", "now")
    assert running.outcome().value["returncode"] == 3


# Stops --------------------------------------------------------------------------------


def test_a_stop_ends_the_whole_group(worker: CommandWorker, tmp_path: Path) -> None:
    """The shell, and what it has started."""
    files = [tmp_path / name for name in ("shell", "child")]
    line = f"sleep 60 & {leave_pid(files[1], '$!')}; {leave_pid(files[0])}; wait"
    running = Running(worker, sh(line))
    pids = [read(path) for path in files]
    worker.stop()
    running.outcome()
    for pid in pids:
        wait_for_end_of(pid)


def test_the_transcript_has_what_was_printed_so_far(
    worker: CommandWorker, tmp_path: Path
) -> None:
    """While the command runs, and also what it says when it is stopped."""
    line = "trap 'echo bye >&2; exit' TERM; echo 'so far'"
    stay = f"{leave_pid(tmp_path / 'pid')}; while :; do sleep 0.01; done"
    job = sh(f"{line}; {stay}")
    at_hand = worker.present(job)
    transcript = at_hand.transcript
    running = Running(worker, job, at_hand)
    read(tmp_path / "pid")
    wait_until(lambda: str(transcript) == "stdout:\nso far\n", what="the output")
    worker.stop()
    running.outcome()
    so_far, errors = str(transcript).split("\nstderr:\n")
    assert so_far == "stdout:\nso far\n"
    assert errors.endswith("bye\n")  # some shells also tell of their child's end


def test_each_job_has_a_transcript_of_its_own(worker: CommandWorker) -> None:
    """The old one stays what it was."""
    first, second = (show(worker, sh(f"echo {word}")) for word in ("one", "two"))
    assert str(first) == "stdout:\none\n"
    assert str(second) == "stdout:\ntwo\n"


@pytest.mark.parametrize(
    ("step", "number"),
    [
        (steps.INTERRUPT, signal.SIGINT),
        (steps.TERMINATE, signal.SIGTERM),
        (steps.KILL, signal.SIGKILL),
    ],
)
def test_a_stop_does_not_wait_for_a_program_to_start(
    worker: CommandWorker, monkeypatch: pytest.MonkeyPatch, step: int, number: int
) -> None:
    """It may lie on a disk that does not answer. Once it is there, it is stopped."""
    starting, may_start = threading.Event(), threading.Event()
    real_start, real_kill = command_start.start, os.killpg
    sent: list[int] = []

    def start_late(*args: Any) -> Any:
        starting.set()
        assert may_start.wait(BOUND)
        return real_start(*args)

    def kill(group: int, number: int) -> None:
        sent.append(number)
        real_kill(group, number)

    monkeypatch.setattr(command_start, "start", start_late)
    monkeypatch.setattr(os, "killpg", kill)
    running = Running(worker, Command(["sleep", "60"]))
    assert starting.wait(BOUND)
    worker.stop(step)
    may_start.set()
    wait_until(lambda: sent, BOUND, "a signal")
    assert sent[0] == number
    worker.stop(steps.KILL)
    assert running.outcome().value["returncode"] in (-number, -signal.SIGKILL)


def test_a_command_that_ignores_the_stop_is_killed_by_force(
    worker: CommandWorker, tmp_path: Path
) -> None:
    """SIGKILL cannot be ignored."""
    line = f"trap '' TERM; {leave_pid(tmp_path / 'pid')}; while :; do sleep 0.01; done"
    running = Running(worker, sh(line))
    pid = int(read(tmp_path / "pid"))
    worker.stop()
    assert alive(pid) and not running.over
    worker.stop(force=True)
    assert running.outcome().value["returncode"] == -signal.SIGKILL


def test_a_member_of_the_group_that_ignores_the_stop(
    worker: CommandWorker, tmp_path: Path
) -> None:
    """May take its time when the leader has ended, until the stop is forced."""
    child = f"trap '' TERM; {leave_pid(tmp_path / 'pid')}; "
    child += "while :; do sleep 0.01; done"
    line = f"sh -c {shlex.quote(child)} >/dev/null 2>&1 & wait"
    running = Running(worker, sh(line))
    pid = int(read(tmp_path / "pid"))
    worker.stop()
    assert alive(pid) and not running.over
    worker.stop(force=True)
    running.outcome()
    wait_for_end_of(pid)


ESCAPE = """
import os, sys, time
pid_file, until = sys.argv[1:]
if os.fork() == 0:
    os.setsid()
    with open(pid_file + ".part", "w") as file:
        print(os.getpid(), file=file)
    os.replace(pid_file + ".part", pid_file)
    for _ in range(3000):
        if os.path.exists(until):
            break
        time.sleep(0.01)
"""


@pytest.mark.parametrize("forced_only", [True, False])
def test_one_that_has_escaped_with_the_pipe_cannot_hold_up_a_forced_stop(
    worker: CommandWorker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    forced_only: bool,
) -> None:
    """It is in another session, and has the command's output open."""
    monkeypatch.setattr(command, "LINGER", BOUND)
    files = [str(tmp_path / name) for name in ("pid", "until")]
    running = Running(worker, Command([sys.executable, "-c", ESCAPE, *files]))
    pid = int(read(files[0]))
    if not forced_only:
        worker.stop()
        assert not running.over, "its output may still come"
    worker.stop(force=True)
    running.outcome()
    assert alive(pid)
    write(files[1], "now")
    wait_for_end_of(pid)


# Output that others hold open ---------------------------------------------------------


def test_one_that_holds_the_output_for_a_while_is_waited_for(
    worker: CommandWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it prints belongs to the command's output, and there is nothing to note."""
    monkeypatch.setattr(command, "LINGER", BOUND)
    until = shlex.quote(str(tmp_path / "until"))
    later = f"(until [ -e {until} ]; do sleep 0.01; done; echo later) &"
    running = Running(worker, sh(f"echo now; {later} {leave_pid(tmp_path / 'pid')}"))
    wait_for_end_of(read(tmp_path / "pid"))
    assert not running.over
    write(tmp_path / "until", "now")
    outcome = running.outcome()
    assert outcome.value["stdout"] == "now\nlater\n"
    assert outcome.warning is None


HOLDS = "(trap '' TERM; {0}; until [ -e {1} ]; do sleep 0.01; done) &"


def hold(folder: Path, before: str = "echo ready;", after: str = "") -> str:
    """A line that leaves a process behind, which holds the output open."""
    until = shlex.quote(str(folder / "until"))
    own = f"exec sh -c {shlex.quote(leave_pid(folder / 'pid'))}"
    return f"{before} {HOLDS.format(f'({own})', until)} {after}"


@pytest.mark.parametrize("code", [0, 7])
def test_one_that_holds_the_output_longer_is_named(
    worker: CommandWorker, tmp_path: Path, code: int
) -> None:
    """The command has ended when its process has, and its result is what it is."""
    running = Running(worker, sh(hold(tmp_path, after=f"exit {code}")))
    outcome = running.outcome()
    assert outcome.ok is (code == 0)
    assert outcome.value["returncode"] == code
    assert outcome.value["stdout"] == "ready\n"
    assert re.fullmatch(
        r"Command has ended, but its output is still held open by "
        r"((sh|sleep) \(pid \d+\)(, )?)+: the result has what was printed until then",
        str(outcome.warning),
    )
    write(tmp_path / "until", "now")


def test_who_holds_the_output_may_not_be_seen(
    worker: CommandWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On some systems; it is another process in any case."""
    monkeypatch.setattr(sessions, "SEES", False)
    outcome = run(worker, sh(hold(tmp_path)))
    assert "held open by another process:" in str(outcome.warning)
    write(tmp_path / "until", "now")


def test_a_server_in_the_background_can_go_on_printing(tmp_path: Path) -> None:
    """More than a pipe holds, until the run ends, with which it goes."""
    pool = TestPool(None)
    worker = pool.hire()
    done = shlex.quote(str(tmp_path / "done"))
    code = f"while ! [ -e {done} ]; do sleep 0.01; done; {FLOOD}"
    code += f"; {leave_pid(tmp_path / 'pid')}; sleep 60"
    try:
        for _ in range(2):
            outcome = run(worker, sh(f"sh -c {shlex.quote(code)} & echo ready"))
            assert outcome.ok and outcome.warning
            write(tmp_path / "done", "now")
            pid = int(read(tmp_path / "pid"))
            assert alive(pid)
            os.remove(tmp_path / "done"), os.remove(tmp_path / "pid")
    finally:
        worker.close()
        pool.close()
    wait_for_end_of(pid)


FLOOD = "n=0; while [ $n -lt 3000 ]; do n=$((n + 1)); printf '%0100d\n' 0; done"


def test_the_last_words_of_those_that_are_stopped(
    worker: CommandWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Count as long as they have time to end, though the command has ended before."""
    monkeypatch.setattr(command, "LINGER", 0.01)
    until = shlex.quote(str(tmp_path / "until"))
    tidy = f"until [ -e {until} ]; do sleep 0.01; done; echo tidied up; exit"
    child = f"trap {shlex.quote(tidy)} TERM; {leave_pid(tmp_path / 'pid')}; "
    child += "while :; do sleep 0.01; done"
    job = sh(f"sh -c {shlex.quote(child)} & {leave_pid(tmp_path / 'leader')}; wait")
    at_hand = worker.present(job)
    running = Running(worker, job, at_hand)
    leader = read(tmp_path / "leader")
    read(tmp_path / "pid")
    worker.stop()
    wait_for_end_of(leader)
    assert not running.over
    write(tmp_path / "until", "now")
    running.outcome()
    assert "tidied up\n" in str(at_hand.transcript)


def test_without_a_sign_of_the_end_a_thread_waits_for_it(
    worker: CommandWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there are no pidfds: all of it works the same."""
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    assert run(worker, sh("echo out; exit 3")).value["returncode"] == 3
    assert run(worker, sh("exit 4", capture_output=False)).value["returncode"] == 4
    outcome = run(worker, sh(hold(tmp_path)))
    assert outcome.ok and outcome.warning
    write(tmp_path / "until", "now")
    running = Running(worker, sh(f"{leave_pid(tmp_path / 'x')}; sleep 60"))
    read(tmp_path / "x")
    worker.stop()
    running.outcome()


# The drain ----------------------------------------------------------------------------


def pipe_to(drain: Drain) -> int:
    """The end to write to of a pipe that the drain has taken."""
    read_end, write_end = os.pipe()
    drain.take([read_end])
    return write_end


def test_a_drain_takes_what_comes_until_it_is_closed() -> None:
    """Pipes that end are closed then, others at its end."""
    threads = ThreadCache()
    drain = Drain(threads.start_own)
    ends = [pipe_to(drain) for _ in range(3)]
    for end in ends:
        os.write(end, b"x" * 30_000)
        os.write(end, b"x" * 60_000)
    os.close(ends.pop())
    drain.close()
    threads.close()
    ends.append(pipe_to(drain))
    for end in ends:
        with pytest.raises(BrokenPipeError):
            os.write(end, b"x")
        os.close(end)


def test_a_drain_that_was_not_used_has_nothing() -> None:
    """No thread, and no file."""
    drain = Drain(lambda call: pytest.fail("a thread"))
    drain.close()


def test_a_drain_without_a_thread_closes_what_it_takes() -> None:
    """Which is not good for those who print there, but costs nobody else."""

    def refuse(call: object) -> None:
        raise RuntimeError("can't start new thread")

    drain = Drain(refuse)
    for _ in range(2):
        end = pipe_to(drain)
        with pytest.raises(BrokenPipeError):
            os.write(end, b"x")
        os.close(end)
    drain.close()


# Leftovers ----------------------------------------------------------------------------


def test_leftovers_live_as_long_as_the_run(tmp_path: Path) -> None:
    """What a command has left in its group is killed when the guardian is closed."""
    guardian = Guardian()
    worker = CommandWorker(guardian)
    line = f"sleep 60 >/dev/null 2>&1 & {leave_pid(tmp_path / 'pid', '$!')}"
    try:
        assert run(worker, sh(line)).ok
        worker.close()
        assert alive(int(read(tmp_path / "pid")))
    finally:
        guardian.close()
    wait_for_end_of(read(tmp_path / "pid"))


def test_one_worker_does_commands_and_functions() -> None:
    """Each with what there is for its kind, one after another."""
    pool = TestPool(None)
    pooled = pool.hire()
    try:
        for _ in range(2):
            assert run(pooled, call(add, 1, 2)).mode == "thread"
            assert run(pooled, sh("exit 0")).mode == "subprocess"
    finally:
        pooled.close()
        pool.close()


# Others who wait for children ---------------------------------------------------------


def test_a_code_that_is_lost_is_no_reason_to_begin_again(
    worker: CommandWorker, nobody_waits: None
) -> None:
    """The command may have succeeded."""
    outcome = run(worker, Command(["true"]))
    assert outcome.error and outcome.error.startswith(
        "ChildProcessError: the command's"
    )
    assert outcome.mode == "subprocess" and outcome.fault and not outcome.retry


@pytest.mark.skipif(
    not hasattr(os, "waitid"), reason="needs waitid, for others to be first"
)
@pytest.mark.parametrize("code", [0, 3])
def test_a_code_that_others_have_reaped_and_tell(
    worker: CommandWorker, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """An event loop that waits for all children, as gevent's, tells the `Popen`."""
    assert run(worker, sh("true")).ok  # the guardian is there
    asked, threads = threading.Event(), []

    class Watched(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **kwargs)  # type: ignore[call-overload]
            status = os.waitpid(self.pid, 0)[1]
            threads.append(threading.Thread(target=self.tell, args=(status,)))
            threads[-1].start()

        def tell(self, status: int) -> None:
            assert asked.wait(BOUND)
            self.returncode = os.WEXITSTATUS(status)

    def sleep(seconds: float) -> None:
        asked.set()
        real_sleep(seconds)

    real_sleep = time.sleep
    monkeypatch.setattr(subprocess, "Popen", Watched)
    monkeypatch.setattr(time, "sleep", sleep)
    outcome = run(worker, sh(f"exit {code}"))
    threads[0].join()
    assert outcome.ok == (code == 0)
    assert code == 0 or "return code 3" in str(outcome.error)


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="needs waitid, to know that")
def test_an_id_that_others_have_reaped_gets_no_signal(
    worker: CommandWorker, nobody_waits: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process has it by now, for all that can be seen."""
    signalled: list[int] = []
    monkeypatch.setattr(groups, "_exists", lambda pid: True)
    monkeypatch.setattr(
        groups, "_signal_group", lambda pid, *how: signalled.append(pid)
    )
    assert not run(worker, Command(["true"])).ok
    assert signalled == []


def test_a_stop_does_not_wait_for_a_program_that_does_not_end(
    worker: CommandWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its output could not be read, so it is killed; and it sleeps, uninterruptibly."""
    waiting, ends = threading.Event(), threading.Event()
    real_wait = command.await_end

    def fail(*args: object) -> None:
        raise MemoryError("no memory for its output")

    def wait(pid: int) -> Any:
        waiting.set()
        assert ends.wait(BOUND)
        return real_wait(pid)

    monkeypatch.setattr(command.Output, "read", fail)
    monkeypatch.setattr(command, "await_end", wait)
    running = Running(worker, Command(["sleep", "60"]))
    assert waiting.wait(BOUND)
    stopping = threading.Thread(target=worker.stop, args=(True,), daemon=True)
    stopping.start()
    stopping.join(BOUND)
    assert not stopping.is_alive()
    ends.set()
    assert running.outcome().error == "MemoryError: no memory for its output"


# Shown --------------------------------------------------------------------------------


def test_the_label_goes_with_the_job(
    guardian: Guardian, capsys: pytest.CaptureFixture[str]
) -> None:
    """So it is known also when the task has been ended before the command began."""
    worker = CommandWorker(guardian, output="grouped")
    worker.note = ("it", 2, None, None)
    assert run(worker, sh("echo x")).ok
    assert run(worker, sh("echo y", output="prefixed")).ok
    assert run(worker, sh("echo z", output="captured")).ok
    assert capsys.readouterr().out == "== it, attempt 2 ==\nx\n[it] y\n"


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, False), ({"labels": True}, True), ({"output": "prefixed"}, True)],
)
def test_workers_are_told_labels_if_they_show_them(
    options: dict[str, Any], expected: bool
) -> None:
    """And not where nobody would look at them."""
    pool = TestPool(commands=True, **options)
    try:
        assert pool.hire().remote is expected
    finally:
        pool.close()


def test_memory_has_an_end(worker: CommandWorker) -> None:
    """A flood leaves what is kept, whatever its size."""
    import tracemalloc

    assert run(worker, sh("true")).ok
    tracemalloc.start()
    try:
        outcome = run(worker, sh("head -c 50000000 /dev/zero", max_output=100_000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(outcome.value["stdout"]) < 100_100
    assert peak < 2_000_000
