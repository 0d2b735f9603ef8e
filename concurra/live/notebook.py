"""How a run is shown in a notebook: HTML, in which all texts are escaped. Pure."""

from __future__ import annotations

from html import escape

from ..sanitize import one_line, shorten
from ..summary import counted, rounded
from ..wording import name
from .view import last_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Iterable, List, Sequence, Tuple

    from ..engine.snapshot import Snapshot
    from ..tasks import Task

#: Rows of a table.
ROWS: Final = 50

#: Characters of a text in a cell.
CELL: Final = 200

_LEFT: Final = 'style="text-align: left"'


def runner(title: str, snapshot: Snapshot, tasks: Iterable[Task]) -> str:
    """A runner: counts, and what is known of its tasks.

    What went wrong comes first, then what is at work, then the others.
    """
    at_work = {each.label: each for each in snapshot.at_work}
    found: List[Tuple[int, Sequence[object]]] = []
    for task in tasks:
        outcome = task.outcome
        if outcome is not None:
            seconds = (task.ended or 0.0) - (task.started or 0.0)
            rank = 2 if outcome.ok else 0
            state, took = str(outcome.status), rounded(seconds)
        elif task.label in at_work:
            busy = at_work[task.label]
            rank, state, took = 1, "at work", rounded(busy.seconds)
            if busy.items:
                state += f", {counted(busy.items)}"
        else:
            rank, state, took = 3, "waiting", ""
        found.append((rank, (task.label, task.name, state, took)))
    found.sort(key=lambda each: each[0])
    head = "label", "task", "status", "duration"
    return _html(title, head, [row for _, row in found[:ROWS]], len(found) - ROWS)


def board(title: str, snapshot: Snapshot, rows: int, failures: Sequence[str]) -> str:
    """What is at work, and below it the last failures."""
    table = [
        (
            each.label,
            each.attempt if each.attempt > 1 else "",
            rounded(each.seconds),
            counted(each.items) if each.items else last_line(each.output),
        )
        for each in snapshot.at_work[:rows]
    ]
    head = "label", "attempt", "at work for", "output"
    text = _html(title, head, table, len(snapshot.at_work) - rows)
    lines = "".join(f"<pre>{_cell(each, 500)}</pre>" for each in failures[-10:])
    return text + lines


def _html(
    title: str, head: Sequence[str], rows: Sequence[Sequence[object]], left: int
) -> str:
    text = f"<p><b>{_cell(title)}</b></p>"
    if rows:
        cells = "".join(f"<th {_LEFT}>{each}</th>" for each in head)
        lines = "".join(
            "<tr>" + "".join(f"<td {_LEFT}>{_cell(c)}</td>" for c in row) + "</tr>"
            for row in rows
        )
        text += f"<table><tr>{cells}</tr>{lines}</table>"
    return text + (f"<p>and {left} more</p>" if left > 0 else "")


def _cell(value: object, most: int = CELL) -> str:
    text = one_line(shorten(name(value)))
    return escape(text if len(text) <= most else f"{text[: most - 1]}…")
