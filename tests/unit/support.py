"""Values that these tests are made of."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING, Any

from concurra.options import Options, OwnOptions, choose
from concurra.outcomes import ERROR, LOST, SUCCESS, Outcome
from concurra.plan.dag import Dag
from concurra.plan.plan import Plan
from concurra.tasks import Call, Task

if TYPE_CHECKING:
    from concurra.tasks import Job


class Planned(Task):
    """A task that knows what it is going to depend on."""

    __slots__ = ("planned",)

    def __init__(
        self,
        label: Hashable,
        job: Job,
        depends_on: tuple[Hashable, ...] = (),
        retries: int = 0,
        **chosen: Any,
    ) -> None:
        options = Options(retries)
        if chosen:
            options = OwnOptions(options, choose(**chosen))
        super().__init__(label, job, options)
        self.index = -1  # as long as no plan has it
        self.planned = depends_on


def nothing() -> None:
    """What every task of these tests would do, if anybody did it."""


def make(label: Hashable, *needs: Hashable, retries: int = 0, **chosen: Any) -> Task:
    """A task that depends on `needs`, with options of its own if any are chosen."""
    return Planned(label, Call(nothing), needs, retries, **chosen)


def add(plan: Plan | Dag, task: Task) -> None:
    """Add a task with what it depends on."""
    assert isinstance(task, Planned)
    plan.add(task, task.planned)


def plan_of(*tasks: Task) -> Plan:
    """A plan with these tasks, not open yet."""
    plan = Plan()
    for task in tasks:
        add(plan, task)
    return plan


def checked(*tasks: Task) -> Plan:
    """A plan with these tasks that can be opened."""
    plan = plan_of(*tasks)
    plan.check()
    return plan


def opened(*tasks: Task) -> Plan:
    """A plan with these tasks that has been checked and opened."""
    plan = checked(*tasks)
    plan.open()
    return plan


def success(value: Any = None) -> Outcome:
    return Outcome(SUCCESS, "thread", value)


def failure(error: str = "ValueError: bad") -> Outcome:
    """The task raised, so another attempt may help."""
    return Outcome(ERROR, "thread", None, error, "trace")


def hopeless(error: str = "PicklingError: no") -> Outcome:
    """The attempt began and failed in a way that no other attempt can mend."""
    return Outcome(LOST, "thread", None, error)


def labels(tasks: Iterable[Task]) -> list[Hashable]:
    return [task.label for task in tasks]


def take_all(plan: Plan, now: float = 0.0) -> list[Hashable]:
    """The labels of all tasks that can start now, in the order of their starts."""
    return labels(iter(lambda: plan.take(now), None))


def error_of(task: Task) -> str | None:
    assert task.outcome is not None, f"{task.label!r} has not ended"
    error = task.outcome.error
    return None if error is None else str(error)


def status_of(task: Task) -> str:
    assert task.outcome is not None, f"{task.label!r} has not ended"
    return task.outcome.status


def settled(plan: Plan, task: Task, outcome: Outcome, now: float) -> list[Task]:
    """Settle an attempt; the tasks that ended by it, in order."""
    before = len(plan.ended)
    plan.settle(task, outcome, now)
    return plan.ended[before:]


def terminated(plan: Plan, at_work: dict[Task, Outcome], now: float) -> list[Task]:
    """Terminate everything; the tasks that ended by it, in order."""
    before = len(plan.ended)
    plan.terminate(at_work, now)
    return plan.ended[before:]
