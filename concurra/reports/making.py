"""What a record says of each task, made of the engine's own values.

A run may go on meanwhile. A task that has its outcome has all the rest, too.
"""

from __future__ import annotations

from ..options import ALL_SUCCESS, ONE_FAILED
from ..outcomes import SKIP, STATUS, SUCCESS, UNTRIGGERED, Restored
from ..plan import rules
from ..sanitize import streams
from . import values
from .lanes import lanes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Sequence

    from ..engine_values import EngineValues
    from ..tasks import Task

    Fields = Dict[str, Any]


def tasks(seen: EngineValues) -> List[Fields]:
    """The fields of each task's record, in the order of adding."""
    made = [_settled(seen, task) for task in seen.tasks]
    now = seen.epoch(seen.moment)
    spans = []
    for each in made:
        start = each.get("started")
        if start is not None:
            end = each.get("ended")
            spans.append(
                (each["index"], start, max(now, start) if end is None else end)
            )
    for index, lane in lanes(spans).items():
        made[index]["lane"] = lane
    return made


def _settled(seen: EngineValues, task: Task) -> Fields:
    """The fields of a task, all of them from before its end or all from after it."""
    while True:
        outcome = task.outcome
        fields = _fields(seen, task)
        if task.outcome is outcome:
            return fields


def _fields(seen: EngineValues, task: Task) -> Fields:
    outcome, attempts = task.outcome, task.attempts
    restored = isinstance(outcome, Restored)
    needs = _needs(seen, task)
    fields: Fields = {
        "index": task.index,
        "label": values.label(task.label),
        "name": values.label(task.name),
        "kind": "function" if isinstance(task.title, str) else "command",
        "program": values.label(task.program),
        "depends_on": [each.index for each in needs],
        "task_retries": _number(task.options.retries),
        "restored": restored,
    }
    if attempts and not restored:
        fields.update(_attempts(seen, task))
    if seen.started is not None and not restored:
        fields["ready"] = _ready(seen, task, needs)
    if outcome is not None:
        fields.update(_end(seen, task))
    else:
        errors = task.errors
        fields["status"] = "Running" if attempts > len(errors) else "Waiting"
        fields["retry_errors"] = [values.text(each) for each in errors]
    return fields


def _needs(seen: EngineValues, task: Task) -> Sequence[Task]:
    """The tasks that a task depends on, as far as they have been added."""
    many = len(seen.tasks)  # others may have been added meanwhile
    return [each for each in seen.needs(task) if each.index < many]


def _number(value: object) -> int:
    """A number of retries; before the start, the runner's may be anything: then 0."""
    return value if isinstance(value, int) else 0


def _ready(seen: EngineValues, task: Task, needs: Sequence[Task]) -> Optional[float]:
    """When a task could have started, as far as that is known."""
    moment: Optional[float] = seen.started
    rule = task.options.trigger_rule
    ends = [each.ended for each in needs if each.outcome and each.ended is not None]
    if rule == ONE_FAILED:
        failures = [each.ended or 0.0 for each in needs if rules.failed(each)]
        moment = min(failures, default=None)
    elif needs:
        usable = len(ends) == len(needs)
        if rule == ALL_SUCCESS:
            usable = usable and all(map(rules.succeeded, needs))
        moment = max(ends) if usable else None
    if moment is not None and task.attempts and task.started is not None:
        moment = min(moment, task.started)
    return None if moment is None else seen.epoch(moment)


def _attempts(seen: EngineValues, task: Task) -> Fields:
    """What is known of a task that was started."""
    outcome, errors, epoch = task.outcome, task.errors, seen.epoch
    last = None if outcome is None or outcome.error is None else str(outcome.error)
    tries = [
        (
            epoch(start),
            None if end is None else epoch(end),
            values.optional(errors[number] if number < len(errors) else last),
        )
        for number, (start, end) in enumerate(seen.tries.of(task))
    ]
    start = task.started if task.started is not None else seen.moment
    end = seen.moment if outcome is None or task.ended is None else task.ended
    return {
        "attempts": len(tries),
        "tries": tries,
        "started": epoch(start),
        "duration": max(0.0, round(end - start, 6)),
        "mode": task.last_mode,
    }


def _end(seen: EngineValues, task: Task) -> Fields:
    """What is known of a task that has ended."""
    entry = seen.entry(task)
    told: Dict[str, Any] = dict(entry.result)
    cause, outcome = entry.cause, task.outcome
    assert outcome is not None and task.ended is not None
    if cause is SUCCESS and outcome.cause is UNTRIGGERED:
        cause = UNTRIGGERED
    command = not isinstance(task.title, str)
    fields = _command(told) if command else _function(told)
    if cause is SKIP:
        fields["skipped_because_of"] = values.label(rules.root(task))
    return {
        **fields,
        "status": STATUS[cause],
        "status_text": values.text(told["status"]),
        "cause": cause,
        "ended": seen.epoch(task.ended),
        "mode": values.optional(told["execution_mode"]),
        "error": values.optional(told["error"]),
        "trace": values.optional(told["trace"]),
        "warning": values.optional(told["warning"]),
        "retry_errors": values.strings(told["retry_errors"]),
    }


def _function(told: Fields) -> Fields:
    result, is_repr = values.result(told["result"])
    return {"result": result, "result_is_repr": is_repr}


def _command(told: Fields) -> Fields:
    """The code and the output of a command; not its arguments, which may be secret."""
    result = told["result"]
    if isinstance(result, dict):
        code, printed = result.get("returncode"), result
        result = {"returncode": code if isinstance(code, int) else None}
    else:  # what was terminated has printed this much
        printed, result = streams(str(told["trace"] or "")), None
    return {
        "result": result,
        "stdout": values.optional(printed.get("stdout")),
        "stderr": values.optional(printed.get("stderr")),
    }
