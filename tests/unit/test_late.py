"""A decision that comes late: what has happened meanwhile counts first."""

from __future__ import annotations

from concurra.engine.effects import STOP
from concurra.engine.slots import AT_WORK, STOPPING
from concurra.engine.stopping import LATE
from concurra.options import Chosen, OwnOptions, Options
from concurra.outcomes import ABORT, SUCCESS, TIMEOUT
from concurra.retries import Retry
from concurra.steps import TERMINATE
from tests.helpers import wait_until
from tests.unit.replay import Replay
from tests.unit.scripted import BOUND, Meeting, play
from tests.unit.support import make, success
from tests.unit.test_scheduler import Scheduling, schedule  # noqa: F401

#: Long after all deadlines.
NOW = 100.0


def at_work(**options: object) -> Replay:
    """A run whose only task is at work, and can be tried again."""
    run = Replay(make("a", retries=1), **options)
    run.open()
    run.come(0)
    run.begin(0)
    run.effects()
    return run


def cause_of(run: Replay) -> str:
    outcome = run.tasks["a"].outcome
    assert outcome is not None
    return outcome.cause


def test_an_end_that_can_be_seen_has_a_little_time() -> None:
    """To come in; then it is what counts."""
    run = at_work(timeout=2.0)
    run.state.expire(NOW, {run.tasks["a"]})
    assert run.effects() == []
    assert run.state.next_moment == NOW + LATE
    assert run.states() == [AT_WORK]
    run.end(0, success(), NOW + 0.1)
    assert cause_of(run) == SUCCESS


def test_it_has_it_once() -> None:
    """What has only begun to answer does not hold up its timeout for ever."""
    run = at_work(timeout=2.0)
    for now in (NOW, NOW + LATE):
        run.state.expire(now, {run.tasks["a"]})
    assert cause_of(run) == TIMEOUT
    assert run.effects()[0] == (STOP, 0, TERMINATE)
    assert run.states() == [STOPPING]


def test_others_have_none() -> None:
    """Nor has a task whose own end cannot be seen."""
    run = Replay(make("a"), make("b"), timeout=2.0)
    run.open()
    for number in (0, 1):
        run.come(number)
        run.begin(number)
    run.state.expire(NOW, {run.tasks["b"]})
    assert cause_of(run) == TIMEOUT
    assert run.tasks["b"].outcome is None


def test_an_attempt_that_can_be_seen_to_end() -> None:
    """The same; the next attempt has as much, once."""
    run = at_work()
    task = run.tasks["a"]
    retry = Retry(1, attempt_timeout=2.0)
    task.options = OwnOptions(Options(), Chosen(task_retries=(1, retry)))
    run = Replay(task)
    run.open()
    run.come(0)
    run.begin(0)
    run.effects()
    run.state.expire(NOW, {task})
    assert task.outcome is None and run.states() == [AT_WORK]
    run.state.expire(NOW + LATE, {task})
    assert task.errors == ["TimeoutError: Attempt exceeded 2.0 seconds"]


def test_the_run_itself_has_it() -> None:
    """If one of its tasks can be seen to end."""
    run = at_work(run_timeout=2.0)
    run.state.expire(NOW, {run.tasks["a"]})
    assert run.states() == [AT_WORK]
    assert run.state.next_moment == NOW + LATE
    run.state.expire(NOW + LATE, {run.tasks["a"]})
    assert cause_of(run) == ABORT


def test_a_stop_counts_the_ends_that_have_come() -> None:
    """They have happened before it, though nobody has recorded them yet."""
    run = Replay(make("a"), make("b"), make("c", "a"))
    run.open()
    for number in (0, 1):
        run.come(number)
        run.begin(number)
    run.slots[0].outcome, run.slots[0].moment = success(), 1.0
    run.state.stop(2.0)
    causes = [task.outcome and task.outcome.cause for task in run.tasks.values()]
    assert causes == [SUCCESS, ABORT, ABORT]


def test_a_worker_is_asked_when_its_time_is_over(
    schedule: Scheduling,  # noqa: F811
) -> None:
    """And its task is not ended while it is about to tell its outcome."""
    meeting = Meeting(heeds=None)
    run = schedule(play("a", meeting), timeout=5.0).start()
    meeting.reached().ending = True
    run.clock.now = NOW
    run.scheduler._timer.ring(run.scheduler._look)
    wait_until(lambda: run.state.next_moment == NOW + LATE, BOUND, "the timer's look")
    meeting.end()
    run.end()
    assert run.statuses() == {"a": "Successful"}


def test_a_worker_that_shows_nothing_is_stopped(
    schedule: Scheduling,  # noqa: F811
) -> None:
    """As late as it is."""
    meeting = Meeting()
    run = schedule(play("a", meeting), timeout=5.0).start()
    meeting.reached()
    run.clock.now = NOW
    run.scheduler._timer.ring(run.scheduler._look)
    run.end()
    assert run.statuses() == {"a": "Terminated"}
