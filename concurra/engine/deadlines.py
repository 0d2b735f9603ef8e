"""What is to be done at which moment: timeouts, grace periods, delays. Pure.

=========  ===========  ========================================================
kind       of           when it has come
=========  ===========  ========================================================
GRACE      a slot       the next step of its stop is due
TIMEOUT    a task       it has taken too long, with all its attempts
ATTEMPT    a slot       the attempt that it is at has taken too long
RETRY      a task       its next attempt is due
RISE       the run      it is time to see whether more slots would help
RUN        the run      it has taken too long
TICK       the run      it is time to look how far it has come
=========  ===========  ========================================================
"""

from __future__ import annotations

from .effects import AT
from .slots import STOPPING
from .timers import FOREVER, Moments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Deque, Final, Iterator, Tuple

    from ..options import Options
    from .effects import Effect

    Due = Tuple[str, Any]

GRACE: Final = "grace"
TIMEOUT: Final = "timeout"
ATTEMPT: Final = "attempt"
RETRY: Final = "retry"
RISE: Final = "rise"
RUN: Final = "run"
TICK: Final = "tick"


class Deadlines:
    """All moments of a run that are still to come.

    :param effects: gets an `AT` whenever the first moment comes nearer.
    """

    def __init__(self, effects: Deque[Effect]) -> None:
        self._effects = effects
        self._moments = Moments(_is_stale)
        #: When the state is to be told what time it is.
        self.next = FOREVER
        self._run_ends = FOREVER
        self._tick = FOREVER

    def end_run(self, moment: float) -> None:
        """Have the run ended at a moment.

        It is not kept among the others: it never is stale, and would stand before them.
        """
        self._run_ends = moment
        self._arm(moment)

    def tick(self, moment: float) -> None:
        """Set the moment of the next TICK, in place of the one before."""
        self._tick = moment
        self._arm(moment)

    def add(self, kind: str, what: Any, moment: float, mark: object = None) -> None:
        """Have something done at a moment, unless it is stale by then.

        :param mark: what it was then; it is stale if that has changed: see `_is_stale`.
        """
        self._moments.add(moment, (kind, what), mark)
        self._arm(moment)

    def due(self, now: float) -> Iterator[Due]:
        """What is to be done by now, one after the other: see `Moments.due`."""
        self.next = -FOREVER  # what is due is found here, without an `AT`
        yield from self._moments.due(now)
        if self._tick <= now:
            self._tick = FOREVER
            yield TICK, None
        if self._run_ends <= now:
            self._run_ends = FOREVER
            yield RUN, None

    def look_on(self) -> None:
        """What was due has been done."""
        self.next = self._first

    def rebuild(self) -> None:
        """Make the order anew, after an addition was cut short."""
        self._moments.rebuild()

    def renew(self) -> None:
        """Tell the timer once more."""
        self.next = FOREVER
        self._arm(self._first)

    @property
    def _first(self) -> float:
        return min(self._run_ends, self._tick, self._moments.first)

    def _arm(self, moment: float) -> None:
        if moment < self.next:
            self.next = moment
            self._effects.append((AT, None, moment))


def is_timed(options: Options) -> bool:
    """Whether a task with these options may be timed out, or an attempt of it."""
    retry = options.retry
    timed = retry is not None and retry.attempt_timeout is not None
    return timed or options.timeout is not None


def _is_stale(thing: Due, mark: Any) -> bool:
    """Whether a stop has gone further, a task has ended, an attempt is another one."""
    kind, what = thing
    if kind == GRACE:
        return bool(what.state != STOPPING or what.due != mark)
    if kind == ATTEMPT:
        return bool(what.task is None or (what.task, what.began) != mark)
    if kind == TIMEOUT:
        return what.outcome is not None or what.started != mark
    if kind == RETRY:
        return what.outcome is not None or what.attempts != mark
    return False
