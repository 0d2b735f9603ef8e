"""The run's decisions where tasks have options: timeouts, delays, resources, rules."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concurra.engine.effects import ABANDON, AT, DELAY, FINISH, START, STOP
from concurra.engine.slots import AT_WORK, COMING, GONE, PARKED, STOPPING, Slot
from concurra.engine.timers import FOREVER
from concurra.outcomes import ABORT, CANCEL, FAILED, TERMINATED, AtHand, Outcome
from concurra.retries import Retry
from tests.unit.replay import Replay, play_to_the_end, struck_at
from tests.unit.support import error_of, failure, labels, make, success

LATE = "TimeoutError: Task exceeded timeout of {} seconds"


# Timeouts of one task -----------------------------------------------------------------


def test_a_timeout_of_ones_own() -> None:
    """It counts, and is told of as it was given; others have the run's."""
    run = Replay(make("a", timeout=2), make("b"), timeout=5.0)
    run.open()
    run.come(0, 1.0), run.come(1, 1.0)
    assert run.effects() == [(AT, 3.0)]
    run.state.expire(3.0)
    assert error_of(run.tasks["a"]) == LATE.format(2)
    assert run.effects() == [(STOP, 0, False)]
    run.state.expire(6.0)
    assert error_of(run.tasks["b"]) == LATE.format(5.0)


def test_a_timeout_where_the_run_has_none() -> None:
    """Nobody waits for the others."""
    run = Replay(make("a", timeout=2), make("b"))
    run.open()
    run.come(0, 1.0), run.come(1, 1.0)
    assert run.effects() == [(AT, 3.0)]
    run.end(0, success(), 2.0)
    run.state.expire(3.0)
    assert run.state.next_moment == FOREVER
    assert run.states() == [COMING, AT_WORK]


def test_no_limit_in_spite_of_the_runs() -> None:
    """That is what an infinite timeout says."""
    run = Replay(make("a", timeout=math.inf), timeout=5.0)
    run.open()
    run.come(0, 1.0)
    assert run.effects() == [] and run.state.next_moment == FOREVER
    assert run.state.deadline(run.slots[0], run.tasks["a"]) is None


# Timeouts of an attempt ---------------------------------------------------------------


def attempts(timeout: float = 2, retries: int = 1, **more: Any) -> Any:
    return {"task_retries": Retry(retries, attempt_timeout=timeout, **more)}


def test_an_attempt_that_takes_too_long_has_failed() -> None:
    """Its worker is stopped, and the next attempt begins when that has gone."""
    run = Replay(make("a", **attempts()), limit=1)
    run.open()
    run.come(0, 1.0)
    assert run.effects() == [(AT, 3.0)]
    run.begin(0, "so far")
    run.state.expire(3.0)
    assert run.effects() == [(STOP, 0, False)]
    task = run.tasks["a"]
    assert task.outcome is None
    assert task.errors == ["TimeoutError: Attempt exceeded 2 seconds"]
    run.state.gone(run.slots[0], 3.4)
    assert run.effects() == [(START, 1)]
    assert run.come(1, 3.5) == "a"
    run.begin(1, "again")
    run.state.expire(4.0)
    run.effects()
    assert run.state.next_moment == 5.5
    run.state.expire(5.5)
    assert run.statuses() == {"a": FAILED}
    assert task.attempts == len(task.errors) == 2
    assert task.outcome is not None and task.outcome.trace == "again"


def test_each_attempt_has_its_own_time() -> None:
    """That of the one before counts no more."""
    run = Replay(make("a", **attempts(retries=5)), limit=1)
    run.open()
    run.come(0, 0.0)
    run.effects()
    assert run.end(0, failure(), 1.5) == "a"
    run.state.expire(2.0)
    assert run.states() == [AT_WORK] and run.state.next_moment == 3.5
    assert run.end(0, failure(), 3.0) == "a"
    run.state.expire(4.9)
    assert run.states() == [AT_WORK]
    run.state.expire(5.0)
    assert run.states() == [STOPPING]


def test_the_last_attempt_that_takes_too_long_is_the_tasks_failure() -> None:
    """No timeout of the task, but a failure, and dependents are skipped."""
    run = Replay(make("a", **attempts(retries=0)), make("b", "a"), limit=1)
    run.open()
    run.come(0, 0.0)
    run.begin(0)
    run.state.expire(2.0)
    assert run.statuses() == {"a": FAILED, "b": TERMINATED}
    assert error_of(run.tasks["a"]) == "TimeoutError: Attempt exceeded 2 seconds"


def test_the_timeout_of_the_task_covers_its_attempts() -> None:
    """Whichever comes first."""
    run = Replay(make("a", timeout=3, **attempts(retries=9)), limit=1)
    run.open()
    run.come(0, 0.0)
    run.begin(0)
    assert run.state.deadline(run.slots[0], run.tasks["a"]) == 2.0
    run.state.expire(2.0)
    run.state.gone(run.slots[0], 2.0)
    run.effects()
    run.come(1, 2.0)
    run.begin(1)
    assert run.state.deadline(run.slots[1], run.tasks["a"]) == 3.0
    run.state.expire(3.0)
    assert run.statuses() == {"a": TERMINATED}
    assert error_of(run.tasks["a"]) == LATE.format(3)
    assert len(run.tasks["a"].errors) == 1


def test_a_slot_that_was_free_later_than_its_task_ended() -> None:
    """The time of what it takes next begins then."""
    run = Replay(make("a", timeout=5), make("b", timeout=5), limit=1)
    run.open()
    run.come(0, 0.0)
    run.slots[0].free = 3.0
    assert run.end(0, success(), 1.0) == "b"
    assert (run.tasks["a"].ended, run.tasks["b"].started) == (1.0, 3.0)
    assert run.end(0, success(), 4.0) is None
    assert run.tasks["b"].ended == 4.0


def test_a_fast_fail_brings_in_what_has_ended_before() -> None:
    """It is terminated by nothing that comes later."""
    run = Replay(make("a"), make("b"), make("c"), limit=3, fast_fail=True)
    run.open()
    for number in range(3):
        run.come(number, 0.0)
    slot = run.slots[0]
    slot.outcome, slot.moment = success("in time"), 0.5
    run.end(1, failure("E: 1"), 1.0)
    assert run.statuses() == {"a": "Successful", "b": "Failed", "c": "Terminated"}


def test_an_attempt_that_ended_in_time() -> None:
    """Also if that is seen late: what has happened counts first."""
    run = Replay(make("a", **attempts()), make("b"), limit=1)
    run.open()
    run.come(0, 0.0)
    run.effects()
    slot = run.slots[0]
    slot.outcome, slot.moment = success("in time"), 1.9
    run.state.expire(2.5)
    assert run.statuses()["a"] == "Successful"
    assert slot.state == COMING, "it begins the next one itself"
    assert run.come(0, 3.0) == "b"
    run.state.expire(9.0)
    assert slot.state == AT_WORK, "what it is at now has no such limit"


def test_an_attempt_that_failed_in_time_is_followed_by_another() -> None:
    """Which has all of its own time."""
    run = Replay(make("a", **attempts(retries=2)), limit=1)
    run.open()
    run.come(0, 0.0)
    slot = run.slots[0]
    slot.outcome, slot.moment = failure("E: 1"), 1.0
    run.state.expire(2.5)
    assert slot.state == COMING and run.tasks["a"].errors == ["E: 1"]
    assert run.come(0, 3.0) == "a"
    run.state.expire(4.9)
    assert slot.state == AT_WORK and run.tasks["a"].attempts == 2


# Delays -------------------------------------------------------------------------------


def waits(retries: int = 1, **more: Any) -> Any:
    return {"task_retries": Retry(retries, delay=5, **more)}


def test_a_task_that_waits_holds_no_slot() -> None:
    """It is asked how long, outside; then nobody works until the moment."""
    run = Replay(make("a", **waits()), make("b"), limit=1)
    run.open()
    run.come(0, 0.0)
    assert run.end(0, failure("E: 1"), 1.0) == "b"
    assert run.effects() == [(DELAY, run.tasks["a"])]
    run.state.delay(run.tasks["a"], 5.0, 1.5)
    assert run.effects() == [(AT, 6.5)]
    run.end(0, success(), 2.0)
    assert run.come(0, 2.0) is None
    assert run.states() == [PARKED] and run.effects() == []
    run.state.expire(6.4)
    assert run.effects() == []
    run.state.expire(6.5)
    assert run.effects() == [(START, 0)]
    assert run.come(0, 6.6) == "a"
    run.end(0, success(), 7.0)
    run.come(0)
    assert run.effects() == [(FINISH,)]
    assert run.tasks["a"].attempts == 2


def test_it_is_asked_before_each_further_attempt_alone() -> None:
    """Not after the last."""
    run = Replay(make("a", **waits(retries=1)), limit=1)
    run.open()
    run.come(0, 0.0)
    run.end(0, failure(), 1.0)
    assert run.effects() == [(DELAY, run.tasks["a"])]
    run.state.delay(run.tasks["a"], 5.0, 1.0)
    run.come(0, 1.0)
    run.state.expire(6.0)
    run.effects()
    run.come(0, 6.0)
    run.end(0, failure(), 7.0)
    assert DELAY not in [kind for kind, *_ in run.effects()]
    assert run.statuses() == {"a": FAILED}


def delayed_run(**options: Any) -> Replay:
    """Its task has failed once, and waits for its time, on no slot."""
    run = Replay(make("a", **waits(9)), make("b", "a"), limit=1, **options)
    run.open()
    run.come(0, 0.0)
    run.begin(0)
    run.end(0, failure("E: 1"), 1.0)
    run.state.delay(run.tasks["a"], 5.0, 1.0)
    assert run.come(0, 1.0) is None
    run.effects()
    return run


def test_a_timeout_covers_the_delays() -> None:
    """It ends a task that waits for its time."""
    run = delayed_run(timeout=3.0)
    assert run.state.next_moment == 3.0
    run.state.expire(3.0)
    assert run.statuses() == {"a": TERMINATED, "b": TERMINATED}
    assert error_of(run.tasks["a"]) == LATE.format(3.0)
    assert run.effects() == [(FINISH,)]
    assert (run.tasks["a"].attempts, run.tasks["a"].last_mode) == (1, "thread")


@pytest.mark.parametrize("force", [False, True])
def test_a_stop_ends_what_waits_for_its_time(force: bool) -> None:
    """At once, and there is nobody to be stopped."""
    run = delayed_run()
    run.state.stop(2.0, force)
    assert run.effects()[-1] == (FINISH,)
    assert set(run.statuses().values()) == {TERMINATED}
    run.state.delay(run.tasks["a"], 5.0, 3.0)
    run.state.delay_failed(run.tasks["a"], ValueError("late"), 3.0)
    run.state.expire(99.0)
    assert run.effects() == []


def test_a_delay_that_cannot_be_told() -> None:
    """The task has failed: with the error that it had, and that of the delay."""
    run = Replay(make("a", **waits(9)), make("b", "a"), limit=1)
    run.open()
    run.come(0, 0.0)
    run.begin(0)
    run.end(0, failure("ValueError: bad"), 1.0)
    run.state.delay_failed(run.tasks["a"], ZeroDivisionError("by nothing"), 1.5)
    task = run.tasks["a"]
    assert run.statuses() == {"a": FAILED, "b": TERMINATED}
    assert error_of(task) == (
        "ValueError: bad (ZeroDivisionError: by nothing in the delay)"
    )
    assert task.errors == ["ValueError: bad"]
    assert task.attempts == 1 and not run.state.plan.delayed
    run.come(0, 2.0)
    assert (FINISH,) in run.effects()


def test_what_was_left_undone_is_asked_for_again() -> None:
    """How long a task waits, if nobody has told yet; what was told first counts."""
    run = Replay(make("a", **waits()), limit=1)
    run.open()
    run.come(0, 0.0)
    run.end(0, failure(), 1.0)
    run.effects()  # and whoever was to do this was struck
    run.state.renew_effects()
    assert (DELAY, run.tasks["a"]) in run.effects()
    run.state.delay(run.tasks["a"], 5.0, 1.0)
    run.state.delay(run.tasks["a"], 9.0, 1.0)
    run.state.rebuild(2.0)
    assert DELAY not in [kind for kind, *_ in run.effects()]
    assert run.come(0, 2.0) is None, "what waits goes on waiting"
    assert run.state.next_moment == 6.0
    run.state.expire(6.0)
    assert run.come(0, 6.0) == "a"


def test_no_delay_before_the_moment() -> None:
    """Zero seconds are over at once."""
    run = delayed_run()
    run.state.cancel(run.tasks["b"], 1.0)
    assert run.state.next_moment == 6.0
    run = Replay(make("a", **waits()), limit=1)
    run.open()
    run.come(0, 0.0)
    run.end(0, failure(), 1.0)
    run.state.delay(run.tasks["a"], 0.0, 1.0)
    run.effects()
    run.state.expire(1.0)
    assert run.come(0, 1.0) == "a"


# A timeout of the run -----------------------------------------------------------------


def test_a_run_that_takes_too_long() -> None:
    """Everything is terminated: what is at work, what waits, what was never ready."""
    run = Replay(make("a"), make("b", "a"), make("c"), limit=1, run_timeout=5.0)
    assert run.open() == [(AT, 5.0), (START, 0)]
    run.come(0, 1.0)
    run.begin(0, "so far")
    assert run.state.deadline(run.slots[0], run.tasks["a"]) == 5.0
    run.state.expire(5.0)
    assert run.effects() == [(STOP, 0, False)]
    assert {error_of(task) for task in run.tasks.values()} == {
        "TimeoutError: Run exceeded timeout of 5.0 seconds"
    }
    outcomes = [task.outcome for task in run.tasks.values()]
    assert {each.cause for each in outcomes if each} == {ABORT}
    assert [each.mode for each in outcomes if each] == ["thread", None, None]
    assert run.state.stopped
    run.state.gone(run.slots[0], 5.5)
    assert run.effects() == [(FINISH,)]


def test_a_run_that_ends_in_time() -> None:
    """Is not told of its timeout afterwards."""
    run = Replay(make("a"), limit=1, run_timeout=5.0)
    run.open()
    run.come(0)
    run.end(0, success(), 4.0)
    run.come(0)
    run.effects()
    run.state.expire(5.0)
    assert run.effects() == [] and not run.state.stopped


def test_what_ended_before_the_run_timed_out_counts() -> None:
    """Also if it is seen late."""
    run = Replay(make("a"), make("b", "a"), limit=2, run_timeout=5.0)
    run.open()
    run.come(0)
    slot = run.slots[0]
    slot.outcome, slot.moment = success(), 4.9
    run.state.expire(5.1)
    assert run.statuses() == {"a": "Successful", "b": TERMINATED}


# Cancel -------------------------------------------------------------------------------


def test_cancel_of_one_that_waits_for_another() -> None:
    """It never starts, and what depends on it is skipped."""
    run = Replay(make("a"), make("b", "a"), make("c", "b"), limit=1)
    run.open()
    run.come(0)
    assert run.state.cancel(run.tasks["b"], 1.0)
    assert error_of(run.tasks["b"]) == "CancelledError: Task was cancelled"
    assert "['b']" in str(error_of(run.tasks["c"]))
    assert not run.state.cancel(run.tasks["b"], 2.0)
    assert not run.state.cancel(run.tasks["c"], 2.0), "it has ended, too"
    assert run.effects() == []
    assert run.end(0, success(), 2.0) is None
    run.come(0)
    assert run.effects() == [(FINISH,)]


def test_cancel_of_one_that_is_ready() -> None:
    """The slot that comes for it finds the next."""
    run = Replay(make("a"), make("b"), limit=1)
    run.open()
    assert run.state.cancel(run.tasks["a"], 1.0)
    assert run.come(0) == "b"
    assert run.tasks["a"].attempts == 0 and run.tasks["a"].started == 1.0


def test_cancel_of_all_that_is_ready() -> None:
    """Those who come in vain are parked, and it is the end."""
    run = Replay(make("a"), make("b"))
    run.open()
    run.state.cancel(run.tasks["a"], 1.0)
    run.state.cancel(run.tasks["b"], 1.0)
    assert run.effects() == []
    assert [run.come(0), run.come(1)] == [None, None]
    assert run.effects() == [(FINISH,)]


def test_cancel_of_one_that_is_at_work() -> None:
    """Its worker is stopped, what it has said is kept, and others go on elsewhere."""
    run = Replay(make("a"), make("b"), limit=1)
    run.open()
    run.come(0)
    run.begin(0, "so far")
    assert run.state.cancel(run.tasks["a"], 1.0)
    assert run.effects() == [(STOP, 0, False), (AT, 2.0), (START, 1)]
    outcome = run.tasks["a"].outcome
    assert outcome is not None
    assert (outcome.cause, outcome.mode, outcome.trace) == (CANCEL, "thread", "so far")
    assert run.come(1) == "b"
    run.end(0, success(), 1.5)
    assert run.tasks["a"].outcome is outcome
    run.state.expire(2.0)
    assert run.effects() == [(STOP, 0, True)]


def test_cancel_of_one_that_is_being_stopped() -> None:
    """It has ended already."""
    run = Replay(make("a"), limit=1, timeout=5.0)
    run.open()
    run.come(0)
    run.state.expire(5.0)
    run.effects()
    assert not run.state.cancel(run.tasks["a"], 6.0)
    assert run.effects() == [] and error_of(run.tasks["a"]) == LATE.format(5.0)


def test_cancel_of_one_that_has_just_ended() -> None:
    """What has come counts first; an attempt that failed, though, has a next one."""
    run = Replay(make("a"), make("b"), limit=1)
    run.open()
    run.come(0)
    slot = run.slots[0]
    slot.outcome, slot.moment = success(), 1.0
    assert not run.state.cancel(run.tasks["a"], 1.5)
    assert run.statuses()["a"] == "Successful" and slot.state == COMING

    run = Replay(make("a", retries=1), limit=1)
    run.open()
    run.come(0)
    slot = run.slots[0]
    slot.outcome, slot.moment = failure("E: 1"), 1.0
    assert run.state.cancel(run.tasks["a"], 1.5)
    assert run.statuses() == {"a": TERMINATED}
    assert run.tasks["a"].errors == ["E: 1"]
    assert run.states() == [COMING], "it had not begun the next attempt"


def test_cancel_of_one_that_waits_for_its_time() -> None:
    """It ends, with the attempts that it had."""
    run = delayed_run()
    assert run.state.cancel(run.tasks["a"], 2.0)
    assert run.effects() == [(FINISH,)]
    assert run.tasks["a"].errors == ["E: 1"] and run.tasks["a"].attempts == 1
    run.state.expire(6.0)
    assert run.effects() == []


def test_cancel_of_one_that_waits_for_another_attempt() -> None:
    """Without a delay: it is among the ready ones, which it leaves."""
    run = Replay(make("x"), make("a", retries=1), make("b"), limit=2)
    run.open()
    run.come(0), run.come(1)
    run.worker(1).unreaped = True
    run.end(1, failure("E: 1"), 1.0)
    assert run.state.cancel(run.tasks["a"], 2.0)
    assert run.come(1, 2.0) == "b"
    assert run.tasks["a"].attempts == 1


def test_cancel_before_the_run() -> None:
    """It is done as soon as the run begins."""
    tasks = make("a"), make("b", "a"), make("c")
    run = Replay(*tasks, limit=2, cancelled={tasks[0]: None})
    assert run.open() == [(START, 0)]
    assert run.statuses() == {"a": TERMINATED, "b": TERMINATED, "c": None}
    assert run.come(0) == "c"
    everything = [make("a"), make("b")]
    run = Replay(*everything, cancelled=dict.fromkeys(everything))
    assert run.open() == [(FINISH,)]


def test_cancel_between_the_start_and_the_opening() -> None:
    """It is the same as before the start; also for what has a rule."""
    run = Replay(
        make("a"),
        make("b", "c"),
        make("c"),
        make("clean", "a", trigger_rule="all_done", resources={"db": 1}),
        limit=1,
        **DB,
    )
    assert run.state.cancel(run.tasks["b"], 0.0)
    assert run.state.cancel(run.tasks["a"], 0.0)
    assert not run.state.cancel(run.tasks["a"], 0.0)
    assert run.open() == [(START, 0)]
    assert run.come(0) == "c"
    assert run.end(0, success(), 1.0) == "clean"
    assert run.end(0, success(), 2.0) is None
    assert (run.tasks["b"].attempts, run.statuses()["b"]) == (0, TERMINATED)


def test_cancel_while_the_run_is_prepared() -> None:
    """Nobody is called until that is done: processes are started before threads."""
    run = Replay(make("a"), make("b"), make("c"), limit=2)
    assert run.state.open()
    run.state.cancel(run.tasks["a"], 1.0)
    assert run.effects() == []
    run.state.call()
    assert run.effects() == [(START, 0), (START, 1)]


def test_cancel_goes_by_rules() -> None:
    """It counts as a failure of the task, for what runs after one."""
    run = Replay(
        make("a"),
        make("repair", "a", trigger_rule="one_failed"),
        make("clean", "a", trigger_rule="all_done"),
        limit=1,
        fast_fail=True,
    )
    run.open()
    run.come(0)
    run.begin(0)
    run.state.cancel(run.tasks["a"], 1.0)
    assert (START, 1) in run.effects(), "a cancel is no fault, and no fast-fail"
    assert run.come(1) == "repair"
    assert run.end(1, success(), 2.0) == "clean"


# Resources ----------------------------------------------------------------------------


def asks(label: Hashable, *needs: Hashable, **more: Any) -> Any:
    return make(label, *needs, resources={"db": 1}, **more)


DB = {"resources": {"db": 1}}


def test_who_ends_a_task_frees_what_it_held() -> None:
    """So it can take the next one in the same visit."""
    run = Replay(asks("a"), asks("b"), make("c"), limit=9, **DB)
    assert run.open() == [(START, 0), (START, 1)], "no more can start together"
    assert [run.come(0), run.come(1)] == ["a", "c"]
    assert run.end(0, success(), 1.0) == "b"
    assert run.effects() == []


def test_what_is_held_is_free_when_its_slot_has_gone() -> None:
    """Not before: whoever is being stopped may still use it."""
    run = Replay(asks("a"), asks("b"), limit=2, timeout=5.0, **DB)
    run.open()
    assert run.come(0, 0.0) == "a"
    run.effects()
    run.state.expire(5.0)
    assert run.statuses()["a"] == TERMINATED
    assert run.effects() == [(STOP, 0, False)], "nobody is called in vain"
    run.state.expire(6.0)
    assert run.effects() == [(STOP, 0, True)]
    run.state.expire(7.0)
    assert run.effects() == [(ABANDON, 0), (START, 1)]
    assert run.come(1, 7.0) == "b"


@pytest.mark.parametrize("way", ["cancel", "attempt"])
def test_by_whatever_force_an_attempt_ends(way: str) -> None:
    """What it holds is free when its slot has gone."""
    run = Replay(asks("a", **attempts(5, retries=0)), asks("b"), **DB)
    run.open()
    run.come(0, 0.0)
    run.effects()
    if way == "cancel":
        run.state.cancel(run.tasks["a"], 1.0)
    else:
        run.state.expire(5.0)
    assert (STOP, 0, False) in run.effects() and run.states() == [STOPPING]
    run.state.gone(run.slots[0], 6.0)
    assert run.effects() == [(START, 1)]
    assert run.come(1, 6.0) == "b"


def test_a_task_that_waits_for_its_time_holds_nothing() -> None:
    """Nor does it afterwards, until it is its turn."""
    run = Replay(asks("a", **waits()), asks("b"), limit=1, **DB)
    run.open()
    run.come(0, 0.0)
    assert run.end(0, failure(), 1.0) == "b"
    run.state.delay(run.tasks["a"], 5.0, 1.0)
    run.state.expire(6.0)
    assert run.effects() == [(DELAY, run.tasks["a"]), (AT, 6.0)]
    assert run.end(0, success(), 7.0) == "a"


def test_one_that_has_not_begun_gives_back_what_it_held() -> None:
    """Its slot has died, or lacked a worker; another takes the task."""
    run = Replay(asks("a"), limit=1, **DB)
    run.open()
    run.come(0)
    run.state.gone(run.slots[0], 1.0)
    assert run.effects() == [(START, 1)]
    assert run.come(1) == "a"
    lost = Outcome.lost(None, "was killed")
    assert run.end(1, lost, 2.0) == "a", "it is tried again, once"


def test_what_is_blocked_calls_nobody() -> None:
    """However many slots there may be."""
    run = Replay(*[asks(number) for number in range(50)], limit=50, **DB)
    assert run.open() == [(START, 0)]
    assert run.come(0) == 0
    for number in range(1, 50):
        assert run.end(0, success(), 1.0) == number
        assert run.effects() == []
    run.end(0, success(), 1.0)
    assert run.come(0) is None
    assert run.effects() == [(FINISH,)] and len(run.slots) == 1


# Decisions that were cut short --------------------------------------------------------


def options_of(kind: str) -> Any:
    if kind == "delay":
        return waits(1)
    return {"task_retries": 1} if kind == "retry" else {}


@pytest.mark.parametrize("fast_fail", [False, True])
@pytest.mark.parametrize("kind", ["success", "failure", "retry", "delay", "lost"])
@pytest.mark.parametrize("rule", ["all_success", "all_done", "one_failed"])
def test_the_end_of_a_task_can_be_struck_at_any_line(
    kind: str, rule: str, fast_fail: bool
) -> None:
    """Made anew, it comes to what it would have come to; what was held is free."""
    outcomes = {"success": success(), "lost": Outcome.lost(None, "was killed")}
    outcome = outcomes.get(kind, failure("E: 1"))
    ends: set[str] = set()
    for line in range(1, 600):
        run = Replay(
            asks("a", **options_of(kind)),
            asks("b", "a", trigger_rule=rule),
            asks("c", "b"),
            asks("d", "a", trigger_rule="one_failed", priority=2),
            asks("e"),
            make("f"),
            limit=2,
            fast_fail=fast_fail,
            **DB,
        )
        run.open()
        assert [run.come(0), run.come(1)] == ["a", "f"]
        run.begin(0)
        struck = struck_at(line, lambda: run.end(0, outcome, 1.0))
        if struck:
            run.state.rebuild(1.0)
            run.state.ended(run.slots[0])
        ends.add(play_to_the_end(run))
        if not (fast_fail and kind == "failure"):  # or else everything was terminated
            assert run.state.plan.ready._free == {"db": 1}  # type: ignore[union-attr]
        if not struck:
            break
    assert line > 20 and len(ends) == 1, ends


DECISIONS: dict[str, Callable[[Replay], object]] = {
    "come": lambda run: run.state.come(run.slots[1], run, 1.0),
    "cancel": lambda run: run.state.cancel(run.tasks["a"], 1.0),
    "cancel late": lambda run: run.state.cancel(run.tasks["b"], 1.0),
    "timeout": lambda run: run.state.expire(3.0),
    "stop": lambda run: run.state.stop(1.0),
    "gone": lambda run: run.state.gone(run.slots[0], 1.0),
}


@pytest.mark.parametrize("fast_fail", [False, True])
@pytest.mark.parametrize("way", DECISIONS)
def test_decisions_can_be_struck_at_any_line(way: str, fast_fail: bool) -> None:
    """Each ends as if nothing had been, nothing is held, and nobody is waited for."""
    ends: set[str] = set()
    for line in range(1, 900):
        run = Replay(
            asks("a", **attempts(3, retries=1)),
            make("b", "a"),
            make("c", "b", trigger_rule="one_failed"),
            asks("d", priority=-1),
            make("e", priority=-2),
            make("f", "c", "e", trigger_rule="all_done"),
            limit=2,
            fast_fail=fast_fail,
            **DB,
        )
        run.open()
        assert run.come(0, 0.0) == "a"
        run.begin(0)
        struck = struck_at(line, lambda: DECISIONS[way](run))
        if struck:
            run.state.rebuild(1.0)
            DECISIONS[way](run)
        if way == "timeout":
            run.state.expire(3.0)
        ends.add(play_to_the_end(run))
        if way != "stop":
            assert run.state.plan.ready._free == {"db": 1}  # type: ignore[union-attr]
        if not struck:
            break
    assert line > 10 and len(ends) == 1, ends


# Anything, in any order ---------------------------------------------------------------


def happen(run: Replay, slot: Slot, now: float, data: st.DataObject) -> None:
    """Let something happen to a slot, to a task, or to the run."""
    state, number = run.state, run.slots.index(slot)
    what = data.draw(st.integers(0, 20))
    if what == 0 and data.draw(st.booleans()):
        state.stop(now, data.draw(st.booleans()))
    elif what == 1:
        state.expire(now)
    elif what == 2:
        state.rebuild(now)
    elif what == 3:
        task = data.draw(st.sampled_from(list(run.tasks.values())))
        ended = task.outcome is not None
        assert state.cancel(task, now) is not ended or task.outcome is not None
    elif slot.state == STOPPING:
        (state.gone if what % 2 else state.unstoppable)(slot, now)
        state.gone(slot, now)
    elif slot.state == COMING:
        state.come(slot, object(), now)
    elif what == 4 and run.worker(number).at_hand.mode is None:
        state.gone(slot, now)
    else:
        run.begin(number)
        makers = [success, success, failure, lambda: Outcome.lost(None, "died")]
        run.end(number, data.draw(st.sampled_from(makers))(), now)


KINDS = st.sampled_from([{}, {}, {"db": 1}, {"db": 2}, {"gpu": 1}, {"db": 1, "gpu": 1}])


@pytest.mark.hang_after(180)  # a failure is made small before it is told
@settings(max_examples=100)
@given(st.data())
def test_whatever_happens_with_options(data: st.DataObject) -> None:
    """Each task ends once, no more is held than there is, and there is an end."""
    tasks = []
    for number in range(data.draw(st.integers(1, 6))):
        below = st.sampled_from(range(number + 1))
        needs = set(data.draw(st.lists(below, max_size=2))) - {number}
        rules = ["all_success", "all_done", "one_failed"][: 3 if needs else 2]
        retry = Retry(
            data.draw(st.integers(0, 1)),
            delay=data.draw(st.sampled_from([0, 1])),
            attempt_timeout=data.draw(st.sampled_from([None, 2])),
        )
        tasks.append(
            make(
                number,
                *needs,
                priority=data.draw(st.integers(0, 2)),
                resources=data.draw(KINDS),
                trigger_rule=data.draw(st.sampled_from(rules)),
                timeout=data.draw(st.sampled_from([None, 4, math.inf])),
                task_retries=retry,
            )
        )
    there_is = {"db": 2, "gpu": 1}
    run = Replay(
        *tasks,
        limit=data.draw(st.integers(1, 3)),
        timeout=data.draw(st.sampled_from([None, 3.0])),
        run_timeout=data.draw(st.sampled_from([None, 8.0])),
        fast_fail=data.draw(st.booleans()),
        cancelled=dict.fromkeys(
            data.draw(st.lists(st.sampled_from(tasks), max_size=1))
        ),
        resources=there_is,
    )
    run.open()
    for step in range(60):
        for kind, *what in run.effects():
            if kind == ABANDON:
                run.state.abandoned()
            elif kind == DELAY and data.draw(st.booleans()):
                run.state.delay(what[0], 1.0, step / 4)
            elif kind == DELAY:
                run.state.delay_failed(what[0], ValueError(), step / 4)
        busy = [slot for slot in run.slots if slot.state not in (PARKED, GONE)]
        if busy:
            happen(run, data.draw(st.sampled_from(busy)), step / 4, data)
        elif run.state.next_moment < FOREVER:
            run.state.expire(max(step / 4, run.state.next_moment))
        elif not run.state.effects:
            break
        for kind, amount in there_is.items():
            held = [slot.held.get(kind, 0) for slot in run.state.slots.all]
            assert sum(held) <= amount
    play_to_the_end(run)
    assert run.state.over
    assert len(labels(run.state.plan.ended)) == len(tasks)
    assert not any(slot.held for slot in run.state.slots.all)


def test_at_hand_is_kept_at_the_end_of_a_run() -> None:
    """What a command has printed is told of by each way to end it."""
    for way in ("cancel", "run"):
        run = Replay(make("a"), limit=1, run_timeout=5.0)
        run.open()
        run.come(0)
        run.worker(0).at_hand = AtHand("subprocess", "output")
        if way == "cancel":
            run.state.cancel(run.tasks["a"], 1.0)
        else:
            run.state.expire(5.0)
        outcome = run.tasks["a"].outcome
        assert outcome is not None
        assert (outcome.mode, outcome.trace) == ("subprocess", "output")
