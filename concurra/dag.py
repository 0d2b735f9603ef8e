"""Dependencies between tasks, grown one task at a time, that never close a cycle.

A task may name others that are added later. Each task carries an ``order``, a number
not below that of anything it depends on, as far as that has been added: where such
numbers exist there can be no cycle. To find one for a new task

- that nobody has named yet, its index will do, which is above all orders so far. Tasks
  that are added after their dependencies cost no more than that;
- that others have named, it must fit between those of its dependencies and those of its
  namers. If there is room, as in adding backwards, it goes in the middle;
- otherwise two searches run: down from its dependencies, the highest order first, and
  up from its namers, the lowest first, the cheaper step always next. If they touch,
  there is a cycle. When they have passed each other there is none, and what they have
  visited moves into the gap between them.

The searches are bounded by what is out of order, not by the size of the graph. (The
idea of two-way search is from B. Haeupler et al., *Incremental Cycle Detection,
Topological Ordering, and Strong Component Maintenance*, 2012.)
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Dict, Hashable, List, Optional, Sequence, Tuple

from .errors import CircularDependencyError, DuplicateLabelError
from .tasks import Task

# The smallest distance between orders that are given out. A float tells numbers that
# far apart up to 2**32, and no order exceeds the number of tasks.
_STEP = 2.0**-20

_Heap = List[Tuple[float, int, Task]]


class Dag:
    """The tasks by label, in the order of adding, and who depends on whom."""

    def __init__(self) -> None:
        self.tasks: Dict[Hashable, Task] = {}
        #: The labels that are named and not added yet, with the tasks that name them.
        self.missing: Dict[Hashable, List[Task]] = {}
        self._linked = False

    def add(self, task: Task) -> None:
        """Add a task, or raise and leave everything as it was.

        :raises DuplicateLabelError: its label is taken.
        :raises CircularDependencyError: it would close a cycle.
        """
        label, tasks, missing = task.label, self.tasks, self.missing
        if label in tasks:
            raise DuplicateLabelError(label)
        task.index = task.order = len(tasks)
        if not (missing or task.depends_on):
            tasks[label] = task
            return
        if label in task.depends_on:
            raise CircularDependencyError((label, label))
        known = [tasks[name] for name in task.depends_on if name in tasks]
        absent = [name for name in task.depends_on if name not in tasks]
        namers = missing.get(label)
        if namers:
            self._place(task, known, namers)
        try:
            tasks[label] = task
            for name in absent:
                missing.setdefault(name, []).append(task)
            missing.pop(label, None)
        except BaseException:  # a label's own __hash__ or __eq__ raised at last
            self._remove_last(task)
            raise
        if self._linked:
            task.dependents = namers or ()
            for needed in known:
                _link(needed, task)

    def add_all(self, tasks: Sequence[Task]) -> None:
        """Add tasks that depend on nothing: all of them, or none.

        For errors, see `add`.
        """
        missing = {label: self.missing.get(label) for label in self.missing}
        for count, task in enumerate(tasks):
            try:
                self.add(task)
            except BaseException:
                for added in reversed(tasks[:count]):
                    self._remove_last(added)
                self.missing = {k: v for k, v in missing.items() if v}
                raise

    def _remove_last(self, task: Task) -> None:
        """Undo an `add`, without asking the labels anything; empty lists may stay."""
        if self.tasks and next(reversed(self.tasks.values())) is task:
            self.tasks.popitem()
        for namers in self.missing.values():
            if namers and namers[-1] is task:
                namers.pop()

    def link(self) -> None:
        """Let every task know its dependents, from now on."""
        if not self._linked:
            self._linked = True
            tasks = self.tasks
            for task in tasks.values():
                for label in task.depends_on:
                    if label in tasks:
                        _link(tasks[label], task)

    def _place(self, task: Task, known: List[Task], namers: List[Task]) -> None:
        """Give a task that others name its order, or raise if it closes a cycle.

        :param known: those that it depends on, as far as they have been added.
        """
        tasks = self.tasks
        high = min(namer.order for namer in namers)
        low = max((needed.order for needed in known), default=high - 2)
        if high - low >= 2 * _STEP:
            task.order = (low + high) / 2
            return
        self.link()
        down, up = _Search(known, task, -1), _Search(namers, task, +1)
        for needed in known:
            if needed in up.origins:
                raise _cycle(needed, down, up, task)
        while down.heap:
            low, high = down.frontier(), up.frontier(default=task.index + 1)
            room = len(down.visited) + len(up.visited) + 2
            # The square keeps the gaps from becoming too narrow too soon.
            if high > low and high - low >= room**2 * _STEP:
                break
            if not up.heap or down.price() <= up.price():
                visited = down.step()
                labels = visited.depends_on
                reached = [tasks[label] for label in labels if label in tasks]
                met = down.reach(reached, visited, up)
            else:
                visited = up.step()
                met = up.reach(visited.dependents, visited, down)
            if met is not None:
                raise _cycle(met, down, up, task)
        _spread(task, down, up)


class _Search:
    """A search that visits what lies below (-1) or above (+1), the nearest first.

    ``origins`` has all that it has reached, each with the task it was reached from.
    """

    def __init__(self, start: Sequence[Task], task: Task, way: int) -> None:
        self.way = way
        self.origins = dict.fromkeys(start, task)
        self.heap: _Heap = [(way * each.order, each.index, each) for each in start]
        heapify(self.heap)
        self.visited: List[Task] = []
        self._paid = 0

    def frontier(self, default: float = 0.0) -> float:
        """The order of the task to visit next."""
        return self.way * self.heap[0][0] if self.heap else default

    def price(self) -> int:
        """How many edges will have been followed after the next step."""
        task = self.heap[0][2]
        return self._paid + len(task.dependents if self.way > 0 else task.depends_on)

    def step(self) -> Task:
        """Visit the next task."""
        self._paid = self.price()
        task = heappop(self.heap)[2]
        self.visited.append(task)
        return task

    def reach(
        self, tasks: Sequence[Task], origin: Task, other: _Search
    ) -> Optional[Task]:
        """Note tasks beyond ``origin``, to be visited; one that both reached."""
        way, heap, origins, others = self.way, self.heap, self.origins, other.origins
        for task in tasks:
            if task not in origins:
                origins[task] = origin
                if task in others:
                    return task
                heappush(heap, (way * task.order, task.index, task))
        return None


def _spread(task: Task, down: _Search, up: _Search) -> None:
    """Move all that was visited into the gap, evenly, with ``task`` in between.

    What is below is only lowered, and what is above only raised: others, that were
    not visited, may stand between.
    """
    room = len(down.visited) + len(up.visited) + 2
    high = up.frontier(default=task.index + 1)
    low = down.frontier(default=high - room)
    step = (high - low) / room
    place = low
    for moved in reversed(down.visited):
        place += step
        moved.order = min(moved.order, place)
    place += step
    task.order = place
    for moved in up.visited:
        place += step
        moved.order = max(moved.order, place)


def _link(needed: Task, task: Task) -> None:
    if needed.dependents:
        needed.dependents.append(task)  # type: ignore[attr-defined]
    else:
        needed.dependents = [task]


def _cycle(
    met: Task, down: _Search, up: _Search, task: Task
) -> CircularDependencyError:
    """The way from ``task`` down to ``met``, and from there up to ``task`` again."""
    path = [met]
    while path[-1] is not task:
        path.append(down.origins[path[-1]])
    path.reverse()
    while path[-1] is not task or len(path) == 1:
        path.append(up.origins[path[-1]])
    return CircularDependencyError([each.label for each in path])
