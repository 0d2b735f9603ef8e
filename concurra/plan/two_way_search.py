"""A search in a graph in both directions at once: for room between tasks, or a cycle.

See `dag` for what an order is.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from ..errors import CircularDependencyError
from ..tasks import Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Sequence, Tuple

#: How far the orders of neighbours are apart if nothing else bounds them.
GAP = 1 << 20


class Search:
    """A search that visits what lies below (-1) or above (+1), the nearest first.

    ``origins`` has all tasks that it has reached, each with the task that it was
    reached from. ``heap`` has those of them that it has not visited, by their order
    times ``way``, which is -1 or +1.
    """

    __slots__ = ("way", "origins", "heap", "visited", "paid")

    def __init__(self, start: Sequence[Task], task: Task, way: int) -> None:
        self.way = way
        self.origins = dict.fromkeys(start, task)
        self.heap: List[Tuple[int, int, Task]]
        self.heap = [(way * each.order, each.index, each) for each in start]
        heapify(self.heap)
        self.visited: List[Task] = []
        self.paid = 0

    def visit(
        self, reached: Sequence[Task], price: int, other: Search
    ) -> Optional[Task]:
        """Visit the next task, from which others are ``reached``.

        :return: one of these that the other search has reached as well.
        """
        way, heap, origins, others = self.way, self.heap, self.origins, other.origins
        origin = heappop(heap)[2]
        self.visited.append(origin)
        self.paid += price
        for task in reached:
            if task not in origins:
                origins[task] = origin
                if task in others:
                    return task
                heappush(heap, (way * task.order, task.index, task))
        return None


def move_apart(task: Task, down: Search, up: Search) -> None:
    """Move all that was visited into the gap, evenly, with ``task`` in between.

    What is below is only lowered, and what is above only raised: others, that were
    not visited, may stand between. Where one search has seen everything on its side,
    nothing bounds the gap.
    """
    room = len(down.visited) + len(up.visited) + 2
    step = GAP
    if not up.heap:
        order = -down.heap[0][0]
    elif not down.heap:
        order = up.heap[0][0] - room * step
    else:
        order = -down.heap[0][0]
        step = min(step, (up.heap[0][0] - order) // room)
    for moved in reversed(down.visited):
        order += step
        moved.order = min(moved.order, order)
    order += step
    task.order = order
    for moved in up.visited:
        order += step
        moved.order = max(moved.order, order)


def cycle(met: Task, down: Search, up: Search, task: Task) -> CircularDependencyError:
    """The way from ``task`` down to ``met``, and from there up to ``task`` again."""
    path = [met]
    while path[-1] is not task:
        path.append(down.origins[path[-1]])
    path.reverse()
    while path[-1] is not task or len(path) == 1:
        path.append(up.origins[path[-1]])
    return CircularDependencyError([each.label for each in path])
