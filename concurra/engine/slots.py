"""What a slot is at: exactly one of five states.

::

              ┌────────> PARKED ──────────┐
              │             │             │
              └── COMING <──┘             │
                  │    ^                  v
                  v    │                 GONE   from every state
                 AT_WORK ──> STOPPING ──> │

COMING    on its way to take a task; it may have something else to do first
PARKED    without a task, until one is ready
AT_WORK   at a task
STOPPING  its worker is being stopped; nothing that it says counts any more
GONE      nobody waits for it

STOPPING never goes back, so a stop can hit no other task than the one it was meant for.
GONE is legal from every state, so a slot that dies anywhere costs nothing else.
"""

from __future__ import annotations

import itertools

from ..outcomes import NOTHING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Final, List, Mapping, Optional, Set

    from ..outcomes import AtHand, Outcome
    from ..tasks import Task
    from ..workers import Worker

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
    """A place for one task at a time, and the worker that does it."""

    __slots__ = (
        *("state", "worker", "task", "outcome", "moment", "free", "following", "claim"),
        *("came", "departures", "held", "began", "handed", "tickets"),
        *("retrying", "step", "due", "leaving", "worker_taken"),
    )

    def __init__(self) -> None:
        self.state = COMING
        #: None until the slot is started.
        self.worker: Optional[Worker] = None

        #: What it is at.
        self.task: Optional[Task] = None
        #: How and when that has ended, as long as it has not been recorded.
        self.outcome: Optional[Outcome] = None
        self.moment = 0.0
        #: When it was ready for another one, if that was later than the end of a task.
        self.free = 0.0
        #: The task that was taken when that was recorded.
        self.following: Optional[Task] = None
        #: The claim of the `RunState.come` that has taken the last task.
        self.claim: object = None
        #: Whether it has ever come.
        self.came = False
        #: How many slots had gone when it took its task.
        self.departures = 0
        #: The resources that it holds for its task.
        self.held: Mapping[str, int] = {}
        #: When the attempt began, if that has a timeout.
        self.began = 0.0
        #: The task that a thread is to begin.
        self.handed: List[Task] = []
        #: For two that bring the end of one job: see `serving`.
        self.tickets = itertools.count()

        #: A task whose next attempt waits until this slot has gone.
        self.retrying: Optional[Task] = None
        #: How far its stop has come, and when the next step is due.
        self.step = 0
        self.due = 0.0
        #: Whether it leaves because no worker could be had, and was not stopped.
        self.leaving = False
        #: See `take_worker`.
        self.worker_taken = False

    def is_starting(self) -> bool:
        """Whether what is to do its task is still on its way."""
        worker = self.worker
        if self.state == AT_WORK and worker is not None:
            return worker.is_starting()
        return self.state == COMING and not self.came

    def take_worker(self) -> Optional[Worker]:
        """Its worker, if it has one, which is to be closed; only once.

        The worker can still be told to hurry until that is done.
        """
        worker = None if self.worker_taken else self.worker
        self.worker_taken = True
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
