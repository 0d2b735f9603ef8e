"""When a task may start: its trigger rule, and what has become of its dependencies."""

from __future__ import annotations

from ..options import ALL_SUCCESS, ONE_FAILED
from ..outcomes import SkipError
from ..tasks import Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Collection, Dict, Hashable, List, Mapping, Sequence

    from ..outcomes import Outcome

#: Why a task is not run that depends on one that was not.
BECAUSE = "Skipped: it depends on a task that was skipped as no dependency failed"


def succeeded(task: Task) -> bool:
    return task.outcome is not None and task.outcome.ok


def failed(task: Task) -> bool:
    return task.outcome is not None and task.outcome.failed


def root(task: Task) -> Hashable:
    """The label of the task whose failure ended this one, maybe through others."""
    error = task.outcome and task.outcome.error
    return error.root if isinstance(error, SkipError) else task.label


def dependents_first(tasks: Collection[Task]) -> List[Task]:
    """The same tasks, none of them after one that it depends on."""
    from graphlib import TopologicalSorter

    graph: Dict[Task, Sequence[Task]] = {}
    left = list(tasks)
    while left:
        task = left.pop()
        if task not in graph:
            graph[task] = task.needs
            left.extend(task.needs)
    order = list(TopologicalSorter(graph).static_order())
    return [task for task in reversed(order) if task in tasks]


def without(
    cancelled: Collection[Task],
    restored: Mapping[Task, Outcome],
    dependents: Sequence[Sequence[Task]],
) -> Mapping[Task, Outcome]:
    """The restored tasks without those that were cancelled, and all that need these.

    :param dependents: see `Dag.dependents`.
    """
    left = dict(restored)
    dropped = [task for task in cancelled if left.pop(task, None)]
    for task in dropped:  # it grows
        dropped += [each for each in dependents[task.index] if left.pop(each, None)]
    return left


def blockers(task: Task) -> int:
    """How many dependencies a task waits for; -1 if these matter no more."""
    rule = task.options.trigger_rule
    if task.outcome is not None:
        return -1
    if rule == ALL_SUCCESS:
        return len([each for each in task.needs if not succeeded(each)])
    if rule == ONE_FAILED and any(map(failed, task.needs)):
        return -1
    return len([each for each in task.needs if each.outcome is None])


def is_untriggered(task: Task) -> bool:
    """Whether a task was to run after a failure, and none can come any more."""
    return task.options.trigger_rule == ONE_FAILED and not any(
        each.outcome is None or each.outcome.failed for each in task.needs
    )
