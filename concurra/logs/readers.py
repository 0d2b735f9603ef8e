"""Readers that write events of a run to its log."""

from __future__ import annotations

import threading

from ..events import END, Reader
from ..wording import GENERATOR_WARNING, quote
from . import messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from typing import Any, Callable, Dict, List, Optional, Tuple

    from ..events import Event
    from ..outcomes import Outcome
    from ..results import Registry
    from ..run_options import RunOptions
    from ..tasks import Task


class ErrorReader(Reader):
    """Logs what is to be said of a task when it has ended."""

    faults = True

    def __init__(self, options: RunOptions, registry: Registry) -> None:
        self._log = options.log
        self._errors = options.log_errors or options.fast_fail
        self._fast_fail = options.fast_fail
        self._registry = registry
        self._growing: List[Task] = []  # their warnings may come later

    def read(self, event: Event) -> None:
        """Log what went wrong with the task of an event, and its warnings."""
        task, outcome = event.task, event.outcome
        if outcome is not None and not self.quick(event):
            messages.guard(lambda: self._tell(task, outcome, event.ended))

    def quick(self, event: Event) -> bool:
        """Whether the event is another reader's."""
        outcome = event.outcome
        return outcome is None or (outcome.warning is None and not outcome.fault)

    def _tell(self, task: Task, outcome: Outcome, ended: int) -> None:
        from .. import summary
        from ..sanitize import one_line

        attributes = {
            **_attributes(task, outcome),
            "ended": ended,
            "total": len(self._registry),
        }
        name, note = one_line(quote(task.label)), outcome.warning
        generator = isinstance(note, str) and note.endswith(GENERATOR_WARNING)
        if task.last_mode == "thread_fallback":
            note = f"Task {name} was not picklable; ran in thread fallback"
            messages.warn(self._log, note, **attributes)
        elif outcome.grows:
            self._growing.append(task)
        elif outcome.mode is not None and not generator:
            self._warn(task, attributes)
        if generator:
            messages.warn(self._log, f"Task {name} {GENERATOR_WARNING}", **attributes)
        if outcome.fault and self._errors:
            entry = self._registry.entry(task, outcome)
            attributes["event"] = "failure"
            messages.emit(
                self._log, "error", lambda: summary.failure(entry), **attributes
            )
            if self._fast_fail:
                attributes["event"] = "fast_fail"
                messages.emit(
                    self._log, "error", lambda: "terminating execution!", **attributes
                )

    def close(self) -> None:
        """Log what could not be known before."""
        for task in self._growing:
            if task.outcome is not None:
                self._warn(task, _attributes(task, task.outcome))
        self._growing.clear()

    def _warn(self, task: Task, attributes: Dict[str, Any]) -> None:
        outcome = task.outcome
        if outcome is not None and outcome.warning and str(outcome.warning):
            from ..sanitize import one_line

            name, note = one_line(quote(task.label)), one_line(str(outcome.warning))
            messages.warn(self._log, f"Task {name}: {note}", **attributes)


def _attributes(task: Task, outcome: Outcome) -> Dict[str, Any]:
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
    """Has a line of progress logged with each tenth of the tasks that has ended.

    :param show: called at every tenth of ``total`` ends, and at the last.
    :param log: where ``show`` logs at INFO, if it does nothing else; else None.
    """

    def __init__(
        self,
        show: Callable[[], object],
        total: int,
        log: Optional[logging.Logger] = None,
    ) -> None:
        self._show = show
        self._total = total
        self._log = log
        self.step = max(1, total // 10)
        # The thread that calls `show`, and the number of ends that it shows. More tasks
        # may have ended since, and other threads may ask for the present number.
        self._told: Tuple[Optional[int], int] = (None, 0)

    def read(self, event: Event) -> None:
        """Call ``show`` if it is time; never again after the last end."""
        ended, total = event.ended, self._total
        if not self._wants(event):
            return
        self._told = threading.get_ident(), ended
        messages.guard(self._show)
        self._told = (None, 0)
        if ended == total:
            self._show = _nothing  # it holds the runner

    def quick(self, event: Event) -> bool:
        """Whether there is nothing to show, or nobody to see it."""
        if not self._wants(event):
            return True
        try:
            return self._log is not None and not messages.is_on(self._log, "info")
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
