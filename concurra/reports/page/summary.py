"""What stands at the top of the page, and can be read without a script."""

from __future__ import annotations

import re
import time

from ...outcomes import ABORT, CANCEL, SKIP, TIMEOUT, is_fault
from ..graph import longest_path
from ..texts import block
from .texts import beginning_and_end, brief, seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional

    from ..record import RunRecord, TaskRecord

#: How many there are in a list of the summary, and in the table for those who have no
#: script.
_LISTED = 5
_TABLED = 500

_DIGITS = re.compile(r"\d+")

_STATUSES = ("Failed", "Terminated", "Running", "Waiting", "Successful")


def summary(record: RunRecord) -> Dict[str, Any]:
    """What the template needs, all of it text, numbers and lists of these."""
    failed = [task for task in record.tasks if is_fault(task.cause)]
    return {
        "name": brief(record.name) or "Run",
        "verdict": _verdict(record, len(failed)),
        "facts": _facts(record),
        "counts": _counts(record),
        "groups": _groups(failed),
        "others": _others(record),
        "offenders": list(
            filter(None, (_slowest(record), _longest(record), _tried(record)))
        ),
        "tabled": [_row(task) for task in failed[:_TABLED]],
        "untabled": max(0, len(failed) - _TABLED),
    }


def _verdict(record: RunRecord, failed: int) -> Dict[str, str]:
    """One word for the run, and its kind, which is that of a status."""
    if record.state == "not started":
        return {"kind": "waiting", "text": "Not started"}
    if record.state == "running":
        text = f"Running, {_failed(record)}" if failed else "Running"
        return {"kind": "running", "text": text}
    if failed:
        return {"kind": "failed", "text": _failed(record)}
    stopped = sum(task.cause in (ABORT, CANCEL, SKIP) for task in record.tasks)
    if stopped:
        return {"kind": "terminated", "text": f"{stopped:,} terminated"}
    return {"kind": "successful", "text": "All successful"}


def _failed(record: RunRecord) -> str:
    """How many went wrong by themselves, in the words of their statuses."""
    late = sum(task.cause == TIMEOUT for task in record.tasks)
    failed = sum(is_fault(task.cause) for task in record.tasks) - late
    words = [f"{failed:,} failed"] if failed else []
    return ", ".join(words + ([f"{late:,} timed out"] if late else []))


def _facts(record: RunRecord) -> List[List[str]]:
    facts = [["Tasks", f"{len(record.tasks):,}"]]
    if record.started is not None:
        facts.append(["Took", seconds(record.until - record.started)])
        facts.append(["Started", moment(record.started)])
        if record.ended is not None:
            facts.append(["Ended", moment(record.ended)])
    facts.append(["At once", f"up to {record.max_concurrency:,}"])
    if record.ended is None:
        facts.append(["Seen", moment(record.moment)])
    return facts


def moment(epoch: float) -> str:
    """A moment as this machine's clock shows it, with the offset from UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(epoch))


def _counts(record: RunRecord) -> List[Dict[str, Any]]:
    """For each status that occurs, how many tasks have it, and its part of the bar."""
    total = max(1, len(record.tasks))
    found, at = [], 0.0
    for status in _STATUSES:
        number = record.counts.get(status, 0)
        if number:
            share = 100 * number / total
            found.append(
                {
                    "status": status,
                    "kind": status.lower(),
                    "number": f"{number:,}",
                    "at": f"{at:.3f}",
                    "share": f"{share:.3f}",
                }
            )
            at += share
    return found


def _groups(failed: List[TaskRecord]) -> List[Dict[str, Any]]:
    """What failed by itself, put together where errors differ in numbers at most."""
    groups: Dict[str, List[TaskRecord]] = {}
    for task in failed:
        groups.setdefault(_DIGITS.sub("0", brief(task.error or "")), []).append(task)
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    found: List[Dict[str, Any]] = [
        {
            "error": beginning_and_end(tasks[0].error or ""),
            "number": f"{len(tasks):,}",
            "tasks": [_link(task) for task in tasks[:_LISTED]],
            "more": f"{len(tasks) - _LISTED:,}" if len(tasks) > _LISTED else "",
        }
        for _, tasks in ordered[: 2 * _LISTED]
    ]
    left = sum(len(tasks) for _, tasks in ordered[2 * _LISTED :])
    if left:
        found.append({"error": "", "number": f"{left:,}", "tasks": [], "more": ""})
    return found


def _others(record: RunRecord) -> List[str]:
    """What was terminated through no fault of its own: a line for each cause."""
    skipped: Dict[Optional[str], int] = {}
    stopped: Dict[str, int] = {}
    for task in record.tasks:
        if task.cause == SKIP:
            root = task.skipped_because_of
            skipped[root] = skipped.get(root, 0) + 1
        elif task.cause in (ABORT, CANCEL):
            stopped[task.cause] = stopped.get(task.cause, 0) + 1
    ordered = sorted(skipped.items(), key=lambda item: -item[1])
    found = [
        f"{number:,} skipped"
        + (f" because of “{brief(root, 80)}”" if root is not None else "")
        for root, number in ordered[:_LISTED]
    ]
    left = sum(number for _, number in ordered[_LISTED:])
    if left:
        found.append(f"{left:,} skipped because of others")
    words = {ABORT: "terminated with the run", CANCEL: "cancelled"}
    found += [f"{number:,} {words[cause]}" for cause, number in stopped.items()]
    return found


def _link(task: TaskRecord, value: str = "", note: str = "") -> Dict[str, Any]:
    kind = "failed" if is_fault(task.cause) else task.status.lower()
    return {
        "index": task.index,
        "label": brief(task.label, 120) or "(no label)",
        "kind": kind,
        "value": value,
        "note": note,
    }


def _slowest(record: RunRecord) -> Optional[Dict[str, Any]]:
    took = [(task.duration, task) for task in record.tasks if task.duration]
    took.sort(key=lambda pair: -pair[0])
    if not took:
        return None
    links = [_link(task, seconds(duration)) for duration, task in took[:_LISTED]]
    return {"title": "Slowest", "note": "", "ordered": False, "tasks": links}


def _tried(record: RunRecord) -> Optional[Dict[str, Any]]:
    retried = [task for task in record.tasks if task.attempts > 1]
    retried.sort(key=lambda task: -task.attempts)
    if not retried:
        return None
    links = [_link(task, f"{task.attempts} attempts") for task in retried[:_LISTED]]
    more = len(retried) - len(links)
    note = f"{len(retried):,} were tried again" if more else ""
    return {"title": "Tried most often", "note": note, "ordered": False, "tasks": links}


def _longest(record: RunRecord) -> Optional[Dict[str, Any]]:
    """The path, or its slowest tasks if it is too long for a list."""
    path = [record.tasks[index] for index in longest_path(record)]
    if not path:
        return None
    total = sum(task.duration or 0.0 for task in path)
    note = f"{len(path):,} tasks in a row"
    if total and record.started is not None:
        elapsed = record.until - record.started
        share = f", {min(1.0, total / elapsed):.0%} of the run" if elapsed > 0 else ""
        note = f"{note}, {seconds(total)}{share}"
    links = path
    if len(path) > _LISTED:
        slowest = sorted(path, key=lambda task: -(task.duration or 0.0))[:_LISTED]
        links = sorted(slowest, key=path.index)
        note += "; the slowest of them:"
    return {
        "title": "Longest path",
        "note": note,
        "ordered": links is path,
        "tasks": [
            _link(each, seconds(each.duration) if each.duration is not None else "")
            for each in links
        ],
    }


def _row(task: TaskRecord) -> Dict[str, Any]:
    text = block(task.error or "")
    return {
        "label": brief(task.label),
        "cause": task.cause,
        "error": text if len(text) <= 4000 else "… " + text[-4000:],
        "took": "" if task.duration is None else seconds(task.duration),
        "attempts": task.attempts,
    }
