"""The scheduler, with workers that follow a script and a clock that the test moves."""

from __future__ import annotations

import ctypes
import random
import threading
from collections.abc import Iterator
from typing import Any, Callable

import pytest

from concurra.engine.scheduler import Scheduler
from concurra.engine.slots import GONE, STOPPING
from concurra.engine.timers import FOREVER
from concurra.errors import LifeCycleError
from concurra.events import Event, Events, Reader
from concurra.outcomes import FAILED, SUCCESS, SUCCESSFUL, TERMINATED, Outcome
from concurra.tasks import Task
from tests.helpers import wait_until
from tests.unit.scripted import (
    BOUND,
    Block,
    Clock,
    Meeting,
    Script,
    ScriptedPool,
    ScriptedWorker,
    badly,
    play,
    unable,
    well,
)
from tests.unit.support import checked, error_of, labels, status_of

#: Fake seconds. The watchman takes them for real ones, and looks at the clock again
#: each time that so many have gone by; what he sees there is for the test to say.
TIMEOUT = 0.01
GRACE = 0.01

STOPPED = "RuntimeError: Execution terminated before completion"


class Told(Reader):
    """A reader that writes down what it is told, and calls a callback."""

    def __init__(self, told: list[Any], callback: Callable[[Any], object]) -> None:
        self.told = told
        self.callback = callback

    def tell(self, what: Any) -> None:
        self.told.append(what)
        self.callback(what)


class Progress(Told):
    """Wants to know how many have ended."""

    def __init__(self, step: int, total: int, *args: Any) -> None:
        super().__init__(*args)
        self.step = step
        self.total = total

    def read(self, event: Event) -> None:
        if event.ended % self.step == 0 or event.ended == self.total:
            self.tell(event.ended)


class Faults(Told):
    """Wants to know what went wrong."""

    faults = True

    def read(self, event: Event) -> None:
        outcome = event.task.outcome
        assert outcome is not None
        if outcome.fault or outcome.warning is not None:
            self.callback(event.task)


class Run:
    """A scheduler with its plan, pool and clock, and what its readers were told."""

    def __init__(
        self,
        tasks: tuple[Task, ...],
        limit: int = 1,
        stoppable: bool = True,
        on_progress: Callable[[int], object] = lambda ended: None,
        on_report: Callable[[Task], object] = lambda task: None,
        step: int = 1,
        **options: Any,
    ) -> None:
        self.tasks = {task.label: task for task in tasks}
        self.scripts = [getattr(task.job, "func", None) for task in tasks]
        self.plan = checked(*tasks)
        self.pool = ScriptedPool(stoppable)
        self.clock = Clock()
        self.told: list[Any] = []

        def report(task: Task) -> None:
            self.told.append(task.label)
            on_report(task)

        readers = [
            Faults(self.told, report),
            Progress(step, len(tasks), self.told, on_progress),
        ]
        self.events = Events(len(tasks), readers)
        self.pool.at_first = options.pop("at_first", None)
        self.scheduler = Scheduler(
            self.plan,
            self.pool,
            self.events,
            limit=limit,
            grace=options.pop("grace", GRACE),
            clock=self.clock,
            **options,
        )
        self.state = self.scheduler._state

    def start(self) -> Run:
        self.scheduler.start()
        return self

    def end(self) -> Run:
        """Wait for the end of the run."""
        wait_until(lambda: self.scheduler.finished, BOUND, "the end of the run")
        return self

    def tick(self) -> None:
        """Some time goes by."""
        self.clock.now += 1.0
        self.scheduler._ring()

    def statuses(self) -> dict[Any, str]:
        return {label: status_of(task) for label, task in self.tasks.items()}

    def clean_up(self) -> None:
        for script in self.scripts:
            if isinstance(script, Meeting):
                for _ in range(10):
                    script.end()
        if not self.scheduler.finished:
            self.scheduler.stop(force=True)


Scheduling = Callable[..., Run]


@pytest.fixture
def schedule() -> Iterator[Scheduling]:
    """Makes runs; in the end their workers are let go, and what goes on is stopped."""
    runs: list[Run] = []

    def make(*tasks: Task, **options: Any) -> Run:
        runs.append(Run(tasks, **options))
        return runs[-1]

    yield make
    for run in runs:
        run.clean_up()


@pytest.fixture
def escaped(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What threads have let escape: the arguments of `threading.excepthook`."""
    found: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", found.append)
    return found


def threads_of_runs() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "concurra"]


def ignore(*args: object) -> None:
    """A hook that does nothing."""


# Order and staff ---------------------------------------------------------------------


def test_one_worker_runs_in_the_order_of_the_plan(schedule: Scheduling) -> None:
    """A, B (after A), C, D run as they were added."""
    order: list[str] = []

    def enter(label: str) -> Script:
        def script(worker: ScriptedWorker) -> Outcome:
            order.append(label)
            return well()

        return script

    tasks = [play("A", enter("A")), play("B", enter("B"), "A")]
    tasks += [play("C", enter("C")), play("D", enter("D"))]
    run = schedule(*tasks, limit=1).start().end()
    assert order == ["A", "B", "C", "D"]
    assert set(run.statuses().values()) == {SUCCESSFUL}
    assert len(run.pool.workers) == 1


def test_ready_tasks_run_side_by_side(schedule: Scheduling) -> None:
    """As many as the limit allows: they meet at a barrier."""
    barrier = threading.Barrier(4)

    def meet(worker: ScriptedWorker) -> Outcome:
        barrier.wait(BOUND)
        return well()

    run = schedule(*[play(n, meet) for n in range(8)], limit=4).start().end()
    assert run.pool.most == 4
    assert len(run.pool.workers) == 4


def test_the_limit_is_kept(schedule: Scheduling) -> None:
    """No moment sees more tasks at work than allowed, and `running` counts them."""
    meetings = [Meeting() for _ in range(5)]
    run = schedule(*[play(n, script) for n, script in enumerate(meetings)], limit=2)
    assert run.scheduler.running == 0
    run.start()
    for meeting in meetings[:2]:
        meeting.reached()
    assert run.scheduler.running == 2
    for number, meeting in enumerate(meetings):
        meeting.end()
        if number + 2 < len(meetings):
            meetings[number + 2].reached()
    run.end()
    assert run.pool.most == 2
    assert run.scheduler.running == 0


def test_a_chain_needs_one_thread(schedule: Scheduling) -> None:
    """However many might be hired: who ends a task takes the next one."""
    tasks = [play(n, well(), *[n - 1] * bool(n)) for n in range(200)]
    run = schedule(*tasks, limit=64, step=1000).start().end()
    assert set(run.statuses().values()) == {SUCCESSFUL}
    assert len(run.pool.workers) == 1


def test_no_more_threads_than_tasks(schedule: Scheduling) -> None:
    """One task, one thread."""
    assert len(schedule(play(0, well()), limit=64).start().end().pool.workers) == 1


def test_who_is_parked_is_woken(schedule: Scheduling) -> None:
    """Three side by side, one alone, three side by side again: three threads."""
    barrier = threading.Barrier(3)

    def meet(worker: ScriptedWorker) -> Outcome:
        barrier.wait(BOUND)
        return well()

    tasks = [play(n, meet) for n in range(3)]
    tasks.append(play(3, well(), 0, 1, 2))
    tasks += [play(n, meet, 3) for n in (4, 5, 6)]
    run = schedule(*tasks, limit=3).start().end()
    assert set(run.statuses().values()) == {SUCCESSFUL}
    assert len(run.pool.workers) == 3


def test_who_is_untidy_tidies_up_before_the_next_task(schedule: Scheduling) -> None:
    """That counts neither for the last task nor for the next one."""
    seen: list[Any] = []

    def tidy(worker: ScriptedWorker) -> None:
        seen.append([(task.started, task.ended) for task in run.tasks.values()])
        run.clock.now = 2.0

    def litter(worker: ScriptedWorker) -> Outcome:
        worker.litter(tidy)
        return well()

    run = schedule(play("first", litter), play("next", well()))
    run.start().end()
    assert seen == [[(0.0, 0.0), (None, None)]]
    assert (run.tasks["next"].started, run.tasks["next"].ended) == (2.0, 2.0)


def test_who_tidies_up_is_told_to_hurry_by_a_stop(schedule: Scheduling) -> None:
    """What it waits for is asked to stop, then forced, as everything is."""
    tidying = threading.Event()

    def tidy(worker: ScriptedWorker) -> None:
        tidying.set()
        wait_until(lambda: True in worker.stops, BOUND, "the force")

    def litter(worker: ScriptedWorker) -> Outcome:
        worker.litter(tidy)
        return well()

    run = schedule(play("first", litter), play("next", well()), grace=0.0).start()
    assert tidying.wait(BOUND)
    run.scheduler.stop()
    run.end()
    assert run.pool.workers[0].stops == [False, True]
    assert run.statuses() == {"first": SUCCESSFUL, "next": TERMINATED}


def test_who_tells_is_not_let_go(schedule: Scheduling) -> None:
    """A stop may find somebody who tells the news: the run is over when that is done,
    however short the grace period."""
    block = Block(at=1)
    tasks = play("first", well()), play("next", well())
    run = schedule(*tasks, grace=0.0, on_progress=block).start()
    block.reached()
    run.scheduler.stop()
    wait_until(lambda: run.state.next_moment == FOREVER, BOUND, "the last grace period")
    assert not run.scheduler.finished
    block.end()
    run.end()
    assert run.told == [1, 2]


def test_who_is_parked_is_woken_before_somebody_tells(schedule: Scheduling) -> None:
    """A callback that takes its time holds up no task for which others are free."""
    block = Block(at=2)
    first, third = Meeting(), Meeting()
    tasks = play("first", first), play("second", well()), play("third", third, "first")
    run = schedule(*tasks, limit=2, on_progress=block).start()
    first.reached()
    wait_until(
        lambda: run.state.slots.parked, BOUND, "the second to have nothing to do"
    )
    first.end()
    block.reached()
    third.reached()
    block.end()
    third.end()
    run.end()
    assert set(run.statuses().values()) == {SUCCESSFUL}


def test_a_late_timer_of_a_task_does_no_harm(schedule: Scheduling) -> None:
    """An exception for a task that has ended is raised in a thread that is parked."""
    first, third = Meeting(), Meeting()
    tasks = play("first", first), play("second", well()), play("third", third, "first")
    run = schedule(*tasks, play("last", well(), "first"), limit=2).start()
    first.reached()
    wait_until(
        lambda: run.state.slots.parked, BOUND, "the second to have nothing to do"
    )
    wait_until(lambda: run.scheduler._threads._idle, BOUND, "a thread to wait")
    idle = next(iter(run.scheduler._threads._idle))
    assert idle.thread is not None and idle.thread.ident is not None
    raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
    ident = ctypes.c_ulong(idle.thread.ident)
    assert raise_in(ident, ctypes.py_object(TimeoutError)) == 1
    first.end()
    third.reached()
    third.end()
    run.end()
    assert set(run.statuses().values()) == {SUCCESSFUL}


def test_who_is_alone_tells_before_the_next_task(schedule: Scheduling) -> None:
    """So a line of the log about a failure stands before what comes after it."""
    order: list[object] = []
    tasks = play(1, well()), play(2, lambda worker: order.append("task") or well())
    run = schedule(*tasks, limit=1, on_progress=order.append).start()
    run.end()
    assert order == [1, "task", 2]


def test_others_are_hired_before_somebody_tells(schedule: Scheduling) -> None:
    """A callback that takes its time holds up one worker, not all that are free."""
    block = Block(at=1)
    meetings = [Meeting() for _ in range(3)]
    others = [play(number, each, "first") for number, each in enumerate(meetings)]
    run = schedule(play("first", well()), *others, limit=4, on_progress=block).start()
    block.reached()
    for each in meetings:
        each.reached()
    block.end()
    for each in meetings:
        each.end()
    run.end()


def test_others_are_hired_before_somebody_tidies_up(schedule: Scheduling) -> None:
    """The next task does not wait for that if there may be more workers."""
    next_one = Meeting()

    def litter(worker: ScriptedWorker) -> Outcome:
        worker.litter(lambda _: next_one.reached() and next_one.end())
        return well()

    run = schedule(play("first", litter), play("next", next_one, "first"), limit=2)
    run.start().end()
    assert len(run.pool.workers) == 2


def test_who_is_let_go_is_abandoned(schedule: Scheduling) -> None:
    """So that what it holds besides its job is not held as long as that goes on."""
    stuck = Meeting(heeds=None)
    run = schedule(play("stuck", stuck), timeout=TIMEOUT, stoppable=False).start()
    worker = stuck.reached()
    run.clock.now = TIMEOUT
    run.end()
    assert worker.abandoned


def test_a_failed_attempt_is_tried_again(schedule: Scheduling) -> None:
    """Until the retries are used up, and only the end is reported."""
    outcomes = iter([badly("E: 1"), badly("E: 2"), well("third")])
    run = schedule(play("a", lambda worker: next(outcomes), retries=2))
    run.start().end()
    task = run.tasks["a"]
    assert task.outcome and task.outcome.value == "third"
    assert (task.attempts, list(task.errors)) == (3, ["E: 1", "E: 2"])
    assert run.told == [1]


def test_a_failure_skips_what_depends_on_it(schedule: Scheduling) -> None:
    """The others go on."""
    ran: list[str] = []
    tasks = [play("bad", badly()), play("after", well(), "bad"), play("good", well())]
    run = schedule(*tasks, limit=2, on_report=lambda task: ran.append(task.label))
    run.start().end()
    assert run.statuses() == {
        "bad": FAILED,
        "after": TERMINATED,
        "good": SUCCESSFUL,
    }
    assert ran == ["bad"], "a skip is nobody's fault"


def test_an_empty_plan_ends_at_once(schedule: Scheduling) -> None:
    """Nothing is told, and the crew is closed."""
    run = schedule().start().end()
    assert run.told == []
    assert run.pool.events[-1] == "pool closed"


@pytest.mark.parametrize("seed", range(5))
def test_random_plans_come_to_their_end(schedule: Scheduling, seed: int) -> None:
    """Whatever fails: each task ends once, in the order that dependencies demand."""
    draw = random.Random(seed)
    started: list[int] = []
    lock = threading.Lock()

    def script(number: int) -> Script:
        outcomes = [draw.choice([well(), well(), badly()]) for _ in range(3)]

        def enter(worker: ScriptedWorker) -> Outcome:
            with lock:
                started.append(number)
            return outcomes.pop()

        return enter

    tasks = []
    for number in range(60):
        needs = draw.sample(range(number), min(number, draw.randrange(3)))
        tasks.append(play(number, script(number), *needs, retries=draw.randrange(3)))
    run = schedule(*tasks, limit=5).start().end()
    assert run.pool.most <= 5
    assert [each for each in run.told if each in range(1, 61)][-1] == 60
    for task in run.tasks.values():
        good = all(
            status_of(run.tasks[one]) == SUCCESSFUL for one in labels(task.needs)
        )
        assert good is (task.label in started)
        assert started.count(task.label) == task.attempts  # type: ignore[arg-type]
        for one in labels(task.needs) if good else ():
            assert started.index(one) < started.index(task.label)  # type: ignore


# Timeouts -----------------------------------------------------------------------------


def test_a_task_that_takes_too_long_is_ended(schedule: Scheduling) -> None:
    """When its deadline has come, by a stop that is not forced."""
    slow = Meeting()
    run = schedule(play("slow", slow), timeout=TIMEOUT).start()
    worker = slow.reached()
    run.clock.now = TIMEOUT
    run.end()
    task = run.tasks["slow"]
    assert error_of(task) == f"TimeoutError: Task exceeded timeout of {TIMEOUT} seconds"
    assert status_of(task) == TERMINATED
    assert (task.started, task.ended, task.attempts) == (0.0, TIMEOUT, 1)
    assert worker.stops == [False]
    assert run.told == ["slow", 1]


def test_a_deadline_wakes_the_watchman_who_sleeps(schedule: Scheduling) -> None:
    """Also when all earlier deadlines were of tasks that ended in time."""
    quick, idle, slow = Meeting(), Meeting(), Meeting()
    tasks = (
        play("quick", quick),
        play("idle", idle, "quick"),
        play("slow", slow, "idle"),
    )
    run = schedule(*tasks, timeout=TIMEOUT).start()
    for meeting in (quick, idle):
        meeting.reached()
        meeting.end()
    slow.reached()
    run.clock.now = TIMEOUT
    run.end()
    expected = {"quick": SUCCESSFUL, "idle": SUCCESSFUL, "slow": TERMINATED}
    assert run.statuses() == expected


def test_each_task_has_its_own_deadline(schedule: Scheduling) -> None:
    """Counted from its own start, not from the run's."""
    first, second = Meeting(), Meeting()
    tasks = play("first", first), play("second", second, "first")
    run = schedule(*tasks, timeout=TIMEOUT).start()
    first.reached()
    run.clock.now = 0.75 * TIMEOUT
    first.end()
    second.reached()
    run.clock.now = 1.5 * TIMEOUT
    second.end()
    run.end()
    assert run.statuses() == {"first": SUCCESSFUL, "second": SUCCESSFUL}


def test_the_timeout_covers_the_retries(schedule: Scheduling) -> None:
    """It counts from the start of the first attempt."""
    flaky = Meeting()
    run = schedule(play("flaky", flaky, retries=9), timeout=TIMEOUT).start()
    flaky.reached()
    run.clock.now = 0.75 * TIMEOUT
    flaky.end(badly("E: 1"))
    flaky.reached()
    run.clock.now = TIMEOUT
    run.end()
    task = run.tasks["flaky"]
    assert error_of(task) == f"TimeoutError: Task exceeded timeout of {TIMEOUT} seconds"
    assert (task.attempts, list(task.errors)) == (2, ["E: 1"])
    assert (task.started, task.ended) == (0.0, TIMEOUT)


class Queue:
    """A run in which the task "flaky" waits for its retry behind two others.

    It was started first, at the moment 0; "early" and "late" were added before it,
    and have become ready while it was at work.
    """

    def __init__(self, schedule: Scheduling) -> None:
        opener, flaky = Meeting(), Meeting()
        self.early, self.late = Meeting(), Meeting()
        self.run = run = schedule(
            play("early", self.early, "opener"),
            play("late", self.late, "opener"),
            play("flaky", flaky, retries=1),
            play("opener", opener),
            limit=2,
            timeout=TIMEOUT,
            step=1000,
        )
        run.start()
        flaky.reached()
        opener.reached()
        run.clock.now = 0.5 * TIMEOUT
        opener.end()
        self.early.reached()
        flaky.end(badly("E: 1"))
        self.late.reached()


def test_a_task_that_waits_for_its_retry_can_be_overdue(schedule: Scheduling) -> None:
    """It ends without a worker, and costs nobody anything."""
    queue = Queue(schedule)
    run = queue.run
    run.clock.now = TIMEOUT
    flaky = run.tasks["flaky"]
    wait_until(lambda: flaky.outcome, BOUND, "the end of the task")
    assert (flaky.attempts, list(flaky.errors)) == (1, ["E: 1"])
    queue.early.end()
    queue.late.end()
    run.end()
    assert run.statuses() == {
        "early": SUCCESSFUL,
        "late": SUCCESSFUL,
        "flaky": TERMINATED,
        "opener": SUCCESSFUL,
    }
    assert all(worker.stops == [] for worker in run.pool.workers)


def test_nobody_is_hired_when_all_is_over(schedule: Scheduling) -> None:
    """Not even when the last tasks end while one of them waits for its retry."""
    queue = Queue(schedule)
    run = queue.run
    run.clock.now = 2 * TIMEOUT
    try:
        run.end()
    finally:
        run.plan.take(0.0)  # what else might be taken keeps a broken run going
    assert len(run.pool.workers) == 2
    assert run.pool.events[1:] == ["worker closed"] * 2 + ["pool closed"]


def test_a_timeout_keeps_what_the_victim_had_to_say(schedule: Scheduling) -> None:
    """The mode and the transcript are those of its worker."""
    slow = Meeting()
    run = schedule(play("slow", slow), timeout=TIMEOUT).start()
    slow.reached().print("so far")
    run.clock.now = TIMEOUT
    run.end()
    outcome = run.tasks["slow"].outcome
    assert outcome and (outcome.mode, outcome.trace) == ("scripted", "so far")


def test_a_victim_never_takes_another_task(schedule: Scheduling) -> None:
    """The next task has a worker of its own, while the victim is still being stopped.

    So a stop cannot hit an innocent task.
    """
    stubborn, innocent = Meeting(heeds=None), Meeting()
    tasks = play("stubborn", stubborn), play("innocent", innocent)
    run = schedule(*tasks, limit=1, timeout=TIMEOUT).start()
    victim = stubborn.reached()
    run.clock.now = TIMEOUT
    other = innocent.reached()
    assert other is not victim
    stubborn.end()
    wait_until(lambda: victim.closings, BOUND, "the end of the victim")
    assert other.stops == []
    innocent.end()
    run.end()
    assert run.statuses() == {"stubborn": TERMINATED, "innocent": SUCCESSFUL}


@pytest.mark.parametrize("late", [well("late"), badly("E: late")])
def test_the_first_outcome_wins(schedule: Scheduling, late: Outcome) -> None:
    """What a worker says after the timeout is not heard."""
    slow = Meeting(heeds=None)
    run = schedule(play("slow", slow, retries=5), timeout=TIMEOUT).start()
    worker = slow.reached()
    run.clock.now = TIMEOUT
    wait_until(lambda: worker.stops, BOUND, "the stop")
    first = run.tasks["slow"].outcome
    slow.end(late)
    run.end()
    assert run.tasks["slow"].outcome is first
    assert first and first.status == TERMINATED
    assert run.tasks["slow"].attempts == 1
    assert run.told == ["slow", 1]


def test_a_timeout_skips_what_depends_on_the_task(schedule: Scheduling) -> None:
    """Like every failure."""
    slow = Meeting()
    tasks = play("slow", slow), play("after", well(), "slow"), play("aside", well())
    run = schedule(*tasks, timeout=TIMEOUT).start()
    slow.reached()
    run.clock.now = TIMEOUT
    run.end()
    expected = {"slow": TERMINATED, "after": TERMINATED, "aside": SUCCESSFUL}
    assert run.statuses() == expected


# Stopping those who do not want to ----------------------------------------------------


def test_who_does_not_stop_is_forced_after_the_grace_period(
    schedule: Scheduling,
) -> None:
    """Asked first, forced when the grace period is over."""
    stubborn = Meeting(heeds=True)
    run = schedule(play("stubborn", stubborn)).start()
    worker = stubborn.reached()
    run.scheduler.stop()
    wait_until(lambda: worker.stops, BOUND, "the stop")
    assert worker.stops == [False]
    assert not run.scheduler.finished
    run.clock.now = GRACE
    run.end()
    assert worker.stops == [False, True]
    assert worker.closings == 1


def test_who_cannot_even_be_forced_is_let_go(schedule: Scheduling) -> None:
    """After a second grace period nobody waits for it any more."""
    immortal = Meeting(heeds=None)
    run = schedule(play("immortal", immortal)).start()
    worker = immortal.reached()
    run.scheduler.stop()
    wait_until(lambda: worker.stops == [False], BOUND, "the stop")
    run.clock.now = GRACE
    wait_until(lambda: worker.stops == [False, True], BOUND, "the forced stop")
    assert not run.scheduler.finished
    run.clock.now = 2 * GRACE
    run.end()
    assert worker.stops == [False, True]
    assert run.pool.events == ["pool prepared", "pool closed"]
    immortal.end()
    wait_until(lambda: worker.closings, BOUND, "the end of the worker")


def test_who_cannot_be_stopped_is_let_go_at_once(schedule: Scheduling) -> None:
    """Like a thread: the run ends while it goes on, and is not forced in vain."""
    endless = Meeting(heeds=None)
    run = schedule(play("endless", endless), stoppable=False, grace=1e9).start()
    worker = endless.reached()
    run.scheduler.stop()
    run.end()
    assert worker.stops == [False]
    assert worker.closings == 0


def test_many_victims_share_one_grace_period(schedule: Scheduling) -> None:
    """All are asked before any is forced, and then all are forced."""
    meetings = [Meeting(heeds=True) for _ in range(6)]
    tasks = [play(n, meeting) for n, meeting in enumerate(meetings)]
    run = schedule(*tasks, limit=6).start()
    workers = [meeting.reached() for meeting in meetings]
    run.scheduler.stop()
    wait_until(lambda: all(each.stops for each in workers), BOUND, "six stops")
    assert [each.stops for each in workers] == [[False]] * 6
    run.clock.now = GRACE
    run.end()
    assert [each.stops for each in workers] == [[False, True]] * 6


def test_a_forced_stop_has_no_grace_period(schedule: Scheduling) -> None:
    """Nobody is asked."""
    stubborn = Meeting(heeds=True)
    run = schedule(play("stubborn", stubborn), grace=1e9).start()
    worker = stubborn.reached()
    run.scheduler.stop(force=True)
    run.end()
    assert worker.stops == [True]
    assert "pool killed" in run.pool.events


def test_a_stop_can_be_forced_later(schedule: Scheduling) -> None:
    """That ends a grace period which has begun."""
    stubborn = Meeting(heeds=True)
    run = schedule(play("stubborn", stubborn), grace=1e9).start()
    worker = stubborn.reached()
    run.scheduler.stop()
    wait_until(lambda: worker.stops, BOUND, "the stop")
    assert "pool killed" not in run.pool.events
    run.scheduler.stop(force=True)
    run.end()
    assert worker.stops == [False, True]
    assert "pool killed" in run.pool.events


# Stop ---------------------------------------------------------------------------------


def test_stop_ends_what_has_not_ended(schedule: Scheduling) -> None:
    """What had ended keeps its outcome; what waits never starts."""
    meetings = [Meeting() for _ in range(3)]
    tasks = [play("done", well("kept"))]
    tasks += [play(n, meeting) for n, meeting in enumerate(meetings)]
    run = schedule(*tasks, limit=2).start()
    for meeting in meetings[:2]:
        meeting.reached()
    run.scheduler.stop()
    run.end()
    assert run.statuses() == {
        "done": SUCCESSFUL,
        0: TERMINATED,
        1: TERMINATED,
        2: TERMINATED,
    }
    assert [error_of(run.tasks[n]) for n in range(3)] == [STOPPED] * 3
    assert [run.tasks[n].attempts for n in range(3)] == [1, 1, 0]
    assert meetings[2].worker is None
    assert run.told[-1] == 4
    assert run.scheduler.running == 0


def test_stop_keeps_what_the_victims_had_to_say(schedule: Scheduling) -> None:
    """The transcript of a task at work is in its outcome."""
    slow = Meeting()
    run = schedule(play("slow", slow)).start()
    slow.reached().print("so far")
    run.scheduler.stop()
    run.end()
    outcome = run.tasks["slow"].outcome
    assert outcome and (outcome.mode, outcome.trace) == ("scripted", "so far")


def test_stop_before_the_start(schedule: Scheduling) -> None:
    """Everything ends, nothing starts, nobody is hired, and the crew is closed."""
    run = schedule(play("a", well()), play("b", well(), "a"))
    run.scheduler.stop()
    run.end()
    assert run.statuses() == {"a": TERMINATED, "b": TERMINATED}
    assert run.pool.workers == []
    assert run.pool.events == ["pool closed"]
    assert run.told == [1, 2]


def test_start_after_a_stop_starts_nothing(schedule: Scheduling) -> None:
    """Who was late finds the run over, and goes."""
    run = schedule(play("a", well()))
    run.scheduler.stop()
    run.end()
    run.start()
    wait_until(lambda: not threads_of_runs(), BOUND, "the end of its thread")
    assert run.statuses() == {"a": TERMINATED}
    assert run.pool.workers == []
    assert run.pool.events.count("pool closed") == 1


def test_stop_after_the_end_changes_nothing(schedule: Scheduling) -> None:
    """Not even a forced one."""
    run = schedule(play("a", well())).start().end()
    run.scheduler.stop()
    run.scheduler.stop(force=True)
    run.scheduler.wait()
    assert run.statuses() == {"a": SUCCESSFUL}
    assert run.pool.workers[0].stops == []
    assert run.pool.events == ["pool prepared", "worker closed", "pool closed"]


def test_stop_twice_is_stop_once(schedule: Scheduling) -> None:
    """No worker is asked twice, no task ends twice."""
    stubborn = Meeting(heeds=True)
    run = schedule(play("stubborn", stubborn), play("other", well())).start()
    worker = stubborn.reached()
    for _ in range(3):
        run.scheduler.stop()
    wait_until(lambda: worker.stops, BOUND, "the stop")
    run.scheduler.stop()
    run.clock.now = GRACE
    run.end()
    assert worker.stops == [False, True]
    assert run.told == [1, 2]


def test_stop_by_many_threads_at_once(schedule: Scheduling) -> None:
    """One run, one end."""
    meetings = [Meeting() for _ in range(4)]
    tasks = [play(n, meeting) for n, meeting in enumerate(meetings)]
    run = schedule(*tasks, limit=4).start()
    for meeting in meetings:
        meeting.reached()
    barrier = threading.Barrier(8)

    def stop() -> None:
        barrier.wait(BOUND)
        run.scheduler.stop()
        run.scheduler.wait()

    threads = [threading.Thread(target=stop, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
        assert not thread.is_alive()
    assert sorted(run.told) == [1, 2, 3, 4]
    assert run.pool.events.count("pool closed") == 1


def test_stop_from_inside_a_task(schedule: Scheduling) -> None:
    """It returns to the task, which is terminated like all others."""

    returned: list[bool] = []

    def stop(worker: ScriptedWorker) -> Outcome:
        run.scheduler.stop()
        wait_until(lambda: worker.stops, BOUND, "its own stop")
        returned.append(True)
        return well()

    run = schedule(play("stops", stop), play("b", well(), "stops"))
    run.start().end()
    assert run.statuses() == {"stops": TERMINATED, "b": TERMINATED}
    assert returned == [True]
    assert run.plan.remaining == 0


# Fast-fail ----------------------------------------------------------------------------


def test_fast_fail_ends_all_in_the_moment_of_the_failure(schedule: Scheduling) -> None:
    """Whoever hears of the failure finds everything ended, and nothing starts."""
    bad, busy, waiting = Meeting(), Meeting(), Meeting()
    left: list[int] = []
    run = schedule(
        play("bad", bad),
        play("busy", busy),
        play("waiting", waiting),
        limit=2,
        fast_fail=True,
        on_report=lambda task: left.append(run.plan.remaining),
    ).start()
    busy_worker = busy.reached()
    bad.reached()
    bad.end(badly())
    run.end()
    assert run.statuses() == {
        "bad": FAILED,
        "busy": TERMINATED,
        "waiting": TERMINATED,
    }
    assert error_of(run.tasks["busy"]) == error_of(run.tasks["waiting"]) == STOPPED
    assert left == [0]
    assert busy_worker.stops == [False]
    assert waiting.worker is None
    assert run.told == ["bad", 1, 2, 3]


def test_fast_fail_waits_for_the_last_attempt(schedule: Scheduling) -> None:
    """A failure that is retried is none."""
    outcomes = iter([badly(), well()])
    tasks = [play("a", lambda worker: next(outcomes), retries=1), play("b", well())]
    run = schedule(*tasks, fast_fail=True).start().end()
    assert set(run.statuses().values()) == {SUCCESSFUL}


def test_fast_fail_counts_a_timeout(schedule: Scheduling) -> None:
    """As a failure."""
    slow, busy = Meeting(), Meeting()
    run = schedule(
        play("busy", busy),
        play("slow", slow, "opener"),
        play("opener", well()),
        limit=2,
        fast_fail=True,
        timeout=TIMEOUT,
    )
    run.start()
    busy.reached()
    slow.reached()
    run.clock.now = TIMEOUT
    run.end()
    errors = sorted(map(str, (error_of(run.tasks[one]) for one in ("busy", "slow"))))
    timeout = f"TimeoutError: Task exceeded timeout of {TIMEOUT} seconds"
    assert errors in ([STOPPED, timeout], [timeout, timeout])


def test_fast_fail_stops_the_others_before_it_is_reported(
    schedule: Scheduling,
) -> None:
    """A callback that blocks does not keep the others from being stopped."""
    bad, busy = Meeting(), Meeting()
    reported = threading.Event()
    may_return = threading.Event()

    def block(task: Task) -> None:
        reported.set()
        may_return.wait(BOUND)

    tasks = play("bad", bad), play("busy", busy)
    run = schedule(*tasks, limit=2, fast_fail=True, on_report=block).start()
    worker = busy.reached()
    bad.reached()
    bad.end(badly())
    try:
        assert reported.wait(BOUND)
        wait_until(lambda: worker.stops, 3.0, "the stop")
    finally:
        may_return.set()
    run.end()


# Callbacks ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("total", "step", "told"),
    [
        (5, 1, [1, 2, 3, 4, 5]),
        (6, 2, [2, 4, 6]),
        (7, 3, [3, 6, 7]),
        (3, 10, [3]),
    ],
)
def test_progress_comes_with_every_step_and_the_last(
    schedule: Scheduling, total: int, step: int, told: list[int]
) -> None:
    """In order, each number once."""
    tasks = [play(number, well()) for number in range(total)]
    assert schedule(*tasks, limit=3, step=step).start().end().told == told


def test_skipped_tasks_count_as_ended(schedule: Scheduling) -> None:
    """Progress goes through every number, also when many end at once."""
    tasks = [play("bad", badly()), *[play(n, well(), "bad") for n in range(4)]]
    assert schedule(*tasks).start().end().told == ["bad", 1, 2, 3, 4, 5]


def test_a_warning_is_reported(schedule: Scheduling) -> None:
    """Also of a task that succeeded."""
    outcome = Outcome(SUCCESS, "thread_fallback", 1, warning="careful")
    run = schedule(play("warned", outcome), play("fine", well())).start().end()
    assert run.told == ["warned", 1, 2]


def test_callbacks_are_called_one_at_a_time(schedule: Scheduling) -> None:
    """In the order of the events, though many threads have news."""
    inside: list[int] = []
    most: list[int] = []

    def enter(ended: int) -> None:
        inside.append(ended)
        most.append(len(inside))
        inside.remove(ended)

    tasks = [play(number, well()) for number in range(300)]
    run = schedule(*tasks, limit=8, on_progress=enter).start().end()
    assert run.told == list(range(1, 301))
    assert set(most) == {1}


def test_callbacks_are_not_called_under_the_lock(schedule: Scheduling) -> None:
    """They may ask anything of the scheduler."""
    seen: list[int] = []
    run = schedule(
        play("a", well()),
        on_progress=lambda ended: seen.append(run.scheduler.running),
    )
    run.start().end()
    assert seen == [0]


def test_a_callback_that_blocks_does_not_hinder_others(schedule: Scheduling) -> None:
    """The other tasks go on to their ends; their news wait in order."""
    block = Block(at=1)
    last = Meeting()
    tasks = [play(number, well()) for number in range(5)]
    labels_before = labels(tasks)
    tasks.append(play("last", last, *labels_before))
    run = schedule(*tasks, limit=2, on_progress=block).start()
    block.reached()
    last.reached()
    assert run.told == [1]
    last.end()
    wait_until(lambda: not run.plan.remaining, BOUND, "the end of the tasks")
    assert not run.scheduler.finished, "the run is over when every callback is"
    block.end()
    run.end()
    assert run.told == [1, 2, 3, 4, 5, 6]


def test_a_callback_that_blocks_holds_up_no_deadline(schedule: Scheduling) -> None:
    """Nor a stop: it is not called by the watchman."""
    block = Block()
    early, late, waits = Meeting(), Meeting(), Meeting()
    tasks = play("early", early), play("late", late), play("waits", waits)
    run = schedule(*tasks, limit=2, timeout=TIMEOUT, on_report=block, step=9).start()
    early.reached()
    late.reached()
    run.clock.now = TIMEOUT
    block.reached()
    waits.reached()
    run.clock.now = 2 * TIMEOUT
    wait_until(lambda: not run.plan.remaining, BOUND, "the last deadline")
    assert not run.scheduler.finished, "the run is over when every callback is"
    block.end()
    run.end()
    assert run.told == ["early", "late", "waits", 3]


def test_who_is_dismissed_tells_nothing(
    schedule: Scheduling, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run does not wait for him, but for everything that is told."""
    tellers = []
    stubborn, other = Meeting(heeds=None), Meeting()
    run = schedule(play("stubborn", stubborn), play("other", other), timeout=TIMEOUT)
    tell = run.events.tell

    def watched(elsewhere: Callable[[], object]) -> None:
        tellers.append(run.scheduler._serving.get(threading.get_ident()))
        tell(elsewhere)

    monkeypatch.setattr(run.events, "tell", watched)
    run.start()
    stubborn.reached()
    (slot,) = run.state.slots.all
    run.clock.now = TIMEOUT
    other.reached()
    tellers.clear()
    stubborn.end()
    wait_until(lambda: slot.state == GONE, BOUND, "the end of the dismissed")
    other.end()
    run.end()
    assert tellers and slot not in tellers


def test_a_callback_may_stop_the_run(schedule: Scheduling) -> None:
    """And wait for its end, which returns at once there, for it would wait for ever."""
    busy = Meeting()

    def stop(ended: int) -> None:
        run.scheduler.stop()
        run.scheduler.wait()

    tasks = play("first", well()), play("busy", busy), play("waiting", well(), "busy")
    run = schedule(*tasks, on_progress=stop)
    run.start().end()
    assert status_of(run.tasks["first"]) == SUCCESSFUL
    assert status_of(run.tasks["waiting"]) == TERMINATED
    assert run.told == [1, 2, 3]


def test_when_the_run_has_finished_everything_was_told(schedule: Scheduling) -> None:
    """`wait` returns after the last callback, and after the crew was closed."""
    run = schedule(*[play(n, badly()) for n in range(20)], limit=4).start()
    run.scheduler.wait()
    assert run.scheduler.finished
    assert [each for each in run.told if isinstance(each, int)].count(20) == 1
    assert len(run.told) == 40
    assert run.pool.events[-1] == "pool closed"


# Waiting ------------------------------------------------------------------------------


def test_many_may_wait(schedule: Scheduling) -> None:
    """All are woken by the end; who comes later does not wait."""
    busy = Meeting()
    run = schedule(play("busy", busy)).start()
    busy.reached()
    threads = [
        threading.Thread(target=run.scheduler.wait, daemon=True) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    busy.end()
    for thread in threads:
        thread.join(BOUND)
        assert not thread.is_alive()
    run.scheduler.wait()


def test_a_copy_in_another_process_is_of_no_use(
    schedule: Scheduling, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever were to wait there would do so for ever, and a stop would hit others."""
    busy = Meeting()
    run = schedule(play("busy", busy)).start()
    worker = busy.reached()
    with monkeypatch.context() as patch:
        patch.setattr("concurra.engine.completion.os.getpid", lambda: -1)
        for method in (run.scheduler.stop, run.scheduler.wait):
            with pytest.raises(LifeCycleError, match="^This is the copy of a runner"):
                method()
    assert worker.stops == []
    busy.end()
    run.end()
    assert run.statuses() == {"busy": SUCCESSFUL}
    with monkeypatch.context() as patch:  # nobody waits for a run that has ended
        patch.setattr("concurra.engine.completion.os.getpid", lambda: -1)
        run.scheduler.stop()
        run.scheduler.wait()


def test_a_task_cannot_wait_for_its_own_run(schedule: Scheduling) -> None:
    """It would wait for itself: a `RuntimeError`, and the run goes on."""
    errors: list[str] = []

    def wait(worker: ScriptedWorker) -> Outcome:
        try:
            run.scheduler.wait()
        except RuntimeError as error:
            errors.append(str(error))
        return well()

    run = schedule(play("waits", wait), play("next", well()))
    run.start().end()
    assert errors == ["A task cannot wait for the end of its own run"]
    assert set(run.statuses().values()) == {SUCCESSFUL}


# What goes wrong ----------------------------------------------------------------------


@pytest.fixture
def scarce(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """From now on only so many threads can be started."""
    start = threading.Thread.start

    def make(left: int, error: type[Exception] = RuntimeError) -> None:
        budget = [left]

        def scarcely(thread: threading.Thread) -> None:
            if thread.name.startswith("concurra"):
                if not budget[0]:
                    raise error("can't start new thread")
                budget[0] -= 1
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", scarcely)

    return make


@pytest.mark.parametrize("error", [RuntimeError, MemoryError])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_run_goes_on_with_the_threads_that_there_are(
    schedule: Scheduling,
    scarce: Callable[..., None],
    threads: int,
    error: type[Exception],
) -> None:
    """When no more can be started, for want of threads or of memory."""
    tasks = [play(n, well()) for n in range(20)] + [play("end", well(), *range(20))]
    run = schedule(*tasks, limit=8)
    scarce(threads, error)
    run.start().end()
    assert set(run.statuses().values()) == {SUCCESSFUL}
    assert run.pool.most <= threads


def test_who_cannot_begin_a_task_leaves_it_to_others(schedule: Scheduling) -> None:
    """Its place is not filled again: there are as many as can work."""
    busy = Meeting()

    def begin(worker: ScriptedWorker) -> Outcome:
        return well() if worker is busy.worker else unable()

    run = schedule(play("busy", busy), *[play(n, begin) for n in range(9)], limit=4)
    run.start()
    busy.reached()
    wait_until(lambda: sum(each.closings for each in run.pool.workers) == 3)
    assert run.told == []
    busy.end()
    run.end()
    assert run.statuses() == dict.fromkeys(["busy", *range(9)], SUCCESSFUL)
    assert [task.attempts for task in run.tasks.values()] == [1] * 10
    assert len(run.pool.workers) == 4


def test_another_is_hired_for_what_could_not_be_begun(schedule: Scheduling) -> None:
    """At once, as long as there may be more."""
    busy = Meeting()
    outcomes = [well(), unable()]
    begin = play("a", lambda worker: outcomes.pop())
    run = schedule(play("busy", busy), begin, limit=3).start()
    busy.reached()
    wait_until(lambda: run.told == [1], what="the other task")
    busy.end()
    run.end()
    assert run.statuses() == {"busy": SUCCESSFUL, "a": SUCCESSFUL}


@pytest.fixture
def hiring(monkeypatch: pytest.MonkeyPatch) -> Callable[[Run], Block]:
    """Who starts a thread next is held, and in the end it is not started."""

    def hold(run: Run) -> Block:
        block = Block()
        threads = run.scheduler._threads

        def fail(*args: object) -> None:
            monkeypatch.delattr(threads, "start")
            block(None)
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threads, "start", fail)
        return block

    return hold


def with_room_for_one(schedule: Scheduling, x: Meeting, y: Meeting) -> Run:
    """A run whose workers are at these two meetings; it had a third, who timed out."""
    first, late = Meeting(), Meeting()
    run = schedule(
        play("late", late),
        play("first", first),
        *[play("x", x, "first"), play("y", y, "first")],
        limit=3,
        timeout=TIMEOUT,
    ).start()
    late.reached()
    first.reached()
    run.clock.now = 0.5 * TIMEOUT
    first.end()
    x.reached()
    y.reached()
    run.clock.now = TIMEOUT
    wait_until(lambda: run.tasks["late"].outcome, what="the end of who is late")
    wait_until(lambda: not run.state.slots.count[STOPPING])
    # The watchman starts a thread that tells of it. He does not start one later.
    wait_until(lambda: not run.events.waiting)
    for meeting in (x, y):  # from now on, nobody has gone since they began
        meeting.end(unable())
        meeting.reached()
    return run


def test_the_last_one_waits_for_those_who_are_dying(schedule: Scheduling) -> None:
    """They hold what it lacks, until their grace period is over at the latest."""
    slow = Meeting(heeds=True)
    outcomes = [well(), unable()]
    later = play("next", lambda worker: outcomes.pop())
    run = schedule(play("slow", slow), later, timeout=TIMEOUT).start()
    slow.reached()
    run.clock.now = TIMEOUT
    wait_until(lambda: sum(each.closings for each in run.pool.workers) == 1)
    run.clock.now = TIMEOUT + GRACE
    run.end()
    assert run.statuses() == {"slow": TERMINATED, "next": SUCCESSFUL}


def test_who_has_gone_makes_room_for_another(schedule: Scheduling) -> None:
    """What one lacked while another was dying is there afterwards."""
    slow, first, busy = Meeting(heeds=True), Meeting(), Meeting()
    outcomes = [well(), unable()]
    run = schedule(
        play("slow", slow),
        play("first", first),
        play("busy", busy, "first"),
        play("next", lambda worker: outcomes.pop(), "first"),
        limit=2,
        timeout=TIMEOUT,
        grace=TIMEOUT / 4,
    ).start()
    slow.reached()
    first.reached()
    run.clock.now = 0.5 * TIMEOUT
    first.end()
    busy.reached()
    run.clock.now = TIMEOUT
    wait_until(lambda: sum(each.closings for each in run.pool.workers) == 1)
    run.clock.now = 1.25 * TIMEOUT
    wait_until(lambda: run.tasks["next"].outcome, what="the one for whom there is room")
    busy.end()
    run.end()
    ended = {"first": SUCCESSFUL, "busy": SUCCESSFUL, "next": SUCCESSFUL}
    assert run.statuses() == {"slow": TERMINATED, **ended}


def test_who_could_not_begin_while_another_went_tries_again(
    schedule: Scheduling,
) -> None:
    """It looked for room a moment too early, and nobody else is there to look."""
    slow, late = Meeting(), Meeting()
    tasks = play("slow", slow), play("next", late), play("last", well())
    run = schedule(*tasks, timeout=TIMEOUT, grace=BOUND).start()
    slow.reached()
    slow.heeds = None
    run.clock.now = TIMEOUT
    late.reached()
    slow.end()
    wait_until(lambda: not run.state.slots.count[STOPPING])
    late.end(unable())
    late.reached()
    late.end()
    run.end()
    ended = {"next": SUCCESSFUL, "last": SUCCESSFUL}
    assert run.statuses() == {"slow": TERMINATED, **ended}
    assert len(run.pool.workers) == 2


def test_when_all_have_left_and_nobody_arrives_another_one_tries(
    schedule: Scheduling, hiring: Callable[[Run], Block]
) -> None:
    """Others' parts are free then; the last word is that of who is alone."""
    x, y = Meeting(), Meeting()
    run = with_room_for_one(schedule, x, y)
    block = hiring(run)
    x.end(unable())
    block.reached()
    y.end(unable())
    block.end()
    x.reached()
    x.end(unable("E: x"))
    y.reached()
    y.end(unable("E: y"))
    run.end()
    assert [error_of(run.tasks[label]) for label in "xy"] == ["E: x", "E: y"]


def test_who_hires_the_last_in_vain_makes_room_for_one_more(
    schedule: Scheduling, hiring: Callable[[Run], Block]
) -> None:
    """By going: it was given up long ago, but still had what the last one lacked."""
    late, last = Meeting(heeds=None), Meeting(heeds=None)
    tasks = play("late", late), play("last", last), play("next", well())
    run = schedule(*tasks, timeout=TIMEOUT, stoppable=False).start()
    late.reached()
    run.clock.now = TIMEOUT
    last.reached()
    block = hiring(run)

    def heed(force: bool) -> None:
        late.end(unable())
        block.reached()

    last.heed = heed  # type: ignore[method-assign]
    run.clock.now = 2 * TIMEOUT
    block.reached()
    wait_until(lambda: run.state.next_moment == FOREVER, what="the watchman's sleep")
    block.end()
    run.end()
    last.end()
    ended = {"late": TERMINATED, "last": TERMINATED, "next": SUCCESSFUL}
    assert run.statuses() == ended


def test_a_run_without_anybody_left_ends(
    schedule: Scheduling, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once no thread can be had though nobody else is there."""
    late = Meeting()
    run = schedule(play("late", late), play("next", well()), timeout=TIMEOUT).start()
    late.reached()

    def fail(*args: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(run.scheduler._threads, "start", fail)
    run.clock.now = TIMEOUT
    run.end()
    assert set(run.statuses().values()) == {TERMINATED}


def test_a_worker_is_closed_whose_slot_finds_no_thread(
    schedule: Scheduling, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has been at work before, so it may hold a process."""
    first, second = Meeting(), Meeting()
    run = schedule(
        *[play("first", first), play("second", second)],
        *[play("x", well(), "second"), play("y", well(), "second")],
        limit=2,
    ).start()
    first.reached()
    second.reached()
    first.end()
    wait_until(lambda: run.state.slots.parked, what="a slot without a task")

    def fail(*args: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(run.scheduler._threads, "start", fail)
    second.end()
    run.end()
    assert set(run.statuses().values()) == {SUCCESSFUL}
    assert [worker.closings for worker in run.pool.workers] == [1, 1]


def test_slots_come_while_no_task_ends(schedule: Scheduling) -> None:
    """As many as are needed, though the run has begun with one."""
    meetings = [Meeting() for _ in range(5)]
    tasks = [play(number, meeting) for number, meeting in enumerate(meetings)]
    run = schedule(*tasks, limit=5, at_first=1).start()
    for number, meeting in enumerate(meetings):
        wait_until(lambda: run.tick() or run.pool.busy > number, what="one more")
        meeting.reached()
    for meeting in meetings:
        meeting.end()
    run.end()
    assert set(run.statuses().values()) == {SUCCESSFUL}


def test_all_slots_come_if_nobody_can_look(
    schedule: Scheduling, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no thread for the timer, which is no reason to end the run."""
    meetings = [Meeting() for _ in range(3)]
    tasks = [play(number, meeting) for number, meeting in enumerate(meetings)]
    run = schedule(*tasks, limit=3, at_first=1)

    def fail(*args: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(run.scheduler._timer, "_start", fail)
    run.start()
    for meeting in meetings:
        meeting.reached()
    for meeting in meetings:
        meeting.end()
    run.end()
    assert set(run.statuses().values()) == {SUCCESSFUL}


def test_what_nobody_can_begin_has_failed(schedule: Scheduling) -> None:
    """One is left who tries, and every task has the reason."""
    run = schedule(*[play(n, unable(f"E: {n}")) for n in range(9)], limit=4).start()
    run.end()
    assert set(run.statuses().values()) == {FAILED}
    assert [error_of(task) for task in run.tasks.values()] == [
        f"E: {n}" for n in range(9)
    ]
    assert [task.attempts for task in run.tasks.values()] == [0] * 9
    assert len(run.pool.workers) <= 5, "four, and one that comes if all have gone"


def test_the_timeout_counts_from_the_moment_a_task_could_begin(
    schedule: Scheduling,
) -> None:
    """Not from the moment in which somebody else gave it back."""
    busy, late = Meeting(), Meeting()

    def begin(worker: ScriptedWorker) -> Outcome:
        return late(worker) if worker is busy.worker else unable()

    tasks = play("busy", busy), play("late", begin)
    run = schedule(*tasks, limit=2, timeout=TIMEOUT).start()
    busy.reached()
    wait_until(lambda: sum(each.closings for each in run.pool.workers) == 1)
    run.clock.now = 0.75 * TIMEOUT
    busy.end()
    late.reached()
    run.clock.now = 1.5 * TIMEOUT
    looks = run.clock.looks
    wait_until(lambda: run.clock.looks > looks + 1, what="the watchman's looks")
    late.end()
    run.end()
    assert run.statuses() == {"busy": SUCCESSFUL, "late": SUCCESSFUL}


def test_when_no_thread_can_be_started_at_all(
    schedule: Scheduling, scarce: Callable[..., None]
) -> None:
    """`start` raises, and a stop, done by the caller itself, ends the run."""
    run = schedule(play("a", well()))
    scarce(0)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        run.start()
    run.scheduler.stop()
    run.end()
    assert run.statuses() == {"a": TERMINATED}
    assert run.pool.events[-1] == "pool closed"


@pytest.mark.parametrize("threads", [0, 1])
def test_a_run_with_timeouts_does_not_hang_for_want_of_threads(
    schedule: Scheduling, scarce: Callable[..., None], threads: int
) -> None:
    """It raises, or it runs: with a thread for tasks, but none for the watchman."""
    run = schedule(play("a", well()), timeout=1e9)
    scarce(threads)
    returned = threading.Event()

    def start() -> None:
        try:
            run.start()
        except RuntimeError:
            run.scheduler.stop()
        returned.set()

    threading.Thread(target=start, name="caller", daemon=True).start()
    if not returned.wait(BOUND):
        run.scheduler.stop(force=True)
        raise AssertionError("start() never returned")
    run.end()


def test_a_run_that_finds_no_thread_for_its_timer_says_so(
    schedule: Scheduling, scarce: Callable[..., None]
) -> None:
    """Its timeouts could not be kept, so it ends, which must not look like an abort."""
    run = schedule(play("a", well()), timeout=1e9)
    scarce(1)
    run.start()
    run.end()
    assert run.statuses() == {"a": TERMINATED}
    assert "can't start new thread" in str(run.scheduler.failure)


def test_a_stop_needs_no_thread(
    schedule: Scheduling, scarce: Callable[..., None]
) -> None:
    """When none can be started, the caller ends everything, without any grace."""
    busy = Meeting()
    run = schedule(play("busy", busy), play("next", well())).start()
    worker = busy.reached()
    scarce(0)
    run.scheduler.stop()
    run.end()
    assert worker.stops == [True]
    assert run.statuses() == {"busy": TERMINATED, "next": TERMINATED}
    assert run.scheduler.failure is None, "it was asked for"


def test_a_worker_that_breaks_its_promise_costs_a_slot(
    schedule: Scheduling, escaped: list[Any]
) -> None:
    """If `begin` raises all the same, that costs its job and its slot, nothing else."""

    def raising(worker: ScriptedWorker) -> Outcome:
        raise MemoryError

    run = schedule(play("a", raising), play("b", well(), "a"), play("c", well()))
    run.start().end()
    assert run.statuses() == {"a": FAILED, "b": TERMINATED, "c": SUCCESSFUL}
    assert error_of(run.tasks["a"]) == "MemoryError: "
    assert [each.exc_type for each in escaped] == [MemoryError]
    assert run.pool.events == ["pool prepared", *["worker closed"] * 2, "pool closed"]


@pytest.mark.parametrize("promise", ["stop", "abandon"])
def test_a_watchman_who_stumbles_ends_the_run(
    schedule: Scheduling,
    escaped: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    promise: str,
) -> None:
    """If what he has to do with a worker raises all the same, nobody waits for it."""

    def fail(*args: object, **options: object) -> bool:
        raise OSError("not today")

    stuck = Meeting(heeds=None)
    run = schedule(play("a", stuck), play("b", well()), stoppable=False).start()
    monkeypatch.setattr(stuck.reached(), promise, fail)
    run.scheduler.stop()
    run.end()
    assert run.statuses() == {"a": TERMINATED, "b": TERMINATED}
    wait_until(lambda: {each.exc_type for each in escaped} == {OSError}, BOUND)


def test_a_reader_that_raises_hangs_nothing(
    schedule: Scheduling, escaped: list[Any]
) -> None:
    """It loses what it was told, and is told the rest; the program hears of each."""

    def fail(ended: int) -> None:
        raise MemoryError(ended)

    run = schedule(play("a", well()), play("b", badly()), on_progress=fail)
    run.start().end()
    assert run.told == [1, "b", 2]
    assert run.pool.events[-1] == "pool closed"
    assert [str(each.exc_value) for each in escaped] == ["1", "2"]


def test_the_crew_is_prepared_first(schedule: Scheduling) -> None:
    """Once, before any task, on a thread of the run's own."""
    seen: list[list[str]] = []

    def look(worker: ScriptedWorker) -> Outcome:
        seen.append(list(run.pool.events))
        return well()

    run = schedule(play("a", look), play("b", look))
    run.start().end()
    assert seen == [["pool prepared"]] * 2


def test_a_crew_that_cannot_be_prepared_ends_the_run(schedule: Scheduling) -> None:
    """No task starts, and the error is kept for those who want to know."""
    run = schedule(play("a", well()), play("b", well()))
    run.pool.unprepared = RuntimeError("no such worker")
    run.start().end()
    run.scheduler.wait()
    assert run.scheduler.failure is run.pool.unprepared
    assert run.statuses() == {"a": TERMINATED, "b": TERMINATED}
    assert [task.attempts for task in run.tasks.values()] == [0, 0]
    assert run.pool.events[-1] == "pool closed"


def test_a_plan_that_cannot_be_opened_ends_the_run(
    schedule: Scheduling, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No task starts, and the error is kept: a label's own, for one."""
    run = schedule(play("a", well()), play("b", well()))

    def refuse(*args: object) -> None:
        raise ArithmeticError("a label's own __hash__")

    monkeypatch.setattr(run.plan, "open", refuse)
    run.start().end()
    assert isinstance(run.scheduler.failure, ArithmeticError)
    assert run.statuses() == {"a": TERMINATED, "b": TERMINATED}


def test_a_plan_that_was_stopped_before_is_not_opened(schedule: Scheduling) -> None:
    """Who stops first and starts then has run nothing."""
    run = schedule(play("a", well()), play("b", well(), "a"))
    run.scheduler.stop()
    run.start().end()
    assert run.statuses() == {"a": TERMINATED, "b": TERMINATED}
    assert len(run.plan.ready) == 0


def test_the_crew_is_closed_once_after_all_workers(schedule: Scheduling) -> None:
    """Each worker was closed once before, by the thread that used it."""
    barrier = threading.Barrier(4)

    def meet(worker: ScriptedWorker) -> Outcome:
        barrier.wait(BOUND)
        return well()

    slow = Meeting()
    tasks = [*[play(n, meet) for n in range(4)], play("slow", slow, *range(4))]
    run = schedule(*tasks, limit=4, timeout=TIMEOUT).start()
    slow.reached()
    run.clock.now = TIMEOUT
    run.end()
    assert run.pool.events[1:] == ["worker closed"] * 4 + ["pool closed"]
    assert [worker.closings for worker in run.pool.workers] == [1] * 4


def test_the_crew_is_closed_when_a_worker_cannot_be(
    schedule: Scheduling, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A `close` that raises hurts nobody else."""
    monkeypatch.setattr(threading, "excepthook", ignore)

    def close(worker: ScriptedWorker) -> None:
        raise OSError

    monkeypatch.setattr(ScriptedWorker, "close", close)
    run = schedule(play("a", well()), play("b", well())).start().end()
    assert set(run.statuses().values()) == {SUCCESSFUL}
    assert run.pool.events == ["pool prepared", "pool closed"]
