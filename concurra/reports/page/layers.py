"""A graph in layers: where each node stands, so that few lines cross.

The way of Sugiyama, Tagawa and Toda: each node is in a layer behind those that it
depends on, nodes are ordered within their layers by where their neighbours are, and
then moved towards them. Pure: it knows numbers only.
"""

from __future__ import annotations

from bisect import bisect, insort

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Sequence, Tuple

_SWEEPS = 12

#: Beyond so many bends, lines go straight through the layers between their ends.
_BENDS = 4000


class Layout:
    """Where nodes are.

    :ivar layer: of each node.
    :ivar position: of each node within its layer; the nearest two are 1 apart.
    :ivar bends: for each edge ``(a, b)`` the positions at which it crosses the layers
        between.
    """

    def __init__(self, count: int, edges: Sequence[Tuple[int, int]]) -> None:
        self._into: List[List[int]] = [[] for _ in range(count)]
        self._out: List[List[int]] = [[] for _ in range(count)]
        self.layer = _layers(count, edges)
        self._ways = self._lay(edges)
        self._order()
        self.position = self._positions()
        ways = self._ways
        self.bends = {edge: [self.position[n] for n in ways[edge]] for edge in edges}
        del self.layer[count:], self.position[count:]

    def _lay(
        self, edges: Sequence[Tuple[int, int]]
    ) -> Dict[Tuple[int, int], List[int]]:
        """Cut long edges into short ones, by nodes that are not shown.

        Edges from the same node go together as far as they can.
        """
        layer, ways = self.layer, {}
        long = sum(max(0, layer[b] - layer[a] - 1) for a, b in edges)
        trunks: Dict[int, List[int]] = {}
        for a, b in edges:
            trunk = trunks.setdefault(a, [])
            needed = max(0, layer[b] - layer[a] - 1) if long <= _BENDS else 0
            while len(trunk) < needed:
                self._join(trunk[-1] if trunk else a, self._new(layer[a], len(trunk)))
                trunk.append(len(layer) - 1)
            ways[a, b] = trunk[:needed]
            self._join(trunk[needed - 1] if needed else a, b)
        return ways

    def _new(self, layer: int, bends: int) -> int:
        self.layer.append(layer + bends + 1)
        self._into.append([])
        self._out.append([])
        return len(self.layer) - 1

    def _join(self, a: int, b: int) -> None:
        self._out[a].append(b)
        self._into[b].append(a)

    def _order(self) -> None:
        """Order each layer by its neighbours', to and fro; the best order stays."""
        self._rows: List[List[int]] = [
            [] for _ in range(max(self.layer, default=-1) + 1)
        ]
        for node in self._depth_first():
            self._rows[self.layer[node]].append(node)
        best, fewest = self._rows, self._crossings()
        for sweep in range(_SWEEPS):
            if not fewest:
                break
            rows = [list(row) for row in self._rows]
            self._rows = rows
            forth = sweep % 2 == 0
            for row in rows[1:] if forth else rows[-2::-1]:
                self._sort(row, self._into if forth else self._out)
            crossings = self._crossings()
            if crossings < fewest:
                best, fewest = rows, crossings
        self._rows = best

    def _depth_first(self) -> List[int]:
        seen, found = set(), []
        for root in range(len(self.layer)):
            stack = [root] if not self._into[root] else []
            while stack:
                node = stack.pop()
                if node not in seen:
                    seen.add(node)
                    found.append(node)
                    stack.extend(reversed(self._out[node]))
        return found

    def _sort(self, row: List[int], neighbours: List[List[int]]) -> None:
        index = {node: i for each in self._rows for i, node in enumerate(each)}
        wish = {}
        for i, node in enumerate(row):
            near = [index[each] for each in neighbours[node]]
            wish[node] = sum(near) / len(near) if near else i
        row.sort(key=wish.__getitem__)

    def _crossings(self) -> int:
        total = 0
        for row, following in zip(self._rows, self._rows[1:]):
            index = {node: i for i, node in enumerate(following)}
            before: List[int] = []
            for node in row:
                ends = [index[each] for each in self._out[node] if each in index]
                total += sum(len(before) - bisect(before, end) for end in ends)
                for end in ends:
                    insort(before, end)
        return total

    def _positions(self) -> List[float]:
        """As near to the neighbours as the order and the distance allow."""
        position = [0.0] * len(self.layer)
        for row in self._rows:
            for i, node in enumerate(row):
                position[node] = i - (len(row) - 1) / 2
        both = list(zip(self._into, self._out))
        for sweep in range(_SWEEPS):
            for row in self._rows if sweep % 2 == 0 else reversed(self._rows):
                wishes = []
                for node in row:
                    last = sweep >= _SWEEPS - 2
                    near = (
                        both[node][0] + both[node][1] if last else both[node][sweep % 2]
                    )
                    near = near or both[node][1 - sweep % 2]
                    total = sum(position[each] for each in near)
                    wishes.append(total / len(near) if near else position[node])
                for node, at in zip(row, apart(wishes)):
                    position[node] = at
        least = min(position, default=0.0)
        return [each - least for each in position]


def _layers(count: int, edges: Sequence[Tuple[int, int]]) -> List[int]:
    """Layers as early as possible; but sources just before what depends on them."""
    after: List[List[int]] = [[] for _ in range(count)]
    missing = [0] * count
    for a, b in edges:
        after[a].append(b)
        missing[b] += 1
    layer = [0] * count
    sources = [node for node in range(count) if not missing[node]]
    ready = list(sources)
    for node in ready:  # it grows
        for each in after[node]:
            layer[each] = max(layer[each], layer[node] + 1)
            missing[each] -= 1
            if not missing[each]:
                ready.append(each)
    for node in sources:
        layer[node] = min((layer[each] for each in after[node]), default=1) - 1
    return layer


def apart(wishes: Sequence[float]) -> List[float]:
    """The positions nearest to what is wished for, in that order and at least 1 apart.

    The least sum of squares, by pooling adjacent violators.
    """
    blocks: List[Tuple[float, int]] = []  # sum of wishes, number
    for i, wish in enumerate(wishes):
        total, size = wish - i, 1
        while blocks and blocks[-1][0] / blocks[-1][1] >= total / size:
            before, number = blocks.pop()
            total, size = total + before, size + number
        blocks.append((total, size))
    found = [total / size for total, size in blocks for _ in range(size)]
    return [each + i for i, each in enumerate(found)]
