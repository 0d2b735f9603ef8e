"""What is special to workers that own a process."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.util import register_after_fork
from pathlib import Path
from typing import Any, Callable

import pytest

from concurra.outcomes import FAILED, Outcome
from concurra.wording import PICKLE_WARNING
from concurra.workers.guardian import Guardian
from concurra.workers.child import RESULT_HINT
from concurra.workers.dispatcher import can_dispatch
from concurra.workers.process import ProcessWorker
from concurra.workers.transfer import SocketChannel
from tests.helpers import MARK, START_METHODS, alive, wait_until
from tests.workers.support import (
    BOUND,
    Dispatched,
    ElsewhereOnly,
    Running,
    add,
    call,
    few_descriptors,
    fork_lingering,
    forks,
    linger,
    pid_of,
    posix,
    read,
    run,
    wait_for_end_of,
    write,
)


WAYS = {
    **{method: (ProcessWorker, method) for method in START_METHODS},
    **{f"dispatched, {m}": (Dispatched, m) for m in START_METHODS if can_dispatch()},
}


@pytest.fixture(params=WAYS.values(), ids=WAYS.keys())
def worker(request: pytest.FixtureRequest, guardian: Guardian) -> ProcessWorker:
    """Closed by the fixture `close`. The grace period is longer than any test."""
    make, method = request.param
    context = multiprocessing.get_context(method)
    worker: ProcessWorker = make(context, guardian, grace=BOUND)
    return worker


# A lost process -----------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 1, 7])
def test_a_process_that_exits_is_a_failure(worker: ProcessWorker, code: int) -> None:
    """With its exit code, also 0; the worker is spent."""
    outcome = run(worker, call(os._exit, code))
    assert outcome.error == (
        f"RuntimeError: Worker process exited with code {code} during the task"
    )
    assert (outcome.status, outcome.mode, outcome.value) == (FAILED, "process", None)
    assert outcome.fault and not outcome.retry
    assert worker.spent


def kill_me(number: int) -> None:
    os.kill(os.getpid(), number)


@posix
@pytest.mark.parametrize(
    ("number", "name"),
    [
        (int(getattr(signal, "SIGKILL", 9)), "SIGKILL (signal 9, probably out of mem"),
        (int(signal.SIGTERM), "SIGTERM"),
        (int(getattr(signal, "SIGUSR1", 10)), "SIGUSR1"),
    ],
)
def test_a_process_that_is_killed_names_the_signal(
    worker: ProcessWorker, number: int, name: str
) -> None:
    """And for SIGKILL the likely cause."""
    outcome = run(worker, call(kill_me, number))
    assert outcome.error and outcome.error.startswith(
        f"RuntimeError: Worker process was killed by {name}"
    )
    assert outcome.error.endswith(" during the task")
    assert worker.spent


def close_all_files() -> None:
    os.closerange(3, 256)


def close_all_files_and_fail() -> None:
    close_all_files()
    raise ValueError("x")


def close_all_files_and_open_another() -> None:
    close_all_files()
    for _ in range(20):  # one of them has the number of the pipe
        os.open(os.devnull, os.O_RDWR)


def close_all_files_and_stay() -> None:
    close_all_files()
    threading.Event().wait(BOUND)


@pytest.mark.parametrize(
    "function",
    [
        close_all_files,
        close_all_files_and_fail,
        close_all_files_and_open_another,
        close_all_files_and_stay,
    ],
)
def test_a_process_that_loses_its_pipe_is_a_failure(
    function: Any, worker: ProcessWorker
) -> None:
    """The error says why, whether it goes on after that or ends."""
    outcome = run(worker, call(function))
    assert outcome.error == (
        "RuntimeError: Worker process was ended because it had closed its connection"
    )
    assert outcome.mode == "process" and not outcome.retry
    assert worker.spent


@posix
def test_a_job_that_did_not_begin_is_told_apart(worker: ProcessWorker) -> None:
    """The process died while it was idle: no mode, so that another may do the job."""
    pid = pid_of(worker)
    os.kill(pid, signal.SIGKILL)
    wait_for_end_of(pid)
    outcome = run(worker, call(add, 1))
    assert (outcome.status, outcome.mode) == (FAILED, None)
    assert worker.spent


def interrupt_the_next_wait() -> None:
    """Have the worker interrupted when it turns to the next job, and never again."""

    def strike(frame: Any, event: str, arg: object) -> None:
        if frame.f_code is SocketChannel.receive.__code__:
            sys.settrace(None)
            raise KeyboardInterrupt

    sys.settrace(strike)


def test_an_idle_interrupt_is_no_answer(worker: ProcessWorker) -> None:
    """There is no job that it could answer: every later answer would be another's."""
    assert run(worker, call(interrupt_the_next_wait)).ok
    outcomes = [run(worker, call(add, n)) for n in range(3)]
    assert worker.spent
    assert [outcome.value for outcome in outcomes] == [None] * 3
    assert [outcome.warning for outcome in outcomes] == [None] * 3


@pytest.mark.parametrize("first", [True, False])
def test_an_answer_that_nobody_waited_for_is_no_other_jobs(
    worker: ProcessWorker, first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the thread that waits for it cannot do that, the worker is spent."""
    if not first:
        assert run(worker, call(add, 1, 1)).value == 2

    def fail(*args: object) -> object:
        raise MemoryError("no memory to wait")

    with monkeypatch.context() as patch:
        patch.setattr(worker._pipe, "arrive", fail)
        assert run(worker, call(add, 2, 2)).error == "MemoryError: no memory to wait"
    assert worker.spent
    assert not run(worker, call(add, 3, 3)).ok


class NeverPickled:
    """Refuses to be pickled, in a way of its own."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        raise self.error


def make_unpicklable() -> Any:
    return lambda: None


def make_refusing() -> NeverPickled:
    return NeverPickled(SystemExit(5))


def test_a_result_that_cannot_be_pickled(worker: ProcessWorker) -> None:
    """Is a failure that no other attempt mends, and the process goes on."""
    pid = pid_of(worker)
    for func in (make_unpicklable, make_refusing):
        outcome = run(worker, call(func))
        assert (outcome.status, outcome.mode) == (FAILED, "process")
        assert not outcome.retry
        assert outcome.error and str(outcome.trace).endswith(RESULT_HINT)
    assert outcome.error == "SystemExit: Could not record task result: 5"
    assert pid_of(worker) == pid


def test_a_result_that_cannot_be_unpickled(worker: ProcessWorker) -> None:
    """Here; the same."""
    outcome = run(worker, call(ElsewhereOnly))
    assert outcome.error == "ValueError: Could not record task result: not here"
    assert str(outcome.trace).endswith(RESULT_HINT)
    assert (outcome.status, outcome.mode) == (FAILED, "process")
    assert not outcome.retry
    assert run(worker, call(add, 1, 2)).value == 3


def test_arguments_that_cannot_be_unpickled(worker: ProcessWorker) -> None:
    """There: the job never began, as if it could not be pickled."""
    outcome = run(worker, call(repr, ElsewhereOnly()))
    assert outcome.error == "ValueError: not here"
    assert (outcome.status, outcome.mode) == (FAILED, None)
    assert outcome.warning == PICKLE_WARNING
    assert not outcome.retry
    assert run(worker, call(add, 1, 2)).value == 3


NOT_TO_BE_PICKLED = {
    "function": call(lambda: None),
    "argument": call(repr, lambda: None),
    "keyword": call(repr, key=NeverPickled(ValueError("no"))),
    "SystemExit": call(repr, NeverPickled(SystemExit(1))),
    "KeyboardInterrupt": call(repr, NeverPickled(KeyboardInterrupt())),
}


def test_a_job_that_cannot_be_pickled(worker: ProcessWorker) -> None:
    """Never begins, and says so; the worker goes on."""
    for name, job in NOT_TO_BE_PICKLED.items():
        outcome = run(worker, job)
        assert (outcome.status, outcome.mode) == (FAILED, None), name
        assert outcome.warning == PICKLE_WARNING
        assert not outcome.retry
        assert run(worker, call(add, 1, 2)).value == 3, name


def test_large_arguments_and_results(worker: ProcessWorker) -> None:
    """Larger than any pipe's buffer, there and back."""
    large = bytes(range(256)) * 20_000
    assert run(worker, call(bytes, large)).value == large


def test_the_error_of_a_task_comes_with_its_trace(worker: ProcessWorker) -> None:
    """Which begins in the task's own code."""
    outcome = run(worker, call(divide, 1, 0))
    assert outcome.error == "ZeroDivisionError: division by zero"
    trace = str(outcome.trace)
    assert "in divide" in trace
    assert "concurra" not in trace.replace(str(Path(__file__)), "")


def divide(first: int, second: int) -> float:
    return first / second


# The surroundings of a task -----------------------------------------------------------


def spoil(folder: str) -> None:
    os.environ["CONCURRA_NEW"] = "1"
    os.environ["PATH"] = "changed"
    del os.environ[MARK]
    os.chdir(folder)


def look() -> tuple[str, dict[str, str]]:
    return os.getcwd(), dict(os.environ)


def test_directory_and_environment_are_put_back(
    worker: ProcessWorker, tmp_path: Path
) -> None:
    """After each task, also one that fails: none disturbs the next."""
    before = run(worker, call(look)).value
    assert before[0] == os.getcwd()
    assert MARK in before[1]
    for folder, ok in ((tmp_path, True), (tmp_path / "nowhere", False)):
        assert run(worker, call(spoil, str(folder))).ok is ok
        assert run(worker, call(look)).value == before


def redirect(path: str) -> int:
    sys.stdout = sys.stderr = open(path, "w")
    print("mine", end="")
    return os.getpid()


def streams() -> tuple[int, list[str]]:
    return os.getpid(), [sys.stdin.name, sys.stdout.name, sys.stderr.name]


def test_streams_are_put_back(worker: ProcessWorker, tmp_path: Path) -> None:
    """What the next task prints does not go where the last one has sent its own."""
    before = run(worker, call(streams)).value
    pid = run(worker, call(redirect, str(tmp_path / "log"))).value
    assert (tmp_path / "log").read_text() == "mine"
    assert run(worker, call(streams)).value == before
    assert before[0] == pid


@forks
def test_a_stream_that_was_closed_before_costs_nothing(
    guardian: Guardian, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program without standard output keeps its processes."""
    with open(os.devnull, "w") as closed:
        pass
    monkeypatch.setattr(sys, "stdout", closed)
    worker = ProcessWorker(multiprocessing.get_context("fork"), guardian, grace=BOUND)
    try:
        assert pid_of(worker) == pid_of(worker)
    finally:
        worker.close()


def leave_timers(seconds: float) -> None:
    for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
        signal.setitimer(timer, seconds)


def timers() -> list[float]:
    kinds = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
    return [signal.getitimer(each)[0] for each in kinds]


@posix
def test_a_timer_that_a_task_has_left_does_not_strike_the_next(
    worker: ProcessWorker,
) -> None:
    """It would kill it, or raise an error that is not its own."""
    assert run(worker, call(leave_timers, 1000.0)).ok
    assert run(worker, call(timers)).value == [0.0, 0.0, 0.0]


def leave_directory(folder: str) -> int:
    os.chdir(folder)
    return os.getpid()


@forks
@pytest.mark.parametrize("enter", [True, False])
def test_a_directory_that_cannot_be_read(
    guardian: Guardian, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, enter: bool
) -> None:
    """It is put back as well if the system can open what may be entered; and if not,
    tasks do their work all the same."""
    real_open = os.open

    def refuse(path: str, flags: int, *args: Any) -> int:
        if path == "." and not (enter and flags & getattr(os, "O_PATH", 0)):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real_open(path, flags, *args)

    monkeypatch.setattr(os, "open", refuse)
    worker = ProcessWorker(multiprocessing.get_context("fork"), guardian, grace=BOUND)
    try:
        first = run(worker, call(leave_directory, str(tmp_path)))
        assert (first.ok, first.error) == (True, None)
        after = os.getcwd() if enter and hasattr(os, "O_PATH") else str(tmp_path)
        assert run(worker, call(os.getcwd)).value == after
        assert pid_of(worker) == first.value
    finally:
        worker.close()


def print_partly(path: str) -> None:
    sys.stdout = open(path, "w")
    print("no newline", end="")


def test_what_a_task_prints_is_not_held_back(
    worker: ProcessWorker, tmp_path: Path
) -> None:
    """It is out when the task has ended, though the process lives on."""
    assert run(worker, call(print_partly, str(tmp_path / "out"))).ok
    assert (tmp_path / "out").read_text() == "no newline"


def signals() -> tuple[list[bool], list[int]]:
    numbers = signal.SIGTERM, signal.SIGUSR1
    default = [signal.getsignal(number) == signal.SIG_DFL for number in numbers]
    return default, sorted(signal.pthread_sigmask(signal.SIG_BLOCK, []))


@posix
def test_signal_handlers_and_mask_are_the_defaults(
    guardian: Guardian, start_method: str
) -> None:
    """Whatever the host program has set: a stop must be able to end the process."""
    old = {
        number: signal.signal(number, lambda *args: None)
        for number in (signal.SIGTERM, signal.SIGUSR1)
    }
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR2])
    try:
        context = multiprocessing.get_context(start_method)
        worker = ProcessWorker(context, guardian, grace=BOUND)
        try:
            assert run(worker, call(signals)).value == ([True, True], [])
        finally:
            worker.close()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in old.items():
            signal.signal(number, handler)


class SignalAtFork:
    """While it is there, each forked worker gets a signal before it runs our code."""

    def __init__(self, number: int) -> None:
        self._number = number
        register_after_fork(self, SignalAtFork._strike)

    def _strike(self) -> None:
        os.kill(os.getpid(), self._number)


@contextmanager
def host_handles(number: int) -> Iterator[tuple[list[int], socket.socket]]:
    """A program with a handler and a wakeup fd, as asyncio has; what they are told."""
    told: list[int] = []
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
    wakeup = signal.set_wakeup_fd(theirs.fileno())
    handler = signal.signal(number, lambda *args: told.append(os.write(1, b"handled")))
    try:
        yield told, ours
    finally:
        signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup)
        ours.close()
        theirs.close()


@forks
def test_a_stop_at_the_fork_of_a_worker_does_not_reach_the_host(
    guardian: Guardian, capfd: pytest.CaptureFixture[str]
) -> None:
    """SIGTERM ends the worker, by none of the handlers that it was forked with."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    context = multiprocessing.get_context("fork")
    with host_handles(signal.SIGTERM) as (told, wakeups):
        at_fork = SignalAtFork(signal.SIGTERM)
        worker = ProcessWorker(context, guardian, grace=BOUND)
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask
        outcome = run(worker, call(add, 1))
        with pytest.raises(BlockingIOError):
            wakeups.recv(1)
        os.kill(os.getpid(), signal.SIGTERM)
        wait_until(lambda: told, what="the host's own SIGTERM")
    del at_fork
    assert outcome.error and "SIGTERM before it was ready" in outcome.error
    assert capfd.readouterr().out == "handled", "once, by the host"


@forks
def test_a_worker_at_its_fork_is_not_interrupted_with_its_host(
    guardian: Guardian,
) -> None:
    """Ctrl-C is for the whole group of the host, which the worker is about to leave."""
    at_fork = SignalAtFork(signal.SIGINT)
    context = multiprocessing.get_context("fork")
    worker = ProcessWorker(context, guardian, grace=BOUND)
    del at_fork
    try:
        assert run(worker, call(add, 1, 2)).value == 3
    finally:
        worker.close()


@posix
def test_an_interrupt_of_the_task_ends_the_task_only(worker: ProcessWorker) -> None:
    """SIGINT raises `KeyboardInterrupt` there, as everywhere."""
    outcome = run(worker, call(kill_me, int(signal.SIGINT)))
    assert outcome.error == "KeyboardInterrupt: "
    assert run(worker, call(add, 1, 2)).value == 3


def family() -> tuple[int, int, int]:
    return os.getpid(), os.getpgrp(), os.getsid(0)


@posix
def test_a_worker_leads_a_session_of_its_own(worker: ProcessWorker) -> None:
    """Ctrl-C in the terminal does not reach it, and a stop reaches its groups."""
    assert len(set(run(worker, call(family)).value)) == 1


def daemons() -> list[bool]:
    main = threading.main_thread()
    return [threading.current_thread() is main, main.daemon, threading.Thread().daemon]


def test_the_threads_of_tasks_are_no_daemons(
    guardian: Guardian, start_method: str
) -> None:
    """Unless they say so, though the scheduler's threads, which fork, are."""
    context = multiprocessing.get_context(start_method)
    workers: list[ProcessWorker] = []

    def hire() -> None:
        workers.append(ProcessWorker(context, guardian, grace=BOUND))

    thread = threading.Thread(target=hire, daemon=True)
    thread.start()
    thread.join(BOUND)
    (worker,) = workers
    try:
        assert run(worker, call(daemons)).value == [True, False, False]
    finally:
        worker.close()


def fork_and_exit(pid_file: str, until: str) -> None:
    fork_lingering(pid_file, until, True)
    os._exit(4)


@forks
def test_a_forked_grandchild_keeps_nothing(
    worker: ProcessWorker, tmp_path: Path
) -> None:
    """The worker's death is noticed while the grandchild lives on."""
    pid_file, until = str(tmp_path / "pid"), str(tmp_path / "until")
    running = Running(worker, call(fork_and_exit, pid_file, until))
    outcome = running.outcome()
    assert outcome.error == (
        "RuntimeError: Worker process exited with code 4 during the task"
    )
    grandchild = int(read(pid_file))
    assert alive(grandchild)
    write(until, "now")
    wait_for_end_of(grandchild)


@forks
def test_close_does_not_wait_for_a_grandchild(
    worker: ProcessWorker, close: Callable[[], None], tmp_path: Path
) -> None:
    """One that has gone into a session of its own lives on."""
    pid_file, until = str(tmp_path / "pid"), str(tmp_path / "until")
    assert run(worker, call(fork_lingering, pid_file, until, True)).ok
    close()
    grandchild = int(read(pid_file))
    assert alive(grandchild)
    write(until, "now")
    wait_for_end_of(grandchild)


@forks
@pytest.mark.parametrize("way", ["close", "stop", "force"])
def test_the_group_ends_with_the_worker(
    worker: ProcessWorker, close: Callable[[], None], tmp_path: Path, way: str
) -> None:
    """What its tasks have started and left in its group."""
    pid_file = str(tmp_path / "pid")
    assert run(worker, call(fork_lingering, pid_file, "never", False)).ok
    if way != "close":
        worker.stop(force=way == "force")
    close()
    wait_for_end_of(read(pid_file))


def linger_undisturbed(pid_file: str) -> str:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return linger(pid_file, "never")


@posix
def test_a_task_that_ignores_the_stop_is_killed_by_force(
    worker: ProcessWorker, tmp_path: Path
) -> None:
    """SIGKILL cannot be ignored."""
    running = Running(worker, call(linger_undisturbed, str(tmp_path / "pid")))
    pid = int(read(tmp_path / "pid"))
    assert worker.stop()
    assert alive(pid) and not running.over
    worker.stop(force=True)
    outcome: Outcome = running.outcome()
    assert outcome.error and "SIGKILL" in outcome.error
    wait_for_end_of(pid)


def test_a_sibling_keeps_nothing(guardian: Guardian, tmp_path: Path) -> None:
    """A worker ends by the end of its pipe, whoever was started after it."""
    context = multiprocessing.get_context(START_METHODS[0])
    first = ProcessWorker(context, guardian, grace=BOUND)
    second = ProcessWorker(context, guardian, grace=BOUND)
    other = context.Process(  # type: ignore[attr-defined]
        target=linger, args=(str(tmp_path / "pid"), str(tmp_path / "until"))
    )
    other.start()
    try:
        assert run(first, call(add, 1)).ok
        pid = pid_of(first)
        first.close()
        assert not alive(pid)
        assert run(second, call(add, 1)).ok
        assert other.is_alive()
    finally:
        second.close()
        write(tmp_path / "until", "now")
        other.join(BOUND)
        other.close()


@pytest.mark.parametrize("left", [*range(14), 40])
@pytest.mark.parametrize("method", START_METHODS)
def test_a_start_that_lacks_descriptors_leaves_none_open(
    method: str, left: int, guardian: Guardian
) -> None:
    """Python's own starts do: the leak guard sees what is left."""
    context = multiprocessing.get_context(method)
    guardian.start()
    try:
        with few_descriptors(left):
            worker = ProcessWorker(context, guardian)
    except OSError as error:
        assert left < 40, error
    else:
        assert run(worker, call(add, 1, 2)).value == 3
        worker.close()


class Foreign(socket.socket):
    """A socket of another library, which `multiprocessing` cannot pass on."""

    def __getstate__(self) -> object:
        raise TypeError("Cannot serialize socket object")


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs socket pairs")
@pytest.mark.parametrize("method", START_METHODS)
def test_the_pipe_is_a_socket_of_another_library(
    guardian: Guardian, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """As where gevent has taken the place of the module `socket`, late."""
    monkeypatch.setattr(socket, "socket", Foreign)
    worker = ProcessWorker(multiprocessing.get_context(method), guardian, grace=BOUND)
    try:
        assert run(worker, call(add, 1, 2)).value == 3
    finally:
        worker.close()
