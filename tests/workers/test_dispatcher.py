"""One thread that serves many processes: who calls `done`, where, and how often."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Iterator
from typing import Any, Callable

import pytest

from concurra.outcomes import LOST, NOTHING, Outcome
from concurra.tasks import Call
from concurra.workers import forks
from concurra.workers.child import DONE
from concurra.workers.dispatched import DispatchedWorker, _is_simple
from concurra.workers.dispatcher import Dispatcher, can_dispatch
from concurra.workers.transfer import SocketChannel
from tests.helpers import START_METHODS, wait_until
from tests.workers.support import (
    BOUND,
    Dispatched,
    ElsewhereOnly,
    Hired,
    TestPool,
    add,
    call,
    linger,
    read,
    run,
    write,
)

pytestmark = pytest.mark.skipif(not can_dispatch(), reason="needs epoll and pidfd")


class Told:
    """What `done` was called with, and in which thread."""

    def __init__(self) -> None:
        self.calls: queue.Queue[tuple[Outcome, bool, int]] = queue.Queue()

    def __call__(self, outcome: Outcome, serving: bool) -> None:
        self.calls.put((outcome, serving, threading.get_ident()))

    def outcome(self) -> Outcome:
        return self.calls.get(timeout=BOUND)[0]


@pytest.fixture
def pool() -> Iterator[TestPool]:
    made = TestPool(multiprocessing.get_context(START_METHODS[0]), grace=BOUND)
    yield made
    made.close()


@pytest.fixture
def hire(pool: TestPool) -> Iterator[Callable[[Told], Hired]]:
    """Makes workers whose processes are there; closed when the test ends."""
    workers: list[Hired] = []

    def make(told: Told) -> Hired:
        worker = pool.hire(told)
        workers.append(worker)
        assert begin(worker, call(add, 1)) is None
        assert told.outcome().ok
        return worker

    yield make
    for worker in workers:
        worker.stop(force=True)
        worker.close()


def begin(worker: Hired, job: Call) -> Outcome | None:
    worker.at_hand = NOTHING
    if worker.retired:
        worker.reap()
    return worker.begin(job)


def thread_of(dispatcher: Dispatcher | None) -> int:
    assert dispatcher is not None
    return dispatcher._thread


def large(size: int) -> bytes:
    return bytes(size)


class Known:
    """Takes a look at the module when it is unpickled."""


def test_a_small_reply_comes_from_the_dispatcher(
    pool: TestPool, hire: Callable[[Told], Hired]
) -> None:
    """Also an error: nothing but strings."""
    told = Told()
    worker = hire(told)
    for job, ok in ((call(add, 1, 2), True), (call(add, "a", 2), False)):
        begin(worker, job)
        outcome, serving, thread = told.calls.get(timeout=BOUND)
        assert (outcome.ok, serving) == (ok, True)
        assert thread == thread_of(pool._dispatcher)


@pytest.mark.parametrize(
    "job", [call(large, 1 << 17), call(large, 1 << 23), Call(Known)]
)
def test_what_takes_its_time_is_received_elsewhere(
    pool: TestPool, hire: Callable[[Told], Hired], job: Call
) -> None:
    """What is large, or takes foreign code to unpickle; and the worker goes on."""
    told = Told()
    worker = hire(told)
    for _ in range(2):
        begin(worker, job)
        outcome, serving, thread = told.calls.get(timeout=BOUND)
        assert outcome.ok and not serving
        assert thread != thread_of(pool._dispatcher)
    begin(worker, call(add, 1, 2))
    assert told.outcome().value == 3


def test_many_jobs_in_flight_need_no_thread_each(
    hire: Callable[[Told], Hired], tmp_path: Any
) -> None:
    """Nobody waits for a process but the dispatcher."""
    told = [Told() for _ in range(6)]
    workers = [hire(each) for each in told]
    before = threading.active_count()
    for n, worker in enumerate(workers):
        begin(worker, call(linger, str(tmp_path / f"pid{n}"), str(tmp_path / "until")))
    for n in range(len(workers)):
        read(tmp_path / f"pid{n}")
    assert threading.active_count() <= before
    write(tmp_path / "until", "now")
    assert all(each.outcome().value == "was let go" for each in told)


def test_the_next_job_may_begin_within_done(pool: TestPool) -> None:
    """In the thread of the dispatcher, if it is quick; a thousand, each told once."""
    left, over = [1000], threading.Event()
    values: list[int] = []

    def done(outcome: Outcome, serving: bool) -> None:
        values.append(outcome.value)
        left[0] -= 1
        if not left[0]:
            over.set()
            return
        worker.at_hand = NOTHING
        job = call(add, left[0])
        assert serving and worker.is_quick(job)
        assert worker.begin(job) is None

    worker = pool.hire(done)
    assert worker.begin(call(add, 1000)) is None
    assert over.wait(BOUND)
    assert values == list(range(1000, 0, -1))
    worker.close()


@pytest.mark.parametrize("method", START_METHODS)
def test_nobody_waits_for_a_process_to_be_ready(method: str) -> None:
    """A large job is kept as well, and sent when the time comes."""
    pool = TestPool(multiprocessing.get_context(method), grace=BOUND)
    told = Told()
    worker = pool.hire(told)
    try:
        data = bytes(1 << 22)
        assert worker.begin(call(len, data)) is None
        assert told.outcome().value == len(data)
    finally:
        worker.close()
        pool.close()


def test_an_end_is_told_once(hire: Callable[[Told], Hired], tmp_path: Any) -> None:
    """However many signs of it there are, and whoever stops it meanwhile."""
    told = Told()
    worker = hire(told)
    begin(worker, call(linger, str(tmp_path / "pid"), "never"))
    pid = int(read(tmp_path / "pid"))
    worker.dismiss()
    for force in (False, True, True):
        worker.stop(force)
    assert told.outcome().cause is LOST
    worker.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert told.calls.empty()


def answer_later(path: str) -> None:
    """Send a reply, when the file is there, behind the back of who sends them."""

    def answer() -> None:
        (pipe,) = forks._unshared
        assert isinstance(pipe, SocketChannel)
        read(path)
        pipe.send(pipe.pack((DONE, "not asked"), plain=True))

    threading.Thread(target=answer, daemon=True).start()


def test_an_answer_that_nobody_asked_for_answers_nothing(
    hire: Callable[[Told], Hired], tmp_path: Any
) -> None:
    """The process is replaced, and the next job has an answer of its own."""
    told = Told()
    worker = hire(told)
    (kind,) = worker._kinds.values()
    begin(worker, call(answer_later, str(tmp_path / "now")))
    assert told.outcome().ok and not kind.spent
    write(tmp_path / "now", "now")
    wait_until(lambda: kind.spent, what="that it is spent")
    begin(worker, call(add, 1, 2))
    assert told.outcome().value == 3
    assert told.calls.empty()


@pytest.mark.parametrize("busy", [True, False])
def test_what_breaks_the_dispatcher_loses_no_outcome(
    pool: TestPool,
    hire: Callable[[Told], Hired],
    tmp_path: Any,
    busy: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Jobs at hand are lost, idle processes replaced, and the error is not hidden."""
    escaped: list[Any] = []
    seen = threading.Event()

    def hook(args: Any) -> None:
        escaped.append(args.exc_type)
        seen.set()

    monkeypatch.setattr(threading, "excepthook", hook)
    told = Told()
    other = hire(told)
    if busy:
        begin(other, call(linger, str(tmp_path / "pid"), "never"))
        read(tmp_path / "pid")

    def fail(outcome: Outcome, serving: bool) -> None:
        raise ZeroDivisionError

    breaking = pool.hire(fail)
    breaking.begin(call(add, 1))
    assert seen.wait(BOUND)
    assert escaped == [ZeroDivisionError]
    if busy:
        assert told.outcome().cause is LOST
    begin(other, call(add, 1, 2))
    assert told.outcome().value == 3
    breaking.close()


def test_what_is_at_hand_when_a_dispatcher_closes(tmp_path: Any, guardian: Any) -> None:
    """Gets its outcome, too, and its process does not live on."""
    told = Told()
    worker = Dispatched(
        multiprocessing.get_context(START_METHODS[0]), guardian, grace=BOUND
    )
    try:
        job = call(linger, str(tmp_path / "pid"), "never")
        assert worker.run(job, worker.present(job), told) is None
        read(tmp_path / "pid")
        worker._dispatcher.close()
        assert told.outcome().cause is LOST
    finally:
        worker.close()
    assert told.calls.empty()


def test_an_idle_death_is_noticed(hire: Callable[[Told], Hired]) -> None:
    """Without a job: the worker is replaced when the next one begins."""
    told = Told()
    worker = hire(told)
    (kind,) = worker._kinds.values()
    assert isinstance(kind, DispatchedWorker)
    os.kill(kind._group.pid, signal.SIGKILL)
    wait_until(lambda: kind.spent, what="its end")
    assert not worker.is_quick(call(add, 1))
    begin(worker, call(add, 1, 2))
    assert told.outcome().value == 3


def test_a_death_while_a_job_is_sent_is_told_by_who_sends(
    hire: Callable[[Told], Hired], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, and as a job that never began."""
    told = Told()
    worker = hire(told)
    (kind,) = worker._kinds.values()
    assert isinstance(kind, DispatchedWorker)
    real_send = kind._channel.send

    def send(message: Any) -> None:
        os.kill(kind._group.pid, signal.SIGKILL)
        wait_until(lambda: kind._ended, what="that the dispatcher sees it")
        real_send(message)

    monkeypatch.setattr(kind._channel, "send", send)
    begin(worker, call(add, 1))
    outcome = told.outcome()
    assert (outcome.cause, outcome.mode) == (LOST, None)
    assert told.calls.empty()


def test_a_fallback_does_not_run_in_the_dispatcher() -> None:
    """The job of which the process says that it cannot be unpickled there."""
    context = multiprocessing.get_context(START_METHODS[0])
    pool = TestPool(context, fallback=True, grace=BOUND)
    worker = pool.hire()
    try:
        outcome = run(worker, call(own_thread, ElsewhereOnly()))
        assert outcome.mode == "thread_fallback"
        assert outcome.value != thread_of(pool._dispatcher)
    finally:
        worker.close()
        pool.close()


def own_thread(argument: object) -> int:
    return threading.get_ident()


def nested() -> Callable[[], None]:
    def inner() -> None:
        pass

    return inner


class Text(str):
    """Not exactly a string."""


QUICK = {
    "no arguments": (call(add), True),
    "simple arguments": (call(add, 1, 2.0, "x", b"y", None, True), True),
    "keywords": (call(add, first=1), True),
    "a builtin": (call(len, "four"), True),
    "large": (call(len, "x" * (1 << 16)), False),
    "large together": (call(add, "x" * 40_000, second="x" * 40_000), False),
    "a list": (call(len, []), False),
    "a subclass": (call(len, Text("x")), False),
    "a keyword's value": (call(add, first=[]), False),
    "a lambda": (call(lambda: None), False),
    "a nested function": (call(nested()), False),
    "a method": (call("x".upper), False),
    "a class": (call(int, "3"), False),
}


@pytest.mark.parametrize(("job", "quick"), QUICK.values(), ids=QUICK.keys())
def test_what_is_quick(job: Call, quick: bool) -> None:
    """What can be packed without the user's code, and sent without waiting."""
    assert _is_simple(job) is quick
