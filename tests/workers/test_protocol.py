"""The promises of `Worker`, kept by every kind of worker."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from concurra.outcomes import FAILED, SUCCESSFUL, Outcome
from concurra.steps import KILL
from concurra.tasks import Command
from tests.workers.support import (
    BOUND,
    COMMANDS,
    FUNCTIONS,
    Closing,
    Backend,
    Running,
    add,
    call,
    exiting,
    is_spent,
    leave_pid,
    linger,
    mode_of,
    raising,
    read,
    run,
    sh,
    wait_for_end_of,
    write,
)

if TYPE_CHECKING:
    from concurra.tasks import Job


class Own(BaseException):
    """Neither an `Exception` nor known to anybody."""


class Mute(Exception):
    """Says nothing, not even when it is asked."""

    def __str__(self) -> str:
        raise ValueError("mute")


class Deadly(Exception):
    """Tries to end the program of whoever prints it."""

    def __str__(self) -> str:
        raise SystemExit(3)


def good(kind: Backend) -> Job:
    return sh("echo 3") if kind.command else call(add, 1, second=2)


def value(kind: Backend, outcome: Outcome) -> Any:
    assert outcome.ok, outcome.error
    return int(outcome.value["stdout"]) if kind.command else outcome.value


def long(kind: Backend, tmp_path: Path) -> Job:
    """A job that leaves its process id in a file, and stays."""
    pid, until = str(tmp_path / "pid"), str(tmp_path / "until")
    if kind.command:
        return sh(f"{leave_pid(pid)}; exec sleep 60")
    return call(linger, pid, until)


def let_go(tmp_path: Path) -> None:
    write(tmp_path / "until", "now")


def test_run_returns_an_outcome(kind: Backend, worker: Any) -> None:
    """Of a job that went well: its value, and how it was run."""
    outcome = run(worker, good(kind))
    assert value(kind, outcome) == 3
    assert (outcome.status, outcome.mode) == (SUCCESSFUL, kind.mode)
    assert (outcome.error, outcome.trace, outcome.fault) == (None, None, False)


def test_a_worker_does_one_job_after_another(kind: Backend, worker: Any) -> None:
    """Good and bad ones."""
    bad = sh("exit 7") if kind.command else call(raising, ValueError("bad"))
    jobs = [good(kind), bad, good(kind), bad, bad, good(kind)]
    outcomes = [run(worker, job) for job in jobs]
    assert [outcome.ok for outcome in outcomes] == [
        True,
        False,
        True,
        False,
        False,
        True,
    ]
    assert not is_spent(worker)


ERRORS = {
    "ValueError: bad": ValueError("bad"),
    "KeyError: 'key'": KeyError("key"),
    "StopIteration: ": StopIteration(),
    "KeyboardInterrupt: ": KeyboardInterrupt(),
    "SystemExit: 3": SystemExit(3),
    "GeneratorExit: ": GeneratorExit(),
    "Own: x": Own("x"),
    "Mute: <unprintable Mute>": Mute(),
    "Deadly: <unprintable Deadly>": Deadly(),
    "UnicodeDecodeError: 'utf-8' codec can't decode byte 0xff in position 0: why": (
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "why")
    ),
}


@pytest.mark.parametrize("kind", COMMANDS.values(), ids=COMMANDS.keys())
@pytest.mark.parametrize("error", ["FileNotFoundError", "PermissionError"])
def test_run_never_raises(kind: Backend, worker: Any, error: str) -> None:
    """A program that cannot be started is a failure, and the worker goes on."""
    argv = {"FileNotFoundError": ["/no/such/program"], "PermissionError": ["/"]}
    outcome = run(worker, Command(argv[error]))
    assert outcome.error and outcome.error.startswith(f"{error}: ")
    assert (outcome.status, outcome.mode) == (FAILED, kind.mode)
    assert value(kind, run(worker, good(kind))) == 3


@pytest.mark.parametrize("kind", FUNCTIONS.values(), ids=FUNCTIONS.keys())
def test_run_never_raises_what_the_function_raises(kind: Backend, worker: Any) -> None:
    """Whatever that is: it becomes a failure, and the worker goes on."""
    for text, error in ERRORS.items():
        outcome = run(worker, call(raising, error))
        assert outcome.error == text
        assert (outcome.status, outcome.mode) == (FAILED, kind.mode)
        assert outcome.fault and outcome.retry
        assert outcome.value is None
        assert type(error).__name__ in str(outcome.trace)
    assert value(kind, run(worker, good(kind))) == 3


def test_an_exit_ends_the_job_only(kind: Backend, worker: Any) -> None:
    """`sys.exit(0)` is no success, and the worker stays."""
    if kind.command:
        outcome = run(worker, sh("exit 3"))
        assert outcome.value["returncode"] == 3
        error = "CommandExecutionError: Command exited with return code 3"
    else:
        outcome = run(worker, call(exiting, 0))
        error = "SystemExit: 0"
    assert outcome.error == error
    assert not outcome.ok
    assert value(kind, run(worker, good(kind))) == 3


def test_a_stop_before_run_prevents_it(
    kind: Backend, worker: Any, tmp_path: Path
) -> None:
    """The job does not begin."""
    worker.stop()
    assert not run(worker, long(kind, tmp_path)).ok
    assert not (tmp_path / "pid").exists()


def test_a_stop_makes_run_return_soon(
    kind: Backend, worker: Any, tmp_path: Path
) -> None:
    """Or it says that it cannot: then the job goes on to its end, as ever."""
    running = Running(worker, long(kind, tmp_path))
    pid = int(read(tmp_path / "pid"))
    assert worker.stop() is kind.stoppable
    if kind.stoppable:
        assert not running.outcome().ok
        wait_for_end_of(pid)
    else:
        assert kind.mode == "executor" or pid == os.getpid()
        assert not running.over
        let_go(tmp_path)
        assert running.outcome().value == "was let go"


def test_a_forced_stop_makes_run_return_soon(
    kind: Backend, worker: Any, tmp_path: Path
) -> None:
    """Also without the friendly one before."""
    running = Running(worker, long(kind, tmp_path))
    pid = read(tmp_path / "pid")
    assert worker.stop(force=True) is kind.stoppable
    if kind.stoppable:
        wait_for_end_of(pid)
    else:
        let_go(tmp_path)
    running.outcome()


def test_stop_is_idempotent_and_for_any_thread(
    kind: Backend, worker: Any, tmp_path: Path
) -> None:
    """Many threads at once, friendly and forced; nothing raises."""
    running = Running(worker, long(kind, tmp_path))
    read(tmp_path / "pid")
    barrier = threading.Barrier(6)
    done: list[bool] = []

    def stop(force: bool) -> None:
        barrier.wait(BOUND)
        for _ in range(5):
            worker.stop(force)
        done.append(True)

    threads = [
        threading.Thread(target=stop, args=(n > 2,), daemon=True) for n in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
    assert done == [True] * 6
    let_go(tmp_path)
    running.outcome()


def test_stop_of_an_idle_worker_does_no_harm(kind: Backend, worker: Any) -> None:
    """Neither before its first job nor after one."""
    run(worker, good(kind))
    worker.stop()
    worker.stop(force=True)


def test_stop_after_close_does_nothing(
    kind: Backend, worker: Any, close: Closing
) -> None:
    """Friendly or forced, as often as you like."""
    run(worker, good(kind))
    close()
    for force in (False, True, False):
        worker.stop(force)


def test_close_leaves_nothing_behind(
    kind: Backend, worker: Any, close: Closing
) -> None:
    """Of a worker that never worked: the guard of the tests looks for it."""
    close()


def test_mode_is_known_while_the_job_runs(
    kind: Backend, worker: Any, tmp_path: Path
) -> None:
    """For those who have to say how a job was run that they stop."""
    running = Running(worker, long(kind, tmp_path))
    read(tmp_path / "pid")
    assert mode_of(worker) == kind.mode
    worker.stop()
    let_go(tmp_path)
    running.outcome()


def test_a_job_that_goes_on_has_not_ended(
    kind: Backend, worker: Any, tmp_path: Path
) -> None:
    """A worker is asked that when the time of its job is over; it never blocks."""
    running = Running(worker, long(kind, tmp_path))
    pid = read(tmp_path / "pid")
    assert not worker.has_ended()
    if kind.command:
        worker.stop(KILL)
        wait_for_end_of(pid)
    else:
        let_go(tmp_path)
    running.outcome()
    worker.has_ended()
