"""How far a map has come, and the parts of it that slots take. Plain values."""

from __future__ import annotations

from collections import deque

from .map_job import Fed
from .outcomes import PART, Outcome
from .tasks import Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Deque, Dict, Optional

    from .map_values import Chunk, Values
    from .types import ExecutionMode


class Part(Task):
    """What a slot takes of a map: a task that is in no plan.

    :param whole: the map's.
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


class Spread:
    """How far a map has come.

    ``going`` is true while an attempt is being made. ``queued`` tells that the task is
    among the ready ones then, ``stepping`` that a slot has its own job. All parts that
    have not ended are ``open``; of these, some are ``waiting``. ``last`` tells that
    there will be no more, ``doomed`` that there need not.
    """

    __slots__ = (
        *("task", "values", "going", "queued", "stepping", "open", "waiting"),
        *("last", "doomed", "mode", "noted"),
    )

    def __init__(self, task: Task, values: Values) -> None:
        self.task = task
        self.values = values
        self.going = self.queued = self.stepping = False
        self.open: Dict[Part, None] = {}
        self.waiting: Deque[Part] = deque()
        self.last = self.doomed = False
        self.mode: Optional[ExecutionMode] = None  # of the last part that began
        self.noted = 0  # the attempt whose start has been noted

    @property
    def wants_step(self) -> bool:
        """Whether its own job has something to do."""
        if self.stepping or (self.waiting and not self.doomed):
            return False
        return self.doomed or not (self.last and self.open)

    def concluded(self, outcome: Outcome) -> Outcome:
        """What the job of a map has returned, as the outcome of a slot."""
        value = outcome.value
        if type(value) is Fed:
            return Outcome(PART, outcome.mode, value)
        if type(value) is not Outcome:  # this is done again
            return outcome
        value.mode = self.mode or value.mode
        return value
