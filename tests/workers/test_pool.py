"""What is special to a pool, and to its workers."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import stat
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Callable

import pytest

from concurra.outcomes import ABORT, FAILED, LOST, NOTHING, TERMINATED, UNAVAILABLE
from concurra.tasks import CALL
from concurra.wording import PICKLE_WARNING
from concurra.workers import command_start
from concurra.workers.dispatcher import can_dispatch
from concurra.workers.guardian import Guardian
from concurra.workers.process import ProcessWorker
from tests.helpers import QUICKEST, START_METHODS, alive, descendants, wait_until
from tests.workers.support import (
    BOUND,
    ElsewhereOnly,
    Hired,
    Running,
    TestPool,
    add,
    call,
    few_descriptors,
    fork_lingering,
    forks,
    pid_of,
    posix,
    read,
    run,
    sh,
    wait_for_end_of,
    write,
)


@pytest.fixture
def pool() -> Iterator[Callable[..., TestPool]]:
    """Makes pools whose functions run in processes; closed when the test ends."""
    pools: list[TestPool] = []

    def make(**options: Any) -> TestPool:
        options.setdefault("grace", BOUND)
        context = multiprocessing.get_context(QUICKEST)
        pools.append(TestPool(context, **options))
        pools[-1].at_first = 99
        return pools[-1]

    yield make
    for each in pools:
        each.close()


@pytest.fixture
def pooled(pool: Callable[..., TestPool]) -> Iterator[Hired]:
    made = pool().hire()
    yield made
    made.close()


@posix
def test_an_idle_death_costs_no_job(pooled: Hired) -> None:
    """Another process does it."""
    first = pid_of(pooled)
    os.kill(first, signal.SIGKILL)
    wait_for_end_of(first)
    assert pid_of(pooled) != first


@posix
def test_processes_that_die_before_their_first_job_cost_none(
    pool: Callable[..., TestPool],
) -> None:
    """However many: a worker is given one that lives."""
    made = pool(width=lambda: 3)
    made.prepare(lambda: False)
    for worker in made._prepared:
        os.kill(worker._process.pid, signal.SIGKILL)
        wait_until(lambda: not worker.alive, what="its end")
    pooled = made.hire()
    try:
        assert run(pooled, call(add, 1, 2)).value == 3
    finally:
        pooled.close()


@forks
def test_no_more_processes_are_prepared_than_can_compute_at_once(
    pool: Callable[..., TestPool],
) -> None:
    """The others are started when they are needed."""
    made = TestPool(multiprocessing.get_context("fork"))
    linux = sys.platform == "linux"
    assert made.at_first == (len(os.sched_getaffinity(0)) if linux else os.cpu_count())
    made.close()
    made = pool(width=lambda: 9999)
    made.at_first = 2
    made.prepare(lambda: False)
    assert len(made._prepared) == 2


@pytest.mark.parametrize("method", START_METHODS)
def test_a_worker_is_starting_until_its_first_process_is_ready(method: str) -> None:
    """A process that takes its place is no first one."""
    made = TestPool(multiprocessing.get_context(method), max_tasks=1, grace=BOUND)
    pooled = made.hire()
    try:
        assert pooled.is_starting()
        assert run(pooled, call(add, 1, 2)).value == 3
        assert not pooled.is_starting()
        assert run(pooled, call(add, 2, 2)).value == 4
        pooled.at_hand = NOTHING
        assert not pooled.is_starting()
    finally:
        pooled.close()
        made.close()


def test_processes_that_were_not_needed_have_one_period_to_end(
    pool: Callable[..., TestPool],
) -> None:
    """All are told before the first is waited for."""
    made = pool(width=lambda: 3)
    made.prepare(lambda: False)
    seen = []

    class Last(ProcessWorker):
        def close(self) -> None:
            seen.append([each.spent for each in stock])
            super().close()

    stock = list(made._prepared)
    for worker in stock:
        worker.__class__ = Last
    made.close()
    assert seen == [[True] * 3] * 3


@contextmanager
def abandoned(
    pooled: Hired, job: Callable[[Callable[[], None]], Any]
) -> Iterator[None]:
    """While the pooled, which nobody waits for any more, is at a job that goes on.

    :param job: makes the job from what it is to do, which falls back to a thread.
    """
    begun, over = threading.Event(), threading.Event()

    def stay() -> None:
        begun.set()
        assert over.wait(BOUND)

    running = Running(pooled, job(stay))
    try:
        assert begun.wait(BOUND)
        pooled.dismiss()
        assert not pooled.stop()
        pooled.abandon()
        yield
    finally:
        over.set()
        running.outcome()
        pooled.close()


def test_who_is_abandoned_holds_no_idle_process(pool: Callable[..., TestPool]) -> None:
    """A job that fell back to a thread may go on for ever; its process does not."""
    pooled = pool(fallback=True).hire()
    pid = pid_of(pooled)
    with abandoned(pooled, call):
        assert not alive(pid)


class Unwelcome:
    """Cannot be unpickled, so its job falls back to a thread."""

    def __reduce__(self) -> Any:
        return int, ("not a number",)


#: What a fallback in this process is to do; a worker process never comes to it.
STAYS: list[Callable[[], None]] = []


def stay_as_told(unwelcome: Unwelcome) -> None:
    STAYS.pop()()


def test_who_is_abandoned_holds_no_spent_process(pool: Callable[..., TestPool]) -> None:
    """One that has done its number of jobs is reaped, not only asked to end."""
    pooled = pool(fallback=True, max_tasks=1).hire()
    before = {child.pid for child in descendants(os.getpid())}

    def job(stay: Callable[[], None]) -> Any:
        STAYS.append(stay)
        return call(stay_as_told, Unwelcome())

    with abandoned(pooled, job):
        left = {child.pid for child in descendants(os.getpid())} - before
        assert len(left) <= 1, "the guardian may be left"
        assert not pooled.unreaped


def test_who_is_stopped_starts_no_process(
    pool: Callable[..., TestPool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be of no use, and would have to be waited for."""
    made = pool()
    pooled = made.hire()
    pooled.stop()
    monkeypatch.setattr(made, "make", lambda kind: pytest.fail("it was made"))
    assert run(pooled, call(add, 1)).status == TERMINATED


def test_a_process_that_was_started_meanwhile_is_stopped(
    pool: Callable[..., TestPool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stop came too early for it, and it may take long to be ready."""
    made = pool()
    pooled = made.hire()
    process = made.make(CALL)

    def make(kind: type) -> Any:
        pooled.stop()
        return process

    monkeypatch.setattr(made, "make", make)
    assert run(pooled, call(add, 1)).status == TERMINATED
    wait_until(lambda: not process.alive, BOUND, "the end of the process")
    pooled.close()


def test_what_cannot_be_closed_is_left_alone(
    pool: Callable[..., TestPool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By whoever closes it: there are others to look after."""
    made = pool()
    pooled = made.hire()
    pid_of(pooled)
    (kind,) = pooled._backends.values()
    closings = []

    def close() -> None:
        closings.append(ProcessWorker.close(kind))
        raise OSError(errno.EBADF, "another has closed it")

    monkeypatch.setattr(kind, "close", close)
    pooled.at_hand = NOTHING
    pooled.abandon()
    assert closings == [None]


@posix
def test_a_crash_is_not_repeated(pooled: Hired, tmp_path: Path) -> None:
    """The job had begun, so it is not for a worker to begin it again."""
    outcome = run(pooled, call(crash_and_count, str(tmp_path / "count")))
    assert outcome.error == (
        "RuntimeError: Worker process exited with code 3 during the task"
    )
    assert (tmp_path / "count").read_text() == "x"
    assert run(pooled, call(add, 1, 2)).value == 3


def crash_and_count(path: str) -> None:
    with open(path, "a") as file:
        file.write("x")
    os._exit(3)


def test_a_process_is_replaced_after_its_last_task(
    pool: Callable[..., TestPool],
) -> None:
    """With `max_tasks`, failures counted as well."""
    pooled = pool(max_tasks=2).hire()
    try:
        first, second = pid_of(pooled), pid_of(pooled)
        third = pid_of(pooled)
        assert not run(pooled, call(sys.exit, 1)).ok
        fourth = pid_of(pooled)
    finally:
        pooled.close()
    assert first == second
    assert len({first, third, fourth}) == 3


def test_without_a_limit_a_process_serves_for_life(pooled: Hired) -> None:
    """One process for all jobs of a worker."""
    assert len({pid_of(pooled) for _ in range(20)}) == 1


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
    pooled: Hired, spoil: Callable[[], str]
) -> None:
    """Neither the task that has done it, nor the next: that has another process."""
    for _ in range(5):
        assert run(pooled, call(spoil)).value == "well done"
        outcome = run(pooled, call(os.getcwd))
        assert outcome.value == os.getcwd(), outcome.error


def close_stdout() -> int:
    sys.stdout.close()
    return os.getpid()


def say(text: str) -> int:
    print(text)
    return os.getpid()


def test_a_stream_that_was_closed_costs_the_process_only(pooled: Hired) -> None:
    """The next task has another one, in which it can print."""
    first = run(pooled, call(close_stdout))
    second = run(pooled, call(say, "well"))
    assert (first.ok, second.ok) == (True, True), second.error
    assert second.value != first.value


def use_multiprocessing() -> int | None:
    child = multiprocessing.get_context("spawn").Process(target=add, args=(1,))
    child.start()
    child.join(BOUND)
    return child.exitcode


def test_a_task_may_start_processes(pooled: Hired) -> None:
    """A worker is no daemon in the sense of `multiprocessing`."""
    outcome = run(pooled, call(use_multiprocessing))
    assert (outcome.value, outcome.error) == (0, None)


@forks
def test_a_grandchild_does_not_hide_an_idle_death(
    pooled: Hired, tmp_path: Path
) -> None:
    """It has nothing of the worker's pipe, so the next job is not sent there."""
    pid_file, until = str(tmp_path / "pid"), str(tmp_path / "until")
    first = pid_of(pooled)
    assert run(pooled, call(fork_lingering, pid_file, until, True)).ok
    os.kill(first, signal.SIGKILL)
    wait_for_end_of(first)
    assert pid_of(pooled) != first
    write(until, "now")
    wait_for_end_of(read(pid_file))


# The pool -----------------------------------------------------------------------------


def test_prepared_processes_are_used_first(pool: Callable[..., TestPool]) -> None:
    """And those that nobody used are closed with the pool."""
    prepared = pool(width=lambda: 3)
    before = {child.pid for child in descendants(os.getpid())}
    prepared.prepare(lambda: False)
    known = {child.pid for child in descendants(os.getpid())} - before
    assert len(known) == 4  # with their guardian
    pooled = prepared.hire()
    try:
        assert pid_of(pooled) in known
    finally:
        pooled.close()


def test_a_function_that_cannot_be_pickled_may_run_in_a_thread(
    pool: Callable[..., TestPool],
) -> None:
    """If the pool allows it; the outcome has a warning, and the next job a process."""
    pooled = pool(fallback=True).hire()
    try:
        outcome = run(pooled, call(lambda: os.getpid()))
        assert (outcome.value, outcome.mode) == (os.getpid(), "thread_fallback")
        assert outcome.warning == "Task was not picklable; ran in thread fallback"
        assert pid_of(pooled) != os.getpid()
    finally:
        pooled.close()


def test_a_job_that_cannot_be_unpickled_may_run_in_a_thread(
    pool: Callable[..., TestPool],
) -> None:
    """It has not begun in the process; there is one attempt, with any limit."""
    for limit in (None, 1):
        pooled = pool(fallback=True, max_tasks=limit).hire()
        try:
            job = call(isinstance, ElsewhereOnly(), ElsewhereOnly)
            outcome = run(pooled, job)
            assert outcome.mode == "thread_fallback"
            assert outcome.warning == "Task was not picklable; ran in thread fallback"
            assert outcome.value is True
            assert pid_of(pooled) != os.getpid()
        finally:
            pooled.close()


def test_no_other_is_taken_for_a_job_that_could_not_be_unpickled(
    pool: Callable[..., TestPool],
) -> None:
    """It is known by its place in memory, which is not given to others meanwhile."""
    made = pool(fallback=True)
    pooled = made.hire()
    only_here = ElsewhereOnly()
    known = weakref.ref(only_here)
    try:
        run(pooled, call(isinstance, only_here, ElsewhereOnly))
        del only_here
        assert known() is not None
    finally:
        pooled.close()
        made.close()
    assert known() is None


def test_without_the_fallback_it_fails(pooled: Hired) -> None:
    """With the pickling error, a warning, and in the trace what can be done."""
    outcome = run(pooled, call(lambda: None))
    assert (outcome.status, outcome.mode) == (FAILED, None)
    assert outcome.warning == PICKLE_WARNING
    assert outcome.error and "lambda" in outcome.error
    trace = str(outcome.trace)
    first = trace.partition("\n")[0]
    assert outcome.error in (first, first.partition(".")[2])  # or with its module
    assert "concurra/" not in trace
    assert "top level of a module" in trace
    assert "fallback_to_thread_on_pickle_error=True" in trace


def test_a_worker_closes_one_kind_to_make_another(
    pool: Callable[..., TestPool],
) -> None:
    """What its idle process holds is enough for a command."""
    pooled = pool().hire()
    try:
        assert run(pooled, call(add, 1, 2)).value == 3
        with few_descriptors(6):
            outcome = run(pooled, sh("echo 3"))
        assert outcome.ok and outcome.value["stdout"] == "3\n", outcome.error
        assert run(pooled, call(add, 1, 2)).value == 3
    finally:
        pooled.close()


def test_when_no_process_can_be_started(
    pool: Callable[..., TestPool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job does not begin, and why; the worker tries again with the next one."""

    def refuse(*args: object) -> None:
        raise OSError(24, "no more files")

    made = pool()
    pooled = made.hire()
    try:
        with monkeypatch.context() as patched:
            patched.setattr("concurra.workers.process.connect", refuse)
            outcome = run(pooled, call(add, 1))
        assert (outcome.status, outcome.mode) == (FAILED, None)
        assert outcome.error == (
            "OSError: [Errno 24] no more files "
            "(this program has too many files open: see `ulimit -n`)"
        )
        assert outcome.cause is UNAVAILABLE
        assert run(pooled, call(add, 1, 2)).value == 3
    finally:
        pooled.close()


def leave_thread(until: str) -> int:
    """Leave a thread that lingers, and that the end of the process waits for."""
    wait = partial(wait_until, lambda: os.path.exists(until), 10 * BOUND)
    threading.Thread(target=wait, daemon=False).start()
    return os.getpid()


@pytest.fixture
def short_lived(guardian: Guardian) -> Iterator[Callable[[float], Hired]]:
    """Makes workers_ whose processes do one job each; closed when the test ends."""
    pools: list[TestPool] = []
    workers_: list[Hired] = []

    def make(grace: float) -> Hired:
        context = multiprocessing.get_context(QUICKEST)
        pools.append(TestPool(context, max_tasks=1, grace=grace))
        workers_.append(pools[-1].hire())  # type: ignore[arg-type]
        return workers_[-1]

    yield make
    for each in (*workers_, *pools):
        each.close()


def test_an_outcome_does_not_wait_for_the_end_of_a_process(
    short_lived: Callable[[float], Hired], tmp_path: Path
) -> None:
    """The job has ended, however long its process has yet to live; the next one waits
    for that."""
    pooled = short_lived(10 * BOUND)
    first = run(pooled, call(leave_thread, str(tmp_path / "until"))).value
    assert alive(first)
    second = Running(pooled, call(alive, first))
    write(tmp_path / "until", "now")
    assert second.outcome().value is False


def test_a_process_that_does_not_end_is_killed_before_the_next(
    short_lived: Callable[[float], Hired], tmp_path: Path
) -> None:
    """After its grace period, which may be over by then: they do not pile up."""
    pooled = short_lived(0.0)
    first = run(pooled, call(leave_thread, str(tmp_path / "never"))).value
    assert run(pooled, call(alive, first)).value is False


@posix
def test_a_stop_reaches_a_process_that_does_not_end(
    short_lived: Callable[[float], Hired], tmp_path: Path
) -> None:
    """It may be what the job at pooled waits for, and that must return soon."""
    pooled = short_lived(10 * BOUND)
    first = run(pooled, call(leave_thread, str(tmp_path / "never"))).value
    second = Running(pooled, call(add, 1))
    pooled.stop()
    assert not second.outcome().ok
    assert not alive(first)


# Starts and stops ---------------------------------------------------------------------


@forks
def test_nothing_is_prepared_after_a_stop(pool: Callable[..., TestPool]) -> None:
    """It is asked before each start, so an abort waits for one process at the most."""
    answers = [False, False, True]
    made = pool(width=lambda: 8)
    made.prepare(lambda: answers.pop(0))
    assert len(made._prepared) == 2
    assert answers == []


@pytest.mark.parametrize("method", [m for m in START_METHODS if m != "fork"])
def test_by_other_methods_nothing_is_prepared(method: str) -> None:
    """Each worker starts its own process, side by side with the others."""
    made = TestPool(multiprocessing.get_context(method), width=lambda: 8)
    try:
        made.prepare(lambda: pytest.fail("nobody needs to know"))
        assert made._prepared == []
    finally:
        made.close()


def test_what_is_at_hand_is_never_that_of_an_earlier_job(
    pool: Callable[..., TestPool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is dismissed when a command begins shows nothing of the one before it."""
    worker = pool().hire()
    seen: list[Any] = []
    real_start = command_start.start

    def start(*args: Any) -> Any:
        seen.append(worker.dismiss())
        return real_start(*args)

    try:
        assert run(worker, sh("echo secret")).ok
        assert str(worker.at_hand.transcript) == "stdout:\nsecret\n"
        worker.at_hand = NOTHING
        monkeypatch.setattr(command_start, "start", start)
        worker.begin(sh("true"))
    finally:
        worker.close()
    assert [(each.mode, str(each.transcript)) for each in seen] == [("subprocess", "")]


def test_who_was_dismissed_begins_nothing(pool: Callable[..., TestPool]) -> None:
    """Neither a command nor a function, and nothing is at hand."""
    worker = pool().hire()
    assert worker.dismiss() is NOTHING
    for job in (sh("true"), call(add, 1)):
        outcome = worker.begin(job)
        assert outcome is not None and outcome.cause is ABORT
    assert worker.at_hand is NOTHING


def test_a_stop_does_not_wait_for_who_reaps(
    pool: Callable[..., TestPool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process in uninterruptible sleep ends late, whatever was sent to it."""
    worker = pool(grace=0.0).hire()
    pid_of(worker)
    (kind,) = worker._backends.values()
    assert isinstance(kind, ProcessWorker)
    waiting, ends = threading.Event(), threading.Event()
    real_wait = kind._exit.wait_without_reaping

    def wait() -> None:
        waiting.set()
        assert ends.wait(BOUND)
        real_wait()

    monkeypatch.setattr(kind._exit, "wait_without_reaping", wait)
    closing = threading.Thread(target=worker.close, daemon=True)
    closing.start()
    assert waiting.wait(BOUND)
    stopping = threading.Thread(target=kind.stop, args=(True,), daemon=True)
    stopping.start()
    stopping.join(BOUND)
    assert not stopping.is_alive()
    assert closing.is_alive()
    ends.set()
    closing.join(BOUND)
    assert not closing.is_alive()


@pytest.mark.parametrize(
    ("job", "cause"),
    [(sh("sleep 60"), LOST), (call(add, 1), UNAVAILABLE)],
    ids=["command", "call"],
)
def test_what_was_started_and_cannot_be_watched_is_killed(
    pool: Callable[..., TestPool],
    monkeypatch: pytest.MonkeyPatch,
    job: Any,
    cause: str,
) -> None:
    """Nobody would stop it later, nor reap it. A program that had begun is not begun
    again elsewhere, whatever was lacking."""
    made = pool()
    worker = made.hire()
    watched: list[int] = []

    def fail(guardian: object, pid: int) -> None:
        watched.append(pid)
        raise OSError(errno.EMFILE, "no more files")

    with monkeypatch.context() as patch:
        patch.setattr(Guardian, "watch", fail)
        outcome = run(worker, job)
    assert outcome.cause == cause and "no more files" in str(outcome.error)
    (pid,) = watched
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert run(worker, call(add, 1, 2)).value == 3
    worker.close()


def test_only_processes_do_jobs_elsewhere(pool: Callable[..., TestPool]) -> None:
    """Functions in threads, and commands, need the thread that begins them."""
    assert pool().hire().elsewhere is can_dispatch()
    without = TestPool()
    assert not without.hire().elsewhere
    without.close()


def test_workers_that_are_retired_first_have_one_period_to_end(
    pool: Callable[..., TestPool],
) -> None:
    """Their processes end by themselves, before anybody waits for them."""
    made = pool()
    workers = [made.hire() for _ in range(3)]
    for worker in workers:
        pid_of(worker)
    processes = [kind for each in workers for kind in each._backends.values()]
    for worker in workers:
        worker.retire()
    for process in processes:
        assert isinstance(process, ProcessWorker) and process.spent
        wait_until(lambda: not process.alive, what="its end")
    for worker in workers:
        worker.retire()
        worker.close()
        worker.retire()


def test_a_worker_without_a_process_is_retired_too(
    pool: Callable[..., TestPool],
) -> None:
    """There is nothing to wait for."""
    pooled = pool().hire()
    pooled.retire()
    assert run(pooled, sh("echo 3")).ok
    pooled.retire()
    pooled.close()
    threads = TestPool()
    thread = threads.hire()
    assert run(thread, call(add, 1, 2)).value == 3
    thread.retire()
    thread.close()
    threads.close()
