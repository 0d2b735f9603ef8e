"""What is to be done at which moment: deadlines of tasks, and the ends of victims.

Pure: it is told what time it is, and its owner holds a lock.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from .tasks import Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Protocol, Tuple
else:
    Protocol = object

FOREVER = float("inf")


class Stoppable(Protocol):
    """What can be asked, and forced, to stop."""

    def stop(self, force: bool = False) -> bool:
        """See `Worker.stop`."""

    def abandon(self) -> None:
        """See `Hand.abandon`."""


class Doomed(Protocol):
    """What a victim is made of: a hand, and what has become of its thread.

    It is ``dismissed`` if nothing that it does counts any more, and has ``left`` if
    nobody waits for it.
    """

    dismissed: bool
    left: bool

    @property
    def hand(self) -> Stoppable:
        """What is to be stopped."""


class Victim:
    """A worker to be stopped at the ``moment``, if it is still there.

    First it is asked to stop, then forced; then nobody waits for it any longer.
    """

    __slots__ = ("slot", "moment", "stage")

    def __init__(self, slot: Doomed, moment: float) -> None:
        self.slot = slot
        self.moment = moment
        self.stage = 0


class Agenda:
    """Deadlines and victims, by moment."""

    def __init__(self) -> None:
        self._deadlines: List[Tuple[float, int, Task]] = []
        self._victims: List[Victim] = []

    def add_deadline(self, task: Task, moment: float) -> None:
        """Have a task ended at ``moment``, unless it ends before."""
        self._drop_ended()
        heappush(self._deadlines, (moment, task.index, task))

    def remove_deadline(self, task: Task) -> None:
        """Have a task not ended; costs O(n)."""
        self._deadlines = [entry for entry in self._deadlines if entry[2] is not task]
        heapify(self._deadlines)

    def overdue(self, now: float) -> List[Task]:
        """Remove, and return, the tasks whose time is over."""
        tasks = []
        while self._deadlines and self._deadlines[0][0] <= now:
            task = heappop(self._deadlines)[2]
            if task.outcome is None:
                tasks.append(task)
        self._drop_ended()
        return tasks

    def add_victim(self, slot: Doomed, now: float) -> None:
        """Have a worker stopped, from now on."""
        self._victims.append(Victim(slot, now))

    def due(self, now: float, force: bool) -> List[Victim]:
        """The victims for whom something is to be done now.

        :param force: leave no time to those who have not been forced yet.
        """
        self._victims = [victim for victim in self._victims if not victim.slot.left]
        for victim in self._victims if force else ():
            if victim.stage < 2:
                victim.moment, victim.stage = now, 1
        return [victim for victim in self._victims if victim.moment <= now]

    def has_victims(self, alive: bool = False) -> bool:
        """Whether there are any.

        :param alive: count only those who have not left.
        """
        if alive:
            return any(not victim.slot.left for victim in self._victims)
        return bool(self._victims)

    def next_moment(self) -> float:
        """When there is something to do next."""
        moments = [victim.moment for victim in self._victims]
        moments.extend(moment for moment, _, _ in self._deadlines[:1])
        return min(moments, default=FOREVER)

    def _drop_ended(self) -> None:
        deadlines = self._deadlines
        while deadlines and deadlines[0][2].outcome is not None:
            heappop(deadlines)
