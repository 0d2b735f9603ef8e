"""What is known of the items of a map: their values, and what has gone wrong."""

from __future__ import annotations

import threading
from collections import deque

from ..exceptions import exception_of
from ..outcomes import ERROR, PART, Outcome
from ..tasks import FullCall
from ..wording import GENERATOR_WARNING
from ..workers.chunk import Failure, perform_chunk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextvars import Context
    from typing import Any, Callable, Deque, Dict, List, Optional, Sequence, Set, Tuple

    #: The indexes of items, whether this was their first attempt, the items, if they
    #: may be tried again, and their number.
    Arrival = Tuple[Sequence[int], bool, Optional[List[Any]], int]


class Chunk(FullCall):
    """Calls of a function for some items.

    Its ``items`` stay; the call gets a list of its own, which `halt` empties.

    :param indexes: those of the items among all.
    :param exceptions: whether what items raise stands among the values.
    :param again: whether there is another attempt for those that fail.
    :param fresh: whether this is the first attempt.
    :param here: see `Call`.
    """

    __slots__ = ("items", "indexes", "again", "fresh", "here", "exceptions")

    def __init__(
        self,
        func: Callable[[Any], Any],
        items: List[Any],
        indexes: Sequence[int],
        context: Context,
        *,
        on: Any = None,
        exceptions: bool = False,
        again: bool = False,
        fresh: bool = True,
        here: bool = False,
    ) -> None:
        args = func, list(items), on, exceptions
        super().__init__(perform_chunk, args, None, context)
        self.items = items
        self.indexes = indexes
        self.exceptions = exceptions
        self.again = again
        self.fresh = fresh
        self.here = here

    def halt(self) -> None:
        """Begin no more of its calls in this process; takes no time."""
        self.args[1].clear()


class Values:
    """What is known of the items; it is complete after `absorb`, for any thread."""

    def __init__(self) -> None:
        #: Chunks that have ended, how, and the seconds that they took. Put here under
        #: the lock of the run, and looked at outside of it.
        self.arrived: Deque[Tuple[Arrival, Outcome, float]] = deque()
        #: By their indexes, items that failed and may be tried again.
        self.items: Dict[int, Any] = {}
        #: The indexes of those that are being tried again.
        self.again: Set[int] = set()
        #: Whether nothing more is to be done.
        self.closed = False
        #: What has failed, by the indexes of the items.
        self.failures: Dict[int, Failure] = {}
        self._note: Optional[object] = None  # of the chunk that had one last
        self._generators = False  # whether some values are, and have not begun
        # Of chunks that came, the seconds and the items: each chunk counts half as much
        # as the next.
        self._seconds = self._many = 0.0
        #: The number of items of the largest chunk that has come.
        self.largest = 0
        self._rows: Dict[int, List[Any]] = {}  # of chunks, by their first index
        self._later: Dict[int, Any] = {}  # values of items that were tried again
        self._lock = threading.Lock()

    def arrive(self, chunk: Chunk, outcome: Outcome, seconds: float) -> None:
        """A chunk has ended; takes no time, and may be told twice."""
        items, many = chunk.items, len(chunk.items)
        kept = chunk.again and not (outcome.cause is PART and not outcome.value[1])
        arrival = chunk.indexes, chunk.fresh, items if kept else None, many
        self.arrived.append((arrival, outcome, seconds))

    @property
    def warning(self) -> Optional[object]:
        """A note for the user, as in `Outcome`."""
        if not self._generators:
            return self._note
        return f"{self._note}; {GENERATOR_WARNING}" if self._note else GENERATOR_WARNING

    @property
    def pace(self) -> float:
        """Seconds that an item takes, its way there and back included."""
        return self._seconds / self._many if self._many else 0.0

    def absorb(self) -> None:
        """Take over the chunks that have arrived."""
        with self._lock:
            while self.arrived:
                self._take_over(*self.arrived[0])
                self.arrived.popleft()  # the last: to do it twice does no harm

    def _take_over(self, arrival: Arrival, outcome: Outcome, seconds: float) -> None:
        indexes, fresh, items, many = arrival
        failures: Dict[int, Failure]
        if outcome.cause is PART:
            values, failures, generators = outcome.value
            self._seconds = self._seconds / 2 + seconds
            self._many = self._many / 2 + many
            self.largest = max(self.largest, many)
            self._generators = self._generators or generators
        else:
            values = [None] * many
            failures = dict.fromkeys(range(many), _failure(outcome, many))
        self._note = outcome.warning or self._note
        if fresh:
            self._rows[indexes[0]] = values
        else:
            self.again.difference_update(indexes)
            for index, value in zip(indexes, values):
                self._later[index] = value
                self.failures.pop(index, None)
        for number, failure in failures.items():
            index = indexes[number]
            self.failures[index] = failure
            if items is not None and not failure.final:
                self.items[index] = items[number]

    def all(self, exceptions: bool) -> List[Any]:
        """The values of all items, in order.

        :param exceptions: whether those that failed have their exceptions there.
        """
        found: List[Any] = []
        for first in sorted(self._rows):
            found += self._rows[first]
        for index, value in self._later.items():
            found[index] = value
        for index, failure in self.failures.items() if exceptions else ():
            found[index] = exception(failure)
        return found

    def known(self) -> Dict[int, Any]:
        """Values of what has succeeded so far, by their indexes, in order."""
        self.absorb()
        with self._lock:
            rows = self._rows
            found = {
                index: value
                for first in sorted(rows)
                for index, value in enumerate(rows[first], first)
            }
            found.update(self._later)
            for index in self.failures:
                found.pop(index, None)
        return found

    @property
    def done(self) -> int:
        """How many items have come to an end that is not tried again."""
        self.absorb()
        with self._lock:
            left = len(self.items) + len(self.again)
            return sum(map(len, self._rows.values())) - left

    def close(self) -> Dict[int, Any]:
        """The task has ended; what was to be tried again. Takes no time."""
        self.closed = True
        items, self.items = self.items, {}
        return items

    def clear(self) -> None:
        """The task has its list of values: they are kept once. Takes no time."""
        self._rows, self._later = {}, {}


def exception(failure: Failure) -> BaseException:
    """The error of an item, with its traceback as text: see `exceptions`."""
    outcome = Outcome(ERROR, None, None, failure.text, failure.trace)
    outcome.exception = failure.exception
    error = exception_of(outcome)
    assert error is not None
    return error


def _failure(outcome: Outcome, many: int) -> Failure:
    """The failure of all items of a chunk that was lost; one may be the cause."""
    trace = None if outcome.trace is None else str(outcome.trace)
    shared = f" (it befell a chunk of {many} items)" if many > 1 else ""
    text = f"{outcome.error}{shared}"
    return Failure(text, trace, outcome.exception, not outcome.retry, False)
