"""The graph of a run as text for Mermaid, which GitHub and GitLab draw in Markdown."""

from __future__ import annotations

import re

from .. import checks
from .graph import COLOURS, Graph, caption
from .record import record
from .texts import line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, List, Optional, Union

    from ..core import TaskRunner
    from .graph import Drawing
    from .record import RunRecord, TaskRecord

#: From so many arrows and characters on, Mermaid draws nothing, unless the page that
#: shows the graph has set its limits.
EDGES: Final = 500
CHARACTERS: Final = 50_000

#: Characters of a label.
LABEL: Final = 60

#: What could be more than text to Mermaid, or to the Markdown in it. Letters and digits
#: are not, nor is what joins them.
_SPECIAL: Final = re.compile(r"((?<=[^\W_])[-._](?=[^\W_]))|[^\w /:,()]|_")

_PATH: Final = "stroke-width:4px"


def to_mermaid(
    run: Union[TaskRunner, RunRecord], *, max_tasks: Optional[int] = None
) -> str:
    """The graph of a run as a flowchart of Mermaid.

    Before the run it is the plan; after it, or during it, tasks have the colours of
    their status. The longest path is drawn thick, see `graph.longest_path`.

    :param run: a runner, or a record.
    :param max_tasks: how many tasks are drawn; None for as many as Mermaid draws
        without being configured. If there are more, the longest path and what went
        wrong come first, and the text says how many are left out.
    :raises TypeError, ValueError: one of these is something else.
    """
    made = record(run)
    if max_tasks is not None:
        most = checks.whole("max_tasks", max_tasks, least=1)
        return _text(Graph(made).drawing(most))
    graph = Graph(made)
    most = min(len(made.tasks), CHARACTERS // 20)
    while True:
        drawing = graph.drawing(most)
        if len(drawing.edges) < EDGES:
            text = _text(drawing)
            if len(text) < CHARACTERS or most <= 1:
                return text
        most = most * 3 // 4


def _text(drawing: Drawing) -> str:
    lines = ["flowchart LR"]
    lines += [f'  t{task.index}["{_label(task)}"]' for task in drawing.tasks]
    if drawing.left:
        lines.append(f'  left["{drawing.left} more tasks are not drawn"]')
    lines += [f"  t{first} --> t{second}" for first, second in drawing.edges]
    for status, (fill, border) in COLOURS.items():
        found = [task.index for task in drawing.tasks if task.status == status]
        style = f"fill:{fill},stroke:{border},color:#111"
        lines += _styled(status.lower(), style, found)
    lines += _styled("longest", _PATH, drawing.path)
    steps = [str(n) for n, edge in enumerate(drawing.edges) if edge in drawing.steps]
    if steps:
        lines.append(f"  linkStyle {','.join(steps)} {_PATH}")
    return "\n".join(lines) + "\n"


def _styled(name: str, style: str, indexes: List[int]) -> List[str]:
    if not indexes:
        return []
    nodes = ",".join(f"t{index}" for index in indexes)
    return [f"  classDef {name} {style}", f"  class {nodes} {name}"]


def _label(task: TaskRecord) -> str:
    above, below = escaped(line(task.label, LABEL).strip()), caption(task)
    if not above:
        above = "#160;"  # a node must have some text
    return f"{above}<br/>{escaped(below)}" if below else above


def escaped(text: str) -> str:
    """A text in one line, as Mermaid shows it."""
    return _SPECIAL.sub(lambda found: found[1] or f"#{ord(found[0])};", text)
