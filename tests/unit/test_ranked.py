"""The next ready task where there are priorities or resources."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from concurra.options import DEFAULTS, OwnOptions, choose
from concurra.plan.ranked import Ranked
from concurra.plan.tries import Tries
from concurra.tasks import Call, Task
from tests.unit.support import nothing, success


def ranked(label: Hashable, priority: int = 0, **resources: int) -> Task:
    """A task with a priority, which asks for resources."""
    chosen = choose(priority=priority, resources=resources)
    return Task(label, Call(nothing), OwnOptions(DEFAULTS, chosen))


class Replay:
    """Ready tasks, by their labels."""

    def __init__(self, *tasks: Task, capacity: Mapping[str, int] = {}) -> None:
        for index, task in enumerate(tasks):
            task.index = index
        self.tasks = {task.label: task for task in tasks}
        self.ready = Ranked(capacity, Tries())
        self.ready.open(tasks)

    def take(self) -> Hashable:
        task = self.ready.take(0.0)
        return None if task is None else task.label

    def take_all(self) -> list[Hashable]:
        return list(iter(self.take, None))

    def release(self, *labels: Hashable) -> None:
        for label in labels:
            self.ready.release(self.tasks[label].options.resources)

    def end(self, label: Hashable, waiting: bool) -> None:
        """A task ends, whether it waits here or is at work."""
        self.tasks[label].outcome = success()
        self.ready.drop(self.tasks[label], ready=waiting)


# Priorities ---------------------------------------------------------------------------


def test_the_highest_priority_is_next() -> None:
    """Of those that are equal, the one that was added first."""
    run = Replay(ranked("a"), ranked("b", 5), ranked("c", -1), ranked("d", 5))
    assert len(run.ready) == 4
    assert run.take_all() == ["b", "d", "a", "c"]
    assert len(run.ready) == 0 and not run.ready.more_than(0)


def test_what_becomes_ready_comes_in_its_place() -> None:
    """By its priority, not by the time."""
    late = ranked("late", 9), ranked("later", 1)
    for task in late:
        task.blockers = 1
    run = Replay(ranked("a", 2), ranked("b"), *late)
    assert run.take() == "a"
    run.ready.add(late[1].index)
    run.ready.add(late[0].index)
    assert run.take_all() == ["late", "later", "b"]


def test_a_retry_comes_in_its_place() -> None:
    """It is the same task; its attempts go on."""
    run = Replay(ranked("a", 1), ranked("b"), ranked("c", 1))
    assert [run.take(), run.take()] == ["a", "c"]
    run.ready.add_again(run.tasks["a"])
    assert run.take_all() == ["a", "b"]
    assert [run.tasks[label].attempts for label in "abc"] == [2, 1, 1]


def test_the_first_attempt_has_a_start() -> None:
    """Later ones leave it."""
    run = Replay(ranked("a", 1))
    task = run.tasks["a"]
    assert run.ready.take(3.0) is task and task.started == 3.0
    run.ready.add_again(task)
    assert run.ready.take(5.0) is task and task.started == 3.0


# Resources ----------------------------------------------------------------------------


def test_as_many_as_there_is() -> None:
    """The others follow as soon as it is free again."""
    tasks = [ranked(number, db=1) for number in range(4)]
    run = Replay(*tasks, capacity={"db": 2})
    assert run.take_all() == [0, 1]
    run.release(1)
    assert run.take_all() == [2]
    run.release(0, 2)
    assert run.take_all() == [3]


def test_one_that_is_blocked_blocks_no_other() -> None:
    """Not those that ask for nothing, for something else, or for less."""
    run = Replay(
        ranked("first", 9, db=1),
        ranked("much", 8, db=2),
        ranked("less", db=1),
        ranked("other", gpu=1),
        ranked("free"),
        capacity={"db": 2, "gpu": 1},
    )
    assert run.take_all() == ["first", "less", "other", "free"]
    run.release("first")
    assert run.take() is None, "two are not free yet"
    run.release("less")
    assert run.take_all() == ["much"]


def test_all_that_a_task_asks_for_or_nothing() -> None:
    """What it cannot have all of, it does not hold: so there is no deadlock."""
    run = Replay(
        ranked("a", a=1),
        ranked("both", 5, a=1, b=1),
        ranked("b", b=1),
        capacity={"a": 1, "b": 1},
    )
    assert run.take() == "both"
    assert run.take() is None
    run.release("both")
    assert run.take_all() == ["a", "b"]


def test_a_group_is_blocked_by_one_kind_after_another() -> None:
    """It is looked at again whenever what it lacked last is free."""
    run = Replay(
        ranked("a", 2, a=1),
        ranked("b", 1, b=1),
        ranked("both", a=1, b=1),
        capacity={"a": 1, "b": 1},
    )
    assert run.take_all() == ["a", "b"]
    run.release("a")
    assert run.take() is None
    run.release("b")
    assert run.take() == "both"


def test_what_is_free_is_enough_for_several_groups() -> None:
    """All of them are looked at; the order is that of the ranks."""
    run = Replay(
        ranked("hold", 9, db=4),
        ranked("three", 1, db=3),
        ranked("one", 2, db=1),
        ranked("two", 3, db=2),
        capacity={"db": 4},
    )
    assert run.take_all() == ["hold"]
    run.release("hold")
    assert run.take_all() == ["two", "one"]
    run.release("two")
    assert run.take_all() == ["three"]


@pytest.mark.parametrize("free", [1, 2, 5])
def test_how_many_can_start(free: int) -> None:
    """Counted by what is free, and not above what is ready."""
    tasks = [ranked(number, db=1) for number in range(3)]
    run = Replay(*tasks, ranked("free"), capacity={"db": free})
    most = min(free, 3) + 1
    assert run.ready.more_than(most - 1) and not run.ready.more_than(most)
    run.take_all()
    assert not run.ready.more_than(0), "or else slots would be called in vain"


def test_a_task_that_asks_for_much_is_passed_by() -> None:
    """Nothing is kept free for it: what asks for less goes first, while there is
    any."""
    small = [ranked(number, 9 if number < 2 else 0, db=1) for number in range(4)]
    run = Replay(*small, ranked("both", 5, db=2), capacity={"db": 2})
    assert run.take_all() == [0, 1]
    run.release(0)
    assert run.take_all() == [2]
    run.release(1)
    assert run.take_all() == [3]
    run.release(2, 3)
    assert run.take_all() == ["both"]


# Ends out of turn ---------------------------------------------------------------------


def test_a_task_that_has_ended_is_passed_over() -> None:
    """It counts no more among those that are ready, and holds nothing."""
    run = Replay(ranked("a", 1, db=1), ranked("b", db=1), capacity={"db": 1})
    run.end("a", waiting=True)
    assert len(run.ready) == 1
    assert run.take_all() == ["b"]
    assert run.tasks["a"].started is None


def test_all_that_is_ready_has_ended() -> None:
    """Then there is nothing to take, and nobody is called for it any more."""
    run = Replay(ranked("a", 1, db=1), ranked("b"), capacity={"db": 1})
    run.end("a", waiting=True)
    run.end("b", waiting=True)
    assert len(run.ready) == 0
    assert run.take() is None
    assert not run.ready.more_than(0)


def test_what_is_free_passes_by_a_task_that_has_ended() -> None:
    """It was offered to that task's group first, to which it is of no use any more."""
    capacity = {"a": 1, "b": 1}
    for number in (1, 3):
        gone = [ranked(f"gone {n}", 1, a=1, b=1) for n in range(number)]
        run = Replay(
            ranked("first", 2, a=1), *gone, ranked("next", a=1), capacity=capacity
        )
        assert run.take_all() == ["first"]
        for task in gone:
            run.end(task.label, waiting=True)
        run.release("first")
        assert run.ready.more_than(0)
        assert run.take_all() == ["next"]


@pytest.mark.parametrize("first", ["release", "retry"])
def test_a_better_task_joins_those_that_are_blocked(first: str) -> None:
    """From then on they are in line by its rank, ahead of others that lack the same."""
    many, few = {"a": 3}, {"a": 1}
    tasks = ranked(0, **many), ranked(1, -1, **many), ranked(2, **few), ranked(3, -2)
    run = Replay(*tasks, capacity={"a": 3})
    assert run.take() == 0
    assert run.take() == 3
    for step in ("release", "retry") if first == "release" else ("retry", "release"):
        if step == "retry":
            run.ready.add_again(run.tasks[0])
        else:
            run.release(0)
    assert run.take_all() == [0]
    run.release(0)
    assert run.take_all() == [2]
    run.release(2)
    assert run.take_all() == [1]


def test_what_one_cannot_use_is_seen_at_once() -> None:
    """One to whom it was offered lacks something else since: the next one can start."""
    run = Replay(
        ranked("first", 2, b=2),
        ranked("greedy", 1, a=3, b=1),
        ranked("either", a=1, b=1),
        ranked("modest", -1, b=1),
        capacity={"a": 3, "b": 2},
    )
    assert run.take_all() == ["first"]
    run.release("first")
    assert run.take() == "greedy"
    assert run.ready.more_than(0)
    assert run.take() == "modest"
    assert not run.ready.more_than(0)


def test_what_was_offered_to_a_task_that_has_ended_is_the_next_ones() -> None:
    """Though its group has more: those are of a lower priority."""
    run = Replay(
        ranked("first", 2, db=2),
        ranked("ended", 1, db=1),
        ranked("greedy", 1, db=2),
        ranked("low", 0, db=1),
        capacity={"db": 2},
    )
    assert run.take_all() == ["first"]
    run.end("ended", waiting=True)
    run.release("first")
    assert run.take() == "greedy"
    run.release("greedy")
    assert run.take() == "low"


def test_nothing_is_ready_any_more() -> None:
    """What is held then is not free; what is ready later is found."""
    run = Replay(
        *[ranked(number, db=1) for number in range(4)], capacity={"db": 2, "gpu": 1}
    )
    run.take_all()
    run.ready.clear([{"db": 1}])
    assert len(run.ready) == 0 and run.take() is None
    for number in (3, 2):
        run.ready.add_again(run.tasks[number])
    assert run.take_all() == [2]
    run.release(2)
    assert run.take_all() == [3]


# Against a naive model ----------------------------------------------------------------

CAPACITY = {"a": 3, "b": 2}

wants = st.fixed_dictionaries(
    {}, optional={"a": st.integers(1, 3), "b": st.integers(1, 2)}
)


class Model(RuleBasedStateMachine):
    """A list that is searched from end to end says the same."""

    @initialize(
        asked=st.lists(st.tuples(st.integers(-2, 2), wants), min_size=1, max_size=12)
    )
    def start(self, asked: list[tuple[int, dict[str, int]]]) -> None:
        self.tasks = [ranked(n, p, **needs) for n, (p, needs) in enumerate(asked)]
        for index, task in enumerate(self.tasks):
            task.index = index
            task.blockers = index % 2
        self.ready = Ranked(CAPACITY, Tries())
        self.ready.open(self.tasks)
        self.waiting = [task for task in self.tasks if not task.blockers]
        self.later = [task for task in self.tasks if task.blockers]
        self.working: list[Task] = []

    def fits(self, task: Task) -> bool:
        for kind, amount in task.options.resources.items():
            held = sum(each.options.resources.get(kind, 0) for each in self.working)
            if held + amount > CAPACITY[kind]:
                return False
        return True

    @rule()
    def take(self) -> None:
        startable = [task for task in self.waiting if self.fits(task)]
        best = min(
            startable,
            key=lambda each: (-each.options.priority, each.index),
            default=None,
        )
        if best is not None:
            assert self.ready.more_than(0), "or else nobody would come for it"
        assert self.ready.take(0.0) is best
        if best is None:
            assert not self.ready.more_than(0), "or else all would come in vain"
        else:
            self.waiting.remove(best)
            self.working.append(best)

    @rule(data=st.data())
    def add(self, data: Any) -> None:
        if self.later:
            task = data.draw(st.sampled_from(self.later))
            self.later.remove(task)
            self.waiting.append(task)
            self.ready.add(task.index)

    @rule(data=st.data(), again=st.booleans())
    def end(self, data: Any, again: bool) -> None:
        if self.working:
            task = data.draw(st.sampled_from(self.working))
            self.working.remove(task)
            if again:
                self.waiting.append(task)
                self.ready.add_again(task)
            else:
                task.outcome = success()
                self.ready.drop(task)
            self.ready.release(task.options.resources)

    @rule(data=st.data())
    def cancel(self, data: Any) -> None:
        if self.waiting:
            task = data.draw(st.sampled_from(self.waiting))
            self.waiting.remove(task)
            task.outcome = success()
            self.ready.drop(task, ready=task.started is None)

    @rule()
    def rebuild(self) -> None:
        self.ready.clear([task.options.resources for task in self.working])
        for task in self.waiting:
            self.ready.add_again(task)

    @rule()
    def count(self) -> None:
        assert len(self.ready) == len(self.waiting)


TestAgainstAModel = Model.TestCase
TestAgainstAModel.settings = settings(max_examples=100, stateful_step_count=40)
