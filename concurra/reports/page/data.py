"""What the page's script is given: a run as a value of JSON."""

from __future__ import annotations

import json

from .graph import drawing
from .texts import limit_of, shower

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Optional

    from ..record import RunRecord, TaskRecord

#: Characters that could end the script in HTML, or a line in the script.
_ESCAPES = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


def embedded(record: RunRecord) -> str:
    """The run as JSON that can stand in an element ``script``, whatever it says."""
    text = json.dumps(run_data(record), ensure_ascii=False, separators=(",", ":"))
    return text.translate(_ESCAPES)


def run_data(record: RunRecord) -> Dict[str, Any]:
    """The run; times are seconds since its start, and what is empty is left out."""
    data = _Data(record.started or 0.0, shower(limit_of(record)))
    return {
        "state": record.state,
        "concurrency": record.max_concurrency,
        "end": None if record.started is None else data.time(record.until),
        "tasks": [data.task(each) for each in record.tasks],
        "graph": drawing(record),
    }


class _Data:
    def __init__(self, zero: float, shown: Callable[[str], str]) -> None:
        self._zero = zero
        self._shown = shown

    def time(self, moment: Optional[float]) -> Optional[float]:
        return None if moment is None else round(moment - self._zero, 4)

    def task(self, task: TaskRecord) -> Dict[str, Any]:
        shown = self._shown
        texts = {
            "label": task.label,
            "name": task.name,
            "program": task.program,
            "words": task.status_text if task.status_text != task.status else None,
            "error": task.error,
            "trace": task.trace,
            "warning": task.warning,
            "stdout": task.stdout,
            "stderr": task.stderr,
            "root": task.skipped_because_of,
            "result": _result(task),
        }
        found: Dict[str, Any] = {
            key: shown(text) for key, text in texts.items() if text
        }
        found.setdefault("label", "")
        found.update(
            status=task.status,
            cause=task.cause,
            kind=task.kind,
            mode=task.mode,
            deps=list(dict.fromkeys(task.depends_on)),
            ready=self.time(task.ready),
            start=self.time(task.started),
            end=self.time(task.ended),
            took=None if task.duration is None else round(task.duration, 4),
            attempts=task.attempts,
            retries=task.task_retries,
            lane=task.lane,
            errors=[shown(each) for each in task.retry_errors],
            repr=task.result_is_repr or None,
            restored=task.restored or None,
        )
        tries = task.tries
        if tries and (len(tries) > 1 or tries[-1][1] != task.ended):
            found["tries"] = [
                [self.time(start), self.time(end)] for start, end, _ in tries
            ]
        return {key: each for key, each in found.items() if each not in (None, [])}


def _result(task: TaskRecord) -> Optional[str]:
    if task.result is None or isinstance(task.result, str):
        return task.result or None
    return json.dumps(task.result, ensure_ascii=False, indent=2)
