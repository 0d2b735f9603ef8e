"""The graph of a run: its longest path, and what of it is drawn."""

from __future__ import annotations

from ..outcomes import ABORT, CANCEL, SKIP, TIMEOUT, UNTRIGGERED, is_fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Final, Iterator, List, Optional, Sequence, Set, Tuple

    from .record import RunRecord, TaskRecord

#: By the status of a task, the colours of the inside and of the border.
COLOURS: Final = {
    "Waiting": ("#eceff1", "#607d8b"),
    "Running": ("#d6e6ff", "#0550ae"),
    "Successful": ("#d8f3dc", "#1a7f37"),
    "Failed": ("#ffd9d6", "#b42318"),
    "Terminated": ("#fff0c2", "#9a6700"),
}


def longest_path(run: RunRecord) -> Tuple[int, ...]:
    """The indexes of the tasks that the run had to wait for, one after the other.

    It is the chain of dependencies that took longest, by the durations of its tasks, or
    as long as none has a duration, the chain of most tasks. Empty if there are no
    dependencies.
    """
    tasks = run.tasks
    timed = any(task.duration is not None for task in tasks)
    # A task that took no time is on the path as well, unless it was never started.
    weights = [_weight(task.duration) if timed else 1.0 for task in tasks]
    before: List[Optional[int]] = [None] * len(tasks)
    lengths = list(weights)
    for index in _sorted(tasks):
        for needed in tasks[index].depends_on:
            length = lengths[needed] + weights[index]
            if length > lengths[index] and _waited(tasks[index], tasks[needed]):
                lengths[index], before[index] = length, needed
    last = max(range(len(tasks)), key=lengths.__getitem__, default=None)
    path: List[int] = []
    while last is not None:
        path.append(last)
        last = before[last]
    return tuple(reversed(path)) if len(path) > 1 else ()


#: Seconds by which the moments of two threads may be out of order.
_CLOSE: Final = 0.05


def _waited(task: TaskRecord, needed: TaskRecord) -> bool:
    """Whether a task began, or was skipped, after the end of one that it depends on.

    A task that is skipped, or triggered by a failure, does not wait for the others.
    """
    moment = task.ended if task.started is None else task.started
    return moment is None or needed.ended is None or needed.ended <= moment + _CLOSE


def _weight(duration: Optional[float]) -> float:
    return 0.0 if duration is None else max(duration, 1e-9)


def _sorted(tasks: Sequence[TaskRecord]) -> Iterator[int]:
    """The indexes of tasks, each after those that it depends on.

    Tasks in a cycle are left out: only a file that was not made of a run can have one.
    """
    blockers = [len(set(task.depends_on)) for task in tasks]
    following = dependents(tasks)
    found = [index for index, many in enumerate(blockers) if not many]
    for index in found:  # it grows
        yield index
        for each in following.get(index, ()):
            blockers[each] -= 1
            if not blockers[each]:
                found.append(each)


def dependents(tasks: Sequence[TaskRecord]) -> Dict[int, List[int]]:
    """By the index of a task, those of the tasks that depend on it."""
    found: Dict[int, List[int]] = {}
    for task in tasks:
        for needed in set(task.depends_on):
            found.setdefault(needed, []).append(task.index)
    return found


#: The causes that say more than the status.
_TELLING: Final = (ABORT, CANCEL, SKIP, TIMEOUT, UNTRIGGERED)


class Graph:
    """The graph of a run.

    If there is not room for all, the longest path comes first, then what went wrong by
    itself with its neighbours, then the others in the order of adding.
    """

    def __init__(self, run: RunRecord) -> None:
        self._run = run
        self._first: List[int] = []
        self.path = longest_path(run)

    def drawing(self, most: Optional[int] = None) -> Drawing:
        """What is drawn of it.

        :param most: how many tasks; None for all.
        """
        tasks = self._run.tasks
        if most is None or most >= len(tasks):
            return Drawing(tasks, self.path, 0)
        self._first = self._first or self._ranked()
        chosen = [tasks[index] for index in sorted(self._first[:most])]
        return Drawing(chosen, self.path, len(tasks) - len(chosen))

    def _ranked(self) -> List[int]:
        tasks = self._run.tasks
        wrong = [task for task in tasks if is_fault(task.cause)]
        following = dependents(tasks) if wrong else {}
        wanted = dict.fromkeys(self.path)
        wanted.update(dict.fromkeys(task.index for task in wrong))
        for task in wrong:
            wanted.update(dict.fromkeys(task.depends_on))
            wanted.update(dict.fromkeys(following.get(task.index, ())))
        wanted.update(dict.fromkeys(range(len(tasks))))
        return list(wanted)


class Drawing:
    """The tasks of a graph that are drawn, in the order of adding.

    :param path: the longest path, all of it.
    :param left: how many tasks are not drawn.
    """

    def __init__(
        self, tasks: Sequence[TaskRecord], path: Sequence[int], left: int
    ) -> None:
        self.tasks = tasks
        self.left = left
        drawn = {task.index for task in tasks}
        #: The tasks of the longest path that are drawn.
        self.path = [index for index in path if index in drawn]
        #: From what a task depends on to that task.
        self.edges = [
            (needed, task.index)
            for task in tasks
            for needed in dict.fromkeys(task.depends_on)
            if needed in drawn
        ]
        #: The edges of the longest path.
        self.steps: Set[Tuple[int, int]] = set(zip(path, path[1:]))


def caption(task: TaskRecord) -> str:
    """What stands below the label of a task that has begun or ended."""
    if task.status == "Waiting":
        return ""
    why = f" ({task.cause})" if task.cause in _TELLING else ""
    took = "" if task.duration is None else f", {task.duration:.2f} s"
    return f"{task.status}{why}{took}"
