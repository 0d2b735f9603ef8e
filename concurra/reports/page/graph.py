"""Which tasks the page draws with their dependencies, and where."""

from __future__ import annotations

from ...outcomes import is_fault
from ..graph import dependents, longest_path
from .layers import Layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Set, Tuple

    from ..record import RunRecord

#: In a picture of more tasks nobody would find anything.
DRAWN = 300

#: Parts that nothing joins stand side by side up to so many layers: what a screen has
#: room for, at the least and at the most.
_ABREAST = (5, 9)

#: Between such parts, in positions.
_GAP = 0.35


def drawing(record: RunRecord) -> Dict[str, Any]:
    """What is to be drawn.

    ``nodes`` are ``[index, layer, position]``. ``edges`` are ``[from, to]`` and more:
    the numbers of two nodes, and the positions at which the edge crosses the layers in
    between. ``longest`` is the longest path, and ``note`` says what was left out.
    """
    tasks = record.tasks
    linked = {task.index for task in tasks if task.depends_on}
    linked.update(each for task in tasks for each in task.depends_on)
    longest = list(longest_path(record))
    shown = linked if len(linked) <= DRAWN else _useful(record, linked, longest)
    needs = {
        index: [
            each for each in dict.fromkeys(tasks[index].depends_on) if each in shown
        ]
        for index in sorted(shown)
    }
    nodes: List[List[float]] = []
    edges: List[List[float]] = []
    for part, layout, layer, position in _pack(_parts(needs, longest), needs):
        base = len(nodes)
        nodes += [
            [index, layout.layer[i] + layer, round(layout.position[i] + position, 2)]
            for i, index in enumerate(part)
        ]
        for (a, b), bends in layout.bends.items():
            positions = [round(each + position, 2) for each in bends]
            edges.append([base + a, base + b, *positions])
    return {
        "nodes": nodes,
        "edges": edges,
        "longest": longest,
        "note": _note(len(tasks), len(linked), len(shown)),
    }


def _useful(record: RunRecord, linked: Set[int], longest: List[int]) -> Set[int]:
    """The longest path, what failed by itself, and what is next to these."""
    tasks = record.tasks
    chosen = dict.fromkeys(longest[:DRAWN])
    failed = [t.index for t in tasks if is_fault(t.cause) and t.index in linked]
    chosen.update(dict.fromkeys(failed[: max(0, DRAWN - len(chosen))]))
    following = dependents(tasks)
    for index in list(chosen):
        for each in [*tasks[index].depends_on, *following.get(index, ())]:
            if len(chosen) >= DRAWN:
                return set(chosen)
            chosen[each] = None
    return set(chosen)


def _parts(needs: Dict[int, List[int]], longest: List[int]) -> List[List[int]]:
    """The connected parts: the one with the longest path first, then by size."""
    root = {index: index for index in needs}

    def find(index: int) -> int:
        while root[index] != index:
            root[index] = index = root[root[index]]
        return index

    for index, each in ((index, each) for index in needs for each in needs[index]):
        root[find(each)] = find(index)
    parts: Dict[int, List[int]] = {}
    for index in needs:
        parts.setdefault(find(index), []).append(index)
    first = find(longest[0]) if longest else None
    return sorted(parts.values(), key=lambda part: (find(part[0]) != first, -len(part)))


def _pack(
    parts: List[List[int]], needs: Dict[int, List[int]]
) -> List[Tuple[List[int], Layout, int, float]]:
    """Each part with its layout, and the layer and position at which that begins."""
    found = []
    abreast, layer, position, height = _ABREAST[0], 0, 0.0, 0.0
    for part in parts:
        number = {index: i for i, index in enumerate(part)}
        edges = [
            (number[each], number[index]) for index in part for each in needs[index]
        ]
        layout = Layout(len(part), edges)
        width = max(layout.layer) + 1
        abreast = max(abreast, min(width, _ABREAST[1]))
        if layer and layer + width > abreast:
            layer, position, height = 0, position + height, 0.0
        found.append((part, layout, layer, position))
        layer += width
        height = max(height, max(layout.position) + 1 + _GAP)
    return found


def _note(total: int, linked: int, shown: int) -> str:
    if shown < linked:
        return (
            f"{shown:,} of {total:,} tasks are drawn: the longest path, what failed by "
            "itself, and what is next to these."
        )
    alone = total - linked
    if not alone or not linked:
        return ""
    if alone == 1:
        return "1 task is not drawn: it has no dependencies, and none depends on it."
    return (
        f"{alone:,} tasks are not drawn: nothing depends on them, nor they on others."
    )
