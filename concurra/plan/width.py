"""How many tasks of a plan can be at work together: pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

    from ..tasks import Task


def width(order: Sequence[Task], dependents: Sequence[Sequence[Task]]) -> int:
    """How many tasks can be at work together, at the most.

    It is an upper bound that is cheap to compute: all tasks but those of the longest
    path, of which one at a time can be at work. Tasks may have ended already, by a
    cancel for one.

    :param dependents: see `Dag.dependents`.
    """
    tasks = [task for task in order if task.outcome is None]
    left = set(tasks)
    waiting = {task: len(left.intersection(task.needs)) for task in tasks if task.needs}
    layer = [task for task in tasks if not waiting.get(task)]
    longest = 0
    while layer:
        longest += 1
        following = []
        for task in layer:
            for dependent in dependents[task.index]:
                if dependent in left:
                    waiting[dependent] -= 1
                    if not waiting[dependent]:
                        following.append(dependent)
        layer = following
    return len(tasks) - longest + 1 if longest else 0
