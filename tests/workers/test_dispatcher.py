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
from concurra.tasks import CALL, Call
from concurra.workers import forks
from concurra.workers.child import DONE
from concurra.workers.dispatched import DispatchedWorker
from concurra.workers.dispatcher import Dispatcher, can_dispatch
from concurra.workers.transfer import SocketChannel
from tests.helpers import QUICKEST, START_METHODS, wait_until
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
    made = TestPool(multiprocessing.get_context(QUICKEST), grace=BOUND)
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
    if worker.unreaped:
        worker.reap()
    return worker.begin(job)


def thread_of(dispatcher: Dispatcher | None) -> int:
    assert dispatcher is not None and dispatcher._thread is not None
    assert dispatcher._thread.ident is not None
    return dispatcher._thread.ident


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
        assert thread == thread_of(pool._processes.dispatcher)


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
        assert thread != thread_of(pool._processes.dispatcher)
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
    (kind,) = worker._backends.values()
    begin(worker, call(answer_later, str(tmp_path / "now")))
    assert told.outcome().ok and not kind.spent
    write(tmp_path / "now", "now")
    wait_until(lambda: kind.spent, what="that it is spent")
    begin(worker, call(add, 1, 2))
    assert told.outcome().value == 3
    assert told.calls.empty()


@pytest.fixture
def escaped(monkeypatch: pytest.MonkeyPatch) -> queue.Queue[type[BaseException]]:
    """The types of what threads have raised."""
    errors: queue.Queue[type[BaseException]] = queue.Queue()
    monkeypatch.setattr(threading, "excepthook", lambda args: errors.put(args.exc_type))
    return errors


def test_what_a_worker_raises_is_not_hidden_and_costs_no_other(
    pool: TestPool,
    hire: Callable[[Told], Hired],
    tmp_path: Any,
    escaped: queue.Queue[type[BaseException]],
) -> None:
    """The dispatcher goes on with the jobs that are at hand elsewhere."""
    told = Told()
    other = hire(told)
    until = tmp_path / "until"
    begin(other, call(linger, str(tmp_path / "pid"), str(until)))
    read(tmp_path / "pid")
    calls = []

    def fail(outcome: Outcome, serving: bool) -> None:
        calls.append(outcome)
        raise ZeroDivisionError

    raising = pool.hire(fail)
    raising.begin(call(add, 1))
    assert escaped.get(timeout=BOUND) is ZeroDivisionError
    write(until, "now")
    assert told.outcome().value == "was let go"
    raising.stop(force=True)
    raising.close()
    assert len(calls) == 1


def test_the_job_of_a_worker_that_raises_is_lost(
    hire: Callable[[Told], Hired],
    escaped: queue.Queue[type[BaseException]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the error; the next job has another process."""
    told = Told()
    worker = hire(told)
    kind = dispatched(worker)

    def fail(message: object) -> None:
        raise ZeroDivisionError("in the dispatcher")

    monkeypatch.setattr(kind, "_accept", fail)
    begin(worker, call(add, 1))
    outcome = told.outcome()
    assert (outcome.cause, outcome.mode) == (LOST, "process")
    assert "ZeroDivisionError: in the dispatcher" in str(outcome.error)
    assert escaped.get(timeout=BOUND) is ZeroDivisionError
    begin(worker, call(add, 1, 2))
    assert told.outcome().value == 3


class Fragile(dict[int, Any]):
    """What a dispatcher serves, until that breaks."""

    breaks = False

    def get(self, fd: int, default: Any = None) -> Any:
        if self.breaks:
            self.breaks = False
            raise ZeroDivisionError
        return super().get(fd, default)


_make = Dispatcher.__init__


def make_fragile(dispatcher: Dispatcher, *args: Any) -> None:
    _make(dispatcher, *args)
    dispatcher._served = Fragile()


@pytest.mark.parametrize("busy", [True, False])
def test_what_breaks_the_dispatcher_loses_no_outcome(
    pool: TestPool,
    hire: Callable[[Told], Hired],
    tmp_path: Any,
    busy: bool,
    escaped: queue.Queue[type[BaseException]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Jobs at hand are lost, idle processes replaced, and the error is not hidden."""
    monkeypatch.setattr(Dispatcher, "__init__", make_fragile)
    told = Told()
    worker, other = hire(told), hire(Told())
    if busy:
        begin(worker, call(linger, str(tmp_path / "pid"), "never"))
        read(tmp_path / "pid")
    assert pool._processes.dispatcher is not None
    with pool._processes.dispatcher._lock:
        served = pool._processes.dispatcher._served
        assert isinstance(served, Fragile)
        served.breaks = True
    os.kill(dispatched(other)._group.pid, signal.SIGKILL)  # so that it looks
    assert escaped.get(timeout=BOUND) is ZeroDivisionError
    if busy:
        assert told.outcome().cause is LOST
    begin(worker, call(add, 1, 2))
    assert told.outcome().value == 3


def dispatched(worker: Hired) -> DispatchedWorker:
    (kind,) = worker._backends.values()
    assert isinstance(kind, DispatchedWorker)
    return kind


def test_a_reply_that_has_come_counts(
    hire: Callable[[Told], Hired], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if the end of its process is noticed before the reply is told."""
    told = Told()
    worker = hire(told)
    kind = dispatched(worker)
    real_watch = kind._dispatcher.watch

    def watch(watched: DispatchedWorker) -> None:
        real_watch(watched)
        os.kill(kind._group.pid, signal.SIGKILL)
        wait_until(lambda: kind._ended, what="that the dispatcher sees it")

    monkeypatch.setattr(kind._dispatcher, "watch", watch)
    begin(worker, Call(Known))
    assert told.outcome().ok
    assert told.calls.empty()


@pytest.mark.parametrize("held", [False, True], ids=["", "while it is sent"])
def test_an_answer_shows_until_it_is_told(
    pool: TestPool, monkeypatch: pytest.MonkeyPatch, held: bool
) -> None:
    """A deadline that is looked at meanwhile, late, sees that the job has ended.

    Also if the thread that has sent the job was held up then.
    """
    seen: list[bool] = []
    told: queue.Queue[Outcome] = queue.Queue()

    def done(outcome: Outcome, serving: bool) -> None:
        seen.append(worker.has_ended())
        told.put(outcome)

    worker = pool.hire(done)
    begin(worker, call(add, 1))
    told.get(timeout=BOUND)
    kind = dispatched(worker)
    arrive, send = kind._pipe.arrive, kind._pipe.send

    def arrive_and_look() -> Any:
        message = arrive()  # it is in no pipe any more, and in no outcome so far
        seen.append(worker.has_ended())
        return message

    def send_and_wait(message: Any) -> None:
        send(message)
        if held:
            wait_until(lambda: len(seen) == 3, what="that its outcome is told")

    monkeypatch.setattr(kind._pipe, "arrive", arrive_and_look)
    monkeypatch.setattr(kind._pipe, "send", send_and_wait)
    try:
        begin(worker, call(add, 2))
        told.get(timeout=BOUND)
        assert seen == [True, True, True]
    finally:
        worker.close()


class Late(BaseException):
    """An exception that was meant for another task."""


def strike(
    monkeypatch: pytest.MonkeyPatch, target: Any, name: str, after: bool
) -> threading.Event:
    """Have one call raise, before it does anything or after that; tells when it has."""
    real, struck = getattr(target, name), threading.Event()

    def call_struck(*args: Any) -> Any:
        if struck.is_set():
            return real(*args)
        value = real(*args) if after else None
        struck.set()
        raise Late(value)

    monkeypatch.setattr(target, name, call_struck)
    return struck


@pytest.mark.usefixtures("escaped")  # until its threads have ended
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    "name", ["_receive", "_read", "_accept", "_finish", "_proceed", "retire"]
)
def test_a_strike_while_a_reply_is_received(
    hire: Callable[[Told], Hired],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    after: bool,
) -> None:
    """The job is told once: with the outcome that had come, or as lost."""
    told = Told()
    worker = hire(told)
    kind = dispatched(worker)
    kind._left = 1  # so it retires with that reply
    struck = strike(monkeypatch, kind, name, after)
    begin(worker, Call(Known))
    outcome = told.outcome()
    assert struck.wait(BOUND)
    had_come = after and name in ("_receive", "_accept", "_proceed")
    if had_come or (name, after) == ("_proceed", False):
        assert outcome.ok
    else:
        assert (outcome.cause, outcome.mode) == (LOST, "process")
        assert "Late" in str(outcome.error)
    begin(worker, call(add, 1, 2))
    assert told.outcome().value == 3
    assert told.calls.empty()


@pytest.mark.usefixtures("escaped")  # until its threads have ended
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", ["_tell_end", "_lost", "_reap"])
def test_a_strike_while_an_end_is_told(
    hire: Callable[[Told], Hired],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
    name: str,
    after: bool,
) -> None:
    """The job is lost, once."""
    told = Told()
    worker = hire(told)
    kind = dispatched(worker)
    struck = strike(monkeypatch, kind, name, after)
    begin(worker, call(linger, str(tmp_path / "pid"), "never"))
    os.kill(int(read(tmp_path / "pid")), signal.SIGKILL)
    outcome = told.outcome()
    assert struck.wait(BOUND)
    assert (outcome.cause, outcome.mode) == (LOST, "process")
    begin(worker, call(add, 1, 2))
    assert told.outcome().value == 3
    assert told.calls.empty()


@pytest.mark.usefixtures("escaped")  # until its threads have ended
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", ["_deliver", "send"])
@pytest.mark.parametrize("ready", [False, True], ids=["early", "ready"])
def test_a_strike_while_a_job_is_sent(
    pool: TestPool,
    monkeypatch: pytest.MonkeyPatch,
    ready: bool,
    name: str,
    after: bool,
) -> None:
    """By who begins it, or later if the process was not ready: told once."""
    told = Told()
    worker = pool.hire(told)
    kind = pool.make(CALL)
    assert isinstance(kind, DispatchedWorker)
    worker._backends[CALL] = kind
    if ready:
        begin(worker, call(add, 1))
        assert told.outcome().ok
    target = kind if name == "_deliver" else kind._pipe
    struck = strike(monkeypatch, target, name, after)
    assert begin(worker, call(len, bytes(1 << 20))) is None
    outcome = told.outcome()
    assert struck.wait(BOUND)
    # The reply may be faster than who has been struck.
    assert outcome.cause is LOST or after
    begin(worker, call(add, 1, 2))
    assert told.outcome().value == 3
    assert told.calls.empty()
    worker.close()


@pytest.mark.parametrize("name", ["_try", "_use"])
def test_who_begins_a_job_that_was_sent_has_no_outcome(
    hire: Callable[[Told], Hired], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Whatever strikes it after that: the job goes on, and is told once."""
    told = Told()
    worker = hire(told)
    strike(monkeypatch, worker, name, after=True)
    assert begin(worker, call(add, 1, 2)) is None
    assert told.outcome().value == 3
    assert told.calls.empty()


@pytest.mark.parametrize(("name", "after"), [("_try", False), ("_use", False)])
def test_who_begins_a_job_that_was_not_sent_has_its_outcome(
    hire: Callable[[Told], Hired],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    after: bool,
) -> None:
    """The last job was sent, which does not count."""
    told = Told()
    worker = hire(told)
    strike(monkeypatch, worker, name, after)
    outcome = begin(worker, call(add, 1, 2))
    assert outcome is not None and "Late" in str(outcome.error)
    assert told.calls.empty()
    begin(worker, call(add, 1, 2))
    assert told.outcome().value == 3


@pytest.mark.parametrize("name", ["_put_aside", "_falls_back"])
def test_a_strike_in_the_pool_keeps_no_outcome_back(
    monkeypatch: pytest.MonkeyPatch, escaped: object, name: str
) -> None:
    """What has been told to the worker of the pool is told on."""
    context = multiprocessing.get_context(QUICKEST)
    pool = TestPool(context, fallback=True, max_tasks=1, grace=BOUND)
    told = Told()
    worker = pool.hire(told)
    strike(monkeypatch, worker, name, after=False)
    assert begin(worker, Call(Known)) is None
    assert told.outcome().ok
    begin(worker, call(add, 1, 2))
    assert told.outcome().value == 3
    assert told.calls.empty()
    worker.close()
    pool.close()


def shut_and_stay(pid_file: str, until: str, after: str) -> None:
    """Close the connection when the task is over, and do something after that."""

    def stay() -> None:
        (pipe,) = forks._unshared
        assert isinstance(pipe, SocketChannel)
        wait_until(lambda: os.path.exists(pid_file), BOUND)
        pipe.end()
        read(until)
        write(after, "done")

    threading.Thread(target=stay, daemon=False).start()


def test_a_process_that_shuts_its_connection_has_its_period_to_end(
    hire: Callable[[Told], Hired], tmp_path: Any
) -> None:
    """As any other: from when that is noticed."""
    told = Told()
    worker = hire(told)
    kind = dispatched(worker)
    now, until, after = (str(tmp_path / name) for name in ("now", "until", "after"))
    begin(worker, call(shut_and_stay, now, until, after))
    assert told.outcome().ok
    write(now, "now")
    wait_until(lambda: kind.spent, what="that it is noticed")
    closing = threading.Thread(target=kind.close, daemon=True)
    closing.start()
    write(until, "now")
    closing.join(BOUND)
    assert not closing.is_alive()
    assert os.path.exists(after)


def test_the_dispatcher_has_a_thread_of_its_own(
    pool: TestPool, hire: Callable[[Told], Hired]
) -> None:
    """Not one that may have run a task; it has ended when it is closed."""
    used = threading.Event()
    cached: list[threading.Thread] = []

    def use() -> None:
        cached.append(threading.current_thread())
        used.set()

    pool.threads.start(use)
    assert used.wait(BOUND)
    wait_until(lambda: pool.threads._idle, what="that it is idle")
    worker = hire(Told())
    dispatcher = pool._processes.dispatcher
    assert dispatcher is not None
    thread = dispatcher._thread
    assert thread is not None and thread not in cached
    assert (thread.name, thread.daemon) == ("concurra", True)
    worker.close()
    dispatcher.close()
    assert not thread.is_alive()


def test_what_is_at_hand_when_a_dispatcher_closes(tmp_path: Any, guardian: Any) -> None:
    """Gets its outcome, too, and its process does not live on."""
    told = Told()
    worker = Dispatched(multiprocessing.get_context(QUICKEST), guardian, grace=BOUND)
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
    (kind,) = worker._backends.values()
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
    (kind,) = worker._backends.values()
    assert isinstance(kind, DispatchedWorker)
    real_send = kind._pipe.send

    def send(message: Any) -> None:
        os.kill(kind._group.pid, signal.SIGKILL)
        wait_until(lambda: kind._ended, what="that the dispatcher sees it")
        real_send(message)

    monkeypatch.setattr(kind._pipe, "send", send)
    begin(worker, call(add, 1))
    outcome = told.outcome()
    assert (outcome.cause, outcome.mode) == (LOST, None)
    assert told.calls.empty()


def test_who_sends_a_job_tells_why_its_worker_was_broken_off(
    hire: Callable[[Told], Hired], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """The dispatcher leaves the job to that thread, and the reason with it."""
    told = Told()
    worker = hire(told)
    kind = dispatched(worker)
    real_send = kind._pipe.send

    def send(message: Any) -> None:
        real_send(message)
        kind.break_off("was given up")

    monkeypatch.setattr(kind._pipe, "send", send)
    begin(worker, call(linger, str(tmp_path / "pid"), "never"))
    outcome = told.outcome()
    assert (outcome.cause, outcome.mode) == (LOST, "process")
    assert "was given up" in str(outcome.error)
    assert told.calls.empty()


def test_a_fallback_runs_in_the_thread_that_begins_it() -> None:
    """The job of which the process says that it cannot be unpickled there.

    It is lost before it began, as far as its owner can tell, and any worker does it.
    """
    context = multiprocessing.get_context(QUICKEST)
    pool = TestPool(context, fallback=True, grace=BOUND)
    told = Told()
    one, other = pool.hire(told), pool.hire(told)
    try:
        job, next_job = call(own_thread, ElsewhereOnly()), call(add, 1, 2)
        assert begin(one, job) is None
        lost = told.outcome()
        assert (lost.cause, lost.mode) == (LOST, None)
        assert "not here" in str(lost.error)
        for worker in (one, other, other):
            assert not worker.is_quick(job)
            outcome = begin(worker, job)
            assert outcome is not None and outcome.mode == "thread_fallback"
            assert outcome.value == threading.get_ident()
        assert begin(other, next_job) is None
        assert told.outcome().mode == "process"
        assert told.calls.empty()
    finally:
        one.close()
        other.close()
        pool.close()


def own_thread(argument: object) -> int:
    return threading.get_ident()
