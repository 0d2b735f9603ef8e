"""Outcomes made readable: result dicts, the report, the progress line.

Pure: it reads finished tasks, and knows no lock, clock or runner.
"""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, Hashable, Iterable, Iterator, List, Mapping
from typing import Optional

from .errors import name, quote
from .tasks import Outcome, Task

#: Columns of the bar in a progress line.
BAR = 25


class Timestamps:
    """Turns moments of the monotonic clock into local time, to the second.

    :param offset: what is to be added to a moment to get the seconds since the epoch.
        One offset serves a whole run, so a clock that is set meanwhile cannot make a
        task end before it started.
    """

    def __init__(self, offset: float) -> None:
        self._offset = offset
        self._known: Dict[int, str] = {}

    def __call__(self, moment: float) -> str:
        second = int(moment + self._offset)
        text = self._known.get(second)
        if text is None:
            text = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
            self._known[second] = text
        return text


def to_dict(task: Task, timestamp: Callable[[float], str]) -> Dict[str, Any]:
    """The documented result of a task that has ended: 17 fields, a new dict."""
    outcome = task.outcome
    assert outcome is not None and task.started is not None and task.ended is not None
    seconds = task.ended - task.started
    return {
        "task_name": task.job.name,
        "start_time": timestamp(task.started),
        "end_time": timestamp(task.ended),
        "duration": duration(seconds),
        "duration_seconds": round(seconds, 2),
        "result": outcome.value,
        "error": outcome.error,
        "trace": trace(outcome),
        "status": outcome.status,
        "has_failed": not outcome.ok,
        "output": outcome.value,
        "execution_mode": outcome.mode or task.mode,
        "warning": outcome.warning,
        "attempts": task.attempts,
        "task_retries": task.retries,
        "retried": task.attempts > 1,
        "retry_errors": list(task.errors),
    }


class Registry(Mapping[Hashable, Dict[str, Any]]):
    """The results by label, as they come; ``{}`` for a task that has none yet.

    Each result is made when it is first asked for, and is the same dict ever after.
    """

    def __init__(
        self, tasks: Mapping[Hashable, Task], timestamp: Callable[[float], str]
    ) -> None:
        self._tasks = tasks
        self._timestamp = timestamp
        self._made: Dict[Hashable, Dict[str, Any]] = {}

    def __getitem__(self, label: Hashable) -> Dict[str, Any]:
        result = self._made.get(label)
        if result is None:
            task = self._tasks[label]
            if task.outcome is None:
                return {}
            result = self._made.setdefault(label, to_dict(task, self._timestamp))
        return result

    def __iter__(self) -> Iterator[Hashable]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    def __repr__(self) -> str:
        return repr(dict(self))


def trace(outcome: Outcome) -> Optional[str]:
    """What helps to understand an error; None if there is nothing."""
    return None if outcome.trace is None else str(outcome.trace) or None


def duration(seconds: float) -> str:
    """``"1.01 sec"``; beyond a minute ``"2.5 min"``."""
    if seconds > 60:
        return f"{round(seconds / 60, 2)} min"
    return f"{round(seconds, 2)} sec"


def table(tasks: Iterable[Task]) -> str:
    """A row for each task: label, task, status, duration."""
    from tabulate import tabulate

    rows: List[List[str]] = []
    for task in tasks:
        assert task.outcome and task.ended is not None and task.started is not None
        took = duration(task.ended - task.started)
        rows.append([name(task.label), task.job.name, task.outcome.status, took])
    headers = ["label", "task", "status", "duration"]
    return tabulate(rows, headers=headers, tablefmt="psql", disable_numparse=True)


def failure(task: Task) -> str:
    """What went wrong with a task, with the trace if there is one."""
    outcome: Outcome = task.outcome  # type: ignore[assignment]
    text = f"Task {quote(task.label)} failed with error: {outcome.error}"
    return "\n".join(filter(None, [text, trace(outcome)]))


def report(tasks: Iterable[Task], message: str) -> str:
    """``message``, the table, and then what went wrong, task by task."""
    tasks = list(tasks)
    failures = [failure(task) for task in tasks if task.outcome and not task.outcome.ok]
    return "\n".join([message, table(tasks), *failures])


def progress(name: str, ended: int, total: int, seconds: float) -> str:
    """``"Name progress: [####.....] 1/2 [50.0%] in 0 min 0.0 sec"``."""
    share = ended / total if total else 1.0
    filled = round(BAR * share)
    bar = "#" * filled + "." * (BAR - filled)
    percent = round(100 * share, 2)
    minutes, rest = divmod(round(seconds, 2), 60)
    took = f"{int(minutes)} min {round(rest, 2)} sec"
    return f"{name} progress: [{bar}] {ended}/{total} [{percent}%] in {took}"
