"""What a slot is at: exactly one of five states.

::

              ┌────────> PARKED ──────────┐
              │             │             │
              └── COMING <──┘             │
                  │    ^                  v
                  v    │                 GONE   from every state
                 AT_WORK ──> STOPPING ──> │

COMING    on its way to take a task; it may have something to do before
PARKED    without a task, until one is ready
AT_WORK   at a task
STOPPING  its worker is being stopped; nothing that it says counts any more
GONE      nobody waits for it

STOPPING never goes back, so a stop can hit no other task than the one it was meant for.
GONE is legal from every state, so a slot that dies anywhere costs nothing else.
"""

from __future__ import annotations

import itertools

from .outcomes import NOTHING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Final, List, Mapping, Optional, Set

    from .outcomes import AtHand, Outcome
    from .tasks import Task
    from .workers import Worker

COMING: Final = 0
PARKED: Final = 1
AT_WORK: Final = 2
STOPPING: Final = 3
GONE: Final = 4

#: The states that may follow each state.
NEXT: Final = (
    (PARKED, AT_WORK, STOPPING, GONE),
    (COMING, GONE),
    (COMING, STOPPING, GONE),
    (GONE,),
    (),
)


class Slot:
    """A place for one task at a time, and the worker that does it.

    ``worker`` is None until the slot is started. ``outcome`` and ``moment`` are how and
    when the task at hand has ended, as long as that has not been recorded; then
    ``following`` is the task that was taken next. ``claim`` tells whose visit has
    taken the task of a slot that was coming; the slot ``came`` if it has ever come.
    ``departures`` is how many had left when it took its task, ``held`` are the
    resources that it holds for it, and ``began`` is when the attempt did, if that has a
    timeout. A task that is ``retrying`` waits until the slot has gone. ``step`` is how
    far its stop has come, and the next step is ``due`` then; it ``resigned`` if it is
    not stopped, but leaves for want of what its worker needs; it has ``left`` once its
    worker is being closed. ``handed`` has the task that a thread is to begin, and
    ``tickets`` are for two that bring the end of one job: see `serving`.
    """

    __slots__ = (
        "state",
        "worker",
        "task",
        "outcome",
        "moment",
        "following",
        "claim",
        "came",
        "departures",
        "held",
        "began",
        "retrying",
        "step",
        "due",
        "left",
        "handed",
        "resigned",
        "tickets",
    )

    def __init__(self) -> None:
        self.state = COMING
        self.worker: Optional[Worker] = None
        self.task: Optional[Task] = None
        self.outcome: Optional[Outcome] = None
        self.moment = 0.0
        self.following: Optional[Task] = None
        self.claim: object = None
        self.came = False
        self.departures = 0
        self.held: Mapping[str, int] = {}
        self.began = 0.0
        self.retrying: Optional[Task] = None
        self.step = 0
        self.due = 0.0
        self.left = False
        self.handed: List[Task] = []
        self.resigned = False
        self.tickets = itertools.count()

    def leave(self) -> Optional[Worker]:
        """Its worker, if it has one, which is to be closed; only once.

        The worker can still be told to hurry until that is done.
        """
        worker = None if self.left else self.worker
        self.left = True
        return worker

    def dismiss(self) -> AtHand:
        """Have its worker begin no further job; what is at hand."""
        return NOTHING if self.worker is None else self.worker.dismiss()


class Slots:
    """The slots of a run that have not gone, and how many are in each state."""

    def __init__(self) -> None:
        self.all: Set[Slot] = set()
        #: Those that wait; the last one is the next to be woken.
        self.parked: Dict[Slot, None] = {}
        #: How many there are in each state; those that have gone are not counted.
        self.count = [0, 0, 0, 0, 0]
        #: How many may take a task, now or later.
        self.staff = 0

    def new(self) -> Slot:
        """A slot that is coming."""
        slot = Slot()
        self.all.add(slot)
        self.count[COMING] += 1
        self.staff += 1
        return slot

    def move(self, slot: Slot, state: int) -> None:
        """Bring a slot to its next state; the only way to change one."""
        old = slot.state
        assert state in NEXT[old], f"a slot cannot go from {old} to {state}"
        slot.state = state
        count = self.count
        count[old] -= 1
        count[state] += 1
        if state == PARKED:
            self.parked[slot] = None
        elif old == PARKED:
            del self.parked[slot]
        if state >= STOPPING:
            if old < STOPPING:
                self.staff -= 1
            if state == GONE:
                count[GONE] = 0
                self.all.discard(slot)

    @property
    def busy(self) -> int:
        """How many the end of the run has to wait for."""
        count = self.count
        return count[COMING] + count[AT_WORK] + count[STOPPING]

    def rebuild(self) -> None:
        """Make the counts anew, after a move was cut short."""
        self.all = {slot for slot in self.all if slot.state != GONE}
        self.parked = {slot: None for slot in self.all if slot.state == PARKED}
        states = [slot.state for slot in self.all]
        self.count = [states.count(state) for state in range(5)]
        self.staff = sum(self.count[:STOPPING])
