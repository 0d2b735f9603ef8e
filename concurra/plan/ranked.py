"""The tasks that can start now, by priority, as long as resources are free: pure.

::

    groups of tasks that ask for the same      each with its own order
    ─────────────────────────────────────      ───────────────────────────
    {}               ──> heap ─┐
    {"db": 1}        ──> heap ─┼─> heads ──> the best whose group fits is next
    {"db": 2}        ──> heap ─┘
                          │
                          └ blocked, until enough of what it lacks is free

Tasks that ask for the same can start, or cannot, all together. So to find the next one
takes O(log n), and a blocked task blocks none behind it. A group that is blocked is
looked at again when as much is free as it asks for, or when a better task joins it.
"""

from __future__ import annotations

from heapq import heappop, heappush

from ..tasks import Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Set
    from typing import Tuple

    from .tries import Tries

    #: The highest priority first, then the order of adding.
    Rank = Tuple[int, int]


class _Group:
    """Ready tasks that ask for the same.

    :ivar blocked: the resource that it waits for; None if it is in line.
    """

    __slots__ = ("needs", "number", "heap", "blocked")

    def __init__(self, needs: Mapping[str, int], number: int) -> None:
        self.needs = needs
        self.number = number
        self.heap: List[Rank] = []
        self.blocked: Optional[str] = None


class Ranked:
    """See `ready.Ready`, whose methods these are.

    :param capacity: how much there is of each resource.
    """

    def __init__(self, capacity: Mapping[str, int], tries: Tries) -> None:
        self._tries = tries
        self._capacity = capacity
        self._order: Sequence[Task] = ()
        self._groups: Dict[Any, _Group] = {}
        self.clear()

    def clear(self, held: Iterable[Mapping[str, int]] = ()) -> None:
        """See `Ready.clear`."""
        self._free = dict(self._capacity)
        for each in held:
            for kind, amount in each.items():
                self._free[kind] -= amount
        self._waiting: Set[Task] = set()
        # The head of each group that is not blocked. A group may be there with heads
        # that it had before, which are passed over.
        self._heads: List[Tuple[Rank, int, _Group]] = []
        self._shown: Set[_Group] = set()  # those that have one
        self._blocked: Dict[str, List[Tuple[Rank, int, _Group]]] = {}
        for group in self._groups.values():
            group.heap.clear()
            group.blocked = None

    def __len__(self) -> int:
        return len(self._waiting)

    def more_than(self, many: int) -> bool:
        """See `Ready.more_than`; exact if ``many`` is 0."""
        if self._next() is None:
            return False
        for group in self._shown:
            startable = len(group.heap)
            for kind, amount in group.needs.items():
                startable = min(startable, self._free[kind] // amount)
            many -= startable
            if many < 0:
                return True
        return False

    def open(self, order: Sequence[Task]) -> None:
        """See `Ready.open`."""
        self._order = order
        for task in order:
            if not (task.blockers or task.outcome):
                self.add_again(task)

    def add(self, index: int) -> None:
        """See `Ready.add`."""
        self.add_again(self._order[index])

    def add_again(self, task: Task) -> None:
        """See `Ready.add_again`."""
        needs = task.options.resources
        key = tuple(sorted(needs.items())) if needs else ()
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(needs, len(self._groups))
        self._waiting.add(task)
        rank = -task.options.priority, task.index
        heappush(group.heap, rank)
        if group.heap[0] is rank:
            group.blocked = None  # with this better task it tries again
            self._show(group)

    def take(self, now: float) -> Optional[Task]:
        """See `Ready.take`; what the task asks for is held from now on."""
        group = self._next()
        if group is None:
            return None
        task = self._pop(group)
        self._waiting.discard(task)
        for kind, amount in group.needs.items():
            self._free[kind] -= amount
        if task.started is None:
            task.started = now
            task.attempts = 1
        else:
            task.attempts += 1
            self._tries.began(task, now)
        return task

    def _next(self) -> Optional[_Group]:
        """The group whose first task is next.

        Groups before it that lack something are blocked from now on.
        """
        heads = self._heads
        while heads:
            rank, _, group = heads[0]
            if group.blocked or not group.heap or group.heap[0] != rank:
                heappop(heads)
                continue
            if self._order[rank[1]] not in self._waiting:  # it has ended
                self._pop(group)
                for kind in group.needs:
                    self._offer(kind)  # others can have what was offered to it
                continue
            lacking = self._lacking(group.needs)
            if lacking is None:
                return group
            heappop(heads)
            self._shown.discard(group)
            group.blocked = lacking
            entry = rank, group.number, group
            heappush(self._blocked.setdefault(lacking, []), entry)
            for kind in group.needs:
                self._offer(kind)  # others can have what is of no use to it
        return None

    def _pop(self, group: _Group) -> Task:
        """Take the first task of the first group out; the group shows its next one."""
        heappop(self._heads)
        self._shown.discard(group)
        _, index = heappop(group.heap)
        self._show(group)
        return self._order[index]

    def _lacking(self, needs: Mapping[str, int]) -> Optional[str]:
        """A kind of which not enough is free."""
        for kind, amount in needs.items():
            if amount > self._free[kind]:
                return kind
        return None

    def _show(self, group: _Group) -> None:
        if group.heap:
            self._shown.add(group)
            heappush(self._heads, (group.heap[0], group.number, group))

    def release(self, held: Mapping[str, int]) -> None:
        """See `Ready.release`."""
        for kind, amount in held.items():
            self._free[kind] += amount
        for kind in held:
            self._offer(kind)

    def _offer(self, kind: str) -> None:
        """Let groups that are blocked for want of a resource try again.

        The best first, and only as many as there is enough for: if one of them lacks
        something else, too, it is the next one's turn.
        """
        free, blocked = self._free[kind], self._blocked.get(kind)
        passed = []
        while blocked and free > 0:
            entry = heappop(blocked)
            rank, _, group = entry
            if group.blocked != kind or group.heap[0] != rank:
                continue  # it has tried again meanwhile
            if group.needs[kind] > free:
                passed.append(entry)
                continue
            free -= group.needs[kind]
            group.blocked = None
            self._show(group)
        for entry in passed:
            heappush(blocked, entry)  # type: ignore[arg-type]

    def drop(self, task: Task, ready: bool = False) -> None:
        """See `Ready.drop`."""
        self._waiting.discard(task)
