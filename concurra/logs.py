"""What a run writes to its log. A broken log breaks nothing."""

from __future__ import annotations

import sys
import threading

from .errors import ExecutionError, hidden
from .events import END, Reader
from .outcomes import FAILED, SUCCESS, SUCCESSFUL
from .wording import GENERATOR_WARNING, describe, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from typing import Any, Callable, Dict, List, Optional, Tuple

    from .events import Event
    from .outcomes import Outcome
    from .run_options import RunOptions
    from .results import Registry
    from .snapshot import Snapshot
    from .tasks import Task

__tracebackhide__ = hidden

#: Stands above a report of failures that was given no message.
FAILURE = "Execution Failed"

#: Stands above one that the log was not given.
DISABLED = (
    "concurra: its logger is disabled, so the report of failures comes here "
    "(logging.config disables the loggers that exist already, unless it is told "
    "disable_existing_loggers=False)"
)


# -- writing -----------------------------------------------------------------------


def emit(
    log: logging.Logger, level: str, text: Callable[[], str], **facts: Any
) -> None:
    """Log a text, which is made only if somebody wants it.

    :param level: the name of the logger's method.
    :param facts: attributes of the record: see `attributes`.
    """

    def act() -> None:
        if is_on(log, level):
            from .attributes import write
            from .loggers import encodable
            from .sanitize import sanitize

            facts.setdefault("event", "note")
            write(log, level, encodable(log, sanitize(text())), facts)

    guard(act)


def is_on(log: logging.Logger, level: str) -> bool:
    """Whether somebody may want what is logged at a level."""
    import logging

    enabled = getattr(log, "isEnabledFor", None)
    return enabled is None or bool(enabled(getattr(logging, level.upper())))


def warn(log: logging.Logger, note: str, **facts: Any) -> None:
    """Log a warning; ``facts`` as for `emit`."""
    emit(log, "warning", lambda: note, **{"event": "warning", **facts})


def guard(act: Callable[[], object]) -> None:
    """Call what writes to the log; what it raises is shown as `logging` shows errors.

    What is no ``Exception`` is for the program, though, where it is the main thread's.
    """
    try:
        act()
    except BaseException as error:
        main = threading.current_thread() is threading.main_thread()
        if main and not isinstance(error, Exception):
            raise
        _show()


def _show() -> None:
    """Show the exception that is being handled on stderr, if that can be done."""
    import logging

    if logging.raiseExceptions:
        import traceback

        _print(traceback.format_exc())


def _print(text: str) -> None:
    """Write a text to stderr, if that can be done."""
    from .sanitize import sanitize

    stream = sys.stderr
    if stream is not None:
        text = sanitize(text)
        encoding = getattr(stream, "encoding", None) or "utf-8"
        try:
            text = text.encode(encoding, "backslashreplace").decode(encoding)
            print(text.rstrip("\n"), file=stream, flush=True)
        except Exception:  # closed, or a pipe whose reader has gone
            pass


def report(
    log: logging.Logger,
    registry: Registry,
    message: Optional[str] = None,
    raises: bool = False,
) -> None:
    """Log the report on all tasks that have ended.

    :param message: stands above it if one of them did not succeed.
    :param raises: whether to raise it, instead, if one of them did not succeed.
    :raises ExecutionError: see ``raises``.
    """
    from . import loggers, summary

    ended = registry.ended()
    failed = [each.task.label for each in ended if each.cause is not SUCCESS]
    text = message or FAILURE
    if failed and raises:
        everything = registry.complete()
        exceptions = registry.exceptions(failed)
        given = {each.task.label: each.result for each in ended}  # also of those taken
        raise ExecutionError(
            summary.report(ended, text),
            everything,
            {label: everything.get(label) or given[label] for label in failed},
            exceptions,
        ) from next(iter(exceptions.values()), None)
    facts = {"event": "report", "ended": len(ended), "total": len(registry)}
    if not failed:
        facts["status"] = SUCCESSFUL
        emit(log, "info", lambda: summary.report(ended, ""), **facts)
    elif loggers.is_disabled(log):
        guard(lambda: _print(f"{DISABLED}\n{summary.report(ended, text)}"))
    else:
        facts["status"] = FAILED
        emit(log, "error", lambda: summary.report(ended, text), **facts)


def interrupted(
    log: logging.Logger, name: str, error: BaseException, ended: int, total: int
) -> None:
    """Log that something has cut a run short.

    :param ended: how many of ``total`` tasks had ended by themselves.
    """
    from . import summary

    what = ""
    if not isinstance(error, KeyboardInterrupt):
        what = describe(error)[0].rstrip(": ")
    note = summary.interrupted(name, ended, total, what)
    warn(log, note, event="interrupted", ended=ended, total=total)


def progress(
    log: logging.Logger, name: str, ended: int, total: int, seconds: float
) -> None:
    """Log how many tasks have ended."""

    def line() -> str:
        from . import summary

        return summary.progress(name, ended, total, seconds)

    facts = {"event": "progress", "ended": ended, "total": total}
    emit(log, "info", line, duration=round(seconds, 2), **facts)


def status(log: logging.Logger, look: Snapshot) -> None:
    """Log how far a run has come, and what is at work."""

    def line() -> str:
        from . import summary

        return summary.status(look)

    facts = {"event": "status", "ended": look.ended, "total": look.total}
    emit(log, "info", line, duration=round(look.seconds, 2), **facts)


def unfinished(name: str, left: int, total: int) -> str:
    """What is to be said when the program ends before a run in the background."""
    return (
        f"The program ends before {left} of the {total} tasks of {name} in the "
        "background: get_background_results() would have waited"
    )


# -- following a run ---------------------------------------------------------------


class ErrorReader(Reader):
    """Logs what is to be said of a task when it has ended."""

    faults = True

    def __init__(self, options: RunOptions, registry: Registry) -> None:
        self._log = options.log
        self._errors = options.log_errors or options.fast_fail
        self._fast_fail = options.fast_fail
        self._registry = registry
        self._growing: List[Task] = []  # whose warning may come later

    def read(self, event: Event) -> None:
        """Log what went wrong with the task of an event, and how else it was run."""
        task, outcome = event.task, event.outcome
        if outcome is not None and not self.quick(event):
            guard(lambda: self._tell(task, outcome, event.ended))

    def quick(self, event: Event) -> bool:
        """Whether the event is another reader's."""
        outcome = event.outcome
        return outcome is None or (outcome.warning is None and not outcome.fault)

    def _tell(self, task: Task, outcome: Outcome, ended: int) -> None:
        from . import summary
        from .sanitize import one_line

        facts = {**_facts(task, outcome), "ended": ended, "total": len(self._registry)}
        name, note = one_line(quote(task.label)), outcome.warning
        generator = isinstance(note, str) and note.endswith(GENERATOR_WARNING)
        if task.last_mode == "thread_fallback":
            note = f"Task {name} was not picklable; ran in thread fallback"
            warn(self._log, note, **facts)
        elif outcome.grows:
            self._growing.append(task)
        elif outcome.mode is not None and not generator:
            self._warn(task, facts)
        if generator:
            warn(self._log, f"Task {name} {GENERATOR_WARNING}", **facts)
        if outcome.fault and self._errors:
            entry = self._registry.entry(task, outcome)
            facts["event"] = "failure"
            emit(self._log, "error", lambda: summary.failure(entry), **facts)
            if self._fast_fail:
                facts["event"] = "fast_fail"
                emit(self._log, "error", lambda: "terminating execution!", **facts)

    def close(self) -> None:
        """Log what could not be known before."""
        for task in self._growing:
            if task.outcome is not None:
                self._warn(task, _facts(task, task.outcome))
        self._growing.clear()

    def _warn(self, task: Task, facts: Dict[str, Any]) -> None:
        outcome = task.outcome
        if outcome is not None and outcome.warning and str(outcome.warning):
            from .sanitize import one_line

            name, note = one_line(quote(task.label)), one_line(str(outcome.warning))
            warn(self._log, f"Task {name}: {note}", **facts)


def _facts(task: Task, outcome: Outcome) -> Dict[str, Any]:
    """What is told of a task that has ended, beside the text."""
    started, ended = task.started or 0.0, task.ended or 0.0
    return {
        "event": "warning",
        "label": task.label,
        "status": outcome.status,
        "duration": round(ended - started, 2),
        "attempt": task.attempts,
    }


class ProgressReader(Reader):
    """Has a line of progress logged with each tenth of the tasks that has ended."""

    def __init__(self) -> None:
        self._show: Callable[[], object] = _nothing
        self._log: Optional[logging.Logger] = None
        self._total = 0
        # The thread that reads, and the number that it reads of. Others may have ended
        # since, and others may ask meanwhile for the number of now.
        self._told: Tuple[Optional[int], int] = (None, 0)

    def follow(
        self,
        show: Callable[[], object],
        total: int,
        log: Optional[logging.Logger] = None,
    ) -> None:
        """Call ``show`` at every tenth of ``total`` ends, and at the last.

        :param log: all that ``show`` does is to log there at INFO; None for more.
        """
        self._show = show
        self._log = log
        self._total = total
        self.step = max(1, total // 10)

    def read(self, event: Event) -> None:
        """Call ``show`` if it is time; not any more after the last end."""
        ended, total = event.ended, self._total
        if not self._wants(event):
            return
        self._told = threading.get_ident(), ended
        guard(self._show)
        self._told = (None, 0)
        if ended == total:
            self._show = _nothing  # it holds the runner

    def quick(self, event: Event) -> bool:
        """Whether there is nothing to show, or nobody to see it."""
        if not self._wants(event):
            return True
        try:
            return self._log is not None and not is_on(self._log, "info")
        except Exception:  # `emit` shows it
            return False

    def mute(self) -> None:
        """Call ``show`` no more, as the run has been cut short."""
        self._show = _nothing

    close = abandon = mute

    def _wants(self, event: Event) -> bool:
        due = not event.ended % self.step or event.ended == self._total
        return due and event.kind == END

    def told(self, now: int) -> int:
        """The number that this thread calls ``show`` for; ``now`` if it does not."""
        thread, ended = self._told
        return ended if thread == threading.get_ident() else now


def _nothing() -> None:
    """Log no progress."""
