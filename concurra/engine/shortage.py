"""How many slots a run may have, and what a want of workers does to that. Pure.

No more processes, threads or files: that is a limit like any other. The task goes back,
the slot leaves, and lets go of what it has. Whoever fails beside it tries again once it
has gone, so a want is final only for a slot that is alone.
"""

from __future__ import annotations

from ..outcomes import LOST, UNAVAILABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Set

    from ..outcomes import Outcome
    from ..tasks import Task
    from .slots import Slot, Slots

#: What is to become of a task that has not begun, and of its slot.
SETTLE: Final = "settle"  # the outcome is the task's
AGAIN: Final = "again"  # the slot tries again
AGAIN_ONCE: Final = "again once"  # the same, but once for a task
LEAVE: Final = "leave"  # the slot leaves, and others take the task


class Limit:
    """The limit of a run: it sinks when no more can be had, and rises again.

    :param most: how many slots there may be at the most.
    """

    def __init__(self, most: int) -> None:
        self._most = self.now = most
        #: How many slots have gone.
        self.departures = 0
        self._again: Set[Task] = set()  # they lost a worker before they began

    def gone(self, stopped: bool, last: bool) -> None:
        """A slot has gone, and what it has held is free.

        :param stopped: it was stopped, so there is room for another.
        :param last: nobody else is there, so one may try again.
        """
        self.departures += 1
        if stopped:
            self.now = min(self.now + 1, self._most)
        if last:
            self.now = max(self.now, 1)

    def rebuild(self, slots: Slots) -> None:
        """A decision was cut short: a slot may have left twice, or gone uncounted."""
        self.gone(False, not slots.all)

    def is_final(self, slot: Slot, slots: Slots) -> bool:
        """Whether what a slot lacks is lacking though nobody else has any of it."""
        return len(slots.all) == 1 and slot.departures == self.departures

    def decide(self, slot: Slot, task: Task, outcome: Outcome, slots: Slots) -> str:
        """What becomes of a task that may not have begun.

        One that was lost before it began is tried again, once. For want of a process or
        the like, the slot tries again if another has gone meanwhile. Otherwise it goes,
        and leaves the task to others that are there, or to whoever comes when they have
        gone as well; not to one on its way, as it may not arrive.
        """
        if outcome.cause is LOST and outcome.mode is None:
            return SETTLE if task in self._again else AGAIN_ONCE
        if outcome.cause is not UNAVAILABLE:
            return SETTLE
        if slot.departures != self.departures:
            return AGAIN
        others = (other for other in slots.all if other is not slot)
        return LEAVE if any(other.came for other in others) else SETTLE

    def note_again(self, task: Task) -> None:
        """A task has been given back, for the one time."""
        self._again.add(task)

    def lower(self) -> None:
        """A slot leaves for want of a worker."""
        self.now -= 1
