"""How far a map has come, and the parts of it that slots take. Plain values."""

from __future__ import annotations

from collections import deque

from ..outcomes import PART, SUCCESS, Outcome
from ..tasks import Task
from .job import MapStep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Deque, Dict, Optional

    from ..types import ExecutionMode
    from .values import Chunk, Values


class Part(Task):
    """What a slot takes of a map: a task that is in no plan.

    :param whole: the task of the map.
    """

    __slots__ = ("whole", "taken")

    def __init__(self, whole: Task, chunk: Chunk) -> None:
        super().__init__(whole.label, chunk, whole.options, whole.title)
        self.whole = whole
        self.index = whole.index
        self.started = whole.started
        self.attempts = whole.attempts
        self.errors = whole.errors
        self.taken = 0.0


class MapProgress:
    """How far a map has come."""

    __slots__ = (
        *("task", "values", "going", "queued", "stepping", "open", "waiting"),
        *("last", "ending", "mode", "noted"),
    )

    def __init__(self, task: Task, values: Values) -> None:
        self.task = task
        self.values = values
        #: Whether an attempt is being made.
        self.going = False
        #: Whether the task is among the ready ones meanwhile.
        self.queued = False
        #: Whether a slot has its own job.
        self.stepping = False
        #: The parts that have not ended, and those of them that no slot has.
        self.open: Dict[Part, None] = {}
        self.waiting: Deque[Part] = deque()
        #: Whether there will be no more parts, and whether there need be none.
        self.last = self.ending = False
        #: How the last part that began is run.
        self.mode: Optional[ExecutionMode] = None
        #: The attempt whose start has been noted.
        self.noted = 0

    @property
    def wants_step(self) -> bool:
        """Whether its own job has something to do."""
        if self.stepping or (self.waiting and not self.ending):
            return False
        return self.ending or not (self.last and self.open)

    def outcome_of(self, task: Task, outcome: Outcome) -> Outcome:
        """How a job of it has ended, as the outcome of its slot; may be asked again.

        :param task: this one, or a part of it.
        """
        value = outcome.value
        if outcome.cause is not SUCCESS:
            if task is self.task and outcome.cause is not PART:
                outcome.final = outcome.final or bool(self.open) or self.queued
            return outcome
        if task is not self.task:
            return Outcome(PART, outcome.mode, value, warning=outcome.warning)
        if type(value) is MapStep:
            return Outcome(PART, outcome.mode, value)
        if type(value) is not Outcome:  # this is done once more
            return outcome
        value.mode = self.mode or value.mode
        return value
