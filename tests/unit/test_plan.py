"""The plan: what may be added, what is next, what follows from each outcome."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concurra.errors import (
    CircularDependencyError,
    DuplicateLabelError,
    UnknownDependencyError,
)
from concurra.outcomes import (
    FAILED,
    NOTHING,
    SKIP,
    SUCCESS,
    SUCCESSFUL,
    TERMINATED,
    UNTRIGGERED,
    AtHand,
    Outcome,
)
from concurra.plan.plan import Plan
from concurra.plan.ranked import Ranked
from concurra.plan.ready import Ready
from concurra.retries import Retry
from concurra.tasks import Call
from tests.unit.support import (
    Planned,
    add,
    error_of,
    failure,
    hopeless,
    labels,
    make,
    nothing,
    opened,
    plan_of,
    settled,
    status_of,
    success,
    take_all,
    terminated,
)

MANY = 20_000


def skip_error(names: str) -> str:
    return f"RuntimeError: Skipped: dependency [{names}] failed or was terminated"


def run_to_end(plan: Plan) -> list[Hashable]:
    """Take and settle one task after another, all well; the order of their starts."""
    order = []
    for task in iter(lambda: plan.take(0.0), None):
        order.append(task.label)
        plan.settle(task, success(), 1.0)
    return order


class Watched(Planned):
    """Knows which of its fields were there when it got its outcome."""

    __slots__ = ("before",)

    def __setattr__(self, name: str, value: object) -> None:
        if name == "outcome" and value is not None:
            self.before = [self.started, self.ended, self.attempts, list(self.errors)]
        super().__setattr__(name, value)


def test_an_outcome_is_the_last_that_a_task_gets() -> None:
    """Who sees it, without any lock, finds everything else there."""
    tasks = [Watched(label, Call(print)) for label in ("well", "bad", "off", "late")]
    tasks.append(Watched("skipped", Call(print), ("bad",)))
    plan = opened(*tasks)
    for outcome in (success(), failure("E: x"), None):
        task = plan.take(1.0)
        assert task is not None
        if outcome:
            plan.settle(task, outcome, 2.0)
    plan.terminate({tasks[2]: Outcome.stopped(AtHand("thread"))}, 3.0)
    assert [task.before for task in tasks] == [
        [1.0, 2.0, 1, []],
        [1.0, 2.0, 1, ["E: x"]],
        [1.0, 3.0, 1, []],
        [3.0, 3.0, 0, []],
        [2.0, 2.0, 0, []],
    ]


# Adding -------------------------------------------------------------------------------


def test_tasks_are_kept_in_the_order_of_adding() -> None:
    """The order of the results, and each task knows its place in it."""
    plan = plan_of(make("b"), make("a"), make(0), make(("t", 1)))
    assert list(plan.tasks) == ["b", "a", 0, ("t", 1)]
    assert [task.index for task in plan.tasks.values()] == [0, 1, 2, 3]
    assert plan.remaining == 4


def test_a_label_that_is_taken_is_refused() -> None:
    """`DuplicateLabelError`, whatever the new task depends on; nothing is changed."""
    first = make("a")
    plan = plan_of(first)
    for again in (make("a"), make("a", "b"), make("a", "a")):
        with pytest.raises(DuplicateLabelError) as caught:
            add(plan, again)
        assert caught.value.label == "a"
    assert plan.tasks == {"a": first}
    assert plan.remaining == 1
    plan.check()  # nobody waits for "b"


def test_labels_that_are_equal_are_the_same_label() -> None:
    """As in a dict: 1, 1.0 and True."""
    plan = plan_of(make(1))
    for label in (1.0, True):
        with pytest.raises(DuplicateLabelError):
            add(plan, make(label))
    add(plan, make("1", True))
    plan.check()
    plan.open()
    assert run_to_end(plan) == [1, "1"]


def test_a_task_cannot_depend_on_itself() -> None:
    """Not even beside others, and the task is not added."""
    plan = plan_of(make("a"))
    with pytest.raises(CircularDependencyError, match="^Task 'b' cannot depend on it"):
        add(plan, make("b", "a", "b"))
    assert list(plan.tasks) == ["a"]
    add(plan, make("b", "a"))


def test_a_dependency_may_be_added_later() -> None:
    """A forward reference is no error, and the order of execution follows it."""
    plan = opened(make("c", "b"), make("b", "a"), make("a"))
    assert run_to_end(plan) == ["a", "b", "c"]


@pytest.mark.parametrize("length", [2, 3, 4, 10, 1000])
@pytest.mark.parametrize("backwards", [False, True])
def test_a_cycle_is_refused_when_it_closes(length: int, backwards: bool) -> None:
    """Of any length, whichever of its tasks comes last, with the way round it."""
    numbers = range(length)
    ring = [make(number, (number + 1) % length) for number in numbers]
    if backwards:
        ring.reverse()
    *others, last = ring
    plan = plan_of(*others)
    with pytest.raises(CircularDependencyError) as caught:
        add(plan, last)
    way = [(last.label + number) % length for number in [*numbers, 0]]  # type: ignore
    assert list(caught.value.cycle) == way
    if length < 20:
        path = " -> ".join(map(str, way))
        assert str(caught.value) == f"Circular dependency detected: {path}."


def test_the_documented_cycle() -> None:
    """The path goes from the task that closed the cycle along its dependencies."""
    plan = plan_of(make("B", "A"), make("C", "B"))
    with pytest.raises(CircularDependencyError) as caught:
        add(plan, make("A", "C"))
    assert str(caught.value) == "Circular dependency detected: A -> C -> B -> A."


def test_a_refused_cycle_changes_nothing() -> None:
    """The label stays free, and neither it nor what it named is waited for."""
    plan = plan_of(make("b", "a"), make("c", "b"))
    before = dict(plan.tasks)
    with pytest.raises(CircularDependencyError):
        add(plan, make("a", "x", "c", "y"))
    assert plan.tasks == before
    assert plan.remaining == 2
    with pytest.raises(UnknownDependencyError) as caught:
        plan.check()
    assert caught.value.unknown == {"b": ["a"]}
    add(plan, make("x", "a"))  # had "a" been entered, this would close a cycle
    add(plan, make("a"))
    plan.check()
    plan.open()
    assert run_to_end(plan) == ["a", "b", "c", "x"]


def test_a_cycle_beside_much_that_is_none() -> None:
    """Diamonds and unknown labels are no cycles, and do not hide one."""
    plan = plan_of(
        make("top", "left", "right"),
        make("left", "bottom", "unknown"),
        make("right", "bottom"),
        make("aside", "top", "elsewhere"),
    )
    with pytest.raises(CircularDependencyError) as caught:
        add(plan, make("bottom", "unknown", "aside"))
    cycle = caught.value.cycle
    assert cycle[:3] == ("bottom", "aside", "top")
    assert cycle[3] in ("left", "right")
    assert cycle[4:] == ("bottom",)
    add(plan, make("bottom", "unknown"))


def test_a_cycle_through_tasks_added_in_any_order() -> None:
    """Adding that alternates between both ends of a chain is watched as well."""
    plan = plan_of(make(1, 2), make(5, 6), make(3, 4), make(2, 3), make(4, 5))
    with pytest.raises(CircularDependencyError) as caught:
        add(plan, make(6, 0, 1))
    assert caught.value.cycle == (6, 1, 2, 3, 4, 5, 6)
    add(plan, make(6, 0))


def test_add_all_adds_all() -> None:
    """In the order of the list."""
    plan = plan_of(make("first"))
    plan.add_all([make(number) for number in (3, 1, 2)])
    assert list(plan.tasks) == ["first", 3, 1, 2]
    assert plan.remaining == 4


@pytest.mark.parametrize("bad", ["there", "x"], ids=["taken", "twice in the list"])
def test_add_all_adds_all_or_none(bad: str) -> None:
    """A duplicate anywhere in the list leaves the plan as it was."""
    plan = plan_of(make("there"))
    with pytest.raises(DuplicateLabelError) as caught:
        plan.add_all([make("x"), make("y"), make(bad), make("z")])
    assert caught.value.label == bad
    assert list(plan.tasks) == ["there"]
    assert plan.remaining == 1
    plan.add_all([make("x"), make("y"), make("z")])


def test_add_all_satisfies_those_who_wait() -> None:
    """A forward reference to a task of a workload is found."""
    plan = plan_of(make("end", "x", "y"))
    plan.add_all([make("x"), make("y")])
    plan.check()
    plan.open()
    assert run_to_end(plan) == ["x", "y", "end"]


# Before the run -----------------------------------------------------------------------


def test_check_names_every_unknown_label_once() -> None:
    """By the task that waits for it, in the order given; the plan can be mended."""
    plan = plan_of(make("a", "x", "b"), make("b", "y", "x"), make("c", "a"))
    for _ in range(2):
        with pytest.raises(UnknownDependencyError) as caught:
            plan.check()
        assert caught.value.unknown == {"a": ["x"], "b": ["y", "x"]}
        assert list(caught.value.unknown) == ["a", "b"]
    add(plan, make("x"))
    with pytest.raises(UnknownDependencyError) as caught:
        plan.check()
    assert caught.value.unknown == {"b": ["y"]}
    add(plan, make("y", "x"))
    plan.check()


def test_check_asks_what_was_meant_where_something_is_wrong() -> None:
    """What others depend on is as it should be, though they were added before it."""
    tasks = make("a", "b", "c"), make("d", "lod"), make("b"), make("c")
    plan = plan_of(*tasks, make(("b", "c")), make("load"))
    with pytest.raises(UnknownDependencyError, match="Did you mean 'load'"):
        plan.check()


def test_an_empty_plan_has_nothing_to_do() -> None:
    """It is checked, opened, and over."""
    plan = opened()
    assert plan.remaining == len(plan.ready) == plan.width() == 0
    assert plan.take(0.0) is None
    assert terminated(plan, {}, 0.0) == []


@pytest.mark.parametrize(
    ("width", "tasks"),
    [
        (1, [make(0)]),
        (1, [make(0, 1), make(1, 2), make(2)]),
        (3, [make(0), make(1), make(2)]),
        (3, [make(0), make(1, 0), make(2, 0), make(3, 0)]),
        (3, [make(0, 1, 2, 3), make(1), make(2), make(3)]),
        (4, [make(0), make(1, 0), make(2, 1), make(3), make(4), make(5)]),
    ],
    ids=["one", "chain", "loose", "fan-out", "fan-in", "chain and loose"],
)
def test_width_bounds_how_many_work_together(width: int, tasks: list[Planned]) -> None:
    """All tasks but the longest path's, and one of that."""
    plan = opened(*tasks)
    assert plan.width() == width
    assert plan.width() == width, "asking must not change the answer"
    assert len(run_to_end(plan)) == len(tasks), "asking must not change the plan"


def test_width_leaves_out_what_has_ended() -> None:
    """What was cancelled, wherever it stood; what needs it was skipped."""
    for label, width in (("b", 2), ("a", 1), ("d", 2)):
        tasks = make("a"), make("b", "a"), make("c", "b"), make("d"), make("e", "a")
        plan = opened(*tasks)
        plan.cancel(plan.tasks[label], Outcome.cancelled(), 1.0, False)
        assert plan.width() == width


# Taking -------------------------------------------------------------------------------


def test_take_starts_the_task_that_was_added_first() -> None:
    """Of those that are ready: A, B (after A), C, D run in this very order."""
    plan = opened(make("A"), make("B", "A"), make("C"), make("D"))
    assert run_to_end(plan) == ["A", "B", "C", "D"]


def test_what_becomes_ready_comes_in_its_place() -> None:
    """Before all that were added later, however long these have been ready."""
    plan = opened(*[make(n, 9) for n in (4, 0, 2)], make(9), make(1), make(3))
    one, two = plan.take(0.0), plan.take(0.0)
    assert one and one.label == 9
    assert two and two.label == 1
    plan.settle(one, success(), 1.0)
    assert take_all(plan) == [4, 0, 2, 3]


def test_a_task_is_ready_when_all_that_it_needs_succeeded() -> None:
    """Not before, and `ready` counts it from then on."""
    plan = opened(make("a"), make("b"), make("c", "a", "b"))
    assert len(plan.ready) == 2
    assert take_all(plan) == ["a", "b"]
    assert len(plan.ready) == 0
    plan.settle(plan.tasks["b"], success(), 1.0)
    assert plan.take(1.0) is None
    plan.settle(plan.tasks["a"], success(), 1.0)
    assert len(plan.ready) == 1
    assert take_all(plan) == ["c"]


def test_the_same_dependency_twice_counts_once_over() -> None:
    """A task that names another twice waits for it, and only for it."""
    plan = opened(make("a"), make("b", "a", "a"))
    assert run_to_end(plan) == ["a", "b"]


def test_a_retried_task_comes_back_in_its_place() -> None:
    """Before the ready tasks that were added after it."""
    plan = opened(make("a"), make("b", retries=1), make("c"), make("d"))
    a, b = plan.take(0.0), plan.take(0.0)
    assert a and b
    plan.settle(b, failure(), 1.0)
    assert take_all(plan) == ["b", "c", "d"]


def test_several_retried_tasks_come_back_in_their_places() -> None:
    """Whatever the order of their failures."""
    tasks = [make(number, retries=3) for number in range(6)]
    plan = opened(*tasks)
    assert take_all(plan) == [0, 1, 2, 3, 4, 5]
    for number in (4, 1, 5, 0):
        plan.settle(tasks[number], failure(), 1.0)
    assert take_all(plan) == [0, 1, 4, 5]


@pytest.mark.parametrize("failures", [0, 1], ids=["first attempt", "second"])
def test_a_task_that_is_given_back_was_not_taken(failures: int) -> None:
    """It comes again in its place, and neither moment nor attempt has counted."""
    plan = opened(make("a"), make("b", retries=1), make("c"))
    a, b = plan.take(1.0), plan.take(1.0)
    assert a and b and take_all(plan) == ["c"]
    for _ in range(failures):
        plan.settle(b, failure(), 2.0)
        assert plan.take(3.0) is b
    plan.give_back(b)
    plan.give_back(a)
    assert len(plan.ready) == 2
    assert (b.attempts, b.started) == (failures, 1.0 if failures else None)
    assert take_all(plan, 4.0) == ["a", "b"]
    assert (a.attempts, a.started) == (1, 4.0)
    assert (b.attempts, b.started) == (failures + 1, 1.0 if failures else 4.0)


def test_a_retry_that_was_given_back_may_end_before_it_is_taken() -> None:
    """It counts as ready no more, and is passed over."""
    plan = opened(make("a", retries=1), make("b"))
    a = plan.take(0.0)
    assert a
    plan.settle(a, failure(), 1.0)
    assert plan.take(2.0) is a
    plan.give_back(a)
    plan.settle(a, Outcome.timed_out(1.0, NOTHING), 3.0)
    assert len(plan.ready) == 1
    assert take_all(plan) == ["b"]


# Settling -----------------------------------------------------------------------------


def test_a_success_ends_the_task() -> None:
    """With its outcome, its times, and one attempt counted."""
    plan = opened(make("a"), make("b"))
    task = plan.take(3.0)
    assert task and task.outcome is None
    outcome = success(42)
    assert labels(settled(plan, task, outcome, 5.5)) == ["a"]
    assert task.outcome is outcome
    assert (task.started, task.ended, task.attempts, task.errors) == (3.0, 5.5, 1, ())
    assert plan.remaining == 1


@pytest.mark.parametrize("first", [success(1), failure(), hopeless()])
@pytest.mark.parametrize("second", [success(2), failure("X: y"), hopeless("X: y")])
def test_the_first_outcome_stands(first: Outcome, second: Outcome) -> None:
    """A second one is refused, whatever they are, and ends nothing."""
    plan = opened(make("a"), make("b", "a"))
    task = plan.take(0.0)
    assert task
    plan.settle(task, first, 1.0)
    state = (
        task.ended,
        task.attempts,
        list(task.errors),
        plan.remaining,
        len(plan.ready),
    )
    assert list(settled(plan, task, second, 2.0)) == []
    assert task.outcome is first
    after = (
        task.ended,
        task.attempts,
        list(task.errors),
        plan.remaining,
        len(plan.ready),
    )
    assert after == state


def test_who_comes_too_late_is_not_waited_for() -> None:
    """A task that slips in beside the opening is no reason for a run without end."""
    plan = opened(make("a"))
    add(plan, make("late"))
    task = plan.take(0.0)
    assert task is not None and task.label == "a"
    plan.settle(task, success(), 0.0)
    assert plan.remaining == 0


def test_a_failed_attempt_is_tried_again() -> None:
    """As often as the task may be retried, each error kept, and nothing ended."""
    plan = opened(make("a", retries=2), make("b", "a"))
    for attempt in (1, 2):
        task = plan.take(float(attempt))
        assert task and task.attempts == attempt
        assert list(settled(plan, task, failure(f"E: {attempt}"), 10.0)) == []
        assert task.outcome is None
        assert plan.remaining == 2
    task = plan.take(3.0)
    assert task and task.attempts == 3
    assert labels(settled(plan, task, success(), 11.0)) == ["a"]
    assert list(task.errors) == ["E: 1", "E: 2"]
    assert (task.started, task.ended) == (1.0, 11.0), "from the first start"
    assert take_all(plan) == ["b"]


def test_when_no_retry_is_left_the_failure_stands() -> None:
    """With the errors of all attempts, the last one included."""
    plan = opened(make("a", retries=1))
    for number in (1, 2):
        task = plan.take(0.0)
        assert task
        plan.settle(task, failure(f"E: {number}"), 1.0)
    assert status_of(task) == FAILED
    assert (task.attempts, list(task.errors)) == (2, ["E: 1", "E: 2"])
    assert plan.take(2.0) is None
    assert plan.remaining == 0


def test_a_failure_that_another_attempt_cannot_mend_is_final() -> None:
    """The retries that are left do not matter."""
    plan = opened(make("a", retries=5))
    task = plan.take(0.0)
    assert task
    assert labels(settled(plan, task, hopeless("E: 1"), 1.0)) == ["a"]
    assert (task.attempts, list(task.errors)) == (1, ["E: 1"])


def test_an_attempt_that_never_began_counts_for_nothing() -> None:
    """No attempt, no error of one, no duration."""
    plan = opened(make("a", retries=5))
    task = plan.take(1.0)
    assert task
    outcome = Outcome.unpicklable("TypeError: no", "trace")
    assert labels(settled(plan, task, outcome, 4.0)) == ["a"]
    assert (task.attempts, list(task.errors)) == (0, [])
    assert (task.started, task.ended) == (4.0, 4.0)


def test_a_second_attempt_that_never_began_leaves_the_first_counted() -> None:
    """With its error and its start."""
    plan = opened(make("a", retries=5))
    never = Outcome.unpicklable("TypeError: no", "trace")
    for moment, outcome in ((1.0, failure("E: 1")), (2.0, never)):
        task = plan.take(moment)
        assert task
        plan.settle(task, outcome, moment + 0.5)
    assert status_of(task) == FAILED
    assert (task.attempts, list(task.errors)) == (1, ["E: 1"])
    assert (task.started, task.ended, task.failed_mode) == (1.0, 2.5, "thread")


def test_a_loss_before_the_beginning_is_tried_again() -> None:
    """As an attempt like any other."""
    lost = Outcome.lost(None, "was killed")
    for last, failed in ((success(7), 2), (lost, 3)):
        plan = opened(make("a", retries=2))
        for moment, outcome in enumerate((lost, lost, last)):
            task = plan.take(moment)
            assert task
            plan.settle(task, outcome, moment + 0.5)
        assert plan.remaining == 0
        assert (task.started, task.ended) == (0.0, 2.5)
        assert task.attempts == 3
        assert list(task.errors) == ["RuntimeError: Worker process was killed"] * failed


def test_a_task_that_ended_while_it_waited_for_its_retry_is_never_taken() -> None:
    """A timeout may come between two attempts."""
    plan = opened(make("a", retries=1), make("b"))
    task = plan.take(0.0)
    assert task
    plan.settle(task, failure("E: 1"), 1.0)
    assert labels(settled(plan, task, Outcome.timed_out(2, NOTHING), 2.0)) == ["a"]
    assert (task.attempts, list(task.errors)) == (1, ["E: 1"])
    assert (task.started, task.ended) == (0.0, 2.0)
    assert take_all(plan) == ["b"]


# Skipping -----------------------------------------------------------------------------


def test_what_depends_on_a_failure_is_skipped() -> None:
    """Through any number of levels; each names the dependency that it lost."""
    plan = opened(make("a"), make("b", "a"), make("c", "b"), make("d"))
    task = plan.take(1.0)
    assert task
    assert labels(settled(plan, task, failure(), 2.0)) == ["a", "b", "c"]
    assert error_of(plan.tasks["b"]) == skip_error("'a'")
    assert error_of(plan.tasks["c"]) == skip_error("'b'")
    assert plan.remaining == 1
    assert take_all(plan) == ["d"]


def test_a_skipped_task_never_started() -> None:
    """Terminated: no attempt, no mode, no trace, no fault, both times that moment."""
    plan = opened(make("a"), make("b", "a", retries=3))
    task = plan.take(1.0)
    assert task
    plan.settle(task, failure(), 2.0)
    skipped = plan.tasks["b"]
    outcome = skipped.outcome
    assert outcome and outcome.status == TERMINATED
    assert (outcome.mode, outcome.trace, outcome.value) == (None, None, None)
    assert not outcome.fault
    assert (skipped.attempts, list(skipped.errors)) == (0, [])
    assert (skipped.started, skipped.ended) == (2.0, 2.0)


def test_a_skip_names_the_direct_unsuccessful_dependencies_only() -> None:
    """Neither those that succeeded, nor those that go on, nor indirect ones."""
    plan = opened(
        make("good"),
        make("busy"),
        make("bad"),
        make("between", "bad"),
        make("end", "good", "between", "busy", "bad"),
    )
    assert take_all(plan) == ["good", "busy", "bad"]
    plan.settle(plan.tasks["good"], success(), 1.0)
    plan.settle(plan.tasks["bad"], failure(), 2.0)
    assert error_of(plan.tasks["between"]) == skip_error("'bad'")
    assert error_of(plan.tasks["end"]) == skip_error("'between', 'bad'")
    assert plan.tasks["busy"].outcome is None


def test_a_skip_names_those_that_were_added_after_it_too() -> None:
    """The order of adding does not matter to what is known."""
    plan = opened(make("end", "one", "two"), make("two", "one"), make("one"))
    one = plan.take(0.0)
    assert one
    plan.settle(one, failure(), 1.0)
    assert error_of(plan.tasks["end"]) == skip_error("'one', 'two'")


def test_a_second_failure_does_not_skip_again() -> None:
    """Who is skipped already keeps the first reason."""
    plan = opened(make("a"), make("b"), make("c", "a", "b"), make("d", "b"))
    assert take_all(plan) == ["a", "b"]
    assert labels(settled(plan, plan.tasks["a"], failure(), 1.0)) == ["a", "c"]
    first = plan.tasks["c"].outcome
    assert labels(settled(plan, plan.tasks["b"], failure(), 2.0)) == ["b", "d"]
    assert plan.tasks["c"].outcome is first
    assert error_of(plan.tasks["c"]) == skip_error("'a'")
    assert plan.remaining == 0


def test_a_success_after_a_skip_wakes_nobody() -> None:
    """A skipped task is over, even when its other dependencies succeed."""
    plan = opened(make("a"), make("b"), make("c", "a", "b"))
    assert take_all(plan) == ["a", "b"]
    plan.settle(plan.tasks["a"], failure(), 1.0)
    assert labels(settled(plan, plan.tasks["b"], success(), 2.0)) == ["b"]
    assert plan.take(2.0) is None


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome.timed_out(4, AtHand("thread")),
        Outcome.stopped(AtHand("thread")),
        Outcome.unpicklable("TypeError: no", "trace"),
        Outcome.lost("process", "was killed"),
    ],
    ids=["timeout", "stop", "not picklable", "lost worker"],
)
def test_every_end_but_success_skips(outcome: Outcome) -> None:
    """Whatever the reason."""
    plan = opened(make("a"), make("b", "a"))
    task = plan.take(0.0)
    assert task
    assert labels(settled(plan, task, outcome, 1.0)) == ["a", "b"]
    assert error_of(plan.tasks["b"]) == skip_error("'a'")


def test_labels_in_a_skip_are_shown_as_they_are() -> None:
    """`repr`, so that 1 and '1' are told apart."""
    plan = opened(make(1), make("1"), make("end", 1, "1"))
    assert take_all(plan) == [1, "1"]
    plan.settle(plan.tasks["1"], success(), 1.0)
    plan.settle(plan.tasks[1], failure(), 1.0)
    assert error_of(plan.tasks["end"]) == skip_error("1")


# Terminating --------------------------------------------------------------------------


def test_terminate_ends_all_that_have_not_ended() -> None:
    """In the order of adding; those at work as they are told, the others as stopped."""
    plan = opened(make("w", "a"), make("a"), make("b"), make("c"), make("d"))
    assert take_all(plan, 1.0)[:2] == ["a", "b"]
    plan.settle(plan.tasks["a"], success("kept"), 2.0)
    at_work = Outcome.stopped(AtHand("process", "what it printed"))
    ended = terminated(plan, {plan.tasks["b"]: at_work}, 3.0)
    assert labels(ended) == ["w", "b", "c", "d"]
    assert status_of(plan.tasks["a"]) == SUCCESSFUL
    assert plan.tasks["b"].outcome is at_work
    assert (plan.tasks["b"].started, plan.tasks["b"].ended) == (1.0, 3.0)
    assert error_of(plan.tasks["w"]) == (
        "RuntimeError: Execution terminated before completion"
    )
    assert plan.remaining == len(plan.ready) == 0
    assert plan.take(4.0) is None
    assert terminated(plan, {}, 5.0) == []


def test_a_terminated_task_that_never_started() -> None:
    """No attempt, no mode, and both times are the moment of the decision."""
    plan = opened(make("a"))
    plan.terminate({}, 7.0)
    task = plan.tasks["a"]
    assert task.outcome and task.outcome.mode is None
    assert (task.attempts, task.started, task.ended) == (0, 7.0, 7.0)


def test_a_terminated_task_that_waited_for_its_retry() -> None:
    """Its attempts, their errors and its start are kept."""
    plan = opened(make("a", retries=3))
    task = plan.take(1.0)
    assert task
    plan.settle(task, failure("E: 1"), 2.0)
    plan.terminate({}, 3.0)
    assert status_of(task) == TERMINATED
    assert (task.attempts, list(task.errors), task.failed_mode) == (
        1,
        ["E: 1"],
        "thread",
    )
    assert (task.started, task.ended) == (1.0, 3.0)


@pytest.mark.parametrize("begun", [False, True])
def test_what_is_over_can_be_made_anew(begun: bool) -> None:
    """A late exception may strike when the run is over, or was never opened."""
    for rule in ("all_success", "all_done"):
        tasks = make("a"), make("b", "a", trigger_rule=rule), make("c", "b")
        plan = opened(*tasks) if begun else plan_of(*tasks)
        plan.terminate({}, 1.0)
        plan.close()
        plan.rebuild([], 2.0)
        assert labels(plan.ended) == ["a", "b", "c"]
        assert [plan.dag.users(each) for each in tasks] == [0, 0, 0]


def test_terminate_before_the_plan_was_opened() -> None:
    """Also with dependencies that nobody knows."""
    plan = plan_of(make("a", "b"), make("c"))
    assert labels(terminated(plan, {}, 1.0)) == ["a", "c"]
    assert plan.remaining == 0
    assert plan.take(2.0) is None


def test_an_outcome_after_the_termination_is_refused() -> None:
    """What a task still says when everything is over does not count."""
    plan = opened(make("a"), make("b", "a"))
    task = plan.take(0.0)
    assert task
    plan.terminate({}, 1.0)
    assert list(settled(plan, task, success(), 2.0)) == []
    assert status_of(task) == TERMINATED
    assert plan.take(3.0) is None


# Large plans --------------------------------------------------------------------------


def chain(step: int) -> Plan:
    """A long chain, from its start or from its end."""
    tasks = [make(n, *[n - 1] * bool(n)) for n in range(MANY)]
    return opened(*tasks[::step])


def fan() -> Plan:
    """One task, many after it, and one after these."""
    middle = range(1, MANY)
    return opened(make(0), *[make(n, 0) for n in middle], make("end", *middle))


@pytest.mark.parametrize(
    ("build", "well"),
    [
        pytest.param(lambda: chain(1), True, id="a chain runs"),
        pytest.param(lambda: chain(-1), False, id="a chain added from its end fails"),
        pytest.param(fan, True, id="a fan runs"),
        pytest.param(fan, False, id="a fan fails"),
    ],
)
def test_depth_and_breadth_have_no_limit(build: Callable[[], Plan], well: bool) -> None:
    """Twenty thousand tasks, deep or wide: nothing recurses, nothing rescans."""
    plan = build()
    total = len(plan.tasks)
    if well:
        assert len(run_to_end(plan)) == total
    else:
        first = plan.take(0.0)
        assert first
        assert len(settled(plan, first, failure(), 1.0)) == total
    assert plan.remaining == 0


def test_a_long_cycle() -> None:
    """Is found without recursion."""
    plan = plan_of(*[make(n, n + 1) for n in range(MANY)])
    with pytest.raises(CircularDependencyError) as caught:
        add(plan, make(MANY, 0))
    assert len(caught.value.cycle) == MANY + 2
    add(plan, make(MANY))


# Against a naive model ----------------------------------------------------------------

NAMES = st.integers(0, 7)
Graph = Mapping[int, "set[int]"]


def reachable(graph: Graph, start: int) -> set[int]:
    """All that `start` needs, directly or not, by brute force."""
    found: set[int] = set()
    front = set(graph.get(start, ()))
    while front:
        found |= front
        front = {below for each in front for below in graph.get(each, ())} - found
    return found


@given(st.lists(st.tuples(NAMES, st.lists(NAMES, unique=True, max_size=3))))
def test_what_may_be_added(additions: list[tuple[int, list[int]]]) -> None:
    """Each addition is accepted or refused as by a model that searches everything."""
    plan = Plan()
    model: dict[int, set[int]] = {}
    for label, needs in additions:
        task = make(label, *needs)
        if label in model:
            with pytest.raises(DuplicateLabelError):
                add(plan, task)
        elif label in reachable({**model, label: set(needs)}, label):
            with pytest.raises(CircularDependencyError) as caught:
                add(plan, task)
            way = caught.value.cycle
            assert way[0] == way[-1] == label
            assert len(set(way)) == len(way) - 1, "a cycle without detours"
            closed = {**model, label: set(needs)}
            assert all(after in closed[one] for one, after in zip(way, way[1:]))
        else:
            add(plan, task)
            model[label] = set(needs)
        assert list(plan.tasks) == list(model)
        assert plan.remaining == len(model)
    unknown = {one: needs - set(model) for one, needs in model.items()}
    unknown = {one: names for one, names in unknown.items() if names}
    if unknown:
        with pytest.raises(UnknownDependencyError) as raised:
            plan.check()
        told = {task: set(names) for task, names in raised.value.unknown.items()}
        assert told == unknown
    else:
        plan.check()
        plan.open()
        assert sorted(run_to_end(plan)) == sorted(model)  # type: ignore[type-var]


class Model:
    """The same decisions as the plan's, made by looking at everything each time."""

    def __init__(self, tasks: list[Planned]) -> None:
        self.tasks = tasks
        self.running: list[Planned] = []
        self.ended: dict[Hashable, str] = {}
        self.skips: dict[Hashable, list[Hashable]] = {}
        self.failures = dict.fromkeys(labels(tasks), 0)

    def next(self) -> Planned | None:
        for task in self.tasks:
            well = all(self.ended.get(label) == SUCCESSFUL for label in task.planned)
            if well and task not in self.running and task.label not in self.ended:
                return task
        return None

    def settle(self, task: Planned, outcome: Outcome) -> None:
        self.running.remove(task)
        if outcome.status == FAILED:
            self.failures[task.label] += 1
            if outcome.retry and self.failures[task.label] <= task.options.retries:
                return
        self.ended[task.label] = outcome.status
        doomed: set[Hashable] = set()
        if outcome.status != SUCCESSFUL:
            doomed = {one.label for one in self.tasks if self.needs(one, task.label)}
            doomed -= set(self.ended)
        self.ended.update(dict.fromkeys(doomed, TERMINATED))
        for one in self.tasks:
            if one.label in doomed:
                self.skips[one.label] = [
                    label
                    for label in one.planned
                    if self.ended.get(label, SUCCESSFUL) != SUCCESSFUL
                ]

    def needs(self, task: Planned, label: Hashable) -> bool:
        graph: Any = {one.label: set(one.planned) for one in self.tasks}
        return label in reachable(graph, task.label)  # type: ignore[arg-type]


@st.composite
def workloads(draw: st.DrawFn) -> list[Planned]:
    """Tasks in any order whose dependencies make no cycle."""
    count = draw(st.integers(1, 9))
    tasks = []
    for number in range(count):
        below = st.sampled_from(range(number + 1))
        needs = draw(st.lists(below, unique=True, max_size=3))
        retries = draw(st.integers(0, 2))
        others = tuple(label for label in needs if label != number)
        tasks.append(Planned(number, Call(nothing), others, retries))
    return draw(st.permutations(tasks))


OUTCOMES = st.sampled_from(["success"] * 3 + ["failure"] * 2 + ["hopeless", "timeout"])
MAKERS: Mapping[str, Callable[[], Outcome]] = {
    "success": success,
    "failure": failure,
    "hopeless": hopeless,
    "timeout": lambda: Outcome.timed_out(1, AtHand("thread")),
}


@given(workloads(), st.integers(1, 4), st.data())
def test_what_follows_from_outcomes(
    tasks: list[Planned], limit: int, data: st.DataObject
) -> None:
    """Starts, retries, skips and ends are those of a model that rescans everything."""
    plan, model = opened(*tasks), Model(tasks)
    width = plan.width()
    for moment in range(1, 1000):
        while len(model.running) < limit:
            expected = model.next()
            assert plan.take(float(moment)) is expected
            if expected is None:
                break
            model.running.append(expected)
        assert len(model.running) <= width
        if not model.running:
            break
        task = data.draw(st.sampled_from(model.running))
        outcome = MAKERS[data.draw(OUTCOMES)]()
        known = set(model.ended)
        model.settle(task, outcome)
        ended = settled(plan, task, outcome, float(moment))
        assert {one.label for one in ended} == set(model.ended) - known
        assert len(ended) == len(set(labels(ended)))
        assert plan.remaining == len(tasks) - len(model.ended)
    assert plan.remaining == 0
    assert {task.label: status_of(task) for task in tasks} == model.ended
    for task in tasks:
        assert len(task.errors) == model.failures[task.label]
        assert task.attempts >= len(task.errors)
        if task.label in model.skips:
            names = ", ".join(map(repr, model.skips[task.label]))
            assert error_of(task) == skip_error(names)
            assert (task.attempts, task.started) == (0, task.ended)


# Trigger rules ------------------------------------------------------------------------


def end(plan: Plan, label: Hashable, how: str = "success", now: float = 1.0) -> None:
    """Take tasks until it is that one's turn, and let it end."""
    task = plan.tasks[label]
    while task.started is None:
        assert plan.take(0.0) is not None, f"{label!r} is not ready"
    plan.settle(task, MAKERS[how](), now)


def causes(plan: Plan) -> dict[Hashable, str | None]:
    return {
        label: None if task.outcome is None else task.outcome.cause
        for label, task in plan.tasks.items()
    }


BAD = pytest.mark.parametrize("bad", ["failure", "hopeless", "timeout"])


@BAD
def test_all_done_starts_when_all_have_ended(bad: str) -> None:
    """Whatever became of them; no sooner."""
    plan = opened(make("a"), make("b"), make("c", "a", "b", trigger_rule="all_done"))
    end(plan, "a", bad)
    assert take_all(plan) == ["b"]
    assert plan.tasks["c"].outcome is None
    end(plan, "b")
    assert take_all(plan) == ["c"]


def test_all_done_after_nothing_but_successes() -> None:
    """It is as if nothing had been chosen."""
    plan = opened(make("a"), make("b", "a", trigger_rule="all_done"), make("c", "b"))
    assert run_to_end(plan) == ["a", "b", "c"]


def test_all_done_without_dependencies() -> None:
    """There is nothing to wait for."""
    assert run_to_end(opened(make("a", trigger_rule="all_done"))) == ["a"]


@BAD
def test_one_failed_starts_as_soon_as_one_has_failed(bad: str) -> None:
    """It does not wait for the others, and starts once."""
    plan = opened(make("a"), make("b"), make("c", "a", "b", trigger_rule="one_failed"))
    end(plan, "a", bad)
    assert take_all(plan) == ["b", "c"]
    end(plan, "b", bad)
    end(plan, "c")
    assert take_all(plan) == [] and plan.remaining == 0


def test_one_failed_after_nothing_but_successes() -> None:
    """It does not run; that is no failure, and no error is told."""
    plan = opened(make("a"), make("b"), make("c", "a", "b", trigger_rule="one_failed"))
    end(plan, "a", now=1.0)
    assert plan.tasks["c"].outcome is None
    end(plan, "b", now=2.0)
    task = plan.tasks["c"]
    assert take_all(plan) == [] and status_of(task) == TERMINATED
    assert task.outcome is not None and task.outcome.cause == UNTRIGGERED
    assert not (task.outcome.failed or task.outcome.fault or task.outcome.ok)
    assert error_of(task) is None
    assert task.outcome.warning == "Skipped: no dependency failed"
    assert (task.started, task.ended, task.attempts) == (2.0, 2.0, 0)
    assert plan.failures == 0 and plan.faults == {FAILED: 0, TERMINATED: 1}


def test_what_depends_on_what_was_not_called_for() -> None:
    """Ends with it, and is no failure either, through any number of levels; but what
    runs whatever happens does run."""
    plan = opened(
        make("a"),
        make("repair", "a", trigger_rule="one_failed"),
        make("tell", "repair"),
        make("more", "tell", "a"),
        make("again", "more", trigger_rule="one_failed"),
        make("clean", "again", "tell", trigger_rule="all_done"),
        make("last", "clean"),
    )
    end(plan, "a")
    assert take_all(plan) == ["clean"]
    assert causes(plan) == {
        "a": SUCCESS,
        **dict.fromkeys(("repair", "tell", "more", "again"), UNTRIGGERED),
        **dict.fromkeys(("clean", "last"), None),
    }
    end(plan, "clean")
    assert run_to_end(plan) == ["last"]
    assert plan.failures == 0


def test_a_skip_goes_through_rules() -> None:
    """A skipped task counts as one that has failed, for what waits for a failure, and
    as one that has ended, for what waits for the end."""
    plan = opened(
        make("a"),
        make("skipped", "a"),
        make("clean", "skipped", trigger_rule="all_done"),
        make("repair", "skipped", trigger_rule="one_failed"),
        make("after", "clean"),
    )
    end(plan, "a", "failure")
    assert causes(plan)["skipped"] == SKIP
    assert take_all(plan) == ["clean", "repair"]
    end(plan, "clean")
    assert take_all(plan) == ["after"], "what follows a clean-up asks for that alone"


def test_a_skip_names_what_was_not_called_for() -> None:
    """It did not succeed either."""
    plan = opened(
        make("a"),
        make("b"),
        make("repair", "a", trigger_rule="one_failed"),
        make("both", "b", "repair"),
        make("other", "b"),
    )
    end(plan, "b", "failure")
    assert error_of(plan.tasks["both"]) == skip_error("'b'")
    end(plan, "a")
    assert causes(plan)["both"] == SKIP, "the first end stands"


def test_a_retry_is_not_the_end() -> None:
    """What waits for a failure waits for the last attempt."""
    plan = opened(make("a", retries=1), make("b", "a", trigger_rule="one_failed"))
    end(plan, "a", "failure")
    assert take_all(plan) == ["a"]
    plan.settle(plan.tasks["a"], failure(), 1.0)
    assert take_all(plan) == ["b"]


@pytest.mark.parametrize("rule", ["all_done", "one_failed"])
def test_a_stop_ends_what_has_a_rule_too(rule: str) -> None:
    """Nothing starts after it, whatever it was to start after."""
    plan = opened(make("a"), make("b", "a", trigger_rule=rule))
    plan.take(0.0)
    terminated(plan, {}, 1.0)
    assert plan.remaining == 0 and take_all(plan) == []


def test_a_failure_that_ends_everything_triggers_nothing() -> None:
    """`skip` is false then."""
    plan = opened(make("a"), make("b", "a", trigger_rule="all_done"))
    task = plan.take(0.0)
    assert task is not None
    plan.settle(task, failure(), 1.0, skip=False)
    assert take_all(plan) == [] and plan.remaining == 1


def test_ends_that_trigger_through_many_levels() -> None:
    """Nothing recurses, whichever way it goes through them."""
    for rule in ("all_done", "one_failed"):
        tasks = [make(0), make(1, 0)]
        tasks += [make(n, n - 1, trigger_rule=rule) for n in range(2, 20_000)]
        plan = opened(*tasks)
        end(plan, 0, "failure")
        assert run_to_end(plan)[0] == 2
        assert plan.remaining == 0


# Delays, cancels, and how ready tasks are kept ----------------------------------------


def delayed(
    label: Hashable, *needs: Hashable, retries: int = 1, **more: Any
) -> Planned:
    """A task whose attempts have time between them."""
    retry = Retry(retries, delay=1)
    return Planned(label, Call(nothing), needs, task_retries=retry, **more)


def test_a_task_waits_for_the_time_of_its_next_attempt() -> None:
    """It is not ready meanwhile; it is taken once, in its place."""
    plan = opened(delayed("a"), make("b"), make("c"))
    end(plan, "a", "failure")
    assert list(plan.delayed) == [plan.tasks["a"]]
    assert plan.take(0.0) is plan.tasks["b"]
    plan.resume(plan.tasks["a"])
    assert not plan.delayed
    plan.resume(plan.tasks["a"])
    assert take_all(plan) == ["a", "c"]
    assert plan.tasks["a"].attempts == 2


def test_a_task_that_ends_while_it_waits_for_the_time() -> None:
    """It is forgotten, and its attempts are those that were made."""
    for way in ("timeout", "cancel", "terminate"):
        plan = opened(delayed("a"), make("b", "a"))
        task = plan.tasks["a"]
        end(plan, "a", "failure")
        if way == "cancel":
            plan.cancel(task, Outcome.cancelled(), 5.0, False)
        elif way == "timeout":
            plan.settle(task, Outcome.timed_out(1, NOTHING), 5.0)
        else:
            plan.terminate({}, 5.0)
        plan.resume(task)
        assert not plan.delayed and take_all(plan) == []
        assert (task.attempts, task.last_mode, task.ended) == (1, "thread", 5.0)
        assert plan.remaining == 0 and len(plan.ready) == 0


@pytest.mark.parametrize("priority", [0, 1], ids=["ready", "ranked"])
def test_a_cancel_wherever_a_task_is(priority: int) -> None:
    """Blocked, ready, at work, ready again: it ends, and those that need it do."""
    tasks = [make(n, retries=1, priority=priority) for n in range(3)]
    blocked = make("blocked", 2), make("last", "blocked")
    plan = opened(*tasks, *blocked)
    assert isinstance(plan.ready, Ranked if priority else Ready)
    assert [plan.take(0.0), plan.take(0.0)] == tasks[:2]
    plan.settle(tasks[0], failure(), 1.0)
    plan.cancel(blocked[0], Outcome.cancelled(), 2.0, False)
    plan.cancel(tasks[0], Outcome.cancelled(), 2.0, False)
    plan.cancel(tasks[1], Outcome.cancelled(AtHand("thread")), 2.0, True)
    assert len(plan.ready) == 1
    plan.cancel(tasks[2], Outcome.cancelled(), 2.0, False)
    assert len(plan.ready) == 0 and take_all(plan) == []
    assert plan.remaining == 0
    assert error_of(tasks[2]) == "CancelledError: Task was cancelled"
    assert error_of(blocked[1]) == skip_error("'blocked'")
    assert [task.attempts for task in (*tasks, *blocked)] == [1, 1, 0, 0, 0]


@pytest.mark.parametrize("struck", [False, True])
def test_a_cancelled_task_is_never_ready(struck: bool) -> None:
    """Also if all that it waited for succeeds after that."""
    plan = opened(make("a"), make("b", "a"))
    plan.cancel(plan.tasks["b"], Outcome.cancelled(), 1.0, False)
    if struck:
        plan.rebuild([], 1.0)
    end(plan, "a")
    assert len(plan.ready) == 0 and not plan.ready.more_than(0)
    assert plan.take(2.0) is None
    assert len(plan.ready) == 0 and not plan.ready.more_than(0)


def test_ready_tasks_are_ranked_only_where_something_asks_for_it() -> None:
    """Priorities and resources do; what has no effect does not."""
    plain = make("a", priority=0), make("b", resources={}), make("c", timeout=5)
    assert type(opened(*plain).ready) is Ready
    for chosen in ({"priority": 1}, {"priority": -1}):
        assert type(opened(make("a", **chosen), make("b")).ready) is Ranked
    plan = plan_of(make("a", resources={"db": 1}))
    plan.check()
    plan.open({"db": 1})
    assert type(plan.ready) is Ranked


# Rules, retries, delays and cancels against a model -----------------------------------

RULES = "all_success", "all_done", "one_failed"


class RuleModel:
    """What follows, found by looking at all tasks until nothing changes any more."""

    def __init__(self, tasks: list[Planned]) -> None:
        self.tasks = sorted(tasks, key=lambda task: task.index)
        self.ends: dict[Hashable, str] = {}  # good, bad, or none of both
        self.running: list[Planned] = []
        self.waiting: list[Planned] = []  # for the time
        self.failures = dict.fromkeys(labels(tasks), 0)

    def ready(self) -> list[Planned]:
        return [task for task in self.tasks if self.is_ready(task)]

    def is_ready(self, task: Planned) -> bool:
        if task.label in self.ends or task in self.running or task in self.waiting:
            return False
        ends = [self.ends.get(label) for label in task.planned]
        if task.options.trigger_rule == "all_success":
            return all(end == "good" for end in ends)
        if task.options.trigger_rule == "all_done":
            return None not in ends
        return "bad" in ends

    def settle(self, task: Planned, outcome: Outcome) -> None:
        if task in self.running:
            self.running.remove(task)
            if outcome.status == FAILED:
                self.failures[task.label] += 1
                if outcome.retry and self.failures[task.label] <= task.options.retries:
                    if task.options.retry:
                        self.waiting.append(task)
                    return
        if task in self.waiting:
            self.waiting.remove(task)
        self.ends[task.label] = "good" if outcome.ok else "bad"
        self.follow()

    def follow(self) -> None:
        known = None
        while known != len(self.ends):
            known = len(self.ends)
            for task in self.tasks:
                ends = [self.ends.get(label) for label in task.planned]
                rule = task.options.trigger_rule
                if task.label in self.ends:
                    continue
                if rule == "all_success" and "bad" in ends:
                    self.ends[task.label] = "bad"
                elif rule == "all_success" and "none" in ends:
                    self.ends[task.label] = "none"
                elif rule == "one_failed" and not {"bad", None} & set(ends):
                    self.ends[task.label] = "none"


@st.composite
def ruled_workloads(draw: st.DrawFn) -> list[Planned]:
    """Tasks with rules, in any order; or without any, which is decided faster."""
    tasks = []
    plain = draw(st.booleans())
    for number in range(draw(st.integers(1, 9))):
        below = st.sampled_from(range(number + 1))
        needs = set(draw(st.lists(below, unique=True, max_size=3))) - {number}
        rules = RULES[:1] if plain else RULES if needs else RULES[:2]
        rule = draw(st.sampled_from(rules))
        retries = draw(st.integers(0, 2))
        retry = draw(st.sampled_from([retries, Retry(retries, delay=1)]))
        tasks.append(
            Planned(
                number,
                Call(nothing),
                tuple(needs),
                task_retries=retry,
                trigger_rule=rule,
            )
        )
    return draw(st.permutations(tasks))


def happened(plan: Plan) -> dict[Hashable, str]:
    """How tasks have ended, in the words of the model."""
    ends = {}
    for task in plan.ended:
        assert task.outcome is not None
        if task.outcome.ok:
            ends[task.label] = "good"
        else:
            ends[task.label] = "bad" if task.outcome.failed else "none"
    return ends


@settings(max_examples=100)
@given(ruled_workloads(), st.data(), st.booleans())
def test_what_follows_by_rules(
    tasks: list[Planned], data: st.DataObject, struck: bool
) -> None:
    """Starts and ends are those of the model, in whatever order things happen; also if
    all of it is made anew again and again."""
    plan, model = opened(*tasks), RuleModel(tasks)
    for moment in range(1, 1000):
        if struck:
            plan.rebuild(model.running, float(moment))
        for task in model.ready()[: data.draw(st.integers(1, 3))]:
            assert plan.take(float(moment)) is task
            model.running.append(task)
        left = [task for task in tasks if task.label not in model.ends]
        if not left:
            break
        cancel = data.draw(st.integers(0, 9)) == 0
        if cancel or not (model.running or model.waiting):
            task = data.draw(st.sampled_from(left))
            at_work = task in model.running
            model.running = [each for each in model.running if each is not task]
            model.settle(task, Outcome.cancelled())
            plan.cancel(task, Outcome.cancelled(), float(moment), at_work)
        elif model.waiting and (not model.running or data.draw(st.booleans())):
            task = data.draw(st.sampled_from(model.waiting))
            model.waiting.remove(task)
            plan.resume(task)
        else:
            task = data.draw(st.sampled_from(model.running))
            outcome = MAKERS[data.draw(OUTCOMES)]()
            model.settle(task, outcome)
            plan.settle(task, outcome, float(moment))
        assert happened(plan) == model.ends
        assert set(plan.delayed) == set(model.waiting)
        assert len(plan.ready) == len(model.ready())
        assert len(plan.ended) == len(model.ends), "each ends once"
        bad = [label for label, how in model.ends.items() if how == "bad"]
        assert plan.failures == len(bad)
    assert plan.remaining == 0 and plan.take(0.0) is None
    for task in tasks:
        assert len(task.errors) == model.failures[task.label]
