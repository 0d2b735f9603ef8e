"""How many slots a run may have, and when that changes. Pure.

A process costs more than a short task. So where each slot has one, a run begins with as
many slots as there are cores. The limit doubles while that does not do: tasks wait, all
processes are ready, and few tasks end. See `Limit.look`.

No more processes, threads or files: that is a limit like any other. The task goes back,
the slot leaves, and lets go of what it has. Whoever fails beside it tries again once it
has gone, so a want is final only for a slot that is alone.
"""

from __future__ import annotations

from ..outcomes import LOST, UNAVAILABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Optional, Set

    from ..outcomes import Outcome
    from ..tasks import Task
    from .slots import Slot, Slots

#: What is to become of a task that has not begun, and of its slot.
SETTLE: Final = "settle"  # the outcome is the task's
AGAIN: Final = "again"  # the slot tries again
AGAIN_ONCE: Final = "again once"  # the same, but once for a task
LEAVE: Final = "leave"  # the slot leaves, and others take the task

#: Seconds from one look whether the limit is to rise to the next.
STEP: Final = 0.002

#: Tasks that end in a second: if it is more, then handing them out is what takes the
#: time, and more processes would not help.
MANY: Final = 10_000

#: Seconds in which a worker becomes ready, or may never: others come nevertheless.
LONG: Final = 5.0


class Look:
    """What was seen when it was looked whether the limit is to rise.

    :param moment: when that was; when workers began to start, if they still do.
    :param ended: how many tasks had ended.
    :param counts: whether the next look may compare itself with this one.
    :param starting: whether a worker was still on its way.
    """

    __slots__ = ("moment", "ended", "counts", "starting")

    def __init__(
        self, moment: float, ended: int, counts: bool, starting: bool = False
    ) -> None:
        self.moment = moment
        self.ended = ended
        self.counts = counts
        self.starting = starting


class Limit:
    """The limit of a run: it sinks when no more can be had, and rises again.

    :param most: how many slots there may be at the most.
    :param at_first: how many there may be when the run begins; None for all.
    """

    def __init__(self, most: int, at_first: Optional[int] = None) -> None:
        self._most = most
        #: How many slots there may be.
        self.now = most if at_first is None else min(at_first, most)
        #: Whether more are allowed as soon as they would help: see `look`.
        self.rises = self.now < most
        #: Whether a look is to come.
        self.watched = False
        #: How many slots have gone.
        self.departures = 0
        self._again: Set[Task] = set()  # they lost a worker before they began

    def look(
        self, last: Optional[Look], now: float, ended: int, wanted: bool, starting: bool
    ) -> Optional[Look]:
        """Let there be twice as many slots if that would help; for the next look.

        Two looks are compared if tasks were waiting at both. The first one after a rise
        is not, as much that happens once happens then, nor any while workers start. If
        few tasks end, all slots are there some time, whatever becomes of workers.

        :param last: what this returned, None if there is none.
        :param now: seconds.
        :param ended: how many tasks have ended.
        :param wanted: whether tasks wait for more slots than there may be.
        :param starting: whether a worker is still on its way.
        :returns: None if there is no need to look again.
        """
        if not self.rises or not (wanted or last is None or last.counts):
            return None
        counts = wanted and last is not None
        if last is not None and last.counts and counts:
            seconds = now - last.moment
            if seconds < LONG and (starting or last.starting):
                return Look(last.moment if starting else now, ended, True, starting)
            if ended - last.ended < MANY * seconds:
                self.now = min(2 * self.now, self._most)
                self.rises = self.now < self._most
                counts = False
        return Look(now, ended, counts)

    def rise(self) -> None:
        """Allow all slots at once."""
        if self.rises:
            self.now, self.rises = self._most, False

    def gone(self, stopped: bool, last: bool) -> None:
        """A slot has gone, and what it has held is free.

        :param stopped: it was stopped, so there is room for another.
        :param last: nobody else is there, so one may try again.
        """
        self.departures += 1
        if stopped and not self.rises:
            self.now = min(self.now + 1, self._most)
        if last:
            self.now = max(self.now, 1)

    def rebuild(self, slots: Slots) -> None:
        """A decision was cut short: a slot may have left twice, or gone uncounted.

        A look that was to come may not: whoever needs one asks for it once more.
        """
        self.watched = False
        self.gone(False, not slots.all)

    def is_final(self, slot: Slot, slots: Slots) -> bool:
        """Whether what a slot lacks is lacking though nobody else has any of it."""
        alone = len(slots.all) == 1 and not self.rises
        return alone and slot.departures == self.departures

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
        return LEAVE if self.rises or any(o.came for o in others) else SETTLE

    def note_again(self, task: Task) -> None:
        """A task has been given back, for the one time."""
        self._again.add(task)

    def lower(self, now: int) -> None:
        """There are workers for so many slots, of those that were allowed.

        All others are allowed now: the want may have passed, or lowers it once more.
        """
        lacking = self.now - now
        self.rise()
        self.now -= lacking
