"""Jobs that are done elsewhere: a slot is served by a call from any thread."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Callable

import pytest

from concurra.engine.scheduler import Scheduler
from concurra.events import Events, Reader
from concurra.outcomes import NOTHING, UNAVAILABLE, AtHand, Outcome
from concurra.tasks import Call, Task
from concurra.threads import ThreadCache
from tests.helpers import wait_until
from tests.unit.support import (
    Planned,
    checked,
    error_of,
    failure,
    make,
    nothing,
    status_of,
    success,
)

if TYPE_CHECKING:
    from concurra.workers import Done

BOUND = 30.0


class Elsewhere:
    """A worker whose jobs are at hand until the test ends them."""

    unreaped = False
    elsewhere = True
    remote = False

    def __init__(self, pool: Pool, done: Done) -> None:
        self.pool = pool
        self.done = done
        self.at_hand = NOTHING
        self.stops: list[bool] = []
        self.closed = False
        self._dismissed = False

    def is_quick(self, job: Call) -> bool:
        return self.pool.quick

    def begin(self, job: Call, note: object = None) -> Outcome | None:
        self.at_hand = AtHand("process")
        if self._dismissed:
            return Outcome.stopped()
        return self.pool.begin(self)

    def reap(self) -> None:
        raise AssertionError("nothing is ever unreaped")

    def is_starting(self) -> bool:
        return False

    def has_ended(self) -> bool:
        return False

    def dismiss(self) -> AtHand:
        self._dismissed = True
        return self.at_hand

    def stop(self, force: bool = False) -> bool:
        self.stops.append(force)
        if self.pool.heeds:
            self.done(Outcome.stopped(), True)
        return True

    def abandon(self) -> None:
        self.closed = True

    def retire(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


class Pool:
    """Has many jobs in flight, and no thread for any.

    :param at_once: whether a job is done before `begin` returns, by a call.
    """

    def __init__(self, quick: bool = True, at_once: bool = False) -> None:
        self.quick = quick
        self.at_once = at_once
        self.at_first: int | None = None
        self.heeds = True
        self.workers: list[Elsewhere] = []
        self.in_flight: deque[Elsewhere] = deque()
        self.most = self.begun = 0
        self.closed = False

    def prepare(self, stopped: Callable[[], bool]) -> None:
        pass

    def hire(self, done: Done) -> Elsewhere:
        worker = Elsewhere(self, done)
        self.workers.append(worker)
        return worker

    def begin(self, worker: Elsewhere) -> None:
        self.begun += 1
        if self.at_once:
            worker.done(success(), False)
        else:
            self.in_flight.append(worker)
            self.most = max(self.most, len(self.in_flight))

    def is_passing_on(self) -> bool:
        return False

    def kill(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True
        assert all(worker.closed for worker in self.workers)


def run_with(pool: Pool, *tasks: Task, **options: Any) -> Scheduler:
    scheduler = Scheduler(checked(*tasks), pool, Events(len(tasks)), **options)
    scheduler.start()
    return scheduler


def wait_for(scheduler: Scheduler) -> None:
    wait_until(lambda: scheduler.finished, BOUND, "the end of the run")


def threads_of_runs() -> int:
    return sum(each.name == "concurra" for each in threading.enumerate())


def test_ten_thousand_jobs_in_flight_need_no_thread_each() -> None:
    """All are begun before any ends; then one thread that serves them all ends them."""
    pool, total = Pool(), 10_000
    tasks = [make(number) for number in range(total)]
    tasks += [make(("after", number), number) for number in range(total)]
    scheduler = run_with(pool, *tasks, limit=total)
    wait_until(lambda: len(pool.in_flight) == total, BOUND, "all of them")
    assert scheduler.running == total
    wait_until(lambda: threads_of_runs() <= 40, BOUND, "few threads")
    while not scheduler.finished:
        if pool.in_flight:
            pool.in_flight.popleft().done(success(), True)
    assert pool.most == total and pool.begun == 2 * total
    assert {status_of(task) for task in tasks} == {"Successful"}


@pytest.mark.parametrize("serving", [True, False])
@pytest.mark.parametrize("quick", [True, False])
def test_a_chain_goes_on_by_calls(quick: bool, serving: bool) -> None:
    """Whichever thread calls, and wherever the next job may be begun."""
    pool = Pool(quick)
    tasks = [make(0), *[make(number, number - 1) for number in range(1, 50)]]
    scheduler = run_with(pool, *tasks, limit=4)
    for _ in tasks:
        wait_until(lambda: pool.in_flight, BOUND, "the next job")
        pool.in_flight.popleft().done(success(), serving)
    wait_for(scheduler)
    assert {status_of(task) for task in tasks} == {"Successful"}
    assert pool.most == 1


def test_a_call_may_come_before_begin_has_returned() -> None:
    """At once, in the same thread; 20,000 of them need no deeper stack."""
    pool = Pool(at_once=True)
    tasks = [make(number) for number in range(20_000)]
    scheduler = run_with(pool, *tasks, limit=3)
    wait_for(scheduler)
    assert {status_of(task) for task in tasks} == {"Successful"}
    assert pool.begun == 20_000


def test_a_call_from_another_thread_may_come_before_begin_has_returned() -> None:
    """Whoever is second goes on, and each job is recorded once."""
    pool = Pool(quick=False)

    def begin(worker: Elsewhere) -> None:
        caller = threading.Thread(target=worker.done, args=(success(), True))
        caller.start()
        caller.join(BOUND)
        pool.begun += 1

    pool.begin = begin  # type: ignore[method-assign]
    tasks = [make(number) for number in range(100)]
    wait_for(run_with(pool, *tasks, limit=2))
    assert pool.begun == 100
    assert [task.attempts for task in tasks] == [1] * 100


def test_failures_and_retries() -> None:
    """As with any other worker."""
    pool = Pool()
    scheduler = run_with(pool, make("a", retries=1), make("b", "a"), limit=2)
    for attempt in (1, 2):
        wait_until(lambda: pool.in_flight, BOUND, "an attempt")
        pool.in_flight.popleft().done(failure(f"E: {attempt}"), True)
    wait_for(scheduler)
    task = scheduler._state.plan.tasks["a"]
    assert (error_of(task), task.attempts, task.errors) == (
        "E: 2",
        2,
        ["E: 1", "E: 2"],
    )


def test_a_stop_of_all_that_is_in_flight() -> None:
    """Each is asked once, and the run is over when all have answered."""
    pool, total = Pool(), 200
    tasks = [make(number) for number in range(total + 5)]
    scheduler = run_with(pool, *tasks, limit=total, grace=BOUND)
    wait_until(lambda: len(pool.in_flight) == total, BOUND, "all of them")
    scheduler.stop()
    wait_for(scheduler)
    assert {status_of(task) for task in tasks} == {"Terminated"}
    assert [worker.stops for worker in pool.workers] == [[False]] * total
    assert [task.attempts for task in tasks] == [1] * total + [0] * 5


def test_one_that_never_answers_is_let_go() -> None:
    """After its grace periods; what it says later counts for nothing."""
    pool = Pool()
    pool.heeds = False
    tasks = make("a"), make("b")
    scheduler = run_with(pool, *tasks, limit=1, timeout=0.5, grace=0.05)
    wait_until(lambda: pool.begun == 2, BOUND, "the other task")
    first, second = pool.in_flight
    second.done(success(), True)
    wait_for(scheduler)
    assert first.stops == [False, True] and first.closed
    first.done(success(), True)
    assert [status_of(task) for task in tasks] == ["Terminated", "Successful"]


def test_nobody_is_held_up_who_serves_others() -> None:
    """A reader of events that blocks is left to another thread."""
    reached, leave = threading.Event(), threading.Event()

    class Blocking(Reader):
        step = 1

        def read(self, event: object) -> None:
            reached.set()
            assert leave.wait(BOUND)

    pool = Pool()
    tasks = [make("a"), make("b", "a")]
    events = Events(2, [Blocking()])
    scheduler = Scheduler(checked(*tasks), pool, events, limit=2)
    scheduler.start()
    try:
        for _ in tasks:
            wait_until(lambda: pool.in_flight, BOUND, "a job")
            pool.in_flight.popleft().done(success(), True)
        assert reached.wait(BOUND)
        assert not scheduler.finished
    finally:
        leave.set()
    wait_for(scheduler)


def test_jobs_here_and_elsewhere_in_one_slot() -> None:
    """Some are done in the calling thread, others come back by a call."""
    pool = Pool(quick=False)
    here: list[int] = []

    def begin(worker: Elsewhere) -> Outcome | None:
        pool.begun += 1
        if pool.begun % 2:
            here.append(threading.get_ident())
            return success("here")
        pool.in_flight.append(worker)
        return None

    pool.begin = begin  # type: ignore[method-assign, assignment]
    tasks = [Planned(number, Call(nothing)) for number in range(40)]
    scheduler = run_with(pool, *tasks, limit=1)
    for _ in range(20):
        wait_until(lambda: pool.in_flight, BOUND, "a job")
        pool.in_flight.popleft().done(success("elsewhere"), True)
    wait_for(scheduler)
    values = [task.outcome.value for task in tasks if task.outcome]
    assert values == ["here", "elsewhere"] * 20
    assert threading.get_ident() not in here


class Scarce(ThreadCache):
    """Notes what is started, and can have no more threads.

    :param most: how many calls get one, of those that any thread may make.
    """

    def __init__(self, most: int = 100) -> None:
        super().__init__()
        self.most = most
        self.started: list[str] = []

    def start(self, target: Callable[..., object], *args: Any) -> None:
        self.started.append("any")
        if self.started.count("any") > self.most:
            raise RuntimeError("can't start new thread")
        super().start(target, *args)

    def start_soon(self, target: Callable[..., object], *args: Any) -> None:
        self.start(target, *args)

    def start_own(self, target: Callable[..., object], *args: Any) -> None:
        self.started.append("own")
        super().start_own(target, *args)


def test_the_timer_has_its_thread_before_the_tasks() -> None:
    """A run with timeouts that has too many threads later on goes on without them."""
    threads, pool = Scarce(), Pool(quick=False, at_once=True)
    scheduler = run_with(
        pool, *map(make, range(5)), limit=5, timeout=BOUND, threads=threads
    )
    wait_for(scheduler)
    assert threads.started[:2] == ["any", "own"]
    assert threads.started.count("own") == 1


def test_a_slot_that_leaves_needs_no_thread() -> None:
    """There is no worker for its task, and no thread for its own last act."""
    pool, threads = Pool(), Scarce(1)

    def begin(worker: Elsewhere) -> Outcome | None:
        if pool.in_flight:
            return Outcome.raised(None, OSError("no more"), UNAVAILABLE)
        pool.in_flight.append(worker)
        return None

    pool.begin = begin  # type: ignore[method-assign, assignment]
    tasks = [make(number) for number in range(3)]
    scheduler = run_with(pool, *tasks, limit=3, threads=threads)
    for _ in tasks:
        wait_until(lambda: pool.in_flight, BOUND, "a job")
        pool.in_flight.popleft().done(success(), True)
    wait_for(scheduler)
    assert {status_of(task) for task in tasks} == {"Successful"}
