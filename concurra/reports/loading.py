"""A record from the file that `json_file` has written."""

from __future__ import annotations

import json
import math

from ..collector import collection_paused
from ..outcomes import STATUS
from ..wording import brief, quote
from . import files, values
from .json_file import FORMAT, VERSION
from .record import ENDED, NOT_STARTED, RUNNING, STATUSES, RunRecord, TaskRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any, Callable, Dict, Final, Union

    from ..checks import StrPath

    Check = Callable[[Any], bool]


def load(file: Union[StrPath, IO[Any]]) -> RunRecord:
    """The record in a file that `write_json` has written.

    :param file: a path, or a file that is open for reading.
    :raises TypeError: ``file`` is something else.
    :raises ValueError: the file has no such record, is broken, or was written by a
        later version of concurra in another form.
    :raises OSError: it cannot be read.
    """
    content = files.read(file)
    who = quote(getattr(file, "name", "file") if hasattr(file, "read") else file)
    try:
        if isinstance(content, bytes):
            content = content.decode("utf-8-sig")
        with collection_paused(len(content)):
            found = json.loads(content, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{who} is not the record of a run: {error}") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ValueError(f"{who} is not the record of a run")
    version = found.get("version")
    if type(version) is not int or version != VERSION:
        raise ValueError(
            f"{who} has version {brief(version)} of the format, and this concurra "
            f"reads version {VERSION}"
        )
    try:
        return _run(values.clean(found) if "\\ud" in content.lower() else found)
    except _Broken as error:
        raise ValueError(f"{who} is broken: {error}") from None


class _Broken(Exception):
    """Something is not as it was written."""


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_number(value: Any) -> bool:
    return type(value) is float or (type(value) is int and abs(value) < 2**53)


def _is_flag(value: Any) -> bool:
    return type(value) is bool


def _is_anything(value: Any) -> bool:
    return True


def _is_text(value: Any) -> bool:
    return type(value) is str


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _list_of(check: Check) -> Check:
    return lambda value: type(value) is list and all(map(check, value))


def _one_of(*known: Any) -> Check:
    return lambda value: type(value) is str and value in known


def _is_try(value: Any) -> bool:
    return (
        type(value) is dict
        and _is_number(value.get("started"))
        and _or_none(_is_number)(value.get("ended"))
        and _or_none(_is_text)(value.get("error"))
    )


_TEXT_OR_NONE: Final = _or_none(_is_text)
_NUMBER_OR_NONE: Final = _or_none(_is_number)

#: What the fields of a run must be.
_RUN: Final[Dict[str, Check]] = {
    "name": _is_text,
    "state": _one_of(NOT_STARTED, RUNNING, ENDED),
    "max_concurrency": _is_count,
    "started": _NUMBER_OR_NONE,
    "ended": _NUMBER_OR_NONE,
    "moment": _is_number,
    "concurra_version": _is_text,
}

#: And those of a task.
_TASK: Final[Dict[str, Check]] = {
    **dict.fromkeys(("label", "name", "program", "status_text"), _is_text),
    **dict.fromkeys(("ready", "started", "ended", "duration"), _NUMBER_OR_NONE),
    **dict.fromkeys(("mode", "error", "trace", "warning"), _TEXT_OR_NONE),
    **dict.fromkeys(("stdout", "stderr", "skipped_because_of"), _TEXT_OR_NONE),
    **dict.fromkeys(("index", "attempts", "task_retries"), _is_count),
    **dict.fromkeys(("result_is_repr", "restored"), _is_flag),
    "kind": _one_of("function", "command"),
    "status": _one_of(*STATUSES),
    "cause": _or_none(_one_of(*STATUS)),
    "depends_on": _list_of(_is_count),
    "tries": _list_of(_is_try),
    "retry_errors": _list_of(_is_text),
    "result": _is_anything,
    "lane": _or_none(_is_count),
}


def _run(found: Dict[str, Any]) -> RunRecord:
    fields = _fields(found, _RUN, "")
    listed = found.get("tasks")
    if type(listed) is not list:
        raise _Broken("tasks is missing, or no list")
    with collection_paused(len(listed)):
        tasks = [_task(each, index, len(listed)) for index, each in enumerate(listed)]
    return RunRecord(**fields, tasks=tasks)


def _task(each: Any, index: int, many: int) -> TaskRecord:
    where = f"tasks[{index}]"
    if type(each) is not dict:
        raise _Broken(f"{where} is no object")
    task = _fields(each, _TASK, f"{where}.")
    if task["index"] != index:
        raise _Broken(f"{where}.index is not {index}")
    if max(task["depends_on"], default=0) >= many:
        raise _Broken(f"{where}.depends_on names a task that there is not")
    task["tries"] = [
        (attempt["started"], attempt.get("ended"), attempt.get("error"))
        for attempt in task["tries"]
    ]
    return TaskRecord(**task)


def _fields(found: Dict[str, Any], checks: Dict[str, Check], where: str) -> Any:
    for name, check in checks.items():
        if name not in found:
            raise _Broken(f"{where}{name} is missing")
        if not check(found[name]):
            raise _Broken(f"{where}{name} cannot be {brief(found[name])}")
    return {name: found[name] for name in checks}
