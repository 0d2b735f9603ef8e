"""One start, any number of stops: who comes first, and what a break leaves behind."""

from __future__ import annotations

import threading
from typing import Any, Callable

import pytest

from concurra.errors import LifeCycleError, UnknownDependencyError
from concurra.events import Reader
from concurra.lifecycle import LifeCycle
from concurra.plan.plan import Plan
from concurra.run_options import RunOptions
from concurra.steps import INTERRUPT, KILL, TERMINATE
from concurra.tasks import Call, Task
from tests.unit.support import nothing
from tests.unit.test_options import chosen

BOUND = 20.0


class Scheduler:
    """Remembers what it was asked to do, and does what the test wants meanwhile."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.finished = False
        self.running = 0
        self.failure: BaseException | None = None
        self.refused: LifeCycleError | None = None
        self.needed = False
        self.waits: list[BaseException] = []

    def start(self) -> None:
        self.calls.append("start")

    def stop(self, force: int = TERMINATE) -> None:
        words = {INTERRUPT: "interrupt", TERMINATE: "stop", KILL: "kill"}
        self.calls.append(words[force])

    def refusal(self) -> LifeCycleError | None:
        return self.refused

    def needs_caller(self) -> bool:
        return self.needed and not self.finished

    def wait(self) -> None:
        self.calls.append("wait")
        for error in self.waits:
            self.waits.remove(error)
            raise error
        self.finished = True


class Life(LifeCycle):
    """A life whose schedulers are scripted."""

    def __init__(self, *labels: str, needs: tuple[str, ...] = ()) -> None:
        self.plan = Plan()
        super().__init__(self.plan)
        for label in labels:
            self.plan.add(Task(label, Call(nothing)), needs)
        self.made: list[Scheduler] = []
        self.broken = 0
        self.told: list[tuple[BaseException, str]] = []

    def _make(self, options: object, readers: object, restored: object) -> Any:
        self.made.append(Scheduler())
        return self.made[-1]

    def choose(self) -> tuple[RunOptions, list[Any]]:
        return RunOptions(chosen()), []

    def report(self, error: BaseException) -> Any:
        def tell() -> None:
            self.told.append((error, self.calls[-1]))

        def conclude() -> None:
            self.broken += 1

        return tell, conclude

    def go(self, choose: Callable[[], Any] | None = None) -> None:
        """`run`."""
        self.run(choose or self.choose, self.report)

    @property
    def calls(self) -> list[str]:
        """What the scheduler that counts was asked to do."""
        scheduler: Any = self._schedulers[0]
        calls: list[str] = scheduler.calls
        return calls


# One start ----------------------------------------------------------------------------


def test_a_run() -> None:
    """Starts, and waits for the end."""
    life = Life("a")
    assert not life.begun and life.seconds == 0 and life.running == 0
    life.go()
    assert life.calls == ["start", "wait"]
    assert life.begun and life.finished and life.broken == 0
    assert life.seconds > 0


def test_a_second_start() -> None:
    """Is refused, and touches nothing."""
    life = Life("a")
    life.go()
    with pytest.raises(LifeCycleError, match="already been started"):
        life.go()
    assert life.calls == ["start", "wait"]
    assert life.broken == 0 and len(life.made) == 1


class Follower(Reader):
    """Counts how often it is abandoned, and may have something to say before."""

    def __init__(self, act: Callable[[], object] = int) -> None:
        self.act = act
        self.abandoned = 0
        self.cancelled: list[str] = []

    def restore(self, tasks: Any, cancelled: Any) -> Any:
        self.cancelled = [each.label for each in cancelled]
        self.act()
        return {}

    def abandon(self) -> None:
        self.abandoned += 1


def choosing(follower: Follower) -> Any:
    return RunOptions(chosen()), [[follower]]


def test_those_who_follow_a_run_that_starts() -> None:
    """They are asked what need not run, and told what is not to."""
    life, follower = Life("a", "b"), Follower()
    life.cancel(life.plan.tasks["b"])
    life.go(lambda: choosing(follower))
    assert follower.cancelled == ["b"]
    assert follower.abandoned == 0


def test_those_who_follow_a_run_that_does_not_start() -> None:
    """They hold nothing, whatever was wrong and wherever it came to light."""

    def fail() -> None:
        raise KeyboardInterrupt

    follower = Follower()
    life = Life("a", needs=("unknown",))
    with pytest.raises(UnknownDependencyError):
        life.go(lambda: choosing(follower))
    assert follower.abandoned == 1
    life, follower = Life("a"), Follower(fail)
    with pytest.raises(KeyboardInterrupt):
        life.go(lambda: choosing(follower))
    assert follower.abandoned == 1
    life, follower = Life("a"), Follower()
    life._make = lambda *_: fail()  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        life.go(lambda: choosing(follower))
    assert follower.abandoned == 1
    assert not life.begun


def test_those_who_follow_a_run_whose_place_an_abort_takes() -> None:
    """They hold nothing either; those of the abort do."""
    life, aborting = Life("a"), Follower()
    starting = Follower(lambda: life.stop(lambda: choosing(aborting)))
    life.go(lambda: choosing(starting))
    assert (starting.abandoned, aborting.abandoned) == (1, 0)
    assert life.calls == ["stop", "wait", "stop", "wait"]


def test_two_starts_at_once() -> None:
    """One of them starts, although the other has not begun when it looks."""
    life = Life("a")
    refused: list[str] = []

    def interfere() -> None:
        try:
            life.go()
        except LifeCycleError as error:
            refused.append(str(error))

    def choose() -> Any:
        thread = threading.Thread(target=interfere)
        thread.start()
        thread.join(BOUND)
        return life.choose()

    life.go(choose)
    assert len(refused) == 1
    assert life.calls == ["start", "wait"]


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt()], ids=repr)
def test_what_goes_wrong_before_the_start_can_be_mended(error: BaseException) -> None:
    """Nothing has begun, nothing is reported; things may be added and started again."""
    life = Life("a")

    def choose() -> Any:
        raise error

    with pytest.raises(type(error)):
        life.go(choose)
    assert not life.begun and life.broken == 0
    life.check_open()
    life.go()
    assert life.calls == ["start", "wait"]


def test_unknown_labels_can_be_mended() -> None:
    """Nothing is even made before all of the plan is there."""
    life = Life("a", needs=("b",))
    with pytest.raises(UnknownDependencyError):
        life.go()
    assert not life.begun and not life.made
    life.plan.add(Task("b", Call(nothing)))
    life.go()
    assert life.calls == ["start", "wait"]


def test_a_refusal_is_without_effect() -> None:
    """A task that waits for its own run, say, does not end it."""
    life = Life("a")
    life.go()
    scheduler = life.made[0]
    scheduler.refused = LifeCycleError("not you")
    with pytest.raises(LifeCycleError, match="not you"):
        life.wait(life.report)
    assert life.calls == ["start", "wait"]
    assert life.broken == 0


# Stops --------------------------------------------------------------------------------


def test_a_stop_before_the_start() -> None:
    """Takes its place: what is started afterwards only waits."""
    life = Life("a", needs=("never added",))
    life.stop(life.choose)
    assert life.calls == ["stop", "wait"]
    life.go()
    assert "start" not in life.calls
    assert len(life.made) == 1
    with pytest.raises(LifeCycleError, match="already been started"):
        life.go()


def test_a_stop_by_a_thread_that_the_end_needs() -> None:
    """It has stopped all, and does not wait; unless there is nothing to wait for."""
    life = Life("a")
    life.go()
    scheduler = life.made[0]
    scheduler.needed, scheduler.finished = True, False
    del life.calls[:]
    life.stop(life.choose)
    assert life.calls == ["stop"]
    scheduler.finished = True
    life.stop(life.choose)
    assert life.calls == ["stop", "stop", "wait"]


def test_a_stop_in_the_midst_of_the_start() -> None:
    """From a signal handler, say: nothing is started any more."""
    life = Life("a")

    def choose() -> Any:
        life.stop(life.choose)
        return life.choose()

    life.go(choose)
    first, second = life.made
    assert (first.calls[:2], second.calls) == (["stop", "wait"], [])
    assert "start" not in life.calls


def test_stops_in_the_midst_of_each_other() -> None:
    """The first scheduler counts, for both."""
    life = Life("a")

    def choose() -> Any:
        life.stop(life.choose)
        return life.choose()

    life.stop(choose)
    assert life.calls == ["stop", "wait", "stop", "wait"]
    assert life.made[1].calls == []


def test_a_stop_ends_the_background() -> None:
    """Nothing is left to be fetched."""
    life = Life("a")
    runner: Any = life
    life.start(life.choose, life.report, runner)
    assert life.in_background and life.calls == ["start"]
    life.stop(life.choose)
    assert not life.in_background


# Breaks -------------------------------------------------------------------------------


def broken_at(*waits: BaseException) -> Life:
    """A life whose waits for the end are broken like that."""
    life = Life("a")

    def make(options: object, readers: object, restored: object) -> Any:
        scheduler = Scheduler()
        scheduler.waits = list(waits)
        return scheduler

    life._make = make  # type: ignore[method-assign]
    return life


def test_an_interrupt() -> None:
    """Terminates everything, is reported once, and goes on to the caller."""
    life = broken_at(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt) as caught:
        life.go()
    assert life.calls == ["start", "wait", "interrupt", "wait"]
    assert life.broken == 1
    assert life.told == [(caught.value, "interrupt")]


def test_an_interrupt_of_the_word_about_an_interrupt() -> None:
    """A log that blocks holds up no second Ctrl-C, which kills."""
    life = broken_at(KeyboardInterrupt())

    def broken(error: BaseException) -> Any:
        def tell() -> None:
            raise KeyboardInterrupt("second")

        return tell, life.report(error)[1]

    with pytest.raises(KeyboardInterrupt, match="^$"):
        life.run(life.choose, broken)
    assert life.calls == ["start", "wait", "interrupt", "kill", "wait"]
    assert life.broken == 1


def test_an_exception_of_a_signal_handler() -> None:
    """Is no Ctrl-C: everything is terminated as by an abort."""
    life = broken_at(SystemExit(3))
    with pytest.raises(SystemExit):
        life.go()
    assert life.calls == ["start", "wait", "stop", "wait"]


def test_an_interrupt_of_the_end() -> None:
    """Kills, without further grace."""
    life = broken_at(KeyboardInterrupt(), KeyboardInterrupt("second"))
    with pytest.raises(KeyboardInterrupt):
        life.go()
    assert life.calls == ["start", "wait", "interrupt", "wait", "kill", "wait"]
    assert life.broken == 1


def test_an_interrupt_of_the_kill() -> None:
    """Nobody waits any longer; there is a report of what has ended by then."""
    errors = [KeyboardInterrupt(str(number)) for number in range(3)]
    life = broken_at(*errors)
    with pytest.raises(KeyboardInterrupt) as caught:
        life.go()
    assert caught.value is errors[0]
    assert not life.finished
    assert life.broken == 1


def test_a_failure_of_the_engine() -> None:
    """Reaches the caller, each time that somebody waits."""
    life = Life("a")
    life.go()
    life.made[0].failure = MemoryError("full")
    for _ in range(2):
        with pytest.raises(MemoryError, match="full"):
            life.wait(life.report)
    assert life.calls.count("stop") == 2


# Refusals -----------------------------------------------------------------------------


def test_what_is_refused_when() -> None:
    """Adding after the start; results before it, and before the end."""
    life = Life("a")
    life.check_open()
    with pytest.raises(LifeCycleError, match="^nothing yet$"):
        life.check_begun("nothing yet")
    life.go()
    life.check_begun("nothing yet")
    with pytest.raises(LifeCycleError, match="create a new TaskRunner"):
        life.check_open()
    with pytest.raises(LifeCycleError, match="^still in progress$"):
        life.check_ended("still in progress")
    with pytest.raises(LifeCycleError, match="handler of the run's log"):
        life.conclude()
    life.plan.terminate({}, 1.0)
    life.check_ended("still in progress")
    life.in_background = True
    life.conclude()
    assert not life.in_background
