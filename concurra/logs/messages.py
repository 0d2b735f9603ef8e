"""What a run writes to its log. A broken log breaks nothing."""

from __future__ import annotations

import sys
import threading

from ..errors import ExecutionError, hidden
from ..outcomes import FAILED, SUCCESS, SUCCESSFUL
from ..wording import describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from typing import Any, Callable, Optional

    from ..engine.snapshot import Snapshot
    from ..results import Registry

__tracebackhide__ = hidden

#: Stands above a report of failures if the caller has given no message.
FAILURE = "Execution Failed"

#: Stands above one that goes to stderr, and not to the log.
DISABLED = (
    "concurra: its logger is disabled, so the report of failures comes here "
    "(logging.config disables the loggers that exist already, unless it is told "
    "disable_existing_loggers=False)"
)


# -- writing -----------------------------------------------------------------------


def emit(
    log: logging.Logger, level: str, text: Callable[[], str], **attributes: Any
) -> None:
    """Log a text, which is made only if somebody wants it.

    :param level: the name of the logger's method.
    :param attributes: those of the record: see `attributes`.
    """

    def act() -> None:
        if is_on(log, level):
            from ..sanitize import sanitize
            from .attributes import write
            from .loggers import loggable

            attributes.setdefault("event", "note")
            write(log, level, loggable(log, sanitize(text())), attributes)

    guard(act)


def is_on(log: logging.Logger, level: str) -> bool:
    """Whether somebody may want what is logged at a level."""
    import logging

    enabled = getattr(log, "isEnabledFor", None)
    return enabled is None or bool(enabled(getattr(logging, level.upper())))


def warn(log: logging.Logger, note: str, **attributes: Any) -> None:
    """Log a warning; ``attributes`` as for `emit`."""
    emit(log, "warning", lambda: note, **{"event": "warning", **attributes})


def guard(act: Callable[[], object]) -> None:
    """Call what writes to the log; what it raises is shown as `logging` shows errors.

    Only in the main thread, what is no ``Exception``, such as Ctrl-C, is raised.
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
    from ..encoding import encodable, encoding_of
    from ..sanitize import sanitize

    stream = sys.stderr
    if stream is not None:
        try:
            text = encodable(sanitize(text), encoding_of(stream))
            print(text.rstrip("\n"), file=stream, flush=True)
        except Exception:  # closed, or a pipe whose reader has gone
            pass


def is_report_wanted(log: logging.Logger) -> bool:
    """Whether somebody may want a report on what has succeeded."""
    try:
        return is_on(log, "info")
    except Exception:
        return False


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
    from .. import summary
    from . import loggers

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
    attributes = {"event": "report", "ended": len(ended), "total": len(registry)}
    if not failed:
        attributes["status"] = SUCCESSFUL
        emit(log, "info", lambda: summary.report(ended, ""), **attributes)
    elif loggers.is_disabled(log):
        guard(lambda: _print(f"{DISABLED}\n{summary.report(ended, text)}"))
    else:
        attributes["status"] = FAILED
        emit(log, "error", lambda: summary.report(ended, text), **attributes)


def interrupted(
    log: logging.Logger, name: str, error: BaseException, ended: int, total: int
) -> None:
    """Log that something has cut a run short.

    :param ended: how many of ``total`` tasks had ended by themselves.
    """
    from .. import summary

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
        from .. import summary

        return summary.progress(name, ended, total, seconds)

    attributes = {"event": "progress", "ended": ended, "total": total}
    emit(log, "info", line, duration=round(seconds, 2), **attributes)


def status(log: logging.Logger, snapshot: Snapshot) -> None:
    """Log how far a run has come, and what is at work."""

    def line() -> str:
        from .. import summary

        return summary.status(snapshot)

    attributes = {"event": "status", "ended": snapshot.ended, "total": snapshot.total}
    emit(log, "info", line, duration=round(snapshot.seconds, 2), **attributes)


def unstarted(name: str, total: int) -> str:
    """What is to be said when a ``with`` block has ended that has started nothing."""
    tasks = "1 task has" if total == 1 else f"{total} tasks have"
    return (
        f"The `with` block of {name} has ended, and its {tasks} not been started: "
        "run() does that, within the block or after it"
    )


def unfinished(name: str, left: int, total: int) -> str:
    """What is to be said when the program ends before a run in the background."""
    return (
        f"The program ends before {left} of the {total} tasks of {name} in the "
        "background: get_background_results() would have waited"
    )
