"""Outcomes made readable: result dicts, and what a report is made of."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from concurra.outcomes import ERROR, NOTHING, SKIP, SUCCESS, AtHand, Outcome, Remark
from concurra.plan.plan import Plan
from concurra.results import Recorder, Registry, duration
from concurra.tasks import Command, Task
from concurra.wording import FALLBACK_WARNING
from tests.unit.support import Planned, failure, make, opened, success

FIELDS = {
    "task_name": "nothing",
    "start_time": "2024-05-06 07:08:09",
    "end_time": "2024-05-06 07:08:10",
    "duration": "1.5 sec",
    "duration_seconds": 1.5,
    "result": 42,
    "error": None,
    "trace": None,
    "status": "Successful",
    "has_failed": False,
    "output": 42,
    "execution_mode": "thread",
    "warning": None,
    "attempts": 1,
    "task_retries": 0,
    "retried": False,
    "retry_errors": [],
}

#: What the monotonic clock's 0 is in these tests.
ORIGIN = time.mktime(time.strptime("2024-05-06 07:08:00", "%Y-%m-%d %H:%M:%S"))


def recorded(tasks: Iterable[Task]) -> dict[Any, Any]:
    """Their results."""
    return {task.label: Recorder(ORIGIN).record(task) for task in tasks}


def run(
    task: Task,
    *outcomes: Outcome,
    start: float = 9.0,
    end: float = 10.5,
    also: Iterable[Task] = (),
) -> Plan:
    """A plan in which the task has had these outcomes."""
    plan = opened(task, *also)
    for outcome in outcomes:
        plan.take(start)
        plan.settle(task, outcome, end)
    return plan


def record(task: Task, *outcomes: Outcome, **times: float) -> dict[str, Any]:
    run(task, *outcomes, **times)
    return Recorder(ORIGIN).record(task)


# Result dicts -------------------------------------------------------------------------


def test_a_label_whose_hash_changes_costs_no_other_result() -> None:
    """Only itself may be found twice."""

    class Changing:
        number = 1

        def __hash__(self) -> int:
            return self.number

    label = Changing()
    plan = Plan()
    for each in ("a", label, "b"):
        plan.add(make(each))
    plan.check()
    plan.open()
    while plan.remaining:
        task = plan.take(0.0)
        assert task is not None
        plan.settle(task, success(7), 1.0)
    Changing.number = 2
    results = Registry(plan.tasks, Recorder(0.0).record).complete()
    assert results["a"]["result"] == results["b"]["result"] == 7
    assert results[label]["result"] == 7


def test_a_result_has_the_documented_fields() -> None:
    """17 of them, in the documented values and types."""
    result = record(make("a"), success(42))
    assert result == FIELDS
    assert len(result) == 17


def test_a_failure() -> None:
    """Error and trace, and no result."""
    expected = {
        **FIELDS,
        "result": None,
        "output": None,
        "error": "ValueError: bad",
        "trace": "trace",
        "status": "Failed",
        "has_failed": True,
        "retry_errors": ["ValueError: bad"],
    }
    assert record(make("a"), failure()) == expected


def test_retries() -> None:
    """The attempts, and the error of each that failed."""
    outcomes = failure("E: 1"), failure("E: 2"), success(42)
    expected = {
        **FIELDS,
        "attempts": 3,
        "task_retries": 4,
        "retried": True,
        "retry_errors": ["E: 1", "E: 2"],
    }
    assert record(make("a", retries=4), *outcomes) == expected


def test_a_task_that_never_started() -> None:
    """Both timestamps are the moment of the decision; no attempt, no mode."""
    task = make("a", retries=2)
    plan = opened(task)
    plan.terminate({}, 10.5)
    result = Recorder(ORIGIN).record(task)
    assert result["start_time"] == result["end_time"] == "2024-05-06 07:08:10"
    assert (result["duration"], result["duration_seconds"]) == ("0.0 sec", 0.0)
    assert (result["attempts"], result["execution_mode"]) == (0, None)
    assert result["error"] == "RuntimeError: Execution terminated before completion"
    assert (result["status"], result["has_failed"]) == ("Terminated", True)
    assert type(result["duration_seconds"]) is float


def test_a_task_stopped_between_two_attempts_keeps_its_mode() -> None:
    """That of the attempt that was made."""
    task = make("a", retries=1)
    plan = run(task, failure())
    plan.terminate({}, 10.5)
    result = Recorder(ORIGIN).record(task)
    assert (result["status"], result["execution_mode"]) == ("Terminated", "thread")
    assert (result["attempts"], result["retried"]) == (1, False)
    assert result["warning"] is None


@pytest.mark.parametrize("last", [Outcome.stopped(), Outcome.timed_out(1, NOTHING)])
def test_a_task_ended_between_two_attempts_keeps_its_warning(last: Outcome) -> None:
    """That it was not picklable, if the attempt that was made was in a thread."""
    task = make("a", retries=1)
    plan = run(task, Outcome(ERROR, "thread_fallback", None, "E: x"))
    plan.settle(task, last, 10.5)
    result = Recorder(ORIGIN).record(task)
    assert (result["status"], result["attempts"]) == ("Terminated", 1)
    assert result["execution_mode"] == "thread_fallback"
    assert result["warning"] == FALLBACK_WARNING


def test_a_command_that_failed_keeps_its_result() -> None:
    """The structured one, as result and as output."""
    value = {"returncode": 7, "stdout": "", "stderr": ""}
    task = Planned("a", Command("exit 7"))
    result = record(task, Outcome.exited("subprocess", value, "stdout:\nx"))
    assert result["result"] is result["output"] is value
    assert (result["task_name"], result["status"]) == ("shell_command", "Failed")
    assert result["trace"] == "stdout:\nx"


def test_a_trace_is_text_or_none() -> None:
    """An object that grows becomes the text that it is when the result is made."""

    class Growing:
        text = ""

        def __str__(self) -> str:
            return self.text

    growing = Growing()
    task = make("a")
    run(task, Outcome.timed_out(1, AtHand("subprocess", growing)))
    assert Recorder(ORIGIN).record(task)["trace"] is None
    growing.text = "more"
    assert Recorder(ORIGIN).record(task)["trace"] == "more"


def test_a_warning() -> None:
    """Is passed on."""
    outcome = success(42)
    outcome.warning = "careful"
    assert record(make("a"), outcome) == {**FIELDS, "warning": "careful"}


def test_a_warning_that_may_come_later() -> None:
    """Is None until it has; a result that was made before is made anew."""
    remark = Remark()
    outcome = Outcome.stopped(AtHand("subprocess", None, remark))
    assert outcome.grows
    assert record(make("a"), outcome)["warning"] is None
    remark.text = "Still running"
    assert record(make("a"), outcome)["warning"] == "Still running"


def test_results_are_independent() -> None:
    """Users change them."""
    task = make("a", retries=1)
    run(task, failure("E: 1"), success(42))
    recorder = Recorder(ORIGIN)
    first, second = recorder.record(task), recorder.record(task)
    first["retry_errors"].append("mine")
    first["new"] = 1
    assert second["retry_errors"] == ["E: 1"]
    assert "new" not in second
    assert task.errors == ["E: 1"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.0 sec"),
        (0.004, "0.0 sec"),
        (0.006, "0.01 sec"),
        (1.0, "1.0 sec"),
        (1.014, "1.01 sec"),
        (59.99, "59.99 sec"),
        (60.0, "60.0 sec"),
        (60.6, "1.01 min"),
        (150.0, "2.5 min"),
        (3600.0, "60.0 min"),
        (100_000.0, "1666.67 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    """Seconds up to a minute, then minutes, two decimals at the most."""
    assert duration(seconds) == text
    result = record(make("a"), success(), start=1.0, end=1.0 + seconds)
    assert result["duration"] == text
    assert result["duration_seconds"] == round(seconds, 2)


def test_many_tasks_share_few_timestamps() -> None:
    """Each second is formatted once, and every task gets its own."""
    recorder = Recorder(ORIGIN)
    ends = []
    for moment in (10.0, 10.9, 11.0, 10.5):
        task = make("a")
        run(task, success(), start=9.0, end=moment)
        ends.append(recorder.record(task)["end_time"][-2:])
    assert ends == ["10", "10", "11", "10"]


def test_results_share_the_table_of_their_keys() -> None:
    """There may be a million of them, and other dicts take twice the memory."""
    result = record(make("a"), success())
    assert 1.5 * sys.getsizeof(result) < sys.getsizeof({**result})


# The registry -------------------------------------------------------------------------


@pytest.fixture
def tasks() -> dict[Any, Task]:
    """Two that have ended and one that has not."""
    made = [make("b"), make("a"), make("c")]
    plan = opened(*made)
    for task, outcome in zip(made, (success(1), failure())):
        plan.take(1.0)
        plan.settle(task, outcome, 2.0)
    return plan.tasks  # type: ignore[return-value]


@pytest.fixture
def registry(tasks: dict[Any, Task]) -> Registry:
    return Registry(tasks, Recorder(ORIGIN).record)


def test_the_registry_is_a_mapping_in_the_order_of_adding(registry: Registry) -> None:
    """From labels to results."""
    assert isinstance(registry, Mapping)
    assert list(registry) == ["b", "a", "c"]
    assert len(registry) == 3
    assert "a" in registry and "x" not in registry
    assert registry["b"]["result"] == 1
    assert dict(registry) == {each: registry[each] for each in ("b", "a", "c")}
    assert repr(registry) == repr(dict(registry))


def test_a_task_that_has_not_ended_has_an_empty_result(
    registry: Registry, tasks: dict[Any, Task]
) -> None:
    """Until it has one."""
    assert registry["c"] == {}
    task = tasks["c"]
    task.attempts, task.started, task.ended, task.outcome = 1, 1.0, 2.0, success(3)
    assert registry["c"]["result"] == 3


def test_an_unknown_label_is_a_key_error(registry: Registry) -> None:
    """As in every mapping."""
    with pytest.raises(KeyError, match="nobody"):
        registry["nobody"]
    assert registry.get("nobody") is None


def test_the_registry_keeps_its_dicts(registry: Registry) -> None:
    """What a user changes in a result stays changed."""
    registry["a"]["mine"] = 1
    assert registry["a"]["mine"] == 1
    assert registry["a"] is registry["a"]


def test_what_can_still_grow_is_not_kept(
    registry: Registry, tasks: dict[Any, Task]
) -> None:
    """Until the end, when it is the last word."""

    class Words:
        """What a command has printed so far."""

        said = "first"

        def __str__(self) -> str:
            return self.said

    task = tasks["c"]
    task.attempts, task.started, task.ended = 1, 1.0, 2.0
    task.outcome = Outcome.stopped(AtHand("subprocess", Words()))
    assert registry["c"]["trace"] == "first"
    Words.said = "first, and last"
    assert registry.complete()["c"]["trace"] == "first, and last"
    assert registry["c"] is registry.complete()["c"]


def test_the_report_has_what_users_have_made_of_results(registry: Registry) -> None:
    """And what they have removed; tasks that have not ended are left out."""
    registry["a"].update(error="known", has_failed=False)
    del registry["a"]["task_name"]
    ended = {each.task.label: each for each in registry.ended()}
    assert list(ended) == ["b", "a"]
    assert ended["b"].result == registry["b"]
    assert ended["a"].result == {**registry["a"], "task_name": "nothing"}
    assert "task_name" not in registry["a"]


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({}, SKIP),
        ({"has_failed": False}, SUCCESS),
        ({"error": "known"}, ERROR),
        ({"trace": "known"}, SKIP),
    ],
)
def test_the_cause_is_what_users_have_made_of_it(
    changes: dict[str, Any], cause: str
) -> None:
    """In their own words a skip is a failure, which is told whole."""
    bad, skipped = make("bad"), make("after", "bad")
    plan = run(bad, failure(), also=[skipped])
    registry = Registry(plan.tasks, Recorder(ORIGIN).record)
    registry["after"].update(changes)
    assert registry.entry(skipped).cause is cause


def test_a_success_that_was_not_accepted_is_a_failure() -> None:
    """Whatever was wrong with it."""
    task = make("a")
    registry = Registry(run(task, success()).tasks, Recorder(ORIGIN).record)
    registry["a"]["has_failed"] = True
    assert registry.entry(task).cause is ERROR


def test_what_is_added_later_is_there(
    registry: Registry, tasks: dict[Any, Task]
) -> None:
    """The registry is a view."""
    tasks["d"] = make("d")
    assert list(registry) == ["b", "a", "c", "d"]
    assert registry["d"] == {}


# -- results that are handed out ---------------------------------------------------


def registry_of(plan: Plan) -> Registry:
    return Registry(plan.tasks, Recorder(ORIGIN).record, plan.dag.users)


def value_of(task: Task) -> Any:
    return task.outcome and task.outcome.value


def test_a_result_is_handed_out_once() -> None:
    """The second who asks gets none, and nothing of it is kept."""
    task = make("a")
    registry = registry_of(run(task, success([1])))
    result = registry.take(task)
    assert result is not None and result["result"] == [1]
    assert registry.take(task) is None
    assert (registry["a"], registry.complete()) == ({}, {})
    assert value_of(task) is None


def test_what_others_need_is_kept_for_them() -> None:
    """Until all that depend on it have been handed out."""
    a, b, c = make("a"), make("b", "a"), make("c", "a")
    plan = run(a, success(1), also=[b, c])
    registry = registry_of(plan)
    for task in (b, c):
        plan.take(0.0)
        plan.settle(task, success(2), 1.0)
    registry.take(a)
    registry.take(b)
    assert (value_of(a), value_of(b)) == (1, None)
    registry.take(c)
    assert value_of(a) is None


def test_in_whatever_order_they_are_handed_out() -> None:
    """What is needed first is let go of last, or at once."""
    a, b = make("a"), make("b", "a")
    plan = run(a, success(1), also=[b])
    plan.take(0.0)
    plan.settle(b, success(2), 1.0)
    registry = registry_of(plan)
    registry.take(b)
    assert value_of(a) == 1, "nobody has taken it"
    registry.take(a)
    assert value_of(a) is None
    assert not registry._left


def test_after_the_end_nobody_needs_anything() -> None:
    """The plan has let go of who depends on whom."""
    a, b = make("a"), make("b", "a")
    plan = run(a, success(1), also=[b])
    plan.take(0.0)
    plan.settle(b, success(2), 1.0)
    plan.close()
    registry = registry_of(plan)
    for task in (a, b):
        registry.take(task)
        assert value_of(task) is None


def test_a_failure_that_was_handed_out_is_still_reported() -> None:
    """Its error stays, its traceback does not."""
    task = make("a")
    registry = registry_of(run(task, failure("ValueError: bad")))
    result = registry.take(task)
    assert result is not None and result["trace"] == "trace"
    entry = registry.entry(task)
    assert (entry.cause, entry.result["error"]) == (ERROR, "ValueError: bad")
    assert entry.result["trace"] is None


def test_a_result_at_its_end() -> None:
    """Is whole for those who were told of it, also after it was handed out."""
    task = make("a")
    registry = registry_of(run(task, outcome := failure("ValueError: bad")))
    mine = registry.anew(task, outcome)
    assert mine == registry["a"] and mine is not registry["a"]
    registry.take(task)
    assert registry.anew(task, outcome) == mine
    assert registry.entry(task, outcome).result["trace"] == "trace"
