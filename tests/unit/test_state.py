"""The run's decisions: events in, effects out, without threads, time or processes."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concurra import steps
from concurra.engine.effects import ABANDON, AT, FINISH, KILL_ALL, START, STOP
from concurra.engine.slots import AT_WORK, COMING, GONE, PARKED, STOPPING, Slot
from concurra.engine.timers import FOREVER
from concurra.outcomes import (
    ABORT,
    FAILED,
    LOST,
    TERMINATED,
    TIMEOUT,
    Outcome,
)
from concurra.steps import INTERRUPT, TERMINATE
from tests.unit.replay import Replay, play_to_the_end, struck_at
from tests.unit.scripted import unable
from tests.unit.support import error_of, failure, labels, make, success


def lost() -> Outcome:
    return Outcome.lost(None, "was killed")


# Starting -----------------------------------------------------------------------------


def test_as_many_slots_come_as_there_are_tasks() -> None:
    """Up to the limit; each takes one, in the order of adding."""
    run = Replay(make("a"), make("b"), make("c"), limit=2)
    assert run.open() == [(START, 0), (START, 1)]
    assert [run.come(0), run.come(1)] == ["a", "b"]
    assert run.effects() == []
    assert run.states() == [AT_WORK, AT_WORK]


def test_an_empty_run_is_over() -> None:
    """At once."""
    assert Replay().open() == [(FINISH,)]


def test_who_ends_a_task_takes_the_next() -> None:
    """In the same decision, and nothing else is to be done."""
    run = Replay(make("a"), make("b", "a"), limit=9)
    assert run.open() == [(START, 0)]
    assert run.come(0) == "a"
    assert run.end(0, success()) == "b"
    assert run.effects() == []
    assert run.end(0, success()) is None
    assert run.states() == [COMING]
    assert run.come(0) is None
    assert run.effects() == [(FINISH,)]
    assert run.states() == [PARKED]


def test_more_come_when_more_becomes_ready() -> None:
    """Those that are parked first; then new ones, up to the limit."""
    tasks = make("a"), make("b"), *[make(n, "a") for n in range(3)]
    run = Replay(*tasks, limit=3)
    assert run.open() == [(START, 0), (START, 1)]
    run.come(0), run.come(1)
    assert run.end(1, success()) is None
    assert run.come(1) is None
    assert run.states() == [AT_WORK, PARKED]
    assert run.end(0, success()) is None, "others have to be called first"
    assert run.effects() == [(START, 1), (START, 2)]
    assert [run.come(0), run.come(1), run.come(2)] == [0, 1, 2]


def test_who_is_late_is_stood_in_for() -> None:
    """A slot that has something to do before it comes keeps no task waiting."""
    run = Replay(make("a"), make("b", "a"), limit=2)
    run.open()
    run.come(0)
    run.worker(0).unreaped = True
    assert run.end(0, success()) is None
    assert run.effects() == []
    run.state.call(late=1)
    assert run.effects() == [(START, 1)]
    assert [run.come(1), run.come(0)] == ["b", None]


def test_only_one_thread_serves_a_slot() -> None:
    """Also if it has been started twice."""
    run = Replay(make("a"), make("b"), limit=1)
    run.open()
    slot, first, second = run.slots[0], object(), object()
    assert run.state.come(slot, first, 0.0) == (AT_WORK, run.tasks["a"])
    assert run.state.come(slot, second, 0.0) == (PARKED, None)
    assert run.state.come(slot, first, 0.0) == (AT_WORK, run.tasks["a"])
    run.end(0, success())
    run.end(0, success())
    assert run.state.come(slot, second, 0.0) == (PARKED, None)
    assert run.state.come(slot, second, 0.0) == (PARKED, None)


# Two ends at once, and late events ----------------------------------------------------


def test_two_ends_at_once() -> None:
    """What waits for both starts once, whichever is decided first."""
    for order in itertools.permutations((0, 1)):
        run = Replay(make("a"), make("b"), make("c", "a", "b"))
        run.open()
        run.come(0), run.come(1)
        following = [run.end(number, success()) for number in order]
        assert following == [None, "c"]
        assert run.effects() == []


def test_a_second_outcome_counts_for_nothing() -> None:
    """Nor does one that comes after the slot was stopped, or has gone."""
    run = Replay(make("a"), make("b", "a"), timeout=2.0)
    run.open()
    run.come(0)
    run.begin(0)
    run.state.expire(2.0)
    first = run.tasks["a"].outcome
    assert first and first.cause == TIMEOUT
    run.effects()
    assert run.end(0, success()) is None
    assert run.tasks["a"].outcome is first and run.states() == [STOPPING]
    run.state.gone(run.slots[0], 3.0)
    run.end(0, success())
    assert run.tasks["a"].outcome is first and run.states() == [GONE]


def test_a_late_start_finds_nothing_to_do() -> None:
    """A slot that comes after everything was stopped gets no task."""
    run = Replay(make("a"), make("b"))
    run.open()
    run.state.stop(1.0)
    assert run.state.come(run.slots[0], object(), 2.0) == (STOPPING, None)
    assert run.states() == [STOPPING, STOPPING]


# Stop, and death, in every state ------------------------------------------------------


@pytest.mark.parametrize("force", [False, True])
def test_a_stop_in_every_state(force: bool) -> None:
    """At work and coming: asked to stop, or forced. Parked: left alone. Stopping: only
    what had not been forced yet."""
    tasks = make("a"), make("b"), make("c"), make("d", "c"), make("e", "c")
    run = Replay(*tasks, limit=3, timeout=9.0)
    run.open()
    run.come(0, 0.0), run.come(1, 5.0), run.come(2, 5.0)
    run.begin(0), run.begin(1)
    run.state.expire(9.0)  # "a" is too late
    run.effects()
    run.end(2, success(), 9.5)
    run.effects()
    assert run.states() == [STOPPING, AT_WORK, COMING, COMING]
    assert run.come(2, 9.6) == "d"
    run.effects()
    run.state.stop(10.0, force)
    effects = run.effects()
    stops = [effect for effect in effects if effect[0] == STOP]
    assert {(STOP, number, force) for number in (1, 2, 3)} <= set(stops)
    assert ((STOP, 0, True) in stops) is force
    assert ((KILL_ALL,) in effects) is force
    assert {run.state.slots.count[AT_WORK], run.state.slots.count[COMING]} == {0}
    assert None not in run.statuses().values()
    run.state.stop(10.0, force)
    assert [each for each in run.effects() if each[0] == STOP] == []


def test_an_interrupt_goes_further_step_by_step() -> None:
    """It is asked as Ctrl-C asks, then to stop, then killed: in one grace period."""
    run = Replay(make("a"), grace=4.0)
    run.open()
    run.come(0), run.begin(0)
    run.state.stop(10.0, INTERRUPT)
    assert run.effects() == [(STOP, 0, INTERRUPT), (AT, 12.0)]
    run.state.expire(11.9)
    assert run.effects() == []
    run.state.expire(12.0)
    assert run.effects() == [(STOP, 0, TERMINATE)]
    assert run.state.next_moment == 14.0
    run.state.expire(14.0)
    assert run.effects() == [(STOP, 0, steps.KILL)]
    assert run.state.next_moment == 18.0
    run.state.expire(18.0)
    assert run.effects() == [(ABANDON, 0)]


@pytest.mark.parametrize("force", [TERMINATE, steps.KILL])
def test_a_stop_after_an_interrupt(force: int) -> None:
    """Takes its own step at once, and a second one of the same kind takes none."""
    run = Replay(make("a"), grace=4.0)
    run.open()
    run.come(0), run.begin(0)
    run.state.stop(10.0, INTERRUPT)
    run.effects()
    for expected in ([(STOP, 0, force)], []):
        run.state.stop(11.0, force)
        assert [each for each in run.effects() if each[0] == STOP] == expected


def test_a_stop_of_one_that_waits() -> None:
    """A parked slot is not stopped, and when all is parked the run is over."""
    run = Replay(make("a"), make("b", "a"), limit=2)
    run.open()
    run.come(0)
    run.state.stop(1.0)
    assert run.effects() == [(STOP, 0, False), (AT, 2.0)]
    run.state.gone(run.slots[0], 1.5)
    assert run.effects() == [(FINISH,)]


def test_a_stop_before_the_run() -> None:
    """Everything ends, nothing starts."""
    run = Replay(make("a"), make("b", "a"))
    run.state.stop(1.0)
    assert run.effects() == [(FINISH,)]
    assert not run.state.open()
    assert set(run.statuses().values()) == {TERMINATED}


def test_a_stop_while_the_run_is_prepared() -> None:
    """The end waits for that."""
    run = Replay(make("a"))
    assert run.state.open()
    run.state.stop(1.0)
    assert run.effects() == []
    run.state.call()
    assert run.effects() == [(FINISH,)]


@pytest.mark.parametrize("begun", [False, True])
def test_a_stop_keeps_what_is_at_hand(begun: bool) -> None:
    """The mode and the transcript; or none, if the job had not begun."""
    run = Replay(make("a"))
    run.open()
    run.come(0)
    if begun:
        run.begin(0, "so far")
    run.state.stop(1.0)
    outcome = run.tasks["a"].outcome
    assert run.worker(0).dismissed
    assert outcome and outcome.cause == ABORT
    expected = ("thread", "so far", 1) if begun else (None, None, 0)
    assert (outcome.mode, outcome.trace, run.tasks["a"].attempts) == expected


def test_a_death_while_it_was_coming() -> None:
    """Another comes instead."""
    run = Replay(make("a"), limit=1)
    run.open()
    run.state.gone(run.slots[0], 1.0)
    assert run.effects() == [(START, 1)]
    assert run.come(1) == "a"


def test_a_death_with_a_task_that_has_not_begun() -> None:
    """The task goes to another, as if nothing had been."""
    run = Replay(make("a"), limit=1)
    run.open()
    run.come(0)
    run.state.gone(run.slots[0], 1.0)
    assert run.effects() == [(START, 1)]
    assert run.come(1, 2.0) == "a"
    assert (run.tasks["a"].attempts, run.tasks["a"].started) == (1, 2.0)


def test_a_slot_is_withdrawn_while_it_was_coming() -> None:
    """Whoever was asked to serve it finds nothing; another comes when it has gone."""
    run = Replay(make("a"), limit=1)
    run.open()
    for _ in range(2):  # a decision may be made twice
        run.state.withdraw(run.slots[0], 1.0)
    assert run.states() == [STOPPING] and run.slots[0].leaving
    assert run.state.come(run.slots[0], object(), 2.0) == (STOPPING, None)
    assert run.effects() == []
    run.state.gone(run.slots[0], 3.0)
    assert run.effects() == [(START, 1)]
    assert run.come(1, 4.0) == "a"


def test_a_slot_is_withdrawn_while_it_was_parked() -> None:
    """It is not woken any more, when there is something to do."""
    run = Replay(make("a"), make("b"), make("c", "a"), make("d", "a"), limit=2)
    run.open()
    run.come(0)
    run.come(1)
    assert run.end(1, success()) is None
    run.come(1)
    assert run.states() == [AT_WORK, PARKED]
    run.state.withdraw(run.slots[1], 1.0)
    assert run.states() == [AT_WORK, GONE]
    run.end(0, success())
    assert run.effects() == [(START, 2)]  # beside the first, which is there
    assert {run.come(0), run.come(2)} == {"c", "d"}


def test_what_a_withdrawn_slot_is_at_is_still_to_be_recorded() -> None:
    """Its task has begun, so it is not given to another."""
    run = Replay(make("a"), limit=1)
    run.open()
    run.come(0)
    run.state.withdraw(run.slots[0], 1.0)
    assert run.states() == [AT_WORK] and run.slots[0].task is run.tasks["a"]


def test_a_death_while_it_was_parked() -> None:
    """Nobody misses it."""
    run = Replay(make("a"), make("b"), make("c", "a"), limit=2)
    run.open()
    run.come(0), run.come(1)
    run.end(1, success())
    run.come(1)
    run.state.gone(run.slots[1], 1.0)
    assert run.effects() == []
    assert run.end(0, success()) == "c"


def test_a_death_while_it_was_stopped() -> None:
    """It makes room, and is not waited for any more."""
    run = Replay(make("a"), limit=1)
    run.open()
    run.come(0)
    run.state.stop(1.0)
    run.effects()
    run.state.gone(run.slots[0], 1.0)
    assert run.effects() == [(FINISH,)]
    run.state.expire(99.0)
    assert run.effects() == []


def test_a_second_death_changes_nothing() -> None:
    """It has gone."""
    run = Replay(make("a"), limit=1)
    run.open()
    run.state.gone(run.slots[0], 1.0)
    run.effects()
    run.state.gone(run.slots[0], 1.0)
    assert run.effects() == []


# Escalation ---------------------------------------------------------------------------


def test_who_does_not_stop_is_forced_and_then_abandoned() -> None:
    """One grace period after the other; the moments are told in advance."""
    run = Replay(make("a"))
    run.open()
    run.come(0)
    run.state.stop(10.0)
    assert run.effects() == [(STOP, 0, False), (AT, 11.0)]
    run.state.expire(10.9)
    assert run.effects() == []
    run.state.expire(11.0)
    assert run.effects() == [(STOP, 0, True)]
    assert run.state.next_moment == 12.0
    run.state.expire(12.0)
    assert run.effects() == [(ABANDON, 0)]
    assert run.state.next_moment == FOREVER
    run.state.abandoned()
    assert run.effects() == [(FINISH,)]


def test_who_cannot_be_stopped_is_abandoned_at_once() -> None:
    """Like a thread."""
    run = Replay(make("a"), make("b"), limit=1, timeout=5.0)
    run.open()
    run.come(0)
    run.effects()
    run.state.expire(5.0)
    assert run.effects() == [(STOP, 0, False), (START, 1)]
    run.state.unstoppable(run.slots[0], 5.0)
    assert run.effects() == [(ABANDON, 0)]
    run.state.unstoppable(run.slots[0], 5.0)
    assert run.effects() == []
    assert run.come(1) == "b"


def test_a_stop_that_is_forced_later_begins_a_new_period() -> None:
    """The one that had begun counts no more."""
    run = Replay(make("a"))
    run.open()
    run.come(0)
    run.state.stop(10.0)
    run.effects()
    run.state.stop(10.5, force=True)
    assert run.effects() == [(STOP, 0, True), (KILL_ALL,)]
    run.state.expire(11.0)
    assert run.effects() == []
    run.state.expire(11.5)
    assert run.effects() == [(ABANDON, 0)]


def test_what_a_worker_says_does_not_hold_up_its_end() -> None:
    """An answer that comes while it is being stopped changes nothing."""
    run = Replay(make("a"))
    run.open()
    run.come(0)
    run.state.stop(10.0)
    run.effects()
    run.end(0, success(), 10.5)
    run.state.expire(11.0)
    assert run.effects() == [(STOP, 0, True)]


# Expiry -------------------------------------------------------------------------------


def test_a_deadline_is_told_in_advance_and_kept() -> None:
    """Who needs the place of a task that took too long gets it at once."""
    run = Replay(make("a"), make("b"), limit=1, timeout=5.0)
    run.open()
    run.come(0, 1.0)
    assert run.effects() == [(AT, 6.0)]
    run.state.expire(5.9)
    assert run.effects() == [] and run.state.next_moment == 6.0
    run.begin(0, "so far")
    run.state.expire(6.0)
    assert run.effects() == [(STOP, 0, False), (START, 1)]
    assert (
        error_of(run.tasks["a"]) == "TimeoutError: Task exceeded timeout of 5.0 seconds"
    )
    assert run.state.next_moment == 7.0


def test_what_has_happened_before_a_deadline_is_seen_counts_first() -> None:
    """An outcome that has come and is not decided yet is no timeout."""
    run = Replay(make("a"), timeout=5.0)
    run.open()
    run.come(0)
    run.effects()
    slot = run.slots[0]
    slot.outcome, slot.moment = success("in time"), 4.9
    run.state.expire(5.0)
    assert run.statuses() == {"a": "Successful"}
    assert run.effects() == [] and run.states() == [COMING]


def test_deadlines_of_tasks_that_ended_wake_nobody() -> None:
    """The first moment is that of a task that is at work."""
    run = Replay(make("a"), make("b"), limit=1, timeout=5.0)
    run.open()
    run.come(0, 1.0)
    run.effects()
    assert run.end(0, success(), 3.0) == "b"
    run.state.expire(6.0)
    assert run.effects() == [] and run.state.next_moment == 8.0


def test_the_timeout_covers_a_task_that_waits_for_its_retry() -> None:
    """It costs no slot then."""
    run = Replay(make("x"), make("flaky", retries=5), limit=1, timeout=5.0)
    run.open()
    run.come(0, 0.0)
    assert run.end(0, success(), 1.0) == "flaky"
    run.worker(0).unreaped = True
    assert run.end(0, failure("E: 1"), 2.0) is None
    run.effects()
    run.state.expire(6.0)
    assert run.statuses()["flaky"] == TERMINATED
    assert run.states() == [COMING]
    assert run.come(0, 6.0) is None
    assert run.effects() == [(FINISH,)]


# Retry, fast-fail ---------------------------------------------------------------------


def test_a_failed_attempt_is_made_again() -> None:
    """In its turn: it was added first."""
    run = Replay(make("a", retries=1), make("b"), limit=1)
    run.open()
    run.come(0)
    assert run.end(0, failure("E: 1")) == "a"
    assert run.end(0, failure("E: 2")) == "b"
    assert run.tasks["a"].errors == ["E: 1", "E: 2"]
    assert run.statuses()["a"] == FAILED


def test_fast_fail_ends_all_in_one_decision() -> None:
    """Who failed is not stopped; who is at work is; what waits never starts."""
    run = Replay(make("bad"), make("busy"), make("waits"), fast_fail=True)
    run.open()
    run.come(0), run.come(1)
    run.begin(0), run.begin(1)
    assert run.end(0, failure(), 1.0) is None
    assert run.effects() == [(STOP, 1, False), (AT, 2.0)]
    assert run.states() == [COMING, STOPPING]
    assert run.statuses() == {
        "bad": FAILED,
        "busy": TERMINATED,
        "waits": TERMINATED,
    }
    assert labels(run.state.plan.ended) == ["bad", "busy", "waits"]


def test_fast_fail_counts_a_timeout() -> None:
    """As a failure."""
    run = Replay(make("a"), make("b"), limit=1, timeout=5.0, fast_fail=True)
    run.open()
    run.come(0)
    run.effects()
    run.state.expire(5.0)
    assert run.effects() == [(STOP, 0, False)]
    assert run.statuses() == {"a": TERMINATED, "b": TERMINATED}


# Shortage -----------------------------------------------------------------------------


def test_who_lacks_something_leaves_the_task_to_others() -> None:
    """It leaves, and its place is not filled again."""
    run = Replay(make("a"), make("b"), make("c"), limit=2)
    run.open()
    run.come(0), run.come(1)
    assert run.end(1, unable()) is None
    assert run.states() == [AT_WORK, STOPPING] and run.slots[1].leaving
    assert run.effects() == []
    assert run.end(0, success()) == "b"
    run.state.gone(run.slots[1], 1.0)
    assert run.effects() == []
    assert run.tasks["b"].attempts == 1


def test_the_last_one_has_nobody_to_leave_it_to() -> None:
    """The task fails with what was lacking."""
    run = Replay(make("a"), make("b"), limit=1)
    run.open()
    run.come(0)
    assert run.end(0, unable()) == "b"
    assert (run.tasks["a"].attempts, run.statuses()["a"]) == (0, FAILED)


def test_when_all_have_left_another_one_tries_alone() -> None:
    """They had a part each of what one needs; a want is the task's only after that."""
    run = Replay(make("a"), make("b"), limit=2)
    run.open()
    run.come(0), run.come(1)
    assert run.end(0, unable()) is None
    assert run.end(1, unable()) is None
    assert run.states() == [STOPPING, STOPPING] and run.effects() == []
    run.state.gone(run.slots[1], 1.0)
    assert run.effects() == []
    run.state.gone(run.slots[0], 1.0)
    assert run.effects() == [(START, 2)]
    assert run.come(2) == "a"
    assert run.end(2, unable()) == "b"
    assert run.statuses() == {"a": FAILED, "b": None}


def test_who_is_struck_alone_is_replaced_even_if_all_others_have_left() -> None:
    """Somebody has to take what they gave back."""
    run = Replay(make("a"), make("b"), limit=2)
    run.open()
    run.come(0)
    run.end(0, unable())
    assert run.effects() == []
    run.state.gone(run.slots[0], 1.0)
    run.state.gone(run.slots[1], 1.0)
    assert run.effects() == [(START, 2)]


def test_who_is_stopped_makes_room_for_one_that_left() -> None:
    """Its end wakes somebody: another slot comes."""
    run = Replay(make("slow"), make("next"), limit=1, timeout=5.0)
    run.open()
    run.come(0)
    run.effects()
    run.state.expire(5.0)
    assert run.effects() == [(STOP, 0, False), (START, 1)]
    assert run.come(1) == "next"
    run.end(1, unable())
    assert run.states() == [STOPPING, STOPPING]
    run.effects()
    run.state.gone(run.slots[1], 5.5)
    assert run.effects() == []
    run.state.gone(run.slots[0], 6.0)
    assert run.effects() == [(START, 2)]
    assert run.come(2) == "next"


def test_room_that_was_made_meanwhile_is_used() -> None:
    """Who looked a moment too early tries again."""
    run = Replay(make("slow"), make("next"), limit=1, timeout=5.0)
    run.open()
    run.come(0)
    run.state.expire(5.0)
    run.effects()
    run.come(1)
    run.state.gone(run.slots[0], 5.5)
    assert run.end(1, unable()) == "next"
    assert run.states() == [GONE, AT_WORK]


def test_when_no_thread_can_be_had() -> None:
    """Those that there are go on; if there are none, everything ends."""
    run = Replay(make("a"), make("b"), make("c"), limit=2)
    run.open()
    run.come(0)
    run.state.unavailable(run.slots[1], 0.0)
    assert run.effects() == []
    assert run.end(0, success()) == "b"
    alone = Replay(make("a"), limit=2)
    alone.open()
    alone.state.unavailable(alone.slots[0], 0.0)
    assert alone.effects() == [(FINISH,)]
    assert alone.statuses() == {"a": TERMINATED}


def test_a_job_that_was_lost_before_it_began_is_tried_again_once() -> None:
    """It costs no attempt; the second time counts."""
    run = Replay(make("a"), limit=1)
    run.open()
    run.come(0)
    assert run.end(0, lost()) == "a"
    assert run.tasks["a"].attempts == 1
    assert run.end(0, lost()) is None
    outcome = run.tasks["a"].outcome
    assert outcome and outcome.cause == LOST


# Decisions that were cut short --------------------------------------------------------


@pytest.mark.parametrize("fast_fail", [False, True])
@pytest.mark.parametrize("kind", ["success", "failure", "retry", "lost"])
def test_a_decision_can_be_struck_at_any_line(kind: str, fast_fail: bool) -> None:
    """Made anew, it comes to what it would have come to; nothing is lost or doubled."""
    outcome = {"success": success(), "lost": lost()}.get(kind, failure("E: 1"))
    ends: set[str] = set()
    for line in range(1, 400):
        tasks = make("a", retries=int(kind == "retry")), make("b", "a"), make("c", "b")
        run = Replay(*tasks, make("d", "a"), make("e"), limit=2, fast_fail=fast_fail)
        run.open()
        assert [run.come(0), run.come(1)] == ["a", "e"]
        run.begin(0)
        struck = struck_at(line, lambda: run.end(0, outcome, 1.0))
        if struck:
            run.state.rebuild(1.0)
            run.state.ended(run.slots[0])
        ends.add(play_to_the_end(run))
        if not struck:
            break
    assert line > 20 and len(ends) == 1, ends


@pytest.mark.parametrize("struck_step", range(4))
def test_leaving_for_want_can_be_struck_at_any_line(struck_step: int) -> None:
    """Two leave, and go: somebody comes for what they have left, and finds room."""
    for line in range(1, 400):
        run = Replay(make("a"), make("b"), limit=2)
        run.open()
        run.come(0)
        run.come(1)
        first, second = run.slots
        for slot in run.slots:
            slot.outcome = unable()
        steps: list[Callable[[], None]] = [
            partial(run.state.ended, first),
            partial(run.state.ended, second),
            partial(run.state.gone, first, 1.0),
            partial(run.state.gone, second, 1.0),
        ]
        for step in steps[:struck_step]:
            step()
        struck = struck_at(line, steps[struck_step])
        if struck:
            run.state.rebuild(1.0)
        for step in steps[struck_step + (not struck) :]:
            step()
        play_to_the_end(run)
        assert run.statuses() == dict.fromkeys("ab", "Successful")
        if not struck:
            break
    assert line > 20


# A limit that rises -------------------------------------------------------------------


def look(run: Replay, now: float) -> list[tuple[int, ...]]:
    """Some time goes by; which slots are to come."""
    run.state.expire(now)
    return [effect for effect in run.effects() if effect[0] == START]


def test_slots_come_as_they_are_needed() -> None:
    """As many as there may be at first; then twice as many, if none ends a task."""
    run = Replay(*[make(n) for n in range(9)], limit=5, at_first=1)
    assert run.open() == [(START, 0), (AT, -FOREVER)]
    run.come(0)
    assert [look(run, now) for now in (0.0, 1.0)] == [[], []]
    assert look(run, 2.0) == [(START, 1)]
    run.come(1)
    assert [look(run, now) for now in (3.0, 4.0)] == [[], [(START, 2), (START, 3)]]
    assert run.come(2) == 2 and run.come(3) == 3
    assert [look(run, now) for now in (5.0, 6.0)] == [[], [(START, 4)]]
    run.come(4)
    run.state.expire(7.0)
    assert run.state.next_moment == FOREVER, "that is all there may be"
    play_to_the_end(run)


def test_slots_do_not_come_while_one_is_on_its_way() -> None:
    """Before it has come, and while its process is not ready."""
    run = Replay(*[make(n) for n in range(9)], limit=9, at_first=1)
    run.open()
    assert [look(run, now) for now in (0.0, 1.0, 2.0)] == [[], [], []]
    run.come(0)
    run.worker(0).starting = True
    assert look(run, 3.0) == []
    run.worker(0).starting = False
    assert [look(run, now) for now in (4.0, 5.0)] == [[], [(START, 1)]]


def test_nobody_looks_while_no_task_waits_for_a_slot() -> None:
    """Until one does: that is noticed by whoever has taken the one before it."""
    run = Replay(make("a"), make("b", "a"), make("c", "a"), limit=9, at_first=1)
    run.open()
    run.come(0)
    run.state.expire(0.0)
    assert run.state.next_moment == FOREVER
    assert run.end(0, success(), 1.0) == "b"
    assert run.state.next_moment == -FOREVER
    assert [look(run, now) for now in (1.0, 2.0)] == [[], []]
    assert look(run, 3.0) == [(START, 1)]
    assert run.come(1, 3.0) == "c"


def test_a_want_while_slots_are_still_to_come() -> None:
    """The task is left to them, though nobody else has come."""
    run = Replay(make("a"), make("b"), limit=2, at_first=1)
    run.open()
    assert run.come(0) == "a"
    run.end(0, unable(), 1.0)
    assert run.states() == [STOPPING]
    assert (START, 1) in run.effects()
    run.state.gone(run.slots[0], 1.0)
    assert run.come(1, 1.0) == "a"
    play_to_the_end(run)
    assert run.statuses() == dict.fromkeys("ab", "Successful")


def test_no_thread_while_slots_are_still_to_come() -> None:
    """The next one is tried before all is given up."""
    run = Replay(make("a"), make("b"), limit=2, at_first=1)
    run.open()
    run.state.unavailable(run.slots[0], 1.0)
    assert (START, 1) in run.effects() and not run.state.stopped
    run.state.unavailable(run.slots[1], 1.0)
    assert run.state.stopped


def test_a_look_can_be_struck_at_any_line() -> None:
    """The slots come nevertheless."""
    for line in range(1, 400):
        run = Replay(*[make(n) for n in range(4)], limit=4, at_first=1)
        run.open()
        run.come(0)
        look(run, 0.0)
        look(run, 1.0)
        struck = struck_at(line, lambda: run.state.expire(2.0))
        if struck:
            run.state.rebuild(2.0)
            run.state.expire(2.0)
        now = 3.0
        while run.state.next_moment < FOREVER:
            for number, slot in enumerate(run.slots):
                if slot.state == COMING:
                    run.come(number, now)
            look(run, now)
            now += 1.0
        assert run.states() == [AT_WORK] * 4, line
        if not struck:
            break
    assert line > 20


# Anything, in any order ---------------------------------------------------------------


def happen(run: Replay, slot: Slot, now: float, data: st.DataObject) -> None:
    """Let something happen to a slot, or to the run."""
    state, number = run.state, run.slots.index(slot)
    what = data.draw(st.integers(0, 30))
    if what == 0:
        state.stop(now, data.draw(st.booleans()))
    elif what == 1:
        state.expire(now)
    elif what == 2:
        state.rebuild(now)
    elif slot.state == STOPPING:
        (state.gone if what % 2 else state.unstoppable)(slot, now)
        state.gone(slot, now)
    elif slot.state == COMING and what == 3:
        state.unavailable(slot, now)
    elif slot.state == COMING:
        state.come(slot, object(), now)
        assert not (state.stopped and slot.task), "nothing starts after a stop"
    elif what == 4 and run.worker(number).at_hand.mode is None:
        state.gone(slot, now)
    else:
        run.begin(number)
        makers = [success, success, failure, unable, lost]
        run.end(number, data.draw(st.sampled_from(makers))(), now)


@given(st.data())
def test_whatever_happens_every_task_ends_once(data: st.DataObject) -> None:
    """No illegal move, no slot too many, nothing begun after a stop, and an end."""
    tasks = []
    for number in range(data.draw(st.integers(1, 5))):
        below = st.sampled_from(range(number + 1))
        needs = set(data.draw(st.lists(below, max_size=2))) - {number}
        tasks.append(make(number, *needs, retries=data.draw(st.integers(0, 1))))
    limit = data.draw(st.integers(1, 3))
    at_first = data.draw(st.sampled_from([None, 1]))
    timeout = data.draw(st.sampled_from([None, 3.0]))
    fast_fail = data.draw(st.booleans())
    options = {"timeout": timeout, "fast_fail": fast_fail, "at_first": at_first}
    run = Replay(*tasks, limit=limit, **options)
    run.open()
    for step in range(40):
        for effect in run.effects():
            if effect[0] == ABANDON:
                run.state.abandoned()
        busy = [slot for slot in run.slots if slot.state not in (PARKED, GONE)]
        if not busy:
            break
        happen(run, data.draw(st.sampled_from(busy)), step / 4, data)
        assert run.state.slots.count[AT_WORK] <= run.state.slots.staff <= limit
    play_to_the_end(run)
    assert run.state.over
