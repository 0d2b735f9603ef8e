"""What a person reads of a run: the report, and the line of progress.

Pure: it is made of results, as their users have left them.
"""

from __future__ import annotations

from .errors import CommandExecutionError
from .outcomes import ABORT, CANCEL, ERROR, EXIT, SKIP, SUCCESS, TIMEOUT, SkipError
from .results import duration
from .sanitize import last_states, one_line, sanitize, shorten, streams, transcript
from .wording import cut, name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Hashable, List, Sequence

    from .engine.snapshot import Items, Snapshot
    from .results import Entry

#: Columns of the bar in a progress line.
BAR = 25

#: Characters of a label in the table.
WIDTH = 60

#: From so many tasks of a kind on, those that others have ended are told by number.
MANY = 20

#: The kinds of ends, in words.
_ENDS = {
    SUCCESS: "successful",
    ERROR: "failed",
    TIMEOUT: "timed out",
    SKIP: "skipped",
    ABORT: "terminated",
    CANCEL: "cancelled",
}


def report(entries: Sequence[Entry], message: str) -> str:
    """``message``, the table, and then what went wrong.

    That is told task by task, as long as it is not too much of a kind. Then the tasks
    that went wrong by themselves come first, and the others are told by their cause.
    """
    failed = [each for each in entries if each.cause is not SUCCESS]
    parts = [sanitize(shorten(message)), table(entries)]
    counts = _count(failed)
    if max(counts.values(), default=0) < MANY:
        parts += map(failure, failed)
    else:
        parts += [failure(each) for each in failed if each.cause not in (SKIP, ABORT)]
        parts += _consequences(failed)
        parts.append(_total(entries))
    return "\n".join(parts)


def table(entries: Sequence[Entry]) -> str:
    """A row for each task: label, task, status, duration."""
    from tabulate import tabulate

    rows = [
        (
            _cell(each.task.label),
            _cell(each.result["task_name"]),
            _cell(each.result["status"]),
            _cell(each.result["duration"]),
        )
        for each in entries
    ]
    headers = ["label", "task", "status", "duration"]
    return tabulate(rows, headers=headers, tablefmt="psql", disable_numparse=True)


def _cell(value: object) -> str:
    return one_line(cut(name(value), WIDTH))


def failure(entry: Entry) -> str:
    """What went wrong with a task, with the trace if there is one."""
    task, result = entry.task, entry.result
    unnamed = type(task.label) is int and task.label == task.index
    program = f" ({one_line(task.program)})" if unnamed and task.program else ""
    trace = name(result["trace"]) if result["trace"] else ""
    error = sanitize(shorten(_error(entry, trace)))
    text = f"Task {_quoted(task.label)}{program} failed with error: {error}"
    if trace.strip() in ("", name(result["error"]).strip()):  # say, wrong arguments
        return text
    return f"{text}\n{sanitize(transcript(trace))}"


def _error(entry: Entry, trace: str) -> str:
    """The text of an error, in which nothing is quoted that was written over."""
    outcome = entry.task.outcome
    if entry.cause is EXIT and "\r" in trace and outcome:
        printed = {key: last_states(text) for key, text in streams(trace).items()}
        error = CommandExecutionError({**outcome.value, **printed})
        return f"{type(error).__name__}: {error}"
    return name(entry.result["error"])


def _quoted(label: Hashable) -> str:
    return f"'{one_line(shorten(name(label)))}'"


def _count(entries: Sequence[Entry]) -> Dict[str, int]:
    """How many there are of each kind."""
    counts = dict.fromkeys(_ENDS, 0)
    for each in entries:
        counts[each.cause if each.cause in counts else ERROR] += 1
    return counts


def _consequences(entries: Sequence[Entry]) -> List[str]:
    """A line for each cause for which others have ended tasks."""
    skipped: Dict[str, int] = {}
    for each in entries:
        outcome = each.task.outcome
        if each.cause is SKIP and outcome and isinstance(outcome.error, SkipError):
            root = _quoted(outcome.error.root)
            skipped[root] = skipped.get(root, 0) + 1
    lines = [f"{count} skipped because of {root}" for root, count in skipped.items()]
    stopped = _count(entries)[ABORT]
    if stopped:
        lines.append(f"{stopped} terminated before completion")
    return lines


def _total(entries: Sequence[Entry]) -> str:
    """How many tasks came to which end, and how long it took from first to last."""
    starts = [each.task.started or 0.0 for each in entries]
    ends = [each.task.ended or 0.0 for each in entries]
    counts = _count(entries)
    told = [f"{counts[kind]} {word}" for kind, word in _ENDS.items() if counts[kind]]
    took = duration(max(ends) - min(starts))
    return f"{len(entries)} tasks in {took}: {', '.join(told)}"


def progress(name: str, ended: int, total: int, seconds: float) -> str:
    """``"Name progress: [####.....] 1/2 [50.0%] in 0 min 0.0 sec"``."""
    share = ended / total if total else 1.0
    filled = round(BAR * share)
    bar = "#" * filled + "." * (BAR - filled)
    percent = round(100 * share, 2)
    minutes, rest = divmod(round(seconds, 2), 60)
    took = f"{int(minutes)} min {round(rest, 2)} sec"
    return f"{name} progress: [{bar}] {ended}/{total} [{percent}%] in {took}"


def status(snapshot: Snapshot) -> str:
    """How far a run has come, and what has been at work the longest."""
    counts = snapshot.counts
    told = f"{snapshot.ended} of {snapshot.total} tasks have ended"
    told += f", {counts['failed']} failed"
    if counts["terminated"]:
        told += f", {counts['terminated']} terminated"
    told += f", {len(snapshot.at_work)} at work"
    if snapshot.at_work:
        longest = snapshot.at_work[0]
        told += f" (longest: {_cell(longest.label)}, {rounded(longest.seconds)}"
        told += f", {counted(longest.items)})" if longest.items else ")"
    if snapshot.rest:
        told += f", about {rounded(snapshot.rest)} left"
    return f"{snapshot.name} after {rounded(snapshot.seconds)}: {told}"


def counted(items: Items) -> str:
    """How many items of a map are done: ``"120 of 400 items"``, or ``"120 items"``."""
    done, total = items
    return f"{done} items" if total is None else f"{done} of {total} items"


def rounded(seconds: float) -> str:
    """A duration, in seconds or minutes with one decimal."""
    if seconds <= 60:
        return f"{seconds:.1f} sec"
    return f"{seconds / 60:.1f} min"


def interrupted(name: str, ended: int, total: int, error: str) -> str:
    """What is to be said of a run that something has cut short.

    :param error: what it was; empty for Ctrl-C.
    """
    how = f"was ended by {error}" if error else "was interrupted"
    if ended == total and error:
        return f"{name} {how}"
    return f"{name} {how}: {ended} of {total} tasks had ended"
