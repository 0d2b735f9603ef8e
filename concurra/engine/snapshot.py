"""A run at one moment: what is at work, and how far it has come.

Events do not tell this: whoever wants to know looks, as often as needed. So it costs
nothing if nobody looks.
"""

from __future__ import annotations

from .slots import AT_WORK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Collection, Dict, Hashable, List, Optional, Tuple

    from ..types import ExecutionMode
    from .slots import Slot

    #: How many are done, and how many there are, if that is known.
    Items = Tuple[int, Optional[int]]


class AtWork:
    """A task that is at work.

    :param label: its label.
    :param name: as in the table of the report.
    :param attempt: the number of the attempt, from 1 on.
    :param seconds: how long ago the task was started, its earlier attempts included.
    :param mode: how it is run, once that is known.
    :param output: what it has printed so far, by ``str()``; None if that is not known.
    :param items: of a map, how many items are done, and how many there are, or None if
        that is not known. None if the task is no map.
    """

    __slots__ = ("label", "name", "attempt", "seconds", "mode", "output", "items")

    def __init__(
        self,
        label: Hashable,
        name: str,
        attempt: int,
        seconds: float,
        mode: Optional[ExecutionMode] = None,
        output: Optional[object] = None,
        items: Optional[Items] = None,
    ) -> None:
        self.label = label
        self.name = name
        self.attempt = attempt
        self.seconds = seconds
        self.mode = mode
        self.output = output
        self.items = items

    def __repr__(self) -> str:
        return f"<AtWork {self.label!r}, {self.seconds:.1f} sec>"


class Snapshot:
    """How far a run has come.

    :param name: the runner's.
    :param seconds: how long ago it was started; 0 if it was not.
    :param counts: how many tasks are in which state.
    :param at_work: what is at work, the longest first.
    :param restored: how many tasks have ended without being run, thanks to a
        checkpoint.
    :param quiet: how long ago the last task has ended; 0 if none has.
    """

    __slots__ = ("name", "seconds", "counts", "at_work", "restored", "quiet")

    def __init__(
        self,
        name: str,
        seconds: float,
        counts: Dict[str, int],
        at_work: List[AtWork],
        restored: int = 0,
        quiet: float = 0.0,
    ) -> None:
        self.name = name
        self.seconds = seconds
        self.counts = counts
        self.at_work = at_work
        self.restored = restored
        self.quiet = quiet

    def __repr__(self) -> str:
        told = f"{self.ended} of {self.total} ended, {len(self.at_work)} at work"
        return f"<Snapshot {self.name!r} after {self.seconds:.1f} sec: {told}>"

    @property
    def total(self) -> int:
        """How many tasks there are."""
        return sum(self.counts.values())

    @property
    def ended(self) -> int:
        """How many tasks have ended."""
        counts = self.counts
        return counts["successful"] + counts["failed"] + counts["terminated"]

    @property
    def rest(self) -> Optional[float]:
        """The seconds that are left, if it goes on as it did; None if that is unknown.

        It counts tasks, as nothing is known of their sizes. If none has ended for
        longer than that, those that are left take longer than those before.
        """
        done, left = self.ended - self.restored, self.total - self.ended
        if done <= 0:
            return None
        rest = self.seconds / done * left
        return None if left and self.quiet > rest else rest


def at_work(slots: Collection[Slot], now: float) -> List[AtWork]:
    """What the slots are at, the longest first; for any thread, without their lock.

    They may go on meanwhile: what is told of a task is its own, though.
    """
    found, wholes = [], set()
    for slot in list(slots):
        task, worker = slot.task, slot.worker
        if slot.state != AT_WORK or task is None or worker is None:
            continue
        at_hand, started = worker.at_hand, task.started
        if slot.task is not task or task.outcome is not None or started is None:
            continue  # it has just ended: what is at hand may be another's
        whole = task.whole or task
        if whole in wholes:
            continue  # many slots are at it
        wholes.add(whole)
        seconds = max(0.0, now - started)
        mode, output = at_hand.mode, at_hand.transcript
        items = getattr(whole.job, "progress", None)  # see `maps.job`
        about = task.label, task.name, task.attempts
        found.append(AtWork(*about, seconds, mode, output, items))
    found.sort(key=lambda each: -each.seconds)
    return found
