"""What reports read of a runner, in one place."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Optional, Sequence

    from .plan.tries import Tries
    from .results import Entry
    from .tasks import Task


class EngineValues:
    """The engine's own values of a run, which may go on meanwhile.

    :param started: the start of the run on the clock of the engine; None if there was
        none.
    :param begun: whether the run has been started or aborted.
    :param moment: now, on the same clock.
    :param offset: what makes seconds since the epoch of a moment.
    :param tasks: in the order of adding.
    :param needs: what a task depends on, as far as it has been added.
    :param entry: the result of a task that has ended, as its user has left it.
    """

    __slots__ = (
        *("name", "max_concurrency", "begun", "started", "moment", "offset"),
        *("tasks", "needs", "entry", "tries"),
    )

    def __init__(
        self,
        *,
        name: str,
        max_concurrency: int,
        begun: bool,
        started: Optional[float],
        moment: float,
        offset: float,
        tasks: Sequence[Task],
        needs: Callable[[Task], Sequence[Task]],
        entry: Callable[[Task], Entry],
        tries: Tries,
    ) -> None:
        self.name = name
        self.max_concurrency = max_concurrency
        self.begun = begun
        self.started = started
        self.moment = moment
        self.offset = offset
        self.tasks = tasks
        self.needs = needs
        self.entry = entry
        self.tries = tries

    def epoch(self, moment: float) -> float:
        """A moment in seconds since the epoch."""
        return round(moment + self.offset, 6)
