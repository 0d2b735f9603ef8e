"""The job of a map: it makes chunks of what an iterable gives, and a list of values.

A map is one task, of which many slots do parts: see `map_state`. Its own job is begun
again and again, by one thread at a time, and is short: it takes some items from the
iterable, and returns a chunk of them. When all chunks have ended it returns how the
task ends. So the iterable, which is the user's, is never called under a lock; and no
more is taken from it than slots are free to do.
"""

from __future__ import annotations

from itertools import islice

from ..clock import clock
from ..errors import MapError
from ..outcomes import ERROR, SUCCESS, Outcome
from ..tasks import FEED, Call
from ..wording import describe, stripped
from .values import Chunk, Values, exception

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, List, Optional, Sequence, Tuple, Union

    from ..retries import Retry
    from ..tasks import Task
    from .parts import Part

#: Seconds that a chunk is to take, and the most that is spent on taking its items.
TARGET = 0.02

#: Items of a chunk whose size is chosen by that, at the most.
MOST_ITEMS = 20_000

#: How many times larger a chunk may be than the largest before it: later items may
#: take longer than the first. Where the number of items is known it may be more, as
#: the last chunks are shared out then.
GROWTH = 8
KNOWN_GROWTH = 64

#: A chunk is to take at least ``TARGET / SHARE`` seconds, also among the last ones.
SHARE = 8

_now = clock()


class MapStep:
    """What there is to do next.

    :param chunk: None if there is nothing.
    :param last: whether the iterable has no more items.

    ``part`` is what the run has made of the chunk; None until it has.
    """

    __slots__ = ("chunk", "last", "part")

    def __init__(self, chunk: Optional[Chunk], last: bool) -> None:
        self.chunk = chunk
        self.last = last
        self.part: Optional[Part] = None


class StepOptions:
    """What the run tells the job before it begins it.

    :param width: how many chunks can be at work at once.
    :param retry: when another attempt is made; None if all errors count alike.
    :param again: whether there is another attempt after this one.
    :param here: see `Call`.
    :param hurry: whether the task is to end now, with what has failed so far.
    """

    __slots__ = ("width", "retry", "again", "here", "hurry")

    def __init__(
        self,
        width: int = 1,
        retry: Optional[Retry] = None,
        again: bool = False,
        here: bool = False,
        hurry: bool = False,
    ) -> None:
        self.width = width
        self.retry = retry
        self.again = again
        self.here = here
        self.hurry = hurry


class MapJob(Call):
    """Makes the chunks of a map, and concludes it; see above.

    :param source: a call of the function, with the iterable for its argument.
    :param chunksize: items of a chunk; None to choose it by how long they take.
    :param exceptions: whether what items raise stands among the values.
    """

    __slots__ = (
        *("context", "source", "chunksize", "exceptions", "values", "order"),
        *("_iterator", "_total", "_count", "_all", "_indexes", "_ended"),
        "_broken",
    )

    kind = FEED
    here = True
    args = ()
    kwargs = None

    def __init__(
        self, source: Call, chunksize: Optional[int], exceptions: bool
    ) -> None:
        self.source = source
        self.chunksize = chunksize
        self.exceptions = exceptions
        self.context = source.context
        self.values = Values()
        #: Set by the run, before each begin.
        self.order = StepOptions()
        self._iterator: Optional[Iterator[Any]] = None
        self._total: Optional[int] = None
        self._count = self._all = 0  # items; of this attempt, and of the first
        self._indexes: Optional[List[int]] = None  # of what is tried again
        self._ended = False
        self._broken: Optional[Outcome] = None

    @property
    def func(self) -> Any:  # type: ignore[override]
        """What is called for each step."""
        return self.step

    @property
    def name(self) -> str:
        """See `Call.name`."""
        return self.source.name

    title = name

    @property
    def module(self) -> Optional[str]:
        """See `Call.module`."""
        return self.source.module

    @property
    def identity(self) -> Any:
        """See `Call.identity`; the size of chunks makes no difference."""
        return self.source.identity, self.exceptions

    @property
    def refers(self) -> bool:  # type: ignore[override]
        """See `Call.refers`."""
        return self.source.refers

    @property
    def needs(self) -> Sequence[Task]:
        """See `references`."""
        return self.source.needs  # type: ignore[attr-defined,no-any-return]

    @needs.setter
    def needs(self, needs: Sequence[Task]) -> None:
        self.source.needs = needs  # type: ignore[attr-defined]

    @property
    def progress(self) -> Tuple[int, Optional[int]]:
        """How many items are done, and how many there are, if that is known.

        One that is to be tried again is not done; for any thread.
        """
        total = self._total if self._indexes is None else self._all
        return self.values.done, total

    def step(self) -> Union[MapStep, Outcome]:
        """Make the next chunk, or conclude."""
        self.values.absorb()
        if self._ended or self.order.hurry:
            return self._conclude()
        items = self._pull()
        return MapStep(self._chunk(items) if items else None, self._ended)

    # -- items -------------------------------------------------------------------

    def _pull(self) -> List[Any]:
        """The items of a chunk, if there are any; an error of the iterable ends it."""
        items: List[Any] = []
        size, many = self.chunksize or self._size(), 1
        until = _now() + TARGET
        try:
            if self._iterator is None:
                iterable = self.source.args[0]
                self._iterator = iter(iterable)
                self._total = _length(iterable)
            while len(items) < size and not self.values.closed:
                before, wanted = len(items), min(size - len(items), many)
                items.extend(islice(self._iterator, wanted))  # kept at an error
                if len(items) - before < wanted:
                    self._ended = True
                    break
                if _now() <= until:
                    many *= 2
                elif self.chunksize is None:
                    break
        except BaseException as error:
            self._ended = True
            text, trace = describe(error)
            self._broken = Outcome(ERROR, "thread", None, text, trace)
            self._broken.exception = stripped(error)
        return items

    def _size(self) -> int:
        """How many items a chunk is to have."""
        values, width = self.values, self.order.width
        if not values.largest:
            return 1
        growth = GROWTH if self._total is None else KNOWN_GROWTH
        most = min(MOST_ITEMS, growth * values.largest)
        in_time = int(TARGET / values.pace) if values.pace else most
        size = min(most, in_time)
        if self._total is not None:  # towards the end there is some for all
            share = (self._total - self._count) // (2 * width)
            size = min(size, max(share, in_time // SHARE))
        return max(size, 1)

    def _chunk(self, items: List[Any]) -> Chunk:
        order, first = self.order, self._count
        self._count += len(items)
        indexes: Sequence[int] = range(first, self._count)
        if self._indexes is not None:
            indexes = self._indexes[first : self._count]
        return Chunk(
            self.source.func,
            items,
            indexes,
            self.context,
            on=order.retry.on if order.retry is not None and order.again else None,
            exceptions=self.exceptions,
            again=order.again,
            fresh=self._indexes is None,
            here=order.here,
        )

    # -- the end -----------------------------------------------------------------

    def _conclude(self) -> Outcome:
        """How the attempt ends; all chunks have ended."""
        values, broken = self.values, self._broken
        if broken is not None:
            broken.final = True  # the rest of it cannot be had once more
            return broken
        if values.items and self.order.again:
            failed = self._failed()
            self._try_again()
            return failed
        if not self.exceptions or not all(f.raised for f in values.failures.values()):
            if values.failures:
                failed = self._failed()
                failed.final = True
                return failed
        found = values.all(self.exceptions)
        return Outcome(SUCCESS, "thread", found, warning=values.warning)

    def _failed(self) -> Outcome:
        values = self.values
        failures = {index: values.failures[index] for index in sorted(values.failures)}
        if self.exceptions:  # what items raised is no failure then, a lost chunk is
            lost = {at: each for at, each in failures.items() if not each.raised}
            failures = lost or failures
        first = next(iter(failures.values()))
        if self._indexes is None:
            whole = self._ended or self._total is None  # otherwise some were not begun
            self._all = self._count if whole else self._total or 0
        texts = {each: failure.text for each, failure in failures.items()}
        error = MapError(texts, self._all)
        error.__cause__ = exception(first)
        text = f"{type(error).__name__}: {error}"
        outcome = Outcome(ERROR, None, None, text, first.trace, values.warning)
        outcome.exception = error
        return outcome

    def _try_again(self) -> None:
        """From here on the items are those that failed, if it is begun once more."""
        items, self.values.items = self.values.items, {}
        self.values.again = set(items)
        self._indexes = sorted(items)
        self._iterator = iter([items[index] for index in self._indexes])
        self._total, self._count, self._ended = len(items), 0, False


def _length(iterable: Any) -> Optional[int]:
    """How many items it has; None if it has no length, or it is not known."""
    try:
        return len(iterable) if hasattr(type(iterable), "__len__") else None
    except Exception:
        return None
