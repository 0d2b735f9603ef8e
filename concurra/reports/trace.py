"""A run as a trace that Perfetto and the browsers' own viewers show.

::

    the run             counters: how many tasks run, how many wait for a place
      lane 1            [ a ][ b, attempt 1 ][ waits ][ b, attempt 2 ]
      lane 2            [ c ]       [ d ]      an arrow from each task to those that
      not run           | e                    depend on it
    waiting for a place         from when a task could have started until it did

It is the Trace Event Format; times are microseconds from the start of the run.
"""

from __future__ import annotations

import json

from . import files
from .json_file import iso
from .record import record
from .texts import block, line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Final, Iterator, List, Optional, Sequence
    from typing import Tuple, Union

    from ..core import TaskRunner
    from .files import Target
    from .record import RunRecord, TaskRecord, Try

    Event = Dict[str, Any]

_encode: Final = json.JSONEncoder(allow_nan=False).encode

#: The two groups of tracks, which are processes to the format. A thread with the number
#: of its process would be shown as its main thread.
_RUN: Final = 1000
_QUEUE: Final = 1001

#: Characters of a label, and of a text beside it.
_LABEL: Final = 200
_TEXT: Final = 4000

#: The name of the time between two attempts.
_WAITS: Final = "waits for its next attempt"

#: Seconds of waiting that are not worth an event.
_NOTHING: Final = 0.001


def write_chrome_trace(run: Union[TaskRunner, RunRecord], file: Target) -> None:
    """Write a run as a trace for https://ui.perfetto.dev or ``chrome://tracing``.

    There is a track for each lane, see `TaskRecord`, with a slice for each attempt.

    :param run: a runner, or a record.
    :param file: a path, or a file that is open for writing, as text or as bytes.
    :raises TypeError, ValueError: one of these is something else.
    :raises OSError: the file cannot be written.
    """
    files.write(file, _pieces(record(run)))


def _pieces(run: RunRecord) -> Iterator[str]:
    about: Event = {"concurra": run.concurra_version, "state": run.state}
    if run.started is not None:
        about["started"] = iso(run.started)
    head = {"displayTimeUnit": "ms", "otherData": about}
    yield f'{_encode(head)[:-1]}, "traceEvents": ['
    before = "\n"
    for event in _Trace(run).events():
        yield f"{before}{_encode(event)}"
        before = ",\n"
    yield "\n]}\n"


class _Trace:
    """Makes the events of a run."""

    def __init__(self, run: RunRecord) -> None:
        self._run = run
        moments = [m for task in run.tasks for m in (task.started, task.ended)]
        known = [moment for moment in (run.started, *moments) if moment is not None]
        self._zero = min(known, default=run.moment)
        lanes = [task.lane for task in run.tasks if task.lane is not None]
        self._lanes = max(lanes, default=-1) + 1
        self._arrows = 0

    def events(self) -> Iterator[Event]:
        """All of them."""
        yield from self._names()
        yield from self._counters()
        for task in self._run.tasks:
            if task.lane is None or task.started is None:
                if task.ended is not None:
                    yield self._not_run(task)
                continue
            yield from self._attempts(task)
            yield from self._queue(task)
            yield from self._arrows_to(task)

    def _at(self, moment: float) -> float:
        return round((moment - self._zero) * 1e6, 3)

    def _end(self, moment: Optional[float]) -> float:
        """The end of something, which may still go on."""
        return self._run.moment if moment is None else moment

    def _event(
        self, phase: str, name: str, moment: float, track: int, **more: Any
    ) -> Event:
        made: Event = {"ph": phase, "name": name, "ts": self._at(moment)}
        return {**made, "pid": _RUN, "tid": track, **more}

    def _names(self) -> Iterator[Event]:
        yield _meta("process_name", _RUN, name=line(self._run.name, _LABEL))
        yield _meta("process_sort_index", _RUN, sort_index=_RUN)
        yield _meta("process_name", _QUEUE, name="waiting for a place")
        yield _meta("process_sort_index", _QUEUE, sort_index=_QUEUE)
        for lane in range(self._lanes):
            yield _meta("thread_name", _RUN, lane + 1, name=f"lane {lane + 1}")
            yield _meta("thread_sort_index", _RUN, lane + 1, sort_index=lane + 1)
        yield _meta("thread_name", _RUN, self._lanes + 1, name="not run")
        yield _meta("thread_sort_index", _RUN, self._lanes + 1, sort_index=10**6)

    def _counters(self) -> Iterator[Event]:
        """How many tasks are at work, and how many could be, after each change."""
        changes: List[Tuple[float, int, int]] = []
        for task in self._run.tasks:
            if task.started is not None:
                for start, end, _ in _tries(task):
                    changes.append((start, 1, 0))
                    changes.append((self._end(end), -1, 0))
                if task.ready is not None:
                    changes.append((task.ready, 0, 1))
                    changes.append((task.started, 0, -1))
        changes.sort(key=lambda change: change[0])
        running = waiting = 0
        for number, (moment, more, ready) in enumerate(changes):
            running, waiting = running + more, waiting + ready
            if number + 1 < len(changes) and changes[number + 1][0] == moment:
                continue
            for name, value in (("running", running), ("waiting", waiting)):
                yield self._event("C", name, moment, 0, args={"tasks": value})

    def _attempts(self, task: TaskRecord) -> Iterator[Event]:
        label = line(task.label, _LABEL)
        tries = _tries(task)
        before: Optional[float] = None
        waits = tries[-1][1] is not None and tries[-1][1] != task.ended
        for number, (start, end, error) in enumerate(tries, 1):
            if before is not None and start > before:
                yield self._slice(_WAITS, task, before, start, {})
            last = number == len(tries) and not waits
            name = label if len(tries) == 1 else f"{label}, attempt {number}"
            args = self._about(task) if last else {"index": task.index}
            status = task.status if last else "Failed"
            before = self._end(end)
            yield self._slice(name, task, start, before, _ended(args, status, error))
        if waits and before is not None:  # until it was ended, or still
            args = _ended(self._about(task), task.status, task.error)
            yield self._slice(_WAITS, task, before, self._end(task.ended), args)

    def _slice(
        self, name: str, task: TaskRecord, start: float, end: float, args: Event
    ) -> Event:
        long = max(0.0, round(self._at(end) - self._at(start), 3))
        more: Event = {"cat": task.kind, "dur": long, "args": args}
        if args.get("status") in _COLOURS:
            more["cname"] = _COLOURS[args["status"]]
        return self._event("X", name, start, _track(task), **more)

    def _about(self, task: TaskRecord) -> Event:
        """What is shown of a task beside its slice."""
        told: Event = {"index": task.index, "name": line(task.name, _LABEL)}
        if task.program:
            told["program"] = line(task.program, _LABEL)
        if task.mode:
            told["mode"] = line(task.mode)
        if task.cause:
            told["cause"] = task.cause
        if task.warning:
            told["warning"] = block(task.warning)[:_TEXT]
        if task.ready is not None and task.started is not None:
            told["waited_seconds"] = round(task.started - task.ready, 6)
        return told

    def _queue(self, task: TaskRecord) -> Iterator[Event]:
        """The time that a task could have been at work, and was not."""
        if task.ready is None or task.started is None:
            return
        if task.started - task.ready >= _NOTHING:
            more: Event = {
                "pid": _QUEUE,
                "cat": "waiting",
                "id2": {"local": str(task.index)},
            }
            label = line(task.label, _LABEL)
            yield self._event("b", label, task.ready, 1, **more)
            yield self._event("e", label, task.started, 1, **more)

    def _arrows_to(self, task: TaskRecord) -> Iterator[Event]:
        """An arrow from each dependency's last attempt to the first of this task."""
        assert task.started is not None
        for index in task.depends_on:
            needed = self._run.tasks[index]
            if needed.lane is None or needed.started is None or needed.ended is None:
                continue
            self._arrows += 1
            more: Event = {"cat": "dependency", "id": self._arrows}
            start = needed.tries[-1][0] if needed.tries else needed.started
            within = max((start + needed.ended) / 2, needed.ended - 1e-6)
            yield self._event("s", "dependency", within, _track(needed), **more)
            more["bp"] = "e"
            yield self._event("f", "dependency", task.started, _track(task), **more)

    def _not_run(self, task: TaskRecord) -> Event:
        assert task.ended is not None
        args = self._about(task)
        args["status"] = task.status
        if task.error:
            args["error"] = block(task.error)[:_TEXT]
        label, track = line(task.label, _LABEL), self._lanes + 1
        more: Event = {"s": "t", "cat": task.kind, "args": args}
        return self._event("i", label, task.ended, track, **more)


def _ended(args: Event, status: str, error: Optional[str]) -> Event:
    """What is told of a slice, with how it ended."""
    args["status"] = status
    if error:
        args["error"] = block(error)[:_TEXT]
    return args


def _tries(task: TaskRecord) -> Sequence[Try]:
    """The attempts of a task that was started."""
    assert task.started is not None
    return task.tries or ((task.started, task.ended, task.error),)


def _track(task: TaskRecord) -> int:
    return (task.lane or 0) + 1


#: The names of colours in the viewers that have them.
_COLOURS: Final = {"Successful": "good", "Failed": "terrible", "Terminated": "bad"}


def _meta(kind: str, pid: int, tid: int = 0, **args: Any) -> Event:
    return {"ph": "M", "name": kind, "pid": pid, "tid": tid, "ts": 0, "args": args}
