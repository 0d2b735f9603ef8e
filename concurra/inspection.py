"""What can be asked of a run, at any time; nothing is changed by it."""

from __future__ import annotations

from .clock import monotonic
from .outcomes import FAILED, TERMINATED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Mapping, Optional, Sequence

    from .engine.scheduler import Scheduler
    from .engine.snapshot import Snapshot
    from .maps.values import Values
    from .plan.plan import Plan
    from .tasks import Task


class Inspection:
    """The half of `lifecycle.LifeCycle` that only looks.

    :param plan: the runner's.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._schedulers: List[Scheduler] = []
        #: When the run was started; None if it was not.
        self.started_at: Optional[float] = None
        self._restored = 0  # tasks that need not run

    @property
    def begun(self) -> bool:
        """Whether the run has been started or aborted."""
        return bool(self._schedulers)

    @property
    def finished(self) -> bool:
        """Whether every task has ended, and all that follows from it is done."""
        return self.begun and self._schedulers[0].finished

    @property
    def running(self) -> int:
        """How many tasks are at work."""
        return self._schedulers[0].running if self.begun else 0

    @property
    def seconds(self) -> float:
        """How long ago the run was started; 0 if it was not."""
        began = self.started_at
        return 0.0 if began is None else monotonic() - began

    def counts(self) -> Dict[str, int]:
        """How many tasks are in which state; they may go on while it is counted."""
        plan, running = self._plan, self.running
        failed, terminated = plan.faults[FAILED], plan.faults[TERMINATED]
        ready = self._schedulers[0].ready if self.begun else len(plan.ready)
        ready = min(ready, plan.remaining)
        return {
            "waiting": max(0, plan.remaining - ready - running),
            "ready": ready,
            "running": running,
            "successful": len(plan.ended) - failed - terminated,
            "failed": failed,
            "terminated": terminated,
        }

    @property
    def ended(self) -> Sequence[Task]:
        """The tasks that have ended, in this order; it grows."""
        return self._plan.ended

    @property
    def recorded(self) -> int:
        """How many of these are known to all who follow the run; it has begun."""
        return self._schedulers[0].recorded

    @property
    def keeps_remote(self) -> bool:
        """Whether the result of a task stays with an executor; costs O(n)."""
        return any(each.options.keep_remote for each in list(self._plan.tasks.values()))

    @property
    def mapped(self) -> Mapping[Task, Values]:
        """What is known of the items of each map."""
        return self._plan.mapped

    @property
    def total(self) -> int:
        """How many tasks there are."""
        return len(self._plan.tasks)

    def snapshot(self, name: str) -> Snapshot:
        """How far it has come.

        :param name: the runner's.
        """
        from .engine.snapshot import Snapshot

        at_work = self._schedulers[0].at_work() if self.begun else []
        counts, ended = self.counts(), self._plan.ended
        last = ended[-1].ended if ended else None
        quiet = 0.0 if last is None else max(0.0, monotonic() - last)
        return Snapshot(name, self.seconds, counts, at_work, self._restored, quiet)
