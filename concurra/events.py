"""What happened in a run: a list of events, and those who follow it.

::

    under the lock               outside of it, in order
    --------------               -----------------------
    record ──> [event, event, ...] ──> cursor ──> its readers, one thread at a time
                                   ──> cursor ──> ...

Readers that share a cursor read each event one after the other, so their order among
themselves is kept. A reader that blocks holds up its cursor, and the end of the run;
one that raises loses that event. What no reader wants is not kept.
"""

from __future__ import annotations

import threading
from collections import deque

from .threads import report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Collection, Deque, Dict, Final, List, Mapping, Optional
    from typing import Sequence

    from .outcomes import Outcome
    from .tasks import Task

#: The kinds of events.
RUN_START: Final = "run start"
TASK_START: Final = "task start"  # of an attempt
TASK_RETRY: Final = "task retry"  # an attempt has failed, and is not the last
END: Final = "end"
RUN_END: Final = "run end"
LOOK: Final = "look"  # it is time to look how far the run has come


class Event:
    """Something that has happened.

    :param kind: what happened.
    :param moment: when, in monotonic seconds.
    :param task: to which task; None for what happened to the run.
    :param ended: how many tasks had ended then, this one included.
    :param attempt: the number of the attempt.
    :param outcome: the task's, at its end; later, its value may have been let go of.
    """

    __slots__ = ("kind", "moment", "task", "ended", "attempt", "outcome")

    # Readers look at the kind first.
    task: Task
    outcome: Optional[Outcome]

    def __init__(
        self,
        kind: str,
        moment: float,
        task: Optional[Task],
        ended: int,
        attempt: int = 0,
        outcome: Optional[Outcome] = None,
    ) -> None:
        self.kind = kind
        self.moment = moment
        self.task = task  # type: ignore[assignment]
        self.ended = ended
        self.attempt = attempt
        self.outcome = outcome


class Reader:
    """Somebody who reads events."""

    #: It wants the end of each ``step``-th task, and of the last; 0 for none.
    step = 0

    #: Whether it wants the end of each task that went wrong or has a warning.
    faults = False

    #: The kinds of events that it wants besides ends. It may be told of others, too.
    kinds: Collection[str] = ()

    #: Whether it is told beside the tasks: it takes no thread that could do one.
    apart = False

    def read(self, event: Event) -> None:
        """Deal with an event; may block, raise, and call anything of the runner."""
        raise NotImplementedError

    def quick(self, event: Event) -> bool:
        """Whether `read` takes no time for this event; must not block itself."""
        return False

    def restore(
        self, tasks: Collection[Task], cancelled: Collection[Task]
    ) -> Mapping[Task, Outcome]:
        """The run is about to start: tasks that need not run, and their outcomes.

        :param cancelled: those that are not to begin; none of them is restored.
        :raises BaseException: it cannot start.
        """
        return {}

    def abandon(self) -> None:
        """The run does not start after all: hold nothing."""

    def close(self) -> None:
        """The run has ended, all events have been read, and all workers are closed.

        May do what `read` may.
        """


class _Cursor:
    """How far some readers have come."""

    def __init__(self, readers: Sequence[Reader]) -> None:
        self.readers = readers
        self.unread: Deque[Event] = deque()
        # The thread that reads. It can claim that again: a late exception may have
        # struck it in the midst of this.
        self._reading: Dict[str, int] = {}
        self._inside = False  # a reader

    @property
    def thread(self) -> Optional[int]:
        """The thread that reads now."""
        return self._reading.get("thread")

    @property
    def waits(self) -> bool:
        """Whether there is something to read, and nobody reads it."""
        return bool(self.unread) and not self.thread

    def advance(self, begin: Callable[[], object] = lambda: None) -> None:
        """Read all, unless another thread is at it, which then reads these too.

        :param begin: called before the reading, as that may take its time.
        """
        me = threading.get_ident()
        while self.unread or self.thread == me:
            before = self.thread
            if self._reading.setdefault("thread", me) != me:
                return
            if before == me and self._inside:
                return  # a reader asks for it
            self._inside = False  # it was struck at the end of a reader, perhaps
            try:
                begin()
                while self.unread:
                    self._read(self.unread.popleft())
            finally:
                self._reading.clear()

    def close(self) -> None:
        """Let the readers know that there is nothing more to come."""
        self._reading["thread"] = threading.get_ident()
        try:
            for reader in self.readers:
                try:
                    reader.close()
                except BaseException as error:
                    report(error)
        finally:
            self._reading.clear()

    def quick(self) -> bool:
        """Whether all that is unread is read in no time."""
        if len(self.unread) > 1:
            return False
        try:
            event = self.unread[0]  # not iterated: others append to it meanwhile
        except IndexError:
            return True
        return all(reader.quick(event) for reader in self.readers)

    def _read(self, event: Event) -> None:
        for reader in self.readers:
            try:
                self._inside = True
                reader.read(event)
            except BaseException as error:
                report(error)
            finally:
                self._inside = False


class Events:
    """The list of events of a run.

    :param total: how many tasks there are.
    :param groups: readers; those of one group share a cursor.
    """

    def __init__(self, total: int, *groups: Sequence[Reader]) -> None:
        self._cursors: List[_Cursor] = [_Cursor(group) for group in groups if group]
        self._total = total
        #: How many tasks have ended.
        self.ended = 0
        #: Whether there is something that has not been read.
        self.unread = False
        self._asked = False  # somebody, who has not begun to tell
        self._look_at_readers()

    def attach(self, reader: Reader) -> None:
        """Have one more reader, of what happens from now on; called under the lock."""
        self._cursors.append(_Cursor([reader]))
        self._look_at_readers()

    def detach(self, reader: Reader) -> None:
        """Remove a reader that was attached; called under the lock."""
        self._cursors = [each for each in self._cursors if reader not in each.readers]
        self._look_at_readers()

    def _look_at_readers(self) -> None:
        readers = [reader for cursor in self._cursors for reader in cursor.readers]
        self._steps = {reader.step for reader in readers if reader.step}
        self._faults = any(reader.faults for reader in readers)
        #: What somebody wants to know besides the ends of tasks.
        self.kinds = {kind for reader in readers for kind in reader.kinds}
        #: Whether somebody is told beside the tasks.
        self.apart = any(reader.apart for reader in readers)
        #: The next number of ended tasks that somebody wants to know of.
        self.next = self._milestone()

    def _milestone(self) -> int:
        ended, total = self.ended, self._total
        return min([min(ended + s - ended % s, total) for s in self._steps], default=0)

    def note(self, kind: str, task: Optional[Task], moment: float) -> None:
        """Record another event than an end, if somebody wants it; under the lock."""
        if kind in self.kinds:
            attempt = 0 if task is None else task.attempts
            self._append(Event(kind, moment, task, self.ended, attempt))

    def note_look(self, moment: float) -> None:
        """Record that it is time to look, for those who have read all; under the lock.

        If reading took longer than the time between two looks, whoever reads would
        never come to an end.
        """
        if LOOK in self.kinds:
            event = Event(LOOK, moment, None, self.ended)
            for cursor in self._cursors:
                if not (cursor.unread or cursor.thread):
                    cursor.unread.append(event)
                    self.unread = True

    def record(self, tasks: Sequence[Task], moment: float) -> None:
        """Record which tasks have ended since the last call; called under the lock.

        :param tasks: all that have ended so far, in order.
        """
        while self.ended < len(tasks):
            task = tasks[self.ended]
            outcome = task.outcome
            assert outcome is not None
            notable = outcome.warning is not None or outcome.fault
            # From here on, the result may be handed out, and the outcome be emptied.
            self.ended = ended = self.ended + 1
            if (notable and self._faults) or ended == self.next:
                self._append(Event(END, moment, task, ended, task.attempts, outcome))
                if ended == self.next:
                    self.next = self._milestone()

    def _append(self, event: Event) -> None:
        for cursor in self._cursors:
            cursor.unread.append(event)
        self.unread = True

    def tell(self, elsewhere: Callable[[], object] = lambda: None) -> None:
        """Let everybody read on; not under the lock.

        :param elsewhere: has another thread tell as well. It is called before readers
            that may block, if others wait meanwhile.
        """
        # First: what is appended from here on is seen again.
        self._asked = self.unread = False
        slow = []
        for cursor in self._cursors:
            if cursor.quick():
                cursor.advance()
            else:
                slow.append(cursor)

        def begin() -> None:
            if any(other.waits for other in slow):
                elsewhere()

        while slow:
            slow.pop(0).advance(begin)

    def is_due(self) -> bool:
        """Whether a thread is to be asked to `tell`; after that it counts as asked."""
        self.unread = False  # first, as above
        if self._asked or not self.waiting:
            return False
        self._asked = True
        return True

    def close(self) -> None:
        """Everything has been told, and nothing more is to come; not under the lock."""
        for cursor in self._cursors:
            cursor.close()
        self._cursors = []  # a reader may know the run, which knows this

    def quick(self) -> bool:
        """Whether to tell takes no time now."""
        return all(each.quick() for each in self._cursors)

    @property
    def waiting(self) -> bool:
        """Whether there is something to read, and nobody reads it."""
        return any(each.waits for each in self._cursors)

    @property
    def being_read(self) -> bool:
        """Whether a thread is reading."""
        return any(each.thread for each in self._cursors)

    def is_reader(self) -> bool:
        """Whether the calling thread is reading."""
        me = threading.get_ident()
        return any(each.thread == me for each in self._cursors)
