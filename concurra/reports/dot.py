"""The graph of a run in the DOT language, for Graphviz and others."""

from __future__ import annotations

from .. import checks
from .graph import COLOURS, Graph, caption
from .record import record
from .texts import line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, List, Optional, Union

    from ..core import TaskRunner
    from .record import RunRecord, TaskRecord

#: Characters of a label.
LABEL: Final = 200


def to_dot(
    run: Union[TaskRunner, RunRecord], *, max_tasks: Optional[int] = None
) -> str:
    """The graph of a run in DOT: ``dot -Tsvg`` draws it.

    For what is drawn, and how, see `to_mermaid`.

    :param run: a runner, or a record.
    :param max_tasks: how many tasks are drawn; None for all.
    :raises TypeError, ValueError: one of these is something else.
    """
    made = record(run)
    if max_tasks is not None:
        checks.whole("max_tasks", max_tasks, least=1)
    drawing = Graph(made).drawing(max_tasks)
    lines = [
        f"digraph {quoted(line(made.name, LABEL))} {{",
        "  rankdir=LR;",
        '  node [shape=box, style="rounded,filled", fontname="sans-serif"];',
    ]
    path = set(drawing.path)
    lines += [_node(task, task.index in path) for task in drawing.tasks]
    if drawing.left:
        told = quoted(f"{drawing.left} more tasks are not drawn")
        lines.append(f"  left [label={told}, shape=plaintext, style={quoted('')}];")
    for edge in drawing.edges:
        thick = " [penwidth=4]" if edge in drawing.steps else ""
        lines.append(f"  t{edge[0]} -> t{edge[1]}{thick};")
    return "\n".join(lines) + "\n}\n"


def _node(task: TaskRecord, on_path: bool) -> str:
    fill, border = COLOURS[task.status]
    label = quoted(line(task.label, LABEL), caption(task))
    width = ", penwidth=4" if on_path else ""
    return (
        f'  t{task.index} [label={label}, fillcolor="{fill}", color="{border}"{width}];'
    )


def quoted(*lines: str) -> str:
    """A string of DOT with these lines, as it is shown."""
    parts: List[str] = []
    for each in filter(None, lines):
        each = each.replace("\\", "\\\\").replace('"', '\\"')
        parts.append(each.replace("&", "&amp;"))
    return '"' + "\\n".join(parts) + '"'
