"""Outcomes made readable: result dicts, which are the users' to change."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Hashable, Mapping

from .collector import collection_paused
from .errors import LifeCycleError
from .outcomes import ERROR, STATUS, SUCCESS, warning_of
from .tasks import Task
from .wording import COPY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Final, Iterable, Iterator, List, Optional

    from .outcomes import Outcome
    from .types import Result


class _Common:
    """The fields in their order, as most tasks have them."""

    def __init__(self) -> None:
        self.task_name = ""
        self.start_time = ""
        self.end_time = ""
        self.duration = "0.0 sec"
        self.duration_seconds = 0.0
        self.result = None
        self.error = None
        self.trace = None
        self.status = STATUS[SUCCESS]
        self.has_failed = False
        self.output = None
        self.execution_mode = None
        self.warning = None
        self.attempts = 1
        self.task_retries = 0
        self.retried = False
        self.retry_errors = None


#: Copies of an object's dict share the table of its keys (PEP 412). They take half the
#: memory of other dicts, and less time.
_COMMON: Final[Dict[str, Any]] = vars(_Common())


class Recorder:
    """Makes the documented results, of tasks that have ended.

    Texts that many results share are made once: a timestamp for each second that
    occurs, and the words for each duration.

    :param offset: what is to be added to a moment to get the seconds since the epoch.
        One offset serves a whole run, so a clock that is set meanwhile cannot make a
        task end before it started.
    """

    def __init__(self, offset: float) -> None:
        self._offset = offset
        self._timestamps: Dict[int, str] = {}
        # The timestamp of the last moment that was asked for, from when until when.
        self._last = 0.0, 0.0, ""
        self._durations: Dict[float, str] = {}

    def record(self, task: Task, outcome: Optional[Outcome] = None) -> Result:
        """The result of a task: 17 fields, in a dict of its own.

        :param outcome: what the task's was before something has let go of its value.
        """
        if outcome is None:
            outcome = task.outcome
        started: Any = task.started
        ended: Any = task.ended
        assert outcome is not None
        if outcome.result is not None:
            errors = list(outcome.result["retry_errors"])
            return {**outcome.result, "retry_errors": errors}
        # Rounding costs as much as all the rest, and most tasks are short.
        seconds = 0.0 if ended - started < 0.005 else round(ended - started, 2)
        start, end = started + self._offset, ended + self._offset
        options, title, value = task.options, task.title, outcome.value
        # To copy what most have in common takes less than to write 17 fields.
        result: Any = _COMMON.copy()
        # As `Task.name`, which would be one call more for each task.
        title = title if type(title) is str else title[0]
        result["task_name"] = options.name or title
        first, after, text = self._last
        result["start_time"] = (
            text if first <= start < after else self._timestamp(start)
        )
        first, after, text = self._last
        result["end_time"] = text if first <= end < after else self._timestamp(end)
        if seconds:
            words = self._durations
            result["duration"] = words.get(seconds) or self._duration(seconds)
            result["duration_seconds"] = seconds
        if value is not None:
            result["result"] = result["output"] = value
        result["execution_mode"] = outcome.mode
        if options.retries:
            result["task_retries"] = options.retries
        result["retry_errors"] = [*task.errors]
        if outcome.cause is not SUCCESS or outcome.warning or task.attempts != 1:
            _explain(result, task, outcome)
        made: Result = result
        return made

    def _timestamp(self, moment: float) -> str:
        second = int(moment)
        text = self._timestamps.get(second)
        if text is None:
            text = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
            text = self._timestamps.setdefault(second, text)
        self._last = float(second), second + 1.0, text
        return text

    def _duration(self, seconds: float) -> str:
        return self._durations.setdefault(seconds, duration(seconds))


def _explain(result: Dict[str, Any], task: Task, outcome: Outcome) -> None:
    """Fill in what few have: those of tasks that did not just succeed at once."""
    error, trace, warning = outcome.error, outcome.trace, outcome.warning
    if outcome.mode is None:  # no attempt was being made
        result["execution_mode"] = task.last_mode
        warning = warning or warning_of(task.last_mode)
    result["error"] = None if error is None else str(error)
    result["trace"] = str(trace) or None if trace else None
    result["status"] = outcome.status
    result["has_failed"] = outcome.failed
    result["warning"] = str(warning) or None if warning else None
    result["attempts"] = task.attempts
    result["retried"] = task.attempts > 1


class Entry:
    """A task that has ended, as a report shows it.

    :param result: as its user has left it.
    :param cause: why it ended, as far as that is still so by the result.
    """

    __slots__ = ("task", "result", "cause")

    def __init__(self, task: Task, result: Result, cause: str) -> None:
        self.task = task
        self.result = result
        self.cause = cause


class Registry(Mapping[Hashable, "Any"]):
    """The results by label, as they come; ``{}`` for a task that has none yet.

    Each result is made when it is first asked for, and is the same dict ever after; but
    one that can still grow is made anew each time, until the end of the run.

    :param users: how many depend on a task.
    """

    def __init__(
        self,
        tasks: Dict[Hashable, Task],
        record: Callable[..., Result],
        users: Callable[[Task], int] = lambda task: 0,
    ) -> None:
        self._tasks = tasks
        self._record = record
        self.users = users
        self._pid: Optional[int] = None  # where the run is
        self._made: Dict[Hashable, Result] = {}
        self._taken = bytearray()  # by the index, tasks whose results were handed out
        self._left: Dict[Task, int] = {}  # how many of its users were not handed out
        self._taking = threading.Lock()
        self._keep = True

    def anew(self, task: Task, outcome: Outcome) -> Result:
        """The result of a task as it ended, whatever was changed in the one handed out.

        :param outcome: see `Recorder.record`.
        """
        return self._record(task, outcome)

    def give(self, task: Task) -> Optional[Result]:
        """The result of a task to hand out: kept as by `of`, or not, as by `take`."""
        return self.of(task) if self._keep else self.take(task)

    def of(self, task: Task) -> Result:
        """The result of a task that has ended."""
        result: Result = self[task.label]
        return result

    def take(self, task: Task) -> Optional[Result]:
        """The result of a task that has ended, for the first who asks; None for others.

        Nothing of it is kept from now on; its value is as long as others may need it.
        """
        result = self.of(task)
        with self._taking:
            if not self._taken:
                self._taken = bytearray(len(self._tasks))
            if self._taken[task.index]:
                return None
            self._taken[task.index] = True
            self._let_go(task, self._left.get(task, self.users(task)))
            for each in task.needs:
                users = self._left.get(each, self.users(each)) - 1
                self._left[each] = users
                if self._taken[each.index]:
                    self._let_go(each, users)
        self._made.pop(task.label, None)
        return result

    def _let_go(self, task: Task, users: int) -> None:
        """Let go of a value, unless somebody may need it."""
        if users <= 0:
            task.outcome = task.outcome and task.outcome.emptied()
            self._left.pop(task, None)

    def _is_taken(self, task: Task) -> bool:
        return bool(self._taken and self._taken[task.index])

    def begin(self, keep: bool) -> None:
        """The run begins in this process. Where a fork copies it, no result comes.

        :param keep: whether results stay here that were handed out.
        """
        self._keep = keep
        self._pid = os.getpid()

    def check_original(self) -> None:
        """Refuse what a copy of the run cannot know."""
        if self._pid is not None and self._pid != os.getpid():
            raise LifeCycleError(
                f"{COPY}: it knows no result of the run. Give a task what it needs as "
                "an argument, or let one task write it where another one reads it"
            )

    def __getitem__(self, label: Hashable) -> Any:
        result = self._made.get(label)
        if result is None:
            task = self._tasks[label]
            outcome = task.outcome
            if outcome is None or self._is_taken(task):
                self.check_original()
                return {}
            result = self._record(task, outcome)
            if not outcome.grows:
                result = self._made.setdefault(label, result)
                if self._is_taken(task):  # meanwhile
                    self._made.pop(label, None)
        return result

    def complete(self) -> Dict[Any, Result]:
        """The results of all tasks, which have all ended; without those taken."""
        made, record, tasks, taken = self._made, self._record, self._tasks, self._taken
        with collection_paused(len(tasks)):
            left: Dict[Any, Any] = tasks
            if taken:
                left = {k: v for k, v in tasks.items() if not taken[v.index]}
            # Of its full size, which a copy has soonest: to grow, beside `made`, would
            # hold up other threads.
            results = left.copy()
            for label, task in left.items():
                results[label] = made.get(label) or made.setdefault(label, record(task))
            return results

    def ended(self) -> List[Entry]:
        """What there is, for a report."""
        tasks = self._tasks
        with collection_paused(len(tasks)):
            return [self.entry(each) for each in tasks.values() if each.outcome]

    def entry(self, task: Task, outcome: Optional[Outcome] = None) -> Entry:
        """What a report says of a task that has ended.

        :param outcome: see `Recorder.record`.

        Its result is as the user has left it: whoever forgives a known failure does not
        want to read of it. Fields that were removed are filled in again.
        """
        made = self._record(task, outcome)
        result: Any = {**made, **self[task.label]}
        assert task.outcome is not None
        cause = task.outcome.cause
        if not result["has_failed"]:
            cause = SUCCESS
        elif cause is SUCCESS or result["error"] != made["error"]:
            cause = ERROR  # in the user's own words
        return Entry(task, result, cause)

    def exceptions(self, labels: Iterable[Hashable]) -> Dict[Any, BaseException]:
        """What tasks that have ended have raised; not those that succeeded."""
        from .exceptions import exception_of

        found = {}
        for label in labels:
            outcome = self._tasks[label].outcome
            error = None if outcome is None else exception_of(outcome)
            if error is not None:
                found[label] = error
        return found

    def __reduce__(self) -> Any:
        if not all(task.outcome for task in self._tasks.values()):
            raise TypeError(
                "The results_registry of a run that goes on cannot be copied, nor sent "
                "to a process: give a task what it needs as an argument"
            )
        return dict, (self.complete(),)

    def __iter__(self) -> Iterator[Hashable]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    def __repr__(self) -> str:
        return repr(dict(self))


def duration(seconds: float) -> str:
    """``"1.01 sec"``; beyond a minute ``"2.5 min"``."""
    seconds = round(seconds, 2)
    return f"{seconds} sec" if seconds <= 60 else f"{round(seconds / 60, 2)} min"
