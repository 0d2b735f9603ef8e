"""Dependencies between tasks, grown one task at a time, that never close a cycle.

A task may name others that are added later. A new task can close a cycle only if
others name it already, and it depends on some that are there. As long as no task is of
that kind (whoever adds only forwards or only backwards never adds one) there is nothing
to watch. From the first one on

- each task has an ``order``, above those of all that it depends on, as far as they
  have been added: where such numbers exist there is no cycle;
- tasks that are connected, by whatever way, are in one *component*. Orders mean nothing
  between components, so one that a new task connects with a larger one is shifted as a
  whole. No task is shifted more often than the number of tasks can be halved.

A new task goes one gap above what it depends on, or one below those who name it, or
in between. So orders follow the levels of the graph, and there mostly is room. If
there is none, two searches run: down from its dependencies, the highest order first,
and up from its namers, the lowest first; the cheaper step is always next. If they meet,
there is a cycle. When they have passed each other, or one has seen everything on its
side, there is none, and what they have visited moves to make room. They are bounded
by what is out of order, not by the size of the graph. (The idea of two-way search is
from B. Haeupler et al., *Incremental Cycle Detection, Topological Ordering, and Strong
Component Maintenance*, 2012.)
"""

from __future__ import annotations

import threading
from collections import defaultdict

from ..errors import CircularDependencyError, DuplicateLabelError
from ..errors import UnknownDependencyError, hidden
from ..tasks import Task
from .two_way_search import GAP, Search, cycle, move_apart

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, DefaultDict, Dict, Hashable, Iterable, List, Sequence

__tracebackhide__ = hidden


class Dag:
    """The tasks by label, in the order of adding, and what depends on what."""

    def __init__(self) -> None:
        self.tasks: Dict[Hashable, Task] = {}
        #: The labels that are named and not added yet, with the tasks that name them.
        self.missing: DefaultDict[Hashable, List[Task]] = defaultdict(list)
        #: The tasks that named others before these were added, with all the labels that
        #: they depend on. Their ``needs`` are set when the run begins.
        self.ahead: Dict[Task, Sequence[Hashable]] = {}
        # Held by everything but the plain case: a task added after what it depends on.
        # Reentrant, as labels may call user code, and for signal handlers.
        self._lock = threading.RLock()
        self._mixed = False  # whether several threads have added tasks at once
        # These two begin when they are first needed, which they are not in most graphs:
        # what is kept for every task costs time in each garbage collection.
        self._ordered = False
        #: By the index of each task, those that depend on it. Complete if it has an
        #: entry for each task; before the run there may be none, or too few.
        self.dependents: List[Sequence[Task]] = []

    def add(self, task: Task, depends_on: Sequence[Hashable] = ()) -> None:
        """Add a task, or raise and leave everything as it was.

        If it has no label, that is its index.

        :param depends_on: labels, each once.
        :raises DuplicateLabelError: its label is taken.
        :raises CircularDependencyError: it would close a cycle.
        """
        tasks, label = self.tasks, task.label
        index = len(tasks)  # the first: see `_add_anew`
        if not (self.missing or self._ordered or self.dependents):
            found = tuple(map(tasks.get, depends_on)) if depends_on else ()
            if not depends_on or all(found):
                if found:
                    task.needs = found  # type: ignore[assignment]
                    task.blockers = len(found)
                if label is None:
                    task.label = index
                elif type(label) is int and label == index:
                    index = label  # one object does for both
                task.index = index
                if tasks.setdefault(task.label, task) is task:
                    if len(tasks) != index + 1:
                        self._mixed = True
                    return
                if label is not None or len(tasks) == index:
                    raise DuplicateLabelError(task.label)
                task.label = None  # another thread has added one meanwhile
        with self._lock:
            self._insert(task, depends_on)

    def _insert(self, task: Task, depends_on: Sequence[Hashable]) -> None:
        """Add a task where something is to be watched; see `add`."""
        if self._mixed:
            self._add_anew()
        label, tasks, missing = task.label, self.tasks, self.missing
        index = len(tasks)
        if label is None:
            task.label = label = index
        if label in tasks:
            raise DuplicateLabelError(label)
        task.index = index
        known: List[Task] = []
        absent: List[Hashable] = []
        for name in depends_on:
            needed = tasks.get(name)
            if needed is None:
                absent.append(name)
            else:
                known.append(needed)
        task.needs = () if absent else tuple(known)
        task.blockers = len(depends_on)
        if absent and label in absent:
            raise CircularDependencyError((label, label))
        namers = missing.get(label, ()) if missing else ()
        if known and namers and not self._ordered:
            self._place_all()
        if self._ordered:
            self._place(task, known, namers)
        try:
            for name in absent:
                missing[name].append(task)
            if absent:
                self.ahead[task] = depends_on
            if tasks.setdefault(label, task) is not task:  # the last: see `_add_anew`
                raise DuplicateLabelError(label)
            if namers:
                del missing[label]
        except BaseException:  # a label's own __hash__ or __eq__ raised at last
            self._remove_last(task)
            raise
        if self._ordered:
            _join(task)
        if self.dependents and len(self.dependents) == index:
            _link(self.dependents, [task], [known])
            self.dependents.append(namers)  # the last: now it is complete
        if len(tasks) != index + 1:
            self._mixed = True

    def _add_anew(self) -> None:
        """Add all tasks once more, since several threads have done so at once.

        What an `add` has found may have changed before its task was in. Of two that
        overlap, one notices: when it ends, there are at least two tasks more than when
        it began. Otherwise it began when the other's task was in already, and knew all
        that is to be watched because of that.

        :raises CircularDependencyError: they have closed a cycle together.
        """
        labels = {
            task: self.ahead.get(task) or [each.label for each in task.needs]
            for task in list(self.tasks.values())
        }
        self.ahead = labels  # what counts, until all is done: an interrupt may come
        anew = Dag()
        for task, needed in labels.items():
            anew.add(task, needed)
        self.missing, self.ahead = anew.missing, anew.ahead
        self._ordered, self._mixed = anew._ordered, False
        self.dependents[:] = anew.dependents

    def add_all(self, tasks: Sequence[Task]) -> None:
        """Add tasks that depend on nothing: all of them, or none.

        For errors, see `add`.
        """
        with self._lock:
            self._add_each(tasks)

    def _add_each(self, tasks: Sequence[Task]) -> None:
        missing = {label: self.missing.get(label) for label in self.missing}
        for count, task in enumerate(tasks):
            try:
                self.add(task)
            except BaseException:
                for added in reversed(tasks[:count]):
                    self._remove_last(added)
                self.missing.clear()
                self.missing.update((k, v) for k, v in missing.items() if v)
                raise

    def resolve(self) -> List[Task]:
        """Set by reference what each task waits for, and what waits for it.

        Labels are hashed and compared for the last time. What is added later is left
        out.

        :return: all tasks, in order.
        :raises UnknownDependencyError: tasks wait for labels that do not exist.
        """
        with self._lock:
            order = list(self.tasks.values())
            while self._mixed or not _in_order(order):
                self._add_anew()
                order = list(self.tasks.values())
            self._check_labels()
            self._resolve(order)
            return order

    def _check_labels(self) -> None:
        missing = {label for label, namers in self.missing.items() if namers}
        unknown: Dict[Hashable, List[Hashable]] = {}
        named: List[Sequence[Hashable]] = []
        for task, labels in self.ahead.items() if missing else ():
            absent = [label for label in labels if label in missing]
            if absent:
                unknown[task.label] = absent
                named.append(labels)
        if unknown:
            from ..spelling import question

            hint = question(unknown, self.tasks, named)
            raise UnknownDependencyError(unknown, hint)

    def _resolve(self, order: List[Task]) -> None:
        find = self.tasks.__getitem__
        # All labels are looked up before anything is changed, as they may raise.
        found = {task: tuple(map(find, names)) for task, names in self.ahead.items()}
        for task, needs in found.items():
            task.needs = needs
        self.ahead.clear()  # not before: it counts as long as a task is there
        for task in order if self._ordered else ():
            task.component = ()
        self._link_all(order)

    def needs(self, task: Task) -> Sequence[Task]:
        """The tasks that a task depends on, as far as they have been added."""
        labels = self.ahead.get(task)
        if labels is None:
            return task.needs
        found = map(self.tasks.get, labels)
        return [each for each in found if each is not None]

    def users(self, task: Task) -> int:
        """How many tasks depend on one, during the run; 0 before it and after it."""
        return len(self.dependents[task.index]) if self.dependents else 0

    def _remove_last(self, task: Task) -> None:
        """Undo an `add`, without asking the labels anything.

        Empty lists may stay, and so may the task in a component, where nobody sees it.
        That is why it must not be added again.
        """
        if self.tasks and next(reversed(self.tasks.values())) is task:
            self.tasks.popitem()
        del self.dependents[len(self.tasks) :]
        self.ahead.pop(task, None)
        for namers in self.missing.values():
            if namers and namers[-1] is task:
                namers.pop()

    def _link_all(self, order: List[Task]) -> None:
        """Fill in `dependents`, which each `add` goes on with."""
        if len(self.dependents) == len(order):
            return
        # All labels are looked up before anything is changed, as they may raise.
        if self.ahead:
            needs = [self.needs(task) for task in order]
        else:
            needs = [task.needs for task in order]
        dependents: List[Any] = [()] * len(order)
        _link(dependents, order, needs)
        self.dependents[:] = dependents  # at once, as an interrupt may come

    def _place_all(self) -> None:
        """Place every task, and from now on each that is added."""
        tasks = list(self.tasks.values())
        known: List[List[Task]] = [[] for _ in tasks]
        namers: List[List[Task]] = [[] for _ in tasks]
        for task in tasks:
            for needed in self.needs(task):
                if needed.index < task.index:
                    known[task.index].append(needed)
                else:
                    namers[needed.index].append(task)
        for task in tasks:
            self._place(task, known[task.index], namers[task.index])
            _join(task)
        self._ordered = True

    def _place(self, task: Task, known: List[Task], namers: Sequence[Task]) -> None:
        """Find order and component of a new task, or raise if it closes a cycle.

        :param known: those that it depends on, as far as they have been added.
        """
        if not (known or namers):
            task.order, task.component = 0, ()
            return
        component = (known or namers)[0].component
        low = known[0].order if known else 0
        high = namers[0].order if namers else 0
        apart = not component
        for each in known:
            if each.component is not component:
                apart = True
            elif each.order > low:
                low = each.order
        for each in namers:
            if each.component is not component:
                apart = True
            elif each.order < high:
                high = each.order
        if apart:
            _merge(known, namers)
            self._place(task, known, namers)
            return
        task.component = component
        if not namers:
            task.order = low + GAP
        elif not known:
            task.order = high - GAP
        elif high - low > 1:
            task.order = low + min((high - low) // 2, GAP)
        else:
            self._make_room(task, known, namers)

    def _make_room(
        self, task: Task, known: Sequence[Task], namers: Sequence[Task]
    ) -> None:
        """Find the order of a task by moving others, or raise if it closes a cycle."""
        self._link_all(list(self.tasks.values()))
        down, up = Search(known, task, -1), Search(namers, task, +1)
        for needed in known:
            if needed in up.origins:
                raise cycle(needed, down, up, task)
        room = 2
        while down.heap and up.heap:
            lowest, highest = down.heap[0], up.heap[0]
            # The square keeps the gaps from becoming too narrow too soon.
            if lowest[0] + highest[0] >= room**2:
                break
            room += 1
            price, dependents = lowest[2].blockers, self.dependents[highest[2].index]
            if down.paid + price <= up.paid + len(dependents):
                met = down.visit(self.needs(lowest[2]), price, up)
            else:
                met = up.visit(dependents, len(dependents), down)
            if met is not None:
                raise cycle(met, down, up, task)
        move_apart(task, down, up)


def _in_order(tasks: List[Task]) -> bool:
    """Whether their indexes are those of their places."""
    for index, task in enumerate(tasks):  # a comparison of lists holds up other threads
        if task.index != index:
            return False
    return True


def _merge(known: Sequence[Task], namers: Sequence[Task]) -> None:
    """Bring all tasks to the largest of their components, one gap around a new task."""
    component = max([each.component for each in (*known, *namers)], key=len)
    if not component:
        first = (*known, *namers)[0]
        component = first.component = [first]
    low = [each.order for each in known if each.component is component]
    high = [each.order for each in namers if each.component is component]
    order = max(low) + GAP if low else min(high) - GAP
    for each in known:
        if each.component is not component:
            _shift(each, order - GAP, component)
    for each in namers:
        if each.component is not component:
            _shift(each, order + GAP, component)


def _shift(task: Task, order: int, component: Sequence[Task]) -> None:
    """Bring a task, with all of its component, to another, so that it has an order."""
    distance = order - task.order
    moved = task.component or [task]
    for each in moved:
        each.order += distance
        each.component = component
    component.extend(moved)  # type: ignore[attr-defined]


def _link(
    dependents: List[Any], tasks: Iterable[Task], needs: Iterable[Sequence[Task]]
) -> None:
    """Note, by the index of what each task needs, that this task depends on it."""
    for task, needed in zip(tasks, needs):
        for each in needed:
            known = dependents[each.index]
            if known:
                known.append(task)
            else:
                dependents[each.index] = [task]


def _join(task: Task) -> None:
    """Add a task that has been placed to its component, if it has one."""
    if task.component:
        task.component.append(task)  # type: ignore[attr-defined]
