"""What is special to workers that own a process."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import socket
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.util import register_after_fork
from pathlib import Path
from typing import Any, Callable

import pytest

from concurra.outcomes import FAILED, TERMINATED, UNAVAILABLE, Outcome
from concurra.tasks import Call
from concurra.wording import PICKLE_WARNING
from concurra.workers.guardian import Guardian
from concurra.workers.crew import Crew, Hand
from concurra.workers.process import RESULT_HINT, ProcessWorker
from concurra.workers.transfer import SocketChannel
from tests.helpers import MARK, START_METHODS, alive, descendants, wait_until
from tests.workers.support import (
    BOUND,
    Running,
    add,
    call,
    few_descriptors,
    linger,
    read,
    sh,
    wait_for_end_of,
    write,
)

posix = pytest.mark.skipif(os.name != "posix", reason="signals and groups are POSIX")
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


@pytest.fixture(params=START_METHODS)
def worker(request: pytest.FixtureRequest, guardian: Guardian) -> ProcessWorker:
    """Closed by the fixture `close`. The grace period is longer than any test."""
    context = multiprocessing.get_context(request.param)
    return ProcessWorker(context, guardian, grace=BOUND)


@pytest.fixture
def crew() -> Iterator[Callable[..., Crew]]:
    """Makes crews whose functions run in processes; closed when the test ends."""
    crews: list[Crew] = []

    def make(**options: Any) -> Crew:
        context = multiprocessing.get_context(START_METHODS[0])
        crews.append(Crew(context, grace=BOUND, **options))
        return crews[-1]

    yield make
    for each in crews:
        each.close()


@pytest.fixture
def hand(crew: Callable[..., Crew]) -> Iterator[Hand]:
    made = crew().hire()
    yield made
    made.close()


def pid_of(worker: Any) -> int:
    outcome = worker.run(call(os.getpid))
    assert outcome.ok, outcome.error
    pid: int = outcome.value
    return pid


# A lost process -----------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 1, 7])
def test_a_process_that_exits_is_a_failure(worker: ProcessWorker, code: int) -> None:
    """With its exit code, also 0; the worker is spent."""
    outcome = worker.run(call(os._exit, code))
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
    outcome = worker.run(call(kill_me, number))
    assert outcome.error and outcome.error.startswith(
        f"RuntimeError: Worker process was killed by {name}"
    )
    assert outcome.error.endswith(" during the task")
    assert worker.spent


def close_all_files() -> None:
    os.closerange(3, 256)


def test_a_process_that_loses_its_pipe_is_a_failure(worker: ProcessWorker) -> None:
    """It closed its own end: nobody will hear of it again."""
    outcome = worker.run(call(close_all_files))
    assert outcome.status == FAILED
    assert outcome.error and outcome.error.startswith("RuntimeError: Worker process ")
    assert worker.spent


def close_all_files_and_stay() -> None:
    close_all_files()
    threading.Event().wait(BOUND)


def test_a_process_that_stays_without_its_pipe_is_ended(worker: ProcessWorker) -> None:
    """The error says why, and nothing of the signal that ended it."""
    outcome = worker.run(call(close_all_files_and_stay))
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
    outcome = worker.run(call(add, 1))
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
    assert worker.run(call(interrupt_the_next_wait)).ok
    outcomes = [worker.run(call(add, n)) for n in range(3)]
    assert worker.spent
    assert [outcome.value for outcome in outcomes] == [None] * 3
    assert [outcome.warning for outcome in outcomes] == [None] * 3


@pytest.mark.parametrize("first", [True, False])
def test_an_answer_that_nobody_waited_for_is_no_other_jobs(
    worker: ProcessWorker, first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the thread that waits for it cannot do that, the worker is spent."""
    if not first:
        assert worker.run(call(add, 1, 1)).value == 2

    def fail(pipe: object) -> bool:
        raise MemoryError("no memory to wait")

    with monkeypatch.context() as patch:
        patch.setattr(worker._exit, "or_readable", fail)
        assert worker.run(call(add, 2, 2)).error == "MemoryError: no memory to wait"
    assert worker.spent
    assert not worker.run(call(add, 3, 3)).ok


@posix
def test_an_idle_death_costs_no_job(hand: Hand) -> None:
    """Another process does it."""
    first = pid_of(hand)
    os.kill(first, signal.SIGKILL)
    wait_for_end_of(first)
    assert pid_of(hand) != first


@posix
def test_processes_that_die_before_their_first_job_cost_none(
    crew: Callable[..., Crew],
) -> None:
    """However many: a hand is given one that lives."""
    made = crew(stock=lambda: 3)
    made.prepare()
    for worker in made._stock:
        os.kill(worker._process.pid, signal.SIGKILL)
        wait_until(lambda: not worker.alive, what="its end")
    hand = made.hire()
    try:
        assert hand.run(call(add, 1, 2)).value == 3
    finally:
        hand.close()


def test_processes_that_were_not_needed_have_one_period_to_end(
    crew: Callable[..., Crew],
) -> None:
    """All are told before the first is waited for."""
    made = crew(stock=lambda: 3)
    made.prepare()
    seen = []

    class Last(ProcessWorker):
        def close(self) -> None:
            seen.append([each.spent for each in stock])
            super().close()

    stock = list(made._stock)
    for worker in stock:
        worker.__class__ = Last
    made.close()
    assert seen == [[True] * 3] * 3


@contextmanager
def abandoned(hand: Hand, job: Callable[[Callable[[], None]], Any]) -> Iterator[None]:
    """While the hand, which nobody waits for any more, is at a job that goes on.

    :param job: makes the job from what it is to do, which falls back to a thread.
    """
    begun, over = threading.Event(), threading.Event()

    def stay() -> None:
        begun.set()
        assert over.wait(BOUND)

    running = Running(hand, job(stay))
    try:
        assert begun.wait(BOUND)
        hand.dismiss()
        assert not hand.stop()
        hand.abandon()
        yield
    finally:
        over.set()
        running.outcome()
        hand.close()


def test_who_is_abandoned_holds_no_idle_process(crew: Callable[..., Crew]) -> None:
    """A job that fell back to a thread may go on for ever; its process does not."""
    hand = crew(fallback=True).hire()
    pid = pid_of(hand)
    with abandoned(hand, call):
        assert not alive(pid)


class Unwelcome:
    """Cannot be unpickled, so its job falls back to a thread."""

    def __reduce__(self) -> Any:
        return int, ("not a number",)


#: What a fallback in this process is to do; a worker process never comes to it.
STAYS: list[Callable[[], None]] = []


def stay_as_told(unwelcome: Unwelcome) -> None:
    STAYS.pop()()


def test_who_is_abandoned_holds_no_spent_process(crew: Callable[..., Crew]) -> None:
    """One that has done its number of jobs is buried, not only asked to end."""
    hand = crew(fallback=True, max_tasks=1).hire()
    before = {child.pid for child in descendants(os.getpid())}

    def job(stay: Callable[[], None]) -> Any:
        STAYS.append(stay)
        return call(stay_as_told, Unwelcome())

    with abandoned(hand, job):
        left = {child.pid for child in descendants(os.getpid())} - before
        assert len(left) <= 1, "the guardian may be left"
        assert not hand.untidy


def test_who_is_stopped_starts_no_process(
    crew: Callable[..., Crew], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be of no use, and would have to be waited for."""
    made = crew()
    hand = made.hire()
    hand.stop()
    monkeypatch.delattr(made, "_makers")
    assert hand.run(call(add, 1)).status == TERMINATED


def test_a_process_that_was_started_meanwhile_is_stopped(
    crew: Callable[..., Crew], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stop came too early for it, and it may take long to be ready."""
    made = crew()
    hand = made.hire()
    process = made.tool(Call)

    def tool(kind: type) -> Any:
        hand.stop()
        return process

    monkeypatch.setattr(made, "tool", tool)
    assert hand.run(call(add, 1)).status == TERMINATED
    wait_until(lambda: not process.alive, BOUND, "the end of the process")
    hand.close()


def test_what_cannot_be_closed_is_left_alone(
    crew: Callable[..., Crew], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By whoever lets go of it: the watchman, for one, has others to look after."""
    made = crew()
    hand = made.hire()
    pid_of(hand)
    (tool,) = hand._tools.values()
    closings = []

    def close() -> None:
        closings.append(ProcessWorker.close(tool))
        raise OSError(errno.EBADF, "another has closed it")

    monkeypatch.setattr(tool, "close", close)
    hand.forget()
    hand.abandon()
    assert closings == [None]


@posix
def test_a_crash_is_not_repeated(hand: Hand, tmp_path: Path) -> None:
    """The job had begun, so it is not for a worker to begin it again."""
    outcome = hand.run(call(crash_and_count, str(tmp_path / "count")))
    assert outcome.error == (
        "RuntimeError: Worker process exited with code 3 during the task"
    )
    assert (tmp_path / "count").read_text() == "x"
    assert hand.run(call(add, 1, 2)).value == 3


def crash_and_count(path: str) -> None:
    with open(path, "a") as file:
        file.write("x")
    os._exit(3)


def test_a_process_is_replaced_after_its_last_task(crew: Callable[..., Crew]) -> None:
    """With `max_tasks`, failures counted as well."""
    hand = crew(max_tasks=2).hire()
    try:
        first, second = pid_of(hand), pid_of(hand)
        third = pid_of(hand)
        assert not hand.run(call(sys.exit, 1)).ok
        fourth = pid_of(hand)
    finally:
        hand.close()
    assert first == second
    assert len({first, third, fourth}) == 3


def test_without_a_limit_a_process_serves_for_life(hand: Hand) -> None:
    """One process for all jobs of a hand."""
    assert len({pid_of(hand) for _ in range(20)}) == 1


# What goes through the pipe -----------------------------------------------------------


class ElsewhereOnly:
    """Can be pickled, but unpickled only in the process that made it."""

    def __reduce__(self) -> Any:
        return explode_elsewhere, (os.getpid(),)


def explode_elsewhere(pid: int) -> ElsewhereOnly:
    if os.getpid() != pid:
        raise ValueError("not here")
    return ElsewhereOnly()


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
        outcome = worker.run(call(func))
        assert (outcome.status, outcome.mode) == (FAILED, "process")
        assert not outcome.retry
        assert outcome.error and str(outcome.trace).endswith(RESULT_HINT)
    assert outcome.error == "SystemExit: Could not record task result: 5"
    assert pid_of(worker) == pid


def test_a_result_that_cannot_be_unpickled(worker: ProcessWorker) -> None:
    """Here; the same."""
    outcome = worker.run(call(ElsewhereOnly))
    assert outcome.error == "ValueError: Could not record task result: not here"
    assert str(outcome.trace).endswith(RESULT_HINT)
    assert (outcome.status, outcome.mode) == (FAILED, "process")
    assert not outcome.retry
    assert worker.run(call(add, 1, 2)).value == 3


def test_arguments_that_cannot_be_unpickled(worker: ProcessWorker) -> None:
    """There: the job never began, as if it could not be pickled."""
    outcome = worker.run(call(repr, ElsewhereOnly()))
    assert outcome.error == "ValueError: not here"
    assert (outcome.status, outcome.mode) == (FAILED, None)
    assert outcome.warning == PICKLE_WARNING
    assert not outcome.retry
    assert worker.run(call(add, 1, 2)).value == 3


@pytest.mark.parametrize(
    "job",
    [
        call(lambda: None),
        call(repr, lambda: None),
        call(repr, key=NeverPickled(ValueError("no"))),
        call(repr, NeverPickled(SystemExit(1))),
        call(repr, NeverPickled(KeyboardInterrupt())),
    ],
    ids=["function", "argument", "keyword", "SystemExit", "KeyboardInterrupt"],
)
def test_a_job_that_cannot_be_pickled(worker: ProcessWorker, job: Any) -> None:
    """Never begins, and says so; the worker goes on."""
    outcome = worker.run(job)
    assert (outcome.status, outcome.mode) == (FAILED, None)
    assert outcome.warning == PICKLE_WARNING
    assert not outcome.retry
    assert worker.run(call(add, 1, 2)).value == 3


def test_large_arguments_and_results(worker: ProcessWorker) -> None:
    """Larger than any pipe's buffer, there and back."""
    large = bytes(range(256)) * 20_000
    assert worker.run(call(bytes, large)).value == large


def test_the_error_of_a_task_comes_with_its_trace(worker: ProcessWorker) -> None:
    """Which begins in the task's own code."""
    outcome = worker.run(call(divide, 1, 0))
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
    before = worker.run(call(look)).value
    assert before[0] == os.getcwd()
    assert MARK in before[1]
    for folder, ok in ((tmp_path, True), (tmp_path / "nowhere", False)):
        assert worker.run(call(spoil, str(folder))).ok is ok
        assert worker.run(call(look)).value == before


def close_all_directories() -> str:
    for fd in range(3, 256):
        try:
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                os.close(fd)
        except OSError:
            pass
    return "well done"


def replace_environment() -> str:
    os.environ = None  # type: ignore[assignment]
    return "well done"


@posix
@pytest.mark.parametrize("spoil", [close_all_directories, replace_environment])
def test_what_cannot_be_put_back_costs_the_process_only(
    hand: Hand, spoil: Callable[[], str]
) -> None:
    """Neither the task that has done it, nor the next: that has another process."""
    for _ in range(5):
        assert hand.run(call(spoil)).value == "well done"
        outcome = hand.run(call(os.getcwd))
        assert outcome.value == os.getcwd(), outcome.error


def redirect(path: str) -> int:
    sys.stdout = sys.stderr = open(path, "w")
    print("mine", end="")
    return os.getpid()


def streams() -> tuple[int, list[str]]:
    return os.getpid(), [sys.stdin.name, sys.stdout.name, sys.stderr.name]


def test_streams_are_put_back(worker: ProcessWorker, tmp_path: Path) -> None:
    """What the next task prints does not go where the last one has sent its own."""
    before = worker.run(call(streams)).value
    pid = worker.run(call(redirect, str(tmp_path / "log"))).value
    assert (tmp_path / "log").read_text() == "mine"
    assert worker.run(call(streams)).value == before
    assert before[0] == pid


def close_stdout() -> int:
    sys.stdout.close()
    return os.getpid()


def say(text: str) -> int:
    print(text)
    return os.getpid()


def test_a_stream_that_was_closed_costs_the_process_only(hand: Hand) -> None:
    """The next task has another one, in which it can print."""
    first = hand.run(call(close_stdout))
    second = hand.run(call(say, "well"))
    assert (first.ok, second.ok) == (True, True), second.error
    assert second.value != first.value


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
    assert worker.run(call(leave_timers, 1000.0)).ok
    assert worker.run(call(timers)).value == [0.0, 0.0, 0.0]


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
        first = worker.run(call(leave_directory, str(tmp_path)))
        assert (first.ok, first.error) == (True, None)
        after = os.getcwd() if enter and hasattr(os, "O_PATH") else str(tmp_path)
        assert worker.run(call(os.getcwd)).value == after
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
    assert worker.run(call(print_partly, str(tmp_path / "out"))).ok
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
            assert worker.run(call(signals)).value == ([True, True], [])
        finally:
            worker.close()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in old.items():
            signal.signal(number, handler)


class Newborn:
    """While it is there, each forked worker gets a signal before it runs our code."""

    def __init__(self, number: int) -> None:
        self._number = number
        register_after_fork(self, Newborn._strike)

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
def test_a_stop_of_a_newborn_worker_does_not_reach_the_host(
    guardian: Guardian, capfd: pytest.CaptureFixture[str]
) -> None:
    """SIGTERM ends the worker, by none of the handlers that it was forked with."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    context = multiprocessing.get_context("fork")
    with host_handles(signal.SIGTERM) as (told, wakeups):
        newborn = Newborn(signal.SIGTERM)
        worker = ProcessWorker(context, guardian, grace=BOUND)
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask
        outcome = worker.run(call(add, 1))
        with pytest.raises(BlockingIOError):
            wakeups.recv(1)
        os.kill(os.getpid(), signal.SIGTERM)
        wait_until(lambda: told, what="the host's own SIGTERM")
    del newborn
    assert outcome.error and "SIGTERM before it was ready" in outcome.error
    assert capfd.readouterr().out == "handled", "once, by the host"


@forks
def test_a_newborn_worker_is_not_interrupted_with_its_host(guardian: Guardian) -> None:
    """Ctrl-C is for the whole group of the host, which the worker is about to leave."""
    newborn = Newborn(signal.SIGINT)
    context = multiprocessing.get_context("fork")
    worker = ProcessWorker(context, guardian, grace=BOUND)
    del newborn
    try:
        assert worker.run(call(add, 1, 2)).value == 3
    finally:
        worker.close()


@posix
def test_an_interrupt_of_the_task_ends_the_task_only(worker: ProcessWorker) -> None:
    """SIGINT raises `KeyboardInterrupt` there, as everywhere."""
    outcome = worker.run(call(kill_me, int(signal.SIGINT)))
    assert outcome.error == "KeyboardInterrupt: "
    assert worker.run(call(add, 1, 2)).value == 3


def family() -> tuple[int, int, int]:
    return os.getpid(), os.getpgrp(), os.getsid(0)


@posix
def test_a_worker_leads_a_session_of_its_own(worker: ProcessWorker) -> None:
    """Ctrl-C in the terminal does not reach it, and a stop reaches its children."""
    assert len(set(worker.run(call(family)).value)) == 1


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
        assert worker.run(call(daemons)).value == [True, False, False]
    finally:
        worker.close()


def use_multiprocessing() -> int | None:
    child = multiprocessing.get_context("spawn").Process(target=add, args=(1,))
    child.start()
    child.join(BOUND)
    return child.exitcode


def test_a_task_may_start_processes(hand: Hand) -> None:
    """A worker is no daemon in the sense of `multiprocessing`."""
    outcome = hand.run(call(use_multiprocessing))
    assert (outcome.value, outcome.error) == (0, None)


# Grandchildren ------------------------------------------------------------------------


def fork_lingering(pid_file: str, until: str, session: bool) -> None:
    """Fork a child that lingers, in a session of its own or in the worker's."""
    if os.fork() == 0:
        try:
            if session:
                os.setsid()
            linger(pid_file, until)
        finally:
            os._exit(0)
    read(pid_file)


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
def test_a_grandchild_does_not_hide_an_idle_death(hand: Hand, tmp_path: Path) -> None:
    """It has nothing of the worker's pipe, so the next job is not sent there."""
    pid_file, until = str(tmp_path / "pid"), str(tmp_path / "until")
    first = pid_of(hand)
    assert hand.run(call(fork_lingering, pid_file, until, True)).ok
    os.kill(first, signal.SIGKILL)
    wait_for_end_of(first)
    assert pid_of(hand) != first
    write(until, "now")
    wait_for_end_of(read(pid_file))


@forks
def test_close_does_not_wait_for_a_grandchild(
    worker: ProcessWorker, close: Callable[[], None], tmp_path: Path
) -> None:
    """One that has gone into a session of its own lives on."""
    pid_file, until = str(tmp_path / "pid"), str(tmp_path / "until")
    assert worker.run(call(fork_lingering, pid_file, until, True)).ok
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
    assert worker.run(call(fork_lingering, pid_file, "never", False)).ok
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
        assert first.run(call(add, 1)).ok
        pid = pid_of(first)
        first.close()
        assert not alive(pid)
        assert second.run(call(add, 1)).ok
        assert other.is_alive()
    finally:
        second.close()
        write(tmp_path / "until", "now")
        other.join(BOUND)
        other.close()


# The crew -----------------------------------------------------------------------------


def test_prepared_processes_are_used_first(crew: Callable[..., Crew]) -> None:
    """And those that nobody used are closed with the crew."""
    prepared = crew(stock=lambda: 3)
    before = {child.pid for child in descendants(os.getpid())}
    prepared.prepare()
    known = {child.pid for child in descendants(os.getpid())} - before
    assert len(known) == 4  # with their guardian
    hand = prepared.hire()
    try:
        assert pid_of(hand) in known
    finally:
        hand.close()


def test_a_function_that_cannot_be_pickled_may_run_in_a_thread(
    crew: Callable[..., Crew],
) -> None:
    """If the crew allows it; the outcome has a warning, and the next job a process."""
    hand = crew(fallback=True).hire()
    try:
        outcome = hand.run(call(lambda: os.getpid()))
        assert (outcome.value, outcome.mode) == (os.getpid(), "thread_fallback")
        assert outcome.warning == "Task was not picklable; ran in thread fallback"
        assert pid_of(hand) != os.getpid()
    finally:
        hand.close()


def test_a_job_that_cannot_be_unpickled_may_run_in_a_thread(
    crew: Callable[..., Crew],
) -> None:
    """It has not begun in the process; there is one attempt, with any limit."""
    for limit in (None, 1):
        hand = crew(fallback=True, max_tasks=limit).hire()
        try:
            outcome = hand.run(call(isinstance, ElsewhereOnly(), ElsewhereOnly))
            assert outcome.mode == "thread_fallback"
            assert outcome.warning == "Task was not picklable; ran in thread fallback"
            assert outcome.value is True
            assert pid_of(hand) != os.getpid()
        finally:
            hand.close()


def test_without_the_fallback_it_fails(hand: Hand) -> None:
    """With the pickling error, a warning, and in the trace what can be done."""
    outcome = hand.run(call(lambda: None))
    assert (outcome.status, outcome.mode) == (FAILED, None)
    assert outcome.warning == PICKLE_WARNING
    assert outcome.error and "lambda" in outcome.error
    trace = str(outcome.trace)
    assert trace.startswith("Traceback") and outcome.error in trace
    assert "top level of a module" in trace
    assert "fallback_to_thread_on_pickle_error=True" in trace


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
        assert worker.run(call(add, 1, 2)).value == 3
        worker.close()


def test_a_hand_lets_go_of_one_tool_to_get_another(crew: Callable[..., Crew]) -> None:
    """What its idle process holds is enough for a command."""
    hand = crew().hire()
    try:
        assert hand.run(call(add, 1, 2)).value == 3
        with few_descriptors(6):
            outcome = hand.run(sh("echo 3"))
        assert outcome.ok and outcome.value["stdout"] == "3\n", outcome.error
        assert hand.run(call(add, 1, 2)).value == 3
    finally:
        hand.close()


def test_when_no_process_can_be_started(
    crew: Callable[..., Crew], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job is declined with the reason, and the hand tries again with the next."""

    def refuse(*args: object) -> None:
        raise OSError(24, "no more files")

    made = crew()
    hand = made.hire()
    try:
        with monkeypatch.context() as patched:
            patched.setattr("concurra.workers.process.connect", refuse)
            outcome = hand.run(call(add, 1))
        assert (outcome.status, outcome.mode) == (FAILED, None)
        assert outcome.error and outcome.error.endswith("no more files")
        assert outcome.cause is UNAVAILABLE
        assert hand.run(call(add, 1, 2)).value == 3
    finally:
        hand.close()


def leave_thread(until: str) -> int:
    """Leave a thread that lingers, and that the end of the process waits for."""
    wait = partial(wait_until, lambda: os.path.exists(until), 10 * BOUND)
    threading.Thread(target=wait, daemon=False).start()
    return os.getpid()


@pytest.fixture
def short_lived(guardian: Guardian) -> Iterator[Callable[[float], Hand]]:
    """Makes hands whose processes do one job each; closed when the test ends."""
    crews: list[Crew] = []
    hands: list[Hand] = []

    def make(grace: float) -> Hand:
        context = multiprocessing.get_context(START_METHODS[0])
        crews.append(Crew(context, max_tasks=1, grace=grace))
        hands.append(crews[-1].hire())  # type: ignore[arg-type]
        return hands[-1]

    yield make
    for each in (*hands, *crews):
        each.close()


def test_an_outcome_does_not_wait_for_the_end_of_a_process(
    short_lived: Callable[[float], Hand], tmp_path: Path
) -> None:
    """The job has ended, however long its process has yet to live; the next one waits
    for that."""
    hand = short_lived(10 * BOUND)
    first = hand.run(call(leave_thread, str(tmp_path / "until"))).value
    assert alive(first)
    second = Running(hand, call(alive, first))
    write(tmp_path / "until", "now")
    assert second.outcome().value is False


def test_a_process_that_does_not_end_is_killed_before_the_next(
    short_lived: Callable[[float], Hand], tmp_path: Path
) -> None:
    """After its grace period, which may be over by then: they do not pile up."""
    hand = short_lived(0.0)
    first = hand.run(call(leave_thread, str(tmp_path / "never"))).value
    assert hand.run(call(alive, first)).value is False


@posix
def test_a_stop_reaches_a_process_that_does_not_end(
    short_lived: Callable[[float], Hand], tmp_path: Path
) -> None:
    """It may be what the job at hand waits for, and that must return soon."""
    hand = short_lived(10 * BOUND)
    first = hand.run(call(leave_thread, str(tmp_path / "never"))).value
    hand.forget()
    second = Running(hand, call(add, 1))
    hand.stop()
    assert not second.outcome().ok
    assert not alive(first)
