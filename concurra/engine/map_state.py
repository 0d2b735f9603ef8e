"""Maps: tasks of which many slots do parts at once. A part of the state. Pure.

::

    the task is ready ──> a slot takes it: its job makes a chunk ──> a part of the task
          ^                                                            │
          ├── a slot could do more of it <──────── a slot takes that <─┘
          └── all parts have ended

In the plan there is the task alone, which is ready as long as there is something of it
to be done. Whoever takes it is given a part, or its own job, which makes the next one
(`MapJob.step`), or says how it ends. So parts have the task's place among the
ready ones, its priority and resources, and its end.

A run without a map has a plain `RunState`.
"""

from __future__ import annotations

import math
from collections import deque

from ..maps.job import MapStep, StepOptions
from ..maps.parts import Part, MapProgress
from ..options import seconds_of
from ..outcomes import PART, AtHand, Outcome
from .deadlines import TIMEOUT
from .slots import AT_WORK
from .state import RunState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, List, Optional, Set

    from ..maps.values import Chunk
    from ..tasks import Task
    from .slots import Slot
    from .stopping import Outcomes


class MapState(RunState):
    """See `RunState`; some of the tasks are maps."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        mapped = self.plan.mapped.items()
        self._maps = {task: MapProgress(task, values) for task, values in mapped}
        self._take_next: Callable[[float], Optional[Task]] = self.plan.take

    # -- taking ------------------------------------------------------------------

    def open(self, now: float = 0.0) -> bool:
        """See `RunState.open`."""
        opened = super().open(now)
        if self.plan.take != self._take:
            self._take_next, self.plan.take = self.plan.take, self._take
        return opened

    def _take(self, now: float) -> Optional[Task]:
        """The next task; of a map, its next part, or itself for its next step."""
        while True:
            task = self._take_next(now)
            progress = self._maps.get(task) if task is not None else None
            if task is None or progress is None:
                return task
            task.attempts = len(task.errors) + 1
            if not progress.going:
                progress.going, progress.last = True, False
            progress.queued = False
            found = self._next_of(progress, now)
            self._offer(progress)
            if found is not None:
                return found
            self.plan.ready.release(task.options.resources)

    def _next_of(self, progress: MapProgress, now: float) -> Optional[Task]:
        task = progress.task
        if progress.wants_step:
            options = task.options
            task.job.order = StepOptions(  # type: ignore[union-attr]
                max(1, self._limit.now),
                options.retry,
                task.attempts <= options.retries,
                options.local,
                progress.ending,
            )
            progress.stepping = True
            return task
        if progress.waiting:
            part = progress.waiting.popleft()
            part.taken = now
            return part
        return None

    def _offer(self, progress: MapProgress) -> None:
        """Have its task be ready if there is something to do for one more slot."""
        if progress.queued or not progress.going or progress.task.outcome is not None:
            return
        if progress.waiting or progress.wants_step:
            progress.queued = True
            self.plan.ready.add_again(progress.task)

    def _begin(self, slot: Slot, task: Task, now: float) -> None:
        super()._begin(slot, task, now)
        progress = self._maps.get(task)
        if progress is not None:
            progress.noted = task.attempts

    def _is_start(self, task: Task) -> bool:
        """An attempt at a map starts with its first step; its parts are none."""
        progress = self._maps.get(task.whole or task)
        return progress is None or (
            type(task) is not Part and progress.noted != task.attempts
        )

    def _set_deadlines(self, slot: Slot, task: Task, now: float) -> None:
        """The timeout is the map's, and that of an attempt is a part's."""
        progress = self._maps.get(task)
        if type(task) is Part:
            self._limit_attempt(slot, task, now)
        elif progress is None:
            super()._set_deadlines(slot, task, now)
        else:
            slot.began = math.inf
            timeout = self._timeout_of(task)
            if timeout is not None and not progress.noted:
                self._deadlines.add(TIMEOUT, task, now + seconds_of(timeout), now)

    def _put_back(self, task: Task) -> None:
        progress = self._maps.get(task.whole or task)
        if progress is None:
            return super()._put_back(task)
        if type(task) is Part:
            progress.waiting.appendleft(task)
        else:
            progress.stepping = False
        self._offer(progress)

    # -- ends --------------------------------------------------------------------

    def ended(self, slot: Slot, follow: bool = True) -> None:
        """See `RunState.ended`."""
        task, outcome = slot.task, slot.outcome
        if task is None or outcome is None or slot.state != AT_WORK:
            return super().ended(slot, follow)
        progress = self._maps.get(task.whole or task)
        if progress is not None:
            slot.outcome = progress.outcome_of(task, outcome)
        super().ended(slot, follow)
        if progress is not None:  # at its end no part is at work, unless it was struck
            self._stop_parts(progress.task, slot.moment)
        self._call()

    def _settle(
        self,
        task: Task,
        outcome: Outcome,
        now: float,
        until_gone: Optional[Slot] = None,
    ) -> None:
        progress = self._maps.get(task.whole or task)
        if progress is None:
            return super()._settle(task, outcome, now, until_gone)
        if type(task) is Part:
            if until_gone is None:
                return self._end_part(progress, task, outcome, now)
            task.outcome = outcome
            until_gone.retrying = task
        elif outcome.cause is PART:
            self._feed(progress, outcome.value)
        else:
            super()._settle(task, outcome, now, until_gone)
            progress.stepping = progress.going = False

    def _feed(self, progress: MapProgress, step: MapStep) -> None:
        if step.chunk is not None:
            part = step.part = step.part or Part(progress.task, step.chunk)
            new = part not in progress.open  # or else it is done once more
            if new:
                progress.open[part] = None
                progress.waiting.append(part)
        progress.last = step.last
        progress.stepping = False
        self._offer(progress)

    def _end_part(
        self, progress: MapProgress, part: Part, outcome: Outcome, now: float
    ) -> None:
        chunk: Chunk = part.job  # type: ignore[assignment]
        part.outcome = outcome
        if part not in progress.open:
            return
        progress.values.arrive(chunk, outcome, now - part.taken)
        del progress.open[part]
        progress.mode = outcome.mode or progress.mode
        failed = outcome.cause is not PART or bool(outcome.value[1])
        if failed and self._fast_fail and not (chunk.again or chunk.exceptions):
            progress.ending = True
        self._offer(progress)

    def _retry(self, task: Task, now: float) -> None:
        """A part that took too long has ended now, as its slot has."""
        if type(task) is not Part:
            return super()._retry(task, now)
        progress = self._maps.get(task.whole or task)
        if progress and task.outcome is not None and task in progress.open:
            self._end_part(progress, task, task.outcome, now)

    def _let_go(self, progress: MapProgress) -> None:
        """The map has ended: nothing more is done of it."""
        dropped, values = self.plan.dropped, progress.values
        dropped.extend([part.job for part in progress.open])
        dropped.append(values.close())
        if progress.task.outcome is not None and progress.task.outcome.ok:
            values.clear()
        progress.open.clear()
        progress.waiting.clear()

    # -- by force ----------------------------------------------------------------

    def cancel(self, task: Task, now: float) -> bool:
        """See `Stopping.cancel`."""
        done = super().cancel(task, now)
        self._stop_parts(task, now)
        return done

    def _time_out(self, task: Task, now: float) -> None:
        super()._time_out(task, now)
        self._stop_parts(task, now)

    def _stop_parts(self, task: Task, now: float) -> None:
        progress = self._maps.get(task)
        if progress is not None and task.outcome is not None:
            for slot in self._slots_at(task):
                slot.dismiss()
                self._stop_slot(slot, now)
            self._let_go(progress)

    def _terminate(self, now: float, *args: Any, **options: Any) -> None:
        super()._terminate(now, *args, **options)
        for progress in self._maps.values():
            self._let_go(progress)

    def _stop_slot(self, slot: Slot, *args: Any) -> None:
        """A thread cannot be stopped, but what is left of its chunk is not done."""
        if type(slot.task) is Part:
            slot.task.job.halt()  # type: ignore[union-attr]
        super()._stop_slot(slot, *args)

    def _slots_at(self, task: Task) -> List[Slot]:
        """The slots that are at a task; of a map there may be many."""
        if task not in self._maps:
            return super()._slots_at(task)
        return [
            slot
            for slot in self.slots.all
            if slot.state == AT_WORK
            and slot.task is not None
            and task in (slot.task.whole, slot.task)
        ]

    def _slot_of(self, task: Task) -> Optional[Slot]:
        if task not in self._maps or task.outcome is not None:
            return super()._slot_of(task)
        slots = self._slots_at(task)
        parts = [slot for slot in slots if slot.task is not task]
        return next(iter(parts or slots), None) or super()._slot_of(task)

    def _dismiss(self, task: Task, slot: Optional[Slot]) -> AtHand:
        at_hand = super()._dismiss(task, slot)
        progress = self._maps.get(task)
        if progress is not None and progress.going and at_hand.mode is None:
            return AtHand(progress.mode or "thread")
        return at_hand

    def _outcomes_between(self, outcome: Callable[[AtHand], Outcome]) -> Outcomes:
        return {
            task: outcome(AtHand(progress.mode or "thread"))
            for task, progress in self._maps.items()
            if progress.going and task.outcome is None
        }

    # -- looks -------------------------------------------------------------------

    @property
    def running(self) -> int:
        """See `Stopping.running`."""
        return len(self._at_work())

    @property
    def ready(self) -> int:
        """See `Stopping.ready`; a map of which there is more to be done is at work."""
        queued = {task for task, progress in self._maps.items() if progress.queued}
        return max(0, super().ready - len(queued & self._at_work()))

    def _at_work(self) -> Set[Task]:
        tasks = [slot.task for slot in list(self.slots.all) if slot.state == AT_WORK]
        return {task.whole or task for task in tasks if task is not None}

    # -- what was cut short --------------------------------------------------------

    def _taken(self) -> Set[Task]:
        going = [progress.task for progress in self._maps.values() if progress.going]
        return super()._taken().union(going)

    def rebuild(self, now: float) -> None:
        """See `RunState.rebuild`."""
        super().rebuild(now)
        taken = super()._taken()
        stopping = {slot.retrying for slot in self.slots.all}
        for task, progress in self._maps.items():
            if task.outcome is None and progress.going:
                progress.stepping = task in taken
                progress.waiting = deque(
                    part
                    for part in progress.open
                    if part not in taken and part not in stopping
                )
                progress.queued = False
                self._offer(progress)
        self._call()
        self._check_end()
