"""Everything that is decided during a run: events in, effects out. Pure.

::

    open, come, ended, gone, unavailable, expire, stop       what happened, and when
                          │
                          v
              plan + slots + moments
                          │
                          v
    START slot · STOP slot · ABANDON slot · AT moment · KILL · FINISH

It knows no thread, lock, clock or log. Whoever owns it holds a lock meanwhile, and does
the effects after that, in order. Of a worker it asks only what takes no time and calls
nobody: what is at hand, and to begin no further job (`Worker.dismiss`).

Each effect can be done twice: its slot's state tells whether it is still called for. So
all of them can be found again, if an exception that was meant for a task (see `plan`)
has cut a decision short, or what follows from it: see `rebuild`.
"""

from __future__ import annotations

from collections import deque

from .outcomes import LOST, NOTHING, SUCCESS, UNAVAILABLE, Outcome
from .slots import AT_WORK, COMING, GONE, PARKED, STOPPING, Slot, Slots
from .tasks import Task
from .timers import FOREVER, Moments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Deque, Dict, Final, List, Optional, Set, Tuple

    from .events import Events
    from .plan import Plan

    #: What is to be done, to which slot, and how.
    Effect = Tuple[str, Optional[Slot], Any]

START: Final = "start"  # let the slot come: its worker may have to be hired first
STOP: Final = "stop"  # ask its worker to stop, or force it
ABANDON: Final = "abandon"  # nobody waits for its worker any more
AT: Final = "at"  # tell of the moment when it has come
KILL: Final = "kill"  # kill all that is left, without any grace
FINISH: Final = "finish"  # everything has ended


class RunState:
    """The state of a run, and every decision.

    :param plan: checked, and the run's own from now on.
    :param events: where it is recorded which tasks have ended.
    :param limit: how many tasks may be at work together.
    :param timeout: seconds that a task may take, its retries included; None for ever.
    :param grace: seconds between asking a worker to stop and forcing it.
    :param fast_fail: whether the first task that goes wrong ends all others.
    """

    def __init__(
        self,
        plan: Plan,
        events: Events,
        *,
        limit: int,
        timeout: Optional[float] = None,
        grace: float = 1.0,
        fast_fail: bool = False,
    ) -> None:
        self.plan = plan
        self.events = events
        self.slots = Slots()
        #: What is to be done; whoever has left the lock takes from the left.
        self.effects: Deque[Effect] = deque()
        #: Whether nothing is to be started any more.
        self.stopped = False
        #: Whether everything has ended, and no slot is busy.
        self.over = False
        self._most = self._limit = limit  # the latter sinks when no more can be had
        self._timeout = timeout
        self._seconds = FOREVER if timeout is None else float(timeout)
        self._grace = grace
        self._fast_fail = fast_fail
        self._opened = self._preparing = False
        self._abandoning = 0  # workers that are to release what they hold
        self._departures = 0  # how many slots have gone that were stopped
        self._excused: Set[Task] = set()  # they lost a worker before they began
        self._moments = Moments(_is_stale)
        #: When the state is to be told what time it is.
        self.next_moment = FOREVER

    def open(self) -> bool:
        """The run begins, unless it has been stopped: see which tasks are ready."""
        if self.stopped or self._opened:
            return False
        self.plan.open()
        self._opened = self._preparing = True
        return True

    def call(self, late: int = 0) -> None:
        """Let slots come: all is prepared, or so many that are coming may be late."""
        self._preparing = False
        self._call(late)
        self._check_end()

    def come(self, slot: Slot, claim: object, now: float) -> Tuple[int, Optional[Task]]:
        """A slot has come for a task; its state, and the task that it has taken.

        If it is parked then, or said to be, it is not the caller's to serve any more:
        only one of those who come takes a task.

        :param claim: a new object for each call, by which it is known if it is decided
            once more.
        """
        if slot.state >= STOPPING:
            return slot.state, None
        if slot.state != COMING:
            mine = slot.state == AT_WORK and slot.claim is claim
            return (AT_WORK, slot.task) if mine else (PARKED, None)
        slot.claim = claim
        slot.came = True
        task = self.plan.take(now)
        if task is None:
            self.slots.move(slot, PARKED)
        else:
            self._begin(slot, task, now)
            self.slots.move(slot, AT_WORK)
        self._call()
        self._check_end()
        return slot.state, task

    def ended(self, slot: Slot) -> None:
        """The job of a slot has come to its outcome, at its moment.

        Either the slot has a ``following`` task then, or it is to `come`: there is
        something to do first, or no task is ready.
        """
        task, outcome, now = slot.task, slot.outcome, slot.moment
        if slot.state != AT_WORK:
            slot.following = None
            return  # nothing that it says counts any more
        if task is None or outcome is None:
            slot.following = task  # it has been decided before
            return
        plan, slots, events = self.plan, self.slots, self.events
        if outcome.cause is SUCCESS:
            plan.settle(task, outcome, now)
            ended = len(plan.ended)
            if outcome.warning is None and events.ended + 1 == ended != events.next:
                events.ended = ended  # nobody wants to know of it
            else:
                events.record(plan.ended, now)
        elif not self._give_back(slot, task, outcome):
            self._settle(task, outcome, now)
        slot.task = slot.following = None  # from here on it is recorded
        slot.outcome = None
        if slot.state != AT_WORK:
            return
        if not (events.unread or slot.worker.retired):  # type: ignore[union-attr]
            full = slots.staff >= self._limit and not slots.parked
            if full or len(plan.ready) <= slots.count[COMING] + 1:
                following = plan.take(now)
                if following is not None:
                    self._begin(slot, following, now)
                    slot.following = following
                    return
        slots.move(slot, COMING)
        self._call()

    def gone(self, slot: Slot, now: float) -> None:
        """Nobody serves a slot any more; a task that it has taken has not begun."""
        if slot.state == GONE:
            return
        task, stopped = slot.task, slot.state == STOPPING and not slot.resigned
        slot.task = None
        self.slots.move(slot, GONE)
        if task is not None:
            self.plan.give_back(task)
        if stopped:
            self._departures += 1
            self._limit = min(self._limit + 1, self._most)
        self._call()
        self._check_end()

    def unavailable(self, slot: Slot, now: float) -> None:
        """No thread or worker can be had for a slot; its task has not begun."""
        if slot.state in (COMING, AT_WORK):
            self._limit = self.slots.staff - 1
            self.gone(slot, now)
            if not self._limit:
                self.stop(now)

    def unstoppable(self, slot: Slot, now: float) -> None:
        """The worker of a slot cannot be stopped."""
        if slot.state == STOPPING:
            self._abandon(slot, now)

    def abandoned(self) -> None:
        """A worker has released what it held, as it was told to."""
        self._abandoning = max(0, self._abandoning - 1)
        self._check_end()

    def expire(self, now: float) -> None:
        """It is now so late: end what has taken too long, take the next steps."""
        self.next_moment = -FOREVER  # what is due is looked for here, nobody need tell
        at_work: Dict[Task, Slot] = {}
        for due in self._moments.due(now):
            if type(due) is Slot:  # its grace period is over
                self._abandon(due, now) if due.step else self._take_step(due, now, True)
            else:
                at_work = at_work or {
                    slot.task: slot for slot in self.slots.all if slot.task is not None
                }
                self._time_out(due, at_work.get(due), now)
        self.next_moment = self._moments.first
        self._call()
        self._check_end()

    def stop(self, now: float, force: bool = False) -> None:
        """End every task that has not ended.

        :param force: without any grace period.
        """
        self.stopped = True
        if force:
            for slot in self.slots.all:
                if slot.state == STOPPING and not slot.step:
                    self._take_step(slot, now, force)
        self._terminate(now, force)
        self.events.record(self.plan.ended, now)
        if force:
            self.effects.append((KILL, None, None))
        self._check_end()

    def rebuild(self, now: float) -> None:
        """Make anew what a decision that was cut short has left half done."""
        slots, plan = self.slots, self.plan
        slots.rebuild()
        for slot in slots.all:
            if slot.state != AT_WORK:
                slot.task = None
            elif slot.task is None:
                slots.move(slot, COMING)
                slot.outcome = None
        tasks = {slot.task for slot in slots.all if slot.task is not None}
        plan.rebuild(tasks, now, skip=not self._fast_fail)
        if self._fast_fail and plan.has_faults:
            self._terminate(now)
        self.events.record(plan.ended, now)
        self._moments.rebuild()
        self.renew_effects()

    def renew_effects(self) -> None:
        """Ask once more for all that may have been left undone."""
        self._abandoning = 0
        self.next_moment = FOREVER
        self._arm(self._moments.first)
        for slot in self.slots.all:
            if slot.state == COMING:  # whoever comes first serves it
                self.effects.append((START, slot, None))
            elif slot.state == STOPPING and not slot.resigned:
                self.effects.append((STOP, slot, slot.step > 0))
        self.over = False
        self._call()
        self._check_end()

    # -- tasks -----------------------------------------------------------------------

    def _begin(self, slot: Slot, task: Task, now: float) -> None:
        slot.task = task
        slot.departures = self._departures
        slot.worker.at_hand = NOTHING  # type: ignore[union-attr]
        if self._timeout is not None and task.attempts == 1:
            moment = now + self._seconds
            self._moments.add(moment, task, now)
            self._arm(moment)

    def _settle(self, task: Task, outcome: Outcome, now: float) -> None:
        plan, fast_fail = self.plan, self._fast_fail
        plan.settle(task, outcome, now, not fast_fail)
        if fast_fail and outcome.fault and task.outcome is outcome:
            self._terminate(now)
        self.events.record(plan.ended, now)

    def _give_back(self, slot: Slot, task: Task, outcome: Outcome) -> bool:
        """Give back a task that has not begun, if there may be a worker for it.

        One that was lost before is excused, once. For want of a process or the like,
        the slot tries again if another has gone meanwhile. Otherwise it resigns, and
        leaves the task to others that are there; not to one on its way, as it may not
        arrive.
        """
        if outcome.cause is LOST and outcome.mode is None:
            if task in self._excused:
                self._excused.discard(task)
                return False
            self.plan.give_back(task)
            self._excused.add(task)
            return True
        if outcome.cause is not UNAVAILABLE:
            return False
        anew = slot.departures != self._departures
        if not (anew or self._has_others(slot)):
            return False
        self.plan.give_back(task)
        if not anew:
            self._limit -= 1
            slot.resigned = True
            self.slots.move(slot, STOPPING)
            self._call()
        return True

    def _has_others(self, slot: Slot) -> bool:
        """Whether there are slots, or will be, that may do what this one cannot."""
        return any(
            other.came and not other.resigned
            for other in self.slots.all
            if other is not slot
        )

    def _time_out(self, task: Task, slot: Optional[Slot], now: float) -> None:
        if slot is not None and slot.outcome is not None:
            self.ended(slot)  # what has happened meanwhile counts first
        if task.outcome is not None:  # another's end was its own, too
            return
        at_hand = NOTHING if slot is None else slot.dismiss()
        assert self._timeout is not None
        self._settle(task, Outcome.timed_out(self._timeout, at_hand), now)
        if slot is not None and slot.state == AT_WORK:
            self._stop_slot(slot, now)

    def _terminate(self, now: float, force: bool = False) -> None:
        """End all tasks, and stop all slots that are at one, or on their way."""
        stopping: List[Slot] = []
        outcomes: Dict[Task, Outcome] = {}
        for slot in self.slots.all:
            task = slot.task
            if slot.state == COMING:
                slot.dismiss()
                stopping.append(slot)
            elif task is not None and task.outcome is None:
                outcomes[task] = Outcome.stopped(slot.dismiss())
                stopping.append(slot)
        self.plan.terminate(outcomes, now)
        for slot in stopping:
            self._stop_slot(slot, now, force)

    # -- slots -----------------------------------------------------------------------

    def _call(self, late: int = 0) -> None:
        """Let as many slots come as there are tasks to take.

        :param late: how many of those that are coming have something to do before.
        """
        plan, slots = self.plan, self.slots
        while len(plan.ready) > max(0, slots.count[COMING] - late):
            if slots.parked:
                slot = next(reversed(slots.parked))
                slots.move(slot, COMING)
            elif slots.staff < self._limit:
                slot = slots.new()
            else:
                return
            self.effects.append((START, slot, None))

    def _stop_slot(self, slot: Slot, now: float, force: bool = False) -> None:
        self.slots.move(slot, STOPPING)
        slot.task = None
        self._take_step(slot, now, force)

    def _take_step(self, slot: Slot, now: float, force: bool) -> None:
        slot.step = int(force)
        self.effects.append((STOP, slot, force))
        slot.due = now + self._grace
        self._moments.add(slot.due, slot, slot.due)
        self._arm(slot.due)

    def _abandon(self, slot: Slot, now: float) -> None:
        self._abandoning += 1
        self.effects.append((ABANDON, slot, None))
        self.gone(slot, now)

    def _arm(self, moment: float) -> None:
        if moment < self.next_moment:
            self.next_moment = moment
            self.effects.append((AT, None, moment))

    def _check_end(self) -> None:
        busy = self._preparing or self._abandoning or self.slots.busy
        if not (self.over or self.plan.remaining or busy):
            self.over = True
            self.effects.append((FINISH, None, None))


def _is_stale(thing: Any, mark: object) -> bool:
    """Whether a stop has gone further, or a task has ended or been given back."""
    if type(thing) is Slot:
        return thing.state != STOPPING or thing.due != mark
    return thing.outcome is not None or thing.started != mark
