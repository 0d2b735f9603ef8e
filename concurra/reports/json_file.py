"""A record as a file of JSON.

::

    {"format": "concurra run", "version": 1,
     "name": ..., "started": seconds, "started_iso": text, ..., "tasks": [
    {"index": 0, "label": ..., "tries": [{"started": ..., "error": ...}], ...},
    ...
    ]}

Strict JSON in UTF-8: no NaN, no lone surrogates. There is a line for each task.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone
from functools import lru_cache

from . import files, values
from .record import RunRecord, TaskRecord, record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Final, Iterator, Optional, Union

    from ..core import TaskRunner
    from .files import Target

_encode: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode

#: What the file says of itself.
FORMAT: Final = "concurra run"
VERSION: Final = 1

#: Fields that are written with a second one for people, in ISO 8601.
_TIMES: Final = frozenset(("moment", "ready", "started", "ended"))


def write_json(run: Union[TaskRunner, RunRecord], file: Target) -> None:
    """Write a record of a run, from which `load` makes an equal one.

    :param run: a runner, or a record.
    :param file: a path, or a file that is open for writing, as text or as bytes.
    :raises TypeError, ValueError: one of these is something else.
    :raises OSError: the file cannot be written.
    """
    files.write(file, _pieces(record(run)))


def _pieces(run: RunRecord) -> Iterator[str]:
    head: Dict[str, Any] = {"format": FORMAT, "version": VERSION}
    for name in RunRecord.__slots__:
        if name != "tasks":
            _put(head, name, getattr(run, name))
    yield f'{_dumps(head)[:-1]}, "tasks": ['
    before = "\n"
    for task in run.tasks:
        yield f"{before}{_dumps(_task(task))}"
        before = ",\n"
    yield "\n]}\n"


def _task(task: TaskRecord) -> Dict[str, Any]:
    fields: Dict[str, Any] = {}
    for name in TaskRecord.__slots__:
        _put(fields, name, getattr(task, name))
    fields["tries"] = tries = []
    for started, ended, error in task.tries:
        attempt: Dict[str, Any] = {}
        _put(attempt, "started", started)
        _put(attempt, "ended", ended)
        attempt["error"] = error
        tries.append(attempt)
    return fields


def _put(fields: Dict[str, Any], name: str, value: Any) -> None:
    fields[name] = value
    if name in _TIMES:
        fields[f"{name}_iso"] = None if value is None else iso(value)


@lru_cache(maxsize=1024)  # most moments occur several times
def iso(moment: float) -> Optional[str]:
    """Seconds since the epoch in ISO 8601, by the time zone of this machine."""
    try:
        local = datetime.fromtimestamp(moment, timezone.utc).astimezone()
        return local.isoformat(timespec="microseconds")
    except (OverflowError, ValueError, OSError):  # a year out of range
        return None


def _dumps(value: Any) -> str:
    try:
        text = _encode(value)
        text.encode("utf-8")
    except (ValueError, TypeError):  # of a record that was not made of a runner
        text = _encode(values.clean(value))
    return text
