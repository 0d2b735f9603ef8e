"""When attempts began and ended, as the plan notes it."""

from __future__ import annotations

from concurra.options import DEFAULTS, OwnOptions, choose
from concurra.outcomes import Outcome
from concurra.plan.plan import Plan
from concurra.tasks import Call, Task

from tests.unit.support import nothing, success


def opened(retries: int) -> tuple[Plan, Task]:
    """A plan with one task that may be tried again."""
    task = Task("a", Call(nothing), OwnOptions(DEFAULTS, choose(task_retries=retries)))
    plan = Plan()
    plan.add(task)
    plan.check()
    plan.open()
    return plan, task


def failure() -> Outcome:
    """An attempt that raised."""
    return Outcome.raised("thread", ValueError("no"))


def test_one_attempt_is_not_noted() -> None:
    """It began and ended with its task."""
    plan, task = opened(0)
    plan.take(1.0)
    assert plan.tries.of(task) == [(1.0, None)]
    plan.settle(task, success(), 2.0)
    assert plan.tries.of(task) == [(1.0, 2.0)]
    assert not plan.tries._began and not plan.tries._failed


def test_each_attempt_has_its_moments() -> None:
    """While it goes on, between two attempts, and at the end."""
    plan, task = opened(2)
    plan.take(1.0)
    plan.settle(task, failure(), 2.0)
    assert plan.tries.of(task) == [(1.0, 2.0)]
    plan.take(3.0)
    assert plan.tries.of(task) == [(1.0, 2.0), (3.0, None)]
    plan.settle(task, failure(), 4.0)
    plan.take(5.0)
    plan.settle(task, failure(), 6.0)
    assert plan.tries.of(task) == [(1.0, 2.0), (3.0, 4.0), (5.0, 6.0)]


def test_an_attempt_that_was_not_made_after_all() -> None:
    """When it is begun once more, that moment counts."""
    plan, task = opened(1)
    plan.take(1.0)
    plan.settle(task, failure(), 2.0)
    plan.take(3.0)
    plan.give_back(task)
    assert plan.tries.of(task) == [(1.0, 2.0)]
    plan.take(5.0)
    plan.settle(task, success(), 6.0)
    assert plan.tries.of(task) == [(1.0, 2.0), (5.0, 6.0)]


def test_what_was_not_noted_is_taken_from_what_was() -> None:
    """The thread was struck in between: moments are in order, and none is missing."""
    plan, task = opened(2)
    plan.take(1.0)
    plan.settle(task, failure(), 2.0)
    plan.take(3.0)
    plan.settle(task, failure(), 4.0)
    plan.take(5.0)
    plan.tries._failed[task].clear()
    del plan.tries._began[task][2]
    assert plan.tries.of(task) == [(1.0, 1.0), (1.0, 1.0), (5.0, None)]
